"""Ensure that the balancer can reach its app hosts before its configuration says how."""

from __future__ import annotations

from typing import Any

from salina.common import state
from salina.common import wait as waiting

__salt__: dict[str, Any]
__opts__: dict[str, Any]


@state.fails_plainly
def app_hosts_have_tls(name: str, wait: int) -> dict[str, Any]:
    """Wait until every app host that answers speaks TLS with this balancer.

    An app host of an earlier version answers without TLS only, and another may not know a new
    balancer yet. HAProxy goes on with its configuration until then. A dead host is not waited for.

    Args:
        name: free text.
        wait: seconds to wait at most.

    Returns:
        The state's result. It fails if an app host still answers otherwise.

    CLI Example:
        See salt/balancer/init.sls.
    """
    what = "TLS on every app host"

    def obstacle() -> str:
        late = __salt__["balancer.without_tls"]()
        if not late:
            return ""
        command = f"salt -L {','.join(late)} state.apply"
        return f"{', '.join(late)} do not speak TLS with this balancer yet; next: {command}"

    if not __opts__["test"]:
        waiting.clear(obstacle, wait, what)
        return state.result(name, True, "they have it")
    found = obstacle()
    if found:
        return state.note(name, f"it would wait for {what}: {found}")
    return state.result(name, True, "they have it")

"""Ensure that the balancer can reach its app hosts before its configuration says how."""

from __future__ import annotations

from typing import Any

from salina.common import state
from salina.common import wait as waiting

__salt__: dict[str, Any]
__opts__: dict[str, Any]


@state.fails_plainly
def app_hosts_have_tls(name: str, wait: int) -> dict[str, Any]:
    """Wait until every app host that answers does so over TLS.

    An app host of an earlier version answers without TLS only. HAProxy must not be told to speak
    TLS to it, and goes on with its configuration until then. A dead host is not waited for.

    Args:
        name: free text.
        wait: seconds to wait at most.

    Returns:
        The state's result. It fails if an app host still answers without TLS only.

    CLI Example:
        See salt/balancer/init.sls.
    """
    what = "TLS on every app host"

    def obstacle() -> str:
        late = __salt__["balancer.without_tls"]()
        if not late:
            return ""
        command = f"salt -L {','.join(late)} state.apply"
        told = f"{', '.join(late)} answer without TLS only, and are applied before this balancer"
        return f"{told}; next: {command}"

    if not __opts__["test"]:
        waiting.clear(obstacle, wait, what)
        return state.result(name, True, "they have it")
    found = obstacle()
    if found:
        return state.note(name, f"it would wait for {what}: {found}")
    return state.result(name, True, "they have it")

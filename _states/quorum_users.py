"""Ensure that etcd has its users, and that it takes no request without a login."""

from __future__ import annotations

from typing import Any

from salina.common import state
from salina.common import wait as waiting

__salt__: dict[str, Any]
__opts__: dict[str, Any]


@state.fails_plainly
def present(name: str) -> dict[str, Any]:
    """Ensure that etcd has the users of the pillar, with their passwords and rights.

    Args:
        name: free text.

    Returns:
        The state's result. It fails if etcd does not answer or refuses.

    CLI Example:
        See salt/etcd/init.sls.
    """
    if __opts__["test"] and __salt__["quorum.own_obstacle"]():
        return state.result(name, None, "the users would be made, as soon as etcd serves")
    faults = __salt__["quorum_users.faults"]()
    if not faults:
        return state.result(name, True, "etcd has its users")
    if __opts__["test"]:
        return state.result(name, None, "the users would be made", {"users": faults})
    __salt__["quorum_users.make"]()
    left = __salt__["quorum_users.faults"]()
    return state.result(name, not left, "; ".join(left) or "the users were made", {"users": faults})


@state.fails_plainly
def required(name: str, wait: int) -> dict[str, Any]:
    """Ensure that etcd refuses requests without a login, once all database hosts log in.

    In a new fleet the last database host switches it on. In a fleet from before, the one whose
    states are applied last does.

    Args:
        name: free text.
        wait: seconds that Patroni has to read its login.

    Returns:
        The state's result. It fails if etcd does not answer or refuses. While another database host
        has not been applied, it succeeds and says so; `verify.security` shows it, too.

    CLI Example:
        See salt/patroni/service.sls.
    """
    if __opts__["test"] and not __salt__["service.status"]("patroni"):
        return state.result(name, None, "etcd would want a login, once every database host has one")
    if __salt__["quorum_users.required"]():
        return state.result(name, True, "etcd takes no request without a login")
    if __opts__["test"]:
        return state.result(name, None, "etcd would want a login, once every database host has one")
    what = "Patroni to read its login at the quorum"
    waiting.clear(lambda: str(__salt__["quorum_users.obstacle"]()), wait, what)
    missing = __salt__["quorum_users.missing"]()
    if missing:
        others = ", ".join(missing)
        words = f"etcd takes requests without a login until the states of {others} are applied"
        return state.result(name, True, words)
    __salt__["quorum_users.require"]()
    changes = {"login": {"old": "not needed", "new": "needed"}}
    return state.result(name, True, "etcd takes no request without a login from now on", changes)

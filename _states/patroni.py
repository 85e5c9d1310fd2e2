"""Keep this host a working member of the database cluster. Failover itself is Patroni's."""

from __future__ import annotations

from typing import Any

from salt.exceptions import CommandExecutionError

from salina.common import command, state
from salina.common import wait as salina_wait

__virtualname__ = "patroni"
__salt__: dict[str, Any]
__opts__: dict[str, Any]


def __virtual__() -> str:
    return __virtualname__


@state.fails_plainly
def its_turn(name: str, first: bool, wait: int) -> dict[str, Any]:
    """Wait until this host may start: the first one founds the cluster, the others find it there.

    A host that has data already never waits: it has been a member, and may be the one that the
    others need. Nothing here ever touches a data directory. When the founding was interrupted,
    the first one may begin again.

    Args:
        name: free text.
        first: whether this host founds the cluster.
        wait: seconds.

    Fails:
        no primary in time, or the quorum does not answer.

    CLI Example:
        See salt/patroni/service.sls.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": "it is"}

    def no_primary() -> str:
        if first or __salt__["patroni.has_data"]() or __salt__["patroni.leader"]():
            return ""
        return "no member says that there is one"

    if __opts__["test"]:
        return ret | {"result": None, "comment": "would wait"} if no_primary() else ret
    salina_wait.clear(no_primary, wait, "a primary (the first database host founds the cluster)")
    if first and __salt__["patroni.found_again"]():
        ret["changes"] = {"founding": "interrupted, begun again"}
    return ret


@state.fails_plainly
def working(name: str, wait: int, files: list[str]) -> dict[str, Any]:
    """Ensure that this host works in the cluster, as primary or as streaming replica.

    When the service runs since before one of the files was written, it is restarted; a primary
    hands over to a replica first, so that clients lose a moment only.

    A copy of the primary that was interrupted is made again.

    Args:
        name: the service's name. It is running.
        wait: seconds to wait for each step.
        files: what the service reads at its start only: its program and its unit.

    Fails:
        it does not work in time, or there is no replica to hand over to.

    CLI Example:
        See salt/patroni/service.sls.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": "it works"}
    old = __salt__["daemon.outdated"](name, files)
    if __opts__["test"]:
        obstacle = __salt__["patroni.obstacle"]()
        if old:
            return ret | {"result": None, "comment": f"would restart: {', '.join(old)} changed"}
        return ret | {"result": None, "comment": f"would wait: {obstacle}"} if obstacle else ret
    ret["changes"] = _wait_working(name, wait)
    if old:
        ret["changes"] |= {"restarted": old} | _hand_over(wait)
        command.systemctl(__salt__, "restart", name)
        _wait_working(name, wait)
    return ret


@state.fails_plainly
def configured(name: str) -> dict[str, Any]:
    """Ensure that the configuration which all members share is the settings' one.

    Patroni takes it from its file only when it founds the cluster. Any member may write it. What
    PostgreSQL takes up at a restart only is said and left to the operator, who knows when.

    Args:
        name: free text.

    Fails:
        the member does not answer, or refused.

    CLI Example:
        See salt/patroni/service.sls.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": "as set"}
    if __opts__["test"] and __salt__["patroni.obstacle"]():
        return ret | {"result": None, "comment": "would be compared when the cluster works"}
    drift = __salt__["patroni.drift"]()
    if drift and __opts__["test"]:
        return ret | {"result": None, "changes": drift, "comment": "would be set"}
    if drift:
        __salt__["patroni.patch"](drift)
        left = __salt__["patroni.drift"]()
        ret |= {"result": not left, "changes": drift, "comment": f"still differs in {left}"}
        if not left:
            ret["comment"] = "set"
    member = __salt__["patroni.member"]()
    if member.get("pending_restart"):
        reasons = ", ".join(member.get("pending_restart_reason", {})) or "see patronictl list"
        ret["comment"] += f"; PostgreSQL needs a restart for: {reasons}"
    return ret


def _hand_over(wait: int) -> dict[str, str]:
    """If this host is the primary of several, make another one the primary; say which."""
    members = __salt__["patroni.cluster"]()["members"]
    if __salt__["patroni.member"]().get("role") == "replica" or len(members) == 1:
        return {}

    def refused() -> str:
        try:
            __salt__["patroni.switchover"]()
        except CommandExecutionError as error:
            return str(error)
        return ""

    salina_wait.clear(
        refused, wait, "a replica that can take over (without one: salt ID service.restart)"
    )
    return {"handed over to": str(__salt__["patroni.leader"]())}


def _wait_working(name: str, wait: int) -> dict[str, str]:
    """Wait until this host works in the cluster; return what had to be done for it."""
    changes = {}

    def obstacle() -> str:
        if __salt__["patroni.half_copied"]():
            try:
                __salt__["patroni.copy_again"]()
            except CommandExecutionError as error:
                return str(error)
            changes["copy"] = "interrupted, made again"
        return str(__salt__["patroni.obstacle"]())

    what = f"this host to work in the database cluster (journalctl -u {name})"
    salina_wait.clear(obstacle, wait, what)
    return changes

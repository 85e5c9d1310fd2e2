"""Ensure that this host is in the quorum, and wait for the quorum where it is needed."""

from __future__ import annotations

from typing import Any

from salt.exceptions import CommandExecutionError

from salina.common import commands, prediction, state
from salina.common import wait as waiting

__salt__: dict[str, Any]
__opts__: dict[str, Any]

OTHERS = 60
"""Seconds that the other members have to serve before this one restarts."""


@state.fails_plainly
def joined(name: str, wait: int, files: list[str], turn: str | None = None) -> dict[str, Any]:
    """Ensure that this host is a running member of the cluster, and that the cluster serves.

    A host without data joins the cluster, or initialises it if no planned member knows one. On a
    bare fleet all of them initialise it at the same moment, and wait here for one another. A member
    that is not in the topology is an error, because only an operator can decide whether it may go.

    The service restarts for a changed file, and for an upgraded program. A member that serves
    restarts in its turn, and only while all other members serve. A member that does not serve
    restarts at once, because the quorum does not miss it.

    Args:
        name: the service.
        wait: seconds to wait until this host's member serves.
        files: the files that the service reads only at its start.
        turn: the role whose hosts take turns to restart it.

    Returns:
        The state's result. It fails if etcd refuses, does not start, or does not serve in time. It
        also fails if the host gets no turn, or another member does not serve then.

    CLI Example:
        See salt/etcd/init.sls.
    """
    changes: dict[str, Any] = {}
    data, running = __salt__["quorum.has_data"](), __salt__["service.status"](name)
    enabled = __salt__["service.enabled"](name)
    old = [*prediction.unread(__salt__, name, files), *__salt__["daemon.replaced"](name)]
    if __opts__["test"]:
        if data and running and enabled and not old:
            return state.result(name, True, "this host is a member")
        if data and running and enabled:
            taken = None if __salt__["quorum.own_obstacle"]() else turn
            predicted = prediction.renewal(__salt__, prediction.RESTART, name, taken)
            when = ", in the turn of this host" if prediction.TURN in predicted else ""
            comment = f"{name} would restart{when}, because {', '.join(old)} changed"
            return state.result(name, None, comment, {**predicted, "read": old})
        return state.result(name, None, f"{name} would start or restart, and this host would join")
    if not enabled:
        commands.systemctl(__salt__, "enable", name)
        changes["enabled"] = True
    if not data and not running:
        changes["joined"] = _enter(wait)
    if not running:
        commands.systemctl(__salt__, "start", name, no_block=True)
        changes["started"] = True
    before = ""
    if old:
        before = _run_of(name)
        _restart(name, turn)
        changes["restarted"] = old
    _serve(name, wait, before)
    __salt__["quorum.entered"]()
    drift = __salt__["quorum.drift"]()
    if drift:
        return state.result(name, False, "\n".join(drift), changes)
    return state.result(name, True, "this host is a member, and the cluster serves", changes)


@state.fails_plainly
def serves(name: str, endpoints: list[str], wait: int) -> dict[str, Any]:
    """Wait until this host can use the quorum. This changes nothing.

    Args:
        name: free text.
        endpoints: addresses such as 10.1.4.21:2379; one that serves is enough.
        wait: seconds to wait at most.

    Returns:
        The state's result. It fails if it takes longer, and says what each endpoint answered.

    CLI Example:
        See salt/patroni/service.sls.
    """
    if __opts__["test"]:
        obstacle = __salt__["quorum.obstacle"](endpoints)
        if obstacle:
            return state.result(name, None, f"it would wait: {obstacle}")
        return state.result(name, True, "the quorum serves")
    waiting.clear(
        lambda: str(__salt__["quorum.obstacle"](endpoints)),
        wait,
        f"the quorum ({', '.join(endpoints)})",
    )
    return state.result(name, True, "the quorum serves")


def _enter(wait: int) -> str:
    how = ""

    def refused() -> str:
        nonlocal how
        try:
            how = __salt__["quorum.enter"]()["state"]
        except CommandExecutionError as error:
            return str(error)
        return ""

    waiting.clear(
        refused,
        wait,
        "the other quorum hosts to answer (without them this host can neither join the quorum "
        "nor start a new one)",
    )
    return how


def _restart(name: str, turn: str | None) -> None:
    """Restart the member, in the turn of this host if the quorum would miss it."""

    def others() -> str:
        __salt__["turn.renew"]()
        return str(__salt__["quorum.others_obstacle"]())

    if turn and not __salt__["quorum.own_obstacle"]():
        __salt__["turn.take"](turn, f"{name} has to restart")
        waiting.clear(others, OTHERS, f"the other members of the quorum, before {name} restarts")
    # It does not serve before the others do, and in a broken quorum they wait for this one.
    commands.systemctl(__salt__, "restart", name, no_block=True)


def _run_of(name: str) -> str:
    """Return what systemd calls the current run of a service; each start has another name."""
    return str(__salt__["service.show"](name)["InvocationID"])


def _serve(name: str, wait: int, before: str) -> None:
    """Wait until the member serves, in another run of the service than the one before."""

    def obstacle() -> str:
        __salt__["turn.renew"]()
        if before and _run_of(name) == before:
            return "it has not stopped yet"
        return str(__salt__["quorum.own_obstacle"]())

    waiting.clear(obstacle, wait, f"this host's member of the quorum (see journalctl -u {name})")

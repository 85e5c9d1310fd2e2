"""Ensure that this host works in the database cluster. Failover itself is Patroni's task."""

from __future__ import annotations

from typing import Any

from salt.exceptions import CommandExecutionError

from salina.common import commands, prediction, state
from salina.common import wait as waiting

__salt__: dict[str, Any]
__opts__: dict[str, Any]

ROLE = "database"
"""The role whose hosts take turns."""
ROUND = 30
"""Seconds in which Patroni certainly compares the parameters; its rounds are shorter."""
START = "start the host that has the data (in a new fleet: the host with `first: true`)"


@state.fails_plainly
def its_turn(name: str, first: bool, wait: int) -> dict[str, Any]:
    """Wait until this host may start: the first one initialises the cluster, others wait for it.

    A host with data never waits, because it has been a member, and the others may need it. Nothing
    here ever touches a data directory. If the initialisation was interrupted, the first host begins
    it again.

    Args:
        name: free text.
        first: whether this host initialises the cluster.
        wait: seconds to wait at most.

    Returns:
        The state's result. It fails if no primary appears in time, or if the quorum does not
        answer.

    CLI Example:
        See salt/patroni/service.sls.
    """
    ret = state.result(name, True, "this host may start")

    def no_primary() -> str:
        if first or __salt__["patroni.has_data"]() or __salt__["patroni.leader"]():
            return ""
        return f"no database host is the primary; {START}"

    if __opts__["test"]:
        found = no_primary()
        return state.note(name, f"it would wait for a primary: {found}") if found else ret
    waiting.clear(no_primary, wait, "a primary")
    if first and __salt__["patroni.initialise_again"]():
        ret["changes"] = {"initialisation": "it was interrupted and begins again"}
    return ret


@state.fails_plainly
def working(name: str, wait: int, files: list[str]) -> dict[str, Any]:
    """Ensure that this host works in the cluster, as the primary or as a streaming replica.

    If one of the files changed after the service started, or an upgrade replaced a program, the
    service restarts, and PostgreSQL with it. A primary first hands over to a replica, so that
    clients are interrupted only for a moment. An interrupted copy
    of the primary is repeated. A replica that can provably never stream again copies the primary
    again. While the host does not work, the members' shared configuration is brought to the
    settings, because a wrong parameter may be the reason. The comment of the primary says so if no
    standby is synchronous.

    Args:
        name: the service, which is running.
        wait: seconds to wait for each step.
        files: the files that the service reads only at its start: its program and its unit.

    Returns:
        The state's result. It fails if the host does not work in time, or if no replica can take
        over.

    CLI Example:
        See salt/patroni/service.sls.
    """
    ret = state.result(name, True, "this host works in the cluster")
    old = [*prediction.unread(__salt__, name, files), *__salt__["patroni.replaced"]()]
    if __opts__["test"]:
        obstacle = __salt__["patroni.obstacle"]()
        if old:
            comment = f"{name} would restart, because {', '.join(old)} changed"
            changes = prediction.renewal(__salt__, prediction.RESTART, name, ROLE)
            return state.result(name, None, comment, {**changes, "read": old})
        stuck = __salt__["patroni.stuck"]() if obstacle else ""
        if stuck:
            changes = {"copy": stuck}
            return state.result(name, None, f"it would copy the primary again: {stuck}", changes)
        return state.note(name, f"it would wait: {obstacle}") if obstacle else ret
    ret["changes"] = _wait_working(name, wait)
    _until_noticed(ret["changes"].get("configuration") or {})
    if old:
        __salt__["turn.take"](ROLE, f"{name} has to restart")
        ret["changes"] |= {"restarted": old} | _hand_over(name, wait)
        commands.systemctl(__salt__, "restart", name)
        _wait_working(name, wait)
    fault = __salt__["patroni.standby_fault"]()
    if fault:
        ret["comment"] += f"; {fault}"
    return ret


@state.fails_plainly
def configured(name: str, wait: int = 300) -> dict[str, Any]:
    """Ensure that the members' shared configuration matches the settings, and that it has effect.

    Patroni reads it from its file only when it initialises the cluster. Any member may change it.
    If PostgreSQL needs a restart for a parameter, this host takes its turn and restarts the whole
    cluster, one host after the other: first the replicas; then a replica becomes the primary, and
    the old primary restarts. The other hosts find nothing left to do.

    A lower value of max_connections, max_worker_processes, max_wal_senders,
    max_locks_per_transaction or max_prepared_transactions has effect only after the primary
    restarts in its place, because a replica never has less than its primary. The state says so and
    leaves that to the operator.

    Args:
        name: free text.
        wait: seconds to wait for each step.

    Returns:
        The state's result. It fails if the member does not answer, or refuses.

    CLI Example:
        See salt/patroni/service.sls.
    """
    ret = state.result(name, True, "the configuration is up to date")
    if __opts__["test"] and __salt__["patroni.obstacle"]():
        return state.note(name, "it would be compared when the cluster works")
    drift = __salt__["patroni.drift"]()
    if __opts__["test"]:
        return _predicted(name, drift) or _with_lowered(ret)
    if drift:
        __salt__["patroni.patch"](drift)
        # Patroni shows what its last round found, whichever host made the change.
        waiting.until(lambda: not __salt__["patroni.drift"](), ROUND)
        left = __salt__["patroni.drift"]()
        comment = f"it still differs: {left}" if left else "the configuration was changed"
        ret = state.result(name, not left, comment, drift)
    _until_noticed(drift)
    if ret["result"] and __salt__["patroni.pending"]():
        restarted = _restarted(wait)
        if restarted:
            ret["changes"] = {**ret["changes"], "restarted": restarted}
    return _with_lowered(ret)


def _until_noticed(drift: dict[str, Any]) -> None:
    """Wait until every member has compared changed parameters, each in its own next round.

    Otherwise only the host that noticed first would restart. A member that needs no restart,
    because it has had one since the change, costs the whole time.
    """

    def by_all() -> bool:
        noticed = {*__salt__["patroni.pending"](), *__salt__["patroni.lowered"]()}
        return noticed >= {one["name"] for one in __salt__["patroni.cluster"]()["members"]}

    if __salt__["patroni.read_at_start"](_parameters(drift)) or __salt__["patroni.pending"]():
        waiting.until(by_all, ROUND)


def _parameters(drift: dict[str, Any]) -> dict[str, Any]:
    """Return PostgreSQL's own parameters that would change."""
    return dict((drift.get("postgresql") or {}).get("parameters") or {})


def _with_lowered(ret: dict[str, Any]) -> dict[str, Any]:
    """Add to a result what the operator has to restart for a lower value."""
    left = __salt__["patroni.lowered"]()
    if left:
        ret["comment"] += (
            f"; {', '.join(left)} must restart in place for a lower value, which interrupts "
            f"all users for a moment: salt {__opts__['id']} patroni.restart {left[-1]}"
        )
    return ret


def _predicted(name: str, drift: dict[str, Any]) -> dict[str, Any] | None:
    """Return the prediction of changes, and of the restarts that they need; None for no change."""
    pending = __salt__["patroni.pending"]()
    if any(__salt__["patroni.read_at_start"](_parameters(drift)).values()):
        pending = [one["name"] for one in __salt__["patroni.cluster"]()["members"]]
    if not drift and not pending:
        return None
    changes = dict(drift)
    comment = ["the configuration would be changed"] if drift else []
    if pending:
        changes |= {prediction.RESTART: "PostgreSQL", prediction.TURN: ROLE}
        comment.append(
            f"PostgreSQL would restart on {', '.join(pending)}, one host after the other"
        )
    return state.result(name, None, "; ".join(comment), changes)


def _restarted(wait: int) -> list[str]:
    """Restart PostgreSQL where it is necessary, in this host's turn; return where."""
    __salt__["turn.take"](ROLE, "PostgreSQL restarts for a parameter")
    done = []
    for host in __salt__["patroni.pending"]():  # another host may have done it meanwhile
        done.append(host)
        if host == __salt__["patroni.leader"]() and _handed_over(wait):
            continue  # a primary that becomes a replica restarts
        __salt__["patroni.restart"](host)
        waiting.clear(__salt__["patroni.incomplete"], wait, "the database cluster to be complete")
    return done


def _hand_over(name: str, wait: int) -> dict[str, str]:
    """If this host is the primary of several, make another one the primary; return which one."""
    if __salt__["patroni.member"]().get("role") == "replica":
        return {}
    by_hand = f"if there is none, restart by hand: salt {__opts__['id']} service.restart {name}"
    if not _handed_over(wait, f" ({by_hand})"):
        return {}
    return {"handed over to": str(__salt__["patroni.leader"]())}


def _handed_over(wait: int, advice: str = "") -> bool:
    """Make another host the primary; return False if there is no other."""
    if len(__salt__["patroni.cluster"]()["members"]) == 1:
        return False

    def refused() -> str:
        __salt__["turn.renew"]()
        try:
            __salt__["patroni.switchover"]()
        except CommandExecutionError as error:
            return str(error)
        return ""

    waiting.clear(refused, wait, f"a replica that can take over{advice}")
    waiting.clear(__salt__["patroni.incomplete"], wait, "the database cluster to be complete")
    return True


def _wait_working(name: str, wait: int) -> dict[str, Any]:
    """Wait until this host works in the cluster; return what was necessary for it."""
    changes: dict[str, Any] = {}

    def copy(reason: str) -> str:
        """Copy the primary again; return the refusal, or "" if the copy began."""
        try:
            __salt__["patroni.copy_again"]()
        except CommandExecutionError as error:
            return str(error)
        changes["copy"] = reason
        return ""

    def configure() -> None:
        """Give the cluster the wanted configuration: the current one may be the obstacle."""
        try:
            drift = __salt__["patroni.drift"]()
            if drift:
                __salt__["patroni.patch"](drift)
                changes["configuration"] = drift
        except CommandExecutionError:
            pass  # the cluster has none yet, or the quorum does not answer

    def obstacle() -> str:
        __salt__["turn.renew"]()
        if __salt__["patroni.half_copied"]():
            refusal = copy("it was interrupted and is repeated")
            if refusal:
                return refusal
        reason = str(__salt__["patroni.obstacle"]())
        if reason and "configuration" not in changes:
            configure()
        stuck = str(__salt__["patroni.stuck"]()) if reason else ""
        return (copy(stuck) if stuck else "") or reason

    by_hand = f"salt {__opts__['id']} patroni.copy_again"
    what = (
        f"this host to work in the database cluster (see journalctl -u {name}; "
        f"to have a replica copy the primary again: {by_hand})"
    )
    waiting.clear(obstacle, wait, what)
    return changes

"""The database cluster, through the REST interface of its members (Patroni's).

What the interface needs (addresses, the login for changes) is this host's pillar ``database``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from salt.exceptions import CommandExecutionError

from salina.common.https import Identity, NoAnswer, call
from salina.database import patroni

__salt__: dict[str, Any]
__pillar__: dict[str, Any]

IDENTITY = Identity()


def configuration_file() -> str:
    """Return the content of this host's ``patroni.yml``. It holds passwords: for the template only.

    CLI example: see ``salt/patroni/files/patroni.yml.jinja``.
    """
    return patroni.configuration_file(_pillar(), IDENTITY)


def member() -> dict[str, Any]:
    """Return what this host's member says of itself: state, role, replication, pending restart.

    Raises:
        CommandExecutionError: it does not answer.

    CLI example::

        salt bbdd1 patroni.member
    """
    _status, answer = _own("GET", "patroni")
    if not isinstance(answer, dict):
        raise CommandExecutionError(f"GET /patroni: {answer}")
    return answer


def obstacle() -> str:
    """Say why this host is no working part of the cluster now, or return "".

    A primary works when it holds the leader's lock, a replica when it streams from it.

    CLI example::

        salt bbdd1 patroni.obstacle
    """
    try:
        answer = member()
        reason = patroni.obstacle(answer)
        if not reason and answer.get("role") != "replica":
            status, _answer = _own("GET", "primary")
            reason = "" if status == 200 else "it is not (yet) the leader"
    except CommandExecutionError as error:
        return str(error)
    return reason


def cluster() -> dict[str, Any]:
    """Return the cluster as the first member that answers sees it, this host's own first.

    Raises:
        CommandExecutionError: no member answers.

    CLI example::

        salt bbdd2 patroni.cluster
    """
    pillar = _pillar()
    others = [host["address"] for host in pillar["members"] if host["name"] != pillar["name"]]
    reasons = []
    for address in [pillar["address"], *others]:
        url = patroni.rest_url(pillar, address, "cluster")
        try:
            status, answer = call("GET", url, IDENTITY)
        except NoAnswer as error:
            reasons.append(str(error))
            continue
        if status == 200 and isinstance(answer, dict):
            return answer
        reasons.append(f"{url}: {answer}")
    raise CommandExecutionError("; ".join(reasons))


def leader() -> str | None:
    """Return the id of the primary's host; None while there is none or no member answers.

    CLI example::

        salt bbdd2 patroni.leader
    """
    try:
        return patroni.leader(cluster())
    except CommandExecutionError:
        return None


def has_data() -> bool:
    """Tell whether this host has a copy of the cluster's data already.

    CLI example::

        salt bbdd1 patroni.has_data
    """
    return Path(patroni.data_directory(_pillar()), "PG_VERSION").exists()


def found_again() -> bool:
    """Let this host, which has no data, found the cluster although an earlier founding claimed to.

    A founding that was interrupted leaves its claim in the quorum, and while that is open Patroni
    founds nothing. Nothing else is touched: a cluster that ever had a primary has no open claim.

    Returns:
        Whether there was such a claim; it is taken away then.

    Raises:
        CommandExecutionError: the quorum does not answer.

    CLI example::

        salt bbdd1 patroni.found_again
    """
    pillar = _pillar()
    if has_data():
        return False
    try:
        if not patroni.idle(member()):  # it founds just now, or copies
            return False
    except CommandExecutionError:
        pass  # it does not run yet
    reasons = []
    for endpoint in pillar["quorum"]:
        try:
            status, answer = call(
                "POST", f"https://{endpoint}/v3/kv/txn", IDENTITY, patroni.unfounded(pillar)
            )
        except NoAnswer as error:
            reasons.append(str(error))
            continue
        if status == 200:
            return bool(answer.get("succeeded"))
        reasons.append(f"{endpoint}: {answer}")
    raise CommandExecutionError("; ".join(reasons))


def half_copied() -> bool:
    """Tell whether this host's copy of the primary was interrupted: Patroni leaves it at that.

    A copy's control file comes last, and no PostgreSQL starts without it.

    CLI example::

        salt bbdd2 patroni.half_copied
    """
    directory = Path(patroni.data_directory(_pillar()))
    if not directory.is_dir() or (directory / "global/pg_control").exists():
        return False
    try:
        return patroni.idle(member())
    except CommandExecutionError:
        return False


def copy_again() -> None:
    """Have Patroni drop this host's data and copy the primary.

    Raises:
        CommandExecutionError: Patroni refused: there is no primary, or this host is it.

    CLI example::

        salt bbdd2 patroni.copy_again
    """
    status, answer = _own("POST", "reinitialize", {})
    if status != 200:
        raise CommandExecutionError(f"POST /reinitialize: {status} {answer}")


def drift() -> dict[str, Any]:
    """Return in what the cluster's shared configuration differs from the settings (a JSON patch).

    Raises:
        CommandExecutionError: the member does not answer, or has no configuration yet.

    CLI example::

        salt bbdd1 patroni.drift
    """
    status, answer = _own("GET", "config")
    if status != 200 or not isinstance(answer, dict):
        raise CommandExecutionError(f"GET /config: {status} {answer}")
    return patroni.patch(answer, patroni.dynamic(_pillar()))


def patch(changes: dict[str, Any]) -> None:
    """Change the cluster's shared configuration.

    Args:
        changes: as ``drift`` returns them; null removes.

    Raises:
        CommandExecutionError: Patroni refused.

    CLI example::

        salt bbdd1 patroni.patch '{"ttl": 30}'
    """
    status, answer = _own("PATCH", "config", changes)
    if status != 200:
        raise CommandExecutionError(f"PATCH /config {changes}: {status} {answer}")


def switchover(candidate: str | None = None) -> str:
    """Make another host the primary, in order and without loss; returns what Patroni said.

    Args:
        candidate: its id; Patroni chooses among the synchronous replicas when not given.

    Raises:
        CommandExecutionError: there is no primary, or Patroni refused (no good replica).

    CLI example::

        salt bbdd1 patroni.switchover bbdd2
    """
    body = {"leader": patroni.leader(cluster())}
    if candidate:
        body["candidate"] = candidate
    status, answer = _own("POST", "switchover", body, timeout=60)
    if status != 200:
        raise CommandExecutionError(f"POST /switchover {body}: {status} {answer}")
    return str(answer)


def _pillar() -> dict[str, Any]:
    try:
        return dict(__pillar__["database"])
    except KeyError:
        raise CommandExecutionError("this host has no role database (pillar database)") from None


def _own(method: str, path: str, body: Any = None, timeout: float = 5) -> tuple[int, Any]:
    """Call this host's own member, with the login that changes need."""
    pillar = _pillar()
    url = patroni.rest_url(pillar, pillar["address"], path)
    login = None if method == "GET" else ("patroni", pillar["passwords"]["rest"])
    try:
        return call(method, url, Identity(login=login), body, timeout)
    except NoAnswer as error:
        raise CommandExecutionError(str(error)) from error

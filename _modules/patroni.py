"""Manage the database cluster through the REST interface of its members (Patroni's).

This host's pillar `database` holds the addresses, and the login for changes.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from salt.exceptions import CommandExecutionError

from salina.common import pillars
from salina.common import wait as waiting
from salina.common.https import NoAnswer, call, identity, with_login
from salina.database import patroni
from salina.database.psql import PsqlError, Session
from salina.health import probes
from salina.quorum import client

__salt__: dict[str, Any]
__pillar__: dict[str, Any]

SERVER, CLIENT = identity("database"), identity("host")
PROCESSES = Path("/proc")

CONFLICT = 409
"""Patroni's answer while another host changes the same."""
AGREEMENT = 15
"""Seconds for all hosts to make the same change of the shared configuration."""
STILL_SECONDS = 30
"""Seconds without replay after which a replica has no more WAL of its own to replay."""


def configuration_file() -> str:
    """Return the content of this host's patroni.yml. It holds passwords, so print it nowhere.

    Returns:
        The file's text.

    CLI Example:
        salt bbdd1 patroni.configuration_file
    """
    return patroni.configuration_file(_pillar(), SERVER, CLIENT)


def member() -> dict[str, Any]:
    """Return the status of this host's member.

    Returns:
        Patroni's answer: state, role, replication, and whether a restart is pending.

    Raises:
        CommandExecutionError: the member does not answer.

    CLI Example:
        salt bbdd1 patroni.member
    """
    _status, answer = _own("GET", "patroni")
    if not isinstance(answer, dict):
        raise CommandExecutionError(f"Patroni's answer to GET /patroni is not its status: {answer}")
    return answer


def obstacle() -> str:
    """Return why this host is not a working part of the cluster, or "" if it is.

    A primary works if it holds the leader's key. A replica works if it streams from the primary,
    and is no more than setting database.maximum_lag behind.

    Returns:
        The reason, or "".

    CLI Example:
        salt bbdd1 patroni.obstacle
    """
    try:
        answer = member()
        reason = patroni.obstacle(answer)
        if not reason and answer.get("role") != "replica":
            status, _answer = _own("GET", "primary")
            reason = "" if status == 200 else "it is not the leader yet"
        elif not reason:
            pillar = _pillar()
            bound = pillar["settings"]["maximum_lag"]
            reason = patroni.lag_obstacle(cluster(), pillar["name"], bound)
    except CommandExecutionError as error:
        return str(error)
    return reason


def cluster() -> dict[str, Any]:
    """Return the cluster as the first answering member sees it. This host's own member comes first.

    Returns:
        Patroni's answer, with the `members`.

    Raises:
        CommandExecutionError: no member answers.

    CLI Example:
        salt bbdd2 patroni.cluster
    """
    pillar = _pillar()
    others = [host["address"] for host in pillar["members"] if host["name"] != pillar["name"]]
    reasons = []
    for address in [pillar["address"], *others]:
        url = patroni.rest_url(pillar, address, "cluster")
        try:
            status, answer = call("GET", url, CLIENT)
        except NoAnswer as error:
            reasons.append(str(error))
            continue
        if status == 200 and isinstance(answer, dict):
            return answer
        reasons.append(f"{url}: {answer}")
    raise CommandExecutionError("; ".join(reasons))


def leader() -> str | None:
    """Return the id of the primary's host.

    Returns:
        The id, or None while there is no primary or no member answers.

    CLI Example:
        salt bbdd2 patroni.leader
    """
    try:
        return patroni.leader(cluster())
    except CommandExecutionError:
        return None


def has_data() -> bool:
    """Return whether this host has a copy of the cluster's data.

    Returns:
        Whether its data directory is complete enough to have a version.

    CLI Example:
        salt bbdd1 patroni.has_data
    """
    return Path(patroni.data_directory(_pillar()), "PG_VERSION").exists()


def initialise_again() -> bool:
    """Let this host initialise the cluster again, if an earlier initialisation was interrupted.

    An interrupted initialisation leaves a key in the quorum, and with this key Patroni initialises
    nothing. This function deletes the key only if the cluster never had a primary, and only on a
    host without data.

    Returns:
        Whether there was such a key; it is deleted then.

    Raises:
        CommandExecutionError: the quorum does not answer.

    CLI Example:
        salt bbdd1 patroni.initialise_again
    """
    pillar = _pillar()
    if has_data():
        return False
    try:
        if not patroni.idle(member()):  # it is initialising, or copying the primary
            return False
    except CommandExecutionError:
        pass  # Patroni does not run yet
    user = {"name": pillar["etcd"]["username"], "password": pillar["etcd"]["password"]}
    try:
        answer = client.ask(pillar["quorum"], CLIENT, user, "kv/txn", patroni.unfounded(pillar))
    except client.Refused as error:
        raise CommandExecutionError(
            f"no etcd member answered the question whether the cluster ever had a primary: {error}"
        ) from error
    return bool(answer.get("succeeded"))


def half_copied() -> bool:
    """Return whether this host has half a copy of the primary, which Patroni does not repair.

    A copy's control file comes last, and no PostgreSQL starts without it.

    Returns:
        Whether a data directory without that file exists, and nobody is writing it.

    CLI Example:
        salt bbdd2 patroni.half_copied
    """
    directory = Path(patroni.data_directory(_pillar()))
    if not directory.is_dir() or (directory / "global/pg_control").exists():
        return False
    try:
        return patroni.idle(member())
    except CommandExecutionError:
        return False


def stuck() -> str:
    """Return why this replica can never stream from the primary again, or "" if it may.

    This takes proof: another host is the primary, and has deleted the WAL that this replica needs
    next. The replica does not stream, and replays nothing for a while. A replica that restores WAL
    from an archive, or whose replay an operator paused, never counts.

    Returns:
        The reason, or "".

    CLI Example:
        salt bbdd2 patroni.stuck
    """
    try:
        position = patroni.next_position(member())
        segment = _deleted(position) if position is not None else ""
        if not segment:
            return ""
        time.sleep(STILL_SECONDS)
        if patroni.next_position(member()) != position:
            return ""
    except CommandExecutionError:
        return ""  # no proof
    return f"the primary has deleted the WAL segment {segment}, which this replica needs next"


def standby_fault() -> str:
    """Return why only this host has every commit, or "" if it is not so.

    Returns:
        The reason, or "". Only the primary can have this fault, and not in a cluster with one host
        or without synchronous mode.

    Raises:
        CommandExecutionError: no member answers.

    CLI Example:
        salt bbdd1 patroni.standby_fault
    """
    return patroni.standby_fault(cluster(), _pillar())


def copy_again() -> None:
    """Have Patroni delete this host's data and copy the primary.

    Raises:
        CommandExecutionError: Patroni refused: there is no primary, or this host is the primary.

    CLI Example:
        salt bbdd2 patroni.copy_again
    """
    status, answer = _own("POST", "reinitialize", {})
    if status != 200:
        raise CommandExecutionError(
            f"Patroni refused to copy the primary again (HTTP {status}): {answer}"
        )


def drift() -> dict[str, Any]:
    """Return how the cluster's shared configuration differs from the settings.

    Returns:
        A JSON patch; {} if nothing differs.

    Raises:
        CommandExecutionError: the member does not answer, or has no configuration yet.

    CLI Example:
        salt bbdd1 patroni.drift
    """
    status, answer = _own("GET", "config")
    if status != 200 or not isinstance(answer, dict):
        raise CommandExecutionError(
            f"Patroni did not show its configuration (HTTP {status}): {answer}"
        )
    return patroni.patch(answer, patroni.dynamic(_pillar()))


def patch(changes: dict[str, Any]) -> None:
    """Change the cluster's shared configuration.

    Several hosts may do this at the same moment. Patroni refuses those that come second (409), and
    they repeat it. The same change twice does no harm.

    Args:
        changes: a JSON patch as `patroni.drift` returns it; null removes a key.

    Raises:
        CommandExecutionError: Patroni refused.

    CLI Example:
        salt bbdd1 patroni.patch '{"ttl": 30}'
    """
    refusal = ""

    def done() -> bool:
        nonlocal refusal
        status, answer = _own("PATCH", "config", changes)
        refusal = "" if status == 200 else f"(HTTP {status}): {answer}"
        return status != CONFLICT

    waiting.until(done, AGREEMENT)
    if refusal:
        raise CommandExecutionError(f"Patroni refused the change {changes} {refusal}")


def incomplete() -> str:
    """Return why the cluster has no primary, or which member does not stream from it, or "".

    Returns:
        The reason, or "".

    CLI Example:
        salt bbdd1 patroni.incomplete
    """
    __salt__["turn.renew"]()  # a restart in this host's turn waits here
    try:
        return patroni.incomplete(cluster(), _pillar()["settings"]["synchronous_mode"])
    except CommandExecutionError as error:
        return str(error)


def pending() -> list[str]:
    """Return the hosts whose PostgreSQL needs a restart for a changed parameter, the primary last.

    Returns:
        The hosts' ids.

    Raises:
        CommandExecutionError: no member answers.

    CLI Example:
        salt bbdd1 patroni.pending
    """
    return patroni.pending(cluster())


def replaced() -> list[str]:
    """Return the programs and libraries of Patroni and PostgreSQL that an upgrade has replaced.

    Debian's package of PostgreSQL restarts only the clusters in /etc/postgresql, where Patroni has
    none.

    Returns:
        The files that one of them still uses, although others are in their places.

    Raises:
        CommandExecutionError: systemd does not name Patroni's process.

    CLI Example:
        salt bbdd1 patroni.replaced
    """
    found = set(__salt__["daemon.replaced"]("patroni"))
    try:
        file = Path(patroni.data_directory(_pillar()), "postmaster.pid")
        process = PROCESSES / file.read_text().split()[0]
        if (process / "comm").read_text().strip() == "postgres":
            found |= {*probes.replaced((process / "maps").read_text())}
    except FileNotFoundError:
        pass  # PostgreSQL does not run
    return sorted(found)


def lowered() -> list[str]:
    """Return the hosts with a lower value that waits for a restart in place, the primary last.

    Returns:
        The hosts' ids.

    Raises:
        CommandExecutionError: no member answers.

    CLI Example:
        salt bbdd1 patroni.lowered
    """
    return patroni.lowered(cluster())


def read_at_start(parameters: dict[str, Any]) -> dict[str, bool]:
    """Return which of some changed parameters PostgreSQL reads only when it starts.

    Args:
        parameters: their new values.

    Returns:
        Their names, and for each of them whether it has effect when the hosts restart one after
        the other. If not, the primary must restart in its place.

    Raises:
        CommandExecutionError: PostgreSQL does not answer.

    CLI Example:
        salt bbdd1 patroni.read_at_start '{max_connections: 400}'
    """
    if not parameters:
        return {}  # PostgreSQL may be down
    sql = "SELECT name || '=' || setting FROM pg_settings WHERE context = 'postmaster'"
    now = dict(line.split("=", 1) for line in __salt__["database.query"](sql).splitlines())
    return {
        name: not patroni.only_in_place(name, now[name], new)
        for name, new in parameters.items()
        if name in now
    }


def restart(host: str) -> None:
    """Have Patroni restart PostgreSQL on a database host, and wait until it has.

    Args:
        host: the database host's id.

    Raises:
        CommandExecutionError: no database host has this id, or Patroni refused.

    CLI Example:
        salt bbdd1 patroni.restart bbdd2
    """
    addresses = {one["name"]: one["address"] for one in _pillar()["members"]}
    if host not in addresses:
        raise CommandExecutionError(
            f"host: {host!r} is not a database host; choose one of: {', '.join(addresses)}"
        )
    status, answer = _ask(addresses[host], "POST", "restart", {}, timeout=120)
    if status != 200:
        raise CommandExecutionError(
            f"Patroni refused to restart PostgreSQL on {host} (HTTP {status}): {answer}"
        )


def switchover(candidate: str | None = None) -> str:
    """Make another host the primary, in order and without losing data.

    Args:
        candidate: its id. By default Patroni chooses one of the synchronous replicas.

    Returns:
        Patroni's answer.

    Raises:
        CommandExecutionError: there is no primary, or Patroni refused because no replica is good
            enough.

    CLI Example:
        salt bbdd1 patroni.switchover bbdd2
    """
    body = {"leader": patroni.leader(cluster())}
    if candidate:
        body["candidate"] = candidate
    status, answer = _own("POST", "switchover", body, timeout=60)
    if status != 200:
        raise CommandExecutionError(
            f"Patroni refused the switchover {body} (HTTP {status}): {answer}"
        )
    return str(answer)


def _deleted(position: int) -> str:
    """Ask the primary for the segment of a position; return its name if the primary deleted it.

    The login is pg_rewind's, which may list the primary's files and do nothing else.
    """
    pillar = _pillar()
    view = cluster()
    primary = patroni.leader(view)
    addresses = {host["name"]: host["address"] for host in pillar["members"]}
    if primary is None or primary == pillar["name"] or primary not in addresses:
        return ""
    database = {
        "host": addresses[primary],
        "port": pillar["port"],
        "name": "postgres",
        "user": "rewinder",
        "password": pillar["passwords"]["rewind"],
    }
    program = f"/usr/lib/postgresql/{pillar['version']}/bin/psql"
    try:
        with Session(database, "oldest WAL", program=program, ca=CLIENT.ca) as session:
            (answer,) = session.query(patroni.oldest_segment_query(position))
    except (OSError, PsqlError) as error:
        raise CommandExecutionError(str(error)) from error
    return patroni.deleted(answer)


def _pillar() -> dict[str, Any]:
    return pillars.section(__pillar__, "database")


def _own(method: str, path: str, body: Any = None, timeout: float = 5) -> tuple[int, Any]:
    """Send a request to this host's own member."""
    return _ask(_pillar()["address"], method, path, body, timeout)


def _ask(
    address: str, method: str, path: str, body: Any = None, timeout: float = 5
) -> tuple[int, Any]:
    """Send a request to a member, with a login if the request changes something."""
    pillar = _pillar()
    url = patroni.rest_url(pillar, address, path)
    password = pillar["passwords"]["rest"]
    caller = CLIENT if method == "GET" else with_login(CLIENT, "patroni", password)
    try:
        return call(method, url, caller, body, timeout)
    except NoAnswer as error:
        raise CommandExecutionError(str(error)) from error

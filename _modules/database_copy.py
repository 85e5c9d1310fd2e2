"""Copy an application's database out of the backups, beside the running one, and exchange them.

The copy comes from a scratch cluster (salina.backup.scratch). Everything runs on the primary, and
every function can be repeated after an interruption. An operator uses orch.restore.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path
from typing import Any

from salt.exceptions import CommandExecutionError

from salina.backup import lock, scratch
from salina.common import pillars
from salina.common import wait as waiting
from salina.database import records, roles, sessions

__salt__: dict[str, Any]
__pillar__: dict[str, Any]

ARCHIVED = 120
"""Seconds for the last changes to arrive in the repository."""


def sizes(application: str) -> dict[str, int]:
    """Return how large the databases are, and how much is free beside them. This changes nothing.

    Args:
        application: the application's name, which is that of its database.

    Returns:
        In bytes the `size` of its database (0 if there is none), that of the whole `cluster`, and
        the `free` space.

    Raises:
        CommandExecutionError: PostgreSQL does not answer.

    CLI Example:
        salt bbdd1 database_copy.sizes crm
    """
    found = json.loads(
        _query("SELECT json_object_agg(datname, pg_database_size(oid)) FROM pg_database")
    )
    left = found.pop(scratch.TEMPORARY, 0)  # an interrupted copy, which the next one deletes
    cluster = sum(found.values())
    return {"size": found.get(application, 0), "cluster": cluster, "free": free() + left}


def free() -> int:
    """Return how much is free on the disk of the databases.

    Returns:
        Bytes.

    CLI Example:
        salt bbdd2 database_copy.free
    """
    return shutil.disk_usage(Path(_pillar()["files"]).parent).free


def kept() -> list[dict[str, Any]]:
    """Return the databases that restores have made or kept.

    Returns:
        For each its `name`, its `size` in bytes, and what it is (`about`).

    Raises:
        CommandExecutionError: PostgreSQL does not answer.

    CLI Example:
        salt bbdd1 database_copy.kept
    """
    return [one._asdict() for one in scratch.parse_kept(json.loads(_query(scratch.KEPT)))]


def origins() -> dict[str, str]:
    """Return the restores by which databases have taken the places of others.

    Returns:
        For each such database the request, as `exchange` got it.

    Raises:
        CommandExecutionError: PostgreSQL does not answer.

    CLI Example:
        salt bbdd1 database_copy.origins
    """
    return dict(json.loads(_query(scratch.ORIGINS)))


def names() -> list[str]:
    """Return the names of all databases of this host's cluster.

    Returns:
        The names.

    Raises:
        CommandExecutionError: PostgreSQL does not answer, or this host is a replica.

    CLI Example:
        salt bbdd1 database_copy.names
    """
    _on_the_primary()
    return _query("SELECT datname FROM pg_database").splitlines()


def release(name: str) -> str:
    """Return the release that a database belongs to (salina.application.schema).

    Args:
        name: the database's name.

    Returns:
        The release's name, or "" if the database names none.

    Raises:
        CommandExecutionError: PostgreSQL does not answer, or somebody has written something else.

    CLI Example:
        salt bbdd1 database_copy.release crm_before_20261129_120000
    """
    found = __salt__["database.row"](name)
    return str(found[0]) if found else ""


def make(application: str, until: str, about: str, owner: str = "") -> str:
    """Copy an application's database out of the backups, as a database that nobody uses yet.

    Args:
        application: the application's name.
        until: the moment, as `scratch.target` writes it, or "" for now.
        about: what the copy is, in words.
        owner: the application to whose role the copy belongs, if it is another one.

    Returns:
        The moment of the last change that the copy has, as PostgreSQL writes it; "" if it has none
        after the backup.

    Raises:
        CommandExecutionError: this host is a replica, the disk is too small, or pgBackRest or
            PostgreSQL failed. The running databases are as before.

    CLI Example:
        salt bbdd1 database_copy.make crm '2026-11-29 12:00:00+00' 'crm as of noon'
    """
    _on_the_primary()
    try:
        with lock.alone():
            return _make(application, until, about, owner or application)
    except lock.Busy as error:
        raise CommandExecutionError(str(error)) from None


def _make(application: str, until: str, about: str, owner: str) -> str:
    clean()
    # PostgreSQL takes a failure to fetch WAL for its end, unless it has a moment to reach
    moment = until or _query("SELECT clock_timestamp()")
    try:
        archive()
    except CommandExecutionError:
        if not until:  # an earlier moment may be in the repository already
            raise
    try:
        last = str(__salt__["scratch.start"](moment))
        size = int(__salt__["scratch.query"](scratch.size(application)))
        if (left := free()) < 2 * size + scratch.SPARE:
            raise CommandExecutionError(
                f"the copy has {size >> 20} MiB, and as much WAL, and {left >> 20} MiB are free"
            )
        _load(application, owner)
        _query(scratch.comment(scratch.TEMPORARY, about))
    except BaseException:
        with contextlib.suppress(CommandExecutionError):  # the next copy takes its place
            _drop()
        raise
    finally:
        __salt__["scratch.remove"]()
    return last


def exchange(application: str, source: str, kept: str, about: str, origin: str = "") -> str:
    """Give a copy its place: that of the application's database, which gets another name.

    Args:
        application: the application's name.
        source: the database that takes the place.
        kept: the name that the application's database gets.
        about: what it is then, in words.
        origin: the request, which `origins` returns from then on.

    Returns:
        `kept`.

    Raises:
        CommandExecutionError: there is no such copy, sessions come again and again, or PostgreSQL
            refused. Both databases are as before.

    CLI Example:
        salt bbdd1 database_copy.exchange crm salina_restored crm_before_20261129 'crm until noon'
    """
    _on_the_primary()
    found = names()
    if kept in found:  # an interrupted step has done it
        return kept
    old = kept if application in found else ""
    if source in found:  # it may be from before there was such a place
        __salt__["database.record"](application, source)
    sql = scratch.exchange(pillars.application(__pillar__, application), source, old, about, origin)
    sessions.without(_query, sql, "the databases")
    return kept


def complete(application: str) -> None:
    """Forget the request by which an application got its database, since it has been completed.

    Args:
        application: the application's name.

    Raises:
        CommandExecutionError: PostgreSQL refused.

    CLI Example:
        salt bbdd1 database_copy.complete crm
    """
    _on_the_primary()
    _query(scratch.comment(application, None))


def rename(name: str, owner: str = "") -> str:
    """Give a complete copy its name.

    Args:
        name: the name of the new database.
        owner: the application to whose role it belongs; by default it belongs to the superuser.

    Returns:
        `name`.

    Raises:
        CommandExecutionError: PostgreSQL refused.

    CLI Example:
        salt bbdd1 database_copy.rename crm_as_of_noon
    """
    _on_the_primary()
    if name not in names():  # otherwise an interrupted step has done it
        role = pillars.application(__pillar__, owner)["user"] if owner else scratch.SUPERUSER
        sessions.without(_query, scratch.naming(name, role), "the databases")
    return name


def discard(name: str) -> str:
    """Delete a database that a restore has made or kept. There is no way back.

    Args:
        name: the database's name.

    Returns:
        `name`.

    Raises:
        CommandExecutionError: no restore has made or kept it.

    CLI Example:
        salt bbdd1 database_copy.discard crm_before_20261129_120000
    """
    _on_the_primary()
    known = [one["name"] for one in kept()]
    if name not in known:
        raise CommandExecutionError(
            f"{name}: no restore has made or kept this database; choose one of: "
            f"{', '.join(known) or '(none)'}"
        )
    _query(f"DROP DATABASE {roles.identifier(name)} WITH (FORCE)")
    return name


def clean() -> None:
    """Remove what an interrupted copy has left: the scratch cluster and an incomplete database.

    Raises:
        CommandExecutionError: PostgreSQL or systemd refused.

    CLI Example:
        salt bbdd1 database_copy.clean
    """
    __salt__["scratch.remove"]()
    _drop()


def _drop() -> None:
    _query(f"DROP DATABASE IF EXISTS {roles.identifier(scratch.TEMPORARY)} WITH (FORCE)")


def archive() -> None:
    """Have the primary's last changes in the repository, with a commit after them.

    PostgreSQL recovers to a moment only if it finds a later commit.

    Raises:
        CommandExecutionError: this host is a replica, or the WAL does not arrive in time.

    CLI Example:
        salt bbdd1 database_copy.archive
    """
    _on_the_primary()
    _query("SELECT pg_current_xact_id()")
    segment = _query("SELECT pg_walfile_name(pg_switch_wal())")

    def obstacle() -> str:
        last, failed = _query(
            "SELECT last_archived_wal, CASE "
            "WHEN coalesce(last_failed_time > last_archived_time, last_failed_time IS NOT NULL) "
            "THEN last_failed_wal ELSE '' END FROM pg_stat_archiver"
        ).split("|")
        # without the timeline; a promotion archives the part of a segment, too
        if last[8:] >= segment[8:] and not last.endswith(".partial"):
            return ""
        return f"archiving {failed} fails" if failed else f"the last that arrived is {last}"

    try:
        waiting.clear(obstacle, ARCHIVED, f"WAL {segment} to arrive in the repository")
    except TimeoutError as error:
        raise CommandExecutionError(f"{error}; see journalctl -u patroni") from None


def _load(application: str, owner: str) -> None:
    """Copy the database of the scratch cluster into the running cluster."""
    wanted = {**pillars.application(__pillar__, owner), "name": scratch.TEMPORARY}
    _query(roles.script(roles.database_steps({}, [wanted])))
    __salt__["scratch.load"](application, scratch.TEMPORARY, owner)
    try:
        row = records.read(lambda sql: str(__salt__["scratch.query"](sql, application)))
    except ValueError as error:
        raise CommandExecutionError(f"{application}: {error}") from None
    given = [row.release, row.parts] if row else []
    __salt__["database.record"](owner, scratch.TEMPORARY, given)
    _query("ANALYZE", scratch.TEMPORARY)


def _on_the_primary() -> None:
    if _query("SELECT pg_is_in_recovery()") == "t":
        raise CommandExecutionError("this host is a replica (see patroni.leader)")


def _query(sql: str, database: str = "postgres") -> str:
    return str(__salt__["database.query"](sql, database))


def _pillar() -> dict[str, Any]:
    return pillars.section(__pillar__, "scratch")

"""Manage the roles and databases of this host's PostgreSQL, as the system user `postgres`.

Salt's own postgres module puts passwords on command lines (decision 9). This module sends SQL to
psql's standard input instead.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any

from salt.exceptions import CommandExecutionError

from salina.common import pillars
from salina.database import records, roles
from salina.database.psql import SAFE

__salt__: dict[str, Any]
__pillar__: dict[str, Any]

RECORD = "release of database {}"
"""The place for the release of a database, in words."""


def query(sql: str, database: str = "postgres") -> str:
    """Run SQL on this host's own PostgreSQL.

    Args:
        sql: one or more statements; the first error ends it.
        database: the database's name.

    Returns:
        The output, one line per row.

    Raises:
        CommandExecutionError: psql failed; its message is shown without the SQL.

    CLI Example:
        salt bbdd1 database.query 'SELECT pg_is_in_recovery()'
    """
    psql = f"/usr/lib/postgresql/{_pillar()['version']}/bin/psql"
    command = ["runuser", "-u", "postgres", "--", psql, "--no-psqlrc", "--quiet", "--no-align"]
    command += ["--tuples-only", "--no-password", "--set=ON_ERROR_STOP=1", f"--dbname={database}"]
    command += ["--host=/run/postgresql", f"--port={_pillar()['port']}"]
    options = {"env": {"PGOPTIONS": SAFE}, "output_loglevel": "quiet"}
    result = __salt__["cmd.run_all"](command, python_shell=False, stdin=sql, cwd="/", **options)
    if result["retcode"]:
        raise CommandExecutionError(f"{' '.join(command)}: {_without_sql(result['stderr'])}")
    return str(result["stdout"])


def plan() -> dict[str, Any]:
    """Compare the roles and databases with the pillar. This changes nothing.

    Returns:
        `replica` says whether this host is one; then it shows what has arrived from the primary.
        `steps` lists each missing change as [subject, change].

    Raises:
        CommandExecutionError: PostgreSQL does not answer, or a difference cannot be corrected in
            place.

    CLI Example:
        salt bbdd1 database.plan
    """
    replica, steps, missing = _plan()
    told = [[step.subject, step.change] for step in steps]
    return {"replica": replica, "steps": told + [[RECORD.format(name), "made"] for name in missing]}


def apply() -> dict[str, str]:
    """Change the roles and databases on the primary, as `database.plan` shows.

    Returns:
        The changes of each subject.

    Raises:
        CommandExecutionError: this host is a replica, or PostgreSQL refused.

    CLI Example:
        salt bbdd1 database.apply
    """
    replica, steps, missing = _plan()
    if replica:
        raise CommandExecutionError(
            "this host is a replica: change roles on the primary (see patroni.leader)"
        )
    if steps:
        query(roles.script(steps))
    changes: dict[str, list[str]] = {}
    for step in steps:
        changes.setdefault(step.subject, []).append(step.change)
    for name in missing:
        record(name)
        changes[RECORD.format(name)] = ["made"]
    return {subject: ", ".join(words) for subject, words in changes.items()}


def record(application: str, database: str = "", row: Sequence[str] = ()) -> bool:
    """Make the place in a database that says which release it belongs to, on the primary.

    Args:
        application: the application whose database it is.
        database: its name, if it is a copy.
        row: the release and its parts as JSON, of the database that was copied. Without it, those
            are taken over that an earlier version of this project has recorded in this database.

    Returns:
        False if it was there before.

    Raises:
        CommandExecutionError: PostgreSQL refused, or somebody else's schema is in its place.

    CLI Example:
        salt bbdd1 database.record crm
    """
    known, name = pillars.application(__pillar__, application), database or application
    owner = known["record"]["user"]
    if _recorded(name, owner):
        return False
    found = records.Row(*row) if row else _row(name)
    query(records.script(name, known["user"], owner, found), name)
    return True


def row(database: str) -> list[str]:
    """Return the release that a database belongs to.

    Args:
        database: its name.

    Returns:
        The release and its parts as JSON, or nothing.

    Raises:
        CommandExecutionError: PostgreSQL does not answer, or somebody has written something else.

    CLI Example:
        salt bbdd1 database.row crm
    """
    try:
        found = records.read(lambda sql: query(sql, database))
    except ValueError as error:
        raise CommandExecutionError(f"{database}: {error}") from None
    return [found.release, found.parts] if found else []


def _row(database: str) -> records.Row | None:
    """Return what an earlier version of this project has recorded, unless it is not valid."""
    try:
        return records.read(lambda sql: query(sql, database))
    except ValueError:
        return None  # the application could write it


def _recorded(database: str, owner: str) -> bool:
    try:
        return records.complete(json.loads(query(records.state(owner), database)), owner, database)
    except ValueError as error:
        raise CommandExecutionError(str(error)) from None


def _unrecorded(current: Collection[str]) -> list[str]:
    """Return the applications whose databases have no place yet for the release."""
    return [
        one["name"]
        for one in _pillar()["applications"]
        if one["name"] not in current or not _recorded(one["name"], one["record"]["user"])
    ]


def _plan() -> tuple[bool, list[roles.Step], list[str]]:
    pillar = _pillar()
    wanted = roles.roles(pillar)
    current = json.loads(query(roles.state_query([role.name for role in wanted])))
    try:
        steps = roles.role_steps(current["roles"], wanted)
        steps += roles.database_steps(current["databases"], pillar["applications"])
    except ValueError as error:
        raise CommandExecutionError(str(error)) from error
    return current["replica"], steps, _unrecorded(current["databases"])


def _pillar() -> dict[str, Any]:
    return pillars.section(__pillar__, "database")


def _without_sql(message: str) -> str:
    """Return psql's message without the lines that repeat the statement."""
    return "\n".join(line for line in message.splitlines() if not line.startswith(("LINE", " ")))

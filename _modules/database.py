"""Manage the roles and databases of this host's PostgreSQL, as the system user `postgres`.

Salt's own postgres module puts passwords on command lines (decision 9). This module sends SQL to
psql's standard input instead.
"""

from __future__ import annotations

import json
from typing import Any

from salt.exceptions import CommandExecutionError

from salina.common import pillars
from salina.database import roles
from salina.database.psql import SAFE

__salt__: dict[str, Any]
__pillar__: dict[str, Any]


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
    replica, steps = _plan()
    return {"replica": replica, "steps": [[step.subject, step.change] for step in steps]}


def apply() -> dict[str, str]:
    """Change the roles and databases on the primary, as `database.plan` shows.

    Returns:
        The changes of each subject.

    Raises:
        CommandExecutionError: this host is a replica, or PostgreSQL refused.

    CLI Example:
        salt bbdd1 database.apply
    """
    replica, steps = _plan()
    if replica:
        raise CommandExecutionError(
            "this host is a replica: change roles on the primary (see patroni.leader)"
        )
    if steps:
        query(roles.script(steps))
    changes: dict[str, list[str]] = {}
    for step in steps:
        changes.setdefault(step.subject, []).append(step.change)
    return {subject: ", ".join(words) for subject, words in changes.items()}


def _plan() -> tuple[bool, list[roles.Step]]:
    pillar = _pillar()
    wanted = roles.roles(pillar)
    current = json.loads(query(roles.state_query([role.name for role in wanted])))
    try:
        steps = roles.role_steps(current["roles"], wanted)
        steps += roles.database_steps(current["databases"], pillar["applications"])
    except ValueError as error:
        raise CommandExecutionError(str(error)) from error
    return current["replica"], steps


def _pillar() -> dict[str, Any]:
    return pillars.section(__pillar__, "database")


def _without_sql(message: str) -> str:
    """Return psql's message without the lines that repeat the statement."""
    return "\n".join(line for line in message.splitlines() if not line.startswith(("LINE", " ")))

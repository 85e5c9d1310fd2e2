"""Roles and databases of this host's PostgreSQL, as the system's user ``postgres``.

Salt's own postgres module puts passwords on command lines (decision 9); here SQL goes through
psql's standard input.
"""

from __future__ import annotations

import json
from typing import Any

from salt.exceptions import CommandExecutionError

from salina.database import roles

__salt__: dict[str, Any]
__pillar__: dict[str, Any]


def query(sql: str, database: str = "postgres") -> str:
    """Run SQL on this host's own PostgreSQL and return its output, one line a row.

    Args:
        sql: one or more statements; the first error ends it.
        database: where.

    Raises:
        CommandExecutionError: psql's message; the SQL is not repeated.

    CLI example::

        salt bbdd1 database.query 'SELECT pg_is_in_recovery()'
    """
    psql = f"/usr/lib/postgresql/{_pillar()['version']}/bin/psql"
    command = ["runuser", "-u", "postgres", "--", psql, "--no-psqlrc", "--quiet", "--no-align"]
    command += ["--tuples-only", "--no-password", "--set=ON_ERROR_STOP=1", f"--dbname={database}"]
    command += ["--host=/run/postgresql", f"--port={_pillar()['port']}"]
    result = __salt__["cmd.run_all"](
        command, python_shell=False, stdin=sql, cwd="/", output_loglevel="quiet"
    )
    if result["retcode"]:
        raise CommandExecutionError(f"{' '.join(command)}: {_without_sql(result['stderr'])}")
    return str(result["stdout"])


def plan() -> dict[str, Any]:
    """Return how this host stands to what is wanted: ``replica`` and ``steps``.

    Each step is ``[subject, change]``. A replica shows what has arrived from the primary.

    Raises:
        CommandExecutionError: PostgreSQL doesn't answer, or something can't be put right in place.

    CLI example::

        salt bbdd1 database.plan
    """
    replica, steps = _plan()
    return {"replica": replica, "steps": [[step.subject, step.change] for step in steps]}


def apply() -> dict[str, str]:
    """Carry out the plan on the primary; returns what changed, by subject.

    Raises:
        CommandExecutionError: this host is not the primary, or PostgreSQL refused.

    CLI example::

        salt bbdd1 database.apply
    """
    replica, steps = _plan()
    if replica:
        raise CommandExecutionError("this host is a replica: roles are changed on the primary")
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
    try:
        return dict(__pillar__["database"])
    except KeyError:
        raise CommandExecutionError("this host has no role database (pillar database)") from None


def _without_sql(message: str) -> str:
    """Return psql's message without the lines in which it repeats the statement."""
    return "\n".join(line for line in message.splitlines() if not line.startswith(("LINE", " ")))

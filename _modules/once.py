"""Run steps that are done once for the whole service, such as the creation of the tables."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from salt.exceptions import CommandExecutionError

from salina.application.database import MARKS, mark, session
from salina.common import commands
from salina.database.psql import PsqlError, Session, literal

__salt__: dict[str, Any]
__pillar__: dict[str, Any]

#: The number of lines that an error shows of a failed command's output.
TAIL = 40


def done(step: str, leaves: Mapping[str, Any] | None = None) -> str:
    """Return where and when a step was done, or "" if it is not done yet.

    Args:
        step: the step's name.
        leaves: the rows that the step leaves, as in `once.run`.

    Returns:
        Text such as "s1 at 2026-11-21 22:31:07+00", or "".

    Raises:
        CommandExecutionError: the database does not answer.

    CLI Example:
        salt s1 once.done initialise
    """
    try:
        with session(__pillar__, f"salina: {step}?") as opened:
            return _done(opened, step, leaves)
    except PsqlError as error:
        raise CommandExecutionError(
            f"{step}: the database does not say whether this step is done: {error}"
        ) from error


def run(
    step: str,
    command: list[str],
    user: str,
    cwd: str,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    env_file: str | None = None,
    patience: int = 900,
    leaves: Mapping[str, Any] | None = None,
) -> str:
    """Run a command, unless a host of the service has done this step before.

    The hosts take turns through an advisory lock of the application's database. A host holds the
    lock while its command runs. If the host dies, the database frees the lock and the command dies
    too. The step counts as done only after the command succeeded. Otherwise the next call tries
    the step again, on whichever host.

    Args:
        step: the step's name, unique in this service.
        command: the program and its arguments.
        user: the user who runs it, in the group of the same name.
        cwd: the working directory.
        stdin: the command's standard input; the place for a script.
        env: the command's environment; the place for a secret.
        env_file: a file with further variables, as NAME="value" lines that systemd can read.
        patience: seconds to wait for the turn, and again for the command itself.
        leaves: the rows that the step leaves in the application's database: `table`, and `rows`,
            each a mapping of columns to values. The step is done while all of them are there,
            whatever was done before. So it is done again when somebody has changed them.

    Returns:
        "" if the command ran here. Otherwise where and when the step was done before.

    Raises:
        CommandExecutionError: the command or the database failed, or the turn did not come in time.

    CLI Example:
        salt s1 once.run greet '[echo, hello]' odoo /
    """
    try:
        with session(__pillar__, f"salina: {step} on {platform.node()}") as opened:
            opened.query(f"SET lock_timeout = '{patience}s'")
            key = literal(f"salina once {step}")
            opened.query(f"SELECT pg_advisory_lock(hashtextextended({key}, 0))")
            before = _done(opened, step, leaves)
            if before:
                return before
            environment = _environment(env_file) | dict(env or {})
            _run(step, command, user, cwd, stdin, environment, patience)
            mark(opened, step)
            return ""
    except PsqlError as error:
        raise CommandExecutionError(f"{step} is not recorded as done: {error}") from error


def _done(opened: Session, step: str, leaves: Mapping[str, Any] | None) -> str:
    if leaves and not _there(opened, leaves["table"], leaves["rows"]):
        return ""
    before = _marked(opened, step)
    return before or ("another step" if leaves else "")


def _there(opened: Session, table: str, rows: Sequence[Mapping[str, str]]) -> bool:
    """Return whether a table has rows with these values."""
    if opened.query(f"SELECT to_regclass({literal(table)}) IS NULL") == ["t"]:
        return False
    wanted = (
        " AND ".join(f"{column} = {literal(value)}" for column, value in row.items())
        for row in rows
    )
    exist = " AND ".join(f"EXISTS (SELECT FROM {table} WHERE {each})" for each in wanted)
    return opened.query(f"SELECT {exist}") == ["t"]


def _marked(opened: Session, step: str) -> str:
    if opened.query(f"SELECT to_regclass('{MARKS}') IS NULL") == ["t"]:
        return ""
    rows = opened.query(
        f"SELECT host || ' at ' || finished FROM {MARKS} WHERE step = {literal(step)}"
    )
    return rows[0] if rows else ""


def _run(
    step: str,
    command: list[str],
    user: str,
    cwd: str,
    stdin: str | None,
    env: Mapping[str, str],
    timeout: int,
) -> None:
    """Run a command as a user, and keep its environment out of the log."""
    become = [f"--reuid={user}", f"--regid={user}", "--init-groups"]
    result = __salt__["cmd.run_all"](
        [*commands.MORTAL, *become, "--", *command],
        python_shell=False,
        cwd=cwd,
        stdin=stdin,
        env=dict(env),
        timeout=timeout,
        redirect_stderr=True,
        output_loglevel="quiet",
    )
    if result["retcode"]:
        tail = "\n".join(result["stdout"].splitlines()[-TAIL:])
        raise CommandExecutionError(
            f"{step} is not done, because this command ended with exit code {result['retcode']}: "
            f"{' '.join(command)}\n{tail}"
        )


def _environment(path: str | None) -> dict[str, str]:
    """Return the variables in a file of NAME="value" lines."""
    lines = Path(path).read_text().splitlines() if path else []
    pairs = (line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    return {name: value.strip('"') for name, value in pairs}

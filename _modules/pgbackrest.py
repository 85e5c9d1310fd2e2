"""Manage the backups of the database cluster with pgBackRest.

Backups are made on the backup host, by the unit that its timers start as well.
"""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import Any

from salt.exceptions import CommandExecutionError

from salina.backup import pgbackrest, second
from salina.common import commands, pillars
from salina.common.https import identity

__salt__: dict[str, Any]
__pillar__: dict[str, Any]

OWN = identity("backup")
REPORTS = ("info", "verify")
"""The commands whose output is a report, in which no other line may stand."""
NO_PRIMARY = "unable to find primary cluster"
"""The beginning of pgBackRest's error 56."""
UNIT = "salina-backup@{}.service"


def configuration_file() -> str:
    """Return the content of this host's pgbackrest.conf.

    It may hold a password, so print it nowhere.

    Returns:
        The file's text.

    CLI Example:
        salt bkp1 pgbackrest.configuration_file
    """
    if "backup" in __pillar__:
        return pgbackrest.repository_configuration(__pillar__["backup"], OWN)
    return pgbackrest.database_configuration(pillars.section(__pillar__, "archiving"), OWN)


def scratch_configuration_file() -> str:
    """Return the content of the file with which the backup host restores a scratch cluster.

    It holds a password, so print it nowhere.

    Returns:
        The file's text.

    CLI Example:
        salt bkp1 pgbackrest.scratch_configuration_file
    """
    files = pillars.section(__pillar__, "scratch")["files"]
    return pgbackrest.scratch_configuration(pillars.section(__pillar__, "backup"), files)


def info() -> dict[str, Any]:
    """Return the stanza: its status, its backups from old to new, and the last WAL.

    Returns:
        `code` and `message` of the status, `backups`, and `wal`.

    Raises:
        CommandExecutionError: this is not the backup host, or pgBackRest failed.

    CLI Example:
        salt bkp1 pgbackrest.info
    """
    found = _stanza()
    return found._asdict() | {"backups": [one._asdict() for one in found.backups]}


def create_stanza() -> None:
    """Create the stanza, which needs the primary; one that exists stays as it is.

    Raises:
        CommandExecutionError: pgBackRest failed; mostly no primary answers.

    CLI Example:
        salt bkp1 pgbackrest.create_stanza
    """
    _run("stanza-create")


def back_up(kind: str) -> str:
    """Make a backup, and wait for its end.

    systemd repeats one that a timer began and that failed, but none that somebody waits for.

    Args:
        kind: full, diff or incr.

    Returns:
        The label of the new backup.

    Raises:
        CommandExecutionError: the kind is another one, or the backup failed; the message ends with
            pgBackRest's last lines, and the room that is left.

    CLI Example:
        salt bkp1 pgbackrest.back_up diff
    """
    if kind not in ("full", "diff", "incr"):
        raise CommandExecutionError(f"kind: {kind!r} is not valid; must be full, diff or incr")
    before = {one.label for one in _stanza().backups}
    unit = UNIT.format(kind)
    _forget(unit)
    try:
        commands.systemctl(__salt__, "start", unit)
    except CommandExecutionError as error:
        lines = ["journalctl", "--unit", unit, "--lines=8", "--output=cat", "--no-pager"]
        said = commands.run(__salt__["cmd.run_all"], lines)
        # pgBackRest does not say why it cannot write
        place = Path(pillars.section(__pillar__, "backup")["repository"], "backup")
        free = f"{shutil.disk_usage(place).free >> 20} MiB are free in {place}"
        with contextlib.suppress(CommandExecutionError):
            _forget(unit)
        raise CommandExecutionError(f"{error}\n{said}\n{free}") from None
    made = [one.label for one in _stanza().backups if one.label not in before]
    if not made:
        raise CommandExecutionError(f"{unit} ended, and there is no new backup")
    return made[-1]


def _forget(unit: str) -> None:
    """Let systemd forget the failures of a unit, and that it wanted to start it again.

    A start would wait for that attempt, and after some starts, good ones too, systemd refuses the
    next one for hours.
    """
    show = ["systemctl", "show", unit, "--property=SubState", "--value"]
    if commands.run(__salt__["cmd.run_all"], show).strip() == "auto-restart":
        commands.systemctl(__salt__, "stop", unit)
    # An error means that the unit is not loaded, and so has no failures.
    reset = ["systemctl", "reset-failed", unit]
    __salt__["cmd.run_all"](reset, python_shell=False, ignore_retcode=True)


def came_back() -> float:
    """Return when the repository came back from the second place.

    The WAL that the lost host got after its last mirror is missing. So the moments from then until
    the next backup cannot be restored.

    Returns:
        Seconds since the epoch; 0 if it never came back.

    Raises:
        CommandExecutionError: this is not the backup host.

    CLI Example:
        salt bkp1 pgbackrest.came_back
    """
    file = Path(pillars.section(__pillar__, "backup")["repository"], second.RETURNED)
    return file.stat().st_mtime if file.exists() else 0


def without_primary() -> str:
    """Return pgBackRest's message if none of the database hosts is a primary that answers, or "".

    pgBackRest has ten seconds for a host instead of a minute. With its own bound it went on for
    some minutes while both hosts were away.

    Returns:
        The message; "" also if pgBackRest fails for another reason.

    CLI Example:
        salt bkp1 pgbackrest.without_primary
    """
    try:
        _run("stanza-create", "--io-timeout=10")
    except CommandExecutionError as error:
        return str(error) if NO_PRIMARY in str(error) else ""
    return ""


def check() -> None:
    """Let the primary archive a file of WAL, and wait until it has arrived here.

    Raises:
        CommandExecutionError: it does not arrive; the message is pgBackRest's.

    CLI Example:
        salt bkp1 pgbackrest.check
    """
    _run("check")


def verify() -> str:
    """Read the whole repository, and compare each file with its checksum.

    Returns:
        pgBackRest's report (`salina.backup.drill.verified` reads it).

    Raises:
        CommandExecutionError: this is not the backup host, or pgBackRest failed.

    CLI Example:
        salt bkp1 pgbackrest.verify
    """
    return _run("verify", "--output=text", "--verbose")


def _stanza() -> pgbackrest.Stanza:
    name = pillars.section(__pillar__, "backup")["stanza"]
    return pgbackrest.parse_info(_run("info", "--output=json"), name)


def _run(*arguments: str) -> str:
    name = pillars.section(__pillar__, "backup")["stanza"]
    command = ["runuser", "-u", "postgres", "--", "pgbackrest", f"--stanza={name}"]
    level = "--log-level-console=off" if arguments[0] in REPORTS else "--log-level-console=warn"
    return commands.run(__salt__["cmd.run_all"], [*command, level, *arguments], cwd="/")

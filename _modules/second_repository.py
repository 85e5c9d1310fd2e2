"""Mirror the backups to a second place, and bring them back from there.

Two units do the work, which a timer starts as well (salt/second_repository), with the same Python
(_utils/salina/backup/second.py).
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from salt.exceptions import CommandExecutionError

from salina.backup import rclone, second
from salina.common import commands, pillars

__salt__: dict[str, Any]
__pillar__: dict[str, Any]

MIRROR = "salina-second.service"
FETCH = "salina-second-fetch.service"


def configuration_file() -> str:
    """Return the content of rclone's configuration.

    It holds a secret, so print it nowhere.

    Returns:
        The file's text.

    CLI Example:
        salt bkp1 second_repository.configuration_file
    """
    return rclone.configuration(_section())


def known_hosts_file() -> str:
    """Return the content of the file with the public keys of the other host.

    Returns:
        The file's text, which is empty for an object store.

    CLI Example:
        salt bkp1 second_repository.known_hosts_file
    """
    return rclone.known_hosts(_section())


def settings_file() -> str:
    """Return the content of the file that tells the units the place and the repositories.

    Returns:
        JSON.

    CLI Example:
        salt bkp1 second_repository.settings_file
    """
    section = _section()
    return json.dumps({"place": vars(rclone.place(section)), "parts": section["parts"]}, indent=2)


def state() -> dict[str, Any]:
    """Return the place, and the last complete mirror.

    Returns:
        `place` in words; `record`, with `began`, `ended`, `files` and `bytes`, or {}; `since`, the
        end of that mirror or the moment at which the place was set; and `minutes` from one mirror
        to the next.

    Raises:
        CommandExecutionError: this host has no second repository.

    CLI Example:
        salt bkp1 second_repository.state
    """
    section, record = _section(), _record()
    since = record["ended"] if record else Path(second.SETTINGS).stat().st_mtime
    return {
        "place": rclone.words(section),
        "record": record,
        "since": since,
        "minutes": section["minutes"],
    }


def mirror() -> dict[str, Any]:
    """Bring the second repository up to date now, and wait for the end.

    Returns:
        The same as `state`.

    Raises:
        CommandExecutionError: this host has no second repository, or the mirror failed; the message
            ends with its last lines.

    CLI Example:
        salt bkp1 second_repository.mirror
    """
    _section()
    asked = time.time()
    show = ["systemctl", "show", MIRROR, "--property=ActiveState", "--value"]
    if commands.run(__salt__["cmd.run_all"], show).strip() == "activating":
        _start(MIRROR)  # this one began before, so only its end is awaited
    _start(MIRROR)
    if _record().get("began", 0) >= asked:
        return state()
    raise CommandExecutionError(f"the mirror failed\n{_said(MIRROR)}")


def lost() -> list[str]:
    """Return the repositories that this host has lost, and that the second place has.

    Returns:
        Their directories.

    Raises:
        CommandExecutionError: the place does not answer, or has another repository.

    CLI Example:
        salt bkp1 second_repository.lost
    """
    place, parts = second.read(json.loads(settings_file()))
    try:
        return [part.directory for part in second.lost(place, parts, second.Rclone())]
    except (OSError, second.SecondError) as error:
        raise CommandExecutionError(str(error)) from None


def unmarked() -> list[str]:
    """Return the repositories of which this host does not know yet whether the place has them.

    Returns:
        Their directories.

    Raises:
        CommandExecutionError: this host has no second repository.

    CLI Example:
        salt bkp1 second_repository.unmarked
    """
    _, parts = second.read(json.loads(settings_file()))
    return [part.directory for part in parts if not second.marked(part)]


def fetch() -> None:
    """Bring back the repositories that this host has lost, and wait for the end.

    Raises:
        CommandExecutionError: the place does not answer, or has another repository. A repeated call
            continues.

    CLI Example:
        salt bkp1 second_repository.fetch
    """
    _start(FETCH)
    if left := unmarked():
        raise CommandExecutionError(f"{', '.join(left)}: not brought back\n{_said(FETCH)}")


def _start(unit: str) -> None:
    try:
        commands.systemctl(__salt__, "start", unit)
    except CommandExecutionError as error:
        said = _said(unit)
        commands.run(__salt__["cmd.run_all"], ["systemctl", "reset-failed", unit])
        raise CommandExecutionError(f"{error}\n{said}") from None


def _said(unit: str) -> str:
    lines = ["journalctl", "--unit", unit, "--lines=6", "--output=cat", "--no-pager"]
    return commands.run(__salt__["cmd.run_all"], lines)


def _record() -> dict[str, Any]:
    try:
        return dict(json.loads(Path(second.RECORD).read_text()))
    except FileNotFoundError:
        return {}


def _section() -> dict[str, Any]:
    section = __pillar__.get("second_repository")
    if section is None:
        pillars.section(__pillar__, "backup")
        raise CommandExecutionError("pillar/settings/backup.yaml has no second repository")
    return dict(section)

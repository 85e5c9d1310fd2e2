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
__opts__: dict[str, Any]

MIRROR = "salina-second.service"
FETCH = "salina-second-fetch.service"


def settings_file() -> str:
    """Return the content of the file that tells the units all that they need.

    It holds a secret, so print it nowhere.

    Returns:
        JSON.

    CLI Example:
        salt bkp1 second_repository.settings_file
    """
    return json.dumps(_settings(), indent=2)


def state() -> dict[str, Any]:
    """Return the place, and the last complete mirror.

    Returns:
        `place` in words; `record`, with `began`, `ended`, `files` and `bytes`, or {} if this place
        has no complete mirror; `set`, when the place was set; `since`, the same or when that mirror
        began; `minutes` from one mirror to the next; and `compared`, the answer of the last
        `compare`, or {}.

    Raises:
        CommandExecutionError: this host has no second repository, or its states were not applied.

    CLI Example:
        salt bkp1 second_repository.state
    """
    section = _section()
    place = rclone.place(section).words
    if not Path(second.SETTINGS).exists():
        raise CommandExecutionError(f"not set up yet; next: salt {__opts__['id']} state.apply")
    record, since = second.record(place, second.RECORD), Path(second.SETTINGS).stat().st_mtime
    return {
        "place": place,
        "record": record,
        "since": record["began"] if record else since,
        "set": since,
        "minutes": section["minutes"],
        "compared": second.record(place, second.COMPARED),
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
    place = rclone.place(_section()).words
    asked = time.time()
    show = ["systemctl", "show", MIRROR, "--property=ActiveState", "--value"]
    if commands.run(__salt__["cmd.run_all"], show).strip() == "activating":
        _start(MIRROR)  # this one began before, so only its end is awaited
    _start(MIRROR)
    if second.record(place, second.RECORD).get("began", 0) >= asked:
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
    try:
        return [part.directory for part in second.lost(*second.read(_settings()))]
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
    _, parts, _ = second.read(_settings())
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


def compare() -> dict[str, Any]:
    """Read a sample of the mirror at the place, and compare it with this host's files.

    The sample has the files that were damaged the last time.

    Returns:
        The number of `files`, their `bytes`, those that are `damaged` at the place, and when it
        `began` and `ended`.

    Raises:
        CommandExecutionError: the place does not answer.

    CLI Example:
        salt bkp1 second_repository.compare
    """
    place, parts, program = second.read(_settings())
    began = time.time()
    try:
        known = second.record(place.words, second.COMPARED).get("damaged", [])
        second.note(second.COMPARED, place, began, second.compare(place, parts, program, known))
    except (OSError, second.SecondError) as error:
        raise CommandExecutionError(str(error)) from None
    return second.record(place.words, second.COMPARED)


def claim(confirm: str) -> list[str]:
    """Declare that this host has the right backups, whoever mirrored to the second place last.

    The next mirror deletes there what this host does not have.

    Args:
        confirm: the id of this host.

    Returns:
        The directories whose mirrors were those of another host, or of a later state of this one.

    Raises:
        CommandExecutionError: the id is another one, or the place does not answer.

    CLI Example:
        salt bkp1 second_repository.claim confirm=bkp1
    """
    if confirm != __opts__["id"]:
        raise CommandExecutionError(f"confirm: {confirm!r} is not this host; must be its id")
    try:
        return second.claim(*second.read(_settings()))
    except (OSError, second.SecondError) as error:
        raise CommandExecutionError(str(error)) from None


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


def _settings() -> dict[str, Any]:
    section = _section()
    return {
        "place": vars(rclone.place(section)),
        "parts": section["parts"],
        "configuration": rclone.configuration(section),
        "known_hosts": rclone.known_hosts(section),
    }


def _section() -> dict[str, Any]:
    section = __pillar__.get("second_repository")
    if section is None:
        pillars.section(__pillar__, "backup")
        raise CommandExecutionError("pillar/settings/backup.yaml has no second repository")
    return dict(section)

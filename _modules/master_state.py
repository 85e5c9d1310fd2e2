"""Keep encrypted copies of the master's state on the backup host."""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from salt.exceptions import CommandExecutionError

from salina.common import file, pillars

__pillar__: dict[str, Any]

NAME = re.compile(r"[0-9]{8}T[0-9]{6}Z\.tar\.gz\.age")


def store(name: str, content: str, days: int) -> str:
    """Keep a copy, and delete those that are too old.

    Args:
        name: the file's name, which begins with the moment: 20261129T120000Z.tar.gz.age
        content: the encrypted archive in base64.
        days: how long a copy is kept.

    Returns:
        The path of the new copy.

    Raises:
        CommandExecutionError: the name is another one, or this is not the backup host.

    CLI Example:
        salt bkp1 master_state.store 20261129T120000Z.tar.gz.age CONTENT 14
    """
    if not NAME.fullmatch(name):
        raise CommandExecutionError(f"name: {name!r} is not valid; must be {NAME.pattern}")
    directory = _directory()
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = directory / name
    file.put(path, base64.b64decode(content, validate=True), 0o600)
    oldest = datetime.now(UTC) - timedelta(days=days)
    for old in stored()[:-1]:  # the newest one stays in any case
        if old < f"{oldest:%Y%m%dT%H%M%SZ}":
            (directory / old).unlink()
    return str(path)


def stored() -> list[str]:
    """Return the copies from old to new.

    Returns:
        The names of their files.

    Raises:
        CommandExecutionError: this is not the backup host.

    CLI Example:
        salt bkp1 master_state.stored
    """
    directory = _directory()
    found = directory.iterdir() if directory.is_dir() else ()
    return sorted(one.name for one in found if NAME.fullmatch(one.name))


def _directory() -> Path:
    return Path(pillars.section(__pillar__, "backup")["master_copies"])

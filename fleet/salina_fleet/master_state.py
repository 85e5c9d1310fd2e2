"""The master's own state as one encrypted file: all that the repository does not have.

age encrypts it for a key of the operator, whose private part is nowhere in the fleet. So the host
that keeps the file learns nothing, and nobody rebuilds the master without that key.
"""

from __future__ import annotations

import datetime
import gzip
import hashlib
import io
import subprocess
import tarfile
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from salina_fleet.backup import duration

PKI = Path("/etc/salt/pki/master")
MINION = Path("/etc/salt/pki/minion")
"""The keys of the master's own minion. The rebuilt master accepts no other ones."""
SUFFIX = ".tar.gz.age"
LATE = 26 * 3600
"""The seconds after which the day's copy is missing."""


class StateError(Exception):
    """The state cannot be read or encrypted."""


def archive(directories: Iterable[Path], but: Collection[Path] = ()) -> bytes:
    """Return directories as a compressed tar archive, with paths from the root.

    The same content gives the same bytes, whenever it is archived.

    Args:
        directories: absolute paths.
        but: files that are left out.

    Raises:
        StateError: a file cannot be read.
    """
    content = io.BytesIO()
    try:
        # a directory that is missing is an error here, and no reason for an empty archive
        paths = [path for one in directories if one.stat() for path in (one, *one.rglob("*"))]
        with tarfile.open(fileobj=content, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for path in sorted(paths):
                if path not in but and (path.is_dir() or path.is_file()):
                    tar.add(path, recursive=False, filter=_timeless)
    except OSError as error:
        raise StateError(f"the master's state cannot be read: {error}") from None
    return gzip.compress(content.getvalue(), mtime=0)


def _timeless(found: tarfile.TarInfo) -> tarfile.TarInfo:
    """Return a member without its time: a file that is written again is not a change."""
    found.mtime = 0
    return found


def digest(content: bytes) -> str:
    """Return what tells one state from another."""
    return hashlib.sha256(content).hexdigest()


def encrypted(content: bytes, recipient: str) -> bytes:
    """Return content that only the holder of a key can read.

    Args:
        content: the archive.
        recipient: the public part of the operator's age key (age1…).

    Raises:
        StateError: age is not installed, or refuses the key.
    """
    command = ["age", "--encrypt", "--recipient", recipient]
    try:
        done = subprocess.run(command, input=content, capture_output=True, check=False)
    except FileNotFoundError:
        raise StateError("age is not installed; apply the master's states") from None
    if done.returncode:
        raise StateError(f"age: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def name(moment: datetime.datetime) -> str:
    """Return the name of a copy: 20261129T120000Z.tar.gz.age."""
    return f"{moment:%Y%m%dT%H%M%SZ}{SUFFIX}"


def judged(wanted: bool, saved: float, now: float) -> dict[str, Any]:
    """Return whether the master's state is saved, as data and in words.

    Args:
        wanted: whether the settings have a recipient.
        saved: when the last copy was made, in seconds since the epoch; 0 if there is none.
        now: this moment.

    Returns:
        `good` and the `message`.
    """
    if not wanted:
        return {
            "good": True,
            "message": "the master's own state: not saved; see recipient in "
            "pillar/settings/backup.yaml",
        }
    if not saved:
        message = "not saved yet\n  next: salt-run backup.save_master"
        return {"good": False, "message": f"the master's own state: {message}"}
    message = f"the master's own state: saved {duration(int(now - saved))} ago"
    if now - saved < LATE:
        return {"good": True, "message": message}
    return {"good": False, "message": f"{message}\n  next: salt-run backup.save_master"}

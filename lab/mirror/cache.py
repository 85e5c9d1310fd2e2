"""Directories of the cache: each is named by a digest of what it is made from.

A directory is built under a temporary name beside its final one and renamed when it is
complete, so that a build which was killed leaves nothing that looks usable. All builds
hold one lock of the machine.
"""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.commands.console import out
from lab.paths import CACHE

UNFINISHED = ".unfinished"


def digest(*parts: object) -> str:
    """Return twelve hexadecimal digits that stand for the given data.

    :param parts: strings, numbers, lists and mappings, as JSON takes them
    """
    data = json.dumps(parts, sort_keys=True)
    return hashlib.sha256(data.encode()).hexdigest()[:12]


@contextmanager
def lock() -> Iterator[None]:
    """Hold the machine's lock for builds; a second builder waits and says so."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            out.print("waiting for another build of the lab's image or mirror …")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def directory(path: Path, build: Callable[[Path], None]) -> Path:
    """Return the directory, built first where it is missing.

    :param path: PARENT/NAME, where NAME holds the digest of the inputs
    :param build: fills the empty directory it is given
    """
    if path.is_dir():
        return path
    # A name of its own: a command of a killed build may still be writing.
    unfinished = path.with_name(f"{path.name}.{os.getpid()}{UNFINISHED}")
    remove(unfinished)
    unfinished.mkdir(mode=0o755, parents=True)
    build(unfinished)
    unfinished.rename(path)
    return path


def keep_only(path: Path) -> None:
    """Remove the older siblings of a directory, and builds that were killed."""
    for sibling in path.parent.iterdir():
        if sibling != path and not in_use(sibling):
            remove(sibling)


def in_use(path: Path) -> bool:
    """Tell whether a process sees a mount that names the directory: a host stands on it."""
    for mounts in Path("/proc").glob("[0-9]*/mountinfo"):
        try:
            if f"{path}/" in mounts.read_text():
                return True
        except OSError:  # the process ended meanwhile
            continue
    return False


def point(link: Path, target: Path) -> None:
    """Make a relative symbolic link in one step, also where another one stands."""
    relative = os.path.relpath(target, link.parent)
    if link.is_symlink() and os.readlink(link) == relative:
        return
    fresh = link.with_name(f".{link.name}{UNFINISHED}")
    remove(fresh)
    fresh.symlink_to(relative)
    fresh.replace(link)


def remove(path: Path) -> None:
    """Remove a file or a directory with all that is in it; nothing there is fine."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)

"""Directories of the cache. The name of each one is a digest of its inputs.

A directory is built under a temporary name, and renamed when it is complete. So a killed build
leaves nothing that looks usable. All builds hold one lock of the machine.
"""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.commands.console import out
from lab.paths import CACHE

UNFINISHED = ".unfinished"


def digest(*parts: object) -> str:
    """Return a digest of the data, in twelve hexadecimal digits.

    Args:
        parts: Strings, numbers, lists and mappings, as JSON takes them.
    """
    data = json.dumps(parts, sort_keys=True)
    return hashlib.sha256(data.encode()).hexdigest()[:12]


@contextmanager
def build_lock() -> Iterator[None]:
    """Hold the machine's lock for builds. A second builder prints a message and waits."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            out.print("waiting until another process has built the lab's image or mirror …")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def directory(path: Path, build: Callable[[Path], None]) -> Path:
    """Return the directory, and build it first if it is missing.

    Args:
        path: PARENT/NAME, where NAME has the digest of the inputs.
        build: Fills the empty directory that it is given.
    """
    if path.is_dir():
        return path
    # The name has the process id, because a command of a killed build may still be writing.
    unfinished = path.with_name(f"{path.name}.{os.getpid()}{UNFINISHED}")
    remove(unfinished)
    unfinished.mkdir(mode=0o755, parents=True)
    build(unfinished)
    unfinished.rename(path)
    return path


def keep_only(path: Path, spared: Collection[str] = ()) -> None:
    """Remove the older siblings of a directory, and the remains of killed builds.

    Siblings that a host still uses stay.

    Args:
        path: The directory.
        spared: The beginnings of the names of further siblings that stay.
    """
    for sibling in path.parent.iterdir():
        if sibling != path and not sibling.name.startswith(tuple(spared)) and not in_use(sibling):
            remove(sibling)


def in_use(path: Path) -> bool:
    """Return whether a host uses a directory: a process sees a mount of it."""
    for mounts in Path("/proc").glob("[0-9]*/mountinfo"):
        try:
            if f"{path}/" in mounts.read_text():
                return True
        except OSError:  # the process ended meanwhile
            continue
    return False


def point(link: Path, target: Path) -> None:
    """Create or replace a relative symbolic link atomically."""
    relative = os.path.relpath(target, link.parent)
    if link.is_symlink() and os.readlink(link) == relative:
        return
    fresh = link.with_name(f".{link.name}{UNFINISHED}")
    remove(fresh)
    fresh.symlink_to(relative)
    fresh.replace(link)


def put(path: Path, text: str) -> None:
    """Write a file atomically, because running hosts may be reading it."""
    fresh = path.with_name(f".{path.name}{UNFINISHED}")
    fresh.write_text(text)
    fresh.replace(path)


def remove(path: Path) -> None:
    """Remove a file, or a directory and everything in it, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)

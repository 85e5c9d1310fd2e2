"""Results that all processes of the master share: files that only the master's user can touch.

A result is pickled, and unpickling can run code. So a file counts only if it and its directory
belong to this process's user and nobody else may enter, and it may name only classes of this
project. Whatever else is there is ignored, and replaced if that is possible.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import logging
import os
import pickle
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from salina.common import wait

FOLDER = "salina"
"""The directory in the master's cache directory."""
PATIENCE = 30
"""Seconds to wait for another process that makes the same result."""
PAUSE = 0.02
PACKAGE = "salina_fleet"
"""The classes of this package may be in a result, and no others."""
_LENGTH = hashlib.sha256().digest_size

log = logging.getLogger(__name__)


class Shared:
    """Results in a directory, each with a name.

    Args:
        cache: the master's cache directory (`cachedir`), which must exist.
    """

    def __init__(self, cache: str | Path) -> None:
        self.folder = Path(cache) / FOLDER

    def get(self, name: str, key: str) -> Any:
        """Return a result; None if there is none that can be trusted.

        Args:
            name: its name.
            key: the conditions under which it was made, such as the version of the code.
        """
        with self._opened() as folder:
            return None if folder is None else _load(folder, name, key)

    @contextmanager
    def making(self, name: str) -> Iterator[None]:
        """Let one process at a time make a result; the others wait, and then find it.

        One that has waited too long makes the result for itself.
        """
        with self._opened() as folder:
            lock = None if folder is None else _open(folder, f"{name}.lock", os.O_RDWR | os.O_CREAT)
            try:
                if lock is not None and not wait.until(lambda: _taken(lock), PATIENCE, PAUSE):
                    log.warning("another process has held %s/%s.lock too long", self.folder, name)
                yield
            finally:
                if lock is not None:
                    os.close(lock)

    def put(self, name: str, key: str, value: Any) -> None:
        """Keep a result: readers see the old one or the new one, and never half of it."""
        with self._opened() as folder:
            if folder is None:
                return
            content = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
            aside = f"{name}.{os.getpid()}"
            try:
                with suppress(FileNotFoundError):
                    os.unlink(aside, dir_fd=folder)  # an earlier process with this number left it
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
                descriptor = os.open(aside, flags, 0o600, dir_fd=folder)
                with os.fdopen(descriptor, "wb") as file:
                    file.write(_digest(key, content) + content)
                os.replace(aside, name, src_dir_fd=folder, dst_dir_fd=folder)
            except OSError as error:
                log.warning("%s/%s cannot be written: %s", self.folder, name, error.strerror)
                with suppress(OSError):
                    os.unlink(aside, dir_fd=folder)

    @contextmanager
    def _opened(self) -> Iterator[int | None]:
        """Yield the directory's descriptor; None if it is not this user's alone."""
        with suppress(OSError):
            self.folder.mkdir(mode=0o700)
        try:
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            folder = os.open(self.folder, flags)
        except OSError as error:
            log.debug("%s is not used: %s", self.folder, error.strerror)
            yield None
            return
        try:
            own = _own(folder)
            if not own:
                log.warning(
                    "%s is not used: it must belong to this user, with mode 0700", self.folder
                )
            yield folder if own else None
        finally:
            os.close(folder)


class _Reader(pickle.Unpickler):
    """A reader that makes objects of this project's classes, which are loaded, and of no others."""

    def find_class(self, module: str, name: str) -> Any:
        found = getattr(sys.modules.get(module), name, None)
        own = isinstance(found, type) and found.__module__ == module  # not one that it imports
        if module.split(".")[0] != PACKAGE or not own:
            raise pickle.UnpicklingError(f"{module}.{name} is not a class of {PACKAGE}")
        return found


def _digest(key: str, content: bytes) -> bytes:
    return hashlib.sha256(key.encode() + b"\0" + content).digest()


def _load(folder: int, name: str, key: str) -> Any:
    descriptor = _open(folder, name, os.O_RDONLY)
    if descriptor is None:
        return None
    with os.fdopen(descriptor, "rb") as file:
        found = file.read()
    digest, content = found[:_LENGTH], found[_LENGTH:]
    if digest != _digest(key, content):
        return None  # another key, or the part that a power cut left
    try:
        return _Reader(io.BytesIO(content)).load()
    except (pickle.UnpicklingError, AttributeError, EOFError, TypeError, ValueError) as error:
        log.warning("%s in the cache is not used: %s", name, error)
        return None


def _open(folder: int, name: str, flags: int) -> int | None:
    """Return the descriptor of a regular file that is this user's alone, or None."""
    try:
        flags |= os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(name, flags, 0o600, dir_fd=folder)
    except OSError:
        return None
    if stat.S_ISREG(os.fstat(descriptor).st_mode) and _own(descriptor):
        return descriptor
    os.close(descriptor)
    return None


def _own(descriptor: int) -> bool:
    """Return whether nobody but this user may read or write something."""
    status = os.fstat(descriptor)
    return status.st_uid == os.geteuid() and not status.st_mode & 0o077


def _taken(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

"""Atomic writes: a reader sees the old file or the new one, never half of it, even after a kill."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from salt.exceptions import CommandExecutionError


def put(path: str | Path, content: bytes | str, mode: int = 0o644) -> None:
    """Replace a file atomically.

    Args:
        path: the file; its directory must exist.
        content: the file's whole content.
        mode: its permissions.

    Raises:
        CommandExecutionError: when it can't be written; the message says why. The old file stays.
    """
    data = content.encode() if isinstance(content, str) else content
    aside = ""
    try:
        with tempfile.NamedTemporaryFile(dir=Path(path).parent, delete=False) as file:
            aside = file.name
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(aside, mode)
        os.replace(aside, path)
    except OSError as error:
        if aside:
            Path(aside).unlink(missing_ok=True)
        raise CommandExecutionError(f"{path} can't be written: {error.strerror}") from error


@contextmanager
def locked(path: str | Path) -> Iterator[None]:
    """Keep other processes out that lock the same file, until the block ends.

    Raises:
        CommandExecutionError: the file can't be opened; the message says why.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise CommandExecutionError(f"{path} can't be opened: {error.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)

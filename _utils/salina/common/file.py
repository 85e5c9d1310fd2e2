"""Files that are there whole or as they were: nobody, also after a kill, sees half of one."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from salt.exceptions import CommandExecutionError


def put(path: str | Path, content: bytes | str, mode: int = 0o644) -> None:
    """Put a file in its place at once.

    Args:
        path: the file; its directory is there.
        content: all of it.
        mode: its permissions.

    Raises:
        CommandExecutionError: it can't be written; the message says why. Nothing is left of it.
    """
    data = content.encode() if isinstance(content, str) else content
    aside = ""
    try:
        with tempfile.NamedTemporaryFile(dir=Path(path).parent, delete=False) as file:
            aside = file.name
            file.write(data)
        os.chmod(aside, mode)
        os.replace(aside, path)
    except OSError as error:
        if aside:
            Path(aside).unlink(missing_ok=True)
        raise CommandExecutionError(f"{path} can't be written: {error.strerror}") from error

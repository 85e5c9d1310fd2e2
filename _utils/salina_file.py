"""Files that are there whole or as they were: nobody, also after a kill, sees half of one."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def put(path: str | Path, content: bytes, mode: int = 0o644) -> None:
    """Put a file in its place at once.

    Args:
        path: the file; its directory is there.
        content: all of it.
        mode: its permissions.
    """
    with tempfile.NamedTemporaryFile(dir=Path(path).parent, delete=False) as file:
        file.write(content)
    os.chmod(file.name, mode)
    os.replace(file.name, path)

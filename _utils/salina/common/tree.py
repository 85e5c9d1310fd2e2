"""The Python that minions load from this repository, named by one digest.

The pillar has the digest of the master's files (``host.tree``). A minion compares it with its own
files, and synchronises only when they differ. The module uses the standard library only, so that it
loads on a bare minion.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

#: Kinds of Python that Salt hands to minions, as its directories are called on a minion.
KINDS = ("modules", "states", "utils")


def digest(directories: dict[str, Path], read: Callable[[Path], bytes] = Path.read_bytes) -> str:
    """Return one SHA-256 for all Python files below some directories.

    It depends on the kind, the relative path and the content of each file, and on nothing else.

    Args:
        directories: kind (``modules``) -> its directory. A missing one counts as empty.
        read: the function that reads a file.

    Returns:
        64 hexadecimal digits.
    """
    total = hashlib.sha256()
    for kind, directory in sorted(directories.items()):
        for path in sorted(directory.rglob("*.py")):
            content = hashlib.sha256(read(path)).hexdigest()
            total.update(f"{kind}/{path.relative_to(directory).as_posix()} {content}\n".encode())
    return total.hexdigest()


def of_repository(root: Path, read: Callable[[Path], bytes] = Path.read_bytes) -> str:
    """Return the digest of the Python in a repository: ``root/_modules`` and so on."""
    return digest({kind: root / f"_{kind}" for kind in KINDS}, read)


def of_minion(extension_modules: Path) -> str:
    """Return the digest of the Python a minion holds: ``extmods/modules`` and so on."""
    return digest({kind: extension_modules / kind for kind in KINDS})

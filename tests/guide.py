"""Guides as tests follow them: the files that a page of docs/guides shows, written into a tree."""

from __future__ import annotations

import re
import shutil
from functools import cache
from pathlib import Path

from tests.conftest import REPOSITORY

BLOCK = re.compile(r"^```\w+\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
PATH = re.compile(r"`([\w.]+/[\w./-]+)`:\n+\Z")
COPIED = ("fleet", "_utils", "_modules", "_states", "_runners", "_pillar", "salt", "pillar")
ROLE = REPOSITORY / "docs/guides/add-a-role.md"


@cache
def blocks(page: Path) -> list[tuple[str, str]]:
    """Return (path, content) of each block of a page that stands below "`PATH`:"."""
    text = page.read_text()
    found = []
    for block in BLOCK.finditer(text):
        named = PATH.search(text[: block.start()])
        if named:
            found.append((named[1], block["text"]))
    return found


def follow(page: Path, root: Path) -> list[str]:
    """Write what a page shows into a tree; return the paths.

    A file that is there already gets the block at its end.
    """
    for path, content in blocks(page):
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text((file.read_text() if file.exists() else "") + content)
    return [path for path, _ in blocks(page)]


def copy(root: Path) -> Path:
    """Copy the repository's code and data to `root`, as a master has them; return it."""
    for name in COPIED:
        shutil.copytree(
            REPOSITORY / name,
            root / name,
            symlinks=True,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    return root


def give(root: Path, host: str, role: str) -> None:
    """Give a host of the copy's topology one more role."""
    file = root / "pillar/topology.yaml"
    lines = file.read_text().splitlines(keepends=True)
    place = lines.index(f"  {host}:\n") + 1
    assert "roles: [" in lines[place], lines[place]
    lines[place] = lines[place].replace("]", f", {role}]")
    file.write_text("".join(lines))

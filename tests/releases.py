"""A release of an application on a host, as the tests of several parts need it."""

from __future__ import annotations

from pathlib import Path

from salina.application.release import Release
from salina.common import wait

NAME = "c0ffee000000-0123abcd"
NEXT = "c0ffee000000-4567abcd"
DIGEST = "d" * 64


def complete(directory: Path, commit: str = "c0ffee") -> Release:
    """Return a complete release with a file of code, in this directory."""
    found = Release(directory)
    directory.mkdir(parents=True)
    (directory / "code.py").write_text(directory.name)
    found.complete(DIGEST, commit, recorded=True)
    return found


def change(release: Release, name: str, text: str = "by hand") -> str:
    """Change a file after the release was complete, and return its path."""
    path = release.directory / name

    def written() -> bool:
        path.write_text(text)
        return path.stat().st_ctime_ns > release.record.stat().st_ctime_ns

    assert wait.until(written, 10)  # the clock of the file system moves some times a second
    return str(path)

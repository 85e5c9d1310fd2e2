"""A real HAProxy for tests: this machine's, or the one that the lab's hosts install."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from tests import packaged

PACKAGES = ("haproxy", "liblua5.3-0", "libopentracing1", "libopentracing-c-wrapper0")
"""HAProxy and those libraries that a small Debian has not."""


@cache
def program() -> Path | None:
    """The command; None where there is neither, since the lab's mirror was not made yet."""
    return packaged.program("haproxy", PACKAGES, "liblua5.3.so.0")

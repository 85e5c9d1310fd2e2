"""A real HAProxy for tests: this machine's, or the one that the lab's hosts install."""

from __future__ import annotations

import atexit
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from lab.paths import MIRROR

POOL = MIRROR / "apt/pool/bookworm"
PACKAGES = ("haproxy", "liblua5.3-0", "libopentracing1", "libopentracing-c-wrapper0")
"""HAProxy and those libraries that a small Debian has not."""


@cache
def program() -> Path | None:
    """The command; None where there is neither, since the lab's mirror was not made yet."""
    own = shutil.which("haproxy", path="/usr/sbin:/usr/bin")
    if own:
        return Path(own)
    packages = [file for name in PACKAGES for file in POOL.glob(f"{name}_*.deb")]
    if len(packages) < len(PACKAGES):
        return None
    home = Path(tempfile.mkdtemp(prefix="salina-haproxy-"))
    atexit.register(shutil.rmtree, home)
    for file in packages:
        subprocess.run(["dpkg-deb", "--extract", file, home], check=True)
    [library] = {file.parent for file in home.rglob("liblua5.3.so.0")}
    command = home / "haproxy"
    command.write_text(f'#!/bin/sh\nLD_LIBRARY_PATH={library} exec {home}/usr/sbin/haproxy "$@"\n')
    command.chmod(0o755)
    return command

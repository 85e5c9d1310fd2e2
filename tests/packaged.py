"""Daemons for tests: this machine's, or out of the packages that the lab's mirror has."""

from __future__ import annotations

import atexit
import shutil
import subprocess
import tempfile
from pathlib import Path

from lab.paths import MIRROR

POOL = MIRROR / "apt/pool/bookworm"


def program(name: str, packages: tuple[str, ...], library: str) -> Path | None:
    """Return a daemon's command; None where there is neither, since the mirror was not made yet.

    `packages`: its own, and those of the libraries that a small Debian has not. `library`: a file
    of one of these, beside which the others are.
    """
    own = shutil.which(name, path="/usr/sbin:/usr/bin")
    if own:
        return Path(own)
    found = [file for package in packages for file in POOL.glob(f"{package}_*.deb")]
    if len(found) < len(packages):
        return None
    home = Path(tempfile.mkdtemp(prefix=f"salina-{name}-"))
    atexit.register(shutil.rmtree, home)
    for file in found:
        subprocess.run(["dpkg-deb", "--extract", file, home], check=True)
    [beside] = {file.parent for file in home.rglob(library)}
    command = home / name
    command.write_text(f'#!/bin/sh\nLD_LIBRARY_PATH={beside} exec {home}/usr/sbin/{name} "$@"\n')
    command.chmod(0o755)
    return command

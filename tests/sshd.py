"""A real sshd for tests: this machine's, or the one that the lab's mirror has for its own tests."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from lab.paths import MIRROR

POOL = MIRROR / "apt/pool/bookworm"
PACKAGES = ("openssh-server", "libwrap0")
"""sshd and the library that a small Debian has not."""
AROUND = """
mount -t tmpfs none /run && mkdir -m 0755 /run/sshd
getent passwd sshd >/dev/null || {
    { cat /etc/passwd; echo sshd:x:105:65534::/run/sshd:/usr/sbin/nologin; } >/run/passwd
    mount --bind /run/passwd /etc/passwd
}
exec "$@"
"""
"""sshd wants its user and its directory. They exist in a mount namespace only."""


@cache
def program() -> Path | None:
    """The command; None where there is neither, or where nobody may make a mount namespace."""
    if os.geteuid() != 0:
        return None
    own = shutil.which("sshd", path="/usr/sbin")
    if own:
        return Path(own)
    packages = [file for name in PACKAGES for file in POOL.glob(f"{name}_*.deb")]
    if len(packages) < len(PACKAGES):
        return None
    home = Path(tempfile.mkdtemp(prefix="salina-sshd-"))
    atexit.register(shutil.rmtree, home)
    for file in packages:
        subprocess.run(["dpkg-deb", "--extract", file, home], check=True)
    [library] = {file.parent for file in home.rglob("libwrap.so.0")}
    command = home / "sshd"
    command.write_text(f'#!/bin/sh\nLD_LIBRARY_PATH={library} exec {home}/usr/sbin/sshd "$@"\n')
    command.chmod(0o755)
    return command


def run(
    *arguments: str | Path, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command in a mount namespace in which sshd works."""
    command = ["unshare", "--mount", "sh", "-ec", AROUND, "sh", *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)

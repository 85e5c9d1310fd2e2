"""A real sshd for tests: this machine's, or the one that the lab's mirror has for its own tests."""

from __future__ import annotations

import os
import subprocess
from functools import cache
from pathlib import Path

from tests import packaged

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
    return packaged.program("sshd", PACKAGES, "libwrap.so.0")


def run(
    *arguments: str | Path, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command in a mount namespace in which sshd works."""
    command = ["unshare", "--mount", "sh", "-ec", AROUND, "sh", *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)

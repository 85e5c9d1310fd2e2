#!/usr/bin/python3 -I
# Managed by Salt (salt/operators).
"""Write an operator's session into the journal, no faster than the operator may fill it.

systemd starts one for each session (salina-session@.service). A session that prints more waits and
loses nothing. All sessions of an operator share one allowance, which the kernel's number of the
account tells apart, so nobody pushes the other lines of a host out of its journal.

Nothing but Python's own library is imported.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import sys
import time
from pathlib import Path

STATE = Path("/run/salina-record")
"""A file for each operator: the bytes that are left, and when that was."""
BURST = 64 * 2**20
"""The bytes that an operator may write at once."""
RATE = 16 * 2**10
"""The bytes that come to the allowance each second: 1.3 GiB a day."""
CHUNK = 65_536
CREDENTIALS = struct.Struct("3i")
"""Linux' struct ucred: process, account, group."""


def spend(path: Path, size: int, now: float) -> float:
    """Take bytes from an operator's allowance, and return the seconds until they may be written.

    Args:
        path: the operator's file.
        size: the bytes.
        now: the seconds since the boot.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        left, since = map(float, file.read().split() or (BURST, now))
        left = min(BURST, left + (now - since) * RATE) - size
        file.seek(0)
        file.truncate()
        file.write(f"{left} {now}")
    return max(0.0, -left / RATE)


def account(connection: socket.socket) -> int:
    """Return the number of the account at the other end of a socket, which the kernel knows."""
    shown = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
    return int(CREDENTIALS.unpack(shown)[1])


def main() -> int:
    """Copy the session to the journal until its end."""
    with socket.socket(fileno=os.dup(0)) as connection:
        path = STATE / str(account(connection))
    while content := os.read(0, CHUNK):
        time.sleep(spend(path, len(content), time.monotonic()))
        while content:
            content = content[os.write(1, content) :]
    return 0


if __name__ == "__main__":
    sys.exit(main())

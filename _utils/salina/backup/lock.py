"""Allow one scratch cluster at a time on a host."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

FILE = "/run/salina-scratch.lock"


class Busy(Exception):
    """Another process of this host works with the scratch cluster."""


@contextmanager
def alone() -> Iterator[None]:
    """Hold the lock as long as the context lasts. The kernel frees it if this process dies.

    Raises:
        Busy: another process has it.
    """
    with open(FILE, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy("another restore or restore drill is running on this host") from None
        yield

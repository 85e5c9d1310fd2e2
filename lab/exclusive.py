"""Locks of the lab: one command at a time changes it.

The kernel releases a lock when the process that holds it ends.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from lab.errors import LabError
from lab.paths import HOSTS_LOCK, LOCK
from lab.process import wait_until

HOSTS_SECONDS = 200  # longer than any command holds the lock on the hosts


@contextmanager
def exclusive(what: str) -> Iterator[None]:
    """Hold the lab's lock.

    Args:
        what: The command, which the error of a second command names.

    Raises:
        LabError: Another command holds the lock.
    """
    with LOCK.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise LabError(
                f"another command is changing the lab: {file.read().strip()}",
                "wait until it has finished, or stop it with Ctrl-C",
            ) from error
        file.truncate(0)
        file.write(f"bin/lab {what} (process {os.getpid()})")
        file.flush()
        yield
        file.truncate(0)


@contextmanager
def hosts_lock(shared: bool = False) -> Iterator[None]:
    """Wait for the lock on the set of hosts, and hold it.

    Commands hold it only while they create, stop or remove hosts, because a deployment may need
    new hosts.

    Args:
        shared: Whether other processes may create or remove single hosts at the same time.

    Raises:
        LabError: The lock was not free within HOSTS_SECONDS.
    """
    with HOSTS_LOCK.open("a") as file:

        def taken() -> bool:
            try:
                fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

        if not wait_until(taken, HOSTS_SECONDS):
            raise LabError(
                f"another process has been creating or removing hosts for {HOSTS_SECONDS} s",
                f"fuser -v {HOSTS_LOCK}   (shows the process)",
            )
        yield

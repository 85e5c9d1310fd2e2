"""One command at a time changes the lab; the kernel lets go of a lock when its holder ends."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from lab.errors import LabError
from lab.paths import HOSTS_LOCK, LOCK
from lab.process import wait_until

HOSTS_SECONDS = 200  # longer than anything it is held for


@contextmanager
def exclusive(what: str) -> Iterator[None]:
    """Hold the lab's lock.

    :param what: the command, told to whom it keeps waiting
    :raises LabError: another command holds it
    """
    with LOCK.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise LabError(
                f"the lab is being changed by: {file.read().strip()}",
                "wait until it has ended, or end it (Ctrl-C)",
            ) from error
        file.truncate(0)
        file.write(f"bin/lab {what} (process {os.getpid()})")
        file.flush()
        yield
        file.truncate(0)


@contextmanager
def hosts(shared: bool = False) -> Iterator[None]:
    """Hold the lock on which hosts there are, as soon as it is free.

    Commands hold it only while they make, stop or remove hosts: a deployment may need new ones.

    :param shared: with others who make or remove single hosts, instead of alone
    :raises LabError: it was not free within HOSTS_SECONDS
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
                f"hosts are being made or removed for {HOSTS_SECONDS} s",
                f"fuser -v {HOSTS_LOCK}   (who does it)",
            )
        yield

"""One command at a time changes the lab; the kernel lets go of the lock when its holder ends."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from lab.errors import LabError
from lab.paths import LOCK


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

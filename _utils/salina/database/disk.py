"""End what grows on the disk of the databases, before the disk is full.

PostgreSQL stops when it cannot write its WAL. So work that is not the service's own ends earlier.
"""

from __future__ import annotations

import contextlib
import contextvars
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from salt.exceptions import CommandExecutionError

EVERY = 1.0
"""Seconds between two looks at the disk."""


@contextmanager
def guarded(
    what: str, free: Callable[[], int], least: int, end: Callable[[], object]
) -> Iterator[None]:
    """End the work of the block when too little is free.

    Args:
        what: the work, in words.
        free: returns the bytes that are free.
        least: the bytes that must stay free.
        end: ends the work, so that the block fails. It is called again until the block ends.

    Raises:
        CommandExecutionError: too little was free, whether or not the work was finished.
    """
    over, low = threading.Event(), list[int]()

    def watch() -> None:
        while not over.wait(EVERY):
            if (left := free()) < least:
                low.append(left)
                with contextlib.suppress(CommandExecutionError):  # the next look tries again
                    end()

    # Salt's functions find their context in the thread as well
    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=[watch], daemon=True)
    thread.start()
    try:
        yield
    except CommandExecutionError as error:
        _complain(what, low, least, error)
        raise
    finally:
        over.set()
        thread.join()
    _complain(what, low, least, None)


def _complain(what: str, low: list[int], least: int, error: Exception | None) -> None:
    if low:
        raise CommandExecutionError(
            f"{what} was ended: {low[0] >> 20} MiB were left on the disk of the databases, and "
            f"{least >> 20} MiB stay free for the service\nnext: free space, and the same command"
        ) from error

"""Restore what a measurement has changed, whatever ends it."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lab.commands.console import out

INTERRUPTIONS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def interruptible() -> None:
    """Let every signal that asks this process to end do what Ctrl-C does, so that it restores."""
    for number in INTERRUPTIONS:
        signal.signal(number, signal.default_int_handler)


@contextmanager
def restoring(*actions: Callable[[], object]) -> Iterator[None]:
    """Call the actions at the end, also after an error or Ctrl-C.

    A further Ctrl-C does not interrupt the actions, nor the commands that they run. If an action
    fails, the next ones are still called.

    Args:
        actions: The functions that undo the change, in their order.

    Raises:
        ExceptionGroup: With the errors of the actions.
    """
    interrupted = True
    try:
        yield
        interrupted = False
    finally:
        # the commands inherit it, so that a terminal's Ctrl-C does not end them either
        before = {number: signal.signal(number, signal.SIG_IGN) for number in INTERRUPTIONS}
        if interrupted:
            out.print("  restoring what the measurement has changed …")
        errors = []
        try:
            for action in actions:
                try:
                    action()
                except Exception as error:
                    errors.append(error)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        if errors:
            raise ExceptionGroup("the lab could not be restored", errors)

"""Waiting for a condition, with a bound."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(probe: Callable[[], T | None], seconds: float, pause: float = 1.0) -> T | None:
    """Call a function until it returns something true, or the time is up.

    The function is called at least once, and for the last time when the time is up.

    Args:
        probe: returns the wanted thing, or something false while it is missing.
        seconds: the bound.
        pause: seconds between two calls.

    Returns:
        The function's last result when it was true, otherwise None.
    """
    end = time.monotonic() + seconds
    while True:
        found = probe()
        if found:
            return found
        if time.monotonic() >= end:
            return None
        time.sleep(min(pause, max(0.0, end - time.monotonic())))


def clear(
    obstacle: Callable[[], str], seconds: float, waiting_for: str, pause: float = 1.0
) -> None:
    """Return as soon as there is no obstacle any more.

    Args:
        obstacle: returns the current obstacle, or "" for none.
        seconds: the bound; 0 asks once.
        waiting_for: the condition, for the message.
        pause: seconds between two questions.

    Raises:
        TimeoutError: ``waited 300 s for WAITING_FOR: THE LAST OBSTACLE``.
    """
    last = ""

    def free() -> bool | None:
        nonlocal last
        last = obstacle()
        return not last

    if not until(free, seconds, pause):
        raise TimeoutError(f"waited {seconds:g} s for {waiting_for}: {last}")

"""Waiting for a condition, with a bound."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(probe: Callable[[], T | None], seconds: float, pause: float = 1.0) -> T | None:
    """Call a function until it gives something, or the time is up.

    It is called at least once, and for the last time when the time is just up.

    Args:
        probe: gives what was waited for, or something false while it isn't there.
        seconds: how long to go on.
        pause: seconds between two calls.

    Returns:
        What the function gave, or None. The caller says what it waited for.
    """
    end = time.monotonic() + seconds
    while True:
        found = probe()
        if found:
            return found
        if time.monotonic() >= end:
            return None
        time.sleep(min(pause, max(0.0, end - time.monotonic())))


def clear(obstacle: Callable[[], str], seconds: float, waiting_for: str) -> None:
    """Return as soon as nothing stands in the way any more.

    Args:
        obstacle: says what stands in the way now, or "" when nothing does.
        seconds: the bound; 0 asks once.
        waiting_for: what is waited for, for the message.

    Raises:
        TimeoutError: ``waited 300 s for WAITING_FOR: THE LAST OBSTACLE``.
    """
    last = ""

    def free() -> bool | None:
        nonlocal last
        last = obstacle()
        return not last

    if not until(free, seconds):
        raise TimeoutError(f"waited {seconds:g} s for {waiting_for}: {last}")

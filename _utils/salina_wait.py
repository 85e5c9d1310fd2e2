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

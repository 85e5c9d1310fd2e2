"""Repeat measurements, and summarise them.

The sides of a comparison take turns, so that a change of the machine's speed affects them all.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import TypeVar

T = TypeVar("T")


def in_turn(sides: Mapping[str, Callable[[], T]], rounds: int) -> dict[str, list[T]]:
    """Run each side once in each round, and return its results by its name.

    Every other round runs backwards.

    Args:
        sides: The function to run for each name.
        rounds: The number of rounds.
    """
    found: dict[str, list[T]] = {name: [] for name in sides}
    for number in range(rounds):
        for name in list(sides)[:: -1 if number % 2 else 1]:
            found[name].append(sides[name]())
    return found


def seconds(action: Callable[[], object]) -> float:
    """Return how many seconds an action takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that `percent` per cent of the values do not exceed."""
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


def spread(values: Sequence[float], unit: str = "s", digits: int = 1) -> str:
    """Return the median and the extremes as text: 4.1 s (3.9 to 5.0).

    Args:
        values: The values.
        unit: Their unit.
        digits: The number of decimal places.
    """
    middle, low, high = (
        f"{value:.{digits}f}" for value in (median(values), min(values), max(values))
    )
    return f"{middle} {unit} ({low} to {high})"

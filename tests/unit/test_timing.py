"""Where a run's time went (tests/timing.py)."""

from __future__ import annotations

import pytest

from tests.timing import LEAST, SHOWN, Phase, Processors, Timing

LINE = "cpu  100 1 20 700 50 3 4 2 60 0"


def test_a_line_of_the_kernel() -> None:
    assert Processors.parse(LINE) == (750, 880)


def test_it_is_the_share_since_then() -> None:
    assert Processors(130, 400).idle_since(Processors(100, 300)) == pytest.approx(0.3)
    assert Processors(100, 300).idle_since(Processors(100, 300)) == 0


def test_the_slowest_phases_are_told() -> None:
    timing = Timing(first=Processors(0, 0))
    timing.phases = [Phase(number, 0.5, f"test {number}") for number in range(20)]
    whole, *slowest = timing.lines(LEAST, Processors(1, 4))
    assert whole == f"{LEAST:7.1f} s   25% idle  all of it"
    assert len(slowest) == SHOWN
    assert slowest[0] == "   19.0 s   50% idle  test 19"


def test_a_short_run_tells_nothing() -> None:
    assert Timing().lines(LEAST - 1, Processors.read()) == []

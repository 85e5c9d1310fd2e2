"""Where a run's time went (tests/timing.py)."""

from __future__ import annotations

import pytest

from tests.timing import LEAST, SHOWN, WORDS, Phase, Processors, Timing

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


def report(duration: float, outcome: str) -> pytest.TestReport:
    """A phase that ended so."""
    where = ("tests/x.py", 1, "test_x")
    words = "\n".join(f"line {number}" for number in range(30))
    return pytest.TestReport(
        "tests/x.py::test_x",
        where,
        {},
        outcome,
        words,
        "call",
        duration=duration,  # type: ignore[arg-type]
    )


def test_failures_and_slow_phases_of_a_long_run_are_told_at_once() -> None:
    timing = Timing()
    timing.pytest_runtest_logreport(report(90, "passed"))
    assert timing.at_once(report(90, "passed"), LEAST).endswith("tests/x.py::test_x")
    told = timing.at_once(report(1, "failed"), LEAST).splitlines()
    assert told[-1] == "line 29" and len(told) == WORDS + 1
    assert timing.at_once(report(1, "passed"), LEAST) == ""
    assert timing.at_once(report(90, "failed"), LEAST - 1) == ""

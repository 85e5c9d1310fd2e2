"""Waiting has a bound, and says what it waited for."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from salina.common import wait


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """A clock of this module alone, which only sleeping moves: other threads sleep, too."""
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr(wait, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=sleep))
    yield now


def test_until(clock: list[float]) -> None:
    """The result is returned as soon as it exists."""
    assert wait.until(lambda: "found" if clock[0] >= 3 else None, 10) == "found"
    assert clock[0] == 3


@pytest.mark.parametrize(("seconds", "asked"), [(0, 1), (0.5, 2), (3, 4)])
def test_bound(clock: list[float], seconds: float, asked: int) -> None:
    """It asks at once, and for the last time when the time is just up."""
    moments: list[float] = []
    assert wait.until(lambda: moments.append(clock[0]), seconds) is None
    assert (len(moments), moments[-1]) == (asked, seconds)


def test_clear() -> None:
    """K5: The error has the last obstacle."""
    obstacles = iter(["one", "two", "three", "four"])
    with pytest.raises(TimeoutError, match="waited 2 s for the end: three"):
        wait.clear(lambda: next(obstacles), 2, "the end")
    wait.clear(lambda: "", 0, "nothing")

"""Measure how long no write is acknowledged after the database's primary fails."""

from collections.abc import Callable, Iterator
from statistics import median

from bench.repeat import spread
from bench.restore import restoring
from bench.result import Result
from tests.lab import lab
from tests.lab.tiers import leader
from tests.lab.traffic import Writer, wait_for

ROUNDS = 3
POSTMASTER = "kill -9 $(head -1 /var/lib/postgresql/15/salina/postmaster.pid)"
LOSSES: dict[str, Callable[[str], object]] = {
    "process": lambda host: lab.shell(host, POSTMASTER),
    "host": lambda host: lab.fault("kill", host),
}


def gap(lose: Callable[[str], object]) -> float:
    """Return for how many seconds writes fail when the primary does.

    Args:
        lose: Breaks the host that it is given.

    Raises:
        AssertionError: An acknowledged write is lost.
    """
    primary = leader()
    with Writer() as writer:
        wait_for([writer], 30)
        with restoring(lambda: lab.heal(primary)):
            lose(primary)
            wait_for([writer], 90)
        assert not writer.missing(), f"acknowledged writes are lost: {writer.missing()}"
        return writer.gap()


def measure() -> Iterator[Result]:
    """Break the primary in each way, several times."""
    for what, lose in LOSSES.items():
        gaps = [gap(lose) for _ in range(ROUNDS)]
        yield Result(
            f"no write while the primary's {what} is killed",
            median(gaps),
            "s",
            detail=f"{spread(gaps)}, no acknowledged write lost",
        )

"""How long no write is acknowledged when the database's primary is lost."""

from collections.abc import Callable, Iterator
from statistics import median

from bench.repeat import spread
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
    """Lose the primary under numbered writes; AssertionError when an acknowledged one is gone."""
    primary = leader()
    with Writer() as writer:
        wait_for([writer], 30)
        try:
            lose(primary)
            wait_for([writer], 90)
        finally:
            lab.heal(primary)
        assert not writer.missing(), f"acknowledged, and gone: {writer.missing()}"
        return writer.gap()


def measure() -> Iterator[Result]:
    """Lose the primary in each way, several times."""
    for what, lose in LOSSES.items():
        gaps = [gap(lose) for _ in range(ROUNDS)]
        yield Result(
            f"no write while the primary's {what} is killed",
            median(gaps),
            "s",
            detail=f"{spread(gaps)}, no acknowledged write lost",
        )

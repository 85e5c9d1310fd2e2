"""Compare the times of answers while one app host is slow: round robin, and balancing by load.

h2load sends one request a second on each of several connections, evenly spread over the second.
That is about a quarter of the rate that the hosts can serve when none is slow. The slow host has a
fifth of one core (`bin/lab fault slow`). Each turn begins when HAProxy's weights are stable.
"""

import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from statistics import median

from bench.repeat import in_turn, percentile
from bench.restore import restoring
from bench.result import Result
from bench.web import LOGIN, PACKAGE, WARM_UP, Way, page, ways
from lab.commands import preflight
from salina.common import wait
from tests.lab import balance, lab
from tests.lab.tiers import APPS

CONNECTIONS = 6  # for each app host
SECONDS = 25
ROUNDS = 3
BOUND = 3


def measure() -> Iterator[Result]:
    """Slow down one host, and measure both ways of balancing in turn."""
    if not shutil.which("h2load"):
        preflight.install([PACKAGE])
    way = ways()["through"]
    way = way.with_header(f"cookie: {page(way)[0]}")
    way.load(LOGIN, WARM_UP)
    connections = [replace(way, targets=(one,)) for one in way.targets * CONNECTIONS]
    slow = APPS[-1]
    sides: dict[str, Callable[[], list[float]]] = {
        "round robin": partial(turn, connections, balance.whole, False),
        "by load": partial(turn, connections, partial(balance.least_for, slow), True),
    }
    with restoring(lambda: lab.heal(slow), lambda: balance.by_load(False)):
        lab.fault("slow", slow)
        found = in_turn(sides, ROUNDS)
    taken = {name: [one for each in turns for one in each] for name, turns in found.items()}
    robin, load = (percentile(taken[name], 99) for name in sides)
    times = "; ".join(
        f"{name} {percentile(each, 99):.0f} ms, median {median(each):.0f}"
        for name, each in taken.items()
    )
    yield Result(
        f"99th percentile with {slow} five times as slow, round robin / by load",
        robin / load,
        "ratio",
        BOUND,
        least=True,
        detail=f"{times}; {len(connections)} requests/s",
    )


def turn(connections: list[Way], unsettled: Callable[[], str], by_load: bool) -> list[float]:
    """Return the duration of each request in milliseconds, once the weights are stable.

    Args:
        connections: The connections to use.
        unsettled: Returns what is not stable yet, or an empty text.
        by_load: Whether HAProxy balances by load.
    """
    balance.by_load(by_load)
    wait.clear(unsettled, 180, "stable weights")
    running = []
    with ThreadPoolExecutor(len(connections)) as pool:
        for way in connections:
            running.append(pool.submit(way.load, LOGIN, SECONDS, 1))
            time.sleep(1 / len(connections))
    return [one / 1000 for done in running for one in done.result().taken]

"""Measure what monitoring costs each host while nothing happens."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from statistics import median

from bench import machine
from bench.repeat import in_turn, spread
from bench.restore import restoring
from bench.result import Result
from lab.machines import topology_file
from salina_fleet import logs
from tests.lab import lab

SECONDS = 120  # of one turn, so that every check and every scrape runs
ROUNDS = 2
BOUND = 5.0
UNITS = ("nagios4", "prometheus")
"""The services of the monitoring host that ask the others."""


def percent(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """Return each host's use of one core in per cent, from its seconds before and after a turn."""
    return {host: (after[host] - before[host]) / SECONDS * 100 for host in before}


def costs(
    watched: Sequence[Mapping[str, float]], alone: Sequence[Mapping[str, float]]
) -> dict[str, float]:
    """Return what monitoring costs each host in per cent of a core, the most first.

    Args:
        watched: The use of each host in each turn with monitoring.
        alone: The same without monitoring.
    """
    spent = {
        host: median(turn[host] for turn in watched) - median(turn[host] for turn in alone)
        for host in watched[0]
    }
    return dict(sorted(spent.items(), key=lambda entry: -entry[1]))


def used(hosts: Sequence[str]) -> dict[str, float]:
    """Return each host's use of a core in per cent during one turn."""

    def spent() -> dict[str, float]:
        with ThreadPoolExecutor(len(hosts)) as pool:
            return dict(zip(hosts, pool.map(machine.processor, hosts), strict=True))

    before = spent()
    threading.Event().wait(SECONDS)
    return percent(before, spent())


def measure() -> Iterator[Result]:
    """Measure all hosts while monitoring asks them, and while it does not."""
    topology = topology_file.read()
    asking = [host.id for host in topology.having("monitoring")]
    hosts = sorted(lab.salt("*", "test.ping"))

    def monitoring(verb: str) -> None:
        for host in hosts:
            lab.run(host, "systemctl", verb, logs.SENDER)
        for host in asking:
            lab.run(host, "systemctl", verb, *UNITS)

    def watched() -> dict[str, float]:
        monitoring("start")
        return used(hosts)

    def alone() -> dict[str, float]:
        monitoring("stop")
        return used(hosts)

    with restoring(lambda: monitoring("start")):
        found = in_turn({"watched": watched, "alone": alone}, ROUNDS)
    spent = costs(found["watched"], found["alone"])
    for kind, chosen in (
        ("a host that is watched", [host for host in spent if host not in asking]),
        ("the monitoring host", asking),
    ):
        most = max(chosen, key=spent.__getitem__)
        turns = [turn[most] for turn in found["watched"]], [turn[most] for turn in found["alone"]]
        yield Result(
            f"what monitoring costs {kind} at rest",
            spent[most],
            "% of a core",
            BOUND,
            detail=f"{most}, with {spread(turns[0], '%')}, without {spread(turns[1], '%')}",
        )

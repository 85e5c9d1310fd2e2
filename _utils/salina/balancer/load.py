"""Balance by load: the app hosts' weights by their response times, and the daemon that sets them.

The daemon runs on the balancer (salt/load) with Python's standard library and
`salina.balancer.haproxy` alone. A host's load is the time it takes to answer HAProxy's health
check, which passes through the web server, the application and the database.
docs/decisions/0016-load-is-the-response-time.md says why this is not a figure of the kernel.

Only hosts of one application are compared, because another application may be slower by its nature.

Three rules prevent flapping. The median of several answers counts. A weight falls when a host is
slow and grows when it is fast again, with a gap between the two. After each change the daemon
collects new samples before the next. No host gets zero requests, so it stays warm and recovers by
itself.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from statistics import median

from salina.balancer import haproxy

WHOLE = 100
LEAST = 1
CHECKS = 9
"""The last health checks of a host, whose median counts, as soon as there are more than half."""
UNNOTICED = 5.0
"""Milliseconds; of two answers that are both faster none is slow."""
WELL, SLOW = 1.5, 2.5
"""A host's weight grows while it takes at most so many times as long as the fastest, and falls when
it takes more than so many times as long."""
POWER = 7
"""Far more than in proportion: a host five times as slow as the fastest gets the least, so that the
99th percentile of all requests is that of the others."""
GROWTH = 2
"""How many times as much a host gets in one step; 7 steps from the least to the whole. With queues
as theory has them, 1 / (1 - busy), one that was well is afterwards at most three times as slow."""
SHORTEST = 0.5
"""Seconds between two looks at HAProxy, at least."""


def step(now: int, slowness: float) -> int:
    """Return a host's next weight in percent.

    Args:
        now: its current weight.
        slowness: how many times as long as the fastest host it takes; at least 1.
    """
    if slowness <= WELL:
        return min(WHOLE, now * GROWTH)
    if slowness <= SLOW:
        return now
    return min(now, max(LEAST, round(WHOLE * (SLOW / slowness) ** POWER)))


def weights(responses: Mapping[str, Sequence[float]], now: Mapping[str, int]) -> dict[str, int]:
    """Return the next weights of an application's hosts in percent, for hosts with enough samples.

    Args:
        responses: the milliseconds of each host's health checks since the weights changed.
        now: the current weights.
    """
    typical = {
        host: max(UNNOTICED, median(taken))
        for host, taken in responses.items()
        if len(taken) > CHECKS // 2
    }
    if not typical:
        return {}
    fastest = min(typical.values())
    return {host: step(now[host], taken / fastest) for host, taken in typical.items()}


# The daemon


def servers() -> list[haproxy.Server]:
    """Return the app hosts as HAProxy sees them.

    Raises:
        OSError: HAProxy does not answer.
        ValueError: its answer is something else.
    """
    answers = [haproxy.ask(command) for command in ("show stat", "show servers state")]
    return haproxy.app_hosts(haproxy.servers(*answers))


def give(server: haproxy.Server, percent: int) -> None:
    """Let HAProxy give a host that part of its share.

    Raises:
        OSError: HAProxy does not answer.
        ValueError: HAProxy refuses.
    """
    line = f"set weight {server.backend}/{server.name} {percent}%"
    refusal = haproxy.ask(line).strip()
    if refusal:
        raise ValueError(f"{line}: {refusal}")


def restore() -> None:
    """Give every host its full share, as if the daemon had never run."""
    for server in servers():
        give(server, WHOLE)


def follow(every: float) -> None:
    """Set the weights again and again, until HAProxy does not answer.

    Args:
        every: the seconds between two health checks of a host.
    """
    responses: dict[str, deque[float]] = {}
    while True:
        found = servers()
        known = {server.name: server for server in found}
        responses = {
            name: responses.get(name, deque(maxlen=CHECKS))
            for name, server in known.items()
            if server.response is not None  # else it is down, and what it was says nothing
        }
        for name, taken in responses.items():
            taken.append(known[name].response or 0)
        for application in dict.fromkeys(server.backend for server in found):
            own = {
                name: taken
                for name, taken in responses.items()
                if known[name].backend == application
            }
            now = {name: known[name].weight for name in own}
            then = now | weights(own, now)
            for name in now:
                if then[name] != now[name]:
                    give(known[name], then[name])
                    print(f"{name}: {now[name]} % -> {then[name]} %", flush=True)
            if then != now:
                for taken in own.values():
                    taken.clear()
        time.sleep(max(SHORTEST, every))


def main(arguments: Sequence[str]) -> int:
    """Run `restore`, or follow with that many seconds between two checks; return the exit code."""
    try:
        if arguments == ["restore"]:
            restore()
        else:
            follow(float(arguments[0]))
    except (OSError, ValueError) as error:
        print(f"{haproxy.SOCKET}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Which hosts of the pools may join by themselves, and what stands against the others.

A minion's start event says only that it is worth a look: whatever it claims, the decision rests on
what the master has itself, the topology, the members, what earlier changes left, and the keys that
were accepted because somebody gave the host its user data.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from salina_fleet.model.topology import Topology

ATTEMPT = "last-join.json"
QUIET = 300
"""Seconds until a change that was interrupted is taken up: whoever began it may do so before."""
RETRY = 600
"""Seconds until a host whose joining failed is tried again."""

Members = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Attempt:
    """The last joining that did not succeed: interrupted, or failed with an error.

    `at`: when it began or failed, seconds since the epoch.
    """

    hosts: tuple[str, ...] = ()
    at: float = 0.0
    error: str = ""


def pool_of(host: object, topology: Topology) -> str | None:
    """The pool that may have a host; None: no host of a pool is called that."""
    for pool in topology.pools.values():
        if isinstance(host, str) and pool.number(host) is not None:
            return pool.name
    return None


def starts(minion: object, tag: object) -> bool:
    """Whether an event says that the very minion which fired it has started.

    `minion`: the id that the master put into the event; `tag`: what the minion called it.
    """
    return isinstance(minion, str) and tag == f"salt/minion/{minion}/start"


def obstacles(
    topology: Topology,
    members: Members,
    unfinished: Members,
    attempt: Attempt,
    quiet: float,
    now: float,
) -> dict[str, str]:
    """What stands against the joining of each host that is no settled member; "": nothing does.

    `quiet`: seconds since hosts became unfinished; `now`: seconds since the epoch.
    """
    return {
        host: _obstacle(host, host in members[pool.name], begun, attempt, quiet, now)
        for pool in topology.pools.values()
        for begun in [unfinished[pool.name]]
        for host in pool.ids()
        if host not in members[pool.name] or host in begun
    }


def _obstacle(
    host: str, member: bool, begun: Sequence[str], attempt: Attempt, quiet: float, now: float
) -> str:
    if host not in begun:
        return ""
    if not member:
        return "a change that takes it out is unfinished"
    own = host in attempt.hosts
    age = now - attempt.at
    if own and attempt.error and age < RETRY:
        return f"failed {age:.0f} s ago, is tried again after {RETRY} s: {attempt.error}"
    if not own and quiet < QUIET:
        return f"a change that brings it was interrupted; is taken up after {QUIET} s of quiet"
    return ""


def attempt(path: Path) -> Attempt:
    """The last attempt as the master keeps it; a missing or damaged file counts as none."""
    try:
        data = json.loads(path.read_bytes())
        return Attempt(tuple(map(str, data["hosts"])), float(data["at"]), str(data["error"]))
    except (OSError, TypeError, KeyError, ValueError):
        return Attempt()

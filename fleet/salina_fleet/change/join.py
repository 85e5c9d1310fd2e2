"""Which hosts of the pools may join by themselves, and why the others may not.

A minion's start event is only a reason to look. The decision rests on the master's own data,
whatever the minion claims: the topology, the members, the state of earlier changes, and the keys
that were accepted because somebody gave the host its user data.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from salina.common import reading
from salina_fleet.model.topology import Topology

ATTEMPT = "last-join.json"
QUIET = 300
"""Seconds until the master finishes an interrupted change; its operator may do so before."""
RETRY = 600
"""Seconds until a host whose joining failed is tried again."""

Members = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Attempt:
    """The last joining that did not succeed: interrupted, or failed with an error.

    `at` is the time of its start or failure, in seconds since the epoch.
    """

    hosts: tuple[str, ...] = ()
    at: float = 0.0
    error: str = ""


def pool_of(host: object, topology: Topology) -> str | None:
    """Return the name of the pool that the host may belong to, or None when there is none."""
    for pool in topology.pools.values():
        if isinstance(host, str) and pool.number(host) is not None:
            return pool.name
    return None


def starts(minion: object, tag: object) -> bool:
    """Tell whether an event says that the very minion which fired it has started.

    Args:
        minion: the id that the master put into the event.
        tag: the tag that the minion chose.
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
    """Return why each host that is not a settled member may not join; "" when it may.

    Args:
        topology: the pools.
        members: the current members of each pool.
        unfinished: the hosts of each pool that a change has begun with.
        attempt: the last joining that did not succeed.
        quiet: seconds since hosts became unfinished.
        now: seconds since the epoch.
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
    if host in begun and not member:
        return "an unfinished change is removing this host"
    own = host in attempt.hosts
    age = now - attempt.at
    if own and attempt.error and age < RETRY:
        failed = f"the join failed {age:.0f} s ago"
        again = f"the master tries again {RETRY - age:.0f} s from now"
        return f"{failed}; {again}. Reason: {attempt.error}"
    if host in begun and not own and quiet < QUIET:
        again = f"the master resumes it after {QUIET} s without activity"
        return f"the change that adds this host was interrupted; {again}"
    return ""


def attempt(path: Path) -> Attempt:
    """Return the last attempt, as the master keeps it; a damaged file counts as none."""
    try:
        data = json.loads(reading.read(path))
        return Attempt(tuple(map(str, data["hosts"])), float(data["at"]), str(data["error"]))
    except (OSError, TypeError, KeyError, ValueError, RecursionError):
        return Attempt()

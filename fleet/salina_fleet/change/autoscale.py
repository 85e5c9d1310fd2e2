"""Whether a pool is to grow or to shrink by itself: the rule, the loads seen, and what follows.

The load is the number of requests under way on the pool's hosts, as the balancers count them; those
that wait within a host are among them, and so are long polls, one for each user with a page open.

A balancer that has just followed a change counts the requests since then; so the cooling time is
to be longer than a long poll (50 s in Odoo).

It can't flap while the load stays as it is: a pool grows until each host has at most `above`, and
shrinks only when those that are left will have fewer than `below`, which is less.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median_high, median_low
from typing import Any

from salina_fleet.model.settings import AutoscaleSettings
from salina_fleet.model.topology import Topology
from salina_fleet.schema.document import DataError

LEAST_SAMPLES = 3


class RuleError(DataError):
    """Settings that do not fit the topology."""


@dataclass(frozen=True)
class Rule:
    """When a pool grows and shrinks: loads for each host, times in seconds, counts of hosts."""

    pool: str
    above: int
    below: int
    time: float
    cooling: float
    minimum: int
    maximum: int


@dataclass(frozen=True)
class Sample:
    """The load of the whole pool at a time (seconds since the epoch)."""

    at: float
    load: int


@dataclass(frozen=True)
class History:
    """The samples of the last while, the newest last, and when the pool was changed."""

    samples: tuple[Sample, ...] = ()
    changed: float = 0.0


def rule(settings: AutoscaleSettings, topology: Topology) -> Rule:
    """The rule that the settings give for a topology. Raises RuleError with every fault."""
    pool = topology.pools.get(settings.pool)
    if pool is None or "app" not in pool.roles:
        pools = [name for name, one in topology.pools.items() if "app" in one.roles]
        allowed = ", ".join(pools) or "none: the topology has no pool of app hosts"
        raise RuleError("autoscale.yaml", [f"pool: {settings.pool!r}, allowed is {allowed}"])
    minimum = pool.minimum if settings.minimum is None else settings.minimum
    maximum = pool.maximum if settings.maximum is None else settings.maximum
    faults = [
        f"{name}: {value}, allowed is {pool.minimum} to {pool.maximum}"
        for name, value in (("minimum", minimum), ("maximum", maximum))
        if not pool.minimum <= value <= pool.maximum
    ]
    if minimum > maximum:
        faults.append(f"minimum: {minimum}, allowed is at most maximum: {maximum}")
    if faults:
        raise RuleError("autoscale.yaml", faults)
    above, below = settings.above, settings.below
    return Rule(pool.name, above, below, settings.time, settings.cooling, minimum, maximum)


def load(answers: Iterable[Mapping[str, Mapping[str, Any]]], members: Iterable[str]) -> int:
    """The load of a pool: what each balancer says (`balancer.servers`) of its members, together."""
    known = set(members)
    return sum(
        int(server["sessions"])
        for servers in answers
        for name, server in servers.items()
        if name in known
    )


def record(history: History, sample: Sample, rule: Rule) -> History:
    """The history with one more sample, and without those that are too old to count.

    After a gap (the master was down, its clock was set, a change was under way) it begins anew.
    """
    kept = history.samples
    if kept and not 0 < sample.at - kept[-1].at <= rule.time / 2:
        kept = ()
    while len(kept) > 1 and kept[1].at <= sample.at - rule.time:
        kept = kept[1:]  # one is kept that is as old as the rule asks for
    return dataclasses.replace(history, samples=(*kept, sample))


def decide(history: History, now: float, rule: Rule, members: int) -> int:
    """How many members the pool is to have.

    Args:
        history: with a sample of now.
        now: seconds since the epoch.
        rule: when to change.
        members: how many it has.

    Returns:
        `members` when nothing is to be changed.
    """
    if 0 <= now - history.changed < rule.cooling:
        return members
    if not rule.minimum <= members <= rule.maximum:
        return min(rule.maximum, max(rule.minimum, members))
    samples = [sample for sample in history.samples if sample.at > history.changed]
    recent = [sample.load for sample in samples if sample.at >= now - rule.time]
    if not samples or samples[0].at > now - rule.time or len(recent) < LEAST_SAMPLES:
        return members
    if median_low(recent) > rule.above * members:  # most of the time, and a peak is nothing
        return min(rule.maximum, math.ceil(median_low(recent) / rule.above))
    if members > rule.minimum and median_high(recent) < rule.below * (members - 1):
        return members - 1
    return members


def dumps(history: History) -> str:
    """A history as it is kept."""
    return json.dumps(dataclasses.asdict(history))


def loads(text: str) -> History:
    """A history that was kept; one that is damaged is as good as none."""
    try:
        data = json.loads(text)
        samples = tuple(Sample(float(one["at"]), int(one["load"])) for one in data["samples"])
        return History(samples, float(data["changed"]))
    except (ValueError, TypeError, KeyError, OverflowError):
        return History()

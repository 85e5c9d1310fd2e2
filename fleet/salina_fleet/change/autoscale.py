"""Whether a pool grows or shrinks by itself: the rule, the observed loads, and the decision.

The load is the number of requests that the pool's hosts are answering, as the balancers count them.
It includes requests that wait inside a host, and long polls: one for each user with an open page.

A balancer counts only since its last reload, so the cooling time must be longer than a long poll
(50 s in Odoo).

A constant load never makes the pool flap: it grows until each host has at most `above`, and shrinks
only when the remaining hosts will have fewer than `below`, which is less.
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
WORDS = 300
"""The most characters of a failure that are recorded."""


class RuleError(DataError):
    """Settings that do not fit the topology."""


@dataclass(frozen=True)
class Rule:
    """The conditions under which a pool grows and shrinks: loads for each host, seconds, hosts."""

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
    """The latest samples, the newest last, and the time of the pool's last change."""

    samples: tuple[Sample, ...] = ()
    changed: float = 0.0


def rule(settings: AutoscaleSettings, topology: Topology) -> Rule:
    """Return the rule that the settings give for a topology.

    Raises:
        RuleError: the settings do not fit the topology; it has every fault.
    """
    found = (*settings.rules(), *settings.misfits(topology))
    faults = [f"{key}: {message}" for key, message in found]
    if faults:
        raise RuleError("autoscale.yaml", faults)
    pool = topology.pools[settings.pool]
    minimum = pool.minimum if settings.minimum is None else settings.minimum
    maximum = pool.maximum if settings.maximum is None else settings.maximum
    above, below = settings.above, settings.below
    return Rule(pool.name, above, below, settings.time, settings.cooling, minimum, maximum)


def load(answers: Iterable[Mapping[str, Mapping[str, Any]]], members: Iterable[str]) -> int:
    """Return the load of a pool: the sum over all balancers (`balancer.servers`) and members."""
    known = set(members)
    return sum(
        int(server["sessions"])
        for servers in answers
        for name, server in servers.items()
        if name in known
    )


def record(history: History, sample: Sample, rule: Rule) -> History:
    """Return the history with one more sample and without those that are too old.

    After a gap (the master was down, its clock was set, a change was running) the history begins
    again.
    """
    kept = history.samples
    if kept and not 0 < sample.at - kept[-1].at <= rule.time / 2:
        kept = ()
    while len(kept) > 1 and kept[1].at <= sample.at - rule.time:
        kept = kept[1:]  # keeps one sample that is as old as the rule asks for
    return dataclasses.replace(history, samples=(*kept, sample))


def decide(history: History, now: float, rule: Rule, members: int) -> int:
    """Return how many members the pool must have.

    Args:
        history: the samples, with one of now.
        now: seconds since the epoch.
        rule: the conditions of a change.
        members: the current number.

    Returns:
        `members` when the pool stays as it is.
    """
    if 0 <= now - history.changed < rule.cooling:
        return members
    if not rule.minimum <= members <= rule.maximum:
        return min(rule.maximum, max(rule.minimum, members))
    samples = [sample for sample in history.samples if sample.at > history.changed]
    recent = [sample.load for sample in samples if sample.at >= now - rule.time]
    if not samples or samples[0].at > now - rule.time or len(recent) < LEAST_SAMPLES:
        return members
    if median_low(recent) > rule.above * members:  # most of the time: a peak alone changes nothing
        return min(rule.maximum, math.ceil(median_low(recent) / rule.above))
    if members > rule.minimum and median_high(recent) < rule.below * (members - 1):
        return members - 1
    return members


def failure(before: Mapping[str, Any], what: str, now: float, error: Exception) -> dict[str, Any]:
    """Return the record of the failures in a row, with one more (salina.health.probes).

    Args:
        before: the record of those before it, {} if there were none.
        what: the failed part: `look` or `change`.
        now: seconds since the epoch.
        error: the failure.
    """
    known = before.get(what, {})
    again = {"since": known.get("since", now), "times": known.get("times", 0) + 1}
    return {**before, what: {**again, "error": " ".join(str(error).split())[:WORDS]}}


def dumps(history: History) -> str:
    """Return a history as text, as the master keeps it."""
    return json.dumps(dataclasses.asdict(history))


def loads(text: str) -> History:
    """Return a history from its text; a damaged text gives an empty history."""
    try:
        data = json.loads(text)
        samples = tuple(Sample(float(one["at"]), int(one["load"])) for one in data["samples"])
        return History(samples, float(data["changed"]))
    except (ValueError, TypeError, KeyError, OverflowError):
        return History()

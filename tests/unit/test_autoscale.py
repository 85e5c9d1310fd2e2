"""S10, S12: when a pool grows and shrinks by itself: within its limits and without flapping."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salina_fleet.change import autoscale
from salina_fleet.change.autoscale import History, Rule, RuleError, Sample
from salina_fleet.model.settings import AutoscaleSettings
from tests import fleets

TOPOLOGY = fleets.topology()
RULE = Rule("app", above=20, below=8, time=180, cooling=600, minimum=2, maximum=6)
START = 1e9

rules = st.builds(
    lambda above, gap, time, cooling, least, more: Rule(
        "app", above + gap, above, 60.0 * time, 60.0 * cooling, least, least + more
    ),
    st.integers(0, 50),
    st.integers(1, 50),
    st.integers(2, 10),
    st.integers(0, 15),
    st.integers(1, 5),
    st.integers(0, 5),
)
loads = st.integers(0, 600)


def run(
    rule: Rule, members: int, seen: Iterable[int], every: float = 60
) -> list[tuple[float, int]]:
    """Have the rule followed, a change in no time: when there were how many members."""
    history, now = History(), START
    found = [(now, members)]
    for load in seen:
        now += every
        history = autoscale.record(history, Sample(now, load), rule)
        wanted = autoscale.decide(history, now, rule, members)
        if wanted != members:
            members, history = wanted, replace(history, changed=now)
            found.append((now, members))
    return found


def counts(found: Iterable[tuple[float, int]]) -> list[int]:
    return [members for _, members in found]


def test_grows_when_there_was_too_much_for_a_while() -> None:
    """S12: The pool grows by as many hosts as the load needs, at once."""
    assert run(RULE, 3, [61] * 3) == [(START, 3)]
    assert run(RULE, 3, [61] * 4) == [(START, 3), (START + 240, 4)]
    assert counts(run(RULE, 2, [100] * 4)) == [2, 5]


def test_shrinks_by_one_after_each_cooling() -> None:
    """S12: The pool shrinks by one host after each cooling time."""
    found = run(RULE, 4, [0] * 60)
    assert counts(found) == [4, 3, 2]
    assert [at - START for at, _ in found] == [0, 240, 840]


def test_does_not_shrink_when_the_rest_would_have_to_do_too_much() -> None:
    """S12: 23 requests on four hosts are fewer than 8 for each, and on three they still are; 24 are
    not.
    """
    assert counts(run(RULE, 4, [24] * 60)) == [4]
    assert counts(run(RULE, 4, [23] * 60)) == [4, 3]


def test_a_peak_is_nothing() -> None:
    """S12: A short peak changes nothing."""
    assert counts(run(RULE, 3, [30, 30, 30, 30, 500, 30, 30, 500, 30, 30, 30])) == [3]


def test_what_is_outside_of_the_limits_is_brought_back() -> None:
    """S12: A count beyond the limits returns to them, whether a person or new limits caused it."""
    assert counts(run(RULE, 9, [60])) == [9, 6]
    assert counts(run(RULE, 1, [0])) == [1, 2]


def test_a_change_by_hand_is_followed_by_cooling() -> None:
    history = History(changed=START)
    for minute in range(1, 11):
        now = START + 60 * minute
        history = autoscale.record(history, Sample(now, 200), RULE)
        assert autoscale.decide(history, now, RULE, 3) == (3 if minute < 10 else 6)


def test_after_a_gap_it_looks_anew() -> None:
    """S12: After a gap the rule begins again: the master was down, or its clock was set."""
    for later in (91, 86_400, 0, -60, -86_400):
        history = History()
        for minute in range(4):
            history = autoscale.record(history, Sample(START + 60 * minute, 200), RULE)
        now = START + 180 + later
        history = autoscale.record(history, Sample(now, 200), RULE)
        assert history.samples == (Sample(now, 200),)
        assert autoscale.decide(history, now, RULE, 3) == 3


def test_a_change_in_the_future_does_not_stop_it() -> None:
    """The clock was wrong when the pool was changed."""
    history = History(changed=START + 1e8)
    history = autoscale.record(history, Sample(START, 0), RULE)
    assert autoscale.decide(history, START, RULE, 9) == 6


@given(rules, st.lists(loads, max_size=80), st.integers(0, 12), st.floats(1, 400))
def test_within_limits_and_cooled(rule: Rule, seen: list[int], start: int, every: float) -> None:
    """S12: Whatever the load, the count stays within the limits, with one change in the cooling
    time.
    """
    found = run(rule, start, seen, every)
    assert all(rule.minimum <= members <= rule.maximum for members in counts(found)[1:])
    assert all(later[0] - one[0] >= rule.cooling for one, later in pairwise(found[1:]))


@given(rules, loads, st.integers(1, 10))
def test_does_not_flap(rule: Rule, load: int, start: int) -> None:
    """S12: With a constant load the pool grows or shrinks until it rests."""
    found = counts(run(rule, start, [load] * 400))
    assert found in (sorted(found), sorted(found, reverse=True))
    assert len(found) == len(set(found))
    assert counts(run(rule, found[-1], [load] * 40)) == [found[-1]]


@given(st.integers(1, 6), st.lists(st.integers(0, 100), min_size=1, max_size=120))
def test_does_not_flap_in_noise(start: int, noise: list[int]) -> None:
    """S12: Small variations of the load change nothing."""
    rule = replace(RULE, minimum=1)
    low, high = rule.below * (start - 1), rule.above * start
    seen = [low + (high - low) * one // 100 for one in noise]
    assert counts(run(rule, start, seen)) == [start]


@given(rules, st.lists(st.tuples(st.floats(-100, 400), loads)))
def test_the_history_stays_short(rule: Rule, steps: list[tuple[float, int]]) -> None:
    """Of all that was before the rule's time one sample is kept; what is written is read."""
    history, now = History(changed=START), START
    for step, load in steps:
        now += step
        history = autoscale.record(history, Sample(now, load), rule)
        assert sum(sample.at <= now - rule.time for sample in history.samples) <= 1
    assert autoscale.loads(autoscale.dumps(history)) == history


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '{"samples": [1], "changed": 0}', '{"samples": [], "changed": []}'],
)
def test_a_damaged_history_is_none(text: str) -> None:
    assert autoscale.loads(text) == History()


@given(st.text())
def test_any_history(text: str) -> None:
    assert isinstance(autoscale.loads(text), History)


def test_load() -> None:
    """S12: The load is the sum of all balancers, for the pool's members only."""
    one = {"s1": {"sessions": 3}, "s2": {"sessions": 0}, "s9": {"sessions": 99}}
    other = {"s1": {"sessions": 1}, "s2": {"sessions": 5}}
    assert autoscale.load([one, other], ["s1", "s2", "s3"]) == 9


def test_the_rule_of_the_settings() -> None:
    """Times in seconds; the pool's own limits where none are given."""
    assert autoscale.rule(AutoscaleSettings(), TOPOLOGY) == Rule("app", 20, 8, 180, 600, 1, 10)
    assert autoscale.rule(AutoscaleSettings(minimum=2, maximum=6), TOPOLOGY) == RULE


@pytest.mark.parametrize(
    ("given_", "faults"),
    [
        ({"pool": "web"}, ['pool: "web" is not a pool of app hosts; choose one of: app']),
        ({"maximum": 11}, ["maximum: 11 is not valid; must be a number from 1 to 10"]),
        (
            {"minimum": 5, "maximum": 4},
            ["minimum: 5 is not valid; must be at most maximum: 4"],
        ),
    ],
)
def test_a_rule_that_does_not_fit(given_: dict[str, Any], faults: list[str]) -> None:
    """S12, K5: An impossible rule is an error."""
    with pytest.raises(RuleError) as caught:
        autoscale.rule(AutoscaleSettings(**given_), TOPOLOGY)
    assert list(caught.value.faults) == faults


def test_a_topology_without_a_pool() -> None:
    with pytest.raises(RuleError, match="not a pool of app hosts; there is none to choose from"):
        autoscale.rule(AutoscaleSettings(), fleets.topology("one-host"))

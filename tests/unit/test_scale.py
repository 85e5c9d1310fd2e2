"""Requests to scale: what is asked for, what comes and goes, and every fault told (S10)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salina_fleet.change import scale
from salina_fleet.change.scale import Change, RequestError
from tests import fleets

TOPOLOGY = fleets.topology()
IDS = TOPOLOGY.pools["app"].ids()
NOW = {"app": ["s1", "s2", "s3"]}


def change(data: dict[str, Any], *unfinished: str) -> Change:
    request = scale.parse({"pool": "app", **data}, TOPOLOGY)
    return scale.plan(request, TOPOLOGY, NOW, unfinished)


@pytest.mark.parametrize(
    ("data", "members", "joining", "leaving"),
    [
        ({"count": 5}, "s1 s2 s3 s4 s5", "s4 s5", ""),
        ({"count": 3}, "s1 s2 s3", "", ""),
        ({"count": 1}, "s1", "", "s2 s3"),
        ({"add": ["s10", "s9"]}, "s1 s2 s3 s9 s10", "s9 s10", ""),
        ({"add": ["s2"]}, "s1 s2 s3", "", ""),
        ({"remove": ["s2"]}, "s1 s3", "", "s2"),
        ({"add": ["s4"], "remove": ["s1"]}, "s2 s3 s4", "s4", "s1"),
    ],
)
def test_s10_plan(data: dict[str, Any], members: str, joining: str, leaving: str) -> None:
    found = change(data)
    assert " ".join(found.members) == members
    assert (" ".join(found.joining), " ".join(found.leaving)) == (joining, leaving)


@pytest.mark.parametrize(
    ("data", "unfinished", "joining", "leaving"),
    [
        ({"count": 3}, "s3", "s3", ""),  # the same request again: recorded, but not yet up
        ({"count": 3}, "s4", "", "s4"),  # begun with, and no longer wanted
        ({"remove": ["s4"]}, "s4", "", "s4"),  # already no member, but not yet away
        ({"count": 4}, "s2 s4", "s2 s4", ""),  # was on its way out, and is wanted again
        ({"add": ["s5"]}, "s9", "s5", "s9"),
    ],
)
def test_s10_what_was_begun_is_taken_up(
    data: dict[str, Any], unfinished: str, joining: str, leaving: str
) -> None:
    begun = unfinished.split()
    found = change(data, *begun)
    assert (" ".join(found.joining), " ".join(found.leaving)) == (joining, leaving)
    assert found.again == tuple(host for host in found.joining if host in begun)


EITHER = "count: give either `count`, or `add` and/or `remove`"
RULE = "must be s{n} with n from 1 to 10"


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (None, "empty; must be a mapping with pool, count, add, remove"),
        ([], "an empty list is not valid; must be a mapping with pool, count, add, remove"),
        ({"count": 3}, "pool: missing; choose one of: app"),
        ({"pool": "web", "count": 3}, 'pool: "web" is not a pool; choose one of: app'),
        ({"pool": ["app"], "count": 3}, "pool: a list is not a pool; choose one of: app"),
        ({"pool": "app"}, EITHER),
        ({"pool": "app", "count": 3, "add": ["s4"]}, EITHER),
        ({"pool": "app", "count": 0}, "count: 0 is not valid; must be a number from 1 to 10"),
        ({"pool": "app", "count": 11}, "count: 11 is not valid; must be a number from 1 to 10"),
        ({"pool": "app", "count": "5"}, 'count: "5" is not valid; must be a number from 1 to 10'),
        ({"pool": "app", "count": True}, "count: true is not valid; must be a number from 1 to 10"),
        ({"pool": "app", "count": 2.5}, "count: 2.5 is not valid; must be a number from 1 to 10"),
        ({"pool": "app", "count": None}, "count: empty; must be a number from 1 to 10"),
        ({"pool": "app", "add": "s4"}, 'add: "s4" is not valid; must be a list of ids'),
        ({"pool": "app", "add": []}, "add: an empty list is not valid; must be a list of ids"),
        ({"pool": "app", "add": ["s11"]}, f'add: "s11" is not valid; {RULE}'),
        ({"pool": "app", "add": ["s04"]}, f'add: "s04" is not valid; {RULE}'),
        ({"pool": "app", "add": ["nas1"]}, f'add: "nas1" is not valid; {RULE}'),
        ({"pool": "app", "add": [4]}, f"add: 4 is not valid; {RULE}"),
        ({"pool": "app", "add": ["s4", "s4"]}, 'add: "s4" is repeated; must be listed once'),
        ({"pool": "app", "remove": ["s2\n"]}, f'remove: "s2\\n" is not valid; {RULE}'),
        (
            {"pool": "app", "add": ["s4"], "remove": ["s4"]},
            'add: "s4" is in both add and remove; list it in only one of them',
        ),
        (
            {"pool": "app", "count": 3, "pol": 1},
            "pol: unknown key; choose one of: pool, count, add, remove",
        ),
    ],
)
def test_s10_a_bad_request_is_one_fault(data: object, fault: str) -> None:
    with pytest.raises(RequestError) as caught:
        scale.parse(data, TOPOLOGY)
    assert caught.value.faults == (fault,)


def test_s10_a_stranger_can_not_be_removed() -> None:
    with pytest.raises(
        RequestError, match='remove: "s7" is not a member; choose one of: s1, s2, s3'
    ):
        change({"remove": ["s7"]})


def test_s10_the_last_member_stays() -> None:
    with pytest.raises(
        RequestError, match="app: the pool would have 0 members; the number must be from 1 to 10"
    ):
        change({"remove": ["s1", "s2", "s3"]})


def test_s10_somebody_serves_all_the_time() -> None:
    """S10: hosts leave before others join, and one that is unfinished may not serve."""
    with pytest.raises(RequestError, match="app: this would remove every current member"):
        change({"add": ["s4"], "remove": ["s1", "s2", "s3"]})
    with pytest.raises(RequestError, match="app: this would remove every current member"):
        change({"count": 1}, "s1")


@pytest.mark.parametrize("data", [{"count": 1}, {"add": ["s1"]}])
def test_s10_hosts_that_never_served_may_leave(data: dict[str, Any]) -> None:
    """S10, K2: An application was opened, and its only members have not been created yet."""
    request = scale.parse({"pool": "app", **data}, TOPOLOGY)
    found = scale.plan(request, TOPOLOGY, {"app": ["s1"]}, ["s1", "s2"])
    assert (found.joining, found.leaving) == (("s1",), ("s2",))


def test_s10_a_pool_keeps_its_minimum() -> None:
    """S10: Each pool by itself."""
    pools = fleets.topology("two-applications").pools
    first, second = pools.values()
    topology = replace(TOPOLOGY, pools={first.name: replace(first, minimum=2), second.name: second})
    one, other = first.ids(), second.ids()
    now = {first.name: one[:3], second.name: other[:2]}
    assert scale.without([one[2], other[1]], now, topology) == {
        first.name: [*one[:2]],
        second.name: [other[0]],
    }
    assert scale.without([one[1], one[2], other[1]], now, topology) == {
        first.name: [*one[:3]],
        second.name: [other[0]],
    }


STEPS = """\
all who follow answer: fleet.ready nas1 bbdd1 lb1 nagios
drained: change.drain s2
stopped: change.retire s2
created: change.create s4 s5
applied: nas1 bbdd1 s4 s5
each serves: fleet.probe s4 s5
balancers follow: lb1
each serves through the balancers: fleet.probe s4 s5, through
the rest follows: nagios
destroyed: change.destroy s2
each minion has its configuration: fleet.ready s4 s5
done: change.done app"""


def steps(change: Change) -> list[str]:
    """The steps of a change as lines of text."""
    found = []
    for step in scale.told(change, ["nas1", "bbdd1"], ["lb1"], ["nagios"])["steps"]:
        given = step.get("arguments", {})
        hosts = given.get("hosts") or step.get("hosts") or [given["pool"]]
        words = [step["runner"]] if "runner" in step else []
        through = ", through" if given.get("through") else ""
        found.append(f"{step['name']}: {' '.join(words + hosts)}{through}")
    return found


def test_s10_the_steps_in_order() -> None:
    """S10: out of the balancer before it stops, not behind it before it serves."""
    assert steps(change({"add": ["s4", "s5"], "remove": ["s2"]})) == STEPS.splitlines()


@pytest.mark.parametrize(
    ("data", "hosts"), [({"count": 5}, "s4 s5"), ({"remove": ["s2"]}, "s2"), ({"count": 3}, "")]
)
def test_s10_no_more_steps_than_there_are_hosts_for(data: dict[str, Any], hosts: str) -> None:
    """S10: one that nothing comes of has none at all."""
    wanted = [
        line.replace("nas1 bbdd1 s4 s5", f"nas1 bbdd1 {hosts}") for line in STEPS.splitlines()
    ]
    if hosts == "s2":
        wanted = [line.replace("nas1 bbdd1 s2", "nas1 bbdd1") for line in wanted]
    always = ("all who follow", "applied", "balancers follow", "the rest follows", "done")
    kept = [line for line in wanted if f" {hosts}" in line or line.startswith(always)]
    assert steps(change(data)) == (kept if hosts else [])


def test_s10_the_plan_names_the_hosts_that_are_down() -> None:
    """S10: A skipped host follows in no step."""
    found = scale.told(change({"count": 4}), ["nas1"], ["lb1"], ["nagios"], ["nas2"])
    assert (found["neighbours"], found["balancers"], found["skipped"]) == (
        ["nas1"],
        ["lb1"],
        ["nas2"],
    )
    assert "nas2" not in str(found["steps"])


def test_s10_several_faults_at_once() -> None:
    with pytest.raises(RequestError) as caught:
        scale.parse({"pool": "app", "add": ["x"], "remove": 3, "y": 1}, TOPOLOGY)
    assert len(caught.value.faults) == 3


@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists)
    | st.dictionaries(
        st.sampled_from(scale.KEYS) | st.text(max_size=3),
        st.none() | st.integers(-2, 12) | st.text(max_size=3) | st.lists(st.sampled_from(IDS)),
    )
)
def test_s10_no_request_raises_anything_else(data: object) -> None:
    try:
        scale.parse(data, TOPOLOGY)
    except RequestError as error:
        assert error.faults


@given(
    st.lists(st.sampled_from(IDS), min_size=1, unique=True),
    st.sets(st.sampled_from(IDS)),
    st.integers(1, 10),
)
def test_s10_a_request_again_changes_nothing_more(
    now: list[str], unfinished: set[str], count: int
) -> None:
    """S10: whatever there is, the plan reaches the count, and afterwards there is nothing left."""
    request = scale.parse({"pool": "app", "count": count}, TOPOLOGY)
    ordered = sorted(now, key=IDS.index)
    unfinished.discard(ordered[0])  # somebody serves
    first = scale.plan(request, TOPOLOGY, {"app": ordered}, unfinished)
    assert len(first.members) == count
    assert not set(first.joining) & set(first.leaving)
    assert set(first.joining) <= set(first.members)
    assert unfinished <= set(first.touched)
    interrupted = scale.plan(request, TOPOLOGY, {"app": first.members}, first.touched)
    assert interrupted == replace(first, again=first.joining)
    done = scale.plan(request, TOPOLOGY, {"app": first.members})
    assert not done.touched


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"pool": "app", "count": 5}, "app to 5 hosts"),
        ({"pool": "app", "add": ["s4", "s5"]}, "app: add s4, s5"),
        ({"pool": "app", "add": ["s4"], "remove": ["s1"]}, "app: add s4 and remove s1"),
    ],
)
def test_a_request_in_words(data: dict[str, Any], words: str) -> None:
    assert scale.in_words(data) == words

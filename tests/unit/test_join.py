"""The hosts that may join by themselves, and the obstacles of the others (S10)."""

from __future__ import annotations

from pathlib import Path

import pytest

from salina_fleet.change import join
from salina_fleet.change.join import QUIET, RETRY, Attempt
from tests import fleets

TOPOLOGY = fleets.topology()
MEMBERS = {"app": ["s1", "s2", "s3", "s4"]}
NOW = 1_000_000.0


def against(host: str, *unfinished: str, quiet: float = 0, tried: Attempt | None = None) -> str:
    found = join.obstacles(
        TOPOLOGY, MEMBERS, {"app": list(unfinished)}, tried or Attempt(), quiet, NOW
    )
    return found[host]


def test_s10_a_minion_that_starts_says_so_itself() -> None:
    assert join.starts("s5", "salt/minion/s5/start")


@pytest.mark.parametrize(
    ("minion", "tag"),
    [
        ("s1", "salt/minion/s5/start"),  # s1 fires the tag of another
        ("s5", "salt/minion/s5/start/"),
        ("s5", "salt/minion/s5/x/start"),
        ("s*", "salt/minion/s5/start"),
        (None, "salt/minion/None/start"),
        (["s5"], "salt/minion/['s5']/start"),
        (5, "salt/minion/5/start"),
        ("s5", None),
    ],
)
def test_s10_a_forged_event_says_nothing(minion: object, tag: object) -> None:
    assert not join.starts(minion, tag)


@pytest.mark.parametrize(
    ("host", "pool"),
    [
        ("s1", "app"),
        ("s10", "app"),
        ("s11", None),
        ("s05", None),
        ("nas1", None),
        ("s5\n", None),
        (None, None),
        (["s5"], None),
    ],
)
def test_s10_only_hosts_of_pools_may_join(host: object, pool: str | None) -> None:
    assert join.pool_of(host, TOPOLOGY) == pool


def test_s10_only_who_is_no_settled_member_is_looked_at() -> None:
    found = join.obstacles(TOPOLOGY, MEMBERS, {"app": ["s4"]}, Attempt(), QUIET, NOW)
    assert found == dict.fromkeys(["s4", "s5", "s6", "s7", "s8", "s9", "s10"], "")


def test_s10_a_host_on_its_way_out_does_not_come_back() -> None:
    assert against("s5", "s5", quiet=9 * QUIET) == "an unfinished change is removing this host"
    assert against("s6", "s5") == ""


def test_s10_an_interrupted_change_waits_for_whoever_began_it() -> None:
    assert "was interrupted" in against("s4", "s4", quiet=QUIET - 1)
    assert against("s4", "s4", quiet=QUIET) == ""


def test_s10_an_interrupted_joining_is_taken_up_at_once() -> None:
    assert against("s4", "s4", tried=Attempt(("s4",), NOW - 1)) == ""
    assert "was interrupted" in against("s4", "s4", tried=Attempt(("s5",), NOW - 1))


def test_s10_a_failed_joining_is_tried_again_later() -> None:
    failed = Attempt(("s4",), NOW - RETRY + 1, "no volume")
    again = "the master tries again 1 s from now"
    told = f"the join failed {RETRY - 1} s ago; {again}. Reason: no volume"
    assert against("s4", "s4", quiet=9 * QUIET, tried=failed) == told
    assert against("s4", "s4", tried=Attempt(("s4",), NOW - RETRY, "no volume")) == ""


def test_s10_a_refused_joining_is_tried_again_later() -> None:
    """S10: A refusal records no unfinished host."""
    refused = Attempt(("s5",), NOW - 1, "lb1: no answer")
    assert against("s5", tried=refused).endswith("Reason: lb1: no answer")
    assert against("s6", tried=refused) == ""
    assert against("s5", tried=Attempt(("s5",), NOW - RETRY, "lb1: no answer")) == ""


@pytest.mark.parametrize(
    "text", ["", "{", "null", "[]", "{}", '{"hosts": 3, "at": 1, "error": ""}', '{"hosts": []}']
)
def test_a_damaged_account_of_the_last_attempt_is_none(tmp_path: Path, text: str) -> None:
    file = tmp_path / "last-join.json"
    assert join.attempt(file) == Attempt()
    file.write_text(text)
    assert join.attempt(file) == Attempt()


def test_the_account_of_an_attempt_is_read_as_it_was_written(tmp_path: Path) -> None:
    file = tmp_path / "last-join.json"
    file.write_text('{"hosts": ["s4"], "at": 2.5, "error": "x"}')
    assert join.attempt(file) == Attempt(("s4",), 2.5, "x")

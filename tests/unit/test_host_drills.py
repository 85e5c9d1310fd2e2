"""The drills of `make drill`: which there are, and how they judge what clients noticed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from drill import measure, ready
from drill.cases import cases, chosen, services
from drill.history import History, Write, gap, judge
from drill.measure import HEADINGS, Outcome
from drill.table import markdown
from lab.errors import LabError
from lab.machines.faults import Fault, Kind
from tests import fleets
from tests.lab.alarms import Mail
from tests.lab.traffic import Request


def every(name: str = "default") -> list[Fault]:
    """All drills of a fleet."""
    fleet = fleets.fleet(name)
    return list(cases(fleet, fleets.definitions(fleet.topology)))


# The gap


def test_a_gap_is_the_longest_time_without_success() -> None:
    assert gap([1, 2, 5, 6], 0.5, 7) == 3
    assert gap([6, 1, 5, 2], 0.5, 7) == 3  # answers arrive in any order


def test_a_gap_begins_at_the_last_success_before_the_fault() -> None:
    assert gap([1, 2, 9], 3, 10) == 7
    assert gap([1, 30, 31], 29, 32) == 29  # it began before the fault, and lasted into it


def test_an_earlier_gap_does_not_count() -> None:
    assert gap([1, 20, 21, 22], 20.5, 23) == 1


def test_a_gap_that_has_not_ended_lasts_until_the_end() -> None:
    assert gap([1, 2], 2, 12) == 10
    assert gap([], 2, 12) == 10
    assert gap([1, 2, 40], 2, 12) == 10  # after the observation


# The history


def written(*numbers: int) -> list[Write]:
    """Writes that each found all rows before them."""
    return [Write(number, float(place), place) for place, number in enumerate(numbers)]


def test_every_acknowledged_row_is_on_each_host_once() -> None:
    found = judge(written(1, 2, 4), {"bbdd1": [1, 2, 4], "bbdd2": [4, 2, 1]})
    assert found == History(3) and found.good
    words = "3 acknowledged writes: each of them is there once, on every database host"
    assert str(found) == words


def test_a_row_that_nobody_acknowledged_may_be_there_or_not() -> None:
    """The client whose connection broke does not know; such a row may also vanish again."""
    assert judge(written(1, 4), {"bbdd1": [1, 2, 3, 4], "bbdd2": [1, 3, 4]}).good
    writes = [Write(1, 0.0, 0), Write(4, 1.0, 3), Write(5, 2.0, 2)]
    assert judge(writes, {"bbdd1": [1, 4, 5]}).good


def test_a_lost_row_is_found_on_either_host() -> None:
    for tables in ({"a": [1, 3], "b": [1, 2, 3]}, {"a": [1, 2, 3], "b": [1, 3]}):
        found = judge(written(1, 2, 3), tables)
        assert found.lost == (2,) and not found.good
        assert str(found) == "3 acknowledged writes: 1 lost (such as 2)"


def test_a_row_that_is_there_twice_is_found() -> None:
    assert judge(written(1, 2), {"a": [1, 2, 2], "b": [1, 2]}).doubled == (2,)


def test_a_row_that_was_away_for_a_while_is_found() -> None:
    """All are there at the end, but the third write found only one of the two before it."""
    writes = [Write(1, 0.0, 0), Write(2, 1.0, 1), Write(3, 2.0, 1), Write(4, 3.0, 3)]
    found = judge(writes, {"a": [1, 2, 3, 4]})
    assert found.vanished == (3,) and not found.lost and not found.good


# Which drills


def test_each_kind_breaks_each_host_in_turn() -> None:
    found = every()
    hosts = [*fleets.fleet().hosts]
    for kind in (Kind.LINK_DOWN, Kind.FREEZE, Kind.KILL):
        assert [one.host for one in found if one.kind is kind] == hosts
    killed = [one for one in found if one.kind is Kind.SERVICE_KILL]
    assert [*dict.fromkeys(one.host for one in killed)] == hosts
    assert all(one.service for one in killed)
    assert len({*found}) == len(found)


@pytest.mark.parametrize("name", fleets.OTHERS)
def test_other_fleets_have_drills_too(name: str) -> None:
    assert {one.host for one in every(name)} == {*fleets.fleet(name).hosts}


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("nas1", ["glusterd", "etcd"]),
        ("salt", ["salt-master"]),
        ("fw", ["salt-minion"]),
        ("bkp1", ["pgbackrest", "salina-files-repository"]),
    ],
)
def test_the_services_of_a_host_are_those_of_its_roles(host: str, expected: list[str]) -> None:
    fleet = fleets.fleet()
    definitions = fleets.definitions(fleet.topology)
    assert services(fleet, fleet.hosts[host], definitions) == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["bbdd1", "freeze"], ["freeze bbdd1"]),
        (["nas1", "nas2", "kill"], ["kill nas1", "kill nas2"]),
        (["etcd", "nas3"], ["service-kill etcd nas3"]),
        (["fw"], ["link-down fw", "freeze fw", "kill fw", "service-kill salt-minion fw"]),
    ],
)
def test_an_operator_chooses_some(words: list[str], expected: list[str]) -> None:
    assert [str(one) for one in chosen(every(), words)] == expected


def test_without_a_word_all_are_chosen() -> None:
    assert chosen(every(), []) == every()


def test_an_unknown_word_is_named_with_those_that_exist() -> None:
    with pytest.raises(LabError, match=r"'db1' is not a host, a kind or a service; .* bbdd1"):
        chosen(every(), ["db1", "freeze"])
    with pytest.raises(LabError, match="no drill has all of: fw etcd"):
        chosen(every(), ["fw", "etcd"])


# The outcome

CASE = Fault(Kind.KILL, "nas2")
GOOD = Outcome(CASE, 120, ["page after 3 s"], 1.04, 7.0, 0.31, History(900), [], 41.6)


def test_an_outcome_is_a_row_of_the_table() -> None:
    cells = GOOD.cells()
    assert cells == ["kill nas2", "1 of 120", "1.0 s", "7.0 s", "0.3 s", "0", "0", "42 s", "none"]
    alarmed = Outcome(CASE, alarms=[(33.2, "nas2 is DOWN"), (70.0, "nas1 heal is CRITICAL")])
    assert alarmed.cells()[-2:] == ["never", "nas2 is DOWN +33 s; nas1 heal is CRITICAL +70 s"]
    broken = Outcome(CASE, error="the traffic ended").cells()
    assert broken[:2] == ["kill nas2", "the traffic ended"]
    assert len(cells) == len(broken) == len(HEADINGS)


def test_failed_requests_alone_are_no_failure() -> None:
    assert GOOD.good
    assert not Outcome(CASE, history=History(2, lost=(1,)), healthy=1.0).good
    assert not Outcome(CASE, files=["nas1: 0a"], healthy=1.0).good
    assert not Outcome(CASE).good  # never well again
    assert not Outcome(CASE, healthy=1.0, error="the traffic ended").good


def test_only_good_requests_end_a_gap() -> None:
    asked = [
        Request(0, "page", True, 10.0, 0.5, "", ""),
        Request(1, "read", True, 11.0, 0.5, "HTTP 503", ""),
        Request(2, "upload", False, 12.0, 2.0, "", "0a"),
        Request(3, "read", True, 13.0, 0.5, "", "0a"),
    ]
    assert measure._good(asked, *measure.READS) == [10.5, 13.5]
    assert measure._good(asked, "upload") == [14.0]


def test_a_table_is_markdown_with_even_columns() -> None:
    lines = markdown(["a", "host"], [["1", "s1"], ["x|y", "nas1"]]).splitlines()
    assert lines[0] == "| a    | host |"
    assert lines[1] == "| ---- | ---- |"
    assert lines[3] == r"| x\|y | nas1 |"
    assert len({len(line) for line in lines}) == 1


# One drill


class Parts:
    """A lab, traffic and a writer that do as they are told, and note what happens."""

    host = "s1"

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.now = 1000.0

    def __enter__(self) -> Parts:
        return self

    def __exit__(self, *_: object) -> None:
        self.ran.append("left")

    def again(self, host: str) -> None:
        self.ran.append(f"writer on {host}")

    def end(self) -> None:
        self.ran.append("ended")

    def requests(self) -> list[Request]:
        ends = (999.0, 1001.0, 1012.0, 1013.0)
        return [Request(0, "page", True, at - 0.5, 0.5, "", "") for at in ends]

    def failed(self) -> list[str]:
        return []

    def uploads(self) -> set[str]:
        return {"0a"}

    def lines(self) -> list[dict[str, float]]:
        return [{"number": 1, "at": 1000.5, "rows": 0}, {"number": 2, "at": 1009.5, "rows": 1}]

    def tables(self) -> dict[str, list[int]]:
        return {"bbdd1": [1, 2], "bbdd2": [1, 2]}

    def until(self, probe: Any, seconds: float, pause: float = 1.0) -> Any:
        self.now += 10
        return probe()


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> Parts:
    """The parts, in place of the lab's."""
    found = Parts()
    monkeypatch.setattr(measure, "Traffic", lambda timeout: found)
    monkeypatch.setattr(measure, "wait_for", lambda *_: 0.0)
    monkeypatch.setattr(measure.wait, "until", found.until)
    monkeypatch.setattr(measure.time, "time", lambda: found.now)
    monkeypatch.setattr(measure, "bricks_differ", lambda names: [])
    monkeypatch.setattr(measure, "trouble", lambda: "")
    monkeypatch.setattr(measure, "unhealthy", lambda: "")
    monkeypatch.setattr(measure.alarms, "listen", lambda: None)
    mail = Mail(1031.0, "PROBLEM: nas2 is DOWN")
    monkeypatch.setattr(measure.alarms, "problems", lambda since: [mail])
    monkeypatch.setattr(measure.lab, "fault", lambda *what: found.ran.append(" ".join(what)))
    monkeypatch.setattr(measure.lab, "heal", lambda host: found.ran.append(f"heal {host}"))
    return found


def test_a_host_is_broken_and_repaired_under_traffic(parts: Parts) -> None:
    found = measure.measure(CASE, parts)  # type: ignore[arg-type]
    assert parts.ran == ["kill nas2", "heal nas2", "ended", "left"]
    assert (found.requests, found.readers, found.rows) == (3, 11.0, 10.5)
    assert found.healthy == 10.0  # from the repair on
    assert found.alarms == [(31.0, "nas2 is DOWN")]
    assert found.history.acknowledged == 2 and found.good


def test_a_killed_service_starts_again_by_itself(parts: Parts) -> None:
    case = Fault(Kind.SERVICE_KILL, "nas2", "etcd")
    found = measure.measure(case, parts)  # type: ignore[arg-type]
    assert parts.ran[:2] == ["service-kill etcd nas2", "heal nas2"]
    assert found.healthy == 10.0  # from the kill on


def test_the_writer_leaves_a_host_that_is_broken(parts: Parts) -> None:
    measure.measure(Fault(Kind.FREEZE, "s1"), parts)  # type: ignore[arg-type]
    assert parts.ran[:2] == ["writer on s2", "freeze s1"]


def test_a_host_is_repaired_also_after_an_error(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C while it is broken, or an error: it is repaired before anything else happens."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(measure.wait, "until", interrupted)
    with pytest.raises(KeyboardInterrupt):
        measure.measure(CASE, parts)  # type: ignore[arg-type]
    assert parts.ran == ["kill nas2", "heal nas2", "left"]


# The begin


@pytest.mark.parametrize(
    ("states", "told"),
    [
        ({"geteuid": 1000}, "the lab needs root"),
        ({"lab": False}, "there is no lab"),
        ({"overridden": True}, "another topology"),
        ({"trouble": "s1: no unit odoo"}, "while something is not well:\ns1: no unit odoo"),
        ({"alarmed": "nas1 heal is critical"}, "while something is not well:\nnas1 heal"),
        ({}, ""),
    ],
)
def test_nothing_is_broken_unless_all_is_well(
    states: dict[str, Any], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    topology = tmp_path / "topology.yaml"
    if states.get("lab", True):
        topology.touch()
    monkeypatch.setattr(ready, "TOPOLOGY", topology)
    monkeypatch.setattr(ready.os, "geteuid", lambda: states.get("geteuid", 0))
    monkeypatch.setattr(ready.topology_file, "overridden", lambda: states.get("overridden", False))
    monkeypatch.setattr(ready, "trouble", lambda: states.get("trouble", ""))
    monkeypatch.setattr(ready, "alarmed", lambda: states.get("alarmed", ""))
    monkeypatch.setattr(ready, "NOTICED", 0)
    if told:
        with pytest.raises(LabError, match=told):
            ready.begin()
    else:
        ready.begin()


def test_a_fault_that_is_not_healed_is_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ready.faults, "read", lambda: [CASE])
    assert ready.trouble() == "still broken: kill nas2"

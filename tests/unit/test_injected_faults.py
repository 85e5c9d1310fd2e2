"""The table of the faults that must be found, and how their delays are measured."""

from __future__ import annotations

import json
import subprocess
from types import SimpleNamespace
from typing import Any

import pytest

from drill import find
from drill.faults import (
    DRIFT,
    FAULTS,
    HOST,
    MOST,
    PREDICT,
    PRIMARY,
    REPLICA,
    REPORT,
    WHOLE,
    Fault,
    chosen,
    independent,
    placed,
    rounds,
    seen,
)
from drill.find import Found
from lab.machines.faults import Kind
from salina_fleet import health, watch
from tests import fleets
from tests.conftest import REPOSITORY
from tests.lab import alarms
from tests.lab.alarms import Mail
from tools import requirements

PLACED = placed(FAULTS, "bbdd1", "bbdd2")


def fault(**other: Any) -> Fault:
    """A fault whose fields do not matter otherwise."""
    given = {"name": "x", "host": "s1", "inject": "a", "undo": "b", "row": "S1", "what": "w"}
    return Fault(**{**given, "alarm": "disk", **other})


def services(host: str) -> set[str]:
    """The services of a host in Nagios."""
    fleet = fleets.fleet()
    wanted = watch.expected(fleet, fleet.hosts[host], fleets.definitions(fleet.topology))
    return {HOST, REPORT, *watch.listed(wanted)}


# The table


def test_there_are_fifty_kinds_and_each_is_another_one() -> None:
    assert len(FAULTS) >= 50
    assert len({one.name for one in FAULTS}) == len(FAULTS)
    assert len({one.inject for one in PLACED if isinstance(one.inject, str)}) >= 50


@pytest.mark.parametrize("one", PLACED, ids=lambda one: one.name)
def test_a_fault_names_what_exists(one: Fault) -> None:
    """Its host and its row exist, and Nagios has the service that gives the alarm."""
    assert one.host in fleets.fleet().hosts
    assert one.row in requirements.rows(REPOSITORY)
    assert one.alarm in services(one.host)


@pytest.mark.parametrize("one", PLACED, ids=lambda one: one.name)
def test_a_fault_can_be_made_and_undone(one: Fault) -> None:
    """Its scripts are correct for sh. The lab itself undoes those of its own kinds."""
    if isinstance(one.inject, Kind):
        assert one.what == WHOLE and not one.undo
        return
    for script in (one.inject, one.undo, one.primary, PREDICT):
        done = subprocess.run(["sh", "-n"], input=script, text=True, capture_output=True)
        assert not done.returncode, done.stderr
    assert one.inject and one.undo


def test_every_row_that_a_health_check_shows_has_a_fault() -> None:
    """No health check of the default fleet is left out, but those that only give notices."""
    fleet = fleets.fleet()
    definitions = fleets.definitions(fleet.topology)
    probes = {
        one.probe
        for host in fleet.hosts.values()
        for one in health.checks(fleet, host, definitions)
    }
    alarmed = {one.alarm.split()[0] for one in FAULTS}
    # the findings of these are notices in the lab, and Nagios gives no alarm about itself
    notices = {"waiting", "timekeeping", "alerts", "logs", "leftover"}
    assert probes - alarmed <= {*notices, "nagios"}


# The rounds


def test_all_faults_are_in_rounds_of_independent_ones() -> None:
    found = rounds(PLACED)
    assert sorted(one.name for group in found for one in group) == sorted(
        one.name for one in FAULTS
    )
    assert max(map(len, found)) <= MOST
    assert len(found) <= 10
    for group in found:
        for place, one in enumerate(group):
            assert all(independent(one, other) for other in group[:place])


def test_faults_of_whole_hosts_come_last() -> None:
    kinds = [{isinstance(one.inject, Kind) for one in group} for group in rounds(PLACED)]
    assert kinds[-1] == {True} and all(kind == {False} for kind in kinds[:-1])


def test_two_faults_that_look_the_same_are_in_different_rounds() -> None:
    one = fault()
    assert independent(one, fault(host="s2"))
    assert not independent(one, fault(what="other"))  # the same alarm
    assert not independent(one, fault(alarm="app"))  # the same line of verify.service
    assert independent(one, fault(alarm="app", what="other"))
    assert not independent(one, fault(alarm="app", what=WHOLE))
    assert not independent(one, fault(alarm=REPORT, what="other"))  # it keeps others silent
    edited = fault(alarm=DRIFT, what="other")
    assert independent(edited, fault(alarm=DRIFT))  # one alarm for all differences of a host


def test_what_only_one_fault_may_break_is_broken_once() -> None:
    one = fault(parts=("volume",))
    assert not independent(one, fault(host="s2", parts=("quorum", "volume")))
    assert independent(one, fault(host="s2", parts=("quorum",)))


def test_the_cluster_says_where_its_faults_are() -> None:
    hosts = {one.name: one.host for one in placed(FAULTS, "bbdd2", "bbdd1")}
    assert hosts["a lagging replica"] == "bbdd1" and hosts["a paused failover"] == "bbdd2"
    assert not {PRIMARY, REPLICA} & {*hosts.values()}


def test_an_operator_chooses_faults_by_words() -> None:
    assert [one.name for one in chosen(PLACED, ["etcd", "hangs"])] == ["an etcd that hangs"]
    assert {one.row for one in chosen(PLACED, ["X6"])} == {"X6"}
    assert chosen(PLACED, []) == PLACED
    assert chosen(PLACED, ["nonsense"]) == []


# The delays


def test_verify_has_seen_a_fault_of_this_host_row_and_subject() -> None:
    line = {"row": "S1", "host": "s1", "what": "w and more", "seen": "bad"}
    assert seen(fault(), [line])
    for key, other in (("row", "S2"), ("host", "s2"), ("what", "other")):
        assert not seen(fault(), [{**line, key: other}])


def test_the_subject_of_an_alarm() -> None:
    assert fault().subject == "s1 disk is "
    assert fault(alarm=HOST).subject == "s1 is "


def test_the_mails_of_the_sink() -> None:
    """The journal has the time of each line; other headers and other lines are not mails."""
    journal = (
        "1790000000.250001 nagios python3[812]: ---------- MESSAGE FOLLOWS ----------\n"
        "1790000000.250102 nagios python3[812]: b'Subject: PROBLEM: nas3 is DOWN'\n"
        "1790000000.250103 nagios python3[812]: b'From: salina@localhost.localdomain'\n"
        "1790000031.500000 nagios python3[812]: b'Subject: RECOVERY: nas3 is UP'\n"
    )
    assert alarms.parse(journal) == [
        Mail(1790000000.250102, "PROBLEM: nas3 is DOWN"),
        Mail(1790000031.5, "RECOVERY: nas3 is UP"),
    ]


def test_the_delays_are_measured_from_each_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mail of a longer service name, or of another host, is another fault's."""
    said: list[dict[str, str]] = []
    mails = [
        Mail(103.0, "PROBLEM: s1 disk space is CRITICAL"),
        Mail(104.0, "PROBLEM: s2 disk is CRITICAL"),
    ]
    monkeypatch.setattr(find, "wrong", lambda: said)
    monkeypatch.setattr(alarms, "problems", lambda since: mails)
    monkeypatch.setattr(find.time, "time", lambda: 110.0)
    one = Found(fault(), begun=101.0)
    assert not find.noticed([one], 100.0) and not one.good
    said.append({"row": "S1", "host": "s1", "what": "w", "seen": "bad"})
    mails.append(Mail(131.0, "PROBLEM: s1 disk is CRITICAL"))
    assert find.noticed([one], 100.0) and one.good
    assert (one.verified, one.alarmed) == (9.0, 30.0)
    monkeypatch.setattr(find.time, "time", lambda: 200.0)
    find.noticed([one], 100.0)
    assert one.verified == 9.0  # the first time counts
    assert one.cells() == ["x", "s1", "S1", "9 s", "disk", "30 s"]


def test_a_fault_that_nobody_finds_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Found(fault()).cells()[3:] == ["never", "disk", "never"]
    assert Found(fault(), error="no such unit").cells()[3] == "no such unit"
    assert not Found(fault(), error="no such unit").good


def test_every_fault_is_undone_also_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A script that fails does not stop the others; they are undone in reverse order."""
    ran: list[tuple[str, str]] = []

    def shell(host: str, script: str, check: bool = True) -> str:
        ran.append((host, script))
        if script == "broken":
            raise AssertionError("it failed")
        return ""

    monkeypatch.setattr(find.lab, "shell", shell)
    monkeypatch.setattr(find, "noticed", lambda *_: True)
    group = [fault(), fault(host="s2", inject="broken", undo="c"), fault(host="s3", undo="broken")]
    found: list[Found] = []
    with pytest.raises(ExceptionGroup, match="the lab could not be restored"):
        find.look(group, found)
    assert [one.error for one in found] == ["", "it failed", ""]
    assert ran[:3] == [("s1", "a"), ("s2", "broken"), ("s3", "a")]
    assert ran[3:] == [("s3", "broken"), ("s2", "c"), ("s1", "b")]


def test_what_could_not_be_made_need_not_be_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fault is shown with its error, and the next round begins."""

    def shell(host: str, script: str, check: bool = True) -> str:
        if host == "s2":
            raise AssertionError("no such unit")
        return ""

    monkeypatch.setattr(find.lab, "shell", shell)
    monkeypatch.setattr(find, "noticed", lambda *_: True)
    found: list[Found] = []
    find.look([fault(), fault(host="s2")], found)
    assert [one.error for one in found] == ["", "no such unit"]


def test_what_verify_finds_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row that cannot be answered is not wrong, but an answer that is not JSON is."""
    bad = {"host": "s1", "what": "files", "good": False, "seen": "no answer"}
    good = {"host": "s2", "what": "files", "good": True, "seen": "good"}
    rows = {"S12": {"good": False, "seen": [bad, good]}, "S17": {"good": None, "why": "a file"}}
    said = {"stdout": json.dumps({"rows": rows}), "stderr": ""}
    monkeypatch.setattr(find.lab, "salt_run", lambda *_: SimpleNamespace(**said))
    monkeypatch.setattr(find.lab, "master", lambda: "salt")
    expected = {"row": "S12", "host": "s1", "what": "files", "seen": "no answer"}
    assert find.wrong() == [expected]
    said.update(stdout="", stderr="the master does not answer")
    assert find.wrong()[0]["seen"] == "the master does not answer"

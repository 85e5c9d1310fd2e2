"""S13: What is expected gives no alarm: turns, orchestrations, and an operator's work."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path
from subprocess import CalledProcessError
from typing import Any

import pytest
from salt.exceptions import CommandExecutionError, SaltClientError

from salina.application import agent
from salina.health import probes, told
from salina.monitoring import plugin, quiet
from salina.monitoring.plugin import CRITICAL, OK, WARNING, Result
from salina_fleet import minions, runner
from salina_fleet.change import follow
from salina_fleet.change import quiet as changes
from salina_fleet.errors import RunnerError
from salina_fleet.fleet import Fleet
from salina_fleet.model.monitoring import MonitoringSettings
from salina_fleet.site import Site
from tests import fleets
from tests.loading import load

STATUS = """\
########################################
info {
\tversion=4.4.6
\t}

hostdowntime {
\thost_name=s1
\tend_time=1600
\tcomment=a = reboot
\t}

servicedowntime {
\thost_name=s1
\tservice_description=disk
\tend_time=1600
\t}

hostdowntime {
\thost_name=s2
\tend_time=900
\t}
"""
"""As Nagios 4.4.6 writes it; most lines are left out."""


# Nagios' commands


def test_s13_a_downtime_has_an_end() -> None:
    """S13: Of the host and of all its services; the comment ends neither itself nor the line."""
    host, services = quiet.begin(["s1"], 30, "a; b\n[1] X", 1000.7)
    assert host == "[1000] SCHEDULE_HOST_DOWNTIME;s1;1000;2800;1;0;0;Salina;a, b [1] X"
    assert services == host.replace("HOST", "HOST_SVC")
    assert quiet.end("a; b", 1000) == ["[1000] DEL_DOWNTIME_BY_START_TIME_COMMENT;;a, b"]
    assert quiet.end_hosts(["s1"], 1000) == ["[1000] DEL_DOWNTIME_BY_HOST_NAME;s1"]


def test_s13_who_is_silent_is_shown() -> None:
    """S13: Those whose end has come are not."""
    found = list(quiet.current(probes.blocks(STATUS), 1000))
    assert found == [{"host": "s1", "minutes": "10", "why": "a = reboot"}]


def test_s13_nagios_gets_the_commands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """S13: Through its pipe; without Nagios that is an error."""
    module, pipe, status = load("_modules/monitoring.py"), tmp_path / "cmd", tmp_path / "status"
    monkeypatch.setattr(quiet, "COMMANDS", str(pipe))
    monkeypatch.setattr(quiet, "STATUS", str(status))
    for call in (lambda: module.quiet(["s1"], 1, "x"), module.silent):
        with pytest.raises(CommandExecutionError):
            call()
    os.mkfifo(pipe)
    status.write_text(STATUS)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert module.quiet(["s1"], "1", "x") and module.heard([], "x") and module.heard(["s2"])
        lines = os.read(reader, 65536).decode().splitlines()
    finally:
        os.close(reader)
    assert [line.split(" ")[1].split(";")[0] for line in lines] == [
        *("SCHEDULE_HOST_DOWNTIME", "SCHEDULE_HOST_SVC_DOWNTIME"),
        *("DEL_DOWNTIME_BY_START_TIME_COMMENT", "DEL_DOWNTIME_BY_HOST_NAME"),
    ]
    assert module.silent() == []


# Turns


def test_s13_a_report_tells_of_the_turn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """S13: As long as its holder renews it."""
    assert str(told.TURN) == agent.DRAIN and told.LEASE == agent.LEASE
    drain = tmp_path / "drain"
    monkeypatch.setattr(told, "TURN", drain)
    assert told.turn() is None
    begun = time.time() - 60
    drain.write_text(json.dumps({"turns": {"app": "odoo restarts"}, "begun": begun}))
    found = told.told([])["turn"]
    assert found["what"] == "odoo restarts" and 60 <= found["seconds"] < 90
    for damaged in ("", "[]", "{}", '{"turns": [], "begun": 1}'):
        drain.write_text(damaged)
        assert told.turn() is None
    drain.write_text(json.dumps({"turns": {"app": "odoo restarts"}}))
    os.utime(drain, (begun, begun - told.LEASE))
    assert told.turn() is None


@pytest.mark.parametrize(
    ("seconds", "state", "words"),
    [
        (35, WARNING, "in its turn for 35 s (odoo restarts)"),
        (plugin.TURN + 1, OK, "1 results, 1 of them critical"),
        (-1, OK, "1 results, 1 of them critical"),
        ("x", CRITICAL, "another form"),
    ],
)
def test_s13_faults_of_a_turn_are_warnings(
    monkeypatch: pytest.MonkeyPatch, seconds: Any, state: int, words: str
) -> None:
    """S13: For a bounded time, and the report is one as well, so others stay silent."""
    turn = {"seconds": seconds, "what": "odoo restarts"}
    report = {"checks": {"a": [["a", False, "bad"]]}, "clock": time.time(), "turn": turn}
    given: list[Result] = []
    monkeypatch.setattr(plugin, "fetch", lambda *_: report)
    monkeypatch.setattr(plugin, "submit", lambda host, found, now: given.extend(found))
    configuration = {"port": 1, "hosts": {"s1": {"address": "", "checks": {"a": []}}}}
    found = plugin.report("s1", 0, configuration)
    assert found[0] == state and words in found[1]
    if state == WARNING:
        assert given == [Result("a", WARNING, f"{words}: a: bad")]
    elif state == OK:
        assert given == [Result("a", CRITICAL, "a: bad")]


# The master


class Master:
    """The runners of a master whose monitoring host answers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.connected = {"nagios"}
        self.fault = ""
        self.own = MonitoringSettings()
        self.place = place
        monkeypatch.setattr(minions, "connected", lambda *_: self.connected)
        monkeypatch.setattr(minions, "together", self.together)
        monkeypatch.setattr(runner, "site", lambda _: self.site)
        monkeypatch.setattr(follow, "begin", lambda *_: None)
        monkeypatch.setattr(follow, "end", lambda *_: None)

    @property
    def site(self) -> Site:
        """The default fleet, with the settings of the test."""
        whole = fleets.fleet()
        fleet = Fleet(whole.topology, whole.members, whole.settings.but(self.own))
        return Site(self.place, self.place, fleet, {}, fleets.LOCKS, fleets.TREE)

    def together(self, _: Any, hosts: list[str], function: str, given: Any, *rest: Any) -> Any:
        """Note the question, and answer it."""
        self.asked += [(host, function, *given) for host in hosts]
        faults = dict.fromkeys(hosts, self.fault) if self.fault else {}
        return {host: [{"host": "s1"}] for host in hosts if not faults}, faults

    def run(self, name: str) -> Any:
        """Return a runner."""
        return load(f"_runners/{name}.py", opts={})


@pytest.fixture
def master(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Master:
    """A master."""
    return Master(monkeypatch, tmp_path)


def test_s13_an_operator_announces_work(master: Master) -> None:
    """S13: And ends it, and sees what is announced."""
    called = master.run("maintenance")
    assert called.begin(["s1"], 30, "a reboot").startswith("no alarms about s1 for 30 minutes")
    assert called.end(["s1"]) == "alarms about s1 are sent again"
    assert called.end() == "alarms about every host are sent again"
    assert called.show() == [{"host": "s1"}]
    first, shown, second, third, _ = master.asked
    assert first == ("nagios", "monitoring.quiet", ["s1"], 30, "a reboot")
    assert shown == ("nagios", "monitoring.silent")
    assert second == ("nagios", "monitoring.heard", ["s1"])
    assert {*third[2]} == {*fleets.fleet().hosts}


def test_k5_a_silence_that_nagios_does_not_show_is_told(
    master: Master, monkeypatch: pytest.MonkeyPatch
) -> None:
    """K5, S13: Its command is in Nagios' pipe, but only its state proves that it was taken."""
    called = master.run("maintenance")
    monkeypatch.setattr(called, "SHOWN", 0)
    with pytest.raises(RunnerError, match=r"^s2: Nagios does not show it within 0 s"):
        called.begin(["s1", "s2"])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((["eve"],), 'hosts: "eve" is not a host of the fleet'),
        (("s1",), r"hosts: 's1' is not a list; write '\[s1\]'"),
        ((["s1"], 0), "minutes: 0 is not valid; must be from 1 to 1440"),
        ((["s1"], "long"), "minutes: 'long' is not valid"),
    ],
)
def test_k5_work_that_cannot_be_announced(master: Master, given: Any, said: str) -> None:
    """K5: One clear error, and nobody is asked."""
    with pytest.raises(RunnerError, match=said):
        master.run("maintenance").begin(*given)
    assert not master.asked


def test_k5_a_monitoring_host_that_does_not_answer(master: Master) -> None:
    """K5: An operator learns of it."""
    master.connected = set()
    with pytest.raises(RunnerError, match="nagios is not connected"):
        master.run("maintenance").begin(["s1"])
    master.connected, master.fault = {"nagios"}, "nagios: no answer"
    with pytest.raises(RunnerError, match="nagios: no answer"):
        master.run("maintenance").begin(["s1"])


def test_s13_an_orchestration_is_silent_until_its_end(master: Master) -> None:
    """S13: For all hosts, and never longer than the settings say."""
    called = master.run("change")
    called.follow("app: add s4", [])
    called.ended("", {})
    begin, end = master.asked
    assert begin[:2] == ("nagios", "monitoring.quiet") and begin[3:] == (60, quiet.CHANGE)
    assert {*begin[2]} == {*fleets.fleet().hosts}
    assert end == ("nagios", "monitoring.heard", [], quiet.CHANGE)


def test_s13_an_orchestration_needs_no_monitoring(
    master: Master, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S13: A dead monitoring host stops no change; and the settings may switch this off."""

    faults = [RunnerError("no"), SaltClientError("the master starts"), CalledProcessError(1, "ss")]

    def broken(*_: Any) -> Any:
        raise faults[-1]

    called = master.run("change")
    master.own = replace(master.own, quiet=0)
    called.follow("app: add s4", [])
    called.ended("", {})
    assert not master.asked
    master.own = replace(master.own, quiet=60)
    monkeypatch.setattr(minions, "together", broken)
    while faults:
        called.follow("app: add s4", [])
        called.ended("", {})
        faults.pop()


def test_s13_an_orchestration_ends_with_a_faulty_topology(
    master: Master, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S13: Somebody has edited it meanwhile. The end is shown, and the silence ends by itself."""
    shown: list[str] = []

    def faulty(_: Any) -> Site:
        raise RunnerError("topology.yaml: hosts: missing")

    monkeypatch.setattr(follow, "end", lambda error, _: shown.append(error))
    monkeypatch.setattr(runner, "site", faulty)
    master.run("change").ended("a step failed", {})
    assert shown == ["a step failed"] and not master.asked


def test_s13_a_fleet_without_monitoring_has_no_alarms(
    master: Master, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S13, K5: The operator learns of it."""
    monkeypatch.setattr(changes, "watchers", lambda _: [])
    with pytest.raises(RunnerError, match="no host of the fleet watches the others"):
        master.run("maintenance").show()

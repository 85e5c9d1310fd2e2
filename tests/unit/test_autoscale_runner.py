"""S10, S12: what the master does each minute when a pool follows its load."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from salt.exceptions import CommandExecutionError

from salina.health import probes
from salina_fleet import minions
from salina_fleet.change import autoscale
from salina_fleet.fleet import Fleet
from salina_fleet.model.settings import AutoscaleSettings
from salina_fleet.roles import ROLES
from tests import fleets
from tests.fleets import REPOSITORY
from tests.loading import load

START = 1_900_000_000.0
MEMBERS = ["s1", "s2", "s3"]


@dataclass
class Master:
    """A stand-in for what the runner asks: the clock, the balancer, the fleet, orch.scale."""

    state: Path
    now: float = START
    sessions: int = 0
    running: dict[str, Any] | None = None
    joining: list[str] = field(default_factory=list)
    ended: str | None = None
    retcode: int = 0
    answer: Any = None
    scaled: list[dict[str, Any]] = field(default_factory=list)

    def time(self) -> float:
        return self.now

    def cmd(self, hosts: list[str], function: str, *_: Any, **__: Any) -> dict[str, Any]:
        assert (hosts, function) == (["lb1"], "balancer.servers")
        servers = {name: {"sessions": self.sessions if name == "s1" else 0} for name in MEMBERS}
        failed = {"ret": self.answer, "retcode": 1}
        good = {"ret": servers, "retcode": 0}
        return {} if self.answer == "" else {"lb1": failed if self.answer else good}

    def status(self) -> dict[str, Any]:
        return {
            "app": {"joining": self.joining, "leaving": []},
            "running": self.running,
            "last change": {"ended": self.ended} if self.ended else None,
        }

    def orchestrate(self, sls: str, pillar: dict[str, Any]) -> dict[str, Any]:
        assert sls == "orch.scale"
        assert autoscale.loads((self.state / "autoscale.json").read_text()).changed == self.now
        self.scaled.append(pillar)
        return {"data": "why not", "retcode": self.retcode}


@pytest.fixture
def master(tmp_path: Path) -> Master:
    shutil.copytree(REPOSITORY / "pillar", tmp_path / "root/pillar")
    (tmp_path / "root/pillar/settings/autoscale.yaml").write_text("enabled: true\n")
    (tmp_path / "root/salt").mkdir()
    for name in ("_modules", "_states", "_utils", "salt/locks"):
        (tmp_path / "root" / name).symlink_to(REPOSITORY / name)
    (tmp_path / "state").mkdir()
    return Master(tmp_path / "state")


@pytest.fixture
def runner(master: Master, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = load(
        "_runners/autoscale.py",
        opts={"salina": {"root": str(master.state.parent / "root"), "state": str(master.state)}},
        salt={"fleet.status": master.status, "state.orchestrate": master.orchestrate},
    )
    monkeypatch.setattr(module, "time", master)
    monkeypatch.setattr(module, "AUTOSCALED", str(master.state / "failures"))
    monkeypatch.setattr(minions, "client", lambda *_: master)
    return module


def minutes(runner: ModuleType, master: Master, number: int) -> None:
    for _ in range(number):
        master.now += 60
        runner.evaluate()


def test_grows_once(runner: ModuleType, master: Master) -> None:
    """S12: The runner changes the pool once."""
    master.sessions = 70
    minutes(runner, master, 3)
    assert master.scaled == []
    minutes(runner, master, 8)
    assert master.scaled == [{"pool": "app", "count": 4}]


def test_one_that_failed_is_tried_again_after_the_cooling_time(
    runner: ModuleType, master: Master
) -> None:
    """S12, K2: A failed change is repeated after the cooling time."""
    master.sessions, master.retcode = 70, 1
    minutes(runner, master, 3)
    with pytest.raises(CommandExecutionError, match=r"orch.scale of app to 4 failed: why not"):
        minutes(runner, master, 1)
    minutes(runner, master, 9)
    assert len(master.scaled) == 1
    with pytest.raises(CommandExecutionError):
        minutes(runner, master, 1)
    assert len(master.scaled) == 2


def test_waits_for_another_change(runner: ModuleType, master: Master) -> None:
    """S12: The runner waits for another change, whose end begins the cooling time."""
    master.running, master.sessions = {"what": "another"}, 70
    assert runner.evaluate() == {"waits for": {"what": "another"}}
    assert not (master.state / "autoscale.json").exists()
    master.running, master.ended = None, datetime.fromtimestamp(START, UTC).isoformat()
    minutes(runner, master, 9)
    assert master.scaled == []
    minutes(runner, master, 1)
    assert master.scaled == [{"pool": "app", "count": 4}]


def test_finishes_what_was_interrupted(runner: ModuleType, master: Master) -> None:
    """S12, K2: The runner finishes an interrupted change with the recorded count."""
    master.joining, master.sessions = ["s3"], 40
    minutes(runner, master, 1)
    assert master.scaled == [{"pool": "app", "count": 3}]


@pytest.mark.parametrize(
    ("answer", "said"), [("", "it did not answer"), ("no socket", "no socket")]
)
def test_a_balancer_that_does_not_answer(
    runner: ModuleType, master: Master, answer: str, said: str
) -> None:
    """S12, K5: The runner reports a balancer that does not answer."""
    master.answer = answer
    with pytest.raises(CommandExecutionError, match=f"balancer.servers failed on lb1: {said}"):
        runner.evaluate()


def failed(master: Master) -> tuple[int, bool]:
    """How often autoscaling has failed in a row, and whether that is a fault."""
    record = master.state / "failures"
    known = json.loads(record.read_text()) if record.exists() else {}
    ((_, good, _),) = probes.autoscale(str(record))
    return sum(one["times"] for one in known.values()), not good


def test_s12_failures_in_a_row_are_a_fault(runner: ModuleType, master: Master) -> None:
    """S12: Only the master's log would have them. The next success ends the fault."""
    for known in ((1, False), (2, False), (3, True), (4, True)):
        master.answer = "no socket"
        with pytest.raises(CommandExecutionError):
            minutes(runner, master, 1)
        assert failed(master) == known
    ((what, _, words),) = probes.autoscale(str(master.state / "failures"))
    assert what == "autoscaling" and "balancer.servers failed on lb1: no socket" in words
    master.answer = None
    minutes(runner, master, 1)
    assert failed(master) == (0, False)


def test_s12_a_change_that_fails_twice_is_a_fault(runner: ModuleType, master: Master) -> None:
    """S12: The minutes of the cooling time between them do not count as a success."""
    master.sessions, master.retcode = 70, 1
    minutes(runner, master, 3)
    for known in ((1, False), (2, True)):
        with pytest.raises(CommandExecutionError):
            minutes(runner, master, 1)
        minutes(runner, master, 9)
        assert failed(master) == known
    master.retcode = 0
    minutes(runner, master, 1)
    assert failed(master) == (0, False)


def test_s12_other_failures_hide_no_change_that_failed(runner: ModuleType, master: Master) -> None:
    """S12: A balancer that is silent for a minute of the cooling time is another matter."""
    master.sessions, master.retcode = 70, 1
    minutes(runner, master, 3)
    for known in ((1, False), (2, True)):
        with pytest.raises(CommandExecutionError, match="failed: why not"):
            minutes(runner, master, 1)
        master.answer = "no socket"
        with pytest.raises(CommandExecutionError, match="no socket"):
            minutes(runner, master, 1)
        master.answer = None
        minutes(runner, master, 8)
        assert failed(master) == known


def test_s12_the_master_looks_at_it_if_it_is_enabled() -> None:
    """S12: Not in the default fleet."""
    fleet = fleets.fleet()
    (host,) = fleet.having("master")
    names = [one.probe for one in ROLES["master"].checks(fleet, host, {})]
    settings = fleet.settings.but(AutoscaleSettings(enabled=True))
    scaled = Fleet(fleet.topology, fleet.members, settings)
    assert [one.probe for one in ROLES["master"].checks(scaled, host, {})] == [*names, "autoscale"]


def test_k6_one_of_two_balancers_may_be_down(
    runner: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """K6, S12: It has no requests, so the other one knows the load. Without both nobody does."""
    asked: list[list[str]] = []
    away = ["lb1"]

    def silent(_: Any, hosts: list[str], __: int) -> list[str]:
        asked.append(hosts)
        return away

    monkeypatch.setattr(minions, "silent", silent)
    assert runner._balancers(fleets.fleet("pairs")) == ["lb2"]
    away.append("lb2")
    assert runner._balancers(fleets.fleet("pairs")) == ["lb1", "lb2"]
    assert runner._balancers(fleets.fleet()) == ["lb1"]
    assert asked == [["lb1", "lb2"]] * 2

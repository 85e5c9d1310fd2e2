"""The state that keeps a host's clock, and the settings of the time (X6)."""

from __future__ import annotations

from typing import Any

import pytest

from _modules import clock as module
from _states import clock as state
from salina_fleet.model import settings
from salina_fleet.model.clock import TimeSettings
from salina_fleet.model.settings import SettingsError
from tests import fleets
from tests.loading import failure


class Chrony:
    """chrony's unit, as systemd has it."""

    def __init__(self) -> None:
        self.running, self.spared, self.dies, self.started = False, False, False, 0

    def start(self, _: str) -> bool:
        self.started += 1
        self.running = not self.spared and not self.dies
        return True

    def show(self, command: list[str], **_: Any) -> dict[str, Any]:
        assert command[:3] == ["systemctl", "show", "chrony"]
        result = "no" if self.spared or not self.started else "yes"
        moment = 17 if self.started else 0
        text = f"ConditionResult={result}\nConditionTimestampMonotonic={moment}\n"
        return {"stdout": text, "retcode": 0}


@pytest.fixture
def chrony(monkeypatch: pytest.MonkeyPatch) -> Chrony:
    fake = Chrony()
    salt = {
        "service.status": lambda _: fake.running,
        "service.start": fake.start,
        "cmd.run_all": fake.show,
    }
    monkeypatch.setattr(module, "__salt__", salt, raising=False)
    calls = {f"clock.{name}": getattr(module, name) for name in ("runs", "spared", "start")}
    monkeypatch.setattr(state, "__salt__", calls, raising=False)
    monkeypatch.setattr(state, "__opts__", {"test": False}, raising=False)
    return fake


def test_x6_chrony_runs_and_a_second_run_changes_nothing(chrony: Chrony) -> None:
    """X6, K1: A host that can set its clock keeps it."""
    first = state.kept("chrony")
    assert (first["result"], first["changes"], chrony.running) == (True, {"start": "chrony"}, True)
    second = state.kept("chrony")
    assert (second["result"], second["changes"], chrony.started) == (True, {}, 1)


def test_x6_a_container_has_the_clock_of_its_machine(chrony: Chrony) -> None:
    """X6, K1: systemd does not start chrony there, and nothing is reported."""
    chrony.spared = True
    for _ in range(2):
        found = state.kept("chrony")
        assert (found["result"], found["changes"]) == (True, {})
        assert "its machine keeps the clock" in found["comment"]
    assert chrony.started == 1


def test_x6_the_start_is_predicted(chrony: Chrony, monkeypatch: pytest.MonkeyPatch) -> None:
    """X6, K3: A bare host predicts it, and starts nothing."""
    monkeypatch.setitem(state.__opts__, "test", True)
    found = state.kept("chrony")
    assert (found["result"], found["changes"], chrony.started) == (None, {"start": "chrony"}, 0)


def test_x6_a_chrony_that_ends_is_a_fault(chrony: Chrony) -> None:
    """X6, K5: The message says where to look."""
    chrony.dies = True
    assert failure(state.kept("chrony")) == "chrony ended at once; see journalctl --unit chrony"


@pytest.mark.parametrize(("name", "host"), fleets.kinds())
def test_x6_hosts_ask_the_master_and_the_master_asks_outside(name: str, host: str) -> None:
    """X6: Each host has a server that its firewall lets it ask, and that answers it."""
    fleet = fleets.fleet(name)
    (master,) = fleet.having("master")
    pillar = fleets.pillar(host, name)
    time, outgoing = pillar["time"], pillar["ufw"]["outgoing"]
    asked = {rule["to"] for rule in outgoing if (rule["ports"], rule["proto"]) == ("123", "udp")}
    if host == master.id:
        network = fleet.topology.networks[fleet.topology.links["management"]].cidr
        assert time["servers"] == ["2.debian.pool.ntp.org"] and asked == {"any"}
        assert time["serves"] == [network]
        rules = [rule for rule in pillar["ufw"]["rules"] if rule["ports"] == "123"]
        assert [(rule["from"], rule["proto"]) for rule in rules] == [(network, "udp")]
    else:
        assert time["servers"] == [fleet.address(master, "management")] == [*asked]
        assert time["serves"] == []


def test_x6_clocks_can_be_the_operators_own() -> None:
    """X6: Then no port is open for them."""
    own = fleets.settings().but(TimeSettings(managed=False))
    found = fleets.pillar("salt", own=own)
    assert "123" not in {rule["ports"] for rule in found["ufw"]["rules"]}
    assert found["time"]["managed"] is False
    assert "timekeeping" not in {check["probe"] for check in found["host"]["checks"]}


@pytest.mark.parametrize(
    ("servers", "words"),
    [(["a b"], "servers[0]"), ("ntp.example", "servers"), (["-x"], "servers[0]")],
)
def test_wrong_servers(servers: object, words: str) -> None:
    """K5: The message has the place, and what is allowed."""
    with pytest.raises(SettingsError, match=r"time\.yaml") as caught:
        settings.parse({"time": {"servers": servers}})
    assert f"time.yaml: {words}" in str(caught.value)

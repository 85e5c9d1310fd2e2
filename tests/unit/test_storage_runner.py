"""The runner `storage`, which moves a running fleet to TLS: its questions and their order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from salt.exceptions import CommandExecutionError

from salina_fleet import minions, runner
from salina_fleet.errors import RunnerError
from tests import fleets
from tests.loading import load

STORAGE, APPS = ["nas1", "nas2", "nas3"], ["s1", "s2", "s3"]
WANTED = fleets.pillar("nas1")["storage"]["volumes"][0]["tls"]


class Hosts:
    """The storage hosts and app hosts, as their modules answer; `done` has what changed them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, state: Path) -> None:
        self.tls = dict.fromkeys(STORAGE, False)
        self.status, self.options = "Started", dict[str, str]()
        self.faults: list[str] = []
        self.certificates = {host: list[str]() for host in [*STORAGE, *APPS]}
        self.done: list[Any] = []
        site = SimpleNamespace(fleet=fleets.fleet(), state=state, change_file=state / "change")
        monkeypatch.setattr(runner, "site", lambda _: site)
        monkeypatch.setattr(minions, "ask", self.ask)
        monkeypatch.setattr("salina.common.wait.time.sleep", lambda seconds: None)
        self.runner = load("_runners/storage.py", opts={})

    def ask(
        self, _: Any, hosts: Sequence[str], function: str, arguments: Sequence[Any] = ()
    ) -> dict[str, Any]:
        return {host: self.answer(host, function, *arguments) for host in hosts}

    def answer(self, host: str, function: str, *arguments: Any) -> Any:
        match function.removeprefix("gluster."):
            case "tls":
                return self.tls[host]
            case "volumes":
                return {"nas": {"status": self.status, "options": dict(self.options)}}
            case "faults":
                return self.faults
            case "pool":
                names = [one for one in STORAGE if self.tls[one] == self.tls[host]]
                return [{"names": [one], "connected": one in names} for one in STORAGE]
            case "certificate.faults":
                return self.certificates[host]
            case "set_options":
                self.options |= arguments[1]
            case "stop":
                self.status = "Stopped"
            case "start":
                assert all(self.tls.values())
                self.status = "Started"
            case "restart_with_tls":
                assert self.status == "Stopped"
                self.tls[host] = True
        self.done.append((host, function.removeprefix("gluster.")))
        return None


@pytest.fixture
def hosts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Hosts:
    return Hosts(monkeypatch, tmp_path)


RESTARTS = [(host, "restart_with_tls") for host in STORAGE]


def test_x1_the_move_takes_its_steps_in_order(hosts: Hosts) -> None:
    """X1: It changes nothing before all is ready, and starts the volume when all have TLS."""
    change = hosts.runner.tls()
    names = [step.get("runner", "state.highstate") for step in change["steps"]]
    assert names == [
        *("fleet.ready", "storage.tls_ready", "storage.tls_stop", "storage.tls_switch"),
        *("state.highstate", "fleet.probe"),
    ]
    assert hosts.runner.tls_ready() == [*STORAGE, *APPS]
    assert hosts.done == []
    assert hosts.runner.tls_stop(APPS) == APPS
    assert hosts.done == [(host, "unmount") for host in APPS]
    hosts.done.clear()
    assert hosts.runner.tls_switch() == {"nas": "Started"}
    assert hosts.done == [("nas1", "set_options"), ("nas1", "stop"), *RESTARTS, ("nas1", "start")]
    assert hosts.options == WANTED


def test_a_fleet_with_tls_has_no_steps(hosts: Hosts) -> None:
    """K1: The applications do not stop for nothing."""
    hosts.tls, hosts.options = dict.fromkeys(STORAGE, True), dict(WANTED)
    assert hosts.runner.tls() == {"what": "the files use TLS already", "steps": []}
    assert hosts.runner.tls_switch() == {"nas": "Started"}
    assert hosts.done == []


@pytest.mark.parametrize(
    ("status", "late"), [("Stopped", STORAGE), ("Stopped", ["nas2"]), ("Stopped", [])]
)
def test_the_move_finishes_an_interrupted_one(hosts: Hosts, status: str, late: list[str]) -> None:
    """K2: It does what is left, wherever the earlier one ended."""
    hosts.status, hosts.options = status, dict(WANTED)
    hosts.tls = {host: host not in late for host in STORAGE}
    hosts.faults = ["volume nas is stopped"]
    assert hosts.runner.tls()["steps"]
    hosts.runner.tls_ready()
    hosts.faults = []
    assert hosts.runner.tls_switch() == {"nas": "Started"}
    restarts = [(host, "restart_with_tls") for host in late]
    assert hosts.done == [*restarts, ("nas1", "start")]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"faults": ["nas3:/nas is not connected"]}, "nas1: nas3:/nas is not connected"),
        ({"certificates": {"s2": ["there is none"]}}, "s2: there is none"),
    ],
)
def test_the_move_begins_only_when_everything_is_ready(
    hosts: Hosts, wrong: dict[str, Any], words: str
) -> None:
    """K5: The error names the host, the reason and the next command. Nothing was changed."""
    vars(hosts).update(
        {
            key: hosts.certificates | one if key == "certificates" else one
            for key, one in wrong.items()
        }
    )
    with pytest.raises(RunnerError, match=words) as caught:
        hosts.runner.tls_ready()
    assert str(caught.value).endswith("next: salt-run state.orchestrate orch.deploy")
    assert hosts.done == []


def test_a_host_that_does_not_come_back_is_told(hosts: Hosts) -> None:
    """K5: After two minutes at most; here at once."""
    hosts.runner.WAIT = 0
    hosts.faults = ["nas2:/nas does not run"]
    with pytest.raises(CommandExecutionError, match=r"waited .* volume nas: nas2:/nas does"):
        hosts.runner.tls_switch()

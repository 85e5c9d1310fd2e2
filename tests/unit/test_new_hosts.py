"""A change whose new hosts cannot be created, and the changes after it (S10)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from salt.exceptions import CommandExecutionError

from salina.common.orchestration import Failure
from salina_fleet import runner
from salina_fleet.change import exclusive, join
from salina_fleet.model import members
from salina_fleet.provision import provisioner
from tests.loading import load
from tests.unit.test_absence import FLEET, Master


class Hosts:
    """A pool whose hosts the operator makes, or a provisioner that cannot make the `broken` ones.

    The hosts with `keys` have an accepted key.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, state: Path, minimum: int = 1) -> None:
        pool = replace(FLEET.topology.pools["app"], minimum=minimum)
        topology = replace(FLEET.topology, pools={"app": pool})
        self.master = Master(monkeypatch, state, replace(FLEET, topology=topology))
        self.keys: set[str] = {"s1", "s2", "s3"}
        self.broken: dict[str, str] = {}
        self.destroyed: list[str] = []
        monkeypatch.setattr(provisioner, "accepted", lambda _, host: host in self.keys)
        monkeypatch.setattr(provisioner, "create", self.make)
        monkeypatch.setattr(provisioner, "destroy", self.destroy)
        monkeypatch.setattr(provisioner, "user_data", self.user_data)

    def make(self, _: Any, __: Any, hosts: Sequence[str]) -> dict[str, str]:
        """Return the hosts that cannot be made."""
        return {host: why for host, why in self.broken.items() if host in hosts}

    def destroy(self, _: Any, hosts: Sequence[str]) -> dict[str, str]:
        """Forget the keys of the hosts."""
        self.destroyed += hosts
        self.keys -= {*hosts}
        return {}

    def user_data(self, _: Any, __: Any, host: str) -> str:
        """Accept a key."""
        self.keys.add(host)
        return "#cloud-config"

    def joiner(self, error: str = "") -> Any:
        """Return the runner `join`, whose orchestration may fail."""
        module = load("_runners/join.py", opts={"user": "root"})
        failed = [Failure("master", "begin", error, "orch.join")] if error else []
        ran = SimpleNamespace(**{**vars(runner), "orchestrate": lambda *_: failed})
        module.runner, module.log = ran, SimpleNamespace(error=lambda *_: None)
        module._wake = lambda _, what: what
        module._ask = lambda hosts, _: list(hosts)
        return module

    def write(self, host: str) -> str:
        """Write the user data of a host."""
        module = load("_runners/fleet.py", opts={})
        return str(module.user_data(host, str(self.master.site.state / f"{host}.yaml")))

    def begin(self, **request: Any) -> dict[str, Any]:
        """Begin a change, and return the arguments of its step that creates hosts."""
        steps = self.master.begin(**request)["steps"]
        (found,) = [one["arguments"] for one in steps if one.get("runner") == "change.create"]
        return dict(found)

    def create(self, **arguments: Any) -> str:
        """Take the step that creates hosts, and return its error."""
        with pytest.raises(CommandExecutionError) as caught:
            load("_runners/change.py", opts={"salina": {}}).create(**arguments)
        return str(caught.value)

    def recorded(self) -> tuple[list[str], list[str]]:
        """Return the members and the unfinished hosts of the pool."""
        site = self.master.read(None)
        return site.fleet.members["app"], runner.unfinished(site)["app"]


@pytest.fixture
def hosts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Hosts:
    """Three hosts, without a provisioner."""
    return Hosts(monkeypatch, tmp_path)


USER_DATA = "next: salt-run fleet.user_data ID FILE, and start the host with it"


def test_s10_a_host_that_starts_too_late_may_join_afterwards(hosts: Hosts) -> None:
    """S10: Its user data was written before the change; with new user data it joins."""
    hosts.write("s4")
    hosts.master.silent = ["s4"]
    said = hosts.create(**hosts.begin(count=4))
    assert said.splitlines() == [
        "s4 was taken out of the pool, because it did not answer within 300 s",
        USER_DATA,
    ]
    assert hosts.recorded() == (["s1", "s2", "s3"], [])
    hosts.write("s4")
    hosts.master.silent = []
    assert hosts.joiner().started("s4", "salt/minion/s4/start") == "s4: it joins"
    assert hosts.begin(add=["s5"]) == {"hosts": ["s5"]}


def test_s10_others_may_know_a_host_with_which_a_change_has_begun(hosts: Hosts) -> None:
    """S10, K2: The host stays unfinished, gets no user data, and the next change removes it."""
    assert hosts.begin(count=4) == {"hosts": ["s4"]}
    hosts.write("s4")
    hosts.master.silent = ["s4"]
    again = hosts.begin(count=4)
    assert again == {"hosts": ["s4"], "again": ["s4"]}
    command = "next: salt-run fleet.scale pool=app count=3"
    assert hosts.create(**again).splitlines()[-1] == command
    assert hosts.recorded() == (["s1", "s2", "s3"], ["s4"])
    with pytest.raises(CommandExecutionError) as caught:
        hosts.write("s4")
    assert str(caught.value).splitlines()[-1] == command
    hosts.keys.add("s4")
    with pytest.raises(CommandExecutionError) as caught:
        hosts.joiner().begin(hosts=["s4"])
    assert str(caught.value) == f"s4 is being removed by an unfinished change\n{command}"
    assert hosts.master.begin(count=3)["leaving"] == ["s4"]


def test_s10_a_join_that_is_refused_waits_and_is_told(hosts: Hosts) -> None:
    """S10, K5: Also if it has recorded no host; the error is shown until the host has joined."""
    hosts.write("s4")
    assert hosts.joiner().look() == "hosts join"
    with pytest.raises(CommandExecutionError, match="lb1: no answer"):
        hosts.joiner("lb1: no answer").catch_up()
    assert hosts.recorded() == (["s1", "s2", "s3"], [])
    assert hosts.joiner().look() == "nothing"
    assert hosts.joiner().started("s4", "salt/minion/s4/start") == "nothing"
    status = load("_runners/fleet.py", opts={}).status
    assert "lb1: no answer" in status()["failed to join"]
    members.save(hosts.master.site.members_file, {"app": ["s1", "s2", "s3", "s4"]}, FLEET.topology)
    hosts.joiner().look()  # another change has brought the host
    assert status()["failed to join"] is None


def test_s10_the_attempt_of_a_running_join_is_kept(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S10, K2: After an interruption the next join finishes it at once."""
    file = hosts.master.site.state / join.ATTEMPT
    file.write_text('{"hosts": ["s4"], "at": 0, "error": ""}')
    monkeypatch.setattr(exclusive, "holder", lambda _: {"what": "the join of s4"})
    hosts.joiner().look()
    assert file.exists()
    monkeypatch.setattr(exclusive, "holder", lambda _: {})
    hosts.joiner().look()
    assert not file.exists()


def test_s10_a_pool_at_its_minimum_keeps_a_host_that_cannot_be_created(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """S10, K2, K5: The error has the cause, the remains are deleted, and a repetition goes on."""
    hosts = Hosts(monkeypatch, tmp_path, minimum=3)
    hosts.broken = {"s4": "no room"}
    replacement: dict[str, Any] = {"add": ["s4"], "remove": ["s2"]}
    assert hosts.create(**hosts.begin(**replacement)).splitlines() == [
        "s4 was not created, because no room",
        "s4 stays a wanted member, because app needs at least 3; repeat the command",
    ]
    assert hosts.destroyed == ["s4"]
    assert hosts.recorded() == (["s1", "s3", "s4"], ["s2", "s4"])
    assert hosts.begin(**replacement) == {"hosts": ["s4"], "again": ["s4"]}
    assert hosts.recorded() == (["s1", "s3", "s4"], ["s2", "s4"])

"""S12: A host takes its turn: the module that drains it, and the state that ends the turn."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from salt.exceptions import CommandExecutionError

from salina.application import agent
from tests.loading import load, states

SERVING = agent.View("UP", 100, 300, 0)
DRAINED = agent.View("NOLB", 0, 200, 0)


class Host:
    """A host's agent, the balancer that asks it, and the master; all of them pretended."""

    def __init__(self, folder: Path) -> None:
        self.drain = folder / "drain"
        self.view = SERVING
        self.sessions = 0
        self.refusals: list[str] = []
        self.asked: list[tuple[str, ...]] = []
        self.status = 200
        self.others = True
        self.final = False

    def ask(self) -> dict[str, Any]:
        if agent.draining(str(self.drain), time.time()):
            view = agent.View("NOLB", 0, 200, self.sessions)
        else:
            view = self.view
        shown = {**view.__dict__, "age": 0.0}
        return {"status": self.status, "reason": "files: dead", "balancers": {"lb1": shown}}

    def runner(self, function: str, arg: list[str]) -> dict[str, Any]:
        self.asked.append((function, *arg))
        if function == "turn.take" and self.refusals:
            return {"obstacle": self.refusals.pop(0), "final": self.final}
        return {"obstacle": ""}


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    found = Host(tmp_path)
    (tmp_path / "socket").touch()
    monkeypatch.setattr(agent, "DRAIN", str(found.drain))
    monkeypatch.setattr(agent, "SOCKET", str(tmp_path / "socket"))
    monkeypatch.setattr(agent, "ask", found.ask)
    return found


@pytest.fixture
def turn(host: Host) -> ModuleType:
    pillar = {
        "host": {"roles": ["app", "database"]},
        "app": {"others": host.others, "health": {}, "balancers": [{"name": "lb1"}]},
    }
    salt = {"publish.runner": host.runner}
    module = load("_modules/turn.py", salt=salt, pillar=pillar, context={})
    module.QUIET = 0.0
    module.FAILED = host.drain.with_name("lasting") / "failed.json"
    return module


def test_a_turn_drains_the_host_and_ends_when_it_serves_again(turn: ModuleType, host: Host) -> None:
    """S12: Without requests the service restarts; with requests again the next host may."""
    assert turn.serving()
    assert turn.take("app", "odoo", wait=0, drain=0) == "it has its turn and no requests"
    assert turn.held() == ["app"]
    assert json.loads(host.drain.read_text())["balancers"] == ["lb1"]
    assert not turn.serving()
    assert turn.end(wait=0) == ""
    assert not host.drain.exists() and turn.held() == []
    assert host.asked[0] == ("turn.take", "app", "odoo")
    assert host.asked[-1] == ("turn.end", "app", "")


def test_a_host_that_serves_nobody_needs_no_turn(turn: ModuleType, host: Host) -> None:
    """S12: So a broken host is repaired although others have the turn, and waits only once."""
    assert turn.needed("app")
    host.view = agent.View("DOWN", 0, 200, 0)
    assert not turn.needed("app") and turn.needed("database")
    assert turn.take("app", "odoo") == "it serves no requests, so it needs no turn"
    turn.QUIET = 60.0
    assert turn.take("app", "nginx") == "it serves no requests, so it needs no turn"
    assert host.asked == [] and turn.held() == []


def test_a_host_that_serves_again_in_a_moment_needs_its_turn(turn: ModuleType, host: Host) -> None:
    """S12: During a switchover of the database no host serves, and not all of them may restart."""
    turn.QUIET = 5.0
    host.view = agent.View("DOWN", 0, 200, 0)
    told, asked = host.ask, 0

    def ask() -> dict[str, Any]:
        nonlocal asked
        asked += 1
        if asked == 4:
            host.view = SERVING
        return told()

    agent.ask = ask  # type: ignore[assignment]
    assert turn.take("app", "odoo", wait=0, drain=0) == "it has its turn and no requests"
    assert turn.held() == ["app"]


def test_a_new_host_needs_no_turn(turn: ModuleType, host: Host) -> None:
    """S12: It has no agent yet, so no balancer knows it. Another role of it takes its turn."""

    def ask() -> dict[str, Any]:
        raise FileNotFoundError(agent.SOCKET)

    host.ask = ask  # type: ignore[method-assign]
    agent.ask = ask  # type: ignore[assignment]
    assert turn.take("app", "nginx") == "it serves no requests, so it needs no turn"
    assert host.asked == [] and turn.held() == []
    assert turn.take("database", "patroni", wait=0, drain=0) == "it has its turn and no requests"
    assert host.asked == [("turn.take", "database", "patroni")]


def test_without_a_turn_nothing_is_drained(turn: ModuleType, host: Host) -> None:
    """S12: The message names the holder."""
    host.refusals = ["s2 has the turn"]
    with pytest.raises(CommandExecutionError, match="s2 has the turn"):
        turn.take("app", "odoo", wait=0)
    assert not host.drain.exists()


def test_a_host_does_not_wait_for_one_that_failed(turn: ModuleType, host: Host) -> None:
    """S12, K5: Its turn does not end before somebody repairs it, and the error says how."""
    host.refusals, host.final = ["s1 is not healthy after its own turn"] * 2, True
    with pytest.raises(CommandExecutionError, match=r"^s1 is not healthy after its own turn$"):
        turn.take("app", "odoo", wait=60)
    assert [one[0] for one in host.asked] == ["turn.take"]


def test_the_last_host_that_serves_does_not_leave(turn: ModuleType, host: Host) -> None:
    """S12: While no other host of the tier serves, this one stays."""
    host.view = agent.View("UP", 100, 100, 0)
    with pytest.raises(CommandExecutionError, match="lb1 sends requests to no other host now"):
        turn.take("app", "odoo", wait=0)
    assert host.asked[-1] == ("turn.end", "app", "")


def test_long_requests_are_waited_for_with_a_bound(turn: ModuleType, host: Host) -> None:
    host.sessions = 2
    said = turn.take("app", "odoo", wait=0, drain=0)
    assert said == "it has its turn, but waited 0 s for its requests to end: lb1 waits for 2"


def test_an_unhealthy_host_says_so_and_keeps_its_turn(turn: ModuleType, host: Host) -> None:
    """S12: The next host would meet the same fault."""
    turn.take("app", "odoo", wait=0, drain=0)
    host.view, host.status = agent.View("DOWN", 0, 200, 0), 503
    failure = turn.end(wait=0)
    assert failure.endswith("lb1 sends it none yet, because of files: dead")
    assert host.asked[-1] == ("turn.end", "app", failure)


def test_the_apply_that_repairs_a_host_gives_back_its_failed_turn(
    turn: ModuleType, host: Host
) -> None:
    """S12: The repair that the message advises is enough, also after a reboot. Until the balancers
    send requests again, the turn stays failed.
    """
    turn.take("app", "odoo", wait=0, drain=0)
    host.view, host.status = agent.View("DOWN", 0, 200, 0), 503
    turn.end(wait=0)
    assert not host.drain.exists() and turn.held() == ["app"]
    assert not load("_modules/turn.py").FAILED.is_relative_to("/run")
    failure = turn.end(wait=0)
    assert failure.endswith("lb1 sends it none yet, because of files: dead")
    assert (host.asked[-1], turn.held()) == (("turn.end", "app", failure), ["app"])
    host.view, host.status = SERVING, 200
    assert (turn.end(wait=0), turn.held()) == ("", [])
    assert host.asked[-1] == ("turn.end", "app", "")


def test_a_turn_in_another_role_keeps_the_failed_one(turn: ModuleType, host: Host) -> None:
    """S12: Both end with the repair."""
    turn.take("app", "odoo", wait=0, drain=0)
    host.view = agent.View("DOWN", 0, 200, 0)
    turn.end(wait=0)
    turn.take("database", "patroni", wait=0, drain=0)
    assert turn.held() == ["app", "database"]
    host.view = SERVING
    assert (turn.end(wait=0), turn.held()) == ("", [])
    assert host.asked[-2:] == [("turn.end", "app", ""), ("turn.end", "database", "")]


@pytest.mark.parametrize("gone", ["balancer", "role"])
def test_a_failed_turn_outlives_neither_its_balancer_nor_its_role(
    turn: ModuleType, host: Host, gone: str
) -> None:
    """S12: A host does not wait in vain for a balancer that left, nor ask for a role it lost."""
    turn.take("app", "odoo", wait=0, drain=0)
    host.view = agent.View("DOWN", 0, 200, 0)
    turn.end(wait=0)
    count = len(host.asked)
    if gone == "balancer":
        turn.__pillar__["app"]["balancers"] = []
    else:
        turn.__pillar__.update(host={"roles": ["database"]}, app={})
    assert (turn.end(wait=0), turn.held()) == ("", [])
    assert host.asked[count:] == ([("turn.end", "app", "")] if gone == "balancer" else [])


def test_the_master_learns_a_failure_that_cannot_be_recorded(
    turn: ModuleType, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S12: Such as one of a full disk, which is a reason to fail."""
    turn.take("app", "odoo", wait=0, drain=0)
    host.view = agent.View("DOWN", 0, 200, 0)

    def full(*_: object) -> None:
        raise CommandExecutionError("No space left on device")

    monkeypatch.setattr(turn.file, "put", full)
    with pytest.raises(CommandExecutionError, match="No space left"):
        turn.end(wait=0)
    assert host.asked[-1][:2] == ("turn.end", "app") and host.asked[-1][2]


def test_a_failure_of_a_host_that_serves_again_stops_the_next_ones(
    turn: ModuleType, host: Host
) -> None:
    """S12: They would meet the same fault. The next apply of this host gives them their turns."""
    turn.fail("no turn, so nobody waits")
    turn.take("app", "odoo", wait=0, drain=0)
    turn.fail("the release does not work")
    turn.take("app", "nginx", wait=0, drain=0)
    assert turn.end(wait=0) == "the release does not work"
    assert not host.drain.exists()
    assert host.asked[-1] == ("turn.end", "app", "the release does not work")
    assert turn.held() == ["app"]
    assert turn.end(wait=0) == ""
    assert host.asked[-1] == ("turn.end", "app", "")
    count = len(host.asked)
    assert (turn.held(), turn.end(wait=0), len(host.asked)) == ([], "", count)


def test_a_turn_that_succeeds_forgets_the_failure(turn: ModuleType, host: Host) -> None:
    """S12: The repaired release takes its turn in the next apply."""
    turn.take("app", "odoo", wait=0, drain=0)
    turn.fail("the release does not work")
    turn.end(wait=0)
    turn.take("app", "odoo", wait=0, drain=0)
    assert (turn.end(wait=0), turn.held()) == ("", [])
    assert host.asked[-1] == ("turn.end", "app", "")


def test_the_next_apply_ends_what_a_killed_one_left(turn: ModuleType, host: Host) -> None:
    """S12, K2: The file of the drain names the turn, also after its lease."""
    turn.take("app", "odoo", wait=0, drain=0)
    then = time.time() - agent.LEASE - 1
    os.utime(host.drain, (then, then))
    assert turn.serving() and turn.held() == ["app"]
    assert turn.end(wait=0) == ""


def test_two_roles_of_a_host(turn: ModuleType, host: Host) -> None:
    turn.take("app", "odoo", wait=0, drain=0)
    turn.take("database", "patroni", wait=0, drain=0)
    assert turn.held() == ["app", "database"]
    turn.end(wait=0)
    assert host.asked[-2:] == [("turn.end", "app", ""), ("turn.end", "database", "")]


@pytest.mark.parametrize("test", [False, True])
def test_the_last_state_ends_the_turn(test: bool) -> None:
    """S12: It fails when the host does not serve, and predicts without a change."""
    for held, failure, result in (([], "", True), (["app"], "", True), (["app"], "dead", False)):
        salt = {"turn_held": lambda held=held: held, "turn_end": lambda failure=failure: failure}
        ret = states("turn", test, **salt).ended("turn")
        assert ret["result"] is (None if test and held else result)
        assert bool(ret["changes"]) == bool(held and not failure) or test


def test_s13_a_turn_says_since_when_it_lasts(turn: ModuleType, host: Host) -> None:
    """S13: For monitoring; also when the host takes it for another thing, or again after a kill."""
    turn.take("app", "odoo", wait=0, drain=0)
    begun = json.loads(host.drain.read_text())["begun"]
    assert 0 <= time.time() - begun < 60
    turn.take("app", "pgbouncer", wait=0, drain=0)
    assert json.loads(host.drain.read_text())["begun"] == begun
    killed = time.time() - agent.LEASE - 1
    os.utime(host.drain, (killed, killed))
    turn.take("app", "odoo", wait=0, drain=0)
    assert json.loads(host.drain.read_text())["begun"] > begun


def test_k6_a_host_gives_its_shared_addresses_up_in_its_turn(host: Host) -> None:
    """K6: It waits until the other one of its pair has taken them."""
    held = [["10.1.2.2"], ["10.1.2.2"], []]
    salt = {"publish.runner": host.runner, "pair.held": lambda: held.pop(0)}
    module = load("_modules/turn.py", salt=salt, pillar={"balancer": {}, "pair": {}}, context={})
    host.view = agent.View("DOWN", 0, 0, 0)
    assert module.take("balancer", "haproxy", wait=0, drain=10) == "it has its turn and no requests"
    assert held == [] and host.drain.exists()


def test_k6_a_host_without_a_partner_goes_on(host: Host) -> None:
    """K6: It keeps the addresses, and its restart is a short interruption."""
    salt = {"publish.runner": host.runner, "pair.held": lambda: ["10.1.2.2"]}
    module = load("_modules/turn.py", salt=salt, pillar={"balancer": {}, "pair": {}}, context={})
    host.view = agent.View("DOWN", 0, 0, 0)
    found = module.take("balancer", "haproxy", wait=0, drain=0)
    assert found.startswith("it has its turn, but waited 0 s") and "it still has 10.1.2.2" in found

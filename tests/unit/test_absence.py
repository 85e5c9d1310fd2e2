"""A change to a pool while hosts are down: which hosts it skips, and which hosts it needs (S10)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from salt.exceptions import CommandExecutionError

from salina.common import wait
from salina.common.orchestration import Failure
from salina_fleet import guard, minions, policy, revisions, runner
from salina_fleet.change import absence, exclusive
from salina_fleet.change.absence import RETRY, Behind
from salina_fleet.fleet import Fleet
from salina_fleet.model import members
from salina_fleet.model.topology import Host
from salina_fleet.roles import ROLES
from salina_fleet.roles.storage import StorageSettings
from salina_fleet.site import Site
from tests import fleets
from tests.loading import load, never

FLEET = fleets.fleet()
NEXT = "\nnext: salt-run fleet.ready"
UP = "start each host that is down"


def without(*absent: str, name: str = "default") -> list[str]:
    """Return the roles that cannot spare these hosts."""
    fleet = fleets.fleet(name)
    return absence.shortages(fleet, policy.beside(fleet, ["app"]), absent)


@pytest.mark.parametrize("absent", ["", "nas3", "bbdd1", "nas1 bbdd2", "fw", "salt"])
def test_s10_a_change_skips_hosts_that_others_stand_in_for(absent: str) -> None:
    assert without(*absent.split()) == []


@pytest.mark.parametrize(
    ("absent", "fault"),
    [
        ("lb1", f"lb1: no answer; no host with role balancer may be down; {UP}"),
        (
            "nas1 nas3",
            "nas1, nas3: no answer; at most 1 of the 3 hosts with role storage may be down; " + UP,
        ),
        (
            "bbdd1 bbdd2",
            "bbdd1, bbdd2: no answer; at most 1 of the 2 hosts with role database may be down; "
            + UP,
        ),
    ],
)
def test_s10_a_change_needs_the_hosts_that_nobody_stands_in_for(absent: str, fault: str) -> None:
    assert without(*absent.split()) == [fault]


def test_s10_every_shortage_is_told_at_once() -> None:
    assert len(without("lb1", "nas1", "nas2", "bbdd1", "bbdd2")) == 3


@pytest.mark.parametrize(
    ("hosts", "replica", "spare"),
    [(3, None, 1), (2, None, 0), (1, None, 0), (6, 3, 1), (5, 5, 2), (6, 2, 0)],
)
def test_s10_storage_spares_a_minority_of_the_copies(
    hosts: int, replica: int | None, spare: int
) -> None:
    servers = tuple(Host(f"nas{n}", ("storage",), {}) for n in range(hosts))
    topology = replace(FLEET.topology, hosts=servers)
    settings = FLEET.settings.but(replace(FLEET.settings[StorageSettings], replica=replica))
    fleet = replace(FLEET, topology=topology, settings=settings)
    assert ROLES["storage"].spare(fleet) == spare


@pytest.mark.parametrize(
    ("role", "hosts", "spare"),
    [
        ("balancer", 1, 0),
        ("balancer", 2, 1),
        ("database", 1, 0),
        ("quorum", 3, 1),
        ("quorum", 5, 2),
        ("firewall", 1, 0),
        ("firewall", 2, 1),
        ("master", 1, 0),
    ],
)
def test_s10_each_role_says_how_many_it_spares(role: str, hosts: int, spare: int) -> None:
    topology = replace(
        FLEET.topology, hosts=tuple(Host(f"h{n}", (role,), {}) for n in range(hosts))
    )
    assert ROLES[role].spare(replace(FLEET, topology=topology)) == spare


class Master:
    """A master whose minions are `silent`, or answer `leader` when asked for the primary."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, state: Path, fleet: Fleet = FLEET) -> None:
        self.silent: list[str] = []
        self.leader: str | None = "bbdd1"
        self.asked: list[str] = []
        definitions = {"odoo-14.0": fleets.definition("odoo-14.0")}
        self.site = Site(state, state, fleet, definitions, fleets.LOCKS, fleets.TREE)
        fleets.record(state)
        monkeypatch.setattr(runner, "site", self.read)
        monkeypatch.setattr(minions, "silent", self.quiet)
        monkeypatch.setattr(minions, "client", lambda _: self)
        monkeypatch.setattr(wait, "until", lambda probe, _: probe())
        monkeypatch.setattr(exclusive, "take", lambda *_: None)
        monkeypatch.setattr(exclusive, "holder", lambda _: {})
        monkeypatch.setattr(guard, "ensure", lambda _: None)

    def read(self, _: Any) -> Site:
        """Return the master's view with the members that it has recorded."""
        recorded = members.load(self.site.members_file, self.site.fleet.topology)
        return replace(self.site, fleet=replace(self.site.fleet, members=recorded))

    def quiet(self, _: Any, hosts: Sequence[str], __: int) -> list[str]:
        """Return those of the hosts that are silent."""
        self.asked += hosts
        return [host for host in hosts if host in self.silent]

    def cmd(self, hosts: Sequence[str], function: str, **_: Any) -> dict[str, Any]:
        """Answer a function of Salt."""
        assert function == "patroni.leader" and not {*hosts} & {*self.silent}
        return dict.fromkeys(hosts, self.leader)

    def begin(self, **request: Any) -> dict[str, Any]:
        """Begin a change of the pool `app`."""
        module = load("_runners/change.py", opts={})
        found: dict[str, Any] = module.begin(pool="app", **request)
        return found

    def recorded(self) -> list[str]:
        """Return the files that the master has written, except the lock and the commits."""
        files = {file.name for file in self.site.state.glob("*.json")}
        return sorted(files - {revisions.FILE})


@pytest.fixture
def master(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Master:
    """A master with the default fleet; all minions answer."""
    return Master(monkeypatch, tmp_path)


def behind(master: Master) -> dict[str, Behind]:
    """Return the hosts that are behind."""
    return absence.load(master.site.state / absence.BEHIND, FLEET.hosts)


def test_s10_nobody_is_down(master: Master) -> None:
    plan = master.begin(count=4)
    following = {"nas1", "nas2", "nas3", "bbdd1", "bbdd2", "lb1", "nagios", "ges"}
    assert {*master.asked} == following and len(master.asked) == len(following)
    assert plan["skipped"] == [] and behind(master) == {}


def test_s10_one_storage_host_is_down(master: Master) -> None:
    """S10: The plan names the host, no step has it, and it is recorded as behind."""
    master.silent = ["nas3"]
    plan = master.begin(count=4)
    assert plan["skipped"] == ["nas3"]
    assert plan["neighbours"] == ["nas1", "nas2", "bbdd1", "bbdd2"]
    assert "nas3" not in str(plan["steps"])
    assert list(behind(master)) == ["nas3"]
    status = load("_runners/fleet.py", opts={}).status()
    assert status["behind"] == {"nas3": {"since": behind(master)["nas3"].since, "error": None}}
    assert status["app"]["joining"] == ["s4"]


def test_s10_monitoring_is_down(master: Master) -> None:
    """S10, S13: No change needs it, and it has the new hosts once it returns."""
    master.silent = ["nagios"]
    plan = master.begin(count=4)
    assert (plan["watchers"], plan["skipped"]) == (["ges"], ["nagios"])
    assert list(behind(master)) == ["nagios"]


def test_s10_a_replica_is_down(master: Master) -> None:
    master.silent = ["bbdd2"]
    assert master.begin(count=4)["skipped"] == ["bbdd2"]


@pytest.mark.parametrize("leader", ["bbdd2", None, "'patroni.leader' is not available."])
def test_s10_the_primary_is_down_and_nobody_took_over(master: Master, leader: str) -> None:
    """S10: A refusal records nothing."""
    master.silent, master.leader = ["bbdd2"], leader
    with pytest.raises(CommandExecutionError) as caught:
        master.begin(count=4)
    taken = "none of bbdd1 has taken over as the host that `patroni.leader` names"
    assert str(caught.value) == f"bbdd2: no answer; {taken}; {UP}{NEXT}"
    assert master.recorded() == []


def test_s10_the_balancer_is_down(master: Master) -> None:
    """S10: A refusal records nothing, and a plan is refused with the same words."""
    master.silent = ["lb1", "nas1"]
    said = []
    for function in (master.begin, load("_runners/fleet.py", opts={}).plan):
        with pytest.raises(CommandExecutionError) as caught:
            function(**({"pool": "app"} if function != master.begin else {}), count=4)
        said.append(str(caught.value))
    fault = f"lb1: no answer; no host with role balancer may be down; {UP}{NEXT}"
    assert said == [fault, fault]
    assert master.recorded() == []


def test_s10_a_change_that_touches_no_host_asks_no_host(master: Master) -> None:
    master.silent = ["lb1"]
    assert master.begin(count=3)["steps"] == []
    assert master.asked == [] and master.recorded() == []


def test_s10_a_host_that_is_back_follows_the_next_change(master: Master) -> None:
    """S10: So it is not behind any more when that change is done, while another host is."""
    master.silent = ["nas3"]
    master.begin(count=4)
    master.silent = ["nas1"]
    assert "nas3" in master.begin(count=5)["neighbours"]
    load("_runners/change.py", opts={}).done("app")
    assert list(behind(master)) == ["nas1"]


def test_s10_a_host_that_is_back_stays_behind_if_the_next_change_fails(master: Master) -> None:
    """S10, K2: The schedule applies its states; no step of the change leaves a balancer out."""
    absence.save(master.site.state / absence.BEHIND, {"nas3": Behind("x"), "lb1": Behind("x")})
    plan = master.begin(count=4)
    assert plan["skipped"] == [] and "nas3" in plan["neighbours"]
    assert runner.balancers(master.site) == plan["balancers"] == ["lb1"]
    joiner = Joiner(master, ["nas3", "lb1"])
    assert joiner.module.look() == "hosts catch up"
    assert joiner.module.catch_up() == ["nas3", "lb1"]
    assert behind(master) == {}


def test_s10_a_host_that_is_down_again_does_not_follow(master: Master) -> None:
    """S10: The end of the repeated change does not count it as caught up."""
    absence.save(master.site.state / absence.BEHIND, {"nas3": Behind("x")})
    master.begin(count=4)
    master.silent = ["nas3"]
    assert master.begin(count=4)["skipped"] == ["nas3"]
    load("_runners/change.py", opts={}).done("app")
    assert behind(master) == {"nas3": Behind("x")}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"nas1": {}}', '{"nas1": {"sinec": "x"}}'])
def test_s10_a_damaged_file_is_told(master: Master, text: str) -> None:
    file = master.site.state / absence.BEHIND
    file.write_text(text)
    with pytest.raises(CommandExecutionError) as caught:
        load("_runners/fleet.py", opts={}).status()
    assert str(caught.value).startswith(f"{file}: 1 fault\n  the file is damaged: ")


def test_s10_a_host_that_left_the_fleet_is_not_behind(tmp_path: Path) -> None:
    file = tmp_path / absence.BEHIND
    absence.save(file, {"nas9": Behind("today"), "nas1": Behind("today")})
    assert absence.load(file, FLEET.hosts) == {"nas1": Behind("today")}


def test_s10_a_host_whose_states_failed_is_tried_again_later() -> None:
    known = {"nas1": Behind("x"), "nas2": Behind("x", tried=100.0, error="y")}
    assert absence.due(known, 100.0 + RETRY - 1) == ["nas1"]
    assert absence.due(known, 100.0 + RETRY) == ["nas1", "nas2"]


class Joiner:
    """The runner `join` on a master where these hosts answer; the orchestration may fail."""

    def __init__(self, master: Master, answering: Sequence[str], error: str = "") -> None:
        self.ran: list[tuple[str, list[str]]] = []
        self.module = load("_runners/join.py", opts={"user": "root"})
        self.module._ask = lambda hosts, _: [host for host in hosts if host in answering]
        failed = [Failure("nas3", "nfs", error, "salt nas3 state.apply")] if error else []

        def orchestrate(_: object, name: str, request: dict[str, Any]) -> list[Failure]:
            self.ran.append((name, request["hosts"]))
            return failed

        self.module.runner = SimpleNamespace(**{**vars(runner), "orchestrate": orchestrate})
        self.module.log = SimpleNamespace(error=lambda *_: None)
        self.module._wake = lambda _, what: what
        self.module._obstacles = lambda _: {}


def test_s10_a_host_that_returns_catches_up(master: Master) -> None:
    """S10: Its states are applied, and it is not behind any more; a silent host stays behind."""
    late = {"nas3": Behind("x"), "bbdd2": Behind("x")}
    absence.save(master.site.state / absence.BEHIND, late)
    joiner = Joiner(master, ["nas3"])
    assert joiner.module.catch_up() == ["nas3"]
    assert joiner.ran == [("orch.catch_up", ["nas3"])]
    assert behind(master) == {"bbdd2": Behind("x")}


def test_s10_a_host_that_cannot_catch_up_stays_behind(master: Master) -> None:
    absence.save(master.site.state / absence.BEHIND, {"nas3": Behind("x")})
    with pytest.raises(
        CommandExecutionError, match=r"nas3 did not catch up: .*\n.*its disk is full"
    ):
        Joiner(master, ["nas3"], "its disk is full").module.catch_up()
    assert "its disk is full" in behind(master)["nas3"].error
    later = Joiner(master, ["nas3"])
    assert later.module.look() == "nothing"
    later.module.plan = lambda: {"joining": {}}
    assert later.module.catch_up() == [] and later.ran == []


def test_s10_the_start_of_a_host_that_is_behind_is_a_reason_to_look(master: Master) -> None:
    """S10: The event or the schedule starts it; the start of another member does not."""
    absence.save(master.site.state / absence.BEHIND, {"nas3": Behind("x")})
    module = Joiner(master, []).module
    assert module.started("nas3", "salt/minion/nas3/start") == "nas3: it catches up"
    assert module.started("nas2", "salt/minion/nas2/start") == "nothing"
    assert module.started("nas3", "salt/minion/nas2/start") == "nothing"
    assert module.look() == "hosts catch up"


def test_s10_nobody_is_behind(master: Master) -> None:
    joiner = Joiner(master, ["nas3"])
    joiner.module.plan = never
    assert joiner.module.look() == "nothing"


def test_s10_a_balancer_that_is_behind_is_not_asked(master: Master) -> None:
    """S10: A step of a change waits for no balancer that the change skipped."""
    assert runner.balancers(master.site) == ["lb1"]
    absence.save(master.site.state / absence.BEHIND, {"lb1": Behind("x")})
    assert runner.balancers(master.site) == []

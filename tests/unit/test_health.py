"""`salt-run fleet.health`, and how the hosts' answers become one picture."""

from __future__ import annotations

import importlib
import re
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from salina.health import probes
from salina.health.probes import ELSEWHERE, HERE
from salina_fleet import health, minions, pair, runner
from salina_fleet.errors import RunnerError
from salina_fleet.health import Finding, Row
from salina_fleet.site import Site
from tests import fleets
from tests.loading import load


class Fleet:
    """A fleet, and how its minions answer."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, folder: Path, name: str = "default"
    ) -> None:
        self.fleet, self.name = fleets.fleet(name), name
        self.silent: set[str] = set()
        """Hosts whose minions are not connected."""
        self.hanging: set[str] = set()
        """Hosts whose minions are connected but do not answer."""
        self.faults: dict[str, Finding] = {}
        self.notices: dict[str, list[Any]] = {}
        self.late = 0.0
        self.outdated: set[str] = set()
        """Hosts whose minions have an old pillar, and those that can get a new one."""
        self.refreshable: set[str] = set()
        self.refreshed: list[str] = []
        self.asked: list[list[str]] = []
        self.folder = folder
        (folder / "pki/minions").mkdir(parents=True)
        for host in self.fleet.hosts:
            (folder / "pki/minions" / host).touch()
        definitions = fleets.definitions(self.fleet.topology)
        site = Site(folder, folder, self.fleet, definitions, fleets.LOCKS, fleets.TREE)
        monkeypatch.setattr(runner, "site", lambda _: site)
        monkeypatch.setattr(minions, "connected", lambda *_: {*self.fleet.hosts} - self.silent)
        monkeypatch.setattr(minions, "answers", self.answers)

    def answers(
        self, _: Any, hosts: list[str], function: str, *rest: Any
    ) -> dict[str, dict[str, Any]]:
        if function == "saltutil.refresh_pillar":
            self.refreshed += hosts
            self.outdated -= self.refreshable
            return {}
        assert function == "health.check"
        self.asked.append(hosts)
        return {
            host: {
                "retcode": 0,
                "ret": {
                    "checks": [
                        ["units", True, ""],
                        *([self.faults[host]] if host in self.faults else []),
                        *([self.notices[host]] if host in self.notices else []),
                    ],
                    "clock": time.time() - self.late,
                    "wanted": []
                    if host in self.outdated
                    else fleets.pillar(host, self.name)["host"]["checks"],
                },
            }
            for host in hosts
            if host not in self.hanging
        }

    def health(self, **options: Any) -> Any:
        opts = {"pki_dir": str(self.folder / "pki"), **options}
        return load("_runners/fleet.py", opts=opts).health()


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Fleet:
    return Fleet(monkeypatch, tmp_path)


def test_every_host_and_tier_has_a_line(fleet: Fleet) -> None:
    """One publish asks all hosts."""
    lines = fleet.health().splitlines()
    assert fleet.asked == [sorted(fleet.fleet.hosts)]
    names = [line.split()[1] for line in lines]
    tiers = {role for host in fleet.fleet.hosts.values() for role in host.roles}
    assert names[: len(fleet.fleet.hosts)] == list(fleet.fleet.hosts)
    assert set(names[len(fleet.fleet.hosts) :]) == tiers
    assert all(line.startswith("✓") for line in lines)
    assert "3 of 3 are well" in lines[names.index("app")]


def test_a_fault_comes_first_and_ends_with_an_exit_code(fleet: Fleet) -> None:
    """RunnerError makes salt-run end with exit code 1, and prints the same lines."""
    fleet.faults["s1"] = Finding("files", False, "/mnt/nas: no answer for 26 s")
    with pytest.raises(RunnerError) as raised:
        fleet.health()
    lines = {line.split()[1]: line for line in str(raised.value).splitlines()}
    assert lines["s1"].startswith("✗") and "✗ files: /mnt/nas: no answer for 26 s" in lines["s1"]
    assert lines["app"].startswith("✗") and "2 of 3 are well" in lines["app"]
    assert lines["nas1"].startswith("✓")


def test_silent_minions_are_named(fleet: Fleet) -> None:
    """The runner does not wait for a minion that is not connected."""
    fleet.silent, fleet.hanging = {"fw"}, {"bbdd1"}
    with pytest.raises(RunnerError) as raised:
        fleet.health()
    lines = {line.split()[1]: line for line in str(raised.value).splitlines()}
    assert "✗ minion: silent: it is not connected to the master" in lines["fw"]
    assert "✗ minion: silent: it is connected but does not answer" in lines["bbdd1"]
    assert "fw" not in fleet.asked[0] and "bbdd1" in fleet.asked[0]


def test_json(fleet: Fleet) -> None:
    """With --out=json Salt prints the data; `retcode` is the exit code of salt-run."""
    found = fleet.health(output="json")
    assert found["outputter"] == "json"
    assert (found["data"]["healthy"], found["data"]["retcode"]) == (True, 0)
    fleet.silent = {"fw"}
    data = fleet.health(output="json")["data"]
    assert (data["healthy"], data["retcode"]) == (False, 1)
    assert data["hosts"]["fw"] == {
        "roles": "firewall",
        "healthy": False,
        "checks": [
            {
                "what": "minion",
                "good": False,
                "detail": "silent: it is not connected to the master",
                "notice": False,
            }
        ],
    }
    assert data["tiers"]["firewall"]["healthy"] is False
    assert data["tiers"]["app"]["healthy"] is True


def test_a_wrong_clock_is_a_fault(fleet: Fleet) -> None:
    """Each answer has the host's time."""
    fleet.late = 60
    with pytest.raises(RunnerError, match="clock: 60 s behind the master"):
        fleet.health()


def test_an_old_pillar_is_refreshed(fleet: Fleet) -> None:
    """A minion with an old pillar makes old checks, so it gets a new one first."""
    fleet.outdated = fleet.refreshable = {"s1", "s2"}
    assert fleet.health()
    assert fleet.refreshed == ["s1", "s2"] and fleet.asked[1:] == [["s1", "s2"]]
    fleet.outdated, fleet.refreshable = {"s1"}, set()
    with pytest.raises(RunnerError, match="its pillar is old"):
        fleet.health()


def test_a_minion_without_the_function(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """A minion that was not synchronised yet says so."""
    said = {"retcode": 254, "ret": "'health.check' is not available."}
    monkeypatch.setattr(minions, "answers", lambda *_: dict.fromkeys(fleet.fleet.hosts, said))
    with pytest.raises(RunnerError, match=r"minion: 'health\.check' is not available"):
        fleet.health()


def test_a_wrong_members_file(fleet: Fleet) -> None:
    """A member whose key the master has never accepted is a fault of the master."""
    (fleet.folder / "pki/minions/s2").rename(fleet.folder / "pki/minions/s5")
    with pytest.raises(RunnerError) as raised:
        fleet.health()
    lines = {line.split()[1]: line for line in str(raised.value).splitlines()}
    words = "the master has accepted no key of s2, and s5 has a key but is not a member"
    assert words in lines["salt"]


@pytest.mark.parametrize(
    ("peers", "hosts"),
    [
        (["10.1.5.21:40000", "[::ffff:10.1.5.11]:1", "10.1.9.9:5"], {"nas1", "s1"}),
        (["10.1.5.21:40000", "127.0.0.1:7"], set(fleets.fleet().hosts)),
        ([], set()),
    ],
)
def test_connected_minions(
    peers: list[str], hosts: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel of the master knows which minions are connected."""
    shown = "".join(f"0 0 10.1.5.2:4505 {peer}\n" for peer in peers)

    def run(argv: list[str], **_: Any) -> Any:
        assert argv[-1] == "( sport = :4505 )"
        return SimpleNamespace(stdout=shown)

    monkeypatch.setattr(minions.subprocess, "run", run)
    assert minions.connected({"publish_port": 4505}, fleets.fleet()) == hosts


@pytest.mark.parametrize(
    ("accepted", "changing", "good"),
    [
        (["s1", "s2", "s3"], [], True),
        (["s1", "s2", "s3", "s4"], [], True),  # a host that has not joined yet
        (["s1", "s3"], ["s2"], True),
        (["s1", "s3"], [], False),
    ],
)
def test_membership(accepted: list[str], changing: list[str], good: bool) -> None:
    topology = fleets.topology()
    found = health.membership(topology, topology.initial(), accepted, changing)
    assert found.good == good
    assert good or found.detail.startswith("the master has accepted no key of s2; correct")


def test_a_host_runs_the_checks_of_its_pillar(monkeypatch: pytest.MonkeyPatch) -> None:
    """`health.check` makes the checks that the master prepared."""
    made: list[Any] = []
    monkeypatch.setattr(probes, "report", lambda wanted: made.append(wanted) or {"checks": []})
    monkeypatch.setattr(importlib, "reload", lambda module: module)
    pillar = fleets.pillar("nas1")
    found = load("_modules/health.py", pillar=pillar).check()
    assert found == {"checks": [], "wanted": pillar["host"]["checks"]}
    names = [name for name, _ in made[0]]
    every = ["system", "triggers", "firewall", "memory", "disk"]
    every += ["waiting", "applied", "updated", "timekeeping", "certificates"]
    assert names == [*every, "salt", "gluster", "etcd"]
    assert made[0][-1] == ("etcd", {"address": "10.1.4.21", "port": 2379})
    old = load("_modules/health.py", pillar={"host": {"id": "nas1"}}).check()
    assert (made[-1], old["wanted"]) == ([], [])


def test_both_callers_make_the_same_checks() -> None:
    """The pillar has the checks that `bin/lab status` sends."""
    whole = fleets.fleet()
    for host in whole.hosts.values():
        sent = health.checks(whole, host, fleets.definitions(whole.topology))
        held = fleets.pillar(host.id)["host"]["checks"]
        asked = [(one["probe"], one["arguments"]) for one in held]
        assert health.for_program(sent) == asked


def test_k6_the_hosts_of_a_pair_are_compared_now(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """K6: The addresses are on their way, so the two are asked again; then both have them."""
    fleet = Fleet(monkeypatch, tmp_path, "pairs")
    monkeypatch.setattr(pair.settled, "__defaults__", (0.0,))
    away, here = (Finding(probes.SHARED, True, words) for words in (ELSEWHERE, HERE))
    fleet.faults = {"lb1": away, "lb2": away}
    given = fleet.answers

    def answers(*asked: Any) -> dict[str, dict[str, Any]]:
        if len(fleet.asked) == 1:
            fleet.faults["lb2"] = here
        return given(*asked)

    monkeypatch.setattr(minions, "answers", answers)
    assert fleet.health(output="json")["data"]["healthy"]
    assert fleet.asked[1:] == [["lb1", "lb2"]]
    fleet.faults["lb1"] = here
    with pytest.raises(RunnerError, match="both lb1 and lb2 have them"):
        fleet.health()


def test_lines_show_faults_first() -> None:
    rows = [Row("s1", "app", (Finding("units", True), Finding("minion", False)))]
    assert health.text(rows) == "✗ s1  app  ✗ no minion, units"


def test_x11_a_restart_that_waits_is_a_notice_and_no_fault(fleet: Fleet) -> None:
    """X11: It comes before what is well, the exit code is 0, and the tier is well."""
    fleet.notices["s1"] = ["restart waits", True, "odoo; next: salt s1 state.apply", True]
    lines = {line.split()[1]: line for line in fleet.health().splitlines()}
    assert re.fullmatch(
        r"✓ s1 +app +! restart waits: odoo; next: salt s1 state.apply, minion, units, clock",
        lines["s1"],
    )
    assert "3 of 3 are well" in lines["app"]
    data = fleet.health(output="json")["data"]
    assert (data["healthy"], data["retcode"]) == (True, 0)
    assert [one["what"] for one in data["hosts"]["s1"]["checks"] if one["notice"]] == [
        "restart waits"
    ]

"""The runner `stage`: a copy for trials takes the place of a database, and the original goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from salina.backup import scratch
from salina_fleet import minions, runner
from salina_fleet.change import exclusive, stage
from salina_fleet.errors import RunnerError
from salina_fleet.fleet import Fleet
from salina_fleet.model import release, topology
from salina_fleet.revisions import RevisionError, Source
from tests import fleets
from tests.loading import load
from tests.releases import NAME

COPY = "salina_next_crm_staging"
NOON = "2026-11-29 12:00:00.000000+00"
ABOUT = "crm_staging from crm as of now"
USUAL = {"crm": "the data", "crm_staging": "a trial"}
DONE = ["modules: none changed", "a record of every model was read"]


class Hosts:
    """The primary and the host of the copy, as their modules answer.

    `databases`: the content of each database. `asked`: what was called, with the hosts. `given`:
    the last arguments of each function. `faults`: a function -> why it fails. `interrupted`: the
    function in which somebody interrupts. `looked_up`: the definitions whose commits were made sure
    of.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, state: Path, fleet: Fleet) -> None:
        self.databases = dict(USUAL)
        self.asked: list[tuple[str, str]] = []
        self.given: dict[str, list[Any]] = {}
        self.faults: dict[str, str] = {}
        self.interrupted = ""
        self.looked_up: list[str] = []
        self.site = SimpleNamespace(
            fleet=fleet,
            state=state,
            data=None,
            change_file=state / "lock",
            definitions=fleets.definitions(fleet.topology),
            revisions=SimpleNamespace(ensure=self.ensure),
        )
        monkeypatch.setattr(runner, "site", lambda _: self.site)
        monkeypatch.setattr(runner, "primary", self.primary)
        monkeypatch.setattr(minions, "call", self.call)
        monkeypatch.setattr(release, "wanted", lambda data, application: NAME)
        self.runner: Any = load("_runners/stage.py", opts={}, salt={})

    def ensure(self, sources: Mapping[str, Source]) -> None:
        """Make sure of the commits of definitions, which may fail."""
        if "revisions" in self.faults:
            raise RevisionError("salina", [self.faults["revisions"]])
        self.looked_up += sources

    def primary(self, _: Any, site: Any) -> str:
        """Return the primary, if there is one."""
        if "primary" in self.faults:
            raise RunnerError(self.faults["primary"])
        return "bbdd2"

    def call(
        self,
        _: Any,
        host: str,
        function: str,
        arguments: Sequence[Any],
        seconds: int,
        gather: int = 0,
    ) -> Any:
        """Answer as a host that is asked again and again whether it still works."""
        assert seconds > 0 and gather > 0
        self.asked.append((host, function))
        self.given[function] = [*arguments]
        if function == self.interrupted:
            raise KeyboardInterrupt
        if function in self.faults:
            raise RunnerError(f"{host}: {self.faults[function]}")
        answer: Callable[..., Any] = getattr(self, function.replace(".", "_"))
        return answer(*arguments)

    def database_branch_make(self, application: str, live: bool, original: str) -> str:
        assert live
        self.databases[COPY] = f"{self.databases[original]} of {application}"
        return COPY

    def database_branch_remove(self, application: str) -> None:
        assert application == "crm_staging"
        self.databases.pop(COPY, None)

    def database_copy_make(self, application: str, until: str, about: str, owner: str) -> str:
        self.databases[scratch.TEMPORARY] = f"{self.databases[application]} of {owner}"
        return "the last change"

    def database_copy_rename(self, name: str, owner: str) -> str:
        assert owner == "crm_staging"
        if name not in self.databases:
            self.databases[name] = self.databases.pop(scratch.TEMPORARY)
        return name

    def database_copy_exchange(self, application: str, source: str, kept: str, about: str) -> str:
        assert kept not in self.databases
        self.databases[kept] = self.databases[application]
        self.databases[application] = self.databases.pop(source)
        return kept

    def database_copy_discard(self, name: str) -> str:
        del self.databases[name]
        return name

    def upgrade_run(self, neutral: bool, seconds: int) -> list[str]:
        return DONE

    def upgrade_check(self, name: str) -> list[str]:
        return ["/web/health", "/web/login"]

    @property
    def change(self) -> Mapping[str, object]:
        """Return the change that excludes others now, or {}."""
        return exclusive.holder(self.site.change_file)


@pytest.fixture
def hosts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Hosts:
    return Hosts(monkeypatch, tmp_path, fleets.fleet("staging"))


# The request


def test_o1_without_confirmation_a_copy_only_shows_its_plan(hosts: Hosts) -> None:
    """O1, K5: Other changes may go on, and no host is asked."""
    with pytest.raises(RunnerError) as caught:
        hosts.runner.begin(__pub_user="root")
    first, *_, last = str(caught.value).splitlines()
    assert first.endswith(f"of crm as of now, from the backups, with release {NAME}")
    assert last.startswith("next: salt-run state.orchestrate orch.stage pillar=")
    assert "crm_staging stops on g1 at the end; crm goes on" in str(caught.value)
    assert (hosts.change, hosts.asked) == ({}, [])


def test_o1_a_confirmed_copy_excludes_other_changes(hosts: Hosts) -> None:
    """O1: Its steps are for the hosts of the copy alone."""
    change = hosts.runner.begin(confirm="crm_staging", live=True, __pub_user="root")
    assert hosts.change["what"] == change["what"] == "stage: crm_staging from crm as of now"
    given = {step.get("runner"): step.get("arguments") for step in change["steps"]}
    assert given["stage.change"] == {"application": "crm_staging", "release": NAME}
    assert given["stage.copy"]["live"] is True
    assert given["fleet.ready"] == given["backup.stop"] == {"hosts": ["g1"]}


@pytest.mark.parametrize("statements", [["DELETE FROM mails"], []])
def test_x10_the_plan_knows_whether_the_copy_is_made_neutral(
    hosts: Hosts, statements: list[str]
) -> None:
    """O1, X10: Its own definition counts, and not that of its original."""
    data = fleets.data("staging")
    data["applications"]["crm"]["definition"] = "crm-2017"
    data["applications"]["crm_staging"]["definition"] = "sample-crm"
    hosts.site.fleet = fleet(data)
    found = fleets.definitions(hosts.site.fleet.topology)
    own = found["sample-crm"]
    found["sample-crm"] = {**own, "node": {**own["node"], "neutral": statements}}
    hosts.site.definitions = found
    with pytest.raises(RunnerError) as caught:
        hosts.runner.begin()
    said = str(caught.value).splitlines()
    assert said[1] == (stage.NEUTRAL if statements else stage.PLAIN)
    assert hosts.looked_up == ["sample-crm"]


@pytest.mark.parametrize("given", [{}, {"confirm": "crm_staging"}])
def test_k5_a_copy_whose_revision_cannot_be_looked_up(hosts: Hosts, given: dict[str, str]) -> None:
    """O1, K5: The error says so, and not that the hosts have no pillar. Nothing is excluded."""
    hosts.faults["revisions"] = "odoo-14.0: the repository does not answer"
    with pytest.raises(RunnerError) as caught:
        hosts.runner.begin(**given)
    assert str(caught.value).splitlines() == [
        *("salina: 1 fault", f"  {hosts.faults['revisions']}", "next: salt-run fleet.resolve")
    ]
    assert (hosts.change, hosts.asked) == ({}, [])


def test_k5_a_copy_is_refused_while_another_change_runs(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """O1, K5: The message names the change that is running, and the command that shows it."""

    def busy(path: Path, what: str) -> None:
        raise exclusive.BusyError(f"{what}: another change is running")

    monkeypatch.setattr(exclusive, "take", busy)
    with pytest.raises(RunnerError) as caught:
        hosts.runner.begin(confirm="crm_staging", time="2026-11-29 12:00")
    assert str(caught.value) == (
        "stage: crm_staging from crm as of 2026-11-29 12:00:00 UTC: another change is running\n"
        "next: salt-run fleet.status"
    )


def fleet(data: dict[str, Any]) -> Fleet:
    """Return the fleet of a topology that a test has changed."""
    found = topology.parse(data)
    return Fleet(found, found.initial(), fleets.settings())


def without(role: str) -> Fleet:
    """Return the fleet with a copy, but without the hosts of a role, or without only the role."""
    data = fleets.data("staging")
    for name, host in [*data["hosts"].items()]:
        host["roles"] = [one for one in host["roles"] if one != role]
        if not host["roles"]:
            del data["hosts"][name]
    return fleet(data)


@pytest.mark.parametrize("live", [True, False])
@pytest.mark.parametrize("role", ["backup", "storage"])
def test_k5_a_fleet_without_backups_or_a_volume_makes_no_copy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, role: str, live: bool
) -> None:
    """O1, K5: Files come from the one to the other, also beside a running database."""
    hosts = Hosts(monkeypatch, tmp_path, without(role))
    for given in ({}, {"confirm": "crm_staging"}):
        with pytest.raises(RunnerError) as caught:
            hosts.runner.begin(live=live, **given)
        assert str(caught.value) == (
            f"no host has the role {role}, and the files of a copy come from the backups to a "
            "volume; give it to one in pillar/topology.yaml"
        )
    assert hosts.change == {}


def test_k5_a_fleet_without_a_copy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """O1, K5: The error says how an application becomes a copy."""
    hosts = Hosts(monkeypatch, tmp_path, fleets.fleet())
    with pytest.raises(RunnerError, match=r"\(none has copy_of in pillar/topology.yaml\)$"):
        hosts.runner.begin()


# The copy


def test_o1_the_running_database_may_be_copied(hosts: Hosts) -> None:
    """O1: On the primary, for the role of the copy."""
    assert hosts.runner.copy("crm_staging", "crm", "", True, ABOUT) == COPY
    assert hosts.asked == [("bbdd2", "database_branch.make")]
    assert hosts.given["database_branch.make"] == ["crm_staging", True, "crm"]
    assert hosts.databases == USUAL | {COPY: "the data of crm_staging"}


@pytest.mark.parametrize("until", ["", NOON])
@pytest.mark.parametrize("there", [True, False])
def test_o1_a_copy_comes_from_the_backups(hosts: Hosts, until: str, there: bool) -> None:
    """O1, K2: It takes the place of one that was interrupted, once it is complete."""
    if there:
        hosts.databases[COPY] = "an earlier copy"
    assert hosts.runner.copy("crm_staging", "crm", until, False, ABOUT) == COPY
    assert hosts.asked == [
        ("bbdd2", "database_copy.make"),
        ("bbdd2", "database_branch.remove"),
        ("bbdd2", "database_copy.rename"),
    ]
    assert hosts.given["database_copy.make"] == ["crm", until, ABOUT, "crm_staging"]
    assert hosts.given["database_copy.rename"] == [COPY, "crm_staging"]
    assert hosts.databases == USUAL | {COPY: "the data of crm_staging"}


@pytest.mark.parametrize(
    ("live", "function"),
    [
        (True, "database_branch.make"),
        *((False, f"database_{one}") for one in ("copy.make", "branch.remove", "copy.rename")),
    ],
)
def test_k5_a_copy_that_fails_changes_no_running_database(
    hosts: Hosts, live: bool, function: str
) -> None:
    """O1, K5: The error is that of the host, and no further step runs."""
    hosts.faults[function] = "the disk is full"
    with pytest.raises(RunnerError, match=r"^bbdd2: the disk is full$"):
        hosts.runner.copy("crm_staging", "crm", "", live, ABOUT)
    assert hosts.asked[-1] == ("bbdd2", function)
    assert hosts.databases.items() >= USUAL.items()


def test_k5_without_a_primary_nothing_is_copied(hosts: Hosts) -> None:
    """O1, K5: The error says which hosts were asked."""
    hosts.faults["primary"] = "none of bbdd1, bbdd2 names a primary"
    for call in (
        lambda: hosts.runner.copy("crm_staging", "crm", "", True, ABOUT),
        lambda: hosts.runner.exchange("crm_staging"),
    ):
        with pytest.raises(RunnerError, match="names a primary"):
            call()
    assert (hosts.asked, hosts.databases) == ([], USUAL)


# The change


def test_x10_a_copy_is_neutral_before_it_runs(hosts: Hosts) -> None:
    """O1, X10: Its own host neutralises it, brings it to its release, and asks for pages then."""
    assert hosts.runner.change("crm_staging", NAME) == (
        f"release {NAME}: modules: none changed, a record of every model was read; it answers "
        "/web/health, /web/login"
    )
    assert hosts.asked == [("g1", "upgrade.run"), ("g1", "upgrade.check")]
    assert hosts.given["upgrade.run"] == [True, hosts.runner.LONGEST]
    assert hosts.given["upgrade.check"] == [NAME]


@pytest.mark.parametrize("function", ["upgrade.run", "upgrade.check"])
def test_k5_a_copy_that_does_not_fit_its_release(hosts: Hosts, function: str) -> None:
    """O1, K5: The error is that of the host. A copy that is not neutral never starts, and goes."""
    hosts.databases[COPY] = "the data of crm_staging"
    hosts.faults[function] = "it cannot be neutralised"
    with pytest.raises(RunnerError, match=r"^g1: it cannot be neutralised$"):
        hosts.runner.change("crm_staging", NAME)
    assert hosts.asked[-2:] == [("g1", function), ("bbdd2", "database_branch.remove")]
    assert hosts.databases == USUAL


def test_k2_a_copy_goes_if_its_change_is_interrupted(hosts: Hosts) -> None:
    """O1, K2, X10: It has real data and is perhaps not neutral."""
    hosts.databases[COPY] = "the data of crm_staging"
    hosts.interrupted = "upgrade.run"
    with pytest.raises(KeyboardInterrupt):
        hosts.runner.change("crm_staging", NAME)
    assert hosts.databases == USUAL


@pytest.mark.parametrize("function", ["primary", "database_branch.remove"])
def test_k5_a_copy_that_cannot_be_removed(hosts: Hosts, function: str) -> None:
    """O1, K5: The error is still that of its change. The next copy takes its place."""
    hosts.databases[COPY] = "the data of crm_staging"
    hosts.faults |= {"upgrade.check": "/web/login: status 500", function: "no answer"}
    with pytest.raises(RunnerError, match=r"^g1: /web/login: status 500$"):
        hosts.runner.change("crm_staging", NAME)
    assert hosts.databases == USUAL | {COPY: "the data of crm_staging"}


# The exchange


def test_o1_the_copy_takes_the_place_of_the_former_trial(hosts: Hosts) -> None:
    """O1: The former database is deleted. The original's is not touched."""
    hosts.databases[COPY] = "the data of crm_staging"
    assert hosts.runner.exchange("crm_staging") == ("the former database of crm_staging is deleted")
    assert hosts.databases == {"crm": "the data", "crm_staging": "the data of crm_staging"}
    assert hosts.asked == [
        ("bbdd2", "database_copy.exchange"),
        ("bbdd2", "database_copy.discard"),
    ]
    application, source, former, about = hosts.given["database_copy.exchange"]
    assert (application, source) == ("crm_staging", COPY)
    assert former.startswith("crm_staging_before_2") and about == "crm_staging before orch.stage"
    assert hosts.given["database_copy.discard"] == [former]


def test_k5_an_exchange_that_is_refused_deletes_nothing(hosts: Hosts) -> None:
    """O1, K5: Both databases are as before."""
    hosts.databases[COPY] = "the data of crm_staging"
    before = dict(hosts.databases)
    hosts.faults["database_copy.exchange"] = "sessions come again"
    with pytest.raises(RunnerError, match=r"^bbdd2: sessions come again$"):
        hosts.runner.exchange("crm_staging")
    assert hosts.databases == before
    assert hosts.asked == [("bbdd2", "database_copy.exchange")]

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
FORMER = "crm_staging before orch.stage"
ROOM = {"label": "20261128-030000F", "primary": "bbdd2", "needed": 3 * 2**30, "free": 2**33}
DONE = ["modules: none changed", "a record of every model was read"]


class Hosts:
    """The primary and the host of the copy, as their modules answer.

    `databases`: the content of each database. `kept`: the comments of those that are kept.
    `asked`: what was called, with the hosts. `given`: the last arguments of each function.
    `faults`: a function -> why it fails. `interrupted`: the function in which somebody interrupts.
    `looked_up`: the definitions whose commits were made sure of. `sources`: the applications and
    moments of which a backup was looked for. `branched`: what `backup.branch` was given.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, state: Path, fleet: Fleet) -> None:
        self.databases = dict(USUAL)
        self.kept: dict[str, str] = {}
        self.sources: list[tuple[str, str]] = []
        self.branched: list[tuple[str, ...]] = []
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
        salt = {"backup.source": self.source, "backup.branch": self.branch}
        salt |= {"backup.stays_stopped": self.stays_stopped}
        self.runner: Any = load("_runners/stage.py", opts={}, salt=salt)

    def branch(self, *given: str) -> str:
        """Copy a database out of the backups, as the runner `backup` does it."""
        self.branched.append(given)
        return str(load("_runners/backup.py", opts={}).branch(*given))

    def stays_stopped(self, application: str) -> None:
        """Let the copy stay stopped, if it is, as the runner `backup` does it."""
        assert application == "crm_staging"
        if "stays_stopped" in self.faults:
            raise RunnerError(self.faults["stays_stopped"])

    def source(self, application: str, moment: str) -> dict[str, Any]:
        """Return the backup of a copy and its room, if it fits."""
        self.sources.append((application, moment))
        if "source" in self.faults:
            raise RunnerError(self.faults["source"])
        return ROOM

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
        self.kept[kept] = about
        return kept

    def database_copy_kept(self) -> list[dict[str, Any]]:
        return [{"name": name, "size": 1, "about": about} for name, about in self.kept.items()]

    def database_copy_discard(self, name: str) -> str:
        del self.databases[name], self.kept[name]
        return name

    def upgrade_neutralise(self) -> None:
        self.databases[COPY] += ", neutral"

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
    first, second, *_, last = str(caught.value).splitlines()
    assert first.endswith(f"of crm as of now, from the backups, with release {NAME}")
    assert second == (
        "it begins with backup 20261128-030000F; on bbdd2 3.0 GiB are needed, and 8.0 GiB are free"
    )
    assert last.startswith("next: salt-run state.orchestrate orch.stage pillar=")
    assert "crm_staging stops on g1 at the end; crm goes on" in str(caught.value)
    assert (hosts.change, hosts.asked) == ({}, [])


@pytest.mark.parametrize("confirm", [{}, {"confirm": "crm_staging"}])
@pytest.mark.parametrize(
    ("time", "moment"),
    [({}, ""), ({"time": "2026-11-29 12:00"}, "2026-11-29T12:00:00+00:00")],
)
def test_k5_a_copy_without_a_backup_or_room_is_not_begun(
    hosts: Hosts, time: dict[str, str], moment: str, confirm: dict[str, str]
) -> None:
    """O1, K5: It is that of the original, at the moment of the request. Nothing is excluded."""
    hosts.faults["source"] = "there is no backup"
    with pytest.raises(RunnerError, match=r"^there is no backup$"):
        hosts.runner.begin(**time, **confirm)
    assert hosts.sources == [("crm", moment)]
    assert (hosts.change, hosts.asked) == ({}, [])


def test_o1_a_confirmed_copy_excludes_other_changes(hosts: Hosts) -> None:
    """O1: Its steps are for the hosts of the copy alone."""
    change = hosts.runner.begin(confirm="crm_staging", live=True, __pub_user="root")
    assert hosts.change["what"] == change["what"] == "stage: crm_staging from crm as of now"
    given = {step.get("runner"): step.get("arguments") for step in change["steps"]}
    assert given["stage.change"] == {"application": "crm_staging", "release": NAME}
    assert given["stage.copy"]["live"] is True
    assert hosts.sources == []  # the host that makes the copy judges its room
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
    words = "the statements of `neutral` in its definition run in the copy"
    assert said[2] == (words if statements else stage.PLAIN)
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
    if role == "storage":  # without it only one host can serve an application
        data["pools"]["app"].update(maximum=1, initial=["s1"])
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
    """O1, X10: On the primary, for the role of the copy, whose host makes it neutral at once."""
    assert hosts.runner.copy("crm_staging", "crm", "", True, ABOUT) == COPY
    assert hosts.asked == [("bbdd2", "database_branch.make"), ("g1", "upgrade.neutralise")]
    assert hosts.given["database_branch.make"] == ["crm_staging", True, "crm"]
    assert hosts.databases == USUAL | {COPY: "the data of crm_staging, neutral"}
    assert hosts.branched == []


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
        ("g1", "upgrade.neutralise"),
    ]
    assert hosts.given["database_copy.make"] == ["crm", until, ABOUT, "crm_staging"]
    assert hosts.given["database_copy.rename"] == [COPY, "crm_staging"]
    assert hosts.branched == [("crm_staging", "crm", until, ABOUT)]
    assert hosts.databases == USUAL | {COPY: "the data of crm_staging, neutral"}


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


@pytest.mark.parametrize("live", [True, False])
def test_k5_a_copy_that_cannot_be_neutralised(hosts: Hosts, live: bool) -> None:
    """O1, X10, K5: The error is that of its host, and no running database has changed."""
    hosts.faults["upgrade.neutralise"] = "it cannot be neutralised"
    with pytest.raises(RunnerError, match=r"^g1: it cannot be neutralised$"):
        hosts.runner.copy("crm_staging", "crm", "", live, ABOUT)
    assert hosts.databases.items() >= USUAL.items()


def test_k5_without_a_primary_nothing_is_copied(hosts: Hosts) -> None:
    """O1, K5: The error says which hosts were asked."""
    hosts.faults["primary"] = "none of bbdd1, bbdd2 names a primary"
    for call in (
        lambda: hosts.runner.copy("crm_staging", "crm", "", True, ABOUT),
        lambda: hosts.runner.exchange("crm_staging"),
        lambda: hosts.runner.clean("crm_staging"),
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
    """O1: The former database is kept until the last step. The original's is not touched."""
    hosts.databases[COPY] = "the data of crm_staging"
    former = hosts.runner.exchange("crm_staging")
    changed = {"crm": "the data", "crm_staging": "the data of crm_staging"}
    assert former.startswith("crm_staging_before_2")
    assert hosts.given["database_copy.exchange"] == ["crm_staging", COPY, former, FORMER]
    assert hosts.databases == changed | {former: "a trial"}
    assert hosts.asked == [("bbdd2", "database_copy.exchange")]
    assert hosts.runner.clean("crm_staging") == [former]
    assert hosts.databases == changed
    assert hosts.given["database_copy.discard"] == [former]


def test_k2_the_last_step_deletes_those_that_copies_have_replaced(hosts: Hosts) -> None:
    """O1, K2: One that an interrupted copy has left is among them. No other database is.

    Repeated, it finds nothing to do.
    """
    old, new = "crm_staging_before_20261101_000000", "crm_staging_before_20261129_000000"
    others = {
        "crm_staging_before_20261128_000000": "crm_staging before orch.restore",
        "crm_before_20261128_000000": "crm before orch.stage",
        "crm_noon": "crm as of 2026-11-27 12:00:00 UTC",
    }
    hosts.kept = {old: FORMER, **others, new: FORMER}
    hosts.databases |= hosts.kept
    assert hosts.runner.clean("crm_staging") == [old, new]
    assert hosts.runner.clean("crm_staging") == []
    assert (hosts.kept, hosts.databases) == (others, USUAL | others)


def test_k5_a_former_database_that_cannot_be_deleted(hosts: Hosts) -> None:
    """O1, K5: The error is that of the host. The next copy deletes it."""
    hosts.kept = {"crm_staging_before_20261129_000000": FORMER}
    hosts.faults["database_copy.discard"] = "no answer"
    with pytest.raises(RunnerError, match=r"^bbdd2: no answer$"):
        hosts.runner.clean("crm_staging")
    assert hosts.kept


def test_o9_a_copy_that_runs_keeps_its_database(hosts: Hosts) -> None:
    """O1, O9, K5: An apply may have started it since it stopped."""
    hosts.databases[COPY] = "the data of crm_staging"
    hosts.faults["stays_stopped"] = "g1: odoo runs"
    with pytest.raises(RunnerError, match=r"^g1: odoo runs$"):
        hosts.runner.exchange("crm_staging")
    assert hosts.asked == []


def test_k5_an_exchange_that_is_refused_deletes_nothing(hosts: Hosts) -> None:
    """O1, K5: Both databases are as before."""
    hosts.databases[COPY] = "the data of crm_staging"
    before = dict(hosts.databases)
    hosts.faults["database_copy.exchange"] = "sessions come again"
    with pytest.raises(RunnerError, match=r"^bbdd2: sessions come again$"):
        hosts.runner.exchange("crm_staging")
    assert hosts.databases == before
    assert hosts.asked == [("bbdd2", "database_copy.exchange")]

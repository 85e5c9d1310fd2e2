"""The runner `upgrade`: code and database change together, or the former ones serve again."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from salina_fleet import minions, runner
from salina_fleet.change import exclusive, upgrade
from salina_fleet.errors import RunnerError
from salina_fleet.model import release
from salina_fleet.revisions import RevisionError, Source
from salina_fleet.secrets import FakeStore
from tests import fleets
from tests.loading import load
from tests.releases import NAME, NEXT

COPY = "salina_next_crm"
KEPT = "crm_before_20261130_120000"
SERVES = f"the former release {NAME} serves again, with its own data"
EVERYWHERE = ("s1", "s2", "s3")
ROLLS = {"differing": ["migrations/2.js"], "missing": [], "rolls": True}
"""A plan whose former release works with the changed database."""


class Hosts:
    """The app hosts and the primary, as their modules answer.

    `databases`: the content of each database. `runs`: the release of each app host, and `running`
    those whose application runs. `asked`: the functions that were called, with their hosts.
    `tried`: the releases whose pages were asked for.
    `faults`: an error, or a function that returns one, for a function or for (host, function).
    `applying`: the answers of `minions.busy`.
    `silent`: the hosts that do not answer. `looked_up`: the definitions whose commits were made
    sure of, and `unknown` why one has none.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, state: Path) -> None:
        self.databases = {"crm": "former data"}
        self.runs = dict.fromkeys(EVERYWHERE, NAME)
        self.running = {*EVERYWHERE}
        self.asked: list[tuple[str, str]] = []
        self.synchronised: set[str] = set()
        self.given: dict[str, list[Any]] = {}
        self.faults: dict[Any, BaseException] = {}
        self.silent: set[str] = set()
        self.refreshed: set[str] = set()
        self.plan: dict[str, Any] = {"former": NAME, "release": NEXT}
        self.plan |= {"differing": ["crm"], "missing": ["web"], "rolls": False}
        self.tried: list[str] = []
        self.kept: list[dict[str, Any]] = []
        self.origins: dict[str, str] = {}
        self.recorded = NEXT
        self.writes: list[int] = []
        self.applying: list[dict[str, str]] = []
        self.state = state
        self.site = SimpleNamespace(
            fleet=fleets.fleet(),
            state=state,
            data=None,
            change_file=state / "lock",
            definitions=fleets.definitions(fleets.topology()),
            revisions=SimpleNamespace(ensure=self.ensure, commit=lambda name, source: self.commit),
            store=FakeStore(),
        )
        self.looked_up: list[str] = []
        self.commit = NAME[:12] + "0" * 28
        self.unknown = ""
        self.restores: list[dict[str, str]] = []
        monkeypatch.setattr(runner, "site", lambda _: self.site)
        monkeypatch.setattr(runner, "primary", lambda _, site: "bbdd2")
        monkeypatch.setattr(minions, "call", self.call)
        monkeypatch.setattr(minions, "ask", self.ask)
        monkeypatch.setattr(minions, "together", self.together)
        monkeypatch.setattr(minions, "busy", self.busy)
        monkeypatch.setattr(release, "wanted", lambda data, application: NEXT)
        salt = {"backup.restore": self.restore}
        self.runner: Any = load("_runners/upgrade.py", opts={}, salt=salt)

    def ensure(self, sources: Mapping[str, Source]) -> None:
        """Make sure of the commits of definitions."""
        if self.unknown:
            raise RevisionError("salina", [self.unknown])
        self.looked_up += sources

    def restore(self, **given: str) -> dict[str, Any]:
        """Note a restore."""
        self.restores.append(given)
        return {"what": "restore", "steps": []}

    def busy(self, _: Any, hosts: Sequence[str], __: int) -> dict[str, str]:
        """Return the hosts that apply states."""
        return self.applying.pop(0) if self.applying else {}

    def ask(
        self, opts: Any, hosts: Sequence[str], function: str, arguments: Sequence[Any] = ()
    ) -> dict[str, Any]:
        """Answer as several hosts at once."""
        return {host: self.call(opts, host, function, arguments, 0) for host in hosts}

    def together(
        self, _: Any, hosts: Sequence[str], function: str, arguments: Sequence[Any], *__: Any
    ) -> tuple[dict[str, Any], dict[str, str]]:
        """Answer as several hosts at once, of which some may fail."""
        said, faults = dict[str, Any](), dict[str, str]()
        for host in hosts:
            try:
                said[host] = self.call(_, host, function, arguments, 0)
            except RunnerError as error:
                faults[host] = str(error)
        return said, faults

    def call(
        self,
        _: Any,
        host: str,
        function: str,
        arguments: Sequence[Any],
        __: int,
        ___: int = 0,
    ) -> Any:
        """Answer as a host."""
        if host in self.silent:
            raise RunnerError(f"{host}: no answer\nnext: salt-run fleet.health")
        if function == "saltutil.refresh_pillar":
            self.refreshed.add(host)
            return True
        self.asked.append((host, function))
        self.given[function] = [*arguments]
        for key in (function, (host, function)):
            if key in self.faults:
                raise self.faults.pop(key)
        answer: Callable[..., Any] = getattr(self, function.replace(".", "_"))
        return answer(host, *arguments)

    def state_apply(self, host: str, states: str) -> dict[str, Any]:
        assert states == "common.python"
        self.synchronised.add(host)
        return {}

    def application_stop(self, host: str, seconds: int) -> None:
        self.running.discard(host)

    def application_stopped(self, host: str) -> int:
        assert host not in self.running
        return 12_345

    def application_hold(self, host: str, since: int) -> None:
        assert since == 12_345

    def application_halt(self, host: str) -> None:
        self.running.discard(host)

    def application_start(self, host: str) -> None:
        self.running.add(host)

    def upgrade_fetch(self, host: str) -> str:
        assert host in self.refreshed  # otherwise it may get the former release
        return "it was complete"

    def upgrade_plan(self, host: str) -> dict[str, Any]:
        return self.plan

    def upgrade_settle(self, host: str) -> None:
        assert self.running == {*EVERYWHERE}

    def upgrade_follow(self, host: str) -> str:
        return self.runs[host]

    def release_active(self, host: str) -> str:
        return self.runs[host]

    def release_due(self, host: str) -> dict[str, Any]:
        return {"name": NEXT, "waits": [], "recorded": self.recorded}

    def database_branch_writes(self, host: str, application: str) -> int:
        return self.writes.pop() if self.writes else 7

    def upgrade_run(self, host: str, neutral: bool, seconds: int) -> list[str]:
        self.databases[COPY] += ", upgraded" + ", neutral" * neutral
        return ["modules: 1 updated, new: web", "a record of every model was read"]

    def upgrade_migrate(self, host: str, seconds: int) -> list[str]:
        assert self.running == {*EVERYWHERE}
        self.databases["crm"] += ", migrated"
        return ["migrate", "index"]

    def upgrade_check(self, host: str, name: str) -> list[str]:
        assert host not in self.running or self.databases[COPY].endswith("neutral")
        self.tried.append(name)
        return ["/web/health", "/web/login"]

    def upgrade_switch(self, host: str, name: str) -> None:
        self.runs[host] = name

    def upgrade_serve(self, host: str) -> list[str]:
        self.running.add(host)
        return ["/web/health", "/web/login"]

    def database_branch_make(self, host: str, application: str, live: bool) -> str:
        assert host == "bbdd2" and (live or not self.running)
        self.databases[COPY] = self.databases[application]
        return COPY

    def upgrade_end(self, host: str) -> list[str]:
        return []

    def database_branch_remove(self, host: str, application: str) -> None:
        self.databases.pop(COPY, None)

    def database_copy_exchange(
        self, host: str, application: str, source: str, kept: str, about: str
    ) -> str:
        assert host == "bbdd2" and not self.running and kept not in self.databases
        self.databases[kept] = self.databases[application]
        self.databases[application] = self.databases.pop(source)
        return kept

    def database_copy_names(self, host: str) -> list[str]:
        return [*self.databases]

    def database_copy_origins(self, host: str) -> dict[str, str]:
        return self.origins

    def database_copy_kept(self, host: str) -> list[dict[str, Any]]:
        return self.kept

    def times(self, function: str) -> list[str]:
        """Return the hosts on which a function was called."""
        return [host for host, called in self.asked if called == function]

    @property
    def change(self) -> Mapping[str, object]:
        """Return the change that excludes others now, or {}."""
        return exclusive.holder(self.site.change_file)

    def serves(self, name: str, data: str) -> None:
        """Check that every host serves a release with this content of the database."""
        assert self.runs == dict.fromkeys(EVERYWHERE, name)
        assert self.running == {*EVERYWHERE}
        assert self.databases["crm"] == data and COPY not in self.databases


@pytest.fixture
def hosts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Hosts:
    return Hosts(monkeypatch, tmp_path)


def failed(hosts: Hosts) -> list[str]:
    """Return the lines of the error of a change."""
    with pytest.raises(RunnerError) as caught:
        hosts.runner.change("crm", NEXT, KEPT)
    return str(caught.value).splitlines()


def reason(error: BaseException) -> str:
    """Return how the message of a failed change begins."""
    return "it was interrupted" if isinstance(error, KeyboardInterrupt) else str(error)


# The change


def test_o8_code_and_database_change_together(hosts: Hosts) -> None:
    """O8: All hosts stop before the copy is made, and the first one serves before the others."""
    said = hosts.runner.change("crm", NEXT, KEPT)
    assert said.startswith(f"release {NEXT}: modules: 1 updated, new: web, a record of every ")
    assert "nobody could use it for " in said
    hosts.serves(NEXT, "former data, upgraded")
    assert hosts.databases[KEPT] == "former data"
    assert hosts.asked == [
        ("s1", "upgrade.fetch"),
        ("s1", "upgrade.plan"),
        ("s1", "upgrade.end"),
        ("s1", "upgrade.settle"),
        *((host, "application.stop") for host in EVERYWHERE),
        *((host, "application.stopped") for host in EVERYWHERE),
        ("bbdd2", "database_branch.writes"),
        ("bbdd2", "database_branch.make"),
        ("s1", "upgrade.run"),
        ("s1", "upgrade.check"),
        *((host, "application.hold") for host in EVERYWHERE),
        ("bbdd2", "database_branch.writes"),
        ("bbdd2", "database_copy.exchange"),
        *((host, "upgrade.switch") for host in EVERYWHERE),
        ("s1", "upgrade.serve"),
        ("s2", "application.start"),
        ("s3", "application.start"),
    ]
    assert hosts.given["database_branch.make"] == ["crm", False]
    assert hosts.given["upgrade.run"] == [False, upgrade.STOPPED]
    assert hosts.tried == [NEXT]
    assert hosts.given["application.stop"] == [upgrade.STOPPED]
    application, source, kept, about = hosts.given["database_copy.exchange"]
    assert (application, source, kept) == ("crm", COPY, KEPT)
    assert about.startswith(f"crm before release {NEXT}, until ")


def test_k2_a_long_rehearsal_gives_the_change_more_time(hosts: Hosts) -> None:
    """K2: The application must not start by itself before the change can be complete."""
    upgrade.rehearsed(hosts.state / upgrade.FILE, "crm", NEXT, 1000)
    hosts.runner.change("crm", NEXT, KEPT)
    assert hosts.given["application.stop"] == [4000]


@pytest.mark.parametrize("error", [RunnerError("s1: no luck"), KeyboardInterrupt("stopped")])
@pytest.mark.parametrize(
    "step",
    [
        *("application.stop", "application.stopped", "database_branch.make", "upgrade.run"),
        *("upgrade.check", "application.hold"),
        *(("s3", "application.stop"), ("s2", "application.hold")),
    ],
)
def test_o8_before_the_exchange_the_former_application_starts_again(
    hosts: Hosts, step: Any, error: BaseException
) -> None:
    """O8, K2: Whatever fails, the databases keep their places, and the copy goes."""
    hosts.faults[step] = error
    assert failed(hosts) == [reason(error), SERVES]
    hosts.serves(NAME, "former data")
    assert [*hosts.databases] == ["crm"]
    assert hosts.times("database_copy.exchange") == hosts.times("application.halt") == []
    assert hosts.times("application.start") == [*EVERYWHERE]


@pytest.mark.parametrize("error", [RunnerError("s1: no luck"), KeyboardInterrupt("stopped")])
@pytest.mark.parametrize("step", ["upgrade.switch", ("s3", "upgrade.switch"), "upgrade.serve"])
def test_o8_after_the_exchange_databases_and_releases_come_back(
    hosts: Hosts, step: Any, error: BaseException
) -> None:
    """O8, K2: Users may have changed something in the new database, so it is kept."""
    hosts.faults[step] = error
    first, second = failed(hosts)
    assert first == reason(error)
    assert second.startswith(f"{SERVES}; the database of the new one is crm_failed_")
    hosts.serves(NAME, "former data")
    application, source, new, about = hosts.given["database_copy.exchange"]
    assert (application, source) == ("crm", KEPT)
    assert hosts.databases == {"crm": "former data", new: "former data, upgraded"}
    assert about.startswith("crm of a failed upgrade, until ")
    assert hosts.times("application.halt") == [*EVERYWHERE]


def test_o8_an_upgrade_ends_if_somebody_writes_meanwhile(hosts: Hosts) -> None:
    """O8: The rows would be in the kept database only."""
    hosts.writes = [8, 7]
    said = ["somebody wrote into the database of crm meanwhile", SERVES]
    assert failed(hosts) == said
    hosts.serves(NAME, "former data")
    assert hosts.times("database_copy.exchange") == []


@pytest.mark.parametrize("step", ["fetch", "rehearse", "change", "migrate"])
def test_o8_only_the_release_that_was_planned_is_brought(hosts: Hosts, step: str) -> None:
    """O8: The definition may move while a rehearsal runs."""
    given = ["crm", NAME, KEPT] if step == "change" else ["crm", NAME]
    with pytest.raises(RunnerError, match=f"wants release {NEXT} by now, and no longer {NAME}"):
        getattr(hosts.runner, step)(*given)
    assert hosts.asked == []


@pytest.mark.parametrize("done", [False, True])
def test_k2_nobody_knows_whether_the_exchange_took_place(hosts: Hosts, done: bool) -> None:
    """O8, K2: Its answer was lost. The names of the databases decide."""
    usual = hosts.database_copy_exchange

    def lost(*given: str) -> str:
        hosts.database_copy_exchange = usual  # type: ignore[method-assign]
        if done:
            usual(*given)
        raise RunnerError("bbdd2: no answer")

    hosts.database_copy_exchange = lost  # type: ignore[method-assign]
    first, second = failed(hosts)
    assert first == "bbdd2: no answer" and second.startswith(SERVES)
    hosts.serves(NAME, "former data")
    assert len(hosts.databases) == 1 + done
    assert len(hosts.times("database_copy.exchange")) == 1 + done


@pytest.mark.parametrize("step", ["upgrade.run", "upgrade.serve"])
def test_k5_a_host_that_does_not_answer_is_named_and_the_others_start(
    hosts: Hosts, step: str
) -> None:
    """O8, K5: It does not hold the others up, and the error says how to go on."""
    usual = getattr(hosts, step.replace(".", "_"))

    def dies(*given: Any) -> Any:
        hosts.silent.add("s2")
        usual(*given)
        raise RunnerError("s1: no luck")

    setattr(hosts, step.replace(".", "_"), dies)
    said = failed(hosts)
    assert said[0] == "s1: no luck"
    assert "s2: no answer" in said and said[1].endswith(", on s1, s3")
    assert said[-1] == "next: salt-run fleet.health; then apply the states of these hosts"
    assert hosts.databases["crm"] == "former data"
    assert {host: hosts.runs[host] for host in ("s1", "s3")} == {"s1": NAME, "s3": NAME}
    assert hosts.running == {"s1", "s3"}


def test_k5_databases_that_do_not_come_back(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    """O8, K5: Then no former code starts on the new database."""
    hosts.faults["upgrade.serve"] = RunnerError("s1: no luck")
    monkeypatch.setattr(hosts.runner, "FAILOVER", 0)
    hosts.faults["database_copy.names"] = RunnerError("bbdd2: this host is a replica")
    said = failed(hosts)
    assert said[:3] == ["s1: no luck", "nobody serves crm", "bbdd2: this host is a replica"]
    assert hosts.running == set()
    assert hosts.runs == dict.fromkeys(EVERYWHERE, NEXT)
    assert hosts.databases["crm"] == "former data, upgraded"
    assert hosts.databases[KEPT] == "former data"


def test_s1_the_way_back_waits_for_a_failover(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S1, O8: For a while the database hosts name a primary that has just died."""
    monkeypatch.setattr("salina.common.wait.time.sleep", lambda _: None)
    dead = RunnerError("bbdd1: no answer")
    hosts.faults["upgrade.serve"] = dead
    usual, lost = hosts.database_copy_names, [dead, dead]

    def names(host: str) -> list[str]:
        if lost:
            raise lost.pop()
        return usual(host)

    hosts.database_copy_names = names  # type: ignore[method-assign]
    assert failed(hosts)[1].startswith(SERVES)
    hosts.serves(NAME, "former data")


@pytest.mark.parametrize("step", ["upgrade.run", "upgrade.serve"])
def test_s1_users_are_served_before_the_copy_goes(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """S1, O8: The removal waits for a failover, and nobody waits for the removal."""
    monkeypatch.setattr("salina.common.wait.time.sleep", lambda _: None)
    hosts.faults[step] = RunnerError("s1: no luck")
    usual, lost = hosts.database_branch_remove, [RunnerError("bbdd1: no answer")] * 2

    def remove(host: str, application: str) -> None:
        assert hosts.running == {*EVERYWHERE}
        if lost:
            raise lost.pop()
        usual(host, application)

    hosts.database_branch_remove = remove  # type: ignore[method-assign]
    assert failed(hosts)[1].startswith(SERVES)
    hosts.serves(NAME, "former data")
    assert hosts.asked[-7:] == [
        *((host, "application.start") for host in EVERYWHERE),
        ("s1", "upgrade.end"),  # before that it could connect again and write into the next copy
        *[("bbdd2", "database_branch.remove")] * 3,
    ]


def test_k2_a_copy_that_cannot_be_removed_stops_nobody(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """O8, K2: The error is still the first one, and the next copy takes its place."""
    monkeypatch.setattr(hosts.runner, "FAILOVER", 0)
    hosts.faults["upgrade.run"] = RunnerError("s1: no luck")
    hosts.faults["database_branch.remove"] = RunnerError("bbdd2: no answer")
    assert failed(hosts) == ["s1: no luck", SERVES]
    assert hosts.running == {*EVERYWHERE} and COPY in hosts.databases
    hosts.runner.change("crm", NEXT, KEPT)
    hosts.serves(NEXT, "former data, upgraded")


def test_k5_a_plan_that_fails_stops_nothing(hosts: Hosts) -> None:
    """O8, K5: The hosts go on as before."""
    hosts.faults["upgrade.plan"] = RunnerError("s1: the database does not answer")
    assert failed(hosts) == ["s1: the database does not answer"]
    hosts.serves(NAME, "former data")
    assert hosts.times("application.stop") == hosts.times("application.start") == []


# The change under the former release


@pytest.fixture
def rolling(hosts: Hosts) -> Hosts:
    """The hosts of an application whose former release works with the changed database."""
    hosts.plan |= ROLLS
    return hosts


def test_o8_a_database_changes_while_the_former_release_goes_on(rolling: Hosts) -> None:
    """O8: It first names the code that it needs until then. No copy is made, and nobody stops."""
    said = rolling.runner.migrate("crm", NEXT)
    assert said == f"release {NEXT}: migrate, index; the former one goes on meanwhile"
    rolling.serves(NAME, "former data, migrated")
    assert rolling.asked == [
        ("s1", "upgrade.fetch"),
        ("s1", "upgrade.plan"),
        ("s1", "upgrade.settle"),
        ("s1", "upgrade.migrate"),
    ]
    assert [*rolling.databases] == ["crm"]


@pytest.mark.parametrize(("took", "patience"), [(None, upgrade.STOPPED), (1000, 4000)])
def test_k2_a_long_rehearsal_gives_the_migrations_more_time(
    rolling: Hosts, took: float | None, patience: int
) -> None:
    """K2: A command that waits for ever is killed, but not one that is slow."""
    if took is not None:
        upgrade.rehearsed(rolling.state / upgrade.FILE, "crm", NEXT, took)
    rolling.runner.migrate("crm", NEXT)
    assert rolling.given["upgrade.migrate"] == [patience]


def test_k5_a_definition_that_changes_its_mind_stops_the_migrations(hosts: Hosts) -> None:
    """O8, K5: It may do so while a rehearsal runs. The hosts read it again before they are asked.

    Nothing has changed then, and the same command leads to the plan that stops the application.
    """
    with pytest.raises(RunnerError) as caught:
        hosts.runner.migrate("crm", NEXT)
    assert str(caught.value).splitlines() == [
        "the definition no longer declares all migrations as compatible",
        "next: the same command again, which stops the application",
    ]
    hosts.serves(NAME, "former data")
    assert hosts.refreshed >= {*EVERYWHERE}
    assert hosts.asked == [("s1", "upgrade.fetch"), ("s1", "upgrade.plan")]


def test_k5_migrations_that_fail_leave_the_former_release(rolling: Hosts) -> None:
    """O8, K5: The error says who serves, and how to go on."""
    rolling.faults["upgrade.migrate"] = RunnerError("s1: no luck")
    with pytest.raises(RunnerError) as caught:
        rolling.runner.migrate("crm", NEXT)
    assert str(caught.value).splitlines() == [
        "s1: no luck",
        "the former release goes on, with the part of the changes that was made",
        "next: the same command again",
    ]
    rolling.serves(NAME, "former data")
    assert rolling.times("application.stop") == rolling.times("application.start") == []


@pytest.mark.parametrize("step", ["upgrade.fetch", "upgrade.plan", "upgrade.settle"])
def test_k5_a_fault_before_the_migrations_keeps_the_tables(rolling: Hosts, step: str) -> None:
    """O8, K5: Nothing has changed, so the error is that of the host alone."""
    rolling.faults[step] = RunnerError("s1: the database does not answer")
    with pytest.raises(RunnerError, match=r"^s1: the database does not answer$"):
        rolling.runner.migrate("crm", NEXT)
    rolling.serves(NAME, "former data")
    assert rolling.times("upgrade.migrate") == []


# The rehearsal


def test_o8_a_rehearsal_leaves_users_alone(hosts: Hosts) -> None:
    """O8, X10: The copy is neutral, and goes. How long it took is recorded."""
    said = hosts.runner.rehearse("crm", NEXT)
    assert said.startswith(f"release {NEXT} in 0 s: modules: 1 updated, new: web, ")
    assert said.endswith("; it answers /web/health, /web/login")
    hosts.serves(NAME, "former data")
    assert hosts.asked == [
        ("s1", "upgrade.fetch"),
        ("s1", "upgrade.plan"),
        ("s1", "upgrade.end"),
        ("bbdd2", "database_branch.make"),
        ("s1", "upgrade.run"),
        ("s1", "upgrade.check"),
        ("s1", "upgrade.end"),
        ("bbdd2", "database_branch.remove"),
    ]
    assert (hosts.given["database_branch.make"], hosts.given["upgrade.run"]) == (
        ["crm", True],
        [True, hosts.runner.REHEARSAL],
    )
    assert upgrade.seconds(hosts.state / upgrade.FILE, "crm", NEXT) is not None


@pytest.mark.parametrize(
    ("plan", "tried"),
    [
        (ROLLS, [NEXT, NAME]),
        (ROLLS | {"rolls": False}, [NEXT]),
        (ROLLS | {"differing": []}, [NEXT]),
    ],
    ids=["rolls", "stops", "nothing"],
)
def test_o8_a_rehearsal_tries_the_former_release_if_it_goes_on(
    hosts: Hosts, plan: dict[str, Any], tried: list[str]
) -> None:
    """O8: It has to work with the changed copy. If nothing changes, it does so already."""
    hosts.plan |= plan
    said = hosts.runner.rehearse("crm", NEXT)
    assert hosts.tried == tried
    told = ", and so does the former release" * (NAME in tried)
    assert said.endswith(f"; it answers /web/health, /web/login{told}")
    assert hosts.asked[-1] == ("bbdd2", "database_branch.remove")
    hosts.serves(NAME, "former data")


def test_o8_a_former_release_that_does_not_work_with_the_copy(hosts: Hosts) -> None:
    """O8, K5: The definition is wrong about a migration, and the error says so."""
    usual = hosts.upgrade_check

    def check(host: str, name: str) -> list[str]:
        if name == NAME:
            raise RunnerError("s1: /web/login: status 500")
        return usual(host, name)

    hosts.plan |= ROLLS
    hosts.upgrade_check = check  # type: ignore[method-assign]
    with pytest.raises(RunnerError) as caught:
        hosts.runner.rehearse("crm", NEXT)
    assert str(caught.value).splitlines() == [
        "s1: /web/login: status 500",
        f"this was the former release {NAME} with the changed database: if it does not work with "
        "that, `compatible` in the definition is wrong",
    ]
    hosts.serves(NAME, "former data")
    assert upgrade.seconds(hosts.state / upgrade.FILE, "crm", NEXT) is None


@pytest.mark.parametrize("plan", [{}, ROLLS], ids=["stops", "rolls"])
@pytest.mark.parametrize(
    "step", ["upgrade.plan", "database_branch.make", "upgrade.run", "upgrade.check"]
)
def test_k5_a_rehearsal_that_fails_leaves_no_copy(
    hosts: Hosts, step: str, plan: dict[str, Any]
) -> None:
    """O8, K2: It is not recorded either. The former release has nothing to do with the error."""
    hosts.plan |= plan
    hosts.faults[step] = RunnerError("s1: no luck")
    with pytest.raises(RunnerError, match=r"^s1: no luck$"):
        hosts.runner.rehearse("crm", NEXT)
    hosts.serves(NAME, "former data")
    assert upgrade.seconds(hosts.state / upgrade.FILE, "crm", NEXT) is None


def test_o8_every_host_gets_the_release_beforehand(hosts: Hosts) -> None:
    """O8: Nobody waits for a build while the application is stopped."""
    assert hosts.runner.fetch("crm", NEXT) == [*EVERYWHERE]
    assert hosts.times("upgrade.fetch") == [*EVERYWHERE]


@pytest.mark.parametrize("call", ["fetch", "begin"])
def test_o8_every_host_has_the_master_s_python_before_one_builds(hosts: Hosts, call: str) -> None:
    """O8: One that builds the former way would build for all."""
    usual, seen = hosts.upgrade_fetch, list[set[str]]()

    def fetch(host: str) -> str:
        seen.append({*hosts.synchronised})
        return usual(host)

    hosts.upgrade_fetch = fetch  # type: ignore[method-assign]
    if call == "fetch":
        hosts.runner.fetch("crm", NEXT)
    else:
        hosts.runner.begin(application="crm", confirm="crm", __pub_user="root")
    assert seen and all(one == {*EVERYWHERE} for one in seen)
    assert hosts.given["state.apply"] == ["common.python"]
    assert hosts.times("state.apply") == [*EVERYWHERE]


@pytest.mark.parametrize("call", ["fetch", "begin"])
@pytest.mark.parametrize("host", EVERYWHERE)
def test_k5_a_host_without_the_master_s_python_builds_nothing(
    hosts: Hosts, call: str, host: str
) -> None:
    """O8, K5: The error is the host's, and nothing changes."""
    hosts.faults[host, "state.apply"] = RunnerError(f"{host}: no luck")
    with pytest.raises(RunnerError, match=f"^{host}: no luck$"):
        if call == "fetch":
            hosts.runner.fetch("crm", NEXT)
        else:
            hosts.runner.begin(application="crm", confirm="crm", __pub_user="root")
    assert hosts.times("upgrade.fetch") == hosts.times("upgrade.plan") == []
    assert hosts.change == {}
    hosts.serves(NAME, "former data")


# The requests


def test_o8_without_confirmation_an_upgrade_only_shows_its_plan(hosts: Hosts) -> None:
    """O8, K5: Other changes may go on."""
    with pytest.raises(RunnerError, match=f"^crm: from release {NAME} to release {NEXT}\n"):
        hosts.runner.begin(application="crm")
    assert hosts.change == {}


def test_o8_the_plan_has_the_commits_since_the_former_release(hosts: Hosts) -> None:
    """O8: They are asked for only if the code is another one."""
    asked = list[tuple[str, ...]]()

    def since(source: Source, store: Any, commit: str, former: str) -> tuple[list[str], str]:
        asked.append((source["repository"], commit, former))
        return ["xyz a field"], ""

    hosts.runner.since = since
    with pytest.raises(RunnerError) as caught:
        hosts.runner.begin(application="crm")
    assert not asked and "xyz" not in str(caught.value)
    hosts.commit = "a" * 40
    with pytest.raises(RunnerError) as caught:
        hosts.runner.begin(application="crm")
    assert str(caught.value).splitlines()[1] == "  xyz a field"
    repository = hosts.site.definitions["odoo-14.0"]["source"]["repository"]
    assert asked == [(repository, "a" * 40, NAME[:12])]


def further(hosts: Hosts, *names: str) -> None:
    """Let the definition have further repositories. The commit of each begins with its name."""
    found = hosts.site.definitions["odoo-14.0"]
    common = {"revision": "14.0", "key": None, "submodules": False, "addons": ["."]}
    common |= {"requirements": None}
    places = [
        {**common, "name": name, "repository": f"https://git.example/{name}"} for name in names
    ]
    changed = {**found, "odoo": {**found["odoo"], "repositories": places}}
    hosts.site.definitions = {**hosts.site.definitions, "odoo-14.0": changed}

    def commit(name: str, source: Source) -> str:
        own, _, place = name.partition("/")
        assert own == "odoo-14.0"
        assert not place or source["repository"].endswith(f"/{place}")
        return f"{place}{'0' * 40}"[:40] if place else hosts.commit

    hosts.site.revisions.commit = commit


@pytest.mark.parametrize("unknown", ["", "the commits are not known: no answer"])
@pytest.mark.parametrize("own", [NAME[:12] + "0" * 28, "a" * 40], ids=["same", "another"])
def test_o8_the_plan_has_the_commits_of_further_repositories(
    hosts: Hosts, own: str, unknown: str
) -> None:
    """O8: Those of the new release, also if the code of the application itself is the same. Which
    ones the former release had is not known.
    """
    asked = list[str]()

    def since(source: Source, *_: Any) -> tuple[list[str], str]:
        asked.append(source["repository"])
        return ["xyz a field"], unknown

    hosts.runner.since, hosts.commit = since, own
    further(hosts, "feed", "cafe")
    with pytest.raises(RunnerError) as caught:
        hosts.runner.begin(application="crm")
    lines = str(caught.value).splitlines()
    line = "further repositories: feed at feed00000000, cafe at cafe00000000"
    same = own.startswith(NAME[:12])
    told = [] if same else ["  xyz a field", *([unknown] if unknown else [])]
    assert lines[1 : 2 + len(told)] == [*told, line]
    repository = hosts.site.definitions["odoo-14.0"]["source"]["repository"]
    assert asked == ([] if same else [repository])


def test_o8_without_further_repositories_the_plan_has_no_line_about_them(hosts: Hosts) -> None:
    """O8: Most applications have none."""
    with pytest.raises(RunnerError) as caught:
        hosts.runner.begin(application="crm")
    assert "repositories" not in str(caught.value)


def test_o8_a_confirmed_upgrade_excludes_other_changes(hosts: Hosts) -> None:
    """O8: The name of the former database has the moment of the request."""
    change = hosts.runner.begin(application="crm", confirm="crm", __pub_user="root")
    assert hosts.change["what"] == change["what"] == f"upgrade: crm to release {NEXT}"
    given = {step.get("runner"): step.get("arguments") for step in change["steps"]}
    assert given["upgrade.change"]["kept"].startswith("crm_before_2")
    assert "backup.make" in given


def test_o8_an_upgrade_stops_nobody_if_the_former_release_goes_on(hosts: Hosts) -> None:
    """O8: The plan says so before it is confirmed, and no step stops the application."""
    hosts.plan |= ROLLS
    with pytest.raises(RunnerError, match="\nthen the database itself changes while the "):
        hosts.runner.begin(application="crm")
    change = hosts.runner.begin(application="crm", confirm="crm", __pub_user="root")
    given = {step.get("runner"): step.get("arguments") for step in change["steps"]}
    assert given["upgrade.migrate"] == {"application": "crm", "release": NEXT}
    assert "backup.make" in given and "upgrade.change" not in given


def test_k1_an_application_that_has_its_release_needs_no_upgrade(hosts: Hosts) -> None:
    """K1: There is nothing to confirm and nothing to do."""
    hosts.plan |= {"differing": [], "missing": [], "rolls": True}
    hosts.runs = dict.fromkeys(EVERYWHERE, NEXT)
    assert hosts.runner.begin() == {
        "what": f"crm and its database have release {NEXT}",
        "steps": [],
    }
    assert hosts.change == {}


@pytest.mark.parametrize(
    ("others", "words"), [(["s2"], "s2 runs another one"), (["s1", "s3"], "s1, s3 run another one")]
)
def test_k5_hosts_that_run_another_release_are_named(
    hosts: Hosts, others: list[str], words: str
) -> None:
    """O8, K5: The database fits a newer commit, but no host takes it by itself. The command that
    is named brings it.
    """
    hosts.plan |= {"differing": [], "missing": [], "rolls": True}
    hosts.runs = {host: NAME if host in others else NEXT for host in EVERYWHERE}
    found = hosts.runner.begin()
    first, command = found["what"].splitlines()
    assert first == f"the database of crm fits release {NEXT}, and {words}"
    assert command.startswith("next: ")
    asked = json.loads(command.partition("pillar=")[2].strip("'"))
    names = [step["name"] for step in hosts.runner.begin(**asked)["steps"]]
    assert (found["steps"], "every host follows" in names) == ([], True)


def test_o8_a_rehearsal_excludes_other_changes(hosts: Hosts) -> None:
    """O8: Two would make the same copy."""
    change = hosts.runner.rehearsal(application="crm")
    assert hosts.change["what"] == change["what"] == f"rehearsal: crm with release {NEXT}"


@pytest.mark.parametrize("request_", ["begin", "rehearsal", "rollback"])
def test_k5_a_revision_that_cannot_be_looked_up(hosts: Hosts, request_: str) -> None:
    """O8, K5: The error says so, and not that the hosts have no pillar. None is asked then."""
    hosts.unknown = "odoo-14.0: the repository does not answer"
    call = getattr(hosts.runner, request_)
    with pytest.raises(RunnerError) as caught:
        call(application="crm", confirm="crm")
    assert str(caught.value).splitlines() == [
        *("salina: 1 fault", f"  {hosts.unknown}", "next: salt-run fleet.resolve")
    ]
    assert (hosts.asked, hosts.change, hosts.restores) == ([], {}, [])


@pytest.mark.parametrize("request_", ["begin", "rehearsal"])
def test_o8_the_commit_of_the_application_is_looked_up_first(hosts: Hosts, request_: str) -> None:
    """O8: Its hosts have no pillar without it."""
    getattr(hosts.runner, request_)(application="crm", confirm="crm", __pub_user="root")
    assert hosts.looked_up == ["odoo-14.0"]


OTHERS = [
    {"name": "crm_noon", "about": "crm as of 2026-11-27 12:00:00 UTC"},
    {"name": "shop_before_20261129_120000", "about": f"shop before release {NEXT}, until …"},
]
TWO = [
    {"name": KEPT, "about": f"crm before release {NEXT}, until now"},
    {"name": "crm_before_20251130_120000", "about": f"crm before release {NAME}, until then"},
]


def test_o9_a_rollback_is_a_restore_of_what_the_last_upgrade_kept(hosts: Hosts) -> None:
    """O9: Without confirmation it only says what would be lost."""
    hosts.kept = [*OTHERS, *TWO]
    with pytest.raises(RunnerError) as caught:
        hosts.runner.rollback(application="crm")
    said = str(caught.value).splitlines()
    assert said[0].startswith(f"{KEPT} becomes the database of crm again (crm before release ")
    assert said[1].startswith("lost: ") and said[2].endswith(
        f"""orch.rollback pillar='{{"application": "crm", "kept": "{KEPT}", "confirm": "crm"}}'"""
    )
    assert hosts.restores == []
    change = hosts.runner.rollback(application="crm", confirm="crm")
    assert hosts.restores == [{"application": "crm", "kept": KEPT, "confirm": "crm"}]
    assert change["what"] == "restore"


def test_k2_a_repeated_rollback_is_not_a_second_one(hosts: Hosts) -> None:
    """K2, O9: The former release is that of the database now, and an earlier one was kept, too."""
    finish = {"application": "crm", "kept": KEPT, "confirm": "crm"}
    hosts.origins, hosts.recorded, hosts.kept = {"crm": KEPT}, NAME, [TWO[1]]
    hosts.runner.rollback(application="crm", confirm="crm")
    hosts.runner.rollback(application="crm", kept=KEPT, confirm="crm")
    assert hosts.restores == [finish, finish]
    with pytest.raises(RunnerError) as caught:
        hosts.runner.rollback(application="crm")
    earlier = str(TWO[1]["name"])
    assert f'"kept": "{earlier}"' in str(caught.value)
    hosts.runner.rollback(application="crm", kept=earlier, confirm="crm")
    assert hosts.restores[2:] == [{**finish, "kept": earlier}]


def test_o9_a_rollback_after_a_restore_from_the_backups_is_a_first_one(hosts: Hosts) -> None:
    """O9: The restored database belongs to the new release, and that of the former one is kept."""
    hosts.origins, hosts.kept = {"crm": "as of 2026-11-29 12:00:00.000000+00"}, [TWO[0]]
    hosts.runner.rollback(application="crm", confirm="crm")
    assert hosts.restores == [{"application": "crm", "kept": KEPT, "confirm": "crm"}]


def test_o9_a_restore_prepares_the_code_of_its_database(hosts: Hosts) -> None:
    """O9: A host that cannot have it is named before anything stops. The stopped ones follow."""
    had: list[str] = []
    names = {KEPT: NAME, "older": ""}
    hosts.database_copy_release = lambda host, name: names[name]  # type: ignore[attr-defined]
    hosts.upgrade_have = lambda host, name: had.append(host)  # type: ignore[attr-defined]
    assert hosts.runner.prepare("crm", "older") == "" and not had
    assert hosts.runner.prepare("crm", KEPT) == NAME and had == [*EVERYWHERE]
    hosts.faults["s2", "upgrade.have"] = RunnerError("s2: it is nowhere")
    with pytest.raises(RunnerError, match=r"^s2: it is nowhere$"):
        hosts.runner.prepare("crm", KEPT)
    assert hosts.times("application.stop") == []
    assert hosts.runner.switch("crm") == [*EVERYWHERE]
    assert hosts.times("upgrade.follow") == [*EVERYWHERE]


def test_k5_a_rollback_without_a_kept_database(hosts: Hosts) -> None:
    """O9, K5: That of another application, a restore, or an earlier upgrade does not count."""
    hosts.kept = [*OTHERS, TWO[1]]
    with pytest.raises(RunnerError, match=r"^crm: no database is kept from before "):
        hosts.runner.rollback(application="crm", confirm="crm")
    assert hosts.restores == []


# The copy of a drill


@pytest.fixture
def drilled(hosts: Hosts) -> Hosts:
    """The hosts of an application whose database was copied out of the backups.

    `of` in `given` is the release to which the copy belongs, by default the next one, which no host
    runs. The first host runs the former one.
    """
    hosts.databases[COPY] = "data of the backups"
    hosts.given["of"] = [NEXT]

    def neutralise(host: str) -> None:
        hosts.databases[COPY] += ", neutral"

    def released(host: str, name: str) -> str:
        assert (host, name) == ("bbdd2", COPY)
        return str(hosts.given["of"][0])

    hosts.database_copy_release = released  # type: ignore[attr-defined]
    hosts.upgrade_have = lambda host, name: None  # type: ignore[attr-defined]
    hosts.upgrade_neutralise = neutralise  # type: ignore[attr-defined]
    return hosts


def as_before(hosts: Hosts) -> None:
    """Check that users noticed nothing, and that the copy is left to the caller."""
    assert hosts.databases.pop(COPY).startswith("data of the backups")
    hosts.serves(NAME, "former data")
    assert hosts.times("application.stop") == hosts.times("upgrade.run") == []


def test_o9_a_restored_database_is_tried_with_its_own_release(drilled: Hosts) -> None:
    """O9, X10: The application may have another release by now. The copy is neutral before that."""
    assert drilled.runner.serves("crm") == ["/web/health", "/web/login"]
    assert drilled.asked == [
        ("bbdd2", "database_copy.release"),
        ("s1", "upgrade.have"),
        ("s1", "upgrade.neutralise"),
        ("s1", "upgrade.check"),
    ]
    assert drilled.given["upgrade.have"] == drilled.given["upgrade.check"] == [NEXT]
    assert drilled.tried == [NEXT]
    assert drilled.databases[COPY] == "data of the backups, neutral"
    as_before(drilled)


def test_o9_a_restored_database_that_names_no_release_is_tried_with_the_running_one(
    drilled: Hosts,
) -> None:
    """O9: It is older than the records of releases, so the first host is asked for its own."""
    drilled.given["of"] = [""]
    assert drilled.runner.serves("crm") == ["/web/health", "/web/login"]
    assert ("s1", "release.active") in drilled.asked
    assert drilled.given["upgrade.have"] == [NAME] and drilled.tried == [NAME]
    as_before(drilled)


def test_k5_a_checkout_cannot_be_tried_beside_the_service(drilled: Hosts) -> None:
    """O9, K5: The error says why, and no process starts."""
    drilled.given["of"] = [""]
    drilled.runs = dict.fromkeys(EVERYWHERE, "")
    with pytest.raises(RunnerError) as caught:
        drilled.runner.serves("crm")
    assert str(caught.value) == "s1 runs a checkout from before there were releases"
    assert drilled.asked == [("bbdd2", "database_copy.release"), ("s1", "release.active")]


def test_o9_the_hosts_learn_of_the_copy_first(drilled: Hosts) -> None:
    """O9: The app hosts and the database hosts read their pillars again, as before an upgrade."""
    drilled.runner.serves("crm")
    assert drilled.refreshed == {*EVERYWHERE, "bbdd1", "bbdd2"}


@pytest.mark.parametrize(
    ("step", "next_"),
    [
        ("database_copy.release", "upgrade.have"),
        ("upgrade.have", "upgrade.neutralise"),
        ("upgrade.neutralise", "upgrade.check"),
        ("upgrade.check", None),
    ],
)
def test_k5_a_restored_database_that_cannot_be_tried(
    drilled: Hosts, step: str, next_: str | None
) -> None:
    """O9, X10, K5: The error is that of the host. A copy that is not neutral never starts."""
    drilled.faults[step] = RunnerError("s1: no luck")
    with pytest.raises(RunnerError, match=r"^s1: no luck$"):
        drilled.runner.serves("crm")
    assert drilled.asked[-1][1] == step
    assert next_ is None or drilled.times(next_) == []
    as_before(drilled)


def test_k5_an_app_host_that_does_not_answer_is_told(drilled: Hosts) -> None:
    """O9, K5: Nothing starts then."""
    drilled.silent.add("s1")
    with pytest.raises(RunnerError, match=r"^s1: no answer\n"):
        drilled.runner.serves("crm")
    assert drilled.asked == []
    as_before(drilled)


@pytest.mark.parametrize("call", ["fetch", "begin"])
def test_o8_a_host_that_applies_its_states_is_waited_for(hosts: Hosts, call: str) -> None:
    """O8: Also one whose states begin just then. After a bound the error says who holds it."""

    def called() -> None:
        if call == "fetch":
            hosts.runner.fetch("crm", NEXT)
        else:
            hosts.runner.begin(application="crm", confirm="crm")

    begun = 'The function "state.apply" is running as PID 4711 and was started at 12:00'
    hosts.faults["s2", "state.apply"] = RunnerError(f"state.apply failed on s2: {begun}")
    called()
    assert {"s1", "s2", "s3"} <= hosts.synchronised
    hosts.synchronised.clear()
    hosts.applying = [{"s2": "state.apply by root as job 20261130120000123456"}]
    with pytest.raises(RunnerError, match=r"on s2 \(state.apply by root as job 2026.* after 900 s"):
        called()
    assert not hosts.synchronised

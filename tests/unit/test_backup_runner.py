"""The runner `backup`: which hosts it asks, what it refuses, and when it excludes other changes."""

from __future__ import annotations

import base64
import gzip
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from salina.backup import drill
from salina.common.orchestration import Failure
from salina_fleet import backup, master_state, minions, runner
from salina_fleet.change import exclusive
from salina_fleet.errors import RunnerError
from salina_fleet.fleet import Fleet
from salina_fleet.model import files_backup, topology
from salina_fleet.model.backup import BackupSettings
from tests import fleets
from tests.loading import load, never

NOW = datetime(2026, 11, 29, 5, 10, tzinfo=UTC)
MIB = 2**20
BACKUP = {
    "label": "20261128-030000F",
    "kind": "full",
    "end": int((NOW - timedelta(days=1)).timestamp()),
    "size": 350 * MIB,
    "stored": 40 * MIB,
    "faulty": False,
}
WAL = "000000040000000000000058"
COPY = "2026-11-29 05:00:00 UTC"
INFO = {"code": 0, "message": "ok", "backups": [BACKUP], "wal": WAL}
NEEDED = 350 + 2 * (100 + 50) + 2048
"""The MiB that a copy needs: 50 MiB were deleted since the backup, perhaps from its database."""
OLD = {"name": "crm_noon", "size": 3 * MIB, "about": "crm as of 2026-11-27 12:00:00 UTC"}
SHORTAGE = f"the copy needs {NEEDED} MiB on the database's disk, and {NEEDED - 1} are free"
NOBODY = "none of bbdd1, bbdd2 names a primary\nnext: salt-run fleet.health"


def fresh(host: str, *asked: Any) -> list[tuple[Any, ...]]:
    """A question to a host that reads its pillar first, because an apply leaves it as it is."""
    return [(host, "saltutil.refresh_pillar", True), (host, *asked)]


class Hosts:
    """The database hosts and the backup host, as their modules answer.

    `said` has the answer of each function, or a function that gets the host and the arguments and
    returns it; `leaders` has that of `patroni.leader` on each host. A host that is `silent` gives
    none, one that is `broken` fails to name a leader, and one that is `ill` fails at everything
    else with these words. `asked` has the functions that were called on each host, but for
    `patroni.leader`. `now` is the moment in seconds since the epoch, and `age` the seconds since
    the newest copy of files, or None. `served` has the applications whose copies were asked for
    their pages, and `unserved` the reason for which the copy of an application has none.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, state: Path, name: str | Fleet) -> None:
        self.leaders: dict[str, Any] = {"bbdd1": "bbdd2", "bbdd2": "bbdd2"}
        self.silent: set[str] = set()
        self.broken: set[str] = set()
        self.failed: dict[str, str] = {}
        self.ill: dict[str, str] = {}
        self.said: dict[str, Any] = {
            "database_copy.kept": [OLD],
            "database_copy.origins": {},
            "database_copy.names": ["postgres", "crm", "crm_noon", "reports"],
            "database_copy.sizes": {"size": 100 * MIB, "cluster": 300 * MIB, "free": 6 * 2**30},
            "database_copy.free": 5 * 2**30,
            "pgbackrest.info": INFO,
            "drill.last": {},
            "drill.unfinished": {},
            "files_backup.bring_back": {"back": 2, "copied": 1, "copy": COPY},
            "files_repository.state": lambda _: self.state(),
            "service.status": False,
        }
        self.asked: list[tuple[Any, ...]] = []
        self.change_file = state / "lock"
        fleet = fleets.fleet(name) if isinstance(name, str) else name
        self.site = SimpleNamespace(
            fleet=fleet,
            state=state,
            change_file=self.change_file,
            definitions=fleets.definitions(fleet.topology),
        )
        self.served: list[str] = []
        self.unserved: dict[str, str] = {}
        monkeypatch.setattr(runner, "site", lambda _: self.site)
        monkeypatch.setattr(minions, "answers", self.answers)
        salt = {"upgrade.serves": self.serves}
        self.runner = load("_runners/backup.py", opts={}, salt=salt)
        clock = SimpleNamespace(now=lambda zone: NOW.astimezone(zone))
        monkeypatch.setattr(self.runner, "datetime", clock)
        self.now = NOW.timestamp()
        self.age: float | None = 660
        monkeypatch.setattr(self.runner, "time", SimpleNamespace(time=lambda: self.now))

    def serves(self, application: str) -> list[str]:
        """Stand for the runner `upgrade`, which asks the copy of an application for its pages."""
        self.served.append(application)
        if application in self.unserved:
            raise RunnerError(self.unserved[application])
        return ["/web/health", "/web/login"]

    def set(self, **backup: Any) -> None:
        """Change the settings of the backups."""
        settings = self.site.fleet.settings
        changed = settings.but(replace(settings[BackupSettings], **backup))
        self.site.fleet = replace(self.site.fleet, settings=changed)

    def state(self) -> dict[str, Any]:
        """Return the state of the copies of files: there are nine, or none."""
        if self.age is None:
            return {"crm": {"copies": 0, "newest": None, "size": 0}}
        return {"crm": {"copies": 9, "newest": self.now - self.age, "size": 3 * MIB}}

    def answers(
        self, _: Any, hosts: Sequence[str], function: str, arguments: Sequence[Any], *__: int
    ) -> dict[str, dict[str, Any]]:
        return {
            host: self.answer(host, function, *arguments)
            for host in hosts
            if host not in self.silent
        }

    def answer(self, host: str, function: str, *arguments: Any) -> dict[str, Any]:
        if function == "patroni.leader":
            return {"ret": self.leaders[host], "retcode": int(host in self.broken)}
        self.asked.append((host, function, *arguments))
        if function in self.failed or host in self.ill:
            return {"ret": self.failed.get(function) or self.ill[host], "retcode": 1}
        said = self.said.get(function, arguments[0] if arguments else None)
        return {"ret": said(host, *arguments) if callable(said) else said, "retcode": 0}

    @property
    def change(self) -> Mapping[str, object]:
        """The change that excludes others now, or {}."""
        return exclusive.holder(self.change_file)


@pytest.fixture
def hosts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Hosts:
    return Hosts(monkeypatch, tmp_path, "default")


@pytest.fixture
def unsaved(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Hosts:
    """A fleet without a backup host."""
    return Hosts(monkeypatch, tmp_path, "ipv6")


def crowd() -> Fleet:
    """Return a fleet with a backup host, crm, a copy of it for trials, and shop, in that order."""
    data, other = fleets.data("staging"), fleets.data("two-applications")
    data["applications"]["shop"] = other["applications"]["shop"]
    data["pools"]["shop"] = other["pools"]["shop"]
    found = topology.parse(data)
    return Fleet(found, found.initial(), fleets.settings())


@pytest.fixture
def several(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Hosts:
    """The fleet of several applications, of which each has a database of its own size."""
    hosts = Hosts(monkeypatch, tmp_path, crowd())
    sizes = {"crm": 100, "crm_staging": 1000, "shop": 30}
    free = 6 * 2**30
    hosts.said["database_copy.sizes"] = lambda _, application: {
        **{"size": sizes[application] * MIB, "cluster": 300 * MIB, "free": free}
    }
    return hosts


def refused(hosts: Hosts, **request: Any) -> str:
    """Return why a restore is refused; then it has not excluded other changes."""
    with pytest.raises(RunnerError) as caught:
        hosts.runner.restore(**request)
    assert hosts.change == {}
    return str(caught.value)


# A restore


def test_without_confirmation_a_restore_only_shows_its_plan(hosts: Hosts) -> None:
    """O9: The plan has the true backup, primary and app hosts, and other changes may go on."""
    assert refused(hosts, application="crm").splitlines() == [
        f"the database of crm as of now, from backup {BACKUP['label']} and the WAL after it",
        "on bbdd2 2.6 GiB are needed, and 5.0 GiB are free",
        "crm stops on s1, s2, s3 while the databases change places",
        "what users have changed after that moment is then in the kept database only",
        "kept: the current database, as crm_before_… with the moment, until "
        "`salt-run backup.discard`",
        "files that are gone come back; none is removed or replaced",
        "next: salt-run state.orchestrate orch.restore "
        """pillar='{"application": "crm", "confirm": "crm"}'""",
    ]
    assert hosts.asked == [
        ("bbdd2", "database_copy.kept"),
        ("bbdd2", "database_copy.names"),
        ("bbdd2", "database_copy.origins"),
        ("bkp1", "pgbackrest.info"),
        ("bbdd2", "database_copy.sizes", "crm"),
        ("bbdd1", "database_copy.free"),
    ]


def test_a_confirmed_restore_excludes_other_changes(hosts: Hosts) -> None:
    """O9: The steps have the application's hosts, and the names have the moment of the request."""
    change = hosts.runner.restore(application="crm", confirm="crm", __pub_user="root")
    steps = {step["runner"]: step["arguments"] for step in change["steps"] if "runner" in step}
    assert [*steps] == [
        *("backup.copy", "backup.bring_files", "fleet.ready", "upgrade.prepare", "backup.stop"),
        *("backup.exchange", "upgrade.switch", "fleet.probe", "backup.complete"),
    ]
    about = "crm as of 2026-11-29 05:10:00 UTC"
    assert steps["backup.copy"] == {"application": "crm", "until": "", "about": about}
    assert steps["backup.stop"] == {"hosts": ["s1", "s2", "s3"]}
    assert steps["backup.exchange"]["kept"] == "crm_before_20261129_051000"
    assert hosts.change["what"] == change["what"] == "restore: crm gets the state of now"


def test_a_restore_is_refused_while_another_change_runs(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """O9, K5: The message names the change that is running, and the command that shows it."""

    def busy(path: Path, what: str) -> None:
        assert (path, what) == (hosts.change_file, "restore: crm gets the state of now")
        raise exclusive.BusyError("another change is running: app to 5 members")

    monkeypatch.setattr(exclusive, "take", busy)
    assert refused(hosts, application="crm", confirm="crm") == (
        "another change is running: app to 5 members\nnext: salt-run fleet.status"
    )


@pytest.mark.parametrize(
    ("primary", "replica", "fits"),
    [
        (NEEDED, NEEDED, True),
        (NEEDED - 1, 10**6, False),
        (10**6, NEEDED - 1, False),
    ],
)
@pytest.mark.parametrize("confirm", [{}, {"confirm": "crm"}])
@pytest.mark.parametrize("name", [{}, {"name": "crm_copy"}])
def test_a_copy_that_does_not_fit_is_refused(
    hosts: Hosts,
    name: dict[str, str],
    confirm: dict[str, str],
    primary: int,
    replica: int,
    fits: bool,
) -> None:
    """O9: The fullest disk is judged before the plan, and before other changes are excluded."""
    hosts.said["database_copy.sizes"]["free"] = primary * MIB
    hosts.said["database_copy.free"] = replica * MIB
    if not fits:
        assert refused(hosts, application="crm", **name, **confirm) == SHORTAGE
    elif confirm:
        hosts.runner.restore(application="crm", **name, **confirm)
        assert hosts.change["what"]
    else:
        assert "\nnext: " in refused(hosts, application="crm", **name)


def test_the_size_of_the_backup_that_a_restore_begins_with_counts(hosts: Hosts) -> None:
    """O9: An earlier backup may be larger than the newest one."""
    newest = BACKUP | {"label": "20261129-030000F", "end": BACKUP["end"] + 80_000, "size": 0}
    hosts.said["pgbackrest.info"] = INFO | {"backups": [BACKUP, newest]}
    now = refused(hosts, application="crm").splitlines()
    assert now[0].endswith("from backup 20261129-030000F and the WAL after it")
    assert now[1].startswith("on bbdd2 2.5 GiB are needed")  # 2548 MiB
    hosts.said["database_copy.free"] = 2600 * MIB
    earlier = {"application": "crm", "time": "2026-11-28 06:00:00"}
    assert refused(hosts, **earlier) == SHORTAGE.replace(f"{NEEDED - 1} are", "2600 are")


def test_a_replica_that_does_not_answer_stops_a_restore(hosts: Hosts) -> None:
    """O9, K5: Without its answer nobody knows whether the copy fits there."""
    hosts.silent.add("bbdd1")
    assert refused(hosts, application="crm", confirm="crm") == (
        "bbdd1: no answer\nnext: salt-run fleet.health"
    )


def test_a_kept_database_needs_neither_space_nor_a_backup(hosts: Hosts) -> None:
    """O9: The database is there already, so a full disk and a dead backup host do not matter."""
    hosts.said["database_copy.sizes"]["free"] = hosts.said["database_copy.free"] = 0
    hosts.silent.add("bkp1")
    assert refused(hosts, application="crm", kept="crm_noon").startswith(
        "crm_noon becomes the database of crm again\n"
    )
    hosts.runner.restore(application="crm", kept="crm_noon", confirm="crm")
    assert hosts.change["what"] == "restore: crm gets crm_noon"


def test_k2_a_restore_that_only_finishes_needs_no_backup(hosts: Hosts) -> None:
    """K2, O9: The database is in its place. The last step forgets the request."""
    hosts.said["database_copy.origins"] = {"crm": "as of latest"}
    hosts.silent.add("bkp1")
    change = hosts.runner.restore(application="crm", confirm="crm")
    assert hosts.change["what"] == change["what"] == "restore: crm got the state of now already"
    assert hosts.runner.complete(**change["steps"][-1]["arguments"]) == ["crm"]
    assert hosts.asked[-1] == ("bbdd2", "database_copy.complete", "crm")


@pytest.fixture
def stopping(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> Hosts:
    """The hosts, whose app hosts are asked together."""

    def ask(_: Any, where: Sequence[str], function: str, given: Sequence[Any] = ()) -> None:
        for host in where:
            if hosts.answer(host, function, *given)["retcode"]:
                raise RunnerError(f"{function} failed on {host}: {hosts.ill.get(host)}")

    monkeypatch.setattr(minions, "ask", ask)
    return hosts


APPS = ("s1", "s2", "s3")


def test_k2_a_database_takes_its_place_with_the_request(stopping: Hosts) -> None:
    """K2, O9: The primary records both at once. The hosts begin to count again before that, so
    none starts its application by itself meanwhile, and then all are found stopped.
    """
    stopping.runner.exchange("crm", "crm_noon", "crm_before", "crm_noon")
    about = "crm until 2026-11-29 05:10:00 UTC"
    given = ("crm", "crm_noon", "crm_before", about, "crm_noon")
    assert stopping.asked == [
        *((host, "application.later", stopping.runner.STOPPED) for host in APPS),
        *((host, "application.stopped") for host in APPS),
        ("bbdd2", "database_copy.exchange", *given),
    ]


def test_o9_the_databases_keep_their_places_if_an_application_runs(stopping: Hosts) -> None:
    """O9, K5: An apply may have started it since, or systemd when the files took too long."""
    stopping.failed["application.stopped"] = stopping.ill["s1"] = "odoo runs"
    with pytest.raises(RunnerError) as caught:
        stopping.runner.exchange("crm", "crm_noon", "crm_before", "crm_noon")
    assert str(caught.value).splitlines()[1].startswith("nothing was changed: ")
    assert "database_copy.exchange" not in [function for _, function, *_ in stopping.asked]


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"name": "reports"}, 'name: "reports" is the name of a database already'),
        ({"kept": "reports"}, 'kept: "reports" is not a database that a restore'),
        ({"confirm": "shop"}, 'confirm: "shop" is not valid; must be crm'),
        ({"time": "2026-11-27 12:00:00"}, "time: 2026-11-27 12:00:00 UTC is before the end of"),
    ],
)
def test_a_request_is_judged_by_what_the_hosts_have(
    hosts: Hosts, request_: dict[str, str], words: str
) -> None:
    """O9: The databases are those of the primary, and the backups those of the backup host."""
    assert refused(hosts, **{"application": "crm", "confirm": "crm", **request_}).startswith(words)


def test_without_backups_nothing_is_restored(hosts: Hosts) -> None:
    """O9: A new fleet has none, and a confirmed request does not stop its application."""
    hosts.said["pgbackrest.info"] = INFO | {"backups": []}
    assert refused(hosts, application="crm", confirm="crm").startswith("there is no backup\n")


def test_a_fleet_without_a_backup_host_restores_nothing(unsaved: Hosts) -> None:
    """O9, K5: The message says which role is missing, and no host is asked."""
    words = "no host has the role backup, so nothing is backed up"
    assert refused(unsaved, application="crm", confirm="crm").startswith(words)
    assert unsaved.asked == []


def test_o9_a_copy_begins_with_a_backup_and_needs_room(hosts: Hosts) -> None:
    """O1, O9: Another runner asks before it excludes other changes. The fullest disk counts."""
    found = hosts.runner.source("crm")
    assert (found["label"], found["primary"]) == (BACKUP["label"], "bbdd2")
    assert (found["needed"], found["free"]) == (NEEDED * MIB, 5 * 2**30)
    newest = BACKUP | {"label": "20261129-030000F", "end": BACKUP["end"] + 80_000}
    hosts.said["pgbackrest.info"] = INFO | {"backups": [BACKUP, newest]}
    assert hosts.runner.source("crm")["label"] == newest["label"]
    assert hosts.runner.source("crm", "2026-11-28T06:00:00+00:00")["label"] == BACKUP["label"]
    hosts.said["database_copy.free"] = (NEEDED - 1) * MIB
    with pytest.raises(RunnerError) as caught:
        hosts.runner.source("crm")
    assert str(caught.value) == SHORTAGE
    assert hosts.change == {}


# A restore of all applications

BOTH = 350 + 2 * (100 + 30 + 50) + 2048
"""The MiB that copies of crm and shop need: the 50 that were deleted may be of either of them."""


def test_o9_a_restore_of_all_leaves_copies_for_trials_out(several: Hosts) -> None:
    """O9, O1: The plan has the others in the order of the topology, each with its own hosts."""
    lines = refused(several, application="all").splitlines()
    newest = f"from backup {BACKUP['label']} and the WAL after it"
    assert lines[0] == f"the databases of crm, shop as of now, {newest}"
    assert [line for line in lines if " stops on " in line] == [
        "crm stops on s1, s2, s3 while the databases change places",
        "shop stops on w1, w2, w3 while the databases change places",
    ]
    assert lines[-1].endswith(""" pillar='{"application": "all", "confirm": "all"}'""")
    assert "crm_staging" not in "\n".join(lines)
    assert several.asked == [
        ("bbdd2", "database_copy.kept"),
        ("bbdd2", "database_copy.names"),
        ("bbdd2", "database_copy.origins"),
        ("bkp1", "pgbackrest.info"),
        ("bbdd2", "database_copy.sizes", "crm"),
        ("bbdd2", "database_copy.sizes", "shop"),
        ("bbdd1", "database_copy.free"),
    ]


@pytest.mark.parametrize("name", [{}, {"name": "copy"}])
@pytest.mark.parametrize("confirm", [{}, {"confirm": "all"}])
def test_o9_several_copies_need_the_room_of_all(
    several: Hosts, name: dict[str, str], confirm: dict[str, str]
) -> None:
    """O9: They stay beside each other, but one scratch cluster at a time is enough."""
    several.said["database_copy.free"] = (BOTH - 1) * MIB
    words = f"the copy needs {BOTH} MiB on the database's disk, and {BOTH - 1} are free"
    assert refused(several, application="all", **name, **confirm) == words
    several.said["database_copy.free"] = BOTH * MIB
    if confirm:
        several.runner.restore(application="all", **name, **confirm)
        assert several.change["what"]
    else:
        found = refused(several, application="all", **name).splitlines()[1]
        assert found == "on bbdd2 2.7 GiB are needed, and 2.7 GiB are free"


def test_o9_the_room_of_one_application_of_several_is_its_own(several: Hosts) -> None:
    """O9: The others are not copied, so their size does not count."""
    several.said["database_copy.free"] = NEEDED * MIB
    assert several.runner.source("crm")["needed"] == NEEDED * MIB
    assert "\nnext: " in refused(several, application="crm")
    assert several.asked[-2:] == [
        ("bbdd2", "database_copy.sizes", "crm"),
        ("bbdd1", "database_copy.free"),
    ]


def test_o9_a_confirmed_restore_of_all_excludes_other_changes(several: Hosts) -> None:
    """O9: Every application has the steps of a restore, and every kept database its own name."""
    change = several.runner.restore(application="all", confirm="all", __pub_user="root")
    assert several.change["what"] == change["what"] == "restore: crm, shop get the state of now"
    names = [step["name"] for step in change["steps"]]
    assert len(set(names)) == len(names)
    given = [one["arguments"] for one in change["steps"] if one.get("runner") == "backup.exchange"]
    moment = "20261129_051000"
    assert given == [
        {
            **{"application": one, "source": "salina_restored", "origin": "as of latest"},
            "kept": f"{one}_before_{moment}",
        }
        for one in ("crm", "shop")
    ]
    stopped = [one["arguments"] for one in change["steps"] if one.get("runner") == "backup.stop"]
    assert stopped == [{"hosts": ["s1", "s2", "s3"]}, {"hosts": ["w1", "w2", "w3"]}]


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"confirm": "crm"}, 'confirm: "crm" is not valid; must be all'),
        ({"name": "noon"}, 'name: "crm_noon" is the name of a database already'),
        ({"name": "staging"}, 'name: "crm_staging" is the name of a database already'),
        ({"kept": "crm_noon"}, "kept: does not go together with all"),
        ({"time": "2026-11-27 12:00:00"}, "time: 2026-11-27 12:00:00 UTC is before the end of"),
    ],
)
def test_o9_a_request_for_all_is_judged_as_one_for_each(
    several: Hosts, request_: dict[str, str], words: str
) -> None:
    """O9, K5: A fault of one application refuses the restore of all of them."""
    assert refused(several, **{"application": "all", "confirm": "all", **request_}).startswith(
        words
    )


def test_o9_a_copy_for_trials_is_restored_alone(several: Hosts) -> None:
    """O9: An operator who names it gets it."""
    change = several.runner.restore(application="crm_staging", confirm="crm_staging")
    assert change["what"] == "restore: crm_staging gets the state of now"


# A copy beside the running database

COPIED = [
    ("bbdd2", "database_copy.make", "crm", "noon", "crm as of noon", "crm_staging"),
    ("bbdd2", "database_branch.remove", "crm_staging"),
    ("bbdd2", "database_copy.rename", "salina_next_crm_staging", "crm_staging"),
]


def test_o9_a_copy_from_the_backups_takes_the_place_of_an_earlier_one(hosts: Hosts) -> None:
    """O1, O9, K2: The earlier one goes when the new one is complete."""
    found = hosts.runner.branch("crm_staging", "crm", "noon", "crm as of noon")
    assert found == "salina_next_crm_staging"
    assert hosts.asked == COPIED


@pytest.mark.parametrize("number", range(3))
def test_k5_a_copy_beside_the_database_that_fails(hosts: Hosts, number: int) -> None:
    """O1, O9, K5: The error is that of the primary, and no further step runs."""
    hosts.failed[COPIED[number][1]] = "the disk is full"
    with pytest.raises(RunnerError, match=r"^bbdd2: the disk is full$"):
        hosts.runner.branch("crm_staging", "crm", "noon", "crm as of noon")
    assert hosts.asked == COPIED[: number + 1]


# The primary


@pytest.mark.parametrize(
    ("leaders", "silent", "broken"),
    [
        ({"bbdd1": None, "bbdd2": None}, set(), set()),
        ({"bbdd1": "", "bbdd2": "nas1"}, set(), set()),
        ({"bbdd1": None, "bbdd2": "bbdd2"}, {"bbdd2"}, set()),
        ({"bbdd1": None, "bbdd2": "bbdd2"}, set(), {"bbdd2"}),
        ({"bbdd1": "bbdd1", "bbdd2": "bbdd1"}, {"bbdd1", "bbdd2"}, set()),
    ],
)
def test_without_a_primary_nothing_is_asked(
    hosts: Hosts, leaders: dict[str, Any], silent: set[str], broken: set[str]
) -> None:
    """O9, K5: A failed answer names no primary, nor does one with the id of another host."""
    hosts.leaders, hosts.silent, hosts.broken = leaders, silent, broken
    assert refused(hosts, application="crm", confirm="crm") == NOBODY
    for call in (hosts.runner.kept, hosts.runner.drill, lambda: hosts.runner.rename("crm_copy")):
        with pytest.raises(RunnerError) as caught:
            call()
        assert str(caught.value) == NOBODY
    assert hosts.asked == []


@pytest.mark.parametrize(
    ("leaders", "broken"),
    [
        ({"bbdd1": "bbdd1", "bbdd2": None}, set()),
        ({"bbdd1": None, "bbdd2": "bbdd1"}, set()),
        ({"bbdd1": "bbdd1", "bbdd2": "bbdd2"}, {"bbdd2"}),
    ],
)
def test_one_database_host_that_names_the_primary_is_enough(
    hosts: Hosts, leaders: dict[str, Any], broken: set[str]
) -> None:
    """O9: The other one may be down, or may not know it yet."""
    hosts.leaders, hosts.broken = leaders, broken
    assert hosts.runner.rename("crm_copy") == "crm_copy"
    assert hosts.asked == [("bbdd1", "database_copy.rename", "crm_copy")]


def test_a_primary_that_does_not_answer_is_told(hosts: Hosts) -> None:
    """K5: The replica may still name a primary that has just died."""
    hosts.silent.add("bbdd2")
    with pytest.raises(RunnerError) as caught:
        hosts.runner.kept()
    assert str(caught.value) == "bbdd2: no answer\nnext: salt-run fleet.health"


# Databases that a restore has made or kept


def test_an_operator_reads_the_kept_databases(hosts: Hosts) -> None:
    """O9: Each has its size in words."""
    assert hosts.runner.kept() == [{**OLD, "size": "3.0 MiB"}]


@pytest.mark.parametrize("confirm", [{}, {"confirm": ""}, {"confirm": "crm"}])
def test_without_confirmation_nothing_is_discarded(hosts: Hosts, confirm: dict[str, str]) -> None:
    """O9: There is no way back, so the name is given twice."""
    with pytest.raises(RunnerError) as caught:
        hosts.runner.discard("crm_noon", **confirm)
    assert str(caught.value) == (
        "crm_noon would be deleted\nnext: salt-run backup.discard crm_noon confirm=crm_noon"
    )
    assert hosts.asked == []


def test_a_confirmed_database_is_discarded(hosts: Hosts) -> None:
    """O9: The primary deletes it, and refuses one that no restore has made or kept."""
    assert hosts.runner.discard("crm_noon", confirm="crm_noon") == "crm_noon is deleted"
    assert hosts.asked == [("bbdd2", "database_copy.discard", "crm_noon")]
    hosts.failed["database_copy.discard"] = "old: no restore has made or kept this database"
    with pytest.raises(RunnerError) as caught:
        hosts.runner.discard("old", confirm="old")
    assert str(caught.value) == "bbdd2: old: no restore has made or kept this database"


@pytest.mark.parametrize("confirm", [{}, {"confirm": "crm"}])
def test_the_database_of_an_application_is_never_discarded(
    hosts: Hosts, confirm: dict[str, str]
) -> None:
    """O9: It may still have the comment of the copy that it was, so the name decides."""
    with pytest.raises(RunnerError) as caught:
        hosts.runner.discard("crm", **confirm)
    assert str(caught.value) == "crm: is the database of an application"
    assert hosts.asked == []


# Users' files


def test_a_backup_is_of_database_and_files(hosts: Hosts) -> None:
    """O9: The copy of the files is the later one, so it has all that the database names."""
    hosts.said["pgbackrest.back_up"] = BACKUP["label"]
    assert hosts.runner.make("full") == BACKUP["label"]
    assert hosts.asked == [
        ("bkp1", "pgbackrest.back_up", "full"),
        *fresh("nas1", "files_backup.copy", "crm"),
    ]


@pytest.mark.parametrize(
    ("silent", "ill", "copied", "asked"),
    [
        (set(), {}, "nas1", ["nas1"]),
        ({"nas1"}, {}, "nas2", ["nas2"]),
        (set(), {"nas1": "the brick of nas1 is not complete"}, "nas2", ["nas1", "nas2"]),
        ({"nas1"}, {"nas2": "the brick of nas2 is not complete"}, "nas3", ["nas2", "nas3"]),
    ],
)
def test_any_host_with_the_files_copies_them(
    hosts: Hosts, silent: set[str], ill: dict[str, str], copied: str, asked: list[str]
) -> None:
    """O9: One that is down or was away is passed over, and only one host copies."""
    hosts.silent, hosts.ill = silent, ill
    assert hosts.runner.copy_files() == [copied]
    assert hosts.asked == [one for host in asked for one in fresh(host, "files_backup.copy", "crm")]


def test_a_copy_that_no_host_makes_is_an_error(hosts: Hosts) -> None:
    """O9, K5: The message has the reason of each host, and a drill goes no further."""
    hosts.silent = {"nas1", "nas3"}
    hosts.ill = {"nas2": "crm: the brick of nas2 is not complete"}
    lines = ["nas1: no answer", "nas2: crm: the brick", "nas3: no answer"]
    for function in (hosts.runner.copy_files, hosts.runner.make, hosts.runner.drill):
        with pytest.raises(RunnerError) as caught:
            function()
        found = [line for line in str(caught.value).splitlines() if "next: " not in line]
        assert [line[: len(part)] for line, part in zip(found, lines, strict=True)] == lines
    assert "drill.run" not in [one[1] for one in hosts.asked]


@pytest.mark.parametrize("until", ["", "2026-11-29T05:00:00+00:00"])
@pytest.mark.parametrize("copies", [True, False])
def test_files_come_back_through_one_host(hosts: Hosts, until: str, copies: bool) -> None:
    """O9: The first host that can do it mounts the volume, and the sentence names it."""
    hosts.silent.add("nas1")
    assert hosts.runner.bring_files("crm", until, copies) == (
        f"nas2: 2 removed files came back, 1 came from the copy of {COPY}"
    )
    assert hosts.asked == fresh("nas2", "files_backup.bring_back", "crm", until, copies, "")


@pytest.mark.parametrize(
    ("until", "moment"),
    [
        ("2026-11-29 05:00:00", "2026-11-29T05:00:00+00:00"),
        ("2026-11-29T05:00", "2026-11-29T05:00:00+00:00"),
        ("2026-11-29 05:00:00 UTC", "2026-11-29T05:00:00+00:00"),
        ("2026-11-29 05:00:00.000000+00", "2026-11-29T05:00:00+00:00"),
        ("2026-11-29T06:00:00.25+01:00", "2026-11-29T05:00:00.250000+00:00"),
        (20261129, "2026-11-29T00:00:00+00:00"),  # as Salt reads it
        ("latest", ""),
    ],
)
def test_the_moment_of_files_is_in_utc_unless_it_has_an_offset(
    hosts: Hosts, until: Any, moment: str
) -> None:
    """O9: The host with the files gets the offset, whatever its own zone is."""
    hosts.runner.bring_files("crm", until)
    assert hosts.asked == fresh("nas1", "files_backup.bring_back", "crm", moment, True, "")


@pytest.mark.parametrize("until", ["yesterday", "12:00", "2026-13-01", "0001-01-01", 5])
def test_files_of_a_moment_that_is_not_valid_do_not_come_back(hosts: Hosts, until: Any) -> None:
    """O9, K5: The message names the argument and has an example, and no host is asked."""
    with pytest.raises(RunnerError) as caught:
        hosts.runner.bring_files("crm", until)
    assert str(caught.value) == (
        f'until: "{until}" is not valid; must be latest, or a moment such as '
        "2026-11-29 12:00:00 (UTC) or 2026-11-29T12:00:00+01:00"
    )
    assert hosts.asked == []


@pytest.mark.parametrize("failed", [{}, {"saltutil.refresh_pillar": "no master"}])
@pytest.mark.parametrize("silent", [set(), {"nas1"}])
def test_o1_the_files_of_a_copy_come_from_those_of_its_original(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, failed: dict[str, str], silent: set[str]
) -> None:
    """O1, O9: The host with the files learns of the copy first; one that is down stops nothing."""
    hosts = Hosts(monkeypatch, tmp_path, "staging")
    hosts.failed, hosts.silent = failed, silent
    until = "2026-11-29T05:00:00+00:00"
    assert hosts.runner.bring_files("crm", until, target="crm_staging").endswith(
        f" removed files came back, 1 came from the copy of {COPY}"
    )
    host = "nas2" if silent else "nas1"
    asked = ("files_backup.bring_back", "crm", until, True, "crm_staging")
    assert hosts.asked == fresh(host, *asked)


@pytest.mark.parametrize(
    ("application", "target"),
    [
        *(("crm", "crm"), ("crm", "shop"), ("crm", "CRM_STAGING")),
        *(("crm_staging", "crm"), ("crm_staging", "crm_staging")),
    ],
)
def test_o1_files_go_to_no_other_application_than_a_copy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, application: str, target: str
) -> None:
    """O1, X10, K5: The users of any other one could read them. No host is asked."""
    hosts = Hosts(monkeypatch, tmp_path, "staging")
    with pytest.raises(RunnerError) as caught:
        hosts.runner.bring_files(application, target=target)
    assert str(caught.value) == f"target: {target!r} is not a copy of {application}"
    assert hosts.asked == []


@pytest.mark.parametrize("name", ["shop", "CRM", ""])
def test_files_of_an_unknown_application_are_refused(hosts: Hosts, name: str) -> None:
    """O9, K5: A typing error does not look like an application without files."""
    with pytest.raises(RunnerError) as caught:
        hosts.runner.bring_files(name)
    assert str(caught.value) == (f"application: {name!r} is not an application; choose one of: crm")
    assert hosts.asked == []


def test_files_of_another_application_do_not_come_back(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """O9: The sentence says so, and no host is asked."""
    another = SimpleNamespace(name="shop-1", application="shop", hosts=["nas1"])
    monkeypatch.setattr(files_backup, "sources", lambda _: [another])
    assert hosts.runner.bring_files("crm") == "crm has no files"
    assert hosts.asked == []


def test_without_a_backup_host_there_are_no_copies_of_files(unsaved: Hosts) -> None:
    """O9: Nothing fails, and no host is asked."""
    assert unsaved.runner.copy_files() == []
    assert unsaved.runner.bring_files("crm") == "crm has no files"
    assert unsaved.asked == []


# Restore drills

RECORD = {
    "good": True,
    "faults": [],
    "tables": 12,
    "rows": 3456,
    "files": 78,
    "seconds": 90,
    "ended": NOW.timestamp(),
}


def test_a_drill_counts_before_its_moment_and_after_it(hosts: Hosts) -> None:
    """O9: The primary counts, and the backup host restores and compares."""
    moment = "2026-11-29 05:10:00.123456+00"
    hosts.said |= {"drill.count": {"crm": {}}, "drill.moment": moment, "drill.run": RECORD}
    hosts.now += 120
    assert hosts.runner.drill() == (
        "2 min ago, good: 3456 rows in 12 tables as on the primary, and 78 files that they name, "
        "in 90 s"
    )
    assert hosts.asked == [
        ("bbdd2", "drill.count"),
        ("bbdd2", "drill.moment"),
        *fresh("nas1", "files_backup.copy", "crm"),
        ("bbdd2", "drill.count"),
        ("bkp1", "drill.run", moment, {"crm": {}}, {"crm": {}}, True, []),
    ]


def test_o9_a_drill_is_complete_at_once_only_if_no_application_starts(
    several: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """O9, K5: Its record counts before the second half only if there is none."""
    several.said |= {"drill.count": {"crm": {}}, "drill.moment": MOMENT, "drill.run": RECORD}

    def pending(*skipped: str) -> bool:
        started = bool(drill_names(several))
        several.runner.drill()
        (call,) = (one for one in several.asked if one[1] == "drill.run")
        several.asked.clear()
        given = (MOMENT, {"crm": {}}, {"crm": {}}, started, [*skipped])
        assert call == ("bkp1", "drill.run", *given)
        return started

    assert pending()
    several.set(drill_application=False)
    why = "drill_application in pillar/settings/backup.yaml is false"
    assert not pending(f"crm ({why})", f"shop ({why})")
    several.set(drill_application=True)
    monkeypatch.setattr(several.runner, "KINDS", dict.fromkeys(("odoo", "node"), Never))
    why = "does not say how a copy becomes neutral"
    assert not pending(
        f"crm (pillar/app/odoo-14.0.yaml {why})", f"shop (pillar/app/sample-crm.yaml {why})"
    )


class Never:
    """A kind of application whose copy cannot become neutral."""

    @staticmethod
    def neutral(_: Mapping[str, Any]) -> bool:
        """Return whether it can."""
        return False


def test_o9_the_second_repository_is_compared(hosts: Hosts) -> None:
    """O9: Damage there fails it, and a place that does not answer does not."""
    with pytest.raises(RunnerError, match="second: is null; name another place"):
        hosts.runner.compare()
    assert [one["runner"] for one in hosts.runner.drill_steps()["steps"]][-1] != "backup.compare"
    hosts.set(second=SECOND)
    assert [one["runner"] for one in hosts.runner.drill_steps()["steps"]][-1] == "backup.compare"
    hosts.said["second_repository.compare"] = {"files": 9, "damaged": []}
    assert hosts.runner.compare() == "of the second repository 9 files were compared"
    hosts.said["second_repository.compare"] = {"files": 9, "damaged": ["master/x.age"]}
    with pytest.raises(RunnerError, match=r"damaged at the second place: master/x\.age"):
        hosts.runner.compare()

    def away(*_: Any) -> Any:
        raise RunnerError("no route")

    hosts.said["second_repository.compare"] = away
    assert hosts.runner.compare() == "the second repository was not compared: no route"


def test_a_failed_drill_fails_with_every_fault(hosts: Hosts) -> None:
    """O9, K5: Each line names the backup host."""
    faults = ["crm: is missing", "shop: public.a is missing"]
    hosts.said["drill.run"] = {**RECORD, "good": False, "faults": faults}
    with pytest.raises(RunnerError) as caught:
        hosts.runner.drill()
    assert str(caught.value).splitlines() == [f"bkp1: {fault}" for fault in faults]


def drill_names(hosts: Hosts) -> list[str]:
    """Return the applications that the steps of a drill start, after the comparison."""
    found = hosts.runner.drill_steps()
    assert found["what"] == "restore drill"
    compared, *rest = found["steps"]
    assert (compared["runner"], compared["arguments"]) == ("backup.drill", {})
    assert [one["runner"] for one in rest] in ([], ["backup.drill_applications"])
    assert (hosts.asked, hosts.change) == ([], {})
    return [name for one in rest for name in one["arguments"]["applications"]]


def test_o9_a_drill_starts_every_application_but_copies_for_trials(several: Hosts) -> None:
    """O9, O1: In the order of the topology. The copy of crm has no data of its own to lose."""
    assert drill_names(several) == ["crm", "shop"]


def test_o9_a_drill_starts_no_application_if_the_settings_say_so(several: Hosts) -> None:
    """O9: It still restores the backup and compares it, and has no further step."""
    several.set(drill_application=False)
    assert drill_names(several) == []
    assert len(several.runner.drill_steps()["steps"]) == 1


@pytest.mark.parametrize(
    ("statements", "started"), [(["DELETE FROM mails"], ["crm", "shop"]), ([], ["crm"])]
)
def test_x10_a_drill_starts_no_application_that_would_reach_users(
    several: Hosts, statements: list[str], started: list[str]
) -> None:
    """O9, X10: Without `neutral` in its definition nothing keeps its copy from mail."""
    own = several.site.definitions["sample-crm"]
    node = {**own["node"], "neutral": statements}
    several.site.definitions = {**several.site.definitions, "sample-crm": {**own, "node": node}}
    assert drill_names(several) == started


def test_x10_a_definition_without_the_key_is_not_neutral(several: Hosts) -> None:
    """O9, X10: It may be missing as well as empty."""
    own = several.site.definitions["sample-crm"]
    node = {key: value for key, value in own["node"].items() if key != "neutral"}
    several.site.definitions = {**several.site.definitions, "sample-crm": {**own, "node": node}}
    assert drill_names(several) == ["crm"]


MOMENT = "2026-11-29 05:00:00.123456+00"
"""That of the last drill, as PostgreSQL writes it."""
PAGES = ["/web/health", "/web/login"]
ANSWERS = "crm answers /web/health, /web/login"
UNSERVED = "s1: /web/login: status 500"
STARTS = "restore drill: the applications start"
"""The change that excludes others meanwhile."""


def calls(name: str) -> list[tuple[Any, ...]]:
    """Return the calls of a drill that starts an application, without its record."""
    return [
        ("bkp1", "pgbackrest.info"),
        ("bbdd2", "database_copy.sizes", name),
        ("bbdd1", "database_copy.free"),
        ("bbdd2", "database_copy.make", name, MOMENT, f"{name} of a restore drill", name),
        ("bbdd2", "database_branch.remove", name),
        ("bbdd2", "database_copy.rename", f"salina_next_{name}", name),
        ("bbdd2", "database_branch.remove", name),
    ]


STARTED = [("bkp1", "drill.unfinished"), *calls("crm")]
"""The calls of a drill that starts crm, without its record."""


def waiting(hosts: Hosts) -> Hosts:
    """Let a drill wait for its applications. Its record follows what the backup host does."""
    record = RECORD | {"moment": MOMENT}
    hosts.said["drill.unfinished"] = record
    hosts.said["drill.finish"] = lambda _, *given: drill.finished(record, *given)
    return hosts


@pytest.fixture
def compared(hosts: Hosts) -> Hosts:
    """A fleet whose last drill was good so far, and waits for its application."""
    return waiting(hosts)


@pytest.fixture
def both(several: Hosts) -> Hosts:
    """A fleet of several applications whose last drill was good so far, and waits for them."""
    return waiting(several)


def sentence(*answers: str) -> str:
    """Return how an operator reads a good drill."""
    return "; ".join([backup.drilled(RECORD, NOW.timestamp()), *answers])


def result(fault: str = "") -> dict[str, Any]:
    """Return the result of an application."""
    return {"pages": [] if fault else PAGES, "fault": fault}


ASKED = "it was not asked for"


def finish(skipped: Sequence[str] = (), **faults: str) -> tuple[Any, ...]:
    """Return the call that completes a drill, with the faults of its applications or ""."""
    results = {name: result(fault) for name, fault in faults.items()}
    return ("bkp1", "drill.finish", results, [*skipped])


def undrilled(hosts: Hosts, *names: str) -> str:
    """Return why these applications, or crm, do not start with their restored databases."""
    with pytest.raises(RunnerError) as caught:
        hosts.runner.drill_applications([*(names or ("crm",))])
    return str(caught.value)


def told(hosts: Hosts) -> list[tuple[Any, ...]]:
    """Return the calls that have completed a drill."""
    return [one for one in hosts.asked if one[1] == "drill.finish"]


def test_o9_an_application_starts_with_its_restored_database(compared: Hosts) -> None:
    """O9: It has the moment of the drill. The copy goes, and the record has the pages."""
    assert compared.runner.drill_applications(["crm"]) == sentence(ANSWERS)
    assert compared.asked == [*STARTED, finish(crm="")]
    assert compared.served == ["crm"]
    assert compared.change["what"] == STARTS


def test_o9_applications_start_one_after_the_other(
    both: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """O9, K2: The copy of one is removed before the next one is made, so the room of one is enough.
    Other changes are excluded once, and the moment is the same for all. One call has all results.
    """
    usual, excluded = exclusive.take, list[str]()

    def take(path: Path, what: str) -> None:
        excluded.append(what)
        usual(path, what)

    monkeypatch.setattr(exclusive, "take", take)
    found = both.runner.drill_applications(["crm", "shop"])
    assert found == sentence(ANSWERS, ANSWERS.replace("crm", "shop"))
    assert both.asked == [*STARTED, *calls("shop"), finish(crm="", shop="")]
    assert both.served == ["crm", "shop"]
    assert excluded == [STARTS]
    assert both.change["what"] == STARTS


def test_o9_the_pages_are_those_of_the_copy(compared: Hosts) -> None:
    """O9: It is there when they are asked for, and is removed only afterwards."""
    before: list[str] = []

    def serves(application: str) -> list[str]:
        before.extend(one[1] for one in compared.asked)
        return PAGES

    compared.runner.__salt__["upgrade.serves"] = serves
    compared.runner.drill_applications(["crm"])
    assert before == [one[1] for one in STARTED[:-1]]


@pytest.mark.parametrize(("started", "skipped"), [("crm", "shop"), ("shop", "crm")])
def test_o9_applications_that_a_drill_does_not_start_are_in_its_record(
    both: Hosts, started: str, skipped: str
) -> None:
    """O9, O1: The sentence names them as well. A copy for trials is none of them."""
    found = both.runner.drill_applications([started])
    assert found == sentence(ANSWERS.replace("crm", started), f"not started: {skipped} ({ASKED})")
    assert told(both) == [finish([f"{skipped} ({ASKED})"], **{started: ""})]
    assert both.served == [started]


def test_x10_an_application_that_would_reach_users_is_in_the_record(both: Hosts) -> None:
    """O9, X10: Nobody takes the drill for one of all applications."""
    own = both.site.definitions["sample-crm"]
    node = {**own["node"], "neutral": []}
    both.site.definitions = {**both.site.definitions, "sample-crm": {**own, "node": node}}
    names = drill_names(both)
    why = "pillar/app/sample-crm.yaml does not say how a copy becomes neutral"
    assert both.runner.drill_applications(names) == sentence(ANSWERS, f"not started: shop ({why})")
    assert told(both) == [finish([f"shop ({why})"], crm="")]


def test_k5_a_page_that_does_not_answer_is_recorded(compared: Hosts) -> None:
    """O9, K5: The copy goes, the record has the reason, and the error has the moment as well."""
    compared.unserved["crm"] = UNSERVED
    assert undrilled(compared) == f"crm with its database as of {MOMENT}: {UNSERVED}"
    assert compared.asked == [*STARTED, finish(crm=UNSERVED)]


def test_k5_after_an_application_that_does_not_start_the_next_one_is_tried(both: Hosts) -> None:
    """O9, K5: The record has the result of both, and the error only the fault."""
    both.unserved["crm"] = UNSERVED
    assert undrilled(both, "crm", "shop") == f"crm with its database as of {MOMENT}: {UNSERVED}"
    assert both.asked == [*STARTED, *calls("shop"), finish(crm=UNSERVED, shop="")]
    assert both.served == ["crm", "shop"]


def test_k5_after_a_database_that_cannot_be_copied_the_next_one_is_tried(both: Hosts) -> None:
    """O9, K5: A copy that does not fit is one application's fault; that of another one may fit."""
    both.said["database_copy.free"] = (NEEDED - 1) * MIB
    assert undrilled(both, "crm", "shop") == f"crm with its database as of {MOMENT}: {SHORTAGE}"
    assert told(both) == [finish(crm=SHORTAGE, shop="")]
    assert both.served == ["shop"]


def test_k5_every_application_that_does_not_start_is_told(both: Hosts) -> None:
    """O9, K5: The error has the faults in the order of the tries."""
    both.unserved |= {"crm": UNSERVED, "shop": "w1: no answer"}
    assert undrilled(both, "crm", "shop").splitlines() == [
        f"crm with its database as of {MOMENT}: {UNSERVED}",
        f"shop with its database as of {MOMENT}: w1: no answer",
    ]
    assert told(both) == [finish(crm=UNSERVED, shop="w1: no answer")]


LOG = f"{UNSERVED}\nTraceback (most recent call last):\n  KeyError: 'canary'"


def test_k5_the_record_has_the_first_line_of_a_fault(both: Hosts) -> None:
    """O9, K5: The rest is a log, which a sentence of `backup.status` has no room for."""
    both.unserved["crm"] = LOG
    assert undrilled(both, "crm", "shop") == f"crm with its database as of {MOMENT}: {LOG}"
    assert told(both) == [finish(crm=UNSERVED, shop="")]


@pytest.mark.parametrize("unserved", [{}, {"crm": LOG}])
def test_k5_a_record_that_cannot_be_told_is_a_fault_as_well(
    both: Hosts, unserved: dict[str, str]
) -> None:
    """O9, K5: Each application is still tried, and the fault that it has itself stays in the error.

    Otherwise nobody would know why the drill still waits.
    """
    both.unserved = unserved
    both.failed["drill.finish"] = "No space left on device"
    untold = "the drill is not recorded: bkp1: No space left on device"
    own = [f"crm with its database as of {MOMENT}: {LOG}"] if unserved else []
    assert undrilled(both, "crm", "shop") == "\n".join([*own, untold])
    assert both.served == ["crm", "shop"]
    assert told(both) == [finish(crm=UNSERVED if unserved else "", shop="")]


def test_k5_a_backup_host_that_goes_away_meanwhile_is_told(both: Hosts) -> None:
    """O9, K5: The last application is tried without its answers, and the error has both reasons."""
    both.unserved["crm"] = UNSERVED
    usual = both.runner.__salt__["upgrade.serves"]

    def serves(application: str) -> Any:
        both.silent.add("bkp1")
        return usual(application)

    both.runner.__salt__["upgrade.serves"] = serves
    lines = undrilled(both, "crm", "shop").splitlines()
    assert lines[0] == f"crm with its database as of {MOMENT}: {UNSERVED}"
    assert lines[1].startswith(f"shop with its database as of {MOMENT}: bkp1: no answer")
    assert "the drill is not recorded: bkp1: no answer" in lines
    assert (both.served, told(both)) == (["crm"], [])


def test_o9_a_drill_that_is_not_recorded_is_finished_later(compared: Hosts) -> None:
    """O9, K5: The command needs no new drill, because the record still waits."""
    compared.failed["drill.finish"] = "No space left on device"
    assert undrilled(compared).startswith("the drill is not recorded: ")
    compared.failed.clear()
    assert compared.runner.drill_applications(["crm"]) == sentence(ANSWERS)
    assert told(compared) == [finish(crm="")] * 2


@pytest.mark.parametrize(
    "function", ["database_copy.make", "database_copy.rename", "database_copy.sizes"]
)
def test_k5_a_database_that_cannot_be_copied_is_recorded(compared: Hosts, function: str) -> None:
    """O9, K5: No page is asked for, what there is of the copy goes, and the record says why."""
    compared.failed[function] = "the disk is full"
    assert undrilled(compared).endswith(f"as of {MOMENT}: bbdd2: the disk is full")
    assert compared.served == []
    assert compared.asked[-2:] == [
        ("bbdd2", "database_branch.remove", "crm"),
        finish(crm="bbdd2: the disk is full"),
    ]


def test_k5_a_database_that_does_not_fit_is_not_copied(compared: Hosts) -> None:
    """O9, K5: A drill never fills the disk of the running cluster."""
    compared.said["database_copy.free"] = (NEEDED - 1) * MIB
    assert undrilled(compared).endswith(SHORTAGE)
    assert "database_copy.make" not in [one[1] for one in compared.asked]
    assert compared.asked[-1] == finish(crm=SHORTAGE)


@pytest.mark.parametrize("unserved", ["", UNSERVED])
def test_k2_a_copy_of_a_drill_that_cannot_be_removed(compared: Hosts, unserved: str) -> None:
    """O9, K2: The result is that of the pages. The next copy takes its place."""
    compared.unserved = {"crm": unserved} if unserved else {}
    compared.said["database_copy.rename"] = lambda *_: compared.failed.update(
        {"database_branch.remove": "no answer"}
    )
    if unserved:
        assert undrilled(compared) == f"crm with its database as of {MOMENT}: {unserved}"
    else:
        assert compared.runner.drill_applications(["crm"]) == sentence(ANSWERS)
    assert compared.asked[-1] == finish(crm=unserved)


@pytest.mark.parametrize("last", [{}, RECORD | {"moment": MOMENT}])
def test_k5_without_a_drill_that_waits_no_application_starts(
    hosts: Hosts, last: dict[str, Any]
) -> None:
    """O9, K5: The message names the command, also after a drill that is complete. No other change
    is excluded, and nothing recorded.
    """
    hosts.said["drill.last"] = last
    assert undrilled(hosts) == (
        "no drill waits for its applications\nnext: salt-run state.orchestrate orch.restore_drill"
    )
    assert (hosts.asked, hosts.change) == ([("bkp1", "drill.unfinished")], {})


@pytest.mark.parametrize("names", [[], ["crm_staging"], ["crm", "erp"]])
def test_k5_an_application_that_no_drill_starts_is_refused(both: Hosts, names: list[str]) -> None:
    """O9, K5: The message has those that a drill starts. No host is asked."""
    with pytest.raises(RunnerError) as caught:
        both.runner.drill_applications(names)
    assert str(caught.value).endswith(" is not valid; must be a list of some of: crm, shop")
    assert (both.asked, both.change) == ([], {})


def test_k5_the_settings_decide_who_may_start(both: Hosts) -> None:
    """O9, K5: They count for a step that somebody calls by itself as well."""
    both.set(drill_application=False)
    assert "is not valid" in undrilled(both)
    assert (both.asked, both.served, both.change) == ([], [], {})


def test_k5_a_drill_waits_for_another_change_and_is_then_refused(
    compared: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """O9, K5: It tries again for a while. Nothing is copied, and the record stays as it is."""
    tries: list[str] = []

    def busy(path: Path, what: str) -> None:
        tries.append(what)
        raise exclusive.BusyError("another change is running: app to 5 members")

    monkeypatch.setattr(exclusive, "take", busy)
    monkeypatch.setattr(compared.runner, "OTHER", 0.05)
    assert undrilled(compared) == (
        "another change is running: app to 5 members\nnext: salt-run fleet.status"
    )
    assert len(tries) > 1 and {*tries} == {STARTS}
    assert compared.asked == [("bkp1", "drill.unfinished")]


def test_o9_a_drill_goes_on_after_another_change(
    compared: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """O9: It begins when the other change ends, and not a week later."""
    usual, others = exclusive.take, [exclusive.BusyError("another change is running")] * 2

    def take(path: Path, what: str) -> None:
        if others:
            raise others.pop()
        usual(path, what)

    monkeypatch.setattr(exclusive, "take", take)
    assert compared.runner.drill_applications(["crm"]) == sentence(ANSWERS)
    assert not others
    assert compared.change["what"] == STARTS


@pytest.mark.parametrize("place", ["copy", "pages"])
def test_k2_an_interrupted_drill_leaves_no_copy(both: Hosts, place: str) -> None:
    """O9, K2, X10: It has real data and is perhaps not neutral. The record stays as it is, and the
    next application is not tried.
    """

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    if place == "copy":
        both.said["database_copy.rename"] = interrupt
    else:
        both.runner.__salt__["upgrade.serves"] = interrupt
    with pytest.raises(KeyboardInterrupt):
        both.runner.drill_applications(["crm", "shop"])
    assert both.asked == STARTED


@pytest.mark.parametrize(
    "last", [{}, {"ended": (NOW - timedelta(days=7)).timestamp()}, {"ended": 0, "good": False}]
)
@pytest.mark.parametrize("failed", [[], [Failure("salt", "drill", "bkp1: no answer", "again")]])
def test_a_drill_that_is_due_begins(
    hosts: Hosts,
    last: dict[str, Any],
    failed: list[Failure],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """O9: It is the orchestration of an operator, and what failed there is returned."""
    begun: list[str] = []

    def orchestrate(_: Any, name: str) -> list[Failure]:
        begun.append(name)
        return failed

    monkeypatch.setattr(runner, "orchestrate", orchestrate)
    hosts.said["drill.last"] = last
    found = hosts.runner.evaluate()
    assert (found["due"], len(found["failures"])) == (True, len(failed))
    assert all("bkp1: no answer" in text for text in found["failures"])
    assert begun == ["orch.restore_drill"]
    assert hosts.asked == [("bkp1", "drill.last")]


@pytest.mark.parametrize("days", [0, 1, 6])
def test_a_drill_that_is_not_due_does_not_begin(
    hosts: Hosts, days: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """O9: The days are those of the settings, and the last drill may have failed."""
    monkeypatch.setattr(runner, "orchestrate", never)
    ended = (NOW - timedelta(days=days)).timestamp()
    hosts.said["drill.last"] = {"ended": ended, "good": False}
    assert hosts.runner.evaluate() == {"saved": False, "due": False}


def test_a_fleet_without_a_backup_host_has_no_drill(
    unsaved: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """O9: The master asks each hour, in such a fleet too, and nothing fails."""
    monkeypatch.setattr(runner, "orchestrate", never)
    assert unsaved.runner.evaluate() == {"saved": False, "due": False}
    assert unsaved.asked == []


def test_a_backup_host_that_does_not_answer_is_told(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """K5: Without the record of the last drill, none begins."""
    monkeypatch.setattr(runner, "orchestrate", never)
    hosts.silent.add("bkp1")
    with pytest.raises(RunnerError) as caught:
        hosts.runner.evaluate()
    assert str(caught.value) == "bkp1: no answer\nnext: salt-run fleet.health"


# The state of the backups

UNSAVED = "the master's own state: not saved; see recipient in pillar/settings/backup.yaml"
MISSING_BACKUP = "late: the day's backup; see journalctl -u 'salina-backup@*' on its host"
MISSING_DRILL = "late: a restore drill; salt-run state.orchestrate orch.restore_drill"
MISSING_FILES = "late: a copy of the files of crm; see journalctl -t salina-files on its hosts"
RECIPIENT = "age1" + "q" * 58


def bad_status(hosts: Hosts) -> list[str]:
    """Return the lines of a status that is not good, which must be the error of the command."""
    with pytest.raises(RunnerError) as caught:
        hosts.runner.status()
    return str(caught.value).splitlines()


MIRRORED: dict[str, Any] = {
    "compared": {},
    "place": "/srv/salina on 198.51.100.9",
    "since": NOW.timestamp() - 720,
    "minutes": 60,
    "record": {
        "began": NOW.timestamp() - 720,
        "ended": NOW.timestamp(),
        "files": 12,
        "bytes": 3 * MIB,
    },
}
SECOND = fleets.SECOND[BackupSettings].second


@pytest.mark.parametrize("kind", [{}, {"kind": "full"}])
def test_o9_a_second_repository_is_brought_up_to_date_at_the_end(
    hosts: Hosts, kind: dict[str, str]
) -> None:
    """O9: By a step of its own, after the backup that an operator makes. No host is asked yet."""
    arguments = {"kind": kind.get("kind", "diff")}
    for second, further in ((SECOND, [("backup.mirror", {})]), (None, [])):
        hosts.set(second=second)
        found = hosts.runner.make_steps(**kind)
        assert found["what"] == "backup"
        steps = [(one["runner"], one["arguments"]) for one in found["steps"]]
        assert steps == [("backup.make", arguments), *further]
    assert (hosts.asked, hosts.change) == ([], {})


def test_o9_a_second_repository_that_is_away_stops_no_backup(hosts: Hosts) -> None:
    """O9, K5: A change that begins with a backup goes on without it."""
    hosts.set(second=SECOND)
    hosts.said["pgbackrest.back_up"] = "label"
    hosts.failed["second_repository.mirror"] = "the place does not answer"
    assert hosts.runner.make("full") == "label"
    assert hosts.asked == [
        ("bkp1", "pgbackrest.back_up", "full"),
        *fresh("nas1", "files_backup.copy", "crm"),
    ]


def test_o9_a_second_repository_is_mirrored_alone(hosts: Hosts) -> None:
    """O9, K5: The operator reads what it has, or why it has not."""
    hosts.set(second=SECOND)
    hosts.said["second_repository.mirror"] = MIRRORED
    told = "/srv/salina on 198.51.100.9, 12 min ago, 12 files, 3.0 MiB"
    assert hosts.runner.mirror() == told
    assert hosts.asked == [
        ("bkp1", "saltutil.refresh_pillar", True),  # an apply leaves the minion's pillar as it is
        ("bkp1", "second_repository.mirror"),
    ]
    hosts.ill["bkp1"] = "the mirror failed"
    with pytest.raises(RunnerError, match="bkp1: the mirror failed"):
        hosts.runner.mirror()


def test_o9_without_a_second_repository_nothing_is_mirrored(hosts: Hosts) -> None:
    """O9: The error has the next step, and the status does not ask."""
    with pytest.raises(RunnerError, match="second: is null; name another place"):
        hosts.runner.mirror()
    assert hosts.asked == []


def test_o9_an_operator_reads_the_age_of_the_second_repository(hosts: Hosts) -> None:
    """O9: After four intervals the state is not good."""
    hosts.set(second=SECOND)
    hosts.said["second_repository.state"] = MIRRORED
    told = "second repository: /srv/salina on 198.51.100.9, 12 min ago, 12 files, 3.0 MiB"
    assert told in hosts.runner.status().splitlines()
    hosts.said["second_repository.state"] = MIRRORED | {"since": NOW.timestamp() - 4 * 3600 - 1}
    late = "late: the second repository; see journalctl -u salina-second on its host"
    assert late in bad_status(hosts)


def test_o9_a_second_repository_that_is_not_set_up_is_one_fault(hosts: Hosts) -> None:
    """O9: Between the setting and the apply the rest of the state can be read."""
    hosts.set(second=SECOND)
    said = "not set up yet; next: salt bkp1 state.apply"

    def state(*_: Any) -> Any:
        raise RunnerError(f"bkp1: {said}")

    hosts.said["second_repository.state"] = state
    lines = bad_status(hosts)
    assert f"second repository: bkp1: {said}" in lines
    assert "files of crm: copied 11 min ago, 9 copies, which take 3.0 MiB" in lines


def test_an_operator_reads_a_good_state(hosts: Hosts) -> None:
    """O9: The last line is about the master's own state, which need not be saved."""
    lines = hosts.runner.status().splitlines()
    assert lines[0] == f"newest: {BACKUP['label']} (full), 1 days 0 h old"
    assert lines[-1] == UNSAVED
    assert not [line for line in lines if line.startswith("late")]
    assert hosts.asked == [
        ("bkp1", "pgbackrest.info"),
        ("bkp1", "drill.last"),
        ("bkp1", "files_repository.state"),
    ]
    assert "files of crm: copied 11 min ago, 9 copies, which take 3.0 MiB" in lines


@pytest.mark.parametrize(
    ("hours", "drilled", "overdue"),
    [
        (2.1, 0, [MISSING_BACKUP]),
        (0, 9.1, [MISSING_DRILL]),
        (2.1, 9.1, [MISSING_BACKUP, MISSING_DRILL]),
    ],
)
def test_a_late_state_is_not_good(
    hosts: Hosts, hours: float, drilled: float, overdue: list[str]
) -> None:
    """O9: The command fails, and what is late stands before the master's own state."""
    hosts.now += hours * 3600
    ended = hosts.now - drilled * 86_400
    hosts.said["drill.last"] = RECORD | {"ended": ended}
    assert bad_status(hosts)[-len(overdue) - 1 :] == [*overdue, UNSAVED]


@pytest.mark.parametrize(
    ("age", "words"),
    [
        (3601, "files of crm: copied 1 h 0 min ago, 9 copies, which take 3.0 MiB"),
        (None, "files of crm: no copy, 0 copies, which take 0 B"),
    ],
)
def test_files_that_were_not_copied_lately_are_not_good(
    hosts: Hosts, age: float | None, words: str
) -> None:
    """O9: The command fails, and its message names the files and where the reason is."""
    hosts.age = age
    hosts.now += 3 * 3600  # the day's backup is late as well
    lines = bad_status(hosts)
    assert words in lines
    assert lines[-3:] == [MISSING_FILES, MISSING_BACKUP, UNSAVED]


def test_the_minutes_between_two_copies_of_files_are_those_of_the_settings(hosts: Hosts) -> None:
    """O9: With a copy every half an hour the newest one may be two hours old."""
    hosts.age = 7200
    assert MISSING_FILES in bad_status(hosts)
    hosts.set(files_minutes=30)
    assert UNSAVED in hosts.runner.status()
    hosts.age += 1
    assert MISSING_FILES in bad_status(hosts)


def test_the_days_between_two_drills_are_those_of_the_settings(hosts: Hosts) -> None:
    """O9: A fleet with a drill each day misses it after three days."""
    hosts.said["drill.last"] = RECORD | {"ended": hosts.now - 3.1 * 86_400}
    assert UNSAVED in hosts.runner.status()
    hosts.set(drill_days=1)
    assert MISSING_DRILL in bad_status(hosts)


def test_a_master_that_is_not_saved_is_not_good(hosts: Hosts) -> None:
    """O9: With a recipient in the settings the state must be saved, and the day's copy be there."""
    hosts.set(recipient=RECIPIENT)
    assert bad_status(hosts)[-2:] == [
        "the master's own state: not saved yet",
        "  next: salt-run backup.save_master",
    ]
    file = hosts.site.state / "master-saved.json"
    file.write_text(json.dumps({"digest": "", "saved": hosts.now - 7200}))
    assert hosts.runner.status().endswith("\nthe master's own state: saved 2 h 0 min ago")
    file.write_text(json.dumps({"digest": "", "saved": hosts.now - 27 * 3600}))
    assert bad_status(hosts)[-2:] == [
        "the master's own state: saved 1 days 3 h ago",
        "  next: salt-run backup.save_master",
    ]


@pytest.mark.parametrize(
    ("hours", "recipient", "overdue", "retcode"),
    [
        (0, None, [], 0),
        (3, None, [MISSING_BACKUP], 1),
        (0, RECIPIENT, [], 1),
    ],
)
def test_a_program_reads_the_same_state(
    hosts: Hosts, hours: int, recipient: str | None, overdue: list[str], retcode: int
) -> None:
    """O9: The data has what is late and the master's own state, and the exit code is the same."""
    hosts.runner.__opts__["output"] = "json"
    hosts.set(recipient=recipient)
    hosts.now += hours * 3600
    found = hosts.runner.status()
    assert found["outputter"] == "json"
    data = found["data"]
    assert (data["good"], data["retcode"]) == (not retcode, retcode)
    assert data["late"] == overdue
    assert data["master"]["good"] is (recipient is None)
    assert data["master"]["message"].startswith("the master's own state: not saved")


def test_a_repository_without_a_backup_is_not_late(hosts: Hosts) -> None:
    """O9: Its state says what to do, and has no moments to judge."""
    hosts.said["pgbackrest.info"] = INFO | {"backups": [], "message": "no valid backups"}
    assert bad_status(hosts) == [
        "no valid backups",
        "next: salt-run backup.make kind=full",
        UNSAVED,
    ]


# The master's own state


class Age:
    """Stands for age: it keeps the archive and the key of each call."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.calls: list[tuple[bytes, str]] = []
        monkeypatch.setattr(master_state, "encrypted", self.encrypted)
        for name in ("master", "minion"):
            (folder / name).mkdir()
            (folder / name / f"{name}.pem").write_text(f"the {name}'s key")
            monkeypatch.setattr(
                master_state, "PKI" if name == "master" else "MINION", folder / name
            )

    def encrypted(self, content: bytes, recipient: str) -> bytes:
        self.calls.append((content, recipient))
        return b"encrypted"

    @property
    def names(self) -> list[str]:
        """The paths in the last archive."""
        content = gzip.decompress(self.calls[-1][0])
        with tarfile.open(fileobj=io.BytesIO(content)) as tar:
            return tar.getnames()


@pytest.fixture
def age(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Age:
    """A fleet whose settings have a recipient, with a secret, and a drill that is not due."""
    hosts.set(recipient=RECIPIENT)
    hosts.said["drill.last"] = RECORD
    hosts.said["master_state.store"] = lambda _, name, *__: f"/copies/{name}"
    (hosts.site.state / "secrets").mkdir()
    (hosts.site.state / "secrets" / "ca.key").write_text("secret")
    monkeypatch.setattr(runner, "orchestrate", never)
    return Age(monkeypatch, tmp_path_factory.mktemp("pki"))


STORED = (
    *("bkp1", "master_state.store", "20261129T051000Z.tar.gz.age"),
    *(base64.b64encode(b"encrypted").decode(), 14),
)


def stored(hosts: Hosts) -> int:
    """Return how many copies were sent to the backup host."""
    return len([one for one in hosts.asked if one[1] == "master_state.store"])


def saved(hosts: Hosts) -> dict[str, Any]:
    """Return the record of the last copy."""
    found: dict[str, Any] = json.loads((hosts.site.state / "master-saved.json").read_text())
    return found


def test_the_master_s_state_is_saved_encrypted(hosts: Hosts, age: Age) -> None:
    """O9, X6: The copy has the secrets and the keys, and the backup host gets it encrypted."""
    assert hosts.runner.save_master() == "/copies/20261129T051000Z.tar.gz.age"
    assert hosts.asked == [STORED]
    assert age.calls[0][1] == RECIPIENT
    for file in (
        hosts.site.state / "secrets" / "ca.key",
        master_state.PKI / "master.pem",
        master_state.MINION / "minion.pem",
    ):
        assert str(file).lstrip("/") in age.names
    assert saved(hosts)["saved"] == hosts.now
    assert "secret" not in str(saved(hosts))


def test_an_operator_can_save_at_any_time(hosts: Hosts, age: Age) -> None:
    """O9: The command makes a copy although nothing has changed, without its own record."""
    hosts.runner.save_master()
    hosts.runner.save_master()
    assert stored(hosts) == len(age.calls) == 2
    assert not [name for name in age.names if name.endswith("master-saved.json")]


@pytest.mark.usefixtures("age")
def test_without_a_recipient_the_master_is_not_saved(hosts: Hosts) -> None:
    """O9, K5: The command says which setting is missing, and the master alone goes on without."""
    hosts.set(recipient=None)
    with pytest.raises(RunnerError, match=r"^pillar/settings/backup.yaml: recipient: is null; "):
        hosts.runner.save_master()
    assert hosts.asked == []
    assert hosts.runner.evaluate() == {"saved": False, "due": False}
    assert hosts.asked == [("bkp1", "drill.last")]


@pytest.mark.parametrize("function", ["save_master", "evaluate"])
@pytest.mark.usefixtures("age")
def test_a_state_that_cannot_be_encrypted_is_not_sent(
    hosts: Hosts, function: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """O9, K5: The message has the words of age, and the next hour tries again."""

    def refuse(*_: Any) -> bytes:
        raise master_state.StateError("age: error: malformed recipient")

    monkeypatch.setattr(master_state, "encrypted", refuse)
    with pytest.raises(RunnerError, match=r"^age: error: malformed recipient$"):
        getattr(hosts.runner, function)()
    assert hosts.asked == []
    assert not (hosts.site.state / "master-saved.json").exists()


@pytest.mark.parametrize("function", ["save_master", "evaluate"])
@pytest.mark.usefixtures("age")
def test_a_state_that_cannot_be_read_is_not_sent(
    hosts: Hosts, function: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """O9, K5: A copy without the keys would look like a good one."""
    monkeypatch.setattr(master_state, "PKI", tmp_path / "missing")
    with pytest.raises(RunnerError, match=r"^the master's state cannot be read: .*missing"):
        getattr(hosts.runner, function)()
    assert hosts.asked == []


@pytest.mark.usefixtures("age")
def test_a_copy_that_does_not_arrive_is_not_recorded(hosts: Hosts) -> None:
    """O9, K5: The next hour saves the state again, although it has not changed."""
    hosts.failed["master_state.store"] = "No space left on device"
    for function in (hosts.runner.save_master, hosts.runner.evaluate):
        with pytest.raises(RunnerError) as caught:
            function()
        assert str(caught.value) == "bkp1: No space left on device"
    assert not (hosts.site.state / "master-saved.json").exists()


@pytest.mark.usefixtures("age")
def test_the_first_copy_does_not_wait(hosts: Hosts) -> None:
    """O9: The master saves its state within an hour, and then looks for a drill that is due."""
    assert hosts.runner.evaluate() == {"saved": True, "due": False}
    assert hosts.asked == [STORED, ("bkp1", "drill.last")]


@pytest.mark.usefixtures("age")
def test_an_unchanged_state_is_saved_once_a_day(hosts: Hosts) -> None:
    """O9: The record of the last copy is in the state's directory, and is not itself a change."""
    assert hosts.runner.evaluate()["saved"]
    found = []
    for _ in range(25):
        hosts.now += 3600
        found.append(hosts.runner.evaluate()["saved"])
    assert found == [False] * 23 + [True, False]
    assert stored(hosts) == 2


@pytest.mark.usefixtures("age")
def test_a_changed_state_is_saved_within_the_hour(hosts: Hosts) -> None:
    """O9: A new secret and the key of a new minion are changes."""
    hosts.runner.evaluate()
    places = (hosts.site.state / "secrets" / "crm", master_state.PKI / "s9")
    for number, file in enumerate(places, start=2):
        file.write_text("new")
        hosts.now += 3600
        assert hosts.runner.evaluate()["saved"]
        assert stored(hosts) == number


def test_another_recipient_gets_a_copy(hosts: Hosts, age: Age) -> None:
    """O9: The holder of the new key need not wait for a change."""
    hosts.runner.evaluate()
    another = "age1" + "p" * 58
    hosts.set(recipient=another)
    assert hosts.runner.evaluate()["saved"]
    assert [recipient for _, recipient in age.calls] == [RECIPIENT, another]


@pytest.mark.usefixtures("age")
def test_a_record_that_cannot_be_read_is_no_copy(hosts: Hosts) -> None:
    """O9: The state is saved rather than not."""
    hosts.runner.evaluate()
    (hosts.site.state / "master-saved.json").write_text("")
    assert hosts.runner.evaluate()["saved"]
    assert saved(hosts)["saved"] == hosts.now


# The whole cluster


def test_a_host_with_data_is_never_overwritten(hosts: Hosts) -> None:
    """O9: While a database host has data the cluster is not restored, and no change is begun."""
    hosts.said["file.file_exists"] = True
    with pytest.raises(
        RunnerError, match=r"^bbdd1, bbdd2: has the cluster's data; .*orch.restore;"
    ):
        hosts.runner.restore_cluster(confirm="all")
    assert not hosts.change


def test_the_whole_cluster_is_planned_first(hosts: Hosts) -> None:
    """O9: Without the word all the message is the plan, with the command that follows it."""
    hosts.said["file.file_exists"] = False
    with pytest.raises(RunnerError) as caught:
        hosts.runner.restore_cluster()
    assert str(caught.value).splitlines() == [
        "all databases as of now, from backup 20261128-030000F and the WAL after it",
        "on bbdd1; bbdd2 copies it",
        'next: salt-run state.orchestrate orch.restore_cluster pillar=\'{"confirm": "all"}\'',
    ]
    assert not hosts.change


def test_the_whole_cluster_has_steps(hosts: Hosts) -> None:
    """O9: The first host restores it before Patroni starts there, and then the others copy it."""
    hosts.said["file.file_exists"] = False
    found = hosts.runner.restore_cluster(time="2026-11-29 05:00:00", confirm="all")
    assert [step.get("runner") or step.get("sls") or step["hosts"] for step in found["steps"]] == [
        "fleet.ready",
        "prepare",
        "pgbackrest.restore",
        "backup.make_cluster",
        ["bbdd1"],
        "fleet.ready",
        ["bbdd2"],
        "backup.bring_files",
        ["s1", "s2", "s3"],
        "fleet.probe",
        "backup.make",
    ]
    [made] = [step for step in found["steps"] if step.get("runner") == "backup.make_cluster"]
    assert made["arguments"] == {"host": "bbdd1", "until": "2026-11-29 05:00:00.000000+00"}
    assert hosts.change["what"] == found["what"]


@pytest.mark.parametrize(
    ("data", "marked", "runs", "goes_on"),
    [
        ({"bbdd1"}, {"bbdd1"}, set(), True),
        ({"bbdd1"}, {"bbdd1"}, {"bbdd1"}, False),
        ({"bbdd1"}, set(), set(), False),
        ({"bbdd2"}, {"bbdd2"}, set(), False),
        ({"bbdd1", "bbdd2"}, {"bbdd1"}, set(), False),
    ],
)
def test_only_data_that_nobody_has_taken_over_are_restored_again(
    hosts: Hosts, data: set[str], marked: set[str], runs: set[str], goes_on: bool
) -> None:
    """O9: The first host's data have the mark of an interrupted restore, and Patroni is stopped."""
    found = {"PG_VERSION": data, "salina-restored": marked}
    hosts.said["file.file_exists"] = lambda host, path: host in found[Path(path).name]
    hosts.said["service.status"] = lambda host, name: (host in runs) and name == "patroni"
    if goes_on:
        assert hosts.runner.restore_cluster(confirm="all")["steps"]
        assert hosts.change["what"] == "restore: the whole database cluster"
        return
    words = f"^{', '.join(sorted(data))}: has the cluster's data; .*use orch.deploy$"
    with pytest.raises(RunnerError, match=words):
        hosts.runner.restore_cluster(confirm="all")
    assert not hosts.change


@pytest.mark.parametrize("until", ["", "2026-11-29 05:00:00.000000+00"])
@pytest.mark.parametrize("last", ["2026-11-29 04:59:00+00", ""])
def test_the_first_host_restores_the_cluster(hosts: Hosts, until: str, last: str) -> None:
    """O9: It must reach the last WAL of the repository, and then the quorum forgets the lost one.

    A step that follows an interruption makes the same calls: the host knows how far it has come.
    """
    hosts.said |= {"cluster_restore.make": last, "cluster_restore.forget": None}
    assert hosts.runner.make_cluster("bbdd1", until) == last
    assert hosts.asked == [
        ("bkp1", "pgbackrest.info"),
        ("bbdd1", "cluster_restore.make", until, WAL),
        ("bbdd1", "cluster_restore.forget"),
    ]


def test_after_a_failed_restore_the_quorum_forgets_nothing(hosts: Hosts) -> None:
    """O9, K5: Nothing is deleted before the cluster is complete, and the message says why."""
    hosts.failed["cluster_restore.make"] = "the recovery ended at 0/57FFFFFF, before the last WAL"
    with pytest.raises(RunnerError, match=r"^bbdd1: the recovery ended at 0/57FFFFFF"):
        hosts.runner.make_cluster("bbdd1", "")
    assert hosts.asked[-1][1] == "cluster_restore.make"


def test_without_its_backups_no_cluster_is_restored(hosts: Hosts) -> None:
    """O9, K5: The last WAL is asked first, because the restore is compared with it."""
    hosts.silent.add("bkp1")
    with pytest.raises(RunnerError, match=r"^bkp1: no answer"):
        hosts.runner.make_cluster("bbdd1", "")
    assert hosts.asked == []

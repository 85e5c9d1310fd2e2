"""The runner `backup`: which hosts it asks, what it refuses, and when it excludes other changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from salina.common.orchestration import Failure
from salina_fleet import minions, runner
from salina_fleet.change import exclusive
from salina_fleet.errors import RunnerError
from tests import fleets
from tests.loading import load, never

NOW = datetime(2026, 11, 29, 5, 10, tzinfo=UTC)
BACKUP = {"label": "20261128-030000F", "end": int((NOW - timedelta(days=1)).timestamp())}
OLD = {"name": "crm_noon", "size": 3 * 2**20, "about": "crm as of 2026-11-27 12:00:00 UTC"}
SHORTAGE = "the copy needs 656 MiB on the database's disk, and 655 are free"
NOBODY = "none of bbdd1, bbdd2 names a primary\nnext: salt-run fleet.health"


class Hosts:
    """The database hosts and the backup host, as their modules answer.

    `said` has the answer of each function, `leaders` that of `patroni.leader` on each host. A host
    that is `silent` gives none, and one that is `broken` fails to name a leader. `asked` has the
    functions that were called on each host, but for `patroni.leader`.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, state: Path, name: str) -> None:
        self.leaders: dict[str, Any] = {"bbdd1": "bbdd2", "bbdd2": "bbdd2"}
        self.silent: set[str] = set()
        self.broken: set[str] = set()
        self.failed: dict[str, str] = {}
        self.said: dict[str, Any] = {
            "database_copy.kept": [OLD],
            "database_copy.names": ["postgres", "crm", "crm_noon", "reports"],
            "database_copy.room": {"needed": 656 * 2**20, "free": 5 * 2**30, "shortage": ""},
            "pgbackrest.info": {"backups": [BACKUP]},
            "drill.last": {},
        }
        self.asked: list[tuple[Any, ...]] = []
        self.change_file = state / "lock"
        site = SimpleNamespace(fleet=fleets.fleet(name), state=state, change_file=self.change_file)
        monkeypatch.setattr(runner, "site", lambda _: site)
        monkeypatch.setattr(minions, "answers", self.answers)
        self.runner = load("_runners/backup.py", opts={})
        clock = SimpleNamespace(now=lambda zone: NOW.astimezone(zone))
        monkeypatch.setattr(self.runner, "datetime", clock)

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
        if function in self.failed:
            return {"ret": self.failed[function], "retcode": 1}
        return {"ret": self.said.get(function, arguments[0] if arguments else None), "retcode": 0}

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
    return Hosts(monkeypatch, tmp_path, "two-applications")


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
        "on bbdd2 656.0 MiB are needed, and 5.0 GiB are free",
        "crm stops on s1, s2, s3 while the databases change places",
        "what users have changed after that moment is then in the kept database only",
        "kept: the current database, as crm_before_… with the moment, until "
        "`salt-run backup.discard`",
        "files on the volume stay as they are",
        "next: salt-run state.orchestrate orch.restore "
        """pillar='{"application": "crm", "confirm": "crm"}'""",
    ]
    assert hosts.asked == [
        ("bbdd2", "database_copy.kept"),
        ("bbdd2", "database_copy.names"),
        ("bbdd2", "database_copy.room", "crm"),
        ("bkp1", "pgbackrest.info"),
    ]


def test_a_confirmed_restore_excludes_other_changes(hosts: Hosts) -> None:
    """O9: The steps have the application's hosts, and the names have the moment of the request."""
    change = hosts.runner.restore(application="crm", confirm="crm", __pub_user="root")
    steps = {step["runner"]: step["arguments"] for step in change["steps"] if "runner" in step}
    assert [*steps] == [
        *("backup.copy", "fleet.ready", "backup.stop", "backup.exchange", "fleet.probe"),
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


@pytest.mark.parametrize("confirm", [{}, {"confirm": "crm"}])
@pytest.mark.parametrize("name", [{}, {"name": "crm_copy"}])
def test_a_copy_that_does_not_fit_is_refused(
    hosts: Hosts, name: dict[str, str], confirm: dict[str, str]
) -> None:
    """O9: The primary's disk is judged before the plan, and before other changes are excluded."""
    hosts.said["database_copy.room"]["shortage"] = SHORTAGE
    assert refused(hosts, application="crm", **name, **confirm) == f"bbdd2: {SHORTAGE}"


def test_a_kept_database_needs_neither_space_nor_a_backup(hosts: Hosts) -> None:
    """O9: The database is there already, so a full disk and a dead backup host do not matter."""
    hosts.said["database_copy.room"]["shortage"] = SHORTAGE
    hosts.silent.add("bkp1")
    assert refused(hosts, application="crm", kept="crm_noon").startswith(
        "crm_noon becomes the database of crm again\n"
    )
    hosts.runner.restore(application="crm", kept="crm_noon", confirm="crm")
    assert hosts.change["what"] == "restore: crm gets crm_noon"


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"name": "reports"}, 'name: "reports" is the name of a database already'),
        ({"kept": "reports"}, 'kept: "reports" is not a database that a restore'),
        ({"confirm": "shop"}, 'confirm: "shop" is not the application\'s name'),
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
    hosts.said["pgbackrest.info"] = {"backups": []}
    assert refused(hosts, application="crm", confirm="crm").startswith("there is no backup\n")


def test_a_fleet_without_a_backup_host_restores_nothing(unsaved: Hosts) -> None:
    """O9, K5: The message says which role is missing, and no host is asked."""
    words = "no host has the role backup, so nothing is backed up"
    assert refused(unsaved, application="crm", confirm="crm").startswith(words)
    assert unsaved.asked == []


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
    hosts.failed["database_copy.discard"] = "crm: no restore has made or kept this database"
    with pytest.raises(RunnerError) as caught:
        hosts.runner.discard("crm", confirm="crm")
    assert str(caught.value) == "bbdd2: crm: no restore has made or kept this database"


# Restore drills

RECORD = {
    "good": True,
    "faults": [],
    "tables": 12,
    "rows": 3456,
    "seconds": 90,
    "ended": NOW.timestamp(),
}


def test_a_drill_counts_before_its_moment_and_after_it(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """O9: The primary counts, and the backup host restores and compares."""
    moment = "2026-11-29 05:10:00.123456+00"
    hosts.said |= {"drill.count": {"crm": {}}, "drill.moment": moment, "drill.run": RECORD}
    clock = SimpleNamespace(time=lambda: NOW.timestamp() + 120)
    monkeypatch.setattr(hosts.runner, "time", clock)
    assert hosts.runner.drill() == (
        "2 min ago, good: 3456 rows in 12 tables as on the primary, in 90 s"
    )
    assert hosts.asked == [
        ("bbdd2", "drill.count"),
        ("bbdd2", "drill.moment"),
        ("bbdd2", "drill.count"),
        ("bkp1", "drill.run", moment, {"crm": {}}, {"crm": {}}),
    ]


def test_a_failed_drill_fails_with_every_fault(hosts: Hosts) -> None:
    """O9, K5: Each line names the backup host."""
    faults = ["crm: is missing", "shop: public.a is missing"]
    hosts.said["drill.run"] = {**RECORD, "good": False, "faults": faults}
    with pytest.raises(RunnerError) as caught:
        hosts.runner.drill()
    assert str(caught.value).splitlines() == [f"bkp1: {fault}" for fault in faults]


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
    assert hosts.runner.evaluate() == {"due": False}


def test_a_fleet_without_a_backup_host_has_no_drill(
    unsaved: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """O9: The master asks each hour, in such a fleet too, and nothing fails."""
    monkeypatch.setattr(runner, "orchestrate", never)
    assert unsaved.runner.evaluate() == {"due": False}
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
        "fleet.probe",
    ]
    [made] = [step for step in found["steps"] if step.get("runner") == "backup.make_cluster"]
    assert made["arguments"] == {"host": "bbdd1", "until": "2026-11-29 05:00:00.000000+00"}
    assert hosts.change["what"] == found["what"]


@pytest.mark.parametrize("there", [False, True])
def test_an_interrupted_restore_of_the_cluster_goes_on(hosts: Hosts, there: bool) -> None:
    """O9: Data that an earlier attempt has restored are kept, and its next step follows."""
    hosts.said["file.file_exists"] = there  # the mark of a cluster that nobody has taken over
    hosts.runner.make_cluster("bbdd1", "")
    called = [function for _, function, *_ in hosts.asked if function.startswith("cluster_")]
    assert called == [*([] if there else ["cluster_restore.make"]), "cluster_restore.forget"]

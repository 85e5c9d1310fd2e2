"""The copy of a database from the backups on the primary, and its exchange with the running one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from salt.exceptions import CommandExecutionError

from salina.backup import lock, scratch
from salina.common import wait
from tests import fleets
from tests.loading import load, never, refusing
from tests.releases import NAME

MIB = 2**20
SIZE = 100 * MIB
NOON = "2026-11-29 12:00:00.000000+00"
NOW = "2026-11-29 15:00:00.5+00"
LAST = "2026-11-29 11:59:58.5+00"
ABOUT = "crm as of noon"
BUSY = 'database "crm" is being accessed by other users'
SEGMENT = "000000040000000000000058"
KEPT = "crm_before_20261129_120000"


class Database(NamedTuple):
    """A database: its owner, and what it is; `of` tells databases apart whatever their names."""

    owner: str
    about: str
    of: str


USUAL = {
    "postgres": Database("postgres", "", "postgres"),
    "crm": Database("crm", "", "the running one"),
}


class Primary:
    """A database host, which does what the statements say.

    `archived`: the last file in the repository and the one that failed, at each question; the last
    answer stays. `faults`: words of a statement or names of a function -> why the next attempts
    fail. `noted`: what happened, in order. `started`: the moment of the scratch cluster, or None.
    """

    def __init__(
        self, place: Path, monkeypatch: pytest.MonkeyPatch, fleet: str = "default"
    ) -> None:
        self.now, self.replica = 0.0, False
        self.databases = dict(USUAL)
        self.started: str | None = None
        self.row: list[str] = []
        self.recorded: list[tuple[Any, ...]] = []
        self.free = 2 * SIZE + scratch.SPARE
        self.archived = [(SEGMENT, "")]
        self.faults: dict[str, list[str]] = {}
        self.noted: list[tuple[str, ...]] = []
        self.salt: dict[str, Any] = {
            "database.query": self.query,
            "database.record": self.record,
            "database.row": lambda name: self.row,
            "scratch.start": self.start,
            "scratch.query": self.scratch_query,
            "scratch.load": self.load,
            "scratch.remove": self.remove,
        }
        pillar = fleets.pillar("bbdd1", fleet)
        self.module: Any = load("_modules/database_copy.py", salt=self.salt, pillar=pillar)
        usage = SimpleNamespace(disk_usage=lambda path: SimpleNamespace(free=self.free))
        monkeypatch.setattr(self.module, "shutil", usage)
        monkeypatch.setattr(lock, "FILE", str(place / "lock"))
        clock = SimpleNamespace(monotonic=lambda: self.now, sleep=self.sleep)
        monkeypatch.setattr(wait, "time", clock)

    def sleep(self, seconds: float) -> None:
        """Let time pass, without waiting for it."""
        self.now += seconds

    def fail(self, what: str) -> None:
        """Fail if this is to fail."""
        for words, reasons in self.faults.items():
            if words in what and reasons:
                raise CommandExecutionError(reasons.pop(0))

    def start(self, until: str) -> str:
        """Start a scratch cluster where there is none."""
        assert self.started is None
        self.started = until
        self.noted.append(("start", until))
        self.fail("scratch.start")
        return LAST

    def record(self, application: str, database: str, row: Sequence[str] = ()) -> bool:
        """Make the place for the release."""
        assert database in self.databases
        self.recorded.append((application, database, [*row]))
        return True

    def scratch_query(self, sql: str, database: str = "") -> str:
        """Return the size of the database in the backup, or the release that it belongs to."""
        assert self.started
        if database:
            assert database == "crm"
            if sql.startswith("COPY salina.release "):
                return f'{NAME},"{{""crm"": ""00""}}"'
            return json.dumps({"table": "salina_record_crm", "before": True})
        assert sql == scratch.size("crm")
        self.fail("scratch.query")
        return str(SIZE)

    def load(self, application: str, target: str, owner: str) -> None:
        """Copy the content into an empty database, which its owner does."""
        assert self.started and self.databases[target].of == ""
        assert self.databases[target].owner == owner
        self.databases[target] = self.databases[target]._replace(of="a part of it")
        self.fail("scratch.load")
        self.databases[target] = self.databases[target]._replace(of=f"{application} restored")

    def remove(self) -> None:
        """Remove the scratch cluster, also if there is none."""
        self.started = None
        self.noted.append(("remove",))

    def query(self, sql: str, database: str) -> str:
        """Answer a statement, or do what it says."""
        if sql == "SELECT pg_is_in_recovery()":
            return "t" if self.replica else "f"
        self.noted.append((sql, database))
        self.fail(sql)
        if sql == "SELECT datname FROM pg_database":
            return "\n".join(self.databases)
        if sql == scratch.KEPT:
            marked = {name: one.about for name, one in self.databases.items() if one.about}
            return json.dumps([[name, SIZE, about] for name, about in sorted(marked.items())])
        if sql == scratch.ORIGINS:
            origins = {
                name: one.about.removeprefix(scratch.ORIGIN)
                for name, one in self.databases.items()
                if one.about.startswith(scratch.ORIGIN)
            }
            return json.dumps(origins)
        if "json_object_agg" in sql:
            return json.dumps(dict.fromkeys(self.databases, SIZE))
        if sql == "SELECT clock_timestamp()":
            return NOW
        if "pg_switch_wal" in sql:
            return SEGMENT
        if "pg_stat_archiver" in sql:
            return "|".join(self.archived.pop(0) if self.archived[1:] else self.archived[0])
        self.databases = after(sql, self.databases)
        return ""

    @property
    def changes(self) -> list[tuple[str, ...]]:
        """Return what happened, without what only asks."""
        return [one for one in self.noted if not one[0].startswith("SELECT datname")]


def after(sql: str, databases: dict[str, Database]) -> dict[str, Database]:
    """Return the databases after SQL, all of which succeeds or nothing."""
    found = dict(databases)
    for line in sql.splitlines():
        names = re.findall(r'"([^"]+)"', line)
        needed = names[:0] if line.startswith(("DROP DATABASE IF EXISTS", "CREATE")) else names[:1]
        if not {*needed} <= {*found}:
            raise CommandExecutionError(f'database "{names[0]}" does not exist')
        if line.startswith("DROP"):
            found.pop(names[0], None)
        elif line.startswith("CREATE") or "RENAME" in line:
            new = names[0] if line.startswith("CREATE") else names[1]
            if new in found:
                raise CommandExecutionError(f'database "{new}" already exists')
            empty = Database(names[1], "", "")
            found[new] = empty if line.startswith("CREATE") else found.pop(names[0])
        elif owner := re.search(r"OWNER TO \"?(\w+)", line):
            found[names[0]] = found[names[0]]._replace(owner=owner[1])
        elif line.startswith("COMMENT"):
            about = re.search(r"IS '(.*)';", line)
            found[names[0]] = found[names[0]]._replace(about=about[1] if about else "")
    return found


COPY = Database("crm", f"salina: {ABOUT}", "crm restored")


@pytest.fixture
def primary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Primary:
    return Primary(tmp_path, monkeypatch)


@pytest.fixture
def copied(primary: Primary) -> Primary:
    """A primary with a complete copy."""
    primary.databases[scratch.TEMPORARY] = COPY
    return primary


def failed(call: Callable[[], Any]) -> str:
    """Return why a call fails."""
    with pytest.raises(CommandExecutionError) as caught:
        call()
    return str(caught.value)


# The release of a database


@pytest.mark.parametrize("found", ["c0ffee000000-0123abcd", None])
def test_o9_a_database_names_its_release(primary: Primary, found: str | None) -> None:
    """O9: A database from before there were records names none."""
    primary.row = [found, "{}"] if found else []
    assert primary.module.release("crm_before") == (found or "")


def test_o9_x10_a_copy_says_which_release_it_belongs_to(primary: Primary) -> None:
    """O9, X10: The record comes from the backup, and not through the application's hands. One that
    was kept has its own, and one from before there was such a place gets it when it comes back.
    """
    primary.module.make("crm", "", "a copy")
    parts = json.dumps({"crm": "00"})
    assert primary.recorded == [("crm", scratch.TEMPORARY, [NAME, parts])]
    primary.module.exchange("crm", scratch.TEMPORARY, "crm_before", "crm until noon")
    assert primary.recorded[1:] == [("crm", scratch.TEMPORARY, [])]


# The copy


def test_o9_a_copy_disturbs_nobody(primary: Primary) -> None:
    """O9: It says what it is once it is complete, the scratch cluster is gone, no session ends."""
    assert primary.module.make("crm", NOON, ABOUT) == LAST
    assert primary.databases == USUAL | {scratch.TEMPORARY: COPY}
    assert ("start", NOON) in primary.noted and primary.started is None
    assert ("ANALYZE", scratch.TEMPORARY) in primary.noted
    assert "pg_terminate_backend" not in str(primary.noted)


def test_o1_a_copy_for_trials_belongs_to_another_application(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """O1: It is of the original's database in the backups, and its role is that of the copy."""
    primary = Primary(tmp_path, monkeypatch, "staging")
    assert primary.module.make("crm", NOON, ABOUT, "crm_staging") == LAST
    copied = Database("crm_staging", f"salina: {ABOUT}", "crm restored")
    assert primary.databases == USUAL | {scratch.TEMPORARY: copied}


def test_o9_now_is_a_moment_whose_wal_is_in_the_repository(primary: Primary) -> None:
    """O9: A recovery without a moment would take a failure to fetch WAL for its end.

    The last changes arrive before it begins.
    """
    primary.archived = [("000000040000000000000057", ""), (SEGMENT, "")]
    primary.module.make("crm", "", ABOUT)
    asked = [one[0] for one in primary.noted]
    steps = [asked.index("SELECT clock_timestamp()"), asked.index("SELECT pg_current_xact_id()")]
    steps.append(next(place for place, sql in enumerate(asked) if "pg_switch_wal" in sql))
    steps.append(max(place for place, sql in enumerate(asked) if "pg_stat_archiver" in sql))
    steps.append(primary.noted.index(("start", NOW)))
    assert steps == sorted(steps) and primary.now > 0


def test_o9_an_earlier_moment_needs_no_archiving(primary: Primary) -> None:
    """O9, K5: It may be in the repository already. Only for now a failure is an error."""
    primary.archived = [("000000040000000000000057", SEGMENT)]
    assert primary.module.make("crm", NOON, ABOUT) == LAST
    assert primary.databases[scratch.TEMPORARY] == COPY
    primary.salt["scratch.start"] = never
    assert f"archiving {SEGMENT} fails" in failed(lambda: primary.module.make("crm", "", ABOUT))


def test_k2_an_interrupted_copy_is_replaced(primary: Primary) -> None:
    """K2: A part of a copy, or a scratch cluster, is in nobody's way. A whole copy is renewed."""
    primary.started = "2026-11-28 12:00:00+00"
    primary.databases[scratch.TEMPORARY] = Database("crm", "", "a part of it")
    for about in (ABOUT, "crm as of one o'clock"):
        assert primary.module.make("crm", NOON, ABOUT) == LAST, about
        assert primary.databases == USUAL | {scratch.TEMPORARY: COPY}


def test_o9_a_copy_that_does_not_fit_is_not_made(primary: Primary) -> None:
    """O9, K5: It would fill the disk of the running cluster. One byte decides."""
    primary.free -= 1
    said = failed(lambda: primary.module.make("crm", NOON, ABOUT))
    assert said == "the copy has 100 MiB, and as much WAL, and 2247 MiB are free"
    assert (primary.databases, primary.started) == (USUAL, None)
    primary.free += 1
    assert primary.module.make("crm", NOON, ABOUT) == LAST


@pytest.mark.parametrize(
    "step", ["scratch.start", "scratch.query", "CREATE DATABASE", "scratch.load", "ANALYZE"]
)
def test_k5_a_copy_that_fails_is_none(primary: Primary, step: str) -> None:
    """K5, K2: The error is passed on, the scratch cluster is gone, and the next copy succeeds.

    The running database is as before, and no restore takes a part of a copy for a whole one.
    """
    primary.faults[step] = ["the reason"]
    assert failed(lambda: primary.module.make("crm", NOON, ABOUT)) == "the reason"
    assert primary.started is None and primary.noted[-1] == ("remove",)
    assert primary.databases["crm"] == USUAL["crm"] and primary.module.kept() == []
    assert primary.module.make("crm", NOON, ABOUT) == LAST
    assert primary.databases == USUAL | {scratch.TEMPORARY: COPY}


def test_k5_an_application_of_another_fleet(
    primary: Primary, monkeypatch: pytest.MonkeyPatch
) -> None:
    """K5: Only the databases of the pillar are copied, and the scratch cluster is gone."""
    monkeypatch.setattr(scratch, "size", lambda name: "SELECT pg_database_size('crm')")
    said = failed(lambda: primary.module.make("shop", NOON, ABOUT))
    assert said == "shop: the pillar of this host has no such application"
    assert (primary.databases, primary.started) == (USUAL, None)


def test_k5_two_copies_at_the_same_time(primary: Primary) -> None:
    """K5: The second would delete the scratch cluster of the first, and its copy."""
    with lock.alone():
        said = failed(lambda: primary.module.make("crm", NOON, ABOUT))
    assert said == "another restore or restore drill is running on this host"
    assert primary.changes == []


@pytest.mark.parametrize(
    "call",
    [
        lambda module: module.make("crm", NOON, ABOUT),
        lambda module: module.exchange("crm", scratch.TEMPORARY, KEPT, "crm until noon"),
        lambda module: module.rename("crm_noon"),
        lambda module: module.discard(scratch.TEMPORARY),
        lambda module: module.archive(),
        lambda module: module.names(),
    ],
)
def test_k5_a_replica_is_left_alone(copied: Primary, call: Callable[[Any], Any]) -> None:
    """K5: The error says where to look for the primary."""
    copied.replica = True
    said = failed(lambda: call(copied.module))
    assert said == "this host is a replica (see patroni.leader)"
    assert copied.noted == []


def test_k4_no_statement_has_a_password(primary: Primary) -> None:
    """K4: PostgreSQL would log it. A copy gets the role that its application has already."""
    primary.module.make("crm", NOON, ABOUT)
    primary.module.exchange("crm", scratch.TEMPORARY, KEPT, "crm until noon")
    assert "canary" not in str(primary.noted)


# The last changes


@pytest.mark.parametrize(
    "last",
    [
        SEGMENT,
        "000000040000000000000059",
        "000000040000000100000000",
        "000000040000000000000058.00000028.backup",
    ],
)
def test_o9_the_last_changes_are_in_the_repository(primary: Primary, last: str) -> None:
    """O9: Their file has arrived, or a later one. The history of a timeline is none."""
    primary.archived = [("", ""), ("00000004.history", ""), (last, "")]
    primary.module.archive()
    assert 0 < primary.now < primary.module.ARCHIVED and primary.archived == [(last, "")]


@pytest.mark.parametrize(
    ("archived", "said"),
    [
        (("000000040000000000000057", SEGMENT), f"archiving {SEGMENT} fails"),
        (
            ("000000040000000000000057", ""),
            "the last that arrived is 000000040000000000000057",
        ),
        (("00000004.history", ""), "the last that arrived is 00000004.history"),
    ],
)
def test_k5_wal_that_does_not_arrive(
    primary: Primary, archived: tuple[str, str], said: str
) -> None:
    """K5: The wait has an end, and the error says why and where to look."""
    primary.archived = [archived]
    assert failed(primary.module.archive) == (
        f"waited 120 s for WAL {SEGMENT} to arrive in the repository: {said}; "
        "see journalctl -u patroni"
    )
    assert primary.now == 120


# The exchange


def exchange(host: Primary) -> str:
    """Let the copy take the place of the running database."""
    found = host.module.exchange("crm", scratch.TEMPORARY, KEPT, "crm until noon")
    return str(found)


EXCHANGED = {
    "postgres": USUAL["postgres"],
    "crm": Database("crm", "", "crm restored"),
    KEPT: Database("postgres", "salina: crm until noon", "the running one"),
}


def test_k2_a_repeated_exchange_changes_nothing(copied: Primary) -> None:
    """K2, O9: Otherwise the second would put the former database back."""
    for _ in range(2):
        assert exchange(copied) == KEPT
        assert copied.databases == EXCHANGED


def test_o9_sessions_that_come_again_are_ended_again(copied: Primary) -> None:
    """O9: Each attempt ends them, and the first one without a session in its way succeeds."""
    copied.faults["RENAME"] = [BUSY] * 3
    assert exchange(copied) == KEPT
    assert copied.databases == EXCHANGED
    attempts = [sql for sql, *_ in copied.noted if "RENAME" in sql]
    assert len(attempts) == 4 and all("pg_terminate_backend" in sql for sql in attempts)


@pytest.mark.parametrize(
    ("call", "patience"),
    [(exchange, 30), (lambda host: host.module.rename("crm_noon"), 30)],
)
def test_k5_sessions_that_never_end(
    copied: Primary, call: Callable[[Primary], str], patience: int
) -> None:
    """K5: The wait has an end, the error has PostgreSQL's words, and all names are as before."""
    copied.faults["RENAME"] = [BUSY] * 1000
    said = failed(lambda: call(copied))
    assert said == f"waited {patience} s for the databases to be without sessions: {BUSY}"
    assert copied.now == patience
    assert copied.databases == USUAL | {scratch.TEMPORARY: COPY}


@pytest.mark.parametrize("call", [exchange, lambda host: host.module.rename("crm_noon")])
def test_k5_a_refusal_is_passed_on_at_once(copied: Primary, call: Callable[[Primary], str]) -> None:
    """K5: The wait is for the end of sessions only."""
    copied.faults["RENAME"] = ["the disk is full", BUSY]
    assert failed(lambda: call(copied)) == "the disk is full"
    assert copied.now == 0 and copied.databases == USUAL | {scratch.TEMPORARY: COPY}


@pytest.mark.parametrize("call", [exchange, lambda host: host.module.rename("crm_noon")])
def test_k5_without_a_copy_nothing_changes(
    primary: Primary, call: Callable[[Primary], str]
) -> None:
    """K5: PostgreSQL's error is passed on, and the running database keeps its name."""
    said = failed(lambda: call(primary))
    assert said == 'database "salina_restored" does not exist'
    assert primary.databases == USUAL


def test_o9_a_database_that_was_deleted_comes_back(copied: Primary) -> None:
    """O9: Nothing is kept then."""
    del copied.databases["crm"]
    exchange(copied)
    assert copied.databases == {"postgres": USUAL["postgres"], "crm": EXCHANGED["crm"]}


def test_o9_a_kept_database_comes_back(copied: Primary) -> None:
    """O9: A restore can be undone. The restored database is kept in turn."""
    exchange(copied)
    copied.module.exchange("crm", KEPT, "crm_before_20261129_150000", "crm until three")
    assert copied.databases == USUAL | {
        "crm_before_20261129_150000": Database("postgres", "salina: crm until three", COPY.of)
    }


def test_k2_a_database_says_by_which_request_it_came(copied: Primary) -> None:
    """K2, O9: Until the restore is complete, or another database takes its place."""
    copied.module.exchange("crm", scratch.TEMPORARY, KEPT, "crm until noon", "as of noon")
    assert copied.module.origins() == {"crm": "as of noon"}
    copied.module.complete("crm")
    assert copied.module.origins() == {} and copied.databases == EXCHANGED
    copied.module.exchange("crm", KEPT, "crm_failed", "crm until three", KEPT)
    assert copied.module.origins() == {"crm": KEPT}
    copied.module.exchange("crm", "crm_failed", KEPT, "crm until four")
    assert copied.module.origins() == {}


def test_k2_a_repeated_rename_changes_nothing(copied: Primary) -> None:
    """K2, O9: A copy with its own name belongs to the superuser, so no application deletes it."""
    for _ in range(2):
        assert copied.module.rename("crm_noon") == "crm_noon"
        assert copied.databases == USUAL | {"crm_noon": COPY._replace(owner="postgres")}


def test_o1_a_copy_for_trials_gets_its_name_and_keeps_its_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """O1, K2: Its application removes and upgrades it later. A second call changes nothing.

    No restore may take it, so it does not have the comment of a restore any more.
    """
    primary = Primary(tmp_path, monkeypatch, "staging")
    name, owned = "salina_next_crm_staging", COPY._replace(owner="crm_staging")
    primary.databases[scratch.TEMPORARY] = owned
    for _ in range(2):
        assert primary.module.rename(name, "crm_staging") == name
        assert primary.databases == USUAL | {name: owned._replace(about="")}
        assert primary.module.kept() == []


def test_k5_a_copy_for_an_unknown_application_gets_no_name(copied: Primary) -> None:
    """O1, K5: Otherwise it would belong to the superuser."""
    said = failed(lambda: copied.module.rename("salina_next_shop", "shop"))
    assert said == "shop: the pillar of this host has no such application"
    assert copied.databases == USUAL | {scratch.TEMPORARY: COPY}


# Databases that restores have made or kept


def test_o9_restores_know_their_databases(copied: Primary) -> None:
    """O9: Those of applications and of PostgreSQL are not among them, and all have names."""
    exchange(copied)
    assert copied.module.kept() == [{"name": KEPT, "size": SIZE, "about": "crm until noon"}]
    assert sorted(copied.module.names()) == ["crm", KEPT, "postgres"]


def test_k5_only_such_a_database_can_be_deleted(copied: Primary) -> None:
    """K5: The error names the others."""
    for name in ("crm", "postgres", "shop"):
        said = failed(lambda name=name: copied.module.discard(name))  # type: ignore[misc]
        assert said == (
            f"{name}: no restore has made or kept this database; choose one of: salina_restored"
        )
    assert copied.module.discard(scratch.TEMPORARY) == scratch.TEMPORARY
    assert copied.databases == USUAL
    assert failed(lambda: copied.module.discard("crm")).endswith("choose one of: (none)")


def test_o9_an_interrupted_copy_takes_no_room(copied: Primary) -> None:
    """O9: The next one deletes it, so its bytes are free, and not a part of the cluster."""
    free = copied.free
    wanted = {"size": SIZE, "cluster": 2 * SIZE, "free": free + SIZE}
    assert copied.module.sizes("crm") == wanted
    copied.module.clean()
    assert copied.module.sizes("crm") == wanted | {"free": free}
    del copied.databases["crm"]
    assert copied.module.sizes("crm") == {"size": 0, "cluster": SIZE, "free": free}


def test_k2_a_removal_can_be_repeated(copied: Primary) -> None:
    """K2: An interrupted copy leaves nothing behind, and the running databases stay."""
    copied.started = NOON
    for _ in range(2):
        copied.module.clean()
        assert copied.databases == USUAL and not copied.started


def test_k5_a_scratch_cluster_that_cannot_be_removed(primary: Primary) -> None:
    """K5: No second one begins in its place, and the error is passed on."""
    primary.salt["scratch.remove"] = refusing("systemctl stop salina-scratch: timed out")
    said = failed(lambda: primary.module.make("crm", NOON, ABOUT))
    assert said == "systemctl stop salina-scratch: timed out"
    assert primary.noted == [] and primary.databases == USUAL

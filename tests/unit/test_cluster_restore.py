"""The cluster comes back from the backups, after every database host has lost its data."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from salt.exceptions import CommandExecutionError

from salina.backup import lock, scratch
from salina.common.https import Identity, NoAnswer
from salina.quorum import client
from tests import fleets
from tests.loading import load, never

NOON = "2026-11-29 12:00:00.000000+00"
LAST = "2026-11-29 11:59:58.5+00"
WAL = "000000030000000000000058"
PASSWORD = "canary-etcd-patroni"
SETTINGS = {
    "restore_command": "pgbackrest archive-get",
    "archive_mode": "off",
    "recovery_target_time": NOON,
    "recovery_target_action": "promote",
    "recovery_target_timeline": "latest",
}
"""Settings that pgBackRest has written for the recovery."""
UNSENT = ["00000004.history", "000000040000000000000058"]
"""The WAL that the repository needs of a cluster that has recovered."""


class Host:
    """The first database host.

    `reached`: the position at which the recovery ends. `faults`: the steps that fail, with their
    words. `settings`: those that the scratch cluster would keep. `keys`: etcd's; `mute`: the
    members that do not answer.
    """

    def __init__(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.source, self.target = place / "scratch", place / "salina"
        self.running = self.written = self.patroni = False
        self.leader: str | None = None
        self.reached = "0/58004D78"
        self.faults: dict[str, str] = {}
        self.starts: list[str] = []
        self.settings = dict[str, str]()
        self.keys = {"/service/salina/leader", "/service/salina/members/bbdd2"}
        self.keys |= {"/service/salina2/leader", "/other"}
        self.password = PASSWORD
        self.mute: set[str] = set()
        self.salt: dict[str, Any] = {
            "scratch.start": self.start,
            "scratch.stop": self.stop,
            "scratch.query": self.query,
            "scratch.mark": self.mark,
            "cmd.run_all": self.run_all,
            "service.status": lambda name: self.patroni,
            "patroni.leader": lambda: self.leader,
        }
        pillar = fleets.pillar("bbdd1")
        pillar["scratch"]["files"] = str(self.source)
        pillar["archiving"]["database_files"] = str(self.target)
        self.module: Any = load("_modules/cluster_restore.py", salt=self.salt, pillar=pillar)
        monkeypatch.setattr(lock, "FILE", str(place / "lock"))
        monkeypatch.setattr(client, "call", self.etcd)

    def fail(self, step: str) -> None:
        """Fail if the step is to fail."""
        if step in self.faults:
            raise CommandExecutionError(self.faults[step])

    def start(self, until: str) -> str:
        """Restore a scratch cluster in place of an earlier one."""
        shutil.rmtree(self.source, ignore_errors=True)
        (self.source / "pg_wal" / "archive_status").mkdir(parents=True)
        self.starts.append(until)
        self.fail("start")
        for name in (WAL, *UNSENT, "000000040000000000000059"):
            (self.source / "pg_wal" / name).touch()
        self.settings = SETTINGS | {"max_connections": "100"}
        self.running, self.written = True, False
        return LAST

    def query(self, sql: str) -> str:
        """Answer a statement."""
        assert self.running
        self.fail("query")
        if parameter := sql.partition("ALTER SYSTEM RESET ")[2]:
            del self.settings[parameter]
            return ""
        assert sql == "SELECT pg_last_wal_replay_lsn()"
        return self.reached

    def stop(self) -> None:
        """Stop the scratch cluster."""
        self.fail("stop")
        self.running = False

    def mark(self, names: list[str]) -> None:
        """Make empty files, once PostgreSQL no longer looks after them."""
        assert not self.running
        self.fail("mark")
        for name in names:
            (self.source / name).touch()

    def run_all(self, argv: list[str], **options: Any) -> dict[str, Any]:
        """Write all files to the disk."""
        assert argv[-1] == "sync" and not self.running
        assert not self.target.exists() and (self.source / scratch.RESTORED).exists()
        self.written = "sync" not in self.faults
        return {"retcode": int(not self.written), "stdout": "", "stderr": self.faults.get("sync")}

    def etcd(self, method: str, url: str, caller: Identity, body: dict[str, Any]) -> Any:
        """Answer a request as a member of etcd that wants a login."""
        member, _, path = url.removeprefix("https://").partition("/v3/")
        if member in self.mute:
            raise NoAnswer(f"{member}: timed out")
        if path == "auth/authenticate":
            good = body == {"name": "patroni", "password": self.password}
            return (200, {"token": "a"}) if good else (400, {"message": "authentication failed"})
        assert (path, caller.authorization) == ("kv/deleterange", "a")
        first, end = (base64.b64decode(body[key]).decode() for key in ("key", "range_end"))
        self.keys = {key for key in self.keys if not first <= key < end}
        return 200, {}

    @property
    def restored(self) -> Path:
        """Return the file of a cluster that Patroni has not taken over yet."""
        return self.target / scratch.RESTORED


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(tmp_path, monkeypatch)


def failed(call: Callable[[], Any]) -> str:
    """Return why a call fails."""
    with pytest.raises(CommandExecutionError) as caught:
        call()
    return str(caught.value)


# The restore


@pytest.mark.parametrize("until", ["", NOON])
def test_o9_a_lost_cluster_comes_back(host: Host, until: str) -> None:
    """O9: It is complete and on the disk before it has its place, and ready for Patroni."""
    assert host.module.make(until, WAL) == LAST
    assert (host.starts, host.running, host.written) == ([until], False, True)
    assert host.target.exists() and not host.source.exists()
    assert host.restored.read_text() == until


def test_o9_the_cluster_forgets_the_recovery(host: Host) -> None:
    """O9: It would archive nothing, or recover again. Its other settings stay."""
    host.module.make()
    assert host.settings == {"max_connections": "100"}


def test_o9_the_repository_gets_the_new_timeline(host: Host) -> None:
    """O9: Otherwise the next restore could not find the way to what comes after this one."""
    host.module.make()
    status = host.target / "pg_wal" / "archive_status"
    assert sorted(file.name for file in status.iterdir()) == [f"{name}.ready" for name in UNSENT]


def test_k2_a_complete_restore_is_not_repeated(host: Host) -> None:
    """K2: The next step goes on with its data."""
    host.module.make(NOON, WAL)
    host.salt["scratch.start"] = never
    assert host.module.make(NOON, WAL) == ""
    assert host.restored.read_text() == NOON


@pytest.mark.parametrize(("first", "second"), [("", NOON), (NOON, "")])
def test_k5_data_of_another_moment_are_kept(host: Host, first: str, second: str) -> None:
    """K5: The error names the directory, and the operator decides."""
    host.module.make(first)
    said = failed(lambda: host.module.make(second))
    assert said.startswith(f"{host.target} exists, with other data than those of {second or 'now'}")
    assert (host.starts, host.restored.read_text()) == ([first], first)


@pytest.mark.parametrize("until", ["", NOON])
def test_k5_a_cluster_that_exists_is_left_alone(host: Host, until: str) -> None:
    """K5: Nothing is restored, also if the data are those of a restore that Patroni runs by now."""
    host.target.mkdir()
    (host.target / "PG_VERSION").write_text("15\n")
    said = failed(lambda: host.module.make(until))
    assert "exists, with other data" in said and "apply its states" in said
    assert (host.starts, [file.name for file in host.target.iterdir()]) == ([], ["PG_VERSION"])


@pytest.mark.parametrize("step", ["start", "query", "stop", "mark", "sync"])
def test_k2_an_interrupted_restore_begins_again(host: Host, step: str) -> None:
    """K2, K5: The error is passed on, nothing takes the cluster's place, the next one succeeds."""
    host.faults[step] = "the disk is full"
    assert failed(lambda: host.module.make("", WAL)).endswith("the disk is full")
    assert not host.target.exists()
    host.faults.clear()
    assert host.module.make("", WAL) == LAST
    assert host.settings == {"max_connections": "100"} and host.restored.exists()


def test_o9_a_recovery_that_ends_early_is_no_restore(host: Host) -> None:
    """O9, K5: PostgreSQL takes every failure to fetch WAL for its end. The next one may succeed."""
    host.reached = "0/57FFFFFF"
    said = failed(lambda: host.module.make("", WAL))
    assert said == f"the recovery ended at 0/57FFFFFF, before {WAL}, which is in the repository"
    assert not host.target.exists()
    host.reached = "0/58004D78"
    assert host.module.make("", WAL) == LAST


@pytest.mark.parametrize(("until", "least"), [(NOON, WAL), ("", "")])
def test_o9_a_recovery_that_may_end_early(host: Host, until: str, least: str) -> None:
    """O9: PostgreSQL itself looks for the moment, and an empty repository of WAL asks nothing."""
    host.reached = "0/3000028"
    assert host.module.make(until, least) == LAST


def test_k5_two_restores_at_the_same_time(host: Host) -> None:
    """K5: The second would delete the scratch cluster of the first."""
    with lock.alone():
        said = failed(host.module.make)
    assert said == "another restore or restore drill is running on this host"
    assert host.starts == []


# The quorum


def test_o9_the_quorum_forgets_this_cluster_only(host: Host) -> None:
    """O9: The keys of a cluster whose name begins alike stay. A member may be down."""
    host.mute = {"10.1.4.21:2379"}
    host.module.make()
    host.module.forget()
    assert host.keys == {"/service/salina2/leader", "/other"}
    assert host.target.exists() and not host.restored.exists()


def test_k5_the_quorum_forgets_once(host: Host) -> None:
    """K5: By the next time Patroni has written the keys of the restored cluster."""
    host.module.make()
    host.module.forget()
    host.keys = {"/service/salina/leader"}
    assert failed(host.module.forget).startswith("this host has no restored data")
    assert "exists, with other data" in failed(host.module.make)
    assert host.keys == {"/service/salina/leader"}


def test_k5_without_restored_data_the_quorum_forgets_nothing(host: Host) -> None:
    """K5: Neither without data nor with those of a cluster that was not restored."""
    before = host.keys
    for _ in range(2):
        assert failed(host.module.forget).startswith("this host has no restored data")
        host.target.mkdir(exist_ok=True)
    assert host.keys == before


@pytest.mark.parametrize(("patroni", "leader"), [(True, None), (False, "bbdd2")])
def test_k5_a_cluster_that_lives_is_not_forgotten(
    host: Host, patroni: bool, leader: str | None
) -> None:
    """K5: Patroni runs on this host or leads on another one, and the error says how to go on."""
    host.module.make()
    before = host.keys
    host.patroni, host.leader = patroni, leader
    said = failed(host.module.forget)
    assert said == "Patroni runs, so there is a cluster; apply the states"
    assert host.keys == before and host.restored.exists()


def test_k2_a_quorum_that_does_not_answer_is_asked_again(host: Host) -> None:
    """K2, K5: Every member's words are in the error, and the next attempt goes on from there."""
    host.module.make()
    members = host.module.__pillar__["database"]["quorum"]
    host.mute = {*members}
    said = failed(host.module.forget)
    assert said.startswith("no etcd member deleted the lost cluster: ")
    assert all(f"{member}: timed out" in said for member in members)
    assert host.module.make() == ""
    host.mute.clear()
    host.module.forget()
    assert host.keys == {"/service/salina2/leader", "/other"}


def test_k4_a_refused_login_shows_no_password(host: Host) -> None:
    """K4, K5: The error has etcd's words."""
    host.module.make()
    host.password = "another"
    said = failed(host.module.forget)
    assert "authentication failed" in said and PASSWORD not in said
    assert host.restored.exists()

"""The checks that a host makes of itself (salina.health.probes)."""

from __future__ import annotations

import ast
import inspect
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509

from salina.backup import drill, pgbackrest
from salina.common.certificate import new_key
from salina.health import probes
from salina_fleet import health, secrets
from salina_fleet.model import settings
from tests import fleets
from tests.conftest import REPOSITORY

DATA = Path(__file__).parent / "data/gluster"
STATISTICS = """# pxname,svname,status
web,FRONTEND,OPEN
web,s1,UP
web,s2,UP 1/2
web,s3,DOWN
web,BACKEND,UP
"""
ROUTE = """# pxname,svname,status
database,FRONTEND,OPEN
database,bbdd1,{}
database,bbdd2,DOWN
database,nobody,no check
database,BACKEND,UP
"""
BRICK = (7, ["/usr/sbin/glusterfsd", "-s", "nas2", "--brick-name", "/nas", "--brick-port", "49152"])
HEALER = (8, ["/usr/sbin/glusterfs", "-s", "localhost", "--volfile-id", "shd/nas"])
LAG = 64 * 2**20


# Balancer and application


def test_balancer_needs_every_server() -> None:
    assert list(probes.backends(STATISTICS)) == [("haproxy web", False, "2 of 3 up; s3 is DOWN")]


def test_database_route_needs_one_server() -> None:
    """The placeholder without a check does not count; the replica is down on purpose."""
    assert list(probes.backends(ROUTE.format("UP"))) == [("haproxy database", True, "1 of 2 up")]
    assert list(probes.backends(ROUTE.format("DOWN"))) == [("haproxy database", False, "0 of 2 up")]


def test_the_placeholder_has_no_check() -> None:
    """The route's file has the placeholder that HAProxy shows as `no check`."""
    text = (REPOSITORY / "salt/database_route/files/10-database.cfg").read_text()
    assert "server nobody 127.0.0.1:1 backup no-check" in text


def told(**faults: str) -> dict[str, Any]:
    """Return an agent's answer: 503 with these faults, or 200."""
    words = "; ".join(f"{name}: {fault}" for name, fault in faults.items())
    return {
        "status": 503 if faults else 200,
        "reason": words or "healthy",
        "checks": {name: faults.get(name, "") for name in ("files", "database", "disk")},
        "balancers": {},
    }


def test_an_app_host_says_what_its_agent_says() -> None:
    """S12: All of the agent's reasons are shown, and its verdict, which the balancers get."""
    good = [("files", True, ""), ("database", True, ""), ("disk", True, ""), ("app", True, "")]
    assert list(probes.agreed(told())) == good
    dead = told(files="/mnt/nas: Transport endpoint is not connected", disk="/ is full")
    assert list(probes.agreed(dead)) == [
        ("files", False, "/mnt/nas: Transport endpoint is not connected"),
        ("database", True, ""),
        ("disk", False, "/ is full"),
        ("app", False, "not asked"),
    ]


@pytest.mark.parametrize(
    ("status", "reason", "shown"),
    [(503, "application: status 500", "status 500"), (404, "draining", "draining")],
)
def test_an_app_host_that_gets_no_requests(status: int, reason: str, shown: str) -> None:
    """S12: The application's own fault, and a drain."""
    found = list(probes.agreed({**told(), "status": status, "reason": reason}))
    assert found[-1] == ("app", False, shown)


def test_the_agent_is_asked_over_its_socket(tmp_path: Path, monkeypatch: Any) -> None:
    """The question and the answer are HTTP over a Unix socket."""
    path = str(tmp_path / "agent")
    monkeypatch.setattr(probes, "AGENT", path)
    assert probes.made("agent", {}) == [("agent", False, "not deployed (agent is missing)")]
    body = json.dumps(told())
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                assert connection.recv(1000).startswith(b"GET / HTTP/1.1\r\n")
                connection.sendall(f"HTTP/1.1 200 OK\r\nX: y\r\n\r\n{body}\n".encode())

        threading.Thread(target=answer, daemon=True).start()
        assert probes.made("agent", {})[-1] == ("app", True, "")


@pytest.fixture
def listening() -> Iterator[HTTPServer]:
    """A process for long requests, which is this test's."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(int(self.path[1:]))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server
        server.shutdown()


def test_live(listening: HTTPServer, monkeypatch: Any) -> None:
    """The process for long requests must listen; its age is that of the port's owner."""
    port = listening.server_port
    assert probes.listener(port) == os.getpid()
    monkeypatch.setattr(probes, "age_of", lambda _: 100.0)
    assert probes.made("live", {"port": port}) == [("live", True, "")]
    monkeypatch.setattr(probes, "status_of", lambda _: ["S", "1"])
    monkeypatch.setattr(probes, "young", lambda *_: ("live", False, "asked"))
    assert probes.made("live", {"port": port}) == [("live", True, "")]
    (refused,) = probes.made("live", {"port": 1})
    assert refused[:2] == ("live", False) and "refused" in refused[2]


@pytest.mark.parametrize(
    ("age", "parent", "good"), [(5, 300, False), (5, 20, True), (300, 300, True), (40, 300, True)]
)
def test_a_process_that_starts_again_and_again(age: float, parent: float, good: bool) -> None:
    """It is much younger than its master, which starts it again at once."""
    found = probes.young(age, parent)
    assert found[1] == good
    assert good or found[2] == "its process started again 5 s ago"


def test_the_age_of_a_process() -> None:
    """The age comes from the kernel, in seconds."""
    process = subprocess.Popen(["sleep", "30"])
    try:
        assert 0 <= probes.age_of(process.pid) < 25
        assert probes.status_of(process.pid)[1] == str(os.getpid())
    finally:
        process.kill()
        process.wait()


# Storage


def stored(
    monkeypatch: pytest.MonkeyPatch,
    running: list[tuple[int, list[str]]],
    free: int = 400,
    waiting: int = 0,
    state: str = "S",
    replica: str = "3",
) -> dict[str, tuple[bool, str]]:
    """Return the checks of nas2: its brick has 1,000 blocks.

    Args:
        monkeypatch: pytest's.
        running: the processes of the host.
        free: the free blocks of the brick.
        waiting: the entries that wait to be healed.
        state: the state of each process.
        replica: the copies of each file.
    """
    info = (DATA / "volume-started.xml").read_text()
    info = info.replace("<replicaCount>3<", f"<replicaCount>{replica}<")

    def command(*_: str, given: str) -> str:
        peers = "<cliOutput><peer><connected>1</connected></peer></cliOutput>"
        return "".join(
            {"volume info": info, "peer status": peers}[one] for one in given.splitlines()
        )

    index = ["xattrop-0", *(f"{number}" for number in range(waiting))]
    usage = SimpleNamespace(f_bavail=free, f_blocks=1000)
    monkeypatch.setattr(probes, "command", command)
    monkeypatch.setattr(probes, "processes", lambda: iter(running))
    monkeypatch.setattr(probes, "status_of", lambda _: [state])
    monkeypatch.setattr(probes.os, "statvfs", lambda _: usage)
    monkeypatch.setattr(probes.os, "listdir", lambda _: index)
    return {what: (good, detail) for what, good, detail in probes.gluster("nas2")}


@pytest.mark.parametrize(("free", "good"), [(9, False), (10, True)])
def test_full_brick(free: int, good: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each storage host reports its own brick, of 1,000 blocks here."""
    found = stored(monkeypatch, [BRICK, HEALER], free=free)
    bricks = {what: one for what, one in found.items() if what.startswith("brick")}
    assert bricks == {"brick /nas": (good, f"{free // 10} % free")}


def test_an_offline_brick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Glusterd is active and the volume is started while the brick's process is dead."""
    found = stored(monkeypatch, [HEALER])
    assert found["volume nas"] == (True, "started")
    assert found["peers"] == (True, "1 of 1 connected")
    assert found["brick /nas"] == (False, "40 % free, its process does not run")
    other = (7, [*BRICK[1][:4], "/other"])
    assert found == stored(monkeypatch, [other, HEALER])
    stopped = stored(monkeypatch, [BRICK, HEALER], state="T")
    assert stopped["brick /nas"] == (False, "40 % free, its process is stopped")


@pytest.mark.parametrize(("replica", "asked"), [("3", True), ("1", False)])
def test_only_replicas_have_something_to_heal(
    replica: str, asked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = stored(monkeypatch, [BRICK, HEALER], replica=replica)
    assert found["volume nas"] == (True, "started")
    assert ("heal" in found) == asked


def test_files_that_wait_to_be_healed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The index of the brick names them, and something must heal them."""
    assert stored(monkeypatch, [BRICK, HEALER])["heal"] == (True, "0 entries to heal")
    assert stored(monkeypatch, [BRICK, HEALER], waiting=2)["heal"] == (False, "2 entries to heal")
    words = "0 entries to heal, the self-heal daemon does not run"
    assert stored(monkeypatch, [BRICK])["heal"] == (False, words)


def test_an_answer_that_is_not_xml(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "command", lambda *_, **__: "Connection failed.")
    (found,) = probes.made("gluster", {"host": "nas2"})
    assert found[:2] == ("gluster", False) and "not XML" in found[2]


# Quorum and database


@pytest.mark.parametrize(
    ("status", "body", "found"),
    [
        (200, '{"health":"true"}', (True, "healthy")),
        (503, '{"health":"false"}\n', (False, 'HTTP 503: {"health":"false"}')),
    ],
)
def test_a_member_without_quorum(
    status: int, body: str, found: tuple[bool, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The unit of etcd is active, but a read that needs the majority fails."""
    monkeypatch.setattr(probes, "get", lambda *_, **__: (status, body))
    assert probes.made("etcd", {"address": "10.1.4.21", "port": 2379}) == [("etcd", *found)]


def cluster(**members: tuple[str, str, int | str]) -> list[dict[str, Any]]:
    """Return the members of a cluster: name -> role, state and lag."""
    return [
        {"name": name, "role": role, "state": state, "lag": lag}
        for name, (role, state, lag) in members.items()
    ]


LEADER = ("leader", "running", 0)


@pytest.mark.parametrize(
    ("replica", "good", "shown"),
    [
        (("sync_standby", "streaming", 0), True, "sync_standby streaming"),
        (("replica", "streaming", LAG), True, f"replica streaming, lag {LAG} bytes"),
        (
            ("replica", "streaming", LAG + 1),
            False,
            f"replica streaming, lag {LAG + 1} bytes; the lag must be at most {LAG} bytes",
        ),
        (
            ("replica", "running", 1006615520),
            False,
            "replica running, lag 1006615520 bytes; it does not stream from the primary",
        ),
        (
            ("sync_standby", "in archive recovery", 0),
            False,
            "sync_standby in archive recovery; it does not stream from the primary",
        ),
        (
            ("replica", "streaming", "unknown"),
            False,
            f"replica streaming, lag unknown bytes; the lag must be at most {LAG} bytes",
        ),
    ],
)
def test_a_stuck_replica(replica: tuple[str, str, int | str], good: bool, shown: str) -> None:
    """A replica must stream, and its lag has a bound."""
    found = list(probes.members(cluster(bbdd1=LEADER, bbdd2=replica), "bbdd2", LAG, True))
    assert found == [("patroni", good, shown)]


def test_a_replica_that_receives_and_does_not_apply() -> None:
    """Patroni's `lag` counts what was received; `replay_lag` what was applied."""
    members = cluster(bbdd1=LEADER, bbdd2=("sync_standby", "streaming", 0))
    members[1] |= {"receive_lag": 0, "replay_lag": LAG + 1}
    ((_, good, detail),) = probes.members(members, "bbdd2", LAG, True)
    assert not good and f"lag {LAG + 1} bytes" in detail


@pytest.mark.parametrize("pause", [True, False])
def test_a_paused_failover(pause: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything works, but nothing would replace a dead primary."""
    members = cluster(bbdd1=LEADER, bbdd2=("sync_standby", "streaming", 0))
    answer = json.dumps({"members": members, **({"pause": True} if pause else {})})
    monkeypatch.setattr(probes, "get", lambda *_, **__: (200, answer))
    found = list(probes.patroni("10.1.4.32", 8008, LAG, True, "bbdd2"))
    assert ("failover" in [what for what, _, _ in found]) == pause
    assert all(good for _, good, _ in found) != pause


@pytest.mark.parametrize(
    ("role", "good", "shown"),
    [
        ("sync_standby", True, "bbdd2"),
        ("quorum_standby", True, "bbdd2"),
        ("replica", False, "none, so the primary alone stores new commits"),
    ],
)
def test_no_synchronous_standby(role: str, good: bool, shown: str) -> None:
    """The primary reports it, if the setting wants one and there is a second host."""
    members = cluster(bbdd1=LEADER, bbdd2=(role, "streaming", 0))
    works = ("patroni", True, "leader running")
    assert list(probes.members(members, "bbdd1", LAG, True)) == [
        works,
        ("synchronous standby", good, shown),
    ]
    assert list(probes.members(members, "bbdd1", LAG, False)) == [works]


@pytest.mark.parametrize("state", ["starting", "stopped"])
def test_a_leader_runs(state: str) -> None:
    members = cluster(bbdd1=("leader", state, 0), bbdd2=("sync_standby", "streaming", 0))
    ((what, good, detail), _) = probes.members(members, "bbdd1", LAG, True)
    assert (what, good) == ("patroni", False) and detail.startswith(f"leader {state}")


def test_no_leader() -> None:
    """Each member reports that nobody leads, and a host that is not a member."""
    members = cluster(bbdd2=("replica", "streaming", 0))
    (alone,) = probes.members(members, "bbdd2", LAG, True)
    assert alone == ("patroni", False, "replica streaming; there is no leader")
    (stranger,) = probes.members(members, "bbdd1", LAG, True)
    assert stranger == ("patroni", False, "not a member; there is no leader")


# Backup

NOW = 1_800_000_000.0
DAY = 86_400.0
NEXT = "salt-run state.orchestrate orch.restore_drill"


def backed_up(
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    *,
    hours: float = 3,
    days: float = 5,
    drilled: float | None = 1,
    faults: tuple[str, ...] = (),
    record: dict[str, Any] | None = None,
    applications: bool = True,
    **changes: Any,
) -> list[probes.Check | probes.Notice]:
    """Return the checks of a backup host, which wants a backup of 26 hours, a drill of 9 days.

    Args:
        monkeypatch: pytest's.
        folder: an empty directory for the record of the drill.
        hours: the age of the newest backup.
        days: the age of the oldest one.
        drilled: the days since the last drill; None if there was none.
        faults: those that it found.
        record: other keys of its record.
        applications: whether drills start applications.
        changes: other keys of pgBackRest's answer.
    """
    stops = {"full": NOW - days * DAY, "diff": NOW - hours * 3600}
    backups = [{"label": label, "timestamp": {"stop": stop}} for label, stop in stops.items()]
    answer = {"status": {"code": 0, "message": "ok"}, "backup": backups, **changes}

    def command(*argv: str, **_: str) -> str:
        assert argv[:5] == ("runuser", "-u", "postgres", "--", "pgbackrest")
        assert {"--stanza=salina", "--output=json", "info"} <= set(argv)
        return json.dumps([answer])

    file = folder / "drill.json"
    if drilled is not None:
        ended = NOW - drilled * DAY
        report = drill.report([*faults], "2026-11-29", "full", {}, 0, ended - 90, ended)
        file.write_text(json.dumps(report | (record or {})))
    monkeypatch.setattr(probes, "command", command)
    monkeypatch.setattr(time, "time", lambda: NOW)
    arguments = {"stanza": "salina", "hours": 26, "record": str(file), "days": 9}
    arguments["applications"] = applications
    return probes.made("backup", arguments)


def test_backups_that_are_there_and_were_tried(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """O9: A healthy backup host says nothing but the names of its checks."""
    found = backed_up(monkeypatch, tmp_path)
    assert found == [("backup", True, ""), ("restore drill", True, "")]


@pytest.mark.parametrize(("hours", "good"), [(26, True), (27, False), (240, False)])
def test_a_missing_backup_of_the_day(
    hours: float, good: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """O9: A timer that fails shows as the age of the newest backup."""
    late = f"the newest is {hours} hours old; see journalctl -u 'salina-backup@*'"
    found = backed_up(monkeypatch, tmp_path, hours=hours, days=20)
    assert found == [("backup", good, "" if good else late), ("restore drill", True, "")]


@pytest.mark.parametrize(
    "changes",
    [
        {"status": {"code": 1, "message": "missing stanza path"}},
        {"status": {"code": 2, "message": "no valid backups"}, "backup": []},
        {"status": {"code": 0, "message": "no valid backups"}, "backup": []},
    ],
)
def test_a_repository_with_a_fault(
    changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """O9: The message has pgBackRest's own words, and an old drill does not hide it."""
    words = f"{changes['status']['message']}; apply the states of this host"
    assert backed_up(monkeypatch, tmp_path, **changes) == [("backup", False, words)]


def test_a_repository_that_does_not_exist(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """O9: The answer for an unknown stanza has no list of backups."""

    def command(*_: str) -> str:
        return json.dumps([{"name": "salina", "status": {"code": 1, "message": "missing"}}])

    monkeypatch.setattr(probes, "command", command)
    found = list(probes.backup("salina", 26, str(tmp_path / "drill.json"), 9))
    assert found == [("backup", False, "missing; apply the states of this host")]


def test_a_damaged_backup(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """O9: The damaged backups are named, even if the newest one is good."""
    backups = [
        {"label": label, "error": error, "timestamp": {"stop": NOW - 60}}
        for label, error in (("a", True), ("b", True), ("c", False))
    ]
    assert backed_up(monkeypatch, tmp_path, backup=backups) == [
        ("backup", True, ""),
        ("backups", False, "damaged: a b"),
        ("restore drill", True, ""),
    ]


@pytest.mark.parametrize(("days", "good"), [(0, True), (9, True), (9.1, False), (20, False)])
def test_a_fleet_without_a_drill(
    days: float, good: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """O9: A new fleet may be without a drill for as many days as lie between two drills."""
    found = backed_up(monkeypatch, tmp_path, days=days, drilled=None)
    assert found[-1] == ("restore drill", good, "" if good else f"there was none; {NEXT}")


@pytest.mark.parametrize(("days", "good"), [(0, True), (9, True), (10, False), (100, False)])
def test_a_drill_that_is_late(
    days: float, good: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """O9: An old drill says nothing about the backups of today."""
    words = "" if good else f"the last was {days} days ago; {NEXT}"
    found = backed_up(monkeypatch, tmp_path, drilled=days)
    assert found == [("backup", True, ""), ("restore drill", good, words)]


@pytest.mark.parametrize("days", [0, 100])
def test_a_drill_that_failed(days: float, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """O9: The words name every fault, and then the command that tries the backup again."""
    faults = ("crm: is missing", "shop: public.a has 1 rows instead of 2")
    found = backed_up(monkeypatch, tmp_path, drilled=days, faults=faults)
    words = f"crm: is missing; shop: public.a has 1 rows instead of 2; {NEXT}"
    assert found == [("backup", True, ""), ("restore drill", False, words)]


def test_o9_an_application_that_a_drill_did_not_start_is_a_notice(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """O9: The host stays well, and nobody takes the drill for one of this application.

    If an operator wants no application to start, there is nothing to say. A late drill is worse.
    """
    record = {"skipped": ["shop (pillar/app/node.yaml does not say how a copy becomes neutral)"]}
    words = f"it did not start {record['skipped'][0]}"
    found = backed_up(monkeypatch, tmp_path, record=record)
    assert found[-1] == ("restore drill", True, words, True)
    quiet = backed_up(monkeypatch, tmp_path, record=record, applications=False)
    assert quiet[-1] == ("restore drill", True, "")
    late = backed_up(monkeypatch, tmp_path, record=record, drilled=12)
    assert late[-1] == ("restore drill", False, f"the last was 12 days ago; {NEXT}")


def test_o9_the_fault_of_an_application_is_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """O9, K5: A drill that failed only because of an application has no other fault."""
    record = {"good": False, "failed": {"crm": "no page answers"}}
    found = backed_up(monkeypatch, tmp_path, record=record)
    assert found[-1] == ("restore drill", False, f"crm: no page answers; {NEXT}")


def test_a_record_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """O9: A record that is not JSON proves no drill."""
    (tmp_path / "drill.json").write_text("")
    found = backed_up(monkeypatch, tmp_path, drilled=None)
    assert found[0] == ("backup", True, "")
    assert [one[1] for one in found[1:]] == [False]


def test_the_probe_reads_the_record_that_the_drill_writes() -> None:
    """O9: It is not among the repository's files, and the drill has two days to be late."""
    settings = fleets.pillar("tape", "five-apps")["backup"]
    assert checks("tape", "five-apps")["backup"] == {
        "stanza": settings["stanza"],
        "hours": 26,
        "record": "/var/lib/salina-backup/drill.json",
        "days": settings["drill_days"] + 2,
        "applications": True,
    }
    assert drill.RECORD == "/var/lib/salina-backup/drill.json"
    assert not Path(drill.RECORD).is_relative_to(settings["repository"])


@pytest.mark.parametrize(("said", "words"), [("0\n", ""), ("1\n", "1 files"), ("42\n", "42 files")])
def test_wal_that_does_not_arrive(said: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """O9: Changes after the last backup can be restored only if their WAL is in the repository."""
    asked: list[str] = []

    def command(*argv: str, **_: str) -> str:
        asked.extend(argv)
        return said

    monkeypatch.setattr(probes, "command", command)
    told = f"{words} of WAL wait on this disk; see journalctl -u patroni" if words else ""
    assert probes.made("archiving", {"port": 5433}) == [("archiving", not words, told)]
    assert asked[:5] == ["runuser", "-u", "postgres", "--", "psql"]
    assert {"--host=/run/postgresql", "--port=5433"} <= set(asked)
    assert "NOT pg_is_in_recovery()" in asked[-1]
    assert f"modification < now() - interval '{probes.PATIENCE} seconds'" in asked[-1]


def test_a_database_that_does_not_answer_archives_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """O9: A check that cannot be made is not good."""

    def command(*_: str, **__: str) -> str:
        raise OSError("psql: error: FATAL:  sorry, too many clients already")

    monkeypatch.setattr(probes, "command", command)
    assert probes.made("archiving", {"port": 5432}) == [
        ("archiving", False, "psql: error: FATAL: sorry, too many clients already")
    ]


@pytest.mark.parametrize("why", ["No such file or directory", "Connection refused"])
@pytest.mark.parametrize("check", ["archiving", "parameters", "leftover", "jobs", "kept_wal"])
def test_s13_a_postgresql_that_does_not_run_is_one_fault(
    check: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S13: The check `patroni` of the same host shows it, and one fault is one mail."""
    place = "/run/postgresql/.s.PGSQL.5432"

    def command(*_: str, **__: str) -> str:
        raise OSError(f'psql: error: connection to server on socket "{place}" failed: {why}\n\tIs')

    monkeypatch.setattr(probes, "command", command)
    given = checks("bbdd1", "plain").get(check) or checks("pg-a", "five-apps")[check]
    said = "PostgreSQL does not run here; see patroni"
    assert probes.made(check, given) == [(check, True, said)]


@pytest.mark.parametrize(
    ("overridden", "now", "words"),
    [
        ([], {}, ""),
        (["work_mem"], {}, "ALTER SYSTEM has replaced work_mem; next: ALTER SYSTEM RESET and "),
        (["archive_command"], {"archive_command": "/bin/true"}, "ALTER SYSTEM has replaced "),
        ([], {"archive_command": "/bin/true"}, "archive_command would not archive the WAL; apply"),
        ([], {"archive_mode": "off"}, "archive_mode would not archive the WAL; apply the states"),
        ([], {"archive_library": "x"}, "archive_library would not archive the WAL; apply the "),
    ],
)
def test_o9_a_parameter_that_somebody_has_replaced(
    overridden: list[str], now: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """O9, K5: Patroni knows its own file, and `ALTER SYSTEM` writes another one."""
    given = checks("pg-a", "five-apps")["parameters"]
    wanted = given["archiving"]
    assert wanted.keys() == {"archive_mode", "archive_command", "archive_library"}

    def command(*argv: str, given: str) -> str:
        assert argv[:5] == ("runuser", "-u", "postgres", "--", "psql") and given
        return json.dumps({"overridden": overridden, "now": wanted | now})

    monkeypatch.setattr(probes, "command", command)
    ((what, good, said),) = probes.made("parameters", given)
    assert (what, good) == ("parameters", not words)
    assert said.startswith(words) and bool(said) == bool(words)


def test_o9_without_backups_no_parameter_archives(monkeypatch: pytest.MonkeyPatch) -> None:
    """O9: The parameters themselves are looked at in every fleet."""
    given = checks("bbdd1", "plain")["parameters"]
    assert given["archiving"] == {}
    answer = {"overridden": [], "now": {"archive_mode": "off"}}
    monkeypatch.setattr(probes, "command", lambda *_, **__: json.dumps(answer))
    assert probes.made("parameters", given) == [("parameters", True, "")]


def test_only_a_fleet_with_backups_looks_at_its_wal() -> None:
    """O9: Every database host is asked, since each can become the primary."""
    for host in ("pg-a", "pg-b", "pg-c"):
        assert checks(host, "five-apps")["archiving"] == {"port": 5432}
        assert checks(host, "five-apps")["kept_wal"]["record"] == pgbackrest.GIVEN_UP
    assert not {"archiving", "kept_wal"} & set(checks("bbdd1", "plain"))


MIB = 2**20


@pytest.mark.parametrize(
    ("waiting", "seconds", "free", "words"),
    [
        (0, 0, 0, ""),
        (400 * MIB, 60, 100 * MIB, ""),  # a burst, which is on its way
        (400 * MIB, 61, 1200 * MIB, ""),
        (401 * MIB, 7200, 1200 * MIB, "401 MiB of WAL wait and 1200 MiB are free, at this rate"),
        (401 * MIB, 7200, 1200 * MIB, " for 6 hours; start the backup host"),
        (400 * MIB, 7200, 0, "for 0 hours"),
    ],
)
def test_o9_wal_that_waits_leaves_room(waiting: int, seconds: int, free: int, words: str) -> None:
    """O9: The alarm comes while three quarters of the room are left, and says for how long."""
    found = probes.crowded(waiting, seconds, free)
    assert bool(found) is bool(words) and words in found


@pytest.mark.parametrize(
    ("begun", "good"), [([], False), ([1000], False), ([1000, 2001], True), (None, False)]
)
def test_o9_wal_that_was_given_up_is_a_fault_until_the_next_backup(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, begun: list[int] | None, good: bool
) -> None:
    """O9: Nobody takes the moments in the gap for ones that can be restored."""
    record = tmp_path / "given-up"
    given = {"port": 5432, "stanza": "salina", "files": str(tmp_path), "record": str(record)}

    def command(*argv: str, **_: str) -> str:
        if "psql" in argv:
            return "0|0\n"
        if begun is None:
            raise OSError("pgbackrest does not end")
        backups = [{"timestamp": {"start": start, "stop": start + 9}} for start in begun]
        return json.dumps([{"name": "salina", "backup": backups}])

    monkeypatch.setattr(probes, "command", command)
    assert probes.made("kept_wal", given) == [("room for WAL", True, "")]
    record.touch()
    os.utime(record, (2000, 2000))
    found = probes.made("kept_wal", given)[1]
    assert found[:2] == ("gap in the WAL", good)
    assert ("given up at 1970-01-01 00:33 UTC" in found[2]) is not good


# Users' files


def copied(
    monkeypatch: pytest.MonkeyPatch, folder: Path, minutes: Mapping[str, list[float]]
) -> list[probes.Check | probes.Notice]:
    """Return the checks of a backup host, which wants a copy of the last 60 minutes.

    Args:
        monkeypatch: pytest's.
        folder: a directory for the repositories, which are 45 minutes old.
        minutes: the name of each repository -> the ages of its copies.
    """

    def made(file: Path, age: float) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("encrypted")
        os.utime(file, (NOW - 60 * age, NOW - 60 * age))

    for name, ages in minutes.items():
        made(folder / name / "config", 45)
        (folder / name / "snapshots").mkdir()
        for place, age in enumerate(ages):
            made(folder / name / "snapshots" / f"{place:064x}", age)
    monkeypatch.setattr(time, "time", lambda: NOW)
    arguments = {"directory": str(folder), "sources": [*minutes], "minutes": 60}
    return probes.made("files_copied", arguments)


@pytest.mark.parametrize("ages", [[0.5], [600, 59, 300], [60], []])
def test_users_files_were_copied_lately(
    ages: list[float], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """O9: The newest copy counts. A new repository has as much time for its first one."""
    assert copied(monkeypatch, tmp_path, {"crm": ages}) == [("files of crm", True, "")]


def test_the_files_of_each_source_are_judged(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """O9: The message has the age, and where the reason is."""
    found = copied(monkeypatch, tmp_path, {"crm": [61, 300], "shop-1": [3], "shop-2": [1440]})
    told = "the newest copy is {} minutes old; see journalctl -t salina-files on the hosts with"
    assert found == [
        ("files of crm", False, f"{told.format(61)} files"),
        ("files of shop-1", True, ""),
        ("files of shop-2", False, f"{told.format(1440)} files"),
    ]


def test_files_that_were_never_copied(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """O9: After an hour a repository without a copy is not good, nor is one that is not there."""
    copied(monkeypatch, tmp_path, {"crm": []})
    monkeypatch.setattr(time, "time", lambda: NOW + 16 * 60)
    arguments = {"directory": str(tmp_path), "sources": ["crm", "shop"], "minutes": 60}
    first, second = probes.made("files_copied", arguments)
    assert first[:2] == ("files of crm", False)
    assert first[2].startswith("there is no copy; see journalctl")
    assert second == ("files_copied", False, "not deployed (snapshots is missing)")


def test_a_copy_that_is_deleted_meanwhile_does_not_count(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """O9: The backup host deletes old copies while the check looks at them."""
    (tmp_path / "crm/snapshots").mkdir(parents=True)
    (tmp_path / "crm/snapshots/deleted").symlink_to("missing")
    arguments = {"directory": str(tmp_path), "sources": ["crm"], "minutes": 60}
    monkeypatch.setattr(time, "time", lambda: NOW)
    for name, good in (("config", False), ("snapshots/copy", True)):
        file = tmp_path / "crm" / name
        file.write_text("encrypted")
        os.utime(file, (NOW - 3600 * (2 - good), NOW - 3600 * (2 - good)))
        assert probes.made("files_copied", arguments)[0][:2] == ("files of crm", good)


DAY = 24 * 3600


@pytest.mark.parametrize(
    ("days", "good", "words"),
    [
        ({"update-stamp": 1, "upgrade-stamp": 2.4, "settings": 90}, True, ""),
        ({"settings": 2.4}, True, ""),
        ({"update-stamp": 3, "upgrade-stamp": 1, "settings": 9}, True, "fetched 3 days ago"),
        ({"update-stamp": 1, "upgrade-stamp": 5.6, "settings": 9}, False, "tried 5 days ago"),
        ({"settings": 6}, False, "fetched 6 days ago; see journalctl -u apt-daily"),
    ],
)
def test_x11_updates_that_end_are_a_notice_and_then_a_fault(
    days: dict[str, float], good: bool, words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """X11: apt's own services never fail. A new host has as much time for its first ones."""
    for name, age in days.items():
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (NOW - age * DAY, NOW - age * DAY))
    monkeypatch.setattr(time, "time", lambda: NOW)
    arguments = {"settings": f"{tmp_path}/settings", "alarm_days": 3, "stamps": str(tmp_path)}
    [(what, found, said, *notice)] = probes.made("updated", arguments)
    assert (what, found) == ("updates", good) and words in said
    assert (notice == [True]) is (good and bool(words))


@pytest.mark.parametrize(
    ("ages", "words"),
    [
        ([25], ""),
        ([80, 2], ""),
        ([27, 51], "the newest copy is 27 hours old; next: salt-run backup.save_master"),
        ([], "there is no copy; next: salt-run backup.save_master"),
    ],
)
def test_o9_the_masters_state_was_saved_lately(
    ages: list[int], words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """O9: Without a copy the age of the directory counts."""
    for age in ages:
        file = tmp_path / f"{age}.tar.gz.age"
        file.touch()
        os.utime(file, (NOW - 3600 * age, NOW - 3600 * age))
    os.utime(tmp_path, (NOW - 3600 * 27, NOW - 3600 * 27))
    monkeypatch.setattr(time, "time", lambda: NOW)
    found = probes.made("master_saved", {"directory": str(tmp_path), "hours": 26})
    assert found == [("master's state", not words, words)]


def test_o9_the_masters_state_is_judged_if_it_is_wanted() -> None:
    """O9: With a key for which it is encrypted."""
    assert "master_saved" not in checks("bkp1", "default")
    own = settings.parse({"backup": {"recipient": f"age1{'a' * 58}"}})
    assert checks("bkp1", "default", own)["master_saved"] == {
        "directory": "/var/lib/salina-master",
        "hours": 26,
    }


def test_the_backup_host_looks_at_the_copies_of_all_files() -> None:
    """O9: Four copies may be missing before an operator learns of it."""
    assert checks("tape", "five-apps")["files_copied"] == {
        "directory": "/var/lib/restic",
        "sources": ["sales"],
        "minutes": 60,
    }


# Updates


class Processes:
    """A pretended /proc."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, process: int, parent: int, unit: str, *replaced: str) -> None:
        """Add a process of a unit that uses replaced files, and a library that is on the disk."""
        place = self.folder / str(process)
        place.mkdir()
        (place / "stat").write_text(f"{process} (a name) S {parent} 1 1 0\n")
        (place / "cgroup").write_text(f"2:cpu:/lxc.payload.s1\n0::/lxc.payload.s1{unit}\n")
        lines = [f"7f00 r-xp 00 08:01 1 {path} (deleted)\n" for path in replaced]
        (place / "maps").write_text("".join([*lines, "7f01 r-xp 00 08:01 2 /usr/lib/libc.so.6\n"]))


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Processes:
    """A host without an update: a service with a worker, the volume's client, a shell."""
    monkeypatch.setattr(probes, "PROC", tmp_path / "proc")
    monkeypatch.setattr(probes, "REBOOT", tmp_path / "reboot-required")
    (tmp_path / "proc").mkdir()
    found = Processes(tmp_path / "proc")
    found.add(1, 0, "/init.scope")
    found.add(7, 1, "/system.slice/nginx.service")
    found.add(70, 1, "/user.slice/user-0.slice/session-3.scope", "/usr/bin/bash")
    return found


def test_x11_a_host_without_an_update_says_nothing(host: Processes) -> None:
    """X11: Neither does a worker of an old program, nor an operator's shell."""
    host.add(8, 7, "/system.slice/nginx.service", "/usr/sbin/nginx")
    assert list(probes.waiting(["nginx"], "s1")) == []


def test_x11_what_waits_is_named_with_the_next_step(host: Processes) -> None:
    """X11: An apply restarts this project's services, an operator restarts the others."""
    host.add(9, 1, "/system.slice/odoo.service", "/usr/bin/python3.11", "/usr/lib/libssl.so.3")
    host.add(10, 1, "/system.slice/exporter.service", "/usr/lib/libssl.so.3")
    why = "still use files that an update has replaced; next"
    assert list(probes.waiting(["nginx", "odoo"], "s1")) == [
        ("restart waits", True, f"odoo {why}: salt s1 state.apply", True),
        ("restart waits", True, f"exporter {why}, on s1: systemctl restart exporter", True),
    ]
    assert probes.outdated() == {
        "odoo": ["/usr/bin/python3.11", "/usr/lib/libssl.so.3"],
        "exporter": ["/usr/lib/libssl.so.3"],
    }
    assert probes.outdated("odoo").keys() == {"odoo"}
    assert probes.outdated("nginx") == {}


def test_x11_a_process_that_left_its_parent_counts(host: Processes) -> None:
    """X11: Bricks and PostgreSQL are in the unit of the daemon that started them."""
    host.add(11, 1, "/system.slice/patroni.service")
    host.add(12, 1, "/system.slice/patroni.service", "/usr/lib/postgresql/15/bin/postgres")
    host.add(13, 12, "/system.slice/patroni.service", "/usr/lib/postgresql/15/bin/postgres")
    assert probes.outdated("patroni") == {"patroni": ["/usr/lib/postgresql/15/bin/postgres"]}


def test_x11_a_reboot_that_waits(host: Processes) -> None:
    """X11: A new kernel, the volume's client, and services that nobody can restart alone."""
    step = 'next: reboot s1, see "Reboot a host" in docs/operations.md'
    probes.REBOOT.touch()
    assert list(probes.waiting([], "s1")) == [
        ("reboot waits", True, f"a package needs it; {step}", True),
    ]
    probes.REBOOT.with_name("reboot-required.pkgs").write_text("linux-image-6\nlinux-base\n")
    host.add(14, 1, "/system.slice/mnt-nas.mount", "/usr/lib/libglusterfs.so.0")
    host.add(15, 1, "/system.slice/dbus.service", "/usr/lib/libc.so.6")
    words = "dbus mnt-nas.mount still use files that an update has replaced"
    assert list(probes.waiting([], "s1")) == [
        ("reboot waits", True, f"linux-base linux-image-6 needs it, and {words}; {step}", True),
    ]


def test_x11_a_process_that_ends_meanwhile_is_skipped(host: Processes) -> None:
    host.add(16, 1, "/system.slice/odoo.service", "/usr/bin/python3.11")
    (host.folder / "16/maps").unlink()
    (host.folder / "17").mkdir()
    assert probes.outdated() == {}


def test_x11_the_look_is_cheap() -> None:
    """X11: Less than 50 ms of a processor for each 100 processes of this machine."""
    count = len([entry for entry in os.listdir("/proc") if entry.isdigit()])
    took = []
    for _ in range(3):
        begun = time.process_time()
        probes.outdated()
        took.append(time.process_time() - begun)
    assert min(took) * 100 / max(count, 100) < 0.05


def test_replaced() -> None:
    """S12: An upgrade replaced the program and a library; a deleted data file does not count."""
    maps = (
        "55d0 r-xp 00000000 08:01 11 /usr/sbin/nginx (deleted)\n"
        "55d1 r--p 00000000 08:01 11 /usr/sbin/nginx (deleted)\n"
        "7f00 r-xp 00000000 08:01 12 /usr/lib/x86_64-linux-gnu/libssl.so.3 (deleted)\n"
        "7f01 r-xp 00000000 08:01 13 /usr/lib/x86_64-linux-gnu/libc.so.6\n"
        "7f02 rwxp 00000000 00:01 14 /dev/zero (deleted)\n"
        "7f03 r-xp 00000000 00:00 0\n"
    )
    found = ["/usr/lib/x86_64-linux-gnu/libssl.so.3", "/usr/sbin/nginx"]
    assert probes.replaced(maps) == found
    assert probes.replaced("") == []


# Every host


def block(unit: str, count: int, started: float) -> str:
    """Return what `systemctl show` prints for a unit."""
    times = f"ExecMainStartTimestampMonotonic={int(started * 1e6)}"
    return f"{times}\nId={unit}\nNRestarts={count}\n"


def test_a_unit_that_restarts_again_and_again() -> None:
    """It is active between two restarts; three restarts, one just now, are a fault."""
    calm = [block("old.service", 9, 900), block("one.service", 2, 995), "Id=x.service\n"]
    assert probes.restarting("\n".join(calm), 1000) == ""
    loop = "\n".join([*calm, block("odoo.service", 4, 995)])
    assert probes.restarting(loop, 1000) == "odoo.service restarted 4 times, the last time 5 s ago"


def test_units(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed unit and one that restarts are two different lines."""
    said = {"list-units": "nginx.service loaded failed failed nginx\n", "show": ""}
    monkeypatch.setattr(probes, "command", lambda *argv: said[argv[1]])
    assert list(probes.system()) == [("units", False, "failed: nginx.service")]
    said.update({"list-units": "", "show": block("odoo.service", 3, time.monotonic())})
    words = "odoo.service restarted 3 times, the last time 0 s ago"
    assert list(probes.system()) == [("units", True, ""), ("restarts", False, words)]


CLOSED = "".join(
    f"-P {chain} DROP\n-A {chain} -j ufw-before-logging-{chain.lower()}\n"
    f"-A {chain} -j ufw-before-{chain.lower()}\n"
    for chain in ("INPUT", "OUTPUT", "FORWARD")
)


@pytest.mark.parametrize(
    ("rules", "found"),
    [
        (CLOSED, ""),
        ("-P INPUT ACCEPT\n", "inactive, so INPUT accepts every packet"),
        (CLOSED.replace("DROP", "ACCEPT"), "inactive, so INPUT accepts every packet"),
        (CLOSED.replace("-P OUTPUT DROP", "-P OUTPUT ACCEPT"), "inactive, so OUTPUT accepts"),
        (CLOSED.replace("-P FORWARD DROP", "-P FORWARD ACCEPT"), "inactive, so FORWARD accepts"),
        ("-P INPUT DROP\n", "the chain INPUT does not use ufw-before-input"),
    ],
)
def test_an_inactive_firewall(
    rules: str, found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel's rules count; `ufw status` is active even if they were flushed."""
    fault = probes.open_to_all(rules, "ufw")
    assert fault.startswith(found) and bool(fault) == bool(found)
    (tmp_path / "user.rules").touch()
    monkeypatch.setattr(probes, "UFW", tmp_path)
    monkeypatch.setattr(probes, "has_ipv6", lambda: False)
    monkeypatch.setattr(probes, "command", lambda *_: rules)
    words = f"iptables: {fault}" if fault else "active"
    assert list(probes.firewall()) == [("ufw", not fault, words)]


FILE = """*filter
:ufw-user-input - [0:0]
### tuple ### allow tcp 22 10.1.5.21 any 10.1.5.2 in_eth1 comment=73616c743a20535348
-A ufw-user-input -i eth1 -p tcp -d 10.1.5.21 --dport 22 -s 10.1.5.2 -j ACCEPT

### tuple ### allow tcp 24007,49152:49251 10.1.4.21 any 10.1.4.0/24 in_eth0
-A ufw-user-input -i eth0 -p tcp -m multiport --dports 24007,49152:49251 -s 10.1.4.0/24 -j ACCEPT

### tuple ### allow udp 53 0.0.0.0/0 any 0.0.0.0/0 out
-A ufw-user-output -p udp --dport 53 -j ACCEPT
-A ufw-after-logging-input -j LOG --log-prefix "[UFW BLOCK] " -m limit --limit 3/min
COMMIT
"""
KERNEL = """-P INPUT DROP
-N ufw-user-input
-A INPUT -j ufw-before-input
-A ufw-after-logging-input -m limit --limit 3/min -j LOG --log-prefix "[UFW BLOCK] "
-A ufw-user-input -s 10.1.5.2/32 -d 10.1.5.21/32 -i eth1 -p tcp -m tcp --dport 22 -j ACCEPT
-A ufw-user-input -s 10.1.4.0/24 -i eth0 -p tcp -m multiport --dports 24007,49152:49251 -j ACCEPT
-A ufw-user-output -p udp -m udp --dport 53 -j ACCEPT
"""
"""The same rules, as ufw 0.36.2 writes them and as iptables 1.8.9 lists them."""


def test_a_rule_that_somebody_added_by_hand() -> None:
    """S7: In the kernel's chains and in ufw's, of both protocols; a missing one is found too."""
    assert probes.by_hand(KERNEL, FILE, "ufw") == ""
    more = "-A INPUT -p tcp -m tcp --dport 9 -j ACCEPT"
    assert probes.by_hand(f"{KERNEL}{more}\n", FILE, "ufw").startswith(f"added by hand: {more}; ")
    more = "-A ufw-user-input -p tcp -m tcp --dport 9 -j ACCEPT"
    assert probes.by_hand(f"{KERNEL}{more}\n", FILE, "ufw").startswith(f"added by hand: {more}; ")
    wide = KERNEL.replace("10.1.4.0/24", "10.0.0.0/8")
    found = probes.by_hand(wide, FILE, "ufw")
    assert found.startswith("added by hand: -A ufw-user-input -s 10.0.0.0/8 ")
    assert "; missing: -A ufw-user-input -i eth0 " in found
    six = [text.replace("ufw-", "ufw6-").replace("/32", "/128") for text in (KERNEL, FILE)]
    assert probes.by_hand(*six, "ufw6") == ""


@pytest.mark.parametrize("name", ["default", *fleets.OTHERS])
def test_s7_a_host_that_must_not_forward_is_not_asked_to(name: str) -> None:
    """S7: The states and the check agree, also where one host has all roles."""
    for host in fleets.fleet(name).hosts:
        pillar = fleets.pillar(host, name)
        asked = [one["name"] for one in pillar["host"]["checks"] if one["probe"] == "forwarding"]
        assert bool(asked) is pillar["ufw"]["forward"], host


def test_a_firewall_host_that_does_not_forward(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S7: Clients do not reach the service then, and each host is well."""
    switch = tmp_path / "sys/net/ipv4/ip_forward"
    switch.parent.mkdir(parents=True)
    monkeypatch.setattr(probes, "PROC", tmp_path)
    switch.write_text("1\n")
    assert list(probes.forwarding(ipv4=True, ipv6=False)) == [("forwarding", True, "")]
    switch.write_text("0\n")
    [(what, good, words)] = probes.forwarding(ipv4=True, ipv6=False)
    assert (what, good) == ("forwarding", False)
    assert words.startswith("net/ipv4/ip_forward is 0, so clients do not reach the service")


MASKED = "masked: systemctl {} salina-drift.timer && systemctl enable --now salina-drift.timer"
PERMANENTLY = ("masked inactive masked", "masked active masked", "masked inactive ")


@pytest.mark.parametrize(
    ("shown", "words"),
    [
        ("loaded active enabled", ""),
        ("loaded inactive enabled", "stopped: systemctl enable --now salina-drift.timer"),
        ("loaded inactive disabled", "stopped: systemctl enable --now salina-drift.timer"),
        ("loaded active disabled", "stopped: systemctl enable --now salina-drift.timer"),
        ("not-found inactive ", "missing: salina-drift.timer; apply the states of this host"),
        *((shown, MASKED.format("unmask")) for shown in PERMANENTLY),
        ("masked inactive masked-runtime", MASKED.format("unmask --runtime")),
        ("loaded active masked-runtime", MASKED.format("unmask --runtime")),
    ],
)
def test_a_stopped_timer(shown: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its service never starts, and nothing fails, also after a boot if it is disabled.

    systemd refuses to enable a masked one, so the advice unmasks it first.
    """
    names = ("LoadState", "ActiveState", "UnitFileState")
    units = ["apt-daily.timer", "salina-drift.timer"]
    asked = []

    def command(*argv: str, **_: str) -> str:
        asked.append([*argv[3:]])
        return "\n\n".join(
            "\n".join(f"{name}={value}" for name, value in zip(names, one.split(" "), strict=True))
            for one in ("loaded active enabled", shown)
        )

    monkeypatch.setattr(probes, "command", command)
    assert list(probes.triggers(units)) == [("timers and sockets", not words, words)]
    assert asked == [units]
    assert list(probes.triggers([])) == [("timers and sockets", True, "")]


DAY = 86_400.0


@pytest.mark.parametrize(
    ("known", "ended", "due", "good", "words"),
    [
        (9 * DAY, 60.0, {}, True, ""),
        (9 * DAY, 9000.0, {}, True, ""),  # none is due
        (9 * DAY, 60.0, {"mail": 9000.0}, True, ""),  # a backlog, and they run
        (9 * DAY, 9000.0, {"mail": 60.0}, True, ""),
        (9 * DAY, 9000.0, {"mail": 8000.0}, False, "none has ended for 2 hours, and these are due"),
        (9 * DAY, None, {"mail": 8000.0}, False, "none has ended for 9 days"),
        (60.0, 9000.0, {"mail": 9000.0}, True, ""),  # the database was away, or is a copy
        (60.0, None, {"mail": 3 * DAY}, True, ""),
        (9 * DAY, 60.0, {"mail": 2 * DAY}, True, "due for more than 24 hours, and not ended: mail"),
    ],
)
def test_o3_scheduled_jobs(
    known: float, ended: float | None, due: dict[str, float], good: bool, words: str
) -> None:
    """O3: Odoo's page is well while nothing runs its jobs, or one is killed again and again."""
    found = probes.overdue("jobs of crm", {"known": known, "ended": ended, "due": due}, 7200)
    assert found[:2] == ("jobs of crm", good)
    assert (words in found[2]) if words else found[2] == ""
    assert (len(found) == 4) == (good and bool(words))  # a notice


def test_o3_only_the_primary_of_a_database_that_is_there_knows_the_jobs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """O3: A replica knows none, and neither does a database without Odoo's tables. Both answer."""
    said: list[str | OSError] = [
        "",
        OSError('ERROR:  relation "ir_cron" does not exist'),
        '{"known": 9, "ended": 1, "due": {}}',
    ]
    asked: list[tuple[str, ...]] = []

    def command(*argv: str, **_: str) -> str:
        asked.append(argv)
        answer = said.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    monkeypatch.setattr(probes, "command", command)
    found = list(probes.jobs(5432, {"a": 7200, "b": 7200, "crm": 7200}))
    assert found == [(f"jobs of {name}", True, "") for name in ("a", "b", "crm")]
    assert [argv[-2] for argv in asked] == ["--dbname=a", "--dbname=b", "--dbname=crm"]
    for fault in ("the server does not answer", 'column "lastcall" does not exist'):
        said.append(OSError(fault))
        with pytest.raises(OSError, match=fault):
            list(probes.jobs(5432, {"crm": 7200}))


TRACKING = "0A010502,10.1.5.2,11,{asked}.3,0.0,-0.1,0.1,-0.390,-0.000,5.1,0.1,0.2,2.0,{leap}\n"
OWN_CLOCK = "7F7F0101,,10,1000.3,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,Normal\n"


@pytest.mark.parametrize(
    ("tracking", "own", "words"),
    [
        (TRACKING.format(asked=900, leap="Normal"), True, ""),
        (
            TRACKING.format(asked=900, leap="Not synchronised"),
            True,
            "no time server has answered",
        ),
        (TRACKING.format(asked=900, leap="Not synchronised"), False, "no time server has answered"),
        (
            TRACKING.format(asked=-9000, leap="Normal"),
            True,
            "no time server has answered for 16",
        ),
        (OWN_CLOCK, True, "no time server answers, so the fleet follows this clock"),
        (OWN_CLOCK, False, ""),  # a container's clock is its machine's
    ],
)
def test_x6_a_clock_without_a_server(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tracking: str, own: bool, words: str
) -> None:
    """X6: It is a notice, since the host serves; chrony itself says whether it has a server."""
    found = probes.unsynchronised(tracking, 1000.0, own)
    assert found.startswith(words) and bool(found) == bool(words)
    (tmp_path / "1").mkdir()
    (tmp_path / "1/status").write_text(f"CapInh:\t0\nCapBnd:\t{1 << 25 if own else 1 << 24:016x}\n")
    monkeypatch.setattr(probes, "PROC", tmp_path)
    monkeypatch.setattr(probes, "command", lambda *_: tracking)
    monkeypatch.setattr(probes.time, "time", lambda: 1000.0)
    wanted = ("time", True, found, True) if found else ("time", True, "")
    assert list(probes.timekeeping()) == [wanted]


@pytest.mark.parametrize("own", [True, False])
def test_x6_a_host_without_chrony(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, own: bool
) -> None:
    """X6: A container that cannot set the clock needs none."""
    (tmp_path / "1").mkdir()
    (tmp_path / "1/status").write_text(f"CapBnd:\t{(1 << 25) * own:016x}\n")
    monkeypatch.setattr(probes, "PROC", tmp_path)

    def command(*_: str) -> str:
        raise OSError("506 Cannot talk to daemon")

    monkeypatch.setattr(probes, "command", command)
    said = "chrony does not answer: 506 Cannot talk to daemon"
    wanted = ("time", True, said, True) if own else ("time", True, "")
    assert list(probes.timekeeping()) == [wanted]


@pytest.mark.parametrize(("free", "swap", "good"), [(500, 0, True), (40, 0, False), (40, 20, True)])
def test_memory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, free: int, swap: int, good: bool
) -> None:
    """S13: What the kernel can give up counts as free, and so does swap."""
    monkeypatch.setattr(probes, "PROC", tmp_path)
    lines = {
        "MemTotal": 1000,
        "MemFree": 1,
        "MemAvailable": free,
        "SwapTotal": 50,
        "SwapFree": swap,
    }
    text = "".join(f"{name}: {number} kB\n" for name, number in lines.items())
    (tmp_path / "meminfo").write_text(f"{text}HugePages_Total: 0\n")
    words = "" if good else "3 % free, of 5 needed"
    assert [*probes.memory()] == [("memory", good, words)]


def test_the_firewall_of_ipv6(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host with IPv6 has a second set of rules."""
    (tmp_path / "user.rules").touch()
    (tmp_path / "user6.rules").touch()
    monkeypatch.setattr(probes, "UFW", tmp_path)
    rules = {"iptables": CLOSED, "ip6tables": CLOSED.replace("ufw-", "ufw6-")}
    monkeypatch.setattr(probes, "has_ipv6", lambda: True)
    monkeypatch.setattr(probes, "command", lambda *argv: rules[argv[0]])
    assert list(probes.firewall()) == [("ufw", True, "active")]
    rules["ip6tables"] = "-P INPUT ACCEPT\n"
    (found,) = probes.firewall()
    assert found[:2] == ("ufw", False) and found[2].startswith("ip6tables: inactive")


def test_a_full_disk() -> None:
    """Space, inodes, and a file system that the kernel made read-only after an error."""
    some = {"f_bavail": 10**6, "f_frsize": 4096, "f_files": 10, "f_favail": 5, "f_flag": 0}

    def judged(**other: int) -> str:
        found: Any = SimpleNamespace(**{**some, **other})
        return probes.full(found)

    assert judged() == ""
    assert judged(f_bavail=256) == "has 1 MiB free, of 200 needed"
    assert judged(f_favail=0) == "has no free inode"
    assert judged(f_favail=0, f_files=0) == ""  # such a file system creates inodes on demand
    assert judged(f_flag=os.ST_RDONLY) == "is read-only"
    ((what, good, detail),) = probes.disk()
    assert what == "disk" and (good or "MiB free" in detail)


FAILS = "its renewal fails: systemctl status salina-certificates"


@pytest.mark.parametrize(
    ("left", "good", "shown"),
    [
        (20.0, True, "valid for 20 days more"),
        (15.0, True, "valid for 15 days more"),
        (14.0, False, f"valid for 14 days more; {FAILS}"),
        (-3.0, False, f"expired 3 days ago; {FAILS}"),
        (0.125, False, f"valid for 180 minutes more; {FAILS}"),
    ],
)
def test_an_expired_certificate(left: float, good: bool, shown: str) -> None:
    """The host's certificate is reported before it expires."""
    assert probes.expiry("certificate", left * 86_400, 15 * 86_400, FAILS) == (
        "certificate",
        good,
        shown,
    )


@pytest.mark.parametrize("days", [1, 365, 20_000])
def test_the_validity_of_a_certificate(days: int) -> None:
    """Seven thousand days from now the years begin to have four digits."""
    text = secrets.self_signed(new_key(), "test", days)
    known = x509.load_pem_x509_certificate(text.encode())
    wanted = known.not_valid_before_utc.timestamp(), known.not_valid_after_utc.timestamp()
    assert probes.validity(f"# a first line\n{text}{text}") == wanted


def test_certificates_of_a_host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(probes, "TLS", str(tmp_path))
    for name in ("etcd", "etcd-peer"):
        (tmp_path / f"{name}.crt").write_text(secrets.self_signed(new_key(), name, 42))
    names = {"etcd": FAILS, "etcd-peer": FAILS}
    assert probes.made("certificates", {"names": names, "least": 15 * 86_400}) == [
        ("certificate etcd", True, "valid for 41 days more"),
        ("certificate etcd-peer", True, "valid for 41 days more"),
    ]
    (tmp_path / "etcd.crt").write_text("")
    (found,) = probes.made("certificates", {"names": names, "least": 15 * 86_400})
    assert found == ("certificates", False, "the file contains no certificate")


def test_wrong_clock() -> None:
    """A host's time must lie between the question and the answer, or near."""
    assert health.clock(100.0, 99.0, 101.0).good
    assert health.clock(98.0, 100.0, 103.0).good and health.clock(105.0, 100.0, 103.0).good
    slow, fast = health.clock(40.0, 100.0, 103.0), health.clock(163.0, 100.0, 103.0)
    assert not slow.good and slow.detail.startswith("60 s behind the master;")
    assert not fast.good and fast.detail.startswith("60 s ahead of the master;")


# All together


def test_check_that_cannot_be_made_is_not_good(monkeypatch: pytest.MonkeyPatch) -> None:
    def bare() -> Iterator[probes.Check]:
        raise FileNotFoundError(2, "No such file or directory", "/usr/sbin/gluster")
        yield

    def refused() -> Iterator[probes.Check]:
        yield "volume", True, ""
        raise ConnectionRefusedError("refused")

    monkeypatch.setattr(probes, "CHECKS", {"gluster": bare, "etcd": refused})
    assert probes.probe([("gluster", {}), ("etcd", {}), ("eve", {})]) == [
        ("gluster", False, "not deployed (gluster is missing)"),
        ("volume", True, ""),
        ("etcd", False, "refused"),
        ("eve", False, "this host has no such check; synchronise it with the master"),
    ]


def test_a_check_that_hangs_delays_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """The checks run side by side, and together they have a bound."""
    never = threading.Event()

    def hanging() -> Iterator[probes.Check]:
        never.wait()
        yield "hanging", True, ""

    def slow() -> Iterator[probes.Check]:
        time.sleep(0.2)
        yield "slow", True, ""

    monkeypatch.setattr(probes, "CHECKS", {"hanging": hanging, "slow": slow})
    monkeypatch.setattr(probes, "LIMIT", 1.0)
    begun = time.monotonic()
    found = probes.probe([("hanging", {}), *[("slow", {})] * 20])
    assert found == [("hanging", False, "no answer"), *[("slow", True, "")] * 20]
    assert time.monotonic() - begun < 3
    never.set()


def test_a_report_has_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "CHECKS", {})
    before = time.time()
    report = probes.report([])
    assert report["checks"] == [] and before <= report["clock"] <= time.time()


def test_it_runs_by_plain_python_from_its_standard_input() -> None:
    """`bin/lab status` works on hosts that have neither Salt nor a living minion."""
    assert probes.__file__
    text = Path(probes.__file__).read_text()
    done = subprocess.run(
        [sys.executable, "-IS", "-", json.dumps([["disk", {}], ["agent", {}]])],
        input=text,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert [check[0] for check in json.loads(done.stdout)["checks"]] == ["disk", "agent"]
    roots = {
        name.split(".")[0]
        for node in ast.walk(ast.parse(text))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert roots <= set(sys.stdlib_module_names)


def checks(
    host: str, topology: str, own: settings.Settings | None = None
) -> dict[str, Mapping[str, Any]]:
    """Return what a host looks at: the function of the probes -> its arguments."""
    wanted = fleets.pillar(host, topology, own)["host"]["checks"]
    return {one["probe"]: one["arguments"] for one in wanted}


@pytest.mark.parametrize(("topology", "host"), fleets.everyone())
def test_the_probe_can_make_every_check(topology: str, host: str) -> None:
    """Each check of a host is a function of the probes, and takes these arguments."""
    wanted = fleets.pillar(host, topology)["host"]["checks"]
    assert {"system", "firewall", "disk"} <= {one["probe"] for one in wanted}
    for one in wanted:
        inspect.signature(probes.CHECKS[one["probe"]]).bind(**one["arguments"])
        assert wanted.count(one) == 1


def test_a_host_is_asked_for_its_own_application() -> None:
    """Issue 5: by its domain, with its health's path; a host that serves none is asked for none."""
    known = {name: checks(name, "two-applications") for name in ("s1", "w1", "nas1")}
    agents = {
        name: fleets.pillar(name, "two-applications")["app"]["health"]["application"]
        for name in ("s1", "w1")
    }
    assert agents["s1"]["domain"] == "crm.example"
    assert agents["s1"]["path"] == "/web/health"
    assert agents["w1"]["domain"] == "shop.example"
    assert "agent" in known["s1"] and "agent" in known["w1"]
    assert "agent" not in known["nas1"]
    assert known["s1"]["live"] == {"port": 8072}
    for name in ("default", "plain"):
        assert fleets.pillar("s1", name)["app"]["health"]["directory"].startswith("/mnt/nas/")


def test_only_a_second_database_host_can_be_a_standby() -> None:
    """A fleet with one database host has no synchronous standby."""
    assert checks("bbdd1", "default")["patroni"]["synchronous"] is True
    assert checks("all", "one-host")["patroni"]["synchronous"] is False


# The minion, the mount and the pool


SOCKETS = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0B05010A:A0F2 0605010A:{port} {state} 00000000:00000000 02:0001 00000000 0 0 4242 2 0000
"""


@pytest.mark.parametrize(
    ("port", "state", "good"), [("1199", "01", True), ("1199", "06", False), ("119A", "01", False)]
)
def test_s13_a_minion_is_connected_to_its_master(
    tmp_path: Path, monkeypatch: Any, port: str, state: str, good: bool
) -> None:
    """S13: Over the port at which the master publishes jobs. A host may have no IPv6."""
    (tmp_path / "net").mkdir()
    (tmp_path / "net/tcp").write_text(SOCKETS.format(port=port, state=state))
    monkeypatch.setattr(probes, "PROC", tmp_path)
    ((what, found, words),) = probes.made("salt", {"port": 4505})
    assert (what, found, bool(words)) == ("salt", good, not good)


def test_s13_each_mount_is_connected_to_each_brick(tmp_path: Path) -> None:
    """S13: A missing one is named. A client without a brick says nothing good."""
    graph = tmp_path / ".meta/graphs/active"
    (missing,) = probes.made("mount", {"path": str(tmp_path)})
    assert missing[:2] == ("mount", False) and "no volume is mounted" in missing[2]
    (graph / "nas-replicate-0").mkdir(parents=True)
    nothing = ("mount", False, "connected to 0 of 0 bricks")
    assert probes.made("mount", {"path": str(tmp_path)}) == [nothing]
    for host in ("nas1", "nas2"):
        client = graph / f"nas-client-{host}"
        (client / "options").mkdir(parents=True)
        (client / "options/remote-host").write_text(f"{host}\n")
        (client / "options/remote-subvolume").write_text("/nas\n")
        (client / "private").write_text("  connected = 1\n")
    good = ("mount", True, "connected to 2 of 2 bricks")
    assert probes.made("mount", {"path": str(tmp_path)}) == [good]
    (graph / "nas-client-nas2/private").write_text("connected = 0\n")
    bad = ("mount", False, "connected to 1 of 2 bricks; nas2:/nas")
    assert probes.made("mount", {"path": str(tmp_path)}) == [bad]


def test_s13_a_dead_mount_is_the_agents_finding(monkeypatch: Any) -> None:
    """S13: So it is one alarm."""

    def dead(path: str) -> Any:
        raise OSError(107, "Transport endpoint is not connected")

    monkeypatch.setattr(probes, "unconnected", dead)
    assert probes.made("mount", {"path": "/mnt/nas"}) == []


POOLS = """\
database,user,cl_active,cl_waiting,sv_active,maxwait,maxwait_us,pool_mode
crm,crm,25,{waiting},25,{seconds},17,session
pgbouncer,pgbouncer,1,0,0,0,0,statement
"""
"""As pgbouncer 1.18 answers; some columns are left out."""


def test_s13_clients_that_wait_for_a_connection(tmp_path: Path, monkeypatch: Any) -> None:
    """S13: A moment is none; the password is on no command line."""
    login, asked = tmp_path / "health.json", list[Any]()
    login.write_text('{"database": {"user": "crm", "password": "canary"}}')
    said = [POOLS.format(waiting=2, seconds=1), POOLS.format(waiting=7, seconds=12)]

    def command(*argv: str, variables: dict[str, str]) -> str:
        asked.append(argv)
        assert variables["PGPASSWORD"] == "canary"
        return said.pop(0)

    monkeypatch.setattr(probes, "command", command)
    arguments = {"port": 6432, "login": str(login)}
    assert probes.made("queue", arguments) == [("queue", True, "")]
    words = "7 clients of crm wait for a connection, the first one for 12 s"
    assert probes.made("queue", arguments) == [("queue", False, words)]
    assert "canary" not in str(asked) and "--username=crm" in asked[0]

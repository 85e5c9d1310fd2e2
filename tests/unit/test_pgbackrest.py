"""pgBackRest: its configuration at both ends, its answers, and the states that use them."""

from __future__ import annotations

import configparser
import json
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from salt.exceptions import CommandExecutionError

from salina.backup import pgbackrest, scratch, second
from salina.common.https import identity
from salina_fleet import backup
from salina_fleet.model.backup import SCRATCH_KEYS, BackupSettings
from tests import fleets
from tests.conftest import REPOSITORY
from tests.loading import failure, load, never

OWN = identity("backup")
NAME = "five-apps"


def options(text: str) -> configparser.ConfigParser:
    """Read a configuration file; an option that is there twice keeps its last value."""
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.read_string(text)
    return parser


def test_the_backup_host_fetches_from_every_database_host() -> None:
    """O9: One host holds an encrypted repository, and knows all members, whoever the primary is."""
    text = pgbackrest.repository_configuration(fleets.pillar("tape", NAME)["backup"], OWN)
    found = options(text)
    assert found["global"]["repo1-path"] == "/var/lib/pgbackrest"
    assert found["global"]["repo1-cipher-type"] == "aes-256-cbc"
    assert found["global"]["repo1-cipher-pass"] == "canary-backup"
    stanza = found["salina"]
    assert [stanza[f"pg{number}-host"] for number in (1, 2, 3)] == ["pg-a", "pg-b", "pg-c"]
    assert {stanza[f"pg{number}-path"] for number in (1, 2, 3)} == {"/var/lib/postgresql/15/salina"}
    assert [line for line in text.splitlines() if line.startswith("tls-server-auth")] == [
        f"tls-server-auth={host}=salina" for host in ("pg-a", "pg-b", "pg-c")
    ]


def test_a_database_host_knows_no_password_and_no_other_database_host() -> None:
    """S6: Its file has the way to the backup host, which alone may use its server."""
    text = pgbackrest.database_configuration(fleets.pillar("pg-b", NAME)["archiving"], OWN)
    found = options(text)
    assert "cipher" not in text and "pg-a" not in text
    assert found["global"]["repo1-host"] == "tape"
    assert found["global"]["repo1-host-type"] == "tls"
    assert found["global"]["tls-server-address"] == "172.20.9.32"
    assert found["global"]["tls-server-auth"] == "tape=salina"
    assert "repo1-path" not in found["global"]


def test_the_backup_host_restores_from_its_own_repository() -> None:
    """O9: The second file has the same repository, but the cluster's files are on this host."""
    pillar = fleets.pillar("tape", NAME)
    text = pgbackrest.scratch_configuration(pillar["backup"], pillar["scratch"]["files"])
    found = options(text)
    assert found.sections() == ["global", "salina"]
    assert dict(found["salina"]) == {"pg1-path": "/var/lib/postgresql/15/scratch"}
    running = options(pgbackrest.repository_configuration(pillar["backup"], OWN))
    shared = {"repo1-path", "repo1-cipher-type", "repo1-cipher-pass", "lock-path"}
    assert shared < set(found["global"])
    for key, value in found["global"].items():
        assert running["global"][key] == value


def test_a_scratch_cluster_reaches_no_database_host() -> None:
    """O9: Its file has no other host and no server, so a drill cannot touch the running cluster."""
    text = pgbackrest.scratch_configuration(fleets.pillar("tape", NAME)["backup"], "/scratch")
    assert "tls" not in text and "host" not in text and "retention" not in text
    assert not any(name in text for name in ("pg-a", "pg-b", "pg-c"))


@pytest.mark.parametrize(
    ("host", "configuration"), [("tape", pgbackrest.SCRATCH_FILE), ("pg-a", pgbackrest.FILE)]
)
def test_a_host_with_backups_can_have_a_scratch_cluster(host: str, configuration: str) -> None:
    """O9: It is beside the running cluster; only the backup host needs a file of its own."""
    found = fleets.pillar(host, NAME)["scratch"]
    running = fleets.pillar("pg-a", NAME)["archiving"]
    assert found == {
        "configuration": configuration,
        "files": scratch.directory(running["database_files"]),
        "port": running["database_port"],
        "stanza": running["stanza"],
        "version": 15,
    }
    assert SCRATCH_KEYS.keys() == {"scratch", *(f"scratch.{key}" for key in found)}
    assert f"--config={configuration}" in scratch.restore_command(found, "")


def test_without_backups_there_is_no_scratch_cluster() -> None:
    """O9: Only a fleet with a backup host can restore, and an app host never does."""
    assert "scratch" not in fleets.pillar("bbdd1", "plain")
    assert "scratch" not in fleets.pillar("s1", "default")


def test_postgresql_archives_only_in_a_fleet_with_a_backup_host() -> None:
    """O9: Without a backup host WAL that nobody takes would fill the primary's disk."""
    parameters = fleets.pillar("pg-a", NAME)["database"]["parameters"]
    assert parameters["archive_mode"] is True
    assert parameters["archive_command"] == pgbackrest.archive_command("salina")
    without = fleets.pillar("bbdd1", "plain")
    assert "archive_mode" not in without["database"]["parameters"]


@pytest.mark.parametrize(
    ("free", "files", "elsewhere", "given_up"),
    [
        (pgbackrest.KEPT_FREE, 200, False, False),
        (pgbackrest.KEPT_FREE - 1, pgbackrest.KEPT_FILES, False, False),
        (pgbackrest.KEPT_FREE - 1, pgbackrest.KEPT_FILES + 1, False, True),
        (pgbackrest.KEPT_FREE - 1, pgbackrest.KEPT_FILES + 1, True, False),
    ],
    ids=["room", "a short queue", "almost full", "elsewhere"],
)
def test_wal_is_given_up_only_when_the_disk_would_be_full(
    tmp_path: Path, free: int, files: int, elsewhere: bool, given_up: bool
) -> None:
    """O9, K5: A file is sent, or given up with a record and a line in the log, and never both.

    Patroni runs the command in another directory before it rewinds a member.
    """
    waiting, programs = tmp_path / "pg_wal/archive_status", tmp_path / "bin"
    for folder in (waiting, programs):
        folder.mkdir(parents=True)
    for number in range(files):
        (waiting / f"{number:024X}.ready").touch()
    (waiting / f"{files:024X}.done").touch()
    df = f'#!/bin/sh\n[ -d pg_wal ] || exit 1\nprintf " Avail\\n{free}\\n"\n'
    for name, text in (("df", df), ("pgbackrest", '#!/bin/sh\necho "$@"\n')):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    command = pgbackrest.archive_command("salina").replace("%p", "pg_wal/07").replace("%f", "07")
    assert "%" not in command  # PostgreSQL replaces these two
    record = tmp_path / "given-up"
    done = subprocess.run(
        command.replace(pgbackrest.GIVEN_UP, str(record)),
        shell=True,
        cwd=programs if elsewhere else tmp_path,
        env={"PATH": f"{programs}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    sent = "" if given_up else "--stanza=salina archive-push pg_wal/07\n"
    assert (done.stdout, record.exists()) == (sent, given_up)
    assert ("07 is given up" in done.stderr) is given_up


def test_a_backup_host_that_is_away_is_noticed_soon() -> None:
    """O9: pgBackRest tries for two minutes by itself, in which the disk may fill."""
    text = pgbackrest.database_configuration(fleets.pillar("pg-b", NAME)["archiving"], OWN)
    assert options(text)["global:archive-push"]["io-timeout"] == "15"
    assert "tls-server-auth=tape=salina\n\n[global:archive-push]" in text


BACKUP: dict[str, Any] = {
    "label": "20261129-030000F",
    "type": "full",
    "error": False,
    "timestamp": {"start": 1000, "stop": 1060},
    "info": {"size": 32 * 2**20, "repository": {"delta": 4 * 2**20, "size": 4 * 2**20}},
}
LATER = {
    **BACKUP,
    "label": "20261129-030000F_20261130-030000D",
    "type": "diff",
    "timestamp": {"start": 87400, "stop": 87410},
    "info": {"size": 33 * 2**20, "repository": {"delta": 2**20, "size": 5 * 2**20}},
}
STANZA: dict[str, Any] = {
    "name": "salina",
    "status": {"code": 0, "message": "ok"},
    "archive": [
        {"id": "15-1", "min": "000000010000000000000003", "max": "00000002000000000000000A"}
    ],
    "backup": [BACKUP, LATER],
}


def info(**changes: Any) -> dict[str, Any]:
    """The answer of `pgbackrest.info`, when pgBackRest's differs in these keys."""
    found = pgbackrest.parse_info(json.dumps([{**STANZA, **changes}]), "salina")
    return found._asdict() | {"backups": [one._asdict() for one in found.backups]}


def test_the_answer_is_read() -> None:
    """O9: The backups are in order, and each has its times and its sizes."""
    found = pgbackrest.parse_info(json.dumps([STANZA]), "salina")
    assert [one.label for one in found.backups] == [BACKUP["label"], LATER["label"]]
    assert found.backups[1] == pgbackrest.Backup(
        LATER["label"], "diff", 87400, 87410, 33 * 2**20, 2**20, False
    )
    assert (found.code, found.wal) == (0, "00000002000000000000000A")


def test_another_stanza_is_none() -> None:
    """A repository may hold the backups of other clusters."""
    assert pgbackrest.parse_info(json.dumps([STANZA]), "other").code == pgbackrest.MISSING
    assert pgbackrest.parse_info("[]", "salina").code == pgbackrest.MISSING


def test_an_operator_reads_the_state() -> None:
    """O9: Age, size, and the moments that can be restored."""
    found = backup.told(info(), {}, 87410 + 3 * 3600)
    assert found["good"] and found["age"] == 3 * 3600
    assert (found["drill"], found["window"]) == ({}, 1061)
    assert backup.text(found).splitlines() == [
        "newest: 20261129-030000F_20261130-030000D (diff), 3 h 0 min old",
        "can be restored: every moment since 1970-01-01 00:17:41 UTC",
        "backups: 2, which take 5.0 MiB; the database has 33.0 MiB",
        "last WAL: 00000002000000000000000A",
        "last restore drill: there was none",
        "  next: salt-run state.orchestrate orch.restore_drill",
    ]


def test_the_newest_backup_is_the_first() -> None:
    """O9: The data for other programs has the backups from new to old."""
    found = backup.told(info(), {}, 90000.5)
    assert [one["label"] for one in found["backups"]] == [LATER["label"], BACKUP["label"]]
    assert (found["now"], found["age"]) == (90000, 2590)


DRILL: dict[str, Any] = {
    "good": True,
    "faults": [],
    "tables": 12,
    "rows": 3456,
    "files": 78,
    "seconds": 90,
    "ended": 90000,
}
FAILED = {**DRILL, "good": False, "faults": ["crm: is missing", "shop: public.a is missing"]}
GOOD_WORDS = (
    "2 h 0 min ago, good: 3456 rows in 12 tables as on the primary, and 78 files that they name, "
    "in 90 s"
)
FAILED_WORDS = "2 h 0 min ago, FAILED: crm: is missing; shop: public.a is missing"


@pytest.mark.parametrize(
    ("last", "good", "words"),
    [
        ({}, True, "there was none\n  next: salt-run state.orchestrate orch.restore_drill"),
        (DRILL, True, GOOD_WORDS),
        (FAILED, False, FAILED_WORDS),
    ],
)
def test_an_operator_reads_the_last_drill(last: dict[str, Any], good: bool, words: str) -> None:
    """O9: Backups are good only if the last drill did not fail; the state names every fault."""
    now = DRILL["ended"] + 7200
    assert backup.drilled(last, now) == words
    found = backup.told(info(), last, now)
    assert (found["good"], found["drill"]) == (good, last)
    assert f"last restore drill: {words}" in backup.text(found)


def test_the_record_of_a_drill_without_files_can_be_read() -> None:
    """O9: The version before this one has written such a record."""
    old = {key: value for key, value in DRILL.items() if key != "files"}
    assert "0 files that they name" in backup.drilled(old, DRILL["ended"] + 7200)


def test_an_operator_reads_the_age_of_the_copies_of_files() -> None:
    """O9: Each repository has a line, before the one of the last drill."""
    found = backup.told(info(), {}, 90000.5)
    found["files"] = {
        "crm": {"copies": 205, "newest": 90000 - 660, "size": 31.2 * 2**20},
        "shop-1": {"copies": 0, "newest": None, "size": 0},
    }
    lines = backup.text(found).splitlines()
    place = lines.index("files of crm: copied 11 min ago, 205 copies, which take 31.2 MiB")
    assert lines[place + 1] == "files of shop-1: no copy, 0 copies, which take 0 B"
    assert lines[place + 2].startswith("last restore drill: ")


@pytest.mark.parametrize("changes", [{"backup": []}, {"status": {"code": 6, "message": "bad"}}])
def test_a_good_drill_does_not_make_up_for_backups(changes: dict[str, Any]) -> None:
    """O9: An old drill says nothing about a repository that has a fault now."""
    assert not backup.told(info(**changes), DRILL, 97200)["good"]


MISSING_BACKUP = "late: the day's backup; see journalctl -u 'salina-backup@*' on its host"
MISSING_DRILL = "late: a restore drill; salt-run state.orchestrate orch.restore_drill"
DAY = 86_400


@pytest.mark.parametrize(
    ("hours", "days", "drill_days", "overdue"),
    [
        (1, 1, 7, []),
        (26, 9, 7, []),
        (26 + 1 / 3600, 9, 7, [MISSING_BACKUP]),
        (26, 9 + 1 / DAY, 7, [MISSING_DRILL]),
        (1, 9 + 1 / DAY, 8, []),
        (1, 3 + 1 / DAY, 1, [MISSING_DRILL]),
        (24 * 20, 20, 7, [MISSING_BACKUP, MISSING_DRILL]),
    ],
)
@pytest.mark.parametrize("good", [True, False])
def test_an_operator_reads_what_is_late(
    hours: float, days: float, drill_days: int, overdue: list[str], good: bool
) -> None:
    """O9: A backup may be two hours late and a drill two days, and a failed drill is one too."""
    now = 10_000_000
    newest = {**LATER, "timestamp": {"start": 0, "stop": now - round(hours * 3600)}}
    last = {**(DRILL if good else FAILED), "ended": now - round(days * DAY)}
    assert (
        backup.late(backup.told(info(backup=[BACKUP, newest]), last, now), drill_days, 15)
        == overdue
    )


@pytest.mark.parametrize(("seconds", "overdue"), [(0, []), (1, [MISSING_DRILL])])
def test_a_first_drill_is_late_from_the_first_backup_on(seconds: int, overdue: list[str]) -> None:
    """O9: A fleet that never had a drill has as many days as lie between two of them."""
    now = BACKUP["timestamp"]["stop"] + 1 + 9 * DAY + seconds
    newest = {**LATER, "timestamp": {"start": 0, "stop": now - 60}}
    assert backup.late(backup.told(info(backup=[BACKUP, newest]), {}, now), 7, 15) == overdue


@pytest.mark.parametrize("last", [{}, DRILL])
def test_without_a_backup_nothing_is_late(last: dict[str, Any]) -> None:
    """O9: The state says already that there is none, and a drill could try none."""
    found = backup.told(info(backup=[]), last, 10_000_000)
    assert backup.late(found, 7, 15) == []
    found["files"] = {"crm": {"copies": 0, "newest": None, "size": 0}}
    assert backup.late(found, 7, 15) == []


HOUR = 3600
CRM, SHOP = (
    f"late: a copy of the files of {name}; see journalctl -t salina-files on its hosts"
    for name in ("crm", "shop")
)


@pytest.mark.parametrize(
    ("crm", "shop", "minutes", "overdue"),
    [
        (60, HOUR, 15, []),
        (HOUR + 1, 60, 15, [CRM]),
        (60, HOUR + 1, 15, [SHOP]),
        (HOUR + 1, 2 * HOUR, 15, [CRM, SHOP]),
        (2 * HOUR, 2 * HOUR + 1, 30, [SHOP]),
    ],
)
def test_an_operator_reads_which_copies_of_files_are_late(
    crm: int, shop: int, minutes: int, overdue: list[str]
) -> None:
    """O9: Of each source four copies may be missing, however long lies between two of them."""
    now = 10_000_000
    newest = {**LATER, "timestamp": {"start": 0, "stop": now - HOUR}}
    found = backup.told(info(backup=[BACKUP, newest]), {**DRILL, "ended": now}, now)
    found["files"] = {
        name: {"copies": 9, "newest": now - age, "size": 0}
        for name, age in (("crm", crm), ("shop", shop))
    }
    assert backup.late(found, 7, minutes) == overdue


@pytest.mark.parametrize(("seconds", "overdue"), [(0, []), (1, [CRM])])
def test_a_first_copy_of_files_is_late_from_the_first_backup_on(
    seconds: int, overdue: list[str]
) -> None:
    """O9: A new fleet has as much time for it as for four copies."""
    now = BACKUP["timestamp"]["stop"] + 1 + HOUR + seconds
    found = backup.told(info(backup=[BACKUP]), {}, now)
    found["files"] = {"crm": {"copies": 0, "newest": None, "size": 0}}
    assert backup.late(found, 7, 15) == overdue


FIVE = datetime(2026, 11, 29, 5, 10, tzinfo=UTC)
SETTINGS = BackupSettings(drill_hour=5, drill_days=7)


@pytest.mark.parametrize(("later", "wanted"), [(0, True), (-1, False), (1, False), (12, False)])
def test_the_first_drill_is_at_its_hour(later: int, wanted: bool) -> None:
    """O9: A fleet that never had a drill has one within a day, at the hour of the settings."""
    assert backup.due(None, SETTINGS, FIVE + timedelta(hours=later)) is wanted


@pytest.mark.parametrize(
    ("days", "hours", "later", "wanted"),
    [
        (7, 0, 0, True),
        (6, 20, 0, True),  # the last one took hours
        (6, 12, 0, True),
        (6, 11, 0, False),
        (0, 0, 0, False),
        (7, 0, 1, False),
        (7, 23, -1, False),
        (8, 0, 1, True),
        (8, 0, -1, True),
        (300, 0, 12, True),
    ],
)
def test_a_drill_is_due_at_its_hour_or_late(
    days: int, hours: int, later: int, wanted: bool
) -> None:
    """O9: A master that was down at that hour waits at most a day, and then begins at any hour."""
    now = FIVE + timedelta(hours=later)
    ended = (now - timedelta(days=days, hours=hours)).timestamp()
    assert backup.due(ended, SETTINGS, now) is wanted


@pytest.mark.parametrize("days", [1, 2, 7, 30])
@pytest.mark.parametrize("took", [1, 50, 600])
def test_drills_keep_their_rhythm(days: int, took: int) -> None:
    """O9: The master asks once an hour; however many minutes a drill takes, the hour stays."""
    settings = BackupSettings(drill_hour=5, drill_days=days)
    now, ended = FIVE - timedelta(hours=10), None
    begun: list[datetime] = []
    while len(begun) < 4:
        if backup.due(ended, settings, now):
            begun.append(now)
            ended = (now + timedelta(minutes=took)).timestamp()
        now += timedelta(hours=1)
    assert begun == [FIVE + number * timedelta(days=days) for number in range(4)]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"status": {"code": 1, "message": "missing stanza path"}, "backup": []}, "no backup was"),
        ({"status": {"code": 2, "message": "no valid backups"}, "backup": []}, "no valid backups"),
        ({"backup": [BACKUP, {**LATER, "error": True}]}, f"damaged: {LATER['label']}"),
        ({"status": {"code": 6, "message": "cipher mismatch"}}, "status: cipher mismatch"),
    ],
)
def test_what_is_wrong_is_said(changes: dict[str, Any], words: str) -> None:
    """K5: A repository without a good backup is not good."""
    found = backup.told(info(**changes), {}, 90000)
    assert not found["good"]
    assert words in backup.text(found)


@pytest.mark.parametrize(
    ("seconds", "words"), [(59, "0 min"), (7260, "2 h 1 min"), (2 * 86400 + 3600, "2 days 1 h")]
)
def test_durations(seconds: int, words: str) -> None:
    """An operator reads at most two units."""
    assert backup.duration(seconds) == words


def states(test: bool, answers: dict[str, Any]) -> Any:
    """The states, with these answers of the module and an installed pgBackRest."""
    salt = {"pkg.version": lambda _: "2.45", **answers}
    return load("_states/pgbackrest.py", opts={"test": test}, salt=salt)


def test_a_stanza_is_created_once() -> None:
    """K1: A stanza that is there is left alone; one that is not there waits for the primary."""
    there = states(False, {"pgbackrest.info": lambda: info()})
    assert there.stanza("salina", 0)["changes"] == {}
    made: list[str] = []
    missing = info(status={"code": 1, "message": "missing"}, backup=[])
    answers = {"pgbackrest.info": lambda: missing}
    new = states(False, answers | {"pgbackrest.create_stanza": lambda: made.append("stanza")})
    assert new.stanza("salina", 0)["changes"] == {"stanza": "salina"}
    assert made == ["stanza"]
    predicted = states(True, answers).stanza("salina", 0)
    assert (predicted["result"], predicted["changes"]) == (None, {"stanza": "salina"})


def test_without_a_primary_there_is_a_reason() -> None:
    """K5: The message is pgBackRest's own."""

    def refused() -> None:
        raise CommandExecutionError("no primary found")

    missing = info(status={"code": 1, "message": "missing"}, backup=[])
    answers = {"pgbackrest.info": lambda: missing, "pgbackrest.create_stanza": refused}
    said = failure(states(False, answers).stanza("salina", 0))
    assert said == "waited 0 s for the stanza salina: no primary found"


@pytest.mark.parametrize("test", [True, False])
def test_the_first_backup_does_not_wait_for_its_timer(test: bool) -> None:
    """O9, K3: It is made once, and predicted."""
    none = {"pgbackrest.info": lambda: info(backup=[]), "pgbackrest.back_up": lambda kind: kind}
    ret = states(test, none).backed_up("first")
    assert (ret["result"], ret["changes"]) == (None if test else True, {"backup": "full"})
    some = {"pgbackrest.info": lambda: info(), "pgbackrest.came_back": lambda: 0}
    ret = states(test, some).backed_up("first")
    assert (ret["result"], ret["changes"]) == (True, {})


@pytest.mark.parametrize("test", [False, True])
def test_o9_a_repository_that_came_back_gets_a_backup(test: bool) -> None:
    """O9: WAL is missing since the last mirror, so the moments before the backup are lost."""
    end = info()["backups"][-1]["end"]
    found: dict[str, Callable[..., Any]] = {
        "pgbackrest.info": lambda: info(),
        "pgbackrest.back_up": lambda kind: kind,
        "pgbackrest.without_primary": lambda: "",
    }
    ret = states(test, found | {"pgbackrest.came_back": lambda: end + 1}).backed_up("first")
    assert (ret["result"], ret["changes"]) == (None if test else True, {"backup": "full"})
    ret = states(test, found | {"pgbackrest.came_back": lambda: end}).backed_up("first")
    assert (ret["result"], ret["changes"]) == (True, {})


def test_o9_without_a_primary_a_repository_that_came_back_is_enough() -> None:
    """O9: The database hosts are lost as well, and the restored cluster gets a full backup."""
    end = info()["backups"][-1]["end"]
    answers = {
        "pgbackrest.info": lambda: info(),
        "pgbackrest.came_back": lambda: end + 1,
        "pgbackrest.without_primary": lambda: "unable to find primary cluster",
        "pgbackrest.back_up": never,
    }
    ret = states(False, answers).backed_up("first")
    assert (ret["result"], ret["changes"]) == (True, {})
    assert "there is no primary: unable to find primary cluster" in ret["comment"]


@pytest.mark.parametrize(
    ("code", "said", "fault"),
    [
        (0, "", False),
        (56, "ERROR: [056]: unable to find primary cluster - cannot proceed", True),
        (50, "ERROR: [050]: unable to acquire lock on file", False),
    ],
)
def test_o9_whether_a_primary_answers(code: int, said: str, fault: bool) -> None:
    """O9: Another error is none of a missing primary, and the backup itself will tell it. The
    bound is short.
    """
    asked: list[str] = []

    def run(command: list[str], **_: Any) -> dict[str, Any]:
        asked.extend(command)
        return {"retcode": code, "stdout": "", "stderr": said}

    salt = {"cmd.run_all": run}
    module = load("_modules/pgbackrest.py", salt=salt, pillar={"backup": {"stanza": "salina"}})
    assert bool(module.without_primary()) is fault
    assert asked[-2:] == ["stanza-create", "--io-timeout=10"]


def test_o9_the_moment_at_which_a_repository_came_back(tmp_path: Path) -> None:
    """O9: It is that of a file, which the repository has only if it came back."""
    module = load("_modules/pgbackrest.py", pillar={"backup": {"repository": str(tmp_path)}})
    assert module.came_back() == 0
    file = tmp_path / second.RETURNED
    file.touch()
    assert module.came_back() == file.stat().st_mtime


# A backup that somebody waits for

UNIT = "salina-backup@diff.service"
RESET = f"systemctl reset-failed {UNIT}"


class BackupHost:
    """The backup host, with systemd as it is after some backups.

    `waits`: whether systemd wants to start the unit again. `fails`: whether the backup fails; then
    systemd wants to start it again. `makes`: whether there is a new backup afterwards. `done`: the
    changes of units.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.waits = self.fails = False
        self.makes = True
        self.backups = [BACKUP]
        self.done: list[str] = []
        salt: dict[str, Callable[..., Any]] = {
            "cmd.run_all": self.run_all,
            "service.start": self.start,
            "service.stop": self.stop,
        }
        pillar = fleets.pillar("tape", NAME)
        self.module: Any = load("_modules/pgbackrest.py", salt=salt, pillar=pillar)
        usage = SimpleNamespace(disk_usage=self.disk_usage)
        monkeypatch.setattr(self.module, "shutil", usage)

    def disk_usage(self, place: Path) -> Any:
        """Return the room of the repository."""
        assert place == Path("/var/lib/pgbackrest/backup")
        return SimpleNamespace(free=7 * 2**20)

    def start(self, unit: str) -> None:
        """Make a backup. A start would wait for the one that systemd has planned."""
        assert unit == UNIT and not self.waits
        self.done.append(f"systemctl start {unit}")
        if self.fails:
            self.waits = True
            raise CommandExecutionError("Job failed.")
        if self.makes:
            self.backups = [BACKUP, LATER]

    def stop(self, unit: str) -> None:
        """Let systemd plan no start any more."""
        assert unit == UNIT and self.waits
        self.waits = False
        self.done.append(f"systemctl stop {unit}")

    def run_all(self, argv: list[str], **_: Any) -> dict[str, Any]:
        """Answer a command. A unit that is not loaded has no failures."""
        command = " ".join(argv).removeprefix("setpriv --pdeathsig=KILL -- ")
        said, code = "", 0
        if command == RESET:
            self.done.append(command)
            code = 1
        elif command.startswith(f"systemctl show {UNIT} "):
            said = "auto-restart\n" if self.waits else "dead\n"
        elif command.startswith("journalctl"):
            said = "ERROR: [082]: WAL segment was not archived"
        else:
            assert "pgbackrest" in command and "info" in command
            said = json.dumps([{**STANZA, "backup": self.backups}])
        return {"retcode": code, "stdout": said, "stderr": ""}


@pytest.fixture
def tape(monkeypatch: pytest.MonkeyPatch) -> BackupHost:
    return BackupHost(monkeypatch)


@pytest.mark.parametrize("waits", [True, False])
def test_o9_a_backup_does_not_wait_for_one_that_systemd_repeats(
    tape: BackupHost, waits: bool
) -> None:
    """O9: That one is stopped, and systemd forgets how often it has failed."""
    tape.waits = waits
    assert tape.module.back_up("diff") == LATER["label"]
    stopped = [f"systemctl stop {UNIT}"] * waits
    assert tape.done == [*stopped, RESET, f"systemctl start {UNIT}"]


def test_k5_a_backup_that_fails_is_not_made_again_unseen(tape: BackupHost) -> None:
    """O9, K5: The error has pgBackRest's words, and the room that is left."""
    tape.fails = True
    with pytest.raises(CommandExecutionError) as caught:
        tape.module.back_up("diff")
    assert str(caught.value).splitlines() == [
        f"systemctl start {UNIT}: Job failed.",
        "ERROR: [082]: WAL segment was not archived",
        "7 MiB are free in /var/lib/pgbackrest/backup",
    ]
    assert tape.done[1:] == [f"systemctl start {UNIT}", f"systemctl stop {UNIT}", RESET]
    assert not tape.waits


def test_k5_a_backup_that_leaves_nothing_is_an_error(tape: BackupHost) -> None:
    """O9, K5: The error names the unit. A kind that pgBackRest does not have starts nothing."""
    tape.makes = False
    with pytest.raises(CommandExecutionError, match=r"ended, and there is no new backup$"):
        tape.module.back_up("diff")
    tape.done = []
    with pytest.raises(CommandExecutionError, match=r"must be full, diff or incr$"):
        tape.module.back_up("all")
    assert tape.done == []


def test_o9_systemd_repeats_a_nightly_backup_for_two_hours() -> None:
    """O9: Five starts in all. The backup of the next day counts from the beginning again."""
    text = (REPOSITORY / "salt/backup/files/salina-backup@.service").read_text()
    for line in ("Restart=on-failure", "RestartSec=30m", "StartLimitBurst=5"):
        assert f"\n{line}\n" in text
    assert "\nStartLimitIntervalSec=20h\n" in text

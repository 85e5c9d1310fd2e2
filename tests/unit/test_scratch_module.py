"""The module of the scratch cluster: its start and end, its queries, the copy of a database."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from salt.exceptions import CommandExecutionError

from salina.backup import scratch
from salina.common import wait
from tests import fleets
from tests.loading import load, never, refusing

FILES = "/var/lib/postgresql/15/scratch"
NOON = "2026-11-29 12:00:00.000000+00"
LAST = "2026-11-29 11:59:58.5+00"
PASSWORD = "canary-app-crm-database"
LOGGED = "FATAL:  recovery ended before configured recovery target was reached"


class Host:
    """A database host, whose commands behave as pgBackRest, psql and systemd do.

    `files`: whether the scratch cluster has files. `whole`: whether pgBackRest came to its end.
    `refusals`: how often it still refuses a session. `dies`: after so many of them it ends.
    `faults`: the programs that fail, with their words.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.running = self.files = self.whole = False
        self.refusals, self.dies, self.answer = 0, -1, LAST
        self.faults: dict[str, str] = {}
        self.commands: list[tuple[list[str], dict[str, Any]]] = []
        self.salt: dict[str, Any] = {
            "cmd.run_all": self.run_all,
            "service.start": self.start,
            "service.stop": self.stop,
            "service.status": lambda unit: self.running,
        }
        pillar = fleets.pillar("bbdd1")
        self.module: Any = load("_modules/scratch.py", salt=self.salt, pillar=pillar)
        clock = SimpleNamespace(monotonic=lambda: self.now, sleep=self.sleep)
        monkeypatch.setattr(wait, "time", clock)

    def sleep(self, seconds: float) -> None:
        """Let time pass, without waiting for it."""
        self.now += seconds

    def start(self, unit: str) -> None:
        """Start the scratch cluster, which needs all its files."""
        assert unit == scratch.UNIT and self.whole
        if "start" in self.faults:
            raise CommandExecutionError(self.faults["start"])
        self.running = True

    def stop(self, unit: str) -> None:
        """Stop the scratch cluster, also if it does not run."""
        assert unit == scratch.UNIT
        self.running = False

    def run_all(self, argv: list[str], **options: Any) -> dict[str, Any]:
        """Run a command, and note it without the programs that only limit it."""
        command = argv[len(argv) - argv[::-1].index("--") :]
        program = Path(command[0]).name
        self.commands.append((argv, options))
        if program in self.faults:
            return {"retcode": 1, "stdout": "", "stderr": self.faults[program]}
        return {"retcode": 0, "stderr": "", **getattr(self, program)(command)}

    def rm(self, command: list[str]) -> dict[str, Any]:
        """Delete the files. They are not those of a cluster that runs."""
        assert command[-1] == FILES and not self.running
        self.files = self.whole = False
        return {"stdout": ""}

    def mkdir(self, command: list[str]) -> dict[str, Any]:
        """Make the directory."""
        assert command[-1] == FILES
        return {"stdout": ""}

    def pgbackrest(self, command: list[str]) -> dict[str, Any]:
        """Restore into an empty directory only."""
        if self.files:
            return {"retcode": 40, "stdout": "", "stderr": "unable to restore: not empty"}
        self.files = self.whole = True
        return {"stdout": ""}

    def psql(self, command: list[str]) -> dict[str, Any]:
        """Refuse some sessions, then answer."""
        if self.refusals == self.dies:
            self.running = False
        if self.refusals:
            self.refusals -= 1
            return {"retcode": 2, "stdout": "", "stderr": "the database system is starting up"}
        return {"stdout": f"{self.answer}\n"}

    def journalctl(self, command: list[str]) -> dict[str, Any]:
        """Return the last words of the scratch cluster."""
        assert f"--unit={scratch.UNIT}" in command
        return {"stdout": LOGGED}

    def touch(self, command: list[str]) -> dict[str, Any]:
        """Make files."""
        return {"stdout": ""}

    def ran(self, program: str) -> list[list[str]]:
        """Return the commands of a program, whole."""
        return [argv for argv, _ in self.commands if program in [Path(one).name for one in argv]]


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(monkeypatch)


def failed(call: Callable[[], Any]) -> str:
    """Return why a call fails."""
    with pytest.raises(CommandExecutionError) as caught:
        call()
    return str(caught.value)


# Its start


@pytest.mark.parametrize("until", ["", NOON])
def test_o9_a_scratch_cluster_recovers_up_to_a_moment(host: Host, until: str) -> None:
    """O9: The answer is the last change that it has. It can be slow to listen."""
    host.refusals = 90
    assert host.module.start(until) == LAST
    assert host.running and host.now == 90
    [restored] = host.ran("pgbackrest")
    assert (f"--target={until}" in restored) is bool(until)


def test_o9_a_recovery_without_a_change_is_complete(host: Host) -> None:
    """O9: Nobody has changed anything since the backup, and nobody waits for a change."""
    host.answer = ""
    assert host.module.start() == ""
    assert host.now == 0


@pytest.mark.parametrize("running", [True, False])
def test_k2_an_interrupted_restore_is_in_nobodys_way(host: Host, running: bool) -> None:
    """K2, O9: Its cluster runs, or has only a part of its files, and is replaced."""
    host.files, host.running = True, running
    assert host.module.start(NOON) == LAST
    assert host.running and host.whole


def test_k5_a_cluster_that_ends_is_not_waited_for(host: Host) -> None:
    """K5: The error has the last words of its log."""
    host.refusals, host.dies = 1000, 997
    assert failed(host.module.start) == f"the scratch cluster has ended:\n{LOGGED}"
    assert host.now < 10


def test_k5_a_recovery_takes_hours_at_most(host: Host) -> None:
    """K5: The error says how long it took, and has the last words of its log."""
    host.module.RECOVERED = 600
    host.refusals = 10**6
    said = failed(host.module.start)
    assert said == f"the scratch cluster still recovers after 600 s:\n{LOGGED}"
    assert host.now == 600


def test_k5_a_restore_that_fails_starts_nothing(host: Host) -> None:
    """K5: The error has pgBackRest's own words."""
    host.faults["pgbackrest"] = "ERROR: [075]: no backup set found to restore"
    host.salt["service.start"] = never
    assert failed(host.module.start).endswith(": ERROR: [075]: no backup set found to restore")


def test_k5_systemd_refuses_the_start(host: Host) -> None:
    """K5: The error has systemd's own words, and nobody waits for a session."""
    host.faults["start"] = "Job for salina-scratch.service failed."
    assert failed(host.module.start) == (
        "systemctl start salina-scratch: Job for salina-scratch.service failed."
    )
    assert host.ran("psql") == []


# Its end


def test_k2_a_removal_can_be_repeated(host: Host) -> None:
    """K2: Nothing is left after the first one, and the second finds nothing to do."""
    host.module.start()
    for _ in range(2):
        host.module.remove()
        assert (host.running, host.files) == (False, False)


def test_k5_a_cluster_that_cannot_be_stopped_keeps_its_files(host: Host) -> None:
    """K5: A server whose files are deleted would go on with what it has in memory."""
    host.module.start()
    host.salt["service.stop"] = refusing("Failed to connect to bus")
    assert failed(host.module.remove) == "systemctl stop salina-scratch: Failed to connect to bus"
    assert host.files


# Queries and checks


def test_x8_no_query_reaches_the_running_cluster(host: Host) -> None:
    """X8, O9: It goes through the socket of the scratch cluster, as PostgreSQL's user.

    A superuser runs none of the functions that an application has named like PostgreSQL's.
    """
    assert host.module.query("SELECT 1", "crm") == LAST
    [(argv, options)] = host.commands
    assert f"--host={scratch.SOCKETS}" in argv and "--dbname=crm" in argv
    assert "--reuid=postgres" in argv and "--regid=postgres" in argv
    assert "search_path=pg_catalog" in options["env"]["PGOPTIONS"]
    assert options["stdin"] == "SELECT 1" and "SELECT" not in " ".join(argv)


@pytest.mark.parametrize(
    ("program", "call", "said"),
    [
        ("psql", lambda module: module.query("x"), 'ERROR:  relation "x" does not exist'),
        ("pg_amcheck", lambda module: module.check(), 'btree index "crm.public.a" is damaged'),
        ("touch", lambda module: module.mark(["a"]), "cannot touch: Read-only file system"),
        ("rm", lambda module: module.remove(), "cannot remove: Read-only file system"),
    ],
)
def test_k5_the_error_of_a_program_is_passed_on(
    host: Host, program: str, call: Callable[[Any], None], said: str
) -> None:
    """K5: Its words are the end of the message, after the command."""
    host.faults[program] = said
    found = failed(lambda: call(host.module))
    assert program in found and found.endswith(f": {said}")


def test_o9_marks_are_files_of_postgresql(host: Host) -> None:
    """O9: PostgreSQL deletes them later, so they are its own."""
    host.module.mark(["pg_wal/archive_status/00000004.history.ready"])
    [argv] = host.ran("touch")
    assert argv[-1] == f"{FILES}/pg_wal/archive_status/00000004.history.ready"
    assert "--reuid=postgres" in argv


def test_k5_a_host_without_backups_has_no_scratch_cluster(host: Host) -> None:
    """K5: The error names the role."""
    del host.module.__pillar__["scratch"]
    assert "pillar scratch is missing" in failed(lambda: host.module.query("SELECT 1"))


# The copy of a database

PROGRAMS = {
    "pg_dump": 'echo "$@" > {place}/dumped; echo content; echo {words} >&2; exit {code}',
    "pg_restore": 'echo "$@" > {place}/restored; cat > {place}/content; echo {words} >&2; '
    "exit {code}",
}


class Pipe:
    """The pipe of both programs, run by a real shell, with programs that only note what they get.

    `secrets`: the content of the password's file during the command, and its mode.
    """

    def __init__(self, host: Host, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.host, self.place = host, place
        self.owner, self.file, self.password = "", "", PASSWORD
        self.argv: list[str] = []
        self.secrets: list[tuple[str, int]] = []
        for name in PROGRAMS:
            self.program(name)
        monkeypatch.setattr(host.module, "shutil", SimpleNamespace(chown=self.chown))
        monkeypatch.setattr(host.module, "_program", lambda name: str(place / name))
        host.salt["cmd.run_all"] = self.run_all

    def program(self, name: str, words: str = "", code: int = 0) -> None:
        """Write a program, which says something and ends with a code."""
        file = self.place / name
        text = PROGRAMS[name].format(place=self.place, words=words, code=code)
        file.write_text(f"#!/bin/sh\n{text}\n")
        file.chmod(0o755)

    def chown(self, file: str, user: str) -> None:
        """Note whose the password's file is from then on."""
        self.file, self.owner = file, user

    def run_all(self, argv: list[str], **options: Any) -> dict[str, Any]:
        """Run the shell, without the programs that limit it and change its user."""
        self.argv, passfile = argv, options["env"]["PGPASSFILE"]
        assert (passfile, self.owner) == (self.file, "postgres")
        assert self.password not in str((argv, options))
        mode = stat.S_IMODE(os.stat(passfile).st_mode)
        self.secrets.append((Path(passfile).read_text(), mode))
        ran = subprocess.run(
            argv[argv.index("bash") :], capture_output=True, text=True, check=False, timeout=30
        )
        return {"retcode": ran.returncode, "stdout": ran.stdout, "stderr": ran.stderr.strip()}

    def noted(self, name: str) -> str:
        """Return what a program has noted."""
        return (self.place / name).read_text().strip()


@pytest.fixture
def pipe(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pipe:
    return Pipe(host, tmp_path, monkeypatch)


def test_o9_a_database_is_copied_into_the_running_cluster(pipe: Pipe) -> None:
    """O9, X8: The application's role writes it, because its functions run meanwhile."""
    pipe.host.module.load("crm", scratch.TEMPORARY)
    assert pipe.noted("content") == "content"
    dumped, restored = pipe.noted("dumped").split(), pipe.noted("restored").split()
    assert f"--host={scratch.SOCKETS}" in dumped and dumped[-1] == "crm"
    assert {"--host=/run/postgresql", "--username=crm", "--dbname=salina_restored"} <= {*restored}
    assert "--exit-on-error" in restored and "--reuid=postgres" in pipe.argv
    assert "--no-privileges" not in restored


def test_o1_another_role_may_write_the_copy(pipe: Pipe) -> None:
    """O1, X8: A copy for trials belongs to its own application, with that one's password."""
    pipe.host.module.__pillar__ = fleets.pillar("bbdd1", "staging")
    pipe.password = "canary-app-crm_staging-database"
    pipe.host.module.load("crm", scratch.TEMPORARY, "crm_staging")
    assert pipe.noted("dumped").split()[-1] == "crm"
    restored = pipe.noted("restored").split()
    assert {"--username=crm_staging", "--dbname=salina_restored"} <= {*restored}
    assert restored[-1] == "--no-privileges"  # the rights of other roles in the original
    assert pipe.secrets == [(f"*:5432:salina_restored:crm_staging:{pipe.password}\n", 0o600)]


def test_k5_a_copy_for_an_application_of_another_fleet(pipe: Pipe) -> None:
    """O1, K5: Neither the database nor its owner can be one that the pillar does not have."""
    for given in (("shop",), ("crm", "shop")):
        said = failed(partial(pipe.host.module.load, given[0], scratch.TEMPORARY, *given[1:]))
        assert said.startswith("shop: the pillar of this host has no such")
    assert pipe.argv == []


def test_k4_the_password_is_in_a_file_for_a_while(pipe: Pipe) -> None:
    """K4: Only PostgreSQL's user reads it, and it is gone afterwards, also after a failure."""
    pipe.host.module.load("crm", scratch.TEMPORARY)
    assert not Path(pipe.file).exists()
    pipe.program("pg_dump", code=1)
    assert PASSWORD not in failed(lambda: pipe.host.module.load("crm", scratch.TEMPORARY))
    assert not Path(pipe.file).exists()
    assert pipe.secrets == [(f"*:5432:salina_restored:crm:{PASSWORD}\n", 0o600)] * 2


@pytest.mark.parametrize("name", PROGRAMS)
def test_k5_half_a_copy_is_no_copy(pipe: Pipe, name: str) -> None:
    """K5: The error of either program is an error of the copy, also if the other one succeeds."""
    pipe.program(name, words="connection to server was lost", code=1)
    said = failed(lambda: pipe.host.module.load("crm", scratch.TEMPORARY))
    assert said.endswith("connection to server was lost")

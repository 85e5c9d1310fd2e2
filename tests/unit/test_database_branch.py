"""The copy of a running database on the primary: its making, its room on the disk, its removal."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from salt.exceptions import CommandExecutionError

from salina.backup import scratch
from salina.database import sessions
from tests import fleets
from tests.loading import load

COPY = "salina_next_crm"
BUSY = 'source database "crm" is being accessed by other users'
SIZE = 100 * 2**20


class Primary:
    """A database host, which notes the statements and the commands.

    `faults`: why the next attempts to copy the files fail. `fills`: somebody else fills the disk
    during a copy.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fleet: str = "default") -> None:
        self.replica = False
        self.asked: list[tuple[str, str]] = []
        self.commands: list[list[str]] = []
        self.faults: list[str] = []
        self.password = self.login = ""
        self.recorded: list[tuple[Any, ...]] = []
        self.fills, self.ended = False, threading.Event()
        salt = {
            "database.query": self.query,
            "database.record": lambda *given: self.recorded.append(given),
            "database.row": lambda name: [name, "{}"],
            "cmd.run_all": self.run_all,
        }
        pillar = fleets.pillar("bbdd1", fleet)
        self.module: Any = load("_modules/database_branch.py", salt=salt, pillar=pillar)
        self.free = 2 * SIZE + scratch.SPARE
        usage = SimpleNamespace(
            disk_usage=lambda path: SimpleNamespace(free=self.free), chown=self.chown
        )
        monkeypatch.setattr(self.module, "shutil", usage)
        monkeypatch.setattr("salina.common.wait.time.sleep", lambda _: None)

    def chown(self, path: str, user: str) -> None:
        """Note who may read the password."""
        assert user == "postgres"
        self.password = path

    def query(self, sql: str, database: str) -> str:
        """Answer a statement."""
        if sql == "SELECT pg_is_in_recovery()":
            return "t" if self.replica else "f"
        if sql == scratch.size("crm"):
            return str(SIZE)
        self.asked.append((sql, database))
        if "starts_with(query" in sql:
            self.ended.set()
            return "1"
        if "TEMPLATE" in sql and self.faults:
            raise CommandExecutionError(self.faults.pop(0))
        return ""

    def run_all(self, argv: list[str], **options: Any) -> dict[str, Any]:
        """Note a command. Its password is not among the arguments."""
        self.commands.append(argv)
        self.login = Path(self.password).read_text()
        more = argv[-1] == "--no-privileges"
        assert options["env"] == {"PGPASSFILE": self.password, "PGAPPNAME": argv[-1 - more]}
        assert "canary" not in str(argv)
        if self.fills:
            self.free = scratch.SPARE // 2 - 2**20
            assert self.ended.wait(30), "the copy goes on"
            return {"retcode": 1, "stdout": "", "stderr": "FATAL: terminating connection"}
        return {"retcode": 0, "stdout": "", "stderr": ""}

    def said(self) -> str:
        """Return the statements."""
        return "\n".join(sql for sql, _ in self.asked)


@pytest.fixture
def primary(monkeypatch: pytest.MonkeyPatch) -> Primary:
    return Primary(monkeypatch)


def test_o8_a_copy_for_a_rehearsal_disturbs_nobody(primary: Primary) -> None:
    """O8, X10: It goes through the application's role, and ends no session."""
    assert primary.module.make("crm", True) == COPY
    assert primary.asked[0] == (f'DROP DATABASE IF EXISTS "{COPY}" WITH (FORCE)', "postgres")
    assert primary.asked[-1] == ("ANALYZE", COPY)
    assert "pg_terminate_backend" not in primary.said() and 'TEMPLATE "crm"' not in primary.said()
    [argv] = primary.commands
    assert [argv[0], argv[-3:]] == ["setpriv", ["crm", "crm", COPY]]
    assert "--no-privileges" not in argv
    assert "--exit-on-error" in " ".join(argv) and "pipefail" in " ".join(argv)


def test_o8_a_copy_of_a_stopped_application_is_one_of_its_files(primary: Primary) -> None:
    """O8: A session that comes again is ended again."""
    primary.faults = [BUSY, BUSY]
    assert primary.module.make("crm", False) == COPY
    tries = [sql for sql, _ in primary.asked if "TEMPLATE" in sql and 'TEMPLATE "crm"' in sql]
    assert len(tries) == 3 and all("pg_terminate_backend" in sql for sql in tries)
    assert primary.commands == []


def test_k5_a_copy_that_is_refused(primary: Primary, monkeypatch: pytest.MonkeyPatch) -> None:
    """O8, K5: The error is PostgreSQL's own, or that sessions come again and again."""
    primary.faults = ["the disk is full"]
    with pytest.raises(CommandExecutionError, match=r"^the disk is full$"):
        primary.module.make("crm", False)
    monkeypatch.setattr(sessions, "DISCONNECTED", 0)
    primary.faults = [BUSY]
    with pytest.raises(CommandExecutionError) as caught:
        primary.module.make("crm", False)
    assert str(caught.value) == f"waited 0 s for crm to be without sessions: {BUSY}"


@pytest.mark.parametrize("live", [True, False])
def test_o1_a_copy_for_trials_is_of_another_application(
    monkeypatch: pytest.MonkeyPatch, live: bool
) -> None:
    """O1, X10: The role of the copy writes it and owns it. The original goes on in any case."""
    primary = Primary(monkeypatch, "staging")
    assert primary.module.make("crm_staging", live, "crm") == "salina_next_crm_staging"
    said = primary.said()
    assert "pg_terminate_backend" not in said and 'TEMPLATE "crm"' not in said
    assert 'CREATE DATABASE "salina_next_crm_staging" OWNER "crm_staging"' in said
    assert '"salina_next_crm"' not in said and '"crm"' not in said
    assert primary.asked[-1] == ("ANALYZE", "salina_next_crm_staging")
    [argv] = primary.commands
    assert argv[-4:-1] == ["crm", "crm_staging", "salina_next_crm_staging"]
    assert argv[-1] == "--no-privileges"  # it may not grant what the original's role could
    [pipe] = [word for word in argv if "--exit-on-error" in word]
    assert pipe.endswith(' "${@:8}"') and argv[argv.index(pipe) + 9] == argv[-1]
    login = "salina_next_crm_staging:crm_staging:canary-app-crm_staging-database"
    assert primary.login == f"*:5432:{login}\n"


def test_k5_a_copy_for_trials_that_does_not_fit_names_the_original(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """O1, K5: The size of the original counts."""
    primary = Primary(monkeypatch, "staging")
    primary.free -= 1
    with pytest.raises(CommandExecutionError, match=r"^the copy of crm and its WAL need .* MiB"):
        primary.module.make("crm_staging", True, "crm")
    assert primary.commands == []


@pytest.mark.parametrize("live", [True, False])
def test_o8_a_copy_that_does_not_fit_is_not_made(primary: Primary, live: bool) -> None:
    """O8, K5: It needs room for its WAL as well. An earlier copy is gone by then."""
    primary.free -= 1
    with pytest.raises(CommandExecutionError, match=r"^the copy of crm and its WAL need .* MiB"):
        primary.module.make("crm", live)
    assert [sql for sql, _ in primary.asked if not sql.startswith("DROP")] == []


def test_o8_a_disk_that_fills_ends_the_copy(
    primary: Primary, monkeypatch: pytest.MonkeyPatch
) -> None:
    """O8, K5: Its sessions end while the service has room, and no part of the copy is left."""
    monkeypatch.setattr("salina.database.disk.EVERY", 0.01)
    primary.fills = True
    with pytest.raises(CommandExecutionError, match=r"^the copy of crm was ended: 1023 MiB"):
        primary.module.make("crm", True)
    ends = [sql for sql, _ in primary.asked if "pg_terminate_backend" in sql]
    assert f"application_name = '{COPY}'" in ends[0]
    assert f"starts_with(query, 'CREATE DATABASE \"{COPY}\" TEMPLATE ')" in ends[0]
    assert primary.asked[-1] == (f'DROP DATABASE IF EXISTS "{COPY}" WITH (FORCE)', "postgres")


def test_k5_a_replica_makes_no_copy(primary: Primary) -> None:
    """K5: The error says where to look for the primary."""
    primary.replica = True
    for call in (lambda: primary.module.make("crm", True), lambda: primary.module.remove("crm")):
        with pytest.raises(CommandExecutionError, match="this host is a replica"):
            call()
    assert primary.asked == []


def test_k5_an_application_of_another_fleet(
    primary: Primary, monkeypatch: pytest.MonkeyPatch
) -> None:
    """K5: Only the databases of the pillar are copied."""
    monkeypatch.setattr(scratch, "size", lambda name: "SELECT 1")
    primary.module.__salt__["database.query"] = lambda sql, database: (
        "f" if "recovery" in sql else "1"
    )
    with pytest.raises(CommandExecutionError, match=r"^shop: the pillar of this host has no such"):
        primary.module.make("shop", True)


@pytest.mark.parametrize("live", [True, False])
def test_o8_x10_a_copy_says_which_release_it_belongs_to(primary: Primary, live: bool) -> None:
    """O8, X10: A template has the record already. A dump leaves it out, because the application's
    role reads the dump.
    """
    primary.module.make("crm", live)
    row = [["crm", "{}"]] if live else []
    assert primary.recorded == [("crm", COPY, *row)]
    assert all("--exclude-schema=salina" in str(one) for one in primary.commands)

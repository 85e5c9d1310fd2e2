"""The modules `application`, `once`, `checkout`: git for real, a pretended database."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from salt.exceptions import CommandExecutionError

from salina.database.psql import PsqlError
from tests import fleets
from tests.loading import load

PILLAR = fleets.pillar("s1")
DATES = {"one": "2021-01-01T00:00:00Z", "two": "2022-02-02T00:00:00Z"}


def run_all(argv: list[str], **options: Any) -> dict[str, Any]:
    """`cmd.run_all` as Salt has it, for real."""
    assert options["python_shell"] is False
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return {"retcode": done.returncode, "stdout": done.stdout.strip(), "stderr": done.stderr}


@pytest.fixture
def application() -> ModuleType:
    return load("_modules/application.py", salt={"cmd.run_all": run_all}, pillar=PILLAR)


@pytest.fixture
def checkout() -> ModuleType:
    return load("_modules/checkout.py", salt={"cmd.run_all": run_all})


# --- health


@pytest.fixture
def server() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.headers["Cookie"] == "sid=probe"
            self.send_response(int(self.path.removeprefix("/") or (200 if known else 401)))
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()


def test_health(application: ModuleType, server: str) -> None:
    assert application.health(f"{server}/200") == ""
    assert application.health(f"{server}/503") == "status 503"
    assert application.health(f"{server}/", "sid=probe") == ""
    assert application.health(f"{server}/") == "status 401"
    assert application.health("http://127.0.0.1:1/") == "[Errno 111] Connection refused"


def test_listening(application: ModuleType) -> None:
    """The wildcard is not the address."""
    lines = "LISTEN 0 511 0.0.0.0:80 0.0.0.0:*\nLISTEN 0 511 [fd00::1]:80 [::]:*"
    said = {"retcode": 0, "stdout": lines}
    application.__salt__ = {"cmd.run_all": lambda *_, **__: said}  # type: ignore[attr-defined]
    assert application.listening("fd00::1", 80)
    assert not application.listening("10.1.3.11", 80)


# --- steps that are done once


class Database:
    """The common state of several hosts' sessions: the marks, the lock, the unreachable hosts."""

    def __init__(self) -> None:
        self.marks: dict[str, str] = {}
        self.lock = threading.Lock()
        self.lost = ""

    def session(self, host: str) -> type:
        database = self

        class Session:
            def __init__(self, given: Any, name: str) -> None:
                assert given == PILLAR["app"]["database"]
                self.locked = False

            def __enter__(self) -> Session:
                if database.lost == "connecting":
                    raise PsqlError("connection refused")
                return self

            def __exit__(self, *_: object) -> None:
                if self.locked:
                    database.lock.release()

            def query(self, sql: str) -> list[str]:
                if "pg_advisory_lock" in sql:
                    self.locked = database.lock.acquire(timeout=10)
                elif sql.startswith("SELECT to_regclass"):
                    return ["f"]
                elif sql.startswith("SELECT host"):
                    step = sql.split("'")[-2]
                    return [f"{database.marks[step]} at noon"] if step in database.marks else []
                elif sql.startswith("INSERT"):
                    if database.lost == "recording":
                        raise PsqlError("server closed the connection unexpectedly")
                    database.marks[sql.split("'")[1]] = host
                return []

        return Session


def host(database: Database, name: str, done: list[str], fails: bool = False) -> ModuleType:
    """The module as it is on one host; a command that runs is noted in `done`."""

    def run(argv: list[str], **options: Any) -> dict[str, Any]:
        assert argv[:3] == ["setpriv", "--pdeathsig=KILL", "--reuid=odoo"]
        done.append(name)
        return {"retcode": 3 if fails else 0, "stdout": "the last words" if fails else ""}

    module = load("_modules/once.py", salt={"cmd.run_all": run}, pillar=PILLAR)
    module.Session = database.session(name)  # type: ignore[attr-defined]
    return module


def test_once_however_many_hosts_race() -> None:
    """S9: However many hosts begin a step, one of them runs it."""
    database, done = Database(), list[str]()
    hosts = [host(database, f"s{number}", done) for number in range(1, 9)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda one: one.run("init", ["true"], "odoo", "/"), hosts))
    assert len(done) == 1
    assert sorted(answers) == ["", *[f"{done[0]} at noon"] * 7]


def test_a_failed_step_stays_undone_and_is_tried_again() -> None:
    """S9, K2: A failed step stays undone, and the next host runs it."""
    database, done = Database(), list[str]()
    with pytest.raises(CommandExecutionError) as caught:
        host(database, "s1", done, fails=True).run("init", ["odoo-bin", "-i"], "odoo", "/")
    assert str(caught.value) == (
        "init is not done, because this command ended with exit code 3: odoo-bin -i\nthe last words"
    )
    assert database.marks == {}
    assert not database.lock.locked()
    assert host(database, "s2", done).run("init", ["odoo-bin", "-i"], "odoo", "/") == ""
    assert database.marks == {"init": "s2"}


@pytest.mark.parametrize("moment", ["connecting", "recording"])
def test_lost_database(moment: str) -> None:
    database = Database()
    database.lost = moment
    with pytest.raises(CommandExecutionError, match="init is not recorded as done: "):
        host(database, "s1", []).run("init", ["true"], "odoo", "/")


def test_environment_file(tmp_path: Path) -> None:
    module = load("_modules/once.py")
    file = tmp_path / "environment"
    file.write_text('# comment = no\nURI="postgresql://u:p@h/d?sslmode=disable"\nTZ="UTC"\n')
    assert module._environment(str(file)) == {
        "URI": "postgresql://u:p@h/d?sslmode=disable",
        "TZ": "UTC",
    }
    assert module._environment(None) == {}


# --- code


@pytest.fixture
def upstream(tmp_path: Path) -> str:
    """A repository with two commits on `14.0` and a tag on the first."""
    work = tmp_path / "work"
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@x.invalid", "-C", str(work)]
    subprocess.run(["git", "init", "-q", "-b", "14.0", str(work)], check=True)
    for text in ("one", "two"):
        (work / "file").write_text(text)
        subprocess.run([*git, "add", "file"], check=True)
        dated = {**os.environ, "GIT_COMMITTER_DATE": DATES[text]}
        subprocess.run([*git, "commit", "-qm", text], check=True, env=dated)
        if text == "one":
            subprocess.run([*git, "tag", "first"], check=True)
    subprocess.run(["git", "clone", "-q", "--bare", str(work), f"{tmp_path}/up.git"], check=True)
    return f"file://{tmp_path}/up.git"


@pytest.mark.parametrize(("revision", "text"), [("14.0", "two"), ("first", "one")])
def test_staging_then_production(
    checkout: ModuleType, tmp_path: Path, upstream: str, revision: str, text: str
) -> None:
    """O1: Staging comes from the source, and production is a clone of staging."""
    staging, production = str(tmp_path / "staging"), str(tmp_path / "production")
    assert checkout.status(staging) == {"revision": "", "commit": "", "changed": []}
    commit = checkout.update(staging, upstream, revision)
    assert checkout.update(production, staging, revision) == commit
    assert Path(production, "file").read_text() == text
    assert checkout.status(production) == {
        "revision": revision,
        "commit": commit,
        "changed": [],
    }


def test_a_commit_by_its_hash(checkout: ModuleType, tmp_path: Path, upstream: str) -> None:
    """O1: A revision may be the hash of a commit."""
    staging = str(tmp_path / "staging")
    commit = checkout.update(staging, upstream, "first")
    assert checkout.update(str(tmp_path / "other"), upstream, commit) == commit


def test_another_revision(checkout: ModuleType, tmp_path: Path, upstream: str) -> None:
    """O1: Staging and production change to another revision."""
    staging, production = str(tmp_path / "staging"), str(tmp_path / "production")
    for revision, text in [("first", "one"), ("14.0", "two"), ("first", "one")]:
        checkout.update(staging, upstream, revision)
        checkout.update(production, staging, revision)
        assert Path(production, "file").read_text() == text
    Path(production, "file").write_text("by hand")
    assert checkout.status(production)["changed"] == ["file"]


def test_files_have_the_time_of_their_commit(
    checkout: ModuleType, tmp_path: Path, upstream: str
) -> None:
    """O1: Files have the time of their commit, because Odoo names what it makes of them after
    it.
    """
    staging, production = str(tmp_path / "staging"), str(tmp_path / "production")
    for revision, text in [("first", "one"), ("14.0", "two")]:
        checkout.update(staging, upstream, revision)
        commit = checkout.update(production, staging, revision)
        committed = ["git", "-C", production, "show", "--no-patch", "--format=%ct", commit]
        time = int(subprocess.check_output(committed))
        for place in (staging, production):
            assert Path(place, "file").read_text() == text
            assert Path(place, "file").stat().st_mtime == time
            assert checkout.status(place)["changed"] == []


def test_a_checkout_that_was_interrupted_is_made_anew(
    checkout: ModuleType, tmp_path: Path, upstream: str
) -> None:
    """O1, K2: git was killed: the checkout has no record, and locks that no process holds."""
    staging = tmp_path / "staging"
    unfinished = tmp_path / "staging.unfinished/.git"
    unfinished.mkdir(parents=True)
    (unfinished / "shallow.lock").touch()
    checkout.update(str(staging), upstream, "first")
    assert not unfinished.exists()
    assert checkout.status(str(staging))["revision"] == "first"


@pytest.mark.parametrize("lock", ["index.lock", "shallow.lock", "config.lock", "HEAD.lock"])
def test_a_new_revision_that_was_interrupted_is_taken_up(
    checkout: ModuleType, tmp_path: Path, upstream: str, lock: str
) -> None:
    """O1, K2: An interrupted change of the revision is finished."""
    staging = tmp_path / "staging"
    checkout.update(str(staging), upstream, "first")
    (staging / ".git" / lock).touch()
    assert checkout.update(str(staging), upstream, "14.0")
    assert (staging / "file").read_text() == "two"
    with pytest.raises(CommandExecutionError, match=r"15\.0"):
        checkout.update(str(staging), upstream, "15.0")
    assert checkout.status(str(staging))["revision"] == ""  # neither the old one nor the new


def test_something_else_in_a_checkout_s_place_stays(
    checkout: ModuleType, tmp_path: Path, upstream: str
) -> None:
    staging = tmp_path / "staging"
    staging.mkdir()
    (staging / "mine").touch()
    with pytest.raises(CommandExecutionError, match="staging is not a checkout of this project"):
        checkout.update(str(staging), upstream, "14.0")
    assert (staging / "mine").exists()


def test_revision_that_does_not_exist(checkout: ModuleType, tmp_path: Path, upstream: str) -> None:
    """O1, K5: The error names a revision that does not exist."""
    with pytest.raises(CommandExecutionError, match=r"fetch .* 15\.0: .*remote ref 15\.0"):
        checkout.update(str(tmp_path / "staging"), upstream, "15.0")
    assert checkout.status(str(tmp_path / "staging"))["revision"] == ""

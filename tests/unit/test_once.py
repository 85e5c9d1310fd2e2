"""Steps that run once for the service: the module with a pretended database, and the state."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from salt.exceptions import CommandExecutionError

from salina.database.psql import PsqlError
from tests import fleets
from tests.loading import failure, load, never, refusing, states

PILLAR = fleets.pillar("s1")
LEAVES = {
    "table": "ir_config_parameter",
    "rows": [{"key": "url", "value": "it's"}, {"key": "frozen", "value": "True"}],
}


class Database:
    """The common state of several hosts' sessions: the marks, the lock, the unreachable hosts."""

    def __init__(self) -> None:
        self.marks: dict[str, str] = {}
        self.rows = True
        """Whether the rows of the steps are in their tables."""
        self.asked: list[str] = []
        self.lock = threading.Lock()
        self.lost = ""

    def session(self, host: str) -> type:
        database = self

        class Session:
            def __init__(self, given: Any, name: str) -> None:
                assert given is PILLAR  # the path of its own: tests/unit/test_application.py
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
                elif sql.startswith("SELECT EXISTS"):
                    database.asked.append(sql)
                    return ["t" if database.rows else "f"]
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
    module.session = database.session(name)  # type: ignore[attr-defined]
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


def test_a_step_is_done_again_when_somebody_has_changed_its_rows() -> None:
    """S9: The rows count, whatever was recorded."""
    database, done = Database(), list[str]()
    step = ("set the URL", ["true"], "odoo", "/")

    def run(name: str) -> str:
        return str(host(database, name, done).run(*step, leaves=LEAVES))

    def predicted() -> str:
        return str(host(database, "s1", done).done(step[0], LEAVES))

    assert (predicted(), run("s1"), done) == ("another step", "another step", [])
    database.rows = False
    assert (predicted(), run("s1"), done) == ("", "", ["s1"])
    assert (predicted(), run("s2"), done) == ("", "", ["s1", "s2"])
    database.rows = True
    assert (predicted(), run("s3"), done) == ("s2 at noon", "s2 at noon", ["s1", "s2"])
    one, other = "key = 'url' AND value = 'it''s'", "key = 'frozen' AND value = 'True'"
    place = "EXISTS (SELECT FROM ir_config_parameter WHERE"
    assert {*database.asked} == {f"SELECT {place} {one}) AND {place} {other})"}


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


# The state


def test_once() -> None:
    """S9: The state runs the step and records it."""
    calls = list[Any]()

    def once(*arguments: Any) -> str:
        calls.append(arguments)
        return ""

    ret = states("once", once_run=once).done(
        "login", ["x"], "odoo", "/", env={"A": "1"}, secrets={"PW": "login_password"}
    )
    assert ret["result"] is True
    assert ret["changes"] == {"once": {"old": None, "new": "login"}}
    environment = {"A": "1", "PW": "canary-app-crm-login"}
    assert calls == [("login", ["x"], "odoo", "/", None, environment, None, 900, None)]
    assert "canary" not in str(ret)


def test_once_done_elsewhere() -> None:
    """S9: The state does nothing when another host did the step."""
    ret = states("once", once_run=lambda *_: "s2 at noon").done("init", ["x"], "odoo", "/")
    assert (ret["result"], ret["changes"], ret["comment"]) == (True, {}, "done by s2 at noon")


@pytest.mark.parametrize(
    ("obstacle", "before", "result"),
    [("", "s2 at noon", True), ("", "", None), ("psql is not installed", "", None)],
)
def test_once_predicted(obstacle: str, before: str, result: bool | None) -> None:
    """S9, K3: A prediction runs no step."""
    asked = {"application_database": lambda: obstacle, "once_done": lambda step, leaves: before}
    found = states("once", True, **asked, once_run=never)
    assert found.done("init", ["x"], "odoo", "/")["result"] is result


@pytest.mark.parametrize("test", [False, True])
def test_the_rows_that_a_step_leaves_decide(test: bool) -> None:
    """S9, K3: The state and its prediction ask for the same rows."""
    asked = list[Any]()

    def ask(step: str, *given: Any) -> str:
        asked.append((step, given[-1]))
        return "s2 at noon"

    salt = {"application_database": lambda: "", "once_done": ask, "once_run": ask}
    ret = states("once", test, **salt).done("set the URL", ["x"], "odoo", "/", leaves=LEAVES)
    assert (ret["changes"], asked) == ({}, [("set the URL", LEAVES)])


def test_once_that_failed() -> None:
    """S9, K5: The state shows why a step failed."""
    said = "init is not done, because this command ended with exit code 3: odoo-bin -i\nlast words"
    ret = states("once", once_run=refusing(said)).done("init", ["odoo-bin", "-i"], "odoo", "/")
    assert failure(ret) == said


# The steps of a release that waits

RELEASE = "/opt/node/releases/c0ffee000000-0123abcd"
WAITS = "it belongs to release c0ffee000000-0123abcd, which waits"


def step(test: bool, waits: list[str], complete: bool = True, before: str = "") -> dict[str, Any]:
    """Apply a step of a release, or predict it."""
    found = states(
        "once",
        test,
        application_database=lambda: "",
        once_done=lambda name, leaves: before,
        once_run=never if waits or test else lambda *_: before,
        release_complete=lambda directory: complete,
        release_due=lambda: {"name": "", "waits": waits} if complete else never(),
    )
    ret: dict[str, Any] = found.done("migrate", ["x"], "node", "/", release=RELEASE)
    return ret


@pytest.mark.parametrize("test", [False, True])
def test_s9_a_step_of_a_release_that_waits_is_not_done(test: bool) -> None:
    """S9, O8, K3: Its migrations would change the database under the release that runs."""
    ret = step(test, ["migrations/2.js"])
    assert (ret["result"], ret["changes"], ret["comment"]) == (True, {}, WAITS)


@pytest.mark.parametrize("test", [False, True])
def test_s9_a_step_of_a_release_that_fits_is_done(test: bool) -> None:
    """S9, K3: The state and its prediction agree."""
    ret = step(test, [])
    assert ret["result"] is (None if test else True)
    assert ret["changes"] == {"once": {"old": None, "new": "migrate"}}
    ret = step(test, [], before="s2 at noon")
    assert (ret["result"], ret["changes"], ret["comment"]) == (True, {}, "done by s2 at noon")


def test_k3_a_step_of_a_release_that_is_not_built_is_predicted() -> None:
    """K3: Nobody knows yet whether the release waits, and the question is not asked."""
    ret = step(True, [], complete=False)
    assert (ret["result"], ret["changes"]) == (None, {"once": {"old": None, "new": "migrate"}})


def test_s9_a_step_of_no_release_does_not_ask() -> None:
    """S9: Steps without a release are done in any case."""
    found = states("once", once_run=lambda *_: "", release_due=never)
    assert found.done("seed", ["x"], "node", "/")["result"] is True

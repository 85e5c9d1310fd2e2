"""The states of the application tier: read, compare, act; a prediction acts on nothing."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests import fleets
from tests.loading import failure, load

PILLAR = fleets.pillar("s1")


def states(test: bool = False, **modules: Any) -> ModuleType:
    """The state module with the given functions of the module `application`."""
    given = {f"application.{name}": function for name, function in modules.items()}
    return load("_states/application.py", salt=given, opts={"test": test}, pillar=PILLAR)


def never(*_: Any, **__: Any) -> Any:
    """What a prediction must not call."""
    raise AssertionError("called")


AT = {"revision": "14.0", "commit": "abc", "changed": list[str]()}


def test_checked_out_already() -> None:
    ret = states(checked_out=lambda name: AT, check_out=never).checked_out("/x", "url", "14.0")
    assert (ret["result"], ret["changes"]) == (True, {})


@pytest.mark.parametrize("test", [False, True])
def test_checked_out_at_another_revision(test: bool) -> None:
    check_out = never if test else lambda *_: "def"
    found = states(test, checked_out=lambda name: AT, check_out=check_out)
    ret = found.checked_out("/x", "url", "15.0")
    assert ret["result"] is (None if test else True)
    assert ret["changes"]["revision"] == {"old": "14.0", "new": "15.0"}


def test_checked_out_with_changes_by_hand() -> None:
    found = states(checked_out=lambda name: AT | {"changed": ["odoo/http.py"]}, check_out=never)
    ret = found.checked_out("/opt/odoo/production", "url", "14.0")
    assert ret["result"] is False
    assert "odoo/http.py" in ret["comment"]
    assert "git -C /opt/odoo/production reset --hard" in ret["comment"]


def test_once() -> None:
    calls = list[Any]()

    def once(*arguments: Any) -> str:
        calls.append(arguments)
        return ""

    ret = states(once=once).once(
        "login", ["x"], "odoo", "/", env={"A": "1"}, secrets={"PW": "login_password"}
    )
    assert ret["result"] is True
    assert ret["changes"] == {"once": {"old": None, "new": "login"}}
    environment = {"A": "1", "PW": "canary-app-login"}
    assert calls == [("login", ["x"], "odoo", "/", None, environment, None, 900)]
    assert "canary" not in str(ret)


def test_once_done_elsewhere() -> None:
    ret = states(once=lambda *_: "s2 at noon").once("init", ["x"], "odoo", "/")
    assert (ret["result"], ret["changes"], ret["comment"]) == (True, {}, "done by s2 at noon")


@pytest.mark.parametrize(
    ("obstacle", "before", "result"),
    [("", "s2 at noon", True), ("", "", None), ("psql is not installed", "", None)],
)
def test_once_predicted(obstacle: str, before: str, result: bool | None) -> None:
    found = states(True, database=lambda: obstacle, done=lambda step: before, once=never)
    assert found.once("init", ["x"], "odoo", "/")["result"] is result


def test_waits_with_a_bound() -> None:
    ret = states(database=lambda: "it is a replica: read-only").database_answers("crm", wait=0)
    assert ret["result"] is False
    assert ret["comment"] == "waited 0 s for the database crm: it is a replica: read-only"
    assert states(health=lambda url: "").healthy("http://x", wait=0)["result"] is True


def test_waiting_is_predicted_by_one_look() -> None:
    looks = iter(["status 500"])
    ret = states(True, health=lambda url: next(looks)).healthy("http://x", wait=60)
    assert ret["result"] is None


def test_listening() -> None:
    seen = iter([False, True])
    found = states(listening=lambda *_: next(seen))
    found.__salt__["service.restart"] = lambda name: True
    ret = found.listening("nginx", "10.1.3.11", 80)
    assert ret["result"] is True
    assert ret["changes"]["listening"]["new"] == "10.1.3.11 port 80"


# --- python_environment


class Pip:
    """The module `python_environment` with commands that are only noted."""

    def __init__(self, home: Path, fails: str = "never") -> None:
        self.home = home
        self.fails = fails
        self.commands: list[str] = []
        run = {"cmd.run_all": self.run}
        self.module = load("_modules/python_environment.py", salt=run)
        self.states = load(
            "_states/python_environment.py",
            salt={
                f"python_environment.{name}": getattr(self.module, name)
                for name in ("installed", "wanted", "install")
            },
            opts={"test": False},
        )

    def run(self, argv: list[str], **options: Any) -> dict[str, Any]:
        assert argv[:3] == ["setpriv", "--pdeathsig=KILL", "--"]
        self.commands.append(" ".join(argv[3:]))
        (self.home / "lib/python3.9/site-packages").mkdir(parents=True, exist_ok=True)
        return {"retcode": int(self.fails in argv), "stdout": "", "stderr": "no such version"}

    def apply(self, **arguments: Any) -> dict[str, Any]:
        requirements = str(self.home.parent / "lock.txt")
        ret: dict[str, Any] = self.states.installed(
            str(self.home), "python3.9", requirements, **arguments
        )
        return ret


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    file = tmp_path / "lock.txt"
    file.write_text("six==1.17.0\n")
    return file


def test_environment_is_made_once(lock: Path, tmp_path: Path) -> None:
    pip = Pip(tmp_path / "env")
    ret = pip.apply()
    assert ret["changes"] == {"distributions": {"old": [], "new": ["six==1.17.0"]}}
    anew = "--clear --reset-app-data"
    assert pip.commands[0] == f"virtualenv --quiet {anew} --python python3.9 {tmp_path}/env"
    assert "--no-deps" in pip.commands[1]
    pip.commands.clear()
    assert pip.apply()["changes"] == {}
    assert pip.commands == []
    lock.write_text("six==1.18.0\n")
    assert pip.apply()["changes"]["distributions"] == {
        "old": ["six==1.17.0"],
        "new": ["six==1.18.0"],
    }
    assert pip.commands[0] == f"virtualenv --quiet --python python3.9 {tmp_path}/env"


def test_interrupted_environment_is_made_again(lock: Path, tmp_path: Path) -> None:
    pip = Pip(tmp_path / "env", fails="-r")
    assert re.search("no such version", failure(pip.apply()))
    assert pip.module.installed(str(tmp_path / "env")) == {}
    pip.fails = "never"
    pip.commands.clear()
    assert pip.apply()["changes"]
    assert "--clear" in pip.commands[0]


def test_interrupted_record_counts_for_none(lock: Path, tmp_path: Path) -> None:
    pip = Pip(tmp_path / "env")
    pip.apply()
    (tmp_path / "env/salina.json").write_text('{"interpr')
    assert pip.apply()["changes"]


def test_requirements_with_dependencies(lock: Path, tmp_path: Path) -> None:
    pip = Pip(tmp_path / "env")
    pip.apply(lock=False, without_dependencies=["addon==1"])
    assert "--no-deps" not in pip.commands[1]
    assert pip.commands[2].endswith("--no-deps addon==1")
    record = json.loads((tmp_path / "env/salina.json").read_text())
    assert record["without_dependencies"] == ["addon==1"]


def test_environment_predicted_on_a_bare_host(tmp_path: Path) -> None:
    pip = Pip(tmp_path / "env")
    pip.states.__opts__["test"] = True  # type: ignore[attr-defined]
    assert pip.apply()["result"] is None
    assert pip.commands == []

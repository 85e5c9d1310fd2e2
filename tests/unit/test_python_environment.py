"""The states of the application tier: read, compare, act; a prediction acts on nothing."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from salt.exceptions import CommandExecutionError

from tests import fleets
from tests.loading import failure, load

PILLAR = fleets.pillar("s1")


def states(name: str, test: bool = False, **modules: Any) -> ModuleType:
    """A state module; `application_done` is given as the function `application.done`, and so on."""
    given = {one.replace("_", ".", 1): function for one, function in modules.items()}
    return load(f"_states/{name}.py", salt=given, opts={"test": test}, pillar=PILLAR)


def never(*_: Any, **__: Any) -> Any:
    """A function that a prediction must not call."""
    raise AssertionError("called")


def refuse(said: str) -> Callable[..., Any]:
    """A function of a module that raises."""

    def function(*_: Any, **__: Any) -> Any:
        raise CommandExecutionError(said)

    return function


AT = {"revision": "14.0", "commit": "abc", "changed": list[str]()}


def test_checked_out_already() -> None:
    found = states("checkout", checkout_status=lambda name: AT, checkout_update=never)
    ret = found.present("/x", "url", "14.0")
    assert (ret["result"], ret["changes"]) == (True, {})


@pytest.mark.parametrize("test", [False, True])
def test_checked_out_at_another_revision(test: bool) -> None:
    update = never if test else lambda *_: "def"
    found = states("checkout", test, checkout_status=lambda name: AT, checkout_update=update)
    ret = found.present("/x", "url", "15.0")
    assert ret["result"] is (None if test else True)
    assert ret["changes"]["revision"] == {"old": "14.0", "new": "15.0"}


def test_checked_out_with_changes_by_hand() -> None:
    at = AT | {"changed": ["odoo/http.py"]}
    found = states("checkout", checkout_status=lambda name: at, checkout_update=never)
    ret = found.present("/opt/odoo/production", "url", "14.0")
    assert ret["result"] is False
    assert "odoo/http.py" in ret["comment"]
    assert "git -C /opt/odoo/production reset --hard" in ret["comment"]


def test_checkout_that_failed_names_the_command_and_its_output() -> None:
    """K5: The state shows the command and its output."""
    said = "git -C /x fetch --quiet --depth=1 origin 15.0: fatal: couldn't find remote ref 15.0"
    found = states("checkout", checkout_status=lambda name: AT, checkout_update=refuse(said))
    assert failure(found.present("/x", "url", "15.0")) == said


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
    assert calls == [("login", ["x"], "odoo", "/", None, environment, None, 900)]
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
    asked = {"application_database": lambda: obstacle, "once_done": lambda step: before}
    found = states("once", True, **asked, once_run=never)
    assert found.done("init", ["x"], "odoo", "/")["result"] is result


def test_once_that_failed() -> None:
    """S9, K5: The state shows why a step failed."""
    said = "init is not done, because this command ended with exit code 3: odoo-bin -i\nlast words"
    ret = states("once", once_run=refuse(said)).done("init", ["odoo-bin", "-i"], "odoo", "/")
    assert failure(ret) == said


Wait = Callable[[bool, str], dict[str, Any]]


def answers(test: bool, obstacle: str) -> dict[str, Any]:
    """The state that waits for the database; `obstacle`: what its one look finds."""
    looks = iter([obstacle])
    found = states("application", test, application_database=lambda: next(looks))
    ret: dict[str, Any] = found.database_answers("crm", wait=60 if test else 0)
    return ret


def healthy(test: bool, obstacle: str) -> dict[str, Any]:
    """The same for the application."""
    looks = iter([obstacle])
    found = states("application", test, application_health=lambda url, cookie: next(looks))
    ret: dict[str, Any] = found.healthy("http://127.0.0.1:8069/", wait=60 if test else 0)
    return ret


@pytest.mark.parametrize("test", [False, True])
@pytest.mark.parametrize("wait", [answers, healthy])
def test_what_is_there_is_not_waited_for(wait: Wait, test: bool) -> None:
    ret = wait(test, "")
    assert (ret["result"], ret["changes"]) == (True, {})


WAITS = [(answers, "the database crm"), (healthy, "http://127.0.0.1:8069/")]


@pytest.mark.parametrize(("wait", "what"), WAITS)
def test_waiting_is_predicted_by_one_look(wait: Wait, what: str) -> None:
    """K3: A prediction looks once and does not wait."""
    ret = wait(True, "status 500")
    assert (ret["result"], ret["comment"]) == (None, f"it would wait for {what}: status 500")


@pytest.mark.parametrize(("wait", "what"), WAITS)
def test_waits_with_a_bound(wait: Wait, what: str) -> None:
    assert failure(wait(False, "read-only")) == f"waited 0 s for {what}: read-only"


class Nginx:
    """A service that listens where it should, from its restart on."""

    def __init__(self, listens: bool = False, mends: bool = True, test: bool = False) -> None:
        self.listens = listens
        self.mends = mends
        self.restarts: list[str] = []
        self.states = states("application", test, application_listening=lambda *_: self.listens)
        self.states.__salt__["service.restart"] = self.restart

    def restart(self, name: str) -> None:
        self.restarts.append(name)
        self.listens = self.mends

    def apply(self) -> dict[str, Any]:
        ret: dict[str, Any] = self.states.listening("nginx", "10.1.3.11", 80)
        return ret


@pytest.mark.parametrize("test", [False, True])
def test_a_service_that_listens_is_left_alone(test: bool) -> None:
    nginx = Nginx(listens=True, test=test)
    ret = nginx.apply()
    assert (ret["result"], ret["changes"], nginx.restarts) == (True, {}, [])


@pytest.mark.parametrize("test", [False, True])
def test_a_service_that_listens_elsewhere_is_restarted(test: bool) -> None:
    nginx = Nginx(test=test)
    ret = nginx.apply()
    assert ret["result"] is (None if test else True)
    assert ret["changes"] == {"listening": {"old": None, "new": "10.1.3.11 port 80"}}
    assert nginx.restarts == ([] if test else ["nginx"])


def test_a_service_that_does_not_come_to_listen() -> None:
    assert failure(Nginx(mends=False).apply()) == (
        "systemctl restart nginx: it succeeded, but nginx does not listen on 10.1.3.11 port 80 "
        "(see journalctl -u nginx)"
    )
    nginx = Nginx()
    nginx.states.__salt__["service.restart"] = refuse("Job for nginx.service failed.")
    assert failure(nginx.apply()) == "systemctl restart nginx: Job for nginx.service failed."


# --- files that core's file.managed keeps


class Managed:
    """Core's state of a file, which is only pretended; notes what it was given."""

    def __init__(self, test: bool, changes: dict[str, Any], result: bool | None = True) -> None:
        self.ret = {"name": "", "result": result, "changes": changes, "comment": "No space left"}
        self.given: dict[str, dict[str, Any]] = {}
        self.refreshed = 0
        salt = {
            "apt.source": lambda release: f"Suites: {release}",
            "odoo.configuration": lambda: "admin_passwd = canary",
            "pkg.refresh_db": self.refresh,
        }
        core = {"file.managed": self.managed}
        given = {"salt": salt, "states": core, "opts": {"test": test}}
        self.apt = load("_states/apt.py", **given)
        self.odoo = load("_states/odoo.py", **given)

    def managed(self, path: str, **given: Any) -> dict[str, Any]:
        self.given[path] = given
        return self.ret

    def refresh(self, failhard: bool) -> None:
        assert failhard
        self.refreshed += 1


DIFF = {"diff": "New file"}
FILES = ["/etc/apt/preferences.d/bullseye.pref", "/etc/apt/sources.list.d/bullseye.sources"]


@pytest.mark.parametrize(
    ("test", "changes", "result", "refreshed"),
    [(False, {}, True, 0), (True, {}, True, 0), (False, DIFF, True, 1), (True, DIFF, None, 0)],
)
def test_another_release(
    test: bool, changes: dict[str, Any], result: bool | None, refreshed: int
) -> None:
    """APT's lists are fetched again only when its files were changed."""
    managed = Managed(test, changes)
    ret = managed.apt.release("bullseye")
    assert (ret["result"], managed.refreshed) == (result, refreshed)
    assert ret["changes"] == ({path: DIFF for path in FILES} if changes else {})
    assert managed.given[FILES[1]]["contents"] == "Suites: bullseye"


def test_another_release_that_failed() -> None:
    ret = Managed(False, {}, result=False).apt.release("bullseye")
    assert (ret["name"], failure(ret)) == ("bullseye", "No space left")
    managed = Managed(False, DIFF)
    managed.apt.__salt__["pkg.refresh_db"] = refuse("Error getting repos: http://mirror")
    assert failure(managed.apt.release("bullseye")) == "Error getting repos: http://mirror"


@pytest.mark.parametrize(
    ("changes", "result"), [({}, True), (DIFF, True), (DIFF, None), ({}, False)]
)
def test_odoo_configuration(changes: dict[str, Any], result: bool | None) -> None:
    """O2, K4: Core's state reports the change, and no secret is shown."""
    managed = Managed(result is None, changes, result)
    assert managed.odoo.configured("/etc/odoo/odoo.conf", "odoo") == managed.ret
    given = managed.given["/etc/odoo/odoo.conf"]
    assert (given["mode"], given["group"], given["show_changes"]) == ("0640", "odoo", False)
    assert given["contents"] == "admin_passwd = canary"


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
        if not {"venv", "virtualenv"}.isdisjoint(argv):
            (self.home / "lib/python3.9/site-packages").mkdir(parents=True, exist_ok=True)
        return {"retcode": int(self.fails in argv), "stdout": "", "stderr": "no such version"}

    def apply(self, interpreter: str = "python3.9", **arguments: Any) -> dict[str, Any]:
        requirements = str(self.home.parent / "lock.txt")
        ret: dict[str, Any] = self.states.installed(
            str(self.home), interpreter, requirements, **arguments
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
    """K2: An interrupted environment is built again."""
    pip = Pip(tmp_path / "env", fails="-r")
    said = f"{tmp_path}/env/bin/pip install .* -r {tmp_path}/env/requirements.txt: no such version"
    assert re.fullmatch(said, failure(pip.apply()))
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
    """K3: A bare host predicts the environment."""
    pip = Pip(tmp_path / "env")
    pip.states.__opts__["test"] = True  # type: ignore[attr-defined]
    assert pip.apply()["result"] is None
    assert pip.commands == []


def test_environment_without_its_requirements(tmp_path: Path) -> None:
    pip = Pip(tmp_path / "env")
    ret = pip.apply()
    said = f"requirements: {tmp_path}/lock.txt is missing"
    assert (ret["result"], ret["comment"]) == (False, said)
    assert pip.commands == []


# --- python_environment, for the host's own interpreter


def test_the_minions_pip_installs_for_the_hosts_own_interpreter(lock: Path, tmp_path: Path) -> None:
    """It is made once; an update keeps it; and no pip, no virtualenv is needed in it."""
    pip, home = Pip(tmp_path / "env"), tmp_path / "env"
    changes = {"distributions": {"old": [], "new": ["six==1.17.0"]}}
    assert pip.apply("python3")["changes"] == changes
    options = "--quiet --disable-pip-version-check --no-deps --use-pep517"
    install = f"{sys.executable} -m pip --python {home}/bin/python3 install {options}"
    assert pip.commands == [
        f"python3 -m venv --without-pip --clear {home}",
        f"{install} -r {home}/requirements.txt",
    ]
    pip.commands.clear()
    assert pip.apply("python3")["changes"] == {}
    assert pip.commands == []
    lock.write_text("six==1.18.0\n")
    assert pip.apply("python3")["result"] is True
    assert pip.commands[0] == f"python3 -m venv --without-pip {home}"


def test_an_interrupted_environment_of_it_is_made_again(lock: Path, tmp_path: Path) -> None:
    """pip would take half a distribution for a whole one."""
    pip = Pip(tmp_path / "env", fails="-r")
    assert re.search("pip .*: no such version", failure(pip.apply("python3")))
    pip.fails = "never"
    pip.commands.clear()
    ret = pip.apply("python3")
    assert ret["changes"]["distributions"]["new"] == ["six==1.17.0"]
    assert "--clear" in pip.commands[0]


def test_an_environment_of_it_is_predicted_also_without_the_lock(
    lock: Path, tmp_path: Path
) -> None:
    pip = Pip(tmp_path / "env")
    pip.states.__opts__["test"] = True  # type: ignore[attr-defined]
    assert pip.apply("python3")["result"] is None
    lock.unlink()
    assert pip.apply("python3")["result"] is None
    assert pip.commands == []


@pytest.mark.parametrize("there", [True, False])
def test_a_lock_of_the_master(lock: Path, tmp_path: Path, there: bool) -> None:
    pip = Pip(tmp_path / "env")
    pip.module.__salt__["cp.cache_file"] = lambda name: str(lock) if there else ""
    ret = pip.states.installed(str(pip.home), "python3", "salt://locks/patroni.txt")
    if there:
        assert ret["changes"]["distributions"]["new"] == ["six==1.17.0"]
    else:
        assert failure(ret) == "requirements: salt://locks/patroni.txt is not on the master"

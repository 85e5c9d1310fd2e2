"""Python environments of an application, with commands that are only noted."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.loading import failure, load

BUILDER = (
    "setpriv --reuid=salina-build --regid=salina-build --clear-groups --no-new-privs "
    "--pdeathsig=KILL -- "
)
"""Before a command that runs the code of a distribution."""
QUIET = "--quiet --disable-pip-version-check"
HASH = "0" * 64
WHEEL = hashlib.sha256(b"a wheel").hexdigest()
"""The hash of every wheel that the pip of these tests makes."""


def locked(*entries: str, sources: str = "", digest: str = WHEEL) -> str:
    """The text of a lock, with the same hash for every distribution."""
    lines = ["--only-binary :all:", *([f"--no-binary {sources}"] if sources else [])]
    return "\n".join([*lines, *(f"{one} \\\n    --hash=sha256:{digest}" for one in entries), ""])


class Pip:
    """The module `python_environment` with commands that are only noted."""

    def __init__(self, home: Path, fails: str = "never") -> None:
        self.home = home
        self.fails = fails
        self.commands: list[str] = []
        self.limits: list[str] = []
        """The constraints of each build that has some."""
        self.content, self.name = "a wheel", ""
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
        if argv[0] == "pkill":
            return {"retcode": 1, "stdout": "", "stderr": ""}
        assert argv[:3] == ["setpriv", "--pdeathsig=KILL", "--"]
        command = " ".join(argv[3:]).replace(str(options.get("cwd")), "BUILD")
        command = re.sub(r"/var/tmp/salina-build-[^/]*", "BUILD", command)
        if argv[3] in ("chown", "chmod"):
            return {"retcode": 0, "stdout": "", "stderr": ""}
        if command.startswith(BUILDER):
            command = command.removeprefix(BUILDER)
            assert options["env"]["HOME"] == options["cwd"]
            if (path := options["env"].get("PYTHONPATH")) is not None:
                command = f"{path.replace(options['cwd'], 'BUILD')}: {command}"
            if (path := options["env"].get("PIP_CONSTRAINT")) is not None:
                assert path == options["env"]["PIP_BUILD_CONSTRAINT"]
                self.limits.append(Path(path).read_text())
        assert ("wheel" in argv) <= ("setpriv" in argv[3:]), command
        if "wheel" in argv:
            wheels = Path(options["cwd"], "wheels")
            wheels.mkdir(exist_ok=True)
            (wheels / (self.name or f"{len(self.commands)}.whl")).write_text(self.content)
        self.commands.append(command)
        if not {"venv", "virtualenv"}.isdisjoint(argv):
            Path(argv[-1], "lib/python3.9/site-packages").mkdir(parents=True, exist_ok=True)
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
    file.write_text(locked("six==1.17.0"))
    return file


def test_environment_is_made_once(lock: Path, tmp_path: Path) -> None:
    pip = Pip(tmp_path / "env")
    ret = pip.apply()
    assert ret["changes"] == {"distributions": {"old": [], "new": ["six==1.17.0"]}}
    anew = "--clear --reset-app-data"
    assert pip.commands[0] == f"virtualenv --quiet {anew} --python python3.9 {tmp_path}/env"
    home = tmp_path / "env"
    assert pip.commands[1:] == [
        f"{home}/bin/pip wheel {QUIET} --wheel-dir=BUILD/wheels --require-hashes --no-deps "
        "-r BUILD/requirements.txt",
        f"{home}/bin/pip install {QUIET} --no-compile --no-index --no-deps BUILD/wheels/1.whl",
    ]
    pip.commands.clear()
    assert pip.apply()["changes"] == {}
    assert pip.commands == []
    lock.write_text(locked("six==1.18.0"))
    assert pip.apply()["changes"]["distributions"] == {
        "old": ["six==1.17.0"],
        "new": ["six==1.18.0"],
    }
    assert pip.commands == [
        "virtualenv --quiet --python python3.9 BUILD/env",
        f"BUILD/env/bin/pip wheel {QUIET} --wheel-dir=BUILD/wheels --require-hashes --no-deps "
        "-r BUILD/requirements.txt",
        f"virtualenv --quiet --python python3.9 {tmp_path}/env",
        f"{home}/bin/pip install {QUIET} --no-compile --no-index --no-deps BUILD/wheels/1.whl",
    ]


def test_interrupted_environment_is_made_again(lock: Path, tmp_path: Path) -> None:
    """K2: An interrupted environment is built again."""
    pip = Pip(tmp_path / "env", fails="-r")
    said = f"{tmp_path}/env/bin/pip wheel .* -r /var/tmp/.*/requirements.txt: no such version"
    assert re.fullmatch(BUILDER + said, failure(pip.apply()))
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
    lock.write_text("six==1.17.0\n")
    pip.apply(lock=False, without_dependencies=["addon==1"])
    assert "--no-deps" not in pip.commands[1]
    assert pip.commands[2].endswith("--no-deps addon==1")
    assert pip.commands[3].endswith("--no-deps BUILD/wheels/1.whl BUILD/wheels/2.whl")
    record = json.loads((tmp_path / "env/salina.json").read_text())
    assert record["without_dependencies"] == ["addon==1"]


def test_constraints_hold_for_every_build(lock: Path, tmp_path: Path) -> None:
    """Every build gets them as variables, with and without dependencies."""
    pip = Pip(tmp_path / "env")
    lock.write_text("cbor2==5.4.2\n")
    given = {"lock": False, "without_dependencies": ["addon==1"]}
    limits = ["setuptools<82", "six<2"]
    ret = pip.apply(**given, constraints=limits)
    assert ret["changes"]["constraints"] == {"old": [], "new": limits}
    assert pip.limits == ["setuptools<82\nsix<2\n"] * 2
    assert pip.apply(**given, constraints=limits)["changes"] == {}
    pip.limits.clear()
    ret = pip.apply(**given, constraints=["setuptools<81"])
    assert ret["changes"] == {
        "distributions": {"old": [], "new": []},
        "constraints": {"old": limits, "new": ["setuptools<81"]},
    }
    assert pip.limits == ["setuptools<81\n"] * 2


def test_an_environment_without_constraints_stays(lock: Path, tmp_path: Path) -> None:
    """Versions of Salina without constraints have written records without this key."""
    pip, record = Pip(tmp_path / "env"), tmp_path / "env/salina.json"
    lock.write_text("six==1.17.0\n")
    pip.apply(lock=False, constraints=[])
    keys = ["interpreter", "lock", "requirements", "without_dependencies"]
    assert sorted(json.loads(record.read_text())) == keys
    assert pip.limits == []
    ret = pip.apply(lock=False, constraints=["six<2"])
    assert ret["changes"]["constraints"] == {"old": [], "new": ["six<2"]}
    ret = pip.apply(lock=False)
    assert ret["changes"]["constraints"] == {"old": ["six<2"], "new": []}
    assert sorted(json.loads(record.read_text())) == keys


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
    command = f"{sys.executable} -m pip --python {home}/bin/python3"
    assert pip.commands == [
        f"python3 -m venv --without-pip --clear {home}",
        f"{command} wheel {QUIET} --wheel-dir=BUILD/wheels --require-hashes --no-deps "
        "-r BUILD/requirements.txt",
        f"{command} install {QUIET} --no-index --no-deps BUILD/wheels/1.whl",
    ]
    pip.commands.clear()
    assert pip.apply("python3")["changes"] == {}
    assert pip.commands == []
    lock.write_text(locked("six==1.18.0"))
    assert pip.apply("python3")["result"] is True
    assert pip.commands[0] == "python3 -m venv --without-pip BUILD/env"
    assert pip.commands[2] == f"python3 -m venv --without-pip {home}"


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


# --- locks


def test_x10_a_source_is_built_with_tools_that_have_hashes(lock: Path, tmp_path: Path) -> None:
    """X10: pip fetches no build tools of its own, but takes those of a second lock."""
    lock.write_text(locked("docopt==0.6.2", sources="docopt"))
    tools = tmp_path / "lock.build.txt"
    tools.write_text(locked("setuptools==82.0.1"))
    pip, home = Pip(tmp_path / "env"), tmp_path / "env"
    pip.content, pip.name = "built here, so with another hash", "docopt-0.6.2-py3-none-any.whl"
    pip.apply()
    assert pip.commands[1:3] == [
        f"{home}/bin/pip install {QUIET} --require-hashes --no-deps --no-compile "
        "--target=BUILD/tools -r BUILD/tools.txt",
        f"BUILD/tools: {home}/bin/pip wheel {QUIET} --wheel-dir=BUILD/wheels --require-hashes "
        "--no-deps --use-pep517 --no-build-isolation -r BUILD/requirements.txt",
    ]


def test_x10_a_wheel_that_a_build_replaced_is_not_installed(lock: Path, tmp_path: Path) -> None:
    """X10: The build of one distribution cannot change another one."""
    pip = Pip(tmp_path / "env")
    pip.content, pip.name = "replaced", "six-1.17.0-py3-none-any.whl"
    said = failure(pip.apply())
    assert said == f"{pip.name}: the hash is not in the lock; a build must have replaced it"
    assert not any("install" in command for command in pip.commands)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("six==1.17.0\n", "six==1.17.0 has no hash"),
        (f"--only-binary :all:\nsix --hash=sha256:{HASH}\n", "six is not NAME==VERSION"),
        (locked("six==1.17.0").partition("\n")[2], "its first line must be --only-binary :all:"),
        ("--index-url x\n", "--index-url x is not an option of a lock"),
    ],
)
@pytest.mark.parametrize("test", [True, False])
def test_x10_a_lock_that_pip_could_not_verify(
    lock: Path, tmp_path: Path, text: str, said: str, test: bool
) -> None:
    """X10, K5: It is refused before anything changes, with the command that writes a good one."""
    pip = Pip(tmp_path / "env")
    pip.states.__opts__["test"] = test  # type: ignore[attr-defined]
    lock.write_text(text)
    assert f"{lock}: {said}; `make lock` writes a lock with hashes" in failure(pip.apply())
    assert pip.commands == []


def test_x10_a_lock_without_the_lock_of_its_tools(lock: Path, tmp_path: Path) -> None:
    """X10, K5: A source archive needs build tools with hashes."""
    pip = Pip(tmp_path / "env")
    lock.write_text(locked("docopt==0.6.2", sources="docopt"))
    said = "lock.build.txt is missing; it must have the tools that build docopt"
    assert failure(pip.apply()) == f"{tmp_path}/{said}"


def test_x10_an_environment_that_nobody_verified_is_installed_again(
    lock: Path, tmp_path: Path
) -> None:
    """X10: pip would keep the same version, which an older Salina has installed without hashes."""
    pip = Pip(tmp_path / "env")
    pip.apply()
    record = tmp_path / "env/salina.json"
    old = json.loads(record.read_text()) | {"requirements": ["six==1.17.0"]}
    record.write_text(json.dumps(old))
    pip.commands.clear()
    assert pip.apply()["changes"]["distributions"] == {
        "old": ["six==1.17.0"],
        "new": ["six==1.17.0"],
    }
    assert "--force-reinstall" in pip.commands[-1]

"""Hashes of packages: a real pip, and a directory in place of PyPI."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests import pypi
from tests.loading import failure, load


def run_all(argv: list[str], **options: Any) -> dict[str, Any]:
    """`cmd.run_all` as Salt has it, for real, but without another user (test_builder.py)."""
    options = {key: value for key, value in options.items() if key in ("cwd", "env")}
    if {"chown", "pkill"} & {*argv}:
        argv = ["true"]
    argv = [word for word in argv if not word.startswith(("--reuid", "--regid", "--clear-gr"))]
    if "env" in options:
        options["env"] = {**os.environ, **options["env"]}
    done = subprocess.run(argv, capture_output=True, text=True, check=False, **options)
    return {"retcode": done.returncode, "stdout": done.stdout.strip(), "stderr": done.stderr}


class Host:
    """A host with one environment, and the directory that stands for PyPI."""

    def __init__(self, place: Path) -> None:
        self.place, self.home, self.lock = place, place / "env", place / "crm.txt"
        self.index = place / "index"
        self.index.mkdir()
        self.noted = place / "built"
        """The file in which the tools note that they build."""
        self.hashes = {
            "one": pypi.wheel(self.index, "one", "first = True"),
            "two": pypi.source(self.index, "two"),
        }
        self.tool = pypi.wheel(self.index, "tinybuild", pypi.backend(self.noted))
        module = load("_modules/python_environment.py", salt={"cmd.run_all": run_all})
        functions = {
            f"python_environment.{name}": getattr(module, name)
            for name in ("installed", "wanted", "install")
        }
        self.states = load("_states/python_environment.py", salt=functions, opts={"test": False})

    def write(self, tool: str = "", **hashes: str) -> None:
        """Write the lock of the environment, with some other hashes."""
        self.lock.write_text(pypi.lock(self.hashes | hashes, "two"))
        self.lock.with_name("crm.build.txt").write_text(pypi.lock({"tinybuild": tool or self.tool}))

    def apply(self) -> dict[str, Any]:
        ret: dict[str, Any] = self.states.installed(str(self.home), "python3", str(self.lock))
        return ret

    def files(self) -> dict[str, tuple[int, int]]:
        """The environment's files, each with its time and its inode."""
        found = [(path, path.lstat()) for path in self.home.rglob("*")]
        return {str(path): (stat.st_mtime_ns, stat.st_ino) for path, stat in found}


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    return Host(tmp_path)


def test_x10_packages_with_the_hashes_of_the_lock_are_installed(host: Host) -> None:
    """X10: A wheel as it is, and a source archive, which the tool of the other lock builds."""
    host.write()
    ret = host.apply()
    assert ret["result"] is True, ret["comment"]
    imported = "import one, two; print(one.__file__)"
    shown = subprocess.check_output([host.home / "bin/python3", "-c", imported], text=True)
    assert shown.startswith(str(host.home))
    assert host.noted.read_text() == "built "
    # the tool does not get into the environment
    assert not list(host.home.rglob("tinybuild*"))


def test_x10_a_file_with_another_hash_is_refused(host: Host) -> None:
    """X10: No file of a running environment changes, and no code of the source archive runs."""
    host.write()
    host.apply()
    before = host.files()
    host.noted.unlink()
    for wrong in ("one", "two", "tool"):
        host.write(**{wrong: "0" * 64})
        assert "THESE PACKAGES DO NOT MATCH THE HASHES" in failure(host.apply())
    assert host.files() == before
    assert not host.noted.exists()
    host.write()
    assert host.apply()["changes"] == {}

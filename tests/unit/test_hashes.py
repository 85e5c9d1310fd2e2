"""Hashes of packages: a real pip, and a directory in place of PyPI."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from lab.paths import LOCKS
from salina.common import locks
from tests.loading import failure, load

BACKEND = """
import os, zipfile
PLACE = {place!r}

def build_wheel(directory, *given):
    open(PLACE, "a").write("built ")
    name = open("PKG-INFO").read().split()[3]
    wheel = f"{{name}}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(directory, wheel), "w") as archive:
        archive.writestr(f"{{name}}.py", "")
        info = f"{{name}}-1.0.dist-info"
        archive.writestr(f"{{info}}/METADATA", open("PKG-INFO").read())
        archive.writestr(f"{{info}}/WHEEL", {wheel!r})
        archive.writestr(f"{{info}}/RECORD", "")
    return wheel
"""
"""The tool that builds the sources of these tests; it notes that it ran."""
WHEEL = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
PROJECT = '[build-system]\nrequires = ["tinybuild"]\nbuild-backend = "tinybuild"\n'


def wheel(place: Path, name: str, content: str) -> str:
    """Put a wheel into the directory that stands for PyPI; return its hash."""
    info = f"{name}-1.0.dist-info"
    files = {
        f"{name}.py": content,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": WHEEL,
        f"{info}/RECORD": "",
    }
    file = place / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return hashlib.sha256(file.read_bytes()).hexdigest()


def source(place: Path, name: str) -> str:
    """Put a source archive there; return its hash."""
    file = place / f"{name}-1.0.tar.gz"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
    with tarfile.open(file, "w:gz") as archive:
        for path, text in {"pyproject.toml": PROJECT, "PKG-INFO": metadata}.items():
            member = tarfile.TarInfo(f"{name}-1.0/{path}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return hashlib.sha256(file.read_bytes()).hexdigest()


def lock(hashes: Mapping[str, str], sources: str = "") -> str:
    lines = [locks.WHEELS_ONLY, *([f"{locks.SOURCES}{sources}"] if sources else [])]
    lines += [f"{name}==1.0 \\\n    --hash=sha256:{digest}" for name, digest in hashes.items()]
    return "\n".join([*lines, ""])


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
        """What the tools note while they build."""
        self.hashes = {
            "one": wheel(self.index, "one", "first = True"),
            "two": source(self.index, "two"),
        }
        self.tool = wheel(
            self.index, "tinybuild", BACKEND.format(place=str(self.noted), wheel=WHEEL)
        )
        module = load("_modules/python_environment.py", salt={"cmd.run_all": run_all})
        functions = {
            f"python_environment.{name}": getattr(module, name)
            for name in ("installed", "wanted", "install")
        }
        self.states = load("_states/python_environment.py", salt=functions, opts={"test": False})

    def write(self, tool: str = "", **hashes: str) -> None:
        """Write the lock of the environment, with some other hashes."""
        self.lock.write_text(lock(self.hashes | hashes, "two"))
        self.lock.with_name("crm.build.txt").write_text(lock({"tinybuild": tool or self.tool}))

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
    # the tool is no part of the environment
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


@pytest.mark.parametrize("name", sorted(path.name for path in LOCKS.glob("*.txt")))
def test_x10_every_line_of_every_lock_has_hashes(name: str) -> None:
    """X10: pip can verify every file that an environment is built from."""
    text = (LOCKS / name).read_text()
    assert locks.faults(text) == []
    assert all(locks.entries(text).values())
    if sources := locks.sources(text):
        assert {*sources} <= {entry.partition("==")[0] for entry in locks.entries(text)}
        assert (LOCKS / locks.tools(name)).exists()

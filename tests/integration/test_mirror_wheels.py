"""The files and the wheels of a lock: just these, verified, and built without root."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.errors import LabError
from lab.mirror import wheels
from tests import pypi

OTHER = "3.9"


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("zope.event-4.6-py2.py3-none-any.whl", "zope-event==4.6"),
        ("psycopg2_binary-2.9.9-cp39-cp39-manylinux_2_17_x86_64.whl", "psycopg2-binary==2.9.9"),
        ("PyPDF2-1.26.0-py3-none-any.whl", "pypdf2==1.26.0"),
        ("odoo14_addon_session_db-14.0.1.0.2-py3-none-any.whl",
         "odoo14-addon-session-db==14.0.1.0.2"),
        ("leftover", "leftover"),
    ],
)  # fmt: skip
def test_key_of_a_wheel_equals_its_line_in_a_lock(name: str, key: str) -> None:
    assert wheels.key(name) == key


class Mirror:
    """A lock, a directory that stands for PyPI, and the directory of the files."""

    def __init__(self, place: Path) -> None:
        self.index, self.house, self.lock = place / "index", place / "house", place / "crm.txt"
        self.noted = place / "noted/built"
        self.index.mkdir()
        self.noted.parent.mkdir(mode=0o777)
        self.noted.parent.chmod(0o777)
        self.hashes = {
            "one": pypi.wheel(self.index, "one", ""),
            "two": pypi.source(self.index, "two"),
        }
        self.tool = pypi.wheel(self.index, "tinybuild", pypi.backend(self.noted))
        self.write()

    def write(self, **hashes: str) -> None:
        self.lock.write_text(pypi.lock(self.hashes | hashes, "two"))
        self.lock.with_name("crm.build.txt").write_text(pypi.lock({"tinybuild": self.tool}))

    def files(self) -> dict[str, int]:
        """The files in the house, with their inodes."""
        return {file.name: file.stat().st_ino for file in self.house.iterdir()}


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    """In a directory that other users can read; pytest's own are root's alone."""
    place = Path(tempfile.mkdtemp(prefix="salina-", dir="/tmp"))
    place.chmod(0o755)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(place / "index"))
    monkeypatch.setattr(wheels, "CONFIGURATION", ())
    yield Mirror(place)
    shutil.rmtree(place)


def test_x10_hosts_get_the_files_of_pypi(mirror: Mirror) -> None:
    """X10: Also source archives, so that the hashes of a lock hold. Files are fetched once."""
    wheels.originals(mirror.house, mirror.lock, wheels.THIS_PYTHON)
    found = mirror.files()
    assert set(found) == {"one-1.0-py3-none-any.whl", "two-1.0.tar.gz"}
    (mirror.house / "three-1.0-py3-none-any.whl").write_text("of an older lock")
    (mirror.house / "two-1.0.tar.gz").unlink()
    wheels.originals(mirror.house, mirror.lock, OTHER)
    again = mirror.files()
    assert set(again) == set(found)
    assert again["one-1.0-py3-none-any.whl"] == found["one-1.0-py3-none-any.whl"]


def originals(directory: Path, lock: Path) -> None:
    """PyPI's own files, for another Python."""
    wheels.originals(directory, lock, OTHER)


@pytest.mark.parametrize(
    ("make", "wrong"),
    [
        (wheels.wheels, "one"),
        (originals, "two"),
        pytest.param(wheels.wheels, "two", marks=pytest.mark.proof),
        pytest.param(originals, "one", marks=pytest.mark.proof),
    ],
)
def test_x10_a_file_with_another_hash_does_not_get_in(mirror: Mirror, make, wrong: str) -> None:
    """X10: Neither one that the mirror fetches nor one that it has already."""
    mirror.write(**{wrong: "0" * 64})
    mirror.house.mkdir()
    for file in mirror.index.glob(f"{wrong}*"):
        shutil.copy(file, mirror.house)
    with pytest.raises(LabError, match="THESE PACKAGES DO NOT MATCH THE HASHES"):
        make(mirror.house, mirror.lock)
    assert mirror.files() == {}
    assert not mirror.noted.exists()


def test_x10_the_mirror_builds_without_root(mirror: Mirror) -> None:
    """X10: The tool that built the source says who ran it; root has the result."""
    wheels.wheels(mirror.house, mirror.lock)
    assert set(mirror.files()) == {"one-1.0-py3-none-any.whl", "two-1.0-py3-none-any.whl"}
    assert mirror.noted.read_text() == "built "
    expected = wheels.BUILDER if os.geteuid() == 0 else os.geteuid()
    assert mirror.noted.stat().st_uid == expected != 0
    for file in mirror.house.iterdir():
        assert file.stat().st_uid == os.geteuid()
        assert not file.stat().st_mode & 0o022

    mirror.noted.unlink()
    before = mirror.files()
    wheels.wheels(mirror.house, mirror.lock)
    assert mirror.files() == before
    assert not mirror.noted.exists()


def test_x10_the_tools_of_the_lab_are_verified_by_the_same_command(mirror: Mirror) -> None:
    """X10: bin/lab runs it with the system's Python, before anything is installed."""
    command = ["/usr/bin/python3", "-m", "lab.mirror.wheels", mirror.lock, mirror.house]
    path = {"PYTHONPATH": ".:_utils", "PYTHONDONTWRITEBYTECODE": "1"}
    mirror.write(one="0" * 64)
    done = subprocess.run(command, env=os.environ | path, capture_output=True, text=True)
    assert done.returncode == 1
    assert "THESE PACKAGES DO NOT MATCH THE HASHES" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_lock_without_hashes_is_refused(mirror: Mirror) -> None:
    """X10, K5: Before pip runs, and with the command that writes a good one."""
    mirror.lock.write_text("one==1.0\n")
    with pytest.raises(LabError, match=r"crm\.txt: one==1\.0 has no hash; `make lock` writes"):
        wheels.wheels(mirror.house, mirror.lock)

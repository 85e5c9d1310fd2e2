"""Results that the master's processes share, and what is never trusted in their place."""

from __future__ import annotations

import multiprocessing
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from salina_fleet import shared
from salina_fleet.model.topology import Network
from salina_fleet.shared import Shared

KEY = "this version"
VALUE = {"lan": Network("lan", "10.1.1.0/24")}


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Salt would print the warnings when the tests have ended."""
    monkeypatch.setattr(shared.log, "disabled", True)


@pytest.fixture
def kept(tmp_path: Path) -> Shared:
    """A cache directory with a result."""
    found = Shared(tmp_path)
    found.put("site", KEY, VALUE)
    return found


def test_a_result_is_found_by_name_and_key(kept: Shared) -> None:
    assert kept.get("site", KEY) == VALUE
    assert kept.get("site", "another version") is None
    assert kept.get("other", KEY) is None


def test_only_the_masters_user_reads_it(kept: Shared) -> None:
    assert kept.folder.stat().st_mode & 0o777 == 0o700
    assert (kept.folder / "site").stat().st_mode & 0o777 == 0o600
    assert os.listdir(kept.folder) == ["site"]


def _open(kept: Shared) -> None:
    kept.folder.chmod(0o770)


def _open_file(kept: Shared) -> None:
    (kept.folder / "site").chmod(0o660)


def _link(kept: Shared) -> None:
    """Lead the master to a directory in which it would trust everything."""
    kept.folder.rename(kept.folder.with_name("elsewhere"))
    kept.folder.symlink_to("elsewhere")


def _link_file(kept: Shared) -> None:
    (kept.folder / "site").rename(kept.folder / "other")
    (kept.folder / "site").symlink_to("other")


def _cut(kept: Shared) -> None:
    """A power cut left a part of it."""
    file = kept.folder / "site"
    file.write_bytes(file.read_bytes()[:-1])


def _empty(kept: Shared) -> None:
    (kept.folder / "site").write_bytes(b"")


def _pipe(kept: Shared) -> None:
    (kept.folder / "site").unlink()
    os.mkfifo(kept.folder / "site", 0o600)


def _file(kept: Shared) -> None:
    (kept.folder / "site").unlink()
    kept.folder.rmdir()
    kept.folder.touch()


@pytest.mark.parametrize(
    "damage", [_open, _open_file, _link, _link_file, _cut, _empty, _pipe, _file]
)
def test_x10_what_others_could_have_written_is_not_read(
    kept: Shared, damage: Callable[[Shared], None]
) -> None:
    """X10: Neither is it an error: the process makes the result for itself."""
    damage(kept)
    assert kept.get("site", KEY) is None
    with kept.making("site"):
        kept.put("site", KEY, VALUE)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to others")
@pytest.mark.parametrize("name", ["", "site"])
def test_x10_a_result_of_another_user(kept: Shared, name: str) -> None:
    """X10: A user who can write the cache directory cannot make root run code."""
    os.chown(kept.folder / name, 65534, 65534)
    assert kept.get("site", KEY) is None


class Harmful:
    """Something that runs code when it is read."""

    def __reduce__(self) -> Any:
        return (os.mkdir, ("/tmp/salina-harm",))


@pytest.mark.parametrize("value", [Harmful(), shared.log.info, Path("/")])
def test_x10_only_classes_of_this_project_are_read(kept: Shared, value: object) -> None:
    """X10: A second door, behind the owner and the mode."""
    kept.put("site", KEY, value)
    assert kept.get("site", KEY) is None
    assert not Path("/tmp/salina-harm").exists()


def test_a_damaged_result_is_replaced(kept: Shared) -> None:
    _cut(kept)
    kept.put("site", KEY, VALUE)
    assert kept.get("site", KEY) == VALUE


def test_no_cache_directory(tmp_path: Path) -> None:
    """A process without one works, and makes its results itself."""
    found = Shared(tmp_path / "none")
    with found.making("site"):
        found.put("site", KEY, VALUE)
    assert found.get("site", KEY) is None


def make(place: Path, start: Any) -> None:
    """Make a result as a process of the master does, and write down if it had to be made."""
    found = Shared(place)
    start.wait()
    with found.making("site"):
        if found.get("site", KEY) is None:
            with (place / "made").open("a") as file:
                file.write("x")
            found.put("site", KEY, VALUE)


def test_one_process_makes_it_for_all(tmp_path: Path) -> None:
    """The others wait, and then find it."""
    context = multiprocessing.get_context("fork")
    start = context.Barrier(4)
    processes = [context.Process(target=make, args=(tmp_path, start)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 4
    assert (tmp_path / "made").read_text() == "x"


def test_a_process_that_hangs_holds_nobody_up(
    kept: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a bounded time the others make the result for themselves."""
    monkeypatch.setattr(shared, "PATIENCE", 0.1)
    with kept.making("site"), kept.making("site"):
        assert pickle.loads(pickle.dumps(VALUE)) == kept.get("site", KEY)

"""Copies of users' files: what is copied when, which files a moment needs, and how they come back.

GlusterFS and Salt are only pretended. restic is real in the last part, if this machine has it.
"""

from __future__ import annotations

import errno
import io
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from salt.exceptions import CommandExecutionError

from salina.backup import files, forget, lock
from salina.backup.files import AbsentError, Entry, FilesError, Snapshot, UnreachableError
from salina_fleet import policy
from salina_fleet.fleet import Fleet
from salina_fleet.model import files_backup, topology
from salina_fleet.model.backup import BackupSettings
from salina_fleet.roles.storage import StorageSettings
from tests import fleets
from tests.conftest import REPOSITORY
from tests.loading import load, never, refusing

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
BEFORE, NEAR, AT = "20261129T115859Z", "20261129T115900Z", "20261129T120000Z"
"""The names of directories with what was removed too long before noon, a minute before, and at it.
"""
AFTER = "20261129T120001Z"
"""The same for a second after noon."""


def put(path: Path, text: str = "content") -> Path:
    """Write a file, with its directories."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def tree(directory: Path) -> dict[str, str]:
    """Return all files of a directory: path -> content."""
    return {
        str(path.relative_to(directory)): path.read_text()
        for path in directory.rglob("*")
        if path.is_file()
    }


# restic's answers


def test_copies_are_read_from_old_to_new() -> None:
    """O9: restic gives the moment in the sending host's zone, with nine digits of a fraction."""
    answer = [
        {"id": "c" * 64, "time": "2026-11-29T13:00:00.999999999+01:00", "paths": ["/nas"]},
        {"id": "a" * 64, "time": "2026-11-29T11:45:00.248966067Z"},
        {"id": "b" * 64, "time": "2026-11-29T11:50:00Z"},
    ]
    found = files.parse_snapshots(json.dumps(answer))
    assert found == [
        Snapshot("a" * 64, NOON - timedelta(minutes=15)),
        Snapshot("b" * 64, NOON - timedelta(minutes=10)),
        Snapshot("c" * 64, NOON),
    ]
    assert {one.time.tzinfo for one in found} == {UTC}  # an operator reads them as UTC


@pytest.mark.parametrize("answer", ["null", "null\n", "[]"])
def test_a_repository_without_copies(answer: str) -> None:
    """O9: restic then says null."""
    assert files.parse_snapshots(answer) == []


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-29T12:00:00Z",
        "2026-11-29T12:00:00.5+00:00",
        "2026-11-29T06:30:00.123456-05:30",
        "2026-11-29 12:00:00.000000+00",
    ],
)
def test_moments_of_restic_and_of_requests_are_read(text: str) -> None:
    """O9: A request has Python's form, or PostgreSQL's."""
    assert files.parse_time(text) == NOON


def node(path: str, kind: str = "file", mode: int = 0o644, size: int = 5) -> str:
    """Return a line of `restic ls --json`. It has no size for a directory."""
    found = {"name": Path(path).name, "type": kind, "path": path, "mode": mode}
    return json.dumps(found | ({"size": size} if kind == "file" else {}), ensure_ascii=False)


SNAPSHOT = json.dumps({"time": "2026-11-29T12:00:00Z", "paths": ["/nas"], "id": "a" * 64})


def entries(*lines: str) -> list[Entry]:
    """Return the entries of crm in a copy with these lines."""
    return files.parse_entries("\n".join([SNAPSHOT, *lines]) + "\n", "/nas/crm")


def test_files_of_a_copy_have_their_place_in_the_application() -> None:
    """O9: A held file has the name that the application knows, and the moment of its removal."""
    assert entries(
        node("/nas", "dir"),
        node("/nas/crm", "dir"),
        node("/nas/crm/ab", "dir"),
        node("/nas/crm/ab/abc"),
        node(f"/nas/crm/held/{AT}/cd/cde"),
        node(f"/nas/crm/held/{AT}", "dir"),
    ) == [Entry("ab/abc", None), Entry("cd/cde", AT)]
    assert files.parse_entries("", "/nas/crm") == []


@pytest.mark.parametrize(
    "path",
    ["/nas/crm-old/a", "/nas/crm2", "/nas/crm.txt", "/nas/shop/a", "/nas2/crm/a", "/crm/a"],
)
def test_a_directory_whose_name_only_begins_alike_is_another_one(path: str) -> None:
    """O9: A brick may have the files of another application."""
    assert entries(node(path)) == []


@pytest.mark.parametrize("kind", ["symlink", "dir", "fifo", "socket", "dev", "chardev"])
def test_only_files_are_of_interest(kind: str) -> None:
    """O9, X8: No link of a copy comes back."""
    assert entries(node("/nas/crm/a", kind)) == []


STICKY = 1 << 20


@pytest.mark.parametrize(
    ("mode", "size", "kept"),
    [
        (STICKY, 0, False),
        (STICKY | 0o644, 0, False),
        (STICKY | 0o644, 5, True),
        (0o644, 0, True),
        (0, 0, True),
        (0o600, 5, True),
    ],
)
def test_a_pointer_to_another_brick_is_no_file(mode: int, size: int, kept: bool) -> None:
    """O9: GlusterFS's pointer is an empty file with the sticky bit. A user's file may be empty."""
    assert bool(entries(node("/nas/crm/a", mode=mode, size=size))) is kept


def test_restic_may_leave_out_the_size_of_an_empty_file() -> None:
    """O9: The key is optional in its answer."""
    empty = {"type": "file", "path": "/nas/crm/a", "mode": 0o644}
    pointer = empty | {"path": "/nas/crm/b", "mode": STICKY}
    assert entries(json.dumps(empty), json.dumps(pointer)) == [Entry("a", None)]


@pytest.mark.parametrize("character", ["\x85", "\u2028", "\x1c", "ü", '"', "\\", "\n"])
def test_a_name_may_have_any_character(character: str) -> None:
    """O9: Some end a line for Python, and restic does not escape each of them."""
    assert entries(node(f"/nas/crm/a{character}b")) == [Entry(f"a{character}b", None)]


@pytest.mark.parametrize(
    "path",
    [
        "held",
        "held/file",
        f"held/{AT}",
        "held/20261129T1200Z/a",
        f"held/{AT}.1/a",
        f"held/{AT}x/a",
        f"holding/{AT}/a",
        f"a/held/{AT}/b",
        f"Held/{AT}/b",
    ],
)
def test_another_name_in_held_is_a_file_of_the_application(path: str) -> None:
    """O9: An application may have had a directory of that name before."""
    assert files.entry(path) == Entry(path, None)


# Bricks

HEALED = "Brick nas1:/nas\nNumber of entries: 0\n\nBrick nas2:/nas\n"
AWAY = "Status: Transport endpoint is not connected\nNumber of entries: -\n"


def test_bricks_say_what_others_miss() -> None:
    """O9: The answer of `gluster volume heal nas statistics heal-count`."""
    first = "Gathering count of entries to be healed on volume nas has been successful \n\n"
    text = f"{first}{HEALED}Number of entries: 12\n\nBrick nas3:/nas-shop\nNumber of entries: 3\n\n"
    assert files.parse_counts(text) == {"nas1:/nas": 0, "nas2:/nas": 12, "nas3:/nas-shop": 3}


@pytest.mark.parametrize("text", ["", "volume heal nas failed: Volume nas is not started\n"])
def test_without_an_answer_no_brick_is_known(text: str) -> None:
    """O9, K5: A daemon that is down says nothing."""
    assert files.parse_counts(text) == {}
    assert not files.complete({}, "nas1:/nas")


@pytest.mark.parametrize("end", [AWAY, AWAY.rpartition("Number")[0], ""])
def test_a_brick_that_is_not_connected_has_no_count(end: str) -> None:
    """O9: The count of the next brick is never taken for its own."""
    assert files.parse_counts(HEALED + end) == {"nas1:/nas": 0}
    third = "\nBrick nas3:/nas\nNumber of entries: 7\n"
    assert files.parse_counts(HEALED + end + third) == {"nas1:/nas": 0, "nas3:/nas": 7}


@pytest.mark.parametrize(
    ("counts", "whole"),
    [
        ({"nas1": 0, "nas2": 0, "nas3": 0}, True),
        ({"nas1": 5, "nas2": 0, "nas3": 5}, True),  # nas2 was away
        ({"nas1": 0, "nas2": 5, "nas3": 5}, False),  # nas1 itself was away
        ({"nas1": 4, "nas2": 5, "nas3": 5}, False),  # it is being healed
        ({"nas2": 0, "nas3": 0}, False),  # its brick does not run
        ({"nas1": 0, "nas3": 0}, True),  # nas2 is away
        ({"nas1": 3}, True),
        ({}, False),
    ],
)
def test_a_brick_that_was_away_is_not_complete(counts: dict[str, int], whole: bool) -> None:
    """O9: The bricks that were there during a write remember what the others miss."""
    assert files.complete(counts, "nas1") is whole


# When a host copies

EVERY = 900


@pytest.mark.parametrize(
    ("place", "seconds"), [(0, 15 * 60 - 150), (1, 22.5 * 60 - 150), (2, 30 * 60 - 150)]
)
def test_each_host_copies_if_those_before_it_do_not(place: int, seconds: float) -> None:
    """O9: Half an interval lies between two hosts. A look may come 150 seconds early."""
    for newest, wanted in ((seconds, True), (seconds - 1, False), (0, False), (86_400, True)):
        assert files.due(NOON - timedelta(seconds=newest), NOON, EVERY, place) is wanted


@pytest.mark.parametrize("place", range(3))
def test_a_copy_of_the_future_is_not_repeated(place: int) -> None:
    """O9: A clock that is set back makes no copy at every look."""
    assert not files.due(NOON + HOUR, NOON, EVERY, place)


@pytest.mark.parametrize(("place", "minutes"), [(0, range(60)), (1, None), (2, None)])
def test_the_first_copy_does_not_wait(place: int, minutes: Sequence[int] | None) -> None:
    """O9: The first host begins at once, and another one at every second look of its timer."""
    found = [
        minute for minute in range(60) if files.due(None, NOON.replace(minute=minute), 1, place)
    ]
    assert found == list(minutes or [minute for minute in range(60) if minute % 10 >= 5])


@pytest.mark.parametrize(
    ("every", "absent", "looks"),
    [
        *((EVERY, absent, looks) for absent, looks in enumerate((3, 4, 6))),
        *((600, absent, looks) for absent, looks in enumerate((2, 3, 4))),
        *((300, absent, looks) for absent, looks in enumerate((1, 2, 2))),
    ],
)
def test_three_hosts_make_one_copy_at_a_time(every: int, absent: int, looks: int) -> None:
    """O9: With looks every five minutes one host copies, and the next one if it is away.

    Two hosts never copy at the same look, except the last two at intervals of five minutes.
    """
    newest, made = NOON, list[tuple[int, int]]()
    for look in range(1, 24 * 12):
        now = NOON + look * timedelta(minutes=5)
        for place in range(absent, 3):
            if files.due(newest, now, every, place):
                newest = now
                made.append((look, place))
    assert {place for _, place in made} == {absent}
    pauses = {second[0] - first[0] for first, second in itertools.pairwise(made)}
    assert pauses == {looks}
    before = [NOON - number * timedelta(minutes=5) for number in range(looks + 1)]
    assert not any(files.due(one, NOON, every, absent + 1) for one in before[:-1])
    both = files.due(before[-1], NOON, every, absent + 1)
    assert both is (every == 300 and absent == 1)


# Which copy, and which files


def copies(*hours: int) -> list[Snapshot]:
    """Return copies of so many hours after noon."""
    return [Snapshot(str(hour), NOON + hour * HOUR) for hour in hours]


@pytest.mark.parametrize(
    ("hours", "until", "found"),
    [
        ((-2, -1, 1, 2), NOON, "1 2 -1"),
        ((-2, 0, 2), NOON, "2 0 -2"),  # restic began to read at the moment itself
        ((-2, -1), NOON, "-1"),
        ((1, 2), NOON, "1 2"),
        ((-2, 1, 2), None, "2"),
        ((-1, 1, 2), datetime(2026, 11, 29, 13, tzinfo=timezone(HOUR)), "1 2 -1"),
    ],
)
def test_the_first_copy_after_a_moment_has_its_files(
    hours: tuple[int, ...], until: datetime | None, found: str
) -> None:
    """O9: A file that was added before the moment is in it, and a removed one is still held.

    One that the volume has lost is in the copy before.
    """
    chosen = files.chosen(iter(copies(*hours)), until)
    assert [one.id for one in chosen] == found.split()


def test_the_second_copy_after_a_moment_counts_too() -> None:
    """O9: A file that was removed while restic read is in the second copy for certain."""
    found = [one.id for one in files.chosen(copies(-2, -1, 1, 2, 3), NOON)]
    assert found == ["1", "2", "-1"]


def test_clocks_may_differ_by_a_minute() -> None:
    """O9: A copy that is so near may be of before or of after the moment, so it counts as well."""
    seconds = (-120, -61, -60, -1, 0, 59, 60, 61, 120)
    near = [Snapshot(str(one), NOON + timedelta(seconds=one)) for one in seconds]
    found = [one.id for one in files.chosen(near, NOON)]
    assert found == ["60", "61", "59", "0", "-1", "-60", "-61"]
    assert [one.id for one in files.chosen(near[3:6], NOON)] == ["59", "0", "-1"]


@pytest.mark.parametrize("until", [None, NOON])
def test_without_a_copy_none_is_chosen(until: datetime | None) -> None:
    """O9: A new fleet has none."""
    assert files.chosen([], until) == []


@pytest.mark.parametrize(
    ("found", "places"),
    [
        ([None], "a"),
        ([], None),
        ([BEFORE], None),  # the application did not have it any more
        ([AFTER], f"held/{AFTER}/a"),
        ([NEAR], f"held/{NEAR}/a"),  # by the clock of a host, or before its row was removed
        ([AT], f"held/{AT}/a"),  # perhaps later in the same second
        (["20261201T000000Z", AFTER], f"held/{AFTER}/a"),  # removed, written again, removed again
        ([AFTER, "20261201T000000Z"], f"held/{AFTER}/a"),
        ([BEFORE, AFTER], f"held/{AFTER}/a"),
        ([AFTER, None], "a"),  # removed, and there again
        ([None, AFTER], "a"),
        ([BEFORE, None], "a"),
    ],
)
def test_the_files_of_a_moment(found: list[str | None], places: str | None) -> None:
    """O9: A file that is there stays. Of a removed one the application had the first that went."""
    wanted = files.wanted([Entry("a", held) for held in found], NOON)
    assert wanted == ({"a": places} if places else {})


def test_for_now_no_removed_file_counts() -> None:
    """O9: Without a moment only the files that are there are wanted."""
    both = [Entry("a", None), Entry("b", AFTER), Entry("c", BEFORE)]
    assert files.wanted(both, None) == {"a": "a"}


def test_a_moment_is_compared_in_utc() -> None:
    """O9: The names in `held` are in UTC, whatever the zone of the request is."""
    until = datetime(2026, 11, 29, 13, 0, 0, 900_000, tzinfo=timezone(HOUR))
    assert files.stamp(until) == AT
    assert files.wanted([Entry("a", AT), Entry("b", BEFORE)], until) == {"a": f"held/{AT}/a"}


@given(st.data())
def test_every_file_of_every_moment_is_found(data: st.DataObject) -> None:
    """O9: Whatever users add and remove, a later state leads back to the files of a moment."""
    names, live, held, history = "abc", set[str](), list[Entry](), list[set[str]]()
    for second in range(data.draw(st.integers(1, 12))):
        history.append(set(live))
        name = data.draw(st.sampled_from(names))
        if name in live:
            live.remove(name)
            held.append(Entry(name, files.stamp(NOON + timedelta(seconds=second))))
        else:
            live.add(name)
    now = [*(Entry(name, None) for name in live), *held]
    for second, then in enumerate(history):
        assert then <= files.wanted(now, NOON + timedelta(seconds=second)).keys()


# An application's directory


def test_the_files_of_a_directory_are_listed(tmp_path: Path) -> None:
    """O9: Held ones have their earlier names, and directories do not count."""
    put(tmp_path / "ab/abc")
    put(tmp_path / f"held/{AT}/cd/cde")
    (tmp_path / "held" / AFTER).mkdir()
    found = sorted(files.listing(tmp_path), key=lambda one: one.path)
    assert found == [Entry("ab/abc", None), Entry("cd/cde", AT)]


def test_a_directory_that_cannot_be_read_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """O9, K5: A list without its files would bring back old ones. Only users may remove it."""
    put(tmp_path / "ab/abc")
    put(tmp_path / "cd/cde")
    real, reason = os.scandir, dict[str, OSError]()

    def scandir(path: str) -> Any:
        if path.endswith("/ab"):
            raise reason["ab"]
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    reason["ab"] = OSError(5, "Input/output error", f"{tmp_path}/ab")
    with pytest.raises(OSError, match="Input/output error"):
        files.listing(tmp_path)
    reason["ab"] = FileNotFoundError(2, "No such file or directory", f"{tmp_path}/ab")
    assert files.listing(tmp_path) == [Entry("cd/cde", None)]
    with pytest.raises(FileNotFoundError):
        files.listing(tmp_path / "missing")


def test_removed_files_come_back(tmp_path: Path) -> None:
    """O9: They get their places and keep their contents; the state of before stays held."""
    put(tmp_path / "ab/there", "there")
    put(tmp_path / f"held/{AFTER}/ab/abc", "first")
    put(tmp_path / f"held/{AFTER}/cd/new/cde", "other")
    put(tmp_path / "held/20261201T000000Z/ab/abc", "second")
    put(tmp_path / f"held/{BEFORE}/ab/old", "old")
    put(tmp_path / "held/other/x", "no moment")
    assert files.bring_back(tmp_path, NOON) == (2, [])
    assert tree(tmp_path) == {
        "ab/there": "there",
        "ab/abc": "first",
        "cd/new/cde": "other",
        "held/20261201T000000Z/ab/abc": "second",
        f"held/{BEFORE}/ab/old": "old",
        "held/other/x": "no moment",
    }
    assert files.bring_back(tmp_path, NOON) == (0, [])


def test_without_removed_files_none_comes_back(tmp_path: Path) -> None:
    """O9: An application has no directory for them before it has removed one."""
    put(tmp_path / "a")
    assert files.bring_back(tmp_path, NOON) == (0, [])


def test_only_removed_files_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """O9: An application may have millions of files, of which few are held."""
    put(tmp_path / "ab/there")
    put(tmp_path / f"held/{BEFORE}/a")
    put(tmp_path / f"held/{AFTER}/b")
    read, real = list[str](), os.scandir

    def scandir(path: str) -> Any:
        read.append(str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert files.bring_back(tmp_path, NOON) == (1, [])
    assert set(read) == {f"{tmp_path}/held/{AFTER}"}


def test_what_the_sweep_removes_meanwhile_is_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """O9: The other files come back. A file may have the name of a moment, too."""
    put(tmp_path / f"held/{AFTER}/a")
    put(tmp_path / "held/20261129T120002Z", "a file of the application")
    names = [AFTER, "20261129T120002Z", "20261129T120003Z"]
    monkeypatch.setattr(files.os, "listdir", lambda _: names)
    assert files.bring_back(tmp_path, NOON) == (1, [])


def refuse(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Let the file `bad` get its place never, for the reason with this number."""
    real = Path.rename

    def rename(path: Path, target: Path) -> Path:
        if target.name == "bad":
            raise OSError(number, os.strerror(number))
        return real(path, target)

    monkeypatch.setattr(Path, "rename", rename)


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.ENAMETOOLONG, errno.ENOENT])
def test_one_removed_file_that_cannot_come_back_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """O9, K5: It is named with its reason, unless another process has taken it away."""
    refuse(monkeypatch, number)
    for name in ("a", "bad", "z"):
        put(tmp_path / f"held/{AFTER}/{name}")
    reason = [] if number == errno.ENOENT else [f"bad: {os.strerror(number)}"]
    assert files.bring_back(tmp_path, NOON) == (2, reason)
    assert tree(tmp_path).keys() == {"a", "z", f"held/{AFTER}/bad"}


@pytest.mark.parametrize("number", files.FULL)
def test_a_full_volume_ends_the_return_of_removed_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """O9, K5: No other file would fit, either."""
    refuse(monkeypatch, number)
    put(tmp_path / f"held/{AFTER}/bad")
    put(tmp_path / "held/20261129T120002Z/later")
    with pytest.raises(OSError, match=os.strerror(number)):
        files.bring_back(tmp_path, NOON)
    assert not (tmp_path / "later").exists()


@pytest.mark.parametrize("present", ["file", "link", "directory", "parent", "grandparent"])
def test_a_removed_file_replaces_nothing(tmp_path: Path, present: str) -> None:
    """O9, X8: A file, a link or a directory at its place stays, and the other files come back."""
    put(tmp_path / f"held/{AFTER}/a/b/c", "old")
    put(tmp_path / f"held/{AFTER}/d", "back")
    taken(tmp_path, present)
    before = {path: content for path, content in tree(tmp_path).items() if path[:4] != "held"}
    assert files.bring_back(tmp_path, NOON) == (1, [])
    assert (tmp_path / "d").read_text() == "back"
    assert (tmp_path / f"held/{AFTER}/a/b/c").read_text() == "old"
    assert tree(tmp_path).items() >= before.items()
    assert (tmp_path / "a/b/c").is_symlink() is (present == "link")


def taken(directory: Path, present: str) -> None:
    """Have something at the place a/b/c, or at that of a directory above it."""
    place = directory / "a/b/c"
    if present == "link":
        place.parent.mkdir(parents=True)
        place.symlink_to("nowhere")
    elif present == "directory":
        put(place / "file", "new")
    else:
        put({"parent": place.parent, "grandparent": directory / "a"}.get(present, place), "new")


# Archives


def member(name: str, kind: bytes = tarfile.REGTYPE, **about: Any) -> tarfile.TarInfo:
    """Return the header of a member of an archive."""
    found = tarfile.TarInfo(name)
    found.type, found.mtime = kind, 1_700_000_000
    for key, value in about.items():
        setattr(found, key, value)
    return found


def archive(contents: Mapping[str, bytes], *others: tarfile.TarInfo) -> bytes:
    """Return an archive of these files, which begins with the other members."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as tar:
        for one in others:
            tar.addfile(one)
        for name, content in contents.items():
            tar.addfile(member(name, size=len(content), mode=0o4640), io.BytesIO(content))
    return written.getvalue()


class Pipe(io.RawIOBase):
    """A stream that gives few bytes at a time and cannot go back, as a pipe does."""

    def __init__(self, content: bytes) -> None:
        self._content = io.BytesIO(content)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        part = self._content.read(min(len(buffer), 700))
        buffer[: len(part)] = part
        return len(part)


def unpack(directory: Path, paths: Mapping[str, str], content: bytes) -> tuple[int, list[str]]:
    """Unpack an archive that comes through a pipe."""
    with io.BufferedReader(Pipe(content)) as stream:
        return files.unpack(directory, paths, stream)


LARGE = bytes(range(256)) * 700


def test_files_of_an_archive_get_their_places(tmp_path: Path) -> None:
    """O9: Each has its content, its time and its mode; nothing runs as another user."""
    content = archive({"nas/crm/ab/abc": LARGE, f"nas/crm/held/{AT}/cd": b"", "nas/crm/x": b"x"})
    paths = {"nas/crm/ab/abc": "ab/abc", f"nas/crm/held/{AT}/cd": "cd"}
    assert unpack(tmp_path, paths, content) == (2, [])
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")}
    assert found == {"ab", "ab/abc", "cd"}
    assert (tmp_path / "ab/abc").read_bytes() == LARGE
    assert (tmp_path / "cd").read_bytes() == b""
    about = (tmp_path / "ab/abc").stat()
    assert (about.st_mtime, about.st_mode & 0o7777) == (1_700_000_000, 0o640)


@pytest.mark.parametrize("name", ["/nas/crm/a", "nas/crm/a"])
def test_the_names_in_an_archive_may_be_absolute(tmp_path: Path, name: str) -> None:
    """O9: Versions of restic differ in this."""
    assert unpack(tmp_path, {"nas/crm/a": "a"}, archive({name: b"a"})) == (1, [])
    assert tree(tmp_path) == {"a": "a"}


@pytest.mark.parametrize("name", ["nas/crm/b", "../a", "nas/crm/../../a", "crm/a", "a"])
def test_a_name_outside_the_list_is_ignored(tmp_path: Path, name: str) -> None:
    """O9, X8: An archive decides no place."""
    directory = tmp_path / "crm"
    directory.mkdir()
    assert unpack(directory, {"nas/crm/a": "a"}, archive({name: b"bad"})) == (0, [])
    assert tree(tmp_path) == {}


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_only_files_are_written(tmp_path: Path, kind: bytes) -> None:
    """O9, X8: A link in the archive is not written, and a file after it is."""
    link = member("nas/crm/a", kind, linkname="/etc/passwd")
    content = archive({"nas/crm/b": b"b"}, link, member("nas/crm/c", tarfile.DIRTYPE))
    paths = {f"nas/crm/{name}": name for name in "abc"}
    assert unpack(tmp_path, paths, content) == (1, [])
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


@pytest.mark.parametrize("present", ["file", "link", "directory", "parent", "grandparent"])
def test_a_file_of_a_copy_replaces_nothing(tmp_path: Path, present: str) -> None:
    """O9, X8: The same holds for a file that appeared after the list was made."""
    taken(tmp_path, present)
    before = sorted(tmp_path.rglob("*"))
    paths = {"nas/crm/a/b/c": "a/b/c", "nas/crm/d": "d"}
    content = archive({"nas/crm/a/b/c": b"old", "nas/crm/d": b"d"})
    assert unpack(tmp_path, paths, content) == (1, [])
    assert sorted(tmp_path.rglob("*")) == sorted([*before, tmp_path / "d"])
    assert "old" not in tree(tmp_path).values()


@pytest.mark.parametrize("part", [0.05, 0.3, 0.6])
def test_an_archive_that_ends_early_leaves_nothing_half_written(
    tmp_path: Path, part: float
) -> None:
    """O9, K5: The whole files stay, the other one has no file of any name, and it is an error."""
    names = {f"nas/crm/{number}": str(number) for number in range(3)}
    content = archive(dict.fromkeys(names, LARGE))
    with pytest.raises(FilesError, match="archive with the files: unexpected end of data"):
        unpack(tmp_path, names, content[: int(part * len(content))])
    found = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert found == {str(number): LARGE for number in range(int(part * 3))}


@pytest.mark.parametrize("content", [b"", b"no archive at all" * 100])
def test_what_is_not_an_archive_is_an_error(tmp_path: Path, content: bytes) -> None:
    """O9, K5: restic may have failed before its first byte."""
    with pytest.raises(FilesError, match=r"^the archive with the files: "):
        unpack(tmp_path, {"nas/crm/a": "a"}, content)
    assert tree(tmp_path) == {}


THREE = {f"nas/crm/{name}": name for name in "abc"}


def failing(monkeypatch: pytest.MonkeyPatch, number: int) -> list[str]:
    """Let the second file end after some of its bytes, for the reason with this number.

    Returns:
        The names under which the files are written.
    """
    written, real = list[str](), shutil.copyfileobj

    def copyfileobj(content: IO[bytes], target: IO[bytes]) -> None:
        written.append(Path(target.name).name)
        if len(written) == 2:
            target.write(content.read(1000))
            raise OSError(number, os.strerror(number))
        real(content, target)

    monkeypatch.setattr(files.shutil, "copyfileobj", copyfileobj)
    return written


@pytest.mark.parametrize("number", files.FULL)
def test_a_full_disk_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """O9, K5: Neither the file nor its unfinished part stays, and no other one is begun."""
    written = failing(monkeypatch, number)
    with pytest.raises(OSError, match=os.strerror(number)):
        unpack(tmp_path, THREE, archive(dict.fromkeys(THREE, LARGE)))
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert len(written) == 2


def test_one_file_that_cannot_be_written_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """O9, K5: It is named with its reason, and the whole of each other one is there."""
    written = failing(monkeypatch, errno.EIO)
    content = archive(dict.fromkeys(THREE, LARGE))
    assert unpack(tmp_path, THREE, content) == (2, ["b: Input/output error"])
    found = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert found == {"a": LARGE, "c": LARGE}
    assert len(set(written)) == 3
    assert all(re.fullmatch(r"\.salina-[0-9a-f]{32}", name) for name in written)


@pytest.mark.parametrize("length", [255, 256])
def test_the_longest_name_of_a_file_comes_back(tmp_path: Path, length: int) -> None:
    """O9: An unfinished file has a short name of its own. A name that is too long is told."""
    name = "x" * length
    paths, content = {f"nas/{name}": name}, archive({f"nas/{name}": b"x"})
    good = length == 255
    expected = (1, []) if good else (0, [f"{name}: File name too long"])
    assert unpack(tmp_path, paths, content) == expected
    assert [path.name for path in tmp_path.iterdir()] == ([name] if good else [])


# The program


def program(
    *arguments: str, given: bytes = b"", script: str = ""
) -> subprocess.CompletedProcess[bytes]:
    """Run the program as its timer does, by plain Python and without this project's other parts."""
    assert files.__file__
    command = [script] if script else ["-m", "salina.backup.files"]
    return subprocess.run(
        [sys.executable, "-S", *command, *arguments],
        input=given,
        capture_output=True,
        env={"PYTHONPATH": str(REPOSITORY / "_utils")},
    )


def test_the_program_needs_only_the_standard_library(tmp_path: Path) -> None:
    """O9: A host's own Python has neither Salt nor the other modules."""
    place = tmp_path / "salina/backup/files.py"
    put(place, Path(files.__file__).read_text())
    put(tmp_path / "data/a")
    done = program("list", str(tmp_path / "data"), script=str(place))
    assert (done.returncode, json.loads(done.stdout)) == (0, ["a"])


def test_the_program_brings_files_back(tmp_path: Path) -> None:
    """O9: Its answer is their number, and the list has all that is there now, but no held one."""
    put(tmp_path / "a")
    for name in ("b", "c"):
        put(tmp_path / f"held/{AFTER if name == 'b' else BEFORE}/{name}")
    done = program("bring-back", str(tmp_path), "2026-11-29T12:00:00+00:00")
    assert (done.returncode, json.loads(done.stdout)) == (0, [1, []])
    done = program("list", str(tmp_path))
    assert (done.returncode, sorted(json.loads(done.stdout))) == (0, ["a", "b"])


def test_the_program_unpacks_what_follows_its_list(tmp_path: Path) -> None:
    """O9: The archive begins after the line with the places. The answer is the number, with the
    files that could not be written.
    """
    given = b'{"nas/crm/a": "x/a"}\n' + archive({"nas/crm/a": LARGE, "nas/crm/b": b"b"})
    done = program("unpack", str(tmp_path), given=given)
    assert (done.returncode, json.loads(done.stdout)) == (0, [1, []])
    assert (tmp_path / "x/a").read_bytes() == LARGE


@pytest.mark.parametrize(
    ("arguments", "given", "words"),
    [
        (["unpack"], b'{"a": "a"}\n' + archive({"a": LARGE})[:9999], "the archive with the files"),
        (["list"], b"", "No such file or directory"),
        (["due"], b"", "No such file or directory: '/etc/salina/files-backup.json'"),
    ],
)
def test_a_failed_program_says_why_in_one_line(
    tmp_path: Path, arguments: list[str], given: bytes, words: str
) -> None:
    """K5: The message goes to the journal or to an operator, without a traceback."""
    [action] = arguments
    directory = tmp_path if action == "unpack" else tmp_path / "missing"
    done = program(action, *([] if action == "due" else [str(directory)]), given=given)
    assert done.returncode == 1
    [line] = done.stderr.decode().splitlines()
    assert words in line
    assert tree(tmp_path) == {}


SETTINGS: dict[str, Any] = {
    "host": "nas1",
    "server": "127.0.0.1",
    "port": 1,
    "password": "pass/word",
    "every": EVERY,
    "sources": [{"name": name} for name in ("crm", "shop-1", "shop-2")],
}


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str | FilesError]:
    """The configuration of a host with three sources, and what each copy says or raises."""
    file = tmp_path / "files-backup.json"
    file.write_text(json.dumps(SETTINGS))
    monkeypatch.setattr(files, "CONFIGURATION", str(file))
    found: dict[str, str | FilesError] = {}

    def copy(settings: Any, host: str, source: Any, forced: bool) -> str:
        assert (settings, host) == (SETTINGS, "nas1")
        name = source["name"]
        answer = found.pop(name, f"{name}: {'copied' if forced else 'not due'}")
        if isinstance(answer, FilesError):
            raise answer
        return answer

    monkeypatch.setattr(files, "copy", copy)
    return found


def test_a_look_without_a_copy_is_silent(
    said: dict[str, str | FilesError], capsys: pytest.CaptureFixture[str]
) -> None:
    """O9: The journal would have a line each five minutes."""
    assert files.main(["due"]) == 0
    assert capsys.readouterr().out == ""
    said["shop-1"] = "shop-1: copied"
    assert files.main(["due"]) == 0
    assert capsys.readouterr().out == "shop-1: copied\n"


def test_a_copy_that_fails_does_not_stop_the_others(
    said: dict[str, str | FilesError], capsys: pytest.CaptureFixture[str]
) -> None:
    """O9, K5: The exit code tells systemd, and each line names its source."""
    said |= {"crm": FilesError("restic backup: no space"), "shop-2": "shop-2: copied"}
    assert files.main(["due"]) == 1
    assert capsys.readouterr().out == "crm: restic backup: no space\nshop-2: copied\n"


def unopened(reason: str) -> tuple[str, ...]:
    """Return what restic says if it cannot open a repository."""
    asked = "Is there a repository at the following location?"
    return f"Fatal: unable to open config file: {reason}", asked, "rest:https://files:***@bkp1"


def test_an_application_that_has_just_come_has_no_repository_yet(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """O9: Its storage hosts know it some minutes before the backup host does."""
    with pytest.raises(AbsentError, match="has no such repository; apply its states"):
        restic_says(monkeypatch, 1, *unopened("<config/> does not exist")).snapshots()


def test_a_repository_that_does_not_come_fails_the_unit(
    said: dict[str, str | FilesError], capsys: pytest.CaptureFixture[str]
) -> None:
    """O9, K5: An hour after the application came, or at once for a copy that was asked for."""
    missing = AbsentError("bkp1 has no such repository; apply its states")
    codes = []
    for action, minutes in ((["due"], 59), (["due"], 61), (["now", "crm"], 0)):
        said["crm"] = missing
        changed = time.time() - minutes * 60
        os.utime(files.CONFIGURATION, (changed, changed))
        codes.append(files.main(action))
    assert codes == [0, 1, 1]
    assert capsys.readouterr().out.count(f"crm: {missing}\n") == 3


def test_a_repository_that_cannot_be_opened_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """O9: restic asks the same question after every error."""
    with pytest.raises(FilesError, match="401 Unauthorized") as caught:
        restic_says(
            monkeypatch, 1, *unopened("unexpected HTTP response (401): 401 Unauthorized")
        ).snapshots()
    assert type(caught.value) is FilesError


def test_a_backup_host_that_is_away_is_no_failed_unit(
    said: dict[str, str | FilesError], capsys: pytest.CaptureFixture[str]
) -> None:
    """O9: It may restart, and its health is reported. A copy that was asked for fails."""
    said["crm"] = UnreachableError("bkp1:8433: Connection refused")
    assert files.main(["due"]) == 0
    said["crm"] = UnreachableError("bkp1:8433: Connection refused")
    assert files.main(["now", "crm"]) == 1
    assert capsys.readouterr().out == 2 * "crm: bkp1:8433: Connection refused\n"


@pytest.mark.usefixtures("said")
def test_one_source_is_copied_now(capsys: pytest.CaptureFixture[str]) -> None:
    """O9: The others wait for their time."""
    assert files.main(["now", "shop-1"]) == 0
    assert capsys.readouterr().out == "shop-1: copied\n"
    with pytest.raises(FilesError, match=r"^shop: is not a source in .*files-backup.json$"):
        files.main(["now", "shop"])


# A copy


class Pretended:
    """A repository that is only pretended: it has copies, and keeps what is asked of it."""

    def __init__(self, snapshots: Sequence[Snapshot] = (), lines: Sequence[str] = ()) -> None:
        self.found = [*snapshots]
        self.lines = lines
        self.own: dict[str, Sequence[str]] = {}  # the id of a copy -> its lines, if it has others
        self.contents: dict[str, bytes] = {}
        self.broken = False
        self.locks = ""
        self.asked: list[tuple[str, ...]] = []

    def __call__(self, _: Mapping[str, Any], name: str) -> Pretended:
        self.asked.append(("opened", name))
        return self

    def snapshots(self) -> list[Snapshot]:
        return self.found

    def unlock(self) -> None:
        self.asked.append(("unlocked",))

    def run(self, *arguments: str) -> str:
        assert arguments == ("list", "locks", "--no-lock")
        self.asked.append(arguments[:2])
        return self.locks

    def copy(self, name: str, path: str) -> None:
        self.asked.append(("copied", name, path))

    def entries(self, snapshot: Snapshot, directory: str) -> list[Entry]:
        self.asked.append(("listed", snapshot.id))
        lines = self.own.get(snapshot.id, self.lines)
        return files.parse_entries("\n".join(lines), directory)

    def dump(self, snapshot: Snapshot, path: str, target: IO[bytes]) -> None:
        self.asked.append(("dumped", snapshot.id, path))
        whole = path.lstrip("/") not in self.contents
        content = archive(self.contents) if whole else self.contents[path.lstrip("/")]
        target.write(content[: len(content) // 2] if self.broken else content)
        if self.broken:
            raise FilesError("restic dump: connection reset")


SOURCE: dict[str, Any] = {
    "name": "crm",
    "application": "crm",
    "path": "/nas",
    "volume": "nas",
    "servers": ["nas1", "nas2", "nas3"],
    "place": 0,
}


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> Pretended:
    """The repository, with a copy that is old enough for the next one, and the files' directory."""
    found = Pretended([Snapshot("old", datetime.now(UTC) - HOUR)])
    monkeypatch.setattr(files, "Repository", found)
    monkeypatch.setattr(files.os.path, "isdir", lambda path: path == "/nas/crm")
    return found


def healing(monkeypatch: pytest.MonkeyPatch, *answers: str | Exception) -> list[list[str]]:
    """Have GlusterFS give these answers, the last one again and again, on a clock of their own.

    Returns:
        The commands that are run.
    """
    asked: list[list[str]] = []
    passed = itertools.count()

    def run(command: Sequence[str], **_: Any) -> Any:
        answer = answers[min(len(asked), len(answers) - 1)]
        asked.append([*command])
        if isinstance(answer, Exception):
            raise answer
        return SimpleNamespace(stdout=answer)

    monkeypatch.setattr(files.subprocess, "run", run)
    clock = SimpleNamespace(monotonic=lambda: next(passed), sleep=lambda _: None)
    monkeypatch.setattr(files, "time", clock)
    return asked


def counts(**found: int | str) -> str:
    """Return the answer of GlusterFS with these counts."""
    return "".join(
        f"Brick {host}:/nas\nNumber of entries: {count}\n\n" for host, count in found.items()
    )


def test_a_complete_brick_is_copied(pretended: Pretended, monkeypatch: pytest.MonkeyPatch) -> None:
    """O9: The whole brick is, with all applications that share it."""
    asked = healing(monkeypatch, counts(nas1=4, nas2=0, nas3=4))
    assert files.copy(SETTINGS, "nas1", SOURCE, False) == "crm: copied"
    assert asked == [
        ["gluster", "--mode=script", "volume", "heal", "nas", "statistics", "heal-count"]
    ]
    assert pretended.asked == [
        *(("opened", "crm"), ("unlocked",), ("list", "locks")),
        ("copied", "crm", "/nas"),
    ]


@pytest.mark.parametrize(
    "answer",
    [
        counts(nas1=0, nas2=4, nas3=4),
        counts(nas1="-", nas2=0, nas3=0),
        "",
        subprocess.TimeoutExpired("gluster", 60),
    ],
)
def test_a_brick_that_is_not_complete_is_not_copied(
    pretended: Pretended, monkeypatch: pytest.MonkeyPatch, answer: str | Exception
) -> None:
    """O9, K5: Another host copies. One that an operator has asked must say that it did not."""
    healing(monkeypatch, answer)
    reason = "crm: the brick of nas1 is not complete; another host copies, or this later"
    assert files.copy(SETTINGS, "nas1", SOURCE, False) == reason
    with pytest.raises(FilesError) as caught:
        files.copy(SETTINGS, "nas1", SOURCE, True)
    assert str(caught.value) == reason
    assert "copied" not in str(pretended.asked)


@pytest.mark.usefixtures("pretended")
def test_files_that_change_right_now_pass_by(monkeypatch: pytest.MonkeyPatch) -> None:
    """O9: Their bricks differ for a moment, and the host does not leave its copy to another."""
    busy, quiet = counts(nas1=0, nas2=1, nas3=1), counts(nas1=0, nas2=0, nas3=0)
    asked = healing(monkeypatch, busy, busy, quiet)
    assert files.copy(SETTINGS, "nas1", SOURCE, False) == "crm: copied"
    assert len(asked) == 3


def test_a_copy_that_is_not_due_asks_nothing_more(
    pretended: Pretended, monkeypatch: pytest.MonkeyPatch
) -> None:
    """O9: Each look of the timer costs one question. An operator's copy is made anyway."""
    monkeypatch.setattr(files.subprocess, "run", never)
    pretended.found[:] = [Snapshot("new", datetime.now(UTC))]
    assert files.copy(SETTINGS, "nas1", SOURCE, False) == "crm: not due"
    healing(monkeypatch, counts(nas1=0, nas2=0, nas3=0))
    assert files.copy(SETTINGS, "nas1", SOURCE, True) == "crm: copied"


@pytest.mark.parametrize("present", ["", "file", "link"])
@pytest.mark.parametrize("found", [copies(1), []])
@pytest.mark.parametrize("forced", [True, False])
def test_files_that_are_missing_are_not_copied(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    present: str,
    found: list[Snapshot],
    forced: bool,
) -> None:
    """O9, K5: The newest copy would have none of them. A disk that is not mounted is told, except
    before the first copy: then the application has not come yet.
    """
    repository = Pretended(found)
    monkeypatch.setattr(files, "Repository", repository)
    place = tmp_path / "crm"
    if present == "file":
        put(place)
    elif present == "link":
        put(tmp_path / "elsewhere/a")
        place.symlink_to("elsewhere")
    source = SOURCE | {"path": str(tmp_path), "volume": None}
    if found or forced:
        with pytest.raises(FilesError) as caught:
            files.copy(SETTINGS, "nas1", source, forced)
        said = f"crm: the directory {place} is missing; is its disk mounted?"
        assert str(caught.value) == said
    else:
        assert files.copy(SETTINGS, "nas1", source, forced) == "crm: not due"
    assert repository.asked == [("opened", "crm")]


def test_a_locked_repository_is_left_alone(
    pretended: Pretended, monkeypatch: pytest.MonkeyPatch
) -> None:
    """O9: Another host copies right now. Locks of processes that died are removed before.

    An operator's copy is made anyway.
    """
    healing(monkeypatch, counts(nas1=0, nas2=0, nas3=0))
    pretended.locks = "a" * 64 + "\n"
    said = "crm: another host copies at this moment, or did until it died"
    assert files.copy(SETTINGS, "nas1", SOURCE, False) == said
    assert pretended.asked == [("opened", "crm"), ("unlocked",), ("list", "locks")]
    assert files.copy(SETTINGS, "nas1", SOURCE, True) == "crm: copied"
    assert pretended.asked[-1] == ("copied", "crm", "/nas")


@pytest.mark.parametrize("changes", [{"volume": None}, {"servers": ["nas1"]}])
def test_files_without_other_copies_need_no_healing(
    pretended: Pretended, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    """O9: GlusterFS refuses the question for a volume with one copy of each file."""
    monkeypatch.setattr(files.subprocess, "run", never)
    assert files.copy(SETTINGS, "nas1", SOURCE | changes, False) == "crm: copied"
    assert pretended.asked[-1] == ("copied", "crm", "/nas")


@pytest.mark.usefixtures("pretended")
def test_bricks_with_other_files_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """O9: While one set of bricks heals, the files of the other set are copied."""
    healing(monkeypatch, counts(nas1=0, nas2=0, nas3=0, nas4=9, nas5=0, nas6=9))
    assert files.copy(SETTINGS, "nas1", SOURCE, False) == "crm: copied"
    other = SOURCE | {"servers": ["nas4", "nas5", "nas6"]}
    assert files.copy(SETTINGS, "nas4", other, False) == "crm: copied"
    assert files.copy(SETTINGS, "nas5", other, False).startswith("crm: the brick of nas5 is not")


def test_a_host_without_its_backup_host_says_so_at_once() -> None:
    """O9, K5: restic alone would try for a quarter of an hour."""
    with pytest.raises(UnreachableError, match=r"^127\.0\.0\.1:1: Connection refused$"):
        files.Repository(SETTINGS, "crm").snapshots()


def restic_says(monkeypatch: pytest.MonkeyPatch, code: int, *lines: str) -> files.Repository:
    """Return a repository whose restic ends with this code and these lines."""
    script = f"echo answer; printf '%s\\n' \"$@\" >&2; exit {code}"

    def started(*_: str) -> subprocess.Popen[bytes]:
        command = ["/bin/sh", "-c", script, "restic", *lines]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    repository = files.Repository(SETTINGS, "crm")
    monkeypatch.setattr(repository, "_started", started)
    return repository


GONE = "error: lstat /nas/crm/a: no such file or directory"
WARNING = "Warning: at least one source file could not be read"


def test_a_file_that_is_removed_meanwhile_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """O9: restic lists a directory and then reads its files. Users go on removing some."""
    opened = "error: open /nas/crm/b: no such file or directory"
    repository = restic_says(monkeypatch, 3, GONE, opened, WARNING)
    assert repository.run("backup", "/nas") == "answer\n"


@pytest.mark.parametrize(
    ("code", "lines", "words"),
    [
        (3, [GONE, "error: read /nas/crm/b: input/output error", WARNING], f"{WARNING}"),
        (1, ["Fatal: unable to open config file", "Is there a repository?"], "Is there"),
        (1, [GONE], GONE),
        (1, [], "1"),
    ],
)
def test_what_restic_cannot_do_is_an_error(
    monkeypatch: pytest.MonkeyPatch, code: int, lines: list[str], words: str
) -> None:
    """O9, K5: The message has restic's last three lines."""
    with pytest.raises(FilesError, match=r"^restic backup: ") as caught:
        restic_says(monkeypatch, code, *lines).run("backup", "/nas")
    assert words in str(caught.value)
    if len(lines) > 1:
        assert str(caught.value) == f"restic backup: {'; '.join(lines[-3:])}"


# Deleting old copies


@pytest.mark.parametrize(
    ("late", "good"),
    [
        (timedelta(), True),
        (timedelta(minutes=-5), True),
        (timedelta(minutes=-5, seconds=-1), False),
        (timedelta(days=1), True),
        (timedelta(days=1, seconds=1), False),
        (timedelta(days=-3), False),
    ],
)
def test_a_false_moment_is_told(late: timedelta, good: bool) -> None:
    """X6: A copy arrives after its moment, and within a day. A clock may be minutes ahead."""
    copy, other = Snapshot("0123456789" * 6, NOON), Snapshot("f" * 60, NOON + HOUR)
    found = forget.false_moments([copy, other], {copy.id: NOON + late, other.id: NOON + HOUR})
    said = f"arrived at {NOON + late:%Y-%m-%d %H:%M} UTC"
    assert found == ([] if good else [f"01234567: says 2026-11-29 12:00 UTC, and {said}"])


@pytest.mark.parametrize("other", [[], [timedelta(0)], [timedelta(days=3)], [timedelta(days=-1)]])
def test_a_first_copy_may_take_days(other: list[timedelta]) -> None:
    """X6: While it is sent no other one arrives. Without it nothing would ever be deleted."""
    copy = Snapshot("a" * 64, NOON)
    others = [Snapshot("b" * 64, NOON + late) for late in other]
    arrived = {one.id: one.time for one in others} | {copy.id: NOON + timedelta(days=3)}
    assert forget.false_moments([copy, *others], arrived) == []


def test_each_false_moment_is_told() -> None:
    """X6: The good ones are not."""
    copies = [Snapshot(name * 64, NOON) for name in "abc"]
    arrived = {"a" * 64: NOON - HOUR, "b" * 64: NOON + HOUR, "c" * 64: NOON + 30 * HOUR}
    found = forget.false_moments(copies, arrived)
    assert [line[:8] for line in found] == ["a" * 8, "c" * 8]


class Restic:
    """restic on the backup host, only pretended."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, repository: Path) -> None:
        self.copies: list[dict[str, str]] = []
        self.fails = ""
        self.asked: list[list[str]] = []
        self.repository = repository
        (repository / "snapshots").mkdir(parents=True)
        monkeypatch.setattr(forget.subprocess, "run", self.run)

    def arrive(self, name: str, said: datetime, arrived: datetime) -> None:
        """Let a copy arrive that names this moment."""
        self.copies.append({"id": name * 64, "time": said.isoformat()})
        file = put(self.repository / "snapshots" / (name * 64))
        os.utime(file, (arrived.timestamp(), arrived.timestamp()))

    def run(self, command: list[str], **_: Any) -> Any:
        program, repository, quiet, *arguments = command
        assert (program, quiet) == ("restic", "--quiet")
        assert repository == f"--repo={self.repository}"
        self.asked.append(arguments)
        if arguments[0] == self.fails:
            raise subprocess.CalledProcessError(1, command, "", "Fatal: already locked\n")
        return SimpleNamespace(stdout=json.dumps(self.copies))


@pytest.fixture
def restic(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Restic:
    return Restic(monkeypatch, tmp_path / "crm")


def test_old_copies_are_deleted(restic: Restic) -> None:
    """O9: All of two days are kept, and one of each day to which the database can be restored."""
    restic.arrive("a", NOON, NOON + timedelta(minutes=1))
    assert forget.forget(restic.repository, 14) == []
    assert [arguments[0] for arguments in restic.asked] == ["snapshots", "unlock", "forget"]
    options = set(restic.asked[-1])
    assert options == {
        *("forget", "--prune", "--group-by=", "--keep-last=1"),
        *("--keep-within=2d", "--keep-within-daily=15d"),
    }


def test_with_a_false_moment_nothing_is_deleted(
    restic: Restic, capsys: pytest.CaptureFixture[str]
) -> None:
    """X6: Copies that say they are newer would take the places of the good ones."""
    restic.arrive("a", NOON, NOON)
    restic.arrive("b", NOON + 48 * HOUR, NOON)
    assert forget.main(["14", str(restic.repository)]) == 1
    assert [arguments[0] for arguments in restic.asked] == ["snapshots"]
    assert capsys.readouterr().err == (
        "crm: nothing is deleted: bbbbbbbb: says 2026-12-01 12:00 UTC, and arrived at "
        "2026-11-29 12:00 UTC\n"
    )


@pytest.mark.parametrize("action", ["snapshots", "unlock", "forget"])
def test_a_repository_that_is_in_use_is_a_fault(restic: Restic, action: str) -> None:
    """O9, K5: systemd tries again, and the message has restic's own words."""
    restic.fails = action
    assert forget.forget(restic.repository, 14) == [f"crm: {action}: Fatal: already locked"]


def test_a_fault_in_one_repository_does_not_stop_the_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """O9, K5: Each is looked at with the same days."""
    asked: list[tuple[str, int]] = []

    def pretended(repository: Path, days: int) -> list[str]:
        asked.append((repository.name, days))
        return ["crm: snapshots: damaged"] if repository.name == "crm" else []

    monkeypatch.setattr(forget, "forget", pretended)
    assert forget.main(["14", "/var/lib/restic/crm", "/var/lib/restic/shop"]) == 1
    assert asked == [("crm", 14), ("shop", 14)]
    assert capsys.readouterr().err == "crm: snapshots: damaged\n"
    assert forget.main(["14", "/var/lib/restic/shop"]) == 0


# The fleet


def changed(
    change: Callable[[dict[str, Any]], None], name: str = "default", **storage: Any
) -> Fleet:
    """Return a fleet with a changed topology, and with these settings of the storage."""
    data = fleets.data(name)
    change(data)
    found = fleets.settings()
    found = found.but(replace(found[StorageSettings], **storage))
    read = topology.parse(data, settings=found)
    return Fleet(read, read.initial(), found)


def six(data: dict[str, Any]) -> None:
    """Add three storage hosts."""
    for number in (4, 5, 6):
        addresses = {"data": f"10.1.4.2{number}", "management": f"10.1.5.2{number}"}
        data["hosts"][f"nas{number}"] = {"roles": ["storage"], "addresses": addresses}


def without_storage(data: dict[str, Any]) -> None:
    """Add a backup host to the fleet `plain`."""
    data["hosts"]["tape"] = {"roles": ["backup"], "addresses": {"inner": "10.1.4.41"}}


def with_backups(data: dict[str, Any]) -> None:
    """Add a backup host to a fleet of the default networks."""
    addresses = {"data": "10.1.4.91", "management": "10.1.5.91"}
    data["hosts"]["bkp1"] = {"roles": ["backup"], "addresses": addresses}


def same(_: dict[str, Any]) -> None:
    """Change nothing."""


def test_the_files_of_a_fleet_are_on_all_storage_hosts() -> None:
    """O9: Each of the three has all files of the default fleet's application."""
    assert files_backup.sources(fleets.fleet()) == [
        files_backup.Source("crm", "crm", "/nas", "nas", ("nas1", "nas2", "nas3"))
    ]


@pytest.mark.parametrize("name", ["one-host", "plain", "ipv6"])
def test_without_a_backup_host_no_files_are_copied(name: str) -> None:
    """O9: No host has the settings, the certificate or the password for it."""
    fleet = fleets.fleet(name)
    assert not fleet.having("backup")
    assert files_backup.sources(fleet) == []
    for host in fleet.hosts.values():
        assert files_backup.certificate(fleet, host) == []
        assert "files_backup" not in fleets.pillar(host.id, name)
        assert "canary-files-backup" not in str(fleets.pillar(host.id, name))


def test_each_application_has_a_repository_of_its_own() -> None:
    """O9: Each has its own volume and brick, on the same hosts."""
    fleet = fleets.fleet("two-applications")
    hosts = ("nas1", "nas2", "nas3")
    assert files_backup.sources(fleet) == [
        files_backup.Source("crm", "crm", "/nas", "nas", hosts),
        files_backup.Source("shop", "shop", "/nas-shop", "shop", hosts),
    ]


@pytest.mark.parametrize(
    ("replica", "sets"),
    [
        (None, [("crm-1", "nas1 nas2 nas3"), ("crm-2", "nas4 nas5 nas6")]),
        (3, [("crm-1", "nas1 nas2 nas3"), ("crm-2", "nas4 nas5 nas6")]),
        (2, [("crm-1", "nas1 nas2"), ("crm-2", "nas3 nas4"), ("crm-3", "nas5 nas6")]),
        (6, [("crm", "nas1 nas2 nas3 nas4 nas5 nas6")]),
        (1, [(f"crm-{number}", f"nas{number}") for number in range(1, 7)]),
    ],
)
def test_hosts_with_different_files_have_different_repositories(
    replica: int | None, sets: list[tuple[str, str]]
) -> None:
    """O9: A volume with more bricks than copies spreads its files over sets of hosts."""
    fleet = changed(six, replica=replica)
    found = [(one.name, " ".join(one.hosts)) for one in files_backup.sources(fleet)]
    assert found == sets
    pillar = files_backup.pillar(fleets.master_data(fleet), fleet.hosts["nas6"])
    [source] = pillar["files_backup"]["sources"]
    name, servers = sets[-1]
    assert (source["name"], source["servers"]) == (name, servers.split())
    assert source["place"] == len(source["servers"]) - 1
    assert "backup-volfile-servers=nas2:nas3:nas4:nas5:nas6" in source["options"]


def test_without_storage_hosts_the_files_are_on_the_app_host() -> None:
    """O9: There the directory itself is copied, and no volume is mounted."""
    fleet = changed(without_storage, "plain")
    assert files_backup.sources(fleet) == [
        files_backup.Source("crm", "crm", "/mnt/nas", None, ("s1",))
    ]
    assert files_backup.holders(fleet.topology) == "app"
    assert files_backup.holders(fleets.topology()) == "storage"
    pillar = files_backup.pillar(fleets.master_data(fleet), fleet.hosts["s1"])
    [source] = pillar["files_backup"]["sources"]
    assert (source["volume"], source["options"], source["place"]) == (None, [], 0)
    assert files_backup.pillar(fleets.master_data(fleet), fleet.hosts["bbdd1"]) == {}


@pytest.mark.parametrize("change", [same, six])
def test_a_host_with_files_has_all_that_a_copy_needs(
    change: Callable[[dict[str, Any]], None],
) -> None:
    """O9, X6: The backup host's name and port, the password, and a certificate for root alone."""
    fleet = changed(change)
    data = fleets.master_data(fleet)
    for host in fleet.hosts.values():
        found = files_backup.pillar(data, host)
        certificates = files_backup.certificate(fleet, host)
        assert bool(found) is bool(certificates) is ("storage" in host.roles), host.id
        for section in found.values():
            assert (section["host"], section["server"], section["port"]) == (host.id, "bkp1", 8433)
            assert (section["every"], section["password"]) == (EVERY, "canary-files-backup")
        for one in certificates:
            assert (one.name, one.names) == (files_backup.NAME, (f"DNS:{host.id}",))
            assert one.group == "root"


def test_the_minutes_and_the_port_are_those_of_the_settings() -> None:
    """O9: The firewalls open the same port, for root on the hosts with the files."""
    fleet = fleets.fleet()
    own = fleet.settings.but(
        replace(fleet.settings[BackupSettings], files_port=9000, files_minutes=60)
    )
    fleet = replace(fleet, settings=own)
    section = files_backup.pillar(fleets.master_data(fleet), fleet.hosts["nas2"])["files_backup"]
    assert (section["port"], section["every"]) == (9000, 3600)
    assert section["sources"][0]["place"] == 1
    opened = {(one["to"], one["ports"]) for one in policy.by_root(fleet, fleet.hosts["nas2"])}
    assert ("10.1.4.41", "9000") in opened
    assert ("10.1.4.41", "9000") not in {
        (one["to"], one["ports"]) for one in policy.by_root(fleet, fleet.hosts["s1"])
    }


# The modules


def ran(answers: Mapping[str, Any], asked: list[list[str]]) -> Callable[..., dict[str, Any]]:
    """Return Salt's `cmd.run_all`, which notes each command, and answers by one of its words."""

    def run_all(command: list[str], **_: Any) -> dict[str, Any]:
        words = command[command.index("--") + 1 :] if "--" in command else command
        asked.append(words)
        for word, answer in answers.items():
            if word in words:
                failed = isinstance(answer, Exception)
                return {
                    "retcode": int(failed),
                    "stdout": "" if failed else answer,
                    "stderr": str(answer) if failed else "",
                }
        return {"retcode": 0, "stdout": "", "stderr": ""}

    return run_all


class Host:
    """The module on a host with the files of crm, in a directory of this test.

    `trial`: the directory of a copy of crm for trials, and `target` its source, if there is one.
    `sources`: the sources of the host.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.data = folder / "mnt/crm"
        self.data.mkdir(parents=True)
        self.source = SOURCE | {"path": str(folder / "mnt"), "volume": None, "options": []}
        self.sources = [self.source]
        self.trial = folder / "staging/crm_staging"
        self.target = self.source | {"name": "crm_staging-2", "application": "crm_staging"}
        self.target |= {"path": str(self.trial.parent), "uid": 998}
        self.asked: list[list[str]] = []
        self.answers: dict[str, Any] = {}
        self.repository = Pretended()
        pillar = {"host": {"id": "nas1"}, "files_backup": SETTINGS | {"sources": self.sources}}
        salt = {"cmd.run_all": ran(self.answers, self.asked)}
        self.module = load("_modules/files_backup.py", salt=salt, pillar=pillar)
        monkeypatch.setattr(lock, "FILE", str(folder / "lock"))
        monkeypatch.setattr(files, "Repository", self.repository)
        monkeypatch.setattr(files, "VOLUMES", str(folder / "volumes"))
        monkeypatch.setattr(self.module, "_started", self.started)

    def started(
        self, source: dict[str, Any], directory: Path, action: str, *arguments: str
    ) -> subprocess.Popen[bytes]:
        """Start the program as the test's own user. The application's user would run it."""
        [own] = [one for one in self.sources if one["application"] == directory.name]
        assert source == own and directory.parent == Path(own["path"])
        return subprocess.Popen(
            [sys.executable, "-m", "salina.backup.files", action, str(directory), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={"PYTHONPATH": str(REPOSITORY / "_utils")},
        )

    def with_trial(self) -> None:
        """Let the host have the files of a copy for trials as well."""
        self.trial.mkdir(parents=True)
        self.sources.append(self.target)

    def copied(self, contents: Mapping[str, str], *hours: int) -> None:
        """Let there be copies of so many hours after noon, with these files."""
        self.repository.found = copies(*hours)
        self.repository.lines = [node(f"{self.data}/{name}") for name in contents]
        self.repository.contents = {
            f"{self.data}/{name}".lstrip("/"): text.encode() for name, text in contents.items()
        }


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Host:
    return Host(monkeypatch, tmp_path)


UNTIL = NOON.isoformat()


@pytest.mark.parametrize("few", [0, 1, 2, 20])
def test_the_files_of_a_moment_come_back(
    host: Host, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """O9: Removed ones come from the volume, lost ones from the first copy after the moment."""
    monkeypatch.setattr(host.module, "FEW", few)
    put(host.data / "there", "new")
    put(host.data / f"held/{AFTER}/removed", "removed")
    later = "20261129T133000Z"
    contents = {
        "there": "old",
        "lost/file": "lost",
        f"held/{AFTER}/removed": "old",
        f"held/{later}/both": "swept",
        f"held/{BEFORE}/before": "too old",
    }
    host.copied(contents, -1, 1, 2)
    assert host.module.bring_back("crm", UNTIL) == {
        "back": 1,
        "copied": 2,
        "copy": "2026-11-29 13:00:00 UTC",
    }
    assert tree(host.data) == {
        "there": "new",
        "removed": "removed",
        "lost/file": "lost",
        "both": "swept",
    }
    dumped = [one[2] for one in host.repository.asked if one[0] == "dumped"]
    single = {f"{host.data}/lost/file", f"{host.data}/held/{later}/both"}
    assert set(dumped) == (single if few >= 2 else {str(host.data)})


@pytest.mark.parametrize(("free", "fits"), [(5, True), (4, False)])
def test_o9_files_that_do_not_fit_are_not_copied(
    host: Host, free: int, fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """O9: A volume that copies would fill stays as it is, with room for its users."""
    usage = SimpleNamespace(free=files.SPARE + (free << 20))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    put(host.data / "there", "new")
    host.copied({"there": "old", "lost": "lost"}, 1)
    host.repository.lines = [
        node(f"{host.data}/there", size=9 << 20),
        node(f"{host.data}/lost", size=5 << 20),
    ]
    if fits:
        assert host.module.bring_back("crm", UNTIL)["copied"] == 1
        return
    with pytest.raises(CommandExecutionError, match="1 files need 69 MiB, and 68 MiB are free"):
        host.module.bring_back("crm", UNTIL)
    assert tree(host.data) == {"there": "new"}


@pytest.mark.parametrize("few", [0, 20])
def test_a_file_that_was_removed_during_a_copy_comes_from_the_next_one(
    host: Host, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """O9: Each file comes from the first copy that has it, and the sentence names the first one.

    A file that the volume has lost since is in the copy before the moment.
    """
    monkeypatch.setattr(host.module, "FEW", few)
    held = f"held/{AFTER}/removed"
    host.copied({"lost": "lost", held: "removed", "older": "older"}, -2, -1, 1, 2, 3)
    lost, removed, older = host.repository.lines
    host.repository.own = {"1": [lost], "2": [lost, removed], "-1": [lost, older]}
    found = host.module.bring_back("crm", UNTIL)
    assert found == {"back": 0, "copied": 3, "copy": "2026-11-29 13:00:00 UTC"}
    assert tree(host.data) == {"lost": "lost", "removed": "removed", "older": "older"}
    places = ["/lost", f"/{held}", "/older"] if few else ["", "", ""]
    order = ["1", "2", "-1"]
    assert [one[1:] for one in host.repository.asked if one[0] == "dumped"] == [
        (copy, f"{host.data}{place}") for copy, place in zip(order, places, strict=True)
    ]
    assert [one[1] for one in host.repository.asked if one[0] == "listed"] == order
    assert host.repository.asked.count(("unlocked",)) == 1


@pytest.mark.parametrize("few", [0, 20])
def test_files_that_cannot_come_back_are_named_at_the_end(
    host: Host, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """O9, K5: All others come back first. The message has the count, and the first three files."""
    monkeypatch.setattr(host.module, "FEW", few)
    bad = [f"{number}" * 256 for number in range(4)]
    put(host.data / f"held/{AFTER}/removed", "removed")
    host.copied({"lost": "lost"} | dict.fromkeys(bad, "bad"), -1, 1, 2)
    with pytest.raises(CommandExecutionError) as caught:
        host.module.bring_back("crm", UNTIL)
    first, _, shown = str(caught.value).partition(": ")
    assert first == "2 files came back, 4 cannot be"
    *names, last = shown.split("; ")
    assert (len(set(names)), last) == (3, "…")
    assert set(names) < {f"{name}: File name too long" for name in bad}
    assert tree(host.data) == {"removed": "removed", "lost": "lost"}


def test_without_a_moment_no_removed_file_comes_back(host: Host) -> None:
    """O9: Users have removed it."""
    put(host.data / f"held/{AFTER}/a")
    assert host.module.bring_back("crm", "", False) == {"back": 0, "copied": 0, "copy": ""}
    assert tree(host.data) == {f"held/{AFTER}/a": "content"}


def test_without_a_moment_the_newest_copy_counts(host: Host) -> None:
    """O9: All that the newest copy has and the volume does not; removed files stay removed."""
    put(host.data / f"held/{AFTER}/removed", "removed")
    host.copied({"lost": "lost", f"held/{AFTER}/other": "other"}, -1, 1)
    assert host.module.bring_back("crm", "")["copied"] == 1
    assert tree(host.data) == {f"held/{AFTER}/removed": "removed", "lost": "lost"}


def test_complete_files_need_no_copy(host: Host) -> None:
    """O9: Nothing is fetched, and the copy that was looked at is named."""
    put(host.data / "there")
    host.copied({"there": "old"}, 1)
    found = host.module.bring_back("crm", UNTIL)
    assert found == {"back": 0, "copied": 0, "copy": "2026-11-29 13:00:00 UTC"}
    assert "dumped" not in str(host.repository.asked)


@pytest.mark.parametrize("looks", [True, False])
def test_removed_files_come_back_without_a_copy(host: Host, looks: bool) -> None:
    """O9: A fleet may have no copy yet. The last step of a restore asks for none."""
    put(host.data / f"held/{AFTER}/a")
    found = host.module.bring_back("crm", UNTIL, looks)
    assert found == {"back": 1, "copied": 0, "copy": ""}
    assert bool(host.repository.asked) is looks


@pytest.mark.parametrize("few", [0, 20])
@pytest.mark.parametrize("until", [UNTIL, ""])
def test_o1_a_copy_for_trials_gets_the_files_of_its_original(
    host: Host, few: int, until: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """O1, O9: They come from the copies alone, to where the database of the copy expects them.

    The user of the copy writes them, nothing is replaced, and the original keeps all it has.
    """
    monkeypatch.setattr(host.module, "FEW", few)
    host.with_trial()
    for place in (host.data, host.trial):
        put(place / f"held/{AFTER}/removed", "removed on the volume")
    put(host.trial / "filestore/crm_staging/there", "its own")
    before = tree(host.data), tree(host.trial)
    contents = {
        "filestore/crm/there": "old",
        "filestore/crm/ab/abcd": "content",
        "filestore/crm_2/ab/abcd": "another database's",
        "public/crm.png": "picture",
        f"held/{AFTER}/filestore/crm/cd/cdef": "removed since",
        f"held/{BEFORE}/filestore/crm/ef/ef01": "removed before",
    }
    host.copied(contents, -1, 1)
    came = {
        "filestore/crm_staging/ab/abcd": "content",
        "filestore/crm_2/ab/abcd": "another database's",
        "public/crm.png": "picture",
    }
    if until:
        came["filestore/crm_staging/cd/cdef"] = "removed since"
    assert host.module.bring_back("crm", until, True, "crm_staging") == {
        "back": 0,
        "copied": len(came),
        "copy": "2026-11-29 13:00:00 UTC",
    }
    assert (tree(host.data), tree(host.trial)) == (before[0], before[1] | came)
    assert ("opened", "crm") in host.repository.asked
    again = host.module.bring_back("crm", until, True, "crm_staging")
    assert again["copied"] == 0


@pytest.mark.parametrize("few", [0, 20])
def test_k5_a_file_that_cannot_come_to_a_copy_has_its_new_place(
    host: Host, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """O1, K5: The operator looks for it in the directory of the copy."""
    monkeypatch.setattr(host.module, "FEW", few)
    host.with_trial()
    bad = "x" * 256
    host.copied({f"filestore/crm/{bad}": "bad", "filestore/crm/good": "good"}, 1)
    with pytest.raises(CommandExecutionError) as caught:
        host.module.bring_back("crm", UNTIL, True, "crm_staging")
    assert str(caught.value) == (
        f"1 files came back, 1 cannot be: filestore/crm_staging/{bad}: File name too long"
    )
    assert tree(host.trial) == {"filestore/crm_staging/good": "good"}


def test_o1_the_volume_of_a_copy_is_mounted(host: Host) -> None:
    """O1, X1: That of the original is not, so nothing can be written there."""
    host.with_trial()
    host.source["volume"], host.target["volume"] = "nas", "staging"
    host.answers["mount"] = CommandExecutionError("Transport endpoint is not connected")
    with pytest.raises(CommandExecutionError, match="Transport endpoint is not connected"):
        host.module.bring_back("crm", UNTIL, True, "crm_staging")
    point = Path(files.VOLUMES) / "crm_staging-2"
    [mount] = [words for words in host.asked if words[0] == "mount"]
    assert mount[-2:] == ["nas1:/staging", str(point)]


def test_k5_files_for_an_unknown_copy_are_refused(host: Host) -> None:
    """O1, K5: A typing error, or a host that has no files of it. Nothing is read."""
    with pytest.raises(CommandExecutionError) as caught:
        host.module.bring_back("crm", UNTIL, True, "crm_staging")
    assert str(caught.value) == "target: 'crm_staging' has no files on this host"
    assert host.repository.asked == []


@pytest.mark.parametrize("few", [0, 20])
def test_a_copy_that_cannot_be_read_leaves_no_half_of_a_file(
    host: Host, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """O9, K5: The message is restic's, and the removed files are back."""
    monkeypatch.setattr(host.module, "FEW", few)
    put(host.data / f"held/{AFTER}/removed", "removed")
    host.copied({"lost": "lost" * 100_000}, 1)
    host.repository.broken = True
    with pytest.raises(CommandExecutionError) as caught:
        host.module.bring_back("crm", UNTIL)
    assert str(caught.value) == "crm: restic dump: connection reset"
    assert tree(host.data) == {"removed": "removed"}


def test_files_come_back_while_nothing_else_is_restored(host: Host) -> None:
    """O9: A restore drill would take the same room; the message says what is running."""
    with lock.alone(), pytest.raises(CommandExecutionError, match="another restore or restore"):
        host.module.bring_back("crm", UNTIL)


def test_a_failed_program_of_the_owner_is_told(host: Host) -> None:
    """O9, K5: The message has the directory and the program's own words."""
    host.data.rmdir()
    with pytest.raises(CommandExecutionError) as caught:
        host.module.bring_back("crm", UNTIL)
    assert str(caught.value).startswith(f"{host.data}: ")
    assert "No such file or directory" in str(caught.value)


@pytest.mark.parametrize("function", ["copy", "bring_back"])
def test_an_unknown_source_is_refused(host: Host, function: str) -> None:
    """K5: The message names those of the host."""
    with pytest.raises(CommandExecutionError) as caught:
        getattr(host.module, function)("shop", *([UNTIL] if function == "bring_back" else []))
    assert str(caught.value) == "source: 'shop' is not known here; choose one of: crm"


@pytest.mark.parametrize("present", ["link", "file", "other"])
def test_root_never_writes_into_an_application(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, present: str
) -> None:
    """X8: An application cannot plant a link to another directory in the place of its own, and a
    directory of another user is not its own.
    """
    module = load("_modules/files_backup.py", salt={}, pillar={})
    monkeypatch.setattr(subprocess, "Popen", never)
    place, uid = tmp_path / "crm", os.getuid()
    if present == "link":
        (tmp_path / "real").mkdir()
        place.symlink_to("real")
    elif present == "file":
        put(place)
    else:
        place.mkdir()
        uid += 1
    with pytest.raises(CommandExecutionError) as caught:
        module._started({"uid": uid}, place, "unpack")
    assert str(caught.value) == f"{place}: must be a directory of the user {uid}"


def test_the_program_runs_as_the_applications_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X8: It has the user and the group of the pillar, and no right of root."""
    module = load("_modules/files_backup.py", salt={}, pillar={})
    started: list[list[str]] = []
    monkeypatch.setattr(subprocess, "Popen", lambda command, **_: started.append(command))
    uid = os.getuid()
    module._started({"uid": uid}, tmp_path, "bring-back", UNTIL)
    [command] = started
    assert {f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--no-new-privs"} < set(command)
    assert command[-4:] == ["salina.backup.files", "bring-back", str(tmp_path), UNTIL]


def test_a_volume_is_mounted_while_files_come_back(host: Host) -> None:
    """O9: With its own options, at a place that is gone afterwards, also after an error."""
    host.source |= {"volume": "nas", "options": ["nosuid", "backup-volfile-servers=nas2"]}
    point = Path(files.VOLUMES) / "crm"
    for step in (lambda: None, never):
        host.asked.clear()
        try:
            with host.module._mounted(host.source) as root:
                assert root == point and point.is_dir()
                step()
        except AssertionError:
            assert step is never
        left, mount, umount = host.asked  # first the mount of a process that was killed
        assert left == umount
        assert mount == [
            *("mount", "-t", "glusterfs", "-o", "nosuid,backup-volfile-servers=nas2"),
            *("nas1:/nas", str(point)),
        ]
        assert umount == ["umount", "--lazy", str(point)]
        assert not point.exists()


def test_a_volume_that_cannot_be_mounted_is_an_error(host: Host) -> None:
    """O9, K5: The next attempt finds nothing in its way."""
    host.source["volume"] = "nas"
    host.answers["mount"] = CommandExecutionError("Transport endpoint is not connected")
    for _ in range(2):
        with pytest.raises(CommandExecutionError, match="Transport endpoint is not connected"):
            host.module.bring_back("crm", UNTIL)


def test_a_copy_is_made_by_the_unit(host: Host) -> None:
    """O9: It has the rights of the unit. A failure has the last lines of the journal."""
    started: list[str] = []
    host.module.__salt__["service.start"] = started.append
    host.module.copy("crm")
    assert started == ["salina-files@crm.service"]
    assert host.asked == []
    host.module.__salt__["service.start"] = refusing("Job failed")
    host.answers["journalctl"] = "crm: the brick of nas1 is not complete"
    with pytest.raises(CommandExecutionError) as caught:
        host.module.copy("crm")
    assert str(caught.value).splitlines() == [
        "systemctl start salina-files@crm.service: Job failed",
        "crm: the brick of nas1 is not complete",
    ]
    assert ["systemctl", "reset-failed", "salina-files@crm.service"] in host.asked


class Repositories:
    """The module on the backup host, whose restic is only pretended."""

    def __init__(self, folder: Path) -> None:
        self.asked: list[list[str]] = []
        self.answers: dict[str, Any] = {}
        self.folder = folder
        sources = [("crm-1", "crm"), ("crm-2", "crm"), ("shop", "shop")]
        section = {
            "directory": str(folder),
            "sources": [
                {"name": name, "application": application, "path": "/nas"}
                for name, application in sources
            ],
        }
        salt = {"cmd.run_all": ran(self.answers, self.asked)}
        pillar = {"files_repository": section}
        self.module = load("_modules/files_repository.py", salt=salt, pillar=pillar)
        self.answers["snapshots"] = json.dumps(
            [{"id": one.id, "time": one.time.isoformat()} for one in copies(-1, 1, 2)]
        )


@pytest.fixture
def repositories(tmp_path: Path) -> Repositories:
    return Repositories(tmp_path)


def test_the_state_of_the_repositories(repositories: Repositories) -> None:
    """O9: Each has its copies, the moment of the newest one, and its bytes on the disk."""
    put(repositories.folder / "crm-1/data/ab/abc", "x" * 1000)
    put(repositories.folder / "crm-1/config", "x" * 24)
    found = repositories.module.state()
    newest = (NOON + 2 * HOUR).timestamp()
    assert found == {
        "crm-1": {"copies": 3, "newest": newest, "size": 1024},
        "crm-2": {"copies": 3, "newest": newest, "size": 0},
        "shop": {"copies": 3, "newest": newest, "size": 0},
    }
    repositories.answers["snapshots"] = "null"
    assert repositories.module.state()["shop"] == {"copies": 0, "newest": None, "size": 0}


def test_restic_reads_the_repositories_as_their_owner(repositories: Repositories) -> None:
    """O9, X8: Root writes no file of the repositories, and a copy that is being made goes on."""
    repositories.module.check()
    assert [command[:4] for command in repositories.asked] == [
        ["runuser", "-u", "restic", "--"]
    ] * 3
    for command, name in zip(repositories.asked, ("crm-1", "crm-2", "shop"), strict=True):
        assert command[4] == "restic"
        assert {f"--repo={repositories.folder}/{name}", "--no-lock", "--no-cache"} < set(command)
        assert command[-2:] == ["check", "--read-data"]


def test_a_damaged_repository_is_told(repositories: Repositories) -> None:
    """O9, K5: The message is restic's."""
    repositories.answers["check"] = CommandExecutionError("Fatal: repository contains errors")
    with pytest.raises(CommandExecutionError, match="Fatal: repository contains errors"):
        repositories.module.check()


def test_the_files_of_all_sets_count(repositories: Repositories) -> None:
    """O9: A file of a volume is in one of its sets of bricks. Other applications do not count.

    One that was removed while the first copy was made is in the second one.
    """
    parts = {
        ("crm-1", "1"): ["a", f"held/{AFTER}/b"],
        ("crm-1", "2"): ["a", f"held/{AFTER}/f"],
        ("crm-2", "1"): ["c", "held/20261129T110000Z/d"],
        ("crm-2", "2"): ["c"],
        ("shop", "1"): ["e"],
        ("shop", "2"): ["e"],
    }
    plain = ran(repositories.answers, repositories.asked)

    def run_all(command: list[str], **options: Any) -> dict[str, Any]:
        if "ls" not in command:
            return plain(command, **options)
        [name] = [one.rpartition("/")[2] for one in command if one.startswith("--repo=")]
        lines = [node(f"/nas/crm/{path}") for path in parts.get((name, command[-1]), [])]
        return ran({"ls": "\n".join(lines)}, repositories.asked)(command)

    repositories.module.__salt__["cmd.run_all"] = run_all
    missing = repositories.module.missing("crm", UNTIL, ["a", "b", "c", "d", "e", "f"])
    assert missing == ["d", "e"]
    listed = [command[-1] for command in repositories.asked if "ls" in command]
    assert listed[:2] == ["1", "2"]


@pytest.mark.parametrize("moment", [UNTIL, "2026-11-29 12:00:00.123456+00"])
def test_without_a_copy_no_file_can_be_looked_for(repositories: Repositories, moment: str) -> None:
    """O9, K5: The drill's moment has PostgreSQL's form, and the message names the source."""
    repositories.answers["snapshots"] = "[]"
    with pytest.raises(CommandExecutionError, match=r"^crm-1: there is no copy of its files$"):
        repositories.module.missing("crm", moment, ["a"])


# The real restic

PRESENT = shutil.which("restic")


def needs_restic(test: Any) -> Any:
    """Mark a test that runs restic itself."""
    return pytest.mark.programs(pytest.mark.skipif(not PRESENT, reason="needs restic")(test))


class Real:
    """A local repository of a brick with the files of crm, and restic with its password."""

    def __init__(self, folder: Path) -> None:
        self.brick = folder / "nas"
        self.data = self.brick / "crm"
        self.data.mkdir(parents=True)
        self.repository = folder / "repositories/crm"
        self.restic("init", "--repository-version", "2")

    def restic(self, *arguments: str) -> bytes:
        """Run restic and return its output."""
        options = (f"--repo={self.repository}", "--quiet")
        return subprocess.run(
            ["restic", *options, *arguments], capture_output=True, check=True
        ).stdout

    def back_up(self) -> Snapshot:
        """Make a copy with the options of the program, and return it."""
        repository = files.Repository(SETTINGS, "crm")
        repository.run = lambda *arguments: self.restic(*arguments).decode()  # type: ignore[method-assign]
        repository.copy("crm", str(self.brick))
        return repository.snapshots()[-1]

    def entries(self, snapshot: Snapshot) -> list[Entry]:
        """Return the files of crm in a copy."""
        listed = self.restic("ls", "--json", "--no-lock", snapshot.id).decode()
        return files.parse_entries(listed, str(self.data))


@pytest.fixture
def real(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Real]:
    monkeypatch.setenv("RESTIC_PASSWORD", "canary")
    monkeypatch.setenv("RESTIC_CACHE_DIR", str(tmp_path / "cache"))
    yield Real(tmp_path)


@needs_restic
def test_o9_files_go_through_a_repository_and_come_back(real: Real, tmp_path: Path) -> None:
    """O9: The whole way, with a held file, a pointer to another brick, and GlusterFS's files."""
    started = datetime.now(UTC).replace(microsecond=0)
    abc = put(real.data / "ab/abc", "content")
    os.utime(abc, (1_700_000_000, 1_700_000_000))
    abc.chmod(0o640)
    put(real.data / f"held/{AFTER}/cd/ünï 1", "held")
    put(real.data / f"held/{BEFORE}/old", "old")
    put(real.data / "pointer", "").chmod(0o1400)
    put(real.data / ".salina-health/nas1", "probe")
    put(real.brick / ".glusterfs/ab/abc", "content")
    put(real.brick / "crm-old/x", "another")
    (real.data / "link").symlink_to("ab/abc")
    snapshot = real.back_up()
    assert started <= snapshot.time <= datetime.now(UTC)
    found = real.entries(snapshot)
    assert sorted(found, key=lambda one: one.path) == [
        Entry("ab/abc", None),
        Entry("cd/ünï 1", AFTER),
        Entry("old", BEFORE),
    ]
    listed = real.restic("ls", snapshot.id).decode()
    assert "/crm-old/x" in listed and "salina-health" not in listed
    assert ".glusterfs" not in listed
    wanted = files.wanted(found, NOON)
    paths = {f"{real.data}/{place}".lstrip("/"): path for path, place in wanted.items()}
    target = tmp_path / "volume"
    target.mkdir()
    content = real.restic("dump", "--archive=tar", snapshot.id, str(real.data))
    assert unpack(target, paths, content) == (2, [])
    assert tree(target) == {"ab/abc": "content", "cd/ünï 1": "held"}
    about = (target / "ab/abc").stat()
    assert (about.st_mtime, about.st_mode & 0o7777) == (1_700_000_000, 0o640)
    single = real.restic("dump", "--archive=tar", snapshot.id, str(abc))
    assert single == b"content"


@needs_restic
def test_o9_only_true_moments_let_copies_be_deleted(real: Real) -> None:
    """O9, X6: The file of a copy has the moment of its arrival, as on the backup host."""
    put(real.data / "a")
    assert files.parse_snapshots(real.restic("snapshots", "--json").decode()) == []
    first = real.back_up()
    put(real.data / "b")
    real.back_up()
    old = datetime.now(UTC) - timedelta(days=20)
    real.restic("backup", f"--time={old:%Y-%m-%d %H:%M:%S}", str(real.brick))
    [fault] = forget.forget(real.repository, 14)
    assert fault.startswith("crm: nothing is deleted: ")
    copies = files.parse_snapshots(real.restic("snapshots", "--json").decode())
    assert len(copies) == 3
    arrived = real.repository / "snapshots" / copies[0].id
    os.utime(arrived, (copies[0].time.timestamp() + 60,) * 2)
    assert forget.forget(real.repository, 14) == []
    left = files.parse_snapshots(real.restic("snapshots", "--json").decode())
    assert left == copies[1:] and left[0] == first

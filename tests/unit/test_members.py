"""The members file: the active members of the pools, whatever happens to it."""

from __future__ import annotations

import json
import multiprocessing
import os
from pathlib import Path

import pytest

import salina_members
from salina_members import MembersError
from tests import fleets

TOPOLOGY = fleets.topology()


def test_missing_file(tmp_path: Path) -> None:
    """Without a file: the members that the topology begins with."""
    assert salina_members.load(tmp_path / "none.json", TOPOLOGY) == {"app": ["s1", "s2", "s3"]}


def test_saved_and_loaded(tmp_path: Path) -> None:
    """Members come back in the order of their numbers; the directory is made."""
    file = tmp_path / "state" / "members.json"
    salina_members.save(file, {"app": ["s10", "s2", "s1"]}, TOPOLOGY)
    assert salina_members.load(file, TOPOLOGY) == {"app": ["s1", "s2", "s10"]}
    assert os.listdir(file.parent) == ["members.json"]


DAMAGED = {
    "empty": ("", "is damaged: Expecting value"),
    "half": ('{"app": ["s1"', "is damaged: Expecting ',' delimiter"),
    "binary": ("\x00", "is damaged: "),
    "a list": ("[]", "a list, allowed is a mapping of pools"),
    "unknown pool": ('{"app": ["s1"], "web": []}', "web: no pool of the topology"),
    "no pool": ("{}", "app: nothing, allowed is a list of ids"),
    "a word": ('{"app": "s1"}', "app: 's1', allowed is a list of ids"),
    "a stranger": ('{"app": ["s11"]}', "app: 's11' is no member that the pool can have"),
    "a number": ('{"app": [1]}', "app: 1 is no member that the pool can have"),
    "twice": ('{"app": ["s1", "s1"]}', "app: an id is given twice"),
    "nobody": ('{"app": []}', "app: 0 members, allowed is 1 and more"),
}


@pytest.mark.parametrize(("text", "message"), DAMAGED.values(), ids=DAMAGED.keys())
def test_damaged(tmp_path: Path, text: str, message: str) -> None:
    """A file that is damaged or does not fit is an error that says so, never other members."""
    file = tmp_path / "members.json"
    file.write_text(text)
    with pytest.raises(MembersError) as caught:
        salina_members.load(file, TOPOLOGY)
    assert caught.value.source == str(file)
    assert caught.value.faults[0].startswith(message)


def test_refused_before_writing(tmp_path: Path) -> None:
    """Members that do not fit are never written."""
    file = tmp_path / "members.json"
    salina_members.save(file, {"app": ["s1"]}, TOPOLOGY)
    with pytest.raises(MembersError):
        salina_members.save(file, {"app": ["s1", "fw"]}, TOPOLOGY)
    assert json.loads(file.read_text()) == {"app": ["s1"]}


def test_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the disk is full the old file stays, and no temporary one."""
    file = tmp_path / "members.json"
    salina_members.save(file, {"app": ["s1"]}, TOPOLOGY)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        salina_members.save(file, {"app": ["s2"]}, TOPOLOGY)
    assert salina_members.load(file, TOPOLOGY) == {"app": ["s1"]}
    assert os.listdir(tmp_path) == ["members.json"]


def add(file: Path, number: int) -> None:
    """Add one member as a runner does: read, change and write under the lock."""
    with salina_members.locked(file):
        members = salina_members.load(file, TOPOLOGY)
        members["app"].append(f"s{number}")
        salina_members.save(file, members, TOPOLOGY)


def test_concurrent_writers(tmp_path: Path) -> None:
    """Writers at the same moment lose nobody's change."""
    file = tmp_path / "members.json"
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=add, args=(file, number)) for number in range(4, 11)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(30)
        assert writer.exitcode == 0
    assert salina_members.load(file, TOPOLOGY)["app"] == [f"s{n}" for n in range(1, 11)]

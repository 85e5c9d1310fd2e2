"""The members file: the active members of the pools, whatever happens to it."""

from __future__ import annotations

import json
import multiprocessing
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from salt.exceptions import CommandExecutionError

from salina.common import wait
from salina_fleet.change import exclusive
from salina_fleet.model import members
from salina_fleet.model.members import MembersError
from tests import fleets

TOPOLOGY = fleets.topology()


def test_missing_file(tmp_path: Path) -> None:
    """Without a file: the members that the topology begins with."""
    assert members.load(tmp_path / "none.json", TOPOLOGY) == {"app": ["s1", "s2", "s3"]}


def test_a_pool_that_the_topology_has_since_then(tmp_path: Path) -> None:
    """Issue 5: a second application comes to a fleet that runs, whose first pool has grown."""
    current, unfinished = tmp_path / "members.json", tmp_path / "unfinished.json"
    members.save(current, {"app": ["s1", "s7"]}, TOPOLOGY)
    members.save_unfinished(unfinished, {"app": ["s7"]}, TOPOLOGY)
    both = fleets.topology("two-applications")
    assert members.load(current, both) == {"app": ["s1", "s7"], "shop": ["w1", "w2", "w3"]}
    assert members.unfinished(unfinished, both) == {"app": ["s7"], "shop": []}


def test_saved_and_loaded(tmp_path: Path) -> None:
    """S10: Members come back in the order of their numbers, and the directory is made."""
    file = tmp_path / "state" / "members.json"
    members.save(file, {"app": ["s10", "s2", "s1"]}, TOPOLOGY)
    assert members.load(file, TOPOLOGY) == {"app": ["s1", "s2", "s10"]}
    assert os.listdir(file.parent) == ["members.json"]


RULE = "is not valid; must be s{n} with n from 1 to 10"
AGAIN = "is repeated; must be listed once"
DAMAGED = {
    "empty": (b"", "the file is damaged: Expecting value: line 1 column 1 (char 0)"),
    "half": (
        b'{"app": ["s1"',
        "the file is damaged: Expecting ',' delimiter: line 1 column 14 (char 13)",
    ),
    "binary": (
        b"\x7fELF\xff",
        "the file is damaged: 'utf-8' codec can't decode byte 0xff in position 4: "
        "invalid start byte",
    ),
    "key twice": (
        b'{"app": ["s1"], "app": ["s2"]}',
        "the file is damaged: app is given 2 times; remove all but one",
    ),
    "nothing": (b"null", "empty; must be a mapping of pools"),
    "a list": (b"[1]", "a list is not valid; must be a mapping of pools"),
    "unknown pool": (b'{"app": ["s1"], "web": []}', "web: unknown pool; choose one of: app"),
    "nothing in a pool": (b'{"app": null}', "app: empty; must be a list of ids"),
    "a word": (b'{"app": "s1"}', 'app: "s1" is not valid; must be a list of ids'),
    "a stranger": (b'{"app": ["s1", "s11"]}', f'app[1]: "s11" {RULE}'),
    "a path": (b'{"app": ["../s1"]}', f'app[0]: "../s1" {RULE}'),
    "a newline": (b'{"app": ["s1\\n"]}', f'app[0]: "s1\\n" {RULE}'),
    "a number": (b'{"app": [1]}', f"app[0]: 1 {RULE}"),
    "twice": (b'{"app": ["s1", "s1"]}', f'app[1]: "s1" {AGAIN}'),
    "nobody": (b'{"app": []}', "app: 0 members are listed; there must be at least 1"),
}


@pytest.mark.parametrize(("content", "message"), DAMAGED.values(), ids=DAMAGED.keys())
def test_damaged(tmp_path: Path, content: bytes, message: str) -> None:
    """S10, K5: A damaged or impossible file is an error, and never gives other members."""
    file = tmp_path / "members.json"
    file.write_bytes(content)
    with pytest.raises(MembersError) as caught:
        members.load(file, TOPOLOGY)
    assert str(caught.value) == f"{file}: 1 fault\n  {message}"


def test_all_faults_together(tmp_path: Path) -> None:
    """Several faults in one file are reported at once."""
    file = tmp_path / "members.json"
    file.write_text('{"web": [], "app": ["s11", "s2", "s2"]}')
    with pytest.raises(MembersError) as caught:
        members.load(file, TOPOLOGY)
    assert caught.value.faults == (
        "web: unknown pool; choose one of: app",
        f'app[0]: "s11" {RULE}',
        f'app[2]: "s2" {AGAIN}',
    )


def test_no_file(tmp_path: Path) -> None:
    """A directory in its place is an error, unlike a file that is missing."""
    with pytest.raises(MembersError, match="1 fault\n  the file cannot be read: it is a directory"):
        members.load(tmp_path, TOPOLOGY)


@pytest.mark.parametrize("target", ["members.json", "/unmounted/members.json", "/dev/zero"])
def test_k5_a_link_is_not_a_missing_file(target: str, tmp_path: Path) -> None:
    """K5: Pools never fall back to their initial members, and no device is read to its end."""
    (tmp_path / "members.json").symlink_to(target)
    for load in (members.load, members.unfinished):
        with pytest.raises(MembersError, match="1 fault\n  the file cannot be read: "):
            load(tmp_path / "members.json", TOPOLOGY)


def test_k5_a_pipe_in_the_place_of_the_members(tmp_path: Path) -> None:
    """K5: Nobody waits for somebody to write into it."""
    os.mkfifo(tmp_path / "members.json")
    with pytest.raises(MembersError, match="the file cannot be read: it is a named pipe"):
        members.load(tmp_path / "members.json", TOPOLOGY)


json_data = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(st.just("app"), st.text(max_size=4)), inner, max_size=3),
    ),
    max_leaves=6,
)
listed = st.fixed_dictionaries({"app": st.lists(st.integers(1, 11).map("s{}".format), max_size=4)})


@given(st.one_of(st.binary(max_size=40), json_data.map(json.dumps), listed.map(json.dumps)))
def test_any_file(tmp_path_factory: pytest.TempPathFactory, content: bytes | str) -> None:
    """Whatever the file: members that are written back unchanged, or a MembersError."""
    file = tmp_path_factory.getbasetemp() / "any-members.json"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    try:
        found = members.load(file, TOPOLOGY)
    except MembersError as error:
        assert error.faults
        assert all(fault.isprintable() for fault in error.faults)
    else:
        expected = TOPOLOGY.initial() | json.loads(content)
        assert {pool: set(ids) for pool, ids in expected.items()} == {
            pool: set(ids) for pool, ids in found.items()
        }
        members.save(file, found, TOPOLOGY)
        assert members.load(file, TOPOLOGY) == found


def test_refused_before_writing(tmp_path: Path) -> None:
    """Members that do not fit are never written."""
    file = tmp_path / "members.json"
    members.save(file, {"app": ["s1"]}, TOPOLOGY)
    with pytest.raises(MembersError):
        members.save(file, {"app": ["s1", "fw"]}, TOPOLOGY)
    assert json.loads(file.read_text()) == {"app": ["s1"]}


def test_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """S10, K2: On a full disk the old file stays, and no temporary file remains."""
    file = tmp_path / "members.json"
    members.save(file, {"app": ["s1"]}, TOPOLOGY)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CommandExecutionError, match="No space left"):
        members.save(file, {"app": ["s2"]}, TOPOLOGY)
    assert members.load(file, TOPOLOGY) == {"app": ["s1"]}
    assert os.listdir(tmp_path) == ["members.json"]


def alone(file: Path) -> bool:
    """Begin a change; return false while another process is changing the fleet."""
    try:
        exclusive.take(file.with_name("lock"), "a test")
    except exclusive.BusyError:
        return False
    return True


def add(file: Path, number: int) -> None:
    """Add one member as a runner does: read, change and write while no other process does."""
    assert wait.until(lambda: alone(file), 30, 0.02)
    found = members.load(file, TOPOLOGY)
    found["app"].append(f"s{number}")
    members.save(file, found, TOPOLOGY)


def test_concurrent_writers(tmp_path: Path) -> None:
    """S10: Simultaneous writers lose no change."""
    file = tmp_path / "members.json"
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=add, args=(file, number)) for number in range(4, 11)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(30)
        assert writer.exitcode == 0
    assert members.load(file, TOPOLOGY)["app"] == [f"s{n}" for n in range(1, 11)]

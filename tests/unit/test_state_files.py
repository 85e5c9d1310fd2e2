"""The files of the master's state directory: one line for what cannot be read, and no hang."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from salt.exceptions import CommandExecutionError

from salina.common import file
from salina_fleet import secrets
from salina_fleet.change import absence, exclusive, join, releases, turns, upgrade
from salina_fleet.errors import RunnerError
from salina_fleet.model import members
from salina_fleet.revisions import FILE, Revisions
from salina_fleet.schema.document import DataError
from tests import fleets

READERS: dict[str, Callable[[Path], object]] = {
    members.FILE: lambda path: members.load(path, fleets.topology()),
    members.UNFINISHED: lambda path: members.unfinished(path, fleets.topology()),
    absence.BEHIND: lambda path: absence.load(path, ["s1"]),
    FILE: lambda path: Revisions(path.parent).recorded(),
    releases.FILE: releases.read,
    "turns.json": turns.read,
    "rehearsals.json": upgrade._read,
    "secret": lambda path: secrets.Store(path.parent).get(path.name),
}
"""The name of a file -> the function that reads it."""


def away(path: Path) -> None:
    """A link into a file system that is not mounted."""
    path.symlink_to("/unmounted/file")


def loop(path: Path) -> None:
    """A link to itself."""
    path.symlink_to(path.name)


@pytest.mark.parametrize("make", [away, loop, os.mkfifo, Path.mkdir])
@pytest.mark.parametrize("name", READERS)
def test_k5_something_else_in_the_place_of_a_file(
    name: str, make: Callable[[Path], None], tmp_path: Path
) -> None:
    """K5: A link to nowhere is not a missing file."""
    path = tmp_path / name
    make(path)
    with pytest.raises((RunnerError, DataError, secrets.SecretsError)) as caught:
        READERS[name](path)
    [line] = [line for line in str(caught.value).splitlines() if "cannot be read: " in line]
    assert not line.endswith("cannot be read: ")


def test_a_lost_attempt_is_none(tmp_path: Path) -> None:
    """The master only tries again earlier."""
    os.mkfifo(tmp_path / join.ATTEMPT)
    assert join.attempt(tmp_path / join.ATTEMPT) == join.Attempt()


@pytest.mark.parametrize("content", ["{", "[]", '{"app": [{}]}', "[" * 100_000])
def test_k5_damaged_turns(content: str, tmp_path: Path) -> None:
    """K5: The error says what happens when somebody deletes them."""
    (tmp_path / "turns.json").write_text(content)
    with pytest.raises(RunnerError, match=r"the file is damaged: .*; delete it: then each host"):
        turns.read(tmp_path / "turns.json")


@pytest.mark.parametrize("make", [loop, Path.mkdir])
def test_k5_a_lock_that_cannot_be_opened(make: Callable[[Path], None], tmp_path: Path) -> None:
    """K5: One line, and nothing runs without the lock."""
    make(tmp_path / "lock")
    with pytest.raises(RunnerError, match=r"lock cannot be opened: "):
        exclusive.take(tmp_path / "lock", "a trial")
    with (
        pytest.raises(CommandExecutionError, match=r"lock can't be opened: "),
        file.locked(tmp_path / "lock"),
    ):
        pytest.fail("nobody has the lock")


def test_a_pipe_in_the_place_of_a_lock(tmp_path: Path) -> None:
    """Nobody waits for somebody to write into it."""
    os.mkfifo(tmp_path / "lock")
    with file.locked(tmp_path / "lock"):
        pass
    assert exclusive.holder(tmp_path / "lock") == {}

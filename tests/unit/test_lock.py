"""The lock of the fleet: one process at a time, named to the others, given back by its end."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from salina_fleet.change import lock as salina_lock

HOLD = """
    import sys
    from salina_fleet.change import lock
    lock.take(sys.argv[1], "app to 5 members")
    lock.take(sys.argv[1], "once more by the same process")
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "state" / "lock"


@pytest.fixture
def other(lock: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock."""
    command = [sys.executable, "-c", textwrap.dedent(HOLD), str(lock)]
    utilities = {"PYTHONPATH": str(Path(salina_lock.__file__).parents[2])}
    process = subprocess.Popen(
        command, env=utilities, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout and process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_the_second_is_told_who_and_since_when(lock: Path, other: subprocess.Popen[str]) -> None:
    with pytest.raises(salina_lock.LockedError) as caught:
        salina_lock.take(lock, "mine")
    found = salina_lock.holder(lock)
    assert (found["what"], found["pid"]) == ("app to 5 members", other.pid)
    told = f"app to 5 members is under way since {found['since']} (pid {other.pid})"
    assert str(caught.value) == told


def test_a_killed_holder_holds_nothing(lock: Path, other: subprocess.Popen[str]) -> None:
    other.kill()
    other.wait()
    assert salina_lock.holder(lock) == {}
    salina_lock.take(lock, "mine")
    assert salina_lock.holder(lock)["what"] == "mine"


def test_nobody_holds_what_is_not_there(lock: Path) -> None:
    assert salina_lock.holder(lock) == {}

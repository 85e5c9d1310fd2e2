"""One process at a time changes the fleet; it is named to the others, and its end frees it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from salina_fleet.change import exclusive
from tests import holder


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state" / "lock"


@pytest.fixture
def other(file: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that changes the fleet."""
    with holder.another(file) as process:
        yield process


def test_the_second_is_told_who_and_since_when(file: Path, other: subprocess.Popen[str]) -> None:
    with pytest.raises(exclusive.BusyError) as caught:
        exclusive.take(file, "mine")
    found = exclusive.holder(file)
    assert (found["what"], found["pid"]) == ("app to 5 members", other.pid)
    since = f"since {found['since']} (process {other.pid})"
    told = f"another change is running: app to 5 members, {since}"
    assert str(caught.value) == told


def test_a_killed_holder_holds_nothing(file: Path, other: subprocess.Popen[str]) -> None:
    """K2: A killed change holds nothing."""
    other.kill()
    other.wait()
    assert exclusive.holder(file) == {}
    exclusive.take(file, "mine")
    assert exclusive.holder(file)["what"] == "mine"


def test_k2_a_process_that_the_holder_forked_holds_nothing(file: Path) -> None:
    """K2: Salt forks one for a parallel step, which goes on after the orchestration was killed."""
    script = """
        import os, sys
        from salina_fleet.change import exclusive
        exclusive.take(sys.argv[1], "deployment")
        if not os.fork():
            again = os.open("/dev/null", os.O_RDONLY)  # may get the number of the lock's descriptor
            if not os.fork():
                os.fstat(again)
                print("held", flush=True)
        sys.stdin.read()
    """
    with holder.another(file, script) as process:
        assert exclusive.holder(file)["pid"] == process.pid
        process.kill()
        process.wait()
        assert exclusive.holder(file) == {}


def test_nobody_holds_what_is_not_there(file: Path) -> None:
    assert exclusive.holder(file) == {}

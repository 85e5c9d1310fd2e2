"""Whether a running service has read what is on the disk."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from salina.common import service
from tests.loading import load

SHOWN = """\
ActiveState={state}
ReloadResult={result}
ExecMainStartTimestampMonotonic=1000000
StateChangeTimestampMonotonic=5000000
"""


@pytest.mark.parametrize(
    ("state", "result", "reloads", "moment"),
    [
        ("active", "success", False, 1_000_000),
        ("active", "success", True, 5_000_000),
        ("reloading", "success", True, 5_000_000),
        ("active", "exit-code", True, 1_000_000),  # a reload that failed has read nothing
        ("inactive", "success", True, 0),
        ("failed", "success", False, 0),
    ],
)
def test_last_read(state: str, result: str, reloads: bool, moment: int) -> None:
    assert service.last_read(SHOWN.format(state=state, result=result), reloads) == moment


def test_last_read_of_a_service_that_never_ran() -> None:
    assert service.last_read("ActiveState=active\nExecMainStartTimestampMonotonic=0\n", False) == 0
    assert service.last_read("", True) == 0


def test_last_read_of_a_socket() -> None:
    """systemd shows no property of a process for it."""
    shown = "ActiveState={}\nActiveEnterTimestampMonotonic=7\nStateChangeTimestampMonotonic=9\n"
    assert service.last_read(shown.format("active"), False) == 7
    assert service.last_read(shown.format("inactive"), False) == 0


READY = {"ActiveState": "active", "UnitFileState": "enabled", "NeedDaemonReload": "no"}


@pytest.mark.parametrize(
    ("other", "running", "ready"),
    [
        ({}, True, True),
        ({"ActiveState": "reloading"}, True, True),
        ({"ActiveState": "inactive"}, True, False),
        ({"ActiveState": "inactive"}, False, True),
        ({"UnitFileState": "disabled"}, True, False),
        ({"UnitFileState": "masked"}, False, False),
        ({"UnitFileState": ""}, False, False),  # there is no such unit
        ({"NeedDaemonReload": "yes"}, True, False),
    ],
)
def test_ready(other: dict[str, str], running: bool, ready: bool) -> None:
    shown = "".join(f"{key}={value}\n" for key, value in (READY | other).items())
    assert service.ready(shown, running) == ready


@pytest.mark.parametrize(
    ("function", "wanted"),
    [("running", {"enable": True, "unmask": False}), ("at_boot", {})],
)
def test_salt_does_what_is_left_to_do(function: str, wanted: dict[str, bool]) -> None:
    """Salt's own states are asked only when a service is not as it must be."""
    salts = {"running": "service.running", "at_boot": "service.enabled"}
    asked: list[Any] = []
    found = load("_states/daemon.py", salt={"daemon.ready": lambda *_, **__: True}, opts={})
    found.__states__ = {  # type: ignore[attr-defined]
        salts[function]: lambda name, **given: asked.append((name, given)) or {"result": None}
    }
    assert getattr(found, function)("nginx")["result"] is True and not asked
    found.__salt__["daemon.ready"] = lambda *_, **__: False
    assert getattr(found, function)("nginx") == {"result": None}
    assert asked == [("nginx", wanted)]


def test_newer(tmp_path: Path) -> None:
    """Started 10 s ago by the monotonic clock, which says 100 s; files of 11 s and 9 s ago."""
    old, new, missing = (str(tmp_path / name) for name in ("old", "new", "missing"))
    for path, age in ((old, 11), (new, 9)):
        Path(path).touch()
        os.utime(path, (1000 - age, 1000 - age))
    assert service.newer([old, new, missing], 90_000_000, 100.0, 1000.0) == [new]
    assert service.newer([new], 0, 100.0, 1000.0) == []

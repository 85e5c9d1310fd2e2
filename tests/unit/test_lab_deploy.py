"""The deployment's end, with host, state and cause of a failure, and its progress."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from lab.commands import console, deploy
from lab.errors import LabError

FAILED = """\
nas2: b (pkg.installed)
  no package
next: salt nas2 state.apply
deployment: failed after 9 s
  ✗ storage  9 s"""
PROGRESS = """\
deployment: 3 steps, usually 20 s
… storage  1 s of about 9 s; in all 2 s: nas1 applies its states 1 s
  ✓ nas1     3 of 98 states changed ([x], y, z)  9 s
✓ storage  9 s
[ERROR   ] something that Salt says
"""


def test_judge_raises_with_host_state_cause_and_next_command() -> None:
    noise = "No minions matched the target. No command was sent, no jid was assigned.\n"
    with pytest.raises(LabError) as caught:
        deploy.judge(1, noise + json.dumps(FAILED), "")
    assert str(caught.value) == "the deployment failed:\nnas2: b (pkg.installed)\n  no package"
    assert caught.value.advice.startswith("bin/lab salt nas2 state.apply ")


def test_judge_believes_the_exit_code() -> None:
    assert deploy.judge(0, json.dumps("deployment: done in 9 s"), "") == "deployment: done in 9 s"
    for printed in ("", "Traceback"):
        for code in (0, 1):
            with pytest.raises(LabError, match="master is away") as caught:
                deploy.judge(code, printed, "master is away")
            assert caught.value.advice.startswith("bin/lab salt-run fleet.deploy ")
    with pytest.raises(LabError, match="unexpected"):
        deploy.judge(1, json.dumps("unexpected"), "")


def shown(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> str:
    """Return what the operator sees of the progress in the end."""
    stream = io.StringIO()
    out = Console(file=stream, force_terminal=terminal, width=200, highlight=False)
    monkeypatch.setattr(console, "out", out)
    assert deploy.show(io.StringIO(PROGRESS)).splitlines() == [
        "deployment: 3 steps, usually 20 s",
        "[ERROR   ] something that Salt says",
    ]
    return stream.getvalue()


def test_a_log_gets_every_line_of_the_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a terminal, each line about the present is a plain line."""
    found = shown(monkeypatch, terminal=False)
    assert found.splitlines() == [f"  {line}" for line in PROGRESS.splitlines()]


def test_a_terminal_keeps_only_what_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal, the lines about the present replace one another."""
    found = shown(monkeypatch, terminal=True)
    assert "3 of 98 states changed ([x], y, z)  9 s" in found
    assert "  … storage" not in found  # only without its mark, in the line that is erased

"""The progress of a change on a real master: during it, at its end, and after an error."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import Installation
from tests.integration.test_failures import (
    BAD,
    BROKEN,
    CAUSE,
    HARMLESS,
    harmless,
)
from tests.watched import BUSY, Watched

__all__ = ["harmless"]  # this file's tests need the fixture of three hosts, too

SLOW = """
slow:
  cmd.run:
    - name: sleep 3
"""
TIERS = ["master", "storage, quorum", "app"]
HOSTS = {"master": "salt", "storage, quorum": "nas1", "app": "s1"}
SCALE = ("state.orchestrate", "orch.scale", 'pillar={"pool": "app", "count": 3}')


def salt_run(installation: Installation, *arguments: str) -> Watched:
    """Start a `salt-run` as an operator does."""
    configuration = str(Path(installation.master.config["conf_file"]).parent)
    program = str(Path(sys.executable).with_name("salt-run"))
    return Watched([program, "-c", configuration, *arguments])


@pytest.fixture
def slow(installation: Installation) -> Iterator[None]:
    """States that take a while."""
    (installation.repository / "salt/harmless.sls").write_text(HARMLESS + SLOW)
    yield
    (installation.repository / "salt/harmless.sls").write_text(HARMLESS)


@pytest.fixture
def broken(installation: Installation) -> Iterator[None]:
    """A state that fails on nas1."""
    (installation.repository / "salt/harmless.sls").write_text(HARMLESS + BROKEN)
    yield
    (installation.repository / "salt/harmless.sls").write_text(HARMLESS)


def test_a_change_shows_its_progress_here_and_in_a_second_terminal(
    installation: Installation, slow: None
) -> None:
    """Step, host, state, elapsed and expected time are never older than two seconds. The end
    lists each step with its duration, and no warning of Salt appears.
    """
    (installation.state / "durations.json").write_text(json.dumps({"app": [40.0]}))
    watching = salt_run(installation, "fleet.watch", "timeout=60")
    change = salt_run(installation, "fleet.deploy")
    change.follow()
    watching.follow()
    assert (change.code, watching.code) == (0, 0), change.printed + watching.printed
    assert not change.stale(late=BUSY)
    for tier in TIERS:
        usual = " of about 40 s" if tier == "app" else ""
        hosts = f"{HOSTS[tier]} applies its states \\d+ s"
        shown = f"… {tier}  \\d+ s{usual}; in all \\d+ s: {hosts}"
        for lines in (change.lines, watching.lines):
            assert any(re.fullmatch(shown, line) for line in lines), (shown, lines)
    assert change.ended == watching.ended
    for tier in TIERS:
        assert any(re.fullmatch(f"✓ {tier}  \\d+ s", line) for line in change.ended)
        assert any(re.fullmatch(f"  ✓ {tier} +\\d+ s", line) for line in change.told)
    assert change.told[0].startswith("deployment: done in ")
    assert change.told == watching.told
    assert "2 of 2 states changed (written, slow)" in change.printed
    assert not change.noise()
    durations = json.loads((installation.state / "durations.json").read_text())
    assert len(durations["app"]) == 2 and 3 <= durations["app"][1] < 40


@pytest.mark.proof
def test_the_orchestration_itself_shows_its_progress(installation: Installation) -> None:
    """The commands of the README print the progress and the end as well."""
    change = salt_run(installation, "state.orchestrate", "orch.deploy")
    change.follow()
    assert change.code == 0
    assert not change.stale(late=BUSY)
    [end] = [line for line in change.lines if line.startswith("deployment: done")]
    listed = change.lines[change.lines.index(end) :]
    assert any(line.startswith("  ✓ app ") for line in listed)
    assert "Succeeded: " in change.printed
    assert not change.noise()


@pytest.mark.proof
@pytest.mark.parametrize("command", ["fleet.deploy", "state.orchestrate orch.deploy"])
def test_an_error_comes_first(installation: Installation, broken: None, command: str) -> None:
    """K5: The end begins with host, state, cause and next command, then lists the steps."""
    change = salt_run(installation, *command.split())
    change.follow()
    assert change.code == 1
    output = change.printed if command == "fleet.deploy" else "\n".join(change.lines)
    end = f"{CAUSE}\nnext: salt nas1 state.apply\ndeployment: failed after "
    assert end in output
    if command == "fleet.deploy":
        assert output.startswith(end)
    assert re.search(r"  ✗ storage, quorum +\d+ s\n", output)
    assert re.search(r"  - app +not done\n", output)
    assert not change.noise()


COMMANDS: dict[str, tuple[str, ...]] = {
    "check": ("topology.check",),
    "deploy": ("fleet.deploy",),
    "scale": ("fleet.scale", "pool=app", "count=3"),
    "orchestrated deployment": ("state.orchestrate", "orch.deploy"),
    "orchestrated scale": SCALE,
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_faulty_topology_is_reported_first_and_without_a_traceback(
    installation: Installation, command: str
) -> None:
    """K5: The output begins with the faults, and has neither tracebacks nor warnings."""
    _, content, faults = BAD["several faults"]
    file = installation.repository / "pillar/topology.yaml"
    good = file.read_bytes()
    file.write_bytes(content)
    try:
        refused = salt_run(installation, *COMMANDS[command])
        refused.follow()
    finally:
        file.write_bytes(good)
    assert refused.code == 1
    assert all(line in refused.output for line in faults)
    assert not refused.noise()
    if command in ("check", "deploy", "scale"):
        assert (refused.lines, refused.printed.splitlines()[0]) == ([], "salina: 3 faults")


def test_no_change_is_running(installation: Installation) -> None:
    """`fleet.watch` says so, and ends."""
    watching = salt_run(installation, "fleet.watch")
    watching.follow()
    assert (watching.code, watching.printed.strip()) == (0, "no change is running")


def test_a_watcher_notices_that_a_change_was_killed(installation: Installation, slow: None) -> None:
    """K2: The watcher ends, and says that the change has not ended."""
    change = salt_run(installation, "fleet.deploy")
    watching = salt_run(installation, "fleet.watch", "timeout=60")
    assert change.process.stderr
    next(line for line in change.process.stderr if line.startswith("… master"))
    change.process.kill()
    change.follow()
    watching.follow()
    assert "deployment: stopped before its end; run the same command again" in watching.printed
    ready: Any = installation.run("fleet.ready")
    assert ready.returncode == 0

"""The progress of a change, as its operator and a second terminal see it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from tests import fleets
from tests.lab import lab
from tests.watched import Watched

pytestmark = [pytest.mark.lab, pytest.mark.slow]

INITIAL = len(fleets.topology().pools["app"].initial)
NEW = f"s{INITIAL + 1}"
KEPT = "/var/lib/salina/durations.json"


def request(count: int) -> str:
    """A count as the pillar of orch.scale."""
    return f"pillar={json.dumps({'pool': 'app', 'count': count})}"


def salt_run(*arguments: str) -> Watched:
    """Start a `salt-run` on the master, as an operator does."""
    return Watched([str(lab.LAB), "salt-run", *arguments])


@pytest.fixture(autouse=True)
def initial() -> Iterator[None]:
    """The pool is as the topology begins, also after a test that failed."""
    yield
    done = lab.salt_run("state.orchestrate", "orch.scale", request(INITIAL))
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr


@pytest.mark.proof
def test_a_change_shows_its_progress_here_and_in_a_second_terminal() -> None:
    """Step, host, state, elapsed and expected time are never older than two seconds. The
    end lists what changed and how long each step took, and no warning of Salt appears.
    """
    plan = json.loads(lab.salt_run("fleet.plan", "pool=app", f"count={INITIAL + 1}").stdout)
    steps = [step["name"] for step in plan["steps"]]
    known = {name: [31.0] for name in steps}
    lab.run("salt", "sh", "-euc", f"cat >{KEPT}", given=json.dumps(known))
    watching = salt_run("fleet.watch", "timeout=60")
    change = salt_run("fleet.scale", "pool=app", f"count={INITIAL + 1}")
    change.follow()
    watching.follow()
    assert (change.code, watching.code) == (0, 0), change.output + watching.output
    assert not change.stale()
    shown = rf"… applied  \d+ s of about 31 s; in all .+: .*{NEW} applies its states \d+ s.*"
    for each in (change, watching):
        assert any(re.fullmatch(shown, line) for line in each.lines), each.lines
        assert any(f"{NEW} is being created" in line for line in each.lines), each.lines
        for step in steps:
            assert any(re.fullmatch(rf"✓ {step}  .*\d+ s", line) for line in each.ended), step
        assert not each.noise()
    assert change.told == watching.told
    assert change.told[0].startswith(f"app: add {NEW}: done in ")
    for step in steps:
        assert any(re.match(rf"  ✓ {step} +.*\d+ s$", line) for line in change.told), step
    assert re.search(rf"✓ {NEW} +\d+ of \d+ states changed", change.printed)
    kept = json.loads(lab.run("salt", "cat", KEPT))
    assert all(len(kept[name]) == 2 for name in steps)


@pytest.mark.proof
def test_the_commands_of_the_readme_show_it_too() -> None:
    """`state.orchestrate` prints the progress, the end, and then Salt's own summary."""
    for arguments in (["orch.deploy"], ["orch.scale", request(INITIAL + 1)]):
        change = salt_run("state.orchestrate", *arguments)
        change.follow()
        assert change.code == 0, change.output
        assert not change.stale()
        [end] = [number for number, line in enumerate(change.lines) if ": done in " in line]
        assert len(change.lines[end:]) > 3
        assert "Succeeded: " in change.printed
        assert not change.noise()


@pytest.mark.proof
def test_make_up_shows_the_deployment() -> None:
    """`make up` prints the same lines, in a log at least every two seconds."""
    up = Watched([str(lab.LAB), "up"], merged=True)
    up.follow()
    assert up.code == 0, up.output
    first = next(number for number, line in enumerate(up.lines) if "deployment: " in line)
    last = next(number for number, line in enumerate(up.lines) if "✓ deployment" in line)
    assert not up.stale(first, last - 1)
    assert any("applies its states" in line for line in up.lines[first:last])
    assert not up.noise()


@pytest.mark.proof
def test_an_error_comes_first() -> None:
    """K5: A refused request begins with its fault and has no traceback above it."""
    refused = salt_run("fleet.scale", "pool=app", "count=99")
    refused.follow()
    assert refused.code == 1
    assert (refused.lines, refused.told[0]) == ([], "request: 1 fault")
    assert "count: 99 is not valid; must be a number from 1 to 10" in refused.printed

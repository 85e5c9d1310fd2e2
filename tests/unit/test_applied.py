"""S13: The record of a host's last apply, and of what another one would change."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from salina.applied import record
from salina.common import state
from salina.health import probes
from salina_fleet.model import drift
from tests import fleets
from tests.loading import load
from tests.render.minion import Minion

DAY = 86_400
GOOD = {"name": "/a", "__id__": "a", "__run_num__": 0, "result": True}
FAILED = {"name": "/b", "__id__": "b", "__run_num__": 1, "result": False}
CHANGES = {"name": "/c", "__id__": "c", "__run_num__": 3, "result": None}
NOTE = {"name": "/d", "__id__": "d", "__run_num__": 2, "result": None, "note": True}


def results(*states: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Results by Salt's tags."""
    return {one["name"]: one for one in states}


def test_s13_a_prediction_names_what_would_change() -> None:
    """S13: Notes do not count. The first day in a row is kept."""
    first = record.predicted(results(CHANGES, FAILED, NOTE, GOOD), 100, {})
    assert first == {"begun": 100, "changes": ["c"], "failures": ["b"], "since": 100}
    assert record.predicted(results(CHANGES), 200, first)["since"] == 100
    calm = record.predicted(results(GOOD, NOTE), 300, first)
    assert calm == {"begun": 300, "changes": [], "failures": [], "since": 300}
    assert record.predicted(results(CHANGES), 400, calm)["since"] == 400


def test_s13_a_prediction_that_cannot_begin_is_a_failure() -> None:
    """S13: As when a file has a fault."""
    found = record.predicted(["Rendering SLS 'base:x' failed:\n  y"], 1, {})
    assert found["failures"] == ["Rendering SLS 'base:x' failed: y"]
    assert record.predicted("Pillar failed", 1, {})["failures"] == ["Pillar failed"]


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The directory of the records, not there yet."""
    monkeypatch.setattr(record, "FOLDER", tmp_path / "applied")
    return tmp_path / "applied"


def test_s13_the_last_state_records_an_apply(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """S13, K3: A prediction records nothing, and neither of them announces a change."""
    monkeypatch.setattr(state, "before", lambda: results(GOOD, FAILED))
    salt = {"drift.applied": load("_modules/drift.py").applied}
    foretold = load("_states/verdict.py", salt=salt, opts={"test": True}).recorded("x")
    assert not folder.exists()
    done = load("_states/verdict.py", salt=salt, opts={"test": False}).recorded("x")
    assert done == foretold == state.result("x", True, "failed: b")
    assert record.read(record.LAST)["failed"] == ["b"]
    folder.joinpath(record.LAST).write_text("damaged")
    assert record.read(record.LAST) == {}


@pytest.mark.parametrize("host", ["s1", "nas1", "salt"])
def test_s13_nothing_comes_after_it(host: str) -> None:
    """S13: Salt sorts the last states by their names, so it sees the results of all others."""
    assert Minion(host, fleets.pillar(host)).chunks[-1]["__id__"] == "applied-recorded"


class Host:
    """A host whose minion predicts."""

    def __init__(self) -> None:
        self.running: list[list[Any]] = []
        self.asked: list[dict[str, Any]] = []
        self.returned: Any = results(CHANGES)
        self.meanwhile: dict[str, Any] | None = None
        self.context: dict[str, Any] = {}

    def apply(self, **given: Any) -> Any:
        """Salt's `state.apply`."""
        self.asked.append(given)
        self.context["retcode"] = 2
        if self.meanwhile:
            record.write(record.LAST, self.meanwhile)
        return self.returned

    def look(self) -> dict[str, Any]:
        """Predict."""
        salt = {
            "saltutil.is_running": lambda _: self.running.pop() if self.running else [],
            "state.apply": self.apply,
        }
        found: dict[str, Any] = load("_modules/drift.py", salt=salt, context=self.context).look()
        return found


def test_s13_a_look_is_recorded(folder: Path) -> None:
    """S13: Salt does not take it for an apply, so one can begin meanwhile. It ends with success."""
    host = Host()
    first = host.look()
    assert first == record.read(record.PREDICTED) and first["changes"] == ["c"]
    assert host.asked == [{"test": True, "concurrent": True}] and host.context["retcode"] == 0
    assert host.look()["since"] == first["since"]
    record.write(record.LAST, {"ended": time.time(), "failed": []})
    assert host.look()["since"] > first["since"]


def test_s13_a_look_beside_an_apply_is_not(folder: Path) -> None:
    """S13: It may have seen half of the changes."""
    host = Host()
    host.running = [[1]]
    assert host.look() == {"obstacle": "states are being applied"} and not host.asked
    host.running = [[1], []]
    assert host.look() == {"obstacle": "states were applied meanwhile"}
    host.meanwhile = {"ended": time.time() + 1, "failed": []}
    assert host.look() == {"obstacle": "states were applied meanwhile"}
    assert record.read(record.PREDICTED) == {}


# The check


def seen(
    folder: Path, last: dict[str, Any] | None, predicted: dict[str, Any] | None = None
) -> dict[str, tuple[Any, ...]]:
    """The words of the check about two records, by the subject."""
    for name, content in ((record.LAST, last), (record.PREDICTED, predicted)):
        if content is not None:
            record.write(name, content)
    days = {"alarm_days": 3, "apply_days": 35}
    arguments = {"folder": str(folder), "predicts": True, "host": "s1", **days}
    return {what: tuple(rest) for what, *rest in probes.made("applied", arguments)}


def test_s13_a_good_apply_says_nothing(folder: Path) -> None:
    """S13: Neither does a prediction that is older than it."""
    now = time.time()
    older = {"begun": now - 9, "since": now - 9, "changes": ["c"], "failures": []}
    found = seen(folder, {"ended": now - 5, "failed": []}, older)
    assert found == {"apply": (True, ""), "drift": (True, "")}


def test_s13_a_host_without_an_apply(folder: Path) -> None:
    """S13: The notice has the next command."""
    good, words, notice = seen(folder, None)["apply"]
    assert good and notice and words.startswith("none is recorded; next: salt ")


@pytest.mark.parametrize(("days", "good"), [(0, True), (2.9, True), (3.1, False)])
def test_s13_a_failed_apply_is_a_notice_and_then_a_fault(
    folder: Path, days: float, good: bool
) -> None:
    """S13: After some days nobody has cared for it."""
    found = seen(folder, {"ended": time.time() - days * DAY, "failed": ["a", "b", "c", "d"]})
    assert found["apply"][0] is good and (found["apply"][2:] == (True,)) is good
    assert "a, b, c and 1 more; next: salt" in found["apply"][1]


def test_s13_an_apply_that_fails_again_and_again_is_a_fault(folder: Path) -> None:
    """S13: Its age is that of the first failure in a row."""
    now, found = time.time(), dict[str, Any]()
    for days in (3.5, 2, 0.1):
        found = record.last(["a"], now - days * DAY, found)
    good, words = seen(folder, found)["apply"]
    assert not good and words.startswith("failed 2 hours ago: a; next: salt")
    good_again = record.last([], now, found)
    assert record.last(["a"], now + 1, good_again)["since"] == now + 1


@pytest.mark.parametrize(("days", "good"), [(5.4, True), (5.6, False)])
def test_s13_predictions_that_have_ended_are_a_notice_and_then_a_fault(
    folder: Path, days: float, good: bool
) -> None:
    """S13: They find what nothing else does."""
    applied = {"ended": time.time() - days * DAY, "failed": []}
    assert seen(folder, applied)["drift"][0] is good


@pytest.mark.parametrize(("days", "good"), [(0, True), (2.9, True), (3.1, False)])
def test_s13_drift_is_a_notice_and_then_a_fault(folder: Path, days: float, good: bool) -> None:
    """S13: It names the states."""
    now = time.time()
    drifted = {"begun": now, "since": now - days * DAY, "changes": ["c"], "failures": ["e"]}
    found = seen(folder, {"ended": now - 4 * DAY, "failed": []}, drifted)["drift"]
    assert found[0] is good and (found[2:] == (True,)) is good
    assert found[1].startswith("an apply would change c; it would fail: e, for ")
    assert found[1].endswith("next: salt-run fleet.plan")


def test_s13_what_has_not_happened_for_long(folder: Path) -> None:
    """S13: No apply for weeks, and no prediction for days."""
    found = seen(folder, {"ended": time.time() - 36 * DAY, "failed": []})
    assert found["drift"][0] is False
    assert found["apply"][:2] == (True, found["apply"][1]) and "36 days ago" in found["apply"][1]
    assert found["drift"][1] == "no prediction yet; see journalctl -u salina-drift"
    begun = {"begun": time.time() - 3 * DAY, "since": 0, "changes": [], "failures": []}
    assert "the last prediction was 3 days ago" in seen(folder, None, begun)["drift"][1]


def test_s13_no_two_hosts_predict_at_the_same_time() -> None:
    """S13: So the fleet does not feel it."""
    assert drift.time(5, 70) == "06:10" and drift.time(23, 90) == "00:30"
    times = [fleets.pillar(host)["drift"]["time"] for host in fleets.fleet().hosts]
    assert len({*times}) == len(times)

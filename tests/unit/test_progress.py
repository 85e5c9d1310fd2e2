"""The progress of a change: what events mean, how long steps take, what an operator sees."""

from __future__ import annotations

import json
import os
import pty
import termios
import time
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import salt.exceptions
import salt.utils.event

from salina.common import orchestration
from salina_fleet import runner
from salina_fleet.change import deployment, follow, progress, scale, screen
from salina_fleet.change.progress import NOTE, Picture, loads
from salina_fleet.errors import RunnerError
from salina_fleet.site import Site
from tests import fleets
from tests.loading import load

STEPS: list[dict[str, Any]] = [
    {"name": "answer", "runner": "fleet.ready", "arguments": {"hosts": ["nas1", "lb1"]}},
    {"name": "alone", "hosts": ["lb1"], "sls": "prepare", "parallel": True},
    {"name": "applied", "hosts": ["nas1", "s4"]},
    {"name": "done", "runner": "change.done", "arguments": {"pool": "app"}},
]
EARLIER = {"answer": [1.0, 3.0, 2.0], "alone": [50.0], "applied": [40.0], "done": [1.0]}
GOOD = {
    "file_|-a_|-/a_|-managed": {"result": True, "comment": "", "__id__": "a"},
    "file_|-b_|-/b_|-managed": {"result": True, "changes": {"new": 1}, "__id__": "b"},
}
BAD = {"pkg_|-c_|-c_|-installed": {"result": False, "comment": "no package", "__id__": "c"}}


def ready(*hosts: str) -> dict[str, Any]:
    """Return the event with which Salt begins a step that waits for hosts."""
    return {"type": "runner", "name": "fleet.ready", "kwargs": {"hosts": list(hosts)}}


def begun(durations: dict[str, list[float]] | None = None) -> Picture:
    """Return a change whose hosts apply their states."""
    picture = Picture.begin("app: add s4", STEPS, durations or {}, 100, 7)
    picture.see("salt/run/1/args", ready("nas1", "lb1"), 101)
    picture.see("salt/run/1/args", {"type": "state", "name": "alone"}, 103)
    new = {"fun": "state.sls", "tgt": ["lb1"], "minions": ["lb1"]}
    picture.see("salt/job/20/new", new, 103)
    picture.see("salt/run/1/args", {"type": "state", "name": "applied"}, 104)
    new = {"fun": "state.highstate", "tgt": ["nas1", "s4"], "minions": ["nas1", "s4"]}
    picture.see("salt/job/21/new", new, 104)
    return picture


def test_the_present_has_step_host_state_elapsed_and_usual_time() -> None:
    """Each running step has its hosts, their states, and the elapsed and the usual time."""
    assert begun(EARLIER).live(110) == [
        "… alone  7 s of about 50 s; in all 10 s of about 43 s",
        "    lb1      applies its states  7 s",
        "… applied  6 s of about 40 s",
        "    nas1     applies its states  6 s",
        "    s4       applies its states  6 s",
    ]
    first, *_ = begun().live(110)
    assert first == "… alone  7 s; in all 10 s"


def test_what_has_ended_stays_with_its_outcome() -> None:
    """Each host's line says what changed; each step's line says how long it took."""
    picture = begun()
    picture.see("salt/job/21/ret/s4", {"retcode": 0, "return": GOOD}, 120)
    picture.see("salt/job/20/ret/lb1", {"retcode": 0, "return": {}}, 121)
    picture.see("salt/job/21/ret/nas1", {"retcode": 2, "return": GOOD | BAD}, 250)
    assert picture.lines == [
        "app: add s4: 4 steps",
        "✓ answer  2 s",
        "  ✓ s4       1 of 2 states changed (b)  16 s",
        "  ✓ lb1      0 of 0 states changed  18 s",
        "✓ alone  18 s",
        "  ✗ nas1     1 of 3 states changed (b), 1 failed  2 min 26 s",
        "✗ applied  2 min 26 s",
    ]
    assert picture.live(250) == ["… next: done; in all 2 min 30 s"]


def test_a_runner_says_what_its_hosts_do() -> None:
    """A runner's notes name the hosts that its step still waits for."""
    picture = Picture.begin("app: add s4", STEPS, {}, 100, 7)
    picture.see("salt/run/1/args", ready("nas1", "lb1"), 100)
    waits = {"hosts": ["nas1", "lb1"], "state": "does not\x1b[2J answer yet", "done": False}
    picture.see(NOTE, waits, 101)
    picture.see(NOTE, {"hosts": ["nas1"], "state": "answers", "done": True}, 102)
    assert picture.live(104) == [
        "… answer  4 s; in all 4 s",
        "    lb1      does not [2J answer yet  3 s",
    ]


@pytest.mark.parametrize(
    ("tag", "data"),
    [
        ("salt/run/1/args", ready("nas1")),
        ("salt/run/1/args", {"type": "state", "name": "another"}),
        ("salt/run/1/new", {"fun": "runner.fleet.ready"}),
        ("salt/job/5/new", {"fun": "state.highstate", "tgt": ["s1"]}),
        ("salt/job/5/new", {"fun": "test.ping", "tgt": ["nas1", "s4"]}),
        ("salt/job/5/ret/s4", {"retcode": 0, "return": {}}),
        ("salt/job/21/ret/eve", {"retcode": 0, "return": {}}),
        ("salt/auth", {"id": "s1"}),
    ],
)
def test_other_events_change_nothing(tag: str, data: dict[str, Any]) -> None:
    """Events of other jobs, and of hosts that have no part in the change, are ignored."""
    picture = begun()
    picture.see(tag, data, 110)
    assert picture == begun()


def test_the_end_lists_what_changed_and_how_long_each_step_took() -> None:
    """Each step has its duration, and each host its changes."""
    picture = begun()
    for host, job in (("s4", 21), ("nas1", 21), ("lb1", 20)):
        picture.see(f"salt/job/{job}/ret/{host}", {"retcode": 0, "return": GOOD}, 120)
    results = {"answer": (True, 2.4), "alone": (True, 17), "applied": (True, 15), "done": (True, 1)}
    picture.finish("", results, 123)
    assert picture.end.splitlines() == [
        "app: add s4: done in 23 s",
        "  ✓ answer   2 s",
        "  ✓ alone    17 s",
        "      ✓ lb1      1 of 2 states changed (b)  17 s",
        "  ✓ applied  15 s",
        "      ✓ nas1     1 of 2 states changed (b)  16 s",
        "      ✓ s4       1 of 2 states changed (b)  16 s",
        "  ✓ done     1 s",
    ]


def test_the_end_begins_with_the_error() -> None:
    """K5: The error comes first; steps that were not taken are named as such."""
    picture = begun()
    picture.finish("s4: c (pkg.installed)\n  no package\nnext: salt s4 state.apply", {}, 123)
    assert picture.end.splitlines()[:4] == [
        "s4: c (pkg.installed)",
        "  no package",
        "next: salt s4 state.apply",
        "app: add s4: failed after 23 s",
    ]
    assert picture.end.splitlines()[-1] == "  - done     not done"


def test_expected_times_are_those_of_earlier_changes() -> None:
    """A step's usual time is the median of its last durations; a failed step has no part."""
    picture = begun({"answer": [1.0, 9.0, 2.0]})
    assert picture.steps[0].usual == 2.0
    assert picture.usual is None  # because not all steps have been taken before
    picture.finish("x", {"answer": (True, 4.04), "applied": (False, 1)}, 123)
    assert picture.durations({"answer": [1.0] * 9, "other": [3.0]}) == {
        "answer": [1.0] * 8 + [4.0],
        "other": [3.0],
    }


def test_a_picture_survives_as_text() -> None:
    """A damaged text gives no picture."""
    picture = begun(EARLIER)
    assert loads(progress.dumps(picture)) == picture
    for damaged in ("", "{}", "[]", "null", '{"steps": [{}]}', progress.dumps(picture)[:-9]):
        assert loads(damaged) is None
    for damaged in ("", "[]", '{"a": 1}', '{"a": ["x"]}'):
        assert progress.load_durations(damaged) == {}


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        (GOOD, "1 of 2 states changed (b)"),
        (GOOD | BAD, "1 of 3 states changed (b), 1 failed"),
        (["Rendering failed"], "could not begin"),
        (
            {str(n): {"changes": {"x": n}, "__id__": f"s\x1b{n}"} for n in range(1, 6)},
            "5 of 5 states changed (s 1, s 2, s 3, and 2 more)",
        ),
    ],
)
def test_outcome_of_a_run(states: object, expected: str) -> None:
    assert progress.outcome(states) == expected


def test_the_steps_of_a_deployment() -> None:
    """Each tier waits for its hosts, which prepare while the tiers before it are applied."""
    told = deployment.told([("storage", ["nas1"]), ("app", ["s1", "s2"])])
    assert [(step["name"], step.get("hosts")) for step in told["steps"]] == [
        ("every planned minion answers", None),
        ("every later host does what it can do alone", ["s1", "s2"]),
        ("storage", ["nas1"]),
        ("app can begin", None),
        ("app", ["s1", "s2"]),
        ("every minion has its configuration", None),
    ]
    assert [step["name"] for step in told["steps"] if step.get("parallel")] == [deployment.EARLY]
    assert deployment.EARLY not in [
        step["name"] for step in deployment.told([("all", ["x"])])["steps"]
    ]


def test_a_change_in_words() -> None:
    """`fleet.plan` and the progress call a change the same."""
    words = {
        "app: add s4, s5 and remove s2": scale.Change("app", (), ("s4", "s5"), ("s2",)),
        "app: nothing to change": scale.Change("app", ("s1",), (), ()),
    }
    assert [scale.told(change, [], [], [])["what"] for change in words.values()] == [*words]


def test_results_of_the_steps_that_were_taken() -> None:
    """A step that was not taken, or that still runs, has no result."""
    steps = {
        "a": {"__id__": "one", "result": True, "duration": 1500.0, "comment": "x"},
        "b": {"__id__": "two", "result": False, "duration": 20, "comment": "failed"},
        "c": {"__id__": "three", "result": False, "comment": "One or more requisite failed: x"},
        "d": {"__id__": "four", "result": None, "comment": "Started", "proc": object()},
    }
    assert orchestration.results(steps) == {"one": (True, 1.5), "two": (False, 0.02)}


# The screen


def test_a_log_is_never_older_than_the_heartbeat() -> None:
    """A line about the present follows each event, and each second without an event. It
    repeats what it said about the hosts only when that has changed.
    """
    reading, writing = os.pipe()
    shown = screen.Screen(writing)
    live = ["… applied  6 s", "    s4       applies its states  6 s", "    nas1     x"]
    shown.show(["✓ answer  2 s"], live, 10.0)
    shown.show([], live, 10.5)
    shown.show([], [*live[:1], *(line.replace("6 s", "7 s") for line in live[1:])], 11.1)
    shown.show([], live[:2], 12.2)
    shown.show(["end"], [], 12.3)
    os.close(writing)
    with open(reading, encoding="utf-8") as file:
        told = "… applied  6 s: s4 applies its states 6 s; nas1 x"
        assert file.read().splitlines() == [
            *("✓ answer  2 s", told),
            "… applied  6 s",
            "… applied  6 s: s4 applies its states 6 s",
            "end",
        ]
    assert screen.HEARTBEAT + follow.TICK < 2


def test_a_terminal_shows_the_present_in_place() -> None:
    """Lines about the present replace one another, and never wrap."""
    outer, inner = pty.openpty()
    termios.tcsetwinsize(inner, (24, 80))
    shown = screen.Screen(inner)
    shown.show([], ["… applied", "    s4  " + "x" * 500], 10.0)
    present = os.read(outer, 10000).decode().splitlines()
    assert present == ["… applied", "    s4  " + "x" * 71]
    shown.show(["✓ applied"], [], 10.1)
    assert os.read(outer, 10000).decode() == "\x1b[2F\x1b[J\x1b[32m✓\x1b[0m applied\r\n"
    os.close(outer)
    os.close(inner)


def test_a_closed_output_does_not_stop_a_change() -> None:
    """The operator's terminal may go away."""
    reading, writing = os.pipe()
    os.close(reading)
    os.close(writing)
    screen.Screen(writing).show(["x"], [], 1.0)


# Following


class Bus:
    """Salt's event bus with given events."""

    def __init__(self, events: list[tuple[str, dict[str, Any]]]) -> None:
        self.events = events

    def __enter__(self) -> Bus:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def connect_pub(self) -> None:
        pass

    def get_event(self, **_: Any) -> dict[str, Any] | None:
        time.sleep(0.01)
        return dict(zip(("tag", "data"), self.events.pop(0), strict=True)) if self.events else None


@pytest.fixture
def warned(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The warnings in the log."""
    found: list[str] = []
    monkeypatch.setattr(follow.log, "warning", lambda text, *given: found.append(text % given))
    return found


@pytest.fixture
def bus(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """The events that a follower hears."""
    events: list[tuple[str, dict[str, Any]]] = []
    monkeypatch.setattr(salt.utils.event, "get_event", lambda *_, **__: Bus(events))
    return events


def begin(state: Path, cli: str = "salt-run", steps: progress.Steps = STEPS) -> None:
    """Begin to follow the change."""
    follow.begin({"sock_dir": "", "__cli": cli}, state, "app: add s4", steps)


def seen(state: Path, line: str) -> None:
    """Wait until another process can see a line."""
    end = time.monotonic() + 5
    while line not in "\n".join([*(picture := follow.read(state) or begun()).lines, picture.end]):
        assert time.monotonic() < end, picture
        time.sleep(0.02)


def test_a_change_is_followed_until_its_end(
    bus: list[tuple[str, dict[str, Any]]], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """It is printed, it is there for other processes, and its durations are kept."""
    begin(tmp_path, steps=STEPS[1:])
    begin(tmp_path)  # the orchestration says so again, with another step, and nothing begins again
    bus += [
        ("salt/run/1/args", ready("nas1", "lb1")),
        ("salt/job/broken/new", {"fun": "state.sls", "tgt": 3}),
        ("salt/run/1/args", {"type": "state", "name": "applied"}),
    ]
    seen(tmp_path, "✓ answer  0 s")
    assert follow.watch(tmp_path / "none", 0) == "no change is running"
    follow.end("", {"answer": (True, 2.0), "applied": (True, 31.0)})
    follow.end("", {})  # there is nothing to end any more
    picture = follow.read(tmp_path)
    assert picture and picture.end.startswith("app: add s4: done in")
    assert json.loads((tmp_path / follow.DURATIONS).read_text()) == {
        "answer": [2.0],
        "applied": [31.0],
    }
    lines = capfd.readouterr().err.splitlines()
    assert lines[0] == "app: add s4: 3 steps"
    assert lines.count(lines[0]) == 1
    assert "  ✓ applied  31 s" in lines
    assert follow.watch(tmp_path, 0) == "no change is running"
    assert sorted(file.name for file in tmp_path.iterdir()) == [follow.DURATIONS, follow.PICTURE]


def test_a_busy_disk_does_not_keep_the_screen_waiting(
    bus: list[tuple[str, dict[str, Any]]],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The lines appear while a picture is still being written; then the latest is written."""
    free, written = Event(), []

    def write(_: Path, text: str) -> None:
        free.wait(10)
        written.append(text)

    monkeypatch.setattr(follow, "write", write)
    begin(tmp_path)
    bus += [
        ("salt/run/1/args", ready("nas1", "lb1")),
        ("salt/run/1/args", {"type": "state", "name": "applied"}),
    ]
    seen = ""
    for _ in range(500):
        seen += capfd.readouterr().err
        if "✓ answer  0 s" in seen:
            break
        time.sleep(0.01)
    assert "✓ answer  0 s" in seen
    assert written == []
    free.set()
    follow.end("", {})
    latest = loads(written[-1])
    assert latest and latest.ended and len(written) <= 3


def test_a_failed_change_teaches_nothing(
    bus: list[tuple[str, dict[str, Any]]], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A runner can return the text of the end; then it is not printed a second time."""
    begin(tmp_path)

    def fail() -> str:
        return "no room"

    error, text = follow.returned(fail)
    assert (error, text.splitlines()[0]) == ("no room", "no room")
    assert "no room" not in capfd.readouterr().err
    assert not (tmp_path / follow.DURATIONS).exists()


def test_only_an_operator_sees_the_lines(
    bus: list[tuple[str, dict[str, Any]]], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The reactor and the schedule print nothing, and a watcher sees their changes."""
    begin(tmp_path, cli="salt-master")
    seen(tmp_path, "app: add s4: 4 steps")
    follow.end("", {})
    assert capfd.readouterr().err == ""


def test_a_watcher_sees_the_whole_change(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second terminal shows what has happened, what happens, and the end."""
    picture = begun(EARLIER)
    picture.pid, picture.at = os.getpid(), time.time()
    follow.write(tmp_path, progress.dumps(picture))

    def later(_: float) -> None:
        picture.finish("", {"applied": (True, 3)}, time.time())
        follow.write(tmp_path, progress.dumps(picture))

    monkeypatch.setattr(follow.time, "sleep", later)
    assert follow.watch(tmp_path, 0).startswith("app: add s4: done in")
    lines = capfd.readouterr().err.splitlines()
    assert lines[:2] == ["app: add s4: 4 steps, usually 43 s", "✓ answer  2 s"]
    assert any("nas1 applies its states" in line for line in lines)
    assert "✓ applied" in "\n".join(lines)


@pytest.mark.parametrize(("pid", "age"), [(2**22 + 1, 0), (os.getpid(), 60)], ids=["dead", "late"])
def test_a_watcher_notices_that_a_change_has_died(tmp_path: Path, pid: int, age: float) -> None:
    """A killed change is not shown as a running one."""
    picture = begun()
    picture.pid, picture.at = pid, time.time() - age
    follow.write(tmp_path, progress.dumps(picture))
    assert follow.watch(tmp_path, 0) == "no change is running"


def test_a_second_change_leaves_the_picture_of_the_first_one(
    bus: list[tuple[str, dict[str, Any]]], tmp_path: Path
) -> None:
    """A change that will be refused does not hide the one that is running."""
    first = begun()
    first.pid, first.at = os.getppid(), time.time()
    follow.write(tmp_path, progress.dumps(first))
    begin(tmp_path)
    follow.end("another change is running", {})
    assert follow.read(tmp_path) == first


def test_a_directory_that_cannot_be_written_does_not_stop_a_change(
    bus: list[tuple[str, dict[str, Any]]], tmp_path: Path, warned: list[str]
) -> None:
    """A change never fails because of its progress."""
    begin(tmp_path / "none")
    follow.end("", {})
    assert len(warned) == 1 and "the durations of the change are not recorded: " in warned[0]


def test_without_a_bus_the_change_goes_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, warned: list[str]
) -> None:
    """The steps and their durations are still shown at the end."""

    def no_bus(*_: object, **__: object) -> None:
        raise OSError("no socket")

    monkeypatch.setattr(salt.utils.event, "get_event", no_bus)
    begin(tmp_path)
    follow.end("", {"applied": (True, 3.0)})
    picture = follow.read(tmp_path)
    assert picture and "✓ applied  3 s" in picture.end
    assert warned == ["the progress of the change is no longer shown: no socket"]


# The commands


def test_k5_an_error_is_printed_without_a_traceback() -> None:
    """K5: Salt prints a traceback above the message of any exception but this kind."""
    assert issubclass(RunnerError, salt.exceptions.NotImplemented)
    assert issubclass(RunnerError, salt.exceptions.CommandExecutionError)


@pytest.mark.parametrize("failed", [[], [orchestration.Failure("s1", "x", "y", "salt s1 z")]])
def test_one_command_makes_a_change_and_shows_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, failed: list[orchestration.Failure]
) -> None:
    """`fleet.deploy` returns the text of the end, or fails with it."""
    begun: list[str] = []
    fleet = fleets.fleet()
    site = Site(
        tmp_path, tmp_path, fleet, fleets.definitions(fleet.topology), fleets.LOCKS, fleets.TREE
    )
    fleets.record(tmp_path)
    monkeypatch.setattr(runner, "site", lambda _: site)
    monkeypatch.setattr(runner, "orchestrate", lambda *_: failed)
    monkeypatch.setattr(follow, "begin", lambda *given: begun.append(given[2]))
    deploy = load("_runners/fleet.py", opts={}).deploy
    if failed:
        with pytest.raises(RunnerError, match=r"s1: x\n  y\nnext: salt s1 z"):
            deploy()
    else:
        assert deploy() == "deployment"
    assert begun == ["deployment"]

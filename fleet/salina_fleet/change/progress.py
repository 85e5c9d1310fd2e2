"""The picture of a running change: its steps, the hosts that each works on, and their times.

The steps are known before a change begins. Afterwards, Salt's events and the notes of the runners
report what happens. This module turns them into the picture, and the picture into lines of text.
`follow` gets the events and shows the lines.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

NOTE = "note"
"""The tag of a runner's note: {hosts, state, done}."""
STATE_FUNCTIONS = ("state.apply", "state.sls", "state.highstate")
APPLIES = "applies its states"
NAMED = 3
"""How many changed states of a host a line names."""
KEPT = 9
"""How many earlier durations of a step are kept."""
GOOD, BAD, RUNNING, UNBEGUN = "✓", "✗", "…", "-"
LATE = 10.0
"""Seconds after which a picture that nobody renewed belongs to a change that has died."""

Steps = Iterable[Mapping[str, Any]]
Durations = Mapping[str, Sequence[float]]
Results = Mapping[str, tuple[bool, float]]


@dataclass
class Work:
    """A host's part in a step. Times are seconds since the epoch."""

    begun: float
    state: str = ""
    ended: float | None = None
    good: bool = True


@dataclass
class Step:
    """A step of a change: a runner's function, or states that hosts apply.

    `usual` is the number of seconds that the step usually takes, if it has been taken before. A
    `parallel` step may still be running when the next one begins. `job` is Salt's number for the
    states that the hosts apply.
    """

    name: str
    hosts: list[str]
    runner: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)
    parallel: bool = False
    usual: float | None = None
    begun: float | None = None
    ended: float | None = None
    good: bool = True
    job: str = ""
    work: dict[str, Work] = field(default_factory=dict)

    @property
    def running(self) -> bool:
        """Tell whether the step has begun and not ended."""
        return self.begun is not None and self.ended is None

    def begins(self, data: Mapping[str, Any]) -> bool:
        """Tell whether an event `args` of an orchestration announces this step."""
        if self.runner:
            given = data.get("kwargs") or {}
            same = all(given.get(key) == value for key, value in self.arguments.items())
            return data.get("name") == self.runner and same
        return data.get("type") == "state" and data.get("name") == self.name


@dataclass
class Picture:
    """A change: the steps that it has taken, and those that it takes now.

    `lines` are the lines that stay on the screen. `ended` is the time of the end, and `end` its
    text. `at` is the time at which the picture was last renewed.
    """

    what: str
    steps: list[Step]
    begun: float
    pid: int
    lines: list[str] = field(default_factory=list)
    at: float = 0.0
    ended: float | None = None
    end: str = ""

    @classmethod
    def begin(cls, what: str, steps: Steps, durations: Durations, now: float, pid: int) -> Picture:
        """Return the picture of a change that has just begun.

        Args:
            what: the change in a few words.
            steps: as `planned` takes them.
            durations: the seconds that earlier steps of the same names took.
            now: seconds since the epoch.
            pid: the process that makes the change.
        """
        picture = cls(what, planned(steps, durations), now, pid, at=now)
        usual = f", usually {seconds(picture.usual)}" if picture.usual is not None else ""
        picture.lines.append(f"{what}: {len(picture.steps)} steps{usual}")
        return picture

    @property
    def usual(self) -> float | None:
        """The seconds that the whole change usually takes, if each step has been taken before."""
        known = [step.usual for step in self.steps if not step.parallel]
        return sum(one for one in known if one is not None) if None not in known else None

    def see(self, tag: str, data: Mapping[str, Any], now: float) -> None:
        """Take note of an event.

        Args:
            tag: the event's tag; events that do not belong to the change are ignored.
            data: the event.
            now: seconds since the epoch.
        """
        match tag.split("/"):
            case ["salt", "run", _, "args"]:
                self._step_begins(data, now)
            case ["salt", "job", job, "new"] if data.get("fun") in STATE_FUNCTIONS:
                self._job_begins(job, data, now)
            case ["salt", "job", job, "ret", host]:
                self._job_ends(job, host, data, now)
            case [tag] if tag == NOTE:
                self._note(data, now)

    def finish(self, error: str, results: Results, now: float) -> None:
        """Take note of the end.

        Args:
            error: what failed; "" for a success.
            results: whether each step that was taken succeeded, and its seconds.
            now: seconds since the epoch.
        """
        for step in self.steps:
            if step.name in results:
                step.good, took = results[step.name]
                step.begun = now - took if step.begun is None else step.begun
                if step.ended is None:
                    self._end(step, now)
                step.ended = step.begun + took
        self.ended = now
        self.end = "\n".join(self._told(error))

    def live(self, now: float) -> list[str]:
        """Return the lines about the present: the running steps, and each host that is at work."""
        current = [step for step in self.steps if step.running]
        lines = []
        for step in current:
            lines.append(f"{RUNNING} {step.name}  {_of(now - (step.begun or now), step.usual)}")
            for host, work in step.work.items():
                if work.ended is None:
                    lines.append(f"    {host:<8} {work.state}  {seconds(now - work.begun)}")
        if not current:
            waiting = [step.name for step in self.steps if step.begun is None]
            lines.append(f"{RUNNING} {f'next: {waiting[0]}' if waiting else 'the end'}")
        lines[0] += f"; in all {_of(now - self.begun, self.usual)}"
        return lines

    def durations(self, earlier: Durations) -> dict[str, list[float]]:
        """Return the durations of steps, with those of this change added."""
        known = {name: list(some) for name, some in earlier.items()}
        for step in self.steps:
            if step.good and step.begun is not None and step.ended is not None:
                some = [*known.get(step.name, []), round(step.ended - step.begun, 1)]
                known[step.name] = some[-KEPT:]
        return known

    def _step_begins(self, data: Mapping[str, Any], now: float) -> None:
        waiting = (step for step in self.steps if step.begun is None and step.begins(data))
        found = next(waiting, None)
        if found is None:
            return
        for step in self.steps[: self.steps.index(found)]:
            if step.running and not step.parallel:
                self._end(step, now)
        found.begun = now
        if not found.runner:  # a runner says itself what its hosts do
            found.work = {host: Work(now, APPLIES) for host in found.hosts}

    def _job_begins(self, job: str, data: Mapping[str, Any], now: float) -> None:
        for step in self.steps:
            same = isinstance(data.get("tgt"), list) and set(data["tgt"]) == set(step.hosts)
            if step.running and not step.runner and not step.job and same:
                step.job = job
                return

    def _job_ends(self, job: str, host: str, data: Mapping[str, Any], now: float) -> None:
        for step in self.steps:
            if step.job == job and host in step.work and step.running:
                work = step.work[host]
                work.ended, work.good = now, data.get("retcode", 1) == 0
                work.state = outcome(data.get("return"))
                self.lines.append(f"  {_sign(work.good)} {_did(host, work)}")
                if all(one.ended is not None for one in step.work.values()):
                    step.good = all(one.good for one in step.work.values())
                    self._end(step, now)

    def _note(self, data: Mapping[str, Any], now: float) -> None:
        text = printable(str(data["state"]))
        for step in self.steps:
            if step.running and step.runner:
                for host in data["hosts"]:
                    work = step.work.setdefault(host, Work(now))
                    work.state, work.ended = text, now if data["done"] else None

    def _end(self, step: Step, now: float) -> None:
        step.ended = now
        took = seconds(now - (step.begun or now))
        self.lines.append(f"{_sign(step.good)} {step.name}  {took}")

    def _told(self, error: str) -> Iterator[str]:
        """Return the lines of the end: first an error, then each step with its seconds."""
        if error:
            yield from error.splitlines()
        took = seconds((self.ended or self.begun) - self.begun)
        yield f"{self.what}: {'failed after' if error else 'done in'} {took}"
        width = max((len(step.name) for step in self.steps), default=0)
        for step in self.steps:
            if step.begun is None or step.ended is None:
                yield f"  {UNBEGUN} {step.name:<{width}}  not done"
                continue
            yield f"  {_sign(step.good)} {step.name:<{width}}  {seconds(step.ended - step.begun)}"
            for host, work in step.work.items():
                if step.job and work.ended is not None:
                    yield f"      {_sign(work.good)} {_did(host, work)}"


def planned(steps: Steps, durations: Durations) -> list[Step]:
    """Return the steps of a change, before it has taken any.

    Args:
        steps: as `scale.told` and `deployment.told` return them.
        durations: the seconds that earlier steps of the same names took.
    """
    return [
        Step(
            name=one["name"],
            hosts=list(one.get("hosts") or one.get("arguments", {}).get("hosts") or []),
            runner=one.get("runner", ""),
            arguments=dict(one.get("arguments", {})),
            parallel=bool(one.get("parallel")),
            usual=median(durations[one["name"]]) if durations.get(one["name"]) else None,
        )
        for one in steps
    ]


def outcome(states: object) -> str:
    """Return the result of a run of states in a few words."""
    if not isinstance(states, dict):
        return "could not begin"
    results = [state for state in states.values() if isinstance(state, dict)]
    failed = sum(state.get("result") is False for state in results)
    changed = [str(state.get("__id__", "?")) for state in results if state.get("changes")]
    words = f"{len(changed)} of {len(results)} states changed"
    if changed:
        more = f", and {len(changed) - NAMED} more" if len(changed) > NAMED else ""
        words += f" ({printable(', '.join(changed[:NAMED]))}{more})"
    return f"{words}, {failed} failed" if failed else words


def seconds(number: float) -> str:
    """Return a duration as text: `31 s`, `3 min 05 s`."""
    whole = round(max(0.0, number))
    return f"{whole} s" if whole < 120 else f"{whole // 60} min {whole % 60:02} s"


def dumps(picture: Picture) -> str:
    """Return a picture as text, as the master keeps it."""
    return json.dumps(asdict(picture))


def loads(text: str | bytes) -> Picture | None:
    """Return a picture from its text, or None if the text is damaged."""
    try:
        data = json.loads(text)
        steps = [
            Step(**{**one, "work": {host: Work(**work) for host, work in one["work"].items()}})
            for one in data.pop("steps")
        ]
        return Picture(steps=steps, **data)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def load_durations(text: str | bytes) -> dict[str, list[float]]:
    """Return the durations of steps from their text; a damaged text gives none."""
    try:
        return {str(name): [float(one) for one in some] for name, some in json.loads(text).items()}
    except (ValueError, TypeError, AttributeError):
        return {}


def printable(text: str) -> str:
    """Return text from a host without the characters that control a terminal."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _sign(good: bool) -> str:
    return GOOD if good else BAD


def _did(host: str, work: Work) -> str:
    return f"{host:<8} {work.state}  {seconds((work.ended or work.begun) - work.begun)}"


def _of(elapsed: float, usual: float | None) -> str:
    """Return the elapsed time, and the usual one if it is known."""
    return seconds(elapsed) + (f" of about {seconds(usual)}" if usual is not None else "")

"""The plan of an apply: what each host would change, as its states predict it (`test=True`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from salina.common import orchestration, prediction
from salina_fleet.change.progress import printable

APPLY = "state.apply"
RUNNING = "is running as PID"
"""Salt's words for a minion that applies states already."""
ONCE = frozenset(
    {
        "database.present",
        "gluster.peers",
        "gluster.volume",
        "once.done",
        "patroni.configured",
    }
)
"""States that one host changes for several, so the others may find nothing left to do."""
CONTENT = frozenset({"diff", "newfile", "sum"})
"""Keys of Salt's changes of a file whose content differs."""
HIDDEN = "<show_changes=False>"
"""Salt's words instead of the diff of a file with secrets."""


@dataclass(frozen=True)
class Change:
    """A state that would change something.

    `kind` is `file`, `package`, `service`, `restart`, `reload` or `other`. `lines` are the
    differences. `service` is what restarts or reloads, and `turn` the role whose hosts take turns
    for it. Of the hosts with a change that is done `once`, one does it for all.
    """

    state: str
    kind: str
    what: str
    lines: tuple[str, ...] = ()
    service: str = ""
    turn: str = ""
    once: bool = False


@dataclass(frozen=True)
class Expected:
    """The changes of one host.

    `notes` are states that announce no change and say something, mostly that they cannot predict
    anything now. `failures` are states that would fail. `obstacle` is why the host predicted
    nothing.
    """

    changes: tuple[Change, ...] = ()
    notes: tuple[tuple[str, str], ...] = ()
    failures: tuple[str, ...] = ()
    obstacle: str = ""


Plan = Mapping[str, Expected]


def expected(host: str, returned: object) -> Expected:
    """Return what a host would do.

    Args:
        host: its id.
        returned: what `state.apply test=True` returned.
    """
    if not isinstance(returned, Mapping):
        if RUNNING in str(returned):
            return Expected(obstacle="it applies states at the moment")
        causes = [one.cause for one in orchestration.of_host(host, returned, APPLY)]
        return Expected(obstacle=_line(next(filter(None, causes), "it returned no states")))
    failed = list(orchestration.of_host(host, returned, APPLY))
    first = [one for one in failed if not one.cause.startswith(orchestration.CONSEQUENCE)]
    ordered = sorted(returned.items(), key=lambda item: int(item[1].get("__run_num__", 0)))
    predicted = [(tag, state) for tag, state in ordered if state["result"] is not False]
    changes = {
        tag: _change(tag, state)
        for tag, state in predicted
        if not state.get("note") and (state["result"] is None or state["changes"])
    }
    turns = [one.once for one in changes.values() if one.turn]
    if turns and all(turns):  # only the host that does it for all takes a turn, and ends it
        ends = {tag: one for tag, one in changes.items() if tag.startswith("turn_|-")}
        changes |= {tag: replace(one, once=True) for tag, one in ends.items()}
    return Expected(
        tuple(changes.values()),
        tuple(
            (state["__id__"], _line(state["comment"]))
            for _, state in predicted
            if state.get("note")
        ),
        tuple(f"{one.state}: {_line(one.cause)}" for one in first or failed),
    )


def whole(plan: Plan) -> bool:
    """Tell whether every host predicted its changes, and no state would fail."""
    return not any(one.obstacle or one.failures for one in plan.values())


def data(plan: Plan) -> dict[str, Any]:
    """Return a plan for programs."""
    return {
        "complete": not any(one.obstacle for one in plan.values()),
        "summary": summary(plan),
        "hosts": {
            host: {
                "changes": [
                    {**asdict(change), "lines": list(change.lines)} for change in one.changes
                ],
                "notes": dict(one.notes),
                "failures": list(one.failures),
                "obstacle": one.obstacle or None,
            }
            for host, one in plan.items()
        },
    }


def text(plan: Plan) -> str:
    """Return a plan as lines for people; hosts with the same changes are named together."""
    groups: dict[Expected, list[str]] = {}
    for host, one in plan.items():
        groups.setdefault(one, []).append(host)
    quiet = groups.pop(Expected(), [])
    lines = [line for one, hosts in groups.items() for line in _group(hosts, one)]
    if quiet:
        lines.append(f"no changes: {', '.join(quiet)}")
    missing = [f"{host}: {one.obstacle}" for host, one in plan.items() if one.obstacle]
    if missing:
        lines.append("the plan is incomplete, because some hosts did not predict their changes:")
        lines += [f"  {line}" for line in missing]
    return "\n".join([*lines, summary(plan)])


def summary(plan: Plan) -> str:
    """Return how many hosts change, and how many restart what, as one line."""
    changing = sum(bool(one.changes) for one in plan.values())
    verb = "changes" if changing == 1 else "change"
    parts = [f"{_count(changing)} {verb}" if changing else "no host changes"]
    counted: dict[tuple[str, str, bool], set[str]] = {}
    for host, one in plan.items():
        for change in one.changes:
            if change.service:
                key = (change.kind, change.service, bool(change.turn))
                counted.setdefault(key, set()).add(host)
    for (kind, service, turn), hosts in counted.items():
        verb = kind if len(hosts) > 1 else f"{kind}s"
        parts.append(f"{len(hosts)} {verb} {service}{' in turn' if turn else ''}")
    failing = sum(bool(one.failures) for one in plan.values())
    if failing:
        parts.append(f"states would fail on {_count(failing)}")
    silent = sum(bool(one.obstacle) for one in plan.values())
    if silent:
        parts.append(f"incomplete without {_count(silent)}")
    return ", ".join(parts)


def _group(hosts: Sequence[str], one: Expected) -> Iterator[str]:
    if one.obstacle:
        return
    yield f"{', '.join(hosts)}:"
    for change in one.changes:
        once = "; one of these hosts does it for all" if change.once and len(hosts) > 1 else ""
        yield f"  {change.what}{once} ({change.state})"
        for line in change.lines:
            yield f"      {line}"
    for state, said in one.notes:
        yield f"  note: {said} ({state})"
    for failure in one.failures:
        yield f"  would fail: {failure}"


def _change(tag: str, state: Mapping[str, Any]) -> Change:
    module, _, _, function = tag.split("_|-")
    name, changes, comment = str(state["name"]), state["changes"], _line(state["comment"])
    identifier, once = str(state["__id__"]), f"{module}.{function}" in ONCE
    for action in (prediction.RESTART, prediction.RELOAD):
        if action in changes:
            service, turn = str(changes[action]), str(changes.get(prediction.TURN, ""))
            what = f"{action} {service}{' in turn' if turn else ''}: {_cause(changes) or comment}"
            return Change(identifier, action, what, (), service, turn, once)
    if module == "file" or CONTENT & changes.keys():
        return Change(identifier, "file", f"file {printable(name)}", _file(changes), once=once)
    kind = {"pkg": "package", "service": "service", "daemon": "service"}.get(module, "other")
    return Change(identifier, kind, comment, tuple(_differences(changes)), once=once)


def _cause(changes: Mapping[str, Any]) -> str:
    """Return why something restarts or reloads, or "" if only the state's comment says so."""
    verbs = {"read": "changed", "replaced": "was replaced"}
    said = [f"{_shown(changes[key])} {verb}" for key, verb in verbs.items() if key in changes]
    return _line("; ".join(said))


def _file(changes: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the lines of a changed file: its diff, and its other changes."""
    lines: list[str] = []
    if "newfile" in changes:
        lines.append("it is new")
    diff = changes.get("diff")
    if diff == HIDDEN:
        lines.append("its content changes; it may hold secrets, so it is not shown")
    elif diff:
        lines += [
            printable(line.expandtabs())
            for line in str(diff).splitlines()
            if not line.startswith(("--- ", "+++ "))
        ]
    rest = {key: value for key, value in changes.items() if key not in ("newfile", "diff")}
    return (*lines, *_differences(rest))


def _differences(changes: Mapping[str, Any]) -> Iterable[str]:
    """Return a line for each difference that a state predicts."""
    for key, value in changes.items():
        if isinstance(value, Mapping) and {*value} == {"old", "new"}:
            yield _line(f"{key}: {_shown(value['old'])} → {_shown(value['new'])}")
        else:
            yield _line(f"{key}: {_shown(value)}")


def _shown(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_shown, value)) or "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_shown(one)}" for key, one in value.items())
    return "none" if value is None else str(value)


def _count(number: int) -> str:
    return "1 host" if number == 1 else f"{number} hosts"


def _line(text: object) -> str:
    """Return text as one line; Salt's states of files end their comments with a general note."""
    return printable(str(text).split("\nNote: No changes made")[0].strip())

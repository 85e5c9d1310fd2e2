"""The result of an orchestration: the failures, their hosts and causes, and the next command.

No other code reads such results. The state `orchestration.succeeded` reports them to the operator
of `salt-run state.orchestrate`, and the lab reports them to the user of `make up`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MASTER = "master"
"""Stands for a host's name where a step failed on the master itself."""
REPORT = "orchestration"
"""The state module that reports the failures of the others."""
CONSEQUENCE = "One or more requisite failed"
NEXT = "\nnext: "
"""Before the command that helps, at the end of a message that knows it."""
CHAINED = re.compile(r"\n\n(?:During handling|The above exception).+\n\n")
RAISED = re.compile(r".*Traceback .+?\n(?:salt\.exceptions\.\w+: )?(?P<said>(?! ).+)", re.DOTALL)
"""Where Salt gives a traceback for a reason: what follows the indented lines."""
SHOWN = 10


@dataclass(frozen=True)
class Failure:
    """A state that failed on a host, the reason, and the next command."""

    host: str
    state: str
    cause: str
    next: str


def failures(steps: object, orchestration: str) -> list[Failure]:
    """Return the failures of an orchestration, without those that only follow from others.

    Args:
        steps: its results by Salt's tags, or the errors for which it could not begin.
        orchestration: its name.
    """
    again = f"salt-run state.orchestrate {orchestration}"
    if not isinstance(steps, Mapping):
        return [_failure(MASTER, orchestration, _plain(steps), again)]
    found = [
        failure
        for tag, step in steps.items()
        if step.get("result") is False and not tag.startswith(f"{REPORT}_|-")
        for failure in _of_step(tag, step, again)
    ]
    found = list(dict.fromkeys(found))  # two steps of one host may meet the same fault
    return [one for one in found if not one.cause.startswith(CONSEQUENCE)] or found


def results(steps: Mapping[str, Any]) -> dict[str, tuple[bool, float]]:
    """Return whether each step that was taken succeeded, and how many seconds it took.

    Args:
        steps: the orchestration's results by Salt's tags.
    """
    return {
        step["__id__"]: (step.get("result") is not False, float(step.get("duration") or 0) / 1000)
        for step in steps.values()
        if "proc" not in step  # it still runs in a process of its own
        and not str(step.get("comment", "")).startswith(CONSEQUENCE)
    }


def told(found: Sequence[Failure]) -> str:
    """Return the failures as text: host and state, and the cause indented below."""
    lines = []
    for failure in found[:SHOWN]:
        lines.append(f"{failure.host}: {failure.state}")
        lines += [f"  {line}" for line in failure.cause.splitlines()]
    if len(found) > SHOWN:
        lines.append(f"and {len(found) - SHOWN} more")
    return "\n".join(lines)


def _of_step(tag: str, step: Mapping[str, Any], again: str) -> Iterable[Failure]:
    """Return the failures of one step: states of its hosts, or the step itself."""
    _, _, name, kind = tag.split("_|-")
    function = name if kind == "function" else "state.apply"
    changes = step.get("changes") or {}
    hosts = changes.get("ret")
    found = [
        failure
        for host, returned in (hosts.items() if isinstance(hosts, Mapping) else ())
        for failure in of_host(host, returned, function)
    ]
    said = changes.get("return") or step.get("comment", "")
    return found or [_failure(MASTER, _identifier(tag, step), _plain(said), again)]


def of_host(host: str, returned: object, function: str) -> Iterator[Failure]:
    """Return the failed states of a host, which may have returned nothing, or only errors."""
    again = f"salt {host} {function}"
    if isinstance(returned, Mapping):
        for tag, state in returned.items():
            if isinstance(state, Mapping) and state.get("result") is False:
                yield _failure(host, _identifier(tag, state), _cause(state), again)
    elif returned is False or returned is None:
        cause = "no result: it is down, or was stopped meanwhile"
        yield Failure(host, function, cause, "salt-run fleet.ready")
    elif returned is not True:
        yield _failure(host, function, _plain(returned), again)


def _failure(host: str, state: str, message: str, command: str) -> Failure:
    """Return a failure whose message may end with a better next command."""
    cause, _, better = message.partition(NEXT)
    return Failure(host, state, cause, better or command)


def _cause(state: Mapping[str, Any]) -> str:
    """Return a state's comment, with the output that core's `cmd.run` has in its changes."""
    changes = state.get("changes")
    said = (changes.get("stderr") or changes.get("stdout")) if isinstance(changes, Mapping) else ""
    return "\n".join(filter(None, (_plain(state.get("comment", "")), _plain(said or ""))))


def _identifier(tag: str, state: Mapping[str, Any]) -> str:
    """Return a state's id and function, as its SLS file has them.

    Args:
        tag: Salt's own name of it: module_|-id_|-name_|-function
        state: its result.
    """
    parts = tag.split("_|-")
    name = str(state.get("__id__") or (parts[1] if len(parts) > 1 else tag))
    return f"{name} ({parts[0]}.{parts[-1]})" if len(parts) == 4 else name


def _plain(said: object) -> str:
    """Return text, or the lines of a list, as one text; of a traceback only the reason."""
    text = "\n".join(map(str, said)) if isinstance(said, list) else str(said)
    raised = RAISED.match(CHAINED.split(text)[-1])
    return (raised["said"] if raised else text).strip()

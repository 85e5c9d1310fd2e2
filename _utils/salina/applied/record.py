"""The two records: how the last apply of a host ended, and what another one would change.

The check `applied` of the host's health reads them (salina.health.probes).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from salina.common import file

FOLDER = Path("/var/lib/salina-applied")
LAST, PREDICTED = "last.json", "predicted.json"
MOST = 20
"""The most states that a record names."""

Results = Mapping[str, Mapping[str, Any]]
"""The results of states, by Salt's tags."""


def failed(results: Results) -> list[str]:
    """Return the ids of the states that failed, in their order."""
    ordered = sorted(results.values(), key=lambda one: int(one.get("__run_num__", 0)))
    return [str(one.get("__id__", one["name"])) for one in ordered if one["result"] is False]


def changing(results: Results) -> list[str]:
    """Return the ids of the states that would change something, in their order.

    Args:
        results: the results of a prediction. Notes (`salina.common.state.note`) do not count.
    """
    ordered = sorted(results.values(), key=lambda one: int(one.get("__run_num__", 0)))
    found = [one for one in ordered if one["result"] is None and not one.get("note")]
    return [str(one.get("__id__", one["name"])) for one in found]


def last(failed: Iterable[str], now: float, before: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record of an apply.

    Args:
        failed: the ids of the states that failed.
        now: the time of its end.
        before: the record of the apply before, {} without one.

    Returns:
        `ended`; `failed`; and `since`, the end of the first apply in a row with failures.
    """
    names = list(dict.fromkeys(failed))[:MOST]
    again = names and before.get("failed")
    since = before.get("since", before["ended"]) if again else now
    return {"ended": now, "failed": names, "since": since}


def predicted(returned: object, begun: float, before: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record of a prediction.

    Args:
        returned: what `state.apply test=True` returned: results, or the errors of a run that could
            not begin.
        begun: the time of its begin.
        before: the record of the prediction before, {} without one.

    Returns:
        `begun`; `changes` and `failures`, ids of states, or errors; and `since`, the begin of the
        first prediction in a row with one of them.
    """
    if isinstance(returned, Mapping):
        changes, failures = changing(returned), failed(returned)
    else:
        lines = returned if isinstance(returned, list) else [returned]
        changes, failures = [], [" ".join(str(one).split())[:200] for one in lines]
    differs = bool(changes or failures)
    already = bool(before.get("changes") or before.get("failures"))
    return {
        "begun": begun,
        "changes": list(dict.fromkeys(changes))[:MOST],
        "failures": list(dict.fromkeys(failures))[:MOST],
        "since": before["since"] if differs and already else begun,
    }


def read(name: str) -> dict[str, Any]:
    """Return a record, {} if it is missing or damaged."""
    try:
        return dict(json.loads((FOLDER / name).read_text()))
    except (OSError, ValueError, TypeError):
        return {}


def write(name: str, content: Mapping[str, Any]) -> None:
    """Write a record: a reader sees the old one or the new one.

    Raises:
        OSError: it cannot be written.
    """
    FOLDER.mkdir(mode=0o755, exist_ok=True)
    file.put(FOLDER / name, json.dumps(content))

"""Predictions (`test=True`) of restarts, which follow from the predictions of the states before.

A service restarts because a file has changed. A prediction changes no file, so the state of the
service asks here which files the states before it would write.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from salina.common import state

RESTART, RELOAD, TURN = "restart", "reload", "turn"
"""Keys of a state's `changes`: the service that it restarts or reloads, and the role whose hosts
take turns for that.
"""
METADATA = frozenset({"mode", "user", "group", "attrs", "selinux"})
"""Changes of a file that leave its content, and its time, as they are."""


def unread(
    salt: Mapping[str, Any], name: str, files: Sequence[str], reloads: bool = False
) -> list[str]:
    """Return the files that a service has not read, also when Salt only predicts.

    A prediction changes no file. So the predicted changes of the states before count as well.

    Args:
        salt: Salt's functions.
        name: the service. A stopped one has no unread files, because it reads them at its start.
        files: the files that it reads.
        reloads: whether it reads them at a reload too, and not only at its start.
    """
    found: list[str] = salt["daemon.outdated"](name, files, reloads=reloads)
    predicted = expected(state.before(), name, files, found, reloads)
    return predicted if predicted == found or salt["service.status"](name) else []


def expected(
    before: Mapping[str, Mapping[str, Any]],
    name: str,
    files: Sequence[str],
    found: Collection[str],
    reloads: bool,
) -> list[str]:
    """Return the files that a service has not read when the predicted changes have been made.

    Args:
        before: the results of the states before, in their order, by Salt's tags. Only predictions
            count.
        name: the service.
        files: the files that it reads.
        found: those that it has not read now.
        reloads: whether it reads them at a reload too.
    """
    left = dict.fromkeys(found)
    for tag, result in before.items():
        changes = result["changes"] if result["result"] is None else {}
        if name in (changes.get(RESTART), changes.get(RELOAD) if reloads else None):
            left.clear()
        left |= {path: None for path in files if changes and _writes(tag, result, path)}
    return list(left)


def renewal(salt: Mapping[str, Any], action: str, name: str, turn: str | None) -> dict[str, str]:
    """Return the predicted `changes` of a state that restarts or reloads a service.

    Args:
        salt: Salt's functions.
        action: RESTART or RELOAD.
        name: the service.
        turn: the role whose hosts take turns for it. It is named only if this host needs its turn.
    """
    return {action: name, **({TURN: turn} if turn and salt["turn.needed"](turn) else {})}


def _writes(tag: str, result: Mapping[str, Any], path: str) -> bool:
    """Tell whether a state writes a file. Its name is the file, or the directory of its files.

    Salt's own states of a directory change none of its files.
    """
    name = str(result["name"])
    within = not tag.startswith("file_|-") and path.startswith(f"{name}/")
    return (path == name or within) and not METADATA.issuperset(result["changes"])

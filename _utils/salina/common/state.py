"""The common part of this project's states: how they return, and how they fail."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from salt.exceptions import CommandExecutionError

__running__: Mapping[str, Mapping[str, Any]] = {}
"""The results of the states before, by Salt's tags. Salt sets this in the globals of the function
that it calls, which is the wrapper of `fails_plainly`.
"""


def before() -> Mapping[str, Mapping[str, Any]]:
    """Return the results of the states that came before the current one, by Salt's tags."""
    return __running__


def result(
    name: str, result: bool | None, comment: str, changes: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Return what a state returns to Salt.

    Args:
        name: the state's name.
        result: True if it succeeded, False if it failed, None if it only predicts changes.
        comment: one sentence about it.
        changes: what it changed, or would change.
    """
    return {"name": name, "result": result, "comment": comment, "changes": changes or {}}


def note(name: str, comment: str) -> dict[str, Any]:
    """Return a result that announces no change, and that an operator should read.

    Mostly a prediction that cannot be made yet, because something does not answer. Salt prints
    results of None. The plan shows this one apart from the changes (`salt-run fleet.plan`).

    Args:
        name: the state's name.
        comment: one sentence about it.
    """
    return {**result(name, None, comment), "note": True}


def fails_plainly(state: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """Make a state function fail with the message of an expected exception, not a traceback.

    This project's modules raise CommandExecutionError with the command and its output. The other
    expected one is OSError, for instance for a full disk. TimeoutError, which
    `salina.common.wait` raises, is a kind of it.
    """

    @functools.wraps(state)
    def run(name: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        try:
            return state(name, *args, **kwargs)
        except (CommandExecutionError, OSError) as error:
            return result(name, False, str(error))

    return run

"""How this project's states fail: with a reason where Salt would show a traceback."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from salt.exceptions import CommandExecutionError


def fails_plainly(state: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """Make a state function fail with the message of what it raises.

    That is CommandExecutionError, which this project's modules raise with the command and what it
    said; OSError, such as a full disk; and the TimeoutError of `salina.common.wait`, which is one.
    """

    @functools.wraps(state)
    def run(name: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        try:
            return state(name, *args, **kwargs)
        except (CommandExecutionError, OSError) as error:
            return {"name": name, "result": False, "changes": {}, "comment": str(error)}

    return run

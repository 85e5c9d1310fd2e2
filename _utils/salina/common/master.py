"""Questions of a minion to its master: the runners that `peer_run` allows (master.d)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PAUSE = 4.0
"""Seconds between two questions of a host that waits. Each one costs the master a process."""


def ask(salt: Mapping[str, Any], function: str, *arguments: str) -> dict[str, Any]:
    """Return the answer of one of the master's runners.

    Args:
        salt: Salt's functions.
        function: the runner's function. It returns a mapping with `obstacle`, because Salt passes a
            runner's result to the minion, but not the exception that it raises.
        arguments: its arguments.

    Returns:
        The runner's answer. If there is none, the obstacle says so.
    """
    answer = salt["publish.runner"](function, arg=list(arguments))
    if isinstance(answer, dict) and "obstacle" in answer:
        return answer
    return {"obstacle": f"the master gave no answer to {function}: {answer or 'none'}"}

"""Report what failed in an orchestration: a state for the master (`states_dirs` in master.d)."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from salina.common import orchestration, state

__running__: Any
__low__: Any
__pillar__: dict[str, Any]
__salt__: dict[str, Callable[..., Any]]


def succeeded(
    name: str, refused: str = "", followed: bool = False, idle: str = ""
) -> dict[str, Any]:
    """Ensure that every step succeeded. Otherwise name host, state, cause and the next command.

    Make it the last step of an orchestration whose steps require one another. After `failhard` Salt
    would not call it.

    Args:
        name: free text.
        refused: the error of the runner that plans the steps, if it failed.
        followed: whether the runner `change` follows the steps and is to show their end.
        idle: why there are no steps, if so.

    Returns:
        The state's result. It fails if a step failed.

    CLI Example:
        See salt/orch/deploy.sls.
    """
    # the pillar of an orchestration is the request that it was called with
    request = f" pillar='{json.dumps(dict(__pillar__))}'" if __pillar__ else ""
    steps = __running__.copy()
    found = orchestration.failures(refused or steps, __low__["__sls__"] + request)
    error = f"{orchestration.told(found)}\nnext: {found[0].next}" if found else ""
    if followed:
        end = {"error": error, "results": orchestration.results(steps)}
        __salt__["saltutil.runner"]("change.ended", kwarg=end)
    return state.result(name, not found, error or idle or "every step succeeded")

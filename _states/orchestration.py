"""Report what failed in an orchestration: a state for the master (`states_dirs` in master.d)."""

from __future__ import annotations

import json
from typing import Any

from salina.common import orchestration, state

__running__: Any
__low__: Any
__pillar__: dict[str, Any]


def succeeded(name: str, refused: str = "") -> dict[str, Any]:
    """Ensure that every step succeeded. Otherwise name host, state, cause and the next command.

    Make it the last step of an orchestration whose steps require one another. After `failhard` Salt
    would not call it.

    Args:
        name: free text.
        refused: the error of the runner that plans the steps, if it failed.

    Returns:
        The state's result. It fails if a step failed.

    CLI Example:
        See salt/orch/deploy.sls.
    """
    # the pillar of an orchestration is the request that it was called with
    request = f" pillar='{json.dumps(dict(__pillar__))}'" if __pillar__ else ""
    steps = refused or __running__.copy()
    found = orchestration.failures(steps, __low__["__sls__"] + request)
    if found:
        return state.result(name, False, f"{orchestration.told(found)}\nnext: {found[0].next}")
    return state.result(name, True, "every step succeeded")

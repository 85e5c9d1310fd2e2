"""The last word of an orchestration: states for the master (`states_dirs` in master.d)."""

from __future__ import annotations

import json
from typing import Any

from salina.common import orchestration

__virtualname__ = "orchestration"
__running__: Any
__low__: Any
__pillar__: dict[str, Any]


def __virtual__() -> str:
    return __virtualname__


def succeeded(name: str, refused: str = "") -> dict[str, Any]:
    """Ensure that every step succeeded; otherwise tell host, state, cause and the next command.

    The last step of an orchestration whose steps require one another: after ``failhard`` it would
    not be asked.

    Args:
        name: free text.
        refused: what the runner said which should have told the steps, when it failed.

    CLI Example:
        See salt/orch/deploy.sls.
    """
    # an orchestration's pillar is what it was called with: a request
    request = f" pillar='{json.dumps(dict(__pillar__))}'" if __pillar__ else ""
    steps = refused or __running__.copy()
    found = orchestration.failures(steps, __low__["__sls__"] + request)
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": not found, "comment": "they did"}
    if found:
        ret["comment"] = f"{orchestration.told(found)}\nnext: {found[0].next}"
    return ret

"""Record how an apply ended. Salt sorts the last states by name: this one comes after `turn`."""

from __future__ import annotations

from typing import Any

from salina.applied import record
from salina.common import state

__salt__: dict[str, Any]
__opts__: dict[str, Any]


@state.fails_plainly
def recorded(name: str) -> dict[str, Any]:
    """Ensure that the host has a record of this apply: when it ended, and which states failed.

    Make it the last state of a host, without requisites, so it also runs when other states failed.

    Args:
        name: free text.

    Returns:
        The state's result, without changes. It fails if the record cannot be written.

    CLI Example:
        See salt/applied/init.sls.
    """
    failed = record.failed(state.before())
    if not __opts__["test"]:
        __salt__["drift.applied"](failed)
    words = f"failed: {', '.join(failed)}" if failed else "every state succeeded"
    return state.result(name, True, words)

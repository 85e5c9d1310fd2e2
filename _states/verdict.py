"""Record how an apply ended, or refuse it at its beginning.

Salt sorts the last states by name: `verdict.recorded` comes after those of `turn`.
"""

from __future__ import annotations

from typing import Any

from salina.applied import record
from salina.common import state

__salt__: dict[str, Any]
__opts__: dict[str, Any]
__grains__: dict[str, Any]


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


def has_platform(name: str, platform: dict[str, str]) -> dict[str, Any]:
    """Ensure that this host runs the system that the topology names. The state changes nothing.

    With `order: 0` and `failhard`, no other state runs on a host with another system.

    Args:
        name: free text.
        platform: the platform's `name`, and its `finger`: Salt's grain `osfinger` on such a host.

    Returns:
        The state's result. It fails on another system, also in a prediction.

    CLI Example:
        See salt/common/system.sls.
    """
    found, wanted = __grains__["osfinger"], platform["finger"]
    if found == wanted:
        return state.result(name, True, f"this host runs {found}")
    reason = (
        f"this host runs {found}, but pillar/topology.yaml gives it the platform "
        f"{platform['name']} ({wanted}); correct `platform` there, or install the host again with "
        "that system"
    )
    return state.result(name, False, reason)

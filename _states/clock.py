"""Ensure that something keeps the host's clock."""

from __future__ import annotations

from typing import Any

from salina.common import state

__salt__: dict[str, Any]
__opts__: dict[str, Any]


@state.fails_plainly
def kept(name: str) -> dict[str, Any]:
    """Ensure that a service keeps the clock, unless this host has none of its own.

    Args:
        name: the service.

    Returns:
        The state's result. It fails if systemd does not start the service.

    CLI Example:
        See salt/chrony/init.sls.
    """
    own = "this is a container, and its machine keeps the clock"
    if __salt__["clock.runs"](name):
        return state.result(name, True, f"{name} keeps the clock")
    if __salt__["clock.spared"](name):
        return state.result(name, True, own)
    changes = {"start": name}
    if __opts__["test"]:
        return state.result(name, None, f"{name} would start", changes)
    __salt__["clock.start"](name)
    if __salt__["clock.runs"](name):
        return state.result(name, True, f"{name} was started", changes)
    if __salt__["clock.spared"](name):
        return state.result(name, True, own)
    return state.result(name, False, f"{name} ended at once; see journalctl --unit {name}")

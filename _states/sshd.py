"""Ensure that sshd's configuration is in force, and that it locks nobody out unawares."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from salina.common import state

__salt__: dict[str, Any]
__opts__: dict[str, Any]

LEAVE = "`managed: false` in pillar/settings/ssh.yaml leaves sshd's configuration alone"


@state.fails_plainly
def open_to_somebody(name: str, operators: int = 0, alone: bool = False) -> dict[str, Any]:
    """Ensure that somebody can still log in when sshd takes keys only, and root cannot log in.

    This changes nothing. It judges once, before the file exists.

    Args:
        name: the file that will say so.
        operators: the number of operators, who get accounts with keys in the same apply.
        alone: whether only operators may log in.

    Returns:
        The state's result. It fails if an account can log in now, and none could afterwards.

    CLI Example:
        See salt/ssh/managed.sls.
    """
    if Path(name).exists():
        return state.result(name, True, "sshd has its settings already")
    obstacle = "" if operators else __salt__["sshd.obstacle"](alone)
    if not obstacle:
        return state.result(name, True, "nobody is locked out")
    if alone:
        advice = "next: list an operator in pillar/topology.yaml, then apply again"
        return state.result(name, False, f"sshd was not changed: {obstacle}\n{advice}")
    advice = f"next: give an account other than root a public key, then apply again ({LEAVE})"
    return state.result(name, False, f"sshd was not changed: {obstacle}\n{advice}")


@state.fails_plainly
def in_force(name: str, port: int) -> dict[str, Any]:
    """Ensure that sshd heeds every setting of a file. This changes nothing.

    sshd uses the first value that it finds. So another file may decide.

    Args:
        name: the file with the settings.
        port: the port at which sshd must listen.

    Returns:
        The state's result. It fails if a setting is not in force.

    CLI Example:
        See salt/ssh/managed.sls.
    """
    if __opts__["test"] and not Path(name).exists():
        return state.note(name, "the settings would be compared with those in force")
    faults = __salt__["sshd.unheeded"](name, port)
    if not faults:
        return state.result(name, True, "sshd heeds every setting")
    advice = (
        "next: begin /etc/ssh/sshd_config with the line `Include /etc/ssh/sshd_config.d/*.conf`, "
        f"or correct what comes before {name}, then apply again"
    )
    return state.result(name, False, f"sshd does not heed {name}: {'; '.join(faults)}\n{advice}")

"""Look after the host's clock, which chrony keeps."""

from __future__ import annotations

from typing import Any

from salina.common import commands

__salt__: dict[str, Any]


def runs(name: str) -> bool:
    """Return whether the service that keeps the clock runs.

    Args:
        name: the service.

    Returns:
        Whether it runs.

    CLI Example:
        salt s1 clock.runs chrony
    """
    return bool(__salt__["service.status"](name))


def spared(name: str) -> bool:
    """Return whether systemd does not start the service here, because of a condition of its unit.

    A container without the capability to set the clock has the clock of its machine.

    Args:
        name: the service, which somebody has tried to start.

    Returns:
        Whether a condition was not met when it was last started.

    CLI Example:
        salt s1 clock.spared chrony
    """
    keys = "--property=ConditionResult,ConditionTimestampMonotonic"
    command = ["systemctl", "show", name, keys]
    shown = __salt__["cmd.run_all"](command, python_shell=False)["stdout"]
    found = dict(line.partition("=")[::2] for line in shown.splitlines())
    tried = found.get("ConditionTimestampMonotonic", "0") != "0"
    return tried and found.get("ConditionResult") == "no"


def start(name: str) -> None:
    """Start the service that keeps the clock.

    Args:
        name: the service.

    Raises:
        CommandExecutionError: systemd could not start it.

    CLI Example:
        salt s1 clock.start chrony
    """
    commands.systemctl(__salt__, "start", name)

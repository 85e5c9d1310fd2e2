"""Compare this host's running daemons with their files and programs; restart them after a job."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any

from salt.exceptions import CommandExecutionError

from salina.common import commands, service
from salina.health import probes

__salt__: dict[str, Any]


def outdated(name: str, files: list[str], reloads: bool = False) -> list[str]:
    """Return the files that changed after a service read them.

    Args:
        name: the service. A stopped service is never outdated.
        files: the files that it reads.
        reloads: whether it reads them at a reload too, and not only at its start.

    Returns:
        The changed files.

    Raises:
        CommandExecutionError: systemd does not say when the service read them.

    CLI Example:
        salt bbdd1 daemon.outdated patroni '["/etc/systemd/system/patroni.service"]'
    """
    moment = service.last_read(_shown(name, service.PROPERTIES), reloads)
    return service.newer(files, moment, time.monotonic(), time.time())


def ready(name: str, running: bool = True) -> bool:
    """Return whether a service starts at boot and, if that is wanted, runs now.

    Args:
        name: the service, or another unit such as a timer.
        running: whether it must run.

    Returns:
        Whether it is so. False also if systemd has not read the unit's present file.

    Raises:
        CommandExecutionError: systemd does not answer.

    CLI Example:
        salt s1 daemon.ready nginx
    """
    return service.ready(_shown(name, (service.AT_BOOT, service.STALE, service.STATE)), running)


def replaced(name: str) -> list[str]:
    """Return the program files and libraries of a service that an upgrade has replaced.

    Args:
        name: the service.

    Returns:
        The files that the service still uses, although others are in their places. Of its processes
        only those count that no other one of them has started.

    CLI Example:
        salt s1 daemon.replaced nginx
    """
    return probes.outdated(name).get(name, [])


def outdated_among(names: list[str]) -> list[str]:
    """Return the services that still use program files which an upgrade has replaced.

    Args:
        names: the services to look at.

    Returns:
        Those of them that run and use such files.

    CLI Example:
        salt s1 daemon.outdated_among '[cron, ssh]'
    """
    return [name for name in probes.outdated() if name in names]


def restart_afterwards(name: str, unit: str) -> None:
    """Restart a service as soon as this job has ended.

    Args:
        name: the service.
        unit: the name of the transient unit that waits and restarts. If it waits already, nothing
            else happens.

    Raises:
        CommandExecutionError: systemd did not start that unit.

    CLI Example:
        salt s1 daemon.restart_afterwards salt-minion salina-minion-restart
    """
    if __salt__["service.status"](unit):
        return
    script = f"timeout 1h tail --pid={os.getpid()} -f /dev/null; systemctl restart {name}"
    command = ["systemd-run", "--collect", f"--unit={unit}", "sh", "-c", script]
    commands.run(__salt__["cmd.run_all"], command)


def _shown(name: str, properties: Sequence[str]) -> str:
    """Return a unit's properties, as `systemctl show` prints them."""
    command = ["systemctl", "show", name, f"--property={','.join(properties)}"]
    result = __salt__["cmd.run_all"](command, python_shell=False)
    if result["retcode"]:
        raise CommandExecutionError(f"{' '.join(command)}: {result['stderr']}")
    return str(result["stdout"])

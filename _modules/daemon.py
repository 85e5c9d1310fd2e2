"""Questions about this host's daemons that systemd and Salt don't answer together."""

from __future__ import annotations

import time
from typing import Any

from salt.exceptions import CommandExecutionError

import salina_service

__salt__: dict[str, Any]


def outdated(name: str, files: list[str]) -> list[str]:
    """Return those files that were written after a service was started.

    Args:
        name: the service. One that never ran is not outdated.
        files: what it reads at its start only.

    Raises:
        CommandExecutionError: systemd does not say.

    CLI example::

        salt bbdd1 daemon.outdated patroni '["/etc/systemd/system/patroni.service"]'
    """
    command = ["systemctl", "show", name, "--property=ExecMainStartTimestampMonotonic", "--value"]
    result = __salt__["cmd.run_all"](command, python_shell=False)
    if result["retcode"]:
        raise CommandExecutionError(f"{' '.join(command)}: {result['stderr']}")
    started = int(result["stdout"] or 0)
    return salina_service.newer(files, started, time.monotonic(), time.time())

"""Alarms that are expected: monitoring stays silent about hosts while they are changed.

Nothing here makes a change fail. Nagios ends a silence by itself, so a change that is killed hides
no fault for long.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from typing import Any

from salt.exceptions import SaltException

from salina.monitoring.quiet import CHANGE
from salina_fleet import minions
from salina_fleet.model.monitoring import MonitoringSettings
from salina_fleet.report import ASKS
from salina_fleet.site import Site

ANSWER, GATHER = 10, 3
"""Seconds for the answer of a monitoring host, and for the question whether it works on it."""


def watchers(site: Site) -> list[str]:
    """Return the hosts that watch all others."""
    return [host.id for host in site.fleet.having(ASKS)]


def ask(
    opts: dict[str, Any], site: Site, function: str, *arguments: Any
) -> tuple[dict[str, Any], dict[str, str]]:
    """Call a function on each monitoring host, and return their answers and their faults.

    Args:
        opts: the master's options.
        site: the master's view.
        function: a function of _modules/monitoring.py.
        arguments: its arguments.
    """
    there = watchers(site)
    connected = minions.connected(opts, site.fleet) if there else set()
    away = {host: f"{host} is not connected" for host in there if host not in connected}
    asked = [host for host in there if host in connected]
    said, faults = minions.together(opts, asked, function, arguments, ANSWER, GATHER)
    return said, {**away, **faults}


def begin(opts: dict[str, Any], site: Site) -> None:
    """Keep all hosts silent while an orchestration changes them, for as long as the settings say.

    Args:
        opts: the master's options.
        site: the master's view.
    """
    minutes = site.fleet.settings[MonitoringSettings].quiet
    if minutes:
        _try(opts, site, "monitoring.quiet", list(site.fleet.hosts), minutes, CHANGE)


def end(opts: dict[str, Any], site: Site) -> None:
    """End the silence of an orchestration. A fault that is there now gives its alarm."""
    if site.fleet.settings[MonitoringSettings].quiet:
        _try(opts, site, "monitoring.heard", [], CHANGE)


def _try(opts: dict[str, Any], site: Site, function: str, *arguments: Sequence[str] | Any) -> None:
    try:
        ask(opts, site, function, *arguments)
    except (SaltException, OSError, subprocess.SubprocessError):
        return  # an alarm too many is better than a change that stops

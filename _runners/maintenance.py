"""Announce work on hosts, so that monitoring sends no alarm about what is expected."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from salina.common import wait
from salina_fleet import runner
from salina_fleet.change import quiet
from salina_fleet.errors import RunnerError
from salina_fleet.schema.faults import not_among
from salina_fleet.site import Site

__opts__: dict[str, Any]

MOST = 24 * 60
"""Minutes. A forgotten maintenance must not hide faults."""
SHOWN = 30
"""Seconds for Nagios to write its state, which it does each ten seconds."""


def begin(hosts: Sequence[str], minutes: int = 60, why: str = "maintenance") -> str:
    """Keep monitoring silent about hosts for some time. Its page shows their faults all the same.

    A turn and an orchestration do this by themselves. The fault of another host still gives
    its alarm. The checks of clients belong to the first balancer, and are silent together with it.

    Args:
        hosts: ids.
        minutes: how long at most, up to a day. A fault that is there then gives its alarm.
        why: the reason, in a few words, which the page shows.

    Returns:
        A sentence that says so.

    Raises:
        RunnerError: a host or the time is not valid, no monitoring host answers, or Nagios does
            not show the silence.

    CLI Example:
        salt-run maintenance.begin '[s1]' minutes=30 why='a reboot'
    """
    site = _checked(hosts)
    if type(minutes) is not int or not 1 <= minutes <= MOST:
        raise RunnerError(f"minutes: {minutes!r} is not valid; must be from 1 to {MOST}")
    _asked(site, "monitoring.quiet", list(hosts), minutes, str(why))
    late = [*hosts]

    def shown() -> bool:
        late[:] = {*hosts} - {one["host"] for one in show()}
        return not late

    if not wait.until(shown, SHOWN):
        words = f"Nagios does not show it within {SHOWN} s, so alarms may be sent"
        raise RunnerError(f"{', '.join(late)}: {words}\nnext: salt-run maintenance.show")
    return (
        f"no alarms about {', '.join(hosts)} for {minutes} minutes\nnext: salt-run maintenance.end"
    )


def end(hosts: Sequence[str] | None = None) -> str:
    """End the maintenance of hosts. A fault that is there now gives its alarm.

    Args:
        hosts: ids; every host by default.

    Returns:
        A sentence that says so.

    Raises:
        RunnerError: a host is not valid, or no monitoring host answers.

    CLI Example:
        salt-run maintenance.end '[s1]'
    """
    site = _checked(hosts or [])
    named = list(hosts) if hosts else list(site.fleet.hosts)
    _asked(site, "monitoring.heard", named)
    return f"alarms about {', '.join(hosts) if hosts else 'every host'} are sent again"


def show() -> list[dict[str, str]]:
    """Show the hosts about which monitoring is silent.

    Returns:
        For each one `host`, `minutes` (how many are left) and `why`.

    Raises:
        RunnerError: no monitoring host answers.

    CLI Example:
        salt-run maintenance.show
    """
    said = _asked(runner.site(__opts__), "monitoring.silent")
    return [one for found in said.values() for one in found]


def _checked(hosts: Sequence[str]) -> Site:
    """Return the master's view. Raise RunnerError for a host that the fleet does not have."""
    site = runner.site(__opts__)
    if isinstance(hosts, str):
        raise RunnerError(f"hosts: {hosts!r} is not a list; write '[{hosts}]'")
    for host in hosts:
        if host not in site.fleet.hosts:
            raise RunnerError(f"hosts: {not_among(host, site.fleet.hosts, 'a host of the fleet')}")
    return site


def _asked(site: Site, function: str, *arguments: Any) -> dict[str, Any]:
    """Return the answers of the monitoring hosts."""
    if not quiet.watchers(site):
        raise RunnerError("no host of the fleet watches the others, so there are no alarms")
    said, faults = quiet.ask(__opts__, site, function, *arguments)
    if faults:
        raise RunnerError("\n".join(faults.values()))
    return said

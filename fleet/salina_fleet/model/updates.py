"""The settings of Debian's security updates, and the time of each host."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from salina_fleet.role import Tuning
from salina_fleet.schema.declare import flag, number

if TYPE_CHECKING:
    from salina_fleet.model.topology import Host

DAY = 24 * 60
"""Minutes."""
APART = 10
"""Minutes from one host's time to the next one's, as long as all hosts fit into a day."""
LISTS = 60
"""Minutes from the download of the packages to their installation."""
FILE = "/etc/apt/apt.conf.d/51salina"
"""apt's settings of the updates on each host (salt/updates)."""
TRIGGERS = ("apt-daily.timer", "apt-daily-upgrade.timer")
"""Debian's timers that fetch the lists of packages, and install the updates."""
SYSTEM = (
    *("chrony", "cron", "rsyslog", "ssh"),
    *("systemd-journald", "systemd-networkd", "systemd-resolved", "systemd-timesyncd"),
    "systemd-udevd",
)
"""Services of Debian itself that an apply restarts after an update. Nobody notices that."""


@dataclass(frozen=True)
class UpdateSettings(Tuning):
    """Debian's security updates, which each host installs by itself."""

    enabled: bool = flag(True, "Whether hosts install Debian's security updates by themselves.")
    hour: int = number(
        3,
        0,
        23,
        "The hour, by each host's own clock, in which the first host installs its updates.",
    )


def minutes(hosts: Iterable[Host]) -> dict[str, int]:
    """Return for each host how many minutes after the first one it installs its updates.

    No two hosts have the same time, and the hosts of a tier are as far apart as other tiers allow:
    the first host of each role comes first, then the second ones.

    Args:
        hosts: all hosts that the topology can have. So a change of a pool moves no host's time.
    """
    before: Counter[str] = Counter()
    places = []
    for host in hosts:
        first = next(iter(host.roles), "")
        places.append((before[first], host.id))
        before[first] += 1
    step = max(1, min(APART, DAY // max(1, len(places))))
    ordered = sorted(places, key=lambda place: place[0])
    return {host: number * step for number, (_, host) in enumerate(ordered)}


def times(hour: int, later: int) -> tuple[str, str]:
    """Return when a host downloads its updates, and when it installs them: 02:10, 03:10.

    Args:
        hour: the hour of the first host.
        later: how many minutes after the first host.
    """
    install = hour * 60 + later
    download, install = ((one % DAY) for one in (install - LISTS, install))
    return f"{download // 60:02}:{download % 60:02}", f"{install // 60:02}:{install % 60:02}"

"""How the logs of every host reach the monitoring host; nothing in a fleet without one.

nginx on the monitoring host knows each host by its certificate, and gives its logs to a receiver
that writes this host's files and no others. A host with several certificates of its own name gets
nothing by that: its files are the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from salina_fleet.model.logs import LogSettings
from salina_fleet.report import ASKS
from salina_fleet.role import CLIENT, ROOT, SERVER, Certificate, Pillar

if TYPE_CHECKING:
    from salina_fleet.fleet import Fleet
    from salina_fleet.model.topology import Host

CERTIFICATE, KEEPER = "logs", "logs-kept"
"""The certificates with which a host sends its logs, and with which the monitoring host takes them.
"""
GROUP = "systemd-journal-remote"
"""The group of the sender, which the package makes. The sender reads its key for each connection.
"""
SENDER, FILES, UNIT, RECEIVER = (
    *("systemd-journal-upload", "salina-log-{}"),
    *("salina-logs", "salina-log@{}"),
)
"""The units: of each host, for the log files of a program, the web server that takes the logs, and
for the logs of a host.
"""
KEEPS = ASKS
"""The role whose host keeps the logs."""

KEYS = {
    "logs": "How the host sends its logs; only in a fleet with a monitoring host.",
    "logs.url": "The address to which it sends them.",
    "logs.kept": "How this host keeps the logs of all hosts; null on every other host.",
    "logs.kept.address": "The address at which it takes them.",
    "logs.kept.port": "The port.",
    "logs.kept.size": "The MiB that the logs of one host may have.",
    "logs.kept.days": "The days after which logs are deleted.",
    "logs.kept.hosts": "The hosts that may send, whose names their certificates have.",
    "logs.kept.receivers": "The units that write the logs of one host each.",
}
"""The meanings of the keys of `pillar`."""


def certificates(fleet: Fleet, host: Host) -> list[Certificate]:
    """Return the certificates of a host that its logs need, if the fleet has monitoring."""
    if not fleet.having(KEEPS):
        return []
    own = Certificate(CERTIFICATE, (f"DNS:{host.id}",), (CLIENT,), group=GROUP)
    if KEEPS not in host.roles:
        return [own]
    names = (f"IP:{fleet.address(host, 'management')}",)
    return [own, Certificate(KEEPER, names, (SERVER,), (UNIT,), common_name="", group=ROOT)]


def daemons(fleet: Fleet, host: Host, definitions: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the services of a host that send its logs or keep those of all hosts.

    Args:
        fleet: all hosts.
        host: the host.
        definitions: the name of a file in pillar/app -> its content.
    """
    if not fleet.having(KEEPS):
        return []
    found = [SENDER]
    if host.application:
        kind = definitions[fleet.topology.served_by(host).definition]["kind"]
        found += [FILES.format(name) for name in ("nginx", kind)]
    if KEEPS in host.roles:
        found += [UNIT, *(RECEIVER.format(name) for name in fleet.hosts)]
    return found


def pillar(fleet: Fleet, host: Host) -> Pillar:
    """Return the section of a host's pillar, if the fleet has monitoring."""
    keepers = fleet.having(KEEPS)
    if not keepers:
        return {}
    settings = fleet.settings[LogSettings]
    address = fleet.address(keepers[0], "management")
    shown = f"[{address}]" if ":" in address else address
    kept = {
        "address": address,
        "port": settings.port,
        "hosts": list(fleet.hosts),
        "receivers": [RECEIVER.format(name) for name in fleet.hosts],
        "size": settings.size,
        "days": settings.days,
    }
    return {
        "logs": {
            "url": f"https://{shown}:{settings.port}",
            "kept": kept if KEEPS in host.roles else None,
        }
    }

"""The ports on which the daemons of one host listen, and which of them collide.

The roles' files list them (`ports`), and so do the definitions of applications. Two daemons may
have the same port at different addresses of a host.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from salina_fleet.model.settings import Settings
from salina_fleet.model.ssh import SshSettings
from salina_fleet.model.topology import Host, Topology
from salina_fleet.role import ANY, Port
from salina_fleet.roles import ROLES

Definitions = Mapping[str, Mapping[str, Any]]


def of(
    topology: Topology, settings: Settings, definitions: Definitions, host: Host
) -> Iterator[Port]:
    """Yield the ports of a host: those of its roles, of every host, and of its application.

    Args:
        topology: the topology, which has no fault.
        settings: the settings of all components.
        definitions: the name of a file in pillar/app -> its content, for files without a fault.
        host: the host.
    """
    yield Port(settings[SshSettings].port, "sshd", ANY, "pillar/settings/ssh.yaml: port")
    for name, role in ROLES.items():
        if name in host.roles:
            yield from role.ports(topology, settings, host)
        if topology.having(name):
            yield from role.ports_of_all(topology, settings)
    application = topology.applications.get(host.application or "")
    content = definitions.get(application.definition) if application else None
    if application and content:
        file = f"pillar/app/{application.definition}.yaml"
        yield Port(content["port"], "the application", ANY, f"{file}: port")
        if content["live"]:
            live = content["live"]["port"]
            yield Port(live, "the application", ANY, f"{file}: live.port")


def collisions(
    topology: Topology, settings: Settings, definitions: Definitions, known: Iterable[str] = ()
) -> list[str]:
    """Return each port that two daemons of a host want at the same address, as `place: message`.

    Args:
        topology: the topology, which has no fault.
        settings: the settings of all components.
        definitions: the name of a file in pillar/app -> its content, for files without a fault.
        known: faults that were found before; a port that has one of them is not judged again.
    """
    before = tuple(known)
    lines: list[str] = []
    members = (pool.host(1) for pool in topology.pools.values())
    alike: dict[tuple[tuple[str, ...], str | None], Host] = {}
    for host in (*topology.hosts, *members):
        alike.setdefault((host.roles, host.application), host)
    told: set[tuple[str, str]] = set()
    for host in alike.values():
        found: list[Port] = []
        for port in of(topology, settings, definitions, host):
            for other in found:
                place, taken = (port, other) if port.place else (other, port)
                pair = (place.place, taken.daemon)
                if pair in told or not _clash(topology, port, other):
                    continue
                told.add(pair)
                places = tuple(f"{one.place}: " for one in (port, other) if one.place)
                if any(fault.startswith(places) for fault in before):
                    continue
                by = f"{taken.daemon} ({taken.place})" if taken.place else taken.daemon
                used = f"{place.number} is used by {by} on {host.id}"
                lines.append(f"{place.place}: {used}; choose another port")
            found.append(port)
    return lines


def _clash(topology: Topology, one: Port, other: Port) -> bool:
    """Tell whether two daemons of a host cannot both have their port."""
    ends = [(port.number, port.last or port.number) for port in (one, other)]
    (low, high), (first, last) = ends
    # several links may have the same network, and a host has one address in it
    here, there = (topology.links.get(port.at, port.at) for port in (one, other))
    return low <= last and first <= high and (ANY in (here, there) or here == there)

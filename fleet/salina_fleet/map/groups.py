"""The groups and the arrows that every drawing of the fleet shows.

Hosts with the same roles are one group, so that the drawing of a large fleet has no more arrows
than that of a small one. Hosts of two applications are two groups. The arrows are the rows of the
policy.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from salina_fleet.fleet import Fleet
from salina_fleet.model.topology import Host
from salina_fleet.role import ANY, NETWORK, Row
from salina_fleet.roles import ROLES

CLIENTS = "clients"
NO_ROLE = "own_hosts"
BETWEEN = ("clients", "edge", "web", "data")
"""The topology's link between each column and the next one."""


@dataclass(frozen=True)
class Group:
    """Hosts with the same roles.

    `application`: the one that they serve; None if the fleet has only one.
    """

    roles: tuple[str, ...]
    hosts: tuple[Host, ...]
    application: str | None = None

    @property
    def column(self) -> int:
        """Return the column where the group stands, counted from the clients; 0 is in no column."""
        columns = [ROLES[role].column for role in self.roles]
        return min((column for column in columns if column), default=0)

    @property
    def forwards(self) -> bool:
        """Tell whether the clients' packets pass through the group's hosts."""
        return any(ROLES[role].forwards for role in self.roles)

    @property
    def id(self) -> str:
        """Return the name that the drawing's own text uses: app_shop."""
        return "_".join(
            [*(self.roles or [NO_ROLE]), *([self.application] if self.application else [])]
        )

    @property
    def title(self) -> str:
        """Return the name that a reader sees: app: shop."""
        return " + ".join(self.roles or ["own"]) + (
            f": {self.application}" if self.application else ""
        )


@dataclass(frozen=True)
class Arrow:
    """One group talks to another, or its hosts talk to each other.

    `source`: None stands for the clients. `ports`: the ports, as a reader sees them.
    """

    source: Group | None
    target: Group
    ports: str


def groups(fleet: Fleet) -> list[Group]:
    """Return the groups of a fleet, from the clients inwards, the master last."""
    several = len(fleet.topology.applications) > 1
    found: dict[tuple[tuple[str, ...], str | None], list[Host]] = {}
    for host in fleet.hosts.values():
        found.setdefault((host.roles, host.application if several else None), []).append(host)
    listed = [Group(roles, tuple(hosts), name) for (roles, name), hosts in found.items()]
    return sorted(listed, key=lambda group: group.column or sys.maxsize)


def arrows(fleet: Fleet) -> list[Arrow]:
    """Return the arrows of a fleet; all rows from one group to another are one arrow."""
    found: dict[tuple[str, str], list[str]] = {}
    known = {group.id: group for group in groups(fleet)}
    for row in fleet.rows:
        for source, target in _ends(fleet, row, list(known.values())):
            ports = found.setdefault((source, target), [])
            ports += [part for part in row.ports.split(",") if part not in ports]
    return [
        Arrow(known.get(source), known[target], ", ".join(ports).replace(":", "-"))
        for (source, target), ports in found.items()
    ]


def _ends(fleet: Fleet, row: Row, known: list[Group]) -> Iterator[tuple[str, str]]:
    """Yield the source and the target of each arrow that a row of the policy needs."""
    if row.source == NETWORK:
        return  # Salt and SSH reach every host; the management network itself shows that
    for target in known:
        if row.target not in target.roles:
            continue
        if row.source == ANY:
            walls = [group for group in known if group.forwards and group is not target]
            stops = [CLIENTS, *(group.id for group in walls), target.id]
            yield from pairwise(stops)
            continue
        for source in known:
            if row.source in source.roles and (source is not target or len(source.hosts) > 1):
                yield source.id, target.id

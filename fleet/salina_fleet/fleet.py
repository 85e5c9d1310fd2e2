"""The fleet as it is now: the topology with its active members, indexed for questions on hosts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from salina_fleet import pair
from salina_fleet.model import updates
from salina_fleet.model.settings import Settings
from salina_fleet.model.topology import Host, Topology
from salina_fleet.role import Row
from salina_fleet.roles import ROLES

OWN = "hosts without a role"
"""The last tier: hosts of the operator's own."""


@dataclass(frozen=True)
class Fleet:
    """A topology with its active members (pool -> ids) and its settings."""

    topology: Topology
    members: Mapping[str, Sequence[str]]
    settings: Settings

    @cached_property
    def hosts(self) -> dict[str, Host]:
        """Every host of the fleet by its id, static ones first."""
        return {host.id: host for host in self.topology.fleet(self.members)}

    @cached_property
    def _by_role(self) -> dict[str, tuple[Host, ...]]:
        found: dict[str, list[Host]] = {}
        for host in self.hosts.values():
            for role in host.roles:
                found.setdefault(role, []).append(host)
        return {role: tuple(hosts) for role, hosts in found.items()}

    def having(self, role: str) -> tuple[Host, ...]:
        """Return the hosts with a role, in the order of the fleet."""
        return self._by_role.get(role, ())

    def listed(self, role: str, link: str) -> list[dict[str, str]]:
        """Return the hosts with a role, each with its name and its address on a link."""
        return [
            {"name": host.id, "address": self.address(host, link)} for host in self.having(role)
        ]

    def serving(self, application: str) -> list[Host]:
        """Return the hosts that serve an application, in the order of the fleet."""
        return self._by_application.get(application, [])

    @cached_property
    def _by_application(self) -> dict[str, list[Host]]:
        found: dict[str, list[Host]] = {}
        for host in self.hosts.values():
            if host.application:
                found.setdefault(host.application, []).append(host)
        return found

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """The one table of who talks to whom, from the clients inwards."""
        inwards = sorted(ROLES.values(), key=lambda role: role.column)
        return tuple(
            row
            for role in inwards
            for row in (
                *role.rows(self.topology, self.settings),
                *pair.rows(self.topology, role),
            )
        )

    @cached_property
    def update_minutes(self) -> dict[str, int]:
        """For each host that there can be: the minutes from the first host's updates to its own."""
        return updates.minutes(self.topology.everyone())

    def tiers(self) -> list[tuple[str, list[str]]]:
        """Return a deployment's order: each tier's roles, and its hosts' ids, each host once.

        Hosts without a role are the last: no other host waits for them.
        """
        found: list[tuple[str, list[str]]] = []
        placed: set[str] = set()
        for tier in sorted({role.tier for role in ROLES.values()}):
            ids = {
                name: [host.id for host in self.having(name) if host.id not in placed]
                for name, role in ROLES.items()
                if role.tier == tier
            }
            hosts = list(dict.fromkeys(host for name in ids for host in ids[name]))
            placed.update(hosts)
            if hosts:
                found.append((", ".join(name for name in ids if ids[name]), hosts))
        own = [host for host in self.hosts if host not in placed]
        return [*found, *([(OWN, own)] if own else [])]

    def address(self, host: Host, link: str) -> str:
        """Return the host's address on a link that its roles need (KeyError for another)."""
        return host.addresses[self.topology.links[link]]

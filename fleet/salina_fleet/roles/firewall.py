"""The edge firewall: it passes pings and what anybody may open on to its host, nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from salina_fleet.role import Check, Role

if TYPE_CHECKING:
    from salina_fleet.fleet import Fleet
    from salina_fleet.model.settings import Settings
    from salina_fleet.model.topology import Host, Topology


class Firewall(Role):
    """The host between the clients and the service."""

    name = "firewall"
    order = 20
    tier = 2
    column = 1
    links = ("clients", "edge")
    count = ((0, 1), "at most one host may have it")
    forwards = True
    row = "S7"

    def rules(
        self, topology: Topology, settings: Settings, sound: Callable[[str], bool]
    ) -> Iterator[str]:
        """Without a firewall between them, clients are in the balancer's own network."""
        clients, edge = topology.links.get("clients"), topology.links.get("edge")
        if clients and edge and clients != edge and not topology.having(self.name):
            needs = f"the network `{clients}` needs a host with role {self.name}"
            yield f"links.clients: {needs}; add such a host, or set links.clients to `{edge}`"

    def checks(
        self, fleet: Fleet, host: Host, definitions: Mapping[str, Mapping[str, Any]]
    ) -> list[Check]:
        """The kernel forwards packets of the service's protocol, unless the service is here."""
        # it reads ROLES, of which this file is a part
        from salina_fleet import policy

        if not policy.forwards(fleet, host):
            return []
        ipv6 = ":" in fleet.topology.service.address
        return [Check("forwarding", {"ipv4": not ipv6, "ipv6": ipv6}, decides=True)]

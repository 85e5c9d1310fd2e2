"""The edge firewall: it passes pings and what anybody may open on to its host, nothing else.

A fleet may have none: the clients are in the balancer's own network, or a router that is not a host
of the fleet filters (`salina_fleet.policy.router`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from salina_fleet.role import AT_MOST_TWO, Check, Role, named
from salina_fleet.schema.document import join

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
    count = AT_MOST_TWO
    forwards = True
    row = "S7"
    software: ClassVar = {
        "keepalived": "gives the gateways to one of two firewalls",
        "nftables": "keeps a frozen one of the two from answering for the gateways",
    }

    def shared(self, topology: Topology) -> Mapping[str, str]:
        """The gateways: two firewalls have them in turns."""
        found = {link: topology.gateways.get(topology.links.get(link, "")) for link in self.links}
        return {link: address for link, address in found.items() if address}

    def spare(self, fleet: Fleet) -> int:
        """All but one: the other one has the gateways."""
        return max(0, len(fleet.having(self.name)) - 1)

    def rules(
        self, topology: Topology, settings: Settings, sound: Callable[[str], bool]
    ) -> Iterator[str]:
        """Two firewalls share the gateways, and forward to other hosts only."""
        clients, edge = topology.links.get("clients"), topology.links.get("edge")
        versions = {
            name: topology.networks[name].version
            for name in (clients, edge)
            if name and name in topology.networks
        }
        if len({*versions.values()}) > 1:
            words = " and ".join(f"{name} has IPv{one}" for name, one in versions.items())
            yield f"networks: {words}; the firewall forwards between them, so choose one version"
        if clients and edge and sound("gateways"):
            yield from self._gateways(topology, tuple(dict.fromkeys((clients, edge))))

    def _gateways(self, topology: Topology, networks: tuple[str, ...]) -> Iterator[str]:
        """Yield the faults of the addresses that two firewalls share."""
        hosts = topology.having(self.name)
        if len(hosts) != 2:
            if topology.gateways:
                two = "two share the gateways; remove the key, or give the role to two hosts"
                yield f"gateways: {named(hosts)} role {self.name}; {two}"
            for host in hosts if len(topology.having("balancer")) > 1 else ():
                if "balancer" in host.roles:  # it forwards nothing to an address that it shares
                    path = f"{join('hosts', host.id)}.roles"
                    yield f"{path}: one of two balancers cannot be a firewall; choose another host"
            return
        names = " and ".join(host.id for host in hosts)
        for name in networks:
            if name not in topology.gateways:
                share = f"write the address that {names} share there, the gateway of other hosts"
                yield f"{join('gateways', name)}: missing; {share}"
        for name, address in topology.gateways.items():
            path, network = join("gateways", name), topology.networks.get(name)
            fault = network.misfit(address) if network else None
            if name not in networks:
                only = " and ".join(networks)
                yield f"{path}: {names} share an address only in {only}; remove it"
            elif address == topology.service.address:
                yield f"{path}: {address} is already used by service.address; choose another one"
            elif fault:
                yield f"{path}: {address} {fault}; choose another address in the network {name}"
        for host in hosts:
            if "balancer" in host.roles:
                path = f"{join('hosts', host.id)}.roles"
                yield f"{path}: one of two firewalls cannot be a balancer; choose another host"

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

"""From the topology to machines: which containers there are, and what is plugged in where.

Pure: a topology and the active members of its pools go in, a plan comes out.
"""

import hashlib
import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from salina_fleet.model import topology

CLIENTS = {"c1": 11, "c2": 12}  # the lab's own hosts and their place in the clients network
NAME_LENGTH = 15  # of a network interface (IFNAMSIZ less the final zero)


@dataclass(frozen=True)
class Interface:
    """One network card: in the container `name`, outside it `pair`, plugged into `bridge`."""

    name: str
    pair: str
    bridge: str
    address: str
    mac: str
    gateway: str | None = None

    @property
    def version(self) -> int:
        """4 or 6."""
        return ipaddress.ip_interface(self.address).version


@dataclass(frozen=True)
class Machine:
    """One container: a host of the topology, or a client of the lab."""

    name: str
    roles: tuple[str, ...]
    interfaces: tuple[Interface, ...]
    management: str | None = None

    @property
    def container(self) -> str:
        """Name of the container."""
        return f"salina-{self.name}"

    @property
    def minion(self) -> bool:
        """Whether Salt manages it."""
        return self.management is not None

    @property
    def master(self) -> bool:
        """Whether the master runs on it."""
        return "master" in self.roles


@dataclass(frozen=True)
class Plan:
    """All machines of the lab and the bridges between them."""

    bridges: tuple[str, ...]
    machines: tuple[Machine, ...]

    @property
    def master(self) -> Machine:
        """The machine on which the master runs."""
        return next(machine for machine in self.machines if machine.master)

    @property
    def minions(self) -> tuple[Machine, ...]:
        """The machines which Salt manages."""
        return tuple(machine for machine in self.machines if machine.minion)

    @property
    def clients(self) -> tuple[Machine, ...]:
        """The machines beyond the firewall."""
        return tuple(machine for machine in self.machines if not machine.minion)

    def caller(self, address: str) -> Machine:
        """Return the machine from which the service is called: a client, or else its own host.

        :param address: where the service is
        """
        own = [
            machine
            for machine in self.machines
            if any(card.address.partition("/")[0] == address for card in machine.interfaces)
        ]
        return next(iter([*self.clients, *own, self.master]))

    def machine(self, name: str) -> Machine:
        """Return the machine of that name.

        :raises KeyError: there is none
        """
        for machine in self.machines:
            if machine.name == name:
                return machine
        raise KeyError(name)


def fit(name: str) -> str:
    """Return the name, shortened to what a network interface may have, still unique."""
    if len(name) <= NAME_LENGTH:
        return name
    return f"{name[: NAME_LENGTH - 5]}-{hashlib.sha256(name.encode()).hexdigest()[:4]}"


def bridge(network: str) -> str:
    """Return the name of a network's bridge."""
    return fit(f"br-{network}")


def mac(host: str, network: str) -> str:
    """Return a card's hardware address: always the same, so that restarts confuse nobody."""
    digest = hashlib.sha256(f"salina {host} {network}".encode()).hexdigest()
    return ":".join(["02", *(digest[i : i + 2] for i in range(0, 10, 2))])


def interfaces(
    host: str,
    addresses: Mapping[str, str],
    networks: Mapping[str, str],
    gateways: Mapping[str, str],
) -> tuple[Interface, ...]:
    """Return the cards of a host, in the order of its addresses.

    :param addresses: network -> address
    :param networks: network -> CIDR
    :param gateways: network -> address of the default gateway, where there is one
    """
    return tuple(
        Interface(
            name=f"eth{index}",
            pair=fit(f"{host}.{index}"),
            bridge=bridge(network),
            address=f"{address}/{networks[network].rpartition('/')[2]}",
            mac=mac(host, network),
            gateway=gateways.get(network),
        )
        for index, (network, address) in enumerate(addresses.items())
    )


def client_addresses(network: str) -> dict[str, str]:
    """Return the clients' addresses in their network, as far as it has room for them.

    :param network: CIDR
    """
    base = ipaddress.ip_network(network)
    return {
        name: str(base[place]) for name, place in CLIENTS.items() if place < base.num_addresses - 1
    }


def make(fleet: topology.Topology, members: Mapping[str, Sequence[str]]) -> Plan:
    """Return the plan of a fleet.

    Hosts on the edge network take the firewall there as their default gateway, so do the
    clients on theirs. All others have none: nothing but their own networks is reachable.
    A client whose address a host has is left out.

    :param fleet: the topology
    :param members: pool -> ids of its active members; a pool that is missing has its initial ones
    """
    networks = {network.name: str(network.cidr) for network in fleet.networks.values()}
    clients, edge = fleet.links["clients"], fleet.links["edge"]
    hosts = fleet.fleet(members)
    firewall = next((host for host in hosts if "firewall" in host.roles), None)
    inner = {edge: str(firewall.addresses[edge])} if firewall else {}
    machines = [
        Machine(
            name=host.id,
            roles=tuple(host.roles),
            interfaces=interfaces(
                host.id,
                {name: str(address) for name, address in host.addresses.items()},
                networks,
                {} if host is firewall else inner,
            ),
            management=str(host.addresses[fleet.links["management"]]),
        )
        for host in hosts
    ]
    outer = {clients: str(firewall.addresses[clients])} if firewall and clients != edge else {}
    taken = {str(host.addresses[clients]) for host in hosts if clients in host.addresses}
    machines += [
        Machine(name, (), interfaces(name, {clients: address}, networks, outer))
        for name, address in client_addresses(networks[clients]).items()
        if address not in taken
    ]
    return Plan(tuple(bridge(network) for network in networks), tuple(machines))

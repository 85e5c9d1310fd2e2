"""The plan of the lab: its machines and their network cards, derived from the topology.

The functions here only compute: a topology and its pools' members go in, a plan comes out.
"""

import hashlib
import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from salina_fleet.model.topology import Topology
from salina_fleet.platforms import DEFAULT

CLIENTS = {"c1": 11, "c2": 12}  # the lab's own hosts and their place in the clients network
NAME_LENGTH = 15  # the longest name of a network interface (IFNAMSIZ less the final zero)


@dataclass(frozen=True)
class Interface:
    """A network card: called `name` in the container and `pair` outside, plugged into `bridge`."""

    name: str
    pair: str
    bridge: str
    address: str
    mac: str
    gateway: str | None = None

    @property
    def version(self) -> int:
        """Return the version of the Internet Protocol: 4 or 6."""
        return ipaddress.ip_interface(self.address).version


@dataclass(frozen=True)
class Machine:
    """One container: a host of the topology, or a client of the lab."""

    name: str
    roles: tuple[str, ...]
    interfaces: tuple[Interface, ...]
    management: str | None = None
    platform: str = DEFAULT

    @property
    def container(self) -> str:
        """Return the name of the container."""
        return f"salina-{self.name}"

    @property
    def kind(self) -> str:
        """Return its roles, or otherwise what it is."""
        return " ".join(self.roles) or ("own host" if self.minion else "client")

    @property
    def minion(self) -> bool:
        """Return whether Salt manages the machine."""
        return self.management is not None

    @property
    def master(self) -> bool:
        """Return whether the master runs on the machine."""
        return "master" in self.roles


@dataclass(frozen=True)
class Plan:
    """All machines of the lab and the bridges between them."""

    bridges: tuple[str, ...]
    machines: tuple[Machine, ...]

    @property
    def master(self) -> Machine:
        """Return the machine on which the master runs."""
        return next(machine for machine in self.machines if machine.master)

    @property
    def minions(self) -> tuple[Machine, ...]:
        """Return the machines that Salt manages."""
        return tuple(machine for machine in self.machines if machine.minion)

    @property
    def clients(self) -> tuple[Machine, ...]:
        """Return the lab's clients: the machines outside the firewall."""
        return tuple(machine for machine in self.machines if not machine.minion)

    def caller(self, address: str) -> Machine:
        """Return the machine from which to call the service: a client, or else its own host.

        Args:
            address: The service's published address.
        """
        own = [
            machine
            for machine in self.machines
            if any(card.address.partition("/")[0] == address for card in machine.interfaces)
        ]
        return next(iter([*self.clients, *own, self.master]))

    def machine(self, name: str) -> Machine:
        """Return the machine of that name.

        Raises:
            KeyError: There is none.
        """
        for machine in self.machines:
            if machine.name == name:
                return machine
        raise KeyError(name)


def fit(name: str) -> str:
    """Return the name, shortened to the length of a network interface's name but still unique."""
    if len(name) <= NAME_LENGTH:
        return name
    return f"{name[: NAME_LENGTH - 5]}-{hashlib.sha256(name.encode()).hexdigest()[:4]}"


def bridge(network: str) -> str:
    """Return the name of a network's bridge."""
    return fit(f"br-{network}")


def mac(host: str, network: str) -> str:
    """Return a card's hardware address, which stays the same after a restart."""
    digest = hashlib.sha256(f"salina {host} {network}".encode()).hexdigest()
    return ":".join(["02", *(digest[i : i + 2] for i in range(0, 10, 2))])


def interfaces(
    host: str,
    addresses: Mapping[str, str],
    networks: Mapping[str, str],
    gateways: Mapping[str, str],
) -> tuple[Interface, ...]:
    """Return the network cards of a host, in the order of its addresses.

    Args:
        host: The host's id.
        addresses: The host's address in each of its networks.
        networks: The CIDR of each network.
        gateways: The address of the default gateway in the networks that have one.
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


def platforms(topology: Topology) -> set[str]:
    """Return the platforms of all hosts that the lab can have: its clients have the default one."""
    return {DEFAULT, *(host.platform for host in topology.hosts)}.union(
        pool.platform for pool in topology.pools.values()
    )


def client_addresses(network: str) -> dict[str, str]:
    """Return the address of each client for which the clients' network has room.

    Args:
        network: The network's CIDR.
    """
    base = ipaddress.ip_network(network)
    return {
        name: str(base[place]) for name, place in CLIENTS.items() if place < base.num_addresses - 1
    }


def make(topology: Topology, members: Mapping[str, Sequence[str]]) -> Plan:
    """Return the plan of the lab.

    The firewall is the default gateway of the hosts on the edge network, and of the clients; of two
    firewalls it is the one that has the shared address. Other hosts have no default gateway, and
    reach only their own networks. A client whose address belongs to a host is left out. The lab has
    no clients if somebody else's router leads to them.

    Args:
        topology: The lab's topology.
        members: The ids of each pool's active members. A missing pool has its initial members.
    """
    networks = {network.name: str(network.cidr) for network in topology.networks.values()}
    clients, edge = topology.links["clients"], topology.links["edge"]
    hosts = topology.fleet(members)
    firewall = next((host for host in hosts if "firewall" in host.roles), None)
    gateways = {**(firewall.addresses if firewall else {}), **topology.gateways}
    inner = {edge: gateways[edge]} if firewall else {}
    machines = [
        Machine(
            name=host.id,
            roles=tuple(host.roles),
            interfaces=interfaces(
                host.id,
                {name: str(address) for name, address in host.addresses.items()},
                networks,
                {} if "firewall" in host.roles else inner,
            ),
            management=str(host.addresses[topology.links["management"]]),
            platform=host.platform,
        )
        for host in hosts
    ]
    outer = {clients: gateways[clients]} if firewall and clients != edge else {}
    taken = {topology.service.address, *topology.gateways.values()}
    taken |= {str(host.addresses[clients]) for host in hosts if clients in host.addresses}
    machines += [
        Machine(name, (), interfaces(name, {clients: address}, networks, outer))
        for name, address in client_addresses(networks[clients]).items()
        if address not in taken and (firewall or clients == edge)
    ]
    return Plan(tuple(bridge(network) for network in networks), tuple(machines))

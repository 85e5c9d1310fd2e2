"""A fleet as any cloud sees it: networks, ports with their addresses, and groups of rules.

A port is a network card of a host. A group is the hosts with a role on one network; the table of
who talks to whom (`salina_fleet.policy`) gives its rules. Each cloud's file turns the plan into its
own resources. All hosts that there can be are in the plan, also those that a pool does not have
now, so a change of a pool changes nothing of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, ip_network

from salina_fleet import pair, policy
from salina_fleet.fleet import Fleet
from salina_fleet.model.firewall import FirewallSettings
from salina_fleet.model.topology import Host
from salina_fleet.role import ALL, ANY, NETWORK
from salina_fleet.schema.document import join

ANYWHERE = "0.0.0.0/0"
EVERY = "every"
"""The group of all hosts on a network."""


@dataclass(frozen=True)
class Rule:
    """A group's hosts accept `proto` from `source`: another group's name, or a range of addresses.

    `first` and `last`: the ports; None for ICMP. The hosts' own firewalls accept pings and the
    errors of known connections, such as that a packet is too large.
    """

    proto: str
    first: int | None
    last: int | None
    source: str
    comment: str

    @property
    def ranged(self) -> bool:
        """Return whether the source is a range of addresses."""
        return "/" in self.source


@dataclass(frozen=True)
class Group:
    """The hosts with a role on a network, and the rules for them."""

    name: str
    network: str
    rules: tuple[Rule, ...]


@dataclass(frozen=True)
class Port:
    """A host's network card: its network, its address, its groups."""

    network: str
    address: str
    groups: tuple[str, ...]


@dataclass(frozen=True)
class Machine:
    """A host: its roles, and its ports. The default route leads through the first one."""

    id: str
    roles: tuple[str, ...]
    ports: tuple[Port, ...]

    @property
    def kind(self) -> str:
        """Return its first role, by which its size is chosen; `own` for a host without roles."""
        return next(iter(self.roles), "own")


@dataclass(frozen=True)
class Plan:
    """The fleet for a cloud.

    `networks`: name -> range. `outside`: the networks with a way to the outside, that of the
    service's address first. `service`: the host and the network of that address. `apart`: the first
    role of several hosts -> these hosts, which must not share a physical machine.
    """

    networks: dict[str, IPv4Network]
    groups: dict[str, Group]
    machines: dict[str, Machine]
    outside: tuple[str, ...]
    service: tuple[str, str]
    apart: dict[str, tuple[str, ...]]


def faults(fleet: Fleet) -> Iterator[str]:
    """Yield why a fleet cannot be in any of the clouds, each as `path: message`."""
    for name, network in fleet.topology.networks.items():
        if ip_network(network.cidr).version != 4:
            yield (
                f"networks.{name}: {network.cidr} is not an IPv4 network; choose one such as "
                "10.1.2.0/24, because only IPv4 is generated for clouds"
            )
    address = fleet.topology.service.address
    for host in fleet.hosts.values():
        if policy.forwards(fleet, host):
            yield (
                f"{join('hosts', host.id)}.roles: a cloud's public address leads to one host and "
                "is replaced by that host's own, so no host forwards packets to another one; "
                "remove this host and let the links clients and edge name one network"
            )
        if shared := pair.of(fleet, host):
            yield (
                f"hosts.{host.id}.roles: a cloud's network does not follow the address "
                f"{next(iter(shared.values()))} from one host to another; keep one host with this "
                "role, and see docs/deployment.md for what a cloud has instead"
            )
    if not any(policy.published(fleet, host) for host in fleet.hosts.values()):
        yield f"service.address: {address} is not an address of a host; give it to the balancer"


def make(fleet: Fleet) -> Plan:
    """Return the plan of a fleet that has no faults."""
    hosts = list(fleet.topology.everyone())
    used = {name for host in hosts for name in host.addresses}  # clients may be elsewhere
    networks = {
        name: IPv4Network(network.cidr)
        for name, network in fleet.topology.networks.items()
        if name in used
    }
    groups = {name: one for name, one in _groups(fleet).items() if one.network in used}
    (service,) = (
        (host.id, network)
        for host in hosts
        for network, address in host.addresses.items()
        if address == fleet.topology.service.address
    )
    management = fleet.topology.links["management"]
    machines = {
        host.id: Machine(host.id, host.roles, _ports(host, groups, service, management))
        for host in hosts
    }
    apart: dict[str, tuple[str, ...]] = {}
    for host in hosts:
        if host.roles:
            apart[host.roles[0]] = (*apart.get(host.roles[0], ()), host.id)
    return Plan(
        networks,
        groups,
        machines,
        tuple(dict.fromkeys((service[1], management))),
        service,
        {role: ids for role, ids in apart.items() if len(ids) > 1},
    )


def _ports(
    host: Host, groups: dict[str, Group], service: tuple[str, str], management: str
) -> tuple[Port, ...]:
    """Return a host's ports: first the one with a way to the outside."""
    first = service[1] if host.id == service[0] else management
    found = sorted(host.addresses.items(), key=lambda one: one[0] != first)
    return tuple(
        Port(
            network,
            address,
            tuple(
                name
                for name in (
                    f"{EVERY}-{network}",
                    *(f"{role}-{network}" for role in host.roles),
                    f"host-{host.id}-{network}",
                )
                if name in groups
            ),
        )
        for network, address in found
    )


def _groups(fleet: Fleet) -> dict[str, Group]:
    """Return all groups that have rules, or are the source of one."""
    networks = fleet.topology.networks
    rules: dict[tuple[str, str], list[Rule]] = {}
    for name, network in networks.items():
        pings = Rule("icmp", None, None, network.cidr, "pings and errors")
        rules[f"{EVERY}-{name}", name] = [pings]
    for row in fleet.rows:
        name = fleet.topology.links[row.link]
        target = EVERY if row.target == ALL else row.target
        source = {ANY: ANYWHERE, NETWORK: networks[name].cidr}.get(row.source)
        if source is None:
            source = f"{row.source}-{name}"
            rules.setdefault((source, name), [])
        into = rules.setdefault((f"{target}-{name}", name), [])
        into += _ranges(row.proto, row.ports, source, row.comment)
    for one in fleet.settings[FirewallSettings].added:
        target = one.role or (f"host-{one.host}" if one.host else EVERY)
        source = ANYWHERE if one.source == ANY else _cidr(one.source or networks[one.network].cidr)
        into = rules.setdefault((f"{target}-{one.network}", one.network), [])
        into += _ranges(one.protocol, one.ports, source, one.comment)
    for host in fleet.hosts.values():
        for name, address in host.addresses.items():
            if address == fleet.topology.service.address:
                into = rules.setdefault((f"balancer-{name}", name), [])
                into.append(Rule("icmp", None, None, ANYWHERE, "pings and errors"))
    return {
        name: Group(name, network, tuple(dict.fromkeys(found)))
        for (name, network), found in rules.items()
    }


def _cidr(source: str) -> str:
    """Return an address or a range as a range."""
    return str(IPv4Network(source))


def _ranges(proto: str, ports: str, source: str, comment: str) -> Iterator[Rule]:
    """Yield a rule for each range in ports as ufw writes them: `80,443`, `49152:49251`."""
    for part in ports.split(","):
        first, _, last = part.partition(":")
        yield Rule(proto, int(first), int(last or first), source, comment)


def reserved(plan: Plan, kept: dict[str, set[IPv4Address]], cloud: str) -> Iterator[str]:
    """Yield the hosts' addresses that a cloud keeps for itself, each as `path: message`.

    Args:
        plan: the fleet.
        kept: network -> its addresses that no host can have.
        cloud: the cloud's name in messages.
    """
    for machine in plan.machines.values():
        for port in machine.ports:
            path = f"{join('hosts', machine.id)}.addresses.{port.network}"
            if IPv4Address(port.address) in kept[port.network]:
                yield (
                    f"{path}: {port.address} belongs to {cloud} itself; choose an address that "
                    "is not among the first four or the last six of the network"
                )


def ends(network: IPv4Network, first: int, last: int) -> set[IPv4Address]:
    """Return the first and the last addresses of a network, so many of each."""
    return {network[place] for place in range(first)} | {
        network[-1 - place] for place in range(last)
    }

"""Who may talk to whom: one table, and everything that is derived from it.

Every host's ufw rules, the firewall's routes, the peers in each /etc/hosts, the edges of the map
and the port matrix that the tests scan against come from `table`. What is not in it is dropped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from salina_fleet.model.settings import Settings
from salina_fleet.model.topology import Host, Topology

ANY = "any"
"""A source: whoever reaches the target's address at all (clients, and their whole world)."""
NETWORK = "network"
"""A source: the link's whole network, so that a new host is let in before it is known."""
ALL = "all"
"""A target: every host."""
APP_PORT = 80
TIERS = (("master",), ("storage", "quorum", "firewall"), ("database",), ("app", "balancer"))
"""The roles in the order of a deployment: each tier needs those before it. Firewall and balancer
need nobody: they go along with a tier that has more to do.
"""


class Row(NamedTuple):
    """One line of the table: hosts with role `source` may open `ports` of hosts with `target`."""

    source: str
    target: str
    link: str
    ports: str
    comment: str
    proto: str = "tcp"


class Opening(NamedTuple):
    """What a host may open on another: an address, a protocol, ports (`80,443`, `49152:49251`)."""

    address: str
    proto: str
    ports: str


def table(topology: Topology, settings: Settings) -> tuple[Row, ...]:
    """The one table of who talks to whom."""
    database = f"{settings.database.port},{settings.database.rest_port}"
    quorum = str(settings.quorum.client_port)
    voters = f"{settings.quorum.client_port},{settings.quorum.peer_port}"
    bricks = f"49152:{settings.storage.max_port}"
    published = ",".join(str(port) for port in topology.service.ports)
    return (
        Row(NETWORK, ALL, "management", "22", "SSH"),
        Row(NETWORK, "master", "management", "4505,4506", "Salt"),
        Row(ANY, "balancer", "edge", published, "the published service"),
        Row("balancer", "app", "web", str(APP_PORT), "HTTP"),
        Row("app", "storage", "data", f"24007,{bricks}", "the volume"),
        Row("storage", "storage", "data", f"24007:24008,{bricks}", "GlusterFS peers"),
        Row("app", "database", "data", database, "PostgreSQL and who is primary"),
        Row("database", "database", "data", database, "replication and Patroni"),
        Row("database", "quorum", "data", quorum, "the lease of Patroni"),
        Row("quorum", "quorum", "data", voters, "etcd peers"),
    )


@dataclass(frozen=True)
class Fleet:
    """A topology with its active members and settings, indexed for questions about one host."""

    topology: Topology
    members: Mapping[str, Sequence[str]]
    settings: Settings

    @cached_property
    def hosts(self) -> dict[str, Host]:
        """Every host of the fleet by its id, static ones first."""
        return {host.id: host for host in self.topology.fleet(self.members)}

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """The table for this fleet."""
        return table(self.topology, self.settings)

    @cached_property
    def roles(self) -> dict[str, tuple[Host, ...]]:
        """Role -> its hosts, in the order of the fleet."""
        found: dict[str, list[Host]] = {}
        for host in self.hosts.values():
            for role in host.roles:
                found.setdefault(role, []).append(host)
        return {role: tuple(hosts) for role, hosts in found.items()}

    def having(self, role: str) -> tuple[Host, ...]:
        """The hosts with a role, in the order of the fleet."""
        return self.roles.get(role, ())

    def serving(self, application: str) -> list[Host]:
        """The app hosts of an application, in the order of the fleet."""
        return [host for host in self.having("app") if host.application == application]

    def tiers(self) -> list[tuple[str, list[str]]]:
        """The order of a deployment: the roles of each tier, and its hosts' ids, each once."""
        found: list[tuple[str, list[str]]] = []
        placed: set[str] = set()
        for roles in TIERS:
            ids = {
                role: [host.id for host in self.having(role) if host.id not in placed]
                for role in roles
            }
            hosts = list(dict.fromkeys(host for role in roles for host in ids[role]))
            placed.update(hosts)
            if hosts:
                found.append((", ".join(role for role in roles if ids[role]), hosts))
        return found

    def address(self, host: Host, link: str) -> str:
        """The host's address on a link that its role needs (KeyError for another)."""
        return host.addresses[self.topology.links[link]]

    def app_address(self, host: Host) -> str:
        """Where an app host's web server listens: on the balancer's own host on loopback only,
        since the balancer may have the same address and the same port.
        """
        return "127.0.0.1" if "balancer" in host.roles else self.address(host, "web")


def rules(fleet: Fleet, host: Host) -> list[dict[str, str]]:
    """The ufw rules of one host: for each row that leads to it, one rule for each source.

    A host that is both ends needs none: ufw lets loopback pass.
    """
    found = []
    for row in fleet.rows:
        if row.target != ALL and row.target not in host.roles:
            continue
        to = fleet.address(host, row.link)
        for name, source in _sources(fleet, row, host):
            found.append(
                {
                    "comment": f"{name}: {row.comment}" if name else row.comment,
                    "proto": row.proto,
                    "ports": row.ports,
                    "from": source,
                    "to": to,
                }
            )
    return found


def _sources(fleet: Fleet, row: Row, host: Host) -> Iterator[tuple[str, str]]:
    """The name and the address of each source of a row that leads to `host`."""
    if row.source == ANY:
        yield "", ANY
    elif row.source == NETWORK:
        yield "", fleet.topology.networks[fleet.topology.links[row.link]].cidr
    else:
        for peer in fleet.having(row.source):
            if peer.id != host.id:
                yield peer.id, fleet.address(peer, row.link)


def forwards(fleet: Fleet, host: Host) -> bool:
    """Whether a host forwards the clients' packets: a firewall that is not the balancer itself."""
    return "firewall" in host.roles and "balancer" not in host.roles


def routes(fleet: Fleet, host: Host) -> list[dict[str, str]]:
    """What the firewall forwards: the published ports of the service's address."""
    if not forwards(fleet, host):
        return []
    return [
        {
            "comment": row.comment,
            "proto": row.proto,
            "ports": row.ports,
            "from": ANY,
            "to": fleet.topology.service.address,
        }
        for row in fleet.rows
        if row.source == ANY
    ]


def pings(fleet: Fleet, host: Host) -> list[str]:
    """The addresses of its own at which a host answers ping: on a firewall the service's alone."""
    own = [*host.addresses.values()]
    if "balancer" in host.roles:
        own.append(fleet.topology.service.address)
    if "firewall" in host.roles:
        own = [address for address in own if address == fleet.topology.service.address]
    return list(dict.fromkeys(own))


def peers(fleet: Fleet, host: Host) -> dict[str, str]:
    """The hosts that this host's roles talk to: id -> address, each once.

    Where two rows lead to one host over different networks, the first row wins for all.
    """
    found: dict[str, str] = {}
    for row in fleet.rows:
        if row.source not in host.roles:
            continue
        for peer in fleet.having(row.target):
            if peer.id != host.id:
                found.setdefault(peer.id, fleet.address(peer, row.link))
    return found


def neighbours(fleet: Fleet, roles: Sequence[str]) -> list[str]:
    """The ids of the hosts whose rules and lists name the hosts with these roles."""
    beside = {row.target for row in fleet.rows if row.source in roles}
    beside |= {row.source for row in fleet.rows if row.target in roles}
    return [host.id for host in fleet.hosts.values() if beside & {*host.roles}]


def allowed(fleet: Fleet, source: str, target: str) -> frozenset[Opening]:
    """What `source` (a host's id, or `clients`) may open on the host `target`.

    The tests' port matrix: everything else must be closed. Only what the source has a way to is
    named: an address in a network of its own, or for clients the service's.
    """
    here = fleet.hosts[target]
    found = set()
    for row in fleet.rows:
        if row.target != ALL and row.target not in here.roles:
            continue
        if _may(fleet, row, source, target):
            found.add(Opening(fleet.address(here, row.link), row.proto, row.ports))
    return frozenset(found)


def _may(fleet: Fleet, row: Row, source: str, target: str) -> bool:
    network = fleet.topology.links[row.link]
    if source == "clients":
        return row.source == ANY or (
            row.source == NETWORK and network == fleet.topology.links["clients"]
        )
    host = fleet.hosts[source]
    if source == target or network not in host.addresses:
        return False
    return row.source in (ANY, NETWORK) or row.source in host.roles

"""The table of who may talk to whom, and everything that is derived from it.

The roles' files give the table's rows. Every host's ufw rules, the firewall's routes, the peers in
each /etc/hosts, the arrows of the map, docs/ports.md and the port matrix that the tests scan
against are derived from it. The firewalls drop everything else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import ip_address, ip_network
from typing import Any, NamedTuple

from salina_fleet import pair
from salina_fleet.fleet import Fleet
from salina_fleet.model.firewall import Egress, FirewallSettings, OperatorRule
from salina_fleet.model.topology import Host
from salina_fleet.role import ALL, ANY, NETWORK, Row
from salina_fleet.roles import ROLES

STRICT = "strict"
"""The setting `reverse_path` of hosts that have only one way to each network."""
EVERYBODY = {ANY: "anybody", NETWORK: "every host of the network", ALL: "every host"}
"""The sources and targets that are not a role, in the words of the printed table."""


class Opening(NamedTuple):
    """An opening on another host: an address, a protocol, ports (`80,443`, `49152:49251`)."""

    address: str
    proto: str
    ports: str


def markdown(fleet: Fleet) -> str:
    """Return the table for a fleet as a Markdown table, which docs/ports.md shows."""
    lines = ["| from | to | network | ports | protocol | purpose |", "|---|---|---|---|---|---|"]
    for row in fleet.rows:
        network = fleet.topology.networks[fleet.topology.links[row.link]]
        cells = (
            EVERYBODY.get(row.source, row.source),
            EVERYBODY.get(row.target, row.target),
            f"{network.name} ({network.cidr})",
            row.ports.replace(",", ", ").replace(":", "-") or "-",
            row.proto.upper(),
            f"{row.comment}, by root only" if row.by_root else row.comment,
        )
        lines.append(f"| {' | '.join(cells)} |")
    for rule in fleet.settings[FirewallSettings].added:
        network = fleet.topology.networks[rule.network]
        cells = (
            EVERYBODY.get(rule.source or NETWORK, rule.source or ""),
            rule.role or rule.host or EVERYBODY[ALL],
            f"{network.name} ({network.cidr})",
            rule.ports.replace(",", ", ").replace(":", "-"),
            rule.protocol.upper(),
            rule.comment,
        )
        lines.append(f"| {' | '.join(cells)} |")
    for one in fleet.settings[FirewallSettings].egress:
        cells = (
            one.role or one.host or EVERYBODY[ALL],
            "anywhere" if one.to == ANY else one.to,
            "outside",
            one.ports.replace(",", ", ").replace(":", "-"),
            one.protocol.upper(),
            f"{one.comment}, also by the application" if one.application else one.comment,
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def rules(fleet: Fleet, host: Host) -> list[dict[str, Any]]:
    """Return the ufw rules of one host: one for each source of each row that leads to it.

    `in` is the host's own address whose interface the packets come in on: only the host knows the
    interface's name. The rules that the operator added for the host (pillar/settings/firewall.yaml)
    are the last. A host that is both ends needs none, since ufw lets loopback pass.
    """
    found = []
    for row in fleet.rows:
        if row.target != ALL and row.target not in host.roles:
            continue
        for name, source in _sources(fleet, row, host):
            for own in _arrivals(fleet, row, host):
                found.append(
                    {
                        "comment": f"{name}: {row.comment}" if name else row.comment,
                        "proto": row.proto,
                        "ports": row.ports,
                        "from": source,
                        "to": pair.reached(fleet, row, host),
                        "in": own,
                    }
                )
    return found + _added(fleet, host)


def _bound(fleet: Fleet, address: str) -> str | None:
    """Return the address whose interface a rule names; None where packets may take any of them.

    A fleet needs that if its hosts have several ways to a network.
    """
    return address if fleet.settings[FirewallSettings].reverse_path == STRICT else None


def _arrivals(fleet: Fleet, row: Row, host: Host) -> list[str | None]:
    """Return the host's own addresses on whose interfaces a row's packets come in.

    Clients reach a host that is in their own network there, whichever of its addresses they ask.
    """
    own = fleet.address(host, row.link)
    near = fleet.topology.address(host, "clients") if row.source == ANY else None
    return list(dict.fromkeys(_bound(fleet, one) for one in (near or own, own)))


def _added(fleet: Fleet, host: Host) -> list[dict[str, Any]]:
    """Return the ufw rules of one host that the operator added."""
    return [
        {
            "comment": rule.comment,
            "proto": rule.protocol,
            "ports": rule.ports,
            "from": rule.source or fleet.topology.networks[rule.network].cidr,
            "to": host.addresses[rule.network],
            "in": _bound(fleet, host.addresses[rule.network]),
        }
        for rule in fleet.settings[FirewallSettings].added
        if rule.covers(host)
    ]


def _sources(fleet: Fleet, row: Row, host: Host) -> Iterator[tuple[str, str]]:
    """Yield the name and the address of each source of a row that leads to `host`."""
    if row.source == ANY:
        yield "", ANY
    elif row.source == NETWORK:
        yield "", fleet.topology.networks[fleet.topology.links[row.link]].cidr
    else:
        for peer in fleet.having(row.source):
            if peer.id != host.id:
                yield peer.id, fleet.address(peer, row.link)


def outgoing(fleet: Fleet, host: Host) -> list[dict[str, str]]:
    """Return the connections that a host may open: those of the table, and those of `egress`.

    They name no interface: a host whose interfaces got other names still reaches the master. Where
    a row leads to every host, the whole network is the target, so a new host is reached at once.
    """
    found = []
    for row in fleet.rows:
        network = fleet.topology.links[row.link]
        if network not in host.addresses or row.source not in (ANY, NETWORK, *host.roles):
            continue
        targets = {"": fleet.topology.networks[network].cidr}
        if row.target != ALL:
            peers = [peer for peer in fleet.having(row.target) if peer.id != host.id]
            targets = {f"{peer.id}: ": pair.reached(fleet, row, peer) for peer in peers}
        found += [
            _opened(f"{name}{row.comment}", row.proto, row.ports, to)
            for name, to in targets.items()
        ]
    for rule in fleet.settings[FirewallSettings].added:
        if not _may_by(fleet, rule, host.id, ""):
            continue
        targets = {"": fleet.topology.networks[rule.network].cidr}
        if rule.role is not None or rule.host is not None:
            peers = [one for one in fleet.hosts.values() if rule.covers(one) and one.id != host.id]
            targets = {f"{peer.id}: ": peer.addresses[rule.network] for peer in peers}
        found += [
            _opened(f"{name}{rule.comment}", rule.protocol, rule.ports, to)
            for name, to in targets.items()
        ]
    return found + [
        _opened(one.comment, one.protocol, one.ports, one.to) for one in egress(fleet, host)
    ]


def _opened(comment: str, proto: str, ports: str, to: str) -> dict[str, str]:
    return {"comment": comment, "proto": proto, "ports": ports, "to": to}


def egress(fleet: Fleet, host: Host) -> list[Egress]:
    """Return the connections to the outside that a host may open."""
    return [one for one in fleet.settings[FirewallSettings].egress if one.covers(host)]


def published(fleet: Fleet, host: Host) -> bool:
    """Return whether the published service is the host's own: it has the address, or shares it."""
    own = (*host.addresses.values(), *pair.of(fleet, host).values())
    return fleet.topology.service.address in own


def forwards(fleet: Fleet, host: Host) -> bool:
    """Return whether a host forwards the clients' packets to the service on another host."""
    return any(ROLES[role].forwards for role in host.roles) and not published(fleet, host)


def elsewhere(fleet: Fleet, host: Host) -> list[str]:
    """Return the fleet's networks in which a host has no address, as CIDR."""
    networks = fleet.topology.networks
    return [one.cidr for name, one in networks.items() if name not in host.addresses]


def by_root(fleet: Fleet, host: Host) -> list[dict[str, str]]:
    """Return the openings on other hosts that only root of a host may use."""
    found = [
        {"proto": row.proto, "ports": row.ports, "to": fleet.address(peer, row.link)}
        for row in fleet.rows
        if row.by_root and row.source in (NETWORK, *host.roles)
        for peer in fleet.having(row.target)
        if peer.id != host.id
    ]
    return _each_once(found)


def _each_once(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one for place, one in enumerate(found) if one not in found[:place]]


def routes(fleet: Fleet, host: Host) -> list[dict[str, Any]]:
    """Return what a host forwards: the ports to which a row leads from anywhere.

    The packets come in from the clients' network, and leave into that of the row's hosts.
    """
    if not forwards(fleet, host):
        return []
    found = [
        {
            "comment": row.comment,
            "proto": row.proto,
            "ports": row.ports,
            "from": ANY,
            "to": pair.reached(fleet, row, peer),
            "in": _bound(fleet, fleet.address(host, "clients")),
            "out": _bound(fleet, fleet.address(host, row.link)),
        }
        for row in fleet.rows
        if row.source == ANY
        for peer in fleet.having(row.target)
    ]
    return _each_once(found)


def taken_over(fleet: Fleet, host: Host) -> list[dict[str, Any]]:
    """Return those of `routes` whose connections a host takes over from the other one of its pair.

    Without NAT, each packet says all that is needed, so the two need no common table.
    """
    own = [name for name in host.roles if ROLES[name].forwards]
    if not any(pair.shared(fleet.topology, ROLES[name]) for name in own):
        return []
    return [way for way in routes(fleet, host) if way["proto"] == "tcp"]


def passed(fleet: Fleet) -> list[dict[str, str]]:
    """Return what reaches the fleet's hosts from outside: the rows from anywhere, and added rules.

    A row's `to` is the address of the host that it leads to, or the one that a pair shares.
    """
    found = [
        _opened(row.comment, row.proto, row.ports, pair.reached(fleet, row, peer)) | {"from": ANY}
        for row in fleet.rows
        if row.source == ANY
        for peer in fleet.having(row.target)
    ]
    for rule in fleet.settings[FirewallSettings].added:
        own = fleet.topology.networks[rule.network].cidr
        inside = rule.source is None or (
            rule.source != ANY and ip_network(rule.source).overlaps(ip_network(own))
        )
        for host in fleet.hosts.values():
            if not inside and rule.covers(host):
                to = host.addresses[rule.network]
                found.append(
                    _opened(rule.comment, rule.protocol, rule.ports, to)
                    | {"from": rule.source or ""}
                )
    return _each_once(found)


def routed(fleet: Fleet) -> bool:
    """Return whether a router filters that is not a host of the fleet."""
    links = fleet.topology.links
    walls = any(ROLES[role].forwards for host in fleet.hosts.values() for role in host.roles)
    return links["clients"] != links["edge"] and not walls


def router(fleet: Fleet) -> str:
    """Return in Markdown what a router or a cloud in front of the fleet must pass."""
    service, settings = fleet.topology.service, fleet.settings[FirewallSettings]
    lines = [
        "From outside to the hosts, and the answers to it; every other packet is dropped:",
        "",
        "| from | to | ports | protocol | purpose |",
        "|---|---|---|---|---|",
    ]

    def line(source: str, target: str, ports: str, proto: str, comment: str) -> None:
        shown = "anywhere" if source == ANY else source
        place = "anywhere" if target == ANY else target
        if target == service.address and service.public:
            place = f"{target} (called as {service.public})"
        cells = (shown, place, ports.replace(",", ", ").replace(":", "-"), proto.upper(), comment)
        lines.append(f"| {' | '.join(cells)} |")

    for one in passed(fleet):
        line(one["from"], one["to"], one["ports"], one["proto"], one["comment"])
    line(ANY, service.address, "", "icmp", "pings, and errors such as a packet that is too large")
    lines += [
        "",
        "From the hosts to the outside, and the answers to it:",
        "",
        "| from | to | ports | protocol | purpose |",
        "|---|---|---|---|---|",
    ]
    for rule in settings.egress:
        hosts = rule.host or (f"hosts with role {rule.role}" if rule.role else EVERYBODY[ALL])
        line(hosts, rule.to, rule.ports, rule.protocol, rule.comment)
    edge = fleet.topology.networks[fleet.topology.links["edge"]]
    clients = fleet.topology.networks[fleet.topology.links["clients"]]
    if edge != clients:
        lines += [
            "",
            f"Packets from {clients.cidr} keep their sources, because the balancer counts the "
            "requests of each client.",
            f"The hosts in {edge.cidr} answer through this router: it is their default route.",
        ]
    return "\n".join(lines) + "\n"


def forward_pings(fleet: Fleet, host: Host) -> list[dict[str, Any]]:
    """Return the address that pings reach through a host, on the way of `routes`: the service's."""
    ways = [way for way in routes(fleet, host) if way["to"] == fleet.topology.service.address]
    return [{key: way[key] for key in ("to", "in", "out")} for way in ways[:1]]


def near(fleet: Fleet, host: Host) -> list[dict[str, str]]:
    """Return the host's own networks, each with its own address there, if rules name interfaces.

    A packet with a source in one of them comes in on no other interface.
    """
    return [
        {"network": fleet.topology.networks[name].cidr, "in": address}
        for name, address in host.addresses.items()
        if _bound(fleet, address)
    ]


def pings(fleet: Fleet, host: Host) -> list[str]:
    """Return those of its addresses at which a host answers pings.

    One that forwards packets answers at the service's address alone, if that is its own.
    """
    service = fleet.topology.service.address
    own = [*host.addresses.values(), *([service] if published(fleet, host) else [])]
    if any(ROLES[role].forwards for role in host.roles):
        own = [address for address in own if address == service]
    return list(dict.fromkeys(own))


def peers(fleet: Fleet, host: Host) -> dict[str, str]:
    """Return the hosts that this host's roles talk to: id -> address, each once.

    Where two rows lead to one host over different networks, the first row wins.
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
    """Return the ids of the hosts whose rules and lists name the hosts with these roles."""
    near = beside(fleet, roles)
    return [host.id for host in fleet.hosts.values() if near & {*host.roles}]


def beside(fleet: Fleet, roles: Sequence[str]) -> set[str]:
    """Return the roles that talk to these roles, in either direction, and those that watch all."""
    near = {row.target for row in fleet.rows if row.source in roles}
    near |= {name for name, role in ROLES.items() if role.watches}
    return near | {row.source for row in fleet.rows if row.target in roles}


def allowed(fleet: Fleet, source: str, target: str) -> frozenset[Opening]:
    """Return what `source` (a host's id, or `clients`) may open on the host `target`.

    This is the tests' port matrix: everything else must be closed. It holds only addresses that the
    source can reach: those in its own networks, or for clients the service's.
    """
    here = fleet.hosts[target]
    found = set()
    for row in fleet.rows:
        if row.target != ALL and row.target not in here.roles:
            continue
        if _may(fleet, row, source, target):
            found.add(Opening(pair.reached(fleet, row, here), row.proto, row.ports))
    for rule in fleet.settings[FirewallSettings].added:
        if rule.covers(here) and _may_by(fleet, rule, source, target):
            found.add(Opening(here.addresses[rule.network], rule.protocol, rule.ports))
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


def _may_by(fleet: Fleet, rule: OperatorRule, source: str, target: str) -> bool:
    """Return whether a rule that the operator added lets a source through."""
    own = fleet.topology.networks[rule.network].cidr
    ranges = ip_network(own if rule.source in (None, ANY) else rule.source)
    if source == "clients":
        return rule.network == fleet.topology.links["clients"] and ranges.overlaps(ip_network(own))
    address = fleet.hosts[source].addresses.get(rule.network)
    return source != target and address is not None and ip_address(address) in ranges

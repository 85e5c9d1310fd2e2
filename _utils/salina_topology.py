"""What exists: the file pillar/topology.yaml as frozen dataclasses, and the only validator of it.

`parse` reports every fault at once, each with its path into the file, what was found and what
is allowed. Three callers: the external pillar (which then refuses to compile, so that nothing
is changed anywhere), the `topology` runner, and the lab. Rules: docs/design, "Topology".
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import salina_yaml
from salina_yaml import join, show

ROLES = ("master", "firewall", "balancer", "app", "storage", "quorum", "database")
POOL_ROLES = ("app",)
"""Roles that hosts may take up and lay down while running; the others keep state by id."""
PURPOSES = ("clients", "edge", "web", "data", "management")
VOTERS = (1, 3, 5)
MAX_POOL = 4096

NEEDS: Mapping[str, tuple[str, ...]] = {
    "master": (),
    "firewall": ("clients", "edge"),
    "balancer": ("edge", "web"),
    "app": ("web", "data"),
    "storage": ("data",),
    "quorum": ("data",),
    "database": ("data",),
}
"""Role -> the links whose networks a host with that role has an address in (all: management)."""

OWN_PORTS: Mapping[int, str] = {
    22: "SSH",
    2379: "etcd",
    2380: "etcd",
    4505: "Salt",
    4506: "Salt",
    5432: "PostgreSQL",
    5433: "the database route",
    6432: "pgbouncer",
    8008: "Patroni",
    8069: "Odoo",
    8072: "Odoo",
    24007: "GlusterFS",
    24008: "GlusterFS",
}
"""Ports that the fleet itself uses; the service cannot be published on them."""

LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
NAME = re.compile(r"[a-z][a-z0-9_]{0,30}")
DOMAIN = re.compile(rf"{LABEL.pattern}(\.{LABEL.pattern})*")
APPLICATION = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?")
ADDRESS_RULE = re.compile(r"(?P<stem>[0-9A-Fa-f.:]*[.:])\((?P<base>[0-9]{1,5})\+n\)")

TAKEN_IDS = ("localhost", "database")
"""Names that mean something else in /etc/hosts: `database` is an app host's way to the primary."""
TAKEN_SERVICES = ("postgres", "template0", "template1", "superuser", "replicator", "rewind")
"""Names of PostgreSQL's own databases and of the roles that Patroni uses."""
UNUSABLE = tuple(
    ipaddress.ip_network(cidr)
    for cidr in ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3")
) + tuple(ipaddress.ip_network(cidr) for cidr in ("::/127", "fe80::/10", "ff00::/8"))

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class TopologyError(salina_yaml.DataError):
    """A topology with faults: `source` (where it came from) and `faults` (one line each)."""


@dataclass(frozen=True)
class Network:
    """A network: its name and its range as CIDR."""

    name: str
    cidr: str


@dataclass(frozen=True)
class Host:
    """A host: minion id, roles, and its address in each network (network's name -> address).

    `first`: the database host that bootstraps the cluster. `pool`: the pool it is a member of.
    """

    id: str
    roles: tuple[str, ...]
    addresses: Mapping[str, str]
    first: bool = False
    pool: str | None = None


@dataclass(frozen=True)
class Pool:
    """A numbered family of hosts: member n has the id and the addresses that the rules give.

    `id_pattern` holds `{n}`; an address rule such as `10.1.3.(10+n)` is the address with the
    base in place of the parenthesis, plus n.
    """

    name: str
    roles: tuple[str, ...]
    id_pattern: str
    addresses: Mapping[str, str]
    minimum: int
    maximum: int
    initial: tuple[str, ...]

    def ids(self) -> tuple[str, ...]:
        """The ids of all members there may ever be, in order: s1 to s10."""
        return tuple(self.id_pattern.replace("{n}", str(n)) for n in range(1, self.maximum + 1))

    def number(self, host_id: str) -> int | None:
        """The n of a member's id; None for an id that is none of this pool's."""
        before, _, after = self.id_pattern.partition("{n}")
        digits = host_id.removeprefix(before).removesuffix(after)
        if f"{before}{digits}{after}" != host_id or not re.fullmatch(r"[1-9][0-9]{0,3}", digits):
            return None
        return int(digits) if int(digits) <= self.maximum else None

    def host(self, number: int) -> Host:
        """Member `number` as a host."""
        return Host(
            id=self.id_pattern.replace("{n}", str(number)),
            roles=self.roles,
            addresses={net: str(_start(rule) + number) for net, rule in self.addresses.items()},
            pool=self.name,
        )


@dataclass(frozen=True)
class Service:
    """The published service: what clients call, and the application behind it."""

    name: str
    domain: str
    application: str
    address: str
    network: str
    http: int = 80
    https: int = 443
    tls: bool = True

    @property
    def ports(self) -> tuple[int, ...]:
        """The published TCP ports."""
        return (self.http, self.https) if self.tls else (self.http,)


@dataclass(frozen=True)
class Topology:
    """What exists. `hosts` are the static ones; the members of `pools` come and go."""

    service: Service
    networks: Mapping[str, Network]
    links: Mapping[str, str]
    hosts: tuple[Host, ...]
    pools: Mapping[str, Pool] = field(default_factory=dict)

    def initial(self) -> dict[str, list[str]]:
        """The members that each pool begins with: {'app': ['s1', 's2', 's3']}."""
        return {name: list(pool.initial) for name, pool in self.pools.items()}

    def fleet(self, members: Mapping[str, Iterable[str]] | None = None) -> tuple[Host, ...]:
        """The static hosts and the active pool members (None: the initial ones).

        Raises TopologyError for a member that no pool can have.
        """
        active = self.initial() if members is None else members
        return self.hosts + tuple(
            self.pool_host(pool, host_id) for pool, ids in active.items() for host_id in ids
        )

    def pool_host(self, pool: str, host_id: str) -> Host:
        """A pool's member as a host, active or not. Raises TopologyError for a stranger."""
        number = self.pools[pool].number(host_id) if pool in self.pools else None
        if number is None:
            raise TopologyError("members", [f"{join(pool, host_id)}: no member of the topology"])
        return self.pools[pool].host(number)

    def everyone(self) -> Iterator[Host]:
        """The static hosts and every member that any pool may ever have."""
        yield from self.hosts
        for pool in self.pools.values():
            for number in range(1, pool.maximum + 1):
                yield pool.host(number)

    def address(self, host: Host, link: str) -> str | None:
        """The host's address in the network that carries `link`, if it has one there."""
        return host.addresses.get(self.links[link])

    def to_dict(self) -> dict[str, Any]:
        """The data that `parse` makes this same topology of."""
        service = self.service
        return {
            "service": {
                "name": service.name,
                "domain": service.domain,
                "application": service.application,
                "address": service.address,
                "http": service.http,
                "https": service.https,
                "tls": service.tls,
            },
            "networks": {network.name: network.cidr for network in self.networks.values()},
            "links": dict(self.links),
            "hosts": {
                host.id: {
                    "roles": list(host.roles),
                    "addresses": dict(host.addresses),
                    **({"first": True} if host.first else {}),
                }
                for host in self.hosts
            },
            "pools": {
                pool.name: {
                    "id": pool.id_pattern,
                    "roles": list(pool.roles),
                    "addresses": dict(pool.addresses),
                    "minimum": pool.minimum,
                    "maximum": pool.maximum,
                    "initial": list(pool.initial),
                }
                for pool in self.pools.values()
            },
        }


def load(path: str | Path, replica: int | None = None) -> Topology:
    """The topology in the file `path`. Raises TopologyError, also when it cannot be read."""
    try:
        data = salina_yaml.read(path)
    except salina_yaml.DataError as error:
        raise TopologyError(error.source, error.faults) from error
    return parse(data, str(path), replica)


def loads(text: bytes | str, source: str = "topology", replica: int | None = None) -> Topology:
    """The topology in YAML text. Raises TopologyError."""
    try:
        data = salina_yaml.loads(text, source)
    except salina_yaml.DataError as error:
        raise TopologyError(error.source, error.faults) from error
    return parse(data, source, replica)


def parse(data: object, source: str = "topology", replica: int | None = None) -> Topology:
    """The topology that `data` (the file's content) describes.

    `source` is the file's name in messages; `replica` the number of copies that the settings
    ask the storage hosts for (None: as many as suit them). Raises TopologyError with every
    fault; rules across fields are judged only where the fields themselves are sound.
    """
    reader = _Reader()
    topology = reader.topology(data)
    if topology is not None and not reader.faults:
        reader.faults += _across(topology, replica)
    if topology is None or reader.faults:
        raise TopologyError(source, reader.faults)
    return topology


def copies(storage_hosts: int, replica: int | None) -> int:
    """The volume's replica count: what the settings ask for, else one copy a host up to three."""
    return replica if replica is not None else min(3, storage_hosts)


def _start(rule: str) -> IPAddress:
    match = ADDRESS_RULE.fullmatch(rule)
    if match is None:
        raise ValueError(rule)
    return ipaddress.ip_address(f"{match['stem']}{match['base']}")


class _Reader:
    """Reads one part after the other and collects the faults of each."""

    def __init__(self) -> None:
        self.faults: list[str] = []

    def fault(self, path: str, found: object, allowed: str) -> None:
        text = found if isinstance(found, _Words) else show(found)
        self.faults.append(f"{path}: {text}, allowed is {allowed}")

    def mapping(self, value: object, path: str, allowed: str = "a mapping") -> dict[str, Any]:
        if isinstance(value, dict):
            for key in [key for key in value if not isinstance(key, str)]:
                self.fault(path, key, "text as a key")
            return {key: item for key, item in value.items() if isinstance(key, str)}
        self.fault(path, value, allowed)
        return {}

    def fields(
        self, value: object, path: str, required: Sequence[str], optional: Sequence[str] = ()
    ) -> dict[str, Any]:
        """A mapping with exactly these keys; {} when it is none."""
        known = (*required, *optional)
        if not isinstance(value, dict):
            self.fault(path, value, f"a mapping with {', '.join(known)}")
            return {}
        data = self.mapping(value, path)
        for key in data:
            if key not in known:
                self.fault(join(path, key), _Words("unknown"), ", ".join(known))
        for key in required:
            if key not in data:
                self.faults.append(f"{join(path, key)}: missing")
        return {key: item for key, item in data.items() if key in known}

    def text(self, data: Mapping[str, Any], key: str, path: str, rule: re.Pattern[str],
             allowed: str) -> str:
        value = data.get(key)
        if isinstance(value, str) and rule.fullmatch(value):
            return value
        if key in data:
            self.fault(join(path, key), value, allowed)
        return ""

    def integer(self, data: Mapping[str, Any], key: str, path: str, low: int, high: int,
                default: int) -> int:
        value = data.get(key, default)
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        self.fault(join(path, key), value, f"a number from {low} to {high}")
        return default

    def flag(self, data: Mapping[str, Any], key: str, path: str, default: bool) -> bool:
        value = data.get(key, default)
        if isinstance(value, bool):
            return value
        self.fault(join(path, key), value, "true or false")
        return default

    def words(self, data: Mapping[str, Any], key: str, path: str, allowed: str) -> list[str]:
        """A list of different texts that is not empty."""
        value = data.get(key)
        here = join(path, key)
        if not isinstance(value, list) or not value:
            if key in data:
                self.fault(here, _Words("an empty list") if value == [] else value, allowed)
            return []
        for number, item in enumerate(value):
            if not isinstance(item, str):
                self.fault(f"{here}[{number}]", item, allowed)
        words = [item for item in value if isinstance(item, str)]
        for word, count in Counter(words).items():
            if count > 1:
                self.faults.append(f"{here}: {show(word)} is given {count} times")
        return list(dict.fromkeys(words))

    # The parts of the file, in its order

    def topology(self, data: object) -> Topology | None:
        parts = self.fields(
            data, "topology", ("service", "networks", "links", "hosts"), ("pools",)
        )
        if not parts:
            return None
        # paths begin at the file's top: "topology" was for the whole only
        self.faults = [fault.removeprefix("topology.") for fault in self.faults]
        networks = self.networks(parts.get("networks", {}))
        links = self.links(parts.get("links", {}), networks)
        edge = links.get("edge", "")
        service = self.service(parts.get("service", {}), edge)
        hosts = self.hosts(parts.get("hosts", {}), networks)
        pools = self.pools(parts.get("pools", {}), networks)
        return Topology(service, networks, links, hosts, pools)

    def networks(self, value: object) -> dict[str, Network]:
        found = {}
        for name, cidr in self.mapping(value, "networks").items():
            path = join("networks", name)
            if not LABEL.fullmatch(name):
                self.fault(path, _Words("the name"), "a lower-case hostname label")
            network = _network(cidr)
            if network is None:
                self.fault(path, cidr, "a network such as 10.1.1.0/24 or fd00:1::/64")
            elif any(network.overlaps(bad) for bad in UNUSABLE if bad.version == network.version):
                self.fault(path, cidr, "a range that hosts may have addresses in")
            else:
                found[name] = Network(name, str(network))
        return found

    def links(self, value: object, networks: Mapping[str, Network]) -> dict[str, str]:
        data = self.fields(value, "links", PURPOSES)
        found = {}
        for purpose, network in data.items():
            if isinstance(network, str) and network in networks:
                found[purpose] = network
            else:
                self.fault(join("links", purpose), network, _one_of(networks, "networks"))
        return {purpose: found[purpose] for purpose in PURPOSES if purpose in found}

    def service(self, value: object, edge: str) -> Service:
        path = "service"
        data = self.fields(
            value, path, ("name", "domain", "application", "address"), ("http", "https", "tls")
        )
        name = self.text(data, "name", path, NAME,
                         "a lower-case letter, then letters, digits and _, at most 31")
        if name in TAKEN_SERVICES:
            self.fault("service.name", name, "a name that PostgreSQL and Patroni do not use")
        domain = self.text(data, "domain", path, DOMAIN, "a lower-case domain name")
        if len(domain) > 253:
            self.fault("service.domain", domain, "at most 253 characters")
        address = ""
        if "address" in data:
            parsed = _address(data["address"])
            address = str(parsed) if parsed else ""
            if not parsed:
                self.fault("service.address", data["address"], "an IP address")
        return Service(
            name=name,
            domain=domain,
            application=self.text(data, "application", path, APPLICATION,
                                  "the name of a file of pillar/app"),
            address=address,
            network=edge,
            http=self.port(data, "http", path, 80),
            https=self.port(data, "https", path, 443),
            tls=self.flag(data, "tls", path, True),
        )

    def port(self, data: Mapping[str, Any], key: str, path: str, default: int) -> int:
        port = self.integer(data, key, path, 1, 65535, default)
        if port in OWN_PORTS:
            self.fault(join(path, key), _Words(f"{port} is {OWN_PORTS[port]}'s"), "a free port")
        return port

    def roles(self, data: Mapping[str, Any], path: str, allowed: Sequence[str]) -> tuple[str, ...]:
        words = self.words(data, "roles", path, f"a list of {', '.join(allowed)}")
        for word in words:
            if word not in allowed:
                self.fault(join(path, "roles"), word, ", ".join(allowed))
        return tuple(role for role in ROLES if role in words)  # one order, whatever the file's

    def hosts(self, value: object, networks: Mapping[str, Network]) -> tuple[Host, ...]:
        found = []
        for host_id, content in self.mapping(value, "hosts").items():
            path = join("hosts", host_id)
            self.host_id(host_id, path)
            data = self.fields(content, path, ("roles", "addresses"), ("first",))
            addresses = {}
            if "addresses" in data:
                here = join(path, "addresses")
                for name, text in self.mapping(data["addresses"], here).items():
                    address = _address(text)
                    if name not in networks:
                        self.fault(join(here, name), _Words("unknown"),
                                   _one_of(networks, "networks"))
                    elif address is None:
                        self.fault(join(here, name), text, "an IP address")
                    else:
                        addresses[name] = str(address)
            roles = self.roles(data, path, ROLES)
            found.append(Host(host_id, roles, addresses, self.flag(data, "first", path, False)))
        return tuple(found)

    def host_id(self, host_id: str, path: str) -> None:
        if not LABEL.fullmatch(host_id):
            self.fault(path, _Words("the id"), "a lower-case hostname label of at most 63")
        elif host_id in TAKEN_IDS:
            self.fault(path, _Words("the id"), f"any label but {', '.join(TAKEN_IDS)}")

    def pools(self, value: object, networks: Mapping[str, Network]) -> dict[str, Pool]:
        found = {}
        for name, content in self.mapping(value, "pools").items():
            path = join("pools", name)
            if not LABEL.fullmatch(name):
                self.fault(path, _Words("the name"), "a lower-case hostname label")
            keys = ("id", "roles", "addresses", "minimum", "maximum", "initial")
            data = self.fields(content, path, keys)
            if len(data) < len(keys):
                continue
            maximum = self.integer(data, "maximum", path, 1, MAX_POOL, 1)
            pool = Pool(
                name=name,
                roles=self.roles(data, path, POOL_ROLES),
                id_pattern=self.id_pattern(data["id"], path, maximum),
                addresses=self.rules(data["addresses"], join(path, "addresses"), networks),
                minimum=self.integer(data, "minimum", path, 1, maximum, 1),
                maximum=maximum,
                initial=(),
            )
            initial = self.words(data, "initial", path, "a list of ids")
            found[name] = self.with_initial(pool, initial, path)
        return found

    def id_pattern(self, value: object, path: str, maximum: int) -> str:
        if isinstance(value, str) and value.count("{n}") == 1:
            if LABEL.fullmatch(value.replace("{n}", str(maximum))):
                return value
        self.fault(join(path, "id"), value, "a hostname label with {n} for the number, as s{n}")
        return "{n}"

    def rules(self, value: object, path: str, networks: Mapping[str, Network]) -> dict[str, str]:
        found = {}
        for name, rule in self.mapping(value, path).items():
            here = join(path, name)
            if name not in networks:
                self.fault(here, _Words("unknown"), _one_of(networks, "networks"))
                continue
            try:
                _start(rule if isinstance(rule, str) else "")
            except ValueError:
                self.fault(here, rule, "an address with a number to count from, as 10.1.3.(10+n)")
                continue
            found[name] = rule
        return found

    def with_initial(self, pool: Pool, initial: list[str], path: str) -> Pool:
        here = join(path, "initial")
        for host_id in initial:
            if pool.number(host_id) is None:
                ids = f"{pool.id_pattern} with n from 1 to {pool.maximum}"
                self.fault(here, host_id, ids)
        if initial and not pool.minimum <= len(initial) <= pool.maximum:
            self.fault(here, _Words(f"{len(initial)} members"),
                       f"{pool.minimum} (minimum) to {pool.maximum} (maximum)")
        return Pool(pool.name, pool.roles, pool.id_pattern, pool.addresses, pool.minimum,
                    pool.maximum, tuple(initial))


class _Words(str):
    """Text that goes into a message as it stands, unlike a value that was found in the file."""


def _one_of(names: Iterable[str], what: str) -> str:
    listed = ", ".join(names)
    return f"one of {listed}" if listed else f"one of the {what}"


def _address(value: object) -> IPAddress | None:
    if not isinstance(value, str) or "%" in value:
        return None
    try:
        return ipaddress.ip_address(value)
    except ValueError:
        return None


def _network(value: object) -> IPNetwork | None:
    if not isinstance(value, str) or "/" not in value:
        return None
    try:
        return ipaddress.ip_network(value)
    except ValueError:
        return None


# Rules across fields


def _across(topology: Topology, replica: int | None) -> list[str]:
    """The faults that show only when the parts of the topology are seen together."""
    return [
        *_networks_apart(topology),
        *_ids_differ(topology),
        *_addresses_fit(topology),
        *_links_reach(topology),
        *_counts(topology),
        *_first(topology),
        *_published(topology),
        *_storage(topology, replica),
    ]


def _networks_apart(topology: Topology) -> Iterator[str]:
    seen: list[tuple[str, IPNetwork]] = []
    for network in topology.networks.values():
        cidr = ipaddress.ip_network(network.cidr)
        for name, other in seen:
            if cidr.version == other.version and cidr.overlaps(other):
                yield f"networks.{network.name}: {cidr} overlaps {name}'s {other}"
        seen.append((network.name, cidr))


def _where(host: Host) -> str:
    """The path of a host's addresses: a pool's member has them from the pool's rule."""
    return f"pools.{host.pool}.addresses" if host.pool else f"hosts.{host.id}.addresses"


def _ids_differ(topology: Topology) -> Iterator[str]:
    owners: dict[str, str] = {host.id: f"hosts.{host.id}" for host in topology.hosts}
    for pool in topology.pools.values():
        for host_id in pool.ids():
            if host_id in owners:
                yield f"pools.{pool.name}.id: member {host_id} is already {owners[host_id]}"
            elif host_id in TAKEN_IDS or host_id == "salt":
                yield f"pools.{pool.name}.id: member {host_id} has a name that is taken"
            owners.setdefault(host_id, f"pools.{pool.name}")
    for host in topology.hosts:
        if host.id == "salt" and "master" not in host.roles:
            yield "hosts.salt: the name by which hosts find the master, allowed is role master"


def _addresses_fit(topology: Topology) -> Iterator[str]:
    ranges = {net.name: ipaddress.ip_network(net.cidr) for net in topology.networks.values()}
    owners: dict[str, str] = {}
    bad_rules: set[str] = set()
    for host in topology.everyone():
        for name, text in host.addresses.items():
            path = f"{_where(host)}.{name}"
            if host.pool and path in bad_rules:
                continue  # one line for a rule, not one a member
            member = f"{host.id} would have " if host.pool else ""
            fault = _misfit(text, ranges[name])
            if fault:
                yield f"{path}: {member}{text}{fault}"
            elif text in owners:
                yield f"{path}: {member}{text}{' that' if member else ''} is already {owners[text]}'s"
            else:
                owners[text] = host.id
                continue
            bad_rules.add(path)


def _misfit(text: str, network: IPNetwork) -> str | None:
    address = ipaddress.ip_address(text)
    if address not in network:
        return f" is outside {network}"
    small = network.prefixlen >= network.max_prefixlen - 1
    if small:
        return None
    if address == network.network_address:
        return f" is the network address of {network}"
    if address.version == 4 and address == network.broadcast_address:
        return f" is the broadcast address of {network}"
    return None


def _links_reach(topology: Topology) -> Iterator[str]:
    """Every host has an address in each network that its roles need."""
    sample = [(host, f"hosts.{host.id}.addresses") for host in topology.hosts]
    sample += [(pool.host(1), f"pools.{pool.name}.addresses") for pool in topology.pools.values()]
    for host, path in sample:
        needed: dict[str, str] = {}
        for role in host.roles:
            for link in NEEDS[role]:
                needed.setdefault(topology.links[link], f"role {role} needs")
        needed.setdefault(topology.links["management"], "every host needs")
        for network, why in needed.items():
            if network not in host.addresses:
                yield f"{path}.{network}: missing, {why} an address there"


def _with(topology: Topology, role: str) -> list[Host]:
    return [host for host in topology.hosts if role in host.roles]


def _named(hosts: Sequence[Host]) -> str:
    return f"{len(hosts)} hosts ({', '.join(host.id for host in hosts)})" if hosts else "no host"


def _counts(topology: Topology) -> Iterator[str]:
    for role, allowed in (("master", "exactly one"), ("balancer", "exactly one")):
        hosts = _with(topology, role)
        if len(hosts) != 1:
            yield f"hosts: {_named(hosts)} with role {role}, allowed is {allowed}"
    if len(_with(topology, "firewall")) > 1:
        hosts = _with(topology, "firewall")
        yield f"hosts: {_named(hosts)} with role firewall, allowed is at most one"
    if not _with(topology, "app") and not topology.pools:
        yield "hosts: no host with role app, allowed is at least one, here or in a pool"
    if not _with(topology, "database"):
        yield "hosts: no host with role database, allowed is at least one"
    voters = _with(topology, "quorum")
    if len(voters) not in VOTERS:
        yield f"hosts: {_named(voters)} with role quorum, allowed is 1, 3 or 5"


def _first(topology: Topology) -> Iterator[str]:
    databases = _with(topology, "database")
    first = [host for host in databases if host.first]
    if databases and len(first) != 1:
        yield f"hosts: {_named(first)} with `first: true`, allowed is exactly one of the databases"
    for host in topology.hosts:
        if host.first and host not in databases:
            yield f"hosts.{host.id}.first: true, allowed is role database only"


def _published(topology: Topology) -> Iterator[str]:
    """Clients reach the service's address: it is a balancer's, and a firewall leads there."""
    service = topology.service
    edge = topology.networks[topology.links["edge"]]
    if ipaddress.ip_address(service.address) not in ipaddress.ip_network(edge.cidr):
        yield f"service.address: {service.address} is outside {edge.cidr} ({edge.name})"
    else:
        balancers = _with(topology, "balancer")
        if service.address not in [topology.address(host, "edge") for host in balancers]:
            yield f"service.address: {service.address} is no balancer's address in {edge.name}"
    if service.http == service.https:
        yield f"service.https: {service.https} is already http's"
    if not _with(topology, "firewall") and topology.links["clients"] != topology.links["edge"]:
        yield (
            "links.clients: no host has role firewall, "
            f"allowed is then {topology.links['edge']} (the edge) itself"
        )


def _storage(topology: Topology, replica: int | None) -> Iterator[str]:
    bricks = len(_with(topology, "storage"))
    count = copies(bricks, replica)
    if bricks and (count > bricks or bricks % count):
        yield (
            f"hosts: {_named(_with(topology, 'storage'))} with role storage, "
            f"allowed is a multiple of replica {count} (settings/storage.yaml)"
        )

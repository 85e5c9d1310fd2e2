"""What exists: the file pillar/topology.yaml as frozen dataclasses, and the only validator of it.

`parse` reports every fault at once, each with its path into the file, what was found and what
is allowed. Three callers: the external pillar (which then refuses to compile, so that nothing
is changed anywhere), the `topology` runner, and the lab. Rules: docs/design, "Topology".
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from salina_fleet.schema import document
from salina_fleet.schema.document import join, show

# In this order a host that has several applies them: what others wait for comes before them.
ROLES = ("master", "firewall", "storage", "quorum", "database", "app", "balancer")
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
DEFINITION = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?")
ADDRESS_RULE = re.compile(r"(?P<stem>[0-9A-Fa-f.:]*[.:])\((?P<base>[0-9]{1,5})\+n\)")

TAKEN_IDS = ("localhost", "database")
"""Names that mean something else in /etc/hosts: `database` is an app host's way to the primary."""
TAKEN_NAMES = frozenset(
    (
        *("postgres", "template0", "template1", "public", "none"),  # PostgreSQL's own
        *("all", "sameuser", "samerole", "samegroup", "replication"),  # words of pg_hba.conf
        *("replicator", "rewinder"),  # Patroni's roles
        *("pgbouncer", "database"),  # the way to the database, which the balancer's host may have
    )
)
"""Names that an application can't have: it names a database, a role and a backend of HAProxy."""
UNUSABLE = tuple(
    ipaddress.ip_network(cidr)
    for cidr in ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3")
) + tuple(ipaddress.ip_network(cidr) for cidr in ("::/127", "fe80::/10", "ff00::/8"))

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class TopologyError(document.DataError):
    """A topology with faults: `source` (where it came from) and `faults` (one line each)."""


@dataclass(frozen=True)
class Network:
    """A network: its name and its range as CIDR."""

    name: str
    cidr: str

    def misfit(self, address: str) -> str | None:
        """Return why no host can have this address in the network; None when one can."""
        return _misfit(address, ipaddress.ip_network(self.cidr))


@dataclass(frozen=True)
class Host:
    """A host: minion id, roles, and its address in each network (network's name -> address).

    `first`: the database host that bootstraps the cluster. `pool`: the pool it is a member of.
    `application`: the one that it serves, with role app.
    """

    id: str
    roles: tuple[str, ...]
    addresses: Mapping[str, str]
    first: bool = False
    pool: str | None = None
    application: str | None = None


@dataclass(frozen=True)
class Pool:
    """A numbered family of hosts: member n has the id and the addresses that the rules give.

    `id_pattern` holds `{n}`; an address rule such as `10.1.3.(10+n)` is the address with the
    base in place of the parenthesis, plus n. `application`: the one that its members serve.
    """

    name: str
    roles: tuple[str, ...]
    id_pattern: str
    addresses: Mapping[str, str]
    minimum: int
    maximum: int
    initial: tuple[str, ...]
    application: str | None = None

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
            application=self.application,
        )


@dataclass(frozen=True)
class Service:
    """Where clients reach the applications: the published address and its ports."""

    address: str
    http: int = 80
    https: int = 443
    tls: bool = True

    @property
    def ports(self) -> tuple[int, ...]:
        """The published TCP ports."""
        return (self.http, self.https) if self.tls else (self.http,)

    @property
    def scheme(self) -> str:
        """Return how clients speak to the service: https, or http without TLS."""
        return "https" if self.tls else "http"

    @property
    def port(self) -> int:
        """Return the port that serves, the other one redirects to it."""
        return self.https if self.tls else self.http


@dataclass(frozen=True)
class Application:
    """An application: `definition` is the name of its file in pillar/app.

    Its own name is also that of its database and of the role that owns it, of its directory on the
    volume, and of its backend at the balancer.
    """

    name: str
    domain: str
    definition: str


@dataclass(frozen=True)
class Topology:
    """What exists. `hosts` are the static ones; the members of `pools` come and go."""

    service: Service
    applications: Mapping[str, Application]
    networks: Mapping[str, Network]
    links: Mapping[str, str]
    hosts: tuple[Host, ...]
    pools: Mapping[str, Pool] = field(default_factory=dict)

    @property
    def default(self) -> Application:
        """The first application: it also answers requests that name no application's domain."""
        return next(iter(self.applications.values()))

    def served_by(self, host: Host) -> Application:
        """The application of an app host (KeyError for another host)."""
        return self.applications[host.application or ""]

    def having(self, role: str) -> list[Host]:
        """Return the static hosts with a role."""
        return [host for host in self.hosts if role in host.roles]

    def url(self, application: Application) -> str:
        """Return an application's URL for clients: https://crm.example, http://crm.example:8080."""
        usual = {"https": 443, "http": 80}[self.service.scheme]
        port = "" if self.service.port == usual else f":{self.service.port}"
        return f"{self.service.scheme}://{application.domain}{port}"

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
                "address": service.address,
                "http": service.http,
                "https": service.https,
                "tls": service.tls,
            },
            "applications": {
                one.name: {"domain": one.domain, "definition": one.definition}
                for one in self.applications.values()
            },
            "networks": {network.name: network.cidr for network in self.networks.values()},
            "links": dict(self.links),
            "hosts": {
                host.id: {
                    "roles": list(host.roles),
                    "addresses": dict(host.addresses),
                    **({"first": True} if host.first else {}),
                    **({"application": host.application} if host.application else {}),
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
                    "application": pool.application,
                }
                for pool in self.pools.values()
            },
        }


def load(path: str | Path, replica: int | None = None) -> Topology:
    """The topology in the file `path`. Raises TopologyError, also when it cannot be read."""
    return _judged(lambda: document.read(path), str(path), replica)


def loads(text: bytes | str, source: str = "topology", replica: int | None = None) -> Topology:
    """The topology in YAML text. Raises TopologyError."""
    return _judged(lambda: document.loads(text, source), source, replica)


def _judged(read: Callable[[], Any], source: str, replica: int | None) -> Topology:
    """What was read, judged: the faults of its YAML and of its content together."""
    try:
        data = read()
    except document.DataError as error:
        if error.data is None:
            raise TopologyError(error.source, error.faults) from error
        return parse(error.data, source, replica, error.faults)
    return parse(data, source, replica)


def parse(
    data: object,
    source: str = "topology",
    replica: int | None = None,
    before: Iterable[str] = (),
) -> Topology:
    """The topology that `data` (the file's content) describes.

    `source` is the file's name in messages; `replica` the number of copies that the settings
    ask the storage hosts for (None: as many as suit them); `before`: the faults found while it was
    read. Raises TopologyError with every fault. A rule across fields is judged unless a fault in
    those fields makes it pointless.
    """
    faults = _Faults(before)
    topology = _Reader(faults).topology(data)
    if topology is not None:
        faults.lines += list(_across(topology, replica, faults))
    if topology is None or faults.lines:
        raise TopologyError(source, faults.lines)
    return topology


def copies(storage_hosts: int, replica: int | None) -> int:
    """The volume's replica count: what the settings ask for, else one copy a host up to three."""
    return replica if replica is not None else min(3, storage_hosts)


def _start(rule: str) -> IPAddress:
    """The address that a pool's rule counts from: 10.1.3.10 for 10.1.3.(10+n)."""
    match = ADDRESS_RULE.fullmatch(rule)
    if match is None:
        raise ValueError(rule)
    return ipaddress.ip_address(f"{match['stem']}{match['base']}")


class _Faults:
    """The faults found so far, and where: a place without one is sound."""

    def __init__(self, before: Iterable[str]) -> None:
        self.lines = list(before)
        self.paths = {line.partition(": ")[0] for line in self.lines}

    def add(self, path: str, message: str) -> None:
        """Record a fault."""
        self.lines.append(f"{path}: {message}")
        self.paths.add(path)

    def found(self, path: str, value: object, allowed: str) -> None:
        """Record a value that is not what is allowed."""
        self.add(path, f"{show(value)}, allowed is {allowed}")

    def sound(self, path: str) -> bool:
        """Whether no fault is at this path, above it or below it."""
        return not any(
            fault == path
            or path.startswith(f"{fault}.")
            or fault.startswith((f"{path}.", f"{path}["))
            for fault in self.paths
        )


class _Reader:
    """Reads one part of the file after the other; what has a fault is left out of the result."""

    def __init__(self, faults: _Faults) -> None:
        self.faults = faults
        self.network_names: tuple[str, ...] = ()
        self.application_names: tuple[str, ...] = ()

    # Values

    def mapping(self, value: object, path: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            self.faults.found(path, value, "a mapping")
            return {}
        for key in value:
            if not isinstance(key, str):
                self.faults.add(path, f"the key {show(key)}, allowed is text")
        return {key: item for key, item in value.items() if isinstance(key, str)}

    def fields(
        self, value: object, path: str, required: Sequence[str], optional: Sequence[str] = ()
    ) -> dict[str, Any]:
        """A mapping with these keys and no others."""
        known = (*required, *optional)
        data = self.mapping(value, path or "topology")
        if not isinstance(value, dict):
            return {}
        for key in data:
            if key not in known:
                self.faults.add(join(path, key), f"unknown, allowed is {', '.join(known)}")
        for key in required:
            if key not in data:
                self.faults.add(join(path, key), f"missing, required is {', '.join(required)}")
        return {key: item for key, item in data.items() if key in known}

    def text(
        self, data: Mapping[str, Any], key: str, path: str, rule: re.Pattern[str], allowed: str
    ) -> str:
        value = data.get(key)
        if isinstance(value, str) and rule.fullmatch(value):
            return value
        if key in data:
            self.faults.found(join(path, key), value, allowed)
        return ""

    def integer(
        self, data: Mapping[str, Any], key: str, path: str, low: int, high: int, default: int
    ) -> int:
        value = data.get(key, default)
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        self.faults.found(join(path, key), value, f"a number from {low} to {high}")
        return default

    def flag(self, data: Mapping[str, Any], key: str, path: str, default: bool) -> bool:
        value = data.get(key, default)
        if isinstance(value, bool):
            return value
        self.faults.found(join(path, key), value, "true or false")
        return default

    def words(self, data: Mapping[str, Any], key: str, path: str, allowed: str) -> list[str]:
        """A list of texts, each once, that is not empty."""
        here = join(path, key)
        value = data.get(key)
        if key not in data:
            return []
        if not isinstance(value, list):
            self.faults.found(here, value, allowed)
            return []
        if not value:
            self.faults.found(here, value, allowed)
        words = [item for item in value if isinstance(item, str)]
        for number, item in enumerate(value):
            if not isinstance(item, str):
                self.faults.found(f"{here}[{number}]", item, allowed)
        for word, count in Counter(words).items():
            if count > 1:
                self.faults.add(here, f"{show(word)} {count} times, allowed is once")
        return list(dict.fromkeys(words))

    def label(self, name: str, path: str, what: str) -> None:
        if not LABEL.fullmatch(name):
            self.faults.add(
                path, f"{what}, allowed is a hostname label: a-z, 0-9 and -, at most 63"
            )

    # The parts of the file, in its order

    def topology(self, data: object) -> Topology | None:
        required = ("service", "applications", "networks", "links", "hosts")
        parts = self.fields(data, "", required, ("pools",))
        if not isinstance(data, dict):
            return None
        networks = self.networks(parts.get("networks", {}))
        links = self.links(parts.get("links")) if "links" in parts else {}
        applications = self.applications(parts["applications"]) if "applications" in parts else {}
        hosts = self.hosts(parts.get("hosts", {}))
        pools = self.pools(parts.get("pools", {}))
        service = self.service(parts["service"]) if "service" in parts else Service("")
        return Topology(service, applications, networks, links, hosts, pools)

    def networks(self, value: object) -> dict[str, Network]:
        found = {}
        data = self.mapping(value, "networks")
        self.network_names = tuple(data)
        for name, cidr in data.items():
            path = join("networks", name)
            self.label(name, path, "the name")
            network = _network(cidr)
            if network is None:
                self.faults.found(path, cidr, "a network such as 10.1.1.0/24 or fd00:1::/64")
            elif any(network.overlaps(bad) for bad in UNUSABLE if bad.version == network.version):
                self.faults.found(path, cidr, "a range that hosts can have addresses in")
            else:
                found[name] = Network(name, str(network))
        return found

    def network(self, name: object, path: str) -> bool:
        """Whether a network of this name is in the file."""
        if isinstance(name, str) and name in self.network_names:
            return True
        listed = ", ".join(self.network_names) or "a name from networks"
        self.faults.found(path, name, listed)
        return False

    def links(self, value: object) -> dict[str, str]:
        data = self.fields(value, "links", PURPOSES)
        return {
            purpose: data[purpose]
            for purpose in PURPOSES
            if purpose in data and self.network(data[purpose], join("links", purpose))
        }

    def service(self, value: object) -> Service:
        data = self.fields(value, "service", ("address",), ("http", "https", "tls"))
        return Service(
            address=self.address(data["address"], "service.address") if "address" in data else "",
            http=self.port(data, "http", 80),
            https=self.port(data, "https", 443),
            tls=self.flag(data, "tls", "service", True),
        )

    def applications(self, value: object) -> dict[str, Application]:
        data = self.mapping(value, "applications")
        self.application_names = tuple(data)
        if value == {} and self.faults.sound("applications"):
            self.faults.add("applications", "none, allowed is at least one")
        return {
            name: self.application(name, content, join("applications", name))
            for name, content in data.items()
        }

    def application(self, name: str, content: object, path: str) -> Application:
        if not NAME.fullmatch(name):
            rule = "a lower-case letter, then letters, digits and _, at most 31"
            self.faults.add(path, f"the name, allowed is {rule}")
        elif name in TAKEN_NAMES or name.startswith("pg_"):
            rule = "one that PostgreSQL, pgbouncer and HAProxy have no other use for"
            self.faults.add(path, f"the name, allowed is {rule}")
        data = self.fields(content, path, ("domain", "definition"))
        domain = self.text(data, "domain", path, DOMAIN, "a lower-case domain name")
        if len(domain) > 253:
            self.faults.found(join(path, "domain"), domain, "at most 253 characters")
        rule = "the name of a file of pillar/app"
        return Application(name, domain, self.text(data, "definition", path, DEFINITION, rule))

    def port(self, data: Mapping[str, Any], key: str, default: int) -> int:
        port = self.integer(data, key, "service", 1, 65535, default)
        if port in OWN_PORTS:
            self.faults.add(join("service", key), f"{port} is {OWN_PORTS[port]}'s")
        return port

    def address(self, value: object, path: str) -> str:
        address = _address(value)
        if address is None:
            self.faults.found(path, value, "an IP address")
            return ""
        return str(address)

    def roles(self, data: Mapping[str, Any], path: str, allowed: Sequence[str]) -> tuple[str, ...]:
        words = self.words(data, "roles", path, f"a list of {', '.join(allowed)}")
        for word in words:
            if word not in allowed:
                self.faults.found(join(path, "roles"), word, ", ".join(allowed))
        return tuple(role for role in ROLES if role in words)  # one order, whatever the file's

    def served(self, data: Mapping[str, Any], path: str, roles: Sequence[str]) -> str | None:
        """The application that a host or a pool serves: where there is one only, that one."""
        here, names = join(path, "application"), self.application_names
        if "app" not in roles:
            if "application" in data and self.faults.sound(join(path, "roles")):
                self.faults.found(here, data["application"], "only with role app")
            return None
        if "application" in data:
            name = data["application"]
            if isinstance(name, str) and name in names:
                return name
            self.faults.found(here, name, ", ".join(names) or "a name from applications")
        elif len(names) > 1:
            self.faults.add(here, f"missing, required is one of {', '.join(names)}")
        return names[0] if len(names) == 1 else None

    def hosts(self, value: object) -> tuple[Host, ...]:
        return tuple(
            self.host(host_id, content, join("hosts", host_id))
            for host_id, content in self.mapping(value, "hosts").items()
        )

    def host(self, host_id: str, content: object, path: str) -> Host:
        self.label(host_id, path, "the id")
        if host_id in TAKEN_IDS:
            self.faults.add(path, f"the id, allowed is any label but {', '.join(TAKEN_IDS)}")
        data = self.fields(content, path, ("roles", "addresses"), ("first", "application"))
        addresses = {}
        if "addresses" in data:
            here = join(path, "addresses")
            for name, text in self.mapping(data["addresses"], here).items():
                if self.network(name, join(here, name)):
                    addresses[name] = self.address(text, join(here, name))
        roles = self.roles(data, path, ROLES)
        return Host(
            id=host_id,
            roles=roles,
            addresses={name: address for name, address in addresses.items() if address},
            first=self.flag(data, "first", path, False),
            application=self.served(data, path, roles),
        )

    def pools(self, value: object) -> dict[str, Pool]:
        found = {}
        for name, content in self.mapping(value, "pools").items():
            path = join("pools", name)
            self.label(name, path, "the name")
            pool = self.pool(name, content, path)
            if self.faults.sound(join(path, "id")) and self.faults.sound(join(path, "maximum")):
                found[name] = pool
                self.initial(pool, path)
        return found

    def pool(self, name: str, content: object, path: str) -> Pool:
        required = ("id", "roles", "addresses", "minimum", "maximum", "initial")
        data = self.fields(content, path, required, ("application",))
        maximum = self.integer(data, "maximum", path, 1, MAX_POOL, MAX_POOL)
        roles = self.roles(data, path, POOL_ROLES)
        return Pool(
            name=name,
            roles=roles,
            id_pattern=self.id_pattern(data["id"], path, maximum) if "id" in data else "{n}",
            addresses=self.rules(data["addresses"], path) if "addresses" in data else {},
            minimum=self.integer(data, "minimum", path, 1, maximum, 1),
            maximum=maximum,
            initial=tuple(self.words(data, "initial", path, "a list of ids")),
            application=self.served(data, path, roles),
        )

    def id_pattern(self, value: object, path: str, maximum: int) -> str:
        if (
            isinstance(value, str)
            and value.count("{n}") == 1
            and LABEL.fullmatch(value.replace("{n}", str(maximum)))
        ):
            return value
        allowed = "a hostname label with {n} for the number, such as s{n}"
        self.faults.found(join(path, "id"), value, allowed)
        return "{n}"

    def rules(self, value: object, path: str) -> dict[str, str]:
        here = join(path, "addresses")
        found = {}
        for name, rule in self.mapping(value, here).items():
            if not self.network(name, join(here, name)):
                continue
            try:
                _ = _start(rule if isinstance(rule, str) else "") + MAX_POOL
            except ValueError:
                allowed = "an address that counts from a number, such as 10.1.3.(10+n)"
                self.faults.found(join(here, name), rule, allowed)
                continue
            found[name] = rule
        return found

    def initial(self, pool: Pool, path: str) -> None:
        here = join(path, "initial")
        for host_id in pool.initial:
            if pool.number(host_id) is None:
                rule = f"{pool.id_pattern} with n from 1 to {pool.maximum}"
                self.faults.found(here, host_id, rule)
        if self.faults.sound(here) and self.faults.sound(join(path, "minimum")):
            count = len(pool.initial)
            if not pool.minimum <= count <= pool.maximum:
                limits = f"{pool.minimum} (minimum) to {pool.maximum} (maximum)"
                self.faults.add(here, f"{count} members, allowed is {limits}")


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


# Rules across fields. They see what is sound: a host without an address that had a fault.


def _across(topology: Topology, replica: int | None, faults: _Faults) -> Iterator[str]:
    """The faults that show only when the parts of the topology are seen together."""
    yield from _domains_differ(topology, faults)
    yield from _networks_apart(topology)
    yield from _ids_differ(topology)
    yield from _addresses_fit(topology)
    yield from _links_reach(topology, faults)
    if "hosts" not in faults.paths and all(
        faults.sound(f"{join('hosts', host.id)}.roles") for host in topology.hosts
    ):
        yield from _counts(topology, faults)
        yield from _served(topology, faults)
        yield from _first(topology, faults)
        yield from _storage(topology, replica)
        yield from _reached(topology, faults)
    ports_sound = faults.sound("service.http") and faults.sound("service.https")
    if ports_sound and topology.service.http == topology.service.https:
        yield f"service.https: {topology.service.https} is already http's"


def _domains_differ(topology: Topology, faults: _Faults) -> Iterator[str]:
    owners: dict[str, str] = {}
    for one in topology.applications.values():
        path = f"{join('applications', one.name)}.domain"
        if one.domain in owners:
            yield f"{path}: {one.domain} is already {owners[one.domain]}'s"
        elif faults.sound(path):
            owners[one.domain] = one.name


def _networks_apart(topology: Topology) -> Iterator[str]:
    seen: list[tuple[str, IPNetwork]] = []
    for network in topology.networks.values():
        cidr = ipaddress.ip_network(network.cidr)
        for name, other in seen:
            if cidr.version == other.version and cidr.overlaps(other):
                yield f"{join('networks', network.name)}: {cidr} overlaps {other} ({name})"
        seen.append((network.name, cidr))


def _ids_differ(topology: Topology) -> Iterator[str]:
    owners = {host.id: join("hosts", host.id) for host in topology.hosts}
    for pool in topology.pools.values():
        path = join("pools", pool.name)
        for host_id in pool.ids():
            if host_id in owners:
                yield f"{path}.id: member {host_id} is already {owners[host_id]}"
                break
            if host_id in (*TAKEN_IDS, "salt"):
                yield f"{path}.id: member {host_id} has a name that means another host"
            owners[host_id] = path
    for host in topology.hosts:
        if host.id == "salt" and host.roles and "master" not in host.roles:
            yield "hosts.salt: the name under which hosts find the master, allowed is role master"


def _where(host: Host) -> str:
    """The path of a host's addresses: a pool's member has them from the pool's rules."""
    return f"{join('pools', host.pool) if host.pool else join('hosts', host.id)}.addresses"


def _addresses_fit(topology: Topology) -> Iterator[str]:
    ranges = {net.name: ipaddress.ip_network(net.cidr) for net in topology.networks.values()}
    owners: dict[str, str] = {}
    told: set[str] = set()  # pools' rules: one line for a rule, not one for each member
    for host in topology.everyone():
        for name, text in host.addresses.items():
            path = join(_where(host), name)
            fault = _misfit(text, ranges.get(name))
            if fault is None and text in owners:
                fault = f"is already {owners[text]}'s"
            if fault is None:
                owners[text] = host.id
            elif path not in told:
                told.update([path] if host.pool else [])
                yield f"{path}: {f'{host.id} at {text}' if host.pool else text} {fault}"


def _misfit(text: str, network: IPNetwork | None) -> str | None:
    address = ipaddress.ip_address(text)
    if network is None:
        return None
    if address not in network:
        return f"is outside {network}"
    if network.prefixlen >= network.max_prefixlen - 1:  # point to point: every address is a host's
        return None
    if address == network.network_address:
        return f"is {network}'s own address"
    if address.version == 4 and address == network.broadcast_address:
        return f"is {network}'s broadcast address"
    return None


def _links_reach(topology: Topology, faults: _Faults) -> Iterator[str]:
    """Every host has an address in each network that its roles need."""
    members = [pool.host(1) for pool in topology.pools.values()]
    for host in (*topology.hosts, *members):
        path = _where(host)
        if not faults.sound(path) or not faults.sound(f"{path.removesuffix('addresses')}roles"):
            continue
        needed: dict[str, str] = {}
        for role in host.roles:
            for link in NEEDS[role]:
                needed.setdefault(topology.links.get(link, ""), f"role {role} needs one")
        needed.setdefault(topology.links.get("management", ""), "every host needs one")
        for network, why in needed.items():
            if network and network not in host.addresses:
                yield f"{join(path, network)}: missing, {why}"


def _with(topology: Topology, role: str) -> list[Host]:
    return [host for host in topology.hosts if role in host.roles]


def _named(hosts: Sequence[Host]) -> str:
    if not hosts:
        return "no host"
    ids = ", ".join(host.id for host in hosts)
    return f"{len(hosts)} hosts ({ids})" if len(hosts) > 1 else f"1 host ({ids})"


def _counts(topology: Topology, faults: _Faults) -> Iterator[str]:
    limits: Mapping[str, tuple[Sequence[int], str]] = {
        "master": ((1,), "exactly one"),
        "firewall": ((0, 1), "at most one"),
        "balancer": ((1,), "exactly one"),
        "quorum": (VOTERS, "1, 3 or 5: an odd number of voters"),
    }
    for role, (counts, allowed) in limits.items():
        hosts = _with(topology, role)
        if len(hosts) not in counts:
            yield f"hosts: {_named(hosts)} with role {role}, allowed is {allowed}"
    if not _with(topology, "database"):
        yield "hosts: no host with role database, allowed is at least one"
    if not _with(topology, "app") and not topology.pools and faults.sound("pools"):
        yield "hosts: no host with role app, allowed is at least one, here or in a pool"


def _served(topology: Topology, faults: _Faults) -> Iterator[str]:
    """Each application has hosts; one that nobody names is looked for when all others are known."""
    paths = [f"{join('hosts', host.id)}.application" for host in topology.hosts]
    served = {host.application for host in topology.hosts}
    served |= {pool.application for pool in topology.pools.values()}
    if served <= {None} or not faults.sound("pools") or not all(map(faults.sound, paths)):
        return
    for name in topology.applications:
        if name not in served:
            rule = "at least one host or pool with role app and this application"
            yield f"{join('applications', name)}: nobody serves it, allowed is {rule}"


def _first(topology: Topology, faults: _Faults) -> Iterator[str]:
    if not all(faults.sound(f"{join('hosts', host.id)}.first") for host in topology.hosts):
        return
    databases = _with(topology, "database")
    first = [host for host in databases if host.first]
    if databases and len(first) != 1:
        yield f"hosts: {_named(first)} with first: true, allowed is exactly one database host"
    for host in topology.hosts:
        if host.first and host not in databases:
            yield f"{join('hosts', host.id)}.first: true, allowed is only with role database"


def _storage(topology: Topology, replica: int | None) -> Iterator[str]:
    hosts = _with(topology, "storage")
    count = copies(len(hosts), replica)
    if hosts and len(hosts) % count:
        yield (
            f"hosts: {_named(hosts)} with role storage, allowed is a multiple of {count}, "
            "the volume's replica (settings/storage.yaml)"
        )


def _reached(topology: Topology, faults: _Faults) -> Iterator[str]:
    """Clients reach the service's address: it is the balancer's, and a firewall leads there."""
    clients, edge = topology.links.get("clients"), topology.links.get("edge")
    if not clients or not edge:
        return
    if not _with(topology, "firewall") and clients != edge:
        yield f"links.clients: {clients} without a host with role firewall, allowed is {edge}"
    balancers = _with(topology, "balancer")
    if not topology.service.address or not faults.sound("service.address"):
        return
    network = topology.networks.get(edge)
    fault = _misfit(topology.service.address, ipaddress.ip_network(network.cidr)) if network else ""
    if fault:
        yield f"service.address: {topology.service.address} {fault} ({edge})"
    elif all(faults.sound(_where(host)) for host in balancers):
        addresses = [address for host in balancers if (address := topology.address(host, "edge"))]
        if addresses and topology.service.address not in addresses:
            allowed = f"the balancer's address in {edge}: {', '.join(addresses)}"
            yield f"service.address: {topology.service.address}, allowed is {allowed}"

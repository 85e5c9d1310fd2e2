"""The topology: the file pillar/topology.yaml as frozen dataclasses.

The dataclasses declare what each field may be; model/rules.py has the rules across fields. `parse`
reports every fault at once, each with its path into the file, what was found and what is allowed.
Three callers use it: the external pillar (which then refuses to compile, so that nothing is
changed anywhere), the `topology` runner, and the lab.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from salina_fleet.model import addresses, ids, rules
from salina_fleet.model.addresses import MAX_POOL
from salina_fleet.model.operators import NAME as OPERATOR
from salina_fleet.model.operators import Operator
from salina_fleet.model.settings import Settings
from salina_fleet.platforms import DEFAULT, PLATFORMS, Platform
from salina_fleet.roles import ROLES
from salina_fleet.schema import declare, document
from salina_fleet.schema.declare import derived, flag, given, named, number, read, record
from salina_fleet.schema.document import join
from salina_fleet.schema.rules import (
    REQUIRED,
    Choice,
    Key,
    ListOf,
    MappingOf,
    Name,
    Nullable,
    Parsed,
    Record,
    Reference,
    Text,
)

PURPOSES = {
    "clients": "The network between the clients and the firewall.",
    "edge": "The network between the firewall and the balancer.",
    "web": "The network between the balancer and the app hosts.",
    "data": "The network of the app hosts, the storage, the quorum and the database.",
    "management": "The network of Salt, SSH and monitoring, to which every host belongs.",
}
"""The links: a kind of traffic -> the network that carries it, in English."""


def _in_order(roles: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(role for role in ROLES if role in roles)


LABEL = Name(ids.LABEL, "a hostname label: a-z, 0-9 and -, at most 63 characters")
ID = Name(
    ids.ID,
    ids.WORDS,
    reserved="|".join([*rules.RESERVED_IDS, rules.LOCAL]),
    reason=rules.ELSEWHERE,
)
NAME = Name(
    r"[a-z][a-z0-9_]{0,30}",
    "a lower-case letter, then letters, digits and _, at most 31 characters",
    reserved=rf"{'|'.join(rules.RESERVED_NAMES)}|pg_.*",
    reason="PostgreSQL, pgbouncer or HAProxy uses it for something else",
)
DOMAIN = Name(
    # browsers read a name that ends with a number as an IP address
    rf"(?=.{{1,253}}\Z)({ids.LABEL}\.)*(?!([0-9]+|0x[0-9a-f]*)\Z){ids.LABEL}",
    "a lower-case domain name of at most 253 characters, whose last part is not a number",
    reserved=rf"{'|'.join(rules.RESERVED_IDS)}|(.*\.)?(localhost|invalid)",
    reason="/etc/hosts, a certificate or a health check uses it for something else",
)
DEFINITION = Text(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?", "the name of a file of pillar/app")
VOLUME = declare.VOLUME
MEMBER = Text(r"[\s\S]*", "the id of a member, such as s1")
NUMBERED = Parsed(ids.pattern, ids.PATTERN_WORDS)
ADDRESS = Parsed(addresses.address, "an IP address")
RANGE = Parsed(addresses.network, "a network such as 10.1.1.0/24 or fd00:1::/64")
RULE = Parsed(
    addresses.rule, "an address rule such as 10.1.3.(10+n), where n is the member's number"
)
NETWORK = Reference("networks", "a network")
APPLICATION = Reference("applications", "an application")
PLATFORM = Choice(PLATFORMS, "a platform")


class TopologyError(document.DataError):
    """A topology with faults: `source` (where it came from) and `faults` (one line each)."""


@dataclass(frozen=True)
class Network:
    """A network: its name and its range as CIDR."""

    name: str
    cidr: str

    @property
    def version(self) -> int:
        """Return 4 or 6, the version of its addresses."""
        return ipaddress.ip_network(self.cidr).version

    def misfit(self, address: str) -> str | None:
        """Return why no host can have this address in the network; None when one can."""
        return addresses.misfit(address, ipaddress.ip_network(self.cidr))


@dataclass(frozen=True)
class Host:
    """A host: its id, its roles and its addresses. `pool`: the pool that it is a member of."""

    id: str = named()
    roles: tuple[str, ...] = given(
        ListOf(Choice(ROLES, "a role"), least=0, order=_in_order),
        about="The roles of the host; none for a host of the operator's own.",
    )
    addresses: Mapping[str, str] = given(
        MappingOf(NETWORK, ADDRESS, "a mapping of networks to addresses"),
        about="The address of the host in each of its networks.",
    )
    first: bool = flag(False, "Whether this database host initialises the cluster.")
    pool: str | None = derived(None)
    application: str | None = given(
        APPLICATION, None, about="The application that an app host serves; by default the only one."
    )
    platform: str = given(PLATFORM, DEFAULT, about="The operating system of the host.")


@dataclass(frozen=True)
class Pool:
    """A numbered family of hosts: member n has the id and the addresses that the rules give.

    An address rule such as `10.1.3.(10+n)` is the address with the base in place of the
    parenthesis, plus n.
    """

    name: str = named()
    roles: tuple[str, ...] = given(
        ListOf(
            Choice(
                [name for name, role in ROLES.items() if role.pools], "a role that a pool can have"
            ),
            order=_in_order,
        ),
        about="The roles of every member.",
    )
    id_pattern: str = given(NUMBERED, key="id", about="The id of member n.")
    addresses: Mapping[str, str] = given(
        MappingOf(NETWORK, RULE, "a mapping of networks to addresses"),
        about="The address of member n in each of its networks.",
    )
    minimum: int = number(
        REQUIRED,
        0,
        MAX_POOL,
        "The fewest members. Without any, clients of the application get a page of maintenance.",
    )
    maximum: int = number(
        REQUIRED, 1, MAX_POOL, "The most members, and the highest number in a member's id."
    )
    initial: tuple[str, ...] = given(
        ListOf(MEMBER, least=0), about="The members that the first deployment starts with."
    )
    application: str | None = given(
        APPLICATION, None, about="The application that the members serve; by default the only one."
    )
    platform: str = given(PLATFORM, DEFAULT, about="The operating system of every member.")

    def ids(self) -> tuple[str, ...]:
        """Return the ids of all members that the pool can have, in order: s1 to s10."""
        return tuple(ids.member(self.id_pattern, n) for n in range(1, self.maximum + 1))

    def number(self, host_id: str) -> int | None:
        """Return the n of a member's id; None for any other id."""
        found = ids.number(self.id_pattern, host_id)
        return found if found is not None and found <= self.maximum else None

    def host(self, number: int) -> Host:
        """Return member `number` as a host."""
        return Host(
            id=ids.member(self.id_pattern, number),
            roles=self.roles,
            addresses={
                net: str(addresses.start(rule) + number) for net, rule in self.addresses.items()
            },
            pool=self.name,
            application=self.application,
            platform=self.platform,
        )


@dataclass(frozen=True)
class Service:
    """Where clients reach the applications: the published address and its ports."""

    address: str = given(
        ADDRESS, about="The address at which clients reach the service, on the edge network."
    )
    http: int = number(80, 1, 65535, "The port for plain HTTP.")
    https: int = number(443, 1, 65535, "The port for HTTPS.")
    tls: bool = flag(
        True, "Whether the service uses HTTPS; the port for plain HTTP then only redirects."
    )
    public: str | None = given(
        Nullable(ADDRESS),
        None,
        about="The address that clients call, if a cloud or a router replaces it with `address`.",
    )

    @property
    def called(self) -> str:
        """Return the address that clients call, which their name servers have."""
        return self.public or self.address

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

    Its own name is also that of its database and of the role that owns it, of its directory on its
    volume, and of its backend at the balancer.
    """

    name: str = named()
    domain: str = given(DOMAIN, about="The host name by which clients call the application.")
    definition: str = given(DEFINITION, about="The file of pillar/app that defines it.")
    volume: str | None = given(
        Nullable(VOLUME),
        None,
        about=(
            "The volume for its files; null stands for `volume` of storage.yaml, which only one "
            "application can use."
        ),
    )
    copy_of: str | None = given(
        Nullable(NAME),
        None,
        about="The application of which this one is a copy for trials (orch.stage). Clients need a "
        "password, and it opens no connections to the outside.",
    )


def _networks(ranges: dict[str, str]) -> dict[str, Network]:
    return {name: Network(name, cidr) for name, cidr in ranges.items()}


def _hosts(hosts: dict[str, Host]) -> tuple[Host, ...]:
    return tuple(hosts.values())


@dataclass(frozen=True)
class Topology:
    """The fleet: its networks, its hosts, and the applications that it serves."""

    service: Service = given(about="The address and the ports that clients use.")
    applications: Mapping[str, Application] = given(
        MappingOf(NAME, record(Application), "a mapping of one or more applications", least=1),
        about="The applications; the first one gives the fleet's CA its name.",
    )
    networks: Mapping[str, Network] = given(
        MappingOf(LABEL, RANGE, "a mapping of names to networks", make=_networks),
        about="The networks, each with its range of addresses.",
    )
    links: Mapping[str, str] = given(
        Record(
            {purpose: Key(purpose, NETWORK, about=about) for purpose, about in PURPOSES.items()},
            dict,
        ),
        about="The network of each kind of traffic; several kinds may share one network.",
    )
    hosts: tuple[Host, ...] = given(
        MappingOf(ID, record(Host), "a mapping of ids to hosts", make=_hosts),
        about="The hosts that belong to no pool.",
    )
    pools: Mapping[str, Pool] = given(
        MappingOf(LABEL, record(Pool), "a mapping of names to pools"),
        {},
        about="The pools: numbered families of hosts, whose members come and go.",
    )
    gateways: Mapping[str, str] = given(
        MappingOf(NETWORK, ADDRESS, "a mapping of networks to addresses"),
        {},
        about=(
            "The addresses that two firewalls share: in each network, the default gateway of its "
            "hosts. With one firewall, the gateways are its own addresses."
        ),
    )
    operators: Mapping[str, Operator] = given(
        MappingOf(OPERATOR, record(Operator), "a mapping of names to operators"),
        {},
        about="The people who log in to the hosts, through the one with role management.",
    )

    @property
    def default(self) -> Application:
        """The first application, which a host serves when the topology names no other one."""
        return next(iter(self.applications.values()))

    @property
    def copies(self) -> list[Application]:
        """The applications that are copies of others."""
        return [one for one in self.applications.values() if one.copy_of]

    @property
    def originals(self) -> list[str]:
        """The names of the applications, without the copies of others."""
        return [one.name for one in self.applications.values() if not one.copy_of]

    def served_by(self, host: Host) -> Application:
        """The application of an app host (KeyError for another host)."""
        return self.applications[host.application or ""]

    def platform(self, role: str, application: str | None = None) -> Platform:
        """Return the platform of the hosts with a role, which all have the same one.

        Args:
            role: A role whose hosts must have the same platform (`Role.together`).
            application: The application that they serve, if the role serves one.
        """
        pools = (pool.host(1) for pool in self.pools.values())
        for host in (*self.hosts, *pools):
            if role in host.roles and host.application == (application or host.application):
                return PLATFORMS[host.platform]
        return PLATFORMS[DEFAULT]

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
            raise TopologyError(
                "members", [f"{join(pool, host_id)}: the topology has no such member"]
            )
        return self.pools[pool].host(number)

    def everyone(self) -> Iterator[Host]:
        """The static hosts and every member that any pool may ever have."""
        yield from self.hosts
        for pool in self.pools.values():
            for n in range(1, pool.maximum + 1):
                yield pool.host(n)

    def address(self, host: Host, link: str) -> str | None:
        """The host's address in the network that carries `link`, if it has one there."""
        return host.addresses.get(self.links[link])

    def to_dict(self) -> dict[str, Any]:
        """Return the data from which `parse` makes this same topology."""
        return {
            "service": {key: one for key, one in asdict(self.service).items() if one is not None},
            "applications": {
                one.name: {
                    "domain": one.domain,
                    "definition": one.definition,
                    **({"volume": one.volume} if one.volume else {}),
                    **({"copy_of": one.copy_of} if one.copy_of else {}),
                }
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
                    **({"platform": host.platform} if host.platform != DEFAULT else {}),
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
                    **({"platform": pool.platform} if pool.platform != DEFAULT else {}),
                }
                for pool in self.pools.values()
            },
            "gateways": dict(self.gateways),
            "operators": {
                one.name: {"keys": list(one.keys), "expires": one.expires, "may": one.may}
                for one in self.operators.values()
            },
        }


def load(path: str | Path, settings: Settings | None = None) -> Topology:
    """Return the topology in a file. Raises TopologyError, also when it cannot be read."""
    return _judged(lambda: document.read(path), str(path), settings)


def loads(
    text: bytes | str, source: str = "topology", settings: Settings | None = None
) -> Topology:
    """Return the topology in YAML text. Raises TopologyError."""
    return _judged(lambda: document.loads(text, source), source, settings)


def _judged(content: Callable[[], Any], source: str, settings: Settings | None) -> Topology:
    """Return the topology; the faults of its YAML and of its content come together."""
    try:
        data = content()
    except document.DataError as error:
        if error.data is None:
            raise TopologyError(error.source, error.faults) from error
        return parse(error.data, source, settings, error.faults)
    return parse(data, source, settings)


def parse(
    data: object,
    source: str = "topology",
    settings: Settings | None = None,
    before: Iterable[str] = (),
) -> Topology:
    """Return the topology that `data` gives.

    Args:
        data: the file's content.
        source: the file's name in messages.
        settings: what the fleet is deployed with; by default, the settings' own defaults.
        before: the faults that were found while the file was read.

    Raises:
        TopologyError: with every fault. A rule across fields is judged unless a fault in those
            fields makes it pointless.
    """
    topology, faults = read(Topology, data, before)
    if isinstance(data, dict):
        topology = rules.completed(topology, faults)
        faults.lines += list(rules.across(topology, settings or Settings(), faults))
    if faults.lines:
        raise TopologyError(source, faults.lines)
    return topology

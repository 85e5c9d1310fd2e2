"""A role: the class that every file of `salina_fleet/roles` fills in for one role.

A role's file holds everything that the fleet knows about the role. Whatever works on all roles
(topology, policy, pillar, map, status) iterates over `salina_fleet.roles.ROLES` and names none.
How to add one: docs/guides/add-a-role.md.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from salina_fleet.schema.document import rest, show

if TYPE_CHECKING:
    from salina_fleet.fleet import Fleet
    from salina_fleet.model.settings import Settings
    from salina_fleet.model.topology import Host, Topology
    from salina_fleet.revisions import Commits
    from salina_fleet.secrets import Source

Pillar = dict[str, Any]

ANY = "any"
"""A row's source: whoever reaches the target's address at all, such as the service's clients."""
NETWORK = "network"
"""A row's source: the link's whole network, so that a new host is let in before it is known."""
ALL = "all"
"""A row's target: every host."""
LOOPBACK = "127.0.0.1"
UNPRIVILEGED = 1024
"""The first port that every process may bind, unless the kernel is told another."""
RESERVED_BELOW = 32768
"""An app host reserves the ports below it for its services (decision 34).

The kernel's own range for outgoing connections begins here (ip_local_port_range).
"""

ROOT = "root"
"""The group of a key that only root reads."""
SERVER, CLIENT = "serverAuth", "clientAuth"
"""The purposes of a certificate, as X.509's extended key usage names them."""
CA, OWN, ACME = "ca", "own", "acme"
"""The sources of a certificate, as `public` in pillar/settings/tls.yaml names them."""

NAMED = 20
"""The most hosts that a message names."""

EXACTLY_ONE = ((1,), "exactly one host must have it")
ONE_OR_TWO = ((1, 2), "one host or two hosts must have it")
AT_MOST_TWO = ((0, 1, 2), "at most two hosts may have it")
AT_LEAST_ONE = (range(1, 10**9), "at least one host must have it")
ANY_NUMBER = (range(10**9), "any number of hosts may have it")


class Row(NamedTuple):
    """A line of the table of who talks to whom: hosts with role `source` may open `ports` of hosts
    with role `target` over the network that carries `link`. With `by_root`, only their root may.
    """

    source: str
    target: str
    link: str
    ports: str
    comment: str
    proto: str = "tcp"
    by_root: bool = False


class Port(NamedTuple):
    """A TCP port on which a daemon of a host listens, or the ports from `number` to `last`.

    `at`: the link at whose address it listens; LOOPBACK; or ANY, for every address of the host.
    `place`: the file and the path that give the number; "" for a fixed one.
    """

    number: int
    daemon: str
    at: str
    place: str = ""
    last: int = 0


class Certificate(NamedTuple):
    """A certificate that a host has for one purpose: /etc/salina/tls/NAME.crt, and NAME.key.

    `names`: its subject alternative names, such as DNS:nas1 and IP:10.1.4.21. `uses`: of SERVER and
    CLIENT. `common_name`: None stands for the host's id, "" for none. `readers`: the units that
    read a renewed certificate when they reload; a daemon that reads it for each connection is not
    among them. `source`: CA; OWN when the operator has given it, with its key; ACME when an ACME
    directory issues it, and the CA only one to begin with. `authority`: the CA that signs it, of
    `secrets.AUTHORITIES`. `group`: the group that reads its key besides root; None stands for
    `ssl-cert` if a daemon of the host reads its keys itself, and otherwise for root's own.
    """

    name: str
    names: tuple[str, ...]
    uses: tuple[str, ...]
    readers: tuple[str, ...] = ()
    common_name: str | None = None
    source: str = CA
    authority: str = "ca"
    group: str | None = None


TOLD_APART = ("name", "domain", "certificate")
"""The arguments by which checks with the same probe are told apart; the first one counts."""


class Check(NamedTuple):
    """Something that a host looks at to judge its health.

    `probe` is a function of _utils/salina/health/probes.py, which runs on the host with these
    `arguments`. `row`: the row of docs/requirements.md that it shows; "" stands for the role's.
    `needs`: the subject of a finding -> the roles whose hosts it depends on, so that a fault of
    such a host, or of more of them than the role can spare, is not a second alarm here. If it is
    the check's own role, it depends on each of the others. `alone`: the subjects among them that
    show the fault of a single host, so each host of those roles counts, and not only too many of
    them. `decides`: whether the check says that the host does the work of the role.
    """

    probe: str
    arguments: Mapping[str, Any] = {}
    row: str = ""
    needs: Mapping[str, tuple[str, ...]] = {}
    decides: bool = False
    alone: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Return the name of the check, which no other check of the host has: `unit nginx`."""
        told = [str(self.arguments[key]) for key in TOLD_APART if key in self.arguments]
        return " ".join([self.probe, *told[:1]])


class Look(NamedTuple):
    """Something that a host can show of a row of docs/requirements.md while it runs.

    `look` is a function of _utils/salina/verify (evidence.py or service.py), which runs on the host
    with these `arguments`.
    """

    row: str
    look: str
    arguments: Mapping[str, Any] = {}


EXPORTERS = ("node", "haproxy", "patroni", "etcd", "prometheus")
"""The names of all exporters. No host's id is one of them with the id of another host behind it."""


class Exporter(NamedTuple):
    """Numbers of a daemon, which the door of its host (salina_fleet.metrics) gives to Prometheus.

    `name`: the name of its job. `connect`: where it answers on the host: the path of a socket, or
    an address with a port. `path`: the path of its page. `known_as`: its name, if it answers with
    TLS and a certificate of the fleet's CA. `keep`: a regular expression for the names of the
    numbers that Prometheus keeps; "" stands for all.
    """

    name: str
    connect: str
    path: str = "/metrics"
    known_as: str = ""
    keep: str = ""


class Alert(NamedTuple):
    """Something that Prometheus notices in the numbers of some time.

    `expr`: in its query language; each result for so many `minutes` is an alert. `summary`: one
    sentence about it, with labels as `{{ $labels.instance }}`.
    """

    name: str
    expr: str
    minutes: int
    summary: str


class Graph(NamedTuple):
    """A graph of monitoring's page.

    `legend`: the labels that name a line. `unit`: of salina_fleet.metrics.UNITS.
    """

    title: str
    expr: str
    legend: tuple[str, ...]
    unit: str


@dataclass(frozen=True)
class MasterData:
    """The data from which the master makes a pillar.

    `definitions`: the name of a file in pillar/app -> its content. `revisions`: the commits of
    their sources. `locks`: a file in salt/locks -> the digest of its content. `tree`: the digest of
    the Python that minions are served. `state`: the master's state directory.
    """

    fleet: Fleet
    definitions: Mapping[str, Mapping[str, Any]]
    revisions: Commits
    locks: Mapping[str, str]
    secrets: Source
    tree: str
    state: str


class Tuning:
    """The settings of one component, one file of pillar/settings: a dataclass of declarations."""

    def rules(self) -> Iterator[tuple[str, str]]:
        """Yield the faults across its keys: the key, and the message."""
        yield from ()

    def conflicts(
        self,
        topology: Topology,
        settings: Settings,
        definitions: Mapping[str, Mapping[str, Any]],
    ) -> Iterator[tuple[str, str]]:
        """Yield the faults that show only beside the other files: the key, and the message.

        Args:
            topology: the topology, which has no fault.
            settings: the settings of all components, which have no fault of their own.
            definitions: the name of a file in pillar/app -> its content, for files without a fault.
        """
        yield from ()


class Role:
    """A role that a host may have.

    All attributes but `name`, `order` and `tier`, and all methods, have a default that adds
    nothing.
    """

    name: ClassVar[str]
    order: ClassVar[int]
    """A host with several roles applies them in this order: first what the others wait for."""
    tier: ClassVar[int]
    """A deployment goes tier by tier: the hosts of one need those of the tiers before it."""
    column: ClassVar[int] = 0
    """Where the map draws its hosts: 1 is next to the clients, 0 is outside of the traffic."""
    links: ClassVar[tuple[str, ...]] = ()
    """The links in whose networks its hosts have an address. Every host is on `management`."""
    count: ClassVar[tuple[Container[int], str]] = ANY_NUMBER
    """How many hosts (each pool counts as one) may have it, and the same in words."""
    pools: ClassVar[bool] = False
    """Whether hosts may take it up and lay it down while the fleet runs: the members of pools."""
    serves: ClassVar[bool] = False
    """Whether its hosts serve an application, which the topology names."""
    watches: ClassVar[bool] = False
    """Whether its hosts have a list of all hosts, and follow every change after the others."""
    forwards: ClassVar[bool] = False
    """Whether its hosts forward the clients' packets to the service."""
    reads_key: ClassVar[bool] = False
    """Whether a daemon reads its private keys itself, not as root."""
    daemons: ClassVar[tuple[str, ...]] = ()
    """The services that an apply restarts when an update has replaced a file that they use."""
    connected_before: ClassVar[tuple[int, ...]] = ()
    """Its ports to which other hosts are connected before their firewall is switched on."""
    alias: ClassVar[str | None] = None
    """Another name under which every host finds its host. No host without the role may have it."""
    reserved_ids: ClassVar[tuple[str, ...]] = ()
    """Names that no host may have, since they mean something else in its hosts' /etc/hosts."""
    reserved_names: ClassVar[tuple[str, ...]] = ()
    """Names that no application may have, since they mean something else to the role's daemons."""
    indispensable: ClassVar[str | None] = None
    """The Salt function by which its hosts name the one of them that cannot be replaced at once."""
    settings: ClassVar[Mapping[str, type[Tuning]]] = {}
    """The files of pillar/settings that tune it (without .yaml), each with its dataclass."""
    row: ClassVar[str] = "K1"
    """The row of docs/requirements.md that its hosts work for: a check without a row shows it."""
    keys: ClassVar[Mapping[str, str]] = {}
    """The meaning of each key of its pillar, for docs/pillar.md: `storage.name` -> a sentence.

    A key that passes a setting of the same name on is not among them: its meaning is the setting's.
    """

    software: ClassVar[Mapping[str, str]] = {}
    """The Debian packages and the units that its hosts get, each with its purpose.

    docs/deployment.md shows them. A purpose has no verb and no full stop: `the bricks`. The states
    decide what is installed; a package or a unit without a purpose here fails a test.
    """

    def together(self, host: Host) -> str | None:
        """Return what a host is a part of, if all its hosts must have the same platform.

        Args:
            host: A host with this role.

        Returns:
            A phrase such as `the database`, which is the same for the hosts that belong together.
        """
        return None

    def rows(self, topology: Topology, settings: Settings) -> Iterable[Row]:
        """Return who may open which of its ports: its rows of the table."""
        return ()

    def ports(self, topology: Topology, settings: Settings, host: Host) -> Iterable[Port]:
        """Return the ports on which its daemons listen on a host with this role."""
        return ()

    def ports_of_all(self, topology: Topology, settings: Settings) -> Iterable[Port]:
        """Return the ports on which every host listens because the fleet has this role."""
        return ()

    def pillar(self, data: MasterData, host: Host) -> Pillar:
        """Return the sections that a host with this role has in its pillar."""
        return {}

    def shared(self, topology: Topology) -> Mapping[str, str]:
        """Return the addresses that two hosts with this role share: the link -> the address.

        The two speak to each other on the last of these links (salina_fleet.pair).
        """
        return {}

    def spare(self, fleet: Fleet) -> int:
        """Return how many of its hosts may be down while a pool changes.

        The change skips these hosts, and they catch up when they return.
        """
        return 0

    def directories(self, fleet: Fleet) -> Iterable[str]:
        """Return the directories of its hosts with data that no other host and no apply brings back
        at once.
        """
        return ()

    def certificates(self, fleet: Fleet, host: Host) -> Iterable[Certificate]:
        """Return the certificates that the role's daemons on a host need."""
        return ()

    def names_here(self, fleet: Fleet, host: Host) -> Mapping[str, str]:
        """Return further names that only this host has in /etc/hosts: name -> address."""
        return {}

    def rules(
        self, topology: Topology, settings: Settings, sound: Callable[[str], bool]
    ) -> Iterator[str]:
        """Yield the faults of a topology that concern this role, each as `path: message`.

        Args:
            topology: its parts that have no fault of their own.
            settings: the settings it is deployed with.
            sound: tells whether a path of the file has no fault, so that none is reported twice.
        """
        yield from ()

    def checks(
        self, fleet: Fleet, host: Host, definitions: Mapping[str, Mapping[str, Any]]
    ) -> list[Check]:
        """Return what a host with this role looks at to judge its health."""
        return []

    def triggers(self, fleet: Fleet, host: Host) -> Iterable[str]:
        """Return the timers and sockets that a host with this role must have."""
        return ()

    def checks_of_all(self, fleet: Fleet, host: Host) -> list[Check]:
        """Return what every host of the fleet looks at because of this role's hosts."""
        return []

    def evidence(self, data: MasterData, host: Host) -> Iterable[Look]:
        """Return what a host with this role can show of the requirements while it runs."""
        return ()

    def exporters(self, fleet: Fleet, host: Host) -> Iterable[Exporter]:
        """Return the numbers that its daemons on a host give to Prometheus."""
        return ()

    def alerts(self, fleet: Fleet) -> Iterable[Alert]:
        """Return what Prometheus notices in the numbers of its hosts."""
        return ()

    def graphs(self) -> Iterable[Graph]:
        """Return the graphs of its hosts on monitoring's page."""
        return ()


def named(hosts: Iterable[Host]) -> str:
    """Return hosts as the subject of a sentence, with its verb: `2 hosts (nas1, nas2) have`."""
    ids = [host.id for host in hosts]
    if not ids:
        return "no host has"
    listed = ", ".join([*ids[:NAMED], *rest(ids, NAMED)])
    return f"{len(ids)} {'hosts' if len(ids) > 1 else 'host'} ({listed}) " + (
        "have" if len(ids) > 1 else "has"
    )


def without(value: object, role: str) -> str:
    """Return the message for a value of a host that only a host with this role can have."""
    return f"{show(value)} is not valid without role {role}; add the role or remove this key"

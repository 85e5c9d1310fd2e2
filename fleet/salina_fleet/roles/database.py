"""PostgreSQL under Patroni: one primary, and the others replicate it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from salina.application import copy
from salina.backup import pgbackrest
from salina.common.https import host_port
from salina.database import records
from salina.database.patroni import data_directory
from salina_fleet import secrets
from salina_fleet.kinds import KINDS
from salina_fleet.model import parameters
from salina_fleet.model.backup import SCRATCH_KEYS, STANZA, BackupSettings, scratch_pillar
from salina_fleet.model.backup import certificate as backup_certificate
from salina_fleet.platforms import named_for_postgresql
from salina_fleet.role import (
    AT_LEAST_ONE,
    CLIENT,
    RESERVED_BELOW,
    SERVER,
    Alert,
    Certificate,
    Check,
    Exporter,
    Graph,
    Look,
    MasterData,
    Pillar,
    Port,
    Role,
    Row,
    Tuning,
    named,
    without,
)
from salina_fleet.roles.quorum import PATRONI, QuorumSettings
from salina_fleet.schema.declare import Scalar, duration, flag, number, seconds, values
from salina_fleet.schema.document import join
from salina_fleet.schema.faults import invalid

if TYPE_CHECKING:
    from salina_fleet.fleet import Fleet
    from salina_fleet.model.settings import Settings
    from salina_fleet.model.topology import Host, Topology

FILE = "pillar/settings/database.yaml"
CLUSTER = "salina"
"""The cluster's name. It belongs to no application, since applications come and go."""
NAME = "database"
"""The name by which an app host reaches the primary; every database certificate carries it."""

UNIT = "patroni"
"""The unit that holds PostgreSQL as well."""
ENVIRONMENT = "/opt/patroni"
"""Patroni's environment of Python (salt/patroni/program.sls)."""

KEYS = {
    "database": "PostgreSQL under Patroni.",
    "database.scope": "The cluster's name.",
    "database.name": "The host's own name in the cluster.",
    "database.address": "The host's own address in the cluster.",
    "database.first": "Whether this host initialises the cluster.",
    "database.members": "All database hosts.",
    "database.members[].name": "The database host's id.",
    "database.members[].address": "The database host's address.",
    "database.quorum": "Address and port of every voter's etcd.",
    "database.parameters.NAME": "The value of the parameter, as PostgreSQL documents it.",
    "database.settings": "The other keys of pillar/settings/database.yaml.",
    "database.etcd": "Patroni's login at the quorum.",
    "database.etcd.username": "The name of its user.",
    "database.etcd.password": "The password of its user.",
    "database.passwords": "The passwords of the cluster's own roles.",
    "database.passwords.superuser": "The password of the role `postgres`.",
    "database.passwords.replication": "The password of the role that replicas log in as.",
    "database.passwords.rewind": "The password of the role that pg_rewind logs in as.",
    "database.passwords.rest": "The password for changes through Patroni's REST interface.",
    "database.applications": "The applications, each with its database and its role.",
    "database.applications[].name": "The name of the application and of its database.",
    "database.applications[].user": "The role that owns the database.",
    "database.applications[].password": "The role's password.",
    "database.applications[].connections": (
        "The most connections that the role has at the same time."
    ),
    "database.applications[].record": "The login that records the release of the database.",
    "database.applications[].record.user": "Its role, which is not the application's.",
    "database.applications[].record.password": "Its password.",
    "database.applications[].reaches": "The databases that the role may connect to.",
    "database.applications[].clients": (
        "The addresses of the app hosts from which the role logs in."
    ),
    "archiving": "pgBackRest on a database host; only in a fleet with a backup host.",
    "archiving.address": "The host's own address, on which pgBackRest listens.",
    "archiving.port": "The port of pgBackRest on both ends.",
    "archiving.stanza": "pgBackRest's name for the cluster.",
    "archiving.repository": "The backup host.",
    "archiving.database_port": "PostgreSQL's port.",
    "archiving.database_files": "The directory of the cluster's files.",
    **SCRATCH_KEYS,
}
"""The meanings of the keys of its pillar."""


PARAMETERS: Mapping[str, Scalar] = {
    "shared_buffers": "128MB",
    "effective_cache_size": "512MB",
    "work_mem": "8MB",
    "maintenance_work_mem": "64MB",
    "random_page_cost": 1.1,
    "max_wal_size": "1GB",
    "wal_keep_size": "256MB",
    "max_wal_senders": 10,
    "max_replication_slots": 10,
    "wal_log_hints": True,
    "wal_sender_timeout": "5s",
    "wal_receiver_timeout": "5s",
    "password_encryption": "scram-sha-256",
    "log_min_duration_statement": 1000,
    # who connects, from where, for how long; statements have data, so log_statement stays off
    "log_connections": True,
    "log_disconnections": True,
    "idle_in_transaction_session_timeout": "10min",
    # an app host that lost its power says nothing: its sessions, and their locks, end in 25 s
    "tcp_keepalives_idle": 10,
    "tcp_keepalives_interval": 5,
    "tcp_keepalives_count": 3,
}
"""PostgreSQL's own parameters, for a small host with a standby."""
ARCHIVING: dict[str, Scalar] = {
    "archive_mode": True,
    "archive_command": pgbackrest.archive_command(STANZA),
    # so much of the last changes is lost if all database hosts are
    "archive_timeout": "60s",
}
"""PostgreSQL's parameters in a fleet with a backup host."""
ARCHIVED = {
    "archive_mode": "on",
    "archive_command": pgbackrest.archive_command(STANZA),
    "archive_library": "",
}
"""The values with which PostgreSQL sends the WAL to the backup host: with others there would be no
backup.
"""
MOST_PROCESSES = 262_143
"""The most processes that PostgreSQL can have: it keeps their numbers in 18 bits."""
WORKERS = {"max_worker_processes": 8, "autovacuum_max_workers": 3, "max_wal_senders": 10}
"""The parameters that take some of them from max_connections, with PostgreSQL's defaults. The
launcher of autovacuum is one more.
"""
LEAST_CONNECTIONS = 100
"""The smallest max_connections unless the settings give one: PostgreSQL's own default."""
RESERVED = 20
"""The connections beside those of the app hosts.

3 for superusers (superuser_reserved_connections), 3 for Patroni, 2 for pg_rewind and a new copy,
4 for a backup, 8 for operators and monitoring. Replication uses max_wal_senders instead.
"""
TOGETHER = "the database"
"""The hosts with the cluster's files and with its backups, which must fit each other."""
RESERVING = {"superuser_reserved_connections": 3, "reserved_connections": 0}
"""The parameters that keep connections from the app hosts, with PostgreSQL's defaults."""
ROLE_RESERVED = 5
"""The connections of an application's role beside those of its app hosts, for operators."""
STEP = 3
"""The connections of a one-time step's command: two to its database, and one to `postgres`."""
OWN_PATH = 1 + STEP
"""The connections that one app host may hold beside the pools: Salt's check or lock, and a step."""


@dataclass(frozen=True)
class DatabaseSettings(Tuning):
    """PostgreSQL under Patroni. Why these defaults: docs/decisions/0002-patroni.md."""

    version: int | None = number(
        None,
        1,
        99,
        "PostgreSQL's major version; null stands for that of the database hosts' platform, and no "
        "other one can be installed.",
    )
    port: int = number(5432, 1, 65535, "PostgreSQL's port on the database hosts.")
    rest_port: int = number(
        8008, 1, 65535, "The port of Patroni's REST interface, which names the primary."
    )
    ttl: int = number(20, 20, 3600, "The seconds after which a dead primary's lease ends.")
    loop_wait: int = number(1, 1, 600, "The seconds between two rounds of Patroni.")
    retry_timeout: int = number(
        3, 3, 600, "The seconds for which Patroni repeats a failed request."
    )
    primary_start_timeout: int = number(
        0,
        0,
        3600,
        "The seconds that a crashed primary has to start again before another host takes over.",
    )
    maximum_lag_on_failover: int = number(
        1_048_576,
        0,
        2**40,
        "The bytes that a replica may be behind and still become the primary.",
    )
    maximum_lag: int = number(
        67_108_864,
        0,
        2**40,
        "The bytes that a replica may be behind before it counts as not working.",
    )
    synchronous_mode: bool = flag(True, "Whether a commit waits until a second host has it.")
    failsafe_mode: bool = flag(
        True, "Whether the primary goes on without the quorum while all other members answer it."
    )
    check_timeline: bool = flag(
        True, "Whether a member must have the current timeline to become the primary."
    )
    wait: int = number(300, 1, 3600, "The seconds that a state waits for the cluster.")
    parameters: dict[str, Scalar] = values(
        PARAMETERS,
        "PostgreSQL's own parameters; those of the file are added to the defaults. Without "
        "max_connections it is what all app hosts together may hold, and 20 more.",
        judge=parameters.fault,
    )

    def rules(self) -> Iterator[tuple[str, str]]:
        """The lease outlives a loop with its retries (Patroni's own rule)."""
        least = self.loop_wait + 2 * self.retry_timeout
        if self.ttl < least:
            words = f"at least loop_wait + 2 * retry_timeout: {least}"
            yield "ttl", invalid(self.ttl, words)
        most = self.parameters.get("max_connections", LEAST_CONNECTIONS)
        if type(most) is not int or most < 1:
            yield "parameters.max_connections", invalid(most, "a number of connections")
        if self._measures("statement"):
            for part in filter(self._measures, ("parser", "planner", "executor")):
                words = "it is part of log_statement_stats; remove one of the two"
                yield f"parameters.log_{part}_stats", words

    def _measures(self, part: str) -> bool:
        """Return whether PostgreSQL logs the work of this part of itself."""
        given = self.parameters.get(f"log_{part}_stats", False)
        return str(given).lower() in ("true", "on", "yes", "1")

    def conflicts(
        self,
        topology: Topology,
        settings: Settings,
        definitions: Mapping[str, Mapping[str, Any]],
    ) -> Iterator[tuple[str, str]]:
        """The hosts can install the version, it takes the parameters, and all app hosts get the
        connections that they may hold.
        """
        platform = topology.platform("database")
        if self.version not in (None, platform.postgresql):
            words = f"{platform.postgresql} or null, because {platform.title} has no other version"
            yield "version", invalid(self.version, words)
        for name in ARCHIVED if topology.having("backup") else ():
            if name in self.parameters:
                words = "Salina sets this parameter in a fleet with a backup host; remove it"
                yield f"parameters.{name}", words
        version, sound = platform.postgresql, True
        for name, value in self.parameters.items():
            message = parameters.fault(name, value, [version])
            if message:
                sound = False
                yield f"parameters.{name}", message
        if sound:
            yield from self._misfit(topology, settings, self._room(version))
            yield from self._kept(topology, settings, version)

    def _kept(
        self, topology: Topology, settings: Settings, version: int
    ) -> Iterator[tuple[str, str]]:
        """Yield a parameter that keeps connections which app hosts may hold."""
        kept = {
            name: int(parameters.number(name, self.parameters.get(name, default), version))
            for name, default in RESERVING.items()
            if name in parameters.known(version)
        }
        needed = connections(topology, settings)
        most = int(self.parameters.get("max_connections") or max(needed, LEAST_CONNECTIONS))
        free, given = most - (needed - RESERVED), [one for one in kept if one in self.parameters]
        if given and sum(kept.values()) > free:
            name = given[0]
            bound = max(free - sum(kept.values()) + kept[name], 0)
            why = f"app hosts may hold {needed - RESERVED} of {most} connections"
            yield f"parameters.{name}", invalid(kept[name], f"at most {bound}, because {why}")

    def _room(self, version: int) -> int:
        """Return the highest max_connections with which PostgreSQL starts."""
        workers = (
            parameters.number(name, self.parameters.get(name, default), version)
            for name, default in WORKERS.items()
        )
        return MOST_PROCESSES - 1 - int(sum(workers))

    def _misfit(
        self, topology: Topology, settings: Settings, room: int
    ) -> Iterator[tuple[str, str]]:
        """Yield why the app hosts get too few connections, or PostgreSQL too many."""
        key, given = "parameters.max_connections", self.parameters.get("max_connections")
        needed = connections(topology, settings)
        hosts, route = len(_clients(topology)), settings[RouteSettings]
        here = "pillar/settings/database_route.yaml"
        why = f"because there can be {hosts} app hosts, and pool_size in {here} is"
        most = room if needed > room or given is None else int(given)
        lower = route.pool_size - -(-(needed - most) // hosts)
        advice = f"lower pool_size to at most {lower}" if lower >= 1 else ""
        beside = f"beside {', '.join(WORKERS)}"
        if needed > room:
            found = f"{needed} are needed, {why} {route.pool_size}"
            do = f"{advice}, or have fewer app hosts" if advice else "have fewer app hosts"
            do = do if room >= RESERVED + _each(settings) else "lower these parameters"
            yield key, f"{found}; PostgreSQL takes at most {max(room, 0)} {beside}; {do}"
        elif given is not None and int(given) < needed:
            words = f"at least {needed}, {why} {route.pool_size}"
            yield key, invalid(given, f"{words}; or {advice}" if advice else words)
        elif (wanted := int(given or LEAST_CONNECTIONS)) > room:
            words = f"at most {room}, because PostgreSQL takes no more {beside}"
            yield key, invalid(wanted, words)


@dataclass(frozen=True)
class RouteSettings(Tuning):
    """An app host's way to the current primary: pgbouncer, then HAProxy, both on loopback.

    While there is no primary, HAProxy makes `retries` attempts of `connect` each. Together they
    last longer than `query_wait_timeout`, the time for which pgbouncer lets its clients wait.
    """

    listen: int = number(5433, 1, RESERVED_BELOW - 1, "HAProxy's port on loopback.")
    pool_port: int = number(
        6432,
        1,
        RESERVED_BELOW - 1,
        "pgbouncer's port on loopback, to which the application connects.",
    )
    pool_size: int = number(
        25, 1, 1000, "The most connections to each database that one app host holds."
    )
    postgres_pool_size: int = number(
        4,
        1,
        1000,
        "The most connections to the database `postgres`, where Odoo's bus listens, that one app "
        "host holds.",
    )
    max_clients: int = number(400, 1, 100_000, "The most connections that pgbouncer accepts.")
    query_wait_timeout: int = number(
        60, 1, 3600, "The seconds that a query waits for a primary before it fails."
    )
    server_login_retry: int = number(
        1, 1, 60, "The seconds between two attempts of pgbouncer to log in at the primary."
    )
    connect: str = duration("300ms", "The longest wait for a connection to a database host.")
    check: str = duration("2s", "The longest wait for the answer to a health check.")
    inter: str = duration("500ms", "The time between two health checks.")
    fastinter: str = duration(
        "250ms", "The time between two health checks while a host changes its state."
    )
    fall: int = number(2, 1, 100, "The failed checks after which a host is not the primary.")
    rise: int = number(1, 1, 100, "The passed checks after which a host is the primary.")
    retries: int = number(
        250, 0, 10_000, "How often HAProxy tries again to connect while there is no primary."
    )

    def rules(self) -> Iterator[tuple[str, str]]:
        """Every session of the pools has a client, and HAProxy tries longer than these wait."""
        most = math.ceil(self.query_wait_timeout / seconds(self.connect))
        if self.retries < most:
            why = f"because connect is {self.connect} and query_wait_timeout"
            words = f"at least {most}, {why} is {self.query_wait_timeout}"
            yield "retries", invalid(self.retries, words)
        least = self.pool_size + self.postgres_pool_size
        if self.max_clients < least:
            words = f"at least pool_size + postgres_pool_size: {least}"
            yield "max_clients", invalid(self.max_clients, words)


def _jobs(fleet: Fleet, definitions: Mapping[str, Mapping[str, Any]]) -> list[Check]:
    """Return the check of the scheduled jobs, which the primary knows whichever host runs them.

    Those of a copy for trials are off, and an application without hosts runs none.
    """
    from salina_fleet.roles.app import AppSettings  # it imports this file

    within: dict[str, int] = {}
    row = ""
    for one in fleet.topology.applications.values():
        definition = definitions[one.definition]
        kind = KINDS[definition["kind"]]
        seconds = kind.jobs(definition, fleet.settings[AppSettings])
        if seconds and fleet.serving(one.name) and not one.copy_of:
            within[one.name], row = seconds, kind.rows[1]
    if not within:
        return []
    asked = {"port": fleet.settings[DatabaseSettings].port, "within": within}
    return [Check("jobs", asked, row, needs={f"jobs of {name}": ("app",) for name in within})]


def files(topology: Topology) -> str:
    """Return the directory of the cluster's files on each database host."""
    version = topology.platform("database").postgresql
    return data_directory({"version": version, "scope": CLUSTER})


def connections(topology: Topology, settings: Settings) -> int:
    """Return the connections that PostgreSQL needs while every pool is as large as it can be."""
    return len(_clients(topology)) * _each(settings) + RESERVED


def role_connections(topology: Topology, settings: Settings, application: str) -> int:
    """Return the most connections of an application's role: those of its own hosts, and a few.

    So an application that asks for more than its hosts' pools, or somebody with its password,
    leaves the others and the cluster's own roles theirs.
    """
    own = [host for host in _clients(topology) if host.application == application]
    return len(own) * _each(settings) + ROLE_RESERVED


def _each(settings: Settings) -> int:
    """Return the connections that one app host may hold."""
    route = settings[RouteSettings]
    return route.pool_size + route.postgres_pool_size + OWN_PATH


def _clients(topology: Topology) -> list[Host]:
    """Return every host that serves an application, with all members that pools can have."""
    return [host for host in topology.everyone() if host.application]


class Database(Role):
    """A host with a member of the PostgreSQL cluster."""

    name = "database"
    order = 50
    tier = 3
    daemons = ("patroni",)
    column = 4
    links = ("data",)
    row = "S11"
    count = AT_LEAST_ONE
    reads_key = True
    indispensable = "patroni.leader"
    settings: ClassVar = {"database": DatabaseSettings}
    reserved_ids = (NAME, "nobody")  # Salina's own texts say nobody where there is no primary
    reserved_names = (
        *("postgres", "template0", "template1", "public", "none"),  # PostgreSQL's own
        *("all", "sameuser", "samerole", "samegroup", "replication"),  # words of pg_hba.conf
        *("replicator", "rewinder"),  # Patroni's roles
        "salina_.*",  # the copies that this project makes
    )
    keys = KEYS
    software: ClassVar = {
        **named_for_postgresql("postgresql-{}", "the database itself; Patroni starts and stops it"),
        **named_for_postgresql("postgresql-client-{}", "psql and pg_dump, for states and restores"),
        "pgbackrest": "sends the WAL and the backups to the backup host",
        "patroni": "decides with etcd who is primary; comes from PyPI, by a lock with hashes",
    }

    def together(self, host: Host) -> str:
        """Patroni's members have the same PostgreSQL."""
        return TOGETHER

    def rows(self, topology: Topology, settings: Settings) -> Iterable[Row]:
        """App hosts reach the primary and ask Patroni which it is; members replicate."""
        database = settings[DatabaseSettings]
        ports = f"{database.port},{database.rest_port}"
        yield Row("app", self.name, "data", ports, "PostgreSQL and who is primary")
        yield Row(self.name, self.name, "data", ports, "replication and Patroni")

    def ports(self, topology: Topology, settings: Settings, host: Host) -> Iterable[Port]:
        """Those of PostgreSQL, of Patroni's REST interface, and of pgBackRest for the backups."""
        database = settings[DatabaseSettings]
        yield Port(database.port, "PostgreSQL", "data", f"{FILE}: port")
        yield Port(database.rest_port, "Patroni", "data", f"{FILE}: rest_port")
        if topology.having("backup"):
            yield settings[BackupSettings].own_port

    def directories(self, fleet: Fleet) -> Iterable[str]:
        """The cluster."""
        return ["/var/lib/postgresql"]

    def pillar(self, data: MasterData, host: Host) -> Pillar:
        """Return the cluster, its passwords, and the applications with a database in it."""
        fleet = data.fleet
        settings = asdict(fleet.settings[DatabaseSettings])
        settings["version"] = fleet.topology.platform(self.name).postgresql
        top = {key: settings.pop(key) for key in ("port", "rest_port", "version", "parameters")}
        needed = connections(fleet.topology, fleet.settings)
        most: dict[str, Scalar] = {"max_connections": max(LEAST_CONNECTIONS, needed)}
        archiving = self._archiving(fleet, host)
        top["parameters"] = most | (ARCHIVING if archiving else {}) | top["parameters"]
        client_port = fleet.settings[QuorumSettings].client_port
        return archiving | {
            "database": {
                "scope": CLUSTER,
                "name": host.id,
                "address": fleet.address(host, "data"),
                "first": host.first,
                "members": fleet.listed(self.name, "data"),
                "quorum": [
                    host_port(fleet.address(voter, "data"), client_port)
                    for voter in fleet.having("quorum")
                ],
                **top,
                "settings": settings,
                "etcd": {
                    "username": PATRONI,
                    "password": data.secrets.get(secrets.ETCD_PATRONI),
                },
                "passwords": {
                    name: data.secrets.get(f"database-{name}")
                    for name in ("superuser", "replication", "rewind", "rest")
                },
                "applications": [
                    {
                        "name": one.name,
                        "user": one.name,
                        "password": data.secrets.get(secrets.own(one.name, "database")),
                        "connections": role_connections(fleet.topology, fleet.settings, one.name),
                        "record": {
                            "user": records.role(one.name),
                            "password": data.secrets.get(secrets.own(one.name, secrets.RECORD)),
                        },
                        "reaches": [
                            one.name,
                            copy.name(one.name),
                            *KINDS[data.definitions[one.definition]["kind"]].databases,
                        ],
                        "clients": [fleet.address(app, "data") for app in fleet.serving(one.name)],
                    }
                    for one in fleet.topology.applications.values()
                ],
            }
        }

    def _archiving(self, fleet: Fleet, host: Host) -> Pillar:
        """Return how the host's WAL gets to the backup host, or nothing without one."""
        repositories = fleet.having("backup")
        if not repositories:
            return {}
        database = fleet.settings[DatabaseSettings]
        return {
            "archiving": {
                "address": fleet.address(host, "data"),
                "port": fleet.settings[BackupSettings].port,
                "stanza": STANZA,
                "repository": repositories[0].id,
                "database_port": database.port,
                "database_files": files(fleet.topology),
            },
            **scratch_pillar(fleet.topology, database, files(fleet.topology), pgbackrest.FILE),
        }

    def spare(self, fleet: Fleet) -> int:
        """The replicas. Which host is the primary, the hosts say themselves."""
        return len(fleet.having(self.name)) - 1

    def certificates(self, fleet: Fleet, host: Host) -> Iterable[Certificate]:
        """One with which PostgreSQL and Patroni serve, and one with which Patroni asks.

        App hosts verify the primary by its role's name, whichever host it is. The second has no
        common name: see the role quorum.
        """
        here = (f"DNS:{host.id}", f"IP:{fleet.address(host, 'data')}")
        yield Certificate("database", (*here, f"DNS:{NAME}"), (SERVER,), (UNIT,))
        yield Certificate("host", here, (CLIENT,), (UNIT,), common_name="")
        if fleet.having("backup"):
            yield backup_certificate(host)

    def rules(
        self, topology: Topology, settings: Settings, sound: Callable[[str], bool]
    ) -> Iterator[str]:
        """Exactly one database host initialises the cluster."""
        if not all(sound(f"{join('hosts', host.id)}.first") for host in topology.hosts):
            return
        databases = topology.having(self.name)
        first = [host for host in databases if host.first]
        if databases and len(first) != 1:
            yield f"hosts: {named(first)} first: true; exactly one database host must have it"
        for host in topology.hosts:
            if host.first and self.name not in host.roles:
                yield f"{join('hosts', host.id)}.first: {without(True, self.name)}"
        slots: dict[str, str] = {}
        for host in databases:
            owner = slots.setdefault(host.id.replace("-", "."), host.id)
            if owner != host.id:
                same = f"Patroni gives it the same replication slot as {owner}"
                yield f"{join('hosts', host.id)}: {same}; choose another id"

    def exporters(self, fleet: Fleet, host: Host) -> Iterable[Exporter]:
        """Patroni's own numbers, at its REST interface."""
        port = fleet.settings[DatabaseSettings].rest_port
        connect = host_port(fleet.address(host, "data"), port)
        yield Exporter(UNIT, connect, known_as=host.id)

    def alerts(self, fleet: Fleet) -> Iterable[Alert]:
        """A replica is slower than the primary, or the primary does not stay where it is."""
        most = fleet.settings[DatabaseSettings].maximum_lag
        yield Alert(
            "ReplicaSlow",
            f"patroni_xlog_received_location - patroni_xlog_replayed_location > {most}",
            10,
            "{{ $labels.instance }}: it receives changes faster than it can apply them.",
        )
        yield Alert(
            "PrimaryChanges",
            "sum(changes(patroni_primary[1h])) > 4",
            0,
            "The primary database has changed more than twice within an hour.",
        )

    def graphs(self) -> Iterable[Graph]:
        """How much the primary writes, and how far the replicas are behind."""
        written = "clamp_min(deriv(max(patroni_xlog_location > 0)[5m:]), 0)"
        yield Graph("WAL of the primary", written, (), "bytes per second")
        behind = (
            "clamp_min(scalar(max(patroni_xlog_location)) - patroni_xlog_replayed_location, 0)"
            " and on (instance) patroni_replica == 1"
        )
        yield Graph("WAL that a replica misses", behind, ("instance",), "bytes")

    def evidence(self, data: MasterData, host: Host) -> Iterable[Look]:
        """The packages of Patroni, and how applications reach their databases."""
        yield Look("X10", "environment", {"path": ENVIRONMENT})
        port = data.fleet.settings[DatabaseSettings].port
        names = list(data.fleet.topology.applications)
        yield Look("S6", "access", {"port": port, "applications": names})

    def checks(
        self, fleet: Fleet, host: Host, definitions: Mapping[str, Mapping[str, Any]]
    ) -> list[Check]:
        """The member works, one member leads, and a commit waits for a second host.

        A database of an application that has left the topology is a notice.
        """
        settings = fleet.settings[DatabaseSettings]
        found = [
            Check(
                "patroni",
                {
                    "address": fleet.address(host, "data"),
                    "port": settings.rest_port,
                    "maximum_lag": settings.maximum_lag,
                    "synchronous": settings.synchronous_mode and len(fleet.having(self.name)) > 1,
                    "host": host.id,
                },
                needs={"patroni": (self.name,), "synchronous standby": (self.name,)},
                decides=True,
            )
        ]
        names = list(fleet.topology.applications)
        found.append(Check("leftover", {"port": settings.port, "applications": names}))
        found += _jobs(fleet, definitions)
        archived = dict(ARCHIVED) if fleet.having("backup") else {}
        found.append(Check("parameters", {"port": settings.port, "archiving": archived}))
        if fleet.having("backup"):
            port = {"port": settings.port}
            found.append(Check("archiving", port, "O9", needs={"archiving": ("backup",)}))
            kept = {"stanza": STANZA, "files": files(fleet.topology), "record": pgbackrest.GIVEN_UP}
            needs = {"gap in the WAL": ("backup",)}
            found.append(Check("kept_wal", {**port, **kept}, "O9", needs=needs))
        return found

"""App hosts: an application behind nginx, with the volume and the way to the database."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from salina.application import copy, odoo
from salina.application.odoo import LEAST_LIMIT
from salina.application.release import STORE
from salina.database import records
from salina.storage import gluster
from salina_fleet import edge, report, secrets
from salina_fleet.kinds import KINDS
from salina_fleet.model import files_backup, release
from salina_fleet.model.backup import BackupSettings
from salina_fleet.platforms import PLATFORMS, named_for_postgresql
from salina_fleet.role import (
    CLIENT,
    LOOPBACK,
    NAMED,
    RESERVED_BELOW,
    SERVER,
    UNPRIVILEGED,
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
)
from salina_fleet.roles import database, storage
from salina_fleet.roles.database import DatabaseSettings, RouteSettings
from salina_fleet.roles.storage import StorageSettings
from salina_fleet.schema.declare import flag, given, number, text
from salina_fleet.schema.document import join, rest
from salina_fleet.schema.faults import invalid

if TYPE_CHECKING:
    from salina_fleet.fleet import Fleet
    from salina_fleet.model.settings import Settings
    from salina_fleet.model.topology import Host, Topology

PORT = 443
"""Where nginx listens for the balancers, with TLS."""
LOCAL_PORT = 80
"""Where nginx listens on loopback, without TLS, for the health agent.

Balancers of earlier versions ask it at the host's address, and an app host that is older than its
balancer keeps this open as long as it is needed (decision 41).
"""
HEALTH_PORT = 8079
"""Where the health agent listens. nginx passes the balancers' checks on to it."""
HEALTH_NAME = "health.invalid"
"""The host name of the balancers' checks; no application can have it, and no client reach it."""
CERTIFICATE = "web"
"""The name of nginx's certificate."""
CHECK_SECONDS = 4
"""For the application's answer; the balancers wait a little longer (`check` of their settings)."""
CA = "/etc/salina/tls/ca.crt"
HAPROXY = Exporter("haproxy", "/run/haproxy/metrics.sock")
"""The numbers of a host's HAProxy, whatever it is for (salt/haproxy)."""
STEPS = "-steps"
"""After an application's name: pgbouncer's pool for one-time steps. No application has a hyphen."""

KEYS = {
    "files": "The shared volume on an app host.",
    "files.mount": "The directory at which the volume is mounted.",
    "files.volume": "The volume's name, null in a fleet without storage hosts.",
    "files.servers": "The storage hosts; the mount asks them in this order.",
    "files.tls": "Whether this host mounts the volume with TLS if the storage hosts use it.",
    "files.options": "The options of the mount.",
    "files.wait": "The seconds that a state or a boot waits for the volume.",
    "database_route": (
        "An app host's way to the current primary: pgbouncer, then HAProxy, both on loopback."
    ),
    "database_route.members": "The database hosts.",
    "database_route.members[].name": "The database host's id.",
    "database_route.members[].address": "The database host's address.",
    "database_route.port": "PostgreSQL's port on the database hosts.",
    "database_route.rest_port": "The port of Patroni's REST interface, which names the primary.",
    "database_route.ca": "The file of the CA's certificate, which verifies the database hosts.",
    "database_route.address": "The loopback address that this name stands for on the host.",
    "database_route.name": "The name that every database host's certificate bears.",
    "database_route.databases": "The databases that the host reaches: its own application's.",
    "database_route.databases[].name": "The database's name.",
    "database_route.databases[].user": "The database's owner, as whom the application logs in.",
    "database_route.databases[].password": "The owner's password.",
    "database_route.steps": (
        "pgbouncer's pool for one-time steps, null for a kind whose steps do not need pgbouncer."
    ),
    "database_route.steps.name": "The name by which a step connects to it.",
    "database_route.steps.size": "The most connections of a step.",
    "database_route.trial": "pgbouncer's pool for the copy of the database in orch.upgrade.",
    "database_route.trial.name": "The copy's name.",
    "database_route.trial.size": "The most connections to it.",
    "database_route.settings": "pillar/settings/database_route.yaml, except the two ports.",
    "app": "The application on an app host, and nginx before it.",
    "app.kind": "The kind of the application: `odoo` or `node`.",
    "app.name": "The name of the application's file in pillar/app.",
    "app.definition": (
        "The content of that file with its defaults, and `source.commit`: the commit that the "
        "master has recorded for `source.revision`, and that every host runs."
    ),
    "app.definition.NAME": "One key of the file; docs/settings.md explains them.",
    "app.address": "The address at which nginx listens.",
    "app.port": "The port at which nginx listens with TLS.",
    "app.local_port": "The port at which nginx listens on loopback, without TLS.",
    "app.health": "The file of the health agent, which answers the balancers' checks.",
    "app.health.application": "How the agent asks the application through nginx.",
    "app.health.application.address": "The address of nginx.",
    "app.health.application.port": "The port of nginx.",
    "app.health.application.path": "The path that answers 200 while the application is healthy.",
    "app.health.application.domain": "The host name in the question.",
    "app.health.application.cookie": "A cookie that the question carries, or null.",
    "app.health.application.timeout": "The seconds that the application has for its answer.",
    "app.health.directory": "The directory on the volume in which the agent writes and reads.",
    "app.health.disks": "A directory of each file system that must have free space.",
    "app.health_port": "The port of the agent, at `app.address`.",
    "app.health_name": "The host name of the balancers' checks, which nginx gives to the agent.",
    "app.others": "Whether other hosts serve the application as well.",
    "app.balancers": "The balancers.",
    "app.balancers[].name": "The balancer's id, which its certificate bears.",
    "app.balancers[].address": (
        "The balancer's address; nginx believes only this one when it names the client."
    ),
    "app.domain": "The host name by which clients call the application.",
    "app.closed": (
        "A regular expression for the paths that nobody reaches through nginx, or null."
    ),
    "app.url": "The URL by which clients call the application.",
    "app.database": "The application's database, as the application reaches it.",
    "app.database.name": "The database's name.",
    "app.database.user": "The role as which the application logs in.",
    "app.database.password": "The role's password.",
    "app.database.host": "The address of pgbouncer: loopback.",
    "app.database.port": "The port of pgbouncer.",
    "app.record": "The login that records which release the database belongs to.",
    "app.record.user": "Its role, which the application cannot become.",
    "app.record.password": "Its password. No file of the host has it.",
    "app.secrets": "The application's own secrets, if its kind and its steps use them.",
    "app.secrets.admin_password": "The password for Odoo's own administration of its databases.",
    "app.secrets.login_password": "The password of the first user, `login` of the definition.",
    "app.reserved_below": (
        "The first port that every process may bind; those below it are for services only."
    ),
    "app.secrets.monitoring_password": "The password of the user `app.watched_as`.",
    "app.watched_as": "The user as whom monitoring logs in, null for a kind that makes none.",
    "app.data": "The application's directory on the shared volume.",
    "app.held": "How long the files that users remove are held; null in a fleet without backups.",
    "app.held.directory": "The directory into which the application moves them.",
    "app.held.days": "The days after which the host deletes them.",
    "app.release": "The release that this host must run.",
    "app.release.name": "Its name: the first digits of the commit, and a digest of its parts.",
    "app.release.directory": "Its directory on this host.",
    "app.release.store": "The directory on the volume with the archives of releases.",
    "app.release.checkouts": (
        "The git repositories from which a host builds the release, first that of `source`."
    ),
    "app.release.checkouts[].directory": "Where the code is in the release; empty: the release.",
    "app.release.checkouts[].repository": "The repository.",
    "app.release.checkouts[].commit": "The commit that the master has recorded.",
    "app.release.checkouts[].submodules": "Whether its submodules are fetched as well.",
    "app.release.checkouts[].key": "The deploy key of a private repository, or null.",
    "app.release.checkouts[].known_hosts": (
        "The public keys of git servers, as lines of a known_hosts file."
    ),
    "app.settings": "pillar/settings/app.yaml.",
}
"""The meanings of the keys of its pillar."""


@dataclass(frozen=True)
class AppSettings(Tuning):
    """The application's processes on one app host, and nginx before them."""

    workers: int | None = number(
        None,
        0,
        256,
        "The worker processes of Odoo; null stands for 1 + 2 for each core, but no more than "
        "pool_size of database_route.yaml and the host's memory allow.",
    )
    cron_threads: int = number(
        1, 0, 16, "The threads that run Odoo's scheduled jobs on each app host."
    )
    database_connections: int = number(
        16, 1, 1000, "The most database connections of one Odoo process."
    )
    limit_memory_soft: int = number(
        2048,
        LEAST_LIMIT,
        1_000_000,
        "The MiB above which Odoo replaces a worker after its request.",
    )
    limit_memory_hard: int = number(
        2560, 128, 1_000_000, "The MiB above which Odoo aborts a worker's request."
    )
    limit_time_cpu: int = number(
        60, 1, 86_400, "The most seconds of processor time that a request of Odoo uses."
    )
    limit_time_real: int = number(
        120, 1, 86_400, "The most seconds that a request takes; nginx waits 60 seconds longer."
    )
    limit_time_cron: int = number(
        900, 1, 86_400, "The most seconds that a scheduled job of Odoo takes."
    )
    limit_time_cron_cpu: int = number(
        600, 1, 86_400, "The most seconds of processor time that a scheduled job of Odoo uses."
    )
    limit_request: int = number(
        8192, 1, 10_000_000, "The requests after which Odoo replaces a worker."
    )
    log_level: Literal["info", "debug", "warn", "error", "critical"] = given(
        default="info", about="How much Odoo logs."
    )
    log_days: int = number(14, 1, 3650, "The days for which an app host keeps its logs.")
    upload: str = text(
        "128m",
        r"(?=0*[1-9])[0-9]{1,6}[km]",  # for nginx 0 stands for no limit
        "a size such as 128m, from 1k to 999999m",
        about="The largest upload that nginx accepts.",
    )
    rpc: bool = flag(
        False, "Whether clients reach the paths by which programs call an application."
    )
    reserve_ports: bool = flag(
        True,
        f"Whether only services can listen on the ports below {RESERVED_BELOW} of an app host; "
        f"otherwise every user can from {UNPRIVILEGED} on.",
    )
    static_cache: int = number(
        60,
        0,
        525_600,
        "The minutes for which nginx and browsers keep static files; with 0 they ask again.",
    )
    npm_registry: str | None = text(
        None,
        r"https?://[^\s/]+(/\S*)?",
        "a URL of HTTP",
        about=(
            "The npm registry for a Node application, and for Odoo's rtlcss; null leaves "
            "/etc/npmrc of the host as it is."
        ),
    )
    releases: int = number(
        3, 1, 100, "How many releases stay on the volume beside the one that runs."
    )
    wait: int = number(
        600, 1, 3600, "The seconds that a state waits for the database or for a one-time step."
    )

    def rules(self) -> Iterator[tuple[str, str]]:
        """A worker is asked to end before it is killed."""
        if self.limit_memory_soft > self.limit_memory_hard:
            words = f"at most limit_memory_hard: {self.limit_memory_hard}"
            yield "limit_memory_soft", invalid(self.limit_memory_soft, words)

    def conflicts(
        self,
        topology: Topology,
        settings: Settings,
        definitions: Mapping[str, Mapping[str, Any]],
    ) -> Iterator[tuple[str, str]]:
        """The processes of each kind of application get the database sessions that they need."""
        for kind in {definition["kind"]: None for definition in definitions.values()}:
            yield from KINDS[kind].conflicts(self, settings[RouteSettings])


class App(Role):
    """A host that serves an application."""

    name = "app"
    order = 60
    tier = 4
    daemons = ("haproxy", "pgbouncer", "nginx", "salina-health", *KINDS)
    column = 3
    links = ("web", "data")
    row = "S12"
    count = (range(1, 10**9), "at least one host or pool must have it")
    pools = True
    serves = True
    settings: ClassVar = {"database_route": RouteSettings, "app": AppSettings}
    reserved_names = (
        *("pgbouncer", "database"),  # backends and databases of the way to the database
        STORE,  # beside the application's directory on the volume
    )
    keys = KEYS
    software: ClassVar = {
        "git": "fetches the commit of the application",
        "logrotate": "rotates the application's log",
        "openssh-client": "reads private repositories with deploy keys",
        "glusterfs-client": "mounts the volume of shared files",
        "haproxy": "the way to the primary database host, whichever it is now",
        "socat": "asks HAProxy's sockets at a reload",
        "pgbouncer": "keeps the application's sessions over a failover of the database",
        **named_for_postgresql("postgresql-client-{}", "psql, for one-time steps and for health"),
        "nginx": "the reverse proxy before the application: TLS from the balancer, static files",
        "restic": "copies users' files to the backup host, in a fleet without storage hosts",
        "salina-files.timer": "starts the copies of users' files, in a fleet without storage hosts",
        "gluster-mount-again.timer": "mounts the volume again after its client died",
        "salina-health.socket": "takes the balancer's questions about the host's health",
        "salina-health": "answers them",
        "salina-held.timer": (
            "removes files that users deleted, after the days that a restore may need them"
        ),
        "salina-log-nginx": "sends nginx's log of requests to the monitoring host",
    }

    def together(self, host: Host) -> str | None:
        """One of the hosts builds the releases of an application for all of them."""
        return f"the application {host.application}" if host.application else None

    def rows(self, topology: Topology, settings: Settings) -> Iterable[Row]:
        """The balancers send requests and health checks."""
        yield Row("balancer", self.name, "web", str(PORT), "requests and health checks, TLS")
        older = "the same without TLS, until the balancer uses it"
        yield Row("balancer", self.name, "web", f"{LOCAL_PORT},{HEALTH_PORT}", older)

    def ports(self, topology: Topology, settings: Settings, host: Host) -> Iterable[Port]:
        """Those on loopback that lead to the database, those of nginx, and that of the agent."""
        route, file = settings[RouteSettings], "pillar/settings/database_route.yaml"
        yield Port(route.listen, "the database route", LOOPBACK, f"{file}: listen")
        yield Port(route.pool_port, "pgbouncer", LOOPBACK, f"{file}: pool_port")
        at = LOOPBACK if "balancer" in host.roles else "web"
        yield Port(PORT, "nginx", at)
        yield Port(LOCAL_PORT, "nginx", LOOPBACK)
        yield Port(HEALTH_PORT, "the health agent", at)

    def pillar(self, data: MasterData, host: Host) -> Pillar:
        """Return the volume's mount, the way to the database, and the application."""
        fleet, settings = data.fleet, data.fleet.settings
        application = fleet.topology.served_by(host)
        name, definition = application.name, data.definitions[application.definition]
        kind, source = KINDS[definition["kind"]], definition["source"]
        password = data.secrets.get(secrets.own(name, "database"))
        own = settings[AppSettings]
        files, postgresql = settings[StorageSettings], settings[DatabaseSettings]
        built = release.pillar(data, name, files.mount)
        commit = built["checkouts"][0]["commit"]
        servers = [peer.id for peer in storage.holding(fleet)]
        data_directory = f"{files.mount}/{name}"
        route = asdict(settings[RouteSettings])
        listen, pool_port = route.pop("listen"), route.pop("pool_port")
        return {
            "files": {
                "mount": files.mount,
                "volume": storage.volume(application, files) if servers else None,
                "servers": servers,
                "tls": bool(servers) and files.tls,
                "options": gluster.mount_options(servers, storage.family(fleet)),
                "wait": files.wait,
            },
            "database_route": {
                "members": fleet.listed("database", "data"),
                "port": postgresql.port,
                "rest_port": postgresql.rest_port,
                "listen": listen,
                "pool_port": pool_port,
                "ca": CA,
                "name": database.NAME,
                "address": PLATFORMS[host.platform].route,
                "databases": [{"name": name, "user": name, "password": password}],
                "steps": steps_pool(name) if kind.steps_through_pgbouncer else None,
                "trial": {"name": copy.name(name), "size": odoo.FEW + 1},
                "settings": route,
            },
            "app": {
                "kind": definition["kind"],
                "name": application.definition,
                "definition": {**definition, "source": {**source, "commit": commit}},
                "address": address(fleet, host),
                "port": PORT,
                "local_port": LOCAL_PORT,
                "balancers": [
                    {
                        "name": one.id,
                        "address": LOOPBACK if one.id == host.id else fleet.address(one, "web"),
                    }
                    for one in fleet.having("balancer")
                ],
                "domain": application.domain,
                "closed": edge.closed(definition, settings[AppSettings].rpc),
                "url": fleet.topology.url(application),
                "database": {
                    "name": name,
                    "user": name,
                    "password": password,
                    "host": LOOPBACK,
                    "port": pool_port,
                },
                "record": {
                    "user": records.role(name),
                    "password": data.secrets.get(secrets.own(name, secrets.RECORD)),
                },
                "health": {
                    "application": {
                        "address": LOOPBACK,
                        "port": LOCAL_PORT,
                        "path": definition["health"]["path"],
                        "domain": application.domain,
                        "cookie": definition["health"]["cookie"],
                        "timeout": CHECK_SECONDS,
                    },
                    "directory": data_directory,
                    "disks": ["/", "/tmp", "/var"],
                },
                "health_port": HEALTH_PORT,
                "health_name": HEALTH_NAME,
                "reserved_below": RESERVED_BELOW if own.reserve_ports else UNPRIVILEGED,
                "others": len(fleet.serving(name)) > 1,
                "secrets": {
                    f"{purpose}_password": data.secrets.get(secrets.own(name, purpose))
                    for purpose in (
                        *kind.passwords(definition),
                        *report.passwords(fleet, application, kind),
                    )
                },
                "watched_as": kind.watched_as,
                "data": data_directory,
                "held": held(fleet, data_directory),
                "release": built,
                "settings": asdict(settings[AppSettings]),
            },
            **({} if servers else files_backup.pillar(data, host)),
        }

    def certificates(self, fleet: Fleet, host: Host) -> Iterable[Certificate]:
        """One by which the balancers know this host, and one by which the volume knows it.

        A storage host has the latter already.
        """
        yield Certificate(CERTIFICATE, (f"DNS:{host.id}",), (SERVER,), ("nginx",))
        peers = fleet.having("storage")
        if peers and host not in peers and fleet.settings[StorageSettings].tls:
            yield storage.certificate(CLIENT)
        if not peers:
            yield from files_backup.certificate(fleet, host)

    def names_here(self, fleet: Fleet, host: Host) -> Mapping[str, str]:
        """The application finds the primary on loopback, whichever host it is."""
        return {database.NAME: PLATFORMS[host.platform].route}

    def rules(
        self, topology: Topology, settings: Settings, sound: Callable[[str], bool]
    ) -> Iterator[str]:
        """Each application has hosts, and if it has several, they share their files."""
        paths = [f"{join('hosts', host.id)}.application" for host in topology.hosts]
        served = {host.application for host in topology.hosts}
        served |= {pool.application for pool in topology.pools.values()}
        if served <= {None} or not sound("pools") or not all(map(sound, paths)):
            return
        for name in topology.applications:
            if name not in served:
                server = f"a host or a pool with role {self.name} and `application: {name}`"
                yield f"{join('applications', name)}: no host serves it; add {server}"
        if not topology.having(storage.Storage.name):
            yield from _apart(topology)

    def triggers(self, fleet: Fleet, host: Host) -> Iterable[str]:
        """The agent's socket, and the timers that care for the files."""
        yield "salina-health.socket"
        yield from ["salina-held.timer"] * bool(held(fleet, ""))
        yield from ["gluster-mount-again.timer"] * bool(fleet.having(storage.Storage.name))
        yield from files_backup.triggers(fleet, host)

    def checks(
        self, fleet: Fleet, host: Host, definitions: Mapping[str, Mapping[str, Any]]
    ) -> list[Check]:
        """The way to the database, the agent's view, and the process for long requests."""
        application = fleet.topology.served_by(host)
        definition = definitions[application.definition]
        live, settings = definition["live"], fleet.settings
        pool = {
            "port": settings[RouteSettings].pool_port,
            "login": f"/etc/{definition['kind']}/health.json",
        }
        volume = {"path": settings[StorageSettings].mount}
        bricks = {"mount": (storage.Storage.name,)}
        return [
            Check("haproxy", needs={"haproxy database": (database.Database.name,)}),
            Check(
                "agent",
                needs={
                    "database": (database.Database.name,),
                    "files": (storage.Storage.name,),
                    "app": (database.Database.name, storage.Storage.name),
                },
                decides=True,
            ),
            Check("queue", pool, "S6", needs={"queue": (database.Database.name,)}),
            *(
                [Check("mount", volume, "S4", needs=bricks, alone=("mount",))]
                if fleet.having(storage.Storage.name)
                else []
            ),
            *([Check("live", {"port": live["port"]}, "O7")] if live else []),
        ]

    def exporters(self, fleet: Fleet, host: Host) -> Iterable[Exporter]:
        """The way to the database."""
        yield HAPROXY

    def alerts(self, fleet: Fleet) -> Iterable[Alert]:
        """An application that keeps all of its sessions makes its requests wait."""
        route = fleet.settings[RouteSettings]
        most = route.pool_size + route.postgres_pool_size
        yield Alert(
            "SessionsUsedUp",
            f'haproxy_backend_current_sessions{{proxy="database"}} > 0.9 * {most}',
            15,
            "{{ $labels.instance }}: nearly all of its sessions of the database are in use.",
        )

    def graphs(self) -> Iterable[Graph]:
        """The sessions that each host has at the primary."""
        sessions = 'haproxy_backend_current_sessions{proxy="database"}'
        yield Graph("Sessions of the database", sessions, ("instance",), "number")

    def evidence(self, data: MasterData, host: Host) -> Iterable[Look]:
        """The mount, the places of code, TLS, the ports, the logs, the release and the packages."""
        fleet, application = data.fleet, data.fleet.topology.served_by(host)
        definition = data.definitions[application.definition]
        volume = fleet.settings[StorageSettings].mount
        if fleet.having("storage"):
            yield Look("X1", "mount", {"path": volume})
            servers = [one.id for one in storage.holding(fleet)]
            name = storage.volume(application, fleet.settings[StorageSettings])
            yield Look("S4", "mounted", {"path": volume, "volume": name, "servers": servers})
        code = list(KINDS[definition["kind"]].code)
        yield Look("X2", "local", {"paths": code, "volume": volume})
        if fleet.settings[AppSettings].reserve_ports:
            yield Look("X8", "ports", {"below": RESERVED_BELOW})
        here = address(fleet, host)
        plain = None if here == LOOPBACK else LOCAL_PORT
        asked = {"address": here, "port": PORT, "name": host.id, "plain": plain}
        yield Look("X7", "encrypted", asked)
        yield Look("X8", "logs", {"folder": "/var/log/nginx"})
        wanted = release.wanted(data, application.name)
        yield Look("X10", "runs", {"link": code[0], "wanted": wanted})
        kind = KINDS[definition["kind"]]
        if path := kind.environment:
            yield Look("X10", "environment", {"path": path})
        commit = next(iter(release.commits(data, application.name).values()))
        yield Look("O8", "waiting", {"link": code[0]})
        yield Look("S9", "steps", {"wanted": kind.steps(definition[kind.name], commit)})
        if paths := kind.shared(definition[kind.name]):
            directory = f"{volume}/{application.name}"
            yield Look("S5", "shared", {"paths": paths, "directory": directory})
        yield Look(kind.rows[0], "checkout", {"link": code[0], "commit": commit})
        yield Look(kind.rows[1], "kept", {"name": kind.name, "user": kind.name})
        asked = {"port": LOCAL_PORT, "domain": application.domain}
        yield from kind.evidence(definition, application.name, fleet.settings[AppSettings], asked)


def _apart(topology: Topology) -> Iterator[str]:
    """Yield each application with several hosts, in a fleet without storage hosts."""
    served: dict[str, list[str]] = {name: [] for name in topology.applications}
    counts: Counter[str] = Counter()
    for host in topology.hosts:
        if host.application in served:
            served[host.application].append(host.id)
            counts[host.application] += 1
    for pool in topology.pools.values():
        if pool.application in served:
            served[pool.application].append(f"the pool {pool.name} with up to {pool.maximum}")
            counts[pool.application] += pool.maximum
    for name, count in counts.items():
        if count > 1:
            listed = ", ".join([*served[name][:NAMED], *rest(served[name], NAMED)])
            yield (
                f"{join('applications', name)}: {count} hosts can serve it ({listed}), and no "
                "host has role storage, so each of them would keep other files; add hosts with "
                "role storage, or let one host serve it"
            )


def held(fleet: Fleet, directory: str) -> Pillar | None:
    """Return how long removed files are held; None in a fleet without backups.

    A removed file is still there while the database can be restored to a moment before its removal.

    Args:
        fleet: the fleet.
        directory: the application's directory on the volume.
    """
    if not fleet.having("backup"):
        return None
    return {
        "directory": f"{directory}/held",
        "days": fleet.settings[BackupSettings].keep_days + 1,
    }


def steps_pool(name: str) -> Pillar:
    """Return pgbouncer's pool for the one-time steps of an application."""
    return {"name": f"{name}{STEPS}", "size": database.STEP}


def address(fleet: Fleet, host: Host) -> str:
    """Return where an app host's nginx listens.

    On the balancer's own host it is loopback, since the balancer may have the same address and the
    same port there.
    """
    return LOOPBACK if "balancer" in host.roles else fleet.address(host, "web")

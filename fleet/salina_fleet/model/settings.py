"""How each part is tuned: pillar/settings/<component>.yaml as typed dataclasses with defaults.

A file may be missing or empty; what it does not name keeps its default. An unknown key or a
value of the wrong kind is a fault with file and path. Durations are written as the daemons
write them (`500ms`, `5s`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_type_hints

from salina_fleet.schema import document
from salina_fleet.schema.declare import Scalar, duration, number, path, read, text, values
from salina_fleet.schema.document import DataError
from salina_fleet.schema.faults import invalid, unknown

NAME = r"[a-z][a-z0-9_]{0,30}"


class SettingsError(DataError):
    """Settings with faults: `source` (the folder) and `faults` (one line each)."""


def seconds(duration: str) -> float:
    """Return a duration in seconds: 0.5 for 500ms."""
    unit = duration.lstrip("0123456789")
    return int(duration.removesuffix(unit)) * {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}[unit]


PARAMETERS: Mapping[str, Scalar] = {
    "max_connections": 300,
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
    "idle_in_transaction_session_timeout": "10min",
    # an app host that lost its power says nothing: its sessions, and their locks, end in 25 s
    "tcp_keepalives_idle": 10,
    "tcp_keepalives_interval": 5,
    "tcp_keepalives_count": 3,
}
"""PostgreSQL's own parameters, for a small host with a standby."""


@dataclass(frozen=True)
class Storage:
    """GlusterFS: one volume over all hosts with role storage, mounted on the app hosts."""

    replica: int | None = number(None, 1, 9)
    volume: str = text("nas", NAME, "a name of letters, digits and _")
    brick: str = path("/nas")
    mount: str = path("/mnt/nas")
    ping_timeout: int = number(5, 1, 600)
    max_port: int = number(49251, 49160, 60999)
    wait: int = number(300, 1, 3600)
    options: dict[str, Scalar] = values({})


@dataclass(frozen=True)
class Quorum:
    """etcd on the hosts with role quorum."""

    client_port: int = number(2379, 1, 65535)
    peer_port: int = number(2380, 1, 65535)
    heartbeat_interval: int = number(100, 10, 10_000)
    election_timeout: int = number(1000, 50, 50_000)
    wait: int = number(300, 1, 3600)


@dataclass(frozen=True)
class Database:
    """PostgreSQL under Patroni. The defaults are what was measured (design, Database)."""

    version: int = number(15, 13, 99)
    port: int = number(5432, 1, 65535)
    rest_port: int = number(8008, 1, 65535)
    ttl: int = number(20, 20, 3600)
    loop_wait: int = number(1, 1, 600)
    retry_timeout: int = number(3, 3, 600)
    primary_start_timeout: int = number(0, 0, 3600)
    maximum_lag_on_failover: int = number(1_048_576, 0, 2**40)
    synchronous_mode: bool = True
    failsafe_mode: bool = True
    check_timeline: bool = True
    wait: int = number(300, 1, 3600)
    parameters: dict[str, Scalar] = values(PARAMETERS)


@dataclass(frozen=True)
class DatabaseRoute:
    """An app host's way to the current primary: pgbouncer, then HAProxy, both on loopback.

    While there is no primary, HAProxy tries again `retries` times, each after `connect`: together
    longer than `query_wait_timeout`, for which pgbouncer lets its clients wait.
    """

    listen: int = number(5433, 1, 65535)
    pool_port: int = number(6432, 1, 65535)
    pool_size: int = number(25, 1, 1000)
    max_clients: int = number(400, 1, 100_000)
    query_wait_timeout: int = number(60, 1, 3600)
    server_login_retry: int = number(1, 1, 60)
    connect: str = duration("300ms")
    check: str = duration("2s")
    inter: str = duration("500ms")
    fastinter: str = duration("250ms")
    fall: int = number(2, 1, 100)
    rise: int = number(1, 1, 100)
    retries: int = number(250, 0, 10_000)


@dataclass(frozen=True)
class App:
    """The application's processes on one app host, and nginx before them."""

    workers: int | None = number(None, 0, 256)
    cron_threads: int = number(1, 0, 16)
    database_connections: int = number(16, 1, 1000)
    limit_memory_soft: int = number(2048, 128, 1_000_000)
    limit_memory_hard: int = number(2560, 128, 1_000_000)
    limit_time_cpu: int = number(60, 1, 86_400)
    limit_time_real: int = number(120, 1, 86_400)
    limit_request: int = number(8192, 1, 10_000_000)
    log_level: Literal["info", "debug", "warn", "error", "critical"] = "info"
    log_days: int = number(14, 1, 3650)
    upload: str = text("128m", r"[0-9]{1,6}[km]", "a size such as 128m")
    static_cache: int = number(60, 0, 525_600)
    npm_registry: str | None = text(None, r"https?://[^\s/]+(/\S*)?", "a URL of HTTP")
    wait: int = number(600, 1, 3600)


@dataclass(frozen=True)
class Balancer:
    """HAProxy before the app hosts."""

    balance: Literal["roundrobin", "leastconn", "load"] = "roundrobin"
    maxconn: int = number(4096, 10, 30_000)
    connect: str = duration("3s")
    client: str = duration("60s")
    server: str = duration("300s")
    tunnel: str = duration("1h")
    queue: str = duration("30s")
    http_request: str = duration("10s")
    check: str = duration("5s")
    inter: str = duration("2s")
    fastinter: str = duration("500ms")
    fall: int = number(2, 1, 100)
    rise: int = number(2, 1, 100)
    slowstart: str = duration("10s")
    retries: int = number(2, 0, 10)
    drain: int = number(60, 0, 3600)
    hsts: int = number(31_536_000, 0, 63_072_000)


@dataclass(frozen=True)
class Autoscale:
    """A pool that grows and shrinks by its load. Loads are requests under way on each host, times
    seconds.
    """

    enabled: bool = False
    pool: str = text("app", NAME, "a name of letters, digits and _")
    above: int = number(20, 1, 100_000)
    below: int = number(8, 0, 100_000)
    time: int = number(180, 10, 86_400)
    cooling: int = number(600, 0, 86_400)
    least: int | None = number(None, 1, 10_000)
    most: int | None = number(None, 1, 10_000)


@dataclass(frozen=True)
class Firewall:
    """ufw on every host."""

    logging: Literal["off", "low", "medium", "high", "full"] = "low"


@dataclass(frozen=True)
class Tls:
    """The hosts' certificates, in days: how long they last, how long before the end they are
    renewed, and how long the CA lasts.
    """

    days: int = number(90, 2, 825)
    renew_days: int = number(30, 1, 400)
    ca_days: int = number(3650, 30, 7300)


@dataclass(frozen=True)
class Settings:
    """All components' settings."""

    storage: Storage = Storage()
    quorum: Quorum = Quorum()
    database: Database = Database()
    database_route: DatabaseRoute = DatabaseRoute()
    app: App = App()
    balancer: Balancer = Balancer()
    autoscale: Autoscale = Autoscale()
    firewall: Firewall = Firewall()
    tls: Tls = Tls()


COMPONENTS: Mapping[str, type[Any]] = get_type_hints(Settings)


def load(folder: str | Path) -> Settings:
    """Return the settings in the folder's *.yaml.

    Raises:
        SettingsError: with the faults of all files.
    """
    faults: list[str] = []
    contents: dict[str, object] = {}
    for file in sorted(Path(folder).glob("*.yaml")):
        if file.stem not in COMPONENTS:
            faults.append(_unknown(file.stem))
            continue
        try:
            contents[file.stem] = document.read(file)
        except DataError as error:
            faults += [f"{file.name}: {fault}" for fault in error.faults]
            contents[file.stem] = error.data
    try:
        settings = parse(contents, str(folder))
    except SettingsError as error:
        faults += error.faults
    if faults:
        raise SettingsError(str(folder), faults)
    return settings


def parse(data: Mapping[str, object], source: str = "settings") -> Settings:
    """Return the settings that `data` gives.

    Args:
        data: component -> its file's content; None for a file that is empty.
        source: what the settings are called in messages.

    Raises:
        SettingsError: with every fault.
    """
    faults: list[str] = []
    parts = {}
    for component, content in data.items():
        if component not in COMPONENTS:
            faults.append(_unknown(component))
        elif content is not None:
            parts[component], found = read(COMPONENTS[component], content)
            faults += [f"{component}.yaml: {fault}" for fault in found.lines]
    settings = Settings(**parts)
    if not faults:
        faults = list(_across(settings))
    if faults:
        raise SettingsError(source, faults)
    return settings


def _unknown(component: str) -> str:
    return f"{component}.yaml: {unknown((f'{name}.yaml' for name in COMPONENTS), 'file')}"


def _across(settings: Settings) -> Iterable[str]:
    tls = settings.tls
    if tls.renew_days >= tls.days:
        yield f"tls.yaml: renew_days: {invalid(tls.renew_days, f'less than days: {tls.days}')}"
    app = settings.app
    if app.limit_memory_soft > app.limit_memory_hard:
        words = f"at most limit_memory_hard: {app.limit_memory_hard}"
        yield f"app.yaml: limit_memory_soft: {invalid(app.limit_memory_soft, words)}"
    autoscale = settings.autoscale
    if autoscale.below >= autoscale.above:
        words = f"less than above: {autoscale.above}"
        yield f"autoscale.yaml: below: {invalid(autoscale.below, words)}"
    timeout, least = settings.quorum.election_timeout, 5 * settings.quorum.heartbeat_interval
    if timeout < least:
        words = f"at least 5 * heartbeat_interval: {least}"
        yield f"quorum.yaml: election_timeout: {invalid(timeout, words)}"
    database = settings.database
    least = database.loop_wait + 2 * database.retry_timeout  # Patroni's own rule
    if database.ttl < least:
        words = f"at least loop_wait + 2 * retry_timeout: {least}"
        yield f"database.yaml: ttl: {invalid(database.ttl, words)}"

"""How each part is tuned: pillar/settings/<component>.yaml as typed dataclasses with defaults.

A file may be missing or empty; what it does not name keeps its default. An unknown key or a
value of the wrong kind is a fault with file and path. Durations are written as the daemons
write them (`500ms`, `5s`).
"""

from __future__ import annotations

import dataclasses
import re
import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from salina_fleet.schema import document
from salina_fleet.schema.document import DataError, join, show

Scalar = str | int | float | bool

DURATION = r"[0-9]{1,6}(ms|s|m|h)"
PATH = r"(/[A-Za-z0-9._-]+)+"
NAME = r"[a-z][a-z0-9_]{0,30}"


class SettingsError(DataError):
    """Settings with faults: `source` (the folder) and `faults` (one line each)."""


def number(default: int, low: int, high: int) -> Any:
    """A setting that is a whole number from `low` to `high`."""
    return field(default=default, metadata={"low": low, "high": high})


def text(default: str, rule: str, allowed: str) -> Any:
    """A setting that is text matching `rule`; `allowed` says so to the operator."""
    return field(default=default, metadata={"rule": rule, "allowed": allowed})


def duration(default: str) -> Any:
    """A setting that is a duration such as 500ms or 5s."""
    return text(default, DURATION, "a duration such as 500ms or 5s")


def seconds(duration: str) -> float:
    """A duration in seconds: 500ms is 0.5."""
    unit = duration.lstrip("0123456789")
    return int(duration.removesuffix(unit)) * {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}[unit]


def path(default: str) -> Any:
    """A setting that is an absolute path."""
    return text(default, PATH, "an absolute path")


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

    replica: int | None = field(default=None, metadata={"low": 1, "high": 9})
    volume: str = text("nas", NAME, "a name of letters, digits and _")
    brick: str = path("/nas")
    mount: str = path("/mnt/nas")
    ping_timeout: int = number(5, 1, 600)
    max_port: int = number(49251, 49160, 60999)
    wait: int = number(300, 1, 3600)
    options: dict[str, Scalar] = field(default_factory=dict)


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
    parameters: dict[str, Scalar] = field(default_factory=lambda: dict(PARAMETERS))


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

    workers: int | None = field(default=None, metadata={"low": 0, "high": 256})
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
    npm_registry: str | None = field(
        default=None, metadata={"rule": r"https?://[^\s/]+(/\S*)?", "allowed": "a URL of HTTP"}
    )
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
    least: int | None = field(default=None, metadata={"low": 1, "high": 10_000})
    most: int | None = field(default=None, metadata={"low": 1, "high": 10_000})


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
    """The settings in the folder's *.yaml. Raises SettingsError with the faults of all files."""
    faults: list[str] = []
    given: dict[str, object] = {}
    for file in sorted(Path(folder).glob("*.yaml")):
        if file.stem not in COMPONENTS:
            faults.append(f"{file.name}: unknown, allowed is {_names(COMPONENTS)}")
            continue
        try:
            given[file.stem] = document.read(file)
        except DataError as error:
            faults += [f"{file.name}: {fault}" for fault in error.faults]
            given[file.stem] = error.data
    try:
        settings = parse(given, str(folder))
    except SettingsError as error:
        faults += error.faults
    if faults:
        raise SettingsError(str(folder), faults)
    return settings


def parse(data: Mapping[str, object], source: str = "settings") -> Settings:
    """The settings that `data` (component -> its file's content) gives. Raises SettingsError."""
    faults: list[str] = []
    parts = {}
    for component, content in data.items():
        if component not in COMPONENTS:
            faults.append(f"{component}.yaml: unknown, allowed is {_names(COMPONENTS)}")
            continue
        parts[component] = _component(COMPONENTS[component], content, f"{component}.yaml", faults)
    settings = Settings(**parts) if not faults else Settings()
    if not faults:
        faults = list(_across(settings))
    if faults:
        raise SettingsError(source, faults)
    return settings


def _across(settings: Settings) -> Iterable[str]:
    if settings.tls.renew_days >= settings.tls.days:
        days = settings.tls.days
        yield f"tls.yaml: renew_days: {settings.tls.renew_days}, allowed is less than days: {days}"
    app = settings.app
    if app.limit_memory_soft > app.limit_memory_hard:
        allowed = f"at most limit_memory_hard: {app.limit_memory_hard}"
        yield f"app.yaml: limit_memory_soft: {app.limit_memory_soft}, allowed is {allowed}"
    autoscale = settings.autoscale
    if autoscale.below >= autoscale.above:
        allowed = f"less than above: {autoscale.above}"
        yield f"autoscale.yaml: below: {autoscale.below}, allowed is {allowed}"
    timeout, least = settings.quorum.election_timeout, 5 * settings.quorum.heartbeat_interval
    if timeout < least:
        allowed = f"5 times heartbeat_interval and more: {least}"
        yield f"quorum.yaml: election_timeout: {timeout}, allowed is {allowed}"
    database = settings.database
    least = database.loop_wait + 2 * database.retry_timeout  # Patroni's own rule
    if database.ttl < least:
        allowed = f"loop_wait + 2 * retry_timeout and more: {least}"
        yield f"database.yaml: ttl: {database.ttl}, allowed is {allowed}"


def _names(names: Iterable[str]) -> str:
    return ", ".join(names)


def _component(kind: type[Any], content: object, source: str, faults: list[str]) -> Any:
    if content is None:
        return kind()
    if not isinstance(content, Mapping):
        faults.append(f"{source}: {show(content)}, allowed is a mapping")
        return kind()
    hints = get_type_hints(kind)
    fields = {item.name: item for item in dataclasses.fields(kind)}
    values = {}
    for key, value in content.items():
        if key not in fields:
            faults.append(f"{source}: {join('', key)}: unknown, allowed is {_names(fields)}")
            continue
        if get_origin(hints[key]) is dict and isinstance(value, Mapping):
            faults += [
                f"{source}: {join(key, name)}: {show(item)}, allowed is a plain value"
                for name, item in value.items()
                if not isinstance(item, (str, int, float, bool))
            ]
        elif allowed := _misfit(hints[key], fields[key].metadata, value):
            faults.append(f"{source}: {key}: {show(value)}, allowed is {allowed}")
            continue
        values[key] = _merged(fields[key], value)
    return kind(**values)


def _merged(item: dataclasses.Field[Any], value: Any) -> Any:
    if isinstance(value, Mapping) and callable(item.default_factory):
        return {**item.default_factory(), **value}
    return value


def _misfit(hint: Any, limits: Mapping[str, Any], value: object) -> str | None:
    """What is allowed instead of `value`; None when it fits."""
    if get_origin(hint) in (Union, types.UnionType) and type(None) in get_args(hint):
        if value is None:
            return None
        wanted = _misfit(get_args(hint)[0], limits, value)
        return f"{wanted}, or null" if wanted else None
    if get_origin(hint) is Literal:
        return None if value in get_args(hint) else _names(get_args(hint))
    if get_origin(hint) is dict:
        return "a mapping of names to plain values"
    if hint is bool:
        return None if isinstance(value, bool) else "true or false"
    if hint is int:
        low, high = limits["low"], limits["high"]
        fits = isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
        return None if fits else f"a number from {low} to {high}"
    fits = isinstance(value, str) and re.fullmatch(limits["rule"], value) is not None
    return None if fits else str(limits["allowed"])

"""Settings that contradict each other, the topology or an application are refused (S6, B9, K5)."""

from __future__ import annotations

from typing import Any

import pytest

from salina.application import odoo
from salina_fleet.model import parameters, settings
from salina_fleet.model.settings import COMPONENTS, Settings
from salina_fleet.model.topology import parse
from salina_fleet.platforms import PLATFORMS
from salina_fleet.roles import database
from salina_fleet.roles.app import AppSettings
from salina_fleet.roles.database import DatabaseSettings, RouteSettings
from tests import fleets
from tests.render.minion import GRAINS, Minion

EVERY = ["default", *fleets.OTHERS]
ROUTE = "pillar/settings/database_route.yaml"


def conflicts(own: Settings, name: str = "default", application: str = "") -> list[str]:
    """The conflicts of settings with a fleet, and with one of the repository's applications."""
    topology = fleets.topology(name)
    definitions = fleets.definitions(topology)
    if application:
        definitions = {application: fleets.definition(application)}
    return [
        f"{component}.yaml: {key}: {message}"
        for component, kind in COMPONENTS.items()
        for key, message in own[kind].conflicts(topology, own, definitions)
    ]


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("application", ["", *fleets.APPLICATIONS])
def test_k5_the_defaults_fit_every_fleet(name: str, application: str) -> None:
    """K5: No topology of the tests makes the defaults contradict each other."""
    assert conflicts(fleets.settings(), name, application) == []


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("cores", [1, 2, 6, 64])
def test_k5_the_defaults_fit_every_host(name: str, cores: int) -> None:
    """K5: Every app host of every fleet has as many workers as its pool has sessions for."""
    for host in fleets.fleet(name).having("app"):
        pillar = fleets.pillar(host.id, name)
        route, app = pillar["database_route"]["settings"], pillar["app"]["settings"]
        number = odoo.workers(app, route["pool_size"], cores, GRAINS["mem_total"])
        needed = odoo.sessions(number, app["cron_threads"], app["database_connections"])
        assert needed <= route["pool_size"]
        assert odoo.obstacle(app, GRAINS["mem_total"], number) == ""


@pytest.mark.parametrize(
    ("name", "number"),
    [("default", 350), ("two-applications", 680), ("five-apps", 3353), ("one-host", 100)],
)
def test_s6_max_connections_follow_from_the_pools(name: str, number: int) -> None:
    """S6: PostgreSQL accepts what all app hosts may hold while every pool has its maximum."""
    fleet = fleets.fleet(name)
    (first, *_) = fleet.having("database")
    parameters = fleets.pillar(first.id, name)["database"]["parameters"]
    assert parameters["max_connections"] == number
    hosts = [host for host in fleet.topology.everyone() if host.application]
    route = fleet.settings[RouteSettings]
    each = route.pool_size + route.postgres_pool_size + database.OWN_PATH
    assert len(hosts) * each <= number - database.RESERVED


@pytest.mark.parametrize("name", EVERY)
def test_x8_one_role_leaves_the_others_their_connections(name: str) -> None:
    """X8: A role has what its hosts' pools need, and never what the cluster reserves."""
    fleet = fleets.fleet(name)
    (first, *_) = fleet.having("database")
    pillar = fleets.pillar(first.id, name)["database"]
    route = fleet.settings[RouteSettings]
    each = route.pool_size + route.postgres_pool_size + database.OWN_PATH
    limits = {one["name"]: one["connections"] for one in pillar["applications"]}
    for application, limit in limits.items():
        hosts = [one for one in fleet.topology.everyone() if one.application == application]
        assert limit == len(hosts) * each + database.ROLE_RESERVED
    one_too_many = max(limits.values())
    left = pillar["parameters"]["max_connections"] - one_too_many
    others = sum(limit - database.ROLE_RESERVED for limit in limits.values())
    others -= one_too_many - database.ROLE_RESERVED
    assert left - others >= database.RESERVED - database.ROLE_RESERVED


def test_x8_connections_are_logged_and_statements_are_not() -> None:
    """X8: PostgreSQL logs who connects; the data of statements stay out of the log."""
    parameters = fleets.pillar("bbdd1")["database"]["parameters"]
    assert parameters["log_connections"] is parameters["log_disconnections"] is True
    assert "log_statement" not in parameters


def test_s6_a_given_number_of_connections_stays() -> None:
    """S6: The operator's own max_connections is the pillar's, if it is enough."""
    own = settings.parse({"database": {"parameters": {"max_connections": 500}}})
    assert conflicts(own) == []
    parameters = fleets.pillar("bbdd1", own=own)["database"]["parameters"]
    assert (parameters["max_connections"], parameters["work_mem"]) == (500, "8MB")


def test_s6_pgbouncer_bounds_both_pools() -> None:
    """S6: The application's own pool and that of the database postgres have their sizes."""
    conf = dict(Minion("s1", fleets.pillar("s1")).files)["/etc/pgbouncer/pgbouncer.ini"]
    lines = conf.splitlines()
    assert "default_pool_size = 25" in lines
    assert "crm = host=database port=5433 dbname=crm" in lines
    assert "postgres = host=database port=5433 dbname=postgres pool_size=4" in lines


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "workers": (
        {"app": {"workers": 13}},
        f"app.yaml: workers: 13 is not valid; must be at most 10, because pool_size in {ROUTE} is "
        "25 and each process needs 2 sessions; or set pool_size to at least 31",
    ),
    "workers in a larger pool": (
        {"app": {"workers": 13}, "database_route": {"pool_size": 30}},
        f"app.yaml: workers: 13 is not valid; must be at most 12, because pool_size in {ROUTE} is "
        "30 and each process needs 2 sessions; or set pool_size to at least 31",
    ),
    "no room for a worker": (
        {"database_route": {"pool_size": 4}},
        f"app.yaml: workers: pool_size in {ROUTE} is 4, which is too small for one worker and 1 "
        "cron_threads; set pool_size to at least 7",
    ),
    "threads": (
        {"app": {"workers": 0, "database_connections": 64}},
        "app.yaml: database_connections: 64 is not valid; must be at most 23 without workers, "
        f"because pool_size in {ROUTE} is 25",
    ),
    "jobs": (
        {"app": {"cron_threads": 4}},
        "app.yaml: cron_threads: 4 is not valid; must be at most 2, because postgres_pool_size in "
        f"{ROUTE} is 4; or set postgres_pool_size to at least 6",
    ),
    "no archive beside a backup host": (
        {"database": {"parameters": {"archive_mode": "off"}}},
        "database.yaml: parameters.archive_mode: Salina sets this parameter in a fleet with a "
        "backup host; remove it",
    ),
    "connections for superusers": (
        {"database": {"parameters": {"superuser_reserved_connections": 30}}},
        "database.yaml: parameters.superuser_reserved_connections: 30 is not valid; must be at "
        "most 20, because app hosts may hold 330 of 350 connections",
    ),
    "a mount over a brick": (
        {"storage": {"brick": "/nas", "mount": "/nas"}},
        'storage.yaml: mount: "/nas" is not valid; must be neither inside nor around brick: /nas',
    ),
    "a mount inside a brick": (
        {"storage": {"mount": "/nas/mount"}},
        'storage.yaml: mount: "/nas/mount" is not valid; must be neither inside nor around brick: '
        "/nas",
    ),
    "a brick around a mount": (
        {"storage": {"brick": "/data", "mount": "/data/mount"}},
        'storage.yaml: mount: "/data/mount" is not valid; must be neither inside nor around '
        "brick: /data",
    ),
    "backups on the volume": (
        {"backup": {"repository": "/mnt/nas/backups"}},
        'storage.yaml: mount: "/mnt/nas" is not valid; must be neither inside nor around '
        "repository in backup.yaml: /mnt/nas/backups",
    ),
    "autoscale's pool": (
        {"autoscale": {"pool": "web-1"}},
        'autoscale.yaml: pool: "web-1" is not a pool of app hosts; choose one of: app',
    ),
    "autoscale's bounds": (
        {"autoscale": {"enabled": True, "maximum": 11}},
        "autoscale.yaml: maximum: 11 is not valid; must be a number from 1 to 10",
    ),
    "connections": (
        {"database": {"parameters": {"max_connections": 250}}},
        "database.yaml: parameters.max_connections: 250 is not valid; must be at least 350, "
        f"because there can be 10 app hosts, and pool_size in {ROUTE} is 25; or lower pool_size "
        "to at most 15",
    ),
    "far too few connections": (
        {"database": {"parameters": {"max_connections": 50}}},
        "database.yaml: parameters.max_connections: 50 is not valid; must be at least 350, "
        f"because there can be 10 app hosts, and pool_size in {ROUTE} is 25",
    ),
}


@pytest.mark.parametrize(("given", "message"), WRONG.values(), ids=WRONG.keys())
def test_k5_a_contradiction_has_one_line(given: dict[str, Any], message: str) -> None:
    """K5: The line names the file, the key, what was found, what is allowed, and what to do."""
    assert conflicts(settings.parse(given)) == [message]


def test_k5_the_advice_helps() -> None:
    """K5: With the values that the messages name there is no conflict any more."""
    for given in (
        {"app": {"workers": 10}},
        {"app": {"workers": 13}, "database_route": {"pool_size": 31}},
        {"database_route": {"pool_size": 7}},
        {"app": {"workers": 0, "database_connections": 23}},
        {"app": {"cron_threads": 2}},
        {"database": {"parameters": {"max_connections": 350}}},
        {"database": {"parameters": {"max_connections": 250}}, "database_route": {"pool_size": 15}},
    ):
        assert conflicts(settings.parse(given)) == []


def test_k5_autoscale_that_is_off_needs_no_pool() -> None:
    """K5: A fleet without a pool keeps the default name of the pool, unless it is to scale."""
    assert conflicts(Settings(), "one-host") == []
    assert conflicts(settings.parse({"autoscale": {"enabled": True}}), "one-host") == [
        'autoscale.yaml: pool: "app" is not a pool of app hosts; there is none to choose from'
    ]


def test_k5_a_node_application_has_no_workers() -> None:
    """K5: Odoo's rules do not bind a fleet that runs no Odoo."""
    own = settings.parse({"app": {"workers": 13}})
    assert conflicts(own, application="sample-crm") == []


@pytest.mark.parametrize("value", ["many", 0, True, 3.5])
def test_k5_max_connections_is_a_number(value: Any) -> None:
    """K5: max_connections must be a number, because a rule counts with it."""
    words = r"max_connections: .* is not valid; must be a number "
    with pytest.raises(settings.SettingsError, match=words):
        settings.parse({"database": {"parameters": {"max_connections": value}}})


PARAMETERS: dict[str, tuple[dict[str, Any], str]] = {
    "hyphen": (
        {"max-connections": 400},
        "max-connections: unknown parameter of PostgreSQL 15, 16 and 17; choose one of: "
        "max_connections, log_connections, log_disconnections",
    ),
    "capitals": ({"MAX_WAL_SENDERS": 4}, "MAX_WAL_SENDERS: unknown parameter of PostgreSQL 15, "),
    "empty": (
        {"": 1},
        '"": unknown parameter of PostgreSQL 15, 16 and 17; see pg_settings for the names',
    ),
    "not a number": (
        {"work_mem": float("nan")},
        "work_mem: nan is not valid; must be a plain value",
    ),
    "infinite": (
        {"random_page_cost": float("inf")},
        "random_page_cost: inf is not valid; must be a plain value",
    ),
    "beyond every number": (
        {"work_mem": "1e999"},
        'work_mem: "1e999" is not valid; must be a number from 64 to 2147483647 of kB',
    ),
    "a word for a number": (
        {"max_wal_senders": "abc"},
        'max_wal_senders: "abc" is not valid; must be a number from 0 to 262143',
    ),
    "true for a number": (
        {"max_wal_senders": True},
        "max_wal_senders: true is not valid; must be a number from 0 to 262143",
    ),
    "too large": (
        {"max_wal_senders": 300_000},
        "max_wal_senders: 300000 is not valid; must be a number from 0 to 262143",
    ),
    "too large with a unit": (
        {"wal_sender_timeout": "30d"},
        'wal_sender_timeout: "30d" is not valid; must be a number from 0 to 2147483647 of ms, or '
        "with one of the units us, ms, s, min, h, d",
    ),
    "a unit of another kind": (
        {"shared_buffers": "5min"},
        'shared_buffers: "5min" is not valid; must be a number from 16 to 1073741823 of 8kB, or '
        "with one of the units B, kB, MB, GB, TB",
    ),
    "a unit in other letters": (
        {"shared_buffers": "128mb"},
        'shared_buffers: "128mb" is not valid; must be a number from 16 to 1073741823 of 8kB, or '
        "with one of the units B, kB, MB, GB, TB",
    ),
    "a boolean": ({"jit": "maybe"}, 'jit: "maybe" is not valid; must be true or false'),
    "an enum": (
        {"wal_level": "high"},
        'wal_level: "high" is not valid; must be one of minimal, replica, logical',
    ),
    "less than all": (
        {"vacuum_buffer_usage_limit": "64kB"},
        'vacuum_buffer_usage_limit: "64kB" is not valid; must be 0 or at least 128kB',
    ),
    "not a multiple": (
        {"transaction_buffers": 17},
        "transaction_buffers: 17 is not valid; must be a multiple of 16 of 8kB",
    ),
    "ours": ({"port": 5432}, "port: Salina or Patroni sets this parameter; remove it"),
}


@pytest.mark.parametrize(("given", "message"), PARAMETERS.values(), ids=PARAMETERS.keys())
def test_k5_a_parameter_that_postgresql_refuses(given: dict[str, Any], message: str) -> None:
    """K5: PostgreSQL would stop, or Patroni leave the parameter out, when it is applied."""
    with pytest.raises(settings.SettingsError) as caught:
        settings.parse({"database": {"parameters": given}})
    (line,) = caught.value.faults
    assert line.startswith(f"database.yaml: parameters.{message}")


@pytest.mark.parametrize(
    "given",
    [
        {"shared_buffers": "1GB", "work_mem": 8192, "max_wal_size": "1.5GB"},
        {"wal_sender_timeout": "5s", "checkpoint_timeout": "15 min", "deadlock_timeout": "1000ms"},
        {"jit": "off", "fsync": True, "log_lock_waits": 1, "synchronous_commit": True},
        {"wal_level": "logical", "archive_mode": "Always", "huge_pages": "try"},
        {"log_file_mode": "0640", "random_page_cost": 1.1, "seq_page_cost": "1e0"},
        {"timezone": "UTC", "log_line_prefix": "%m ", "shared_preload_libraries": ""},
        {"pg_stat_statements.max": 1000, "auto_explain.log_min_duration": "3s"},
        {"ssl_min_protocol_version": "TLSv1.3", "ssl_max_protocol_version": "tlsv1.3"},
        {"vacuum_buffer_usage_limit": 0, "transaction_buffers": "1MB", "notify_buffers": 16},
        {"temp_file_limit": -1, "old_snapshot_threshold": "-1", "log_rotation_age": "1d"},
    ],
)
def test_k5_a_parameter_that_postgresql_takes(given: dict[str, Any]) -> None:
    """K5: units, words for booleans and parameters of extensions are as PostgreSQL reads them."""
    assert settings.parse({"database": {"parameters": given}})


OF_A_VERSION: dict[str, tuple[dict[str, Any], dict[int, str]]] = {
    "new in 17": (
        {"transaction_timeout": "1min"},
        {
            version: f"transaction_timeout: unknown parameter of PostgreSQL {version}; remove it, "
            "or have database hosts with PostgreSQL 17"
            for version in (15, 16)
        },
    ),
    "gone from 17": (
        {"old_snapshot_threshold": "1h"},
        {
            17: "old_snapshot_threshold: unknown parameter of PostgreSQL 17; remove it, or have "
            "database hosts with PostgreSQL 15 and 16"
        },
    ),
    "another name in 16": (
        {"force_parallel_mode": "on"},
        {
            version: f"force_parallel_mode: unknown parameter of PostgreSQL {version}; remove it, "
            "or have database hosts with PostgreSQL 15"
            for version in (16, 17)
        },
    ),
    "another limit in 17": (
        {"maintenance_work_mem": "512kB"},
        {
            version: 'maintenance_work_mem: "512kB" is not valid; must be a number from 1024 to '
            "2147483647 of kB, or with one of the units B, kB, MB, GB, TB"
            for version in (15, 16)
        },
    ),
    "the same in all": ({"work_mem": "8MB", "jit": "off", "io.limit": 3}, {}),
}
PLATFORMS_OF = {one.postgresql: name for name, one in PLATFORMS.items()}


@pytest.mark.parametrize("version", parameters.VERSIONS)
@pytest.mark.parametrize(("given", "faults"), OF_A_VERSION.values(), ids=OF_A_VERSION.keys())
def test_k5_the_database_hosts_version_judges_a_parameter(
    version: int, given: dict[str, Any], faults: dict[int, str]
) -> None:
    """K5: Each platform has its own PostgreSQL; a parameter is judged as this one would."""
    found = fleets.data()
    for one in found["hosts"].values():
        one["platform"] = PLATFORMS_OF[version]
    changed = parse(found)
    own = settings.parse({"database": {"parameters": given}})
    lines = [
        f"{key}: {message}" for key, message in own[DatabaseSettings].conflicts(changed, own, {})
    ]
    assert lines == ([f"parameters.{faults[version]}"] if version in faults else [])


@pytest.mark.parametrize("version", parameters.VERSIONS)
def test_k5_every_platform_has_a_table_of_parameters(version: int) -> None:
    """K5: Each table has PostgreSQL's parameters, with their limits and choices."""
    table = parameters.known(version)
    assert len(table) > 300 and "port" in table
    assert table["max_connections"] == parameters.Parameter("integer", "", 1, 262143, ())
    assert table["wal_level"].choices == ("minimal", "replica", "logical")
    for name, value in Settings()[DatabaseSettings].parameters.items():
        assert parameters.fault(name, value, [version]) is None


MANY = {
    "by the hosts": (
        {},
        8000,
        "264020 are needed, because there can be 8000 app hosts, and pool_size in "
        f"{ROUTE} is 25; PostgreSQL takes at most 262121 beside max_worker_processes, "
        "autovacuum_max_workers, max_wal_senders; lower pool_size to at most 24, or have fewer "
        "app hosts",
    ),
    "given": (
        {"max_connections": 262143},
        8,
        "262143 is not valid; must be at most 262121, because PostgreSQL takes no more beside "
        "max_worker_processes, autovacuum_max_workers, max_wal_senders",
    ),
    "by other processes": (
        {"max_wal_senders": "262000"},
        8,
        "284 are needed, because there can be 8 app hosts, and pool_size in "
        f"{ROUTE} is 25; PostgreSQL takes at most 131 beside max_worker_processes, "
        "autovacuum_max_workers, max_wal_senders; lower pool_size to at most 5, or have fewer app "
        "hosts",
    ),
    "by other processes only": (
        {"max_wal_senders": 262143},
        8,
        f"284 are needed, because there can be 8 app hosts, and pool_size in {ROUTE} is 25; "
        "PostgreSQL takes at most 0 beside max_worker_processes, autovacuum_max_workers, "
        "max_wal_senders; lower these parameters",
    ),
    "the least of all": (
        {"max_wal_senders": 262143 - 12 - 99},
        2,
        "100 is not valid; must be at most 99, because PostgreSQL takes no more beside "
        "max_worker_processes, autovacuum_max_workers, max_wal_senders",
    ),
}


@pytest.mark.parametrize(("given", "hosts", "message"), MANY.values(), ids=MANY.keys())
def test_k5_postgresql_has_so_many_processes(
    given: dict[str, Any], hosts: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """K5: PostgreSQL would not start; the line says what to lower."""
    clients = database._clients(fleets.topology())[:1] * hosts
    monkeypatch.setattr(database, "_clients", lambda topology: clients)
    own = settings.parse({"database": {"parameters": given}})
    assert conflicts(own) == [f"database.yaml: parameters.max_connections: {message}"]


def test_k5_the_default_settings_are_the_ones_of_this_test() -> None:
    """K5: The messages above show these defaults."""
    own = fleets.settings()
    assert (own[AppSettings].workers, own[AppSettings].cron_threads) == (None, 1)
    assert (own[RouteSettings].pool_size, own[RouteSettings].postgres_pool_size) == (25, 4)
    assert "max_connections" not in own[DatabaseSettings].parameters


@pytest.mark.parametrize("value", [True, "on", "yes", 1, False, "off", "no", 0])
@pytest.mark.parametrize("name", ["default", "plain", "ipv6"])
def test_o9_a_brick_that_is_copied_has_whole_files(name: str, value: bool | str | int) -> None:
    """O9: With a backup host GlusterFS must not cut files into pieces. Other fleets may have it."""
    own = settings.parse({"storage": {"options": {"features.shard": value}}})
    refused = name == "default" and value in (True, "on", "yes", 1)
    words = "storage.yaml: options: features.shard is not valid with a backup host, "
    assert [line[: len(words)] for line in conflicts(own, name)] == [words] * refused

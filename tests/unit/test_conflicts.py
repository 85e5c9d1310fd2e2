"""Settings that contradict each other, the topology or an application are refused (S6, B9, K5)."""

from __future__ import annotations

from typing import Any

import pytest

from salina.application import odoo
from salina_fleet.model import settings
from salina_fleet.model.settings import COMPONENTS, Settings
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


def test_s6_pgbouncer_bounds_both_pools(tmp_path: Any) -> None:
    """S6: The application's own pool and that of the database postgres have their sizes."""
    conf = dict(Minion("s1", fleets.pillar("s1"), tmp_path).files)["/etc/pgbouncer/pgbouncer.ini"]
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
    with pytest.raises(settings.SettingsError, match="must be a number of connections"):
        settings.parse({"database": {"parameters": {"max_connections": value}}})


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

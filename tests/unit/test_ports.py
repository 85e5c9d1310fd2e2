"""Two daemons of one host never want the same port at the same address."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from salina_fleet import ports
from salina_fleet.model import settings
from salina_fleet.model.settings import Settings
from salina_fleet.role import ANY, LOOPBACK
from tests import fleets

EVERY = ["default", *fleets.OTHERS]
FOLDER = "pillar/settings"


def collisions(given: dict[str, Any], name: str = "default", **changed: Any) -> list[str]:
    """Return the collisions of a fleet with these settings, and with a changed definition."""
    topology = fleets.topology(name)
    definitions = {
        key: {**content, **changed} for key, content in fleets.definitions(topology).items()
    }
    return ports.collisions(topology, settings.parse(given), definitions)


@pytest.mark.parametrize("name", EVERY)
def test_k5_the_defaults_collide_in_no_fleet(name: str) -> None:
    """K5: also with all roles on one host, and with all links on one network."""
    assert collisions({}, name) == []


WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    "of one daemon": (
        {"database": {"port": 8008}},
        "default",
        f"{FOLDER}/database.yaml: rest_port: 8008 is used by PostgreSQL "
        f"({FOLDER}/database.yaml: port) on bbdd1; choose another port",
    ),
    "on loopback": (
        {"database_route": {"listen": 6432}},
        "default",
        f"{FOLDER}/database_route.yaml: pool_port: 6432 is used by the database route "
        f"({FOLDER}/database_route.yaml: listen) on s1; choose another port",
    ),
    "with a brick": (
        {"quorum": {"client_port": 49200}},
        "default",
        f"{FOLDER}/quorum.yaml: client_port: 49200 is used by a brick on nas1; choose another port",
    ),
    "with GlusterFS": (
        {"quorum": {"peer_port": 24007}},
        "default",
        f"{FOLDER}/quorum.yaml: peer_port: 24007 is used by GlusterFS on nas1; choose another port",
    ),
    "with Salt": (
        {"ssh": {"port": 4505}},
        "default",
        f"{FOLDER}/ssh.yaml: port: 4505 is used by Salt on salt; choose another port",
    ),
    "with sshd of every host": (
        {"monitoring": {"port": 22}},
        "default",
        f"{FOLDER}/monitoring.yaml: port: 22 is used by sshd ({FOLDER}/ssh.yaml: port) on salt; "
        "choose another port",
    ),
    "with pgBackRest": (
        {"database": {"port": 8432}},
        "default",
        f"{FOLDER}/backup.yaml: port: 8432 is used by PostgreSQL ({FOLDER}/database.yaml: port) "
        "on bbdd1; choose another port",
    ),
    "of the copies of files and the backups": (
        {"backup": {"files_port": 8432}},
        "default",
        f"{FOLDER}/backup.yaml: files_port: 8432 is used by pgBackRest ({FOLDER}/backup.yaml: "
        "port) on bkp1; choose another port",
    ),
    "of the logs and the reports": (
        {"logs": {"port": 8434}},
        "default",
        f"{FOLDER}/monitoring.yaml: port: 8434 is used by the log host ({FOLDER}/logs.yaml: port) "
        "on nagios; choose another port",
    ),
    "of the numbers and the reports": (
        {"prometheus": {"port": 8434}},
        "default",
        f"{FOLDER}/prometheus.yaml: port: 8434 is used by the report ({FOLDER}/monitoring.yaml: "
        "port) on salt; choose another port",
    ),
    "of the numbers and the logs": (
        {"prometheus": {"port": 19532}},
        "default",
        f"{FOLDER}/prometheus.yaml: port: 19532 is used by the log host ({FOLDER}/logs.yaml: port) "
        "on nagios; choose another port",
    ),
    "of two roles on one host": (
        {"quorum": {"client_port": 5432}},
        "one-host",
        f"{FOLDER}/database.yaml: port: 5432 is used by etcd ({FOLDER}/quorum.yaml: client_port) "
        "on all; choose another port",
    ),
}


@pytest.mark.parametrize(("given", "name", "message"), WRONG.values(), ids=WRONG.keys())
def test_k5_a_collision_is_one_line(given: dict[str, Any], name: str, message: str) -> None:
    """K5: The line names both daemons, the setting of each, and a host that has both."""
    assert message in collisions(given, name)


def test_k5_roles_on_different_hosts_may_share_a_number() -> None:
    """K5: PostgreSQL and etcd have hosts of their own in the default fleet."""
    assert collisions({"quorum": {"client_port": 5432}}) == []


def test_k5_daemons_at_different_addresses_may_share_a_number() -> None:
    """K5: The page of monitoring and the log host are in two networks."""
    assert collisions({"monitoring": {"page_port": 19532}}) == []


@pytest.mark.parametrize(("number", "file"), [(8434, "monitoring"), (8435, "prometheus")])
def test_k5_the_page_of_monitoring_may_be_at_the_address_of_the_reports(
    number: int, file: str
) -> None:
    """K5: With two networks it is not, and the number is free; with one it is refused."""
    two = fleets.topology()
    one = replace(two, links={**two.links, "edge": two.links["management"]})
    own = settings.parse({"monitoring": {"page_port": number}})
    assert ports.collisions(two, own, {}) == []
    assert ports.collisions(one, own, {}) == [
        f"{FOLDER}/{file}.yaml: port: {number} is used by the page of monitoring "
        f"({FOLDER}/monitoring.yaml: page_port) on nagios; choose another port"
    ]


def test_k5_an_application_and_etcd_on_one_host() -> None:
    """K5: The application listens at every address that its sandbox leaves, etcd at loopback."""
    found = collisions({}, "one-host", port=2381)
    assert found and all("2381 is used by" in line for line in found)


def test_k5_etcds_own_numbers_are_a_port() -> None:
    """K5: etcd gives its numbers at a port of its own on loopback."""
    fleet = fleets.fleet()
    host = next(host for host in fleet.topology.hosts if "quorum" in host.roles)
    found = list(ports.of(fleet.topology, Settings(), {}, host))
    assert (2381, LOOPBACK) in [(port.number, port.at) for port in found]
    assert all(port.at in (ANY, LOOPBACK) or port.at in fleet.topology.links for port in found)


def test_k5_a_fault_that_is_known_is_not_told_again() -> None:
    """K5: One mistake is one line."""
    topology = fleets.topology()
    own = settings.parse({"logs": {"port": 8434}})
    known = [f"{FOLDER}/logs.yaml: port: 8434 is not valid"]
    assert ports.collisions(topology, own, {})
    assert ports.collisions(topology, own, {}, known) == []

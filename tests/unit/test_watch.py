"""S13: The services that Nagios watches, and which faults are part of another one."""

from __future__ import annotations

from typing import Any

import pytest

from salina.monitoring.plugin import REPORT
from salina_fleet import health, watch
from tests import fleets

FLEETS = ["default", *fleets.OTHERS]


def dependencies(name: str = "default") -> dict[tuple[str, str], dict[str, list[str]]]:
    """(host, service) -> the services of other hosts on which it depends."""
    fleet = fleets.fleet(name)
    found = watch.dependencies(fleet, fleets.definitions(fleet.topology), "nagios")
    return {
        (one["host"], one["service"]): {other["name"]: other["services"] for other in one["on"]}
        for one in found
    }


def tiers(name: str = "default") -> dict[str, dict[str, Any]]:
    """The service of a tier -> what it counts."""
    fleet = fleets.fleet(name)
    found = watch.tiers(fleet, fleets.definitions(fleet.topology))
    return {one["service"]: one for one in found}


@pytest.mark.parametrize(("name", "host"), fleets.everyone())
def test_s13_the_services_of_a_host_have_their_own_names(name: str, host: str) -> None:
    """S13: Also on a host with all roles."""
    fleet = fleets.fleet(name)
    checks = health.checks(fleet, fleet.hosts[host], fleets.definitions(fleet.topology))
    services = [service for one in checks for service in {one.name: 1, **dict.fromkeys(one.needs)}]
    assert len({*services}) == len(services)
    assert REPORT not in services
    assert not [one for one in services if set(one) & set("`~!$%^&*|'\"<>?,()=;")]  # nagios.cfg


def test_s13_a_check_of_two_roles_is_one_with_the_needs_of_both() -> None:
    """S13: The balancer's HAProxy is the app host's as well, where both are one host."""
    fleet = fleets.fleet("one-host")
    (host,) = fleet.hosts.values()
    checks = health.checks(fleet, host, fleets.definitions(fleet.topology))
    (haproxy,) = [one for one in checks if one.probe == "haproxy"]
    assert {"haproxy database": ("database",)}.items() <= haproxy.needs.items()
    assert len(haproxy.needs) > 1 and haproxy.decides


def test_s13_a_storage_host_that_is_away_is_one_alarm() -> None:
    """S13: The others see it, and so does nobody else as long as the volume can do without it."""
    found = dependencies()
    assert found["nas2", "peers"] == {
        "nas1": [REPORT, "gluster", "peers"],
        "nas3": [REPORT, "gluster"],
    }
    assert found["nas3", "heal"].keys() == {"nas1", "nas2"}
    assert ("nas2", "gluster") not in found  # its own brick
    assert found["s1", "files"] == {"nagios": ["tier storage"]}
    assert tiers()["tier storage"]["spare"] == 1
    assert tiers()["tier storage"]["hosts"][0] == {"name": "nas1", "services": [REPORT, "gluster"]}


def test_s13_a_missing_brick_is_the_alarm_of_its_host() -> None:
    """S13: Each app host sees it, also while the volume can do without it."""
    on = {host: [REPORT, "gluster"] for host in ("nas1", "nas2", "nas3")}
    assert dependencies()["s1", "mount"] == on


def test_s13_minions_without_a_master_are_one_alarm() -> None:
    """S13: Each host sees its own connection."""
    found = dependencies()
    assert all(found[host, "salt"] == {"nagios": ["tier master"]} for host in fleets.fleet().hosts)


def test_s13_a_database_without_a_primary_is_one_alarm() -> None:
    """S13: The first database host gives it, not the app hosts, and not the balancer."""
    found = dependencies()
    assert ("bbdd1", "patroni") not in found
    assert found["bbdd2", "patroni"] == {"bbdd1": ["patroni"]}
    database = {"nagios": ["tier database"]}
    assert found["s2", "database"] == found["s2", "haproxy database"] == database
    assert found["s2", "app"] == {"nagios": ["tier database", "tier storage"]}
    deciding = [REPORT, "agent", "database", "files", "app"]
    assert found["lb1", "haproxy crm"] == {host: deciding for host in ("s1", "s2", "s3")}
    hosts = {one["name"]: one["services"] for one in tiers()["tier app"]["hosts"]}
    assert hosts["s1"] == [REPORT, "agent", "database", "files", "app"]


def test_s13_without_the_other_tier_nothing_depends_on_it() -> None:
    """S13: A fleet without storage hosts, and one without a backup host."""
    assert not [service for _, service in dependencies("plain") if service == "files"]
    assert not [service for _, service in dependencies("plain") if service == "archiving"]
    assert "tier storage" not in tiers("plain")


@pytest.mark.parametrize("name", FLEETS)
def test_s13_no_service_depends_on_itself(name: str) -> None:
    """S13: Neither directly nor through others; each depends on services that there are."""
    fleet = fleets.fleet(name)
    definitions = fleets.definitions(fleet.topology)
    known = {
        (host.id, service)
        for host in fleet.hosts.values()
        for service in (REPORT, *watch.listed(watch.expected(fleet, host, definitions)))
    } | {("nagios", service) for service in tiers(name)}
    edges = {
        dependent: [(host, service) for host, services in on.items() for service in services]
        for dependent, on in dependencies(name).items()
    }
    for service, tier in tiers(name).items():
        edges["nagios", service] = [
            (host["name"], one) for host in tier["hosts"] for one in host["services"]
        ]
    assert {*edges, *(one for on in edges.values() for one in on)} <= known
    done: set[tuple[str, str]] = set()

    def visit(one: tuple[str, str], above: tuple[tuple[str, str], ...]) -> None:
        assert one not in above, f"{one} depends on itself: {above}"
        for other in edges.get(one, []) if one not in done else []:
            visit(other, (*above, one))
        done.add(one)

    for one in edges:
        visit(one, ())

"""The time at which each host installs Debian's security updates (X11)."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from salina_fleet import health, metrics
from salina_fleet import pillar as pillars
from salina_fleet.model import updates
from salina_fleet.model.updates import UpdateSettings
from salina_fleet.roles import ROLES
from tests import fleets


@pytest.mark.parametrize("name", ["default", *fleets.OTHERS])
def test_x11_no_two_hosts_have_the_same_time(name: str) -> None:
    """X11: Neither have two hosts that a pool can have, and hosts of a tier are ten minutes
    apart.
    """
    everyone = list(fleets.topology(name).everyone())
    found = updates.minutes(everyone)
    assert set(found) == {host.id for host in everyone}
    for role in ROLES:
        tier = sorted(found[host.id] for host in everyone if role in host.roles)
        assert all(later - earlier >= 10 for earlier, later in itertools.pairwise(tier))
    assert len({*found.values()}) == len(everyone)


def test_x11_hosts_of_a_tier_are_far_apart() -> None:
    """X11: Between two storage hosts all other tiers have their turn."""
    found = updates.minutes(fleets.topology().everyone())
    times = {host: updates.times(3, found[host]) for host in ("salt", "nas1", "nas2", "s1", "s3")}
    assert times == {
        "salt": ("02:00", "03:00"),
        "nas1": ("02:30", "03:30"),
        "nas2": ("03:30", "04:30"),
        "s1": ("03:20", "04:20"),
        "s3": ("04:10", "05:10"),
    }


def test_x11_a_change_of_a_pool_moves_no_time() -> None:
    """X11: Each host that the pool can have keeps its place."""
    whole = fleets.fleet()
    before = {host: fleets.pillar(host)["updates"] for host in whole.hosts}
    other = type(whole)(whole.topology, {"app": ["s2", "s9"]}, whole.settings)
    data = fleets.master_data(other)
    for host in ("s2", "nas1", "lb1"):
        assert pillars.select(data, host)["updates"] == before[host]
    assert pillars.select(data, "s9")["updates"]["install"] not in {
        one["install"] for one in before.values()
    }


@pytest.mark.parametrize("maximum", [200, 1400])
def test_x11_a_large_fleet_takes_the_whole_day(maximum: int) -> None:
    """X11: The times come closer together when they would not fit."""
    fleet = fleets.topology()
    pool = replace(fleet.pools["app"], maximum=maximum)
    hosts = [*fleet.hosts, *(replace(fleet.hosts[0], id=one, roles=("app",)) for one in pool.ids())]
    found = updates.minutes(hosts)
    assert len({*found.values()}) == len(hosts) and max(found.values()) < 24 * 60


@pytest.mark.parametrize(
    ("hour", "later", "expected"),
    [
        (3, 0, ("02:00", "03:00")),
        (0, 0, ("23:00", "00:00")),
        (23, 70, ("23:10", "00:10")),
    ],
)
def test_x11_times_of_a_day(hour: int, later: int, expected: tuple[str, str]) -> None:
    assert updates.times(hour, later) == expected


def test_x11_settings() -> None:
    """X11: The updates are on by default, and an operator chooses the hour."""
    assert fleets.pillar("s1")["updates"]["enabled"] is True
    own = fleets.settings().but(UpdateSettings(enabled=False, hour=22))
    pillar = fleets.pillar("salt", own=own)
    assert (pillar["updates"]["enabled"], pillar["updates"]["install"]) == (False, "22:00")


def test_x11_every_host_looks_for_what_waits() -> None:
    """X11: It knows the services that an apply restarts: those of its roles, and Debian's own."""
    found = {
        host.id: dict(one.arguments)["applied"]
        for host in fleets.fleet().hosts.values()
        for one in health.checks(fleets.fleet(), host, fleets.definitions(fleets.topology()))
        if one.probe == "waiting"
    }
    common = [*metrics.DAEMONS, "salt-minion", *updates.SYSTEM, "systemd-journal-upload"]
    assert found["fw"] == found["salt"] == common
    assert found["nas1"] == ["glusterd", "etcd", *common]
    assert found["bbdd1"] == ["patroni", *common]
    assert found["lb1"] == ["haproxy", "salina-load", *common]
    assert set(found["s1"]) - set(common) == {
        *("haproxy", "pgbouncer", "nginx", "salina-health", "odoo", "node"),
        *("salina-log-nginx", "salina-log-odoo"),
    }

"""chrony on every host (X6)."""

from __future__ import annotations

from dataclasses import replace

import pytest
import yaml

from salina_fleet.model.clock import TimeSettings
from tests import fleets
from tests.render.minion import Minion

FILE = "/etc/chrony/chrony.conf"


def configuration(minion: Minion) -> list[str]:
    """The lines of chrony's configuration, without comments."""
    lines = dict(minion.files)[FILE].splitlines()
    return [line for line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize(("name", "server"), [("default", "10.1.5.2"), ("ipv6", "fd00:5::2")])
def test_x6_a_host_takes_the_time_from_the_master_alone(name: str, server: str) -> None:
    """X6, X7: Not from DHCP, and it answers nobody."""
    lines = configuration(Minion("s1", fleets.pillar("s1", name)))
    assert f"server {server} iburst" in lines and "port 0" in lines
    assert not [
        line for line in lines if line.split()[0] in ("sourcedir", "confdir", "allow", "pool")
    ]
    assert len([line for line in lines if line.startswith("server ")]) == 1


@pytest.mark.parametrize(("name", "network"), [("default", "10.1.5.0/24"), ("ipv6", "fd00:5::/64")])
def test_x6_the_master_asks_the_settings_servers(name: str, network: str) -> None:
    """X6: Names and addresses of both kinds; the management network may ask it."""
    given = ("pool.example", "192.0.2.1", "2001:db8::1")
    own = fleets.settings().but(replace(fleets.settings()[TimeSettings], servers=given))
    lines = configuration(Minion("salt", fleets.pillar("salt", name, own)))
    assert lines[:3] == [
        "pool pool.example iburst",
        "server 192.0.2.1 iburst",
        "server 2001:db8::1 iburst",
    ]
    assert lines[3:5] == [f"allow {network}", "local stratum 10"] and "port 0" not in lines


def test_x6_the_package_belongs_to_the_setting() -> None:
    """X6: Without `managed` the host keeps what it has."""
    packages = yaml.safe_load((fleets.REPOSITORY / "salt/packages.yaml").read_text())
    assert packages["time"] == ["chrony"]
    own = fleets.settings().but(TimeSettings(managed=False))
    for place, settings in enumerate((fleets.settings(), own)):
        minion = Minion("nas1", fleets.pillar("nas1", own=settings))
        chunks = {chunk["__id__"]: chunk for chunk in minion.chunks}
        assert ("chrony" in chunks["common-packages"]["pkgs"]) == (place == 0)
        assert ("chrony-runs" in chunks) == (place == 0)

"""The states of a host of another platform, and the refusal of another system (S1, K5)."""

from __future__ import annotations

import pytest

from salina_fleet.platforms import PLATFORMS
from tests import fleets
from tests.render.minion import Minion

POSTGRESQL = {"default": ("bbdd1", 15), "debian-13": ("bbdd1", 17), "ubuntu-24": ("all", 16)}


def packages(minion: Minion) -> set[str]:
    """Return the packages that a host gets."""
    installed = (one for one in minion.chunks if (one["state"], one["fun"]) == ("pkg", "installed"))
    return {name for one in installed for name in one["pkgs"]}


@pytest.mark.parametrize("name", POSTGRESQL)
def test_s1_the_packages_of_the_platform(name: str) -> None:
    """S1: A host installs the PostgreSQL of its own system, and no other one."""
    host, version = POSTGRESQL[name]
    minion = Minion(host, fleets.pillar(host, name))
    own = {one for one in packages(minion) if one.startswith("postgresql-")}
    assert own == {f"postgresql-{version}", f"postgresql-client-{version}"}
    assert {"ssl-cert", "ufw", "zstd"} <= packages(minion)


@pytest.mark.parametrize("name", POSTGRESQL)
def test_security_updates_come_from_the_platform(name: str) -> None:
    host, _ = POSTGRESQL[name]
    minion = Minion(host, fleets.pillar(host, name))
    [text] = [text for path, text in minion.files if path == "/etc/apt/apt.conf.d/51salina"]
    platform = PLATFORMS[minion.opts["pillar"]["host"]["platform"]["name"]]
    listed = [line.strip().strip('";') for line in text.splitlines() if "origin=" in line]
    assert listed == list(platform.updates)


@pytest.mark.parametrize("sls", ["common", "prepare"])
def test_k5_the_first_state_stops_an_apply_to_another_system(sls: str) -> None:
    """K5: Nothing runs before it, and nothing after it when it fails."""
    minion = Minion("s1", fleets.pillar("s1"))
    first = min(minion.apply(sls), key=lambda one: one["order"])
    assert (first["__id__"], first["failhard"]) == ("system-as-planned", True)
    assert first["platform"] == minion.opts["pillar"]["host"]["platform"]

"""A fleet of Debian 13, deployed; a host with another system than its platform (S1, K5)."""

from __future__ import annotations

import pytest

from salina_fleet.platforms import PLATFORMS
from tests import fleets
from tests.lab import lab

pytestmark = [pytest.mark.lab, pytest.mark.proof]

NAME = "debian-13"
PLATFORM = PLATFORMS[NAME]
SERVICE = fleets.topology(NAME).service
DOMAIN = fleets.topology(NAME).default.domain
NAMES = ["--connect-to", f"{DOMAIN}::{SERVICE.address}:", "--insecure"]
TOPOLOGY = "pillar/topology.yaml"
GRAIN = "/etc/salt/grains"


def test_s1_every_host_runs_it_and_serves() -> None:
    """S1: The application answers over TLS, with the PostgreSQL of that release."""
    assert set(lab.salt("*", "grains.get", "osfinger").values()) == {PLATFORM.finger}
    asked = ["--silent", "--output", "/dev/null", "--write-out", "%{http_code}", "--max-time", "20"]
    assert lab.run("c1", "curl", *asked, *NAMES, f"https://{DOMAIN}/login") == "200"
    found = lab.run("bbdd1", "ls", "/usr/lib/postgresql").split()
    assert found == [str(PLATFORM.postgresql)]


def test_s15_the_second_run_changes_nothing() -> None:
    """S15, K1: A second run changes nothing on any host, and its prediction agrees."""
    for test in (True, False):
        lab.unchanged(test=test)


def test_s15_all_is_well() -> None:
    """S15: `bin/lab status` shows every tier as healthy."""
    lab.lab("status")


def test_k5_an_apply_refuses_another_system() -> None:
    """K5: The error names the host and both systems, and nothing has changed."""
    lab.run("fw", "sh", "-c", f"echo 'osfinger: Debian-12' >{GRAIN}")
    try:
        lab.salt("fw", "saltutil.refresh_grains")
        answer = lab.salt("fw", "state.apply")["fw"]
    finally:
        lab.run("fw", "rm", GRAIN)
        lab.salt("fw", "saltutil.refresh_grains")
    [refused] = answer.values()
    assert refused["__id__"] == "system-as-planned"
    assert refused["comment"].startswith(
        f"this host runs Debian-12, but {TOPOLOGY} gives it the platform {NAME}"
    )

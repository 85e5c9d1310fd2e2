"""The smallest fleet, deployed: all roles on one host, plain HTTP (S1, S7, S15; `tls: false`)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from salina_fleet import policy
from tests import fleets
from tests.lab import lab

pytestmark = pytest.mark.lab

SERVICE = fleets.topology("one-host").service
DOMAIN = fleets.topology("one-host").default.domain
URL = f"http://{DOMAIN}"
SCAN = (Path(lab.__file__).parent / "scan.py").read_text()
NAMES = ["--connect-to", f"{DOMAIN}::{SERVICE.address}:"]


def curl(*arguments: str) -> str:
    """Return the output of a client that resolves the service's name."""
    return lab.run("c1", "curl", "--silent", "--show-error", "--max-time", "20", *NAMES, *arguments)


def test_s1_served_over_plain_http() -> None:
    """S1: With `tls: false` port 80 serves, as in the assignment, and redirects nobody."""
    shown = curl("--dump-header", "-", "--output", "/dev/null", f"{URL}/login").lower()
    assert shown.split()[1] == "200"
    assert "strict-transport-security" not in shown


def test_s6_logged_in_and_the_database_answers() -> None:
    """S6: The application checks the login that was seeded; its password is a secret."""
    password = lab.run("all", "cat", "/var/lib/salina/secrets/app-crm-login").strip()
    asked = ["--data", "login=admin", "--data-urlencode", "password@-"]
    shown = ["--output", "/dev/null", "--write-out", "%{http_code}"]
    command = ["curl", "--silent", "--show-error", *NAMES, *asked, *shown, f"{URL}/login"]
    assert lab.run("c1", *command, given=password) == "302"
    assert lab.run("c1", *command, given="1234") == "403"


def test_s7_only_what_the_table_says_is_open() -> None:
    """S7: A client scans every TCP port of the host and the low UDP ports.

    The only network is also the management network, so SSH and Salt are open there.
    """
    found = lab.run("c1", "python3", "-", json.dumps([[SERVICE.address, "1-65535"]]), given=SCAN)
    answer = json.loads(found)[SERVICE.address]
    openings = policy.allowed(fleets.fleet("one-host"), "clients", "all")
    tcp = [opening.ports for opening in openings if opening.proto == "tcp"]
    allowed = {int(port) for ports in tcp for port in ports.split(",")}
    assert {*answer["open"], *answer["closed"]} == allowed == {22, 80, 4505, 4506}
    assert not answer["udp"]


def test_s15_the_second_run_changes_nothing() -> None:
    """S15, K1: A second run changes nothing on the host that has all roles."""
    for test in (True, False):
        lab.unchanged(test=test)


def test_s15_all_is_well() -> None:
    """S15: `bin/lab status` shows every tier as healthy."""
    lab.lab("status")

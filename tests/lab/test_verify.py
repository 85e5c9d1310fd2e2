"""verify.security and verify.service on the running fleet: each row holds, and faults are found."""

from __future__ import annotations

import json
import re
import time

import pytest

from salina.common import wait
from tests.lab.lab import execute, salt_run, shell

pytestmark = pytest.mark.lab

ROWS = [f"X{number}" for number in range(1, 12)]


def holds() -> list[str]:
    """Return the rows that hold; all of those that the command knows must."""
    done = salt_run("verify.security")
    seen = json.loads(done.stdout)
    wrong = [
        (row, one) for row, told in seen["rows"].items() for one in told["seen"] if not one["good"]
    ]
    assert wrong == []
    assert done.returncode == 0
    return sorted(seen["rows"], key=lambda row: int(row[1:]))


def test_every_row_about_security_holds() -> None:
    """X1, X2, X3, X4, X5, X6, X7, X8, X9, X10, X11: What the hosts show of each."""
    assert holds() == ROWS


def test_a_row_that_does_not_hold_is_named() -> None:
    """K5: An operator opens a log to everybody; the exit code and the last lines say so."""
    shell("s1", "chmod 0644 /var/log/nginx/access.log")
    try:
        done = execute("salt", "salt-run", "verify.security")
    finally:
        shell("s1", "chmod 0640 /var/log/nginx/access.log")
    text = done.stdout + done.stderr
    assert done.returncode == 1
    assert "✗ X8   s1         /var/log/nginx: everybody reads access.log" in text
    assert "10 of 11 rows hold; not: X8" in text


# verify.service

EXPLAINED = {"S15", "S16", "S17", "K2", "K3", "K4", "K5"}
"""The rows that no running fleet can answer."""
OTHER_FLEETS = {"S8", "K6"}
"""The lab's fleet has neither a Node application nor two balancers."""


def service() -> tuple[int, dict[str, list[str]]]:
    """The exit code of verify.service, and the faults of each row that does not hold."""
    done = salt_run("verify.service")
    rows = json.loads(done.stdout)["rows"]
    wrong = {
        row: [
            f"{one['host']} {one['what']}: {one['seen']}" for one in told["seen"] if not one["good"]
        ]
        for row, told in rows.items()
        if told["good"] is False
    }
    return done.returncode, wrong


def test_every_row_of_the_service_holds() -> None:
    """S1, S2, S3, S4, S5, S6, S7, S9, O1, O2, O3, O4, O5, O6, O7, O8: What the hosts show of each,
    within a minute.
    """
    begun = time.monotonic()
    service()
    assert time.monotonic() - begun < 60
    # a host that another test has rebooted waits for its first answer of a time server
    assert wait.until(lambda: service() == (0, {}), 180), service()
    rows = json.loads(salt_run("verify.service").stdout)["rows"]
    assert {row for row, told in rows.items() if told["good"] is None} == EXPLAINED | OTHER_FLEETS


def test_verify_service_is_read_as_a_table() -> None:
    """K5: A line for each row and group of hosts, none of them long."""
    done = execute("salt", "salt-run", "verify.service")
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stdout + done.stderr
    assert max(map(len, lines)) <= 104  # salt-run may indent them
    assert any(re.match(r"\s*✓ S4 +s1 s2 s3: ", line) for line in lines)


@pytest.mark.proof
def test_it_finds_what_fleet_health_finds() -> None:
    """K5, S11: A paused failover is a fault for both commands."""
    patronictl = "/opt/patroni/bin/patronictl -c /etc/patroni/patroni.yml"
    shell("bbdd1", f"{patronictl} pause --wait")
    try:
        code, wrong = service()
        healthy = salt_run("fleet.health").returncode
    finally:
        shell("bbdd1", f"{patronictl} resume --wait")
    assert (code, healthy) == (1, 1)
    assert set(wrong) == {"S11"} and any(" failover: paused" in one for one in wrong["S11"])

"""verify.security on the running fleet: every row holds, and a broken one is found."""

from __future__ import annotations

import json

import pytest

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

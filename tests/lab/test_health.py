"""Health: what stops working while its unit is active is reported (docs/health.md), and in time."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from salina.common import wait
from tests.lab import lab, tiers

pytestmark = pytest.mark.lab

MEMBERS = "/var/lib/salina/members.json"
BOUND = 15
"""Seconds that both commands may take while every host answers."""


def status() -> dict[str, Any]:
    """Return the output of `bin/lab status --json`."""
    done = subprocess.run([lab.LAB, "status", "--json"], capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == int(not found["healthy"])
    return found


def fleet() -> dict[str, Any]:
    """Return the output of `salt-run fleet.health --out=json` on the master."""
    done = lab.salt_run("fleet.health")
    found: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == found["retcode"] == int(not found["healthy"])
    return found


def faults(found: dict[str, Any], host: str) -> dict[str, str]:
    """Return the faults that a host reports."""
    checks = found["hosts"][host]["checks"]
    return {one["what"]: one["detail"] for one in checks if not one["good"]}


def told(host: str, what: str, seconds: float = 60) -> dict[str, str]:
    """Wait until both commands report a fault of a host; what each says about it."""

    def missing() -> str:
        said.update(lab=faults(status(), host), fleet=faults(fleet(), host))
        return "" if what in said["lab"] and what in said["fleet"] else str(said)

    said: dict[str, dict[str, str]] = {}
    wait.clear(missing, seconds, f"{host} to report {what}")
    return {name: one[what] for name, one in said.items()}


def well() -> None:
    """Wait until all is well again."""

    def trouble() -> str:
        found = status()
        return str({host: faults(found, host) for host in found["hosts"] if faults(found, host)})

    # Nagios asks as a client every two minutes, and its last answer counts
    wait.clear(lambda: "" if status()["healthy"] else trouble(), 240, "the fleet to be well")


@contextmanager
def repaired(host: str, script: str) -> Iterator[None]:
    """Run a script on a host at the end, and wait until all is well."""
    try:
        yield
    finally:
        lab.shell(host, script)
        well()


def test_both_commands_agree_and_are_fast() -> None:
    """Each host says the same to both commands, within a time that fits a busy machine."""
    well()
    took = {}
    found = {}
    for name, ask in (("lab", status), ("fleet", fleet)):
        begun = time.monotonic()
        found[name] = ask()
        took[name] = time.monotonic() - begun
    whats = {
        name: {
            host: {check["what"] for check in one["checks"]}
            for host, one in answer["hosts"].items()
            if one["roles"] != "client"
        }
        for name, answer in found.items()
    }
    assert whats["lab"] == whats["fleet"]
    assert found["lab"]["tiers"] == found["fleet"]["tiers"]
    assert max(took.values()) <= BOUND, took


@pytest.mark.proof
def test_s12_a_mount_that_hangs() -> None:
    """S12: The balancer, `bin/lab status` and `fleet.health` have the agent's verdict."""
    client = "--full 'process-name fuse'"
    with repaired("s1", f"pkill --signal=CONT {client}"):
        lab.shell("s1", f"pkill --signal=STOP {client}")
        said = told("s1", "files")
        assert "no answer for" in said["lab"] and "no answer for" in said["fleet"]
        assert not tiers.servers()["s1"]["serving"]


@pytest.mark.proof
def test_an_offline_brick() -> None:
    """glusterd is active, and the other two bricks serve."""
    with repaired("nas2", "gluster --mode=script volume start nas force"):
        lab.run("nas2", "pkill", "--signal=KILL", "--full", "brick-name /nas")
        said = told("nas2", "brick /nas")
        assert "its process does not run" in said["lab"]
    tiers.whole()


@pytest.mark.proof
def test_an_inactive_firewall() -> None:
    """`ufw status` still says that the firewall is active. An apply loads it again."""
    with repaired("fw", "salt-call --retcode-passthrough state.apply ufw"):
        lab.shell("fw", "iptables -P INPUT ACCEPT; iptables -F INPUT")
        assert "active" in lab.run("fw", "ufw", "status")
        assert told("fw", "ufw")["lab"].startswith("iptables: inactive")


@pytest.mark.proof
def test_a_process_for_long_requests_that_starts_again_and_again() -> None:
    """Odoo's master starts it again at once, so the unit stays active."""
    kill = "pkill --signal=KILL --full 'odoo-bin gevent'; sleep 3"
    for _ in range(2):
        lab.shell("s2", kill, check=False)
    assert lab.run("s2", "systemctl", "is-active", "odoo").strip() == "active"
    assert "started again" in told("s2", "live")["lab"]
    well()


@pytest.mark.proof
def test_a_stopped_minion() -> None:
    """It is named at once; the host's own checks still reach `bin/lab status`."""
    with repaired("fw", "systemctl start salt-minion"):
        lab.run("fw", "systemctl", "stop", "salt-minion")
        begun = time.monotonic()
        found = fleet()
        assert time.monotonic() - begun <= 2 * BOUND
        assert faults(found, "fw") == {"minion": "silent: it is not connected to the master"}
        seen = status()
        words = "not connected to the master; see journalctl -u salt-minion"
        assert faults(seen, "fw") == {"minion": "", "salt": words}
        assert "ufw" in {check["what"] for check in seen["hosts"]["fw"]["checks"]}


@pytest.mark.proof
@pytest.mark.parametrize(
    ("content", "named"),
    [
        ('{"app": ["s1", ', "the file is damaged"),
        ('{"app": ["s1", "s5", "s3"]}', "has accepted no key of s5, and s2 has a key"),
    ],
    ids=["damaged", "wrong"],
)
def test_a_bad_members_file(content: str, named: str) -> None:
    """It is a fault of the master, and no longer hidden."""
    before = lab.run("salt", "cat", MEMBERS, check=False)
    restore = f"printf %s '{before}' >{MEMBERS}" if before else f"rm -f {MEMBERS}"
    with repaired("salt", restore):
        lab.run("salt", "tee", MEMBERS, given=content)
        assert named in faults(status(), "salt")["members"]
        said = lab.execute("salt", "salt-run", "fleet.health")
        assert said.returncode == 1 and named in said.stdout + said.stderr

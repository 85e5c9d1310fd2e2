"""A new host of a pool joins by itself, without a command to Salt (S10)."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from lab.paths import CONTAINERS
from salina.common import wait
from tests import fleets
from tests.lab import autoscale, lab, tiers

pytestmark = [pytest.mark.lab, pytest.mark.slow]

HOST = "s4"
JOIN_SECONDS = 600


INITIAL = list(fleets.topology().pools["app"].initial)
RULE = {"time": 20, "cooling": 20, "minimum": len(INITIAL)}


def status() -> dict[str, Any]:
    """The fleet as the master sees it."""
    done = lab.salt_run("fleet.status")
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(json.loads(done.stdout))


@pytest.fixture
def gone() -> Iterator[None]:
    """The host is not a member afterwards, even when the test failed."""
    yield
    lab.run("salt", "systemctl", "start", "salt-master")
    if HOST in status()["app"]["members"]:
        request = f'pillar={{"pool": "app", "remove": ["{HOST}"]}}'
        lab.salt_run("state.orchestrate", "orch.scale", request)


def test_s10_a_new_host_serves_and_nobody_told_salt(gone: None) -> None:
    """S10, S12: `bin/lab add` is enough, even while the master is down: the host joins when it is
    back.

    No load asks for the host, so it leaves again when the master may decide that.
    """
    lab.run("salt", "systemctl", "stop", "salt-master")
    with subprocess.Popen([lab.LAB, "add", HOST], stdout=subprocess.PIPE, text=True) as add:
        made = wait.until(lambda: (CONTAINERS / f"salina-{HOST}").exists(), 60)
        assert made, "no host was made within 60 s"
        lab.run("salt", "systemctl", "start", "salt-master")
        said, _ = add.communicate()
    assert add.returncode == 0
    assert f"{HOST} joins its pool by itself" in said

    def joined() -> bool:
        found = status()
        return found["running"] is None and HOST in found["app"]["members"]

    assert wait.until(joined, JOIN_SECONDS), lab.salt_run("join.plan").stdout
    assert tiers.servers()[HOST]["serving"]
    with autoscale.switched_on(**RULE):
        autoscale.follows(len(INITIAL), 300)
    assert status()["app"]["members"] == INITIAL

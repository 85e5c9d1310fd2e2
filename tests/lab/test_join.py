"""A new host of a pool joins by itself, without a word to Salt (S10)."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

import salina_wait
from lab.paths import CONTAINERS
from tests.lab import lab, tiers

pytestmark = [pytest.mark.lab, pytest.mark.slow]

HOST = "s4"
JOIN_SECONDS = 300


def salt_run(*arguments: str) -> Any:
    """What `salt-run` returned on the master."""
    command = [lab.LAB, "salt-run", "--out=json", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def gone() -> Iterator[None]:
    """The host leaves the fleet afterwards."""
    yield
    lab.run("salt", "systemctl", "start", "salt-master")
    salt_run("state.orchestrate", "orch.scale", f'pillar={{"pool": "app", "remove": ["{HOST}"]}}')


def test_s10_a_new_host_serves_and_nobody_told_salt(gone: None) -> None:
    """S10: `bin/lab add` is all, here while the master is down; it joins when that is back."""
    lab.run("salt", "systemctl", "stop", "salt-master")
    with subprocess.Popen([lab.LAB, "add", HOST], stdout=subprocess.PIPE, text=True) as add:
        made = salina_wait.until(lambda: (CONTAINERS / f"salina-{HOST}").exists(), 60)
        assert made, "no host was made within 60 s"
        lab.run("salt", "systemctl", "start", "salt-master")
        said, _ = add.communicate()
    assert add.returncode == 0
    assert f"{HOST} joins by itself" in said

    def joined() -> bool:
        status = salt_run("fleet.status")
        return status["lock"] is None and HOST in status["app"]["members"]

    assert salina_wait.until(joined, JOIN_SECONDS), salt_run("join.plan")
    assert tiers.servers()[HOST]["serving"]

"""S15, K2: a host that stores nothing is lost, and a new machine takes its place.

Each host is applied alone, while all others run. So nothing but its own states prepares it, and
what these need without saying so is missing.
"""

from __future__ import annotations

import json

import pytest

from tests import fleets
from tests.lab import lab
from tests.lab.test_health import well
from tests.lab.test_rolling import applied

pytestmark = [pytest.mark.lab, pytest.mark.proof]

HOSTS = [
    host.id
    for role in ("management", "monitoring", "balancer", "firewall")
    for host in fleets.fleet().having(role)
]


@pytest.mark.parametrize("host", HOSTS)
def test_k2_a_new_machine_needs_one_apply(host: str) -> None:
    """S15, K2: The steps of docs/operations.md; the second apply changes nothing."""
    lab.lab("rebuild", host)
    ready = lab.salt_run("fleet.ready", f"hosts={json.dumps([host])}")
    assert not ready.returncode, ready.stdout + ready.stderr
    applied(host)
    again = lab.results(lab.salt(host, "state.apply", "queue=True"))
    assert lab.failures(again) == [] and lab.changes(again) == []
    well()

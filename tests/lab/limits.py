"""The running lab's balancer with the clients' network exempt from its limits, and back."""

from __future__ import annotations

import json

from tests import fleets
from tests.lab.lab import failures, results, salt


def exempt(on: bool) -> None:
    """Apply the balancer with an exempt network, or with what the settings say."""
    own = fleets.pillar("lb1")["balancer"]["limits"]["exempt"]
    topology = fleets.topology()
    network = topology.networks[topology.links["clients"]].cidr
    pillar = json.dumps({"balancer": {"limits": {"exempt": [*own, network]}}} if on else {})
    found = results(salt("lb1", "state.apply", "balancer", f"pillar={pillar}", "queue=True"))
    assert not failures(found), failures(found)

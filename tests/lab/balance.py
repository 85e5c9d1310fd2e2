"""The running lab's balancer by load and back, whatever its setting."""

from __future__ import annotations

import json

from tests.lab.lab import failures, results, salt
from tests.lab.tiers import servers


def by_load(on: bool) -> None:
    """Apply balance by load, or what the setting says."""
    pillar = json.dumps({"balancer": {"load": {"every": 2}}} if on else {})
    found = results(salt("lb1", "state.apply", "load", f"pillar={pillar}", "queue=True"))
    assert not failures(found), failures(found)


def weights() -> dict[str, int]:
    """The share of each app host, in percent."""
    return {name: server["weight"] for name, server in servers().items()}


def least_for(host: str) -> str:
    """Say that this host's share is not next to nothing and all others' whole, or ""."""
    found = weights()
    good = all(weight <= 2 if name == host else weight == 100 for name, weight in found.items())
    return "" if good else f"the weights are {found}"


def whole() -> str:
    """Say that a host does not have its full share, or ""."""
    found = weights()
    return "" if set(found.values()) == {100} else f"the weights are {found}"

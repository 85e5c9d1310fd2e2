"""The steps of a deployment of the whole fleet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from salina_fleet.change.step import apply, run

WHAT = "deployment"
PATIENCE = 120
"""Seconds to wait for another change, such as one that follows a host which has returned."""
FIRST = "every planned minion answers"
EARLY = "every later host does what it can do alone"
LAST = "every minion has its configuration"


def told(tiers: Sequence[tuple[str, Sequence[str]]]) -> dict[str, Any]:
    """Return a deployment as people read it and as salt/orch/change.jinja does it.

    The hosts of one tier apply their states together. A tier begins when the tier before it is done
    and its own hosts have done what they can do alone.

    Args:
        tiers: the name and the hosts of each tier, in their order.
    """
    later = [host for _, hosts in tiers[1:] for host in hosts]
    steps: list[dict[str, Any]] = [run(FIRST, "fleet.ready")]
    if later:
        steps.append({**apply(EARLY, later, "prepare"), "parallel": True})
    for number, (name, hosts) in enumerate(tiers):
        if number:
            steps.append(run(f"{name} can begin", "fleet.ready", hosts=list(hosts)))
        steps.append(apply(name, hosts))
    steps.append(run(LAST, "fleet.ready"))
    return {"what": WHAT, "steps": steps}

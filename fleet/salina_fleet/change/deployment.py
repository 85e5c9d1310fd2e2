"""The steps of a deployment of the whole fleet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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
    steps: list[dict[str, Any]] = [{"name": FIRST, "runner": "fleet.ready", "arguments": {}}]
    if later:
        steps.append({"name": EARLY, "hosts": later, "sls": "prepare", "parallel": True})
    for number, (name, hosts) in enumerate(tiers):
        if number:
            waiting = {"hosts": list(hosts)}
            begins = f"{name} can begin"
            steps.append({"name": begins, "runner": "fleet.ready", "arguments": waiting})
        steps.append({"name": name, "hosts": list(hosts)})
    steps.append({"name": LAST, "runner": "fleet.ready", "arguments": {}})
    return {"what": "deployment", "steps": steps}

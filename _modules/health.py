"""Judge the health of this host."""

from __future__ import annotations

import importlib
from typing import Any

from salina.health import probes

__pillar__: dict[str, Any]


def check() -> dict[str, Any]:
    """Make all checks of this host, side by side. This takes at most 5 seconds.

    The pillar `host.checks` says what a host looks at. On an app host the health agent answers,
    which the balancers ask, too.

    Returns:
        `checks`: a list of what was looked at, whether it is good, and further words. `clock`: the
        host's time in seconds, for comparison with the master's. `wanted`: the pillar that was
        used. A minion keeps its pillar until it is refreshed, so this may be an old one.

    CLI Example:
        salt s1 health.check
    """
    # a job inherits what its minion has imported, maybe before an update
    importlib.reload(probes)
    # a minion that started before the master knew its pillar has none until it is refreshed
    wanted = __pillar__.get("host", {}).get("checks", [])
    found = probes.report([(one["probe"], one["arguments"]) for one in wanted])
    return {**found, "wanted": wanted}

"""Judge the health of this host."""

from __future__ import annotations

from typing import Any

from salt.exceptions import CommandExecutionError

from salina.health import probes

__pillar__: dict[str, Any]


def check() -> dict[str, Any]:
    """Make all checks of this host, side by side. This takes at most 5 seconds.

    The pillar `host.checks` says what a host looks at. On an app host the health agent answers,
    which the balancers ask, too.

    Returns:
        `checks`: a list of what was looked at, whether it is good, and further words. `clock`: the
        host's time in seconds, for comparison with the master's.

    Raises:
        CommandExecutionError: the minion's pillar is older than this function.

    CLI Example:
        salt s1 health.check
    """
    try:
        wanted = __pillar__["host"]["checks"]
    except KeyError:
        raise CommandExecutionError(
            "pillar host.checks is missing\nnext: salt '*' saltutil.refresh_pillar"
        ) from None
    return probes.report([(one["probe"], one["arguments"]) for one in wanted])

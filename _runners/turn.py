"""Give hosts their turns to restart something, and show who has one.

Minions call `take` and `end` through `peer_run` (master.d/20-security.conf). Both only read and
write a file, because a worker of the master waits for their answer.
"""

from __future__ import annotations

import time
from typing import Any

from salt.exceptions import CommandExecutionError

from salina_fleet import runner
from salina_fleet.change import turns
from salina_fleet.errors import RunnerError
from salina_fleet.roles import ROLES
from salina_fleet.site import Site

__opts__: dict[str, Any]


def take(role: str, what: str) -> dict[str, Any]:
    """Give the calling minion a turn among the hosts of a role, or renew the one that it has.

    Salt has authenticated the minion's id.

    Args:
        role: one of the minion's roles.
        what: what it restarts, in words.

    Returns:
        `obstacle`: the reason, with "" for a turn. `final`: whether it stays so until somebody
        repairs another host. Salt passes a runner's result to the minion, but not the exception
        that it raises.

    CLI Example:
        salt s1 turn.take app 'odoo restarts'
    """
    try:
        site, host, tier = _caller(role)
        with turns.changing(site.state / turns.FILE) as found:
            now = time.time()
            own = turns.current(found.get(tier, []), site.fleet.hosts, now)
            found[tier], refused = turns.take(own, host, str(what), 1, now)
        return {"obstacle": refused, "final": turns.failed(own, host)}
    except (CommandExecutionError, OSError, ValueError) as error:
        return {"obstacle": str(error)}


def end(role: str, failure: str = "") -> dict[str, str]:
    """End the turn of the calling minion.

    Args:
        role: the role for which it has the turn.
        failure: why it is not healthy, or "". With a reason, the next host gets no turn.

    Returns:
        {"obstacle": reason}, with "" when it is done.

    CLI Example:
        salt s1 turn.end app
    """
    try:
        site, host, tier = _caller(role)
        with turns.changing(site.state / turns.FILE) as found:
            found[tier] = turns.end(found.get(tier, []), host, str(failure))
        return {"obstacle": ""}
    except (CommandExecutionError, OSError, ValueError) as error:
        return {"obstacle": str(error)}


def show() -> dict[str, list[dict[str, Any]]]:
    """Show which hosts have a turn.

    Returns:
        For each tier the turns: the host, what it restarts, for how many seconds it has the turn,
        and why it was not healthy at the end, if so.

    Raises:
        RunnerError: a file of the repository or of the state has a fault.

    CLI Example:
        salt-run turn.show
    """
    site, now = runner.site(__opts__), time.time()
    return {
        tier: [
            {
                "host": one.host,
                "what": one.what,
                "seconds": round(now - one.begun),
                "failure": one.failure,
            }
            for one in turns.current(found, site.fleet.hosts, now)
        ]
        for tier, found in turns.read(site.state / turns.FILE).items()
    }


def clear(host: str) -> str:
    """End every turn of a host that will not end it itself, so that other hosts get theirs.

    Args:
        host: the host's id.

    Returns:
        A sentence that says so.

    Raises:
        RunnerError: a file of the repository or of the state has a fault.

    CLI Example:
        salt-run turn.clear s1
    """
    site = runner.site(__opts__)
    turns.clear(site.state / turns.FILE, host)
    return f"{host} has no turn"


def _caller(role: str) -> tuple[Site, str, str]:
    """Return the site, the calling minion, and the tier in which it asks for a turn.

    Hosts of different applications do not stand in for each other: they are different tiers.

    Raises:
        RunnerError: the minion has no such role.
    """
    site, name = runner.site(__opts__), __opts__["id"]
    host = site.fleet.hosts.get(name)
    if host is None or role not in host.roles:
        raise RunnerError(f"{name} is not a host of the fleet with the role {role}")
    return site, name, f"{role} of {host.application}" if ROLES[role].serves else role

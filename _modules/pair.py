"""Look at the addresses that this host shares with another one (salt/pair)."""

from __future__ import annotations

from typing import Any

from salina.common import commands, pillars
from salina.firewall import ufw

__salt__: dict[str, Any]
__pillar__: dict[str, Any]


def held() -> list[str]:
    """Return those of the shared addresses that this host has now.

    Returns:
        All of them, or none while the other host has them.

    Raises:
        CommandExecutionError: the host shares no addresses, or `ip` failed.

    CLI Example:
        salt lb1 pair.held
    """
    shared = pillars.section(__pillar__, "pair")["addresses"]
    shown = commands.run(__salt__["cmd.run_all"], ["ip", "-json", "address", "show"])
    here = ufw.interfaces(shown)
    return [one["address"] for one in shared if one["address"] in here]

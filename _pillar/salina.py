"""Compile every minion's pillar from its id, the only thing that the master knows about a minion.

The master ignores whatever else a minion sends, such as its grains or a pillar on the command line.
An error stops the minion's `state.apply` with the message, before it has changed anything.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

from salina_fleet import site

if site.outdated():
    # Salt executes this file for each pillar, in a worker that lives for weeks. After an update of
    # the repository the worker must import the packages again. It must do so here, because Salt has
    # them on its path only while it loads a module.
    for _name in [name for name in sys.modules if name.split(".")[0] in site.PACKAGES]:
        del sys.modules[_name]
    importlib.invalidate_caches()
    site = importlib.import_module("salina_fleet.site")

__opts__: dict[str, Any]

MASTER_ITSELF = "_master"
"""The end of the id under which a master runs orchestrations. No host's id has an underscore."""


def ext_pillar(
    minion_id: str, pillar: dict[str, Any], root: str | None = None, state: str | None = None
) -> dict[str, Any]:
    """Return a minion's pillar.

    Args:
        minion_id: the minion's id. The master itself, as it runs an orchestration, gets an empty
            pillar.
        pillar: the pillar so far, which is ignored.
        root: the repository; by default from the master's configuration, `salina: {root, state}`.
        state: the master's state directory; by default from the same place.

    Returns:
        The pillar.

    Raises:
        DataError: with every fault of topology, settings, members and applications.
        UnknownMinion: the id is not a host of the fleet.

    CLI Example:
        salt-run pillar.show_pillar nas1
    """
    if minion_id.endswith(MASTER_ITSELF):
        return {}  # also if a file has a fault, which an orchestration's first step reports
    configured = __opts__.get("salina", {})
    places = (root or configured["root"], state or configured["state"])
    return site.read(*places, __opts__.get("cachedir")).pillar(minion_id)

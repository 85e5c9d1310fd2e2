"""Every minion's pillar, chosen by its id: the one thing about a minion that the master knows.

Whatever a minion sends along (its grains, a pillar on the command line) is not looked at.
Raising stops the minion's `state.apply` with the message, before it has changed anything.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

from salina_fleet import site as salina_site

if salina_site.outdated():
    # Salt executes this file for each pillar, in a worker that lives for weeks: it must not go on
    # with the packages it imported before the repository was updated. Here, because only while
    # it loads a module does Salt have them on the path.
    for _name in [name for name in sys.modules if name.split(".")[0] in salina_site.PACKAGES]:
        del sys.modules[_name]
    importlib.invalidate_caches()
    salina_site = importlib.import_module("salina_fleet.site")

__opts__: dict[str, Any]

MASTER_ITSELF = "_master"
"""Ends the id under which a master runs orchestrations; no host's id has an underscore."""


def ext_pillar(
    minion_id: str, pillar: dict[str, Any], root: str | None = None, state: str | None = None
) -> dict[str, Any]:
    """The pillar of `minion_id`.

    `root` is the repository, `state` the master's state directory; both default to the master
    configuration's `salina: {root, state}`. Raises a readable error that lists every fault of
    topology, settings, members and application; also for an id that is no host of the fleet.
    The master itself, as it runs an orchestration, gets an empty one.

    CLI Example: salt-run pillar.show_pillar nas1
    """
    configured = __opts__.get("salina", {})
    site = salina_site.read(root or configured["root"], state or configured["state"])
    return {} if minion_id.endswith(MASTER_ITSELF) else site.pillar(minion_id)

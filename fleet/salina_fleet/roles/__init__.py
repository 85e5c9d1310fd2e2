"""The roles that a host may have: one file each, found by being here."""

from __future__ import annotations

from salina_fleet import found
from salina_fleet.role import Role

ROLES = dict(sorted(found.all_of(Role, __name__, __path__).items(), key=lambda item: item[1].order))
"""A role's name -> the role, in the order in which a host that has several applies them."""

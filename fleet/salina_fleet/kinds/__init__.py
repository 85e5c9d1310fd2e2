"""The kinds of application that an app host can serve: one file each, found by being here."""

from __future__ import annotations

from salina_fleet import found
from salina_fleet.kind import Kind

KINDS = found.all_of(Kind, __name__, __path__)
"""A kind's name -> the kind."""

"""Odoo: HTTP workers and a gevent process for long polling, in one unit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from salina_fleet.kind import Kind


class Odoo(Kind):
    """Odoo from a git checkout."""

    name = "odoo"
    databases = ("postgres",)  # its bus listens for notifications there
    ports: ClassVar[Mapping[int, str]] = {8069: "Odoo", 8072: "Odoo"}

"""What a kind of application is: the class that every file of `salina_fleet/kinds` fills in.

A kind has one file there and one component in salt/, both with the kind's name. How to add one:
docs/guides/add-an-application-kind.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar


class Kind:
    """A kind of application, such as Odoo. Its name is that of its component in salt/, its user,
    its unit, and its section in a file of pillar/app.
    """

    name: ClassVar[str]
    databases: ClassVar[tuple[str, ...]] = ()
    """Databases that it uses beside its own."""
    ports: ClassVar[Mapping[int, str]] = {}
    """Ports that it listens on unless a definition says otherwise, each with the daemon's name."""

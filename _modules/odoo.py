"""Write Odoo's configuration for this host."""

from __future__ import annotations

from typing import Any

from salina.application import odoo

__grains__: dict[str, Any]
__pillar__: dict[str, Any]


def configuration() -> str:
    """Return the content of odoo.conf for this host. It holds secrets, so print it nowhere.

    Returns:
        The file's text.

    CLI Example:
        salt s1 odoo.configuration
    """
    return odoo.configuration(__pillar__["app"], __grains__["num_cpus"])

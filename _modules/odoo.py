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
    return odoo.configuration(__pillar__["app"], _workers())


def obstacle() -> str:
    """Return why Odoo's settings do not fit this host's memory, or "" if they do.

    Returns:
        The reason, with the setting and the value that would fit, or "".

    CLI Example:
        salt s1 odoo.obstacle
    """
    return odoo.obstacle(__pillar__["app"]["settings"], __grains__["mem_total"], _workers())


def _workers() -> int:
    """Return the number of worker processes on this host."""
    pool_size = __pillar__["database_route"]["settings"]["pool_size"]
    cores, memory = __grains__["num_cpus"], __grains__["mem_total"]
    return odoo.workers(__pillar__["app"]["settings"], pool_size, cores, memory)

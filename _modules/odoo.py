"""Write Odoo's configuration for this host, and compare its settings with host and database."""

from __future__ import annotations

from typing import Any

from salt.exceptions import CommandExecutionError

from salina.application import odoo
from salina.application.database import session
from salina.database.psql import PsqlError

__grains__: dict[str, Any]
__salt__: dict[str, Any]
__pillar__: dict[str, Any]


def configuration() -> str:
    """Return the content of odoo.conf for this host. It holds secrets, so print it nowhere.

    Returns:
        The file's text.

    CLI Example:
        salt s1 odoo.configuration
    """
    return odoo.configuration(__pillar__["app"], _workers())


def build(directory: str) -> None:
    """Add the Python environment to the checkout of a release.

    Args:
        directory: the checkout.

    Raises:
        CommandExecutionError: pip failed, or the requirements are missing.

    CLI Example:
        salt s1 odoo.build /opt/odoo/releases/c0ffee000000-0123abcd
    """
    python = __pillar__["app"]["definition"]["odoo"]["python"]
    source = f"salt://locks/{python['lock']}.txt" if python["lock"] else None
    asked = (
        python["interpreter"],
        source or f"{directory}/{python['requirements']}",
        bool(source),
        python["without_dependencies"],
        python["constraints"],
    )
    wanted = __salt__["python_environment.wanted"](*asked)
    if not wanted:
        raise CommandExecutionError(f"requirements: {python['requirements']} is not in the code")
    __salt__["python_environment.install"](f"{directory}/{odoo.ENVIRONMENT}", wanted)


def obstacle() -> str:
    """Return why Odoo's settings do not fit this host's memory, or "" if they do.

    Returns:
        The reason, with the setting and the value that would fit, or "".

    CLI Example:
        salt s1 odoo.obstacle
    """
    return odoo.obstacle(__pillar__["app"]["settings"], __grains__["mem_total"], _workers())


def missing_modules() -> list[str]:
    """Return the modules of `odoo.modules` that are not installed in the database.

    Returns:
        Their names, in the order of the definition. Before the first installation there are none,
        because it installs all of them.

    Raises:
        CommandExecutionError: the database does not answer.

    CLI Example:
        salt s1 odoo.missing_modules
    """
    wanted = __pillar__["app"]["definition"]["odoo"]["modules"]
    try:
        with session(__pillar__, "salina: modules?") as opened:
            if opened.query("SELECT to_regclass('ir_module_module') IS NULL") == ["t"]:
                return []
            installed = opened.query(
                "SELECT name FROM ir_module_module WHERE state IN ('installed', 'to upgrade')"
            )
    except PsqlError as error:
        raise CommandExecutionError(
            f"the database does not say which modules are installed: {error}"
        ) from error
    return [name for name in wanted if name not in installed]


def _workers() -> int:
    """Return the number of worker processes on this host."""
    pool_size = __pillar__["database_route"]["settings"]["pool_size"]
    cores, memory = __grains__["num_cpus"], __grains__["mem_total"]
    return odoo.workers(__pillar__["app"]["settings"], pool_size, cores, memory)

"""Ensure that Odoo is configured, and report settings that do not take effect."""

from __future__ import annotations

from typing import Any

from salina.common import state

__salt__: dict[str, Any]
__opts__: dict[str, Any]
__states__: dict[str, Any]


@state.fails_plainly
def fits(name: str) -> dict[str, Any]:
    """Ensure that Odoo's processes fit this host's memory. The state changes nothing.

    The master does not know the memory of its hosts, so this is the first state of an app host.

    Args:
        name: free text.

    Returns:
        The state's result. It fails with the setting that does not fit.

    CLI Example:
        See salt/odoo/fits.sls.
    """
    obstacle = __salt__["odoo.obstacle"]()
    return state.result(name, not obstacle, obstacle or "the settings fit this host")


@state.fails_plainly
def configured(name: str, user: str) -> dict[str, Any]:
    """Ensure that odoo.conf follows from this host's pillar and its number of processors.

    Args:
        name: the file's path.
        user: the group that may read it.

    Returns:
        The result of `file.managed`. It shows no changes, because the file holds secrets.

    CLI Example:
        See salt/odoo/configuration.sls.
    """
    ret: dict[str, Any] = __states__["file.managed"](
        name,
        contents=__salt__["odoo.configuration"](),
        user="root",
        group=user,
        mode="0640",
        makedirs=True,
        show_changes=False,
    )
    return ret


@state.fails_plainly
def modules(name: str) -> dict[str, Any]:
    """Report the modules of `odoo.modules` that are not installed. The state changes nothing.

    Args:
        name: free text.

    Returns:
        The state's result. It is None if modules are missing, so that Salt prints the comment,
        and the apply still succeeds.

    CLI Example:
        See salt/odoo/once.sls.
    """
    if __opts__["test"] and __salt__["application.database"]():
        return state.result(name, True, "the database does not answer yet")
    missing = __salt__["odoo.missing_modules"]()
    if not missing:
        return state.result(name, True, "every module of odoo.modules is installed")
    return state.note(
        name,
        f"odoo.modules: {', '.join(missing)}: not installed yet; next: salt-run "
        "state.orchestrate orch.upgrade",
    )

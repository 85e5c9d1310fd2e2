"""Ensure that Debian's packages can be installed."""

from __future__ import annotations

from typing import Any

from salina.common import state
from salina.common import wait as waiting

__salt__: dict[str, Any]
__states__: dict[str, Any]
__opts__: dict[str, Any]


@state.fails_plainly
def whole(name: str, wait: int) -> dict[str, Any]:
    """Ensure that no package is half installed.

    A power cut, or a killed apply, can leave one. Then apt installs nothing more until somebody
    finishes it.

    Args:
        name: free text.
        wait: seconds to wait for an installation that still runs. apt outlives the minion that
            started it.

    Returns:
        The state's result. It fails if the other installation takes longer, or if a package cannot
        be finished.

    CLI Example:
        See salt/common/packages.sls.
    """
    found = __salt__["apt.unfinished"]()
    if not found:
        return state.result(name, True, "no package is half installed")
    if __opts__["test"]:
        return state.result(name, None, f"these would be finished: {', '.join(found)}")
    waiting.clear(__salt__["apt.busy"], wait, "the packages")
    found = __salt__["apt.unfinished"]()
    if found:
        __salt__["apt.finish"]()
    left = __salt__["apt.unfinished"]()
    if left:
        comment = f"these are still half installed: {', '.join(left)}; see dpkg --audit"
        return state.result(name, False, comment)
    changes = {package: {"old": "half installed", "new": "installed"} for package in found}
    return state.result(name, True, "every package was finished", changes)


@state.fails_plainly
def release(name: str) -> dict[str, Any]:
    """Ensure that packages of another Debian release can be installed, from this host's own mirror.

    Its priority is 100, so apt takes from it only packages that no other source has.

    Args:
        name: the release's code name.

    Returns:
        The state's result. It fails if a file cannot be written, or if the mirror does not answer.

    CLI Example:
        See salt/odoo/packages.sls.
    """
    files = {
        f"/etc/apt/preferences.d/{name}.pref": (
            f"Package: *\nPin: release n={name}\nPin-Priority: 100\n"
        ),
        f"/etc/apt/sources.list.d/{name}.sources": __salt__["apt.source"](name),
    }
    changes = {}
    for path, contents in files.items():
        ret: dict[str, Any] = __states__["file.managed"](path, contents=contents, mode="0644")
        if ret["result"] is False:
            return ret | {"name": name}
        if ret["changes"]:
            changes[path] = ret["changes"]
    if changes and not __opts__["test"]:
        __salt__["pkg.refresh_db"](failhard=True)
    result = None if changes and __opts__["test"] else True
    return state.result(name, result, f"packages of {name} can be installed", changes)

"""Keep Debian's packages whole."""

from __future__ import annotations

from typing import Any

from salina.common import state
from salina.common import wait as salina_wait

__salt__: dict[str, Any]
__opts__: dict[str, Any]


@state.fails_plainly
def whole(name: str, wait: int) -> dict[str, Any]:
    """Ensure that no package was left halfway: the host lost its power, or the apply was killed.

    Until that is taken up apt installs nothing more.

    Args:
        name: free text.
        wait: seconds for an installation that goes on: apt outlives the minion that began it.

    Fails:
        it goes on for longer, or what was left can't be finished.

    CLI example: see ``salt/common/packages.sls``.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": "all are whole"}
    found = __salt__["apt.unfinished"]()
    if not found:
        return ret
    if __opts__["test"]:
        return ret | {"result": None, "comment": f"would be finished: {', '.join(found)}"}
    salina_wait.clear(__salt__["apt.busy"], wait, "the packages")
    found = __salt__["apt.unfinished"]()
    if found:
        __salt__["apt.finish"]()
    left = __salt__["apt.unfinished"]()
    if left:
        comment = f"still unfinished: {', '.join(left)}. See dpkg --audit"
        return ret | {"result": False, "comment": comment}
    changes = {package: {"old": "halfway", "new": "installed"} for package in found}
    return ret | {"changes": changes, "comment": "finished"}

"""Keep the cluster's roles and databases as the pillar names them."""

from __future__ import annotations

from typing import Any

from salt.exceptions import CommandExecutionError

from salina.common import state
from salina.common import wait as salina_wait

__virtualname__ = "database"
__salt__: dict[str, Any]
__opts__: dict[str, Any]


def __virtual__() -> str:
    return __virtualname__


@state.fails_plainly
def present(name: str, wait: int) -> dict[str, Any]:
    """Ensure that the roles and databases are there, with their passwords, rights and owners.

    The primary makes them; a replica waits until they arrive from it, and makes them itself if
    it becomes the primary meanwhile. So whichever host applies, afterwards they are there.

    Args:
        name: free text.
        wait: seconds for a replica to wait.

    Fails:
        PostgreSQL refused, doesn't answer, or nothing arrived in time.

    CLI Example:
        See salt/database/init.sls.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": "as wanted"}
    if __opts__["test"]:
        return ret | _predicted()

    def missing() -> str:
        plan = __salt__["database.plan"]()
        if plan["steps"] and not plan["replica"]:
            ret["changes"] = __salt__["database.apply"]()
            plan = __salt__["database.plan"]()
        return "; ".join(f"{subject} is not {change}" for subject, change in plan["steps"])

    salina_wait.clear(missing, wait, "roles and databases to arrive from the primary")
    return ret


def _predicted() -> dict[str, Any]:
    try:
        plan = __salt__["database.plan"]()
    except CommandExecutionError as error:
        return {"result": None, "comment": f"would be compared when PostgreSQL runs: {error}"}
    if plan["steps"]:
        return {"result": None, "changes": dict(plan["steps"]), "comment": "would be changed"}
    return {}

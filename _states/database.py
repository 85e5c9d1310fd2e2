"""Ensure that the cluster has the pillar's roles and databases."""

from __future__ import annotations

from typing import Any

from salt.exceptions import CommandExecutionError

from salina.common import state
from salina.common import wait as waiting

__salt__: dict[str, Any]
__opts__: dict[str, Any]


PASSING = (
    *("connection to server", "server closed the connection", "terminating connection"),
    *("read-only transaction", "this host is a replica"),
)
"""Words of an error while another host restarts this PostgreSQL, or moves the primary."""


@state.fails_plainly
def present(name: str, wait: int) -> dict[str, Any]:
    """Ensure that the roles and databases exist, with their passwords, rights and owners.

    The primary creates them. A replica waits until they arrive from the primary, and creates them
    itself if it becomes the primary meanwhile. So they exist afterwards, whichever host applies.

    Args:
        name: free text.
        wait: seconds for a replica to wait.

    Returns:
        The state's result. It fails if PostgreSQL refuses, or if it does not answer or nothing
        arrives in time.

    CLI Example:
        See salt/database/init.sls.
    """
    if __opts__["test"]:
        return _predicted(name)
    ret = state.result(name, True, "roles and databases are up to date")

    def missing() -> str:
        try:
            plan = __salt__["database.plan"]()
            if plan["steps"] and not plan["replica"]:
                ret["changes"] = __salt__["database.apply"]()
                plan = __salt__["database.plan"]()
        except CommandExecutionError as error:
            if any(words in str(error) for words in PASSING):
                return str(error)
            raise
        return "; ".join(f"{subject} is not {change}" for subject, change in plan["steps"])

    waiting.clear(missing, wait, "roles and databases to arrive from the primary")
    return ret


def _predicted(name: str) -> dict[str, Any]:
    try:
        plan = __salt__["database.plan"]()
    except CommandExecutionError as error:
        comment = f"they would be compared when PostgreSQL runs: {error}"
        return state.note(name, comment)
    if plan["steps"]:
        return state.result(name, None, "they would be changed", dict(plan["steps"]))
    return state.result(name, True, "roles and databases are up to date")

"""Ensure that the database cluster has its place in the repository, and a first backup."""

from __future__ import annotations

from typing import Any

from salt.exceptions import CommandExecutionError

from salina.backup import pgbackrest
from salina.common import state
from salina.common import wait as waiting

__salt__: dict[str, Any]
__opts__: dict[str, Any]


@state.fails_plainly
def stanza(name: str, wait: int) -> dict[str, Any]:
    """Ensure that the stanza exists. On a bare fleet this waits for the primary.

    Args:
        name: the stanza.
        wait: seconds to wait for a primary that pgBackRest can reach.

    Returns:
        The state's result. It fails if pgBackRest cannot create the stanza in time.

    CLI Example:
        See salt/backup/init.sls.
    """
    if __opts__["test"] and not __salt__["pkg.version"]("pgbackrest"):
        return state.result(name, None, "the stanza would be created", {"stanza": name})
    if __salt__["pgbackrest.info"]()["code"] != pgbackrest.MISSING:
        return state.result(name, True, "the stanza exists")
    if __opts__["test"]:
        return state.result(name, None, "the stanza would be created", {"stanza": name})

    def obstacle() -> str:
        try:
            __salt__["pgbackrest.create_stanza"]()
        except CommandExecutionError as error:
            return str(error)
        return ""

    waiting.clear(obstacle, wait, f"the stanza {name}")
    return state.result(name, True, "the stanza was created", {"stanza": name})


@state.fails_plainly
def backed_up(name: str) -> dict[str, Any]:
    """Ensure that there is a backup: the timer's first one may be a day away.

    A repository that came back from the second place needs one more, because WAL is missing. If the
    database hosts are lost as well, orch.restore_cluster makes it at its end.

    Args:
        name: free text.

    Returns:
        The state's result. It fails if the backup fails.

    CLI Example:
        See salt/backup/init.sls.
    """
    if __opts__["test"] and not __salt__["pkg.version"]("pgbackrest"):
        return state.result(name, None, "a full backup would be made", {"backup": "full"})
    backups = __salt__["pgbackrest.info"]()["backups"]
    if backups and backups[-1]["end"] >= __salt__["pgbackrest.came_back"]():
        return state.result(name, True, "there is a backup")
    if __opts__["test"]:
        return state.result(name, None, "a full backup would be made", {"backup": "full"})
    if backups and (fault := __salt__["pgbackrest.without_primary"]()):
        comment = f"no backup was made, because there is no primary: {fault}"
        return state.result(name, True, comment)
    label = __salt__["pgbackrest.back_up"]("full")
    return state.result(name, True, "a full backup was made", {"backup": label})

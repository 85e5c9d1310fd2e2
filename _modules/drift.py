"""Find out what another apply would change on this host."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from salt.exceptions import CommandExecutionError

from salina.applied import record

__salt__: dict[str, Any]
__context__: dict[str, Any]


def look() -> dict[str, Any]:
    """Predict an apply of this host, and record what it would change. It changes nothing.

    A timer calls this once a day (pillar/settings/drift.yaml). The check `applied` of the host's
    health shows the record. `salt-run fleet.plan` shows the differences themselves.

    An apply that begins meanwhile goes on, and the prediction is not recorded.

    Returns:
        The record: `changes` and `failures` (states), `begun`, and `since` when there were some. Or
        `obstacle`, the reason why nothing was recorded.

    CLI Example:
        salt '*' drift.look
    """
    if __salt__["saltutil.is_running"]("state.*"):
        return {"obstacle": "states are being applied"}
    begun = time.time()
    returned = __salt__["state.apply"](test=True, concurrent=True)
    __context__["retcode"] = 0  # a prediction with failures is one that succeeded
    if (
        __salt__["saltutil.is_running"]("state.*")
        or record.read(record.LAST).get("ended", 0) > begun
    ):
        return {"obstacle": "states were applied meanwhile"}
    before = record.read(record.PREDICTED)
    if before.get("begun", 0) < record.read(record.LAST).get("ended", 0):
        before = {}  # an apply has come between
    found = record.predicted(returned, begun, before)
    record.write(record.PREDICTED, found)
    return found


def applied(failed: Sequence[str]) -> dict[str, Any]:
    """Record that an apply of this host has ended now. Its last state calls this.

    Args:
        failed: the ids of the states that failed.

    Returns:
        The record: `ended` and `since`, in seconds since the epoch, and `failed`. `since` is the
        end of the first apply in a row with failures.

    Raises:
        CommandExecutionError: the record cannot be written.

    CLI Example:
        salt s1 drift.applied '[]'
    """
    found = record.last(failed, time.time(), record.read(record.LAST))
    try:
        record.write(record.LAST, found)
    except OSError as error:
        raise CommandExecutionError(f"{record.FOLDER / record.LAST}: {error.strerror}") from None
    return found

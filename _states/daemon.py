"""Keep a running daemon in step with its files."""

from __future__ import annotations

from typing import Any

from salina.common import command, state

__virtualname__ = "daemon"
__salt__: dict[str, Any]
__opts__: dict[str, Any]


def __virtual__() -> str:
    return __virtualname__


@state.fails_plainly
def current(name: str, files: list[str], restart: bool = False) -> dict[str, Any]:
    """Ensure that a running service has read its files, by a reload if it has not.

    Unlike ``watch`` this does not forget a change when a run is killed before the reload.

    Args:
        name: the service. One that doesn't run is left alone.
        files: what it reads when it starts and when it reloads.
        restart: it reads them only when it starts.

    Fails:
        the reload, or the restart, failed.

    CLI Example:
        See salt/patroni/service.sls.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": "it has"}
    unread = __salt__["daemon.outdated"](name, files, reloads=not restart)
    if not unread:
        return ret
    action = "restart" if restart else "reload"
    if __opts__["test"]:
        return ret | {"result": None, "comment": f"would {action}: {', '.join(unread)} changed"}
    command.systemctl(__salt__, action, name)
    return ret | {"changes": {"read": unread}, "comment": f"{action}ed"}


@state.fails_plainly
def current_afterwards(name: str, files: list[str], unit: str) -> dict[str, Any]:
    """Ensure that the minion itself has read its files, by a restart as soon as this job has ended.

    A job can't outlive its own minion.

    Args:
        name: the minion's service.
        files: what it reads when it starts.
        unit: the name of the transient unit that waits and restarts.

    Fails:
        that unit could not be started.

    CLI Example:
        See salt/common/minion.sls.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": "it has"}
    unread = __salt__["daemon.outdated"](name, files)
    if not unread:
        return ret
    if __opts__["test"]:
        return ret | {"result": None, "comment": f"would restart: {', '.join(unread)} changed"}
    __salt__["daemon.restart_afterwards"](name, unit)
    return ret | {"changes": {"read": unread}, "comment": "restarts when this job has ended"}

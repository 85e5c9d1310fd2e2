"""Ensure that daemons run, start at boot, and have read their files."""

from __future__ import annotations

from typing import Any

from salina.common import commands, prediction, state

__salt__: dict[str, Any]
__opts__: dict[str, Any]
__states__: dict[str, Any]


@state.fails_plainly
def running(name: str, unmask: bool = False) -> dict[str, Any]:
    """Ensure that a service, or another unit such as a timer, runs and starts at boot.

    If all is well it asks systemd once. Salt's `service.running`, which does the rest, asks seven
    times, and an app host has ten such states.

    Args:
        name: the unit.
        unmask: whether to unmask it, if an operator has masked it.

    Returns:
        The state's result. It fails if the unit does not start.

    CLI Example:
        See salt/nginx/service.sls.
    """
    if __salt__["daemon.ready"](name):
        return state.result(name, True, f"{name} runs, and starts at boot")
    return dict(__states__["service.running"](name, enable=True, unmask=unmask))


@state.fails_plainly
def at_boot(name: str) -> dict[str, Any]:
    """Ensure that a service starts at boot, and leave it as it is until then.

    Args:
        name: the service.

    Returns:
        The state's result. It fails if systemd cannot enable the service.

    CLI Example:
        See salt/ufw/init.sls.
    """
    if __salt__["daemon.ready"](name, running=False):
        return state.result(name, True, f"{name} starts at boot")
    return dict(__states__["service.enabled"](name))


@state.fails_plainly
def current(
    name: str, files: list[str], restart: bool = False, turn: str | None = None
) -> dict[str, Any]:
    """Ensure that a running service has read its files, and reload it if it has not.

    Unlike `watch`, this does not forget a change when a run is killed before the reload.

    Args:
        name: the service. A stopped service is left alone.
        files: the files that it reads when it starts and when it reloads.
        restart: whether it reads them only when it starts. Then it is restarted.
        turn: the role whose hosts take turns for this. The host takes its turn before it restarts
            or reloads the service; `turn.ended` ends it.

    Returns:
        The state's result. It fails if the host gets no turn, or the reload or the restart fails.

    CLI Example:
        See salt/patroni/service.sls.
    """
    unread = prediction.unread(__salt__, name, files, reloads=not restart)
    if not unread:
        return state.result(name, True, f"{name} has read its files")
    why = f"{', '.join(unread)} changed"
    action = prediction.RESTART if restart else prediction.RELOAD
    return _renewed(name, action, turn, why, {"read": unread})


@state.fails_plainly
def upgraded(name: str, reload: bool = False, turn: str | None = None) -> dict[str, Any]:
    """Ensure that a service runs the program and the libraries that are on the disk.

    The packages themselves restart nothing (salt/common/packages.sls), because they would take no
    turn.

    Args:
        name: the service.
        reload: whether a reload starts the new program.
        turn: the role whose hosts take turns for this, as in `current`.

    Returns:
        The state's result. It fails if the host gets no turn, or the reload or the restart fails.

    CLI Example:
        See salt/nginx/service.sls.
    """
    replaced = __salt__["daemon.replaced"](name)
    if not replaced:
        return state.result(name, True, f"{name} runs the program on the disk")
    why = f"{', '.join(replaced)} was replaced"
    action = prediction.RELOAD if reload else prediction.RESTART
    return _renewed(name, action, turn, why, {"replaced": replaced})


@state.fails_plainly
def all_upgraded(name: str, services: list[str]) -> dict[str, Any]:
    """Ensure that several services run the programs and the libraries that are on the disk.

    They restart without a turn, so nobody may notice a restart of them. One that is stopped, or
    not installed, is left alone.

    Args:
        name: free text.
        services: the services.

    Returns:
        The state's result. It fails if a restart fails.

    CLI Example:
        See salt/updates/init.sls.
    """
    old = __salt__["daemon.outdated_among"](services)
    if not old:
        return state.result(name, True, "they run the programs on the disk")
    words = ", ".join(old)
    if __opts__["test"]:
        return state.result(name, None, f"{words} would restart", {"restart": words})
    for one in old:
        commands.systemctl(__salt__, prediction.RESTART, one)
    return state.result(name, True, f"{words} restarted", {"restart": words})


@state.fails_plainly
def current_afterwards(name: str, files: list[str], unit: str) -> dict[str, Any]:
    """Ensure that the minion itself has read its files, with a restart after this job.

    A job cannot survive a restart of its own minion. The minion restarts for an upgraded program,
    too.

    Args:
        name: the minion's service.
        files: the files that it reads when it starts.
        unit: the name of the transient unit that waits and restarts.

    Returns:
        The state's result. It fails if systemd does not start that unit.

    CLI Example:
        See salt/common/minion.sls.
    """
    unread = [*prediction.unread(__salt__, name, files), *__salt__["daemon.replaced"](name)]
    if not unread:
        return state.result(name, True, f"{name} has read its files")
    changes = {prediction.RESTART: name, "read": unread}
    if __opts__["test"]:
        comment = f"{name} would restart, because {', '.join(unread)} changed"
        return state.result(name, None, comment, changes)
    __salt__["daemon.restart_afterwards"](name, unit)
    return state.result(name, True, f"{name} restarts when this job has ended", changes)


def _renewed(
    name: str, action: str, turn: str | None, why: str, cause: dict[str, Any]
) -> dict[str, Any]:
    """Reload or restart a service, in the turn of this host if there are turns for it."""
    if __opts__["test"]:
        changes = prediction.renewal(__salt__, action, name, turn) | cause
        when = ", in the turn of this host" if prediction.TURN in changes else ""
        return state.result(name, None, f"{name} would {action}{when}, because {why}", changes)
    if turn:
        __salt__["turn.take"](turn, f"{name} has to {action}")
    commands.systemctl(__salt__, action, name)
    return state.result(name, True, f"{name} was {action}ed", {action: name, **cause})

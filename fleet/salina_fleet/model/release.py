"""A release of an application: one commit of its code with everything that it needs to run.

Its name follows from all that it is built from, so the master knows it before it exists, and
another lock or another interpreter is another release. Why and where it is built:
docs/decisions/0049-a-release-is-built-once.md.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from salina.application import release as own
from salina_fleet import secrets
from salina_fleet.kinds import KINDS
from salina_fleet.platforms import DEFAULT

if TYPE_CHECKING:
    from salina_fleet.revisions import Source
    from salina_fleet.role import MasterData, Pillar

FORM = 1
"""Another number makes every release a new one: after a change of how releases are built."""


def sources(name: str, definition: Mapping[str, Any]) -> dict[str, Source]:
    """Return the git repositories of a definition, each under the name of its record.

    Args:
        name: the definition's.
        definition: the content of a file of pillar/app.

    Returns:
        First the one of `source`, under the definition's name; then the further ones under
        DEFINITION/NAME. Beside the keys of the definition's file each has `place`, its path in that
        file, `directory`, where it is in a release, and `known_hosts`.
    """
    kind = definition["kind"]
    key, further = KINDS[kind].repositories(definition[kind])
    common = {"known_hosts": definition["known_hosts"]}
    found: dict[str, Source] = {}
    found[name] = {**definition["source"], **common, "place": "source", "directory": ""}
    for number, one in enumerate(further):
        found[f"{name}/{one['name']}"] = {
            **one,
            **common,
            "place": f"{kind}.{key}[{number}]",
            "directory": own.beside_code(one["name"]),
        }
    return found


def keys(definitions: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the names of the deploy keys that definitions use."""
    used = (
        one["key"]
        for name, definition in definitions.items()
        for one in sources(name, definition).values()
    )
    return sorted({key for key in used if key is not None})


def name(
    definition: Mapping[str, Any],
    commits: Iterable[str],
    locks: Mapping[str, str],
    platform: str = DEFAULT,
) -> str:
    """Return the name of the release that a definition wants.

    A definition that does not use the newer keys keeps the name that it had before they existed.
    Another platform has another interpreter and other libraries, so it has releases of its own.

    Args:
        definition: the content of a file of pillar/app.
        commits: the commits of its repositories, in the order of `sources`.
        locks: the file in salt/locks -> the digest of its content.
        platform: the name of the platform of its hosts.
    """
    kind = definition["kind"]
    keys, files = KINDS[kind].built_from(definition[kind])
    commit, *further = commits
    inputs = [FORM, kind, commit, keys, [locks.get(file) for file in files]]
    if further:
        inputs.append(further)
    if definition["source"]["submodules"]:
        inputs.append("submodules")
    if platform != DEFAULT:
        inputs.append(platform)
    digest = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()
    return f"{commit[:12]}-{digest[:8]}"


def commits(data: MasterData, application: str) -> dict[str, str]:
    """Return the commit of each repository of an application, in the order of `sources`."""
    chosen = data.fleet.topology.applications[application].definition
    found = sources(chosen, data.definitions[chosen])
    return {label: data.revisions.commit(label, source) for label, source in found.items()}


def wanted(data: MasterData, application: str) -> str:
    """Return the name of the release that an application must run."""
    topology = data.fleet.topology
    definition = data.definitions[topology.applications[application].definition]
    platform = topology.platform("app", application).name
    return name(definition, commits(data, application).values(), data.locks, platform)


def pillar(data: MasterData, application: str, mount: str) -> Pillar:
    """Return how an app host gets the release of its application.

    Args:
        data: the master's view.
        application: the application's name.
        mount: the directory at which the app host has the volume.

    Raises:
        SecretsError: a deploy key is missing.
    """
    chosen = data.fleet.topology.applications[application].definition
    definition, recorded = data.definitions[chosen], commits(data, application)
    found = wanted(data, application)
    return {
        "name": found,
        "directory": f"{own.releases(definition['kind'])}/{found}",
        "store": f"{mount}/{own.STORE}/{application}",
        "checkouts": [
            {
                "directory": source["directory"],
                "repository": source["repository"],
                "commit": recorded[label],
                "submodules": source["submodules"],
                "key": secrets.deploy_key(data.secrets, source["key"]),
                "known_hosts": source["known_hosts"],
            }
            for label, source in sources(chosen, definition).items()
        ],
    }

"""The pillar of a minion, key by key: docs/pillar.md.

The meanings stand beside the code that builds a section: `salina_fleet.pillar.KEYS` for every host,
`keys` of a role's class for the role. A key that passes a setting on has the setting's meaning. The
types, and the roles that get a section, come from real pillars: those of all topologies of the
tests, with the settings that fill in every key.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from salina_fleet import pillar
from salina_fleet.model.backup import BackupSettings
from salina_fleet.model.firewall import Egress, FirewallSettings
from salina_fleet.model.settings import COMPONENTS
from salina_fleet.model.tls import TlsSettings
from salina_fleet.roles import ROLES
from salina_fleet.roles.app import AppSettings
from salina_fleet.schema.declare import describe
from tests import fleets

KEYS: Mapping[str, str] = {
    **pillar.KEYS,
    **{key: text for role in ROLES.values() for key, text in role.keys.items()},
}
"""The keys that no setting explains -> their meanings."""
SECTIONS = {"firewall": "ufw"}
"""A component -> the section of the pillar that has its settings, where the names differ."""
ANYTHING = "NAME"
"""The key that stands for all keys of a mapping whose keys are not this project's."""
KINDS = {bool: "true or false", int: "whole number", float: "number", str: "text"}


@dataclass
class Key:
    """The values of a key in all pillars: their types, and whether one of them is a secret."""

    types: set[str] = field(default_factory=set)
    secret: bool = False


@dataclass
class Found:
    """The content of all pillars: the keys, and the sets of roles that get each section."""

    keys: dict[str, Key] = field(default_factory=dict)
    having: dict[str, list[tuple[str, ...]]] = field(default_factory=dict)
    hosts: list[tuple[str, ...]] = field(default_factory=list)


def pillars() -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Build the pillar of a minion of each kind, for all applications and for all settings.

    Returns:
        The roles of each minion, and its pillar.
    """
    own = fleets.settings()
    full = fleets.BY_LOAD.but(
        replace(own[AppSettings], workers=2, npm_registry="https://registry.example"),
        fleets.ACME[TlsSettings],
        fleets.SECOND[BackupSettings],
        replace(own[FirewallSettings], egress=(Egress(ports="587", application=True),)),
    )
    for name, host in fleets.kinds():
        roles = fleets.fleet(name).hosts[host].roles
        for settings in (own, full):
            yield roles, fleets.pillar(host, name, settings)
        for application in fleets.APPLICATIONS:
            yield roles, fleets.pillar(host, name, application=application)


@cache
def found() -> Found:
    """Collect every key of every pillar."""
    all_of = Found()
    for roles, content in pillars():
        all_of.hosts.append(roles)
        for section, value in content.items():
            all_of.having.setdefault(section, []).append(roles)
            _collect(section, value, all_of.keys)
    return all_of


@cache
def meanings() -> Mapping[str, str]:
    """Return every key of every section, with its meaning.

    A section passes the settings of its component on: `database.port`, `database.settings.ttl`.
    """
    passed = {
        f"{SECTIONS.get(name, name)}.{place}{entry.path}": entry.about
        for name, kind in COMPONENTS.items()
        for entry in describe(kind)
        for place in ("", "settings.")
    }
    return {**{key: text for key, text in passed.items() if key in found().keys}, **KEYS}


def _collect(path: str, value: Any, keys: dict[str, Key]) -> None:
    key = keys.setdefault(path, Key())
    key.types.add(_type(value))
    key.secret |= isinstance(value, str) and _is_secret(value)
    if isinstance(value, Mapping):
        free = f"{path}.{ANYTHING}"
        for name, inner in value.items():
            if free in KEYS:
                keys.setdefault(free, Key()).types.add(_type(inner))
            else:
                _collect(f"{path}.{name}", inner, keys)
    elif isinstance(value, list):
        for inner in value:
            if isinstance(inner, Mapping):
                for name, innermost in inner.items():
                    _collect(f"{path}[].{name}", innermost, keys)


def _is_secret(value: str) -> bool:
    public = {f"canary-{name}" for name in (fleets.PUBLIC, fleets.PUBLIC_OF_FILES)}
    return value.startswith("canary-") and value not in public


def _type(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, Mapping):
        return "mapping"
    if isinstance(value, list):
        kinds = sorted({_type(inner) for inner in value})
        plural = {"mapping": "mappings", "whole number": "whole numbers"}
        return "list of " + " or ".join(plural.get(kind, kind) for kind in kinds) if kinds else ""
    return KINDS[type(value)]


def type_of(key: Key) -> str:
    """Return a key's type in words: `text or null`; an empty list is a list of the others."""
    types = key.types - {""} or {"list"}
    words = " or ".join(sorted(types, key=lambda one: (one == "null", one)))
    return f"{words}, secret" if key.secret else words


def receivers(section: str) -> str:
    """Return the roles whose hosts all get a section, in words."""
    everything = found()
    having = everything.having[section]
    if len(having) == len(everything.hosts):
        return "every host"
    roles = dict.fromkeys(role for host in everything.hosts for role in host)
    always = [
        role
        for role in roles
        if sum(role in host for host in having) == sum(role in host for host in everything.hosts)
    ]
    return "hosts with role " + " or ".join(f"`{role}`" for role in always)


def markdown() -> str:
    """Write docs/pillar.md."""
    lines = [
        "# The pillar of a minion",
        "",
        "`make docs` writes this file. The meanings come from",
        "[pillar.py](../fleet/salina_fleet/pillar.py), from `keys` in each file of",
        "[roles](../fleet/salina_fleet/roles), and for a setting from its declaration (see",
        "[settings.md](settings.md)). The types come from the pillars of all topologies of the",
        "tests. A minion gets the sections of its roles and no others. A key that is marked as",
        "secret goes only to the hosts that need it. To see the pillar of one minion, run",
        "`salt-run pillar.show_pillar s1` on the master: it prints the secrets, too.",
        "",
        f"`[]` stands for each entry of a list, `{ANYTHING}` for any key of a mapping.",
    ]
    keys = found().keys

    place = {path: number for number, path in enumerate(keys)}

    def position(path: str) -> list[int]:
        """Return the places of the keys around a key, so that it stands with its neighbours."""
        ends = [found.start() for found in re.finditer(r"\.|\[\]", path)] + [len(path)]
        return sorted(place[path[:end]] for end in ends if path[:end] in place)

    for section in found().having:
        lines += ["", f"## {section}", "", f"{KEYS[section]} It goes to {receivers(section)}."]
        lines += ["", "| key | type | meaning |", "|---|---|---|"]
        for path in sorted(keys, key=position):
            if path.startswith((f"{section}.", f"{section}[]")):
                short = path.removeprefix(f"{section}.")
                lines.append(f"| `{short}` | {type_of(keys[path])} | {meanings()[path]} |")
    return "\n".join(lines) + "\n"

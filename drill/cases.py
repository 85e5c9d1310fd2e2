"""Which hosts are broken, and how."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lab.errors import LabError
from lab.machines.faults import Fault, Kind
from salina_fleet.fleet import Fleet
from salina_fleet.health import MINION
from salina_fleet.model.topology import Host
from salina_fleet.roles import ROLES

KINDS = (Kind.LINK_DOWN, Kind.FREEZE, Kind.KILL)
"""The ways to break a whole host. SERVICE_KILL breaks one of its services."""
Definitions = Mapping[str, Mapping[str, Any]]


def services(fleet: Fleet, host: Host, definitions: Definitions) -> list[str]:
    """Return the services that may be killed on a host: those of its roles, or else its minion.

    A role of applications names the services of all kinds, so a service may not be there.
    """
    found: list[str] = []
    for role in (ROLES[name] for name in host.roles):
        found += role.daemons
        checks = role.checks(fleet, host, definitions)
        found += [str(one.arguments["name"]) for one in checks if one.probe == "unit"]
    return list(dict.fromkeys(found)) or [MINION]


def cases(fleet: Fleet, definitions: Definitions) -> Iterator[Fault]:
    """Yield every drill: each kind against each host in turn."""
    for kind in KINDS:
        yield from (Fault(kind, name) for name in fleet.hosts)
    for host in fleet.hosts.values():
        for service in services(fleet, host, definitions):
            yield Fault(Kind.SERVICE_KILL, host.id, service)


def chosen(found: Sequence[Fault], words: Sequence[str]) -> list[Fault]:
    """Return the drills that an operator asks for.

    Args:
        found: All drills.
        words: Hosts, kinds and services. A drill must have one of the hosts if there is any among
            them, and so for the kinds and the services.

    Raises:
        LabError: A word is none of them, or no drill has them all.
    """
    parts = [
        {one.host for one in found},
        {str(one.kind) for one in found},
        {one.service for one in found if one.service},
    ]
    unknown = [word for word in words if not any(word in part for part in parts)]
    if unknown:
        known = ", ".join(word for part in parts for word in sorted(part))
        raise LabError(
            f"ONLY: {unknown[0]!r} is not a host, a kind or a service; choose of: {known}",
            'make drill ONLY="bbdd1 freeze"',
        )
    wanted = [part.intersection(words) or {*part, ""} for part in parts]
    picked = [
        one
        for one in found
        if one.host in wanted[0] and one.kind in wanted[1] and one.service in wanted[2]
    ]
    if not picked:
        raise LabError(
            f"ONLY: no drill has all of: {' '.join(words)}", 'make drill ONLY="bbdd1 freeze"'
        )
    return picked

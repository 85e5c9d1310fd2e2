"""The services that Nagios watches, and which faults are part of another one.

A service is a check of the host (fleet/salina_fleet/health.py). A finding that depends on other
hosts, as the check declares (`Check.needs`), is a service of its own, so that it can stay silent
while these have a fault, and the rest of the check does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from salina.monitoring.plugin import REPORT
from salina_fleet import health
from salina_fleet.fleet import Fleet
from salina_fleet.model.topology import Host
from salina_fleet.role import Check
from salina_fleet.roles import ROLES

Definitions = Mapping[str, Mapping[str, Any]]
Services = dict[str, list[str]]
"""A host -> some of its services."""


def expected(fleet: Fleet, host: Host, definitions: Definitions) -> dict[str, list[str]]:
    """Return the checks of a host, each with the findings that are services of their own."""
    return {one.name: list(one.needs) for one in health.checks(fleet, host, definitions)}


def listed(checks: Mapping[str, Iterable[str]]) -> list[str]:
    """Return the services of checks, which are given as `expected` returns them."""
    return list(dict.fromkeys(name for own, apart in checks.items() for name in (own, *apart)))


def tier(role: str) -> str:
    """Return the service that says whether enough hosts do the work of a role."""
    return f"tier {role}"


def tiers(fleet: Fleet, definitions: Definitions) -> list[dict[str, Any]]:
    """Return for each role by which services its hosts show that they do its work.

    Returns:
        The name of the tier's `service`, how many hosts it can `spare`, and its `hosts`, each with
        its `name` and its `services`. A role none of whose checks decides that is left out.
    """
    found = []
    for name, role in ROLES.items():
        hosts = {}
        for host in fleet.having(name):
            if own := _services(fleet, definitions, host, name):
                hosts[host.id] = [REPORT, *own]
        if hosts:
            found.append(
                {"service": tier(name), "spare": role.spare(fleet), "hosts": _as_list(hosts)}
            )
    return found


def dependencies(fleet: Fleet, definitions: Definitions, watcher: str) -> list[dict[str, Any]]:
    """Return which services stay silent because of which others, for all hosts.

    Args:
        fleet: all hosts.
        definitions: the name of a file in pillar/app -> its content.
        watcher: the monitoring host, which has the tiers' services.

    Returns:
        `host` and `service`, and the services on which they depend: `on`, a list of hosts, each
        with its `name` and its `services`.
    """
    found = []
    judged = [one["service"] for one in tiers(fleet, definitions)]
    for host in fleet.hosts.values():
        for check in health.checks(fleet, host, definitions):
            for service, roles in check.needs.items():
                on: Services = {}
                for role in roles:
                    alike = _deciding(fleet, definitions, host, role)
                    if check.name in [one.name for one in alike]:
                        on |= _alike(fleet, definitions, host, role, check.name, service)
                    elif service in check.alone:
                        on |= _each(fleet, definitions, role)
                    elif tier(role) in judged:
                        on.setdefault(watcher, []).append(tier(role))
                listed_on = _as_list({name: own for name, own in on.items() if own})
                if listed_on:
                    found.append({"host": host.id, "service": service, "on": listed_on})
    return found


def _alike(
    fleet: Fleet, definitions: Definitions, host: Host, role: str, check: str, service: str
) -> Services:
    """Return on which services of the other hosts of its own tier a finding depends.

    If a host has a fault, the others see it, and its own alarm is enough. A fault that all of them
    see in the same way is the first one's alarm. A spare does not look at the same.
    """
    found: Services = {}
    before = True
    for peer in fleet.having(role):
        if peer.id == host.id:
            before = False
            continue
        if check not in [one.name for one in _deciding(fleet, definitions, peer, role)]:
            continue
        found[peer.id] = [*([] if service == check else [REPORT, check]), *([service] * before)]
    return found


def _each(fleet: Fleet, definitions: Definitions, role: str) -> Services:
    """Return the services of each host of a role that say whether it does its work."""
    return {
        host.id: [REPORT, *_services(fleet, definitions, host, role)] for host in fleet.having(role)
    }


def _services(fleet: Fleet, definitions: Definitions, host: Host, role: str) -> list[str]:
    """Return the services that say whether a host does the work of a role.

    A finding about other hosts of the same role says nothing of it.
    """
    return [
        service
        for check in _deciding(fleet, definitions, host, role)
        for service in listed({check.name: check.needs})
        if service == check.name or role not in check.needs[service]
    ]


def _deciding(fleet: Fleet, definitions: Definitions, host: Host, role: str) -> list[Check]:
    """Return the checks that decide whether a host does the work of a role."""
    if role not in host.roles:
        return []
    return [one for one in ROLES[role].checks(fleet, host, definitions) if one.decides]


def _as_list(services: Services) -> list[dict[str, Any]]:
    return [{"name": host, "services": names} for host, names in services.items()]

"""The parts of a file for OpenTofu that every cloud has, in the words that all of them share."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from salina_fleet.provision.clouds.plan import Group, Machine, Plan, Port, Rule


def variables(image: str, size: str) -> dict[str, Any]:
    """Return the variables that each cloud has.

    Args:
        image: how the cloud names an image.
        size: the cloud's word for the size of a host.
    """
    return {
        "fleet": {"type": "string", "default": "salina"},
        "image": {"type": "string", "description": image},
        "size": {"type": "string", "description": f"the {size} of a host"},
        "sizes": {
            "type": "map(string)",
            "default": {},
            "description": f"{size}s by a host's first role",
        },
    }


def rules(plan: Plan, resource: Callable[[Group, int, Rule], dict[str, Any]]) -> dict[str, Any]:
    """Return a resource for each rule of each group; each knows its number in the group."""
    return {
        f"{label(group.name)}-{number}": resource(group, number, rule)
        for group in plan.groups.values()
        for number, rule in enumerate(group.rules)
    }


def ports(plan: Plan, resource: Callable[[Machine, Port], dict[str, Any]]) -> dict[str, Any]:
    """Return a resource for each port of each host."""
    return {
        f"{label(machine.id)}-{label(port.network)}": resource(machine, port)
        for machine in plan.machines.values()
        for port in machine.ports
    }


def output(
    plan: Plan,
    *,
    cloud: str,
    address: str,
    fleet: str,
    apart: Callable[[str], str],
    own: Callable[[Machine], Mapping[str, Any]],
) -> dict[str, Any]:
    """Return the public address, and what the provisioner needs of each host.

    Args:
        plan: the fleet.
        cloud: the cloud's name in `clouds.CLOUDS`.
        address: the expression for the service's public address.
        fleet: the expression for the mark by which the cloud tells this fleet's hosts apart.
        apart: returns the expression for the group of a role whose hosts must not share a machine.
        own: returns the keys of a host that only this cloud has, among them its `ports`.
    """
    hosts = {
        machine.id: {
            "name": f"${{var.fleet}}-{machine.id}",
            "fleet": fleet,
            "image": "${var.image}",
            "size": f'${{lookup(var.sizes, "{machine.kind}", var.size)}}',
            **own(machine),
            "apart": apart(machine.kind) if machine.kind in plan.apart else "",
        }
        for machine in plan.machines.values()
    }
    return {"address": {"value": address}, "fleet": {"value": {"cloud": cloud, "hosts": hosts}}}


def plain(comment: str) -> str:
    """Return a comment of the characters that every cloud takes."""
    return re.sub(r"[^A-Za-z0-9 .,:/()-]", "", comment)


def label(name: str) -> str:
    """Return a name as OpenTofu has it in references: letters, digits, - and _."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", name if name[:1].isalpha() else f"_{name}")

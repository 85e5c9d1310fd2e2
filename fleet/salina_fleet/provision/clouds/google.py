"""Google Cloud: a VPC network for each network, firewall rules by tags, addresses, Cloud NAT."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from salina_fleet.provision.clouds import parts
from salina_fleet.provision.clouds.parts import label
from salina_fleet.provision.clouds.plan import Group, Machine, Plan, Port, Rule, ends, reserved
from salina_fleet.schema.document import join

DOMAINS = 8
"""The most failure domains of a placement policy."""
NAME = 63
"""The most characters of a tag."""


def faults(plan: Plan) -> Iterator[str]:
    """Yield the addresses that Google Cloud needs itself, and names that are too long."""
    kept = {name: ends(network, 2, 2) for name, network in plan.networks.items()}
    yield from reserved(plan, kept, "Google Cloud")
    for name in plan.groups:
        if len(name) > NAME - len("salina-99-"):
            yield f"{name}: this name of a group of rules is too long; use a shorter network name"
    owners: dict[str, str] = {}
    for machine in plan.machines:
        owner = owners.setdefault(_name(machine), machine)
        if owner != machine:
            same = f"Google Cloud would call it {_name(machine)}, as {owner}"
            yield f"{join('hosts', machine)}: {same}; choose another id"


def resources(plan: Plan) -> dict[str, Any]:
    """Return the content of a file `*.tf.json`."""
    return {
        "terraform": {
            "required_providers": {"google": {"source": "hashicorp/google", "version": "~> 6"}}
        },
        "provider": {
            "google": {
                "project": "${var.project}",
                "region": "${var.region}",
                "zone": "${var.zone}",
            }
        },
        "variable": {
            **parts.variables("an image with cloud-init, as a path", "machine type"),
            "project": {"type": "string"},
            "region": {"type": "string"},
            "zone": {"type": "string", "description": "the zone of all hosts"},
            "disk": {"type": "number", "default": 30, "description": "GiB"},
        },
        "resource": {
            "google_compute_network": {
                label(name): {"name": f"${{var.fleet}}-{name}", "auto_create_subnetworks": False}
                for name in plan.networks
            },
            "google_compute_subnetwork": {
                label(name): {
                    "name": f"${{var.fleet}}-{name}",
                    "network": _id("network", name),
                    "region": "${var.region}",
                    "ip_cidr_range": str(range_),
                }
                for name, range_ in plan.networks.items()
            },
            "google_compute_router": {
                label(name): {
                    "name": f"${{var.fleet}}-{name}",
                    "network": _id("network", name),
                    "region": "${var.region}",
                }
                for name in plan.outside
            },
            "google_compute_router_nat": {
                label(name): {
                    "name": f"${{var.fleet}}-{name}",
                    "router": f"${{google_compute_router.{label(name)}.name}}",
                    "region": "${var.region}",
                    "nat_ip_allocate_option": "AUTO_ONLY",
                    "source_subnetwork_ip_ranges_to_nat": "ALL_SUBNETWORKS_ALL_IP_RANGES",
                }
                for name in plan.outside
            },
            "google_compute_firewall": parts.rules(plan, _rule),
            "google_compute_address": {
                **parts.ports(plan, _address),
                "service": {"name": "${var.fleet}-service", "region": "${var.region}"},
            },
            "google_compute_resource_policy": {
                label(role): {
                    "name": f"${{var.fleet}}-{role}",
                    "region": "${var.region}",
                    "group_placement_policy": {"availability_domain_count": min(len(ids), DOMAINS)},
                }
                for role, ids in plan.apart.items()
            },
        },
        "output": parts.output(
            plan,
            cloud="google",
            address="${google_compute_address.service.address}",
            fleet="${var.fleet}",
            apart=_apart,
            own=lambda machine: _host(plan, machine),
        ),
    }


def _name(text: str) -> str:
    """Return a host's id, or a name with one, as Google Cloud takes it: without dots."""
    return text.replace(".", "-")


def _apart(role: str) -> str:
    return f"${{google_compute_resource_policy.{label(role)}.name}}"


def _host(plan: Plan, machine: Machine) -> dict[str, Any]:
    return {
        "name": f"${{var.fleet}}-{_name(machine.id)}",
        "project": "${var.project}",
        "zone": "${var.zone}",
        "disk": "${var.disk}",
        "tags": list(dict.fromkeys(_name(tag) for port in machine.ports for tag in port.groups)),
        "ports": [
            {
                "subnet": _id("subnetwork", port.network),
                "address": port.address,
                "public": (
                    "${google_compute_address.service.address}"
                    if (machine.id, port.network) == plan.service
                    else ""
                ),
            }
            for port in machine.ports
        ],
    }


def _id(kind: str, name: str) -> str:
    return f"${{google_compute_{kind}.{label(name)}.id}}"


def _address(machine: Machine, port: Port) -> dict[str, Any]:
    return {
        "name": f"${{var.fleet}}-{_name(machine.id)}-{port.network}",
        "address_type": "INTERNAL",
        "subnetwork": _id("subnetwork", port.network),
        "address": port.address,
        "region": "${var.region}",
    }


def _rule(group: Group, number: int, rule: Rule) -> dict[str, Any]:
    source = (
        {"source_ranges": [rule.source]} if rule.ranged else {"source_tags": [_name(rule.source)]}
    )
    ports = [f"{rule.first}-{rule.last}" if rule.first != rule.last else str(rule.first)]
    allowed = {"protocol": rule.proto} | ({} if rule.first is None else {"ports": ports})
    return {
        "name": f"${{var.fleet}}-{_name(group.name)}-{number}",
        "network": _id("network", group.network),
        "direction": "INGRESS",
        "target_tags": [_name(group.name)],
        **source,
        "allow": [allowed],
        "description": parts.plain(rule.comment),
    }

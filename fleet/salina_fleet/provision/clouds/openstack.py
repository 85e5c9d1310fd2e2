"""OpenStack: networks, a router, security groups, ports, server groups, a floating IP address."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from salina_fleet.provision.clouds import parts
from salina_fleet.provision.clouds.parts import label
from salina_fleet.provision.clouds.plan import Group, Machine, Plan, Port, Rule, ends, reserved

DHCP = 4
"""Addresses for OpenStack's own DHCP servers, below the gateway's, which is the last one."""


def faults(plan: Plan) -> Iterator[str]:
    """Yield the addresses that OpenStack needs itself: the gateway's, and those of DHCP servers."""
    kept = {name: ends(network, 1, DHCP + 2) for name, network in plan.networks.items()}
    yield from reserved(plan, kept, "OpenStack")


def resources(plan: Plan) -> dict[str, Any]:
    """Return the content of a file `*.tf.json`."""
    networks = {name: label(name) for name in plan.networks}
    host, network = plan.service
    return {
        "terraform": {
            "required_providers": {
                "openstack": {"source": "terraform-provider-openstack/openstack", "version": "~> 3"}
            }
        },
        "variable": {
            **parts.variables("the name of an image with cloud-init", "flavor"),
            "outside": {"type": "string", "description": "the name of the external network"},
            "dns": {"type": "list(string)", "default": []},
        },
        "data": {
            "openstack_networking_network_v2": {"outside": {"name": "${var.outside}"}},
        },
        "resource": {
            "openstack_networking_network_v2": {
                networks[name]: {"name": f"${{var.fleet}}-{name}"} for name in plan.networks
            },
            "openstack_networking_subnet_v2": {
                networks[name]: {
                    "name": f"${{var.fleet}}-{name}",
                    "network_id": _id("networking_network", name),
                    "cidr": str(range_),
                    "ip_version": 4,
                    "dns_nameservers": "${var.dns}",
                    "allocation_pool": [{"start": str(range_[-2 - DHCP]), "end": str(range_[-3])}],
                    **(
                        {"gateway_ip": str(range_[-2])}
                        if name in plan.outside
                        else {"no_gateway": True}
                    ),
                }
                for name, range_ in plan.networks.items()
            },
            "openstack_networking_router_v2": {
                "fleet": {
                    "name": "${var.fleet}",
                    "external_network_id": "${data.openstack_networking_network_v2.outside.id}",
                }
            },
            "openstack_networking_router_interface_v2": {
                networks[name]: {
                    "router_id": "${openstack_networking_router_v2.fleet.id}",
                    "subnet_id": _id("networking_subnet", name),
                }
                for name in plan.outside
            },
            "openstack_networking_secgroup_v2": {
                label(name): {"name": f"${{var.fleet}}-{name}", "description": "Salina"}
                for name in plan.groups
            },
            "openstack_networking_secgroup_rule_v2": parts.rules(plan, _rule),
            "openstack_networking_port_v2": parts.ports(plan, _port),
            "openstack_compute_servergroup_v2": {
                label(role): {
                    "name": f"${{var.fleet}}-{role}",
                    "policies": ["soft-anti-affinity"],
                }
                for role in plan.apart
            },
            "openstack_networking_floatingip_v2": {
                "service": {
                    "pool": "${var.outside}",
                    "port_id": _id("networking_port", f"{host}-{network}"),
                    "depends_on": [f"openstack_networking_router_interface_v2.{networks[network]}"],
                }
            },
        },
        "output": parts.output(
            plan,
            cloud="openstack",
            address="${openstack_networking_floatingip_v2.service.address}",
            fleet="${openstack_networking_router_v2.fleet.id}",
            apart=_apart,
            own=_host,
        ),
    }


def _apart(role: str) -> str:
    return _id("compute_servergroup", role)


def _host(machine: Machine) -> dict[str, Any]:
    ports = [_id("networking_port", f"{machine.id}-{port.network}") for port in machine.ports]
    return {"ports": ports}


def _id(kind: str, name: str) -> str:
    return f"${{openstack_{kind}_v2.{label(name)}.id}}"


def _port(machine: Machine, port: Port) -> dict[str, Any]:
    subnet = _id("networking_subnet", port.network)
    return {
        "name": f"${{var.fleet}}-{machine.id}-{port.network}",
        "network_id": _id("networking_network", port.network),
        "fixed_ip": [{"subnet_id": subnet, "ip_address": port.address}],
        "security_group_ids": [_id("networking_secgroup", group) for group in port.groups],
    }


def _rule(group: Group, number: int, rule: Rule) -> dict[str, Any]:
    source = (
        {"remote_ip_prefix": rule.source}
        if rule.ranged
        else {"remote_group_id": _id("networking_secgroup", rule.source)}
    )
    ports = (
        {} if rule.first is None else {"port_range_min": rule.first, "port_range_max": rule.last}
    )
    return {
        "security_group_id": _id("networking_secgroup", group.name),
        "direction": "ingress",
        "ethertype": "IPv4",
        "protocol": rule.proto,
        **ports,
        **source,
        "description": parts.plain(rule.comment),
    }

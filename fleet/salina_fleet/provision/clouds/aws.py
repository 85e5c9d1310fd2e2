"""AWS: a VPC with subnets, gateways, security groups, network interfaces, placement groups."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network
from typing import Any

from salina_fleet.provision.clouds import parts
from salina_fleet.provision.clouds.parts import label
from salina_fleet.provision.clouds.plan import (
    ANYWHERE,
    Group,
    Machine,
    Plan,
    Port,
    Rule,
    ends,
    reserved,
)

LARGEST = 16
"""The prefix of the largest VPC."""
GROUPS = 5
"""The security groups that one interface may have, unless the operator asks AWS for more."""
SPREAD = 7
"""The instances that a spread placement group may have in one zone."""


def faults(plan: Plan) -> Iterator[str]:
    """Yield the addresses that AWS needs itself, and what is more than AWS takes."""
    kept = {name: ends(network, 4, 2) for name, network in plan.networks.items()}
    yield from reserved(plan, kept, "AWS")
    around = supernet(list(plan.networks.values()))
    if around.prefixlen < LARGEST:
        yield (
            f"networks: a VPC with all of them is {around}; AWS takes at most a /{LARGEST}; choose "
            "networks that are nearer to each other"
        )
    if len(plan.outside) < 2:
        yield (
            "links.management: is the network of the service's address, in which hosts without a "
            "public address have no way to the outside; give management another network"
        )
    for machine in plan.machines.values():
        for port in machine.ports:
            if len(port.groups) > GROUPS:
                yield (
                    f"hosts.{machine.id}.roles: need {len(port.groups)} security groups in the "
                    f"network {port.network}; AWS takes {GROUPS}; give the roles to several hosts"
                )


def supernet(networks: list[IPv4Network]) -> IPv4Network:
    """Return the smallest network that has all of these in it."""
    around = networks[0]
    while not all(one.subnet_of(around) for one in networks):
        around = around.supernet()
    return around


def resources(plan: Plan) -> dict[str, Any]:
    """Return the content of a file `*.tf.json`."""
    front, back = plan.outside
    host, network = plan.service
    return {
        "terraform": {
            "required_providers": {"aws": {"source": "hashicorp/aws", "version": "~> 6"}}
        },
        "provider": {"aws": {"region": "${var.region}"}},
        "variable": {
            **parts.variables("the id of an image with cloud-init", "instance type"),
            "region": {"type": "string"},
            "zone": {"type": "string", "description": "the availability zone of all hosts"},
            "disk": {"type": "number", "default": 30, "description": "GiB"},
        },
        "resource": {
            "aws_vpc": {
                "fleet": {"cidr_block": str(supernet([*plan.networks.values()])), **_named("")}
            },
            "aws_subnet": {
                label(name): {
                    "vpc_id": "${aws_vpc.fleet.id}",
                    "cidr_block": str(range_),
                    "availability_zone": "${var.zone}",
                    **_named(f"-{name}"),
                }
                for name, range_ in plan.networks.items()
            },
            "aws_internet_gateway": {"fleet": {"vpc_id": "${aws_vpc.fleet.id}", **_named("")}},
            "aws_eip": {
                "outgoing": {"domain": "vpc", **_named("-outgoing")},
                "service": {
                    "domain": "vpc",
                    "network_interface": _id("network_interface", f"{host}-{network}"),
                    "depends_on": ["aws_internet_gateway.fleet"],
                    **_named("-service"),
                },
            },
            "aws_nat_gateway": {
                "fleet": {
                    "allocation_id": "${aws_eip.outgoing.id}",
                    "subnet_id": _id("subnet", front),
                    # otherwise AWS may take an address that a host needs
                    "private_ip": str(plan.networks[front][-2]),
                    "depends_on": ["aws_internet_gateway.fleet"],
                    **_named(""),
                }
            },
            "aws_route_table": {
                label(name): {"vpc_id": "${aws_vpc.fleet.id}", **_named(f"-{name}")}
                for name in plan.outside
            },
            "aws_route": {
                label(front): {
                    "route_table_id": _id("route_table", front),
                    "destination_cidr_block": ANYWHERE,
                    "gateway_id": "${aws_internet_gateway.fleet.id}",
                },
                label(back): {
                    "route_table_id": _id("route_table", back),
                    "destination_cidr_block": ANYWHERE,
                    "nat_gateway_id": "${aws_nat_gateway.fleet.id}",
                },
            },
            "aws_route_table_association": {
                label(name): {
                    "route_table_id": _id("route_table", name),
                    "subnet_id": _id("subnet", name),
                }
                for name in plan.outside
            },
            "aws_security_group": {
                label(name): {
                    "name": f"${{var.fleet}}-{name}",
                    "description": "Salina",
                    "vpc_id": "${aws_vpc.fleet.id}",
                    **_named(f"-{name}"),
                }
                for name in plan.groups
            },
            "aws_vpc_security_group_ingress_rule": parts.rules(plan, _rule),
            "aws_vpc_security_group_egress_rule": {
                label(name): {
                    "security_group_id": _id("security_group", name),
                    "ip_protocol": "-1",
                    "cidr_ipv4": ANYWHERE,
                    "description": "the hosts themselves restrict this",
                }
                for name in plan.groups
            },
            "aws_network_interface": parts.ports(plan, _port),
            "aws_placement_group": {
                label(role): {
                    "name": f"${{var.fleet}}-{role}",
                    **(
                        {"strategy": "spread"}
                        if len(ids) <= SPREAD
                        else {"strategy": "partition", "partition_count": SPREAD}
                    ),
                }
                for role, ids in plan.apart.items()
            },
        },
        "output": parts.output(
            plan,
            cloud="aws",
            address="${aws_eip.service.public_ip}",
            fleet="${aws_vpc.fleet.id}",
            apart=_apart,
            own=_host,
        ),
    }


def _apart(role: str) -> str:
    return f"${{aws_placement_group.{label(role)}.name}}"


def _host(machine: Machine) -> dict[str, Any]:
    return {
        "region": "${var.region}",
        "disk": "${var.disk}",
        "ports": [
            _id("network_interface", f"{machine.id}-{port.network}") for port in machine.ports
        ],
    }


def _id(kind: str, name: str) -> str:
    return f"${{aws_{kind}.{label(name)}.id}}"


def _named(end: str) -> dict[str, Any]:
    return {"tags": {"Name": f"${{var.fleet}}{end}", "fleet": "${var.fleet}"}}


def _port(machine: Machine, port: Port) -> dict[str, Any]:
    return {
        "subnet_id": _id("subnet", port.network),
        "private_ips": [port.address],
        "security_groups": [_id("security_group", group) for group in port.groups],
        **_named(f"-{machine.id}-{port.network}"),
    }


def _rule(group: Group, number: int, rule: Rule) -> dict[str, Any]:
    source = (
        {"cidr_ipv4": rule.source}
        if rule.ranged
        else {"referenced_security_group_id": _id("security_group", rule.source)}
    )
    # for ICMP these are the type and the code; -1 stands for all
    first, last = (-1, -1) if rule.first is None else (rule.first, rule.last)
    return {
        "security_group_id": _id("security_group", group.name),
        "ip_protocol": rule.proto,
        "from_port": first,
        "to_port": last,
        **source,
        "description": parts.plain(rule.comment),
    }

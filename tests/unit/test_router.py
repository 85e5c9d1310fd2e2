"""A fleet without a firewall host: what the router before it must pass (S1, S7)."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from lab.machines import plan
from salina_fleet import policy
from salina_fleet.fleet import Fleet
from salina_fleet.model import topology
from salina_fleet.model.firewall import FirewallSettings, OperatorRule
from salina_fleet.model.topology import Topology
from salina_fleet.provision import clouds
from tests import fleets
from tests.loading import load

FLEET = fleets.fleet("cloud")


def without_firewall() -> Topology:
    """Return the default topology without its firewall host; the links stay."""
    data = fleets.data()
    del data["hosts"]["fw"]
    return topology.parse(data)


def ways(text: str) -> list[list[str]]:
    """Return the rows of the tables."""
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return [row for row in rows if row[0] != "from"]


def test_s1_clients_may_come_through_a_router_of_somebody_else() -> None:
    """S1, S7: Each host's own firewall takes the same as with a firewall host."""
    planned = without_firewall()
    fleet = Fleet(planned, planned.initial(), fleets.settings())
    assert policy.routed(fleet) and policy.routed(FLEET)
    assert not policy.routed(fleets.fleet()) and not policy.routed(fleets.fleet("plain"))
    whole = fleets.fleet()
    for host in fleet.hosts.values():
        assert policy.allowed(fleet, "clients", host.id) == policy.allowed(
            whole, "clients", host.id
        )
        assert policy.rules(fleet, host) == policy.rules(whole, host) and not policy.routes(
            fleet, host
        )


def test_s7_the_router_passes_the_published_ports_and_pings() -> None:
    """S7: The address in brackets is that which clients call."""
    service = "10.1.2.20 (called as 203.0.113.5)"
    found = ways(policy.router(FLEET))
    assert found[:3] == [
        ["anywhere", service, "80, 443", "TCP", "the published service"],
        ["anywhere", "10.1.2.21", "443", "TCP", "the page of monitoring"],
        ["anywhere", service, "", "ICMP", "pings, and errors such as a packet that is too large"],
    ]
    assert ["every host", "anywhere", "80, 443", "TCP", "packages and repositories"] in found
    assert "Packets from 10.9.0.0/16 keep their sources" in policy.router(FLEET)
    assert "keep their sources" not in policy.router(fleets.fleet("plain"))


@pytest.mark.parametrize(
    ("source", "shown"),
    [(None, 0), ("10.1.2.0/25", 0), ("any", 1), ("198.51.100.0/24", 1)],
)
def test_s7_rules_of_the_operator_count_if_their_source_is_outside(
    source: str | None, shown: int
) -> None:
    """S7: A source within the network does not come through the router."""
    rule = OperatorRule(network="front", ports="9100", host="lb1", source=source, comment="mine")
    settings = FLEET.settings.but(FirewallSettings(added=(rule,)))
    fleet = Fleet(FLEET.topology, FLEET.members, settings)
    assert len([row for row in ways(policy.router(fleet)) if row[4] == "mine"]) == shown


def test_s7_the_check_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """S7: Who has forgotten the firewall host learns it there."""
    module = load("_runners/topology.py")
    monkeypatch.setattr(module.runner, "site", lambda _: SimpleNamespace(fleet=FLEET))
    module.__opts__ = {}
    assert module.check().endswith(
        "; no host has role firewall, so a router must filter: salt-run topology.router"
    )
    assert module.router() == policy.router(FLEET)
    monkeypatch.setattr(module.runner, "site", lambda _: SimpleNamespace(fleet=fleets.fleet()))
    assert module.check() == f"pillar/topology.yaml is good: {len(fleets.fleet().hosts)} hosts"


def test_s15_the_lab_leaves_its_clients_out() -> None:
    """S15: It has no such router, so the service is asked from the balancer's own host."""
    found = plan.make(FLEET.topology, FLEET.members)
    assert found.clients == () and found.caller("10.1.2.20").name == "lb1"


@pytest.mark.parametrize("cloud", [*clouds.CLOUDS])
def test_s16_a_cloud_gets_no_network_of_the_clients(cloud: str) -> None:
    """S16: No host is in it."""
    assert [*clouds.faults(cloud, FLEET)] == []
    made: Any = json.dumps(clouds.tofu(cloud, FLEET))
    assert "10.9.0.0/16" not in made and "10.1.2.0/24" in made

"""The lab's plan: which containers there are, and what is plugged in where (S15)."""

import ipaddress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.machines import plan
from salina_fleet.model import topology
from tests import fleets

DEFAULT = Path(__file__).parents[2] / "pillar/topology.yaml"
SMALL = """
service: {address: 10.9.0.1}
applications: {crm: {domain: crm.example, definition: odoo-14.0}}
networks: {all: 10.9.0.0/24}
links: {clients: all, edge: all, web: all, data: all, management: all}
hosts:
  one:
    roles: [master, balancer, app, storage, quorum, database]
    first: true
    addresses: {all: 10.9.0.1}
"""


@pytest.fixture
def default() -> plan.Plan:
    return plan.make(topology.load(DEFAULT), {"app": ["s1", "s2", "s3"]})


def test_s15_default_fleet_and_two_clients(default: plan.Plan) -> None:
    """S15: The plan has every host of the default fleet and two clients."""
    names = {machine.name for machine in default.machines}
    fleet = {
        "salt",
        "fw",
        "lb1",
        "s1",
        "s2",
        "s3",
        "nas1",
        "nas2",
        "nas3",
        "bbdd1",
        "bbdd2",
        "bkp1",
        "nagios",
        "ges",
    }
    assert names == fleet | {"c1", "c2"}
    assert {machine.name for machine in default.clients} == {"c1", "c2"}
    assert default.master.name == "salt"
    assert len(default.bridges) == 5


def test_service_is_called_from_a_client(default: plan.Plan) -> None:
    assert default.caller("10.1.2.2").name == "c1"


def test_gateways_lead_from_the_edge_to_the_firewall_and_nowhere_else(default: plan.Plan) -> None:
    """S1, S7: Only the hosts on the edge network have a way to the clients, through the
    firewall.
    """
    gateways = {
        (machine.name, interface.bridge): interface.gateway
        for machine in default.machines
        for interface in machine.interfaces
        if interface.gateway
    }
    assert gateways == {
        ("lb1", "br-edge"): "10.1.2.1",
        ("nagios", "br-edge"): "10.1.2.1",
        ("ges", "br-edge"): "10.1.2.1",
        ("c1", "br-clients"): "10.1.1.1",
        ("c2", "br-clients"): "10.1.1.1",
    }


def test_active_members_are_planned(default: plan.Plan) -> None:
    more = plan.make(topology.load(DEFAULT), {"app": ["s1", "s4"]})
    assert {machine.name for machine in more.machines if "app" in machine.roles} == {"s1", "s4"}
    assert default.machine("s2").management == "10.1.5.12"


def test_cards_have_fixed_unique_names_and_addresses(default: plan.Plan) -> None:
    cards = [card for machine in default.machines for card in machine.interfaces]
    assert len({card.pair for card in cards}) == len(cards)
    assert len({card.mac for card in cards}) == len(cards)
    assert all(len(card.pair) <= 15 for card in cards)
    assert default.machine("nas1").interfaces[0].pair == "nas1.0"
    assert default.machine("nas1").interfaces[0].address == "10.1.4.21/24"


def test_one_host_with_all_roles_has_clients_beside_it() -> None:
    small = plan.make(topology.loads(SMALL), {})
    assert [machine.name for machine in small.machines] == ["one", "c1", "c2"]
    assert small.caller("10.9.0.1").name == "c1"
    assert {machine.interfaces[0].gateway for machine in small.machines} == {None}


def test_clients_take_no_host_s_address() -> None:
    small = plan.make(topology.loads(SMALL.replace("10.9.0.1}", "10.9.0.11}")), {})
    assert [machine.name for machine in small.machines] == ["one", "c2"]


def test_a_small_network_has_room_for_hosts_alone() -> None:
    assert plan.client_addresses("10.9.0.0/28") == {"c1": "10.9.0.11", "c2": "10.9.0.12"}
    assert plan.client_addresses("10.9.0.0/29") == {}


def test_without_a_client_the_service_is_called_from_its_own_host() -> None:
    small = plan.make(topology.loads(SMALL), {})
    alone = plan.Plan(small.bridges, small.minions)
    assert alone.caller("10.9.0.1").name == "one"


def test_unknown_machine_is_a_key_error(default: plan.Plan) -> None:
    with pytest.raises(KeyError):
        default.machine("s9")


@given(st.text("abcdefgh-0123456789.", min_size=1, max_size=60))
def test_interface_names_fit_the_kernel(name: str) -> None:
    assert len(plan.fit(name)) <= 15
    assert plan.fit(name) == name or len(name) > 15


def test_long_names_stay_apart() -> None:
    assert plan.fit("a-very-long-name.1") != plan.fit("a-very-long-name.2")


def test_hardware_addresses_are_local_and_unicast() -> None:
    first = int(plan.mac("s1", "web").split(":")[0], 16)
    assert first & 2 and not first & 1


def test_ipv6_cards() -> None:
    card = plan.interfaces("s1", {"web": "fd00::11"}, {"web": "fd00::/64"}, {})[0]
    assert card.version == 6
    assert ipaddress.ip_interface(card.address).network.prefixlen == 64


def test_a_machine_has_the_platform_of_its_host() -> None:
    """The lab's clients have the default one, so it builds that image always."""
    found = fleets.topology("debian-13")
    made = plan.make(found, found.initial())
    platforms = {machine.name: machine.platform for machine in made.machines}
    assert [platforms[name] for name in ("lb1", "s1", "c1")] == [
        "debian-13",
        "debian-13",
        "debian-12",
    ]
    assert plan.platforms(found) == {"debian-12", "debian-13"}
    assert plan.platforms(fleets.topology()) == {"debian-12"}

"""The table of who may talk to whom: rules, routes and the port matrix agree with it (S7)."""

from __future__ import annotations

import ipaddress
import json

import pytest

from salina_fleet import pair, policy
from salina_fleet.fleet import Fleet
from salina_fleet.model import topology
from salina_fleet.model.firewall import FirewallSettings
from salina_fleet.model.topology import Host
from salina_fleet.policy import Opening
from tests import fleets

MATRIX = {
    # source, target: what is open, in the default fleet
    ("clients", "lb1"): {("10.1.2.2", "80,443")},
    ("clients", "fw"): set(),
    ("clients", "s1"): set(),
    ("clients", "salt"): set(),
    ("clients", "nagios"): {("10.1.2.5", "443")},
    ("fw", "lb1"): {("10.1.2.2", "80,443")},
    ("lb1", "s1"): {("10.1.3.11", "443"), ("10.1.3.11", "80,8079")},
    ("s1", "lb1"): set(),
    ("s1", "s2"): set(),
    ("s1", "nas1"): {("10.1.4.21", "24007,49152:49251")},
    ("s1", "bbdd1"): {("10.1.4.31", "5432,8008")},
    ("s1", "salt"): {("10.1.5.2", "4505,4506"), ("10.1.5.2", "123")},
    ("nas1", "nas2"): {
        ("10.1.4.22", "24007:24008,49152:49251"),
        ("10.1.4.22", "2379,2380"),
    },
    ("nas1", "s1"): set(),
    ("nas1", "bbdd1"): set(),
    ("bbdd1", "bbdd2"): {("10.1.4.32", "5432,8008")},
    ("bbdd1", "nas1"): {("10.1.4.21", "2379")},
    ("lb1", "bbdd1"): set(),
    ("lb1", "lb1"): set(),
    ("salt", "s1"): {("10.1.5.11", "22")},
    ("salt", "bbdd1"): {("10.1.5.31", "22")},
    ("salt", "fw"): {("10.1.5.1", "22")},
    ("nagios", "lb1"): {("10.1.2.2", "80,443"), ("10.1.5.3", "8434"), ("10.1.5.3", "8435")},
    ("nagios", "nas1"): {("10.1.5.21", "8434"), ("10.1.5.21", "8435")},
    ("nagios", "salt"): {
        ("10.1.5.2", "4505,4506"),
        ("10.1.5.2", "123"),
        ("10.1.5.2", "8434"),
        ("10.1.5.2", "8435"),
    },
    ("s1", "nagios"): {("10.1.5.5", "19532")},
    ("lb1", "nagios"): {("10.1.2.5", "443"), ("10.1.5.5", "19532")},
    ("clients", "ges"): {("10.1.2.6", "22")},
    ("lb1", "ges"): {("10.1.2.6", "22")},
    ("s1", "ges"): set(),
    ("salt", "ges"): {("10.1.5.6", "22")},
    ("ges", "s1"): {("10.1.5.11", "22")},
    ("ges", "salt"): {
        ("10.1.5.2", "22"),
        ("10.1.5.2", "4505,4506"),
        ("10.1.5.2", "123"),
    },
    ("ges", "bbdd1"): {("10.1.5.31", "22")},
}


@pytest.mark.parametrize(("source", "target"), MATRIX, ids="-".join)
def test_matrix(source: str, target: str) -> None:
    """S7: The port matrix of the default fleet, as a table."""
    found = policy.allowed(fleets.fleet(), source, target)
    assert found == {
        Opening(address, "udp" if ports == "123" else "tcp", ports)
        for address, ports in MATRIX[source, target]
    }


@pytest.mark.parametrize("name", ["default", *fleets.OTHERS])
def test_rules_agree_with_the_matrix(name: str) -> None:
    """S7: On every host ufw accepts what the matrix allows from each other host, and no more."""
    fleet = fleets.fleet(name)
    for target in fleet.hosts.values():
        rules = policy.rules(fleet, target)
        for source in fleet.hosts.values():
            if source.id == target.id:
                continue
            passed = {
                Opening(rule["to"], rule["proto"], rule["ports"])
                for rule in rules
                for network, address in source.addresses.items()
                if rule["to"] in at(fleet, target, network) and matches(rule["from"], address)
            }
            assert passed == policy.allowed(fleet, source.id, target.id)


def at(fleet: Fleet, host: Host, network: str) -> list[str | None]:
    """The addresses that a host may have in a network: its own, and those of its pair."""
    shared = [
        address
        for link, address in pair.of(fleet, host).items()
        if fleet.topology.links[link] == network
    ]
    return [host.addresses.get(network), *shared]


def matches(source: str, address: str) -> bool:
    """Whether a rule's source covers an address."""
    return source == "any" or ipaddress.ip_address(address) in ipaddress.ip_network(source)


@pytest.mark.parametrize(("name", "host"), fleets.everyone())
def test_rules_are_exact(name: str, host: str) -> None:
    """S7: Each rule leads to an address of the host, and only the master's Salt, SSH and time and
    the logs accept a whole network.
    """
    fleet = fleets.fleet(name)
    here = fleet.hosts[host]
    rules = policy.rules(fleet, here)
    assert len({json.dumps(rule) for rule in rules}) == len(rules)
    for rule in rules:
        assert set(rule) == {"comment", "proto", "ports", "from", "to", "in"}
        assert rule["in"] in here.addresses.values()
        if rule["from"] != "any":
            assert rule["in"] == rule["to"]
        assert rule["to"] in (*here.addresses.values(), *pair.of(fleet, here).values())
        assert rule["to"] != rule["from"]
        assert not set(rule["comment"]) & set("'\"`$\n")
        if rule["from"] == "any":
            own = {"monitoring", "management"} & {*here.roles} and fleet.address(here, "edge")
            assert rule["to"] == (own or fleet.topology.service.address)
        elif "/" in rule["from"]:
            role = "monitoring" if rule["ports"] == "19532" else "master"
            assert rule["ports"] in ("22", "4505,4506", "123", "19532")
            assert role in here.roles


@pytest.mark.parametrize("name", ["default", *fleets.OTHERS])
def test_x9_ssh_leads_from_two_hosts_alone(name: str) -> None:
    """X9, S14: The master and the management host reach every sshd, and no other host does.

    Without a management host the master's own is open for everybody in the management network.
    """
    fleet = fleets.fleet(name)
    (master,) = fleet.having("master")
    jump = {host.id for host in fleet.having("management")}
    edge = {host.id for host in fleet.hosts.values() if fleet.topology.address(host, "edge")}
    for target in fleet.hosts.values():
        open_to = {
            source
            for source in ("clients", *fleet.hosts)
            for one in policy.allowed(fleet, source, target.id)
            if one.ports == "22"
        }
        others = {*fleet.hosts} - {master.id}
        near = (
            {"clients"}
            if fleet.topology.links["clients"] == fleet.topology.links["management"]
            else set()
        )
        usual = {master.id} | jump
        if target is master and not jump:
            usual |= others | near
        if target.id in jump:
            usual |= {"clients"} | edge
        assert open_to == usual - {target.id}, target.id


def test_x1_only_root_opens_the_ports_of_the_volume() -> None:
    """X1: GlusterFS believes a client that says it is root, so no other process reaches it."""
    fleet = fleets.fleet()
    opened = {
        host: {(one["to"], one["ports"]) for one in policy.by_root(fleet, fleet.hosts[host])}
        for host in ("s1", "nas1", "bbdd1", "lb1", "salt")
    }
    master = ("10.1.5.2", "4505,4506")
    volume, pool = "24007,49152:49251", "24007:24008,49152:49251"
    copies = ("10.1.4.41", "8433")  # of users' files; only root reads all of them
    assert opened == {
        "s1": {(f"10.1.4.2{number}", volume) for number in (1, 2, 3)} | {master},
        "nas1": {(f"10.1.4.2{number}", pool) for number in (2, 3)} | {master, copies},
        "bbdd1": {master},
        "lb1": {master},
        "salt": set(),
    }
    assert "| the volume, by root only |" in policy.markdown(fleet)


@pytest.mark.parametrize("name", ["default", *fleets.OTHERS])
def test_x7_hosts_open_what_the_table_says(name: str) -> None:
    """X7: What a host may open is what the others accept from it, and what `egress` says."""
    fleet = fleets.fleet(name)
    outside = {(one.to, one.protocol, one.ports) for one in fleet.settings[FirewallSettings].egress}
    for source in fleet.hosts.values():
        rules = policy.outgoing(fleet, source)
        assert len({json.dumps(rule) for rule in rules}) == len(rules)
        for target in fleet.hosts.values():
            if source.id == target.id:
                continue
            opened = {
                Opening(address, rule["proto"], rule["ports"])
                for rule in rules
                for network in target.addresses
                for address in at(fleet, target, network)
                if network in source.addresses and rule["to"] != "any" and address
                if matches(rule["to"], address)
            }
            assert opened == policy.allowed(fleet, source.id, target.id)
        addresses = {one for host in fleet.hosts.values() for one in host.addresses.values()}
        addresses |= {fleet.topology.service.address}
        networks = {network.cidr for network in fleet.topology.networks.values()}
        for rule in rules:
            assert set(rule) == {"comment", "proto", "ports", "to"}
            assert rule["to"] in {*addresses, *networks} or (
                (rule["to"], rule["proto"], rule["ports"]) in outside
            )


def test_x7_the_rules_for_what_a_host_opens() -> None:
    """X7: A table by hand, for one host; the master reaches new hosts without an apply."""
    fleet = fleets.fleet()
    outside = [
        {"comment": "DNS", "proto": "udp", "ports": "53", "to": "any"},
        {"comment": "DNS", "proto": "tcp", "ports": "53", "to": "any"},
        {"comment": "packages and repositories", "proto": "tcp", "ports": "80,443", "to": "any"},
    ]
    rows = [
        ("salt: Salt", "4505,4506", "10.1.5.2"),
        ("salt: the time", "123", "10.1.5.2"),
        ("nagios: the page of monitoring", "443", "10.1.2.5"),
        ("nagios: the logs of every host", "19532", "10.1.5.5"),
        ("ges: SSH for operators", "22", "10.1.2.6"),
        ("s1: requests and health checks, TLS", "443", "10.1.3.11"),
        ("s2: requests and health checks, TLS", "443", "10.1.3.12"),
        ("s3: requests and health checks, TLS", "443", "10.1.3.13"),
        ("s1: the same without TLS, until the balancer uses it", "80,8079", "10.1.3.11"),
        ("s2: the same without TLS, until the balancer uses it", "80,8079", "10.1.3.12"),
        ("s3: the same without TLS, until the balancer uses it", "80,8079", "10.1.3.13"),
    ]
    assert policy.outgoing(fleet, fleet.hosts["lb1"]) == [
        *(
            {"comment": words, "proto": "udp" if port == "123" else "tcp", "ports": port, "to": to}
            for words, port, to in rows
        ),
        *outside,
    ]
    assert policy.outgoing(fleet, fleet.hosts["salt"]) == [
        {"comment": "SSH", "proto": "tcp", "ports": "22", "to": "10.1.5.0/24"},
        {
            "comment": "nagios: the logs of every host",
            "proto": "tcp",
            "ports": "19532",
            "to": "10.1.5.5",
        },
        *outside[:2],
        {"comment": "NTP", "proto": "udp", "ports": "123", "to": "any"},
        *outside[2:],
        {"comment": "git by SSH", "proto": "tcp", "ports": "22", "to": "any"},
    ]


def test_only_the_firewall_forwards() -> None:
    """S7, S13, S14: The firewall forwards only the open ports, and pings to the service alone."""
    fleet = fleets.fleet()
    assert policy.routes(fleet, fleet.hosts["fw"]) == [
        {
            "comment": "the published service",
            "proto": "tcp",
            "ports": "80,443",
            "from": "any",
            "to": "10.1.2.2",
            "in": "10.1.1.1",
            "out": "10.1.2.1",
        },
        {
            "comment": "the page of monitoring",
            "proto": "tcp",
            "ports": "443",
            "from": "any",
            "to": "10.1.2.5",
            "in": "10.1.1.1",
            "out": "10.1.2.1",
        },
        {
            "comment": "SSH for operators",
            "proto": "tcp",
            "ports": "22",
            "from": "any",
            "to": "10.1.2.6",
            "in": "10.1.1.1",
            "out": "10.1.2.1",
        },
    ]
    assert policy.forward_pings(fleet, fleet.hosts["fw"]) == [
        {"to": "10.1.2.2", "in": "10.1.1.1", "out": "10.1.2.1"}
    ]
    assert [h.id for h in fleet.hosts.values() if policy.forwards(fleet, h)] == ["fw"]
    for host in fleet.hosts.values():
        assert host.id == "fw" or not policy.routes(fleet, host)


def test_x7_clients_come_in_from_their_own_network() -> None:
    """X7: A balancer that is in the clients' network too is reached there, at the same address."""
    data = fleets.data()
    del data["hosts"]["fw"]
    data["hosts"]["lb1"]["roles"] = ["firewall", "balancer"]
    data["hosts"]["lb1"]["addresses"]["clients"] = "10.1.1.1"
    found = topology.parse(data)
    fleet = Fleet(found, found.initial(), fleets.settings())
    rules = policy.rules(fleet, fleet.hosts["lb1"])
    public = [(rule["in"], rule["to"]) for rule in rules if rule["from"] == "any"]
    assert public == [("10.1.1.1", "10.1.2.2"), ("10.1.2.2", "10.1.2.2")]
    assert not policy.routes(fleet, fleet.hosts["lb1"])


def test_firewall_and_balancer_on_one_host() -> None:
    """S7: Nothing is forwarded, because the published port is the host's own."""
    fleet = fleets.fleet("one-host")
    (host,) = fleet.hosts.values()
    assert not policy.forwards(fleet, host)
    assert policy.routes(fleet, host) == []
    assert [(rule["from"], rule["ports"]) for rule in policy.rules(fleet, host)] == [
        ("10.9.0.0/24", "22"),
        ("10.9.0.0/24", "4505,4506"),
        ("10.9.0.0/24", "123"),
        ("any", "80"),
    ]


def test_published_ports_follow_tls() -> None:
    """S7: Without TLS the HTTPS port stays closed, and the settings may publish other ports."""
    assert policy.allowed(fleets.fleet("one-host"), "clients", "all") >= {
        Opening("10.9.0.5", "tcp", "80")
    }
    assert policy.allowed(fleets.fleet("five-apps"), "clients", "spread") == {
        Opening("172.20.2.10", "tcp", "8080,8443")
    }


def test_tiers() -> None:
    """S15: A deployment has every host once: storage before the databases, and these before the
    apps.
    """
    assert fleets.fleet().tiers() == [
        ("master", ["salt"]),
        ("firewall, storage, quorum", ["fw", "nas1", "nas2", "nas3"]),
        ("database", ["bbdd1", "bbdd2"]),
        ("backup, app, balancer", ["bkp1", "s1", "s2", "s3", "lb1"]),
        ("monitoring, management", ["nagios", "ges"]),
    ]
    for name in fleets.OTHERS:
        placed = [host for _, hosts in fleets.fleet(name).tiers() for host in hosts]
        assert sorted(placed) == sorted(fleets.fleet(name).hosts)


def test_k6_a_pair_is_reached_at_its_shared_address() -> None:
    """K6: Clients reach the published address whichever balancer has it; hosts reach each one."""
    fleet = fleets.fleet("pairs")
    service = {Opening("10.1.2.2", "tcp", "80,443")}
    assert policy.allowed(fleet, "clients", "lb1") == policy.allowed(fleet, "clients", "lb2")
    assert policy.allowed(fleet, "clients", "lb1") == service
    assert policy.allowed(fleet, "fw1", "lb1") == service
    between = {Opening("10.1.2.4", "vrrp", ""), Opening("10.1.3.2", "tcp", "1024")}
    assert policy.allowed(fleet, "lb1", "lb2") == service | between
    assert policy.allowed(fleet, "fw2", "fw1") == {Opening("10.1.2.7", "vrrp", "")}
    assert policy.pings(fleet, fleet.hosts["lb2"]) == [
        *("10.1.2.4", "10.1.3.2", "10.1.5.6"),
        "10.1.2.2",
    ]
    assert policy.pings(fleet, fleet.hosts["fw2"]) == []


def test_k6_both_firewalls_forward_the_same() -> None:
    """K6: Each forwards to the address of the balancers, and goes on with what the other let in."""
    fleet = fleets.fleet("pairs")
    for name, inside, outside in (
        ("fw1", "10.1.2.7", "10.1.1.2"),
        ("fw2", "10.1.2.8", "10.1.1.3"),
    ):
        host = fleet.hosts[name]
        (way,) = policy.routes(fleet, host)
        assert (way["to"], way["ports"]) == ("10.1.2.2", "80,443")
        assert (way["in"], way["out"]) == (outside, inside)
        assert policy.taken_over(fleet, host) == [way]
    single = fleets.fleet()
    assert policy.taken_over(single, single.hosts["fw"]) == []

"""The settings of the firewall: the port of SSH, and the rules that an operator adds (S7)."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from salina.firewall import ufw
from salina_fleet import policy
from salina_fleet.fleet import Fleet
from salina_fleet.model import settings, topology
from salina_fleet.model.firewall import FirewallSettings
from salina_fleet.model.settings import SettingsError
from salina_fleet.model.ssh import SshSettings
from salina_fleet.model.tls import TlsSettings
from salina_fleet.policy import Opening
from tests import fleets

EXPORTER = {"network": "management", "ports": 9100, "comment": "node exporter"}
STATISTICS = {
    "role": "app",
    "network": "data",
    "from": "10.1.4.31",
    "ports": "8000-8010, 9200",
    "protocol": "udp",
}
CARDS = fleets.interfaces(fleets.pillar("s1"))
OFFICE = {"host": "lb1", "network": "edge", "from": "192.0.2.0/24", "ports": "8404"}


def fleet_with(*rules: dict[str, Any], name: str = "default", **more: Any) -> Fleet:
    """A fleet with rules of the operator, which have no fault."""
    own = settings.parse({"firewall": {"rules": list(rules), **more}})
    found = topology.parse(fleets.data(name), settings=own)
    assert not list(own[FirewallSettings].conflicts(found, own, {}))
    return Fleet(found, found.initial(), own)


def added(fleet: Fleet, host: str) -> list[dict[str, str]]:
    """The rules that a host has only by the settings."""
    before = policy.rules(fleets.fleet(), fleets.fleet().hosts[host])
    return [rule for rule in policy.rules(fleet, fleet.hosts[host]) if rule not in before]


def test_s7_the_operators_rules_are_in_the_hosts_rules() -> None:
    """S7: A rule for every host, for a role and for one host opens its ports there and nowhere
    else.
    """
    fleet = fleet_with(EXPORTER, STATISTICS, OFFICE)
    exporter = {
        "comment": "node exporter",
        "proto": "tcp",
        "ports": "9100",
        "from": "10.1.5.0/24",
    }
    statistics = {
        "comment": "a rule of the operator",
        "proto": "udp",
        "ports": "8000:8010,9200",
        "from": "10.1.4.31",
        "to": "10.1.4.11",
        "in": "10.1.4.11",
    }
    office = {
        "comment": "a rule of the operator",
        "proto": "tcp",
        "ports": "8404",
        "from": "192.0.2.0/24",
        "to": "10.1.2.2",
        "in": "10.1.2.2",
    }
    assert added(fleet, "nas1") == [exporter | {"to": "10.1.5.21", "in": "10.1.5.21"}]
    assert added(fleet, "s1") == [exporter | {"to": "10.1.5.11", "in": "10.1.5.11"}, statistics]
    assert added(fleet, "lb1") == [exporter | {"to": "10.1.5.3", "in": "10.1.5.3"}, office]
    words = [" ".join(rule.words) for rule in ufw.wanted(added(fleet, "s1"), [], [], CARDS)]
    assert words == [
        "allow in on card2 from 10.1.5.0/24 to 10.1.5.11 port 9100 proto tcp",
        "allow in on card1 from 10.1.4.31 to 10.1.4.11 port 8000:8010,9200 proto udp",
    ]


def test_s7_the_matrix_and_the_table_show_them() -> None:
    """S7: The tests' matrix and the operator's table have the rules of the settings."""
    fleet = fleet_with(EXPORTER, STATISTICS, OFFICE, {"network": "edge", "host": "lb1", "ports": 7})
    assert Opening("10.1.4.11", "udp", "8000:8010,9200") in policy.allowed(fleet, "bbdd1", "s1")
    assert Opening("10.1.4.11", "udp", "8000:8010,9200") not in policy.allowed(fleet, "nas1", "s1")
    assert Opening("10.1.5.21", "tcp", "9100") in policy.allowed(fleet, "s1", "nas1")
    assert Opening("10.1.2.2", "tcp", "7") in policy.allowed(fleet, "fw", "lb1")
    assert Opening("10.1.2.2", "tcp", "8404") not in policy.allowed(fleet, "fw", "lb1")
    for target in fleet.hosts:  # the firewall passes only the published service on
        clients = policy.allowed(fleet, "clients", target)
        assert clients == policy.allowed(fleets.fleet(), "clients", target)
    assert policy.markdown(fleet).splitlines()[-9:-5] == [
        "| every host of the network | every host | management (10.1.5.0/24) | 9100 | TCP "
        "| node exporter |",
        "| 10.1.4.31 | app | data (10.1.4.0/24) | 8000-8010, 9200 | UDP | a rule of the operator |",
        "| 192.0.2.0/24 | lb1 | edge (10.1.2.0/24) | 8404 | TCP | a rule of the operator |",
        "| every host of the network | lb1 | edge (10.1.2.0/24) | 7 | TCP "
        "| a rule of the operator |",
    ]


def test_s7_clients_reach_what_is_open_in_their_own_network() -> None:
    """S7: The firewall host's address in the clients' network can have open ports, too."""
    rule = {"host": "fw", "network": "clients", "ports": 51820, "protocol": "udp", "from": "any"}
    opening = Opening("10.1.1.1", "udp", "51820")
    fleet = fleet_with(rule)
    assert policy.allowed(fleet, "clients", "fw") == {opening}
    assert added(fleet, "fw")[0]["from"] == "any"
    elsewhere = fleet_with({**rule, "from": "192.0.2.7"})
    assert policy.allowed(elsewhere, "clients", "fw") == set()


def test_s7_a_new_member_of_a_pool_has_the_rules() -> None:
    """S7, S10: A rule may name a host that its pool does not have yet."""
    fleet = fleet_with({"host": "s9", "network": "web", "ports": 80})
    assert policy.rules(fleet, fleet.topology.pool_host("app", "s9"))[-1]["to"] == "10.1.3.19"
    assert added(fleet, "s1") == []


def test_s7_ssh_on_another_port() -> None:
    """S7, X9: Where sshd listens elsewhere, that port is open on every host, and 22 is closed."""
    whole = fleets.fleet()
    fleet = replace(whole, settings=whole.settings.but(SshSettings(port=2222)))
    for host in fleet.hosts.values():
        rules = policy.rules(fleet, host)
        ports = {rule["ports"] for rule in rules if "SSH" in rule["comment"]}
        assert ports == {"2222"}
        assert "22" not in {rule["ports"] for rule in policy.rules(fleet, host)}
    data = fleets.data()
    data["service"]["http"] = 2222
    with pytest.raises(topology.TopologyError, match="2222 is used by SSH; choose another port"):
        topology.parse(data, settings=fleet.settings)


WHERE = "must be a port such as 9100, a list such as 9100,9200, or a range such as 9000-9010"
ROLES = "master, firewall, storage, quorum, database, backup, app, balancer, monitoring, management"
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no network": (
        {"ports": 1},
        "rules[0].network: missing; must be the name of a network of pillar/topology.yaml",
    ),
    "no ports": ({"network": "web"}, f"rules[0].ports: missing; {WHERE}"),
    "port": (
        {"network": "web", "ports": 70000},
        f"rules[0].ports: 70000 is not valid; {WHERE}, from 1 to 65535",
    ),
    "range": (
        {"network": "web", "ports": "90-80"},
        f'rules[0].ports: "90-80" is not valid; {WHERE}, from 1 to 65535',
    ),
    "ports": (
        {"network": "web", "ports": "http"},
        f'rules[0].ports: "http" is not valid; {WHERE}',
    ),
    "many": (
        {"network": "web", "ports": ",".join(map(str, range(1, 17)))},
        "rules[0].ports: 16 ports are listed; a rule can have at most 15; split it",
    ),
    "protocol": (
        {"network": "web", "ports": 1, "protocol": "icmp"},
        'rules[0].protocol: "icmp" is not valid; choose one of: tcp, udp',
    ),
    "from": (
        {"network": "web", "ports": 1, "from": "home"},
        'rules[0].from: "home" is not valid; must be an address, a range such as 10.1.5.0/24, '
        "or any, or null",
    ),
    "from an address in a range": (
        {"network": "web", "ports": 1, "from": "10.1.5.7/24"},
        'rules[0].from: "10.1.5.7/24" is an address, not a network; write 10.1.5.0/24',
    ),
    "role": (
        {"network": "web", "ports": 1, "role": "apps"},
        f'rules[0].role: "apps" is not a role; choose one of: {ROLES}',
    ),
    "comment": (
        {"network": "web", "ports": 1, "comment": "it's"},
        'rules[0].comment: "it\'s" is not valid; must be text of at most 60 characters without '
        "quotation marks, backquotes, $ and \\",
    ),
    "key": (
        {"network": "web", "ports": 1, "to": "s1"},
        "rules[0].to: unknown key; choose one of: network, ports, role, host, from, protocol, "
        "comment",
    ),
}


@pytest.mark.parametrize(("rule", "message"), WRONG.values(), ids=WRONG.keys())
def test_wrong(rule: dict[str, Any], message: str) -> None:
    """K5: A mistake in a rule gives one line with its place, what was found and what is allowed."""
    with pytest.raises(SettingsError) as caught:
        settings.parse({"firewall": {"rules": [rule]}})
    assert caught.value.faults == (f"firewall.yaml: {message}",)


MISPLACED: dict[str, tuple[dict[str, Any], str, str]] = {
    "role and host": (
        {"role": "app", "host": "s1", "network": "web"},
        "rules[0]",
        "both role and host are given; give at most one of them",
    ),
    "host": (
        {"host": "s99", "network": "web"},
        "rules[0].host",
        '"s99" is not a host; choose one of: '
        "salt, fw, lb1, nas1, nas2, nas3, bbdd1, bbdd2, bkp1, nagios, ges, s{n}",
    ),
    "network": (
        {"role": "app", "network": "wbe"},
        "rules[0].network",
        '"wbe" is not a network; choose one of: clients, edge, web, data, management',
    ),
    "not there": (
        {"role": "storage", "network": "web"},
        "rules[0].network",
        "nas1 has no address in the network web; choose one of: data, management",
    ),
    "not everybody": (
        {"network": "data"},
        "rules[0].network",
        "salt has no address in the network data; choose one of: management",
    ),
    "version": (
        {"network": "management", "from": "2001:db8::/32"},
        "rules[0].from",
        '"2001:db8::/32" is not valid; must be of IPv4, like the network management',
    ),
}


@pytest.mark.parametrize(("rule", "path", "message"), MISPLACED.values(), ids=MISPLACED.keys())
def test_misplaced(rule: dict[str, Any], path: str, message: str) -> None:
    """K5: A rule that does not fit the topology is refused before anything changes."""
    own = settings.parse({"firewall": {"rules": [{**rule, "ports": 1}]}})
    found = fleets.topology()
    assert list(own[FirewallSettings].conflicts(found, own, {})) == [(path, message)]


ELSEWHERE: dict[str, tuple[dict[str, Any], str, str]] = {
    "role and host": (
        {"role": "app", "host": "s1"},
        "egress[0]",
        "both role and host are given; give at most one of them",
    ),
    "host": (
        {"host": "s99"},
        "egress[0].host",
        '"s99" is not a host; choose one of: '
        "salt, fw, lb1, nas1, nas2, nas3, bbdd1, bbdd2, bkp1, nagios, ges, s{n}",
    ),
    "application": (
        {"role": "storage", "application": True},
        "egress[0].application",
        "no host of this entry serves an application; set role or host to one that does",
    ),
}


@pytest.mark.parametrize(("entry", "path", "message"), ELSEWHERE.values(), ids=ELSEWHERE.keys())
def test_x7_misplaced_egress(entry: dict[str, Any], path: str, message: str) -> None:
    """X7, K5: A connection that does not fit the topology is refused before anything changes."""
    own = settings.parse({"firewall": {"egress": [{**entry, "ports": 1}]}})
    found = fleets.topology()
    assert list(own[FirewallSettings].conflicts(found, own, {})) == [(path, message)]


@pytest.mark.parametrize(
    ("repository", "egress", "message"),
    [
        ("file:///srv/mirror/git/odoo-14.0.git", [], None),
        ("https://git.example/odoo.git", None, None),
        (
            "https://git.example:8443/odoo.git",
            None,
            "salt cannot reach https://git.example:8443/odoo.git (pillar/app/odoo-14.0.yaml) at "
            "port 8443; add {role: master, ports: 8443}",
        ),
        (
            "git@git.example:odoo.git",
            None,
            "s1 cannot reach git@git.example:odoo.git (pillar/app/odoo-14.0.yaml) at port 22; add "
            "{role: app, ports: 22}",
        ),
        ("ssh://git@git.example/odoo.git", [{"ports": "20-30"}], None),
        (
            "ssh://git@git.example/odoo.git",
            [{"ports": 22, "protocol": "udp"}],
            "salt cannot reach ssh://git@git.example/odoo.git (pillar/app/odoo-14.0.yaml) at port "
            "22; add {role: master, ports: 22}",
        ),
    ],
)
def test_x7_hosts_reach_the_code(
    repository: str, egress: list[dict[str, Any]] | None, message: str | None
) -> None:
    """X7, K5: The settings are refused that would leave a host without its application's code."""
    own = settings.parse({"firewall": {} if egress is None else {"egress": egress}})
    found = fleets.topology()
    definition = dict(fleets.definition("odoo-14.0"))
    definition["source"] = {**definition["source"], "repository": repository}
    faults = list(own[FirewallSettings].conflicts(found, own, {"odoo-14.0": definition}))
    assert faults == ([("egress", message)] if message else [])


@pytest.mark.parametrize(
    ("directory", "egress", "port"),
    [
        ("https://acme.example/directory", None, None),
        ("https://acme.example:8443/directory", None, 8443),
        ("https://[2001:db8::1]:8443/directory", [{"ports": "8000-9000"}], None),
        ("https://acme.example:8443/", [{"role": "balancer", "ports": 8443}], None),
        ("https://acme.example:8443/", [{"role": "app", "ports": 8443}], 8443),
        ("https://acme.example/", [{"ports": 443, "protocol": "udp"}], 443),
    ],
)
def test_x6_x7_the_balancer_reaches_the_directory(
    directory: str, egress: list[dict[str, Any]] | None, port: int | None
) -> None:
    """X6, X7, K5: The settings are refused with which no directory could issue a certificate."""
    own = settings.parse(
        {
            "firewall": {} if egress is None else {"egress": egress},
            "tls": {"public": "acme", "acme": {"directory": directory}},
        }
    )
    message = (
        f"lb1 cannot reach {directory} (pillar/settings/tls.yaml) at port {port}; add "
        f"{{role: balancer, ports: {port}}}"
    )
    found = fleets.topology()
    faults = list(own[FirewallSettings].conflicts(found, own, {}))
    assert faults == ([("egress", message)] if port else [])
    plain = replace(found, service=replace(found.service, tls=False))
    assert list(own[FirewallSettings].conflicts(plain, own, {})) == []
    without = own.but(replace(own[TlsSettings], public="ca"))
    assert list(without[FirewallSettings].conflicts(found, without, {})) == []


def test_x7_a_rule_for_hosts_opens_them_on_both_ends() -> None:
    """X7: The fleet's hosts may open what a rule of the operator lets in from them."""
    fleet = fleet_with(EXPORTER, STATISTICS, OFFICE)

    def opened(host: str) -> list[tuple[str, str]]:
        rules = policy.outgoing(fleet, fleet.hosts[host])
        before = policy.outgoing(fleets.fleet(), fleets.fleet().hosts[host])
        return [(rule["to"], rule["ports"]) for rule in rules if rule not in before]

    exporter = ("10.1.5.0/24", "9100")
    assert opened("nas1") == opened("lb1") == [exporter]
    ports = "8000:8010,9200"
    assert opened("bbdd1") == [exporter, *((f"10.1.4.1{number}", ports) for number in (1, 2, 3))]


def test_x7_the_table_shows_the_outside() -> None:
    """X7: The operator's table has the connections to the outside."""
    mail = {"role": "app", "ports": 587, "to": "192.0.2.25", "application": True, "comment": "mail"}
    fleet = fleet_with(egress=[mail, {"ports": 123, "protocol": "udp", "comment": "NTP"}])
    assert policy.markdown(fleet).splitlines()[-2:] == [
        "| app | 192.0.2.25 | outside | 587 | TCP | mail, also by the application |",
        "| every host | anywhere | outside | 123 | UDP | NTP |",
    ]


def test_ports_have_a_form_that_ufw_takes() -> None:
    """S7: A range has a colon, a list has commas, and there is no space."""
    fleet = fleet_with({"network": "management", "ports": " 80 - 90 ,443"})
    ports = policy.rules(fleet, fleet.hosts["fw"])[-1]["ports"]
    assert ports == "80:90,443" and re.fullmatch(r"[0-9:,]+", ports)

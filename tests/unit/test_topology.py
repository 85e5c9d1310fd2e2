"""The topology: what is good, each fault with its exact message, and no other exception ever."""

from __future__ import annotations

import copy
import ipaddress
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from salina_fleet.model import topology
from salina_fleet.model.settings import Settings
from salina_fleet.model.topology import Topology, TopologyError
from salina_fleet.roles import ROLES
from salina_fleet.roles.storage import StorageSettings
from salina_fleet.schema import document
from tests import fleets

Data = dict[str, Any]
Mutation = Callable[[Data], object]


def put(path: str, value: object) -> Mutation:
    """Set one value: put('hosts.nas1.first', True)."""

    def change(data: Data) -> None:
        *parents, last = path.split(".")
        for parent in parents:
            data = data[parent]
        data[last] = value

    return change


def drop(path: str) -> Mutation:
    """Remove one key."""

    def change(data: Data) -> None:
        *parents, last = path.split(".")
        for parent in parents:
            data = data[parent]
        del data[last]

    return change


def faults_of(data: object, settings: Settings | None = None) -> tuple[str, ...]:
    """The faults of a topology."""
    with pytest.raises(TopologyError) as caught:
        topology.parse(data, "topology", settings)
    return caught.value.faults


LABEL = "is not valid; must be a hostname label: a-z, 0-9 and -, at most 63 characters"
ID = (
    "is not valid; must be a host name, also with its domain: a-z, 0-9, - and dots, at most 63 "
    "characters, and not an IP address"
)
RULE = (
    "is not valid; must be a host name with {n} for the number, such as s{n}, or {n:02} for one "
    "with two digits or more"
)
NAME = (
    "is not valid; must be a lower-case letter, then letters, digits and _, at most 31 characters"
)
USED = "PostgreSQL, pgbouncer or HAProxy uses it for something else"
NETWORKS = "is not a network; choose one of: clients, edge, web, data, management"
A_NETWORK = "the name of a network, from networks"
NAMES = "master, firewall, storage, quorum, database, backup, app, balancer, monitoring, management"
TAKEN = "/etc/hosts or a certificate uses it for something else; choose another one"
TAKEN_DOMAIN = (
    "/etc/hosts, a certificate or a health check uses it for something else; choose another one"
)
AMBIGUOUS = (
    "because YAML or the resolver reads this name as a number, a date, true, false or nothing; "
    "choose another one"
)
DOMAIN = "a lower-case domain name of at most 253 characters, whose last part is not a number"
HOST: Data = {"roles": ["app"], "addresses": {"web": "10.1.3.99", "data": "10.1.4.99"}}

# One mutation away from the default topology, and the one line that says so.
SINGLE_FAULTS: dict[str, tuple[Mutation, str]] = {
    # the whole
    "unknown section": (
        put("host", {}),
        "host: unknown key; choose one of: service, applications, networks, links, hosts, pools, "
        "gateways, operators",
    ),
    "no service": (
        drop("service"),
        "service: missing; must be a mapping",
    ),
    "service is a list": (
        put("service", ["crm"]),
        "service: a list is not valid; must be a mapping",
    ),
    "hosts is an empty list": (
        put("hosts", []),
        "hosts: an empty list is not valid; must be a mapping of ids to hosts",
    ),
    # service
    "service without an address": (
        drop("service.address"),
        "service.address: missing; must be an IP address",
    ),
    "service's address is a name": (
        put("service.address", "lb1"),
        'service.address: "lb1" is not valid; must be an IP address',
    ),
    "service's address outside": (
        put("service.address", "10.1.3.1"),
        "service.address: 10.1.3.1 is outside 10.1.2.0/24; must be an address in the network edge",
    ),
    "service's address is a public one": (
        put("service.address", "203.0.113.5"),
        "service.address: 203.0.113.5 is outside 10.1.2.0/24; must be an address in the network "
        "edge; if a cloud or a router maps it to the balancer, it is `service.public`",
    ),
    "public address is inside": (
        put("service.public", "10.1.2.9"),
        "service.public: 10.1.2.9 is inside of the fleet's network edge, 10.1.2.0/24; must be an "
        "address outside, or remove it",
    ),
    "public address is of another version": (
        put("service.public", "2001:db8::5"),
        'service.public: "2001:db8::5" is not valid; must be of IPv4, like service.address',
    ),
    "service's address is nobody's": (
        put("service.address", "10.1.2.7"),
        'service.address: "10.1.2.7" is not valid; must be the balancer\'s address in the '
        "network edge: 10.1.2.2",
    ),
    "port is text": (
        put("service.http", "80"),
        'service.http: "80" is not valid; must be a number from 1 to 65535',
    ),
    "port out of range": (
        put("service.https", 70000),
        "service.https: 70000 is not valid; must be a number from 1 to 65535",
    ),
    "port is true": (
        put("service.http", True),
        "service.http: true is not valid; must be a number from 1 to 65535",
    ),
    "port of more digits than Python writes": (
        put("service.http", int("0x" + "f" * 5000, 16)),
        f"service.http: 0x{'f' * 58}… (5002 characters) is not valid; must be a number from 1 to "
        "65535",
    ),
    "port in use": (
        put("service.https", 5432),
        "service.https: 5432 is used by PostgreSQL; choose another port",
    ),
    "ports are the same": (
        put("service.https", 80),
        "service.https: 80 is already used by http; choose another port",
    ),
    "tls is a word": (
        put("service.tls", "on"),
        'service.tls: "on" is not valid; must be true or false',
    ),
    # applications
    "no applications": (
        drop("applications"),
        "applications: missing; must be a mapping of one or more applications",
    ),
    "applications are none": (
        put("applications", {}),
        "applications: an empty mapping is not valid; must be a mapping of one or more "
        "applications",
    ),
    "applications are a list": (
        put("applications", ["crm"]),
        "applications: a list is not valid; must be a mapping of one or more applications",
    ),
    "application's name with a hyphen": (
        lambda data: data["applications"].update({"my-crm": data["applications"].pop("crm")}),
        f'applications.my-crm: "my-crm" {NAME}',
    ),
    "application's name is a number": (
        lambda data: data["applications"].update({7: data["applications"].pop("crm")}),
        "applications: a key is 7; keys must be text, so quote it",
    ),
    "application without a domain": (
        drop("applications.crm.domain"),
        f"applications.crm.domain: missing; must be {DOMAIN}",
    ),
    "application with an unknown key": (
        put("applications.crm.port", 80),
        "applications.crm.port: unknown key; choose one of: domain, definition, volume, copy_of",
    ),
    "domain with a slash": (
        put("applications.crm.domain", "crm/example"),
        f'applications.crm.domain: "crm/example" is not valid; must be {DOMAIN}',
    ),
    "domain with a newline": (
        put("applications.crm.domain", "crm.example\nevil"),
        f'applications.crm.domain: "crm.example\\nevil" is not valid; must be {DOMAIN}',
    ),
    "domain is an address": (
        put("applications.crm.domain", "10.1.2.2"),
        f'applications.crm.domain: "10.1.2.2" is not valid; must be {DOMAIN}',
    ),
    "domain that a browser reads as an address": (
        put("applications.crm.domain", "crm.0x1f"),
        f'applications.crm.domain: "crm.0x1f" is not valid; must be {DOMAIN}',
    ),
    "domain that YAML reads as a number": (
        put("applications.crm.domain", 10.1),
        f"applications.crm.domain: 10.1 is not valid; must be {DOMAIN}",
    ),
    "domain is a boolean": (
        put("applications.crm.domain", "no"),
        f'applications.crm.domain: "no" is not valid, {AMBIGUOUS}',
    ),
    "definition out of its folder": (
        put("applications.crm.definition", "../topology"),
        'applications.crm.definition: "../topology" is not valid; must be the name of a file of '
        "pillar/app",
    ),
    "host serves an unknown application": (
        put("pools.app.application", "shop"),
        'pools.app.application: "shop" is not an application; choose one of: crm',
    ),
    "application is a list": (
        put("pools.app.application", ["crm"]),
        "pools.app.application: a list is not an application; choose one of: crm",
    ),
    "application on a host without role app": (
        put("hosts.nas1.application", "crm"),
        'hosts.nas1.application: "crm" is not valid without role app; add the role or remove '
        "this key",
    ),
    # networks and links
    "network is no network": (
        put("networks.web", "10.1.3.0"),
        'networks.web: "10.1.3.0" is not valid; must be a network such as 10.1.1.0/24 or '
        "fd00:1::/64",
    ),
    "network with host bits": (
        put("networks.web", "10.1.3.1/24"),
        'networks.web: "10.1.3.1/24" is an address, not a network; write 10.1.3.0/24',
    ),
    "network is a number": (
        put("networks.web", 10),
        "networks.web: 10 is not valid; must be a network such as 10.1.1.0/24 or fd00:1::/64",
    ),
    "network on loopback": (
        put("networks.spare", "127.0.0.0/24"),
        'networks.spare: "127.0.0.0/24" overlaps a loopback, link-local, multicast or reserved '
        "range; choose another range",
    ),
    "network's name": (
        put("networks.Spare_1", "10.1.9.0/24"),
        f'networks.Spare_1: "Spare_1" {LABEL}',
    ),
    "networks overlap": (
        put("networks.spare", "10.1.2.128/25"),
        "networks.spare: 10.1.2.128/25 overlaps 10.1.2.0/24 (edge); choose another range",
    ),
    "networks overlap in IPv6": (
        lambda data: data["networks"].update({"six": "fd00::/64", "sixty": "fd00::/60"}),
        "networks.sixty: fd00::/60 overlaps fd00::/64 (six); choose another range",
    ),
    "link missing": (drop("links.web"), f"links.web: missing; must be {A_NETWORK}"),
    "link unknown": (
        put("links.backup", "data"),
        "links.backup: unknown key; choose one of: clients, edge, web, data, management",
    ),
    "link to no network": (put("links.web", "wob"), f'links.web: "wob" {NETWORKS}'),
    "link is a list": (put("links.web", ["web"]), f"links.web: a list {NETWORKS}"),
    # hosts
    "id with a slash": (put("hosts.nas/4", HOST), f'hosts."nas/4": "nas/4" {ID}'),
    "id with a newline": (put("hosts.nas\n4", HOST), f'hosts."nas\\n4": "nas\\n4" {ID}'),
    "id with capitals": (put("hosts.NAS4", HOST), f'hosts.NAS4: "NAS4" {ID}'),
    "id is a glob": (put("hosts.nas*", HOST), f'hosts."nas*": "nas*" {ID}'),
    "id is too long": (put(f"hosts.{'a' * 64}", HOST), f'hosts.{"a" * 64}: "{"a" * 64}" {ID}'),
    "id is an address": (
        lambda data: data["hosts"].update({"10.1.4.24": HOST}),
        f'hosts."10.1.4.24": "10.1.4.24" {ID}',
    ),
    "id is this host's own name": (
        lambda data: data["hosts"].update({"localhost.example.com": HOST}),
        f'hosts."localhost.example.com": "localhost.example.com" is reserved, because {TAKEN}',
    ),
    "id is the name of an exporter": (
        lambda data: data["hosts"].update(
            {
                "node.nas1": {
                    "roles": ["app"],
                    "addresses": HOST["addresses"] | {"management": "10.1.5.99"},
                }
            }
        ),
        'hosts."node.nas1": monitoring asks nas1 for numbers by the name node.nas1; choose '
        "another id",
    ),
    "two ids with one replication slot": (
        lambda data: data["hosts"].update(
            {
                name: {
                    "roles": ["database"],
                    "addresses": {"data": f"10.1.4.{place}", "management": f"10.1.5.{place}"},
                }
                for place, name in ((47, "db.a-1"), (48, "db-a.1-b"), (49, "db-a-1"))
            }
        ),
        "hosts.db-a-1: Patroni gives it the same replication slot as db.a-1; choose another id",
    ),
    "id is taken": (
        put("hosts.database", HOST),
        f'hosts.database: "database" is reserved, because {TAKEN}',
    ),
    "id means no host": (
        put("hosts.nobody", HOST),
        f'hosts.nobody: "nobody" is reserved, because {TAKEN}',
    ),
    "id is loopback's": (
        put("hosts.ip6-localhost", HOST),
        f'hosts.ip6-localhost: "ip6-localhost" is reserved, because {TAKEN}',
    ),
    "id is a boolean": (put("hosts.no", HOST), f'hosts.no: "no" is not valid, {AMBIGUOUS}'),
    "id is nothing": (put("hosts.null", HOST), f'hosts.null: "null" is not valid, {AMBIGUOUS}'),
    "id is a number of the resolver": (
        put("hosts.1234", HOST),
        f'hosts.1234: "1234" is not valid, {AMBIGUOUS}',
    ),
    "id is an octal": (put("hosts.010", HOST), f'hosts.010: "010" is not valid, {AMBIGUOUS}'),
    "id is hexadecimal": (put("hosts.0x1f", HOST), f'hosts.0x1f: "0x1f" is not valid, {AMBIGUOUS}'),
    "network with a zone": (
        put("networks.data", "fd00:4::%eth0/64"),
        'networks.data: "fd00:4::%eth0/64" is not valid; must be a network such as 10.1.1.0/24 or '
        "fd00:1::/64",
    ),
    "network is a boolean": (
        put("networks.on", "10.9.0.0/24"),
        f'networks.on: "on" is not valid, {AMBIGUOUS}',
    ),
    "application is a boolean": (
        lambda data: data["applications"].update(yes=data["applications"].pop("crm")),
        f'applications.yes: "yes" is not valid, {AMBIGUOUS}',
    ),
    "volume is a boolean": (
        put("applications.crm.volume", "no"),
        f'applications.crm.volume: "no" is not valid, {AMBIGUOUS}',
    ),
    "volume is a word of gluster": (
        put("applications.crm.volume", "all"),
        'applications.crm.volume: "all" is reserved, because it is a word of the command gluster; '
        "choose another one",
    ),
    "domain is a certificate's": (
        put("applications.crm.domain", "database"),
        f'applications.crm.domain: "database" is reserved, because {TAKEN_DOMAIN}',
    ),
    "domain is that of the checks": (
        put("applications.crm.domain", "health.invalid"),
        f'applications.crm.domain: "health.invalid" is reserved, because {TAKEN_DOMAIN}',
    ),
    "domain is a host's id": (
        put("applications.crm.domain", "nas2"),
        "applications.crm.domain: nas2 is already used by the host nas2; choose another domain",
    ),
    "domain is a member's id": (
        put("applications.crm.domain", "s7"),
        "applications.crm.domain: s7 is already used by the host s7; choose another domain",
    ),
    "pool whose members are called localhost": (
        lambda data: data["pools"]["app"].update(id="localhost.s{n}", initial=["localhost.s1"]),
        "pools.app.id: the pool's member localhost.s1 would have a name that is reserved, because "
        "/etc/hosts or a certificate uses it for something else; choose another id rule",
    ),
    "pool below localhost": (
        lambda data: data["pools"]["app"].update(id="s{n}.localhost", initial=["s1.localhost"]),
        "pools.app.id: the pool's member s1.localhost would have a name that is reserved, because "
        "/etc/hosts or a certificate uses it for something else; choose another id rule",
    ),
    "host below localhost": (
        lambda data: data["hosts"].update({"nas3.localhost": data["hosts"].pop("nas3")}),
        'hosts."nas3.localhost": "nas3.localhost" is reserved, because /etc/hosts or a certificate '
        "uses it for something else; choose another one",
    ),
    "pool of numbers": (
        lambda data: data["pools"]["app"].update(id="{n}", initial=["1", "2"]),
        "pools.app.id: the pool's member 1 would have a name that YAML or the resolver misreads; "
        "choose an id rule that begins with a letter",
    ),
    "id is a number": (
        lambda data: data["hosts"].update({4: HOST}),
        "hosts: a key is 4; keys must be text, so quote it",
    ),
    "host is nothing": (put("hosts.fw", None), "hosts.fw: empty; must be a mapping"),
    "host with an unknown key": (
        put("hosts.fw.adresses", {}),
        "hosts.fw.adresses: unknown key; choose one of: roles, addresses, first, application, "
        "platform",
    ),
    "roles missing": (
        drop("hosts.fw.roles"),
        "hosts.fw.roles: missing; must be a list of items, each one of master, "
        "firewall, storage, quorum, database, backup, app, balancer, monitoring, "
        "management",
    ),
    "roles is a word": (
        put("hosts.fw.roles", "firewall"),
        f'hosts.fw.roles: "firewall" is not valid; must be a list of items, each one of {NAMES}',
    ),
    "roles are nothing": (
        put("hosts.fw.roles", None),
        f"hosts.fw.roles: empty; must be a list of items, each one of {NAMES}",
    ),
    "role is a number": (
        put("hosts.fw.roles", [1]),
        f"hosts.fw.roles[0]: 1 is not a role; choose one of: {NAMES}",
    ),
    "role unknown": (
        put("hosts.fw.roles", ["router"]),
        f'hosts.fw.roles[0]: "router" is not a role; choose one of: {NAMES}',
    ),
    "role twice": (
        put("hosts.nas1.roles", ["storage", "quorum", "storage"]),
        'hosts.nas1.roles[2]: "storage" is repeated; must be listed once',
    ),
    "address is no address": (
        put("hosts.nas2.addresses.data", "10.1.4"),
        'hosts.nas2.addresses.data: "10.1.4" is not valid; must be an IP address',
    ),
    "address with a zone": (
        put("hosts.nas2.addresses.data", "fe80::1%eth0"),
        'hosts.nas2.addresses.data: "fe80::1%eth0" is not valid; must be an IP address',
    ),
    "address in no network": (
        put("hosts.nas2.addresses.dada", "10.1.4.22"),
        f'hosts.nas2.addresses.dada: "dada" {NETWORKS}',
    ),
    "address outside its network": (
        put("hosts.nas2.addresses.data", "10.1.5.122"),
        "hosts.nas2.addresses.data: 10.1.5.122 is outside 10.1.4.0/24; choose another address "
        "in 10.1.4.0/24",
    ),
    "address is the network": (
        put("hosts.nas2.addresses.data", "10.1.4.0"),
        "hosts.nas2.addresses.data: 10.1.4.0 is the address of 10.1.4.0/24 itself; choose "
        "another address in 10.1.4.0/24",
    ),
    "address is the broadcast": (
        put("hosts.nas2.addresses.data", "10.1.4.255"),
        "hosts.nas2.addresses.data: 10.1.4.255 is the broadcast address of 10.1.4.0/24; choose "
        "another address in 10.1.4.0/24",
    ),
    "address of another host": (
        put("hosts.nas2.addresses.data", "10.1.4.21"),
        "hosts.nas2.addresses.data: 10.1.4.21 is already used by nas1; choose another address "
        "in 10.1.4.0/24",
    ),
    "address of a possible member": (
        put("hosts.nas2.addresses.data", "10.1.4.15"),
        "pools.app.addresses.data: s5 at 10.1.4.15 is already used by nas2; choose another "
        "address in 10.1.4.0/24",
    ),
    "address in the link's network missing": (
        drop("hosts.lb1.addresses.web"),
        "hosts.lb1.addresses.web: missing; role balancer needs an address in this network",
    ),
    "no address for the management": (
        drop("hosts.nas3.addresses.management"),
        "hosts.nas3.addresses.management: missing; every host needs an address in this network",
    ),
    "no first database": (
        drop("hosts.bbdd1.first"),
        "hosts: no host has first: true; exactly one database host must have it",
    ),
    "two first databases": (
        put("hosts.bbdd2.first", True),
        "hosts: 2 hosts (bbdd1, bbdd2) have first: true; exactly one database host must have it",
    ),
    "first is a word": (
        put("hosts.bbdd1.first", "yes"),
        'hosts.bbdd1.first: "yes" is not valid; must be true or false',
    ),
    "first without a database": (
        put("hosts.nas1.first", True),
        "hosts.nas1.first: true is not valid without role database; add the role or remove this "
        "key",
    ),
    "no master": (
        drop("hosts.salt"),
        "hosts: no host has role master; exactly one host must have it",
    ),
    "two masters": (
        put("hosts.fw.roles", ["firewall", "master"]),
        "hosts: 2 hosts (salt, fw) have role master; exactly one host must have it",
    ),
    "another host called salt": (
        lambda data: data["hosts"].update(
            salt=data["hosts"].pop("fw"), boss=data["hosts"].pop("salt")
        ),
        "hosts.salt: the name `salt` is reserved for the master; give this host the role "
        "master, or another name",
    ),
    "another host called salt, without a role": (
        lambda data: data["hosts"].update(
            boss=data["hosts"].pop("salt"),
            salt={"roles": [], "addresses": {"management": "10.1.5.99"}},
        ),
        "hosts.salt: the name `salt` is reserved for the master; give this host the role "
        "master, or another name",
    ),
    "no balancer": (
        drop("hosts.lb1"),
        "hosts: no host has role balancer; one host or two hosts must have it",
    ),
    "gateways of one firewall": (
        put("gateways", {"edge": "10.1.2.9"}),
        "gateways: 1 host (fw) has role firewall; two share the gateways; "
        "remove the key, or give the role to two hosts",
    ),
    "a balancer with the address of a pair": (
        put(
            "hosts.lb2",
            {
                "roles": ["balancer"],
                "addresses": {"edge": "10.1.2.3", "web": "10.1.3.2", "management": "10.1.5.9"},
            },
        ),
        "hosts.lb1.addresses.edge: 10.1.2.2 is the address that lb1 and lb2 share; give lb1 "
        "another one in the network edge",
    ),
    "two voters": (
        put("hosts.nas3.roles", ["storage"]),
        "hosts: 2 hosts (nas1, nas2) have role quorum; the number of hosts with role quorum must "
        "be 1, 3 or 5",
    ),
    "no app host": (
        drop("pools"),
        "hosts: no host has role app; at least one host or pool must have it",
    ),
    # pools
    "pool's id without a number": (
        put("pools.app.id", "s"),
        f'pools.app.id: "s" {RULE}',
    ),
    "pool's id out of a label": (
        put("pools.app.id", "s{n}/x"),
        f'pools.app.id: "s{{n}}/x" {RULE}',
    ),
    "pool's id is a host's": (
        lambda data: data["hosts"].update(s4=data["hosts"].pop("fw")),
        "pools.app.id: the pool's member s4 has the same id as hosts.s4; choose another id rule",
    ),
    "pool with another role": (
        put("pools.app.roles", ["app", "storage"]),
        'pools.app.roles[1]: "storage" is not a role that a pool can have; choose one of: app',
    ),
    "pool's rule without a number": (
        put("pools.app.addresses.web", "10.1.3.11"),
        'pools.app.addresses.web: "10.1.3.11" is not valid; must be an address rule such as '
        "10.1.3.(10+n), where n is the member's number",
    ),
    "pool's rule with a wrong number": (
        put("pools.app.addresses.web", "10.1.3.(300+n)"),
        'pools.app.addresses.web: "10.1.3.(300+n)" begins above 255; 300 must be at most 255',
    ),
    "pool's rule leads outside": (
        put("pools.app.addresses.web", "10.1.3.(248+n)"),
        "pools.app.addresses.web: s7 at 10.1.3.255 is the broadcast address of 10.1.3.0/24; "
        "choose another address in 10.1.3.0/24",
    ),
    "pool without a network": (
        drop("pools.app.addresses.data"),
        "pools.app.addresses.data: missing; role app needs an address in this network",
    ),
    "pool's maximum": (
        put("pools.app.maximum", 10**9),
        "pools.app.maximum: 1000000000 is not valid; must be a number from 1 to 4096",
    ),
    "pool's minimum": (
        put("pools.app.minimum", 11),
        "pools.app.minimum: 11 is not valid; must be a number from 0 to 10, the pool's maximum",
    ),
    "pool begins below its minimum": (
        put("pools.app.minimum", 4),
        "pools.app.initial: 3 members are listed; the number must be from 4 (minimum) "
        "to 10 (maximum)",
    ),
    "pool begins with nobody": (
        put("pools.app.initial", []),
        "pools.app.initial: 0 members are listed; the number must be from 1 (minimum) to 10 "
        "(maximum)",
    ),
    "pool begins with a stranger": (
        put("pools.app.initial", ["s1", "s11"]),
        'pools.app.initial: "s11" is not valid; must be s{n} with n from 1 to 10',
    ),
    "pool begins with a zero": (
        put("pools.app.initial", ["s01"]),
        'pools.app.initial: "s01" is not valid; must be s{n} with n from 1 to 10',
    ),
    "pool begins with one twice": (
        put("pools.app.initial", ["s1", "s1"]),
        'pools.app.initial[1]: "s1" is repeated; must be listed once',
    ),
}


# One mutation away from the topology with two applications.
SINGLE_FAULTS_OF_TWO: dict[str, tuple[Mutation, str]] = {
    "domains are the same": (
        put("applications.shop.domain", "crm.example"),
        "applications.shop.domain: crm.example is already used by crm; choose another domain",
    ),
    "volumes are the same": (
        drop("applications.shop.volume"),
        "applications.shop.volume: nas is already used by crm; give shop a volume of its own: "
        "`volume: NAME`",
    ),
    "volume is no name": (
        put("applications.shop.volume", "a/b"),
        'applications.shop.volume: "a/b" is not valid; must be a name of letters, digits and _, '
        "or null",
    ),
    "pool does not say which": (
        drop("pools.shop.application"),
        "pools.shop.application: missing; choose one of: crm, shop",
    ),
    "host does not say which": (
        put(
            "hosts.old",
            {
                "roles": ["app"],
                "addresses": {"web": "10.1.3.9", "data": "10.1.4.9", "management": "10.1.5.9"},
            },
        ),
        "hosts.old.application: missing; choose one of: crm, shop",
    ),
    "host serves an unknown one": (
        put("pools.shop.application", "shp"),
        'pools.shop.application: "shp" is not an application; choose one of: crm, shop',
    ),
    "nobody serves one": (
        put("pools.shop.application", "crm"),
        "applications.shop: no host serves it; add a host or a pool with role app and "
        "`application: shop`",
    ),
    "nobody serves anything": (
        drop("pools"),
        "hosts: no host has role app; at least one host or pool must have it",
    ),
}


def again(original: str) -> Mutation:
    """Add another copy for trials, with a host of its own."""

    def change(data: Data) -> None:
        addresses = {"web": "10.1.3.62", "data": "10.1.4.62", "management": "10.1.5.62"}
        data["hosts"]["g2"] = {"roles": ["app"], "application": "again", "addresses": addresses}
        data["applications"]["again"] = {
            "domain": "again.crm.example",
            "definition": "odoo-14.0",
            "volume": "again",
            "copy_of": original,
        }

    return change


ORIGINAL = "is not valid; must be an application that is not a copy"
# One mutation away from the topology with a copy for trials.
SINGLE_FAULTS_OF_COPIES: dict[str, tuple[Mutation, str]] = {
    "copy of an unknown application": (
        put("applications.crm_staging.copy_of", "shop"),
        f'applications.crm_staging.copy_of: "shop" {ORIGINAL}',
    ),
    "copy of itself": (
        put("applications.crm_staging.copy_of", "crm_staging"),
        f'applications.crm_staging.copy_of: "crm_staging" {ORIGINAL}',
    ),
    "copy of a copy": (
        again("crm_staging"),
        f'applications.again.copy_of: "crm_staging" {ORIGINAL}',
    ),
    "copy of no name": (
        put("applications.crm_staging.copy_of", "CRM"),
        f'applications.crm_staging.copy_of: "CRM" {NAME}, or null',
    ),
    "copy in a list": (
        put("applications.crm_staging.copy_of", ["crm"]),
        f"applications.crm_staging.copy_of: a list {NAME}, or null",
    ),
}
CASES = {name: ("default", *case) for name, case in SINGLE_FAULTS.items()} | {
    name: ("two-applications", *case) for name, case in SINGLE_FAULTS_OF_TWO.items()
}
CASES |= {name: ("staging", *case) for name, case in SINGLE_FAULTS_OF_COPIES.items()}
ADVICE = (
    "and no host has role storage, so each of them would keep other files; add hosts with role "
    "storage, or let one host serve it"
)
S2 = {"roles": ["app"], "addresses": {"inner": "10.1.4.12"}}
GROWING = {
    "id": "a{n}",
    "roles": ["app"],
    "addresses": {"inner": "10.1.4.(100+n)"},
    "minimum": 1,
    "maximum": 3,
    "initial": ["a1"],
}
# One mutation away from the topology without storage hosts, whose app host keeps the files.
SINGLE_FAULTS_WITHOUT_STORAGE: dict[str, tuple[Mutation, str]] = {
    "two hosts with their own files": (
        put("hosts.s2", S2),
        f"applications.crm: 2 hosts can serve it (s1, s2), {ADVICE}",
    ),
    "a host and a pool with their own files": (
        put("pools", {"app": GROWING}),
        f"applications.crm: 4 hosts can serve it (s1, the pool app with up to 3), {ADVICE}",
    ),
    "a pool that can grow, without storage": (
        lambda data: (drop("hosts.s1")(data), put("pools", {"app": GROWING})(data)),
        f"applications.crm: 3 hosts can serve it (the pool app with up to 3), {ADVICE}",
    ),
}
CASES |= {name: ("plain", *case) for name, case in SINGLE_FAULTS_WITHOUT_STORAGE.items()}


@pytest.mark.parametrize(("name", "change", "message"), CASES.values(), ids=CASES.keys())
def test_single_fault(name: str, change: Mutation, message: str, tmp_path: Path) -> None:
    """K5: One mistake gives one line with path, what was found and what is allowed."""
    data = fleets.data(name)
    change(data)
    assert faults_of(data) == (message,)
    if "characters" not in message:  # YAML's writer wants digits
        file = tmp_path / "topology.yaml"
        file.write_text(yaml.safe_dump(data, sort_keys=False))
        with pytest.raises(TopologyError) as caught:
            topology.load(file)
        assert str(caught.value) == f"{file}: 1 fault\n  {message}"


@pytest.mark.parametrize(
    "name",
    ["postgres", "template1", "all", "replication", "rewinder", "public", "pg_x", "database"],
)
def test_names_that_mean_something_else(name: str) -> None:
    """S6: In pg_hba.conf `all` would open every database, and other names are roles or databases
    already.

    O9: A restore takes `all` for every application.
    """
    data = fleets.data()
    data["applications"][name] = data["applications"].pop("crm")
    assert faults_of(data) == (
        f'applications.{name}: "{name}" is reserved, because {USED}; choose another one',
    )


# The default file with a piece of its text replaced, and the one line that says so.
SINGLE_FAULTS_OF_TEXT: dict[str, tuple[str, str, str]] = {
    "key twice": (
        "  nas2:",
        "  nas1:",
        "hosts.nas1: is given twice (lines 42 and 45); remove one",
    ),
    "key twice in another spelling": (
        "  http: 80",
        '  http: 80\n  "\\x68ttp": 81',
        "service.http: is given twice (lines 6 and 7); remove one",
    ),
    "section twice": (
        "pools:",
        "links: {}\npools:",
        "links: is given twice (lines 25 and 68); remove one",
    ),
    "key is a number": ("  nas3:", "  3:", "hosts: a key is 3; keys must be text, so quote it"),
    "key is nothing": ("  nas3:", "  ~:", "hosts: a key is empty; keys must be text"),
    "key is a list": ("  nas3:", "  [nas3]:", "hosts: a key is a list; keys must be text"),
    "tag that runs a command": (
        "tls: true",
        "tls: !!python/object/apply:os.system [reboot]",
        'line 8: the tag "tag:yaml.org,2002:python/object/apply:os.system" is not allowed; write a '
        "plain value",
    ),
    "tag of its own": (
        "domain: crm",
        "domain: !secret crm",
        'line 14: the tag "!secret" is not allowed; write a plain value',
    ),
    "tag with a newline": (
        "domain: crm",
        "domain: !<x%0Ay> crm",
        'line 14: the tag "x\\ny" is not allowed; write a plain value',
    ),
    "tag of YAML": (
        "http: 80",
        'http: !!int "80"',
        'line 6: the tag "tag:yaml.org,2002:int" is not allowed; write a plain value',
    ),
    "anchor": (
        "nas1:",
        "nas1: &nas",
        "line 42: the anchor &nas is not allowed; write a plain value",
    ),
    "alias": (
        "initial: [s1, s2, s3]",
        "initial: *all",
        "line 75: the alias *all is not allowed; write a plain value",
    ),
    "second document": (
        "pools:",
        "---\npools:",
        "line 68: a second document begins here; the file must have only one",
    ),
    "open bracket": (
        "[s1, s2, s3]",
        "[s1, s2, s3",
        "line 79: the file is not YAML: expected ',' or ']', but got '?'",
    ),
    "tab": (
        "  http: 80",
        "\thttp: 80",
        "line 6: the file is not YAML: found character '\\t' that cannot start any token",
    ),
    "control character": (
        "crm.example",
        "crm\0example",
        "the file is not text: unacceptable character #x0000: special characters are not allowed",
    ),
    "character beyond Unicode": (
        "domain: crm.example",
        'domain: "\\UFFFFFFFF"',
        "line 14: the character escape \\UFFFFFFFF is beyond Unicode; correct it",
    ),
    "number without digits": (
        "http: 80",
        "http: 0x_",
        'service.http: "0x_" is not valid; must be a number from 1 to 65535',
    ),
    "number in sixties beyond any": (
        "http: 80",
        f"http: 1{':1' * 300}.0",
        f'service.http: "1{":1" * 29}… (605 characters) is not valid; must be a number from 1 to '
        "65535",
    ),
    "number of more digits than Python reads": (
        "http: 80",
        f"http: {'9' * 5000}",
        f'service.http: "{"9" * 59}… (5002 characters) is not valid; must be a number from 1 to '
        "65535",
    ),
    "yes in the words of YAML 1.1": (
        "id: s{n}",
        "id: yes",
        f"pools.app.id: yes (true in YAML) {RULE}",
    ),
    "address unquoted in IPv6": (
        "address: 10.1.2.2",
        "address: 1:2",
        "service.address: 1:2 (62 in YAML) is not valid; must be an IP address",
    ),
}


@pytest.mark.parametrize(
    ("old", "new", "message"), SINGLE_FAULTS_OF_TEXT.values(), ids=SINGLE_FAULTS_OF_TEXT.keys()
)
def test_single_fault_of_text(old: str, new: str, message: str, tmp_path: Path) -> None:
    """A piece of text away from good: the file, and one line with path or line."""
    file, good = tmp_path / "topology.yaml", fleets.DEFAULT.read_text()
    assert old in good
    file.write_text(good.replace(old, new, 1))
    with pytest.raises(TopologyError) as caught:
        topology.load(file)
    assert str(caught.value) == f"{file}: 1 fault\n  {message}"


DEEP = "line 1: 21 levels of nesting; there must be at most 20"
# A file that is not a topology: its bytes, and the line that says so.
FILES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "empty; must be a mapping"),
    "comment only": (b"# later\n", "empty; must be a mapping"),
    "blank": (b"\n \n", "empty; must be a mapping"),
    "a list": (b"- service\n", "a list is not valid; must be a mapping"),
    "a word": (b"topology\n", '"topology" is not valid; must be a mapping'),
    "binary": (b"\x7fELF\x02\x01\xff\xfe\x00", "the file is not text in UTF-8; save it as UTF-8"),
    "an archive": (b"\x1f\x8b\x08\x00\x00", "the file is not text in UTF-8; save it as UTF-8"),
    "zeros": (
        bytes(64),
        "the file is not text: unacceptable character #x0000: special characters are not allowed",
    ),
    "UTF-16": ("service: {}".encode("utf-16"), "the file is not text in UTF-8; save it as UTF-8"),
    "brackets without end": (b"[" * 999_999, DEEP),
    "keys without end": (b"? " * 499_999, DEEP),
    "too large": (
        b"#" * 5_000_001,
        "the file cannot be read: it is too large; it must have at most 5000000 bytes",
    ),
}


@pytest.mark.parametrize(("content", "message"), FILES.values(), ids=FILES.keys())
def test_no_topology(content: bytes, message: str, tmp_path: Path) -> None:
    """A file that is not a topology gives one readable line, and no other exception."""
    file = tmp_path / "topology.yaml"
    file.write_bytes(content)
    with pytest.raises(TopologyError) as caught:
        topology.load(file)
    assert str(caught.value) == f"{file}: 1 fault\n  {message}"


def test_alias_bomb() -> None:
    """Aliases are refused before anything is expanded."""
    rows = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    rows += [f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]" for a, b in pairwise("abcdefghi")]
    with pytest.raises(TopologyError) as caught:
        topology.loads("\n".join(rows))
    assert "line 2: the alias *a is not allowed; write a plain value" in caught.value.faults


def test_no_file(tmp_path: Path) -> None:
    """A missing file, or a folder, is a fault as well."""
    for path, reason in (
        (tmp_path / "none.yaml", "No such file or directory"),
        (tmp_path, "it is a directory; put a regular file in its place"),
        (
            fleets.DEFAULT / "x.yaml",
            f"{fleets.DEFAULT} is not a directory; put a directory in its place",
        ),
    ):
        with pytest.raises(TopologyError) as caught:
            topology.load(path)
        assert str(caught.value) == f"{path}: 1 fault\n  the file cannot be read: {reason}"


def test_a_pool_of_one_needs_no_storage() -> None:
    """A host that is replaced rather than repaired may be the only one of a pool."""
    data = fleets.data("plain")
    drop("hosts.s1")(data)
    put("pools", {"app": GROWING | {"maximum": 1}})(data)
    assert topology.parse(data).pools["app"].maximum == 1


def test_all_faults_together() -> None:
    """K5: Several faults, of fields and across fields, are reported at once."""
    data = fleets.data()
    put("hosts.nas2.addresses.data", "10.1.4.21")(data)
    put("hosts.salt.roles", ["mster"])(data)
    put("service.http", 22)(data)
    put("networks.spare", "10.1.1.0/25")(data)
    assert faults_of(data) == (
        f'hosts.salt.roles[0]: "mster" is not a role; choose one of: {NAMES}',
        "service.http: 22 is used by SSH; choose another port",
        "networks.spare: 10.1.1.0/25 overlaps 10.1.1.0/24 (clients); choose another range",
        "hosts.nas2.addresses.data: 10.1.4.21 is already used by nas1; choose another address "
        "in 10.1.4.0/24",
    )


def test_messages_are_printable() -> None:
    """A name that is a fault of its own is in the other faults' lines, too."""
    data = fleets.data()
    data["networks"]["a\nb"] = data["networks"].pop("data")
    put("networks.\x1b[2J", "10.1.3.0/25")(data)
    assert f'networks."a\\nb": "a\\nb" {LABEL}' in faults_of(data)
    names = "clients, edge, web, management, a\\nb, \\x1b[2J"
    assert f'links.data: "data" is not a network; choose one of: {names}' in faults_of(data)
    overlap = "10.1.3.0/25 overlaps 10.1.3.0/24 (web); choose another range"
    assert f'networks."\\x1b[2J": {overlap}' in faults_of(data)


def test_faults_of_text_and_content_together(tmp_path: Path) -> None:
    """Also where one fault is the YAML's and the other is what it says."""
    file = tmp_path / "topology.yaml"
    text = fleets.DEFAULT.read_text().replace("  nas2:", "  nas1:").replace("[master]", "[mster]")
    file.write_text(f"{text}7: seven\n")
    with pytest.raises(TopologyError) as caught:
        topology.load(file)
    assert str(caught.value).splitlines() == [
        f"{file}: 3 faults",
        "  hosts.nas1: is given twice (lines 42 and 45); remove one",
        "  line 80: a key is 7; keys must be text, so quote it",
        f'  hosts.salt.roles[0]: "mster" is not a role; choose one of: {NAMES}',
    ]


def test_addresses_are_judged_beside_a_section_that_is_given_twice() -> None:
    """The first of the two sections is judged as far as it is read."""
    text = fleets.DEFAULT.read_text().replace("data: 10.1.4.22", "data: 10.1.4.21")
    with pytest.raises(TopologyError) as caught:
        topology.loads(f"{text}hosts: {{}}\n")
    assert [fault.partition(";")[0] for fault in caught.value.faults] == [
        "hosts: is given twice (lines 32 and 80)",
        "hosts.nas2.addresses.data: 10.1.4.21 is already used by nas1",
    ]


@pytest.mark.parametrize(
    ("replica", "good"), [(None, True), (1, True), (3, True), (2, True), (4, False)]
)
def test_replica(replica: int | None, good: bool) -> None:
    """S3: There are as many storage hosts as copies of a file; a host beyond them is a spare."""
    settings = Settings(StorageSettings(replica=replica))
    if good:
        assert topology.parse(fleets.data(), settings=settings)
    else:
        assert faults_of(fleets.data(), settings) == (
            "hosts: 3 hosts (nas1, nas2, nas3) have role storage; there must be at least 4, the "
            "number of copies (`replica` in pillar/settings/storage.yaml)",
        )


# Good topologies


@pytest.mark.parametrize("name", ["default", *fleets.OTHERS])
def test_written_back(name: str) -> None:
    """S15: An accepted topology is written back unchanged."""
    parsed, data = fleets.topology(name), fleets.data(name)
    assert parsed.to_dict() == spelled(data)
    assert topology.parse(parsed.to_dict()) == parsed


DATA = {"data": "10.1.4.99"}
PAIR_FAULTS: dict[str, tuple[Mutation, list[str]]] = {
    "no gateways": (
        drop("gateways"),
        [
            f"gateways.{name}: missing; write the address that fw1 and fw2 share there, the "
            "gateway of other hosts"
            for name in ("clients", "edge")
        ],
    ),
    "a gateway elsewhere": (
        put("gateways.edge", "10.1.3.9"),
        [
            "gateways.edge: 10.1.3.9 is outside 10.1.2.0/24; choose another address in the network "
            "edge"
        ],
    ),
    "a gateway too many": (
        put("gateways.data", "10.1.4.9"),
        ["gateways.data: fw1 and fw2 share an address only in clients and edge; remove it"],
    ),
    "a gateway of no network": (
        put("gateways.outside", "10.1.4.9"),
        [
            'gateways.outside: "outside" is not a network; choose one of: clients, edge, web, '
            "data, management"
        ],
    ),
    "a gateway that is the service": (
        put("gateways.edge", "10.1.2.2"),
        ["gateways.edge: 10.1.2.2 is already used by service.address; choose another one"],
    ),
    "a gateway that is a host's own": (
        put("hosts.lb2.addresses.edge", "10.1.2.1"),
        [
            "hosts.lb2.addresses.edge: 10.1.2.1 is the address that fw1 and fw2 share; give lb2 "
            "another one in the network edge"
        ],
    ),
    "a firewall that balances": (
        put(
            "hosts.fw1",
            {
                "roles": ["firewall", "balancer"],
                "addresses": {
                    "clients": "10.1.1.2",
                    "edge": "10.1.2.7",
                    "web": "10.1.3.9",
                    "management": "10.1.5.3",
                },
            },
        ),
        [
            "hosts: 3 hosts (fw1, lb1, lb2) have role balancer; one host or two hosts must have it",
            "hosts.fw1.roles: one of two firewalls cannot be a balancer; choose another host",
        ],
    ),
    "a balancer that serves": (
        lambda data: data["hosts"]["lb1"].update(
            roles=["balancer", "app"], addresses=data["hosts"]["lb1"]["addresses"] | DATA
        ),
        ["hosts.lb1.roles: one of two balancers cannot serve an application; choose another host"],
    ),
    "a third firewall": (
        put(
            "hosts.fw3",
            {
                "roles": ["firewall"],
                "addresses": {"clients": "10.1.1.9", "edge": "10.1.2.9", "management": "10.1.5.9"},
            },
        ),
        [
            "hosts: 3 hosts (fw1, fw2, fw3) have role firewall; at most two hosts may have it",
            "gateways: 3 hosts (fw1, fw2, fw3) have role firewall; two share the gateways; "
            "remove the key, or give the role to two hosts",
        ],
    ),
    "the service elsewhere": (
        put("service.address", "10.1.9.9"),
        [
            "service.address: 10.1.9.9 is outside 10.1.2.0/24; must be an address in the network "
            "edge; if a cloud or a router maps it to the balancer, it is `service.public`"
        ],
    ),
}


@pytest.mark.parametrize("mutation", PAIR_FAULTS)
def test_k6_the_faults_of_pairs(mutation: str) -> None:
    """K6: Two hosts share an address in a network of both, and no host has it as its own."""
    change, lines = PAIR_FAULTS[mutation]
    data = fleets.data("pairs")
    change(data)
    with pytest.raises(TopologyError) as caught:
        topology.parse(data)
    assert sorted(caught.value.faults) == sorted(lines)


def test_default_addresses() -> None:
    """S15: The default topology has the assignment's addresses."""
    hosts = fleets.fleet().hosts
    assert list(hosts) == [
        "salt",
        "fw",
        "lb1",
        "nas1",
        "nas2",
        "nas3",
        "bbdd1",
        "bbdd2",
        "bkp1",
        "nagios",
        "ges",
        "s1",
        "s2",
        "s3",
    ]
    assert hosts["s2"].addresses == {
        "web": "10.1.3.12", "data": "10.1.4.12", "management": "10.1.5.12",
    }  # fmt: skip
    assert fleets.topology().service.ports == (80, 443)
    assert fleets.topology("one-host").service.ports == (80,)


def test_pool() -> None:
    """A pool's members: ids by number, addresses by counting on, also over a limit of 255."""
    pool = fleets.topology("five-apps").pools["web"]
    assert pool.number("web-7-blue") == 7
    assert [pool.number(i) for i in ("web-0-blue", "web-101-blue", "web-07-blue", "s7")] == [
        None, None, None, None,
    ]  # fmt: skip
    data = fleets.data()
    data["networks"]["web"] = "10.8.0.0/16"
    data["hosts"]["lb1"]["addresses"]["web"] = "10.8.9.1"
    data["pools"]["app"]["addresses"]["web"] = "10.8.0.(10+n)"
    host = topology.parse(data | {"pools": data["pools"]}).pools["app"].host(300)
    assert (host.id, host.addresses["web"]) == ("s300", "10.8.1.54")


def test_ipv6() -> None:
    """Addresses are compared and kept in their shortest form, and rules count on in IPv6."""
    data = fleets.data("ipv6")
    data["hosts"]["nas2"]["addresses"]["data"] = "FD00:0004:0::0021"
    assert faults_of(data) == (
        "hosts.nas2.addresses.data: fd00:4::21 is already used by nas1; choose another "
        "address in fd00:4::/64",
    )
    assert fleets.fleet("ipv6").hosts["s3"].addresses["web"] == "fd00:3::13"


def test_o1_an_application_may_have_several_copies() -> None:
    """O1: Each of them is one, and no other application is."""
    assert (fleets.topology().copies, fleets.topology().originals) == ([], ["crm"])
    data = fleets.data("staging")
    again("crm")(data)
    found = topology.parse(data)
    copies = [(one.name, one.copy_of) for one in found.copies]
    assert copies == [("crm_staging", "crm"), ("again", "crm")]
    assert found.originals == ["crm"]
    both = topology.parse(fleets.data("two-applications"))
    assert both.originals == [*both.applications] == ["crm", "shop"]


def test_k5_copies_of_each_other_are_two_faults() -> None:
    """O1, K5: Neither has an original."""
    data = fleets.data("staging")
    data["applications"]["crm"]["copy_of"] = "crm_staging"
    assert faults_of(data) == (
        f'applications.crm.copy_of: "crm_staging" {ORIGINAL}',
        f'applications.crm_staging.copy_of: "crm" {ORIGINAL}',
    )


def test_k5_an_original_that_is_given_twice_is_not_judged() -> None:
    """O1, K5: Nobody knows which of the two is meant."""
    text = fleets.OTHERS["staging"].read_text()
    with pytest.raises(TopologyError) as caught:
        topology.loads(text.replace("copy_of: crm}", "copy_of: crm, copy_of: shop}"))
    assert caught.value.faults == (
        "applications.crm_staging.copy_of: is given twice (lines 9 and 9); remove one",
    )


def test_members() -> None:
    """The fleet is the static hosts and the active members; strangers are refused."""
    default = fleets.topology()
    assert [host.id for host in default.fleet({"app": ["s9"]})][-2:] == ["ges", "s9"]
    for pool, stranger in (("app", "s11"), ("app", "fw"), ("web", "s1")):
        with pytest.raises(TopologyError, match="the topology has no such member"):
            default.pool_host(pool, stranger)


# Properties


scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8),
    st.sampled_from(["10.1.4.21", "fd00::1", "10.1.3.(10+n)", "s{n}", "app", "data", "10.0.0.0/8"]),
)  # fmt: skip
anything = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(scalars, inner, max_size=3)
    ),
    max_leaves=8,
)


def spelled(data: Any) -> Any:
    """A good topology's data as it is written back: with the defaults, roles in the one order,
    addresses in their shortest form; all else as it was given.
    """
    data = copy.deepcopy(data)
    service = {"http": 80, "https": 443, "tls": True} | data["service"]
    service["address"] = str(ipaddress.ip_address(service["address"]))
    only = next(iter(data["applications"]))
    for part in (*data["hosts"].values(), *data.get("pools", {}).values()):
        if "app" in part["roles"]:
            part.setdefault("application", only)
    for host in data["hosts"].values():
        host["addresses"] = {
            name: str(ipaddress.ip_address(text)) for name, text in host["addresses"].items()
        }
        if not host.get("first"):
            host.pop("first", None)
    pools = data.get("pools", {})
    for part in (*data["hosts"].values(), *pools.values()):
        part["roles"].sort(key=list(ROLES).index)
    networks = {name: str(ipaddress.ip_network(text)) for name, text in data["networks"].items()}
    operators = data.get("operators", {})
    gateways = {
        name: str(ipaddress.ip_address(text)) for name, text in data.get("gateways", {}).items()
    }
    rest = {"networks": networks, "pools": pools, "gateways": gateways, "operators": operators}
    return data | {"service": service, **rest}


def check(read: Callable[[], Any], parse: Callable[[], Topology]) -> None:
    """Either a TopologyError with lines, or a topology that is written back unchanged."""
    try:
        parsed = parse()
    except TopologyError as error:
        assert error.faults
        assert all(fault.isprintable() for fault in error.faults)
    else:
        assert parsed.to_dict() == spelled(read())
        assert topology.parse(parsed.to_dict()) == parsed


@given(anything)
def test_any_data(data: object) -> None:
    """Whatever the data: no exception but TopologyError."""
    check(lambda: data, lambda: topology.parse(data))


def check_text(text: bytes | str) -> None:
    """The same for a file's content."""
    check(lambda: document.loads(text, "x"), lambda: topology.loads(text))


@given(st.one_of(st.binary(max_size=60), st.text(max_size=60)))
def test_any_text(text: bytes | str) -> None:
    """Whatever the text: no exception but TopologyError."""
    check_text(text)


@given(st.binary(max_size=60))
def test_any_file(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """Whatever the file: no exception but TopologyError, which names it."""
    file = tmp_path_factory.getbasetemp() / "any-topology.yaml"
    file.write_bytes(content)
    with pytest.raises(TopologyError) as caught:
        topology.load(file)
    assert str(caught.value).startswith(f"{file}: ")


pieces = st.one_of(
    st.text(max_size=4),
    st.sampled_from(
        ["\n", "\n  ", "\t", "\r", "\0", "\x85", "\ufeff", "\u2028", ": ", "- ", "? ", "{", "}",
         "[", "]", ",", "&a ", "*a", "!t ", "!!int ", "!<a%0A>", "<<: ", "|\n", ">-\n", "#", "'",
         '"', "\\", '"\\UFFFFFFFF"', "---\n", "...\n", "%YAML 9.9\n", "%TAG ! !a\n", "@", "`", "~",
         "yes", "0x_", "1:1.0", "2001-01-01", ".inf", "1e999", "0", "1", "9", "s1", "10.1.4.21"]
    ),
)  # fmt: skip


@given(st.sampled_from(["default", "one-host"]), st.data())
def test_any_change_of_text(name: str, draw: st.DataObject) -> None:
    """Some pieces of a good file's text replaced by others."""
    text = fleets.OTHERS.get(name, fleets.DEFAULT).read_text()
    for _ in range(draw.draw(st.integers(1, 3))):
        start = draw.draw(st.integers(0, len(text)))
        end = start + draw.draw(st.integers(0, 12))
        text = text[:start] + draw.draw(pieces) + text[end:]
    check_text(text)


@given(st.sampled_from(["default", *fleets.OTHERS]), st.data())
def test_any_change(name: str, draw: st.DataObject) -> None:
    """Any one value of a good topology replaced by anything, or any key renamed."""
    data = copy.deepcopy(fleets.data(name))
    place: Any = data
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = draw.draw(st.sampled_from(keys))
        inside = place[key]
        if not isinstance(inside, (dict, list)) or not inside or draw.draw(st.booleans()):
            break
        place = inside
    if isinstance(place, dict) and draw.draw(st.booleans()):
        place[draw.draw(scalars)] = place.pop(key)
    else:
        place[key] = draw.draw(anything)
    check(lambda: data, lambda: topology.parse(data))


labels = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True).filter(
    lambda label: not document.ambiguous(label)
)


@st.composite
def good(draw: st.DrawFn) -> Data:
    """A good topology with nothing left out: roles, networks and addresses of all kinds."""
    names = draw(st.lists(labels, min_size=1, max_size=5, unique=True))
    links = {purpose: draw(st.sampled_from(names)) for purpose in topology.PURPOSES}
    six = draw(st.booleans())
    cidr, address, rule = (
        ("fd00:{}::/64", "fd00:{}::1:{}", "fd00:{}::{}:(10+n)")
        if six
        else ("10.{}.0.0/16", "10.{}.1.{}", "10.{}.{}.(10+n)")
    )
    places = {name: number for number, name in enumerate(names, 1)}
    stored = draw(st.sampled_from([0, 1, 2, 3, 6]))
    # without storage hosts each application has one host, which keeps its files
    pooled = draw(st.integers(0, 2)) if stored else 0
    counts = {
        "master": 1,
        "firewall": 1 if links["clients"] != links["edge"] else draw(st.integers(0, 1)),
        "storage": stored,
        "quorum": draw(st.sampled_from((1, 3, 5))),
        "database": draw(st.integers(1, 3)),
        "app": draw(st.integers(0 if pooled else 1, 4 if stored else 3)),
        "balancer": 1,
    }
    several = draw(st.integers(max(counts.values()), 12))
    ids = draw(st.lists(labels.map("h-{}".format), min_size=several, max_size=several, unique=True))
    roles: dict[str, list[str]] = {host: [] for host in ids}
    for role in (role for role in ROLES if role in counts):
        for host in draw(st.permutations(ids))[: counts[role]]:
            roles[host].append(role)
    apart = [host for host in ids if not {"database", "storage"} & {*roles[host]}]
    for host in apart[: draw(st.integers(0, 1))]:
        roles[host] = [role for role in ROLES if role in {*roles[host], "backup"}]

    def needed(found: list[str]) -> list[str]:
        wanted = {links[link] for role in found for link in ROLES[role].links}
        return sorted(wanted | {links["management"]})

    hosts: Data = {
        host: {
            "roles": found,
            "addresses": {name: address.format(places[name], number) for name in needed(found)},
        }
        for number, (host, found) in enumerate(roles.items(), 1)
        if found
    }
    hosts[next(host for host in hosts if "database" in roles[host])]["first"] = True
    balancer = next(host for host in hosts.values() if "balancer" in host["roles"])
    pools = {}
    for number, name in enumerate(["blue", "green"][:pooled], 3):
        initial = draw(st.lists(st.integers(1, 9), min_size=1, max_size=4, unique=True))
        pattern = name[0] + draw(st.sampled_from(["{n}", "web-{n}", "web-{n}-x"]))
        pools[name] = {
            "id": pattern,
            "roles": ["app"],
            "addresses": {
                network: rule.format(places[network], number) for network in needed(["app"])
            },
            "minimum": draw(st.integers(1, len(initial))),
            "maximum": draw(st.integers(9, 200)),
            "initial": [pattern.replace("{n}", str(one)) for one in initial],
        }
    serving: list[Data] = [
        *(host for host in hosts.values() if "app" in host["roles"]), *pools.values()
    ]  # fmt: skip
    several = draw(st.integers(1, min(3, len(serving)))) if stored else len(serving)
    applications = draw(
        st.lists(
            st.from_regex(r"crm[a-z0-9_]{0,9}", fullmatch=True),
            min_size=several,
            max_size=several,
            unique=True,
        )
    )
    for number, part in enumerate(serving):
        known = applications if number >= several else [applications[number]]
        part["application"] = draw(st.sampled_from(known))
    named = labels.filter(lambda label: not re.fullmatch("[0-9]+|0x[0-9a-f]*", label))
    domains = st.lists(named, min_size=1, max_size=3).map(".".join)
    return {
        "service": {
            "address": balancer["addresses"][links["edge"]],
            "http": draw(st.sampled_from([80, 8080, 1])),
            "https": draw(st.sampled_from([443, 8443, 65535])),
            "tls": draw(st.booleans()),
        },
        "applications": {
            name: {
                "domain": f"{name.replace('_', '-')}x.{draw(domains)}",
                "definition": draw(st.sampled_from(["odoo-14.0", "odoo-19.0", "crm"])),
                **({"volume": name} if number else {}),
                **({"copy_of": applications[0]} if number and draw(st.booleans()) else {}),
            }
            for number, name in enumerate(applications)
        },
        "networks": {name: cidr.format(place) for name, place in places.items()},
        "links": links,
        "hosts": hosts,
        "pools": pools,
        "gateways": {},
        "operators": {},
    }


def text_of(data: Data) -> str:
    """Return data as YAML, in its order."""
    return str(yaml.dump(data, Dumper=yaml.CSafeDumper, sort_keys=False))


@pytest.mark.further
@given(good())
def test_any_good_topology_is_written_back_unchanged(data: Data) -> None:
    """Through a file's text: what comes out is what went in, in the same order."""
    parsed = topology.loads(text_of(data))
    written = parsed.to_dict()
    assert written == data
    assert list(written["hosts"]) == list(data["hosts"])
    again = topology.loads(text_of(written))
    assert (again, [*again.applications]) == (parsed, [*parsed.applications])


plain = st.text(st.characters(codec="ascii", categories=("L", "N", "P", "S", "Zs")), max_size=12)


@given(st.dictionaries(plain, st.one_of(plain, st.integers(), st.booleans(), st.none())))
def test_yaml_round_trip(data: dict[str, object]) -> None:
    """The reader reads what PyYAML writes."""
    assert document.loads(yaml.safe_dump(data), "x") == data


def test_k5_clients_and_edge_have_one_version_of_ip() -> None:
    """K5: A firewall translates no addresses of one version into the other's."""
    data = fleets.data("ipv6")
    data["networks"]["clients"] = "10.9.1.0/24"
    data["hosts"]["fw"]["addresses"]["clients"] = "10.9.1.1"
    words = "clients has IPv4 and edge has IPv6; the firewall forwards between them"
    with pytest.raises(TopologyError, match=f"^.*\n  networks: {words}, so choose one version$"):
        topology.parse(data)

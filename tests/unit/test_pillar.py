"""A minion's pillar: what its roles need, of the secrets and of the others, and nothing more."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from salina_fleet import secrets
from salina_fleet.certificates import signing_policy
from salina_fleet.fleet import Fleet
from salina_fleet.kinds import KINDS
from salina_fleet.model import settings, topology
from salina_fleet.pillar import UnknownMinion, select
from salina_fleet.roles import storage as storage_role
from tests import fleets

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
SECTIONS = {
    "master": {"master"},
    "balancer": {"balancer"},
    "app": {"app", "files", "database_route"},
    "storage": {"storage"},
    "quorum": {"quorum"},
    "database": {"database"},
    "backup": {"backup", "files_repository", "scratch", "second_repository"},
    "monitoring": {"monitoring", "prometheus"},
    "management": {"management"},
}


@pytest.mark.parametrize(("name", "host"), fleets.everyone())
def test_scope(name: str, host: str) -> None:
    """S6, K4: A minion has the sections and the secrets of its roles, and no others."""
    pillar = fleets.pillar(host, name)
    roles = fleets.fleet(name).hosts[host].roles
    sections = {"drift", "host", "hosts", "ssh", "time", "tls", "ufw", "updates"}
    sections = sections.union(*(SECTIONS.get(r, set()) for r in roles))
    if "database" in roles and fleets.fleet(name).having("backup"):
        sections |= {"archiving", "scratch"}
    if fleets.has_bricks(host, name) and fleets.fleet(name).having("backup"):
        sections.add("files_backup")
    if fleets.fleet(name).having("monitoring"):
        sections |= {"logs", "report", "metrics"}
    if fleets.fleet(name).having("management"):
        sections.add("operators")
    if name == "pairs" and {"balancer", "firewall"} & {*roles}:
        sections.add("pair")
    assert set(pillar) == sections
    known = set(re.findall(r"canary-([a-z0-9_.-]+)", json.dumps(pillar)))
    files = any("storage" in one.roles for one in fleets.fleet(name).hosts.values())
    uses = files and {"storage", "app"} & {*roles}
    public = {fleets.PUBLIC, fleets.PUBLIC_OF_FILES} if uses else {fleets.PUBLIC}
    assert known == public | fleets.secrets_of(host, name)


def test_only_secrets_in_use_are_read() -> None:
    """K4: The store is asked for no other secret: it may keep them where only some may read."""
    fleet, store = fleets.fleet(), secrets.FakeStore()
    select(fleets.master_data(fleet, store), "fw")
    assert store.asked == ["ca.crt", "ssh-hosts"]
    with pytest.raises(secrets.SecretsError, match="database-rest"):
        without = secrets.FakeStore(without=["database-rest"])
        select(fleets.master_data(fleet, without), "bbdd1")


STRANGERS = ["nas4", "s4", "s11", "NAS1", "nas1\n", "nas*", "", "../nas1", "clients", "any"]


@pytest.mark.parametrize("minion", STRANGERS)
def test_stranger(minion: str) -> None:
    """The id of an unknown host, or of an inactive member of a pool, is refused."""
    with pytest.raises(UnknownMinion, match="is not a host of the topology"):
        fleets.pillar(minion)


@pytest.mark.parametrize(("name", "host"), fleets.everyone())
def test_plain_data(name: str, host: str) -> None:
    """A pillar is plain data: it goes through JSON and comes back the same."""
    pillar = fleets.pillar(host, name)
    assert json.loads(json.dumps(pillar)) == pillar


def grown(apps: int, minion: str) -> dict[str, Any]:
    """A minion's pillar in the default fleet with other networks and many app hosts."""
    data = fleets.data()
    data["networks"].update(web="10.3.0.0/16", data="10.4.0.0/16", management="10.5.0.0/16")
    for host in data["hosts"].values():
        for network, number in (("web", 3), ("data", 4), ("management", 5)):
            if network in host["addresses"]:
                last = host["addresses"][network].rsplit(".", 1)[1]
                host["addresses"][network] = f"10.{number}.255.{last}"
    data["pools"]["app"].update(
        addresses={"web": "10.3.0.(0+n)", "data": "10.4.0.(0+n)", "management": "10.5.0.(0+n)"},
        maximum=1000,
        initial=[f"s{n}" for n in range(1, apps + 1)],
    )
    large = topology.parse(data)
    whole = Fleet(large, large.initial(), fleets.settings())
    return select(fleets.master_data(whole), minion)


@pytest.mark.parametrize("minion", ["s1", "fw", "salt"])
def test_does_not_grow_with_the_fleet(minion: str) -> None:
    """A host that talks to no app host has the same pillar with 1,000 of them as with 10."""
    assert grown(1000, minion) == grown(10, minion)


def test_grows_with_what_it_serves() -> None:
    """A host that serves the app hosts knows each of them."""
    assert len(grown(1000, "bbdd1")["database"]["applications"][0]["clients"]) == 1000
    assert len(grown(1000, "lb1")["balancer"]["applications"][0]["servers"]) == 1000


# Sections


def names(pillar: dict[str, Any]) -> dict[str, list[str]]:
    """The lines of /etc/hosts: address -> names."""
    return {entry["address"]: entry["names"] for entry in pillar["hosts"]}


def test_a_host_with_an_exporter_keeps_its_name() -> None:
    """`node.boss` on the line of `boss` would be its full name, after which Salt names the key of a
    master: a master that starts again would have another key.
    """
    data = fleets.data("debian-13")
    data["hosts"]["salt"]["roles"] += data["hosts"].pop("nagios")["roles"]
    data["hosts"]["salt"]["addresses"]["edge"] = "10.1.2.5"
    found = topology.parse(data)
    fleet = Fleet(found, found.initial(), fleets.settings())
    lines = select(fleets.master_data(fleet), "salt")["hosts"]
    own = [line["names"] for line in lines if line["address"] == "10.1.5.2"]
    assert own == [["salt"], ["node.salt", "prometheus.salt"]]


def test_hosts_file() -> None:
    """A host resolves itself, whom its roles talk to, and the master."""
    assert names(fleets.pillar("s1")) == {
        "10.1.4.11": ["s1"],
        "10.1.4.21": ["nas1"],
        "10.1.4.22": ["nas2"],
        "10.1.4.23": ["nas3"],
        "10.1.4.31": ["bbdd1"],
        "10.1.4.32": ["bbdd2"],
        "10.1.5.2": ["salt"],
        "127.0.0.1": ["database"],
    }
    assert names(fleets.pillar("fw")) == {"10.1.2.1": ["fw"], "10.1.5.2": ["salt"]}
    assert names(fleets.pillar("salt")) == {"10.1.5.2": ["salt"]}
    assert names(fleets.pillar("gate", "five-apps"))["192.168.77.10"] == ["boss", "salt"]
    assert names(fleets.pillar("all", "one-host")) == {
        "10.9.0.5": ["all", "salt"],
        "127.0.0.1": ["database"],
    }


@pytest.mark.parametrize(("name", "host"), fleets.everyone())
def test_names_are_unambiguous(name: str, host: str) -> None:
    """No name has two addresses, and every host knows the master as `salt`."""
    listed = [known for entry in fleets.pillar(host, name)["hosts"] for known in entry["names"]]
    assert len(set(listed)) == len(listed)
    assert {host, "salt"} <= set(listed)


def test_storage() -> None:
    """S3: One volume `nas` over nas1 to nas3, replica 3, brick /nas, ping-timeout 5."""
    storage = fleets.pillar("nas2")["storage"]
    assert storage["name"] == "nas2"
    [volume] = storage["volumes"]
    assert volume == {
        "name": "nas",
        "brick": "/nas",
        "replica": 3,
        "bricks": ["nas1:/nas", "nas2:/nas", "nas3:/nas"],
        "options": {
            "auth.allow": ",".join(f"10.1.4.{n}" for n in (21, 22, 23, *range(11, 21))),
            "network.ping-timeout": "5",
            "performance.flush-behind": "off",
            "cluster.quorum-type": "auto",
            "cluster.heal-timeout": "60",
            "cluster.server-quorum-type": "server",
        },
        "tls": {
            "client.ssl": "on",
            "server.ssl": "on",
            "auth.ssl-allow": ",".join(
                [*(f"nas{n}" for n in (1, 2, 3)), *(f"s{n}" for n in range(1, 11))]
            ),
        },
    }


def test_volume_options() -> None:
    """Options of the settings join the project's own, written as Gluster shows them."""
    own = settings.parse({"storage": {"options": {"performance.stat-prefetch": False}}})
    options = fleets.pillar("nas1", own=own)["storage"]["volumes"][0]["options"]
    assert options["performance.stat-prefetch"] == "off"
    [alone] = fleets.pillar("all", "one-host")["storage"]["volumes"]
    address = fleets.fleet("one-host").hosts["all"].addresses["lan"]
    always = {"network.ping-timeout": "5", "performance.flush-behind": "off"}
    assert (alone["replica"], alone["options"]) == (1, {**always, "auth.allow": address})


def test_x1_each_application_has_a_volume_that_only_its_own_hosts_can_mount() -> None:
    """X1: A volume names the storage hosts, and all hosts that its application can have."""
    crm, shop = fleets.pillar("nas1", "two-applications")["storage"]["volumes"]
    storage = [f"10.1.4.{n}" for n in (21, 22, 23)]
    assert (crm["name"], crm["brick"]) == ("nas", "/nas")
    assert (shop["name"], shop["brick"]) == ("shop", "/nas-shop")
    assert shop["bricks"] == ["nas1:/nas-shop", "nas2:/nas-shop", "nas3:/nas-shop"]
    for volume, first in ((crm, 11), (shop, 81)):
        own = [f"10.1.4.{n}" for n in range(first, first + 10)]
        assert volume["options"]["auth.allow"].split(",") == [*storage, *own]
    assert fleets.pillar("s1", "two-applications")["files"]["volume"] == "nas"
    assert fleets.pillar("w1", "two-applications")["files"]["volume"] == "shop"


def test_x1_a_volume_takes_the_names_of_its_own_hosts_only() -> None:
    """X1: The same hosts by name, which is what counts with TLS."""
    crm, shop = fleets.pillar("nas1", "two-applications")["storage"]["volumes"]
    storage = ["nas1", "nas2", "nas3"]
    for volume, letter in ((crm, "s"), (shop, "w")):
        own = [f"{letter}{n}" for n in range(1, 11)]
        assert volume["tls"]["auth.ssl-allow"].split(",") == [*storage, *own]
        assert volume["tls"].keys() & volume["options"].keys() == set()


def test_x1_a_certificate_for_the_files_is_good_for_nothing_else() -> None:
    """X1, X3: Its CA signs nothing else, and only root reads its key: also where etcd, which reads
    its own key by itself, runs on the same host.
    """
    for host in fleets.fleet().hosts:
        tls = fleets.pillar(host)["tls"]
        for one in tls["certificates"]:
            files = one["name"] == "files"
            assert one["authority"] == ("files-ca" if files else "ca")
            assert not files or one["group"] == "root"
        assert [one["name"] for one in tls["authorities"]] == (
            ["files-ca"] if any(one["name"] == "files" for one in tls["certificates"]) else []
        )
    groups = {one["name"]: one["group"] for one in fleets.pillar("nas1")["tls"]["certificates"]}
    assert groups == {
        **{"files": "root", "files-backup": "root"},
        **{"etcd": "ssl-cert", "etcd-peer": "ssl-cert", "report": "stunnel4"},
        "metrics": "stunnel4",
        "logs": "systemd-journal-remote",
    }
    alone = [one["name"] for one in fleets.pillar("all", "one-host")["tls"]["certificates"]]
    assert alone.count("files") == 1


def test_without_tls_a_host_has_no_certificate_for_the_files() -> None:
    """The setting `tls: false` of the storage."""
    own = settings.parse({"storage": {"tls": False}})
    for host in ("nas1", "s1"):
        pillar = fleets.pillar(host, own=own)
        assert "files" not in [one["name"] for one in pillar["tls"]["certificates"]]
        assert pillar["tls"]["authorities"] == []
    storage = fleets.pillar("nas1", own=own)["storage"]
    assert (storage["tls"], storage["volumes"][0]["tls"]) == (False, {})
    assert fleets.pillar("s1", own=own)["files"]["tls"] is False


def test_x1_over_ipv6_a_volume_names_addresses_of_ipv6() -> None:
    """X1: The same for IPv6."""
    [volume] = fleets.pillar("nas1", "ipv6")["storage"]["volumes"]
    addresses = volume["options"]["auth.allow"].split(",")
    fleet = fleets.fleet("ipv6")
    assert {fleet.address(host, "data") for host in fleet.having("app")} <= {*addresses}
    assert all(":" in address for address in addresses)


def test_x1_a_change_of_a_pool_changes_no_volume() -> None:
    """X1, S10: The storage hosts judge no running client again when a host joins or leaves."""
    fleet = fleets.fleet()
    for members in (["s1"], ["s1", "s2", "s9"]):
        changed = replace(fleet, members={"app": members})
        application = changed.topology.default
        assert storage_role.clients(changed, application) == storage_role.clients(
            fleet, application
        )


def test_without_storage() -> None:
    """Without storage hosts there is no volume to mount."""
    assert fleets.pillar("s1", "plain")["files"]["volume"] is None


def test_database() -> None:
    """S6, S11: The section has replication, quorum, and the one application that may log in."""
    database = fleets.pillar("bbdd2")["database"]
    assert (database["first"], database["version"], database["port"]) == (False, 15, 5432)
    assert database["quorum"] == ["10.1.4.21:2379", "10.1.4.22:2379", "10.1.4.23:2379"]
    assert database["applications"][0]["clients"] == ["10.1.4.11", "10.1.4.12", "10.1.4.13"]
    six = fleets.pillar("bbdd2", "ipv6")["database"]
    assert six["quorum"][0] == "[fd00:4::21]:2379"


def test_app() -> None:
    """The app reaches the database on loopback; its route there names both database hosts."""
    pillar = fleets.pillar("s1")
    app, route = pillar["app"], pillar["database_route"]
    assert (app["address"], app["port"]) == ("10.1.3.11", 443)
    assert app["balancers"] == [{"name": "lb1", "address": "10.1.3.1"}]
    asked = app["health"]["application"]
    assert (asked["address"], asked["port"]) == ("127.0.0.1", app["local_port"])
    assert (app["database"]["host"], app["database"]["port"]) == ("127.0.0.1", route["pool_port"])
    assert route["members"] == [
        {"name": "bbdd1", "address": "10.1.4.31"},
        {"name": "bbdd2", "address": "10.1.4.32"},
    ]
    assert pillar["files"]["servers"] == ["nas1", "nas2", "nas3"]


def test_balancer() -> None:
    """S2: The balancer has every active app host, in order."""
    balancer = fleets.pillar("lb1")["balancer"]
    [crm] = balancer["applications"]
    assert (crm["name"], crm["domain"], crm["health"]["path"]) == (
        *("crm", "crm.example", "/web/health"),
    )
    assert [server["name"] for server in crm["servers"]] == ["s1", "s2", "s3"]
    assert crm["servers"][0] == {"name": "s1", "address": "10.1.3.11", "port": 443}
    assert (balancer["address"], balancer["tls"]) == ("10.1.2.2", True)


def test_balance() -> None:
    """S12: By load HAProxy goes round, and a daemon sets the weights after each health check."""
    default, by_load = (fleets.pillar("lb1", own=own)["balancer"] for own in (None, fleets.BY_LOAD))
    assert (default["balance"], default["load"]) == ("roundrobin", None)
    assert (by_load["balance"], by_load["load"]) == ("roundrobin", {"every": 2.0})


def test_app_on_the_balancers_host() -> None:
    """Both have port 443: nginx then listens on loopback, and the balancer asks it there."""
    pillar = fleets.pillar("all", "one-host")
    [crm] = pillar["balancer"]["applications"]
    assert crm["servers"] == [{"name": "all", "address": "127.0.0.1", "port": 443}]
    assert pillar["app"]["address"] == "127.0.0.1"
    assert pillar["app"]["balancers"] == [{"name": "all", "address": "127.0.0.1"}]


def test_o5_a_long_domain_is_no_common_name() -> None:
    """O5, K5: A common name has at most 64 characters, so the certificate has the names only."""
    data = fleets.data()
    data["applications"]["crm"]["domain"] = domain = f"{'a' * 60}.example"
    found = topology.parse(data)
    whole = Fleet(found, found.initial(), fleets.settings())
    policy = signing_policy(whole, whole.hosts["lb1"], "public-crm", NOW)
    assert (policy["subjectAltName"], "CN" in policy) == (["critical", f"DNS:{domain}"], False)


@pytest.mark.parametrize(("name", "host"), fleets.everyone())
def test_certificate(name: str, host: str) -> None:
    """A host expects exactly the certificate that the CA's policy for it grants."""
    fleet, tls = fleets.fleet(name), fleets.pillar(host, name)["tls"]
    for one in tls["certificates"]:
        policy = signing_policy(fleet, fleet.hosts[host], one["name"], NOW)
        bare = [] if one["common_name"] else ["critical"]  # then a client has only the names
        assert ([*bare, *one["names"]], one["common_name"]) == (
            policy["subjectAltName"],
            policy.get("CN", ""),
        )
        assert ", ".join(one["uses"]) == policy["extendedKeyUsage"]
        assert policy["basicConstraints"] == "critical, CA:false"
        assert (policy["not_before"], policy["not_after"]) == (
            "2026-11-28 11:55:00",
            "2027-02-26 12:00:00",
        )
    with pytest.raises(ValueError, match=f"ca is not a certificate of {host}; choose one of: "):
        signing_policy(fleet, fleet.hosts[host], "ca", NOW)


def test_names_of_a_certificate() -> None:
    """A database host also bears the service's name, the balancer the domain, nobody else does."""
    names = {
        (host, one["name"]): one["names"]
        for host in fleets.fleet().hosts
        for one in fleets.pillar(host)["tls"]["certificates"]
    }
    assert names["bbdd2", "database"] == ["DNS:bbdd2", "IP:10.1.4.32", "DNS:database"]
    bearers = {
        name: [place for place, found in names.items() if f"DNS:{name}" in found]
        for name in ("crm.example", "database")
    }
    assert bearers == {
        "crm.example": [("lb1", "public-crm")],
        "database": [("bbdd1", "database"), ("bbdd2", "database")],
    }


def test_x6_each_certificate_has_one_purpose() -> None:
    """X6: A server cannot pose as a client with its certificate; only etcd and pgBackRest call
    their own kind with it.

    The published certificate says nothing of the fleet.
    """
    uses = {
        (host, one["name"]): (one["uses"], one["common_name"])
        for host in fleets.fleet().hosts
        for one in fleets.pillar(host)["tls"]["certificates"]
    }
    both = ["serverAuth", "clientAuth"]
    voters = [f"nas{number}" for number in (1, 2, 3)]
    expected: dict[tuple[str, str], tuple[list[str], str]] = {
        ("lb1", "public-crm"): (["serverAuth"], "crm.example"),
        ("lb1", "balancer"): (["clientAuth"], "lb1"),
    }
    expected |= {(host, "web"): (["serverAuth"], host) for host in ("s1", "s2", "s3")}
    expected |= {(host, "etcd"): (both, "") for host in voters}
    expected |= {(host, "etcd-peer"): (both, "etcd-peer") for host in voters}
    for host in ("bbdd1", "bbdd2"):
        expected[host, "database"] = (["serverAuth"], host)
        expected[host, "host"] = (["clientAuth"], "")
    expected |= {(host, "backup"): (both, host) for host in ("bbdd1", "bbdd2", "bkp1")}
    expected |= {(host, "files"): (both, host) for host in voters}
    expected |= {(host, "files-backup"): (["clientAuth"], host) for host in voters}
    expected |= {(host, "files"): (["clientAuth"], host) for host in ("s1", "s2", "s3")}
    expected |= {(host, "report"): (["serverAuth"], host) for host in fleets.fleet().hosts}
    expected |= {(host, "metrics"): (["serverAuth"], host) for host in fleets.fleet().hosts}
    expected |= {(host, "logs"): (["clientAuth"], host) for host in fleets.fleet().hosts}
    expected["nagios", "logs-kept"] = (["serverAuth"], "")
    expected["nagios", "monitoring"] = (["clientAuth"], "nagios")
    expected["nagios", "monitoring-page"] = (["serverAuth"], "")
    assert uses == expected
    public, inner, *_ = fleets.pillar("lb1")["tls"]["certificates"]
    assert public["names"] == ["DNS:crm.example"]
    assert inner["readers"] == public["readers"] == ["haproxy"]
    web, files, *_ = fleets.pillar("s2")["tls"]["certificates"]
    assert (web["names"], web["readers"]) == (["DNS:s2"], ["nginx"])
    assert files["readers"] == []


@pytest.mark.parametrize(
    ("application", "purposes"),
    [
        ("odoo-14.0", {"admin", "login", "monitoring"}),
        ("odoo-19.0", {"admin", "login", "monitoring"}),
        ("crm-2017", {"login"}),
        ("sample-crm", {"login"}),
    ],
)
def test_x8_an_app_host_has_no_password_that_it_does_not_use(
    application: str, purposes: set[str]
) -> None:
    """X8, K4: A Node application has no administration of its own."""
    pillar = fleets.pillar("s1", application=application)
    assert set(pillar["app"]["secrets"]) == {f"{purpose}_password" for purpose in purposes}
    own = {secrets.own("crm", purpose) for purpose in {"database", "record", *purposes}}
    assert set(re.findall(r"canary-(app-[a-z-]+)", json.dumps(pillar))) == own


def test_x8_without_a_step_that_sets_it_a_host_has_no_login_password() -> None:
    """X8, K4: The steps of a Node application say whether they set the login."""
    content = fleets.definition("crm-2017")
    steps = [{**step, "login_password": False} for step in content["node"]["once"]]
    assert KINDS["node"].passwords(content) == ("login",)
    assert KINDS["node"].passwords({"node": {"once": steps}}) == ()


# Two applications


def test_two_applications_are_apart() -> None:
    """S5, S6, K4: Each application has its own hosts, database, role, password, directory and
    secrets.
    """
    crm, shop = (fleets.pillar(host, "two-applications") for host in ("s2", "w1"))
    for pillar, name in ((crm, "crm"), (shop, "shop")):
        app, route = pillar["app"], pillar["database_route"]
        assert (app["domain"], app["url"]) == (f"{name}.example", f"https://{name}.example")
        assert (app["database"]["name"], app["database"]["user"]) == (name, name)
        assert app["data"] == f"/mnt/nas/{name}"
        assert [one["name"] for one in route["databases"]] == [name]
        used = {"crm": ("admin", "login"), "shop": ("login",)}[name]
        assert app["secrets"] == {f"{one}_password": f"canary-app-{name}-{one}" for one in used}


def test_two_applications_at_the_database() -> None:
    """S6: Each role comes from its own hosts, into its own database."""
    crm, shop = fleets.pillar("bbdd1", "two-applications")["database"]["applications"]
    assert (crm["name"], crm["clients"]) == ("crm", ["10.1.4.11", "10.1.4.12", "10.1.4.13"])
    assert (shop["name"], shop["clients"]) == ("shop", ["10.1.4.81", "10.1.4.82", "10.1.4.83"])
    assert (crm["reaches"][0], shop["reaches"][0]) == ("crm", "shop")
    assert not {"crm", "shop"} & {*crm["reaches"][1:], *shop["reaches"][1:]}
    assert crm["password"] != shop["password"]


def test_two_applications_at_the_balancer() -> None:
    """S2, O5: Each domain has its hosts, and the one certificate names both."""
    pillar = fleets.pillar("lb1", "two-applications")
    found = {
        one["domain"]: [server["name"] for server in one["servers"]]
        for one in pillar["balancer"]["applications"]
    }
    assert found == {
        "crm.example": ["s1", "s2", "s3"],
        "shop.example": ["w1", "w2", "w3"],
    }
    found = {one["name"]: one["names"] for one in pillar["tls"]["certificates"]}
    assert found["public-crm"] == ["DNS:crm.example"]
    assert found["public-shop"] == ["DNS:shop.example"]


def test_x10_clients_of_a_copy_need_a_password() -> None:
    """O1, X10: Only the balancer has it, and no other application has one."""
    crm, copy = fleets.pillar("lb1", "staging")["balancer"]["applications"]
    assert crm["visitors"] is None
    assert copy["visitors"] == {
        "user": "crm_staging",
        "password": "canary-app-crm_staging-visitors",
    }
    for host in fleets.fleet("staging").hosts:
        assert ("-visitors" in json.dumps(fleets.pillar(host, "staging"))) is (host == "lb1")
    for one in fleets.pillar("lb1", "two-applications")["balancer"]["applications"]:
        assert one["visitors"] is None


def test_x10_a_copy_opens_no_connections_to_the_outside() -> None:
    """O1, X10: Whatever the settings give the applications; its original keeps that."""
    mail = {"ports": 587, "application": True}
    near = {"ports": 443, "application": True, "host": "g1", "to": "198.51.100.25"}
    own = settings.parse({"firewall": {"egress": [mail, near, {"ports": 123}]}})
    app = {host: fleets.pillar(host, "staging", own)["ufw"]["application"] for host in ("s1", "g1")}
    assert app["s1"]["to"] == [{"proto": "tcp", "ports": "587", "to": "any"}]
    assert app["g1"] == {"uid": app["s1"]["uid"], "to": []}


def test_names_of_the_cluster_are_no_applications() -> None:
    """Another order of the applications leaves the database's files and the quorum as they are."""
    first = fleets.topology("two-applications")
    turned = replace(first, applications=dict(reversed(first.applications.items())))
    for one in (first, turned):
        data = fleets.master_data(Fleet(one, one.initial(), fleets.settings()))
        kept = [select(data, host) for host in ("bbdd1", "nas1")]
        database, quorum = kept[0]["database"], kept[1]["quorum"]
        assert database["scope"] == "salina"
        assert quorum["token"] == fleets.pillar("nas1")["quorum"]["token"]

"""Patroni's configuration and the answers of its REST interface."""

from __future__ import annotations

import base64
from typing import Any

import pytest
import yaml

from salina.application import copy
from salina.backup import scratch
from salina.common.https import identity
from salina.database import patroni

DATABASE: dict[str, Any] = {
    "scope": "crm",
    "name": "bbdd2",
    "address": "10.1.4.32",
    "first": False,
    "members": [
        {"name": "bbdd1", "address": "10.1.4.31"},
        {"name": "bbdd2", "address": "10.1.4.32"},
    ],
    "quorum": ["10.1.4.21:2379", "10.1.4.22:2379", "10.1.4.23:2379"],
    "port": 5432,
    "rest_port": 8008,
    "version": 15,
    "parameters": {"max_connections": 300, "wal_log_hints": True},
    "settings": {
        "ttl": 20,
        "loop_wait": 1,
        "retry_timeout": 3,
        "primary_start_timeout": 0,
        "maximum_lag_on_failover": 1048576,
        "maximum_lag": 67108864,
        "synchronous_mode": True,
        "failsafe_mode": True,
        "check_timeline": True,
        "wait": 300,
    },
    "etcd": {"username": "patroni", "password": "canary-etcd"},
    "passwords": {
        name: f"canary-{name}" for name in ("superuser", "replication", "rewind", "rest")
    },
    "applications": [
        {
            "name": "crm",
            "user": "crm",
            "password": "canary-application",
            "connections": 105,
            "record": {"user": "salina_record_crm", "password": "canary-record"},
            "reaches": ["crm", "postgres"],
            "clients": ["10.1.4.11", "fd00:4::12"],
        },
        {
            "name": "shop",
            "user": "shop",
            "password": "canary-application",
            "connections": 38,
            "record": {"user": "salina_record_shop", "password": "canary-record"},
            "reaches": ["shop"],
            "clients": ["10.1.4.41"],
        },
    ],
}


SERVER, CLIENT = identity("database"), identity("host")


def configuration(**other: Any) -> dict[str, Any]:
    return patroni.configuration(DATABASE | other, SERVER, CLIENT)


def test_the_shared_configuration_is_the_measured_one() -> None:
    """S11: The configuration has the values that lost no row."""
    assert patroni.dynamic(DATABASE) == {
        "ttl": 20,
        "loop_wait": 1,
        "retry_timeout": 3,
        "primary_start_timeout": 0,
        "maximum_lag_on_failover": 1048576,
        "synchronous_mode": True,
        "failsafe_mode": True,
        "check_timeline": True,
        "postgresql": {
            "use_pg_rewind": True,
            "use_slots": True,
            "parameters": {"max_connections": 300, "wal_log_hints": True},
        },
    }


def test_only_a_claim_that_is_still_empty_is_taken_away() -> None:
    key = base64.b64encode(b"/service/crm/initialize").decode()
    assert patroni.unfounded(DATABASE) == {
        "compare": [{"key": key, "target": "VALUE", "result": "EQUAL", "value": ""}],
        "success": [{"request_delete_range": {"key": key}}],
    }


def test_nobody_comes_over_the_network_without_tls_and_scram() -> None:
    """S6: Each role comes from its own hosts only, and the superuser never over the network."""
    assert patroni.access_rules(DATABASE) == [
        "local salina_restored,salina_next_crm crm scram-sha-256",
        "local salina_restored,salina_next_shop shop scram-sha-256",
        "local all postgres peer",
        "hostssl replication replicator 10.1.4.31/32 scram-sha-256",
        "hostssl postgres rewinder 10.1.4.31/32 scram-sha-256",
        "hostssl replication replicator 10.1.4.32/32 scram-sha-256",
        "hostssl postgres rewinder 10.1.4.32/32 scram-sha-256",
        "hostssl crm,postgres crm 10.1.4.11/32 scram-sha-256",
        "hostssl crm,salina_next_crm salina_record_crm 10.1.4.11/32 scram-sha-256",
        "hostssl crm,postgres crm fd00:4::12/128 scram-sha-256",
        "hostssl crm,salina_next_crm salina_record_crm fd00:4::12/128 scram-sha-256",
        "hostssl shop shop 10.1.4.41/32 scram-sha-256",
        "hostssl shop,salina_next_shop salina_record_shop 10.1.4.41/32 scram-sha-256",
    ]


def test_the_application_logs_in_to_its_copies_only() -> None:
    """S6, O9, O8: A restore and an upgrade need its password, and their copies have these names."""
    applications = [DATABASE["applications"][0] | {"name": "sales", "user": "sales_role"}]
    rules = patroni.access_rules(DATABASE | {"applications": applications})
    assert rules[:2] == [
        f"local {scratch.TEMPORARY},{copy.name('sales')} sales_role scram-sha-256",
        "local all postgres peer",
    ]
    assert not [rule for rule in rules[2:] if rule.startswith("local")]
    assert patroni.access_rules(DATABASE | {"applications": []})[0] == "local all postgres peer"


def test_every_connection_in_and_out_is_verified() -> None:
    """S11, S6: Replication and Patroni's own interfaces use TLS with verified names."""
    made = configuration()
    assert made["restapi"]["verify_client"] == "optional"
    assert made["restapi"]["authentication"]["password"] == "canary-rest"
    assert made["etcd3"]["protocol"] == "https"
    assert made["etcd3"]["cert"] == "/etc/salina/tls/host.crt"
    assert made["ctl"]["certfile"] == "/etc/salina/tls/host.crt"
    assert made["restapi"]["certfile"] == "/etc/salina/tls/database.crt"
    assert made["postgresql"]["parameters"]["ssl_cert_file"] == "/etc/salina/tls/database.crt"
    for role in ("replication", "rewind"):
        login = made["postgresql"]["authentication"][role]
        assert (login["sslmode"], login["sslrootcert"]) == ("verify-full", "/etc/salina/tls/ca.crt")
    assert made["postgresql"]["parameters"]["ssl"] is True
    assert "data-checksums" in made["bootstrap"]["initdb"]


def test_x3_patroni_logs_in_at_the_quorum() -> None:
    """X3: Patroni has a user of its own in etcd."""
    etcd = configuration()["etcd3"]
    assert (etcd["username"], etcd["password"]) == ("patroni", "canary-etcd")


def test_the_application_s_password_is_not_in_the_file() -> None:
    """S6, K4: The file has no application's password."""
    text = patroni.configuration_file(DATABASE, SERVER, CLIENT)
    assert "canary-application" not in text
    assert yaml.safe_load(text) == configuration()


def test_ipv6() -> None:
    made = configuration(address="fd00:4::32")
    assert made["postgresql"]["listen"] == "[fd00:4::32]:5432"
    assert made["restapi"]["connect_address"] == "[fd00:4::32]:8008"


@pytest.mark.parametrize(
    ("actual", "wanted", "expected"),
    [
        ({"ttl": 20}, {"ttl": 20}, {}),
        ({"ttl": 30}, {"ttl": 20}, {"ttl": 20}),
        ({}, {"ttl": 20}, {"ttl": 20}),
        ({"ttl": 20, "stray": 1}, {"ttl": 20}, {"stray": None}),
        ({"pause": True, "standby_cluster": {}}, {}, {}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1}}, {"a": {"c": None}}),
        ({"a": {"b": 1}}, {"a": {"b": 2, "c": 3}}, {"a": {"b": 2, "c": 3}}),
        ({"a": 1}, {"a": {"b": 1}}, {"a": {"b": 1}}),
    ],
)
def test_patch(actual: dict[str, Any], wanted: dict[str, Any], expected: dict[str, Any]) -> None:
    assert patroni.patch(actual, wanted) == expected


def test_leader() -> None:
    replica = {"name": "bbdd2", "role": "sync_standby", "state": "streaming"}
    primary = {"name": "bbdd1", "role": "leader", "state": "running"}
    assert patroni.leader({"members": [replica, primary]}) == "bbdd1"
    assert patroni.leader({"members": [replica, primary | {"state": "starting"}]}) is None
    assert patroni.leader({}) is None


@pytest.mark.parametrize(
    ("member", "expected"),
    [
        ({"state": "running", "role": "primary"}, ""),
        ({"state": "running", "role": "replica", "replication_state": "streaming"}, ""),
        ({"state": "starting", "role": "replica"}, "PostgreSQL is starting"),
        ({"state": "stopped", "role": "uninitialized"}, "PostgreSQL is stopped"),
        (
            {"state": "stopped", "role": "uninitialized", "cluster_unlocked": True},
            "it has no data yet, and there is no primary to copy them from",
        ),
        (
            {"state": "running", "role": "replica"},
            "it is a replica, not connected to the primary",
        ),
        (
            {"state": "running", "role": "replica", "replication_state": "in archive recovery"},
            "it is a replica, in archive recovery",
        ),
    ],
)
def test_obstacle(member: dict[str, Any], expected: str) -> None:
    assert patroni.obstacle(member) == expected


HIGHER = {"max_connections": {"old_value": "320", "new_value": "620"}}
LOWER = {"max_connections": {"old_value": "620", "new_value": "320"}}
OTHER = {"shared_buffers": {"old_value": "136MB", "new_value": "128MB"}}


@pytest.mark.parametrize(
    ("reasons", "in_turn"),
    [(HIGHER, True), (LOWER, False), (OTHER, True), (LOWER | OTHER, True), ({}, True)],
)
def test_a_lower_value_needs_a_restart_in_place(reasons: dict[str, Any], in_turn: bool) -> None:
    """S11: A restart of one host after the other would change nothing for it."""
    members = [
        {"name": "bbdd1", "role": "leader", "pending_restart": True},
        {"name": "bbdd2", "role": "sync_standby", "pending_restart": True},
    ]
    cluster = {"members": [{**one, "pending_restart_reason": reasons} for one in members]}
    both = ["bbdd2", "bbdd1"]
    assert patroni.pending(cluster) == (both if in_turn else [])
    assert patroni.lowered(cluster) == ([] if in_turn else both)


@pytest.mark.parametrize(
    ("members", "incomplete", "pending"),
    [
        ([("bbdd1", "leader", "running"), ("bbdd2", "sync_standby", "streaming")], "", []),
        ([("bbdd1", "leader", "running")], "", []),
        ([("bbdd2", "replica", "streaming")], "there is no primary", []),
        (
            [("bbdd1", "leader", "running"), ("bbdd2", "replica", "starting")],
            "bbdd2 is starting",
            [],
        ),
        (
            [("bbdd1", "leader", "running"), ("bbdd2", "replica", "streaming")],
            "no replica is synchronous yet",
            [],
        ),
        (
            [("bbdd1", "leader", "running", 1), ("bbdd2", "sync_standby", "streaming", 1)],
            "",
            ["bbdd2", "bbdd1"],
        ),
    ],
)
def test_a_cluster_as_its_members_tell(
    members: list[tuple[Any, ...]], incomplete: str, pending: list[str]
) -> None:
    """S11: Which members do not work yet, and in which order they restart."""
    keys = ("name", "role", "state", "pending_restart")
    cluster = {"members": [dict(zip(keys, one, strict=False)) for one in members]}
    assert patroni.incomplete(cluster, synchronous=True) == incomplete
    assert patroni.pending(cluster) == pending
    if "synchronous" in incomplete:
        assert patroni.incomplete(cluster, synchronous=False) == ""

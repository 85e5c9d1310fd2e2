"""Patroni's configuration, and the answers of its REST interface.

The rules come from docs/decisions/0002-patroni.md and from Patroni 4.1's documents "YAML
configuration settings" and "REST API".
"""

from __future__ import annotations

from typing import Any

import yaml

from salina.application import copy
from salina.backup.scratch import TEMPORARY
from salina.common.https import Identity, host_port
from salina.quorum.etcd import base64_of

INITDB = "/usr/local/sbin/patroni-initdb"
"""Makes a data directory that is complete or not there at all."""

OPERATORS = frozenset({"pause", "standby_cluster"})
"""Keys of the dynamic configuration that an operator sets for a while; never taken away."""

SYNCHRONOUS = frozenset({"sync_standby", "quorum_standby"})
"""The roles of a replica that has every commit, in ``GET /cluster``."""

SETTINGS = (
    "ttl",
    "loop_wait",
    "retry_timeout",
    "maximum_lag_on_failover",
    "primary_start_timeout",
    "synchronous_mode",
    "failsafe_mode",
    "check_timeline",
)


def data_directory(database: dict[str, Any]) -> str:
    """Return the directory of this cluster's files: ``/var/lib/postgresql/15/salina``."""
    return f"/var/lib/postgresql/{database['version']}/{database['scope']}"


def unfounded(database: dict[str, Any]) -> dict[str, Any]:
    """Return the transaction of etcd that deletes an open claim to found a cluster.

    Patroni writes an empty key before it founds the cluster, and fills it afterwards.
    """
    key = base64_of(f"/service/{database['scope']}/initialize")
    return {
        "compare": [{"key": key, "target": "VALUE", "result": "EQUAL", "value": ""}],
        "success": [{"request_delete_range": {"key": key}}],
    }


def everything(database: dict[str, Any]) -> dict[str, Any]:
    """Return etcd's request that deletes all that Patroni has written of this cluster."""
    prefix = f"/service/{database['scope']}/"
    end = prefix[:-1] + chr(ord(prefix[-1]) + 1)  # the first key that no longer begins so
    return {"key": base64_of(prefix), "range_end": base64_of(end)}


def rest_url(database: dict[str, Any], address: str, path: str) -> str:
    """Return the URL of a path of a member's REST interface."""
    return f"https://{host_port(address, database['rest_port'])}/{path}"


def dynamic(database: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration that all members share, which Patroni keeps in the quorum."""
    return {
        **{key: database["settings"][key] for key in SETTINGS},
        "postgresql": {
            "use_pg_rewind": True,
            "use_slots": True,
            "parameters": dict(database["parameters"]),
        },
    }


def access_rules(database: dict[str, Any]) -> list[str]:
    """Return the lines of pg_hba: TLS and SCRAM for everybody who comes over the network.

    The superuser comes only through the local socket, as the system's user ``postgres``. There a
    restore or an upgrade logs in as the application's role as well, to the copy that it makes. An
    application's role reaches its own database from its own hosts, and with Odoo also ``postgres``,
    where Odoo's bus listens. The role that records a release reaches the database and its copy.
    """
    rules = [
        f"local {TEMPORARY},{copy.name(one['name'])} {one['user']} scram-sha-256"
        for one in database["applications"]
    ]
    rules.append("local all postgres peer")
    members = [member["address"] for member in database["members"]]
    for address in members:
        rules.append(f"hostssl replication replicator {_single(address)} scram-sha-256")
        rules.append(f"hostssl postgres rewinder {_single(address)} scram-sha-256")
    for application in database["applications"]:
        where, who = ",".join(application["reaches"]), application["user"]
        for address in application["clients"]:
            rules.append(f"hostssl {where} {who} {_single(address)} scram-sha-256")
            own = f"{application['name']},{copy.name(application['name'])}"
            record = application["record"]["user"]
            rules.append(f"hostssl {own} {record} {_single(address)} scram-sha-256")
    return rules


def configuration(database: dict[str, Any], server: Identity, client: Identity) -> dict[str, Any]:
    """Return the whole content of ``patroni.yml`` for one member.

    Args:
        database: the pillar of that name.
        server: the files of the certificate with which PostgreSQL and Patroni serve.
        client: the files of the certificate with which Patroni asks etcd and other members.
    """
    address, passwords = database["address"], database["passwords"]
    rest, postgresql = (host_port(address, database[key]) for key in ("rest_port", "port"))
    verified = {"sslmode": "verify-full", "sslrootcert": server.ca}
    return {
        "scope": database["scope"],
        "name": database["name"],
        "log": {"deduplicate_heartbeat_logs": True},
        "restapi": {
            "listen": rest,
            "connect_address": rest,
            "certfile": server.certificate,
            "keyfile": server.key,
            "cafile": server.ca,
            "verify_client": "optional",
            "authentication": {"username": "patroni", "password": passwords["rest"]},
        },
        "ctl": {
            "cacert": client.ca,
            "certfile": client.certificate,
            "keyfile": client.key,
        },
        "etcd3": {
            "hosts": list(database["quorum"]),
            "protocol": "https",
            "cacert": client.ca,
            "cert": client.certificate,
            "key": client.key,
            **database["etcd"],
        },
        "bootstrap": {
            "dcs": dynamic(database),
            "initdb": [
                {"encoding": "UTF8"},
                {"locale": "C.UTF-8"},
                {"auth-host": "scram-sha-256"},
                {"auth-local": "peer"},
                "data-checksums",
            ],
        },
        "postgresql": {
            "listen": postgresql,
            "connect_address": postgresql,
            "data_dir": data_directory(database),
            "bin_dir": f"/usr/lib/postgresql/{database['version']}/bin",
            "bin_name": {"initdb": INITDB},
            "pgpass": "/var/lib/postgresql/.pgpass-patroni",
            "use_unix_socket": True,
            "basebackup": [{"checkpoint": "fast"}],  # else a copy waits minutes for the next one
            "remove_data_directory_on_rewind_failure": True,
            "remove_data_directory_on_diverged_timelines": True,
            "authentication": {
                "superuser": {"username": "postgres", "password": passwords["superuser"]},
                "replication": {
                    "username": "replicator",
                    "password": passwords["replication"],
                    **verified,
                },
                "rewind": {"username": "rewinder", "password": passwords["rewind"], **verified},
            },
            "parameters": {
                "unix_socket_directories": "/run/postgresql",
                "ssl": True,
                "ssl_ca_file": server.ca,
                "ssl_cert_file": server.certificate,
                "ssl_key_file": server.key,
            },
            "pg_hba": access_rules(database),
        },
    }


def configuration_file(database: dict[str, Any], server: Identity, client: Identity) -> str:
    """Return `configuration` as YAML."""
    return yaml.safe_dump(configuration(database, server, client), sort_keys=False)


def patch(actual: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """Return the content for ``PATCH /config`` that turns ``actual`` into ``wanted``.

    A key that is not wanted becomes null, which removes it, except for the keys of `OPERATORS`.
    """
    changes: dict[str, Any] = {
        key: None for key in actual if key not in wanted and key not in OPERATORS
    }
    for key, value in wanted.items():
        present = actual.get(key)
        if isinstance(value, dict) and isinstance(present, dict):
            if inner := patch(present, value):
                changes[key] = inner
        elif key not in actual or present != value:
            changes[key] = value
    return changes


def leader(cluster: dict[str, Any]) -> str | None:
    """Return the id of the running primary in an answer of ``GET /cluster``, or None."""
    for member in cluster.get("members", ()):
        if member.get("role") in ("leader", "standby_leader") and member.get("state") == "running":
            return str(member["name"])
    return None


def incomplete(cluster: dict[str, Any], synchronous: bool) -> str:
    """Return which members do not work, or "": there is a primary, and all others stream from it.

    Args:
        cluster: Patroni's answer to ``GET /cluster``.
        synchronous: whether a commit waits for a replica, so that one must be synchronous.
    """
    members = cluster["members"]
    if not any(one.get("role") == "leader" and one["state"] == "running" for one in members):
        return "there is no primary"
    waiting = [
        f"{one['name']} is {one['state']}"
        for one in members
        if one.get("role") != "leader" and one["state"] != "streaming"
    ]
    wanted = synchronous and len(members) > 1
    if not waiting and wanted and all(one["role"] != "sync_standby" for one in members):
        waiting = ["no replica is synchronous yet"]
    return ", ".join(waiting)


IN_PLACE = {
    *("max_connections", "max_locks_per_transaction", "max_prepared_transactions"),
    *("max_wal_senders", "max_worker_processes"),
}
"""Parameters that a standby must not have lower than its primary. So a lower value has effect only
after the primary has restarted in its place.

https://www.postgresql.org/docs/15/hot-standby.html#HOT-STANDBY-ADMIN
"""


def only_in_place(name: str, old: Any, new: Any) -> bool:
    """Return whether a parameter's new value has effect only after the primary restarts in place.

    Args:
        name: the parameter.
        old: its value now.
        new: its value after a restart.
    """
    return name in IN_PLACE and int(new) < int(old)


def pending(cluster: dict[str, Any]) -> list[str]:
    """Return the hosts whose PostgreSQL has to restart, one host after the other, the primary last.

    Args:
        cluster: Patroni's answer to ``GET /cluster``.
    """
    return [one["name"] for one in _waiting(cluster) if not _lowered(one)]


def lowered(cluster: dict[str, Any]) -> list[str]:
    """Return the hosts with a lower value that waits for a restart in place, the primary last.

    Args:
        cluster: Patroni's answer to ``GET /cluster``.
    """
    return [one["name"] for one in _waiting(cluster) if _lowered(one)]


def _waiting(cluster: dict[str, Any]) -> list[dict[str, Any]]:
    found = [one for one in cluster["members"] if one.get("pending_restart")]
    return sorted(found, key=lambda one: one.get("role") == "leader")


def _lowered(member: dict[str, Any]) -> bool:
    """Return whether nothing but a restart in place would help."""
    reasons = member.get("pending_restart_reason") or {}
    return bool(reasons) and all(
        only_in_place(name, one["old_value"], one["new_value"]) for name, one in reasons.items()
    )


def obstacle(member: dict[str, Any]) -> str:
    """Return why a member does not work in the cluster yet, from ``GET /patroni``; "" when it
    does.
    """
    role, state = member.get("role"), member.get("state")
    if idle(member) and member.get("cluster_unlocked"):
        return "it has no data yet, and there is no primary to copy them from"
    if state != "running":
        return f"PostgreSQL is {state}"
    if role in ("primary", "master", "standby_leader"):
        return ""
    replication = member.get("replication_state") or "not connected to the primary"
    return "" if replication == "streaming" else f"it is a {role}, {replication}"


def lag_obstacle(cluster: dict[str, Any], name: str, bound: int) -> str:
    """Return why a streaming replica is too far behind, from ``GET /cluster``; "" when it is not.

    Args:
        cluster: the answer.
        name: the replica's id.
        bound: the bytes that it may be behind.
    """
    found = [member.get("lag") for member in cluster.get("members", ()) if member["name"] == name]
    lag = found[0] if found else None
    if not isinstance(lag, int) or lag <= bound:
        return ""
    return f"it is a replica that is {lag} bytes behind; at most {bound} are allowed"


def standby_fault(cluster: dict[str, Any], database: dict[str, Any]) -> str:
    """Return why only this host has every commit, from ``GET /cluster``; "" when it is not so.

    Only the primary can have this fault. A cluster with one host, or without synchronous mode, has
    no standby to miss.
    """
    if not database["settings"]["synchronous_mode"] or len(database["members"]) == 1:
        return ""
    if leader(cluster) != database["name"]:
        return ""
    if any(member.get("role") in SYNCHRONOUS for member in cluster.get("members", ())):
        return ""
    return "no standby is synchronous, so the primary alone stores new commits"


def next_position(member: dict[str, Any]) -> int | None:
    """Return the position in the WAL that a replica needs next, from ``GET /patroni``.

    Returns:
        The position; None for a primary, for a replica that streams, and for one that may have
        another reason not to: it restores from an archive, its replay is paused, or it is starting.
    """
    place = member.get("xlog") or {}
    halted = member.get("state") == "running" and not member.get("replication_state")
    if member.get("role") != "replica" or not halted or place.get("paused"):
        return None
    position = place.get("replayed_location")
    return position + 1 if isinstance(position, int) else None


def oldest_segment_query(position: int) -> str:
    """Return the query to the primary: the segment of a position, and its oldest segment."""
    lsn = f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"
    names = "SELECT min(substr(name, 9)) FROM pg_ls_dir('pg_wal', true, false) AS name"
    return f"SELECT pg_walfile_name('{lsn}'), ({names} WHERE name ~ '^[0-9A-F]{{24}}$')"


def deleted(answer: str) -> str:
    """Return the segment that the primary no longer has, or "" if it has it.

    Args:
        answer: to `oldest_segment_query`: two columns, separated by a tab. The second one does not
            have the eight digits of the timeline, because a segment of any timeline proves that
            the primary has the position.
    """
    needed, _, oldest = answer.partition("\t")
    return needed if oldest and needed[8:] < oldest else ""


def idle(member: dict[str, Any]) -> bool:
    """Tell whether a member has no data to start, and makes none, from ``GET /patroni``."""
    return member.get("state") == "stopped" and member.get("role") == "uninitialized"


def _single(address: str) -> str:
    return f"{address}/{128 if ':' in address else 32}"

"""The quorum: the configuration of an etcd member, and its way into the cluster.

Source of the rules: etcd 3.4's operations guide, "Clustering" and "Runtime reconfiguration". A
member starts as ``new`` only when no cluster exists yet. It joins an existing cluster with ``member
add`` and a start as ``existing``. A member that lost its data is removed first, because it may have
voted for data that it has forgotten.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from salina.common.https import Identity, host_port

DATA = "/var/lib/etcd/default"
METRICS = "127.0.0.1:2381"
"""Where etcd gives its numbers, without TLS and without a login."""
PEERS_BY_NAME = "ETCD_PEER_CERT_ALLOWED_CN"
NO_LOGIN = "etcdserver: authentication is not enabled"
JOIN = "/var/lib/etcd/join.env"
"""Exists only while this host joins: without data and without it, etcd does not start."""


@dataclass(frozen=True)
class Member:
    """A member as the cluster knows it; `started` says whether it has ever run."""

    id: str
    name: str
    peer_urls: tuple[str, ...]
    started: bool


@dataclass(frozen=True)
class Join:
    """The way of a host without data into the cluster: `remove` an id, `add`, then start as
    `state`.
    """

    state: str
    remove: str | None = None
    add: bool = False


def client_url(address: str, port: int) -> str:
    """Return the URL on which a member serves clients."""
    return f"https://{host_port(address, port)}"


def peer_url(quorum: dict[str, Any], address: str) -> str:
    """Return the URL on which the member at an address serves its peers."""
    return f"https://{host_port(address, quorum['peer_port'])}"


def environment(
    quorum: dict[str, Any], server: Identity, peer: Identity, by_name: bool
) -> dict[str, str]:
    """Return etcd's settings for one member, as environment variables.

    Clients need a certificate of the CA, and peers one with the peers' common name. Old revisions
    are compacted, because Patroni writes one in each round and etcd would keep them all.

    Args:
        quorum: the pillar of that name.
        server: the files of the certificate for clients.
        peer: the files of the certificate for the other members.
        by_name: whether peers must have their name yet. In a fleet from before they get it first.
    """
    clients = client_url(quorum["address"], quorum["client_port"])
    peers = peer_url(quorum, quorum["address"])
    return {
        "ETCD_NAME": quorum["name"],
        "ETCD_DATA_DIR": DATA,
        "ETCD_LISTEN_CLIENT_URLS": clients,
        "ETCD_ADVERTISE_CLIENT_URLS": clients,
        "ETCD_LISTEN_PEER_URLS": peers,
        "ETCD_INITIAL_ADVERTISE_PEER_URLS": peers,
        "ETCD_LISTEN_METRICS_URLS": f"http://{METRICS}",
        **{f"ETCD_{key}": value for key, value in _files(server).items()},
        **{f"ETCD_PEER_{key}": value for key, value in _files(peer).items()},
        **({PEERS_BY_NAME: quorum["peer_name"]} if by_name else {}),
        "ETCD_HEARTBEAT_INTERVAL": str(quorum["heartbeat_interval"]),
        "ETCD_ELECTION_TIMEOUT": str(quorum["election_timeout"]),
        "ETCD_AUTO_COMPACTION_MODE": "periodic",
        "ETCD_AUTO_COMPACTION_RETENTION": "1h",
    }


def _files(identity: Identity) -> dict[str, str]:
    return {
        "CLIENT_CERT_AUTH": "true",
        "TRUSTED_CA_FILE": identity.ca,
        "CERT_FILE": identity.certificate,
        "KEY_FILE": identity.key,
    }


def role_of(keys: str) -> dict[str, Any]:
    """Return the permission to read and write all keys that begin with a text.

    Source: etcd's API, `AuthRoleGrantPermissionRequest`. A range ends before the first key that
    does not begin so.

    Args:
        keys: the text, which ends with `/`.
    """
    end = keys[:-1] + chr(ord(keys[-1]) + 1)
    return {"permType": "READWRITE", "key": base64_of(keys), "range_end": base64_of(end)}


def marks(scope: str, members: Iterable[str]) -> dict[str, str]:
    """Return the keys with which database hosts say that their Patroni logs in: host -> key."""
    return {member: f"/service/{scope}/login/{member}" for member in members}


def unguarded(answer: Any) -> bool:
    """Tell from etcd's answer to a login whether it wants none.

    etcd 3.5 calls the text `message`, and 3.4 has it twice: as `error` and as `message`.
    """
    return isinstance(answer, dict) and NO_LOGIN in (answer.get("error"), answer.get("message"))


def base64_of(text: str) -> str:
    """Return a text as etcd's JSON interface wants its keys and values."""
    return base64.b64encode(text.encode()).decode()


def members(answer: Any) -> tuple[Member, ...]:
    """Return the members in an answer of ``/v3/cluster/member/list`` or ``…/add``.

    Raises:
        ValueError: the answer is something else.
    """
    if not isinstance(answer, dict) or not isinstance(answer.get("members"), list):
        raise ValueError(f"etcd's answer is not a list of members: {answer}")
    return tuple(
        Member(
            id=entry["ID"],
            name=entry.get("name", ""),
            peer_urls=tuple(entry.get("peerURLs", ())),
            started=bool(entry.get("clientURLs")),
        )
        for entry in answer["members"]
    )


def join(own_url: str, known: tuple[Member, ...] | None) -> Join:
    """Return how a host without data joins the cluster.

    Args:
        own_url: its peer URL.
        known: the members of the existing cluster, or None when no planned member knows one.
    """
    if known is None:
        return Join("new")
    mine = [member for member in known if own_url in member.peer_urls]
    if not mine:
        return Join("existing", add=True)
    if mine[0].started:
        return Join("existing", remove=mine[0].id, add=True)
    return Join("existing")


def join_environment(
    quorum: dict[str, Any], state: str, known: tuple[Member, ...]
) -> dict[str, str]:
    """Return the settings for the first start of a member.

    Args:
        quorum: the pillar of that name.
        state: ``new`` (with all planned members) or ``existing``.
        known: for ``existing`` the cluster's members, this one included.
    """
    planned = {peer_url(quorum, host["address"]): host["name"] for host in quorum["members"]}
    if state == "existing":
        entries = [
            (member.name or planned.get(url, member.id), url)
            for member in known
            for url in member.peer_urls
        ]
    else:
        entries = [(name, url) for url, name in planned.items()]
    return {
        "ETCD_INITIAL_CLUSTER": ",".join(f"{name}={url}" for name, url in entries),
        "ETCD_INITIAL_CLUSTER_STATE": state,
        "ETCD_INITIAL_CLUSTER_TOKEN": quorum["token"],
    }


def environment_file(settings: dict[str, str]) -> str:
    """Return settings as a file for systemd's ``EnvironmentFile=``."""
    return "".join(f'{key}="{value}"\n' for key, value in settings.items())

"""Manage the quorum, an etcd cluster on the voting hosts: its health and its members.

The functions use etcd's JSON interface with this host's certificate, so they need no client
program.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from salt.exceptions import CommandExecutionError

from salina.common import file, pillars
from salina.common.https import Identity, NoAnswer, call, common_name, host_port, identity
from salina.quorum import client, etcd

__salt__: dict[str, Any]
__pillar__: dict[str, Any]

SETTINGS = "/etc/default/etcd"
CLIENT_OF = {"quorum": "etcd", "database": "host"}
"""The certificate with which a host of each role asks etcd."""


def environment_file() -> str:
    """Return the content of /etc/default/etcd for this host.

    Returns:
        The file's text.

    CLI Example:
        salt nas1 quorum.environment_file
    """
    server, peer = identity("etcd"), identity("etcd-peer")
    return etcd.environment_file(etcd.environment(_pillar(), server, peer, _by_name()))


def obstacle(endpoints: list[str] | None = None) -> str:
    """Return why the quorum cannot be used, or "" if at least one endpoint serves.

    Args:
        endpoints: addresses such as 10.1.4.21:2379; all planned members by default.

    Returns:
        What each endpoint answered, or "".

    CLI Example:
        salt nas1 quorum.obstacle
        salt bbdd1 quorum.obstacle '["10.1.4.21:2379"]'
    """
    reasons = []
    for endpoint in endpoints or _endpoints():
        try:
            status, answer = call("GET", f"https://{endpoint}/health", _caller())
        except NoAnswer as error:
            reasons.append(str(error))
            continue
        if status == 200 and isinstance(answer, dict) and answer.get("health") == "true":
            return ""
        reasons.append(f"{endpoint}: {answer}")
    return "; ".join(reasons)


def own_obstacle() -> str:
    """Return why this host's own member does not serve, or "" if it does.

    Returns:
        The reason, or "".

    CLI Example:
        salt nas1 quorum.own_obstacle
    """
    return obstacle([_own()])


def others_obstacle() -> str:
    """Return why this host's member must not stop now, or "" if all other members serve.

    A member serves only if it has applied what the majority has decided.

    Returns:
        What each other member that does not serve answered, or "".

    CLI Example:
        salt nas1 quorum.others_obstacle
    """
    others = [endpoint for endpoint in _endpoints() if endpoint != _own()]
    return "; ".join(filter(None, (obstacle([endpoint]) for endpoint in others)))


def members() -> list[dict[str, Any]]:
    """Return the members that the cluster knows.

    Returns:
        For each member `id`, `name`, `peer_urls` and `started`. An empty list if there is no
        cluster.

    Raises:
        CommandExecutionError: too few members answer to say whether there is a cluster.

    CLI Example:
        salt nas1 quorum.members
    """
    return [vars(member) for member in _known() or ()]


def drift() -> list[str]:
    """Return the members of the cluster that are not in the topology.

    Returns:
        A sentence per member, with the command that removes it.

    Raises:
        CommandExecutionError: as for `quorum.members`.

    CLI Example:
        salt nas1 quorum.drift
    """
    pillar = _pillar()
    planned = {etcd.peer_url(pillar, host["address"]) for host in pillar["members"]}
    return [
        f"the quorum has a member {member['name']} at {' '.join(member['peer_urls'])}, which is "
        f"not in the topology; remove it: salt {pillar['name']} quorum.remove {member['id']}"
        for member in members()
        if not planned & set(member["peer_urls"])
    ]


def remove(member: str) -> str:
    """Remove a member from the cluster.

    Args:
        member: its id, as `quorum.members` shows it.

    Returns:
        A sentence that says so.

    Raises:
        CommandExecutionError: etcd refused, for instance because the rest would be no majority.

    CLI Example:
        salt nas1 quorum.remove 10501334649042878790
    """
    _ask("member/remove", {"ID": member})
    return f"member {member} was removed"


def has_data() -> bool:
    """Return whether this host has been a member before.

    Returns:
        Whether its data directory exists.

    CLI Example:
        salt nas1 quorum.has_data
    """
    return Path(etcd.DATA, "member").is_dir()


def enter() -> dict[str, Any]:
    """Announce this host, which has no data, to its cluster; write the settings of its first start.

    Start the service afterwards, and call `quorum.entered` when it serves. After an error, call
    this again: a member that is initialising the cluster does not answer yet.

    Returns:
        The plan that was carried out: `state`, `remove`, `add`.

    Raises:
        CommandExecutionError: this host has data, too few members answer to say whether there is a
            cluster, or etcd refused the change.

    CLI Example:
        salt nas1 quorum.enter
    """
    if has_data():
        raise CommandExecutionError(
            f"{etcd.DATA} holds a member's data: this host has joined before"
        )
    pillar = _pillar()
    own = etcd.peer_url(pillar, pillar["address"])
    known = _known()
    todo = etcd.join(own, known)
    if todo.remove:
        _ask("member/remove", {"ID": todo.remove})
    if todo.add:
        known = etcd.members(_ask("member/add", {"peerURLs": [own]}))
    settings = etcd.join_environment(pillar, todo.state, known or ())
    file.put(etcd.JOIN, etcd.environment_file(settings))
    return vars(todo)


def entered() -> None:
    """Delete the settings of the first start, so that later a loss of data never looks like one.

    CLI Example:
        salt nas1 quorum.entered
    """
    Path(etcd.JOIN).unlink(missing_ok=True)


def _pillar() -> dict[str, Any]:
    return pillars.section(__pillar__, "quorum")


def _own() -> str:
    pillar = _pillar()
    return host_port(pillar["address"], pillar["client_port"])


def _endpoints() -> list[str]:
    pillar = _pillar()
    port = pillar["client_port"]
    return [host_port(host["address"], port) for host in pillar["members"]]


def _known() -> tuple[etcd.Member, ...] | None:
    """Return the members as the first answering planned member knows them; None without a cluster.

    There is no cluster if a majority of the hosts is up and refuses connections. Silent hosts may
    have a cluster behind a broken network. If this host initialised it again, a member could return
    with votes that it has forgotten.

    Raises:
        CommandExecutionError: too few members answer to tell.
    """
    endpoints, reasons, refused = _endpoints(), [], 0
    for endpoint in endpoints:
        url = f"https://{endpoint}/v3/cluster/member/list"
        try:
            status, answer = call("POST", url, _caller(), {}, timeout=2)
        except NoAnswer as error:
            reasons.append(str(error))
            refused += error.refused
            continue
        if status == 200:
            return etcd.members(answer)
        reasons.append(f"{endpoint}: {answer}")
    if 2 * refused > len(endpoints):
        return None
    raise CommandExecutionError("; ".join(reasons))


def _ask(what: str, body: dict[str, Any]) -> Any:
    """Have the first answering planned member change the cluster."""
    root = {"name": "root", "password": _pillar()["passwords"]["root"]}
    try:
        return client.ask(_endpoints(), _caller(), root, f"cluster/{what}", body)
    except client.Refused as error:
        raise CommandExecutionError(
            f"no etcd member accepted the request `{what}` with {body}: {error}"
        ) from error


def _caller() -> Identity:
    """Return the certificate with which this host asks etcd."""
    return identity(next(name for role, name in CLIENT_OF.items() if role in __pillar__))


def _by_name() -> bool:
    """Return whether etcd may insist on its peers' name.

    In a new cluster it insists on it. A member from before does so when all others show the name,
    because it refuses the others in both directions. Once it insists, it goes on.
    """
    if not has_data():
        return True
    if Path(SETTINGS).exists() and etcd.PEERS_BY_NAME in Path(SETTINGS).read_text():
        return True
    pillar = _pillar()
    return all(
        common_name(one["address"], pillar["peer_port"], identity("etcd-peer"))
        == pillar["peer_name"]
        for one in pillar["members"]
        if one["name"] != pillar["name"]
    )

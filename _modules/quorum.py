"""The quorum (an etcd cluster on the voting hosts): its health and its members.

Speaks etcd's own JSON interface with this host's certificate, so that no client program is needed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from salt.exceptions import CommandExecutionError

from salina.common import file
from salina.common.https import Identity, NoAnswer, call, host_port
from salina.quorum import etcd

__salt__: dict[str, Any]
__pillar__: dict[str, Any]

IDENTITY = Identity()


def environment_file() -> str:
    """Return the content of ``/etc/default/etcd`` for this host.

    CLI example::

        salt nas1 quorum.environment_file
    """
    return etcd.environment_file(etcd.environment(_pillar(), IDENTITY))


def obstacle(endpoints: list[str] | None = None) -> str:
    """Say why the quorum can't be used now, or return "" when one endpoint at least serves.

    Args:
        endpoints: ``10.1.4.21:2379``; all planned members when not given.

    CLI example::

        salt nas1 quorum.obstacle
        salt bbdd1 quorum.obstacle '["10.1.4.21:2379"]'
    """
    reasons = []
    for endpoint in endpoints or _endpoints():
        try:
            status, answer = call("GET", f"https://{endpoint}/health", IDENTITY)
        except NoAnswer as error:
            reasons.append(str(error))
            continue
        if status == 200 and isinstance(answer, dict) and answer.get("health") == "true":
            return ""
        reasons.append(f"{endpoint}: {answer}")
    return "; ".join(reasons)


def own_obstacle() -> str:
    """Say why this host's own member does not serve now, or return "".

    CLI example::

        salt nas1 quorum.own_obstacle
    """
    pillar = _pillar()
    return obstacle([host_port(pillar["address"], pillar["client_port"])])


def members() -> list[dict[str, Any]]:
    """Return the members that the cluster knows: ``id``, ``name``, ``peer_urls``, ``started``.

    None where there is no cluster.

    Raises:
        CommandExecutionError: it can't be told.

    CLI example::

        salt nas1 quorum.members
    """
    return [vars(member) for member in _known() or ()]


def drift() -> list[str]:
    """Say which members the cluster has beyond the topology's.

    Raises:
        CommandExecutionError: see ``quorum.members``.

    CLI example::

        salt nas1 quorum.drift
    """
    pillar = _pillar()
    planned = {etcd.peer_url(pillar, host["address"]) for host in pillar["members"]}
    return [
        f"the quorum has a member {member['name']} at {' '.join(member['peer_urls'])}, "
        f"the topology has not: salt {pillar['name']} quorum.remove {member['id']}"
        for member in members()
        if not planned & set(member["peer_urls"])
    ]


def remove(member: str) -> str:
    """Take a member out of the cluster, by the id that ``quorum.members`` shows.

    Raises:
        CommandExecutionError: etcd refused (it does when the rest would be no majority).

    CLI example::

        salt nas1 quorum.remove 10501334649042878790
    """
    _ask("member/remove", {"ID": member})
    return f"{member} is removed"


def has_data() -> bool:
    """Tell whether this host has been a member before: its data directory is there.

    CLI example::

        salt nas1 quorum.has_data
    """
    return Path(etcd.DATA, "member").is_dir()


def enter() -> dict[str, Any]:
    """Announce this host, which has no data, to its cluster and write how its first start goes.

    The caller starts the service then, and calls ``quorum.entered`` when it serves. To be called
    again after an error: a member that founds the cluster just now does not answer yet.

    Returns:
        The plan that was carried out: ``state``, ``remove``, ``add``.

    Raises:
        CommandExecutionError: this host has data already, it can't be told whether there is a
            cluster, or etcd refused the change of members.

    CLI example::

        salt nas1 quorum.enter
    """
    if has_data():
        raise CommandExecutionError(f"{etcd.DATA} has a member's data: nothing to enter")
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
    """Forget how the first start went, so that a loss of data never looks like a first start.

    CLI example::

        salt nas1 quorum.entered
    """
    Path(etcd.JOIN).unlink(missing_ok=True)


def _pillar() -> dict[str, Any]:
    try:
        return dict(__pillar__["quorum"])
    except KeyError:
        raise CommandExecutionError("this host has no role quorum (pillar quorum)") from None


def _endpoints() -> list[str]:
    pillar = _pillar()
    port = pillar["client_port"]
    return [host_port(host["address"], port) for host in pillar["members"]]


def _known() -> tuple[etcd.Member, ...] | None:
    """The members as the first planned one that answers knows them; None if there is no cluster.

    There is none if the hosts of a majority are up and nothing listens there. While they are
    silent it may well exist beyond a broken network, and a host that founded it again would come
    back with votes it has forgotten.

    Raises:
        CommandExecutionError: neither can be told.
    """
    endpoints, reasons, refused = _endpoints(), [], 0
    for endpoint in endpoints:
        url = f"https://{endpoint}/v3/cluster/member/list"
        try:
            status, answer = call("POST", url, IDENTITY, {}, timeout=2)
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
    """Have the first planned member that answers change the cluster."""
    reasons = []
    for endpoint in _endpoints():
        try:
            status, answer = call("POST", f"https://{endpoint}/v3/cluster/{what}", IDENTITY, body)
        except NoAnswer as error:
            reasons.append(str(error))
            continue
        if status == 200:
            return answer
        reasons.append(f"{endpoint}: {answer}")
    raise CommandExecutionError(f"{what} {body}: {'; '.join(reasons)}")

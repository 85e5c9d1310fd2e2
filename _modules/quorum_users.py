"""Manage etcd's users: who may read and write the keys of the quorum.

A quorum host has the password of etcd's user `root` and makes the users. A database host has only
the password of Patroni's user. It switches the login on as soon as every database host's Patroni
logs in, because a Patroni that doesn't would lose its lease. See
docs/decisions/0037-etcd-knows-its-users.md.
"""

from __future__ import annotations

import time
from typing import Any

from salt.exceptions import CommandExecutionError

from salina.common import pillars
from salina.common.https import Identity, NoAnswer, call, host_port, identity
from salina.quorum import client, etcd

__salt__: dict[str, Any]
__pillar__: dict[str, Any]

PATRONI_FILE = "/etc/patroni/patroni.yml"


def faults() -> list[str]:
    """Return what is wrong with etcd's users and their rights.

    Returns:
        A sentence per fault.

    Raises:
        CommandExecutionError: etcd does not answer, or its `root` has another password.

    CLI Example:
        salt nas1 quorum_users.faults
    """
    quorum, (endpoint, root, guarded) = _quorum(), _as_root()
    known = _ask(endpoint, root, "auth/user/list").get("users", [])
    found = [f"user {name} does not exist" for name in quorum["passwords"] if name not in known]
    for name, keys in quorum["keys"].items():
        if name not in known:
            continue
        if guarded and _login(endpoint, name)[0] is None:
            found.append(f"user {name} cannot log in with its password")
        if _rights(endpoint, root, name) != [etcd.role_of(keys)]:
            found.append(f"user {name} may not use exactly the keys {keys}…")
    return found


def make() -> None:
    """Make etcd's users, and give them their passwords and rights.

    Raises:
        CommandExecutionError: etcd does not answer or refuses, or its `root` has another password.

    CLI Example:
        salt nas1 quorum_users.make
    """
    quorum, (endpoint, root, guarded) = _quorum(), _as_root()
    known = _ask(endpoint, root, "auth/user/list").get("users", [])
    roles = _ask(endpoint, root, "auth/role/list").get("roles", [])
    for name, password in quorum["passwords"].items():
        if name not in roles:
            _ask(endpoint, root, "auth/role/add", {"name": name}, there="role name already exists")
        if name not in known:
            user = {"name": name, "password": password}
            _ask(endpoint, root, "auth/user/add", user, there="user name already exists")
        elif guarded and name != "root" and _login(endpoint, name)[0] is None:
            _ask(endpoint, root, "auth/user/changepw", {"name": name, "password": password})
        _ask(endpoint, root, "auth/user/grant", {"user": name, "role": name})
    for name, keys in quorum["keys"].items():
        wanted = etcd.role_of(keys)
        for right in _rights(endpoint, root, name):
            if right != wanted:
                place = {"key": right["key"], "range_end": right.get("range_end", "")}
                _ask(endpoint, root, "auth/role/revoke", {"role": name, **place})
        _ask(endpoint, root, "auth/role/grant", {"name": name, "perm": wanted})


def required() -> bool:
    """Return whether etcd wants a login, as a database host sees it.

    Returns:
        Whether a request without a login is refused.

    Raises:
        CommandExecutionError: etcd does not answer, or does not know the login of this host.

    CLI Example:
        salt bbdd1 quorum_users.required
    """
    reasons = []
    for endpoint in _database()["quorum"]:
        try:
            known, answer = client.login(endpoint, identity("host"), _patroni())
        except NoAnswer as error:
            reasons.append(str(error))
            continue
        if known:
            return not etcd.unguarded(answer)
        reasons.append(f"{endpoint}: {answer}")
    raise CommandExecutionError("; ".join(reasons))


def obstacle() -> str:
    """Return why this host's Patroni may not log in yet, or "".

    Patroni reads its file when it starts, and at the first round after a reload. It says when its
    last round was.

    Returns:
        The reason, or "".

    CLI Example:
        salt bbdd1 quorum_users.obstacle
    """
    if not __salt__["daemon.outdated"]("patroni", [PATRONI_FILE]):
        return ""
    if __salt__["daemon.outdated"]("patroni", [PATRONI_FILE], reloads=True):
        return f"Patroni has not read {PATRONI_FILE}"
    last = __salt__["patroni.member"]().get("dcs_last_seen", 0)
    done = _reloaded() + _database()["settings"]["loop_wait"] + 1
    return "" if last > done else f"Patroni reads {PATRONI_FILE} in its next round"


def missing() -> list[str]:
    """Say that this host's Patroni logs in, and return the database hosts that have not said it.

    Returns:
        Ids of hosts.

    Raises:
        CommandExecutionError: no member of etcd takes the request.

    CLI Example:
        salt bbdd1 quorum_users.missing
    """
    database = _database()
    keys = etcd.marks(database["scope"], [one["name"] for one in database["members"]])
    own = {"key": etcd.base64_of(keys[database["name"]]), "value": etcd.base64_of("yes")}
    _tell("kv/put", own)
    return [
        host
        for host, key in keys.items()
        if not _tell("kv/range", {"key": etcd.base64_of(key)}).get("kvs")
    ]


def require() -> None:
    """Have etcd refuse every request without a login from now on.

    Raises:
        CommandExecutionError: etcd refused, for instance because it has no user `root` yet.

    CLI Example:
        salt bbdd1 quorum_users.require
    """
    _tell("auth/enable", {})


def _reloaded() -> float:
    """Return when systemd last started or reloaded Patroni, in seconds since the epoch."""
    shown = __salt__["service.show"]("patroni")["StateChangeTimestampMonotonic"]
    return time.time() - (time.monotonic() - int(shown) / 1e6)


def _quorum() -> dict[str, Any]:
    return pillars.section(__pillar__, "quorum")


def _database() -> dict[str, Any]:
    return pillars.section(__pillar__, "database")


def _patroni() -> dict[str, str]:
    login = _database()["etcd"]
    return {"name": login["username"], "password": login["password"]}


def _tell(path: str, body: dict[str, Any]) -> Any:
    """Send a request of this database host, with Patroni's login."""
    try:
        return client.ask(_database()["quorum"], identity("host"), _patroni(), path, body)
    except client.Refused as error:
        raise CommandExecutionError(f"no etcd member accepted {path}: {error}") from error


def _login(endpoint: str, name: str) -> tuple[Identity | None, Any]:
    credentials = {"name": name, "password": _quorum()["passwords"][name]}
    try:
        return client.login(endpoint, identity("etcd"), credentials)
    except NoAnswer as error:
        raise CommandExecutionError(str(error)) from error


def _as_root() -> tuple[str, Identity, bool]:
    """Return this host's own member, the caller that is root there, and whether it needs to be."""
    quorum = _quorum()
    endpoint = host_port(quorum["address"], quorum["client_port"])
    root, answer = _login(endpoint, "root")
    if root is None:
        raise CommandExecutionError(
            f"{endpoint}: etcd does not accept the secret etcd-root for its user root: {answer}"
        )
    return endpoint, root, not etcd.unguarded(answer)


def _rights(endpoint: str, root: Identity, name: str) -> list[dict[str, Any]]:
    answer = _ask(endpoint, root, "auth/role/get", {"role": name}, there="role name not found")
    return list(answer.get("perm", []))


def _ask(
    endpoint: str, root: Identity, path: str, body: dict[str, Any] | None = None, there: str = ""
) -> dict[str, Any]:
    """Return a member's answer; an error with the words `there` counts as an empty answer."""
    try:
        status, answer = call("POST", f"https://{endpoint}/v3/{path}", root, body or {})
    except NoAnswer as error:
        raise CommandExecutionError(str(error)) from error
    if status == 200:
        return dict(answer)
    if there and there in str(answer):
        return {}
    raise CommandExecutionError(f"{endpoint}: {path}: {answer}")

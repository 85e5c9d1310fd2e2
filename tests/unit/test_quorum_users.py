"""etcd's users: who makes them, and when etcd begins to want a login."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from salt.exceptions import CommandExecutionError

from salina.common.https import Identity, NoAnswer, identity
from salina.quorum import client
from salina.quorum.etcd import NO_LOGIN, base64_of, role_of
from tests.loading import load
from tests.unit.test_etcd import QUORUM
from tests.unit.test_patroni import DATABASE

ENDPOINT = "10.1.4.23:2379"
RIGHT = role_of("/service/salina/")


class Etcd:
    """A member with users, as far as the module uses them."""

    def __init__(self, **users: str) -> None:
        self.users, self.roles = dict(users), {"root"} & set(users)
        self.rights: dict[str, list[dict[str, Any]]] = {}
        self.guarded = False
        self.keys: set[str] = set()
        self.silent: set[str] = set()

    def __call__(
        self, method: str, url: str, caller: Identity, body: Any = None, timeout: float = 5
    ) -> tuple[int, Any]:
        endpoint, _, path = url.removeprefix("https://").partition("/v3/")
        if endpoint in self.silent:
            raise NoAnswer(f"{endpoint}: timed out")
        if path == "auth/authenticate":
            if not self.guarded:
                return 400, {"error": NO_LOGIN}
            if self.users.get(body["name"]) != body["password"]:
                return 400, {"error": "etcdserver: authentication failed"}
            return 200, {"token": f"token of {body['name']}"}
        if self.guarded and not caller.authorization:
            return 400, {"error": "etcdserver: user name is empty"}
        return self.answer(path, body)

    def answer(self, path: str, body: Any) -> tuple[int, Any]:
        match path:
            case "auth/user/list":
                return 200, {"users": list(self.users)} if self.users else {}
            case "auth/role/list":
                return 200, {"roles": list(self.roles)} if self.roles else {}
            case "auth/user/add" if body["name"] in self.users:
                return 412, {"error": "etcdserver: user name already exists"}
            case "auth/user/add" | "auth/user/changepw":
                self.users[body["name"]] = body["password"]
            case "auth/role/add":
                self.roles.add(body["name"])
            case "auth/role/grant":
                if body["perm"] not in self.rights.setdefault(body["name"], []):
                    self.rights[body["name"]].append(body["perm"])
            case "auth/role/revoke":
                place = (body["key"], body["range_end"])
                kept = [
                    one
                    for one in self.rights[body["role"]]
                    if (one["key"], one.get("range_end", "")) != place
                ]
                self.rights[body["role"]] = kept
            case "auth/role/get" if body["role"] not in self.roles:
                return 412, {"error": "etcdserver: role name not found"}
            case "auth/role/get":
                return 200, {"perm": self.rights.get(body["role"], [])}
            case "auth/enable" if "root" not in self.users:
                return 412, {"error": "etcdserver: root user does not exist"}
            case "auth/enable":
                self.guarded = True
            case "kv/put":
                self.keys.add(body["key"])
            case "kv/range":
                return 200, {"kvs": [{}]} if body["key"] in self.keys else {}
        return 200, {}


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """A function that loads the module on a host with some roles, before a given etcd."""

    def on(etcd: Etcd, *roles: str, name: str = "bbdd2") -> Any:
        monkeypatch.setattr(client, "call", etcd)
        sections = {"quorum": QUORUM, "database": DATABASE | {"name": name}}
        pillar = {role: sections[role] for role in roles}
        salt = {"daemon.outdated": lambda *_, **__: []}
        found = load("_modules/quorum_users.py", pillar=pillar, salt=salt)
        found.call = etcd
        return found

    return on


def test_x3_a_voter_makes_the_users(module: Any) -> None:
    """X3, K1: A second round changes nothing, with or without the login."""
    etcd = Etcd()
    users = module(etcd, "quorum")
    assert users.faults() == ["user root does not exist", "user patroni does not exist"]
    users.make()
    assert users.faults() == []
    assert etcd.users == {"root": "canary-root", "patroni": "canary-patroni"}
    assert etcd.rights == {"patroni": [RIGHT]}
    etcd.guarded = True
    assert users.faults() == []


def test_x3_wrong_passwords_and_rights_are_repaired(module: Any) -> None:
    """X3: Another password, and rights that somebody gave by hand."""
    etcd = Etcd(root="canary-root", patroni="another")
    etcd.roles.add("patroni")
    etcd.rights["patroni"] = [role_of("/"), {"permType": "READ", "key": base64_of("x")}]
    etcd.guarded = True
    users = module(etcd, "quorum")
    assert users.faults() == [
        "user patroni cannot log in with its password",
        "user patroni may not use exactly the keys /service/salina/…",
    ]
    users.make()
    assert (users.faults(), etcd.rights) == ([], {"patroni": [RIGHT]})
    assert etcd.users["patroni"] == "canary-patroni"


def test_x3_another_root_is_told(module: Any) -> None:
    """K5: The message names the secret and holds no password."""
    etcd = Etcd(root="another")
    etcd.guarded = True
    with pytest.raises(CommandExecutionError, match="the secret etcd-root") as caught:
        module(etcd, "quorum").faults()
    assert "canary" not in str(caught.value)


def test_x3_the_last_database_host_switches_the_login_on(module: Any) -> None:
    """X3: Before that, a Patroni without a login would lose its lease."""
    etcd = Etcd(root="canary-root", patroni="canary-etcd")
    first, last = (module(etcd, "database", name=name) for name in ("bbdd1", "bbdd2"))
    assert first.required() is False
    assert first.missing() == ["bbdd2"]
    assert last.missing() == []
    last.require()
    assert etcd.guarded and first.required() is True


def test_x3_a_login_that_etcd_does_not_know(module: Any) -> None:
    """K5: Every member's answer is in the message; a silent one does not hide it."""
    etcd = Etcd(root="canary-root", patroni="another")
    etcd.guarded, etcd.silent = True, {DATABASE["quorum"][0]}
    with pytest.raises(CommandExecutionError, match=r"timed out; .*authentication failed"):
        module(etcd, "database").required()


def test_x3_etcd_without_users_is_told(module: Any) -> None:
    """K5: The quorum's hosts have not been applied yet."""
    with pytest.raises(CommandExecutionError, match="root user does not exist"):
        module(Etcd(), "database").require()


@pytest.mark.parametrize(
    ("since_start", "since_reload", "last", "said"),
    [
        ([], [], 0, ""),
        (["f"], ["f"], 0, "has not read"),
        (["f"], [], 1000, "in its next round"),
        (["f"], [], 1003, ""),
    ],
)
def test_x3_patroni_has_to_read_its_login_first(
    module: Any,
    monkeypatch: pytest.MonkeyPatch,
    since_start: list[str],
    since_reload: list[str],
    last: int,
    said: str,
) -> None:
    """X3: At its start, or in the first round after a reload."""
    users = module(Etcd(), "database")
    users.__salt__ |= {
        "daemon.outdated": lambda *_, reloads=False: since_reload if reloads else since_start,
        "patroni.member": lambda: {"dcs_last_seen": last},
    }
    monkeypatch.setattr(users, "PATRONI_FILE", "/dev/null")
    monkeypatch.setattr(users, "_reloaded", lambda: 1000.0)
    found = users.obstacle()
    assert said in found if said else found == ""


def test_the_token_goes_with_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """X3: A caller with a login is not the one without."""
    etcd = Etcd(patroni="canary-etcd")
    etcd.guarded = True
    monkeypatch.setattr(client, "call", etcd)
    login = {"name": "patroni", "password": "canary-etcd"}
    known, _ = client.login(ENDPOINT, identity("host"), login)
    assert known and known.authorization == "token of patroni"
    assert "token" not in repr(known)
    assert client.ask([ENDPOINT], identity("host"), login, "kv/put", {"key": "a"}) == {}
    with pytest.raises(client.Refused, match="authentication failed"):
        client.ask([ENDPOINT], identity("host"), login | {"password": "x"}, "kv/put", {"key": "a"})

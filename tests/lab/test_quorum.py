"""X3: Nobody but Patroni and the voters themselves reads or writes the keys of etcd."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests import fleets
from tests.lab.lab import execute, run, salt, sending, shell
from tests.lab.tiers import DATABASES, secret

pytestmark = pytest.mark.lab

VOTERS = {host.id: host.addresses["data"] for host in fleets.fleet().having("quorum")}
VOTER = next(iter(VOTERS))
LEADER = "L3NlcnZpY2Uvc2FsaW5hL2xlYWRlcg=="
"""The key /service/salina/leader, as etcd's JSON interface wants it."""
OTHER = "L2Vsc2V3aGVyZQ=="
"""The key /elsewhere, which is not Patroni's."""
TLS = "/etc/salina/tls"
REFUSED = "alert|bad certificate|reset by peer|not connected"
"""The words of curl when etcd ends a connection, at one moment or another."""


def ask(host: str, certificate: str, path: str, token: str = "", **body: str) -> str:
    """A host's request to the first voter, with a certificate; the answer or the error."""
    files = ["--cacert", f"{TLS}/ca.crt"]
    if certificate:
        files += ["--cert", f"{TLS}/{certificate}.crt", "--key", f"{TLS}/{certificate}.key"]
    url = f"https://{VOTERS[VOTER]}:2379/v3/{path}"
    header = ["-H", f"Authorization: {token}"] if token else []
    done = execute(
        host, "curl", "-sS", "-m", "10", *files, *header, "-d", "@-", url, given=json.dumps(body)
    )
    return done.stdout + done.stderr


def log_in(host: str, certificate: str, user: str, password: str) -> str:
    """A token of etcd's, or ""."""
    answer = ask(host, certificate, "auth/authenticate", name=user, password=password)
    return str(json.loads(answer).get("token", ""))


@pytest.mark.parametrize(("host", "certificate"), [("bbdd1", "host"), (VOTER, "etcd")])
def test_x3_without_a_login_no_key_is_read_or_written(host: str, certificate: str) -> None:
    """X3: A certificate of the fleet is not enough, not even the right one."""
    for path in ("kv/range", "kv/put", "kv/deleterange", "auth/user/list"):
        assert "user name is empty" in ask(host, certificate, path, key=LEADER, value="eA==")
    assert "user name is empty" in ask(host, certificate, "cluster/member/remove", ID="1")


def test_x3_patronis_user_has_its_own_keys_and_no_others() -> None:
    """X3: The password of a database host opens nothing but the keys of its cluster."""
    token = log_in("bbdd1", "host", "patroni", secret("etcd-patroni"))
    assert '"kvs"' in ask("bbdd1", "host", "kv/range", token, key=LEADER)
    for path in ("kv/range", "kv/put"):
        assert "permission denied" in ask("bbdd1", "host", path, token, key=OTHER, value="eA==")
    assert "permission denied" in ask("bbdd1", "host", "auth/user/list", token)
    assert not log_in("bbdd1", "host", "root", secret("etcd-patroni"))


def test_x3_a_certificate_for_another_purpose_is_refused() -> None:
    """X3: etcd ends a connection with that of PostgreSQL's server."""
    for certificate in ("database", ""):
        answer = ask("bbdd1", certificate, "kv/range", key=LEADER)
        assert re.search(REFUSED, answer), answer
        assert "{" not in answer


@contextmanager
def stolen_address() -> Iterator[None]:
    """Move the address of a database host to s1, and back at the end."""
    address = f"{DATABASES['bbdd2']}/24"
    own, stolen = (
        shell(host, "ip -o addr show to 10.1.4.0/24").split()[1] for host in ("bbdd2", "s1")
    )
    shell("bbdd2", f"ip addr del {address} dev {own}")
    shell("s1", f"ip addr add {address} dev {stolen}")
    shell(VOTER, f"ip neigh flush to {DATABASES['bbdd2']}")
    try:
        yield
    finally:
        shell("s1", f"ip addr del {address} dev {stolen}")
        shell("bbdd2", f"ip addr add {address} dev {own}")
        for host in VOTERS:
            shell(host, f"ip neigh flush to {DATABASES['bbdd2']}")


@pytest.mark.proof
def test_x3_an_app_host_with_a_database_hosts_address() -> None:
    """X3: s1 with the address of bbdd2 passes the firewall, and has no certificate for etcd."""
    with stolen_address(), sending("s1"):
        source = ["--interface", DATABASES["bbdd2"], "--cacert", f"{TLS}/ca.crt"]
        url = f"https://{VOTERS[VOTER]}:2379/v3/kv/range"
        done = execute("s1", "curl", "-sS", "-m", "10", *source, "-d", "{}", url)
    assert done.returncode and not done.stdout
    assert re.search(REFUSED, done.stderr), done.stderr


def test_x3_every_voter_insists_on_names() -> None:
    """X3: A peer must have the peers' name: the settings of the running members."""
    for host in VOTERS:
        pid = run(host, "systemctl", "show", "etcd", "--property=MainPID", "--value").strip()
        found = shell(host, f"tr '\\0' '\\n' </proc/{pid}/environ")
        assert "ETCD_PEER_CERT_ALLOWED_CN=etcd-peer" in found


def test_x3_the_hosts_know_that_a_login_is_needed() -> None:
    """X3: By their own functions, which the states use."""
    assert salt("bbdd*", "quorum_users.required") == {"bbdd1": True, "bbdd2": True}
    assert salt(f"{VOTER}", "quorum_users.faults") == {VOTER: []}

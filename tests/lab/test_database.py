"""The database tier of the running lab: S6 (own role, SCRAM, TLS), S11 (replica, failover)."""

from __future__ import annotations

import itertools
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.lab

LAB = Path(__file__).parents[2] / "bin" / "lab"
HOSTS = {"bbdd1": "10.1.4.31", "bbdd2": "10.1.4.32"}
CLIENT = "s1"
SECRETS = "/var/lib/salina/secrets"
WRITER = """
read -r PGPASSWORD; export PGPASSWORD PGCONNECT_TIMEOUT=2
end=$(($(date +%s) + $1)); number=0
while [ "$(date +%s)" -lt "$end" ]; do
    number=$((number + 1))
    psql -XAtq "host=database port=5433 user=crm dbname=crm sslmode=verify-full \
        sslrootcert=/etc/salina/tls/ca.crt" -c "INSERT INTO salina_test.writes VALUES ($number)" \
        2>/dev/null && echo "$(date +%s.%N) $number"
done; true
"""


def run(host: str, *command: str, given: str = "", check: bool = True) -> str:
    """The output of a command on a host; what it says on standard error is in the failure."""
    result = subprocess.run(
        [LAB, "exec", host, "--", *command], input=given, capture_output=True, text=True
    )
    assert not check or result.returncode == 0, f"{host} {command}: {result.stderr}"
    return result.stdout if result.returncode == 0 else result.stderr


def salt(*arguments: str) -> Any:
    """What Salt answered, as data by host."""
    command = [LAB, "salt", "--out=json", "--static", *arguments]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.stdout, f"salt {arguments}: {result.stderr}"
    return json.loads(result.stdout)


def sql(host: str, statement: str, database: str = "postgres") -> str:
    """One statement as the superuser, over the host's own socket."""
    psql = ["runuser", "-u", "postgres", "--", "psql", "-XAtq", "-v", "ON_ERROR_STOP=1"]
    psql += ["-d", database]
    return run(host, *psql, given=statement).strip()


def secret(name: str) -> str:
    """A secret of the fleet."""
    return run("salt", "cat", f"{SECRETS}/{name}").strip()


def applied(host: str, component: str, state: str) -> dict[str, Any]:
    """What one state of a component did."""
    answer = salt(host, "state.apply", f"common.python,{component}", "queue=True")[host]
    [found] = [entry for entry in answer.values() if entry.get("__id__") == state]
    return dict(found)


def log_in(client: str, parameters: str, password: str) -> str:
    """What a client sees who logs in: "crm" or the error."""
    script = 'read -r PGPASSWORD; export PGPASSWORD; exec psql -XAtq "$1" -c "SELECT current_user"'
    return run(client, "sh", "-c", script, "sh", parameters, given=password, check=False).strip()


def cluster(host: str) -> list[dict[str, Any]]:
    """The members as one of them sees them; none if it does not answer."""
    url = f"https://{HOSTS[host]}:8008/cluster"
    answer = run(host, "curl", "-s", "--cacert", "/etc/salina/tls/ca.crt", url, check=False)
    return list(json.loads(answer)["members"]) if answer.startswith("{") else []


def leader() -> str:
    """The primary's host, when all members see the same one and all others stream from it."""
    end = time.monotonic() + 90
    while time.monotonic() < end:
        views = [
            {member["name"]: (member["role"], member["state"]) for member in cluster(host)}
            for host in HOSTS
        ]
        whole = {("leader", "running"), ("sync_standby", "streaming")}
        if all(set(view) == set(HOSTS) and set(view.values()) == whole for view in views):
            [primary] = {
                name for view in views for name, (role, _) in view.items() if role == "leader"
            }
            return primary
        time.sleep(1)
    raise AssertionError(f"the cluster is not whole after 90 s: {views}")


@pytest.fixture
def table() -> Iterator[None]:
    """A table for numbered writes."""
    sql(
        leader(),
        "DROP SCHEMA IF EXISTS salina_test CASCADE;"
        "CREATE SCHEMA salina_test AUTHORIZATION crm; SET ROLE crm;"
        "CREATE TABLE salina_test.writes (number integer PRIMARY KEY)",
        "crm",
    )
    yield
    sql(leader(), "DROP SCHEMA salina_test CASCADE", "crm")


class Writer:
    """Numbered writes from an app host, through its own way to the primary, for some seconds."""

    def __init__(self, seconds: int) -> None:
        self.process = subprocess.Popen(
            [LAB, "exec", CLIENT, "--", "sh", "-c", WRITER, "sh", str(seconds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdin
        self.process.stdin.write(secret("database-application") + "\n")
        self.process.stdin.flush()

    def results(self) -> tuple[set[int], float]:
        """The acknowledged numbers and the longest time between two of them."""
        output, _errors = self.process.communicate(timeout=180)
        lines = [line.split() for line in output.splitlines()]
        times = [float(when) for when, _number in lines]
        gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
        return {int(number) for _when, number in lines}, max(gaps)


def missing(acknowledged: set[int]) -> set[int]:
    """Those of the acknowledged writes that the database does not have."""
    rows = sql(leader(), "SELECT number FROM salina_test.writes", "crm")
    return acknowledged - {int(row) for row in rows.splitlines()}


def test_s11_the_replica_streams_over_tls_in_synchrony() -> None:
    primary = leader()
    [row] = sql(
        primary,
        "SELECT application_name, state, sync_state, ssl, usename "
        "FROM pg_stat_replication JOIN pg_stat_ssl USING (pid)",
    ).splitlines()
    [replica] = set(HOSTS) - {primary}
    assert row == f"{replica}|streaming|sync|t|replicator"
    assert sql(primary, "SHOW data_checksums") == "on"


@pytest.mark.parametrize("host", HOSTS)
def test_s6_nobody_is_trusted_and_nobody_comes_without_tls(host: str) -> None:
    rules = sql(host, "SELECT type, auth_method FROM pg_hba_file_rules").splitlines()
    assert set(rules) == {"local|peer", "hostssl|scram-sha-256"}


def test_s6_the_application_s_role_owns_its_database_and_may_nothing_else() -> None:
    primary = leader()
    columns = "rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls"
    assert sql(primary, f"SELECT {columns} FROM pg_roles WHERE rolname = 'crm'") == "f|f|f|f|f"
    owned = sql(primary, "SELECT datname FROM pg_database WHERE datdba = 'crm'::regrole")
    assert owned == "crm"
    public = "SELECT has_database_privilege('replicator', 'crm', 'CONNECT')"
    assert sql(primary, public) == "f"


def test_s6_the_application_logs_in_over_verified_tls_only() -> None:
    host = leader()
    password = secret("database-application")
    base = f"host=database hostaddr={HOSTS[host]} user=crm"
    tls = f"{base} sslmode=verify-full sslrootcert=/etc/salina/tls/ca.crt"
    assert log_in(CLIENT, f"{tls} dbname=crm", password) == "crm"
    assert log_in(CLIENT, f"{tls} dbname=postgres", password) == "crm"  # Odoo's bus
    assert "no encryption" in log_in(CLIENT, f"{base} dbname=crm sslmode=disable", password)
    assert "password authentication failed" in log_in(CLIENT, f"{tls} dbname=crm", "wrong")
    assert "no pg_hba.conf entry" in log_in(host, f"{tls} dbname=crm", password)
    superuser = tls.replace("user=crm", "user=postgres dbname=postgres")
    assert "no pg_hba.conf entry" in log_in(CLIENT, superuser, secret("database-superuser"))


def test_the_rest_interface_and_the_quorum_want_certificates() -> None:
    ask = ["curl", "--silent", "--cacert", "/etc/salina/tls/ca.crt", "--write-out", "%{http_code}"]
    address = HOSTS["bbdd1"]
    drop = ["--output", "/dev/null"]
    config = f"https://{address}:8008/config"
    assert run("bbdd1", *ask, *drop, config) == "200"
    assert run("bbdd1", *ask, *drop, "-X", "PATCH", "-d", "{}", config) == "403"
    mine = ["--cert", "/etc/salina/tls/host.crt", "--key", "/etc/salina/tls/host.key"]
    assert run("bbdd1", *ask, *drop, *mine, "-X", "PATCH", "-d", "{}", config) == "401"
    health = "https://10.1.4.21:2379/health"
    assert "200" not in run("bbdd1", *ask, health, check=False)
    assert run("bbdd1", *ask, *mine, health) == '{"health":"true"}200'


@pytest.mark.parametrize("host", HOSTS)
def test_passwords_are_in_no_log_and_on_no_command_line(host: str) -> None:
    search = (
        "while read -r word; do"
        ' for file in /proc/[0-9]*/cmdline; do grep -qaF -- "$word" $file && echo $file; done;'
        ' journalctl --no-pager | grep -qF -- "$word" && echo journal;'
        ' grep -rlF -- "$word" /var/log /var/cache/salt; done; true'
    )
    names = ("superuser", "replication", "rewind", "rest", "application")
    words = "".join(secret(f"database-{name}") + "\n" for name in names)
    assert run(host, "sh", "-c", search, given=words) == ""
    modes = run(host, "stat", "-c", "%U %G %a", "/etc/patroni/patroni.yml", "/etc/patroni")
    assert modes.splitlines() == ["root postgres 640", "root postgres 750"]


def test_a_setting_changed_by_hand_is_put_back() -> None:
    primary = leader()
    salt(primary, "patroni.patch", '{"ttl": 25, "postgresql": {"parameters": {"work_mem": "9MB"}}}')
    state = applied(primary, "patroni", "patroni-configured")
    assert state["result"] is True
    assert state["changes"] == {"ttl": 20, "postgresql": {"parameters": {"work_mem": "8MB"}}}
    assert salt(primary, "patroni.drift")[primary] == {}


@pytest.mark.slow
def test_s11_switchover_and_back_loses_nothing(table: None) -> None:
    first = leader()
    writer = Writer(40)
    time.sleep(3)
    salt(first, "patroni.switchover")
    second = leader()
    assert second != first
    salt(first, "patroni.switchover", first)
    assert leader() == first
    acknowledged, gap = writer.results()
    print(f"switchover: longest gap between two writes {gap:.1f} s, {len(acknowledged)} writes")
    assert not missing(acknowledged)
    assert gap < 15


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["postgres", "patroni"])
def test_s11_a_killed_process_costs_seconds_and_no_row(victim: str, table: None) -> None:
    primary = leader()
    writer = Writer(40)
    time.sleep(3)
    if victim == "postgres":
        run(primary, "sh", "-c", "kill -9 $(head -1 /var/lib/postgresql/15/crm/postmaster.pid)")
    else:
        run(primary, "systemctl", "kill", "--kill-whom=main", "--signal=KILL", "patroni")
    acknowledged, gap = writer.results()
    print(f"{victim} killed: longest gap {gap:.1f} s, {len(acknowledged)} writes, now {leader()}")
    assert not missing(acknowledged)
    assert gap < 15


@pytest.mark.slow
def test_a_member_of_the_quorum_that_lost_its_data_comes_back() -> None:
    run("nas3", "systemctl", "stop", "etcd")
    run("nas3", "rm", "-rf", "/var/lib/etcd/default")
    run("nas3", "systemctl", "start", "etcd")
    active = run("nas3", "sh", "-c", "systemctl is-active etcd; true").strip()
    assert active == "inactive"  # not by itself
    state = applied("nas3", "etcd", "etcd-member")
    assert state["changes"] == {"joined": "existing", "started": True}, state
    assert len(salt("nas3", "quorum.members")["nas3"]) == 3
    assert salt("nas*", "quorum.own_obstacle") == {"nas1": "", "nas2": "", "nas3": ""}

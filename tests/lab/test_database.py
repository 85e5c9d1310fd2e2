"""The database tier of the running lab: S6 (own role, SCRAM, TLS), S11 (replica, failover)."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from salina.common import wait
from salina_fleet.model import parameters
from tests import fleets
from tests.lab.lab import LAB, apply, run, salt
from tests.lab.test_health import told, well
from tests.lab.tiers import DATABASES, leader, secret, sql
from tests.lab.traffic import Writer, wait_for

pytestmark = pytest.mark.lab

CLIENT = "s1"


def applied(host: str, component: str, state: str) -> dict[str, Any]:
    """Apply a component and return the result of one of its states."""
    return apply(host, f"common.python,{component}")[host][state]


def log_in(client: str, parameters: str, password: str) -> str:
    """Log in and return "crm" or the error."""
    psql = 'psql -XAtq "$1" -c "SELECT current_user" 2>&1'
    script = f"read -r PGPASSWORD; export PGPASSWORD; exec {psql}"
    return run(client, "sh", "-c", script, "sh", parameters, given=password, check=False).strip()


def test_s11_the_replica_streams_over_tls_in_synchrony() -> None:
    """S11: The replica streams over TLS, each commit waits for it, and data checksums are on."""
    primary = leader()
    [row] = sql(
        primary,
        "SELECT application_name, state, sync_state, ssl, usename "
        "FROM pg_stat_replication JOIN pg_stat_ssl USING (pid)",
    ).splitlines()
    [replica] = set(DATABASES) - {primary}
    assert row == f"{replica}|streaming|sync|t|replicator"
    assert sql(primary, "SHOW data_checksums") == "on"


@pytest.mark.parametrize("host", DATABASES)
def test_s6_nobody_is_trusted_and_nobody_comes_without_tls(host: str) -> None:
    """S6: pg_hba accepts SCRAM over TLS, the local superuser, and a password for a copy."""
    rules = sql(host, "SELECT type, auth_method FROM pg_hba_file_rules").splitlines()
    assert set(rules) == {"local|peer", "local|scram-sha-256", "hostssl|scram-sha-256"}
    local = sql(host, "SELECT database FROM pg_hba_file_rules WHERE type = 'local'").splitlines()
    assert local == ["{salina_restored,salina_next_crm}", "{all}"]


def test_s6_the_application_s_role_owns_its_database_and_may_nothing_else() -> None:
    """S6: The application's role has no privilege beyond its own database."""
    primary = leader()
    columns = "rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls"
    assert sql(primary, f"SELECT {columns} FROM pg_roles WHERE rolname = 'crm'") == "f|f|f|f|f"
    owned = sql(primary, "SELECT datname FROM pg_database WHERE datdba = 'crm'::regrole")
    assert owned == "crm"
    public = "SELECT has_database_privilege('replicator', 'crm', 'CONNECT')"
    assert sql(primary, public) == "f"


def test_x10_the_application_cannot_write_its_record() -> None:
    """X10, O8: It reads which release its database belongs to. No host's file has the password."""
    primary = leader()
    recorded = "SELECT release FROM salina.release"
    assert sql(primary, f"SET ROLE crm; {recorded}", "crm") == sql(primary, recorded, "crm") != ""
    for change in ("UPDATE salina.release SET release = 'x'", "DROP SCHEMA salina CASCADE"):
        with pytest.raises(AssertionError, match=r"permission denied|must be owner"):
            sql(primary, f"SET ROLE crm; {change}", "crm")
    owned = "SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = 'salina'"
    assert sql(primary, owned, "crm") == "salina_record_crm"


def test_s6_the_application_logs_in_over_verified_tls_only() -> None:
    """S6: A login without TLS, with a wrong password, from another host or as superuser fails."""
    host = leader()
    password = secret("app-crm-database")
    base = f"host=database hostaddr={DATABASES[host]} user=crm"
    tls = f"{base} sslmode=verify-full sslrootcert=/etc/salina/tls/ca.crt"
    assert log_in(CLIENT, f"{tls} dbname=crm", password) == "crm"
    assert log_in(CLIENT, f"{tls} dbname=postgres", password) == "crm"  # Odoo's bus
    assert "no encryption" in log_in(CLIENT, f"{base} dbname=crm sslmode=disable", password)
    assert "password authentication failed" in log_in(CLIENT, f"{tls} dbname=crm", "wrong")
    assert "no pg_hba.conf entry" in log_in(host, f"{tls} dbname=crm", password)
    superuser = tls.replace("user=crm", "user=postgres dbname=postgres")
    assert "no pg_hba.conf entry" in log_in(CLIENT, superuser, secret("database-superuser"))


def test_the_rest_interface_and_the_quorum_want_certificates() -> None:
    """S6: Patroni's interface and etcd refuse a client without a certificate."""
    ask = ["curl", "--silent", "--cacert", "/etc/salina/tls/ca.crt", "--write-out", "%{http_code}"]
    address = DATABASES["bbdd1"]
    drop = ["--output", "/dev/null"]
    config = f"https://{address}:8008/config"
    assert run("bbdd1", *ask, *drop, config) == "200"
    assert run("bbdd1", *ask, *drop, "-X", "PATCH", "-d", "{}", config) == "403"
    mine = ["--cert", "/etc/salina/tls/host.crt", "--key", "/etc/salina/tls/host.key"]
    assert run("bbdd1", *ask, *drop, *mine, "-X", "PATCH", "-d", "{}", config) == "401"
    health = "https://10.1.4.21:2379/health"
    assert "200" not in run("bbdd1", *ask, health, check=False)
    assert run("bbdd1", *ask, *mine, health) == '{"health":"true"}200'


@pytest.mark.parametrize("host", DATABASES)
def test_passwords_are_in_no_log_and_on_no_command_line(host: str) -> None:
    """S6, K4: No log and no command line has a password, and only PostgreSQL reads the file."""
    search = (
        "while read -r word; do"
        ' for file in /proc/[0-9]*/cmdline; do grep -qaF -- "$word" $file && echo $file; done;'
        ' journalctl --no-pager | grep -qF -- "$word" && echo journal;'
        ' grep -rlF -- "$word" /var/log /var/cache/salt; done; true'
    )
    words = "".join(secret(name) + "\n" for name in fleets.secrets())
    assert run(host, "sh", "-c", search, given=words) == ""
    modes = run(host, "stat", "-c", "%U %G %a", "/etc/patroni/patroni.yml", "/etc/patroni")
    assert modes.splitlines() == ["root postgres 640", "root postgres 750"]


def test_a_setting_changed_by_hand_is_put_back() -> None:
    """S11: An apply restores a setting that somebody changed by hand."""
    primary = leader()
    salt(primary, "patroni.patch", '{"ttl": 25, "postgresql": {"parameters": {"work_mem": "9MB"}}}')
    state = applied(primary, "patroni", "patroni-configured")
    assert state["result"] is True
    assert state["changes"] == {"ttl": 20, "postgresql": {"parameters": {"work_mem": "8MB"}}}
    assert salt(primary, "patroni.drift")[primary] == {}


@pytest.mark.slow
def test_s11_switchover_and_back_loses_nothing() -> None:
    """S11: Two switchovers lose no acknowledged row."""
    first = leader()
    with Writer() as writer:
        wait_for([writer], 10)
        salt(first, "patroni.switchover")
        second = leader()
        assert second != first
        salt(first, "patroni.switchover", first)
        assert leader() == first
        wait_for([writer], 30)
        writer.end()
        print(f"switchover: longest gap {writer.gap():.1f} s, {len(writer.lines())} writes")
        assert not writer.missing()
        assert writer.gap() < 15


@pytest.mark.slow
def test_s11_patroni_killed_loses_nothing() -> None:
    """S11: systemd starts Patroni again, and PostgreSQL serves meanwhile."""
    primary = leader()
    with Writer() as writer:
        wait_for([writer], 10)
        run(primary, "systemctl", "kill", "--kill-whom=main", "--signal=KILL", "patroni")
        assert leader() == primary
        wait_for([writer], 30)
        writer.end()
        print(f"patroni killed: longest gap {writer.gap():.1f} s, {len(writer.lines())} writes")
        assert not writer.missing()
        assert writer.gap() < 15


@pytest.mark.proof
@pytest.mark.slow
def test_a_replica_that_can_not_stream_any_more_is_copied_again() -> None:
    """S11: The primary deletes WAL that the stopped replica needs. The missing standby is shown,
    and an apply on the replica repairs it.
    """
    primary = leader()
    [replica] = set(DATABASES) - {primary}
    run(replica, "systemctl", "stop", "patroni")
    slot = f"FROM pg_replication_slots WHERE slot_name = '{replica}' AND NOT active"
    alone = "no standby is synchronous, so the primary alone stores new commits"
    try:
        told = wait.until(lambda: salt(primary, "patroni.standby_fault")[primary] == alone, 60)
        assert told, "no word of the missing standby"
        sql(primary, "ALTER SYSTEM SET wal_keep_size = 0")
        sql(primary, "SELECT pg_reload_conf()")
        for _ in range(4):
            sql(
                primary, f"SELECT pg_drop_replication_slot(slot_name) {slot}"
            )  # Patroni makes it again
            sql(primary, "CREATE TABLE filler(); DROP TABLE filler; SELECT pg_switch_wal()")
            sql(primary, "CHECKPOINT")
        run(replica, "systemctl", "start", "patroni")

        def stuck() -> bool:
            return "has deleted the WAL segment" in str(salt(replica, "patroni.stuck")[replica])

        assert wait.until(stuck, 120), salt(replica, "patroni.member")
        status = subprocess.run([LAB, "status"], capture_output=True, text=True)
        assert status.returncode == 1
        said = " ".join(status.stdout.split())
        assert "synchronous standby: none, so the primary alone stores new commits" in said
        assert "replica running, lag " in said
        predicted = apply(replica, "common.python,patroni", test=True)[replica]["patroni-working"]
        assert "it would copy the primary again" in predicted["comment"]
        state = applied(replica, "patroni", "patroni-working")
        assert state["result"] is True, state
        assert "has deleted the WAL segment" in state["changes"]["copy"]
        assert leader() == primary
        assert salt(primary, "patroni.standby_fault")[primary] == ""
    finally:
        sql(primary, "ALTER SYSTEM RESET wal_keep_size")
        sql(primary, "SELECT pg_reload_conf()")
        run(replica, "systemctl", "start", "patroni")
        leader()


@pytest.mark.slow
def test_a_member_of_the_quorum_that_lost_its_data_comes_back() -> None:
    """S11: An apply brings back a voter that lost its data; it does not return by itself."""
    run("nas3", "systemctl", "stop", "etcd")
    run("nas3", "rm", "-rf", "/var/lib/etcd/default")
    run("nas3", "systemctl", "start", "etcd")
    active = run("nas3", "sh", "-c", "systemctl is-active etcd; true").strip()
    assert active == "inactive"  # not by itself
    state = applied("nas3", "etcd", "etcd-member")
    assert state["changes"] == {"joined": "existing", "started": True}, state
    assert len(salt("nas3", "quorum.members")["nas3"]) == 3
    assert salt("nas*", "quorum.own_obstacle") == {"nas1": "", "nas2": "", "nas3": ""}


@pytest.mark.proof
def test_k5_the_table_of_parameters_is_that_of_the_installed_postgresql() -> None:
    """K5: The check of `parameters` knows the names, kinds and limits of this PostgreSQL."""
    rows = sql(
        leader(),
        "SELECT lower(name), vartype, coalesce(unit, ''), coalesce(min_val, ''), "
        "coalesce(max_val, ''), coalesce(array_to_string(enumvals, '|'), '') "
        "FROM pg_settings WHERE context <> 'internal' AND name NOT LIKE '%.%' ORDER BY 1",
    ).splitlines()
    table = parameters.TABLE.read_text(encoding="utf-8").splitlines()[1:]
    assert {row.split("|")[0] for row in rows} == {line.split(",")[0] for line in table}
    for row in rows:
        name, kind, unit, low, high, *choices = row.split("|")
        known = parameters.known()[name]
        assert (known.kind, known.unit) == (kind, unit), name
        assert not low or (known.low, known.high) == (float(low), float(high)), name
        assert [*filter(None, known.choices)] == [*filter(None, choices)], name


@pytest.mark.proof
def test_o9_a_parameter_that_somebody_has_replaced_is_a_fault() -> None:
    """O9, K5: With another command no WAL reaches the repository, and PostgreSQL sees no fault."""
    primary = leader()
    try:
        sql(primary, "ALTER SYSTEM SET archive_command = '/bin/true'")
        said = told(primary, "parameters")
        assert said["fleet"].startswith("ALTER SYSTEM has replaced archive_command; next: ")
        assert said["lab"] == said["fleet"]
    finally:
        sql(primary, "ALTER SYSTEM RESET archive_command")
        sql(primary, "SELECT pg_reload_conf()")
    well()

"""A copy of the application for trials (O1): neutral, and apart from its original."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests import fleets
from tests.lab import lab, second, tiers
from tests.lab.lab import run, shell, up
from tests.lab.traffic import Traffic, wait_for

pytestmark = [pytest.mark.lab, pytest.mark.proof]

TOPOLOGY, COPY, HOST = "staging", "crm_staging", "g1"
DOMAIN = fleets.topology(TOPOLOGY).applications[COPY].domain
ADDRESS = fleets.topology(TOPOLOGY).service.address
STORED = "SELECT store_fname || ' ' || checksum FROM ir_attachment WHERE name = '{}'"
SESSIONS = "SELECT string_agg(sid, ' ') FROM http_sessions"


def sql(statement: str, database: str = COPY) -> str:
    """The value that a statement gives on the primary."""
    return tiers.sql(tiers.leader(), statement, database).strip()


def stage(**pillar: Any) -> tuple[int, str]:
    """Run orch.stage, and return its exit code and what it said."""
    given = f"pillar={json.dumps(pillar)}"
    done = lab.execute(lab.master(), "salt-run", "state.orchestrate", "orch.stage", given)
    return done.returncode, done.stdout + done.stderr


def status(path: str, *arguments: str) -> str:
    """The status that a client gets for a path of the copy."""
    command = ["curl", "--silent", "--insecure", "--max-time", "30", "--output", "/dev/null"]
    command += ["--write-out", "%{http_code}", "--connect-to", f"{DOMAIN}::{ADDRESS}:"]
    return run("c1", *command, *arguments, f"https://{DOMAIN}{path}")


@pytest.fixture(scope="module", autouse=True)
def failed() -> Iterator[list[str]]:
    """The fleet with an empty copy: what failed for the users of the original meanwhile."""
    with second.application(COPY, TOPOLOGY) as found:
        yield found


def test_s12_the_originals_users_notice_nothing(failed: list[str]) -> None:
    """S12: The copy's host, database, volume and certificate arrive while the original serves."""
    assert failed == []


def test_o1_the_copy_has_the_data_and_the_files_and_reaches_nobody(client: Any) -> None:
    """O1, O9: From the backups, while the original serves. No session and no job comes along."""
    name, content = f"salina-{uuid.uuid4().hex}", os.urandom(30_000)
    client(
        f"""
login()
print(json.dumps(model("ir.attachment", "create",
    {{"name": {name!r}, "datas": {base64.b64encode(content).decode()!r}}})))
"""
    )
    code, said = stage()
    assert code and f"{COPY} becomes a copy of crm as of now, from the backups" in said, said
    with Traffic() as traffic:
        wait_for([traffic], 60)
        code, said = stage(application=COPY, confirm=COPY)
        wait_for([traffic], 60)
        traffic.end()
    assert code == 0, said
    assert traffic.failed() == []
    file, checksum = sql(STORED.format(name)).split()
    assert checksum == hashlib.sha1(content).hexdigest()
    kept = run(HOST, "sha1sum", f"/mnt/nas/{COPY}/filestore/{COPY}/{file}").split()[0]
    assert kept == checksum
    assert sql("SELECT count(*) FROM ir_cron WHERE active") == "0"
    assert sql("SELECT string_agg(smtp_host, ' ') FROM ir_mail_server WHERE active") == "invalid"
    assert not {*sql(SESSIONS).split()} & {*sql(SESSIONS, "crm").split()}
    key = "SELECT value FROM ir_config_parameter WHERE key = '{}'"
    assert sql(key.format("web.base.url")) == f"https://{DOMAIN}"
    uuids = {sql(key.format("database.uuid"), one) for one in ("crm", COPY)}
    assert len(uuids) == 2
    names = sql("SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database", "postgres")
    assert names.split() == ["crm", COPY, "postgres", "template0", "template1"]


def test_x6_a_client_needs_the_password_of_the_copy() -> None:
    """X6: Without it nothing of the copy answers; only root reads it on the balancer."""
    password = tiers.secret(f"app-{COPY}-visitors")
    for path in ("/", "/web/login", "/web/health", "/web/content/1"):
        assert status(path) == "401"
        assert status(path, "--user", f"{COPY}:wrong") == "401"
    assert status("/web/login", "--user", f"{COPY}:{password}") == "200"
    found = shell("lb1", f"grep --recursive --files-with-matches {password} /etc/haproxy").split()
    assert found == [f"/etc/haproxy/conf.d/15-visitors-{COPY}.cfg"]
    assert run("lb1", "stat", "--format=%U %a", *found).split() == ["root", "600"]


def test_o1_a_second_copy_takes_the_running_database() -> None:
    """O1: What has changed since then comes along, and the former database of the copy is gone."""
    value = uuid.uuid4().hex
    sql(f"INSERT INTO ir_config_parameter (key, value) VALUES ('salina.test', '{value}')", "crm")
    try:
        code, said = stage(application=COPY, live=True, confirm=COPY)
        assert code == 0, said
        asked = "SELECT value FROM ir_config_parameter WHERE key = 'salina.test'"
        assert sql(asked) == value
    finally:
        sql("DELETE FROM ir_config_parameter WHERE key = 'salina.test'", "crm")
    lab.lab("status")


def test_x10_a_copy_that_left_leaves_nothing() -> None:
    """O1, X10: Health names it until orch.remove has deleted its data. The original serves."""
    up()
    code, said = second.remove(application=COPY)
    assert code and f"{COPY} has left the topology" in said and "/nas-staging" in said, said
    notice = f"application {COPY} has left the topology"
    assert notice in run(lab.master(), "salt-run", "fleet.health")
    code, said = second.remove(application="crm", confirm="crm")
    assert code and "crm is in pillar/topology.yaml" in said, said
    with Traffic() as traffic:
        wait_for([traffic], 60)
        code, said = second.remove(application=COPY, confirm=COPY)
        wait_for([traffic], 60)
        traffic.end()
    assert code == 0, said
    assert traffic.failed() == []
    assert sql("SELECT string_agg(datname, ' ') FROM pg_database", "postgres").count(COPY) == 0
    assert sql(f"SELECT count(*) FROM pg_roles WHERE rolname = '{COPY}'", "postgres") == "0"
    assert run("nas1", "gluster", "--mode=script", "volume", "list").split() == ["nas"]
    for host in tiers.STORAGE:
        assert shell(host, "ls -d /nas*").split() == ["/nas"]
    assert COPY not in shell("bkp1", "ls /var/lib/restic")
    assert notice not in run(lab.master(), "salt-run", "fleet.health")
    found = shell("lb1", "ls /etc/haproxy/conf.d").split()
    assert not [name for name in found if "visitors" in name]
    lab.lab("status")

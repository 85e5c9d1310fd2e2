"""K3: The plan of an apply says what the apply then does, for every kind of change on the fleet.

Each test makes a change, undoes that of the test before it, and compares the plan with what the
apply changes. So the whole file costs one plan and one apply for each change.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import pytest

from tests.lab import lab
from tests.lab.lab import execute, run, salt_run, shell
from tests.lab.test_rolling import edited

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.proof]

MEMBERS = "/var/lib/salina/members.json"
GONE = "s4"
"""A member of the pool that does not exist."""
Where = set[tuple[str, str]]
"""Hosts with the ids of their states."""


def setting(file: str, key: str, value: str) -> Callable[[], AbstractContextManager[None]]:
    """A change of a setting, in pillar/settings."""
    return lambda: edited(f"pillar/settings/{file}.yaml", f"s/^{key}:.*/{key}: {value}/")


def source(path: str, script: str) -> Callable[[], AbstractContextManager[None]]:
    """A change of this repository."""
    return lambda: edited(path, script)


def by_hand(host: str, script: str) -> Callable[[], AbstractContextManager[None]]:
    """A change that somebody makes on a host. The apply undoes it."""

    @contextmanager
    def change() -> Iterator[None]:
        shell(host, script)
        yield

    return change


@contextmanager
def member() -> Iterator[None]:
    """A new host in the pool, before it exists: every host that talks to it has to know it."""
    before = execute("salt", "cat", MEMBERS)
    members = json.loads(salt_run("fleet.members").stdout)
    members["app"] = [*members["app"], GONE]
    run("salt", "sh", "-euc", f"cat >{MEMBERS}", given=json.dumps(members))
    try:
        yield
    finally:
        if before.returncode:
            run("salt", "rm", MEMBERS)
        else:
            run("salt", "sh", "-euc", f"cat >{MEMBERS}", given=before.stdout)


INSTALL = "DEBIAN_FRONTEND=noninteractive apt-get install -qq -o DPkg::Lock::Timeout=60"
CHANGES: dict[str, tuple[Callable[[], AbstractContextManager[None]], tuple[str, str]]] = {
    # name -> the change, and a host and a state that it must reach
    "a limit of Odoo": (setting("app", "limit_time_cpu", "61"), ("s1", "odoo-reconfigured")),
    "an option of Odoo": (
        source(
            "pillar/app/odoo-14.0.yaml",
            "s/{without_demo: all}/{without_demo: all, email_from: a@example}/",
        ),
        ("s2", "odoo-reconfigured"),
    ),
    "a setting of pgbouncer": (
        setting("database_route", "query_wait_timeout", "61"),
        ("s1", "database-route-restarted"),
    ),
    "a setting of nginx": (
        source("salt/nginx/files/nginx.conf", "s/keepalive 16/keepalive 17/"),
        ("s3", "nginx-current"),
    ),
    "a setting of the balancer": (
        setting("balancer", "server", "299s"),
        ("lb1", "haproxy-reloaded"),
    ),
    "a firewall rule": (
        setting("firewall", "rules", "[{role: app, network: data, ports: 9100, comment: x}]"),
        ("s1", "ufw-rules"),
    ),
    "the firewall's own files": (
        source("salt/ufw/files/before.rules", "1a # changed"),
        ("fw", "ufw-enabled"),
    ),
    "a new host in the pool": (member, ("lb1", "haproxy-reloaded")),
    "the names": (source("salt/common/files/hosts", "$a # changed"), ("nas1", "hosts-file")),
    "the configuration of minions": (
        source("salt/common/files/minion.conf", "1a # changed"),
        ("bbdd1", "minion-current"),
    ),
    "a setting of etcd": (setting("quorum", "heartbeat_interval", "101"), ("nas2", "etcd-member")),
    "a setting of Patroni": (setting("database", "ttl", "21"), ("bbdd1", "patroni-configured")),
    "a parameter of PostgreSQL that a reload reads": (
        source("pillar/settings/database.yaml", "s/^  shared_buffers:.*/&\\n  work_mem: 5MB/"),
        ("bbdd1", "patroni-configured"),
    ),
    "a parameter of PostgreSQL that only a start reads": (
        source("pillar/settings/database.yaml", "s/^  shared_buffers:.*/  shared_buffers: 136MB/"),
        ("bbdd1", "patroni-configured"),
    ),
    "an option of the volume": (
        setting("storage", "options", "{performance.cache-size: 64MB}"),
        ("nas1", "gluster-volume"),
    ),
    "the unit of Patroni": (
        source("salt/patroni/files/patroni.service", "1a # changed"),
        ("bbdd2", "patroni-working"),
    ),
    "the unit of the application": (
        source("salt/application/files/application.service", "1a # changed"),
        ("s1", "odoo-reconfigured"),
    ),
    "the health agent": (
        source("_utils/salina/application/agent.py", "$a # changed"),
        ("s1", "health-current"),
    ),
    "a lost certificate of the balancer": (
        by_hand("lb1", "rm /etc/salina/tls/public-crm.crt"),
        ("lb1", "haproxy-reloaded"),
    ),
    "a lost certificate of the database": (
        by_hand("bbdd2", "rm /etc/salina/tls/database.crt"),
        ("bbdd2", "patroni-current"),
    ),
    "a package that was upgraded by hand": (
        by_hand("s1", f"{INSTALL} --reinstall pgbouncer"),
        ("s1", "database-route-upgraded"),
    ),
    "a package that was removed by hand": (
        by_hand("s2", "DEBIAN_FRONTEND=noninteractive apt-get remove -qq python3-virtualenv"),
        ("s2", "odoo-packages"),
    ),
    "a file that was removed by hand": (
        by_hand("s3", "rm /etc/haproxy/conf.d/10-database.cfg"),
        ("s3", "haproxy-reloaded"),
    ),
    "a file that was changed by hand": (
        by_hand("s3", "echo '; by hand' >>/etc/pgbouncer/pgbouncer.ini"),
        ("s3", "database-route-restarted"),
    ),
    "rights that were changed by hand": (
        by_hand("s1", "chmod 0600 /etc/nginx/nginx.conf"),
        ("s1", "nginx-configuration"),
    ),
    "a stopped service": (by_hand("s2", "systemctl stop nginx"), ("s2", "nginx-service")),
    "a disabled service": (by_hand("lb1", "systemctl disable haproxy"), ("lb1", "haproxy-service")),
    "a firewall rule that was added by hand": (
        by_hand("nas3", "ufw allow 1234/tcp"),
        ("nas3", "ufw-rules"),
    ),
}


@pytest.fixture(scope="module")
def made() -> Iterator[ExitStack]:
    """The change of the test before, which the next test undoes."""
    with ExitStack() as stack:
        yield stack
    lab.lab("salt-run", "fleet.ready")
    assert not lab.failures(lab.highstate())
    assert not lab.changes(lab.highstate(test=True))


def planned(expected: int) -> dict[str, Any]:
    """The plan, by `salt-run fleet.plan --out=json`, with its exit code."""
    done = salt_run("fleet.plan")
    assert done.returncode == expected, done.stdout + done.stderr
    plan: dict[str, Any] = json.loads(done.stdout)
    wrong = {
        host: one
        for host, one in plan["hosts"].items()
        if one["notes"] or one["failures"] or (one["obstacle"] and host != GONE)
    }
    assert not wrong, wrong
    return plan


def applied() -> Where:
    """Apply everything, and return the states that changed something."""
    found = lab.highstate(absent=[GONE])
    assert not lab.failures(found)
    return {
        (host, name)
        for host, states in found.items()
        for name, state in states.items()
        if state["changes"]
    }


@pytest.mark.parametrize("name", CHANGES)
def test_the_apply_does_what_the_plan_says(made: ExitStack, name: str) -> None:
    """K3: The plan names exactly the states that change, and none of them twice."""
    made.close()  # it is applied together with the next change
    change, reached = CHANGES[name]
    made.enter_context(change())
    lab.lab("salt-run", "fleet.ready", f"hosts={json.dumps(fleet())}")
    plan = planned(1 if name == "a new host in the pool" else 0)
    changes = [
        (host, one["state"], one["once"])
        for host, here in plan["hosts"].items()
        for one in here["changes"]
    ]
    happened = applied()
    once = {state for _, state, shared in changes if shared}
    assert reached in happened or reached[1] in once & {state for _, state in happened}
    certain = {(host, state) for host, state, once in changes if not once}
    shared = defaultdict[str, set[str]](set)  # one of these hosts does it for all
    for host, state, once in changes:
        if once:
            shared[state].add(host)
    assert {one for one in happened if one[1] not in shared} == certain
    for state, hosts in shared.items():
        did = {host for host, found in happened if found == state}
        assert did and did <= hosts, (state, did, hosts)


def fleet() -> list[str]:
    """The hosts that exist."""
    hosts = json.loads(salt_run("topology.show").stdout)["hosts"]
    return [host for host in hosts if host != GONE]


def test_an_operator_reads_the_plan(made: ExitStack) -> None:
    """K3, K4: Hosts together, restarts in their turns, a summary; and no secret of odoo.conf."""
    made.close()
    lab.lab("salt-run", "fleet.ready")
    assert not lab.failures(lab.highstate())
    made.enter_context(
        edited("pillar/settings/app.yaml", "s/^limit_time_cpu:.*/limit_time_cpu: 62/")
    )
    text = lab.execute("salt", "salt-run", "fleet.plan").stdout
    lines = [line.strip() for line in text.splitlines()]
    assert "s1, s2, s3:" in lines
    assert lines[-1] == "3 hosts change, 3 restart odoo in turn"
    secret = run("salt", "cat", "/var/lib/salina/secrets/app-crm-database").strip()
    assert secret not in text

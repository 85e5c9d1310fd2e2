"""S12: Changes that users never notice: hosts restart in their turns, under traffic."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import pytest

from salina.common import wait
from tests import fleets
from tests.fleets import REPOSITORY
from tests.lab import upstream
from tests.lab.lab import (
    State,
    apply,
    execute,
    failures,
    highstate,
    lab,
    master,
    results,
    run,
    salt,
    salt_run,
    shell,
)
from tests.lab.lab import changes as changes_of
from tests.lab.tiers import APPS, DATABASES, STORAGE, connected, leader, sql, whole
from tests.lab.traffic import Background, Traffic

pytestmark = pytest.mark.lab

PLACE = "/run/salina-changed"
HOSTS = [*APPS, "lb1"]


@contextmanager
def edited(path: str, script: str) -> Iterator[None]:
    """Let the master see another version of a file of the repository, made by a script of sed."""
    copy, host = f"{PLACE}/{path.replace('/', '-')}", master()
    shell(
        host,
        f"mkdir -p {PLACE}; sed '{script}' /srv/salina/{path} >{copy}\n"
        f"! cmp -s {copy} /srv/salina/{path}; mount --bind {copy} /srv/salina/{path}",
    )
    try:
        yield
    finally:
        shell(host, f"umount /srv/salina/{path}; rm {copy}")


def started(unit: str, hosts: Sequence[str] = APPS) -> dict[str, float]:
    """Return when a unit started on each of the hosts, in seconds since the machine booted."""
    show = ["systemctl", "show", unit, "--property=ExecMainStartTimestampMonotonic", "--value"]
    return {host: int(run(host, *show)) / 1e6 for host in hosts}


def applied(target: str = ",".join(HOSTS)) -> None:
    """Apply everything on hosts at once: the app hosts and the balancer, or others."""
    answers = salt("-L", target, "state.apply")
    failed = {
        host: [one["comment"] for one in found.values() if one["result"] is False]
        if isinstance(found, dict)
        else found
        for host, found in answers.items()
    }
    assert failed == {host: [] for host in target.split(",")}


def apply_all(host: str) -> dict[str, State]:
    """Apply everything on one host; assert that no state failed, and return the results."""
    found = results(salt(host, "state.apply", "queue=True"))
    assert failures(found) == []
    return found[host]


def one_after_the_other(before: dict[str, float], after: dict[str, float]) -> None:
    """Assert that every host restarted, and none before the last one served again."""
    assert all(after[host] > before[host] for host in before), (before, after)
    for earlier, later in itertools.pairwise(sorted(after.values())):
        assert later - earlier > 3, after


@contextmanager
def nobody_notices(trusted: str = "") -> Iterator[None]:
    """Assert that no request of a session failed in the meantime.

    `trusted`: the certificate of another CA that clients trust.
    """
    with Traffic(trusted=trusted) as traffic:
        begun = 0.0
        wait.clear(lambda: traffic.obstacle(begun), 60, "the traffic to begin")
        yield
        begun = max(each.begun for each in traffic.requests())
        wait.clear(lambda: traffic.obstacle(begun), 60, "the traffic to go on")
        assert traffic.failed() == []


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """The fleet is whole before and after, whatever a test did."""
    lab("salt-run", "fleet.ready")
    yield
    applied()
    turns = json.loads(salt_run("turn.show").stdout)
    assert not any(turns.values()), turns


LIMITS = {
    "pillar/settings/app.yaml": "s/^limit_time_cpu:.*/limit_time_cpu: 61/",
    "salt/nginx/files/nginx.conf": "s/keepalive 16/keepalive 17/",
    "salt/database_route/files/pgbouncer.ini": "1a # changed",
    "pillar/settings/balancer.yaml": "s/^server:.*/server: 299s/",
}


def test_changed_limits_reach_the_users_as_nothing() -> None:
    """S12: A limit of Odoo, and the files of nginx, pgbouncer and the balancer."""
    before = started("odoo")
    with ExitStack() as changes, nobody_notices():
        for path, script in LIMITS.items():
            changes.enter_context(edited(path, script))
        applied()
        one_after_the_other(before, started("odoo"))
    assert "limit_time_cpu = 61" in run("s1", "cat", "/etc/odoo/odoo.conf")


@pytest.mark.proof
def test_a_release_reaches_the_users_as_nothing() -> None:
    """S12, O1: Together with the same limits.

    One host builds the release. All keep the former one, to which the end of the test leads back.
    """
    before = started("odoo")
    with ExitStack() as changes, nobody_notices():
        for path, script in LIMITS.items():
            changes.enter_context(edited(path, script))
        former, commit = changes.enter_context(upstream.moved())
        assert upstream.resolve() == commit
        applied()
        one_after_the_other(before, started("odoo"))
        shown = json.loads(salt_run("application.revisions").stdout)["crm"]
        assert shown["built"] in APPS
        for found in shown["hosts"].values():
            assert (found["runs"], found["commit"]) == (shown["wanted"], commit)
            assert found["kept"][-1].startswith(former[:12])


MANAGED = "s/Managed by Salt/Managed by Salt still/"
EVERYWHERE = {
    "renewed certificates": {
        "pillar/settings/tls.yaml": "s/^lifetime: 90d/lifetime: 91d/; s/^renew: 30d/renew: 90d/"
    },
    "a new minion configuration": {"salt/common/files/minion.conf": "$a # changed"},
    "every file of every host": {
        str(path.relative_to(REPOSITORY)): MANAGED
        for path in sorted((REPOSITORY / "salt").glob("*/files/*"))
        if path.is_file() and "Managed by Salt" in path.read_text()
    },
}


@pytest.mark.proof
@pytest.mark.parametrize("change", EVERYWHERE)
def test_a_change_of_the_whole_fleet_reaches_the_users_as_nothing(change: str) -> None:
    """S12: All hosts apply at once what changes on all of them, and find nothing to do later."""
    everyone = ",".join(host.id for host in fleets.fleet().hosts.values())
    serial = "openssl x509 -noout -serial -in /etc/salina/tls/public-crm.crt"
    before = shell("lb1", serial)
    with ExitStack() as changes, nobody_notices():
        for path, script in EVERYWHERE[change].items():
            changes.enter_context(edited(path, script))
        applied(everyone)
        lab("salt-run", "fleet.ready")
        found = highstate(test=True)
        assert not failures(found) and not changes_of(found)
    assert (shell("lb1", serial) != before) == (change == "renewed certificates")
    applied(everyone)
    lab("salt-run", "fleet.ready")


POOL = "host=127.0.0.1 port=6432 user=crm dbname=crm sslmode=disable"
HELD = f"""
mkdir /run/salina-test-pool || exit 0  # the restart of Odoo starts this again: only once
export PGPASSWORD="$(sed -n 's/^db_password = //p' /etc/odoo/odoo.conf)"
for number in $(seq 60); do
    (echo 'SELECT 1;'; exec sleep 1200) | psql -XAtq '{POOL}' >/dev/null 2>&1 &
done
wait
"""


def pooled() -> bool:
    """Return whether a session of s1 gets a connection of pgbouncer's pool within 5 seconds."""
    script = (
        "PGPASSWORD=\"$(sed -n 's/^db_password = //p' /etc/odoo/odoo.conf)\" "
        f"timeout 5 psql -XAtq '{POOL}' -c 'SELECT 1'"
    )
    return execute("s1", "sh", "-c", script).returncode == 0


@contextmanager
def full_pool() -> Iterator[None]:
    """Let s1's Odoo hold every connection of its pool until it restarts.

    The sessions belong to a unit that systemd stops together with Odoo.
    """
    name = "salina-test-pool"
    held = ["systemd-run", f"--unit={name}", "--property=PartOf=odoo.service", "sh", "-c", HELD]
    run("s1", *held)
    try:
        wait.clear(lambda: "s1 still gets a connection" if pooled() else "", 60, "a full pool")
        yield
    finally:
        shell("s1", f"systemctl stop {name} || :; systemctl reset-failed {name} || :")
        shell("s1", f"rmdir /run/{name}")


@pytest.mark.proof
def test_s12_a_changed_limit_frees_a_full_pool() -> None:
    """S12: No check and no step needs the pool, and Odoo restarts before anything waits."""
    before = started("odoo")["s1"]
    with (
        full_pool(),
        edited("pillar/settings/app.yaml", "s/^limit_time_cpu:.*/limit_time_cpu: 61/"),
    ):
        assert salt("s1", "application.database")["s1"] == ""
        begun = time.monotonic()
        found = apply_all("s1")
        took = time.monotonic() - begun
        assert took < 300, took
        assert started("odoo")["s1"] > before
        assert found["odoo-reconfigured"]["changes"]["read"] == ["/etc/odoo/odoo.conf"]
        assert not found["odoo-current"]["changes"]
        order = [found[name]["__run_num__"] for name in ("odoo-reconfigured", "files-mounted")]
        assert order == sorted(order)
        assert pooled()


@pytest.mark.proof
def test_an_upgraded_package_restarts_in_its_turn() -> None:
    """S12: apt restarts nothing that would fail a request; the next apply does, in turns.

    The package of nginx hands over to the new program by itself, without losing a request.
    """
    packages = "haproxy nginx pgbouncer"
    before = started("pgbouncer")
    with nobody_notices():
        for host in HOSTS:
            installed = packages if host in APPS else "haproxy"
            install = f"apt-get install -qq --reinstall -o DPkg::Lock::Timeout=60 {installed}"
            done = execute(host, "sh", "-ec", f"DEBIAN_FRONTEND=noninteractive {install}")
            assert done.returncode == 0, done.stdout + done.stderr
        assert started("pgbouncer") == before
        assert "/usr/sbin/pgbouncer" in salt("s1", "daemon.replaced", "pgbouncer")["s1"]
        applied()
        one_after_the_other(before, started("pgbouncer"))
    for name in packages.split():
        assert salt("s1", "daemon.replaced", name)["s1"] == []


VOTERS = """
import concurrent.futures, ssl, urllib.request

tls = ssl.create_default_context(cafile="/etc/salina/tls/ca.crt")
tls.load_cert_chain("/etc/salina/tls/host.crt", "/etc/salina/tls/host.key")

def serves(address):
    try:
        return urllib.request.urlopen(f"https://{address}:2379/health", timeout=5, context=tls)
    except OSError:
        return None

with concurrent.futures.ThreadPoolExecutor() as pool:
    while not stopped.wait(0.1):
        answers = list(pool.map(serves, given["voters"].values()))
        say(away=[host for host, answer in zip(given["voters"], answers) if not answer])
"""
"""A database host has no etcdctl, so it asks each member the same question itself."""


@contextmanager
def one_voter_away_at_most() -> Iterator[None]:
    """Assert that a database host always reached all members of etcd but one, and missed each."""
    voters = {host: fleets.fleet().hosts[host].addresses["data"] for host in STORAGE}
    with Background("bbdd1", VOTERS, voters=voters) as watch:
        wait.clear(lambda: "" if watch.lines() else "no sample", 60, "the watch to begin")
        yield
        away = [line["away"] for line in watch.lines()]
    assert max(map(len, away)) == 1, [found for found in away if len(found) > 1]
    assert {host for found in away for host in found} == set(STORAGE)


@pytest.fixture
def storage() -> Iterator[None]:
    """The storage hosts, which also vote, are whole before and after."""
    whole()
    connected()
    yield
    applied(",".join(STORAGE))
    whole()
    connected()


@pytest.mark.proof
def test_s11_s12_a_changed_setting_of_etcd_restarts_one_voter_at_a_time(storage: None) -> None:
    """S11, S12: All voters apply at once, and never more than one of them is away."""
    before = started("etcd", STORAGE)
    change = edited(
        "pillar/settings/quorum.yaml", "s/^heartbeat_interval:.*/heartbeat_interval: 101/"
    )
    with change, one_voter_away_at_most(), nobody_notices():
        applied(",".join(STORAGE))
    after = started("etcd", STORAGE)
    assert all(after[host] > before[host] for host in STORAGE), (before, after)
    assert 'HEARTBEAT_INTERVAL="101"' in run("nas1", "cat", "/etc/default/etcd")


@pytest.mark.proof
def test_s4_s12_a_changed_setting_of_glusterfs_restarts_one_brick_at_a_time(storage: None) -> None:
    """S4, S12: All storage hosts apply at once, and users notice nothing."""
    before = started("glusterd", STORAGE)
    with edited("salt/gluster/files/glusterd.vol", "1a # changed"), nobody_notices():
        applied(",".join(STORAGE))
        one_after_the_other(before, started("glusterd", STORAGE))
        whole()


@pytest.mark.proof
def test_s11_s12_an_upgraded_package_of_a_storage_host_restarts_in_its_turn(storage: None) -> None:
    """S11, S12: apt restarts neither etcd nor GlusterFS; the next apply does, in turns."""
    packages = "etcd-server glusterfs-client glusterfs-common glusterfs-server libglusterfs0"
    install = f"apt-get install -qq --reinstall -o DPkg::Lock::Timeout=60 {packages}"
    before = {unit: started(unit, STORAGE) for unit in ("etcd", "glusterd")}
    with nobody_notices():
        for host in STORAGE:
            shell(host, f"DEBIAN_FRONTEND=noninteractive {install}")
        assert {unit: started(unit, STORAGE) for unit in before} == before
        assert salt("nas1", "daemon.replaced", "etcd")["nas1"] == ["/usr/bin/etcd"]
        with one_voter_away_at_most():
            applied(",".join(STORAGE))
        one_after_the_other(before["glusterd"], started("glusterd", STORAGE))
    for unit in before:
        assert salt("nas1", "daemon.replaced", unit)["nas1"] == []


@pytest.mark.proof
def test_s11_s12_a_voter_does_not_restart_while_another_one_is_away(storage: None) -> None:
    """S11, S12: The apply says which one, and the database keeps its quorum."""
    before = started("etcd", STORAGE)
    run("nas3", "systemctl", "stop", "etcd")
    try:
        shell("nas1", "touch /etc/default/etcd")
        states = apply("nas1", "etcd")["nas1"]
        assert states["etcd-member"]["result"] is False
        assert (
            "the other members of the quorum, before etcd restarts"
            in (states["etcd-member"]["comment"])
        )
        assert fleets.fleet().hosts["nas3"].addresses["data"] in states["etcd-member"]["comment"]
        assert started("etcd", ["nas1"])["nas1"] == before["nas1"]
    finally:
        run("nas3", "systemctl", "start", "etcd")


@pytest.mark.proof
def test_a_parameter_that_needs_a_restart_fails_no_request() -> None:
    """S12: The replica restarts and takes over, the old primary restarts; and all of it again.

    A request that has a transaction at that moment begins again. Unlike `max_connections`, a lower
    `shared_buffers` takes effect in this way, too, so the test can restore it.
    """
    show = "SHOW shared_buffers"
    before, first = sql(leader(), show), leader()
    larger = "s/shared_buffers: 128MB/shared_buffers: 136MB/"
    with nobody_notices():
        try:
            with edited("pillar/settings/database.yaml", larger):
                applied(",".join(DATABASES))
            assert leader() != first
            assert {sql(host, show) for host in DATABASES} == {"136MB"} != {before}
        finally:
            applied(",".join(DATABASES))
        assert leader() == first
    assert {sql(host, show) for host in DATABASES} == {before}


@pytest.mark.proof
def test_s11_s12_an_upgraded_postgresql_restarts_in_turns() -> None:
    """S11, S12: apt does not restart PostgreSQL; the next apply does, one host after the other."""
    began = "SELECT pg_postmaster_start_time()"
    install = "apt-get install -qq --reinstall -o DPkg::Lock::Timeout=60 postgresql-15"
    before = {host: sql(host, began) for host in DATABASES}
    with nobody_notices():
        for host in DATABASES:
            shell(host, f"DEBIAN_FRONTEND=noninteractive {install}")
        assert {host: sql(host, began) for host in DATABASES} == before
        replaced = salt("bbdd1", "patroni.replaced")["bbdd1"]
        assert "/usr/lib/postgresql/15/bin/postgres" in replaced
        applied(",".join(DATABASES))
    leader()
    assert not {sql(host, began) for host in DATABASES} & {*before.values()}
    assert salt("-L", ",".join(DATABASES), "patroni.replaced") == {host: [] for host in DATABASES}

"""S12: Changes that users never notice: hosts restart in their turns, under traffic."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from salina.common import wait
from tests import fleets
from tests.fleets import REPOSITORY
from tests.lab.lab import changes as changes_of
from tests.lab.lab import execute, failures, highstate, lab, run, salt, salt_run, shell
from tests.lab.tiers import APPS
from tests.lab.traffic import Traffic

pytestmark = pytest.mark.lab

PLACE = "/run/salina-changed"
HOSTS = [*APPS, "lb1"]


@contextmanager
def edited(path: str, script: str) -> Iterator[None]:
    """Let the master see another version of a file of the repository, made by a script of sed."""
    copy = f"{PLACE}/{path.replace('/', '-')}"
    shell(
        "salt",
        f"mkdir -p {PLACE}; sed '{script}' /srv/salina/{path} >{copy}\n"
        f"! cmp -s {copy} /srv/salina/{path}; mount --bind {copy} /srv/salina/{path}",
    )
    try:
        yield
    finally:
        shell("salt", f"umount /srv/salina/{path}; rm {copy}")


def started(unit: str) -> dict[str, float]:
    """Return when a unit started on each app host, in seconds since the machine booted."""
    show = ["systemctl", "show", unit, "--property=ExecMainStartTimestampMonotonic", "--value"]
    return {host: int(run(host, *show)) / 1e6 for host in APPS}


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


def one_after_the_other(before: dict[str, float], after: dict[str, float]) -> None:
    """Assert that every host restarted, and none before the last one served again."""
    assert all(after[host] > before[host] for host in APPS), (before, after)
    for earlier, later in itertools.pairwise(sorted(after.values())):
        assert later - earlier > 3, after


@contextmanager
def nobody_notices() -> Iterator[None]:
    """Assert that no request of a session failed in the meantime."""
    with Traffic() as traffic:
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


def test_a_changed_limit_reaches_the_users_as_nothing() -> None:
    """S12: A limit of Odoo, and the files of nginx, pgbouncer and the balancer."""
    before = started("odoo")
    with ExitStack() as changes, nobody_notices():
        for path, script in {
            "pillar/settings/app.yaml": "s/^limit_time_cpu:.*/limit_time_cpu: 61/",
            "salt/nginx/files/nginx.conf": "s/keepalive 16/keepalive 17/",
            "salt/database_route/files/pgbouncer.ini": "1a # changed",
            "pillar/settings/balancer.yaml": "s/^server:.*/server: 299s/",
        }.items():
            changes.enter_context(edited(path, script))
        applied()
        one_after_the_other(before, started("odoo"))
    assert "limit_time_cpu = 61" in run("s1", "cat", "/etc/odoo/odoo.conf")


MANAGED = "s/Managed by Salt/Managed by Salt still/"
EVERYWHERE = {
    "renewed certificates": {
        "pillar/settings/tls.yaml": "s/^days: 90/days: 91/; s/^renew_days: 30/renew_days: 90/"
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
    serial = "openssl x509 -noout -serial -in /etc/salina/tls/host.crt"
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

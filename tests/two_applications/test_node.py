"""A Node application on several hosts, beside another application: S2, S5, S9, S11, S12."""

from __future__ import annotations

import itertools

import pytest

import salina_wait
from tests import fleets
from tests.lab import lab, tiers
from tests.lab.lab import shell
from tests.lab.traffic import SAMPLE, Traffic, wait_for

pytestmark = pytest.mark.lab

NAME = "shop"
HOSTS = [host.id for host in fleets.fleet("two-applications").serving(NAME)]
VOLUME = f"/mnt/nas/{NAME}/public/uploads"


def sql(statement: str) -> list[str]:
    """The rows that a statement gives in the application's database."""
    return tiers.sql(tiers.leader(), statement, NAME).splitlines()


def test_s9_migrated_and_seeded_once_though_all_hosts_began_together() -> None:
    """S9: each step has one host that did it; no migration and no seed is there twice."""
    steps = sql("SELECT step, host FROM salina_once ORDER BY step")
    assert [line.split("|")[0] for line in steps] == ["migrate at main", "seed"]
    assert {line.split("|")[1] for line in steps} <= set(HOSTS)
    migrations = sql('SELECT name FROM "SequelizeMeta" ORDER BY name')
    assert migrations == ["1-users.js", "2-photos.js", "3-sessions.js"]
    assert sql('SELECT login FROM "Users"') == ["admin"]


def test_s5_uploads_and_sessions_are_the_same_on_every_host() -> None:
    """S5, S2: uploaded through one host, read with identical bytes through each; logged in on all.

    Every answer that is not right is a request that failed.
    """
    with Traffic(user=SAMPLE, name=NAME) as traffic:
        wait_for([traffic], 30)
        wait_for([traffic], 30)
        traffic.end()
    assert not traffic.failed()
    uploads = [each for each in traffic.requests() if each.kind == "upload"]
    assert len(uploads) >= 8
    log = "grep -o 'GET /uploads/[0-9a-f]*' /var/log/nginx/node-access.log | sort -u"
    seen = [set(shell(host, log).splitlines()) for host in HOSTS]
    assert all(seen)
    sums = [sorted(shell(host, f"cd {VOLUME} && sha1sum *").splitlines()) for host in HOSTS]
    assert all(one == other for one, other in itertools.pairwise(sums))
    assert {each.sha1 for each in uploads} <= {line.split()[0] for line in sums[0]}


@pytest.mark.slow
def test_s11_s12_an_app_host_killed_then_the_primary() -> None:
    """S11, S12: nothing that may be sent again fails when an app host dies; nobody is logged out.

    The old driver may wait for ever for what it asked a primary that died: its user asks again.
    """
    victim = HOSTS[1]
    broken: list[str] = []
    with Traffic(user=SAMPLE, name=NAME, timeout=30) as traffic:
        try:
            wait_for([traffic], 30)
            for host in (victim, tiers.leader()):
                broken.append(host)
                lab.fault("kill", host)
                wait_for([traffic], 90)
                lab.heal(broken.pop())
                tiers.leader()
                assert salina_wait.until(tiers.all_serve, 90), tiers.servers()
                wait_for([traffic], 30)
                if host == victim:
                    alone = [each for each in traffic.requests() if each.fault]
            traffic.end()
        finally:
            if broken:
                lab.heal(*broken)
    failed = [each for each in traffic.requests() if each.fault]
    print(f"{len(traffic.requests())} requests, failed: {traffic.failed()}")
    assert not [each for each in alone if each.retriable]
    assert len(failed) <= 2 * traffic.sessions  # what was under way at these two moments
    assert not [each for each in failed if "logged out" in each.fault]

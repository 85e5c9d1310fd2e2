"""A fleet whose ids are full domain names, with zeros before the numbers of its pool (S10, S15)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import fleets
from tests.lab import lab

pytestmark = [pytest.mark.lab, pytest.mark.proof]

HOSTS = fleets.fleet("domains").hosts
STORAGE = [host for host, one in HOSTS.items() if "storage" in one.roles]
NEW = "crm-03.prod.example.com"


@pytest.fixture(scope="module", autouse=True)
def deployed() -> Iterator[None]:
    """The lab with this topology."""
    with lab.another("domains"):
        yield


def healthy() -> None:
    """Check that every host of the fleet is healthy."""
    done = lab.salt_run("fleet.health")
    assert done.returncode == 0, done.stdout + done.stderr


def test_s15_all_is_healthy_and_a_second_apply_changes_nothing() -> None:
    """S15, K2: The machines are called by their names without the domain, as clouds call them."""
    assert lab.shell("nas1.prod.example.com", "hostname").strip() == "nas1"
    healthy()
    assert lab.changes(lab.highstate()) == []


def test_s3_s11_gluster_etcd_and_patroni_know_the_whole_ids() -> None:
    """S3, S11: As do the clients of the volume."""
    [host] = STORAGE[:1]
    assert lab.salt(host, "gluster.faults", "nas") == {host: []}
    bricks = lab.salt(host, "gluster.volumes")[host]["nas"]["bricks"]
    assert [brick.partition(":")[0] for brick in bricks] == STORAGE
    voters = lab.salt(host, "quorum.members")[host]
    assert {*STORAGE} == {one["name"] for one in voters}
    database = "database.a.example.com"
    assert lab.salt(database, "patroni.leader")[database] in HOSTS


def test_s10_a_member_with_a_zero_joins_and_leaves() -> None:
    """S10: From its minion's key to its way out."""
    try:
        done = lab.salt_run("fleet.scale", "pool=app", "count=3")
        assert done.returncode == 0, done.stdout + done.stderr
        assert lab.salt(NEW, "test.ping") == {NEW: True}
        healthy()
    finally:
        done = lab.salt_run("fleet.scale", "pool=app", "count=2")
    assert done.returncode == 0, done.stdout + done.stderr
    healthy()

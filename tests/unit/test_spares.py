"""Storage hosts beyond the last whole set of copies: they have no bricks, and no vote (S3)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import pytest

from salina.health import probes
from salina_fleet import certificates, verify
from salina_fleet.fleet import Fleet
from salina_fleet.model import files_backup
from salina_fleet.roles import ROLES, storage
from salina_fleet.roles.storage import StorageSettings
from tests import fleets

FLEET = fleets.fleet("cloud")
BRICKS = ["nas1", "nas2", "nas3"]
SPARES = ["nas4", "nas5"]


def holding(hosts: int, replica: int | None) -> list[str]:
    """Return which of so many storage hosts have bricks."""
    host = FLEET.hosts["nas1"]
    names = tuple(replace(host, id=f"nas{n}") for n in range(1, hosts + 1))
    others = tuple(one for one in FLEET.topology.hosts if "storage" not in one.roles)
    settings = FLEET.settings.but(StorageSettings(replica=replica))
    topology = replace(FLEET.topology, hosts=(*others, *names))
    return [one.id for one in storage.holding(Fleet(topology, FLEET.members, settings))]


@pytest.mark.parametrize(
    ("hosts", "replica", "number"),
    [
        *((0, None, 0), (1, None, 1), (2, None, 2), (3, None, 3), (4, None, 3), (5, None, 3)),
        *((6, None, 6), (7, None, 6), (3, 2, 2), (4, 2, 4), (5, 1, 5)),
    ],
)
def test_s3_whole_sets_of_copies_have_bricks(hosts: int, replica: int | None, number: int) -> None:
    """S3: They are the first ones of the topology, so a further host at its end changes none."""
    assert holding(hosts, replica) == [f"nas{n}" for n in range(1, number + 1)]


@pytest.mark.parametrize("host", [*BRICKS, *SPARES])
def test_s3_the_volume_is_that_of_three_hosts(host: str) -> None:
    """S3: A spare has the same directories, and GlusterFS takes it as soon as it has a brick."""
    found = fleets.pillar(host, "cloud")["storage"]
    assert (found["peers"], found["spare"]) == (BRICKS, host in SPARES)
    volume, _ = found["volumes"]
    assert (volume["replica"], volume["bricks"]) == (3, [f"{one}:/nas" for one in BRICKS])
    assert {*SPARES} <= {*volume["tls"]["auth.ssl-allow"].split(",")}
    assert {"10.1.4.24", "10.1.4.25"} <= {*volume["options"]["auth.allow"].split(",")}
    names = [one.name for one in certificates.certificates(FLEET, FLEET.hosts[host])]
    assert "files" in names and ("files-backup" in names) == (host in BRICKS)


def test_s4_nothing_depends_on_a_spare() -> None:
    """S4: Clients mount from the others, files are copied from them, and one may be down."""
    assert fleets.pillar("s1", "cloud")["files"]["servers"] == BRICKS
    assert [one.hosts for one in files_backup.sources(FLEET)] == [tuple(BRICKS)] * 2
    assert ROLES["storage"].spare(FLEET) == 1
    monitoring = fleets.pillar("nagios", "cloud")["monitoring"]
    [tier] = [one for one in monitoring["tiers"] if one["service"] == "tier storage"]
    assert [one["name"] for one in tier["hosts"]] == BRICKS


def test_s3_a_spare_shows_no_volume() -> None:
    """S3: It has none, and the health check says that it is ready."""
    data = fleets.master_data(FLEET)
    looks = {host: verify.looks(data, FLEET.hosts[host]) for host in ("nas3", "nas4")}
    assert [one.look for one in looks["nas3"] if one.row == "S3"] == ["volumes"]
    assert [one.look for one in looks["nas4"] if one.row == "S3"] == []
    checks = [one.arguments["name"] for one in looks["nas4"] if one.look == "probe"]
    assert "spare" in checks and "gluster" not in checks
    json.dumps([one.arguments for one in looks["nas4"]])


@pytest.mark.parametrize(
    ("names", "good", "words"),
    [
        ([], True, "in no pool, as it must be"),
        (
            ["nas1", "nas3"],
            False,
            "in a pool with nas1, nas3; remove the host that this one replaces from "
            "pillar/topology.yaml, and apply",
        ),
    ],
)
def test_s3_a_spare_in_the_pool_is_a_fault(
    names: Sequence[str], good: bool, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S3: Its vote would count, so a further host that is down would stop the volume."""
    peers = "".join(f"<peer><hostname>{name}</hostname></peer>" for name in names)
    answer: list[Any] = [ElementTree.fromstring(f"<cliOutput>{peers}</cliOutput>")]
    monkeypatch.setattr(probes, "gluster_xml", lambda *_: answer)
    assert list(probes.CHECKS["spare"]()) == [("spare", good, words)]

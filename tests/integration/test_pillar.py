"""A minion gets what its roles need, by its id alone; a topology with faults gets nothing (S6)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import Fleet

#: Secret -> the minions of this test that may see it.
READERS = {
    "database-superuser": set(),
    "database-replication": set(),
    "database-rewind": set(),
    "database-rest": set(),
    "database-application": {"s1"},
    "app-admin": {"s1"},
    "app-login": {"s1"},
    "ca.key": set(),
}


def secret(fleet: Fleet, name: str) -> str:
    """One secret's text."""
    return (fleet.state / "secrets" / name).read_text().strip()


@pytest.mark.parametrize("minion", ["nas1", "s1", "salt"])
def test_scope(fleet: Fleet, minion: str) -> None:
    """nas1 sees no password of the database, s1 none of the replication."""
    pillar = json.dumps(fleet.run("pillar.show_pillar", minion).data)
    assert f'"id": "{minion}"' in pillar
    for name, readers in READERS.items():
        shown = json.dumps(secret(fleet, name))[1:-1] in pillar
        assert shown == (minion in readers), name


def test_forged(fleet: Fleet) -> None:
    """A minion that passes its own pillar and forged grains learns nothing more."""
    forged = {"node": {"id": "bbdd1", "roles": ["database", "app"]}, "database": {}, "app": {}}
    fleet.call("nas1", "grains.setval", "id", "bbdd1")
    fleet.call("nas1", "grains.setval", "roles", "database")
    pillar = fleet.call(
        "nas1", "pillar.items", "unmask=True", f"pillar={json.dumps(forged)}"
    ).stdout
    assert "10.1.4.21" in pillar
    for name in READERS:
        assert secret(fleet, name) not in pillar


def test_the_master_itself(fleet: Fleet) -> None:
    """An orchestration runs under an id of the master's own, which is given nothing."""
    assert fleet.run("pillar.show_pillar", "salt_master").data == {}


def test_stranger(fleet: Fleet) -> None:
    """An id that is no host of the fleet has no pillar, but an error that says so."""
    told = fleet.run("pillar.show_pillar", "eve")
    assert "eve" in told.stdout + told.stderr
    assert "password" not in told.stdout


@pytest.fixture
def faulty(fleet: Fleet) -> Iterator[None]:
    """The topology with two faults, for one test."""
    file: Path = fleet.repository / "pillar/topology.yaml"
    good = file.read_text()
    file.write_text(good.replace("10.1.4.22", "10.1.4.21").replace("[master]", "[mster]"))
    yield
    file.write_text(good)


def test_faults_stop_everything(fleet: Fleet, faulty: None) -> None:
    """state.apply tells every fault with its path, on each host, and changes nothing."""
    applied = fleet.salt("nas1", "state.apply", "common.python")
    assert applied.returncode != 0
    for fault in ("hosts.nas2.addresses.data", "hosts.salt.roles"):
        assert fault in str(applied.data), applied
    checked = fleet.run("topology.check")
    assert checked.returncode != 0
    for fault in ("hosts.nas2.addresses.data", "hosts.salt.roles"):
        assert fault in checked.stdout + checked.stderr

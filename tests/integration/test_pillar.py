"""A minion gets what its roles need, by its id alone (S6)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from salina_fleet import secrets
from tests import fleets
from tests.integration.conftest import Installation

SECRETS = (*fleets.secrets(), *(secrets.authority(name)[0] for name in secrets.AUTHORITIES))
#: False claims of a minion about itself: another's id, roles and sections.
FORGED = {"host": {"id": "bbdd1", "roles": ["database", "app"]}, "database": {}, "app": {}}


def seen(installation: Installation, text: str) -> set[str]:
    """The names of the secrets that a text holds, as they are or as JSON."""
    values = {name: (installation.state / "secrets" / name).read_text().strip() for name in SECRETS}
    return {
        name for name, value in values.items() if value in text or json.dumps(value)[1:-1] in text
    }


@pytest.mark.parametrize("minion", ["nas1", "s1", "salt"])
def test_scope(installation: Installation, minion: str) -> None:
    """S6, K4: nas1 gets no password of the database, and s1 none of the replication."""
    pillar = json.dumps(installation.run("pillar.show_pillar", minion).data)
    assert f'"id": "{minion}"' in pillar
    assert seen(installation, pillar) == fleets.secrets_of(minion)


@pytest.fixture
def forged(installation: Installation) -> Iterator[None]:
    """nas1 claims in its grains to be bbdd1."""
    for grain, value in (("id", "bbdd1"), ("roles", "database")):
        installation.call("nas1", "grains.setval", grain, value)
    yield
    for grain in ("id", "roles"):
        installation.call("nas1", "grains.delkey", grain)


def test_forged(installation: Installation, forged: None) -> None:
    """S6, K4: A minion that passes its own pillar and forged grains learns nothing more."""
    override = f"pillar={json.dumps(FORGED)}"
    pillar = installation.call("nas1", "pillar.items", "unmask=True", override).stdout
    assert "10.1.4.21" in pillar  # its own
    assert "bbdd1" in pillar  # the forged one has arrived
    assert seen(installation, pillar) == fleets.secrets_of("nas1")


def test_forged_in_an_apply(installation: Installation, forged: None) -> None:
    """S6, K4: A state that the minion applies sees the real pillar."""
    probe = installation.repository / "salt/probe.sls"
    probe.write_text("seen:\n  test.show_notification:\n    - text: {{ pillar | json | json }}\n")
    try:
        override = f"pillar={json.dumps(FORGED)}"
        shown = installation.call("nas1", "state.apply", "probe", override, "pillarenv=base")
        own = installation.call("s1", "state.apply", "probe")
    finally:
        probe.unlink()
    assert shown.returncode == 0, shown
    assert "10.1.4.21" in shown.stdout
    assert seen(installation, shown.stdout) == fleets.secrets_of("nas1")
    assert seen(installation, own.stdout) == fleets.secrets_of("s1")  # it shows what there is


@pytest.mark.parametrize("claimed", ["nas1", "s1"])
def test_forged_id(installation: Installation, claimed: str) -> None:
    """S6, K4: The master does not answer a request in another host's name with nas1's own
    session.
    """
    load = {"cmd": "_pillar", "id": claimed, "grains": {}, "pillar_override": {}}
    answer = installation.ask("nas1", load, private="pillar")
    own = claimed == "nas1"
    assert ("10.1.4.21" in str(answer)) == own
    assert seen(installation, str(answer)) == (fleets.secrets_of("nas1") if own else set())


@pytest.mark.parametrize("function", ["test.ping", "pillar.items", "publish.runner"])
def test_minions_may_ask_nothing_of_each_other(installation: Installation, function: str) -> None:
    """S6, K4: A minion cannot publish commands; test_certificates.py covers what it may run on the
    master.
    """
    assert not installation.call("nas1", "publish.publish", "*", function).data


def test_no_secret_is_in_a_cache(installation: Installation) -> None:
    """S6, K4: After an apply no cache of the master or of a minion has a secret.

    The jobs are left out: some of the tests above ask for a pillar as a job.
    """
    for minion in ("s1", "nas1"):  # one of the tests above had a state show the whole pillar
        states = "common.python,common.hosts"
        assert installation.salt(minion, "state.apply", states, "test=True").data
    caches = [
        Path(one.config["cachedir"])
        for one in (installation.master, *installation.minions.values())
    ]
    files = [path for cache in caches for path in cache.rglob("*") if path.is_file()]
    found = {
        str(path): names
        for path in files
        if "jobs" not in path.parts
        and (names := seen(installation, path.read_bytes().decode(errors="replace")))
    }
    assert len(files) > 100
    assert found == {}


def test_the_master_itself(installation: Installation) -> None:
    """S6, K4: An orchestration runs under an id of the master's own, which gets nothing."""
    assert installation.run("pillar.show_pillar", "salt_master").data == {}


def test_stranger(installation: Installation) -> None:
    """S6, K4: An id that the fleet does not have gets an error and no pillar."""
    told = installation.run("pillar.show_pillar", "eve")
    assert "eve" in told.stdout + told.stderr
    assert "password" not in told.stdout

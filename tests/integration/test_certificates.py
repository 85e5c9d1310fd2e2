"""The CA on the master's minion: a certificate in one's own name, and in no other."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from tests.integration.conftest import MINIONS, Fleet


@pytest.fixture(scope="module")
def keys(fleet: Fleet, place: Path) -> dict[str, list[str]]:
    """For each minion: where its certificate goes, its key and the CA's certificate."""
    fleet.salt("salt", "saltutil.refresh_pillar", "wait=True")
    found = {}
    for minion in MINIONS:
        fleet.salt(minion, "state.apply", "common.python")
        folder = place / "tls" / minion
        folder.mkdir(parents=True)
        fleet.call(minion, "x509.create_private_key", "algo=ec", f"path={folder}/host.key")
        (folder / "ca.crt").write_text((fleet.state / "secrets/ca.crt").read_text())
        found[minion] = [f"{folder}/host.crt", f"{folder}/host.key", f"{folder}/ca.crt"]
    return found


def names(fleet: Fleet, minion: str) -> str:
    """The names a minion's certificate is to have, as an argument."""
    return json.dumps(fleet.run("pillar.show_pillar", minion).data["tls"]["names"])


def request(fleet: Fleet, keys: dict[str, list[str]], minion: str, policy: str, wait: int) -> Any:
    """Have a minion ask under a policy."""
    wanted = names(fleet, policy)
    arguments = [*keys[minion], "salt", policy, wanted, f"wait={wait}"]
    return fleet.salt(minion, "certificate.request", *arguments)


def test_all_at_once(fleet: Fleet, keys: dict[str, list[str]]) -> None:
    """Every host gets its own, all asking at the same moment, and finds it good."""
    with ThreadPoolExecutor() as pool:
        answers = pool.map(lambda name: request(fleet, keys, name, name, 60), MINIONS)
        for answer in answers:
            assert answer.returncode == 0, answer
    for minion in MINIONS:
        wanted = names(fleet, minion)
        assert fleet.salt(minion, "certificate.faults", *keys[minion], wanted).data == []
        certificate = x509.load_pem_x509_certificate(Path(keys[minion][0]).read_bytes())
        assert certificate.subject.rfc4514_string() == f"CN={minion}"


def test_renewal(fleet: Fleet, keys: dict[str, list[str]]) -> None:
    """What is about to expire, or has other names than the topology wants, is to be renewed."""
    late = fleet.salt("s1", "certificate.faults", *keys["s1"], names(fleet, "s1"), "9999").data
    assert "expires" in late[0]
    other = fleet.salt("s1", "certificate.faults", *keys["s1"], '["DNS:s2"]').data
    assert "its names are" in other[0]


def test_anothers_name_is_refused(fleet: Fleet, keys: dict[str, list[str]]) -> None:
    """nas1 can't have bbdd1's certificate; it is told at once."""
    before = Path(keys["nas1"][0]).read_bytes()
    answer = request(fleet, keys, "nas1", "bbdd1", 60)
    assert answer.returncode != 0
    assert "refused the policy bbdd1" in answer.stdout + answer.stderr
    assert Path(keys["nas1"][0]).read_bytes() == before


def test_own_policy_is_not_widened(fleet: Fleet, keys: dict[str, list[str]]) -> None:
    """Under its own policy a minion can't ask for further names either: the policy decides."""
    arguments = [*keys["nas1"], "salt", "nas1", '["DNS:bbdd1"]', "wait=1"]
    answer = fleet.salt("nas1", "certificate.request", *arguments)
    assert answer.returncode != 0
    assert "to be DNS:bbdd1" in answer.stdout + answer.stderr


def test_unknown_policy(fleet: Fleet, keys: dict[str, list[str]]) -> None:
    """What the CA doesn't know yet is waited for, with a bound and a message that helps."""
    answer = fleet.salt("nas1", "certificate.request", *keys["nas1"], "salt", "eve", "[]", "wait=1")
    assert answer.returncode != 0
    assert "in 1 s" in answer.stdout + answer.stderr
    assert "saltutil.refresh_pillar" in answer.stdout + answer.stderr

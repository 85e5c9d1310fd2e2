"""The CA on the master's minion signs a certificate in the host's own name, and in no other."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from salina.common.certificate import new_key
from salina_fleet import site
from tests.integration.conftest import MINIONS, Installation


@pytest.fixture(scope="module")
def keys(installation: Installation, place: Path) -> dict[str, list[str]]:
    """For each minion: where its certificate goes, its key and the CA's certificate."""
    installation.salt("*", "state.apply", "common.python")
    found = {}
    for minion in MINIONS:
        folder = place / "tls" / minion
        folder.mkdir(parents=True)
        (folder / "host.key").write_text(new_key())
        (folder / "ca.crt").write_text((installation.state / "secrets/ca.crt").read_text())
        found[minion] = [f"{folder}/host.crt", f"{folder}/host.key", f"{folder}/ca.crt"]
    return found


def names(installation: Installation, minion: str) -> str:
    """The names a minion's certificate is to have, as an argument."""
    return json.dumps(
        site.read(installation.repository, installation.state).pillar(minion)["tls"]["names"]
    )


def request(
    installation: Installation, keys: dict[str, list[str]], minion: str, wanted: str
) -> Any:
    """Have a minion ask for a certificate, expecting some names."""
    return installation.salt(minion, "certificate.request", *keys[minion], wanted, "wait=2")


def test_all_at_once(installation: Installation, keys: dict[str, list[str]]) -> None:
    """S6: Every host gets a certificate, even when more hosts ask at once than the master has
    workers.
    """
    with ThreadPoolExecutor() as pool:
        minions = MINIONS * 2
        wanted = [names(installation, minion) for minion in MINIONS] * 2
        for answer in pool.map(partial(request, installation, keys), minions, wanted):
            assert answer.returncode == 0, answer
    for minion in MINIONS:
        good = installation.salt(
            minion, "certificate.faults", *keys[minion], names(installation, minion)
        )
        assert good.data == []
        certificate = x509.load_pem_x509_certificate(Path(keys[minion][0]).read_bytes())
        assert certificate.subject.rfc4514_string() == f"CN={minion}"


def test_renewal(installation: Installation, keys: dict[str, list[str]]) -> None:
    """S6: A certificate is renewed before it expires, or when the topology changes its names."""
    late = installation.salt(
        "s1", "certificate.faults", *keys["s1"], names(installation, "s1"), "9999"
    ).data
    assert "expires" in late[0]
    other = installation.salt("s1", "certificate.faults", *keys["s1"], '["DNS:s2"]').data
    assert "its names are" in other[0]


def test_no_other_name(installation: Installation, keys: dict[str, list[str]]) -> None:
    """S6: nas1 cannot have bbdd1's certificate: it gets its own, and refuses it."""
    before = Path(keys["nas1"][0]).read_bytes()
    answer = request(installation, keys, "nas1", names(installation, "bbdd1"))
    assert answer.returncode != 0
    assert "its names are DNS:localhost, DNS:nas1" in answer.stdout
    assert Path(keys["nas1"][0]).read_bytes() == before


@pytest.mark.parametrize("forged", ["id=bbdd1", "/etc/passwd"])
def test_forged_request(
    installation: Installation, keys: dict[str, list[str]], forged: str
) -> None:
    """S6: The runner takes a public key and nothing else from a minion."""
    answer = installation.call("nas1", "publish.runner", "certificates.sign", forged)
    assert "BEGIN CERTIFICATE" not in answer.stdout


@pytest.mark.parametrize("claimed", ["nas1", "bbdd1"])
def test_forged_id(installation: Installation, keys: dict[str, list[str]], claimed: str) -> None:
    """S6: The master does not answer a request in another host's name with nas1's own session."""
    public_key = load_pem_private_key(Path(keys["nas1"][1]).read_bytes(), None).public_key()
    der = public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    load = {"cmd": "minion_runner", "fun": "certificates.sign", "arg": [der], "id": claimed}
    answer = installation.ask("nas1", load)
    assert ("BEGIN CERTIFICATE" in str(answer)) == (claimed == "nas1")


@pytest.mark.parametrize("runner", ["secrets.check", "pillar.show_pillar", "state.orchestrate"])
def test_no_other_runner(installation: Installation, runner: str) -> None:
    """S6: Minions may run no other runner."""
    assert not installation.call("nas1", "publish.runner", runner).data

"""The CA on the master's minion signs a certificate in the host's own name, and in no other."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
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
from tests.integration.conftest import Installation


@pytest.fixture(scope="module")
def folder(installation: Installation, place: Path) -> Path:
    """A directory on nas1 for its certificates, with its keys and the CA's certificate."""
    installation.salt("*", "state.apply", "common.python")
    found = place / "tls"
    found.mkdir()
    for name in ("etcd", "etcd-peer", "files"):
        (found / f"{name}.key").write_text(new_key())
    for name in ("ca.crt", "files-ca.crt"):
        (found / name).write_text((installation.state / "secrets" / name).read_text())
    return found


def test_all_at_once(installation: Installation, folder: Path) -> None:
    """S6, X6: A host gets its certificates, even when more ask at once than the master has
    workers.
    """

    def request(name: str) -> Any:
        return installation.salt("nas1", "certificate.request", name, "wait=2", f"folder={folder}")

    with ThreadPoolExecutor() as pool:
        for answer in pool.map(request, ["etcd", "etcd-peer", "files"] * 2):
            assert answer.returncode == 0, answer
    subjects = (("etcd", ""), ("etcd-peer", "CN=etcd-peer"), ("files", "CN=nas1"))
    for name, subject in subjects:
        good = installation.salt("nas1", "certificate.faults", name, f"folder={folder}")
        assert good.data == []
        certificate = x509.load_pem_x509_certificate((folder / f"{name}.crt").read_bytes())
        assert certificate.subject.rfc4514_string() == subject
        authority = "Salina files CA" if name == "files" else "Salina CA"
        assert certificate.issuer.rfc4514_string() == f"CN={authority} crm"
        age = datetime.now(UTC) - certificate.not_valid_before_utc
        assert timedelta(minutes=5) <= age < timedelta(minutes=10)


def test_renewal(installation: Installation, folder: Path) -> None:
    """S6: A certificate is renewed before it expires."""
    late = installation.salt(
        "nas1", "certificate.faults", "etcd", "remaining=99999999", f"folder={folder}"
    )
    assert "expires" in late.data[0]


@pytest.mark.parametrize(
    ("minion", "name", "words"),
    [
        ("nas1", "database", "database is not a certificate of nas1; choose one of: files, "),
        (
            "s1",
            "host",
            "host is not a certificate of s1; choose one of: web, files, report, metrics, logs",
        ),
        (
            "salt",
            "files",
            "files is not a certificate of salt; choose one of: report, metrics, logs",
        ),
    ],
)
def test_x6_no_other_purpose(
    installation: Installation, folder: Path, minion: str, name: str, words: str
) -> None:
    """S6, X6: The CA signs for a host what its roles need, whatever the host asks for."""
    load = {"cmd": "minion_runner", "fun": "certificates.sign", "arg": [public(), name]}
    answer = str(installation.ask(minion, load | {"id": minion}))
    assert words in answer and "BEGIN CERTIFICATE" not in answer


def public() -> bytes:
    """A new public key, DER."""
    key = load_pem_private_key(new_key().encode(), None).public_key()
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize("forged", ["id=bbdd1", "/etc/passwd"])
def test_forged_request(installation: Installation, folder: Path, forged: str) -> None:
    """S6: The runner takes a public key and nothing else from a minion."""
    answer = installation.call("nas1", "publish.runner", "certificates.sign", forged)
    assert "BEGIN CERTIFICATE" not in answer.stdout


@pytest.mark.parametrize("claimed", ["nas1", "bbdd1"])
def test_forged_id(installation: Installation, folder: Path, claimed: str) -> None:
    """S6: The master does not answer a request in another host's name with nas1's own session."""
    load = {"cmd": "minion_runner", "fun": "certificates.sign", "arg": [public(), "etcd"]}
    answer = installation.ask("nas1", load | {"id": claimed})
    assert ("BEGIN CERTIFICATE" in str(answer)) == (claimed == "nas1")


@pytest.mark.parametrize("runner", ["secrets.check", "pillar.show_pillar", "state.orchestrate"])
def test_no_other_runner(installation: Installation, runner: str) -> None:
    """S6: Minions may run no other runner."""
    assert not installation.call("nas1", "publish.runner", runner).data

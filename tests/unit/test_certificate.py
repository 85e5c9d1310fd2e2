"""When a host's certificate is good, and each reason why it isn't."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from salina.common import certificate
from salina.common.certificate import new_key
from salina_fleet import secrets

NOW = datetime.now(UTC)
CA_KEY, KEY, OTHER_KEY = (new_key() for _ in range(3))
CA = secrets.self_signed(CA_KEY, "CA", 100).encode()
OTHER_CA = secrets.self_signed(OTHER_KEY, "CA", 100).encode()
NAMES = ["DNS:nas1", "DNS:localhost"]
WANTED = {"common_name": "nas1", "names": NAMES, "uses": ["serverAuth"]}


def signed(key: str = KEY, days: int = 90) -> bytes:
    """A certificate of the CA for a key, with the two names."""
    authority = x509.load_pem_x509_certificate(CA)
    names = [x509.DNSName(name.removeprefix("DNS:")) for name in NAMES]
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "nas1")]))
        .issuer_name(authority.subject)
        .public_key(load_pem_private_key(key.encode(), None).public_key())  # type: ignore[arg-type]
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    )
    private = load_pem_private_key(CA_KEY.encode(), None)
    return builder.sign(private, hashes.SHA256()).public_bytes(  # type: ignore[arg-type]
        Encoding.PEM
    )


@pytest.mark.parametrize(
    ("pem", "ca", "other", "fault"),
    [
        (signed(), CA, {}, ""),
        (signed(), CA, {"names": NAMES[::-1]}, ""),
        (None, CA, {}, "there is none"),
        (b"-----BEGIN CERTIFICATE-----\n", CA, {}, "it can't be read"),
        (signed(), OTHER_CA, {}, "another CA signed it"),
        (signed(OTHER_KEY), CA, {}, "it is for another key"),
        (
            signed(),
            CA,
            {"names": ["DNS:nas1"]},
            "its names are DNS:localhost, DNS:nas1; they must be DNS:nas1",
        ),
        (
            signed(),
            CA,
            {"names": [*NAMES, "IP:10.1.4.21"]},
            "they must be DNS:localhost, DNS:nas1, IP:10.1.4.21",
        ),
        (signed(), CA, {"common_name": ""}, "its subject is CN=nas1; it must be empty"),
        (signed(), CA, {"common_name": "s1"}, "its subject is CN=nas1; it must be CN=s1"),
        (
            signed(),
            CA,
            {"uses": ["clientAuth"]},
            "its uses are serverAuth; they must be clientAuth",
        ),
        (
            signed(days=29),
            CA,
            {},
            f"it expires on {NOW + timedelta(days=29):%Y-%m-%d at %H:%M} UTC",
        ),
    ],
    ids=range(12),  # a default one would have the minute in it, and differ between the workers
)
def test_faults(pem: bytes | None, ca: bytes, other: dict[str, Any], fault: str) -> None:
    """Each fault is told, a good certificate has none."""
    found = certificate.faults(pem, KEY.encode(), ca, WANTED | other, NOW, 30 * 86_400)
    assert fault in "; ".join(found)
    assert bool(found) == bool(fault)


def test_all_faults_together() -> None:
    """Several at once are told at once."""
    other = {"common_name": "s1", "names": [], "uses": []}
    assert (
        len(certificate.faults(signed(), OTHER_KEY.encode(), OTHER_CA, other, NOW, 365 * 86_400))
        == 6
    )

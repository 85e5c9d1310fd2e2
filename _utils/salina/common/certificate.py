"""A host's key, and whether its certificate is good, judged without a question to the CA."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)


def new_key() -> str:
    """Return a new ECDSA P-256 private key as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode("ascii")


def names(certificate: x509.Certificate) -> frozenset[str]:
    """Return a certificate's subject alternative names, written as Salt does: ``DNS:nas1``."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return frozenset()
    dns = {f"DNS:{name}" for name in found.get_values_for_type(x509.DNSName)}
    return frozenset(
        dns | {f"IP:{address}" for address in found.get_values_for_type(x509.IPAddress)}
    )


def serial(certificate: bytes) -> str:
    """Return a PEM certificate's serial number in hexadecimal."""
    return f"{x509.load_pem_x509_certificate(certificate).serial_number:x}"


def faults(
    certificate: bytes | None,
    key: bytes,
    ca: bytes,
    wanted: Collection[str],
    now: datetime,
    days_remaining: int,
) -> tuple[str, ...]:
    """Return the reasons for which a certificate must be replaced.

    Args:
        certificate: PEM, or None when there is none.
        key: the host's private key, PEM.
        ca: the CA's certificate, PEM.
        wanted: the subject alternative names that it must have, exactly these: ``DNS:nas1``.
        now: the time, with a time zone.
        days_remaining: the days for which it must still be valid.

    Returns:
        One sentence for each fault; empty for a good certificate.

    Raises:
        ValueError: the key or the CA's certificate cannot be read.
    """
    if certificate is None:
        return ("there is none",)
    try:
        found = x509.load_pem_x509_certificate(certificate)
    except ValueError as error:
        return (f"it can't be read: {error}",)
    authority = x509.load_pem_x509_certificate(ca)
    reasons = []
    try:
        found.verify_directly_issued_by(authority)
    except (InvalidSignature, ValueError, TypeError):
        reasons.append("another CA signed it")
    public = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    own = load_pem_private_key(key, password=None).public_key()
    if found.public_key().public_bytes(*public) != own.public_bytes(*public):
        reasons.append("it is for another key")
    if names(found) != frozenset(wanted):
        reasons.append(f"its names are {_list(names(found))}; they must be {_list(wanted)}")
    if found.not_valid_after_utc < now + timedelta(days=days_remaining):
        reasons.append(f"it expires on {found.not_valid_after_utc:%Y-%m-%d}")
    return tuple(reasons)


def _list(words: Collection[str]) -> str:
    return ", ".join(sorted(words)) or "none"

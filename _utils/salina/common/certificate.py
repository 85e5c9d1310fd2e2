"""A host's keys, and whether a certificate is good, judged without a question to the CA."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

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
from cryptography.x509.oid import ExtendedKeyUsageOID


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


def uses(certificate: x509.Certificate) -> frozenset[str]:
    """Return the purposes of a certificate: `serverAuth`, `clientAuth`."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return frozenset()
    known = {ExtendedKeyUsageOID.SERVER_AUTH: "serverAuth"}
    known[ExtendedKeyUsageOID.CLIENT_AUTH] = "clientAuth"
    return frozenset(known.get(use, use.dotted_string) for use in found)


def serial(certificate: bytes) -> str:
    """Return a PEM certificate's serial number in hexadecimal."""
    return f"{x509.load_pem_x509_certificate(certificate).serial_number:x}"


def faults(
    certificate: bytes | None,
    key: bytes,
    ca: bytes,
    wanted: Mapping[str, Any],
    now: datetime,
    remaining: int,
) -> tuple[str, ...]:
    """Return the reasons for which a certificate must be replaced.

    Args:
        certificate: PEM, or None when there is none.
        key: the host's private key, PEM.
        ca: the CA's certificate, PEM.
        wanted: its `common_name`, "" for none; its subject alternative `names`, exactly these:
            ``DNS:nas1``; and its `uses`: ``serverAuth``, ``clientAuth``.
        now: the time, with a time zone.
        remaining: the seconds for which it must still be valid.

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
    subject = f"CN={wanted['common_name']}" if wanted["common_name"] else ""
    if found.subject.rfc4514_string() != subject:
        actually = found.subject.rfc4514_string()
        reasons.append(f"its subject is {actually or 'empty'}; it must be {subject or 'empty'}")
    for what, actual in (("names", names(found)), ("uses", uses(found))):
        if actual != frozenset(wanted[what]):
            reasons.append(f"its {what} are {_list(actual)}; they must be {_list(wanted[what])}")
    if found.not_valid_after_utc < now + timedelta(seconds=remaining):
        reasons.append(f"it expires on {found.not_valid_after_utc:%Y-%m-%d at %H:%M} UTC")
    return tuple(reasons)


def _list(words: Collection[str]) -> str:
    return ", ".join(sorted(words)) or "none"

"""A host's keys, and whether a certificate is good, judged without a question to the CA."""

from __future__ import annotations

import hashlib
import itertools
import json
from base64 import urlsafe_b64encode
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
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


def new_account_key() -> str:
    """Return a new private key of an account at an ACME directory, as PEM.

    It is an RSA key, because dehydrated 0.7.0 of Debian 12 knows no other for accounts.
    """
    key = rsa.generate_private_key(public_exponent=65537, key_size=3072)
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode(
        "ascii"
    )


def thumbprint(account_key: bytes) -> str:
    """Return the thumbprint (RFC 7638) of an account's private key, PEM.

    Raises:
        ValueError: it is not an RSA key.
    """
    # Checking that our own key's numbers are primes would take most of the time of a pillar.
    key = load_pem_private_key(account_key, None, unsafe_skip_rsa_key_validation=True)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError("the key of the account at the ACME directory is not an RSA key")
    numbers = key.public_key().public_numbers()
    jwk = {"e": _base64(numbers.e), "kty": "RSA", "n": _base64(numbers.n)}
    text = json.dumps(jwk, separators=(",", ":"))  # in this order, without spaces
    return _encoded(hashlib.sha256(text.encode()).digest())


def _base64(number: int) -> str:
    return _encoded(number.to_bytes((number.bit_length() + 7) // 8, "big"))


def _encoded(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def signing_request(key: bytes, domain: str) -> bytes:
    """Return a request, PEM, for a certificate of one domain.

    Args:
        key: the private key, PEM.
        domain: the domain; a subject has no room for a long one, and nobody reads it there.
    """
    private: Any = load_pem_private_key(key, password=None)
    name = x509.SubjectAlternativeName([x509.DNSName(domain)])
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    signed = request.add_extension(name, critical=False).sign(private, hashes.SHA256())
    return signed.public_bytes(Encoding.PEM)


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


def published_faults(
    certificate: bytes, key: bytes, domain: str, now: datetime, remaining: int | None
) -> list[str]:
    """Return why HAProxy could not serve a domain with a certificate, or browsers would refuse it.

    Args:
        certificate: the certificate, then those that lead to its CA, PEM.
        key: the private key, PEM, without a password.
        domain: the host name of the application.
        now: the time, with a time zone.
        remaining: the seconds for which it must still be valid; None if it may have expired.

    Returns:
        A sentence for each fault.
    """
    try:
        first, *chain = x509.load_pem_x509_certificates(certificate)
    except ValueError as error:
        return [f"the certificate can't be read: {error}"]
    try:
        own = load_pem_private_key(key, password=None).public_key()
    except (ValueError, TypeError) as error:
        return [f"the key can't be read: {error}"]
    found = []
    if first.public_key() != own:
        found.append("the key is not that of the first certificate in the file")
    known = sorted(name.removeprefix("DNS:") for name in names(first))
    if domain not in known and f"*.{domain.partition('.')[2]}" not in known:
        found.append(f"its names are {', '.join(known) or 'none'}; one must be {domain}")
    if first.not_valid_before_utc > now:
        found.append(f"it is valid from {first.not_valid_before_utc:%Y-%m-%d at %H:%M} UTC")
    end = first.not_valid_after_utc
    if remaining is not None and end < now + timedelta(seconds=remaining):
        found.append(f"it expires on {end:%Y-%m-%d at %H:%M} UTC")
    for issued, issuer in itertools.pairwise((first, *chain)):
        try:
            issued.verify_directly_issued_by(issuer)
        except (InvalidSignature, ValueError, TypeError):
            subject = issuer.subject.rfc4514_string()
            found.append(f"{subject} in the file did not sign the certificate before it")
    return found


def marked(certificate: bytes, directory: str) -> bytes:
    """Return a certificate, PEM, with a first line that names the directory which issued it."""
    return f"# {directory}\n".encode() + certificate


def issued_by(certificate: bytes, directory: str) -> bool:
    """Tell whether the first line of a certificate, PEM, names this directory."""
    return certificate.startswith(marked(b"", directory))


def lifetime(certificate: bytes) -> int:
    """Return the seconds for which a certificate, PEM, is valid as a whole."""
    found = x509.load_pem_x509_certificate(certificate)
    return int((found.not_valid_after_utc - found.not_valid_before_utc).total_seconds())


def _list(words: Collection[str]) -> str:
    return ", ".join(sorted(words)) or "none"

"""The operator's own certificate and key for an application, judged before they are kept."""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from salina.common.certificate import names


def faults(certificate: bytes, key: bytes, domain: str, now: datetime, remaining: int) -> list[str]:
    """Return why HAProxy could not serve a domain with a certificate, or browsers would refuse it.

    Args:
        certificate: the certificate, then those that lead to its CA, PEM.
        key: the private key, PEM, without a password.
        domain: the host name of the application.
        now: the time, with a time zone.
        remaining: the seconds for which it must still be valid.

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
    if first.not_valid_after_utc < now + timedelta(seconds=remaining):
        found.append(f"it expires on {first.not_valid_after_utc:%Y-%m-%d at %H:%M} UTC")
    for issued, issuer in itertools.pairwise((first, *chain)):
        try:
            issued.verify_directly_issued_by(issuer)
        except (InvalidSignature, ValueError, TypeError):
            subject = issuer.subject.rfc4514_string()
            found.append(f"{subject} in the file did not sign the certificate before it")
    return found

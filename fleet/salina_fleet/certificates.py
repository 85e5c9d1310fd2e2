"""The hosts' certificates: one for each purpose, and what the CA certifies in it."""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta
from typing import Any

from salina.common import certificate as host_certificates
from salina_fleet import secrets
from salina_fleet.fleet import Fleet
from salina_fleet.model.tls import TlsSettings
from salina_fleet.model.topology import Host
from salina_fleet.role import Certificate, MasterData, Pillar
from salina_fleet.roles import ROLES
from salina_fleet.schema.declare import seconds

EARLIER = timedelta(minutes=5)
"""A certificate begins so long before it is signed, for a host whose clock is late."""
TIME = "%Y-%m-%d %H:%M:%S"
"""The form of x509_v2's times, which are in UTC."""

KEYS = {
    "tls": "The host's certificates, which the CA on the master signs.",
    "tls.ca": "The CA's certificate in PEM form, which every host trusts; it is public.",
    "tls.certificates": "The certificates of the host, one for each purpose.",
    "tls.certificates[].name": "The name of its files in /etc/salina/tls.",
    "tls.certificates[].common_name": "Its common name, or empty for none.",
    "tls.certificates[].names": "The subject alternative names that it must have.",
    "tls.certificates[].uses": "Its purposes: `serverAuth` and `clientAuth`.",
    "tls.certificates[].readers": "The units that reload when it is renewed.",
    "tls.certificates[].pair": (
        "The operator's own certificate and its key (`certificate`, `key`, both PEM), null for "
        "those of the CA."
    ),
    "tls.renew": "The seconds before its end at which a certificate is renewed.",
    "tls.every": "The seconds between two looks at the certificates.",
    "tls.group": "The group that may read the private keys.",
}
"""The meanings of the keys of the section, for docs/pillar.md."""


def certificates(fleet: Fleet, host: Host) -> list[Certificate]:
    """Return the certificates of a host: those that the daemons of its roles need."""
    return [one for role in host.roles for one in ROLES[role].certificates(fleet, host)]


def pillar(data: MasterData, host: Host) -> Pillar:
    """Return the section `tls` of a host's pillar."""
    settings = data.fleet.settings[TlsSettings]
    return {
        "ca": data.secrets.get(secrets.CA_CERT),
        "certificates": [
            {
                "name": one.name,
                "common_name": _common_name(one, host),
                "names": list(one.names),
                "uses": list(one.uses),
                "readers": list(one.readers),
                "pair": pair(data.secrets, one.name) if one.own else None,
            }
            for one in certificates(data.fleet, host)
        ],
        "renew": int(seconds(settings.renew)),
        "every": settings.every,
        "group": "ssl-cert" if any(ROLES[role].reads_key for role in host.roles) else "root",
    }


def pair(store: secrets.Source, name: str) -> dict[str, str]:
    """Return a certificate that the operator has given, with its key.

    Raises:
        SecretsError: there is none.
    """
    try:
        return {"certificate": store.get(f"{name}.crt"), "key": store.get(f"{name}.key")}
    except secrets.SecretsError as error:
        raise secrets.SecretsError(
            f"the certificate {name} is missing ({error}): give it by salt-run certificates.own, "
            "or set `public: ca` in pillar/settings/tls.yaml"
        ) from None


def pair_faults(
    certificate: bytes, key: bytes, domain: str, now: datetime, remaining: int
) -> list[str]:
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
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        PublicFormat,
        load_pem_private_key,
    )

    try:
        first, *chain = x509.load_pem_x509_certificates(certificate)
    except ValueError as error:
        return [f"the certificate can't be read: {error}"]
    try:
        own = load_pem_private_key(key, password=None).public_key()
    except (ValueError, TypeError) as error:
        return [f"the key can't be read: {error}"]
    faults = []
    public = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if first.public_key().public_bytes(*public) != own.public_bytes(*public):
        faults.append("the key is not that of the first certificate in the file")
    names = sorted(name.removeprefix("DNS:") for name in host_certificates.names(first))
    if domain not in names and f"*.{domain.partition('.')[2]}" not in names:
        faults.append(f"its names are {', '.join(names) or 'none'}; one must be {domain}")
    if first.not_valid_before_utc > now:
        faults.append(f"it is valid from {first.not_valid_before_utc:%Y-%m-%d at %H:%M} UTC")
    if first.not_valid_after_utc < now + timedelta(seconds=remaining):
        faults.append(f"it expires on {first.not_valid_after_utc:%Y-%m-%d at %H:%M} UTC")
    for issued, issuer in itertools.pairwise((first, *chain)):
        try:
            issued.verify_directly_issued_by(issuer)
        except (InvalidSignature, ValueError, TypeError):
            subject = issuer.subject.rfc4514_string()
            faults.append(f"{subject} in the file did not sign the certificate before it")
    return faults


def signing_policy(fleet: Fleet, host: Host, name: str, now: datetime) -> dict[str, Any]:
    """Return what the CA certifies of a host, in x509_v2's terms; the minion chooses nothing else.

    Args:
        fleet: all hosts.
        host: the host.
        name: the name of one of its certificates.
        now: the time, in UTC.

    Raises:
        ValueError: the host has no such certificate.
    """
    found = {one.name: one for one in certificates(fleet, host) if not one.own}
    if name not in found:
        known = ", ".join(found) or "it has none"
        raise ValueError(f"{name} is not a certificate of {host.id}; choose one of: {known}")
    wanted = found[name]
    end = now + timedelta(seconds=seconds(fleet.settings[TlsSettings].lifetime))
    common_name = _common_name(wanted, host)
    return {
        **({"CN": common_name} if common_name else {}),
        "subjectAltName": [*([] if common_name else ["critical"]), *wanted.names],
        "basicConstraints": "critical, CA:false",
        "keyUsage": "critical, digitalSignature",
        "extendedKeyUsage": ", ".join(wanted.uses),
        "subjectKeyIdentifier": "hash",
        "authorityKeyIdentifier": "keyid",
        "not_before": format(now - EARLIER, TIME),
        "not_after": format(end, TIME),
    }


def _common_name(certificate: Certificate, host: Host) -> str:
    return host.id if certificate.common_name is None else certificate.common_name

"""The hosts' certificates: one for each purpose, and what the CA certifies in it."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from salina.common import reading
from salina_fleet import logs, metrics, report, secrets
from salina_fleet.fleet import Fleet
from salina_fleet.model.tls import TlsSettings
from salina_fleet.model.topology import Host
from salina_fleet.role import ACME, OWN, ROOT, Certificate, MasterData, Pillar
from salina_fleet.roles import ROLES
from salina_fleet.schema.declare import seconds

EARLIER = timedelta(minutes=5)
"""A certificate begins so long before it is signed, for a host whose clock is late."""
COMMON_NAME = 64
"""The most letters of a common name."""
TIME = "%Y-%m-%d %H:%M:%S"
"""The form of x509_v2's times, which are in UTC."""

KEYS = {
    "tls": "The host's certificates, which the CA on the master signs.",
    "tls.ca": "The CA's certificate in PEM form, which every host trusts; it is public.",
    "tls.authorities": "The further CAs whose certificates the host has or trusts.",
    "tls.authorities[].name": "The name of its file in /etc/salina/tls.",
    "tls.authorities[].certificate": "Its certificate in PEM form; it is public.",
    "tls.certificates": "The certificates of the host, one for each purpose.",
    "tls.certificates[].name": "The name of its files in /etc/salina/tls.",
    "tls.certificates[].common_name": "Its common name, or empty for none.",
    "tls.certificates[].names": "The subject alternative names that it must have.",
    "tls.certificates[].uses": "Its purposes: `serverAuth` and `clientAuth`.",
    "tls.certificates[].readers": "The units that reload when it is renewed.",
    "tls.certificates[].pair": (
        "The operator's own certificate and its key (`certificate`, `key`, both PEM), null for "
        "all others."
    ),
    "tls.certificates[].authority": "The CA that signs it: the name of the CA's file.",
    "tls.certificates[].group": "The group that may read its key besides root.",
    "tls.certificates[].acme": (
        "Whether the ACME directory issues it; the CA's is then served until that has happened."
    ),
    "tls.acme": "The ACME directory, null for a host with no certificate of it.",
    "tls.acme.directory": "Its URL.",
    "tls.acme.contact": "The address to which it writes about the account, or null.",
    "tls.acme.ca": "The CA of its web server in PEM form, null for those that Debian trusts.",
    "tls.acme.account_key": "The private key of the fleet's account, in PEM form.",
    "tls.renew": "The seconds before its end at which a certificate is renewed.",
    "tls.every": "The seconds between two looks at the certificates.",
}
"""The meanings of the keys of the section, for docs/pillar.md."""


def certificates(fleet: Fleet, host: Host) -> list[Certificate]:
    """Return the certificates of a host: those that the daemons of its roles need, and its own."""
    found = [one for role in host.roles for one in ROLES[role].certificates(fleet, host)]
    return [
        *found,
        *report.certificates(fleet, host),
        *metrics.certificates(fleet, host),
        *logs.certificates(fleet, host),
    ]


def pillar(data: MasterData, host: Host) -> Pillar:
    """Return the section `tls` of a host's pillar."""
    settings = data.fleet.settings[TlsSettings]
    found = certificates(data.fleet, host)
    group = "ssl-cert" if any(ROLES[role].reads_key for role in host.roles) else ROOT
    return {
        "ca": data.secrets.get(secrets.CA_CERT),
        "authorities": [
            {"name": name, "certificate": data.secrets.get(secrets.authority(name)[1])}
            for name in dict.fromkeys(one.authority for one in found)
            if name != secrets.CA
        ],
        "certificates": [
            {
                "name": one.name,
                "common_name": _common_name(one, host),
                "names": list(one.names),
                "uses": list(one.uses),
                "readers": list(one.readers),
                "pair": pair(data.secrets, one.name) if one.source == OWN else None,
                "acme": one.source == ACME,
                "authority": one.authority,
                "group": group if one.group is None else one.group,
            }
            for one in found
        ],
        "acme": acme(data) if any(one.source == ACME for one in found) else None,
        "renew": int(seconds(settings.renew)),
        "every": settings.every,
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


def authority(fleet: Fleet, host: Host, name: str) -> str:
    """Return the CA that signs a certificate of a host; the fleet's own for an unknown one."""
    found = {one.name: one.authority for one in certificates(fleet, host)}
    return found.get(name, secrets.CA)


def acme(data: MasterData) -> Pillar:
    """Return what a host needs to get certificates of the ACME directory.

    Raises:
        SecretsError: there is no account key, or the file of the directory's CA cannot be read.
    """
    settings = data.fleet.settings[TlsSettings].acme
    assert settings is not None  # TlsSettings.rules
    ca = settings.ca
    try:
        pem = reading.read(ca).decode("ascii") if ca else None
    except (OSError, UnicodeDecodeError) as error:
        raise secrets.SecretsError(f"acme.ca in pillar/settings/tls.yaml: {error}") from None
    return asdict(settings) | {"ca": pem, "account_key": data.secrets.get(secrets.ACME_ACCOUNT)}


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
    found = {one.name: one for one in certificates(fleet, host) if one.source != OWN}
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
    """Return a certificate's common name; "" where there is none, or no room for it: 64 letters
    (RFC 5280, ub-common-name). All programs of today read the other names.
    """
    name = host.id if certificate.common_name is None else certificate.common_name
    return name if len(name) <= COMMON_NAME else ""

"""Sign the fleet's certificates with Salt's x509_v2, or take the operator's own ones.

Minions call this runner through `peer_run` (master.d/20-security.conf). x509's own `ca_server` asks
another minion to sign. That keeps a worker of the master busy until another worker has published
the request, so as many requests as workers stop the master. See
docs/decisions/0011-the-master-signs-certificates.md.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import salt.utils.x509 as salt_x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
)
from salt.exceptions import CommandExecutionError

from salina.common import certificate as judge
from salina_fleet import certificates, runner, secrets
from salina_fleet.errors import RunnerError
from salina_fleet.model.tls import TlsSettings
from salina_fleet.roles.balancer import public

__opts__: dict[str, Any]


def sign(public_key: bytes, name: str) -> dict[str, str]:
    """Sign a certificate for the calling minion, in its own name and by its own policy.

    Salt has authenticated the minion's id. The minion chooses only the public key, and which of its
    certificates it is for. The rest comes from its policy, which follows from the topology at this
    moment.

    Args:
        public_key: DER.
        name: the name of one of the host's certificates.

    Returns:
        {"certificate": PEM}, or {"error": reason}. Salt passes a runner's result to the minion, but
        not the exception that it raises.

    CLI Example:
        salt nas1 certificate.request etcd
    """
    try:
        site = runner.site(__opts__)
        host = site.fleet.hosts.get(__opts__["id"])
        if host is None:
            return {"error": f"{__opts__['id']} is not a host of the fleet"}
        policy = certificates.signing_policy(site.fleet, host, str(name), datetime.now(UTC))
        own = secrets.authority(certificates.authority(site.fleet, host, str(name)))
        ca_key, ca = map(site.store.get, own)
        builder, key, *_ = salt_x509.build_crt(
            ca_key,
            signing_cert=ca,
            public_key=_pem(public_key),
            **policy,
        )
        signed = builder.sign(key, hashes.SHA256())
    except (CommandExecutionError, secrets.SecretsError, ValueError, TypeError) as error:
        return {"error": str(error)}
    return {"certificate": signed.public_bytes(Encoding.PEM).decode()}


def own(application: str, certificate: str, key: str) -> str:
    """Take the operator's own certificate for an application, with `public: own`.

    Both are checked, and kept with the secrets. A newer pair replaces an older one in the same way,
    before the older one expires.

    Args:
        application: its name in the topology.
        certificate: a file on the master: the certificate, then those that lead to its CA, PEM.
        key: a file on the master: the private key, PEM, without a password.

    Returns:
        A sentence with the next command.

    Raises:
        RunnerError: the pair does not fit the application's domain, or cannot be read.

    CLI Example:
        salt-run certificates.own crm /root/crm.example.pem /root/crm.example.key
    """
    site = runner.site(__opts__)
    known, settings = site.fleet.topology.applications, site.fleet.settings[TlsSettings]
    if application not in known:
        choice = ", ".join(known)
        raise RunnerError(f"application: {application!r} is unknown; choose one of: {choice}")
    try:
        pem, private = Path(certificate).read_bytes(), Path(key).read_bytes()
    except OSError as error:
        raise RunnerError(f"{error.filename}: {error.strerror}") from None
    domain, now = known[application].domain, datetime.now(UTC)
    faults = judge.published_faults(pem, private, domain, now, settings.least)
    if faults:
        raise RunnerError("\n  ".join([f"{certificate} with {key} for {domain}:", *faults]))
    name = public(application)
    site.store.replace(f"{name}.crt", pem.decode("ascii"))
    site.store.replace(f"{name}.key", private.decode("ascii"))
    hosts = ",".join(host.id for host in site.fleet.having("balancer"))
    unset = "" if settings.public == "own" else "\nset `public: own` in pillar/settings/tls.yaml"
    return f"{name} is kept with the secrets{unset}\nnext: salt -L {hosts} state.apply"


def _pem(public_key: bytes) -> str:
    """Return a DER key as PEM. Anything else, such as a path on the master, is a ValueError."""
    key = load_der_public_key(public_key)
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

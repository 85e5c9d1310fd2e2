"""Sign the fleet's certificates with Salt's x509_v2, by one signing policy per host.

Minions call this runner through `peer_run` (master.d/20-security.conf). x509's own `ca_server` asks
another minion to sign. That keeps a worker of the master busy until another worker has published
the request, so as many requests as workers stop the master. See
docs/decisions/0011-the-master-signs-certificates.md.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import salt.utils.x509 as salt_x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
)
from salt.exceptions import CommandExecutionError

from salina_fleet import certificates, runner, secrets

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
        builder, key, *_ = salt_x509.build_crt(
            site.store.get(secrets.CA_KEY),
            signing_cert=site.store.get(secrets.CA_CERT),
            public_key=_pem(public_key),
            **policy,
        )
        signed = builder.sign(key, hashes.SHA256())
    except (CommandExecutionError, secrets.SecretsError, ValueError, TypeError) as error:
        return {"error": str(error)}
    return {"certificate": signed.public_bytes(Encoding.PEM).decode()}


def _pem(public_key: bytes) -> str:
    """Return a DER key as PEM. Anything else, such as a path on the master, is a ValueError."""
    key = load_der_public_key(public_key)
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

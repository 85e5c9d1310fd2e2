"""The fleet's certificate authority: Salt's x509_v2, with one signing policy per host.

Minions call it through `peer_run` (master.d/20-security.conf). Asking another minion to sign, as
x509's `ca_server` does, keeps one of the master's workers busy until another one has published the
request; as many hosts as workers asking at once stop the master (docs/decisions/0011).
"""

from __future__ import annotations

from typing import Any

import salt.utils.x509 as salt_x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
)
from salt.exceptions import CommandExecutionError

from salina_fleet import pillar, runner, secrets

__opts__: dict[str, Any]


def sign(public_key: bytes) -> dict[str, str]:
    """Sign a certificate for the minion that asks: in its own name, by its own policy.

    The id is the one that Salt authenticated. The public key (DER) is all that a minion chooses;
    everything else is the policy's, computed from the topology at this moment.

    Returns {"certificate": PEM} or {"error": why not}: Salt gives a minion a runner's result,
    but not the error it raises.

    CLI Example: none, it answers minions: salt nas1 certificate.request ...
    """
    try:
        site = runner.site(__opts__)
        host = site.fleet.hosts.get(__opts__["id"])
        if host is None:
            return {"error": f"{__opts__['id']} is no host of the fleet"}
        policy = pillar.signing_policy(site.fleet, host)
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
    """Return a DER key as PEM; anything else (a path on the master, say) raises ValueError."""
    key = load_der_public_key(public_key)
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

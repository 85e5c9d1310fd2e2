"""A host's certificate: judge it locally, request it from the project's CA.

Salt's own ``x509.certificate_managed`` asks the CA in every run, also when there is nothing to do;
in a fleet that is a message to one minion from each other one, each time. The CA itself is Salt's
x509_v2 on the master's minion (design: "Data flow").
"""

from __future__ import annotations

import os
import tempfile
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import salina_certificate
import salina_wait
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)
from salt.exceptions import CommandExecutionError

__salt__: dict[str, Any]

#: What the CA says to a minion that asks under another's name: asking again is no use.
REFUSED = "minion not permitted"


def faults(path: str, key: str, ca: str, names: list[str], days_remaining: int = 30) -> list[str]:
    """Say why the certificate at a path must be issued anew; empty if it is good.

    Args:
        path: the certificate, PEM.
        key: the host's private key, PEM.
        ca: the CA's certificate, PEM.
        names: its subject alternative names: ``DNS:nas1``, ``IP:10.1.4.21``.
        days_remaining: it must be valid for as many days yet.

    Raises:
        CommandExecutionError: the key or the CA's certificate is missing or can't be read.

    CLI example::

        salt nas1 certificate.faults /etc/salina/tls/host.crt /etc/salina/tls/host.key \\
            /etc/salina/tls/ca.crt '["DNS:nas1"]'
    """
    certificate = Path(path)
    try:
        return list(
            salina_certificate.faults(
                certificate.read_bytes() if certificate.exists() else None,
                Path(key).read_bytes(),
                Path(ca).read_bytes(),
                names,
                datetime.now(timezone.utc),
                days_remaining,
            )
        )
    except (OSError, ValueError) as error:
        raise CommandExecutionError(f"{path} can't be judged: {error}") from error


def request(
    path: str, key: str, ca: str, ca_server: str, policy: str, names: list[str], wait: int = 120
) -> str:
    """Have the CA sign a certificate for a key, and put it at a path.

    On a bare fleet all hosts ask at once while the CA's minion applies its own states, and perhaps
    starts anew: ask again until the time is up. What is signed is the policy's decision alone;
    a policy that is older than the topology (its names differ) counts as "not yet".

    Args:
        path: where the certificate goes.
        key: the host's private key; only its public half leaves the host.
        ca: the CA's certificate.
        ca_server: id of the minion that signs.
        policy: the signing policy, called like the host.
        names: the subject alternative names expected.
        wait: seconds to wait for the CA at most.

    Returns:
        The certificate's serial number in hexadecimal.

    Raises:
        CommandExecutionError: the CA refused, or gave no good certificate in time.

    CLI example::

        salt nas1 certificate.request /etc/salina/tls/host.crt /etc/salina/tls/host.key \\
            /etc/salina/tls/ca.crt salt nas1 '["DNS:nas1"]'
    """
    public_key = (
        load_pem_private_key(Path(key).read_bytes(), password=None)
        .public_key()
        .public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    )
    last = ""

    def signed() -> x509.Certificate | None:
        nonlocal last
        answer = _sign(ca_server, policy, public_key)
        if isinstance(answer, str):
            last = answer
            return None
        pem = answer.public_bytes(Encoding.PEM)
        last = "; ".join(
            salina_certificate.faults(
                pem, Path(key).read_bytes(), Path(ca).read_bytes(), names, _now(), 0
            )
        )
        return None if last else answer

    certificate = salina_wait.until(signed, wait)
    if certificate is None:
        raise CommandExecutionError(
            f"the CA ({ca_server}) gave no certificate under the policy {policy} in {wait} s: {last}. "
            f"Is its minion up, and its pillar new (salt {ca_server} saltutil.refresh_pillar)?"
        )
    _write(Path(path), certificate.public_bytes(Encoding.PEM))
    return f"{certificate.serial_number:x}"


def _sign(ca_server: str, policy: str, public_key: bytes) -> x509.Certificate | str:
    """Ask the CA once: the certificate, or why there is none."""
    answers = __salt__["publish.publish"](
        ca_server,
        "x509.sign_remote_certificate",
        arg=[policy, {"public_key": public_key}, False],
        timeout=5,
    )
    answer = answers.get(ca_server) if isinstance(answers, dict) else answers
    if not isinstance(answer, dict):
        return str(answer or "no answer")
    errors = "; ".join(answer.get("errors") or [])
    if REFUSED in errors:
        raise CommandExecutionError(f"the CA ({ca_server}) refused the policy {policy}: {errors}")
    return errors or x509.load_der_x509_certificate(answer["data"])


def _now() -> datetime:
    return datetime.now(timezone.utc)


def _write(path: Path, content: bytes) -> None:
    """Put a certificate in its place at once, readable by all."""
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(content)
    os.chmod(file.name, 0o644)
    os.replace(file.name, path)

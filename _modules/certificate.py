"""A host's certificate: judge it locally, request it from the project's CA.

Salt's own `x509.certificate_managed` asks the CA in every run, also when there is nothing to do;
in a fleet that is a message to one process from each host, each time.
"""

from __future__ import annotations

import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)
from salt.exceptions import CommandExecutionError

import salina_certificate
import salina_wait

__salt__: dict[str, Any]


def faults(path: str, key: str, ca: str, names: list[str], days_remaining: int = 30) -> list[str]:
    """Say why the certificate at a path must be issued anew; empty if it is good.

    `path`, `key`, `ca`: the certificate, the host's private key, the CA's certificate (PEM).
    `names`: its subject alternative names: `DNS:nas1`, `IP:10.1.4.21`.
    `days_remaining`: it must be valid for as many days yet.
    Raises CommandExecutionError: the key or the CA's certificate is missing or can't be read.

    CLI Example: salt nas1 certificate.faults /etc/salina/tls/host.crt /etc/salina/tls/host.key \
        /etc/salina/tls/ca.crt '["DNS:nas1"]'
    """
    certificate = Path(path)
    found = certificate.read_bytes() if certificate.exists() else None
    return _judge(found, key, ca, names, days_remaining)


def request(path: str, key: str, ca: str, names: list[str], wait: int = 60) -> str:
    """Have the CA sign a certificate for a key, in this host's name, and put it at a path.

    Only the public half of the key leaves the host; the names are the CA's decision, and the
    answer is checked against `names`. While the master restarts, ask again, `wait` seconds at most.
    Returns the certificate's serial number in hexadecimal.
    Raises CommandExecutionError: the CA gave no good certificate in time, and why.

    CLI Example: salt nas1 certificate.request /etc/salina/tls/host.crt /etc/salina/tls/host.key \
        /etc/salina/tls/ca.crt '["DNS:nas1"]'
    """
    public_key = (
        load_pem_private_key(Path(key).read_bytes(), password=None)
        .public_key()
        .public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    )
    pem = b""

    def obstacle() -> str:
        nonlocal pem
        answer = __salt__["publish.runner"]("certificates.sign", arg=[public_key])
        if not isinstance(answer, dict) or "certificate" not in answer:
            return str(answer.get("error") if isinstance(answer, dict) else answer) or "no answer"
        pem = answer["certificate"].encode()
        return "; ".join(_judge(pem, key, ca, names, 0))

    try:
        salina_wait.clear(obstacle, wait, "a certificate from the master's CA")
    except TimeoutError as error:
        raise CommandExecutionError(str(error)) from error
    _write(Path(path), pem)
    return salina_certificate.serial(pem)


def _judge(found: bytes | None, key: str, ca: str, names: list[str], days: int) -> list[str]:
    try:
        own, authority = Path(key).read_bytes(), Path(ca).read_bytes()
        now = datetime.now(UTC)
        return list(salina_certificate.faults(found, own, authority, names, now, days))
    except (OSError, ValueError) as error:
        raise CommandExecutionError(f"the certificate can't be judged: {error}") from error


def _write(path: Path, content: bytes) -> None:
    """Put a certificate in its place at once, readable by all."""
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(content)
    os.chmod(file.name, 0o644)
    os.replace(file.name, path)

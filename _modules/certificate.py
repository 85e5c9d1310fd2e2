"""Check this host's certificate locally, and request a new one from the project's CA.

Salt's own `x509.certificate_managed` asks the CA in every run, even if nothing changes. In a fleet
that is a message from each host to one process, each time.
"""

from __future__ import annotations

import grp
import os
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)
from salt.exceptions import CommandExecutionError

from salina.common import certificate, file
from salina.common import wait as waiting

__salt__: dict[str, Any]


def key_faults(path: str, group: str) -> list[str]:
    """Return what is wrong with a private key.

    Args:
        path: the key's file.
        group: the group that may read it besides root; `root` for none.

    Returns:
        A sentence per fault: it is missing, or the wrong users can read it.

    Raises:
        CommandExecutionError: there is no such group.

    CLI Example:
        salt nas1 certificate.key_faults /etc/salina/tls/host.key ssl-cert
    """
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return ["the key is missing"]
    mode, owner = stat.S_IMODE(found.st_mode), (found.st_uid, found.st_gid)
    wanted = _access(group)
    return ["its owner or mode is wrong"] if (mode, owner) != wanted else []


def make_key(path: str, group: str) -> None:
    """Create a private key (ECDSA, P-256) unless it exists, and set its owner and mode.

    Args:
        path: the key's file.
        group: the group that may read it besides root; `root` for none.

    Raises:
        CommandExecutionError: there is no such group.

    CLI Example:
        salt nas1 certificate.make_key /etc/salina/tls/host.key ssl-cert
    """
    mode, owner = _access(group)
    if not os.path.exists(path):
        file.put(path, certificate.new_key().encode(), 0o600)
    os.chown(path, *owner)
    os.chmod(path, mode)


def _access(group: str) -> tuple[int, tuple[int, int]]:
    """Return the mode and the owner of a key that root and a group may read."""
    try:
        return 0o600 if group == "root" else 0o640, (0, grp.getgrnam(group).gr_gid)
    except KeyError as error:
        raise CommandExecutionError(f"group: {group} does not exist on this host") from error


def faults(path: str, key: str, ca: str, names: list[str], days_remaining: int = 30) -> list[str]:
    """Return why a certificate must be replaced.

    Args:
        path: the certificate, PEM.
        key: the host's private key, PEM.
        ca: the CA's certificate, PEM.
        names: its subject alternative names, such as DNS:nas1 and IP:10.1.4.21.
        days_remaining: the days for which it must still be valid.

    Returns:
        A sentence per fault; none if the certificate is good.

    Raises:
        CommandExecutionError: the key or the CA's certificate is missing or unreadable.

    CLI Example:
        salt nas1 certificate.faults /etc/salina/tls/host.crt /etc/salina/tls/host.key \
            /etc/salina/tls/ca.crt '["DNS:nas1"]'
    """
    stored = Path(path)
    found = stored.read_bytes() if stored.exists() else None
    return _judge(found, key, ca, names, days_remaining)


def request(path: str, key: str, ca: str, names: list[str], wait: int = 60) -> str:
    """Have the CA sign a certificate for a key, in this host's name, and write it to a file.

    Only the public key leaves the host. The CA decides on the names, and this function compares
    them with `names`. It asks again while the master restarts.

    Args:
        path: the certificate, PEM.
        key: the host's private key, PEM.
        ca: the CA's certificate, PEM.
        names: its subject alternative names, such as DNS:nas1 and IP:10.1.4.21.
        wait: seconds to ask again at most.

    Returns:
        The certificate's serial number in hexadecimal.

    Raises:
        CommandExecutionError: the CA issued no good certificate in time; the message says why.

    CLI Example:
        salt nas1 certificate.request /etc/salina/tls/host.crt /etc/salina/tls/host.key \
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
        waiting.clear(obstacle, wait, "a certificate from the master's CA")
    except TimeoutError as error:
        raise CommandExecutionError(str(error)) from error
    file.put(path, pem)
    return certificate.serial(pem)


def _judge(found: bytes | None, key: str, ca: str, names: list[str], days: int) -> list[str]:
    try:
        own, authority = Path(key).read_bytes(), Path(ca).read_bytes()
        now = datetime.now(UTC)
        return list(certificate.faults(found, own, authority, names, now, days))
    except (OSError, ValueError) as error:
        raise CommandExecutionError(f"the certificate cannot be checked: {error}") from error

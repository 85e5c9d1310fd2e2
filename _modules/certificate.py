"""Check this host's certificates locally, and request new ones from the project's CA.

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

from salina.common import certificate, commands, file, pillars
from salina.common import wait as waiting

__salt__: dict[str, Any]
__pillar__: dict[str, Any]

FOLDER = "/etc/salina/tls"


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
        salt nas1 certificate.key_faults /etc/salina/tls/etcd.key ssl-cert
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
        salt nas1 certificate.make_key /etc/salina/tls/etcd.key ssl-cert
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


def faults(name: str, remaining: int | None = None, folder: str = FOLDER) -> list[str]:
    """Return why a certificate must be replaced.

    Args:
        name: the name of one of this host's certificates, as the pillar `tls` has them.
        remaining: the seconds for which it must still be valid; the pillar's `renew` by default.
        folder: the directory of the certificates, their keys and the CA's certificate.

    Returns:
        A sentence per fault; none if the certificate is good.

    Raises:
        CommandExecutionError: this host has no certificate of that name, or its key or the CA's
            certificate is missing or unreadable.

    CLI Example:
        salt nas1 certificate.faults etcd
    """
    path = Path(folder, f"{name}.crt")
    wait = _pillar()["renew"] if remaining is None else remaining
    return _judge(path.read_bytes() if path.exists() else None, name, wait, folder)


def request(name: str, wait: int = 60, folder: str = FOLDER) -> str:
    """Have the CA sign a certificate of this host, and write it to its file.

    Only the public key leaves the host. The CA decides what it certifies, and this function
    compares that with the pillar. It asks again while the master restarts.

    Args:
        name: the name of one of this host's certificates, as the pillar `tls` has them.
        wait: seconds to ask again at most.
        folder: the directory of the certificates, their keys and the CA's certificate.

    Returns:
        The certificate's serial number in hexadecimal.

    Raises:
        CommandExecutionError: the CA issued no good certificate in time; the message says why.

    CLI Example:
        salt nas1 certificate.request etcd
    """
    key = Path(folder, f"{name}.key").read_bytes()
    public_key = load_pem_private_key(key, password=None).public_key()
    der = public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    pem = b""

    def obstacle() -> str:
        nonlocal pem
        answer = __salt__["publish.runner"]("certificates.sign", arg=[der, name])
        if not isinstance(answer, dict) or "certificate" not in answer:
            return str(answer.get("error") if isinstance(answer, dict) else answer) or "no answer"
        pem = answer["certificate"].encode()
        return "; ".join(_judge(pem, name, 0, folder))

    try:
        waiting.clear(obstacle, wait, "a certificate from the master's CA")
    except TimeoutError as error:
        raise CommandExecutionError(str(error)) from error
    file.put(Path(folder, f"{name}.crt"), pem)
    return certificate.serial(pem)


def renew() -> dict[str, str]:
    """Renew every certificate of this host that is due, and have its readers reload.

    A timer calls this on each host (salt/tls). A daemon that reads its certificate for each
    connection needs no reload. An apply does the rest: it makes keys, and restarts for them.

    Returns:
        The name of each renewed certificate, with its new serial number.

    Raises:
        CommandExecutionError: a certificate could not be renewed, or a reader did not reload. The
            other certificates are renewed all the same.

    CLI Example:
        salt nas1 certificate.renew
    """
    renewed, failed, readers = {}, [], set()
    for wanted in _pillar()["certificates"]:
        name = wanted["name"]
        if wanted["pair"]:  # the operator's own
            continue
        try:
            if faults(name):
                renewed[name] = request(name)
                readers.update(wanted["readers"])
        except CommandExecutionError as error:
            failed.append(f"{name}: {error}")
    for unit in sorted(readers):
        try:
            commands.systemctl(__salt__, "reload", unit)
        except CommandExecutionError as error:
            failed.append(str(error))
    if failed:
        raise CommandExecutionError("; ".join(failed))
    return renewed


def _judge(found: bytes | None, name: str, remaining: int, folder: str) -> list[str]:
    wanted = [one for one in _pillar()["certificates"] if one["name"] == name]
    if not wanted:
        raise CommandExecutionError(f"{name} is not a certificate of this host")
    try:
        files = (f"{name}.key", f"{wanted[0]['authority']}.crt")
        own, authority = (Path(folder, file).read_bytes() for file in files)
        now = datetime.now(UTC)
        return list(certificate.faults(found, own, authority, wanted[0], now, remaining))
    except (OSError, ValueError) as error:
        raise CommandExecutionError(f"the certificate {name} cannot be checked: {error}") from error


def _pillar() -> dict[str, Any]:
    return pillars.section(__pillar__, "tls")

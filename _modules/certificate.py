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
ORDERS = "/run/salina/acme"
"""Where salina-acme@.service finds a request and puts the certificate (salt/acme)."""


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
    """Return why the CA must replace a certificate.

    An ACME directory's certificate stays, also an expired one, and so does the CA's before the
    directory has issued the first one (`order_faults`).

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
    wait = _pillar()["renew"] if remaining is None else remaining
    found = _read(name, folder)
    if found and _wanted(name)["acme"]:
        return _published(found, name, folder)
    return _judge(found, name, wait, folder)


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


def order_faults(name: str, folder: str = FOLDER) -> list[str]:
    """Return why the ACME directory must issue a certificate.

    Args:
        name: the name of one of this host's certificates, as the pillar `tls` has them.
        folder: the directory of the certificates and their keys.

    Returns:
        A sentence per fault; none if the certificate is good. A short-lived one is due in the last
        third of its life.

    Raises:
        CommandExecutionError: this host has no certificate of that name, or its key is missing or
            unreadable.

    CLI Example:
        salt lb1 certificate.order_faults public-crm
    """
    directory, found = _pillar()["acme"]["directory"], _read(name, folder)
    if not found or not certificate.issued_by(found, directory):
        return [f"it is not of {directory}"]
    try:
        remaining = min(_pillar()["renew"], certificate.lifetime(found) // 3)
    except ValueError as error:
        return [f"it can't be read: {error}"]
    return _published(found, name, folder, remaining)


def order(name: str, folder: str = FOLDER, orders: str = ORDERS) -> str:
    """Have the ACME directory issue a certificate of this host, and write it to its file.

    A unit without rights asks the directory (salt/acme): it gets the request and returns the
    certificate. The key of the certificate stays with root.

    Args:
        name: the name of one of this host's certificates, as the pillar `tls` has them.
        folder: the directory of the certificates and their keys.
        orders: where the unit finds the request and puts the certificate.

    Returns:
        The certificate's serial number in hexadecimal.

    Raises:
        CommandExecutionError: the directory issued no good certificate; the old one stays.

    CLI Example:
        salt lb1 certificate.order public-crm
    """
    domain, unit = _wanted(name)["common_name"], f"salina-acme@{name}"
    os.makedirs(orders, mode=0o700, exist_ok=True)
    key = Path(folder, f"{name}.key").read_bytes()
    file.put(Path(orders, f"{name}.csr"), certificate.signing_request(key, domain))
    try:
        commands.systemctl(__salt__, "start", unit)
        found = Path(orders, f"{name}.crt").read_bytes()
    except (CommandExecutionError, OSError) as error:
        raise CommandExecutionError(f"{error}; see journalctl -u {unit}") from error
    faulty = _published(found, name, folder, 0)
    if faulty:
        raise CommandExecutionError(f"the directory's certificate: {'; '.join(faulty)}")
    marked = certificate.marked(found, _pillar()["acme"]["directory"])
    file.put(Path(folder, f"{name}.crt"), marked)
    return certificate.serial(found)


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
        due, issue = (order_faults, order) if wanted["acme"] else (faults, request)
        try:
            if due(name):
                renewed[name] = issue(name)
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


def _wanted(name: str) -> dict[str, Any]:
    for one in _pillar()["certificates"]:
        if one["name"] == name:
            return dict(one)
    raise CommandExecutionError(f"{name} is not a certificate of this host")


def _read(name: str, folder: str) -> bytes | None:
    path = Path(folder, f"{name}.crt")
    return path.read_bytes() if path.exists() else None


def _published(found: bytes, name: str, folder: str, remaining: int | None = None) -> list[str]:
    """Return the faults of a certificate that another CA may have issued.

    Args:
        found: the certificate and those that lead to its CA, PEM.
        name: its name.
        folder: the directory of the keys.
        remaining: the seconds for which it must still be valid; None if it may have expired.
    """
    domain, now = _wanted(name)["common_name"], datetime.now(UTC)
    try:
        key = Path(folder, f"{name}.key").read_bytes()
    except OSError as error:
        raise CommandExecutionError(f"the certificate {name} cannot be checked: {error}") from error
    return certificate.published_faults(found, key, domain, now, remaining)


def _judge(found: bytes | None, name: str, remaining: int, folder: str) -> list[str]:
    wanted = _wanted(name)
    try:
        files = (f"{name}.key", f"{wanted['authority']}.crt")
        own, authority = (Path(folder, file).read_bytes() for file in files)
        now = datetime.now(UTC)
        return list(certificate.faults(found, own, authority, wanted, now, remaining))
    except (OSError, ValueError) as error:
        raise CommandExecutionError(f"the certificate {name} cannot be checked: {error}") from error


def _pillar() -> dict[str, Any]:
    return pillars.section(__pillar__, "tls")

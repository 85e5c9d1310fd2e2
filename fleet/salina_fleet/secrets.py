"""The service's secrets: made once, kept on the master, and given out by minion id.

Each secret is a file of mode 0600 in a directory of mode 0700, outside git.

`Store` is the seam for GPG, Vault and the like. To keep the secrets elsewhere, write a class with
its three methods (`get`, `put`, `has`) and return it from `open_store`, which every caller uses.
Only the CA's key stays a file on the host where the CA signs (`Store.path`).
"""

from __future__ import annotations

import datetime
import os
import secrets
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

from salina.common import reading

FOLDER = "secrets"
CA_KEY = "ca.key"
CA_CERT = "ca.crt"
CA = "ca"
FILES_CA = "files-ca"
"""The fleet's CA, and the CA of the certificates with which GlusterFS knows its hosts.

GlusterFS takes every certificate of the CA that it is given, and etcd does as well. So neither of
them gets the other's (decision 43).
"""
DATABASE = ("database-superuser", "database-replication", "database-rewind", "database-rest")
"""The passwords of the database hosts, by what they open."""
ETCD_ROOT, ETCD_PATRONI = "etcd-root", "etcd-patroni"
"""The passwords of etcd's users."""
BACKUP = "backup"
"""The password with which the backups of the database are encrypted."""
FILES_BACKUP = "files-backup"
"""The password with which the copies of users' files are encrypted, and sent."""
SECOND = "second"
"""The beginning of the names of the logins for the second repository; `second` has the names."""
MONITORING = "monitoring"
"""The password of the web page of monitoring."""
RELAY = "relay"
"""The password at the mail server that takes the alarms, which the operator gives."""
SSH_HOSTS = "ssh-hosts"
"""The secret from which each host's SSH key follows (salina_fleet.host_key)."""
ACME_ACCOUNT = "acme-account.key"
"""The key of the fleet's account at an ACME directory."""
USER_OF_MONITORING = "monitoring"
"""The purpose of the password with which monitoring logs in at an application."""
RECORD = "record"
"""The purpose of the password of the role that records which release a database belongs to."""
APPLICATION = ("database", "admin", "login", USER_OF_MONITORING, RECORD)
"""The purposes for which each application has a password of its own."""
VISITORS = "visitors"
"""The purpose of the password with which the balancer lets clients through to a copy for trials."""
AUTHORITIES = {CA: "Salina CA", FILES_CA: "Salina files CA"}
"""Each CA, and the beginning of its name."""


CREATE = "salt-run secrets.create makes it"


class SecretsError(Exception):
    """A secret that is missing, empty or open to others; the message never holds its value."""


def own(application: str, purpose: str) -> str:
    """Return the name of an application's own password: app-crm-login."""
    return f"app-{application}-{purpose}"


def deploy(name: str) -> str:
    """Return the name of the secret that is a deploy key: deploy-addons."""
    return f"deploy-{name}"


def authority(name: str) -> tuple[str, str]:
    """Return the names of a CA's key and certificate: ca.key and ca.crt."""
    return f"{name}.key", f"{name}.crt"


def second(kind: str) -> str:
    """Return the name of the login for the second repository: second-s3 or second-sftp."""
    return f"{SECOND}-{kind}"


def passwords(applications: Iterable[str], copies: Iterable[str] = ()) -> list[str]:
    """Return the names of all passwords of a fleet with these applications.

    Args:
        applications: their names.
        copies: the names of those that are copies for trials.
    """
    shared = (*DATABASE, ETCD_ROOT, ETCD_PATRONI, BACKUP, FILES_BACKUP, MONITORING, SSH_HOSTS)
    owned = [own(name, purpose) for name in applications for purpose in APPLICATION]
    return [*shared, *owned, *(own(name, VISITORS) for name in copies)]


class Source(Protocol):
    """The part of a store that the external pillar needs."""

    def get(self, name: str) -> str:
        """The value of a secret. Raises SecretsError when there is none."""
        ...


class Store:
    """Secrets as files of one directory."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def path(self, name: str) -> Path:
        """Return the file that holds the secret `name`."""
        return self.folder / name

    def has(self, name: str) -> bool:
        """Tell whether the secret exists."""
        return self.path(name).exists()

    def get(self, name: str) -> str:
        """The secret's value. Raises SecretsError when it is missing or empty."""
        try:
            value = reading.read(self.path(name)).decode("ascii").strip()
        except FileNotFoundError:
            runner = {SECOND: "second", RELAY: "relay"}.get(name.partition("-")[0])
            step = f"salt-run secrets.{runner} FILE keeps yours" if runner else CREATE
            raise SecretsError(f"secret {name} does not exist in {self.folder}: {step}") from None
        except OSError as error:
            reason = error.strerror
            raise SecretsError(f"secret {name} in {self.folder} cannot be read: {reason}") from None
        except UnicodeDecodeError:  # its text would show a part of the value
            raise SecretsError(
                f"secret {name} in {self.folder} is not plain text; restore it from your copy"
            ) from None
        if not value:
            raise SecretsError(
                f"secret {name} in {self.folder} is empty; restore it from your copy"
            )
        return value

    def put(self, name: str, value: str) -> None:
        """Write a new secret.

        Raises:
            FileExistsError: the secret exists; this never overwrites one.
        """
        self._write(name, value, os.link)  # atomic, and fails when the secret exists

    def replace(self, name: str, value: str) -> None:
        """Write a secret that the operator gives, over an older one."""
        self._write(name, value, os.replace)

    def _write(self, name: str, value: str, place: Callable[[Path, Path], object]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        temporary = self.folder / f".{name}.{os.getpid()}"
        temporary.unlink(missing_ok=True)
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(handle, "w", encoding="ascii") as stream:
                stream.write(value.rstrip("\n") + "\n")
                stream.flush()
                os.fsync(stream.fileno())
            place(temporary, self.path(name))
        finally:
            temporary.unlink(missing_ok=True)


def deploy_key(store: Source, name: str | None) -> str | None:
    """Return a deploy key that the operator has given; None for no key.

    Raises:
        SecretsError: it is missing; the message has the next command.
    """
    if name is None:
        return None
    try:
        return store.get(deploy(name))
    except SecretsError as error:
        raise SecretsError(
            f"the deploy key {name} is missing ({error}): give it by salt-run secrets.deploy_key "
            f"{name} FILE"
        ) from None


def open_store(state: str | Path) -> Store:
    """Return the store of the master whose state directory is `state`."""
    return Store(Path(state) / FOLDER)


def create(
    store: Store,
    applications: Sequence[str],
    ca_days: int,
    acme: bool = False,
    copies: Sequence[str] = (),
) -> list[str]:
    """Make every secret that does not exist yet.

    Args:
        store: where they are kept.
        applications: the names of the applications; the first one gives each CA its name,
            which it keeps.
        ca_days: the days for which the CA's certificate is valid.
        acme: whether the fleet has an account at an ACME directory.
        copies: the applications that are copies for trials.

    Returns:
        The names of the new secrets, and never their values.
    """
    from salina.common.certificate import new_account_key, new_key

    made = []
    for name in passwords(applications, copies):
        if not store.has(name):
            store.put(name, secrets.token_urlsafe(24))
            made.append(name)
    for name, title in AUTHORITIES.items():
        key, certificate = authority(name)
        if not store.has(key):
            store.put(key, new_key())
            made.append(key)
        if not store.has(certificate):
            title = f"{title} {applications[0]}"
            store.put(certificate, self_signed(store.get(key), title, ca_days))
            made.append(certificate)
    if acme and not store.has(ACME_ACCOUNT):
        store.put(ACME_ACCOUNT, new_account_key())
        made.append(ACME_ACCOUNT)
    return made


def check(
    store: Store,
    applications: Iterable[str],
    acme: bool = False,
    copies: Sequence[str] = (),
    keys: Iterable[str] = (),
    given: Sequence[str] = (),
) -> list[str]:
    """Return the faults of the secrets: missing or empty ones, and files that others may read.

    Args:
        store: where they are kept.
        applications: the names of the applications.
        acme: whether the fleet has an account at an ACME directory.
        copies: the applications that are copies for trials.
        keys: the names of the deploy keys that definitions use.
        given: the names of further secrets, which the operator gives.
    """
    faults = []
    if store.folder.exists() and store.folder.stat().st_mode & 0o077:
        faults.append(f"{store.folder}: other users may enter it; its mode must be 0700")
    account = [ACME_ACCOUNT] if acme else []
    pairs = [authority(name) for name in AUTHORITIES]
    made = (
        *passwords(applications, copies),
        *(file for pair in pairs for file in pair),
        *account,
        *given,
    )
    read: dict[str, Callable[[], object]] = {name: partial(store.get, name) for name in made}
    read |= {deploy(key): partial(deploy_key, store, key) for key in keys}
    for name, reads in read.items():
        try:
            reads()
        except SecretsError as error:
            faults.append(str(error))
            continue
        if store.path(name).stat().st_mode & 0o077:
            faults.append(f"{store.path(name)}: other users may read it; its mode must be 0600")
    if not faults:
        faults = [
            f"{store.path(certificate)} does not belong to {key}; restore both from your copy"
            for key, certificate in pairs
            if not _pair(store.get(key), store.get(certificate))
        ]
    return faults


def login(kind: str, written: bytes) -> str:
    """Return a login for the second repository as it is kept.

    Args:
        kind: s3, for the id and the secret of an access key on two lines; or sftp, for a private
            key.
        written: the operator's file.

    Raises:
        SecretsError: it is something else. The message has nothing of it.
    """
    words = {
        "s3": "two lines: the id of an access key, and its secret",
        "sftp": "a private key in OpenSSH's or PEM's form, without a passphrase",
    }
    try:
        text = written.decode("ascii").strip()
        if kind == "sftp":
            public_part(text)
        elif len(text.split()) != 2:
            raise ValueError
    except (ValueError, SecretsError):
        raise SecretsError(f"must be {words[kind]}") from None
    return text if kind == "sftp" else "\n".join(text.split())


def line(written: bytes) -> str:
    """Return a password of the operator's as it is kept.

    Args:
        written: the operator's file.

    Raises:
        SecretsError: it is something else than one line. The message has nothing of it.
    """
    try:
        text = written.decode("ascii").strip()
    except UnicodeDecodeError:
        text = ""
    if not text or not text.isprintable():
        raise SecretsError("must be one line of plain text, the password")
    return text


def self_signed(key_pem: str, common_name: str, days: int) -> str:
    """Return the CA's own certificate as PEM; the CA may sign hosts' certificates only."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = serialization.load_pem_private_key(key_pem.encode("ascii"), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise SecretsError(f"the key of {common_name} is not an ECDSA key")
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    start = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode("ascii")


def public_part(private: str) -> str:
    """Return the public part of a deploy key, as a git server takes it.

    Args:
        private: the private key, in the form of OpenSSH or in PEM.

    Raises:
        SecretsError: it is not a private key, or it has a password; the message has no part of it.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    openssh = "BEGIN OPENSSH PRIVATE KEY" in private
    load = serialization.load_ssh_private_key if openssh else serialization.load_pem_private_key
    try:
        key = load(private.encode("ascii"), password=None)
        public = key.public_key().public_bytes(
            serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
        )
    except (ValueError, TypeError, AttributeError, UnsupportedAlgorithm):
        raise SecretsError(
            "it is not a private key without a password; make one: ssh-keygen -t ed25519 -N '' "
            "-f FILE"
        ) from None
    return public.decode("ascii")


def _pair(key_pem: str, certificate_pem: str) -> bool:
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization

    try:
        key = serialization.load_pem_private_key(key_pem.encode("ascii"), password=None)
        certificate = x509.load_pem_x509_certificate(certificate_pem.encode("ascii"))
    except ValueError:
        return False
    return key.public_key() == certificate.public_key()


class FakeStore:
    """Recognisable values for tests and previews; it remembers which secrets were read."""

    def __init__(self, without: Iterable[str] = ()) -> None:
        self.asked: list[str] = []
        self.without = frozenset(without)

    def get(self, name: str) -> str:
        """A value that names the secret: 'canary-database-superuser'."""
        if name in self.without:
            raise SecretsError(f"secret {name} does not exist")
        self.asked.append(name)
        return f"canary-{name}"

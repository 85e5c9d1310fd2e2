"""Salt's keys, made before their hosts exist: nothing is ever accepted by name."""

from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from lab.paths import KEYS

BITS = 2048  # as Salt itself makes them
MASTER = "master"


@dataclass(frozen=True)
class Pair:
    """A private and a public key, both PEM."""

    private: str = field(repr=False)
    public: str


def generate() -> Pair:
    """Return a fresh pair in the formats Salt writes."""
    key = rsa.generate_private_key(65537, BITS)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return Pair(private.decode(), public.decode().strip())


def minion(host: str) -> str:
    """Return the name under which a minion's pair is kept."""
    return f"minion-{host}"


def pair(name: str) -> Pair:
    """Return the kept pair of that name, made when there is none yet.

    :param name: what `minion` returns, or MASTER
    """
    if not kept(name)[1].exists():
        keep(name, generate())
    private, public = kept(name)
    return Pair(private.read_text(), public.read_text())


def keep(name: str, made: Pair) -> None:
    """Keep a pair under a name that has none; it is there completely or not at all."""
    private, public = kept(name)
    KEYS.mkdir(parents=True, exist_ok=True, mode=0o700)
    private.unlink(missing_ok=True)
    private.touch(mode=0o600)
    private.write_text(made.private)
    unfinished = public.with_suffix(".unfinished")
    unfinished.write_text(made.public)
    unfinished.rename(public)


def forget(name: str) -> None:
    """Drop the pair of that name, if there is one."""
    for path in reversed(kept(name)):  # without its public key it is none
        path.unlink(missing_ok=True)


def kept(name: str) -> tuple[Path, Path]:
    """Return where the private and the public key of that name are."""
    return KEYS / f"{name}.pem", KEYS / f"{name}.pub"


def master() -> Pair:
    """Return the master's pair."""
    return pair(MASTER)

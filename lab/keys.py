"""Salt's keys, made before their hosts exist: nothing is ever accepted by name."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from lab.paths import KEYS

BITS = 2048  # as Salt itself makes them
MASTER = "master"


@dataclass(frozen=True)
class Pair:
    """A private and a public key, both PEM."""

    private: str
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


def pair(name: str, folder: Path = KEYS) -> Pair:
    """Return the kept pair of that name, made when there is none yet.

    :param name: a minion id, or MASTER with a suffix no id has
    :param folder: where pairs are kept
    """
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    if not public.exists():
        made = generate()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        private.unlink(missing_ok=True)
        private.touch(mode=0o600)
        private.write_text(made.private)
        unfinished = public.with_suffix(".unfinished")
        unfinished.write_text(made.public)
        unfinished.rename(public)
    return Pair(private.read_text(), public.read_text())


def pairs(names: Iterable[str]) -> dict[str, Pair]:
    """Return the pairs of all these minions."""
    return {name: pair(f"minion-{name}") for name in names}


def master() -> Pair:
    """Return the master's pair."""
    return pair(MASTER)

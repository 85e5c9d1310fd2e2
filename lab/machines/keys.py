"""Salt's keys. The lab generates them before their hosts exist, so no key is accepted by name."""

from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from lab.paths import KEYS

BITS = 2048  # Salt's own default
MASTER = "master"


@dataclass(frozen=True)
class Pair:
    """A private and a public key, both in PEM format."""

    private: str = field(repr=False)
    public: str


def generate() -> Pair:
    """Generate a new pair in the formats that Salt writes."""
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
    """Return the name under which the lab keeps a minion's pair."""
    return f"minion-{host}"


def pair(name: str, folder: Path | None = None) -> Pair:
    """Return the pair of that name, and generate it first if there is none.

    Args:
        name: What `minion` returns, or MASTER.
        folder: The directory of the keys; None for the running lab's.
    """
    if not kept(name, folder)[1].exists():
        keep(name, generate(), folder)
    private, public = kept(name, folder)
    return Pair(private.read_text(), public.read_text())


def keep(name: str, new: Pair, folder: Path | None = None) -> None:
    """Keep a pair under a name that has none, completely or not at all."""
    private, public = kept(name, folder)
    private.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    private.unlink(missing_ok=True)
    private.touch(mode=0o600)
    private.write_text(new.private)
    unfinished = public.with_suffix(".unfinished")
    unfinished.write_text(new.public)
    unfinished.rename(public)


def forget(name: str) -> None:
    """Delete the pair of that name, if there is one."""
    for path in reversed(kept(name)):  # the public key first: without it the pair does not count
        path.unlink(missing_ok=True)


def kept(name: str, folder: Path | None = None) -> tuple[Path, Path]:
    """Return the paths of the private and the public key of that name."""
    place = folder or KEYS
    return place / f"{name}.pem", place / f"{name}.pub"


def master() -> Pair:
    """Return the master's pair."""
    return pair(MASTER)

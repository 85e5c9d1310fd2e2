"""The SSH key of each host, which follows from one secret of the master and the host's id.

So the key is known before the host exists, and a rebuilt host has the same one. The management host
and the operators get the public keys only.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import struct
from functools import cache

KIND = b"ssh-ed25519"
MAGIC = b"openssh-key-v1\0"
BLOCK = 8
"""The private part of an unencrypted key has a multiple of so many bytes (PROTOCOL.key)."""
LINE = 70


def public(secret: str, host_id: str) -> str:
    """Return the public key of a host, in the form of a .pub file without a comment."""
    return f"{KIND.decode()} {base64.b64encode(_blob(_pair(secret, host_id)[1])).decode()}"


def private(secret: str, host_id: str) -> str:
    """Return the private key of a host, as OpenSSH stores it.

    The same host always gets the same text. The library's own text has a random number in it.
    """
    seed, point = _pair(secret, host_id)
    check = hashlib.sha256(point).digest()[:4]
    inner = check + check + _field(KIND) + _field(point) + _field(seed + point)
    inner += _field(host_id.encode())
    inner += bytes(range(1, -len(inner) % BLOCK + 1))
    none = _field(b"none")
    whole = MAGIC + none + none + _field(b"") + struct.pack(">I", 1)
    text = base64.b64encode(whole + _field(_blob(point)) + _field(inner)).decode()
    lines = [text[at : at + LINE] for at in range(0, len(text), LINE)]
    ends = [f"-----{end} OPENSSH PRIVATE KEY-----" for end in ("BEGIN", "END")]
    return "\n".join([ends[0], *lines, ends[1], ""])


@cache
def _pair(secret: str, host_id: str) -> tuple[bytes, bytes]:
    """Return the seed of a host's key, and its point."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    seed = hmac.digest(secret.encode(), b"ssh host key of " + host_id.encode(), hashlib.sha256)
    key = Ed25519PrivateKey.from_private_bytes(seed)
    return seed, key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def _blob(point: bytes) -> bytes:
    return _field(KIND) + _field(point)


def _field(content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + content

"""PostgreSQL's SCRAM-SHA-256 verifiers, computed here so that the server never sees a password.

Source of the rule: RFC 5802 section 3 and RFC 7677, in the form of PostgreSQL's
``pg_authid.rolpassword``: ``SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>``.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from base64 import b64decode, b64encode

ITERATIONS = 4096
"""PostgreSQL's own default (scram_iterations), and the least that RFC 7677 allows."""


def verifier(password: str, salt: bytes | None = None, iterations: int = ITERATIONS) -> str:
    """Return what PostgreSQL stores for a password.

    Args:
        password: printable ASCII, which SASLprep leaves as it is. Others could be prepared
            differently by a client than here, so they are refused.
        salt: 16 random bytes when not given.
        iterations: of PBKDF2.

    Returns:
        For ``pencil`` a text of 133 characters that begins with ``SCRAM-SHA-256$4096:``.

    Raises:
        ValueError: the password is empty or not printable ASCII. It is not quoted.
    """
    if not (password and password.isascii() and password.isprintable()):
        raise ValueError("a database password must be printable ASCII and not empty")
    salt = secrets.token_bytes(16) if salt is None else salt
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    stored_key = hashlib.sha256(client_key).digest()
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    parts = (b64encode(part).decode() for part in (salt, stored_key, server_key))
    return "SCRAM-SHA-256${}:{}${}:{}".format(iterations, *parts)


def matches(stored: str | None, password: str) -> bool:
    """Tell whether a stored verifier is one of this password; an MD5 one or none never is.

    Raises:
        ValueError: see `verifier`.
    """
    try:
        kind, parameters, _keys = (stored or "").split("$")
        iterations, salt = parameters.split(":")
        again = verifier(password, b64decode(salt, validate=True), int(iterations))
    except ValueError:
        verifier(password, b"")  # a bad password is the caller's fault, not a mismatch
        return False
    return kind == "SCRAM-SHA-256" and hmac.compare_digest(stored or "", again)

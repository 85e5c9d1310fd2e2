"""The npm registry, and the installation of a Node application's packages."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable


def registry(npmrc: str) -> str:
    """Return the registry that a configuration of npm names, with a slash at its end; "" for none.

    Raises:
        ValueError: it is not an HTTP URL.
    """
    found = ""
    for line in npmrc.splitlines():
        key, _, value = line.partition("=")
        if key.strip() == "registry":
            found = value.strip().strip("\"'")
    if found and not re.fullmatch(r"https?://[^\s/]+(/\S*)?", found):
        raise ValueError(f"registry: {found!r} is not valid; must begin with http:// or https://")
    return f"{found.rstrip('/')}/" if found else ""


def tarball(registry: str, package: str, version: str) -> str:
    """The URL of a package, as every registry of npm has it.

    >>> tarball("http://mirror/", "@scope/name", "1.0.0")
    'http://mirror/@scope/name/-/name-1.0.0.tgz'
    """
    return f"{registry}{package}/-/{package.rpartition('/')[2]}-{version}.tgz"


def integrity(content: bytes) -> str:
    """Return the hash of a tarball as npm writes it: sha512-… in base64."""
    return f"sha512-{base64.b64encode(hashlib.sha512(content).digest()).decode()}"


def identity(parts: Iterable[object]) -> str:
    """Return sixteen hexadecimal digits that stand for everything an installation is made from."""
    return hashlib.sha256(json.dumps(list(parts)).encode()).hexdigest()[:16]

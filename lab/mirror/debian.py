"""Packages from the machine's own Debian mirrors: what a host needs, fetched without a host.

APT of the machine resolves as if it ran in the base image: same installed packages, but
sources, lists and cache of its own.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.errors import LabError
from lab.process import run

FORMAT = "$(ORIGIN)|$(CODENAME)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)"
KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"

# How the machine reaches its mirrors; the rest of its configuration is its own affair.
KEPT = re.compile(r"^Acquire::(\S+::)?(Proxy|CaInfo|Verify-\w+|Check-(Valid-Until|Date))\b", re.I)

# What both releases have comes from the newer one, as with the states' own pinning.
PREFERENCES = "Package: *\nPin: release n={suite}\nPin-Priority: 100\n"


def source_lines(suite: str) -> list[str]:
    """Return source lines for a suite and its updates from the machine's configuration.

    :param suite: codename, as bookworm
    :raises LabError: where the machine has no such source
    """
    targets = ["apt-get", "indextargets", "--format", FORMAT]
    lines = select(run(targets).stdout, suite)
    if not lines:  # a new machine has no lists yet, and only they tell what is Debian's
        run(["apt-get", "-qq", "update"])
        lines = select(run(targets).stdout, suite)
    if not lines:
        raise LabError(
            f"this machine's APT knows no source of Debian {suite} (main)",
            "look at /etc/apt/sources.list and /etc/apt/sources.list.d",
        )
    return lines


def select(targets: str, suite: str) -> list[str]:
    """Return the source lines of Debian's given suite among APT's index targets.

    :param targets: lines ORIGIN|CODENAME|URI|RELEASE|COMPONENT
    :param suite: codename; its updates and security updates belong to it
    """
    wanted = {suite, f"{suite}-updates", f"{suite}-security"}
    found = (line.split("|") for line in targets.splitlines())
    return sorted(
        {
            f"deb [signed-by={KEYS}] {uri} {release} main"
            for origin, codename, uri, release, component in found
            if origin == "Debian" and codename in wanted and component == "main"
        }
    )


def other_suite(lines: Sequence[str], suite: str, other: str) -> str:
    """Return the line of the same mirror for another release.

    >>> other_suite(["deb [signed-by=K] http://mirror/debian bookworm main"], "bookworm", "trixie")
    'deb [signed-by=K] http://mirror/debian trixie main'
    """
    line = next(line for line in lines if line.endswith(f" {suite} main"))
    return line.replace(f" {suite} main", f" {other} main")


def download_options() -> list[str]:
    """Return the machine's APT options for reaching its mirrors, in the syntax of apt.conf."""
    return [line for line in run(["apt-config", "dump"]).stdout.splitlines() if KEPT.match(line)]


@dataclass(frozen=True)
class Package:
    """A file of a Debian mirror."""

    uri: str
    file: str
    size: int
    checksum: str


def parse_uris(text: str) -> list[Package]:
    """Parse the output of `apt-get --print-uris`: 'URI' FILE SIZE HASH, one a line."""
    fields = (line.split() for line in text.splitlines())
    return [Package(uri.strip("'"), file, int(size), sha) for uri, file, size, sha in fields]


class Resolver:
    """APT that looks at a root file system without touching it.

    :param work: directory for lists and caches, kept between runs
    :param root: the base image
    :param suite: codename of the base image's release
    :param older: codename of an older release that fills gaps
    """

    def __init__(self, work: Path, root: Path, suite: str, older: str) -> None:
        for name in ("state/lists/partial", "cache/archives/partial"):
            (work / name).mkdir(parents=True, exist_ok=True)
        lines = source_lines(suite)
        lines.append(other_suite(lines, suite, older))
        (work / "sources.list").write_text("\n".join(lines) + "\n")
        (work / "preferences").write_text(PREFERENCES.format(suite=older))
        options = {
            "Acquire::ForceHash": "SHA256",
            "APT::Install-Recommends": "false",
            "APT::Sandbox::User": "root",
            "Debug::NoLocking": "true",
            "Dir::Cache": work / "cache",
            "Dir::Cache::pkgcache": "pkgcache.bin",
            "Dir::Etc::preferences": work / "preferences",
            "Dir::Etc::preferencesparts": "/dev/null",
            "Dir::Etc::sourcelist": work / "sources.list",
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::State": work / "state",
            "Dir::State::status": root / "var/lib/dpkg/status",
        }
        text = "".join(f'{name} "{value}";\n' for name, value in options.items())
        (work / "apt.conf").write_text(text)
        self._apt = ["apt-get", f"--config-file={work / 'apt.conf'}", "-qq"]

    def update(self) -> None:
        """Fetch the lists of packages."""
        run([*self._apt, "update"])

    def closure(self, names: Sequence[str]) -> list[Package]:
        """Return what `apt-get install` would fetch on a bare host.

        :param names: packages, also NAME=VERSION; none is fine
        :raises LabError: where one is unknown or they can't be installed together
        """
        return self._uris("install", names)

    def files(self, names: Sequence[str]) -> list[Package]:
        """Return the packages themselves, without what they depend on."""
        return self._uris("download", names)

    def _uris(self, command: str, names: Sequence[str]) -> list[Package]:
        if not names:
            return []
        return parse_uris(run([*self._apt, command, "--print-uris", *names]).stdout)


def fetch(packages: Collection[Package], directory: Path) -> None:
    """Bring a directory to just these packages; those downloaded are checked by their hash."""
    directory.mkdir(parents=True, exist_ok=True)
    for file in {path.name for path in directory.iterdir()} - {one.file for one in packages}:
        (directory / file).unlink()
    triples = [
        part
        for package in packages
        if not complete(path := directory / package.file, package.size)
        for part in (package.uri, path, package.checksum)
    ]
    if triples:
        run(["/usr/lib/apt/apt-helper", "-o=APT::Sandbox::User=root", "download-file", *triples])


def complete(path: Path, size: int) -> bool:
    """Tell whether a file is there in its full size: a killed download is not."""
    return path.is_file() and path.stat().st_size == size

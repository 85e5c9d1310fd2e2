"""Fetch the Debian packages that a host needs, without a host, from the machine's own mirrors.

The machine's APT resolves dependencies as if it ran in the base image: it sees the image's
installed packages, but has separate sources, lists and caches.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.errors import LabError
from lab.process import run

FORMAT = "$(ORIGIN)|$(CODENAME)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)"
KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"

# The options that say how the machine reaches its mirrors. Other options are not copied.
KEPT = re.compile(r"^Acquire::(\S+::)?(Proxy|CaInfo|Verify-\w+|Check-(Valid-Until|Date))\b", re.I)

# A package of both releases comes from the newer one, as with the states' own pinning.
PREFERENCES = "Package: *\nPin: release n={suite}\nPin-Priority: 100\n"


def source_lines(suite: str, usual: str | None = None) -> list[str]:
    """Return the machine's APT sources for a suite and its updates.

    Args:
        suite: The codename, for example bookworm.
        usual: The codename of the machine's own release. If the machine has no source for the
            suite, the suite is taken from the mirrors of this release.

    Raises:
        LabError: The machine has no such source.
    """
    if usual not in (None, suite):
        known = select(run(["apt-get", "indextargets", "--format", FORMAT]).stdout, suite)
        return known or [instead(line, str(usual), suite) for line in source_lines(str(usual))]
    targets = ["apt-get", "indextargets", "--format", FORMAT]
    lines = select(run(targets).stdout, suite)
    if not lines:  # a new machine has no lists yet, and only they tell which sources are Debian's
        run(["apt-get", "-qq", "update"])
        lines = select(run(targets).stdout, suite)
    if not lines:
        raise LabError(
            f"this machine's APT has no source for Debian {suite}, component main",
            "add one to /etc/apt/sources.list or /etc/apt/sources.list.d, then: make up",
        )
    return lines


def select(targets: str, suite: str) -> list[str]:
    """Return the source lines for a suite of Debian among APT's index targets.

    Args:
        targets: Lines of the form ORIGIN|CODENAME|URI|RELEASE|COMPONENT.
        suite: The codename. Its updates and security updates are included.
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


def instead(line: str, suite: str, other: str) -> str:
    """Return a source line with another release in place of its own.

    >>> instead("deb [signed-by=K] http://mirror bookworm-updates main", "bookworm", "trixie")
    'deb [signed-by=K] http://mirror trixie-updates main'
    """
    return re.sub(rf" {suite}(-\w+)? main$", rf" {other}\1 main", line)


def other_suite(lines: Sequence[str], suite: str, other: str) -> str:
    """Return the source line for another release on the same mirror.

    Args:
        lines: The source lines of a suite.
        suite: The suite's codename.
        other: The codename of the other release.

    >>> other_suite(["deb [signed-by=K] http://mirror/debian bookworm main"], "bookworm", "trixie")
    'deb [signed-by=K] http://mirror/debian trixie main'
    """
    line = next(line for line in lines if line.endswith(f" {suite} main"))
    return line.replace(f" {suite} main", f" {other} main")


def download_options() -> list[str]:
    """Return the options with which the machine's APT reaches its mirrors, as lines of apt.conf."""
    return [line for line in run(["apt-config", "dump"]).stdout.splitlines() if KEPT.match(line)]


@dataclass(frozen=True)
class Package:
    """A package on a Debian mirror."""

    uri: str
    file: str
    size: int
    checksum: str


def parse_uris(text: str) -> list[Package]:
    """Return the packages that `apt-get --print-uris` prints: lines of 'URI' FILE SIZE HASH."""
    fields = (line.split() for line in text.splitlines())
    return [Package(uri.strip("'"), file, int(size), sha) for uri, file, size, sha in fields]


class Resolver:
    """Run APT for a root file system without changing it.

    Args:
        work: The directory for lists and caches, which is kept between runs.
        root: The root directory of the base image.
        suite: The codename of the base image's release.
        usual: The codename of the machine's own release.
        older: The codename of an older release, for packages that the newer one does not have.
    """

    def __init__(
        self, work: Path, root: Path, suite: str, usual: str, older: str | None = None
    ) -> None:
        for name in ("state/lists/partial", "cache/archives/partial"):
            (work / name).mkdir(parents=True, exist_ok=True)
        lines = source_lines(suite, usual)
        lines += [other_suite(lines, suite, older)] if older else []
        (work / "sources.list").write_text("\n".join(lines) + "\n")
        (work / "preferences").write_text(PREFERENCES.format(suite=older) if older else "")
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
        """Fetch the package lists."""
        run([*self._apt, "update"])

    def closure(self, names: Sequence[str]) -> list[Package]:
        """Return the packages that `apt-get install` would fetch on a bare host.

        Args:
            names: Names of packages, or NAME=VERSION.

        Raises:
            LabError: A package is unknown, or they cannot be installed together.
        """
        return self._uris("install", names)

    def files(self, names: Sequence[str]) -> list[Package]:
        """Return the packages themselves, without their dependencies."""
        return self._uris("download", names)

    def _uris(self, command: str, names: Sequence[str]) -> list[Package]:
        if not names:
            return []
        return parse_uris(run([*self._apt, command, "--print-uris", *names]).stdout)


def fetch(packages: Collection[Package], directory: Path) -> None:
    """Make a directory contain exactly these packages. APT checks the hash of each download."""
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
    """Return whether a file exists and has its full size, which a killed download has not."""
    return path.is_file() and path.stat().st_size == size

"""Fetch the Python packages of an application that has requirements instead of a lock.

pip chooses the versions here, within the definition's constraints. The lab's hosts have no other
ones, so they choose the same. A source archive is built on the host, in an environment that pip
fills with the tools that the archive names; so the mirror has these too.
"""

import io
import os
import shutil
import tarfile
import tomllib
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from lab.errors import LabError
from lab.mirror.wheels import THIS_PYTHON, configure, unprivileged

ASSUMED = ("setuptools>=40.8.0", "wheel")  # PEP 518: the tools of an archive that names none
PROJECT = "pyproject.toml"


@dataclass(frozen=True)
class Requirements:
    """The Python packages that a definition wants.

    Args:
        place: Where the definition names them, for messages.
        python: The version of Python that uses them, such as 3.11.
        texts: The files of the code that name them.
        alone: Further packages (NAME==VERSION), without their dependencies.
        constraints: Versions that pip may take, for the packages and the tools that build them.
        packages: The Debian packages with which a host builds them.
    """

    place: str
    python: str
    texts: tuple[str, ...]
    alone: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()


def fetch(wanted: Requirements, directory: Path) -> None:
    """Fill an empty directory with the files of the packages and of the tools that build them.

    Args:
        wanted: The packages.
        directory: The directory.

    Raises:
        LabError: They are for another Python than this machine's, or pip failed.
    """
    if wanted.python != THIS_PYTHON:
        raise LabError(
            f"{wanted.place}: Python {wanted.python} cannot be resolved here, because this machine "
            f"has Python {THIS_PYTHON}, and source archives must be asked for what they need",
            "use a lock instead (docs/guides/add-an-application-version.md)",
        )
    with TemporaryDirectory(prefix="salina-lab-", dir="/var/tmp") as name:
        place = Path(name)
        os.chmod(place, 0o755)
        configure(place / "home")
        results = place / "results"
        results.mkdir()
        (place / "constraints.txt").write_text("".join(f"{one}\n" for one in wanted.constraints))
        files = []
        for number, text in enumerate(wanted.texts):
            (place / f"requirements-{number}.txt").write_text(text)
            files += ["-r", f"{place}/requirements-{number}.txt"]
        if files:
            _download(place, wanted, files)
        if wanted.alone:
            _download(place, wanted, ["--no-deps", *wanted.alone])
        for archive in sorted(results.iterdir()):
            if tools := build_tools(archive):
                _download(place, wanted, list(tools))
        if results.is_symlink():
            raise LabError(f"{wanted.place}: a build has replaced the directory for its files")
        for file in results.iterdir():
            if file.is_file() and not file.is_symlink():
                shutil.move(file, directory / file.name)


def _download(place: Path, wanted: Requirements, what: Sequence[str]) -> None:
    """Let pip fetch packages into the directory `results` of a place."""
    limits = f"{place}/constraints.txt"
    command = ["download", "--dest", f"{place}/results", "--constraint", limits, *what]
    try:
        unprivileged(place, command, {"PIP_CONSTRAINT": limits})
    except LabError as error:
        packages = " ".join(wanted.packages)
        raise LabError(
            f"{wanted.place}: pip cannot fetch them:\n{error}",
            "look at the lines of pip above. A source archive may need Debian packages here as on "
            f"the hosts: apt-get install {packages or 'build-essential python3-dev'}. Versions can "
            "be limited by odoo.python.constraints. A lock needs neither (make lock)",
        ) from error


def build_tools(archive: Path) -> tuple[str, ...]:
    """Return the requirements of the tools that build a source archive; a wheel needs none.

    Args:
        archive: NAME-VERSION.tar.gz, NAME-VERSION.zip or a wheel.

    Raises:
        LabError: The archive cannot be read.
    """
    if archive.suffix == ".whl":
        return ()
    try:
        text = _project(archive)
        return tools_of(text)
    except (OSError, tarfile.TarError, zipfile.BadZipFile, ValueError) as error:
        raise LabError(f"{archive.name}: {error}") from error


def tools_of(project: str | None) -> tuple[str, ...]:
    """Return the tools that a pyproject.toml names.

    Args:
        project: The text of the file; None if the archive has none.

    Raises:
        ValueError: It is not TOML.
    """
    system = tomllib.loads(project).get("build-system") if project is not None else None
    if system is None or "requires" not in system:
        return ASSUMED
    return tuple(system["requires"])


def _project(archive: Path) -> str | None:
    """Return the text of the pyproject.toml in the archive's only directory, if there is one."""
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive) as packed:
            found = [name for name in packed.namelist() if _at_top(name)]
            return packed.read(found[0]).decode() if found else None
    with tarfile.open(archive) as packed_tar:
        for member in packed_tar:
            if member.isfile() and _at_top(member.name):
                content = packed_tar.extractfile(member) or io.BytesIO()
                return content.read().decode()
    return None


def _at_top(name: str) -> bool:
    return name.count("/") == 1 and name.endswith(f"/{PROJECT}")

"""Collect the wheels for a lock, and build those that PyPI does not have."""

import re
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from lab.errors import LabError
from lab.mirror.cache import remove
from lab.process import run

PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")
THIS_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"

# Platform tags of wheels that Debian bookworm can run.
PLATFORMS = ("manylinux2014", "manylinux2010", "manylinux1", "manylinux_2_28")


def wheelhouse(directory: Path, lock: Path, python: str) -> Path:
    """Make a directory contain exactly the wheels of a lock. Existing wheels are kept.

    Args:
        directory: The directory, which is kept between runs.
        lock: The file with lines of the form NAME==VERSION.
        python: The version of Python that will use the wheels, for example 3.9.

    Returns:
        The directory.

    Raises:
        LabError: A wheel can be neither downloaded nor built.
    """
    directory.mkdir(parents=True, exist_ok=True)
    wanted = {wheel_key(line.replace("==", "-", 1)): line for line in lock.read_text().split()}
    for file in directory.iterdir():
        if file.suffix != ".whl" or wheel_key(file.name) not in wanted:
            remove(file)
    present = {wheel_key(file.name) for file in directory.iterdir()}
    missing = [line for key, line in wanted.items() if key not in present]
    if missing:
        # Only complete wheels get their final names.
        with TemporaryDirectory(dir=directory) as fresh:
            make_wheels(Path(fresh), missing, python)
            for wheel in Path(fresh).iterdir():
                wheel.rename(directory / wheel.name)
    return directory


def make_wheels(directory: Path, requirements: list[str], python: str) -> None:
    """Download wheels into an empty directory, and build those that PyPI does not have.

    Args:
        directory: The empty directory.
        requirements: Requirements of the form NAME==VERSION.
        python: The version of Python that will use the wheels.
    """
    if python == THIS_PYTHON:
        run([*PIP, "wheel", "--no-deps", "--wheel-dir", directory, *requirements])
    else:
        download(directory, requirements, python)
        build(directory, python)


def wheel_key(name: str) -> tuple[str, str]:
    """Return the normalised name and the version in a wheel's name: `Zope.Event-4.6-py2.py3-…`.

    The rule is at https://packaging.python.org/specifications/name-normalization
    """
    distribution, version, *_ = re.split(r"-(\d[^-]*)", name, maxsplit=1)
    return re.sub(r"[-_.]+", "-", distribution).lower(), version


def download(directory: Path, requirements: list[str], python: str) -> None:
    """Download wheels for another Python, and source archives where there is no wheel.

    Args:
        directory: The directory for the files.
        requirements: Requirements of the form NAME==VERSION.
        python: The version of the other Python.
    """
    platforms = [f"--platform={platform}_x86_64" for platform in PLATFORMS]
    target = ["--no-deps", f"--python-version={python}", *platforms]
    run([*PIP, "download", *target, "--dest", directory, *requirements])


def build(directory: Path, python: str) -> None:
    """Replace the source archives in a directory by wheels.

    Raises:
        LabError: A package has compiled code, which would be compiled for this Python instead.
    """
    for source in [file for file in directory.iterdir() if file.suffix != ".whl"]:
        before = set(directory.glob("*.whl"))
        run([*PIP, "wheel", "--no-deps", "--wheel-dir", directory, source])
        (wheel,) = set(directory.glob("*.whl")) - before
        if not wheel.name.endswith("-none-any.whl"):
            remove(wheel)
            raise LabError(
                f"{source.name} has compiled code and no wheel for Python {python}; "
                f"this machine can only compile for Python {THIS_PYTHON}",
                "choose a version with a wheel in pyproject.toml, then: make lock",
            )
        remove(source)

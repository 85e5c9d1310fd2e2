"""A directory that stands for PyPI, with small distributions that a real pip installs."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from salina.common import locks

BACKEND = """
import os, zipfile
PLACE = {place!r}

def build_wheel(directory, *given):
    open(PLACE, "a").write("built ")
    name = open("PKG-INFO").read().split()[3]
    wheel = f"{{name}}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(directory, wheel), "w") as archive:
        archive.writestr(f"{{name}}.py", "")
        info = f"{{name}}-1.0.dist-info"
        archive.writestr(f"{{info}}/METADATA", open("PKG-INFO").read())
        archive.writestr(f"{{info}}/WHEEL", {wheel!r})
        archive.writestr(f"{{info}}/RECORD", "")
    return wheel
"""
"""The tool that builds the sources of these tests; it notes that it ran."""
WHEEL = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
PROJECT = '[build-system]\nrequires = ["tinybuild"]\nbuild-backend = "tinybuild"\n'


def backend(noted: Path) -> str:
    """Return the tool's code."""
    return BACKEND.format(place=str(noted), wheel=WHEEL)


def wheel(place: Path, name: str, content: str) -> str:
    """Put a wheel into the directory that stands for PyPI; return its hash."""
    info = f"{name}-1.0.dist-info"
    files = {
        f"{name}.py": content,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": WHEEL,
        f"{info}/RECORD": "",
    }
    file = place / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return hashlib.sha256(file.read_bytes()).hexdigest()


def source(place: Path, name: str) -> str:
    """Put a source archive there; return its hash."""
    file = place / f"{name}-1.0.tar.gz"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
    with tarfile.open(file, "w:gz") as archive:
        for path, text in {"pyproject.toml": PROJECT, "PKG-INFO": metadata}.items():
            member = tarfile.TarInfo(f"{name}-1.0/{path}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return hashlib.sha256(file.read_bytes()).hexdigest()


def lock(hashes: Mapping[str, str], *sources: str) -> str:
    """Return the text of a lock for version 1.0 of distributions."""
    return locks.text_of({f"{name}==1.0": [one] for name, one in hashes.items()}, sources)

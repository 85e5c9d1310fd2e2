"""Read a lock: a file of salt/locks with the version and the hashes of every distribution.

`make lock` writes locks in the form of pip's requirement files, and pip checks every downloaded
file against the hashes. A distribution without a wheel is named by `--no-binary`. The tools that
build it are in a second lock beside the first one, because pip would fetch them without a hash.

The standard library is all that this module needs, because bin/lab uses it before anything is
installed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

WHEELS_ONLY = "--only-binary :all:"
"""The first line of a lock: pip builds nothing that `--no-binary` does not name."""
SOURCES = "--no-binary "
"""A line after that: the distributions that are built from their source archive."""
VERIFIED = ("--require-hashes", "--no-deps")
"""Options of pip for every lock."""
BUILT = ("--use-pep517", "--no-build-isolation")
"""Further options of pip if a lock has source archives: pip fetches no build tools of its own."""
REMEDY = "`make lock` writes a lock with hashes"

_ENTRY = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*==[^\s;]+")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


def tools(lock: str) -> str:
    """Return the path of the lock of the build tools for a lock.

    >>> tools("salt/locks/patroni.txt")
    'salt/locks/patroni.build.txt'
    """
    return f"{lock.removesuffix('.txt')}.build.txt"


def entries(text: str) -> Mapping[str, tuple[str, ...]]:
    """Return the hashes of each NAME==VERSION of a lock, in the order of the lock."""
    found: dict[str, tuple[str, ...]] = {}
    for line in _logical(text):
        if not line.startswith("-"):
            entry, *options = line.split()
            matches = map(_HASH.fullmatch, options)
            found[entry] = tuple(match[1] for match in matches if match)
    return found


def sources(text: str) -> tuple[str, ...]:
    """Return the names of the distributions that are built from their source archive."""
    lines = (line for line in _logical(text) if line.startswith(SOURCES))
    return tuple(name for line in lines for name in line.removeprefix(SOURCES).split(","))


def faults(text: str) -> list[str]:
    """Return what prevents pip from verifying every file of a lock, and the command that helps."""
    options = [line for line in _logical(text) if line.startswith("-")]
    found = entries(text)
    lines = [f"{line} is not an option of a lock" for line in options if not _known(line)]
    lines += [f"{entry} is not NAME==VERSION" for entry in found if not _ENTRY.fullmatch(entry)]
    without = [entry for entry, hashes in found.items() if not hashes]
    if without:
        others = f" and {len(without) - 1} more have" if without[1:] else " has"
        lines.append(f"{without[0]}{others} no hash")
    if options[:1] != [WHEELS_ONLY]:
        lines.append(f"its first line must be {WHEELS_ONLY}")
    return [f"{line}; {REMEDY}" for line in lines]


def text_of(entries: Mapping[str, Iterable[str]], sources: Iterable[str]) -> str:
    """Return the text of a lock with these hashes, and with these distributions as sources."""
    lines = [WHEELS_ONLY, *([SOURCES + ",".join(sources)] if sources else [])]
    for entry, hashes in entries.items():
        lines.append(" \\\n".join([entry, *(f"    --hash=sha256:{digest}" for digest in hashes)]))
    return "\n".join([*lines, ""])


def foreign(wheels: Iterable[Path], text: str) -> list[str]:
    """Return the wheels that a lock does not allow: no hash fits, and no source has this name.

    The build of one source could have replaced the wheel of another distribution.
    """
    hashes = {digest for allowed in entries(text).values() for digest in allowed}
    return [
        wheel.name
        for wheel in wheels
        if distribution(wheel.name) not in sources(text)
        and hashlib.sha256(wheel.read_bytes()).hexdigest() not in hashes
    ]


def distribution(file: str) -> str:
    """Return the name of a distribution, as a lock writes it, from the name of a wheel.

    >>> distribution("zope.event-4.6-py2.py3-none-any.whl")
    'zope-event'
    """
    return re.sub(r"[-_.]+", "-", file.partition("-")[0]).lower()


def _known(option: str) -> bool:
    return option == WHEELS_ONLY or option.startswith(SOURCES)


def _logical(text: str) -> Iterator[str]:
    """Yield the lines of a requirement file without comments and continuations."""
    for line in text.replace("\\\n", " ").splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            yield line.strip()

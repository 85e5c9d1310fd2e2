"""Which host builds a release, and the digest of each release that was built.

The master keeps both, because every apply needs the master anyway, and an app host must not be able
to change the code of another one: whoever unpacks an archive compares it with this record first.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from salina.common import file, reading
from salina_fleet.errors import RunnerError

FILE = "releases.json"
LEASE = 600
"""Seconds after which another host may build the release if its builder was not heard of again."""
KEPT = 50
"""The records that are kept for each application, the newest ones."""

Releases = dict[str, dict[str, "Built"]]
"""The releases of each application, by their names, from old to new."""


@dataclass(frozen=True)
class Built:
    """A release that a host builds, or has built.

    `host`: who builds it, or has built it. `time`: seconds since 1970; of a finished release its
    end, before that the last time when its builder was heard of. `digest`: the SHA-256 of its
    archive, or "" while it is built.
    """

    host: str
    time: float
    digest: str = ""


def build(
    releases: dict[str, Built], name: str, host: str, now: float
) -> tuple[dict[str, Built], str, str]:
    """Let a host build a release, unless it exists or another host builds it.

    Args:
        releases: those of the application.
        name: the release.
        host: the host that asks.
        now: the time.

    Returns:
        The releases of the application, the digest of this one if it exists, and why the host must
        not build it, or "".
    """
    digest, refused = _settled(releases, name, host, now)
    if digest or refused:
        return releases, digest, refused
    return {**releases, name: Built(host, now)}, "", ""


def finish(
    releases: dict[str, Built], name: str, host: str, digest: str, now: float
) -> tuple[dict[str, Built], str, str]:
    """Record a release that a host has built, unless another host was faster.

    Args:
        releases: those of the application.
        name: the release.
        host: the host that has built it.
        digest: the SHA-256 of its archive.
        now: the time.

    Returns:
        The releases of the application, the digest that counts, and why none was recorded, or "".
    """
    counts, refused = _settled(releases, name, host, now)
    if counts or refused:
        return releases, counts, refused
    others = {each: one for each, one in releases.items() if each != name}
    for old in list(others)[: max(0, len(others) + 1 - KEPT)]:
        del others[old]
    return {**others, name: Built(host, now, digest)}, digest, ""


def _settled(releases: dict[str, Built], name: str, host: str, now: float) -> tuple[str, str]:
    """Return the digest of a release if it exists, and which other host builds it now, or ""."""
    found = releases.get(name)
    if found is None or found.digest:
        return (found.digest if found else ""), ""
    if found.host != host and now - found.time < LEASE:
        age = now - found.time
        return "", f"{found.host} builds release {name}, last heard of {age:.0f} s ago"
    return "", ""


def read(path: Path) -> Releases:
    """Return the releases in a file; a missing file has none.

    Raises:
        RunnerError: the file is damaged, or cannot be read.
    """
    try:
        content = json.loads(reading.read(path))
        return {
            application: {name: Built(**one) for name, one in found.items()}
            for application, found in content.items()
        }
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise RunnerError(f"{path}: the file cannot be read: {error.strerror}") from None
    except (AttributeError, TypeError, ValueError, RecursionError) as error:
        advice = "restore it from a backup, or delete it: then every release is built again"
        raise RunnerError(f"{path}: the file is damaged: {error}; {advice}") from None


@contextmanager
def changing(path: Path) -> Iterator[Releases]:
    """Let one process at a time change the releases in a file."""
    with file.locked(path.with_suffix(".lock")):
        releases = read(path)
        yield releases
        content = {
            application: {name: asdict(one) for name, one in found.items()}
            for application, found in releases.items()
        }
        file.put(path, json.dumps(content, indent=2))

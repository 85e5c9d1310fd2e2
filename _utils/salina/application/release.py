"""Releases of an application on an app host: where they are, and how one becomes an archive.

A release is a directory with one commit of the code and everything that the code needs. The host
that built it packs it. Every other host unpacks the same archive, after it has compared it with the
digest that the master has recorded.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from salina.common import file

STORE = "releases"
"""The directory of the archives on the volume. No application can have this name."""
REPOSITORIES = ".repositories"
"""The directory of a release with the further repositories. No repository may have it itself."""
UNFINISHED = ".unfinished"
SUFFIX = ".tar.zst"
CHUNK = 1 << 20
NAME = re.compile(r"[0-9a-f]{12}-[0-9a-f]{8}")


def releases(kind: str) -> str:
    """Return the directory of an app host that has the releases of its application."""
    return f"/opt/{kind}/releases"


def production(kind: str) -> str:
    """Return the link of an app host to the release that it runs."""
    return f"/opt/{kind}/production"


def beside_code(name: str) -> str:
    """Return where a release has the further repository of this name."""
    return f"{REPOSITORIES}/{name}"


T = TypeVar("T")


@dataclass(frozen=True)
class Release:
    """A release on this host, by its directory. Its archive and its record are beside it."""

    directory: Path

    @property
    def name(self) -> str:
        """Return the release's name."""
        return self.directory.name

    @property
    def archive(self) -> Path:
        """Return the release's archive, which this host keeps."""
        return self.directory.with_name(f"{self.name}{SUFFIX}")

    @property
    def record(self) -> Path:
        """Return the file that says that the release is complete. It is written last."""
        return self.directory.with_name(f"{self.name}.json")

    def digest(self) -> str:
        """Return the digest of the release's archive if the release is complete, or ""."""
        try:
            return str(json.loads(self.record.read_text())["digest"])
        except (FileNotFoundError, ValueError, KeyError):
            return ""

    def recorded(self) -> bool:
        """Return whether the master has recorded the digest of a complete release."""
        return bool(self.digest() and json.loads(self.record.read_text()).get("recorded"))

    def complete(self, digest: str, commit: str, recorded: bool) -> None:
        """Record that the release is complete.

        Args:
            digest: its archive's.
            commit: the commit of its code.
            recorded: whether the master has recorded the digest.
        """
        found = {"digest": digest, "commit": commit, "recorded": recorded}
        file.put(self.record, json.dumps(found))

    def commit(self) -> str:
        """Return the commit of the code of a complete release, or ""."""
        return str(json.loads(self.record.read_text())["commit"]) if self.digest() else ""

    def remove(self) -> None:
        """Remove the release; its record first."""
        self.record.unlink(missing_ok=True)
        for one in (self.directory, self.directory.with_name(f"{self.name}{UNFINISHED}")):
            if one.exists():
                shutil.rmtree(one)
        self.archive.unlink(missing_ok=True)

    def changed(self) -> list[str]:
        """Return the files of a complete release that somebody changed after it was complete.

        Every change of a file sets its ctime. Compiled Python does not count.
        """
        since = self.record.stat().st_ctime_ns
        return sorted(_changed(str(self.directory), since))


def _changed(directory: str, since: int) -> list[str]:
    found: list[str] = []
    for entry in os.scandir(directory):
        if entry.is_dir(follow_symlinks=False):
            found += _changed(entry.path, since)
        elif (
            entry.is_file(follow_symlinks=False)
            and not entry.name.endswith(".pyc")
            and entry.stat(follow_symlinks=False).st_ctime_ns > since
        ):
            found.append(entry.path)
    return found


def present(kind: str) -> list[Release]:
    """Return the complete releases of this host, from old to new by their last use."""
    place = Path(releases(kind))
    names = [path.stem for path in place.glob("*.json") if NAME.fullmatch(path.stem)]
    found = [Release(place / name) for name in names]
    return sorted([one for one in found if one.digest()], key=lambda one: used(one.archive))


def used(archive: Path) -> float:
    """Return when a release was activated or completed last, by its archive."""
    try:
        return archive.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def active(link: str | Path) -> str:
    """Return the name of the release that a link leads to, or "" if there is none."""
    path = Path(link)
    return Path(os.readlink(path)).name if path.is_symlink() else ""


def activate(link: str | Path, release: Release, *archives: Path) -> None:
    """Let a link lead to a release, at once.

    Args:
        link: its path.
        release: the release.
        archives: its archives elsewhere. They and its own get the time of this moment, so that the
            release which ran last is not the first to be removed.
    """
    for archive in (release.archive, *archives):
        with contextlib.suppress(OSError):  # the volume may be away
            os.utime(archive)
    fresh = Path(f"{link}{UNFINISHED}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(release.directory)
    fresh.replace(link)
    # a service that started before this moment runs another release
    file.put(marker(link), json.dumps({"release": release.name}))


def marker(link: str | Path) -> Path:
    """Return the file that changes whenever another release is activated."""
    return Path(f"{link}.json")


def waiting(link: str | Path) -> str:
    """Return the release that waits until the database fits it, or ""."""
    try:
        return str(json.loads(_waiting(link).read_text())["release"])
    except (FileNotFoundError, ValueError, KeyError):
        return ""


def wait(link: str | Path, name: str) -> None:
    """Note the release that waits until the database fits it; "" if none does."""
    if not name:
        _waiting(link).unlink(missing_ok=True)
    elif waiting(link) != name:
        file.put(_waiting(link), json.dumps({"release": name}))


def _waiting(link: str | Path) -> Path:
    return Path(link).with_name("waiting.json")


def beside(path: Path) -> Path:
    """Return where this host writes a file that is not complete yet; two may write the same one."""
    return path.with_name(f".{path.name}.{platform.node()}{UNFINISHED}")


def copied(source: Path, target: Path, wanted: str) -> str:
    """Copy a file so that its name appears when it is complete, and return its digest.

    Args:
        source: the file.
        target: its copy.
        wanted: the digest without which the copy does not appear.

    Returns:
        The SHA-256 of what was read.
    """
    digest, aside = hashlib.sha256(), beside(target)
    with source.open("rb") as read, aside.open("wb") as written:
        os.fchmod(written.fileno(), 0o600)
        while chunk := read.read(CHUNK):
            digest.update(chunk)
            written.write(chunk)
        written.flush()
        os.fsync(written.fileno())
    if digest.hexdigest() == wanted:
        aside.replace(target)
    else:
        aside.unlink()
    return digest.hexdigest()


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def surplus(found: list[T], kept: int) -> list[T]:
    """Return which of some releases can go: all but the `kept` newest, which are at the end."""
    return found[: max(0, len(found) - max(0, kept))]

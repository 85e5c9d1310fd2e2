"""Which release of an application its database belongs to.

The parts of a release that make the database what it is are Odoo's modules and a Node application's
migrations. Each has a checksum. The database itself records those of the release that made it, so a
restored database says which code it needs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from salina.application.database import MARKS
from salina.application.release import NAME
from salina.database.psql import Session, literal
from salina.database.records import TABLE

DIGITS = 16
"""The digits of a checksum: enough to notice every change, which nobody makes to deceive."""


def digest(found: Iterable[tuple[str, Path]]) -> str:
    """Return the checksum of some files with their names."""
    whole = hashlib.sha256()
    for name, path in found:
        whole.update(f"{name}\0".encode())
        whole.update(hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()[:DIGITS]


def checksum(directory: Path, counts: Callable[[Path], bool]) -> str:
    """Return the checksum of the files in a directory.

    Args:
        directory: where they are.
        counts: whether a file or a directory counts, by its path inside the directory.
    """
    return digest((str(path.relative_to(directory)), path) for path in files(directory, counts))


def files(directory: Path, counts: Callable[[Path], bool]) -> Iterator[Path]:
    """Yield the files in a directory that count, always in the same order.

    Args:
        directory: where they are.
        counts: as in `checksum`.
    """
    return _files(directory, directory, counts)


def _files(place: Path, top: Path, counts: Callable[[Path], bool]) -> Iterator[Path]:
    for path in sorted(place.iterdir()):
        if not counts(path.relative_to(top)):
            continue
        if path.is_dir():
            yield from _files(path, top, counts)
        elif path.is_file():
            yield path


def recorded(opened: Session) -> dict[str, Any]:
    """Return the `release` that a database belongs to and its `parts`, or {} if it names none.

    Args:
        opened: a session with the database, as the role that records.

    Raises:
        ValueError: the table is missing, or somebody has written something else there.
    """
    if absent := missing(opened):
        raise ValueError(absent)
    rows = opened.query(
        f"SELECT json_build_object('release', release, 'parts', parts) FROM {TABLE}"
    )
    found = dict(json.loads(rows[0])) if rows else {}
    if found and not (NAME.fullmatch(found["release"]) and isinstance(found["parts"], dict)):
        raise ValueError(f"{found['release']!r} is not a release's name, or it has no parts")
    return found


def missing(opened: Session) -> str:
    """Return that the table with the release is missing, or "".

    Args:
        opened: a session with the database, as the role that records.
    """
    if opened.query(f"SELECT to_regclass('{TABLE}') IS NULL") == ["t"]:
        return f"{TABLE} is missing; apply the states of the database hosts"
    return ""


def record(opened: Session, release: str, parts: Mapping[str, str], before: str) -> None:
    """Record the release that a database belongs to.

    Args:
        opened: a session with the database, as the role that records.
        release: the release's name.
        parts: its parts with their checksums.
        before: the release that it names now, or "".

    Raises:
        ValueError: meanwhile it names another one, or the table is missing.
    """
    opened.query("BEGIN")
    opened.query(f"SELECT pg_advisory_xact_lock(hashtextextended({literal(TABLE)}, 0))")
    if (now := recorded(opened).get("release", "")) not in (before, release):
        raise ValueError(f"it belongs to release {now} meanwhile")
    opened.query(
        f"INSERT INTO {TABLE} (release, parts, recorded) VALUES ({literal(release)}, "
        f"{literal(json.dumps(parts))}, now()) ON CONFLICT (one) DO UPDATE SET "
        "release = excluded.release, parts = excluded.parts, recorded = excluded.recorded"
    )
    opened.query("COMMIT")


def used(opened: Session) -> bool:
    """Return whether an application has begun to use a database: a one-time step was done.

    Args:
        opened: a session with the database.
    """
    if opened.query(f"SELECT to_regclass('{MARKS}') IS NULL") == ["t"]:
        return False
    return opened.query(f"SELECT EXISTS (SELECT FROM {MARKS})") == ["t"]

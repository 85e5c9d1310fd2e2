"""A release on a host, and the database that belongs to one, as several tests need them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from salina.application.release import Release
from salina.common import wait
from salina.database.psql import PsqlError

NAME = "c0ffee000000-0123abcd"
NEXT = "c0ffee000000-4567abcd"
DIGEST = "d" * 64


def complete(directory: Path, commit: str = "c0ffee") -> Release:
    """Return a complete release with a file of code, in this directory."""
    found = Release(directory)
    directory.mkdir(parents=True)
    (directory / "code.py").write_text(directory.name)
    found.complete(DIGEST, commit, recorded=True)
    return found


def change(release: Release, name: str, text: str = "by hand") -> str:
    """Change a file after the release was complete, and return its path."""
    path = release.directory / name

    def written() -> bool:
        path.write_text(text)
        return path.stat().st_ctime_ns > release.record.stat().st_ctime_ns

    assert wait.until(written, 10)  # the clock of the file system moves some times a second
    return str(path)


class Database:
    """An application's database, as far as it names the release that it belongs to.

    `release`: its name, or "" if the database names none. `parts`: their checksums. `marks`: the
    one-time steps that were done. `down`: why the database does not answer. `changes`: the
    statements that changed something. `others`: further databases, by their names.
    """

    def __init__(self) -> None:
        self.release, self.parts = "", dict[str, Any]()
        self.marks = list[str]()
        self.down = ""
        self.asked, self.changes = list[str](), list[str]()
        self.pending: list[str] | None = None
        """The statements of a transaction."""
        self.others = dict[str, Database]()

    def belongs(self, release: str, **parts: str) -> None:
        """Let the database belong to a release."""
        self.release, self.parts = release, parts

    def session(
        self, pillar: dict[str, Any], name: str, database: str = "", record: bool = False
    ) -> Database:
        """Open a session, as `salina.application.database.session` does."""
        assert "app" in pillar
        self.asked.append(name)
        return self.others.setdefault(database, Database()) if database else self

    def __enter__(self) -> Database:
        if self.down:
            raise PsqlError(self.down)
        return self

    def __exit__(self, *_: object) -> None:
        self.pending = None

    def query(self, sql: str) -> list[str]:
        """Answer a statement of `salina.application.schema`, or of a one-time step."""
        if "to_regclass" in sql and not sql.startswith("DO"):
            return ["f" if "salina.release" in sql or self.marks else "t"]
        if sql.startswith("SELECT EXISTS"):
            return ["t" if self.marks else "f"]
        if sql.startswith("SELECT json"):
            if not self.release:
                return []
            return [json.dumps({"release": self.release, "parts": self.parts})]
        if sql.startswith("SELECT pg_advisory_xact_lock"):
            assert self.pending is not None
        elif sql == "BEGIN":
            self.pending = []
        elif sql == "COMMIT":
            assert self.pending is not None
            whole, self.pending = self.pending, None
            for one in whole:
                self._change(one)
        elif self.pending is None:
            self._change(sql)
        else:
            self.pending.append(sql)
        return []

    def _change(self, sql: str) -> None:
        self.changes.append(sql)
        if sql.startswith("INSERT INTO salina.release"):
            release, parts = re.findall(r"'((?:[^']|'')*)'", sql)
            self.release, self.parts = release, json.loads(parts.replace("''", "'"))
        elif sql.startswith("INSERT INTO salina_once"):
            self.marks.append(re.findall(r"'((?:[^']|'')*)'", sql)[0].replace("''", "'"))

"""A session with PostgreSQL through psql, kept open between statements.

An advisory lock belongs to a session, so the session must last as long as what it protects. The
password goes through a file that only its owner can read, never through an argument.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

MARK = "salina-end-of-answer"


SAFE = "-c search_path=pg_catalog"
"""PGOPTIONS for a superuser in an application's database: no function of the application is taken
for one of PostgreSQL's. It wins over the settings of the database and of the role.
"""


class PsqlError(Exception):
    """The server or psql refused; the message has its output."""


def literal(text: str) -> str:
    """Return a text as a literal of SQL."""
    return "'" + text.replace("'", "''") + "'"


@contextmanager
def passfile(database: Mapping[str, Any]) -> Iterator[str]:
    """Make a file for PGPASSFILE that only its owner can read, for as long as the context lasts.

    Args:
        database: `host`, `port`, `name`, `user`, `password`.
    """
    fields = (str(database[key]) for key in ("host", "port", "name", "user", "password"))
    line = ":".join(field.replace("\\", "\\\\").replace(":", "\\:") for field in fields)
    with tempfile.NamedTemporaryFile("w", prefix="salina-") as file:  # mode 0600
        file.write(line + "\n")
        file.flush()
        yield file.name


class Session:
    """A session: `with Session(database, "s1: init") as session: session.query("SELECT 1")`."""

    def __init__(
        self,
        database: Mapping[str, Any],
        name: str,
        patience: float = 10,
        program: str = "psql",
        ca: str = "",
        options: str = "",
    ) -> None:
        """Prepare the session; entering the context connects.

        Args:
            database: `host`, `port`, `name`, `user`, `password`.
            name: the application_name on the server, which tells who holds a lock.
            patience: seconds for connecting, psql's own bound.
            program: psql's path.
            ca: the file of the CA's certificate, to connect by TLS and to verify the server; ""
                leaves this to libpq.
            options: PGOPTIONS, such as `SAFE`.
        """
        self.database = database
        self.name = name
        self.patience = patience
        self.program = program
        self.tls = {"PGSSLMODE": "verify-full", "PGSSLROOTCERT": ca} if ca else {}
        self.options = {"PGOPTIONS": options} if options else {}

    def __enter__(self) -> Session:
        database = self.database
        with passfile(database) as path:
            self.process = subprocess.Popen(
                [
                    *(self.program, "--no-psqlrc", "--no-password", "--quiet", "--tuples-only"),
                    *("--no-align", "--field-separator=\t", "--set=ON_ERROR_STOP=1"),
                    *(f"--host={database['host']}", f"--port={database['port']}"),
                    *(f"--username={database['user']}", f"--dbname={database['name']}"),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                env={
                    **os.environ,
                    **self.tls,
                    **self.options,
                    "LC_ALL": "C.UTF-8",
                    "PGPASSFILE": path,
                    "PGAPPNAME": self.name,
                    "PGCONNECT_TIMEOUT": str(max(2, int(self.patience))),
                },
            )
            try:
                self.query("SET client_min_messages = error")  # connected: the passfile is read
            except BaseException:
                self.close()
                raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the session, and with it every lock that it holds."""
        self.process.kill()
        self.process.communicate()

    def query(self, sql: str) -> list[str]:
        """Send one statement and return its rows, columns separated by a tab.

        Raises:
            PsqlError: psql printed something else than an answer; the session is over then.
        """
        assert self.process.stdin and self.process.stdout
        rows: list[str] = []
        try:
            self.process.stdin.write(f"{sql}\n;\n\\echo {MARK}\n")  # it may end in a comment
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # psql is gone: what it said is still to be read
        for line in self.process.stdout:
            if line.rstrip("\n") == MARK:
                return rows
            rows.append(line.rstrip("\n"))
        raise PsqlError("\n".join(row for row in rows if row) or "psql printed nothing")


def installed(program: str = "psql") -> bool:
    """Tell whether this host has psql already."""
    return any((Path(place) / program).exists() for place in os.get_exec_path())

"""The place in an application's database that says which release it belongs to.

It belongs to a role of its own, which the application cannot become, so the application cannot
write there (decision 62). Only a superuser makes it: `_modules/database.py` does so on the primary.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from salina.application.release import NAME
from salina.database.roles import identifier, literal

SCHEMA = "salina"
TABLE = f"{SCHEMA}.release"
"""The table with the release: at most one row."""
BEFORE = "public.salina_release"
"""The table in which an earlier version of this project has recorded it, as the application."""
PREFIX = "salina_record_"
"""Before the application's name: the role that owns the table. No application's name begins so."""


@dataclass(frozen=True)
class Row:
    """The release that a database belongs to, and its parts as JSON."""

    release: str
    parts: str


def role(application: str) -> str:
    """Return the name of the role that owns the record of an application."""
    return f"{PREFIX}{application}"


def state(owner: str) -> str:
    """Return the query for the present condition, as one line of JSON.

    Args:
        owner: the role that must own the record, which need not exist yet.
    """
    return (
        "SELECT json_build_object("
        "'schema', (SELECT pg_get_userbyid(nspowner) FROM pg_namespace "
        f"WHERE nspname = '{SCHEMA}'), "
        "'table', (SELECT pg_get_userbyid(relowner) FROM pg_class "
        f"WHERE oid = to_regclass('{TABLE}') AND relkind = 'r'), "
        f"'before', EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('{BEFORE}') "
        "AND relkind = 'r'), "
        "'connects', EXISTS (SELECT FROM pg_database AS here, aclexplode(here.datacl) AS acl "
        "JOIN pg_roles ON pg_roles.oid = acl.grantee WHERE datname = current_database() "
        f"AND rolname = {literal(owner)} AND privilege_type = 'CONNECT'))"
    )


def complete(found: dict[str, Any], owner: str, database: str) -> bool:
    """Return whether a database has its record.

    Args:
        found: the answer to `state`.
        owner: the role that must own it.
        database: its name, for the message.

    Raises:
        ValueError: somebody else has made a schema of this name.
    """
    foreign = {found["schema"], found["table"]} - {None, owner}
    if foreign:
        raise ValueError(
            f"database {database}: schema {SCHEMA} belongs to {', '.join(sorted(foreign))}, and "
            f"must belong to {owner}; rename it"
        )
    return bool(found["schema"] and found["table"] and found["connects"])


def script(database: str, application: str, owner: str, row: Row | None) -> str:
    """Return the SQL that makes the record in a database. It can be repeated.

    The application might make such a schema or table in the meantime, with functions of its own. So
    the superuser makes the schema only. All else is done as the owner, who is refused then.

    Args:
        database: the database's name.
        application: the application's role, which may read the record. Otherwise it could not dump
            its own database.
        owner: the role that owns the record.
        row: the release that is recorded, if none is yet.
    """
    name, reader = identifier(owner), identifier(application)
    steps = [
        "BEGIN",
        f"GRANT CONNECT ON DATABASE {identifier(database)} TO {name}",
        f"CREATE SCHEMA IF NOT EXISTS {SCHEMA} AUTHORIZATION {name}",
        f"SET LOCAL ROLE {name}",
        f"CREATE TABLE IF NOT EXISTS {TABLE} (one boolean PRIMARY KEY DEFAULT true CHECK (one), "
        "release text NOT NULL, parts jsonb NOT NULL, recorded timestamptz(0) NOT NULL)",
        f"GRANT USAGE ON SCHEMA {SCHEMA} TO {reader}",
        f"GRANT SELECT ON {TABLE} TO {reader}",
    ]
    if row:
        steps.append(
            f"INSERT INTO {TABLE} (release, parts, recorded) VALUES ({literal(row.release)}, "
            f"{literal(row.parts)}, now()) ON CONFLICT DO NOTHING"
        )
    return "".join(f"{step};\n" for step in [*steps, "COMMIT"])


def read(query: Callable[[str], str]) -> Row | None:
    """Return what a database says about its release, or None if it says nothing.

    COPY refuses a view, whose functions the superuser would run.

    Args:
        query: runs SQL in the database as a superuser.

    Raises:
        ValueError: somebody has written something else there.
    """
    found = json.loads(query(state("")))
    table = TABLE if found["table"] else BEFORE if found["before"] else ""
    text = query(f"COPY {table} (release, parts) TO STDOUT (FORMAT csv)") if table else ""
    for release, parts in csv.reader(text.splitlines()):
        if not NAME.fullmatch(release) or not isinstance(json.loads(parts), dict):
            raise ValueError(f"{release!r} is not the name of a release, or it has no parts")
        return Row(release, parts)
    return None

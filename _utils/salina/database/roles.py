"""The roles and databases that the cluster must have, and the SQL that makes them.

`literal` and `identifier` are the only ways of text into SQL. psql reads SQL from its standard
input only, and the SQL has SCRAM verifiers, never passwords (decision 9).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from salina.database import scram

ATTRIBUTES = {
    "rolcanlogin": "LOGIN",
    "rolsuper": "SUPERUSER",
    "rolcreatedb": "CREATEDB",
    "rolcreaterole": "CREATEROLE",
    "rolreplication": "REPLICATION",
    "rolbypassrls": "BYPASSRLS",
}
"""Columns of pg_roles that say what a role may, and the words that set them."""


@dataclass(frozen=True)
class Role:
    """A role of the cluster.

    `attributes` are the true columns of `ATTRIBUTES`; None leaves them as they are. `connections`
    is the most sessions that it has at the same time; None leaves them as they are.
    """

    name: str
    password: str
    attributes: frozenset[str] | None
    connections: int | None = None


class Step(NamedTuple):
    """A change: the object, its new condition in words, and the SQL."""

    subject: str
    change: str
    sql: str


def identifier(name: str) -> str:
    """Quote a name: ``my"db`` becomes ``"my""db"``.

    Raises:
        ValueError: SQL cannot express the name.
    """
    if not name or "\0" in name or len(name.encode()) > 63:
        raise ValueError(f"{name!r} is not a name for PostgreSQL")
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Quote a text: ``O'Hara`` becomes ``'O''Hara'`` (standard_conforming_strings is on)."""
    if "\0" in text:
        raise ValueError("a text for PostgreSQL holds a zero byte")
    return "'" + text.replace("'", "''") + "'"


def roles(database: dict[str, Any]) -> list[Role]:
    """Return the roles of a cluster: Patroni's three, and two for each application.

    Patroni creates its roles with the passwords of that time; the pillar keeps them up to date.

    Args:
        database: the pillar of that name.
    """
    passwords = database["passwords"]
    own = [
        Role("postgres", passwords["superuser"], None),
        Role("replicator", passwords["replication"], None),
        Role("rewinder", passwords["rewind"], None),
    ]
    for application in database["applications"]:
        login, record = frozenset({"rolcanlogin"}), application["record"]
        connections = application["connections"]
        own.append(Role(application["user"], application["password"], login, connections))
        own.append(Role(record["user"], record["password"], login))
    return own


def state_query(names: list[str]) -> str:
    """Return the SQL that shows the current roles and databases as one line of JSON."""
    columns = ", ".join(f"'{column}', {column}" for column in ATTRIBUTES)
    wanted = ", ".join(literal(name) for name in names)
    return (
        "SELECT json_build_object("
        "'replica', pg_is_in_recovery(), "
        "'roles', (SELECT coalesce(json_object_agg(rolname, json_build_object("
        f"'verifier', rolpassword, 'connections', rolconnlimit, {columns})), '{{}}') "
        "FROM pg_authid "
        f"WHERE rolname IN ({wanted})), "
        "'databases', (SELECT coalesce(json_object_agg(datname, json_build_object("
        "'owner', pg_get_userbyid(datdba), 'encoding', pg_encoding_to_char(encoding), "
        "'collate', datcollate, 'public', EXISTS ("
        "SELECT 1 FROM aclexplode(coalesce(datacl, acldefault('d', datdba))) AS acl "
        "WHERE acl.grantee = 0))), '{}') FROM pg_database WHERE NOT datistemplate))"
    )


def role_steps(current: dict[str, dict[str, Any]], wanted: list[Role]) -> list[Step]:
    """Return the steps that bring the roles to the wanted condition; none when they have it.

    Args:
        current: name -> verifier and attributes, from `state_query`.
        wanted: the result of `roles`.

    Raises:
        ValueError: a password is impossible (see `salina.database.scram.verifier`).
    """
    steps = []
    for role in wanted:
        name, subject = identifier(role.name), f"role {role.name}"
        present = current.get(role.name)
        if present is None:
            flags = _flags(role.attributes or frozenset())
            limit = "" if role.connections is None else f"{_limit(role.connections)} "
            sql = f"CREATE ROLE {name} {flags} {limit}PASSWORD {_verifier(role)}"
            steps.append(Step(subject, "created", sql))
            continue
        if not scram.matches(present["verifier"], role.password):
            sql = f"ALTER ROLE {name} PASSWORD {_verifier(role)}"
            steps.append(Step(subject, "password set", sql))
        if role.connections not in (None, present["connections"]):
            limit = _limit(role.connections)
            steps.append(Step(subject, f"made {limit}", f"ALTER ROLE {name} {limit}"))
        if role.attributes is None:
            continue
        has = frozenset(column for column in ATTRIBUTES if present[column])
        if has != role.attributes:
            flags = _flags(role.attributes)
            steps.append(Step(subject, f"made {flags}", f"ALTER ROLE {name} {flags}"))
    return steps


def database_steps(
    current: dict[str, dict[str, Any]], applications: list[dict[str, Any]]
) -> list[Step]:
    """Return the steps that bring the applications' databases to the wanted condition.

    The databases have encoding UTF8, collation ``C`` and character types of ``C.UTF-8``, and come
    from template0. Odoo itself creates them so (LC_COLLATE 'C'). An update of the C library cannot
    break their indexes on one member only, and case folding knows more than ASCII.

    Raises:
        ValueError: a database has another encoding or collation, which cannot be changed in place.
    """
    steps = []
    for application in applications:
        name, owner = identifier(application["name"]), identifier(application["user"])
        subject = f"database {application['name']}"
        present = current.get(application["name"])
        if present is None:
            sql = (
                f"CREATE DATABASE {name} OWNER {owner} TEMPLATE template0 ENCODING 'UTF8' "
                "LC_COLLATE 'C' LC_CTYPE 'C.UTF-8'"
            )
            steps.append(Step(subject, "created", sql))
            present = {"owner": application["user"], "encoding": "UTF8", "collate": "C"}
        if (present["encoding"], present["collate"]) != ("UTF8", "C"):
            raise ValueError(
                f"{subject} has encoding {present['encoding']} and collation {present['collate']} "
                "instead of UTF8 and C, which can't be changed in place: dump it, drop it, "
                "apply again, restore"
            )
        if present["owner"] != application["user"]:
            sql = f"ALTER DATABASE {name} OWNER TO {owner}"
            steps.append(Step(subject, f"owner {application['user']}", sql))
        if present.get("public", True):
            sql = f"REVOKE ALL ON DATABASE {name} FROM PUBLIC"
            steps.append(Step(subject, "closed to others", sql))
    return steps


def script(steps: list[Step]) -> str:
    """Return the SQL of the steps for psql, which stops at the first error.

    The server does not log the statements, because they have verifiers.
    """
    quiet = "SET log_statement = 'none'; SET log_min_duration_statement = -1;\n"
    return quiet + "".join(f"{step.sql};\n" for step in steps)


def _verifier(role: Role) -> str:
    return literal(scram.verifier(role.password))


def _limit(connections: int | None) -> str:
    return f"CONNECTION LIMIT {connections}"


def _flags(attributes: frozenset[str]) -> str:
    return " ".join(
        word if column in attributes else f"NO{word}" for column, word in ATTRIBUTES.items()
    )

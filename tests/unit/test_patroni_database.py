"""The SQL that makes roles and databases as wanted."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salina.database import roles, scram
from salina.database.roles import Role

APPLICATION = {
    **{"name": "crm", "user": "crm", "password": "canary-application", "clients": []},
    "connections": 105,
}
ROLE = Role("crm", "canary-application", frozenset({"rolcanlogin"}), 105)
DONE = {"owner": "crm", "encoding": "UTF8", "collate": "C", "public": False}


def present(
    password: str = "canary-application", connections: int = 105, **attributes: bool
) -> dict[str, Any]:
    columns = dict.fromkeys(roles.ATTRIBUTES, False) | {"rolcanlogin": True}
    known = {"verifier": scram.verifier(password, iterations=1), "connections": connections}
    return {"crm": known | columns | attributes}


def test_a_role_that_is_as_wanted_needs_nothing() -> None:
    """S6, K1: A correct role needs no statement."""
    assert roles.role_steps(present(), [ROLE]) == []


def test_a_new_role_may_log_in_and_nothing_else() -> None:
    """S6: The application's role is not a superuser."""
    [step] = roles.role_steps({}, [ROLE])
    assert (step.subject, step.change) == ("role crm", "created")
    assert step.sql.startswith(
        'CREATE ROLE "crm" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS '
        "CONNECTION LIMIT 105 PASSWORD 'SCRAM-SHA-256$4096:"
    )
    assert "canary" not in step.sql


def test_a_role_that_may_too_much_is_put_right() -> None:
    """S6: A role that has too many privileges loses them."""
    [step] = roles.role_steps(present(rolsuper=True), [ROLE])
    assert "NOSUPERUSER" in step.sql and "PASSWORD" not in step.sql


@pytest.mark.parametrize("limit", [-1, 70])
def test_x8_a_role_gets_its_limit_of_connections(limit: int) -> None:
    """X8: A role without a limit gets one, and a changed pool changes it."""
    [step] = roles.role_steps(present(connections=limit), [ROLE])
    assert step == (
        "role crm",
        "made CONNECTION LIMIT 105",
        'ALTER ROLE "crm" CONNECTION LIMIT 105',
    )


def test_x8_the_clusters_own_roles_have_no_limit() -> None:
    """X8: Replication and repair never wait for a free place."""
    database = {
        "passwords": dict.fromkeys(("superuser", "replication", "rewind"), "canary"),
        "applications": [
            APPLICATION | {"record": {"user": "salina_record_crm", "password": "canary"}}
        ],
    }
    found = {role.name: role.connections for role in roles.roles(database)}
    assert found == {"postgres": None, "replicator": None, "rewinder": None} | {
        "crm": 105,
        "salina_record_crm": None,
    }
    sql = roles.state_query(list(found))
    assert "'connections', rolconnlimit" in sql


def test_a_changed_password_is_set_without_being_seen() -> None:
    """S6, K4: The server gets a verifier and never the new password."""
    [step] = roles.role_steps(present("other"), [ROLE])
    assert step.change == "password set"
    assert "canary" not in step.sql


def test_patroni_s_own_roles_keep_their_attributes() -> None:
    own = Role("postgres", "canary-application", None)
    current = {"postgres": present(rolsuper=True)["crm"]}
    assert roles.role_steps(current, [own]) == []


def test_a_new_database_is_what_odoo_wants_and_closed_to_others() -> None:
    """S6: A new database is closed to other roles."""
    create, revoke = roles.database_steps({}, [APPLICATION])
    assert create.sql == (
        'CREATE DATABASE "crm" OWNER "crm" TEMPLATE template0 ENCODING \'UTF8\' '
        "LC_COLLATE 'C' LC_CTYPE 'C.UTF-8'"
    )
    assert revoke.sql == 'REVOKE ALL ON DATABASE "crm" FROM PUBLIC'


@pytest.mark.parametrize(
    ("difference", "expected"),
    [
        ({}, []),
        ({"owner": "postgres"}, ['ALTER DATABASE "crm" OWNER TO "crm"']),
        ({"public": True}, ['REVOKE ALL ON DATABASE "crm" FROM PUBLIC']),
    ],
)
def test_a_database_that_differs(difference: dict[str, Any], expected: list[str]) -> None:
    steps = roles.database_steps({"crm": DONE | difference}, [APPLICATION])
    assert [step.sql for step in steps] == expected


def test_what_cannot_be_changed_in_place_is_an_error_with_instructions() -> None:
    """K5: The error says what to do about a property that cannot be changed in place."""
    with pytest.raises(ValueError, match=r"encoding LATIN1 .* dump it, drop it"):
        roles.database_steps({"crm": DONE | {"encoding": "LATIN1"}}, [APPLICATION])


def test_nothing_of_a_script_is_logged_by_the_server() -> None:
    """S6, K4: The server logs no statement of the script."""
    script = roles.script(roles.role_steps({}, [ROLE]))
    assert script.splitlines()[0].startswith("SET log_statement = 'none'")
    assert "canary" not in script


@given(st.text(st.characters(blacklist_characters="\0", codec="utf-8"), min_size=1, max_size=15))
def test_quoting_leaves_no_way_out(text: str) -> None:
    quoted = roles.literal(text)
    assert quoted[1:-1].replace("''", "'") == text
    assert "'" not in quoted[1:-1].replace("''", "")
    name = roles.identifier(text)
    assert '"' not in name[1:-1].replace('""', "")


@pytest.mark.parametrize("name", ["", "a\0b", "x" * 64])
def test_names_that_cannot_be(name: str) -> None:
    with pytest.raises(ValueError, match="not a name"):
        roles.identifier(name)

"""The copy of a database in which a new release is tried: names, environment, files."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from salina.application import copy, odoo
from tests import fleets
from tests.releases import NAME

NODE = f"/opt/node/releases/{NAME}"
ODOO = f"/opt/odoo/releases/{NAME}"
COPY = "salina_next_crm"
ENVIRONMENT = """# Managed by Salt = no variable
PATH="/opt/{kind}/production/bin:/usr/bin:/opt/{kind}/production/.node/bin"
TZ="UTC"
OPTIONS="a=b=c"
{login}

"""


def app(application: str = "", **database: Any) -> dict[str, Any]:
    """Pillar `app` of s1, with some changes of its login."""
    found: dict[str, Any] = fleets.pillar("s1", application=application)["app"]
    return found | {"database": found["database"] | database}


def test_o8_the_copy_has_a_name_of_its_own() -> None:
    """O8: No application can have it, and the pillar gives the copy a pool."""
    assert copy.name("crm") == "salina_next_crm"
    assert fleets.pillar("s1")["database_route"]["trial"]["name"] == "salina_next_crm"


@pytest.mark.parametrize("password", ["simple", "p@ss:w/o?r#d", "ü %25 &", "a'b\"c\\", "+"])
def test_x10_a_password_keeps_its_characters_in_a_url(password: str) -> None:
    """X10: None of them ends the password or becomes another part of the URL."""
    given = app(password=password)
    found = urlsplit(copy.url(given, "postgres", COPY))
    assert unquote(found.password or "") == password
    assert (found.scheme, found.path, found.username) == ("postgres", "/salina_next_crm", "crm")
    assert (found.hostname, found.port) == ("127.0.0.1", 6432)


def test_o8_an_odoo_uses_the_copy_for_its_sessions_as_well() -> None:
    """O8: Its other variables stay, and its programs are those of the new release."""
    usual = 'SESSION_DB_URI="postgresql://crm:x@127.0.0.1:6432/crm?sslmode=disable"'
    text = ENVIRONMENT.format(kind="odoo", login=usual)
    found = copy.environment(app(password="p@ss"), text, ODOO, 40000, COPY)
    assert found == {
        "PATH": f"{ODOO}/bin:/usr/bin:{ODOO}/.node/bin",
        "TZ": "UTC",
        "OPTIONS": "a=b=c",
        "HOME": "/opt/odoo",
        "LANG": "C.UTF-8",
        "SESSION_DB_URI": "postgresql://crm:p%40ss@127.0.0.1:6432/salina_next_crm?sslmode=disable",
    }


def test_o8_a_node_application_gets_the_url_and_a_port() -> None:
    """O8: They replace those of the application that serves."""
    usual = 'DATABASE_URL="postgres://crm:x@127.0.0.1:6432/crm"\nPORT="3000"'
    text = ENVIRONMENT.format(kind="node", login=usual)
    found = copy.environment(app("crm-2017", password="p@ss"), text, NODE, 40000, COPY)
    assert found == {
        "PATH": f"{NODE}/bin:/usr/bin:{NODE}/.node/bin",
        "TZ": "UTC",
        "OPTIONS": "a=b=c",
        "HOME": "/opt/node",
        "LANG": "C.UTF-8",
        "DATABASE_URL": "postgres://crm:p%40ss@127.0.0.1:6432/salina_next_crm",
        "PORT": "40000",
    }


@pytest.mark.parametrize("application", ["", "crm-2017"])
def test_an_environment_without_a_path_gets_the_usual_one(application: str) -> None:
    """O8: A shell that starts nothing else needs no more."""
    found = copy.environment(app(application), "", "/release", 1, COPY)
    assert found["PATH"] == "/usr/local/bin:/usr/bin:/bin"


def test_o8_a_release_may_use_the_running_database() -> None:
    """O8: It has its own programs, and the pool of the one-time steps, which users cannot fill."""
    pool = fleets.pillar("s1", application="crm-2017")["database_route"]["steps"]["name"]
    usual = 'DATABASE_URL="postgres://crm:x@127.0.0.1:6432/crm"'
    text = ENVIRONMENT.format(kind="node", login=usual)
    found = copy.environment(app("crm-2017", password="x"), text, "/release", 0, pool)
    assert found["DATABASE_URL"] == "postgres://crm:x@127.0.0.1:6432/crm-steps"
    assert found["PATH"] == "/release/bin:/usr/bin:/release/.node/bin"


def test_o8_only_odoo_has_files_for_each_database() -> None:
    """O8: The link leads to the directory beside it."""
    link, target = copy.files(app()) or ("", "")
    assert link.endswith("/filestore/salina_next_crm") and target == "crm"
    assert copy.files(app("crm-2017")) is None


def column(table: str, name: str) -> str:
    """Return the condition that a table has a column."""
    return (
        "EXISTS (SELECT FROM information_schema.columns WHERE table_schema = 'public' "
        f"AND table_name = '{table}' AND column_name = '{name}')"
    )


def guarded(table: str, name: str, change: str) -> str:
    """Return the statement that changes a table if this version of Odoo has the column."""
    return f"DO $$ BEGIN IF {column(table, name)} THEN {change}; END IF; END $$"


def test_x10_a_copy_is_neutral_before_anything_runs() -> None:
    """X10: Mail, jobs, payments and webhooks stop, in whichever table this version of Odoo has."""
    statements = copy.neutral(app())
    assert len(statements) == len(copy.CHANGES) + 1 + 2 + len(copy.PARAMETERS)
    for table, column, change in (
        ("ir_cron", "active", "active = false"),
        ("ir_mail_server", "active", "active = name = 'No mail leaves a copy'"),
        ("fetchmail_server", "active", "active = false"),
        ("payment_provider", "state", "state = 'disabled'"),
        ("ir_act_server", "webhook_url", "webhook_url = 'disabled'"),
    ):
        assert guarded(table, column, f"UPDATE public.{table} SET {change}") in statements


def test_x10_nobody_is_logged_in_to_a_copy() -> None:
    """X10: Its sessions are those of the original, which a stranger could take over."""
    [one] = [each for each in copy.neutral(app()) if "DELETE" in each]
    assert one == guarded("http_sessions", "sid", "DELETE FROM public.http_sessions")


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("ir_mail_server", "smtp_pass"),
        ("fetchmail_server", "password"),
        ("res_partner", "signup_token"),
    ],
)
def test_x10_no_secret_of_the_original_is_in_a_copy(table: str, column: str) -> None:
    """X10: With it somebody could log in to the original, or to its mail server."""
    change = f"UPDATE public.{table} SET {column} = NULL"
    assert guarded(table, column, change) in copy.neutral(app())


def test_x10_mail_of_a_copy_goes_to_a_server_that_does_not_exist() -> None:
    """X10: Without any server Odoo takes that of odoo.conf. Odoo 15 and later need one more column.

    It is inserted once, and after the servers of the original are off.
    """
    statements = copy.neutral(app())
    older, newer = (one for one in statements if "INSERT INTO public.ir_mail_server" in one)
    [off] = [one for one in statements if "UPDATE public.ir_mail_server SET active" in one]
    assert statements.index(off) < min(statements.index(one) for one in (older, newer))
    older, newer = sorted((older, newer), key=len)
    once = "IF NOT EXISTS (SELECT FROM public.ir_mail_server WHERE name = 'No mail leaves a copy')"
    there = column("ir_mail_server", "smtp_authentication")
    names, values = older.split("INSERT INTO public.ir_mail_server ")[1].split(" VALUES ")
    assert names == "(name, smtp_host, smtp_port, smtp_encryption, active)"
    assert values.startswith("('No mail leaves a copy', 'invalid', 25, 'none', true);")
    assert f"{once} AND NOT {there} THEN" in older
    assert f"{once} AND {there} THEN" in newer
    assert "active, smtp_authentication) VALUES (" in newer and "true, 'login');" in newer


def test_x10_a_copy_of_odoo_has_a_name_of_its_own() -> None:
    """X10: Odoo's services tell databases apart by it, and links of the original are not valid.

    From Odoo 16 on its pages show a banner.
    """
    parameters = [one for one in copy.neutral(app()) if "ir_config_parameter" in one]
    assert [one.split("VALUES ")[1].split(" ON CONFLICT")[0] for one in parameters] == [
        "('database.uuid', gen_random_uuid()::text)",
        "('database.secret', gen_random_uuid()::text)",
        "('database.is_neutralized', 'true')",
    ]
    assert all("DO UPDATE SET value = excluded.value" in one for one in parameters)


def test_x10_a_node_application_says_how_its_copy_is_neutral() -> None:
    """X10: Salina knows none of its tables."""
    given = app("sample-crm")
    assert copy.neutral(given) == ['DELETE FROM "Sessions"']
    given["definition"]["node"]["neutral"] = []
    assert copy.neutral(given) == []


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("filestore/crm/ab/abcd", "filestore/crm_staging/ab/abcd"),
        ("filestore/crm/crm/filestore/crm/x", "filestore/crm_staging/crm/filestore/crm/x"),
        ("filestore/crm", "filestore/crm"),
        ("filestore/crm_2/ab/abcd", "filestore/crm_2/ab/abcd"),
        ("filestore/other/filestore/crm/x", "filestore/other/filestore/crm/x"),
        ("x/filestore/crm/y", "x/filestore/crm/y"),
        ("public/uploads/crm.png", "public/uploads/crm.png"),
        ("crm", "crm"),
    ],
)
def test_o1_a_file_of_a_copy_has_the_place_that_its_database_expects(name: str, place: str) -> None:
    """O1: Odoo's files are in a directory with the database's name; all others keep their path."""
    assert copy.path(name, "crm", "crm_staging") == place
    assert copy.path(name, "crm", "crm") == name


def test_o9_only_a_copy_gets_no_marks_of_files_to_remove() -> None:
    """O9, O1: The collector of a copy would remove what they name; a restore brings them back."""
    mark = "filestore/crm/checklist/ab/abcdef"
    assert copy.path(mark, "crm", "crm") == mark
    assert copy.path(mark, "crm", "crm_staging") is None


@pytest.mark.parametrize("kind", ["odoo", "node"])
def test_o8_a_release_that_is_tried_has_a_log_of_its_own(kind: str) -> None:
    """O8: The log of the release that serves shows users only."""
    assert copy.log(kind) == f"/var/log/{kind}/upgrade.log"
    assert copy.log(odoo.KIND) == odoo.UPGRADE_LOG != odoo.LOG


@pytest.mark.parametrize(
    ("version", "port"), [("14.0", "longpolling-port"), ("19.0", "gevent-port")]
)
def test_o8_odoo_works_on_the_copy_beside_the_service(version: str, port: str) -> None:
    """O8: It has the new release's addons, few connections, and no scheduled jobs."""
    definition = fleets.definition(f"odoo-{version}")
    given = app() | {"definition": definition}
    python, script, *options = odoo.program(given, ODOO, "salina_next_crm")
    assert (python, script) == (f"{ODOO}/.venv/bin/python", f"{ODOO}/odoo-bin")
    addons = [f"{ODOO}/{addon}" for addon in definition["odoo"]["addons"]]
    assert options == [
        "--config=/etc/odoo/odoo.conf",
        f"--addons-path={','.join(addons)},/opt/odoo/addons",
        "--database=salina_next_crm",
        "--db-filter=^salina_next_crm$",
        "--workers=0",
        "--max-cron-threads=0",
        f"--db_maxconn={odoo.FEW}",
        f"--{port}=0",
        "--logfile=/var/log/odoo/upgrade.log",
    ]
    assert fleets.pillar("s1")["database_route"]["trial"]["size"] > odoo.FEW

"""A copy of an application's database, in which a new release is tried before it serves.

It is beside the running database, and belongs to the application's role. pgbouncer has a pool for
it on every host of the application (salt/database_route/files/pgbouncer.ini).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from salina.application import odoo

PREFIX = "salina_next_"
"""Before the application's name. No application's name begins so."""
NO_MAIL = "'No mail leaves a copy'"
"""The name of SERVER, in SQL."""
CHANGES = (
    ("ir_cron", "active", "active = false"),
    ("ir_mail_server", "active", f"active = name = {NO_MAIL}"),
    ("ir_mail_server", "smtp_pass", "smtp_pass = NULL"),
    ("fetchmail_server", "active", "active = false"),
    ("fetchmail_server", "password", "password = NULL"),
    ("payment_acquirer", "state", "state = 'disabled'"),
    ("payment_provider", "state", "state = 'disabled'"),
    ("delivery_carrier", "active", "active = false"),
    ("base_automation", "active", "active = false"),
    ("ir_act_server", "webhook_url", "webhook_url = 'disabled'"),
    ("iap_account", "account_token", "account_token = 'disabled'"),
    ("res_partner", "signup_token", "signup_token = NULL"),
)
"""Rows of Odoo that act on the world outside, or with which somebody could log in to the original:
table, column, and what becomes of it. Odoo 16 and later have similar statements in the files
data/neutralize.sql of their modules.
"""
SERVER = {
    "name": NO_MAIL,
    "smtp_host": "'invalid'",
    "smtp_port": "25",
    "smtp_encryption": "'none'",
    "active": "true",
}
"""A mail server that does not exist. Without any, Odoo takes the one of odoo.conf, or localhost."""
PARAMETERS = {
    "database.uuid": "gen_random_uuid()::text",
    "database.secret": "gen_random_uuid()::text",
    "database.is_neutralized": "'true'",
}
"""Parameters of Odoo that a copy has of its own: its name at Odoo's services, the secret that signs
its links, and, from Odoo 16 on, the banner on its pages.
"""
SESSIONS = "http_sessions"
"""The table of the users' sessions. They are valid for the original as well."""


def name(application: str) -> str:
    """Return the name of the copy.

    Args:
        application: the application's name, which is also its database's.
    """
    return f"{PREFIX}{application}"


def neutral(app: Mapping[str, Any]) -> list[str]:
    """Return the statements that keep a copy from mail, scheduled jobs, payments and sessions.

    Args:
        app: the pillar `app`.
    """
    if app["kind"] != odoo.KIND:
        return list(app["definition"][app["kind"]].get("neutral", []))
    done = [
        _if(_column(table, column), f"UPDATE public.{table} SET {change}")
        for table, column, change in CHANGES
    ]
    done.append(_if(_column(SESSIONS, "sid"), f"DELETE FROM public.{SESSIONS}"))
    missing = f"NOT EXISTS (SELECT FROM public.ir_mail_server WHERE name = {NO_MAIL})"
    later = {**SERVER, "smtp_authentication": "'login'"}  # since Odoo 15
    newer = _column("ir_mail_server", "smtp_authentication")
    done.append(_if(f"{missing} AND {newer}", _insert("ir_mail_server", later)))
    done.append(_if(f"{missing} AND NOT {newer}", _insert("ir_mail_server", SERVER)))
    return done + [
        f"INSERT INTO public.ir_config_parameter (key, value) VALUES ('{key}', {value}) "
        "ON CONFLICT (key) DO UPDATE SET value = excluded.value"
        for key, value in PARAMETERS.items()
    ]


def _if(condition: str, statement: str) -> str:
    return f"DO $$ BEGIN IF {condition} THEN {statement}; END IF; END $$"


def _column(table: str, column: str) -> str:
    return (
        "EXISTS (SELECT FROM information_schema.columns WHERE table_schema = 'public' "
        f"AND table_name = '{table}' AND column_name = '{column}')"
    )


def _insert(table: str, values: Mapping[str, str]) -> str:
    names, given = ", ".join(values), ", ".join(values.values())
    return f"INSERT INTO public.{table} ({names}) VALUES ({given})"


def path(name: str, original: str, application: str) -> str | None:
    """Return the path that a file of an application has in its directory, or in that of its copy.

    Odoo's files are in a directory with the database's name.

    Args:
        name: its path in the directory of the original.
        original: the original.
        application: the copy.

    Returns:
        The path; None for Odoo's marks of files that perhaps nobody needs any more. The collector
        of the copy would remove what they name before the copy has its database.
    """
    before = f"filestore/{original}/"
    if original == application or not name.startswith(before):
        return name
    rest = name.removeprefix(before)
    return None if rest.startswith("checklist/") else f"filestore/{application}/{rest}"


def files(app: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the link by which the copy has the files of the database, and what it leads to.

    Args:
        app: the pillar `app`.

    Returns:
        Both, or None for a kind whose files have nothing to do with the database's name.
    """
    if app["kind"] != odoo.KIND:
        return None
    database = app["database"]["name"]
    return f"{app['data']}/filestore/{name(database)}", database


def log(kind: str) -> str:
    """Return the log of a release that is tried."""
    return f"/var/log/{kind}/upgrade.log"


def url(app: Mapping[str, Any], scheme: str, pool: str) -> str:
    """Return the URL of a pool of pgbouncer.

    Args:
        app: the pillar `app`.
        scheme: postgres or postgresql.
        pool: its name.
    """
    login = app["database"]
    password = quote(login["password"], safe="")
    place = f"{login['host']}:{login['port']}/{pool}"
    return f"{scheme}://{login['user']}:{password}@{place}"


def environment(
    app: Mapping[str, Any], text: str, directory: str, port: int, pool: str
) -> dict[str, str]:
    """Return the environment of an application that runs a release beside the service.

    Args:
        app: the pillar `app`.
        text: the file of its usual environment, with lines NAME="value".
        directory: the release that it runs.
        port: where it listens.
        pool: the pool of pgbouncer that it uses. The one of the copy has the copy's name.
    """
    pairs = (line.split("=", 1) for line in text.splitlines() if not line.startswith("#"))
    found = {pair[0]: pair[1].strip('"') for pair in pairs if pair[1:]}
    found.setdefault("PATH", "/usr/local/bin:/usr/bin:/bin")
    found |= {"HOME": f"/opt/{app['kind']}", "LANG": "C.UTF-8"}
    production = f"/opt/{app['kind']}/production"
    found["PATH"] = found["PATH"].replace(production, directory)
    if app["kind"] == odoo.KIND:
        found["SESSION_DB_URI"] = f"{url(app, 'postgresql', pool)}?sslmode=disable"
    else:
        found |= {"DATABASE_URL": url(app, "postgres", pool), "PORT": str(port)}
    return found

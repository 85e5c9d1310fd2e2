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
NEUTRAL = {
    "ir_cron": "active = false",
    "ir_mail_server": "active = false",
    "fetchmail_server": "active = false",
    "payment_acquirer": "state = 'disabled'",
    "payment_provider": "state = 'disabled'",
    "delivery_carrier": "active = false",
    "base_automation": "active = false",
    "iap_account": "account_token = 'disabled'",
}
"""Tables of Odoo whose rows act on the world outside, and how they stop. Odoo 16 and later have the
same in the files data/neutralize.sql of their modules.
"""


def name(application: str) -> str:
    """Return the name of the copy.

    Args:
        application: the application's name, which is also its database's.
    """
    return f"{PREFIX}{application}"


def neutral(kind: str) -> list[str]:
    """Return the statements that keep a copy from mail, scheduled jobs and payments.

    Args:
        kind: the kind of the application.
    """
    if kind != odoo.KIND:
        return []
    return [
        f"DO $$ BEGIN IF to_regclass('public.{table}') IS NOT NULL THEN "
        f"UPDATE public.{table} SET {change}; END IF; END $$"
        for table, change in NEUTRAL.items()
    ]


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

"""The contents of odoo.conf (requirement O2).

Option names are those of the newest Odoo; an application's `names` says what its version calls
them, its `options` adds lines of its own (pillar/app).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any

HOME = "/opt/odoo"
LOG = "/var/log/odoo/odoo.log"
ROUNDS = 25_000
"""Of PBKDF2 with SHA-512, passlib's default. More would not make a random secret any safer."""


def configuration(app: Mapping[str, Any], cores: int) -> str:
    """The text of odoo.conf.

    Args:
        app: pillar `app`, with the whole definition, the settings and the secrets.
        cores: the processors of this host.

    Raises:
        ValueError: a value holds a line break: it would be read as an option of its own.
    """
    odoo = app["definition"]["odoo"]
    names = odoo["names"]
    lines = {names.get(key, key): value for key, value in options(app, cores).items()}
    lines.update(odoo["options"])
    for key, value in lines.items():
        if "\n" in str(value) or "\r" in str(value):
            raise ValueError(f"{key}: the value has a line break")
    return "".join(["[options]\n", *(f"{key} = {value}\n" for key, value in lines.items())])


def options(app: Mapping[str, Any], cores: int) -> dict[str, str | int | float | bool]:
    """The options under the names that the newest Odoo gives them."""
    definition, settings, database = app["definition"], app["settings"], app["database"]
    odoo = definition["odoo"]
    return {
        "addons_path": ",".join(addons_path(odoo["addons"])),
        "server_wide_modules": ",".join(odoo["server_wide_modules"]),
        "data_dir": app["data"],
        "admin_passwd": password_hash(app["secrets"]["admin_password"]),
        "db_host": database["host"],
        "db_port": database["port"],
        "db_user": database["user"],
        "db_password": database["password"],
        "db_sslmode": "disable",  # pgbouncer on loopback; beyond it verify-full
        "db_name": database["name"],
        "dbfilter": f"^{database['name']}$",
        "db_maxconn": settings["database_connections"],
        "list_db": False,
        "proxy_mode": True,
        "http_interface": "127.0.0.1",
        "http_port": definition["port"],
        "gevent_port": definition["live"]["port"],
        "workers": workers(settings["workers"], cores),
        "max_cron_threads": settings["cron_threads"],
        "limit_memory_soft": settings["limit_memory_soft"] * 2**20,
        "limit_memory_hard": settings["limit_memory_hard"] * 2**20,
        "limit_time_cpu": settings["limit_time_cpu"],
        "limit_time_real": settings["limit_time_real"],
        "limit_request": settings["limit_request"],
        "logfile": LOG,
        "log_level": settings["log_level"],
    }


def addons_path(addons: list[str]) -> list[str]:
    """Directories of addons: those of the checkout in their order, then this project's own."""
    return [*(f"{HOME}/production/{addon}" for addon in addons), f"{HOME}/addons"]


def workers(wanted: int | None, cores: int) -> int:
    """How many worker processes: as the settings say, else 1 + 2 for each core."""
    return 1 + 2 * cores if wanted is None else wanted


def password_hash(secret: str) -> str:
    """The hash of a random secret as passlib's pbkdf2_sha512 writes it, the same each time.

    The salt follows from the secret, so a second apply changes nothing. A salt is there against
    tables of guessed passwords; a random secret of 128 bits and more is in none.
    """
    salt = hashlib.sha256(b"salina odoo admin_passwd\0" + secret.encode()).digest()[:16]
    checksum = hashlib.pbkdf2_hmac("sha512", secret.encode(), salt, ROUNDS)
    return f"$pbkdf2-sha512${ROUNDS}${_ab64(salt)}${_ab64(checksum)}"


def _ab64(data: bytes) -> str:
    """Base64 as passlib adapts it: `.` for `+`, without padding."""
    return base64.b64encode(data).decode().rstrip("=").replace("+", ".")

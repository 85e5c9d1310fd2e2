"""The contents of odoo.conf (requirement O2).

Options have the names of the newest Odoo. An application's `names` has the names that its version
uses instead, and its `options` adds lines of its own (pillar/app).
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
    """Return the text of odoo.conf.

    Args:
        app: the pillar `app`, with the whole definition, the settings and the secrets.
        cores: the processors of this host.

    Raises:
        ValueError: a value has a line break, which would begin another option.
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
    """Return the options under the names that the newest Odoo gives them."""
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
    """Return the directories of addons: the checkout's in their order, then this project's own."""
    return [*(f"{HOME}/production/{addon}" for addon in addons), f"{HOME}/addons"]


def workers(wanted: int | None, cores: int) -> int:
    """Return the number of worker processes: the setting, or 1 + 2 for each core."""
    return 1 + 2 * cores if wanted is None else wanted


def password_hash(secret: str) -> str:
    """Return the hash of a random secret as passlib's pbkdf2_sha512 writes it, the same each time.

    The salt follows from the secret, so a second apply changes nothing. A salt protects guessable
    passwords against tables of hashes, and no table has a random secret of 128 bits.
    """
    salt = hashlib.sha256(b"salina odoo admin_passwd\0" + secret.encode()).digest()[:16]
    checksum = hashlib.pbkdf2_hmac("sha512", secret.encode(), salt, ROUNDS)
    return f"$pbkdf2-sha512${ROUNDS}${_ab64(salt)}${_ab64(checksum)}"


def _ab64(data: bytes) -> str:
    """Return base64 as passlib adapts it: `.` for `+`, without padding."""
    return base64.b64encode(data).decode().rstrip("=").replace("+", ".")

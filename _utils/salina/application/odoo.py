"""The contents of odoo.conf (requirement O2).

Options have the names of the newest Odoo. An application's `names` has the names that its version
uses instead, and its `options` adds lines of its own (pillar/app).
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from salina.application import schema
from salina.application.release import beside_code

KIND = "odoo"
HOME = "/opt/odoo"
LOG = "/var/log/odoo/odoo.log"
UPGRADE_LOG = "/var/log/odoo/upgrade.log"
"""The log of a release that is tried (salina.application.copy)."""
DATA = "/var/lib/odoo"
"""Odoo imports modules from `addons` in this directory. So it is on the host itself and belongs to
root; only its `filestore` leads to the volume (salt/odoo/data.sls).
"""
ENVIRONMENT = ".venv"
"""The directory of a release with its Python environment."""
ADDONS = ".salina-addons.json"
"""The file of a release with its directories of modules: the definition may name others since."""
RTLCSS = ".rtlcss"
"""The directory of a release with the command rtlcss, in `bin`, and its packages."""
RTLCSS_LOCK = "rtlcss.json"
"""The file of salt/locks with these packages. None of them contains another one."""
HOLDING = "salina_held"
"""This project's addon that loses no file of a user. No definition lists it."""
CRON = "salina_cron"
"""This project's addon that gives scheduled jobs a time limit of their own."""
REQUEST = "salina_request"
"""This project's addon that logs the id of the request to which a line belongs."""
FEW = 5
"""The connections of a release that is tried; pgbouncer's pool for it has one more."""
ASIDE = ("i18n", "i18n_extra", "static", "tests")
"""The directories of a module that its checksum leaves out."""
ROUNDS = 25_000
"""Of PBKDF2 with SHA-512, passlib's default. More would not make a random secret any safer."""
SESSIONS = 2
"""The sessions of one process with the application's database: Odoo's and the session store's."""
BESIDE = 1
"""The sessions in the pool beside those of Odoo's processes: the health agent's."""
GEVENT = 1
"""The processes for long polling and websockets."""
LIGHT = 150
"""The MiB of a process that does little."""
LEAST_LIMIT = 128
"""The least MiB that limit_memory_soft can be."""
HEAVY = 0.2
"""The share of the workers that are at their soft limit."""


def configuration(app: Mapping[str, Any], workers: int, places: Sequence[str]) -> str:
    """Return the text of odoo.conf.

    Args:
        app: the pillar `app`, with the whole definition, the settings and the secrets.
        workers: the number of worker processes.
        places: the directories with modules of the release that runs.

    Raises:
        ValueError: a value has a line break, which would begin another option.
    """
    odoo = app["definition"]["odoo"]
    names = odoo["names"]
    lines = {names.get(key, key): value for key, value in options(app, workers, places).items()}
    lines.update(odoo["options"])
    for key, value in lines.items():
        if "\n" in str(value) or "\r" in str(value):
            raise ValueError(f"{key}: the value has a line break")
    return "".join(["[options]\n", *(f"{key} = {value}\n" for key, value in lines.items())])


def options(
    app: Mapping[str, Any], workers: int, places: Sequence[str]
) -> dict[str, str | int | float | bool]:
    """Return the options under the names that the newest Odoo gives them."""
    definition, settings, database = app["definition"], app["settings"], app["database"]
    odoo = definition["odoo"]
    return {
        "addons_path": ",".join(addons_path(places)),
        "server_wide_modules": ",".join([*odoo["server_wide_modules"], HOLDING, CRON, REQUEST]),
        "data_dir": DATA,
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
        "workers": workers,
        "max_cron_threads": settings["cron_threads"],
        "limit_memory_soft": settings["limit_memory_soft"] * 2**20,
        "limit_memory_hard": settings["limit_memory_hard"] * 2**20,
        "limit_time_cpu": settings["limit_time_cpu"],
        "limit_time_real": settings["limit_time_real"],
        "limit_time_real_cron": settings["limit_time_cron"],
        "limit_request": settings["limit_request"],
        "logfile": LOG,
        "log_level": settings["log_level"],
    }


def recorded(release: Path, section: Mapping[str, Any]) -> list[str]:
    """Return the directories of a release with modules, as they were when it was built.

    Args:
        release: its directory, or the link to it.
        section: the key `odoo` of the definition, for a release that does not name them.
    """
    try:
        return [str(place) for place in json.loads((release / ADDONS).read_text())]
    except FileNotFoundError:
        return [one for one in addons(section) if not release.exists() or (release / one).is_dir()]


def addons(section: Mapping[str, Any]) -> list[str]:
    """Return the directories of a release with modules. Odoo takes a module from the first.

    Those of the further repositories come first: Odoo Enterprise must come before Odoo, and a
    repository of the operator's own may replace a module of Odoo.

    Args:
        section: the key `odoo` of the definition.
    """
    further = [place for one in section["repositories"] for place in addons_of(one)]
    return [*further, *section["addons"]]


def addons_of(repository: Mapping[str, Any]) -> list[str]:
    """Return the directories of a release with the modules of a further repository.

    Args:
        repository: an item of the key `odoo.repositories` of the definition.
    """
    place = beside_code(repository["name"])
    return [place if one == "." else f"{place}/{one}" for one in repository["addons"]]


def requirements(section: Mapping[str, Any]) -> list[str]:
    """Return the files of a release that name Python packages, if a definition has no lock.

    Args:
        section: the key `odoo` of the definition.
    """
    further = [
        f"{beside_code(one['name'])}/{one['requirements']}"
        for one in section["repositories"]
        if one["requirements"]
    ]
    return [section["python"]["requirements"], *further]


def addons_path(places: Sequence[str], release: str = f"{HOME}/production") -> list[str]:
    """Return the directories of addons: the release's in their order, then this project's own."""
    return [*(f"{release}/{place}" for place in places), f"{HOME}/addons"]


def program(app: Mapping[str, Any], release: str, database: str) -> list[str]:
    """Return the command that lets a release work on another database, beside the service.

    It has few connections, and runs no scheduled jobs.

    Args:
        app: the pillar `app`.
        release: the release's directory.
        database: the database's name.
    """
    names = app["definition"]["odoo"]["names"]
    places = recorded(Path(release), app["definition"]["odoo"])
    return [
        f"{release}/{ENVIRONMENT}/bin/python",
        f"{release}/odoo-bin",
        f"--config={app['definition']['odoo']['configuration']}",
        f"--addons-path={','.join(addons_path(places, release))}",
        f"--database={database}",
        f"--db-filter=^{database}$",  # odoo.conf has that of the running one, which wins otherwise
        "--workers=0",
        "--max-cron-threads=0",
        f"--db_maxconn={FEW}",
        f"--{names.get('gevent_port', 'gevent_port').replace('_', '-')}=0",
        f"--logfile={UPGRADE_LOG}",
    ]


def checksums(release: Path, addons: list[str]) -> dict[str, str]:
    """Return the checksum of each module of a release.

    Translations do not count: a database without the newest ones works. Neither do static files,
    which browsers get from the code, nor tests. So a little less counts than for click-odoo-update:
    https://github.com/acsone/click-odoo-contrib#click-odoo-update-stable

    Args:
        release: the release's directory.
        addons: its directories with modules. Odoo takes a module from the first that has it.
    """
    found: dict[str, str] = {}
    for place in (release / addon for addon in addons):
        for manifest in sorted(place.glob("*/__manifest__.py")):
            module = manifest.parent
            if module.name not in found:
                found[module.name] = schema.checksum(module, _counts)
    return found


def _counts(path: Path) -> bool:
    """Return whether a file or a directory of a module can change the database or its use."""
    return path.parts[0] not in ASIDE and path.name != "__pycache__" and path.suffix != ".pyc"


def workers(settings: Mapping[str, Any], pool_size: int, cores: int, memory: int) -> int:
    """Return the number of worker processes.

    Args:
        settings: those of pillar/settings/app.yaml. `workers` counts as it stands; if it is None,
            there are 1 + 2 workers for each core, at most as many as fit, and at least one.
        pool_size: the sessions with the application's database that this host may hold.
        cores: the processors of this host.
        memory: the memory of this host in MiB.
    """
    if settings["workers"] is not None:
        return int(settings["workers"])
    by_pool = most_workers(pool_size, settings["cron_threads"])
    return max(1, min(1 + 2 * cores, by_pool, _most_by_memory(settings, memory)))


def sessions(workers: int, cron_threads: int, connections: int) -> int:
    """Return the sessions with the application's database that one app host needs at once.

    Args:
        workers: the worker processes. Without any, Odoo is one process with threads.
        cron_threads: the processes for scheduled jobs.
        connections: the most connections of one process (`db_maxconn`).
    """
    if not workers:
        return connections + 1 + BESIDE  # the 1 is the session store's
    return SESSIONS * (workers + cron_threads + GEVENT) + BESIDE


def most_workers(pool_size: int, cron_threads: int) -> int:
    """Return the most worker processes whose sessions fit into the pool; it can be below 1."""
    return (pool_size - BESIDE) // SESSIONS - cron_threads - GEVENT


def obstacle(settings: Mapping[str, Any], memory: int, workers: int) -> str:
    """Return why the settings do not fit this host's memory, or "" if they do.

    The figures are those of Odoo's own guide: one worker in five is at its soft limit, and the
    others are light, as are the processes for scheduled jobs and for long polling.

    Args:
        settings: those of pillar/settings/app.yaml.
        memory: the memory of this host in MiB.
        workers: the number of worker processes.
    """
    number, soft = max(1, workers), settings["limit_memory_soft"]
    needed = _others(settings) + number * _each(settings)
    if needed <= memory:
        return ""
    here = "is not valid on this host; must be at most"
    why = f"because its memory is {memory} MiB and these processes need {needed} MiB"
    most = _most_by_memory(settings, memory)
    if most >= 1:
        return f"pillar/settings/app.yaml: workers: {workers} {here} {most}, {why}"
    least = int((memory - _others(settings) - (1 - HEAVY) * LIGHT) / HEAVY)
    if least >= LEAST_LIMIT:
        return f"pillar/settings/app.yaml: limit_memory_soft: {soft} {here} {least}, {why}"
    return f"this host is too small for Odoo, {why}; use a host with more memory"


def _each(settings: Mapping[str, Any]) -> int:
    """Return the MiB of an average worker."""
    return round((1 - HEAVY) * LIGHT + HEAVY * int(settings["limit_memory_soft"]))


def _others(settings: Mapping[str, Any]) -> int:
    """Return the MiB of the other processes."""
    return LIGHT * (int(settings["cron_threads"]) + GEVENT)


def _most_by_memory(settings: Mapping[str, Any], memory: int) -> int:
    return (memory - _others(settings)) // _each(settings)


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

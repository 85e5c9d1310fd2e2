"""pgBackRest's configuration at both ends, and its answers.

The options are those of pgBackRest 2.45: https://pgbackrest.org/configuration.html
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from salina.common.https import Identity

FILE = "/etc/pgbackrest.conf"
SCRATCH_FILE = "/etc/pgbackrest-scratch.conf"
"""On the backup host: the same repository, with the cluster's files on this host."""
LOCKS = "/run/pgbackrest"
SOCKETS = "/run/postgresql"
GIVEN_UP = "/var/lib/postgresql/salina-wal-given-up"
"""The file that PostgreSQL touches when it gives up WAL. No backup has it."""
KEPT_FREE = 2048
"""The MiB that WAL which waits leaves free: twice PostgreSQL's max_wal_size, after which it removes
WAL.
"""
KEPT_FILES = 64
"""The files of WAL, of 16 MiB each, that are never given up."""
PUSH_SECONDS = 15
"""Seconds in which the backup host must answer. pgBackRest tries for twice as long."""
MISSING = 1
"""The status of a stanza that has not been created (info's `status.code`)."""


class Backup(NamedTuple):
    """A backup. `begin`, `end`: seconds since the epoch. `size`: the database's bytes; `stored`:
    the bytes that this backup added to the repository.
    """

    label: str
    kind: str
    begin: int
    end: int
    size: int
    stored: int
    faulty: bool


class Stanza(NamedTuple):
    """A stanza: the code and the words of its status, its backups from old to new, and the last
    file of WAL that has arrived.
    """

    code: int
    message: str
    backups: tuple[Backup, ...]
    wal: str


def repository_configuration(backup: Mapping[str, Any], own: Identity) -> str:
    """Return the content of pgbackrest.conf on the backup host. It holds a password.

    Args:
        backup: the pillar of that name.
        own: the files of the host's certificate for pgBackRest.
    """
    general = {
        **_repository(backup),
        "repo1-retention-full-type": "time",
        "repo1-retention-full": backup["keep_days"],
        "archive-copy": "y",  # a backup needs no WAL beside its own
        "compress-type": "zst",
        "start-fast": "y",
        **_common(backup, own),
    }
    stanza: dict[str, Any] = {}
    for number, host in enumerate(backup["databases"], start=1):
        this = f"pg{number}"
        stanza |= {
            f"{this}-host": host,
            **_other_end(f"{this}-host", backup["port"], own),
            f"{this}-path": backup["database_files"],
            f"{this}-port": backup["database_port"],
            f"{this}-socket-path": SOCKETS,
        }
    return _text({"global": general, backup["stanza"]: stanza}, backup["databases"])


def database_configuration(archiving: Mapping[str, Any], own: Identity) -> str:
    """Return the content of pgbackrest.conf on a database host.

    Args:
        archiving: the pillar of that name.
        own: the files of the host's certificate for pgBackRest.
    """
    general = {
        "repo1-host": archiving["repository"],
        **_other_end("repo1-host", archiving["port"], own),
        **_common(archiving, own),
    }
    stanza = {
        "pg1-path": archiving["database_files"],
        "pg1-port": archiving["database_port"],
        "pg1-socket-path": SOCKETS,
    }
    sections = {"global": general, "global:archive-push": {"io-timeout": PUSH_SECONDS}}
    return _text({**sections, archiving["stanza"]: stanza}, [archiving["repository"]])


def archive_command(stanza: str) -> str:
    """Return PostgreSQL's command that sends a file of WAL to the repository (decision 71).

    Before the disk is full it gives the oldest file up instead: PostgreSQL would stop, and could
    not start again. If anything is wrong with these conditions, nothing is given up.

    Args:
        stanza: pgBackRest's name for the cluster.
    """
    free = "$(df --output=avail --block-size=1M pg_wal | tail -n 1)"
    files = "$(ls pg_wal/archive_status | grep -c ready)"
    return (
        f'{{ test "{free}" -lt {KEPT_FREE} && test "{files}" -gt {KEPT_FILES} '
        f"&& touch {GIVEN_UP} && echo 'the disk is almost full: %f is given up' >&2; }} "
        f"|| pgbackrest --stanza={stanza} archive-push %p"
    )


def scratch_configuration(backup: Mapping[str, Any], files: str) -> str:
    """Return the content of the file with which the backup host restores. It holds a password.

    Args:
        backup: the pillar of that name.
        files: the directory of the scratch cluster.
    """
    general = {**_repository(backup), **_local()}
    return _text({"global": general, backup["stanza"]: {"pg1-path": files}}, [])


def _repository(backup: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a repository on this host."""
    return {
        "repo1-path": backup["repository"],
        "repo1-cipher-type": "aes-256-cbc",
        "repo1-cipher-pass": backup["password"],
    }


def _local() -> dict[str, Any]:
    """Return where pgBackRest locks, and that its log goes to the journal."""
    return {
        "lock-path": LOCKS,
        "log-level-console": "info",
        "log-level-file": "off",
        "log-timestamp": "n",
    }


def _common(pillar: Mapping[str, Any], own: Identity) -> dict[str, Any]:
    """Return the options of both ends: the server, and those of every file."""
    return {
        # a host that has died is noticed within half a minute, not after half an hour
        "tcp-keep-alive-idle": 10,
        "tcp-keep-alive-interval": 5,
        "tcp-keep-alive-count": 3,
        "tls-server-address": pillar["address"],
        "tls-server-port": pillar["port"],
        "tls-server-ca-file": own.ca,
        "tls-server-cert-file": own.certificate,
        "tls-server-key-file": own.key,
        **_local(),
    }


def _other_end(option: str, port: int, own: Identity) -> dict[str, Any]:
    """Return the options by which one end reaches the other."""
    return {
        f"{option}-type": "tls",
        f"{option}-port": port,
        f"{option}-ca-file": own.ca,
        f"{option}-cert-file": own.certificate,
        f"{option}-key-file": own.key,
    }


def _text(sections: Mapping[str, Mapping[str, Any]], clients: list[str]) -> str:
    """Return sections as the file's text; `clients` may use the stanza through the server."""
    lines = ["# Managed by Salt (salt/pgbackrest)."]
    stanza = list(sections)[-1]
    for name, options in sections.items():
        lines += ["", f"[{name}]", *(f"{key}={value}" for key, value in options.items())]
        if name == "global":
            lines += [f"tls-server-auth={client}={stanza}" for client in clients]
    return "\n".join(lines) + "\n"


def parse_info(text: str, name: str) -> Stanza:
    """Return a stanza from the output of `pgbackrest info --output=json`.

    Raises:
        ValueError: the output is something else.
    """
    for stanza in json.loads(text):
        if stanza["name"] != name:
            continue
        status = stanza["status"]
        backups = tuple(_backup(one) for one in stanza.get("backup", ()))
        wal = max((one.get("max") or "" for one in stanza.get("archive", ())), default="")
        return Stanza(status["code"], status["message"], backups, wal)
    return Stanza(MISSING, "missing", (), "")


def _backup(one: Mapping[str, Any]) -> Backup:
    return Backup(
        label=one["label"],
        kind=one["type"],
        begin=one["timestamp"]["start"],
        end=one["timestamp"]["stop"],
        size=one["info"]["size"],
        stored=one["info"]["repository"]["delta"],
        faulty=bool(one.get("error")),
    )

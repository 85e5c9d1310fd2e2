"""A scratch cluster: a database restored from the backups beside the running cluster.

Only its own host reaches it, through a socket. A restore copies one application's database from it,
so that no other application is rewound (decision 46).
"""

from __future__ import annotations

import datetime
import posixpath
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from salina.database.roles import identifier, literal

UNIT = "salina-scratch"
SOCKETS = "/run/salina-scratch"
SUPERUSER = "postgres"
TEMPORARY = "salina_restored"
"""The name of a copy until it has its place."""
RESTORED = "salina-restored"
"""The file in a restored cluster that Patroni has not taken over yet."""
MARK = "salina: "
"""How the comment of a database begins that a restore has made or kept."""
ORIGIN = "salina-from: "
"""How the comment of an application's database begins that has taken the place of another one."""
FIRST_YEAR = 2000
"""The first year in which there can be a backup."""
SPARE = 2 * 1024**3
"""The bytes that a copy leaves free: the WAL of the scratch cluster, and room for the service."""


class Kept(NamedTuple):
    """A database that a restore has made or kept. `size`: bytes. `about`: what it is, in words."""

    name: str
    size: int
    about: str


def directory(files: str) -> str:
    """Return the directory of the scratch cluster.

    Args:
        files: the directory of the running cluster, on the same disk.
    """
    return posixpath.join(posixpath.dirname(files), "scratch")


def restore_command(pillar: Mapping[str, Any], until: str) -> list[str]:
    """Return the command that fetches the scratch cluster from the repository.

    It fetches all databases. A single one (`--db-include`) is chosen by its name at the time of the
    backup, and since then another database may have taken that name.

    Args:
        pillar: the pillar `scratch`.
        until: the moment as `target` writes it, or "" for the newest.
    """
    command = ["pgbackrest", f"--config={pillar['configuration']}", f"--stanza={pillar['stanza']}"]
    command += [f"--pg1-path={pillar['files']}", "--process-max=2", "--archive-mode=off"]
    command.append("--log-level-console=warn")
    if until:
        command += ["--type=time", f"--target={until}", "--target-action=promote"]
    return [*command, "restore"]


def parse_moment(text: str) -> datetime.datetime:
    """Return the moment that a text names: ISO 8601, in UTC unless it has an offset.

    Raises:
        ValueError: it names none; the message says what is allowed.
    """
    try:
        moment = datetime.datetime.fromisoformat(text.strip().removesuffix(" UTC"))
        moment = moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)
        moment = moment.astimezone(datetime.UTC)
        if moment.year < FIRST_YEAR:
            raise ValueError
        return moment
    except (ValueError, OverflowError):
        raise ValueError(
            f'time: "{text}" is not valid; must be latest, or a moment such as '
            "2026-11-29 12:00:00 (UTC) or 2026-11-29T12:00:00+01:00"
        ) from None


def target(moment: datetime.datetime) -> str:
    """Return a moment in UTC as pgBackRest and PostgreSQL read it: 2026-11-29 12:00:00+00."""
    return f"{moment.astimezone(datetime.UTC):%Y-%m-%d %H:%M:%S.%f}+00"


def room(size: int, cluster: int, backup: int, free: int) -> dict[str, Any]:
    """Return what a copy of a database needs beside the running cluster.

    It needs the scratch cluster, the copy, and the WAL that the copy makes. The database may have
    been larger when it was backed up, which is perhaps the reason for the restore.

    Args:
        size: the bytes of the database.
        cluster: the bytes of all databases.
        backup: the bytes of all databases in the backup.
        free: the bytes that are free on the fullest of the database hosts.

    Returns:
        The bytes that are `needed` and `free`, and the `shortage` in words, or "".
    """
    database = size + max(0, backup - cluster)
    needed = max(cluster, backup) + 2 * database + SPARE
    told = f"the copy needs {needed >> 20} MiB on the database's disk, and {free >> 20} are free"
    return {"needed": needed, "free": free, "shortage": told if free < needed else ""}


def size(database: str) -> str:
    """Return the query for the size of a database, in bytes."""
    return f"SELECT pg_database_size({literal(database)})"


def ends_early(reached: str, last: str) -> str:
    """Return that a recovery has ended before the end of the WAL in the repository, or "".

    PostgreSQL takes every failure to fetch WAL for its end.

    Args:
        reached: the position at which it ended, such as 0/58004D78.
        last: the last file of WAL in the repository.
    """
    high, low = (int(part, 16) for part in reached.split("/"))
    segment = (high << 32 | low) - 1 >> 24
    wanted = int(last[8:16], 16) << 8 | int(last[16:24], 16)
    if segment >= wanted:
        return ""
    return f"the recovery ended at {reached}, before {last}, which is in the repository"


def unsent(names: Collection[str]) -> list[str]:
    """Return the files of WAL that the next cluster must send to the repository.

    The scratch cluster archives nothing. Without the file that describes its timeline, no later
    restore would find the way to what comes after it.

    Args:
        names: the files in the directory pg_wal of a scratch cluster that has recovered.
    """
    history = max(name for name in names if name.endswith(".history"))
    timeline = history.removesuffix(".history")
    segments = sorted(name for name in names if len(name) == 24 and name.startswith(timeline))
    return [history, *segments[:-1]]  # the last one is not full yet


KEPT = f"""
SELECT coalesce(json_agg(json_build_array(datname, pg_database_size(oid), about) ORDER BY datname),
                '[]')
FROM (SELECT oid, datname, shobj_description(oid, 'pg_database') AS about FROM pg_database) AS found
WHERE about LIKE '{MARK}%';
"""
"""The query for `parse_kept`."""


ORIGINS = f"""
SELECT coalesce(json_object_agg(datname, substr(about, {len(ORIGIN) + 1})), '{{}}')
FROM (SELECT datname, shobj_description(oid, 'pg_database') AS about FROM pg_database) AS found
WHERE about LIKE '{ORIGIN}%';
"""
"""The query for the requests by which databases have taken the places of others."""


def parse_kept(rows: Sequence[Sequence[Any]]) -> list[Kept]:
    """Return the databases that restores have made or kept, from the rows of `KEPT`."""
    return [Kept(name, size, about.removeprefix(MARK)) for name, size, about in rows]


def comment(database: str, about: str | None, mark: str = MARK) -> str:
    """Return the SQL that says what a database is; None: it is nothing special any more."""
    text = "NULL" if about is None else literal(f"{mark}{about}")
    return f"COMMENT ON DATABASE {identifier(database)} IS {text};"


def disconnect(databases: Sequence[str]) -> str:
    """Return the SQL that ends all sessions of databases: PostgreSQL renames none in use."""
    names = ", ".join(literal(name) for name in databases)
    return (
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
        f"WHERE pid <> pg_backend_pid() AND datname IN ({names});"
    )


def exchange(
    application: Mapping[str, str], new: str, kept: str, about: str, origin: str = ""
) -> str:
    """Return the SQL by which a database takes the place of another one, at once or not at all.

    The replaced one belongs to PostgreSQL's superuser from then on, so the application cannot
    delete it.

    Args:
        application: its `name`, which is that of its database, and its `user`.
        new: the database that takes the name.
        kept: the name that the old one gets; "" if there is none.
        about: what the old one is, in words.
        origin: the request for the exchange, so that the same request is not done a second time.
    """
    live, user = application["name"], identifier(application["user"])
    old = [
        f"ALTER DATABASE {identifier(live)} RENAME TO {identifier(kept)};",
        f"ALTER DATABASE {identifier(kept)} OWNER TO {SUPERUSER};",
        comment(kept, about),
    ] if kept else []  # fmt: skip
    return "\n".join(
        [
            disconnect([live, new]),
            "BEGIN;",
            *old,
            f"ALTER DATABASE {identifier(new)} RENAME TO {identifier(live)};",
            f"ALTER DATABASE {identifier(live)} OWNER TO {user};",
            comment(live, origin or None, ORIGIN),
            "COMMIT;",
        ]
    )


def naming(name: str, owner: str = SUPERUSER) -> str:
    """Return the SQL by which a complete copy gets its own name and its owner.

    Args:
        name: the name.
        owner: the role; an application cannot delete what belongs to the superuser.
    """
    return "\n".join(
        [
            "BEGIN;",
            f"ALTER DATABASE {identifier(TEMPORARY)} RENAME TO {identifier(name)};",
            f"ALTER DATABASE {identifier(name)} OWNER TO {identifier(owner)};",
            *([comment(name, None)] if owner != SUPERUSER else []),  # no restore may take it
            "COMMIT;",
        ]
    )

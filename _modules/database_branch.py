"""Copy an application's running database beside itself, so that a new release can be tried.

Everything runs on the primary. An operator uses orch.upgrade (salina.application.copy).
"""

from __future__ import annotations

import contextlib
import shutil
from typing import Any

from salt.exceptions import CommandExecutionError

from salina.application import copy
from salina.backup import scratch
from salina.common import commands, pillars
from salina.database import disk, records, roles, sessions
from salina.database.patroni import data_directory
from salina.database.psql import literal, passfile

__salt__: dict[str, Any]
__pillar__: dict[str, Any]

USER = "postgres"
DUMP = ("pg_dump", "pg_restore")
SOCKETS = "/run/postgresql"


def make(application: str, live: bool, original: str = "") -> str:
    """Copy an application's database, in place of an earlier copy.

    Args:
        application: the application's name, to whose role the copy belongs.
        live: whether the application goes on meanwhile. Otherwise the sessions with the database
            end, and PostgreSQL copies it as a template.
        original: the application whose database is copied, if it is another one. It goes on.

    Returns:
        The copy's name.

    Raises:
        CommandExecutionError: this host is a replica, the disk is too small or fills meanwhile, or
            PostgreSQL refused. No part of the copy is left then.

    CLI Example:
        salt bbdd1 database_branch.make crm True
    """
    remove(application)
    name, source = copy.name(application), original or application
    size = int(_query(scratch.size(source)))
    left = _free()
    if left < 2 * size + scratch.SPARE:
        needed = 2 * size + scratch.SPARE
        raise CommandExecutionError(
            f"the copy of {source} and its WAL need {needed >> 20} MiB, and {left >> 20} MiB "
            "are free"
        )
    wanted = {**pillars.application(__pillar__, application), "name": name}
    what = f"the copy of {source}"
    try:
        with disk.guarded(what, _free, scratch.SPARE // 2, lambda: _query(_end(name))):
            if live or original:
                _query(roles.script(roles.database_steps({}, [wanted])))
                _duplicate(wanted, source)
                __salt__["database.record"](application, name, __salt__["database.row"](source))
                _query("ANALYZE", name)
            else:
                _branch(application, name)
                known = {"owner": "", "encoding": "UTF8", "collate": "C"}
                _query(roles.script(roles.database_steps({name: known}, [wanted])))
                __salt__["database.record"](application, name)
    except CommandExecutionError:
        with contextlib.suppress(CommandExecutionError):  # the next copy takes its place
            remove(application)
        raise
    return name


def remove(application: str) -> None:
    """Remove the copy of an application's database, if there is one.

    Args:
        application: the application's name.

    Raises:
        CommandExecutionError: this host is a replica, or PostgreSQL refused.

    CLI Example:
        salt bbdd1 database_branch.remove crm
    """
    if _query("SELECT pg_is_in_recovery()") == "t":
        raise CommandExecutionError("this host is a replica (see patroni.leader)")
    name = roles.identifier(copy.name(application))
    _query(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def writes(application: str) -> int:
    """Return a number that changes whenever somebody writes into an application's database.

    All sessions end before that, because PostgreSQL counts the rows of a session at its end.

    Args:
        application: the application's name.

    Returns:
        The rows that were ever inserted, changed or deleted, as PostgreSQL counts them.

    Raises:
        CommandExecutionError: PostgreSQL does not answer.

    CLI Example:
        salt bbdd1 database_branch.writes crm
    """
    count = "SELECT coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0) FROM pg_stat_user_tables"
    end = (
        "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity "
        f"WHERE pid <> pg_backend_pid() AND datname = {literal(application)}"
    )
    _query(end)
    return int(_query(count, application))


def _free() -> int:
    """Return the bytes that are free on the disk of the databases."""
    return shutil.disk_usage(data_directory(_pillar())).free


def _end(name: str) -> str:
    """Return the statement that ends every session which makes a copy.

    pg_dump and pg_restore have the copy's name as theirs (`_duplicate`).
    """
    begins = literal(f"CREATE DATABASE {roles.identifier(name)} TEMPLATE ")
    wanted = f"datname = {literal(name)} OR application_name = {literal(name)}"
    return (
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE "
        f"pid <> pg_backend_pid() AND ({wanted} OR starts_with(query, {begins}))"
    )


def _branch(application: str, name: str) -> None:
    """Let PostgreSQL copy a database as a template, which nobody may use meanwhile."""
    create = f"CREATE DATABASE {roles.identifier(name)} TEMPLATE {roles.identifier(application)}"
    sessions.without(_query, f"{scratch.disconnect([application])}\n{create}", application)


def _duplicate(wanted: dict[str, Any], source: str) -> None:
    """Copy the content of a database into an empty one.

    The application's role writes the copy, because the database may contain its functions, and a
    superuser would run them.
    """
    pipe = (
        'set -o pipefail; "$1" --host="$3" --port="$4" --format=custom --compress=0 '
        f'--exclude-schema={records.SCHEMA} "$5" | '
        '"$2" --host="$3" --port="$4" --username="$6" --dbname="$7" --no-password --no-owner '
        '--exit-on-error "${@:8}"'
    )
    login = {"host": "*", "port": _pillar()["port"], "name": wanted["name"]}
    user = str(wanted["user"])
    programs = [f"/usr/lib/postgresql/{_pillar()['version']}/bin/{one}" for one in DUMP]
    with passfile({**login, "user": user, "password": wanted["password"]}) as file:
        shutil.chown(file, USER)
        given = [*programs, SOCKETS, str(_pillar()["port"]), source, user, wanted["name"]]
        if source != user:  # the rights of other roles in the original
            given.append("--no-privileges")
        become = [*commands.MORTAL, f"--reuid={USER}", f"--regid={USER}", "--init-groups", "--"]
        commands.run(
            __salt__["cmd.run_all"],
            [*become, "bash", "-c", pipe, "bash", *given],
            env={"PGPASSFILE": file, "PGAPPNAME": wanted["name"]},
            cwd="/",
        )


def _query(sql: str, database: str = "postgres") -> str:
    return str(__salt__["database.query"](sql, database))


def _pillar() -> dict[str, Any]:
    return pillars.section(__pillar__, "database")

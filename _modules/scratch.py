"""Restore a scratch cluster from the backups, ask it, and remove it (salina.backup.scratch).

Only this host reaches it. The modules `database_copy`, `cluster_restore` and `drill` use it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from typing import Any

from salt.exceptions import CommandExecutionError

from salina.backup import scratch
from salina.common import commands, pillars
from salina.common import wait as waiting
from salina.database import records
from salina.database.psql import SAFE, passfile

__salt__: dict[str, Any]
__pillar__: dict[str, Any]

USER = "postgres"
AS_POSTGRES = (f"--reuid={USER}", f"--regid={USER}", "--init-groups")
RECOVERED = 6 * 3600
"""Seconds for the scratch cluster to apply the WAL."""


def start(until: str = "") -> str:
    """Restore a scratch cluster in place of an earlier one, and let it recover up to a moment.

    Args:
        until: the moment, as `salina.backup.scratch.target` writes it, or "" for the newest.

    Returns:
        The moment of the last change that it has found in the WAL, as PostgreSQL writes it, or "".

    Raises:
        CommandExecutionError: pgBackRest or PostgreSQL failed; the message says why.

    CLI Example:
        salt bkp1 scratch.start '2026-11-29 12:00:00+00'
    """
    remove()
    pillar = _pillar()
    _run("mkdir", "--parents", "--mode=700", pillar["files"])
    _run(*scratch.restore_command(pillar, until))
    commands.systemctl(__salt__, "start", scratch.UNIT)

    def recovered() -> list[str] | None:
        if not __salt__["service.status"](scratch.UNIT):
            raise CommandExecutionError(f"the scratch cluster has ended:\n{_journal()}")
        try:
            return [query("SELECT pg_last_xact_replay_timestamp()")]
        except CommandExecutionError:  # it does not listen, or still recovers
            return None

    last = waiting.until(recovered, RECOVERED)
    if last is None:
        raise CommandExecutionError(
            f"the scratch cluster still recovers after {RECOVERED} s:\n{_journal()}"
        )
    return last[0]


def query(sql: str, database: str = "postgres") -> str:
    """Run SQL on the scratch cluster.

    Args:
        sql: one or more statements.
        database: the database's name.

    Returns:
        The output, one line per row.

    Raises:
        CommandExecutionError: psql failed, or there is no scratch cluster.

    CLI Example:
        salt bkp1 scratch.query 'SELECT datname FROM pg_database'
    """
    psql = [_program("psql"), "--no-psqlrc", "--quiet", "--no-align", "--tuples-only"]
    psql += [f"--host={scratch.SOCKETS}", f"--port={_pillar()['port']}", f"--dbname={database}"]
    return _run(*psql, "--set=ON_ERROR_STOP=1", stdin=sql).strip()


def check() -> None:
    """Read every table and index of the scratch cluster, and check their structure.

    Raises:
        CommandExecutionError: one is damaged; the message names it.

    CLI Example:
        salt bkp1 scratch.check
    """
    place = (f"--host={scratch.SOCKETS}", f"--port={_pillar()['port']}")
    _run(_program("pg_amcheck"), *place, "--all", "--install-missing", "--no-password")


def load(database: str, target: str, owner: str = "") -> None:
    """Copy an application's database of the scratch cluster into this host's running cluster.

    The application's role writes the copy, because the database may contain its functions, and a
    superuser would run them.

    Args:
        database: the database of the scratch cluster, which has the name of its application.
        target: an empty database of the running cluster.
        owner: the application whose role writes the copy, if it is another one.

    Raises:
        CommandExecutionError: pg_dump or pg_restore failed.

    CLI Example:
        salt bbdd1 scratch.load crm salina_restored
    """
    application = pillars.application(__pillar__, owner or database)
    pipe = (
        'set -o pipefail; "$1" --host="$2" --port="$3" --format=custom --compress=0 '
        f'--exclude-schema={records.SCHEMA} "$4" | '
        '"$5" --host=/run/postgresql --port="$3" --username="$6" --dbname="$7" --no-password '
        '--no-owner --exit-on-error "${@:8}"'
    )
    port, user = str(_pillar()["port"]), application["user"]
    source = (_program("pg_dump"), scratch.SOCKETS, port, database)
    login = {"host": "*", "port": port, "name": target, "user": user}
    with passfile({**login, "password": application["password"]}) as file:
        shutil.chown(file, USER)
        environment = {"PGPASSFILE": file}
        given = ["bash", "-c", pipe, "bash", *source, _program("pg_restore"), user, target]
        if owner:  # the rights of other roles in the original
            given.append("--no-privileges")
        _run(*given, env=environment)


def mark(names: Iterable[str]) -> None:
    """Make empty files in the directory of the scratch cluster, as PostgreSQL's user.

    Args:
        names: paths inside the directory.

    Raises:
        CommandExecutionError: one cannot be made.

    CLI Example:
        salt bbdd1 scratch.mark '[pg_wal/archive_status/00000004.history.ready]'
    """
    _run("touch", *(f"{_pillar()['files']}/{name}" for name in names))


def stop() -> None:
    """Stop the scratch cluster, and keep its files.

    Raises:
        CommandExecutionError: systemd refused.

    CLI Example:
        salt bbdd1 scratch.stop
    """
    commands.systemctl(__salt__, "stop", scratch.UNIT)


def remove() -> None:
    """Stop the scratch cluster and delete its files.

    Raises:
        CommandExecutionError: systemd refused.

    CLI Example:
        salt bkp1 scratch.remove
    """
    stop()
    commands.run(__salt__["cmd.run_all"], ["rm", "--recursive", "--force", _pillar()["files"]])


def _program(name: str) -> str:
    return f"/usr/lib/postgresql/{_pillar()['version']}/bin/{name}"


def _run(*command: str, **options: Any) -> str:
    """Run a command as PostgreSQL's user, with the least priority. It dies with this job."""
    modest = ("nice", "-n", "10", "ionice", "-c", "3")
    user = (*commands.MORTAL, *AS_POSTGRES, "--")
    environment = {"PGOPTIONS": SAFE, **options.pop("env", {})}
    run_all = __salt__["cmd.run_all"]
    return commands.run(run_all, [*modest, *user, *command], cwd="/", env=environment, **options)


def _journal() -> str:
    lines = ["journalctl", f"--unit={scratch.UNIT}", "--lines=8", "--output=cat", "--no-pager"]
    return commands.run(__salt__["cmd.run_all"], lines)


def _pillar() -> dict[str, Any]:
    return pillars.section(__pillar__, "scratch")

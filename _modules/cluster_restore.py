"""Make the database cluster from the backups again, after every database host has lost its data.

orch.restore_cluster calls these functions on the first database host. Nothing here touches a
cluster that exists.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from salt.exceptions import CommandExecutionError

from salina.backup import lock, scratch
from salina.common import commands, file, pillars
from salina.common.https import identity
from salina.database import patroni
from salina.quorum import client

__salt__: dict[str, Any]
__pillar__: dict[str, Any]

CLIENT = identity("host")
RECOVERY = (
    *("restore_command", "archive_mode"),
    *("recovery_target_time", "recovery_target_action", "recovery_target_timeline"),
)
"""Parameters that pgBackRest writes for a recovery, and that the cluster must not keep."""


def make(until: str = "", least: str = "") -> str:
    """Restore the cluster's files on this host, up to a moment.

    They come from a scratch cluster, which takes the place of the missing one when it is complete.

    Args:
        until: the moment, as `salina.backup.scratch.target` writes it, or "" for the newest.
        least: the last file of WAL in the repository, which the newest state must reach, or "".

    Returns:
        The moment of the last change that was found in the WAL, as PostgreSQL writes it; "" if
        there was none, or if an interrupted restore has come so far already.

    Raises:
        CommandExecutionError: this host has data, or data of another moment; pgBackRest or
            PostgreSQL failed; or the WAL ended too early.

    CLI Example:
        salt bbdd1 cluster_restore.make
    """
    source, target = _places()
    if target.exists():
        mark = target / scratch.RESTORED
        if not mark.exists() or mark.read_text() != until:
            raise CommandExecutionError(
                f"{target} exists, with other data than those of {until or 'now'}; delete it if "
                "this host is new, or apply its states to go on with it"
            )
        return ""
    try:
        with lock.alone():
            return _make(source, target, until, least)
    except lock.Busy as error:
        raise CommandExecutionError(str(error)) from None


def _make(source: Path, target: Path, until: str, least: str) -> str:
    last = str(__salt__["scratch.start"](until))
    if not until and least:
        reached = __salt__["scratch.query"]("SELECT pg_last_wal_replay_lsn()")
        if early := scratch.ends_early(reached, least):
            raise CommandExecutionError(early)
    for parameter in RECOVERY:
        __salt__["scratch.query"](f"ALTER SYSTEM RESET {parameter}")
    __salt__["scratch.stop"]()
    names = scratch.unsent(os.listdir(source / "pg_wal"))
    __salt__["scratch.mark"]([f"pg_wal/archive_status/{name}.ready" for name in names])
    file.put(source / scratch.RESTORED, until)
    commands.run(__salt__["cmd.run_all"], ["sync"])  # the scratch cluster writes without fsync
    os.rename(source, target)
    return last


def forget() -> None:
    """Delete what the quorum remembers of the lost cluster: its members, its primary, its position.

    With it Patroni would wait for a host with the lost data.

    Raises:
        CommandExecutionError: this host has no restored data, Patroni runs, or the quorum does not
            answer.

    CLI Example:
        salt bbdd1 cluster_restore.forget
    """
    mark = _places()[1] / scratch.RESTORED
    if not mark.exists():
        raise CommandExecutionError("this host has no restored data (see cluster_restore.make)")
    if __salt__["service.status"]("patroni") or __salt__["patroni.leader"]():
        raise CommandExecutionError("Patroni runs, so there is a cluster; apply the states")
    database = pillars.section(__pillar__, "database")
    login = {"name": database["etcd"]["username"], "password": database["etcd"]["password"]}
    everything = patroni.everything(database)
    try:
        client.ask(database["quorum"], CLIENT, login, "kv/deleterange", everything)
    except client.Refused as error:
        raise CommandExecutionError(f"no etcd member deleted the lost cluster: {error}") from error
    mark.unlink()


def _places() -> tuple[Path, Path]:
    """Return the directories of the scratch cluster and of the cluster."""
    files = pillars.section(__pillar__, "archiving")["database_files"]
    return Path(pillars.section(__pillar__, "scratch")["files"]), Path(files)

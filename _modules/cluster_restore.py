"""Make the database cluster from the backups again, after every database host has lost its data.

orch.restore_cluster calls these functions on the first database host. Nothing here touches a
cluster that exists.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from salt.exceptions import CommandExecutionError

from salina.backup import scratch
from salina.common import commands, pillars
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


def make(until: str = "") -> str:
    """Restore the cluster's files on this host, up to a moment.

    They come from a scratch cluster, which takes the place of the missing one when it is complete.

    Args:
        until: the moment, as `salina.backup.scratch.target` writes it, or "" for the newest.

    Returns:
        The moment of the last change that was found in the WAL, as PostgreSQL writes it, or "".

    Raises:
        CommandExecutionError: this host has data, or pgBackRest or PostgreSQL failed.

    CLI Example:
        salt bbdd1 cluster_restore.make
    """
    source, target = _places()
    if target.exists():
        raise CommandExecutionError(f"{target} exists, so this host has not lost its data")
    last = str(__salt__["scratch.start"](until))
    for parameter in RECOVERY:
        __salt__["scratch.query"](f"ALTER SYSTEM RESET {parameter}")
    __salt__["scratch.stop"]()
    wal = source / "pg_wal"
    for name in scratch.unsent(os.listdir(wal)):
        mark = wal / "archive_status" / f"{name}.ready"
        mark.touch()
        shutil.chown(mark, "postgres", "postgres")
    commands.run(__salt__["cmd.run_all"], ["sync"])  # the scratch cluster writes without fsync
    (source / scratch.RESTORED).touch()
    os.rename(source, target)
    return last


def forget() -> None:
    """Delete what the quorum remembers of the lost cluster: its members, its primary, its position.

    With it Patroni would wait for a host with the lost data.

    Raises:
        CommandExecutionError: this host has no restored data, or the quorum does not answer.

    CLI Example:
        salt bbdd1 cluster_restore.forget
    """
    mark = _places()[1] / scratch.RESTORED
    if not mark.exists():
        raise CommandExecutionError("this host has no restored data (see cluster_restore.make)")
    database = pillars.section(__pillar__, "database")
    login = {"name": database["etcd"]["username"], "password": database["etcd"]["password"]}
    try:
        client.ask(
            database["quorum"],
            CLIENT,
            login,
            "kv/deleterange",
            patroni.everything(database),
        )
    except client.Refused as error:
        raise CommandExecutionError(f"no etcd member deleted the lost cluster: {error}") from error
    mark.unlink()


def _places() -> tuple[Path, Path]:
    """Return the directories of the scratch cluster and of the cluster."""
    files = pillars.section(__pillar__, "archiving")["database_files"]
    return Path(pillars.section(__pillar__, "scratch")["files"]), Path(files)

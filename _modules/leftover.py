"""Find and delete what an application that left the topology has left behind on this host.

`databases` and `drop` run on the primary, `bricks`, `delete_volumes` and `delete_bricks` on storage
hosts, `copies` and `delete_copies` on the backup host. All of them refuse an application that this
host's pillar still has. An operator uses orch.remove.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

from salt.exceptions import CommandExecutionError

from salina.application import copy
from salina.application.release import STORE
from salina.backup import scratch
from salina.common import pillars
from salina.database import records
from salina.database.roles import identifier, literal

__salt__: dict[str, Any]
__pillar__: dict[str, Any]

MARK = "trusted.glusterfs.volume-id"
"""The attribute of a brick's directory."""


def databases(application: str) -> list[str]:
    """Return the databases of an application: its own, copies of it, and those that are kept.

    Args:
        application: the application's name.

    Returns:
        Their names. The application's own is the last one.

    Raises:
        CommandExecutionError: this host is a replica, knows the application, or PostgreSQL does not
            answer.

    CLI Example:
        salt bbdd1 leftover.databases crm_staging
    """
    _gone(
        application,
        (one["name"] for one in pillars.section(__pillar__, "database")["applications"]),
    )
    if _query("SELECT pg_is_in_recovery()") == "t":
        raise CommandExecutionError("this host is a replica (see patroni.leader)")
    own, next_one = literal(application), literal(copy.name(application))
    about = f"{scratch.MARK}{application} "
    found = _query(
        "SELECT coalesce(json_agg(datname ORDER BY datname), '[]') FROM pg_database WHERE "
        f"datname = {own} AND pg_get_userbyid(datdba) = {own} OR datname = {next_one} OR "
        f"starts_with(shobj_description(oid, 'pg_database'), {literal(about)})"
    )
    return sorted(json.loads(found), key=lambda name: name == application)


def drop(application: str) -> list[str]:
    """Delete the databases of an application, and then its roles. There is no way back.

    Args:
        application: the application's name.

    Returns:
        The names of the databases.

    Raises:
        CommandExecutionError: as in `databases`, or PostgreSQL refused.

    CLI Example:
        salt bbdd1 leftover.drop crm_staging
    """
    found = databases(application)
    for name in found:
        _query(f"DROP DATABASE {identifier(name)} WITH (FORCE)")
    for role in (application, records.role(application)):
        _query(f"DROP ROLE IF EXISTS {identifier(role)}")
    return found


def bricks(application: str, base: str) -> list[str]:
    """Return the bricks of this host that have files of an application, and no volume needs.

    Args:
        application: the application's name.
        base: the brick of the default volume. Other bricks are beside it.

    Returns:
        The directories.

    Raises:
        CommandExecutionError: this is not a storage host.

    CLI Example:
        salt nas1 leftover.bricks crm_staging /nas
    """
    wanted = {one["brick"] for one in pillars.section(__pillar__, "storage")["volumes"]}
    beside = Path(base).parent.glob(f"{Path(base).name}-*")
    return [
        str(brick)
        for brick in sorted([Path(base), *beside])
        if str(brick) not in wanted and _has(brick, application)
    ]


def _has(brick: Path, application: str) -> bool:
    return any((brick / place).is_dir() for place in (application, f"{STORE}/{application}"))


def delete_volumes(application: str, base: str) -> list[str]:
    """Delete the volumes of an application. Their bricks stay. There is no way back.

    Args:
        application: the application's name.
        base: as in `bricks`.

    Returns:
        The names of the volumes.

    Raises:
        CommandExecutionError: this is not a storage host, or gluster refused.

    CLI Example:
        salt nas1 leftover.delete_volumes crm_staging /nas
    """
    found, host = bricks(application, base), pillars.section(__pillar__, "storage")["name"]
    own = {f"{host}:{one}" for one in found}
    volumes = [
        name for name, one in __salt__["gluster.volumes"]().items() if own & {*one["bricks"]}
    ]
    for name in volumes:
        __salt__["gluster.delete"](name)
    return volumes


def delete_bricks(application: str, base: str) -> list[str]:
    """Delete the bricks of an application whose volume is gone. There is no way back.

    Args:
        application: the application's name.
        base: as in `bricks`.

    Returns:
        The directories.

    Raises:
        CommandExecutionError: this is not a storage host, or a volume still has such a brick.

    CLI Example:
        salt nas1 leftover.delete_bricks crm_staging /nas
    """
    found, host = bricks(application, base), pillars.section(__pillar__, "storage")["name"]
    for name, one in (__salt__["gluster.volumes"]() if found else {}).items():
        if used := [brick for brick in found if f"{host}:{brick}" in one["bricks"]]:
            raise CommandExecutionError(f"{', '.join(used)}: volume {name} still has it")
    for brick in found:
        _empty(Path(brick))
    return found


def _empty(brick: Path) -> None:
    """Delete a brick. Of a disk of its own the empty directory stays, as if it were new."""
    for one in brick.iterdir():
        if one.is_dir() and not one.is_symlink():
            shutil.rmtree(one)
        else:
            one.unlink()
    with contextlib.suppress(OSError):
        os.removexattr(brick, MARK)
    with contextlib.suppress(OSError):  # a disk is mounted there
        brick.rmdir()


def copies(application: str) -> list[str]:
    """Return the repositories with copies of an application's files.

    Args:
        application: the application's name.

    Returns:
        The directories.

    Raises:
        CommandExecutionError: this is not the backup host, or it knows the application.

    CLI Example:
        salt bkp1 leftover.copies crm_staging
    """
    section = pillars.section(__pillar__, "files_repository")
    _gone(application, (one["application"] for one in section["sources"]))
    own = re.compile(rf"{re.escape(application)}(-[0-9]+)?")
    there = Path(section["directory"])
    found = sorted(there.iterdir()) if there.exists() else []
    return [str(one) for one in found if own.fullmatch(one.name) and one.is_dir()]


def delete_copies(application: str) -> list[str]:
    """Delete the repositories with copies of an application's files. There is no way back.

    Args:
        application: the application's name.

    Returns:
        The directories.

    Raises:
        CommandExecutionError: as in `copies`.

    CLI Example:
        salt bkp1 leftover.delete_copies crm_staging
    """
    found = copies(application)
    for one in found:
        shutil.rmtree(one)
    return found


def _gone(application: str, known: Any) -> None:
    """Refuse an application that this host's pillar has."""
    if application in {*known}:
        raise CommandExecutionError(
            f"{application}: the pillar of this host has this application, so nothing is deleted"
        )


def _query(sql: str) -> str:
    return str(__salt__["database.query"](sql))

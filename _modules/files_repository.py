"""The copies of users' files on the backup host, as its own user `restic` reads them."""

from __future__ import annotations

import base64
import hashlib
from datetime import datetime
from pathlib import Path
from typing import Any

from salt.exceptions import CommandExecutionError

from salina.backup import files
from salina.common import commands, pillars

__salt__: dict[str, Any]
__pillar__: dict[str, Any]

PASSWORD = "/etc/salina/files-repository/password"


def login_file() -> str:
    """Return the content of the file by which the server knows who may send copies.

    It has a hash of the password, which is random, so a fast hash is as good as a slow one.

    Returns:
        A line in the form of htpasswd.

    Raises:
        CommandExecutionError: this is not the backup host.

    CLI Example:
        salt bkp1 files_repository.login_file
    """
    hashed = hashlib.sha1(str(_section()["password"]).encode()).digest()
    return f"{files.USER}:{{SHA}}{base64.b64encode(hashed).decode()}\n"


def state() -> dict[str, Any]:
    """Return what there is.

    Returns:
        The name of each repository -> its `copies` (a number), the moment of the `newest` in
        seconds since the epoch, or None, and the bytes that they take (`size`).

    Raises:
        CommandExecutionError: this is not the backup host, or restic failed.

    CLI Example:
        salt bkp1 files_repository.state
    """
    found = {}
    for source in _section()["sources"]:
        copies = _snapshots(source["name"])
        found[source["name"]] = {
            "copies": len(copies),
            "newest": copies[-1].time.timestamp() if copies else None,
            "size": sum(one.stat().st_size for one in _path(source).rglob("*") if one.is_file()),
        }
    return found


def check() -> None:
    """Read all copies, and compare each part of them with its checksum.

    Raises:
        CommandExecutionError: a part is damaged or missing; the message is restic's.

    CLI Example:
        salt bkp1 files_repository.check
    """
    for source in _section()["sources"]:
        _restic(source["name"], "check", "--read-data")


def missing(application: str, moment: str, named: list[str]) -> list[str]:
    """Return which files a copy of an application does not have.

    Args:
        application: the application's name.
        moment: the moment to which the copy must lead, in ISO format.
        named: the paths of files in the application's directory.

    Returns:
        Those that are in no source's copy.

    Raises:
        CommandExecutionError: this is not the backup host, or there is no copy.

    CLI Example:
        salt bkp1 files_repository.missing crm 2026-11-29T12:00:00+00:00 '[filestore/crm/ab/abc]'
    """
    until = datetime.fromisoformat(moment)
    found = set[str]()
    for source in _section()["sources"]:
        if source["application"] != application:
            continue
        copies = files.chosen(_snapshots(source["name"]), until)
        if not copies:
            raise CommandExecutionError(f"{source['name']}: there is no copy of its files")
        for copy in copies:
            text = _restic(source["name"], "ls", "--json", copy.id)
            entries = files.parse_entries(text, f"{source['path']}/{application}")
            found |= files.wanted(entries, until).keys()
    return [path for path in named if path not in found]


def _snapshots(name: str) -> list[files.Snapshot]:
    return files.parse_snapshots(_restic(name, "snapshots", "--json"))


def _restic(name: str, *arguments: str) -> str:
    repository = f"{_section()['directory']}/{name}"
    command = ["runuser", "-u", "restic", "--", "restic", "--quiet", f"--repo={repository}"]
    options = (f"--password-file={PASSWORD}", "--no-cache", "--no-lock")
    return commands.run(__salt__["cmd.run_all"], [*command, *options, *arguments], cwd="/")


def _path(source: dict[str, Any]) -> Path:
    return Path(_section()["directory"]) / str(source["name"])


def _section() -> dict[str, Any]:
    return pillars.section(__pillar__, "files_repository")

"""Copy the users' files of this host to the backup host, and bring files back.

A timer makes the copies (salt/files_backup), with the same Python (_utils/salina/backup/files.py).
"""

from __future__ import annotations

import io
import json
import shutil
import stat
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from salt.exceptions import CommandExecutionError

from salina.application.copy import path as path_of_copy
from salina.backup import files, lock
from salina.common import commands, pillars

__salt__: dict[str, Any]
__pillar__: dict[str, Any]

UNIT = "salina-files@{}.service"
PROGRAM = ("/usr/bin/env", "PYTHONPATH=/usr/local/lib/salina-files", "python3", "-m")
SHOWN = 3
"""The most files that an error names."""
FEW = 20
"""So many files are fetched one by one; for more, the whole copy is read."""


def copy(source: str) -> None:
    """Copy files to the backup host now, and wait for the end.

    Args:
        source: the name of their repository.

    Raises:
        CommandExecutionError: the copy failed; the message ends with the program's last lines.

    CLI Example:
        salt nas1 files_backup.copy crm
    """
    _source(source)
    unit = UNIT.format(source)
    try:
        commands.systemctl(__salt__, "start", unit)
    except CommandExecutionError as error:
        lines = ["journalctl", "--unit", unit, "--lines=4", "--output=cat", "--no-pager"]
        said = commands.run(__salt__["cmd.run_all"], lines)
        commands.run(__salt__["cmd.run_all"], ["systemctl", "reset-failed", unit])
        raise CommandExecutionError(f"{error}\n{said}") from None


def bring_back(source: str, until: str, copies: bool = True, target: str = "") -> dict[str, Any]:
    """Bring the files back that an application had at a moment. No file is replaced or removed.

    Files that were removed since then come from the volume, and those that are gone from the copy.

    Args:
        source: the name of the files' repository.
        until: the moment in ISO format, with its offset; "" for the newest copy.
        copies: whether to look into the copies, too.
        target: a copy of the application for trials, which gets the files instead.

    Returns:
        `back`, the number of files that came back from the volume; `copied`, of those from a copy;
        and `copy`, the moment of that copy, or "".

    Raises:
        CommandExecutionError: the host has no such files, or they could not be read or written.

    CLI Example:
        salt nas1 files_backup.bring_back crm 2026-11-29T12:00:00+00:00
    """
    own = _source(source)
    place = _source_of(target) if target else own
    try:
        with lock.alone(), _mounted(place) as root:
            return _bring_back(own, place, root / place["application"], until, copies)
    except lock.Busy as error:
        raise CommandExecutionError(str(error)) from None
    except (OSError, files.FilesError) as error:
        raise CommandExecutionError(f"{source}: {error}") from None


def _bring_back(
    source: dict[str, Any], place: dict[str, Any], directory: Path, until: str, copies: bool
) -> dict[str, Any]:
    found: dict[str, Any] = {"back": 0, "copied": 0, "copy": ""}
    failed, moment = list[str](), files.parse_time(until) if until else None
    if moment and place is source:
        found["back"], failed = _answer(source, directory, "bring-back", until)
    if copies:
        failed += _from_copies(source, place, directory, moment, found)
    if failed:
        shown = "; ".join(failed[:SHOWN]) + ("; …" if failed[SHOWN:] else "")
        count = found["back"] + found["copied"]
        raise CommandExecutionError(f"{count} files came back, {len(failed)} cannot be: {shown}")
    return found


def _from_copies(
    source: dict[str, Any],
    place: dict[str, Any],
    directory: Path,
    moment: datetime | None,
    found: dict[str, Any],
) -> list[str]:
    """Bring back what the copies have and the volume does not, and count it in `found`."""
    repository, failed = files.Repository(_section(), source["name"]), list[str]()
    kept = f"{source['path']}/{source['application']}"
    there = set(_answer(place, directory, "list"))
    names = (source["application"], place["application"])
    repository.unlock()
    for snapshot in files.chosen(repository.snapshots(), moment):
        entries = repository.entries(snapshot, kept)
        known = files.wanted(entries, moment)
        moved = {path_of_copy(path, *names): entry for path, entry in known.items()}
        wanted = {path: entry for path, entry in moved.items() if path}
        missing = {path: wanted[path] for path in wanted.keys() - there}
        if missing:
            free = shutil.disk_usage(directory).free
            if short := files.shortage(entries, missing.values(), free):
                raise CommandExecutionError(f"{directory}: {short}; nothing came from this copy")
            count, faults = _copied(repository, snapshot, kept, place, directory, missing)
            found["copied"] += count
            failed += faults
        found["copy"] = found["copy"] or f"{snapshot.time:%Y-%m-%d %H:%M:%S} UTC"
        there |= wanted.keys()
    return failed


def _copied(
    repository: files.Repository,
    snapshot: files.Snapshot,
    kept: str,
    source: dict[str, Any],
    directory: Path,
    missing: dict[str, str],
) -> tuple[int, list[str]]:
    """Fetch files from a copy. The application's own user writes them, and root only reads.

    The user could otherwise plant links in its directory through which root would write.
    """
    places = {f"{kept}/{place}".lstrip("/"): path for path, place in missing.items()}
    process = _started(source, directory, "unpack")
    assert process.stdin is not None
    try:
        process.stdin.write(json.dumps(places).encode() + b"\n")
        if len(missing) <= FEW:
            _one_by_one(repository, snapshot, places, process.stdin)
        else:
            repository.dump(snapshot, kept, process.stdin)
        answer, said = process.communicate()
    except BrokenPipeError:
        answer, said = process.communicate()
    except files.FilesError:
        process.communicate()  # it removes its unfinished file
        raise
    finally:
        process.kill()
        process.wait()
    if process.returncode:
        raise CommandExecutionError(f"{directory}: {said.decode(errors='replace').strip()}")
    count, failed = json.loads(answer)
    return count, failed


def _one_by_one(
    repository: files.Repository, snapshot: files.Snapshot, places: dict[str, str], to: IO[bytes]
) -> None:
    with tarfile.open(fileobj=to, mode="w|") as archive:
        for name in places:
            content = io.BytesIO()
            repository.dump(snapshot, f"/{name}", content)
            member = tarfile.TarInfo(name)
            member.size, member.mode = content.tell(), 0o640
            member.mtime = snapshot.time.timestamp()
            content.seek(0)
            archive.addfile(member, content)


def _answer(source: dict[str, Any], directory: Path, action: str, *arguments: str) -> Any:
    process = _started(source, directory, action, *arguments)
    answer, said = process.communicate()
    if process.returncode:
        raise CommandExecutionError(f"{directory}: {said.decode(errors='replace').strip()}")
    return json.loads(answer)


def _started(
    source: dict[str, Any], directory: Path, action: str, *arguments: str
) -> subprocess.Popen[bytes]:
    """Start the program as the application's user, without any right of root."""
    found, uid = directory.lstat(), source["uid"]
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != uid:
        raise CommandExecutionError(f"{directory}: must be a directory of the user {uid}")
    rights = (
        f"--reuid={uid}",
        f"--regid={uid}",
        "--clear-groups",
        "--inh-caps=-all",
        "--bounding-set=-all",
        "--no-new-privs",
    )
    program = (*PROGRAM, "salina.backup.files", action, str(directory), *arguments)
    return subprocess.Popen(
        [*commands.MORTAL, *rights, "--", *program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd="/",
    )


@contextmanager
def _mounted(source: dict[str, Any]) -> Iterator[Path]:
    """Mount a source's volume while the block runs. A directory of this host is there already."""
    if not source["volume"]:
        yield Path(source["path"])
        return
    point = Path(files.VOLUMES) / source["name"]
    run = __salt__["cmd.run_all"]
    point.parent.mkdir(mode=0o711, exist_ok=True)
    # A process that was killed may have left it mounted. A question to a dead mount would fail.
    run(["umount", "--lazy", str(point)], python_shell=False, ignore_retcode=True)
    point.mkdir(exist_ok=True)
    place = f"{__pillar__['host']['id']}:/{source['volume']}"
    options = ",".join(source["options"])
    commands.run(run, ["mount", "-t", "glusterfs", "-o", options, place, str(point)])
    try:
        yield point
    finally:
        commands.run(run, ["umount", "--lazy", str(point)])
        point.rmdir()


def _source(name: str) -> dict[str, Any]:
    found = {str(one["name"]): dict(one) for one in _section()["sources"]}
    if name not in found:
        raise CommandExecutionError(
            f"source: {name!r} is not known here; choose one of: {', '.join(found)}"
        )
    return found[name]


def _source_of(application: str) -> dict[str, Any]:
    for one in _section()["sources"]:
        if one["application"] == application:
            return dict(one)
    raise CommandExecutionError(f"target: {application!r} has no files on this host")


def _section() -> dict[str, Any]:
    return pillars.section(__pillar__, "files_backup")

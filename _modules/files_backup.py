"""Copy the users' files of this host to the backup host, and bring files back.

A timer makes the copies (salt/files_backup), with the same Python (_utils/salina/backup/files.py).
"""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from salt.exceptions import CommandExecutionError

from salina.backup import files, lock
from salina.common import commands, pillars

__salt__: dict[str, Any]
__pillar__: dict[str, Any]

UNIT = "salina-files@{}.service"
PROGRAM = ("/usr/bin/env", "PYTHONPATH=/usr/local/lib/salina-files", "python3", "-m")
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


def bring_back(source: str, until: str, copies: bool = True) -> dict[str, Any]:
    """Bring the files back that an application had at a moment. No file is replaced or removed.

    Files that were removed since then come from the volume, and those that are gone from the copy.

    Args:
        source: the name of the files' repository.
        until: the moment in ISO format, with its offset; "" for the newest copy.
        copies: whether to look into the copies, too.

    Returns:
        `back`, the number of files that came back from the volume; `copied`, of those from a copy;
        and `copy`, the moment of that copy, or "".

    Raises:
        CommandExecutionError: the host has no such files, or they could not be read or written.

    CLI Example:
        salt nas1 files_backup.bring_back crm 2026-11-29T12:00:00+00:00
    """
    own = _source(source)
    try:
        with lock.alone(), _mounted(own) as root:
            return _bring_back(own, root / own["application"], until, copies)
    except lock.Busy as error:
        raise CommandExecutionError(str(error)) from None
    except (OSError, files.FilesError) as error:
        raise CommandExecutionError(f"{source}: {error}") from None


def _bring_back(
    source: dict[str, Any], directory: Path, until: str, copies: bool
) -> dict[str, Any]:
    said = json.loads(_as_owner(directory, "bring-back", *([until] if until else [])))
    found = {"back": len(said["back"]), "copied": 0, "copy": ""}
    if not copies:
        return found
    repository = files.Repository(_section(), source["name"])
    moment = files.parse_time(until) if until else None
    snapshot = files.chosen(repository.snapshots(), moment)
    if snapshot is None:
        return found
    kept = f"{source['path']}/{source['application']}"
    wanted = files.wanted(repository.entries(snapshot, kept), moment)
    missing = {path: wanted[path] for path in wanted.keys() - set(said["live"])}
    if missing:
        found["copied"] = _copied(repository, snapshot, kept, directory, missing)
    return found | {"copy": f"{snapshot.time:%Y-%m-%d %H:%M:%S} UTC"}


def _copied(
    repository: files.Repository,
    snapshot: files.Snapshot,
    kept: str,
    directory: Path,
    missing: dict[str, str],
) -> int:
    """Fetch files from a copy. The application's own user writes them, and root only reads.

    The user could otherwise plant links in its directory through which root would write.
    """
    places = {f"{kept}/{place}".lstrip("/"): path for path, place in missing.items()}
    process = _started(directory, "unpack")
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
    return int(answer)


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


def _as_owner(directory: Path, action: str, *arguments: str) -> str:
    process = _started(directory, action, *arguments)
    answer, said = process.communicate()
    if process.returncode:
        raise CommandExecutionError(f"{directory}: {said.decode(errors='replace').strip()}")
    return answer.decode()


def _started(directory: Path, action: str, *arguments: str) -> subprocess.Popen[bytes]:
    """Start the program as the user to whom the directory belongs, without any right of root."""
    owner = directory.stat()
    if not owner.st_uid:
        raise CommandExecutionError(f"{directory}: belongs to root instead of the application")
    rights = (
        f"--reuid={owner.st_uid}",
        f"--regid={owner.st_gid}",
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
    if point.is_mount():  # of a process that was killed
        commands.run(run, ["umount", "--lazy", str(point)])
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


def _section() -> dict[str, Any]:
    return pillars.section(__pillar__, "files_backup")

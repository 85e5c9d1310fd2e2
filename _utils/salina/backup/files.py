"""Copies of users' files, with restic, in a repository on the backup host.

A timer runs this file by the host's own Python on each host that has the files, and an execution
module imports it (_modules/files_backup.py). So it uses the standard library only.

An application removes no file: it moves it to `held/MOMENT/` in its directory, from where it is
deleted when no backup of the database leads back to that moment (salt/application/held.sls). So one
copy has the files of every moment before it, as far as the backups of the database lead back.

CLI: python3 -m salina.backup.files ACTION [DIRECTORY [MOMENT]], where ACTION is
    due          copy what is due, as CONFIGURATION says
    now NAME     copy the files of the source NAME
    list         list the files that the application has
    bring-back   move what was removed since MOMENT back to its place
    unpack       put files of a tar archive (stdin, after a line with a JSON object of their places)
                 in their places
"""

from __future__ import annotations

import datetime
import errno
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import time
import urllib.parse
import uuid
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

CONFIGURATION = "/etc/salina/files-backup.json"
CACHE = "/var/cache/salina-files"
VOLUMES = "/run/salina-volumes"
"""Where a volume is mounted while files come back. The application's own user must get there."""
TLS = Path("/etc/salina/tls")
IDENTITY = ("files-backup.crt", "files-backup.key")
"""The host's certificate and its key."""
PROBES = ".salina-health"
"""The directory of the health agent's own files, in the directory of an application."""
HELD = "held"
"""The directory of removed files, in the directory of an application."""
MOMENT = re.compile(r"\d{8}T\d{6}Z")
MARGIN = datetime.timedelta(minutes=1)
"""By how much the hosts' clocks may differ, and a file may be removed before its row is. A file
that comes back needlessly does no harm.
"""
SPARE = 64 << 20
"""The bytes that files which come back leave free for the users' next ones."""
FULL = (errno.ENOSPC, errno.EDQUOT)
EARLIER = 150
"""Seconds by which a copy may be early: half the time between two looks of the timer, or less."""
USER = "files"
STICKY = 1 << 20
"""Go's bit for it. An empty file with it is GlusterFS's pointer to another brick."""
CONNECT_SECONDS = 5
HEAL_SECONDS = 20
"""Seconds within which a brick must be complete at a moment. Files that change at that moment look
incomplete on some bricks.
"""
PAUSE = 5
"""Seconds between two such questions, each of which goes to all storage hosts."""
BRICK = re.compile(
    r"^Brick (?P<brick>\S+)$(?:\n(?!Brick ).*)*?\nNumber of entries: (?P<count>\d+|-)$", re.M
)
GONE = re.compile(r"error: .*: no such file or directory|Warning: .* could not be read")
"""restic's words about a file that was removed before it was read, and about all such files."""
SETTLED = 3600
"""Seconds after a change of CONFIGURATION in which the backup host may have no repository yet."""
INCOMPLETE = 3
"""restic's exit code for a copy without some files."""
NO_REPOSITORY = re.compile(r"unable to open config file: <config/> does not exist$", re.MULTILINE)
"""restic's words if the backup host has no repository with this name. Its question whether there is
one comes also after other errors, such as a wrong password.
"""


class FilesError(Exception):
    """A copy that could not be made or read; the message says why."""


class UnreachableError(FilesError):
    """The backup host cannot be reached."""


class AbsentError(FilesError):
    """The backup host does not have the application's repository."""


@dataclass(frozen=True)
class Snapshot:
    """A copy of all files: its id, and the moment at which restic began to read."""

    id: str
    time: datetime.datetime


@dataclass(frozen=True)
class Entry:
    """A file: its path as the application knows it, since when it is removed, and its bytes."""

    path: str
    held: str | None
    size: int = field(default=0, compare=False)

    @property
    def place(self) -> str:
        """Return its path in the application's directory."""
        return self.path if self.held is None else f"{HELD}/{self.held}/{self.path}"


def parse_snapshots(text: str) -> list[Snapshot]:
    """Return the copies from old to new (`restic snapshots --json`)."""
    found = [Snapshot(one["id"], parse_time(one["time"])) for one in json.loads(text) or ()]
    return sorted(found, key=lambda one: one.time)


def parse_time(text: str) -> datetime.datetime:
    """Return a time of restic's, in UTC and without its fraction of up to nine digits."""
    whole = re.sub(r"\.\d+", "", text).replace("Z", "+00:00")
    return datetime.datetime.fromisoformat(whole).astimezone(datetime.UTC)


def parse_entries(text: str, directory: str) -> list[Entry]:
    """Return the files of a copy (`restic ls --json`) below an application's directory."""
    found = []
    for line in text.rstrip("\n").split("\n") if text else ():  # a name may have other line breaks
        node = json.loads(line)
        path = str(node.get("path", ""))
        if node.get("type") != "file" or not path.startswith(f"{directory}/"):
            continue
        if node.get("size", 0) or not node.get("mode", 0) & STICKY:
            found.append(entry(path[len(directory) + 1 :], node.get("size", 0)))
    return found


def entry(path: str, size: int = 0) -> Entry:
    """Return a file by its path in the application's directory.

    Of held/20261129T120000Z/a/b the application knows only a/b.
    """
    first, _, rest = path.partition("/")
    moment, _, inside = rest.partition("/")
    if first == HELD and inside and MOMENT.fullmatch(moment):
        return Entry(inside, moment, size)
    return Entry(path, None, size)


def parse_counts(text: str) -> dict[str, int]:
    """Return what each brick knows to be missing on others (`gluster volume heal V statistics
    heal-count`). A brick that is not connected is not in the answer.
    """
    return {
        match["brick"]: int(match["count"])
        for match in BRICK.finditer(text)
        if match["count"].isdigit()
    }


def complete(counts: Mapping[str, int], brick: str) -> bool:
    """Return whether a brick has all files.

    The bricks that were there during a write remember what the others do not have. So a brick that
    knows less of it than another one was itself away.

    Args:
        counts: the answer of `parse_counts`, for the bricks with the same files.
        brick: host:directory
    """
    return brick in counts and counts[brick] == max(counts.values())


def due(newest: datetime.datetime | None, now: datetime.datetime, every: int, place: int) -> bool:
    """Return whether a host must copy now. The first host copies; others only if it does not.

    Args:
        newest: when the last copy began; None if there is none.
        now: this moment.
        every: the seconds from one copy to the next.
        place: the host's place among those that have the files.
    """
    if newest is None:
        return place == 0 or now.minute % 10 >= 5  # at first each of them, but not all at once
    early = min(EARLIER, every / 4)  # half the time to the next host's copy
    return (now - newest).total_seconds() >= every * (1 + place / 2) - early


def chosen(snapshots: Iterable[Snapshot], until: datetime.datetime | None) -> list[Snapshot]:
    """Return the copies that have the files of a moment, the best ones first.

    These are the first two after it, the last one before it, and all that may be either. Without a
    moment it is the newest one. A file that is removed while restic reads can be in neither place;
    then the second copy has it. One that the volume has lost, so that nobody holds it, is in the
    copy before.
    """
    found = list(snapshots)
    if until is None:
        return found[-1:]
    first, last = until - MARGIN, until + MARGIN
    before = [one for one in found if one.time < first]
    near = [one for one in found if first <= one.time < last]
    after = [one for one in found if one.time >= last]
    return [*after[:2], *reversed(near), *before[-1:]]


def stamp(moment: datetime.datetime) -> str:
    """Return the name of the directory with what is removed at a moment: 20261129T120000Z."""
    return f"{moment.astimezone(datetime.UTC):%Y%m%dT%H%M%SZ}"


def wanted(entries: Iterable[Entry], until: datetime.datetime | None) -> dict[str, str]:
    """Return the files that an application had at a moment.

    Args:
        entries: the files that are there, and those that are held.
        until: the moment; None for now.

    Returns:
        A file's path, as the application knows it -> its path in the application's directory.
    """
    found: dict[str, str] = {}
    since = stamp(until - MARGIN) if until else None
    for one in sorted(entries, key=lambda one: one.held or ""):
        if one.held is None:
            found[one.path] = one.place
        elif since and one.held >= since:
            found.setdefault(one.path, one.place)
    return found


def shortage(entries: Iterable[Entry], places: Collection[str], free: int) -> str:
    """Return in words that files do not fit, or "".

    Args:
        entries: the files of a copy.
        places: the paths, in the application's directory, of those that are written.
        free: the bytes that are free where they are written.
    """
    chosen = set(places)
    needed = sum(one.size for one in entries if one.place in chosen) + SPARE
    if needed <= free:
        return ""
    return f"{len(chosen)} files need {needed >> 20} MiB, and {free >> 20} MiB are free"


def listing(directory: Path) -> list[Entry]:
    """Return the files of an application's directory, with those that are held."""
    root = str(directory)

    def failed(error: OSError) -> None:
        # users may remove a directory meanwhile
        if not isinstance(error, FileNotFoundError) or error.filename == root:
            raise error

    return [
        entry(os.path.join(folder, name)[len(root) + 1 :])
        for folder, _, names in os.walk(root, onerror=failed)
        for name in names
    ]


class Repository:
    """The repository of one source on the backup host, as a host with the files uses it.

    Args:
        settings: the pillar `files_backup`, or the same from CONFIGURATION.
        name: the name of the repository.
    """

    def __init__(self, settings: Mapping[str, Any], name: str) -> None:
        self._server = (str(settings["server"]), int(settings["port"]))
        self._password = str(settings["password"])
        login = f"{USER}:{urllib.parse.quote(self._password, safe='')}"
        self._place = f"rest:https://{login}@{settings['server']}:{settings['port']}/{name}/"

    def run(self, *arguments: str) -> str:
        """Run restic and return its output. A copy need not have a file that is removed meanwhile.

        Raises:
            UnreachableError: the backup host does not answer.
            AbsentError: it has no such repository.
            FilesError: restic failed; the message is its own.
        """
        with self._started(*arguments) as process:
            answer, said = process.communicate()
        lines = said.decode(errors="replace").strip().splitlines()
        gone = process.returncode == INCOMPLETE and all(GONE.fullmatch(line) for line in lines)
        if not process.returncode or gone:
            return answer.decode()
        if NO_REPOSITORY.search("\n".join(lines)):
            raise AbsentError(f"{self._server[0]} has no such repository; apply its states")
        raise FilesError(f"restic {arguments[0]}: {'; '.join(lines[-3:]) or process.returncode}")

    def snapshots(self) -> list[Snapshot]:
        """Return the copies from old to new."""
        return parse_snapshots(self.run("snapshots", "--json", "--no-lock"))

    def unlock(self) -> None:
        """Remove the locks that are older than half an hour: their processes have died."""
        self.run("unlock")

    def copy(self, name: str, path: str) -> None:
        """Copy a directory. Files whose time and size did not change are not read again."""
        without = (f"--exclude={path}/.glusterfs", f"--exclude={path}/*/{PROBES}")
        self.run("backup", f"--host={name}", "--ignore-inode", *without, path)

    def entries(self, snapshot: Snapshot, directory: str) -> list[Entry]:
        """Return the files of a copy below an application's directory."""
        return parse_entries(self.run("ls", "--json", "--no-lock", snapshot.id), directory)

    def dump(self, snapshot: Snapshot, path: str, target: IO[bytes]) -> None:
        """Write a file of a copy, or a directory as a tar archive, into a file or a pipe."""
        with self._started("dump", "--archive=tar", snapshot.id, path) as process:
            assert process.stdout is not None
            shutil.copyfileobj(process.stdout, target)
            _, said = process.communicate()
        if process.returncode:
            raise FilesError(f"restic dump: {said.decode(errors='replace').strip()}")

    def _started(self, *arguments: str) -> subprocess.Popen[bytes]:
        try:  # restic itself would try for a quarter of an hour
            socket.create_connection(self._server, CONNECT_SECONDS).close()
        except OSError as error:
            reason = error.strerror or error
            raise UnreachableError(f"{':'.join(map(str, self._server))}: {reason}") from None
        # Through pipes, so no secret is in a file, in an environment or on a command line.
        given = {
            "--repository-file": self._place,
            "--password-file": self._password,
            "--tls-client-cert": "".join((TLS / name).read_text() for name in IDENTITY),
        }
        pipes = {option: _pipe(text) for option, text in given.items()}
        options = [f"{option}=/dev/fd/{pipe}" for option, pipe in pipes.items()]
        options += [f"--cacert={TLS}/ca.crt", f"--cache-dir={CACHE}", "--quiet"]
        try:
            return subprocess.Popen(
                ["restic", *options, *arguments],
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=tuple(pipes.values()),
            )
        finally:
            for pipe in pipes.values():
                os.close(pipe)


def _pipe(text: str) -> int:
    """Return the end of a pipe from which a process reads a short text."""
    reader, writer = os.pipe()
    os.write(writer, text.encode())
    os.close(writer)
    return reader


def copy(settings: Mapping[str, Any], host: str, source: Mapping[str, Any], forced: bool) -> str:
    """Copy the files of one source if that is due.

    Args:
        settings: the content of CONFIGURATION.
        host: this host's name in the pool.
        source: one of its `sources`.
        forced: whether to copy although it is not due.

    Returns:
        What was done, or why not, in words.

    Raises:
        FilesError: restic failed, or this host's brick is not complete and a copy was forced.
    """
    repository, name = Repository(settings, source["name"]), source["name"]
    place = os.path.join(source["path"], source["application"])
    found = repository.snapshots()
    if os.path.islink(place) or not os.path.isdir(place):
        if found or forced:
            raise FilesError(f"{name}: the directory {place} is missing; is its disk mounted?")
        return f"{name}: not due"  # the application has not come yet
    now = datetime.datetime.now(datetime.UTC)
    newest = found[-1].time if found else None
    if not forced and not due(newest, now, settings["every"], source["place"]):
        return f"{name}: not due"
    if source["volume"] and len(source["servers"]) > 1 and not _complete(host, source):
        reason = f"{name}: the brick of {host} is not complete; another host copies, or this later"
        if forced:
            raise FilesError(reason)
        return reason
    repository.unlock()
    if not forced and repository.run("list", "locks", "--no-lock").strip():
        return f"{name}: another host copies at this moment, or did until it died"
    repository.copy(name, source["path"])
    return f"{name}: copied"


def _complete(host: str, source: Mapping[str, Any]) -> bool:
    """Return whether this host's brick has all files. Files that change right now pass by."""
    heal = ("gluster", "--mode=script", "volume", "heal", source["volume"])
    same = {f"{server}:{source['path']}" for server in source["servers"]}
    end = time.monotonic() + HEAL_SECONDS
    while time.monotonic() < end:
        try:
            done = subprocess.run(
                (*heal, "statistics", "heal-count"),
                capture_output=True,
                text=True,
                check=False,
                timeout=HEAL_SECONDS,
            )
        except subprocess.TimeoutExpired:
            return False
        counts = parse_counts(done.stdout)
        own = {brick: count for brick, count in counts.items() if brick in same}
        if complete(own, f"{host}:{source['path']}"):
            return True
        time.sleep(PAUSE)
    return False


def bring_back(directory: Path, until: datetime.datetime) -> tuple[int, list[str]]:
    """Move what was removed since a moment back to its place, if nothing else is there now.

    Args:
        directory: an application's directory.
        until: the moment.

    Returns:
        How many files came back, and a sentence for each that could not.
    """
    back, failed = 0, []
    since = stamp(until - MARGIN)
    held = directory / HELD
    moments = sorted(os.listdir(held)) if held.is_dir() else []
    for moment in moments:
        if moment < since or not MOMENT.fullmatch(moment):
            continue
        try:
            removed = listing(held / moment)
        except (FileNotFoundError, NotADirectoryError):
            continue  # the sweep was faster, or a file has the name of a moment
        for one in removed:
            try:
                if _free(directory / one.path):
                    (held / moment / one.path).rename(directory / one.path)
                    back += 1
            except FileNotFoundError:
                continue  # the sweep, or another process, was faster
            except OSError as error:
                failed.append(_reason(one.path, error))
    return back, failed


def _reason(path: str, error: OSError) -> str:
    """Return a sentence about a file that cannot be written. A full volume ends all writing."""
    if error.errno in FULL:
        raise error
    return f"{path}: {error.strerror}"


def _free(target: Path) -> bool:
    """Return whether nothing is at a place. Its directory is made if that is possible."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):  # a file has the name of a directory now
        return False
    return not os.path.lexists(target)


def unpack(directory: Path, paths: Mapping[str, str], archive: IO[bytes]) -> tuple[int, list[str]]:
    """Put the files of an archive in their places, each when it is whole. None is replaced.

    Args:
        directory: an application's directory.
        paths: the name of a file in the archive -> its path in the directory.
        archive: tar.

    Returns:
        How many files were written, and a sentence for each that could not be.

    Raises:
        FilesError: the archive is damaged, or ends within a file.
    """
    count, failed = 0, []
    try:
        with tarfile.open(fileobj=archive, mode="r|") as members:
            for member in members:
                path = paths.get(member.name.lstrip("/"))
                content = members.extractfile(member) if path and member.isreg() else None
                if not path or not content:
                    continue
                try:
                    if _free(directory / path):
                        _write(directory / path, member, content)
                        count += 1
                except OSError as error:
                    failed.append(_reason(path, error))
    except tarfile.TarError as error:
        raise FilesError(f"the archive with the files: {error}") from None
    return count, failed


def _write(target: Path, member: tarfile.TarInfo, content: IO[bytes]) -> None:
    # the file's own name may be so long that nothing can be added
    unfinished = target.with_name(f".salina-{uuid.uuid4().hex}")
    try:
        with unfinished.open("wb") as file:
            shutil.copyfileobj(content, file)
            file.flush()
            os.fsync(file.fileno())
        unfinished.chmod(member.mode & 0o777)
        os.utime(unfinished, (member.mtime, member.mtime))
        unfinished.rename(target)
    finally:
        unfinished.unlink(missing_ok=True)


def main(arguments: list[str]) -> int:
    """Do what the module's docstring says. Returns the exit code."""
    action, *others = arguments
    if action == "list":
        print(json.dumps([one.path for one in listing(Path(others[0])) if one.held is None]))
        return 0
    if action == "bring-back":
        print(json.dumps(bring_back(Path(others[0]), parse_time(others[1]))))
        return 0
    if action == "unpack":
        paths = json.loads(sys.stdin.buffer.readline())
        print(json.dumps(unpack(Path(others[0]), paths, sys.stdin.buffer)))
        return 0
    settings = json.loads(Path(CONFIGURATION).read_text())
    forced, failed = action == "now", False
    own = [one for one in settings["sources"] if not forced or one["name"] == others[0]]
    if forced and not own:
        raise FilesError(f"{others[0]}: is not a source in {CONFIGURATION}")
    for source in own:
        try:
            said = copy(settings, settings["host"], source, forced)
        except UnreachableError as error:  # the backup host's health says so, when it lasts
            failed, said = failed or forced, f"{source['name']}: {error}"
        except AbsentError as error:  # of an application that has just come
            late = time.time() - os.stat(CONFIGURATION).st_mtime > SETTLED
            failed, said = failed or forced or late, f"{source['name']}: {error}"
        except FilesError as error:
            failed, said = True, f"{source['name']}: {error}"
        if not said.endswith("not due"):
            print(said, flush=True)
    return int(failed)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (OSError, FilesError) as error:
        sys.exit(str(error))

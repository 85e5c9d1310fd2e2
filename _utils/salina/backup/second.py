"""A second repository: a mirror of the backup host's directories at another place, by rclone.

A timer runs this file by the backup host's own Python, and an execution module imports it
(_modules/second_repository.py). So it uses the standard library only.

Every file of the repositories is written once, except for pgBackRest's info files. A few files say
which others belong to a repository: these are its heads. So whatever moment a run is killed at, the
mirror can be restored:

1. The heads are read, and then the list of all files.
2. All other files go to the place, and after them the heads as they were read. If a head has
   changed or gone meanwhile, some of the files may be gone as well, and all this is done again.
3. Files that are gone here are deleted there, heads first.

Bringing the repositories back has the same order. Each mirror has a mark, which the host knows, and
gets another one whenever it changes. So a host that was replaced, set back or lost its repository
never replaces the mirror of another one.

CLI: python3 -m salina.backup.second ACTION, where ACTION is
    mirror   bring the place up to date
    fetch    bring back the repositories that this host has lost, and mark the new ones
"""

from __future__ import annotations

import grp
import json
import os
import pwd
import random
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

SETTINGS = "/etc/salina/second-repository.json"
"""All settings, with the login. They are in one file, so a run never has some of two places."""
RECORD = "/var/lib/salina-second/record.json"
"""The last complete run."""
COMPARED = "/var/lib/salina-second/compared.json"
"""The last comparison of a sample."""
REMOTE = "second"
"""rclone's name for the place."""
OWN = ".salina-"
"""The beginning of the names of this program's own files in a repository."""
MARK = f"{OWN}mirror"
"""The file in each repository with the marks that its mirror may have: the newest one, and the one
before. At the place a mark is part of the name of an empty file, which is there or not."""
FETCHING = f"{OWN}fetching"
"""The same, while the repository is brought back."""
RETURNED = f"{OWN}returned"
"""The file that is written when a repository has come back."""
OTHER, UNREAD = "*", "!"
"""The signs of `rclone check` for a file with another content, and for one with an error."""
OPTIONS = (
    "--contimeout=30s",
    "--timeout=2m",
    "--retries=3",
    "--low-level-retries=5",
    "--transfers=4",
    "--stats=0",
    "--fast-list",
    # A storage host may still be writing this file. The next run sees its new size.
    "--local-no-check-updated",
)
NO_DIRECTORY = 3
"""rclone's exit code for a directory that does not exist."""
PASSES = 5
"""How often a run begins again because a backup or a deletion ended meanwhile."""
SAMPLE, SAMPLE_BYTES = 100, 64 << 20
"""The most files, and the most bytes, of each repository that a comparison reads at the place."""
AWAY = 75
"""The exit code if the place did not answer. The host's health judges the age of the record."""
INFO = {"backup.info": 2, "archive.info": 2, "backup.info.copy": 3, "archive.info.copy": 3}
"""pgBackRest reads the copy if the file itself is damaged, so they are never sent together."""
RESTIC = {"data": 0, "keys": 0, "index": 1, "snapshots": 2, "config": 3}
HEADS = {"pgbackrest": ("archive.info", "backup.info"), "restic": ("config",), "master": ()}
"""The heads that every repository of a kind has."""
MANIFEST = "backup.manifest"
"""The file that pgBackRest writes when all others of a backup are there."""
ELSEWHERE = "choose another path for `second` in pillar/settings/backup.yaml"
UNFINISHED = ".pgbackrest.tmp"
"""The end of the name of a file that pgBackRest is writing."""


class SecondError(Exception):
    """A run that failed; the message says why."""


class AwayError(SecondError):
    """The place cannot be reached, or a transfer failed."""


@dataclass(frozen=True)
class Part:
    """A repository: its name at the place, its kind, its directory here, and the user who owns it.

    `kind`: pgbackrest, restic, or master for the copies of the master's state.
    """

    name: str
    kind: str
    directory: str
    owner: str


@dataclass(frozen=True)
class Place:
    """The place for rclone. `root` must exist; `base`, at it or below it, has the mirror.

    `words`: the same for an operator.
    """

    root: str
    base: str
    words: str


@dataclass(frozen=True)
class Plan:
    """The files to send, in this order, and those to delete afterwards, in this order."""

    send: tuple[tuple[str, ...], ...]
    delete: tuple[tuple[str, ...], ...]


def rank(kind: str, path: str) -> int | None:
    """Return when a file of a repository is sent, from 0 to 3; None if it never is.

    Args:
        kind: the kind of the repository.
        path: the path in it.
    """
    first, name = path.split("/")[0], os.path.basename(path)
    if first.startswith(OWN) or name.endswith(UNFINISHED):
        return None
    if kind == "restic":
        return RESTIC.get(first)
    return INFO.get(name, 0) if kind == "pgbackrest" else 0


def changes(path: str) -> bool:
    """Return whether a file is ever written again under its name."""
    return os.path.basename(path) in INFO


def heads(part: Part) -> dict[str, bytes]:
    """Return the heads of a repository, with the content of those that change.

    Of the others it is the size: one that is being written has another one soon. restic writes its
    index before the snapshot that needs it, so the index is listed afterwards.
    """
    upper = {path: size for path, size in _walk(part.directory).items() if _at(part, path) > 1}
    lower = {path: size for path, size in _walk(part.directory).items() if _at(part, path) == 1}
    return {
        path: Path(part.directory, path).read_bytes() if changes(path) else str(size).encode()
        for path, size in (lower | upper).items()
    }


def _at(part: Part, path: str) -> int:
    return rank(part.kind, path) or 0


def same(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> bool:
    """Return whether heads still hold: none has changed or gone. New ones do no harm.

    pgBackRest and restic delete a file only after the head that needs it.
    """
    return all(after.get(path) == content for path, content in before.items())


def complete(paths: Iterable[str]) -> list[str]:
    """Return the paths in pgBackRest's repository without those of backups that are being made.

    An interrupted backup may write a file again, with another content of the same size.
    """
    found = list(paths)
    made = {os.path.dirname(path) for path in found if os.path.basename(path) == MANIFEST}

    def wanted(path: str) -> bool:
        names = path.split("/")  # backup/STANZA/LABEL/…
        unmade = "/".join(names[:3]) not in made and names[2:3] != ["backup.history"]
        return names[0] != "backup" or len(names) < 4 or not unmade

    return [path for path in found if wanted(path)]


def listing(part: Part, known: Iterable[str]) -> dict[str, int]:
    """Return the files of a repository that belong to its mirror, each with its size.

    Args:
        part: the repository.
        known: the heads that were read before. Newer ones may need files that are not listed yet.
    """
    sizes, heads = _walk(part.directory), set(known)
    paths = complete(sizes) if part.kind == "pgbackrest" else sizes
    return {path: sizes[path] for path in paths if rank(part.kind, path) == 0 or path in heads}


def plan(kind: str, source: Mapping[str, int], target: Mapping[str, int]) -> Plan:
    """Return what has to be sent from a source to a target, and deleted there.

    Args:
        kind: the kind of the repository.
        source: its files with their sizes.
        target: the same at the other end, as they were before `source` was listed.
    """
    send: list[list[str]] = [[] for _ in range(4)]
    delete: list[list[str]] = [[] for _ in range(4)]
    for path in sorted(source):
        order = rank(kind, path)
        if order is not None and (target.get(path) != source[path] or changes(path)):
            send[order].append(path)
    for path in sorted(target.keys() - source.keys()):
        order = rank(kind, path)
        if order is not None:
            delete[3 - order].append(path)
    return Plan(tuple(map(tuple, send)), tuple(map(tuple, delete)))


def damage(kind: str, paths: Iterable[str]) -> str:
    """Return which heads a repository does not have, in words, or "".

    Args:
        kind: the kind of the repository.
        paths: its files.
    """
    names = {os.path.basename(path) for path in paths if (rank(kind, path) or 0) > 1}
    missing = [name for name in HEADS[kind] if not {name, f"{name}.copy"} & names]
    return f"{' and '.join(missing)} not found" if missing else ""


def sort(kind: str, path: str) -> str:
    """Return what a file is, if a repository that has some never deletes the last one; or "".

    Args:
        kind: the kind of the repository.
        path: the path in it.
    """
    first = path.split("/")[0]
    if rank(kind, path) is None:
        return ""
    if kind == "pgbackrest":
        if os.path.basename(path) == MANIFEST:
            return "backups"
        return "WAL" if first == "archive" and not changes(path) else ""
    return first if kind == "restic" else "copies"


def marks(paths: Iterable[str]) -> set[str]:
    """Return the marks among the files of a mirror. It has two while they change."""
    return {path.removeprefix(f"{MARK}.") for path in paths if path.startswith(f"{MARK}.")}


def refusal(kind: str, known: Collection[str], here: Iterable[str], there: Iterable[str]) -> str:
    """Return why a repository may not be mirrored to the place, or "".

    Args:
        kind: the kind of the repository.
        known: the marks that its mirror may have; none if the repository is not ready.
        here: its files.
        there: its files at the place.
    """
    found, mirrored = list(here), list(there)
    if not known:
        return "it is not ready; apply the states of this host"
    if fault := damage(kind, found):
        return f"{fault}; it looks empty or damaged, so nothing is sent or deleted"
    if marks(mirrored) - set(known):
        return (
            "the last mirror is that of another host, or of a later state of this one, so nothing "
            f"is sent or deleted; {ELSEWHERE}, or see docs/operations.md, `Two backup hosts`"
        )
    if not marks(mirrored) and _begun(mirrored):
        return f"the place has files of another repository; {ELSEWHERE}"
    gone = {sort(kind, path) for path in mirrored} - {sort(kind, path) for path in found} - {""}
    if gone:
        words = " and ".join(sorted(gone))
        return (
            f"all {words} are gone, and its mirror has some, so nothing is sent or deleted; if "
            "that is right, delete its directory at the place"
        )
    return ""


def _begun(there: Iterable[str]) -> bool:
    """Return whether a mirror has other files than marks."""
    return any(not path.startswith(OWN) for path in there)


def mirror(place: Place, parts: Sequence[Part], rclone: Rclone) -> dict[str, int]:
    """Bring the place up to date.

    Args:
        place: the place.
        parts: the repositories.
        rclone: how to call rclone.

    Returns:
        The number of `files` in the mirror, and their `bytes`.

    Raises:
        AwayError: the place does not answer, or transfers fail.
        SecondError: a repository is refused; with the reason for each one.
    """
    faults, refused, files, size = list[str](), False, 0, 0
    for part in parts:
        try:
            found = _mirror(place, part, rclone)
        except (SecondError, OSError) as error:
            faults.append(f"{part.directory}: {error}")
            refused = refused or not isinstance(error, AwayError)
            continue
        files, size = files + len(found), size + sum(found.values())
    if faults:
        raise (SecondError if refused else AwayError)("\n".join(faults))
    return {"files": files, "bytes": size}


def _mirror(place: Place, part: Part, rclone: Rclone) -> dict[str, int]:
    remote = f"{place.base}/{part.name}"
    for _ in range(PASSES):
        there = rclone.files(place, part.name)
        known = heads(part)
        here = listing(part, known)
        # a prune may have replaced all heads meanwhile, which `same` notices below
        if fault := refusal(part.kind, marked(part), here.keys() | known.keys(), there):
            raise SecondError(fault)
        wanted = plan(part.kind, here, there)
        if any(wanted.send + wanted.delete) or not marks(there):
            _mark(Path(part.directory, MARK), remote, marks(there), rclone)
        rclone.copy(part.directory, remote, wanted.send[0])
        if not same(known, heads(part)):
            continue
        for paths in wanted.send[1:]:
            rclone.copy(part.directory, remote, [path for path in paths if not changes(path)])
            _send(remote, {path: known[path] for path in paths if changes(path)}, rclone)
        for paths in wanted.delete:
            rclone.delete(remote, paths)
        if any(wanted.delete):
            rclone.tidy(remote)
        return here
    raise AwayError(f"it changed during {PASSES} attempts; the next run tries again")


def _mark(file: Path, remote: str, old: Collection[str], rclone: Rclone) -> None:
    """Give a mirror a new mark, which only this host knows. It may be killed at any moment.

    Args:
        file: the file with the marks of the repository.
        remote: the mirror.
        old: the marks that it has. This host knows them still: the place may fall back to them.
        rclone: how to call rclone.
    """
    new = uuid.uuid4().hex
    _put(file, "\n".join([new, *sorted(old)]))
    _send(remote, {f"{MARK}.{new}": b""}, rclone)
    rclone.delete(remote, [f"{MARK}.{mark}" for mark in sorted(old)])


def _send(remote: str, contents: Mapping[str, bytes], rclone: Rclone) -> None:
    """Send files with these contents, whatever they have become here."""
    with tempfile.TemporaryDirectory() as aside:
        for path, content in contents.items():
            target = Path(aside, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        rclone.copy(aside, remote, list(contents), "--ignore-times")


def lost(place: Place, parts: Iterable[Part], rclone: Rclone) -> list[Part]:
    """Return the repositories of this host that only the place has.

    Args:
        place: the place. It is asked only about repositories without a mark.
        parts: the repositories.
        rclone: how to call rclone.

    Raises:
        AwayError: the place does not answer.
        SecondError: this host and the place have different repositories.
    """
    found = []
    for part in parts:
        if marked(part):
            continue
        there = rclone.files(place, part.name)
        if not marks(there) or not _begun(there):
            continue  # the place is new
        if fault := damage(part.kind, there):
            raise SecondError(
                f"{place.words}: {part.name}: an incomplete mirror, {fault}; {ELSEWHERE}, or "
                "delete this directory at the place if nothing of it is needed"
            )
        begun = Path(part.directory, FETCHING).exists()
        if not begun and any(_at(part, path) > 1 for path in _walk(part.directory)):
            raise SecondError(
                f"{part.directory}: has a repository, and the second place has the mirror of "
                f"another one; {ELSEWHERE}, or move the directory away to bring the mirror back"
            )
        found.append(part)
    return found


def fetch(place: Place, parts: Sequence[Part], rclone: Rclone) -> list[str]:
    """Bring back the repositories that this host has lost, and mark the new ones.

    A repeated call continues one that was killed.

    Args:
        place: the place.
        parts: the repositories.
        rclone: how to call rclone.

    Returns:
        The directories that came back.

    Raises:
        AwayError: the place does not answer.
        SecondError: this host and the place have different repositories.
    """
    back = lost(place, parts, rclone)
    for part in parts:
        if marked(part):
            continue
        directory, remote = Path(part.directory), f"{place.base}/{part.name}"
        if not directory.exists():
            directory.mkdir(mode=0o700)
            shutil.chown(directory, part.owner, part.owner)
        there = rclone.files(place, part.name)
        _put(directory / FETCHING, "\n".join(sorted(marks(there))) or uuid.uuid4().hex)
        if part in back:
            # first of all, so that an earlier host that still runs deletes nothing meanwhile
            _mark(directory / FETCHING, remote, marks(there), rclone)
            _fetch(part, remote, there, rclone)
            _put(directory / RETURNED, "")
        os.replace(directory / FETCHING, directory / MARK)
    return [part.directory for part in back]


def _fetch(part: Part, remote: str, there: Mapping[str, int], rclone: Rclone) -> None:
    directory = Path(part.directory)
    for paths in plan(part.kind, there, _walk(part.directory)).send:
        rclone.copy(remote, part.directory, [path for path in paths if not changes(path)])
        # beside their places: pgBackRest's server may read an info file at any moment
        again = [path for path in paths if changes(path)]
        with tempfile.TemporaryDirectory(dir=directory, prefix=OWN) as aside:
            rclone.copy(remote, aside, again)
            for path in again:
                (directory / path).parent.mkdir(parents=True, exist_ok=True)
            _own(directory, part.owner)
            for path in again:
                os.replace(Path(aside, path), directory / path)


def sample(sizes: Mapping[str, int], again: Sequence[str] = ()) -> list[str]:
    """Return the files that are compared: the newest backup's manifest, and others by chance.

    Args:
        sizes: the files of a repository with their sizes.
        again: files that come before all others, as far as they are still there.
    """
    manifests = [path for path in sizes if os.path.basename(path) == MANIFEST]
    newest = sorted(manifests, key=lambda path: path.split("/")[2].split("_")[-1])[-1:]
    known = [path for path in again if path in sizes]
    chosen, room = list[str](), SAMPLE_BYTES
    for path in dict.fromkeys([*known, *newest, *random.sample(sorted(sizes), len(sizes))]):
        if sizes[path] <= room and len(chosen) < SAMPLE:
            chosen.append(path)
            room -= sizes[path]
    return chosen


def compare(
    place: Place, parts: Iterable[Part], rclone: Rclone, again: Iterable[str] = ()
) -> dict[str, Any]:
    """Read a sample of the mirror at the place, and compare it with this host.

    Files that a mirror may be sending or deleting meanwhile are not compared.

    Args:
        place: the place.
        parts: the repositories.
        rclone: how to call rclone.
        again: those that the last comparison found `damaged`: another sample must not hide them.

    Returns:
        The number of `files`, their `bytes`, and those that are `damaged` at the place.

    Raises:
        AwayError: the place does not answer.
    """
    files, size, damaged, known = 0, 0, list[str](), [*again]
    for part in parts:
        there = rclone.files(place, part.name)
        here = listing(part, heads(part))
        chosen = sample(
            {
                path: size
                for path, size in here.items()
                if there.get(path) == size and not changes(path)
            },
            [
                path.removeprefix(f"{part.name}/")
                for path in known
                if path.startswith(f"{part.name}/")
            ],
        )
        files, size = files + len(chosen), size + sum(here[path] for path in chosen)
        found = rclone.different(part.directory, f"{place.base}/{part.name}", chosen)
        damaged += [f"{part.name}/{path}" for path in found]
    return {"files": files, "bytes": size, "damaged": damaged}


def claim(place: Place, parts: Iterable[Part], rclone: Rclone) -> list[str]:
    """Make this host the right one, whoever changed the mirrors last.

    The next run deletes at the place what this host does not have.

    Args:
        place: the place.
        parts: the repositories.
        rclone: how to call rclone.

    Returns:
        The directories whose mirrors had marks that this host did not know.

    Raises:
        AwayError: the place does not answer.
    """
    taken = []
    for part in parts:
        there = marks(rclone.files(place, part.name))
        if marked(part) and there - marked(part):
            _put(Path(part.directory, MARK), "\n".join(sorted(there)))
            taken.append(part.directory)
    return taken


class Rclone:
    """rclone with one configuration, of which it has private copies.

    Args:
        configuration: rclone's configuration.
        known_hosts: the keys of the SFTP server.
    """

    def __init__(self, configuration: str = "", known_hosts: str = "") -> None:
        self._configuration = _temporary(configuration)
        self._known_hosts = _temporary(known_hosts)

    def files(self, place: Place, name: str) -> dict[str, int]:
        """Return the files of a mirror, each with its size; none if it has not begun.

        Args:
            place: the place.
            name: the repository.

        Raises:
            AwayError: the place does not exist, or does not answer.
        """
        asked = ("lsjson", "--files-only", "--no-modtime", "--no-mimetype")
        done = self._run(*asked, "--recursive", f"{place.base}/{name}")
        if done.returncode == NO_DIRECTORY:
            self._done(self._run(*asked, "--max-depth=1", place.root))
            return {}
        return {one["Path"]: one["Size"] for one in json.loads(self._done(done))}

    def copy(self, source: str, target: str, paths: Sequence[str], *options: str) -> None:
        """Copy files. Those that are gone at the source are left out.

        Raises:
            AwayError: some cannot be copied.
        """
        self._listed(paths, "copy", "--no-traverse", *options, source, target)

    def delete(self, remote: str, paths: Sequence[str]) -> None:
        """Delete files of a mirror.

        Raises:
            AwayError: some cannot be deleted.
        """
        self._listed(paths, "delete", remote)

    def different(self, source: str, remote: str, paths: Sequence[str]) -> list[str]:
        """Return the files that have another content at the place, or that it cannot give.

        Raises:
            AwayError: it does not answer.
        """
        found = self._compared(source, remote, paths)
        wrong = [path for path, sign in found.items() if sign == OTHER]
        if unread := [path for path, sign in found.items() if sign == UNREAD]:
            again = self._compared(source, remote, unread)
            self._done(self._run("lsf", remote))  # the fault is theirs only if the place answers
            wrong += [path for path, sign in again.items() if sign in (OTHER, UNREAD)]
        return wrong

    def _compared(self, source: str, remote: str, paths: Sequence[str]) -> dict[str, str]:
        """Return rclone's sign for each file. A sign of no interest: it was deleted meanwhile."""
        options = ("check", "--one-way", "--download", "--combined=-")
        with _temporary("".join(f"{path}\n" for path in paths)) as file:
            done = self._run(f"--files-from-raw={file.name}", *options, source, remote)
        lines = [line.partition(" ") for line in done.stdout.splitlines()]
        if not lines:
            self._done(done)
        return {path: sign for sign, _, path in lines}

    def tidy(self, remote: str) -> None:
        """Delete the empty directories of a mirror.

        Raises:
            AwayError: some cannot be deleted.
        """
        self._done(self._run("rmdirs", "--leave-root", remote))

    def _listed(self, paths: Sequence[str], *arguments: str) -> None:
        if paths:
            with _temporary("".join(f"{path}\n" for path in paths)) as file:
                self._done(self._run(f"--files-from-raw={file.name}", *arguments))

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        files = (
            f"--config={self._configuration.name}",
            f"--sftp-known-hosts-file={self._known_hosts.name}",
        )
        command = ["rclone", *files, *OPTIONS, *arguments]
        return subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )

    def _done(self, done: subprocess.CompletedProcess[str]) -> str:
        if done.returncode:
            lines = done.stderr.strip().splitlines()[-3:] or [f"exit code {done.returncode}"]
            raise AwayError(f"the second place: {'; '.join(lines)}")
        return done.stdout


def _temporary(text: str) -> IO[str]:
    """Return a file with this text, which is deleted with its last reference."""
    file = tempfile.NamedTemporaryFile("w")  # noqa: SIM115 - its owner closes it
    file.write(text)
    file.flush()
    return file


def _walk(directory: str) -> dict[str, int]:
    """Return the files below a directory, each with its size. Files may vanish meanwhile."""
    found, folders = {}, [directory]
    while folders:
        try:
            entries = list(os.scandir(folders.pop()))
        except FileNotFoundError:
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.path)
            elif entry.is_file(follow_symlinks=False):
                try:
                    size = entry.stat(follow_symlinks=False).st_size
                except FileNotFoundError:
                    continue
                found[os.path.relpath(entry.path, directory)] = size
    return found


def marked(part: Part) -> set[str]:
    """Return the marks that the mirror of a repository may have; none if it is not ready."""
    try:
        return set(Path(part.directory, MARK).read_text().split())
    except FileNotFoundError:
        return set()


def note(file: str, place: Place, began: float, found: Mapping[str, Any]) -> None:
    """Keep what was done at a place, in RECORD or COMPARED."""
    told = {"place": place.words, "began": began, "ended": time.time(), **found}
    _put(Path(file), json.dumps(told))


def _put(path: Path, content: str) -> None:
    """Replace a file. It is on the disk before the place changes."""
    aside = path.with_name(f"{path.name}.new")
    with aside.open("w") as file:
        file.write(f"{content}\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(aside, path)
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def _own(directory: Path, owner: str) -> None:
    """Give what came to a repository to its user. The target of a symbolic link keeps its owner."""
    user, group = pwd.getpwnam(owner).pw_uid, grp.getgrnam(owner).gr_gid
    for folder, folders, names in os.walk(directory):
        for name in (*folders, *names):
            os.chown(Path(folder, name), user, group, follow_symlinks=False)


def read(settings: Mapping[str, Any]) -> tuple[Place, list[Part], Rclone]:
    """Return the place, the repositories and rclone, as the content of SETTINGS has them."""
    rclone = Rclone(settings["configuration"], settings["known_hosts"])
    return Place(**settings["place"]), [Part(**part) for part in settings["parts"]], rclone


def record(words: str, file: str) -> dict[str, Any]:
    """Return the content of RECORD or COMPARED; {} if there is none for this place."""
    try:
        found = dict(json.loads(Path(file).read_text()))
    except FileNotFoundError:
        return {}
    return found if found.get("place") == words else {}


def main(arguments: list[str]) -> int:
    """Do what the module's docstring says. Returns the exit code."""
    place, parts, rclone = read(json.loads(Path(SETTINGS).read_text()))
    began = time.time()
    try:
        if arguments == ["fetch"]:
            print(f"came back: {', '.join(fetch(place, parts, rclone)) or 'nothing'}", flush=True)
            return 0
        found = mirror(place, parts, rclone)
    except AwayError as error:
        print(error, file=sys.stderr, flush=True)
        return AWAY
    note(RECORD, place, began, found)
    print(f"mirrored: {found['files']} files, {found['bytes'] >> 20} MiB", flush=True)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (OSError, SecondError) as error:
        sys.exit(str(error))

"""Read files that may not be what they should be: no reader hangs, and each error is one line."""

from __future__ import annotations

import errno
import os
import pwd
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

MAX_BYTES = 5_000_000
"""A file beyond this is a mistake. A topology of 10,000 hosts has up to 300 bytes for each."""

Stamp = tuple[object, ...]
"""Something that changes whenever the content of a file, or of a folder, changes."""
_noted: ContextVar[dict[str, Stamp] | None] = ContextVar("noted", default=None)
_KINDS = {
    stat.S_IFDIR: "directory",
    stat.S_IFIFO: "named pipe",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}


class UnreadableError(OSError):
    """Something that cannot be read, although it exists; `strerror` says why, and what to do.

    A file that does not exist at all is a FileNotFoundError. A link to nowhere is not one: the
    file was there when somebody made the link.
    """

    def __init__(self, path: str | Path, reason: str, number: int = errno.EINVAL) -> None:
        super().__init__(number, reason, str(path))

    def __str__(self) -> str:
        return f"{self.filename}: {self.strerror}"


def read(path: str | Path, most: int = MAX_BYTES) -> bytes:
    """Return the content of a regular file.

    Args:
        path: the file.
        most: the bytes that it may have.

    Raises:
        FileNotFoundError: it does not exist.
        UnreadableError: it is something else than a file, too large, or closed to this user.
    """
    _note(path)
    try:
        kind = stat.S_IFMT(os.stat(path).st_mode)
        if kind == stat.S_IFREG:  # opening anything else could wait for ever, or start something
            return _content(path, most)
    except OSError as error:
        raise _explained(path, error) from None
    found = _KINDS.get(kind, "special file")
    raise UnreadableError(path, f"it is a {found}; put a regular file in its place")


def text(path: str | Path, most: int = MAX_BYTES) -> str:
    """Return the content of a regular file in UTF-8.

    Raises:
        FileNotFoundError, UnreadableError: as `read` does, and for a file that is not text.
    """
    try:
        return read(path, most).decode()
    except UnicodeDecodeError:
        raise UnreadableError(path, "it is not text in UTF-8; save it as UTF-8") from None


def names(folder: str | Path) -> list[str]:
    """Return the names of everything in a folder, in order; none if it does not exist.

    Raises:
        UnreadableError: it is something else than a folder, or closed to this user.
    """
    _note(folder)
    try:
        found = sorted(os.listdir(folder))
        os.stat(
            os.path.join(folder, ".")
        )  # whether the files behind the names can be reached as well
        return found
    except OSError as error:
        explained = _explained(folder, error)
    if isinstance(explained, FileNotFoundError):
        return []
    raise explained


@contextmanager
def noting() -> Iterator[dict[str, Stamp]]:
    """Note what this thread reads meanwhile: each file and folder with its stamp from before.

    A missing file is noted as well, since a result depends on its absence.
    """
    found: dict[str, Stamp] = {}
    token = _noted.set(found)
    try:
        yield found
    finally:
        _noted.reset(token)


def stamp(path: str | Path) -> Stamp:
    """Return the stamp of a file or a folder: of its state, its place, and a folder's names."""
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            owner = (status.st_ino, status.st_mode, status.st_uid, status.st_gid)
            return (*owner, *sorted(os.listdir(path)))
    except OSError as error:
        return (error.errno, os.path.realpath(path))  # a missing file is not a link to nowhere
    return (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _note(path: str | Path) -> None:
    noted = _noted.get()
    if noted is not None and str(path) not in noted:
        noted[str(path)] = stamp(path)


def _content(path: str | Path, most: int) -> bytes:
    # O_NONBLOCK: a pipe that has taken the file's place since is opened without a writer
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise UnreadableError(path, "it was replaced while it was read; try again")
        content = file.read(most + 1)
    if len(content) > most:
        reason = f"it is too large; it must have at most {most} bytes"
        raise UnreadableError(path, reason, errno.EFBIG)
    return content


def _explained(path: str | Path, error: OSError) -> OSError:
    """Return an error with the reason in words."""
    if isinstance(error, UnreadableError):
        return error
    path = Path(path)
    way = (*reversed(path.parents), path)
    reason = error.strerror or str(error)
    if error.errno == errno.ENOENT:
        broken = next((one for one in way if one.is_symlink() and not one.exists()), None)
        if broken is None:
            return FileNotFoundError(error.errno, reason, str(path))
        here = "it is" if broken == path else f"{broken} is"
        target = f"a link to {os.readlink(broken)}, which does not exist"
        reason = f"{here} {target}; restore that, or remove the link"
    elif error.errno == errno.ELOOP:
        reason = "links lead back to themselves; put a regular file in their place"
    elif error.errno == errno.ENOTDIR:
        file = next((one for one in way if one.exists() and not one.is_dir()), path)
        here = "it is" if file == path else f"{file} is"
        reason = f"{here} not a directory; put a directory in its place"
    elif error.errno in (errno.EACCES, errno.EPERM):
        reason = f"the user {_user()} {_barred(way)}; change the owner or the mode"
    return UnreadableError(path, reason, error.errno or errno.EINVAL)


def _barred(way: tuple[Path, ...]) -> str:
    """Return what this user may not do on the way to a file."""
    for one in way:
        if os.path.isdir(one) and not os.access(one, os.X_OK, effective_ids=True):
            return f"has no permission to enter {one}"
    return "has no permission to read it"


def _user() -> str:
    """Return the name of the user of this process."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())

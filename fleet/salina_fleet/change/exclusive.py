"""Allow one change of the fleet at a time. The process that takes it holds it until it ends.

`salt-run` runs a whole orchestration in one process, nested ones too. When that process ends, for
whatever reason, the kernel frees the file: no stale holder remains. A process that the holder
forks, such as Salt's for a parallel step, does not hold it. The reactor's process never ends, and
its threads share it, so the reactor must start changes in processes of their own.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path

from salina_fleet.errors import RunnerError

_mine: list[int] = []
"""The descriptor of the file that this process holds, if it does."""


class BusyError(Exception):
    """Another process is changing the fleet; the message says which one, and since when."""


def take(path: str | Path, what: str) -> None:
    """Start a change in this process; again in the same process, do nothing.

    Args:
        path: the file that the process holds.
        what: the change, in words for a process that is refused.

    Raises:
        BusyError: another process is changing the fleet.
        RunnerError: the file cannot be written.
    """
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise RunnerError(f"{path} cannot be opened: {error.strerror}") from None
    if not _held(descriptor, fcntl.LOCK_EX):
        found = _content(descriptor)
        os.close(descriptor)
        if found.get("pid") == os.getpid():
            return
        raise BusyError(describe(found))
    _mine.append(descriptor)  # it stays open, because closing it would free the file
    since = datetime.now(UTC).isoformat(timespec="seconds")
    text = json.dumps({"what": what, "pid": os.getpid(), "since": since})
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, text.encode(), 0)


def holder(path: str | Path) -> dict[str, object]:
    """Return the running change as {what, pid, since}, or {} if there is none.

    Raises:
        RunnerError: the file cannot be read.
    """
    try:
        # a named pipe would be opened when somebody writes into it
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise RunnerError(f"{path} cannot be opened: {error.strerror}") from None
    try:
        return {} if _held(descriptor, fcntl.LOCK_SH) else _content(descriptor)
    finally:
        os.close(descriptor)


def describe(found: dict[str, object]) -> str:
    """Return one line about a running change."""
    what, since, pid = (found.get(key) for key in ("what", "since", "pid"))
    return f"another change is running: {what}, since {since} (process {pid})"


def _held(descriptor: int, kind: int) -> bool:
    """Return whether this process got the file. Try again, as `holder` takes it for a moment."""
    for _ in range(5):
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.02)
        else:
            return True
    return False


def _content(descriptor: int) -> dict[str, object]:
    try:
        return dict(json.loads(os.pread(descriptor, 4096, 0)))
    except (ValueError, TypeError):  # the holder is writing it at this moment
        return {"what": "a change that has just begun", "pid": 0, "since": "a moment ago"}


def _disown() -> None:
    """Leave the file to the parent alone, so that its death frees it although a child lives on."""
    while _mine:
        os.close(_mine.pop())


os.register_at_fork(after_in_child=_disown)

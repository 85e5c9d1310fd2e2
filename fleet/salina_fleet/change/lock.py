"""One change of the fleet at a time: a lock that lasts as long as the process that took it.

`salt-run` runs a whole orchestration in one process, nested ones too. The kernel gives the lock
back when that process ends, however it ends: there are no stale locks. The reactor's process does
not end, and its threads share it: what they start must run in a process of its own.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path


class LockedError(Exception):
    """Somebody else holds the lock; the message says who, and since when."""


def take(path: str | Path, what: str) -> None:
    """Take the lock for this process, or find that it has it already.

    `what`: what it is for, for whoever is refused. Raises LockedError, OSError.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    if not _locked(descriptor, fcntl.LOCK_EX):
        found = _content(descriptor)
        os.close(descriptor)
        if found.get("pid") == os.getpid():
            return
        raise LockedError(describe(found))
    # never closed: that would give the lock back
    since = datetime.now(UTC).isoformat(timespec="seconds")
    text = json.dumps({"what": what, "pid": os.getpid(), "since": since})
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, text.encode(), 0)


def holder(path: str | Path) -> dict[str, object]:
    """Who holds the lock: {what, pid, since}; empty while nobody does."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return {}
    try:
        return {} if _locked(descriptor, fcntl.LOCK_SH) else _content(descriptor)
    finally:
        os.close(descriptor)


def _locked(descriptor: int, kind: int) -> bool:
    """Whether the file could be locked; asked again, since a question holds it for a moment too."""
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
    except (ValueError, TypeError):  # just being written
        return {"what": "another change", "pid": 0, "since": "a moment ago"}


def describe(found: dict[str, object]) -> str:
    """One line about the holder of the lock."""
    return f"{found.get('what')} is under way since {found.get('since')} (pid {found.get('pid')})"

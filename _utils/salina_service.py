"""Whether a running service has what is on the disk.

A ``watch`` forgets: when a run is killed after the file was written and before the service was
restarted, the next run sees no change. Comparing times does not forget.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def newer(files: Iterable[str], started: int, now_monotonic: float, now: float) -> list[str]:
    """Return those files that were written after a service was started.

    Args:
        files: paths; a missing one is not newer.
        started: systemd's ``ExecMainStartTimestampMonotonic``, in microseconds; 0 if it never was.
        now_monotonic: the same clock now, in seconds.
        now: the clock of the files, in seconds.
    """
    if not started:
        return []
    start = now - (now_monotonic - started / 1e6)
    return [path for path in files if Path(path).exists() and Path(path).stat().st_mtime > start]

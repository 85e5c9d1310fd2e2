"""Whether a running service has what is on the disk.

A ``watch`` forgets: when a run is killed after the file was written and before the service was
restarted, the next run sees no change. Comparing times does not forget.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

STARTED = "ExecMainStartTimestampMonotonic"
"""systemd's property: when the service's process was started, microseconds after the boot."""
STARTED_OR_RELOADED = "StateChangeTimestampMonotonic"
"""The same, counting a reload as well."""


def newer(files: Iterable[str], moment: int, now_monotonic: float, now: float) -> list[str]:
    """Return those files that were written after a moment.

    Args:
        files: paths; a missing one is not newer.
        moment: by the monotonic clock, in microseconds, as systemd says; 0 if there was none.
        now_monotonic: the same clock now, in seconds.
        now: the clock of the files, in seconds.
    """
    if not moment:
        return []
    then = now - (now_monotonic - moment / 1e6)
    return [path for path in files if Path(path).exists() and Path(path).stat().st_mtime > then]

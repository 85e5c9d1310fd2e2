"""Whether a running service has read the files that are on the disk.

A ``watch`` forgets: when a run is killed between writing the file and restarting the service, the
next run sees no change. A comparison of times does not forget.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

STARTED = "ExecMainStartTimestampMonotonic"
"""systemd's property: when the service's process was started, microseconds after the boot."""
CHANGED = "StateChangeTimestampMonotonic"
"""The same, counting a reload as well, also one that failed."""
ENTERED = "ActiveEnterTimestampMonotonic"
"""The same: when a unit became active. A socket, a timer or a target has no process."""
RELOAD = "ReloadResult"
"""Whether the last reload, if any, was a `success`."""
STATE = "ActiveState"
"""Whether the service runs."""
RUNNING = ("active", "reloading")
"""The states of a service that runs (systemctl(1), is-active)."""
PROPERTIES = (STARTED, CHANGED, ENTERED, RELOAD, STATE)
AT_BOOT = "UnitFileState"
"""Whether the unit is `enabled`."""
STALE = "NeedDaemonReload"
"""Whether the unit's file has changed since systemd read it."""


def last_read(shown: str, reloads: bool) -> int:
    """Return when a running service last read its files, in microseconds after the boot.

    Args:
        shown: the output of `systemctl show` for PROPERTIES.
        reloads: whether the service also reads them at a reload, and not only at its start.

    Returns:
        The moment; 0 if the service does not run.
    """
    found = _properties(shown)
    if found.get(STATE) not in RUNNING:
        return 0
    started = STARTED if found.get(STARTED) else ENTERED
    counted = CHANGED if reloads and found.get(RELOAD) == "success" else started
    return int(found.get(counted) or 0)


def ready(shown: str, running: bool) -> bool:
    """Return whether a unit starts at boot and, if that is wanted, runs now.

    Args:
        shown: the output of `systemctl show` for AT_BOOT, STALE and STATE.
        running: whether it must run.
    """
    found = _properties(shown)
    current = found.get(AT_BOOT) == "enabled" and found.get(STALE) == "no"
    return current and (not running or found.get(STATE) in RUNNING)


def _properties(shown: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)


def newer(files: Iterable[str], moment: int, now_monotonic: float, now: float) -> list[str]:
    """Return the files that were written after a moment.

    Args:
        files: paths; a missing file is not newer.
        moment: by the monotonic clock, in microseconds, as systemd says; 0 for none.
        now_monotonic: the same clock now, in seconds.
        now: the clock of the files, in seconds.
    """
    if not moment:
        return []
    then = now - (now_monotonic - moment / 1e6)
    return [path for path in files if Path(path).exists() and Path(path).stat().st_mtime > then]

"""Delete the copies of users' files that are too old. A timer runs this on the backup host.

A host that sends copies names the moment of each. One that is taken could name false moments, so
that its own copies take the places of older ones, which would then be deleted. So the moment of
each copy is compared with that of its arrival, and with a false one nothing is deleted.

CLI: python3 -m salina.backup.forget DAYS REPOSITORY...
"""

from __future__ import annotations

import datetime
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from salina.backup.files import Snapshot, parse_snapshots

EARLY = datetime.timedelta(minutes=5)
"""By how much the clock of a sending host may be ahead."""
LONG = datetime.timedelta(days=1)
"""The longest time from the beginning of a copy to its arrival, if others arrived meanwhile."""
ALL = datetime.timedelta(days=2)
"""For so long every copy is kept; after that the last one of each day."""


def false_moments(
    snapshots: Sequence[Snapshot], arrived: Mapping[str, datetime.datetime]
) -> list[str]:
    """Return a sentence for each copy whose moment does not fit that of its arrival.

    Args:
        snapshots: the copies of a repository.
        arrived: a copy's id -> when its file was written here.
    """
    found = []
    for one in snapshots:
        here = arrived[one.id]
        # a first copy may take days, but then no other one came meanwhile
        others = any(one.time < arrived[other.id] < here for other in snapshots)
        if one.time - here > EARLY or (here - one.time > LONG and others):
            found.append(
                f"{one.id[:8]}: says {one.time:%Y-%m-%d %H:%M} UTC, and arrived at "
                f"{here:%Y-%m-%d %H:%M} UTC"
            )
    return found


def policy(days: int) -> list[str]:
    """Return restic's options for what is kept: all new copies, then one of each day.

    Args:
        days: the days to which database and files can be restored.
    """
    # A copy has what was removed before it, so the first one after a moment has all files of it.
    within = f"--keep-within={ALL.days}d"
    return ["--group-by=", "--keep-last=1", within, f"--keep-within-daily={days + 1}d"]


def forget(repository: Path, days: int) -> list[str]:
    """Delete what is too old in one repository.

    Returns:
        The faults: copies with false moments, or restic's error.
    """

    def restic(*arguments: str) -> str:
        command = ["restic", f"--repo={repository}", "--quiet", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return done.stdout

    try:
        found = parse_snapshots(restic("snapshots", "--json", "--no-lock"))
        faults = false_moments(found, {one.id: _arrived(repository, one) for one in found})
        if faults:
            return [f"{repository.name}: nothing is deleted: {fault}" for fault in faults]
        restic("unlock")  # of processes that died
        restic("forget", "--prune", *policy(days))
    except subprocess.CalledProcessError as error:
        return [f"{repository.name}: {error.cmd[3]}: {error.stderr.strip()}"]
    return []


def _arrived(repository: Path, snapshot: Snapshot) -> datetime.datetime:
    written = (repository / "snapshots" / snapshot.id).stat().st_mtime
    return datetime.datetime.fromtimestamp(written, datetime.UTC)


def main(arguments: list[str]) -> int:
    """Delete what is too old in all repositories; see the module's docstring."""
    days, *repositories = arguments
    faults = [fault for one in repositories for fault in forget(Path(one), int(days))]
    for fault in faults:
        print(fault, file=sys.stderr, flush=True)
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

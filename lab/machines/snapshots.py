"""Snapshots: save the whole lab, and return to a saved state.

A snapshot is a copy, because a further overlay would break the hard links in GlusterFS's bricks.
"""

import re

from lab.errors import LabError
from lab.machines import containers, inventory, network
from lab.paths import CONTAINERS, KEYS, OVERRIDE, SNAPSHOTS, TOPOLOGY
from lab.process import remove_tree, run

KEPT = (CONTAINERS, KEYS, TOPOLOGY, OVERRIDE)
NAME = re.compile(r"[a-z0-9][a-z0-9.-]*")


def copy(sources: list[str], target: str) -> None:
    """Copy files, and keep hard links, extended attributes and sparse files."""
    run(["cp", "--archive", "--sparse=auto", *sources, target])


def take(name: str) -> None:
    """Stop the lab's hosts, and save them under a name. An older snapshot of that name is replaced.

    Raises:
        LabError: The name is invalid.
    """
    if not NAME.fullmatch(name):
        raise LabError(
            f"{name!r} is not a valid name for a snapshot; it must consist of a-z, 0-9, dots and "
            "hyphens, and begin with a letter or digit",
            "bin/lab snapshot deployed",
        )
    running = containers.running()
    machines = inventory.current_plan().machines
    containers.each(
        containers.stop, [machine for machine in machines if machine.container in running]
    )
    unfinished = SNAPSHOTS / f"{name}.unfinished"
    for path in (unfinished, SNAPSHOTS / name):
        remove_tree(path)
    unfinished.mkdir(parents=True)
    copy([str(path) for path in KEPT], str(unfinished))
    unfinished.rename(SNAPSHOTS / name)


def restore(name: str) -> None:
    """Kill the lab's hosts, and restore their files from a snapshot. This does not start them.

    Raises:
        LabError: There is no such snapshot.
    """
    source = SNAPSHOTS / name
    if not NAME.fullmatch(name) or not source.is_dir():
        known = ", ".join(sorted(path.name for path in SNAPSHOTS.glob("*"))) or "none"
        raise LabError(
            f"there is no snapshot {name!r}; existing snapshots: {known}",
            "bin/lab snapshot NAME   (saves one)",
        )
    containers.thaw_groups()
    network.stop()
    containers.remove_groups()
    for path in KEPT:
        remove_tree(path)
        copy([str(source / path.name)], str(path.parent))

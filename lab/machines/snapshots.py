"""Keeping the whole lab as it is, and going back to that. Copies, since a layer stacked over
GlusterFS's bricks would break the hard links in them.
"""

import re

from lab.errors import LabError
from lab.machines import containers, network
from lab.machines import hosts as fleet
from lab.paths import CONTAINERS, KEYS, OVERRIDE, SNAPSHOTS, TOPOLOGY
from lab.process import remove_tree, run

KEPT = (CONTAINERS, KEYS, TOPOLOGY, OVERRIDE)
NAME = re.compile(r"[a-z0-9][a-z0-9.-]*")


def copy(sources: list[str], target: str) -> None:
    """Copy with hard links, extended attributes and sparse files kept."""
    run(["cp", "--archive", "--sparse=auto", *sources, target])


def take(name: str) -> None:
    """Keep the lab under a name; an older one of that name is replaced. Hosts are stopped first.

    :raises LabError: the name can't be used
    """
    if not NAME.fullmatch(name):
        raise LabError(f"a snapshot can't be named {name!r}", "bin/lab snapshot converged")
    wanted = fleet.current()
    running = containers.running()
    fleet.each(
        containers.stop, [machine for machine in wanted.machines if machine.container in running]
    )
    unfinished = SNAPSHOTS / f"{name}.unfinished"
    for path in (unfinished, SNAPSHOTS / name):
        remove_tree(path)
    unfinished.mkdir(parents=True)
    copy([str(path) for path in KEPT], str(unfinished))
    unfinished.rename(SNAPSHOTS / name)


def put_back(name: str) -> None:
    """End the lab's hosts and take their files back from a snapshot; they are not yet started.

    :raises LabError: there is no such snapshot
    """
    source = SNAPSHOTS / name
    if not NAME.fullmatch(name) or not source.is_dir():
        known = ", ".join(sorted(path.name for path in SNAPSHOTS.glob("*"))) or "none"
        raise LabError(f"no snapshot {name!r}; there are: {known}", "bin/lab snapshot NAME")
    containers.thaw_groups()
    network.stop()
    containers.remove_groups()
    for path in KEPT:
        remove_tree(path)
        copy([str(source / path.name)], str(path.parent))

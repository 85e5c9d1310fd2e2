"""The remains of an application that left the topology: the request, its plan, and its steps."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from salina_fleet.change.step import run
from salina_fleet.errors import RunnerError
from salina_fleet.schema.document import show

COMMAND = "salt-run state.orchestrate orch.remove"
KEYS = ("application", "confirm")


@dataclass(frozen=True)
class Found:
    """The remains of an application.

    `databases`: their names on the primary. `bricks`: host -> directories. `copies`: the
    repositories with copies of its files on the backup host. `releases`: how many are recorded.
    """

    databases: tuple[str, ...] = ()
    bricks: Mapping[str, Sequence[str]] | None = None
    copies: tuple[str, ...] = ()
    releases: int = 0

    @property
    def nothing(self) -> bool:
        """Return whether there is nothing."""
        return not (
            self.databases or self.copies or self.releases or any((self.bricks or {}).values())
        )


def parse(request: Mapping[str, Any], known: Collection[str]) -> tuple[str, bool]:
    """Return the application of a request, and whether it is confirmed.

    Args:
        request: some of `KEYS`.
        known: the applications of the topology.

    Raises:
        RunnerError: with every fault.
    """
    faults = [
        f"{key}: is not known; choose among {', '.join(KEYS)}" for key in request if key not in KEYS
    ]
    name, confirm = request.get("application"), request.get("confirm")
    if not isinstance(name, str) or not name.isidentifier():
        faults.append(
            f"application: {show(name)} is not valid; must be the name of an application that has "
            "left pillar/topology.yaml (salt-run fleet.health)"
        )
    elif name in known:
        faults.append(
            f"application: {name} is in pillar/topology.yaml; remove it and its hosts there, and "
            "run salt-run fleet.deploy"
        )
    if confirm is not None and confirm != name:
        faults.append(f"confirm: {show(confirm)} is not the name of the application")
    if faults:
        raise RunnerError("\n".join(faults))
    return str(name), confirm is not None


def plan(application: str, primary: str, backup: str, found: Found, days: int) -> str:
    """Return in words what is deleted, what stays, and the command that does it.

    Args:
        application: the application.
        primary: the primary.
        backup: the backup host, or "".
        found: what there is.
        days: for how long backups are kept.
    """
    lines = [f"{application} has left the topology; all that is left of it would be deleted:"]
    if found.databases:
        lines.append(f"on {primary}: database {', '.join(found.databases)}, and the role")
    lines += [
        f"on {host}: {', '.join(places)}, and its volume"
        for host, places in (found.bricks or {}).items()
        if places
    ]
    if found.copies:
        lines.append(f"on {backup}: the copies of its files, {', '.join(found.copies)}")
    if found.releases:
        lines.append(f"on the master: the records of {found.releases} releases")
    if backup:
        lines.append(
            f"stays: its database in the backups of the cluster, for about {days} days; the "
            f"copies of its files at a second repository, in restic/{application}"
        )
    lines.append(
        f"stays: the secrets app-{application}-… of the master, which open nothing any more"
    )
    asked = json.dumps({"application": application, "confirm": application})
    return "\n".join([*lines, f"next: {COMMAND} pillar='{asked}'"])


def told(application: str, storage: bool, backup: bool) -> dict[str, Any]:
    """Return the removal as salt/orch/change.jinja does it.

    The database is the last: as long as it is there, fleet.health names the application.

    Args:
        application: the application.
        storage: whether the fleet has storage hosts.
        backup: whether it has a backup host.
    """
    own = {"application": application}
    steps = [
        *(
            [run("its volume and its files are deleted", "leftover.files", **own)]
            if storage
            else []
        ),
        *([run("the copies of its files are deleted", "leftover.copies", **own)] if backup else []),
        run("its database is deleted", "leftover.database", **own),
    ]
    return {"what": f"remove what is left of {application}", "steps": steps}

"""An upgrade of an application: the request, what it does in words, and its steps (decision 50)."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from salina.common import file, reading
from salina_fleet.change.step import apply, run
from salina_fleet.errors import RunnerError
from salina_fleet.schema.document import show

COMMAND = "salt-run state.orchestrate orch.upgrade"
FILE = "rehearsals.json"
"""The last rehearsal of each application, in the master's state."""
SHOWN = 12
"""The commits, modules or migrations that a plan names."""
STOPPED, LONGER = 900, 4
"""How long an application may be away before it starts again by itself, should the master die: at
least these seconds, or so many times the seconds of the rehearsal.
"""

ROLLS = """\
then the database itself changes while the application goes on: all of this is declared compatible
then the hosts follow one by one; no database is kept, since the former release works with this one
"""
STOPS = """\
then the application stops; what fails from there on brings the former release back with its data
kept: the former database, as {application}_before_… with the moment, for orch.rollback, until \
`salt-run backup.discard`
"""


@dataclass(frozen=True)
class Plan:
    """The changes of an upgrade.

    `former` and `release`: the releases' names. `differing`: the modules or migrations that are not
    the same in both. `missing`: the modules that are installed. `rolls`: whether the former release
    works with the changed database, so that users notice nothing.
    """

    former: str
    release: str
    differing: tuple[str, ...]
    missing: tuple[str, ...]
    rolls: bool

    @property
    def needed(self) -> bool:
        """Whether the database must change."""
        return bool(self.differing or self.missing)


def parse(request: Mapping[str, Any], applications: Collection[str]) -> tuple[str, bool]:
    """Return the application of a request, and whether it is confirmed.

    Args:
        request: `application`, which may be left out if there is only one; and `confirm`, its name
            once more.
        applications: those of the topology.

    Raises:
        RunnerError: with every fault.
    """
    faults = [
        f"{key}: is not known; choose among application, confirm"
        for key in request
        if key not in ("application", "confirm")
    ]
    only = next(iter(applications)) if len(applications) == 1 else None
    application = request.get("application", only)
    if application not in applications:
        faults.append(
            f"application: {show(application)} is not an application; "
            f"choose one of: {', '.join(applications)}"
        )
    confirm = request.get("confirm")
    if confirm is not None and confirm != application:
        faults.append(f"confirm: {show(confirm)} is not the application's name")
    if faults:
        raise RunnerError("\n".join(faults))
    return str(application), confirm is not None


def words(
    application: str,
    plan: Plan,
    commits: tuple[Sequence[str], str],
    hosts: Sequence[str],
    seconds: float | None,
    backup: bool,
) -> str:
    """Return in words what an upgrade does, and the command that does it.

    Args:
        application: the application's name.
        plan: what changes.
        commits: the commits of the new release, and why these may not be all (history.since).
        hosts: its app hosts.
        seconds: how long the last rehearsal of this release took; None without one.
        backup: whether the fleet has a backup host.
    """
    lines = [f"{application}: from release {plan.former} to release {plan.release}"]
    found, unknown = commits
    lines += [f"  {line}" for line in found[:SHOWN]]
    if found[SHOWN:]:
        lines.append(f"  … and {len(found) - SHOWN} commits more")
    if unknown:
        lines.append(unknown)
    if plan.differing:
        more = len(plan.differing) - SHOWN
        shown = ", ".join(plan.differing[:SHOWN]) + (f" and {more} more" if more > 0 else "")
        lines.append(f"changed: {shown}")
    if plan.missing:
        lines.append(f"installed: {', '.join(plan.missing)}")
    if seconds is None:
        lines.append("not rehearsed yet: orch.rehearse says how long it takes, and changes nothing")
    elif plan.rolls:
        lines.append(f"the rehearsal took {seconds:.0f} s")
    else:
        lines.append(f"the rehearsal took {seconds:.0f} s: about so long nobody can use it")
    saved = "then a backup is made" if backup else "no host makes backups"
    lines += [
        f"first on a copy of the database, while {', '.join(hosts)} serve; {saved}",
        *(ROLLS if plan.rolls else STOPS.format(application=application)).splitlines(),
        f"next: {COMMAND} pillar='{_confirmed(application)}'",
    ]
    return "\n".join(lines)


def unneeded(application: str, release: str, hosts: Sequence[str]) -> str:
    """Return in words that the database need not change, and the command for the hosts.

    Args:
        application: the application's name.
        release: the release that the definition wants.
        hosts: its app hosts that run another release.
    """
    if not hosts:
        return f"{application} and its database have release {release}"
    return (
        f"the database of {application} fits release {release}, and {', '.join(hosts)} "
        f"{'run' if hosts[1:] else 'runs'} another one\n"
        f"next: {COMMAND} pillar='{_confirmed(application)}'"
    )


def _confirmed(application: str) -> str:
    """Return the request for an upgrade as an operator confirms it."""
    return json.dumps({"application": application, "confirm": application})


def rehearsal(application: str, release: str, hosts: Sequence[str]) -> dict[str, Any]:
    """Return the steps of a rehearsal as salt/orch/change.jinja takes them.

    Args:
        application: the application's name.
        release: the name of the release that is tried.
        hosts: its app hosts.
    """
    steps = _rehearsed(application, release, hosts)
    return {"what": f"rehearsal: {application} with release {release}", "steps": steps}


def told(
    application: str, plan: Plan, hosts: Sequence[str], kept: str, backup: bool
) -> dict[str, Any]:
    """Return an upgrade as people read it and as salt/orch/change.jinja does it.

    Args:
        application: the application's name.
        plan: what changes.
        hosts: its app hosts.
        kept: the name that its database gets.
        backup: whether the fleet has a backup host.
    """
    steps = [_ready(hosts)]
    if plan.needed:
        given = {"application": application, "release": plan.release}
        steps = _rehearsed(application, plan.release, hosts)
        if backup:
            steps.append(run("a backup is made", "backup.make"))
        if plan.rolls:
            steps.append(run("the database changes", "upgrade.migrate", **given))
        else:
            steps.append(run("the application changes", "upgrade.change", **given, kept=kept))
    steps += [
        apply("every host follows", hosts),
        run("each host serves", "fleet.probe", hosts=list(hosts), through=True),
    ]
    return {"what": f"upgrade: {application} to release {plan.release}", "steps": steps}


def seconds(path: Path, application: str, release: str) -> float | None:
    """Return how long the last rehearsal of a release took, or None.

    Args:
        path: the file of the rehearsals.
        application: the application's name.
        release: the release's name.
    """
    found = _read(path).get(application, {})
    return float(found["seconds"]) if found.get("release") == release else None


def rehearsed(path: Path, application: str, release: str, took: float) -> None:
    """Record a rehearsal.

    Args:
        path: the file of the rehearsals.
        application: the application's name.
        release: the release's name.
        took: seconds.
    """
    content = {**_read(path), application: {"release": release, "seconds": took}}
    file.put(path, json.dumps(content, indent=2))


def patience(took: float | None) -> int:
    """Return the seconds after which a stopped application starts again by itself.

    Args:
        took: the seconds of the rehearsal.
    """
    return max(STOPPED, int(LONGER * (took or 0)))


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(reading.read(path)))
    except (FileNotFoundError, TypeError, ValueError, RecursionError):
        return {}
    except OSError as error:
        raise RunnerError(f"{path}: the file cannot be read: {error.strerror}") from None


def _ready(hosts: Sequence[str]) -> dict[str, Any]:
    return run("every app host answers", "fleet.ready", hosts=list(hosts))


def _rehearsed(application: str, release: str, hosts: Sequence[str]) -> list[dict[str, Any]]:
    given = {"application": application, "release": release}
    return [
        _ready(hosts),
        run("every host has the release", "upgrade.fetch", **given),
        run("a copy of the database changes", "upgrade.rehearse", **given),
    ]

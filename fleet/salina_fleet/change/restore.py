"""A restore of one application's database: the request, what it does in words, and its steps."""

from __future__ import annotations

import datetime
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from salina.backup.scratch import TEMPORARY, parse_moment, target
from salina_fleet.backup import moment, size
from salina_fleet.errors import RunnerError
from salina_fleet.schema.document import show

LATEST = "latest"
NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
MOMENT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC$")
KEYS = ("application", "time", "name", "kept", "confirm")
COMMAND = "salt-run state.orchestrate orch.restore"


@dataclass(frozen=True)
class Request:
    """A valid request.

    `until` is a moment, or None for the newest state. `name` is the name of a new database; without
    one the copy takes the place of the application's database. `kept` is a database that an earlier
    restore has kept, and that comes back.
    """

    application: str
    until: datetime.datetime | None
    name: str | None
    kept: str | None
    confirmed: bool

    @property
    def in_place(self) -> bool:
        """Whether the application's own database is replaced."""
        return self.name is None


def parse(
    request: Mapping[str, Any],
    applications: Collection[str],
    databases: Mapping[str, str],
    names: Collection[str],
) -> Request:
    """Return a request, checked.

    Args:
        request: some of `KEYS`.
        applications: those of the topology.
        databases: those that earlier restores have made or kept, each with what it is, which begins
            with its application.
        names: those of all databases.

    Raises:
        RunnerError: with every fault.
    """
    faults = [
        f"{key}: is not known; choose among {', '.join(KEYS)}" for key in request if key not in KEYS
    ]
    application, name, kept = (request.get(key) for key in ("application", "name", "kept"))
    if not isinstance(application, str) or application not in applications:
        faults.append(
            f"application: {show(application)} is not an application; "
            f"choose one of: {', '.join(applications)}"
        )
    until = None
    if request.get("time") not in (None, LATEST):
        try:
            until = parse_moment(str(request["time"]))
        except ValueError as error:
            faults.append(str(error))
    if name is not None and (not isinstance(name, str) or not NAME.fullmatch(name)):
        faults.append(
            f"name: {show(name)} is not valid; must be the name of a new database, of lower-case "
            "letters, digits and underscores, beginning with a letter"
        )
    elif name in (*names, *applications, TEMPORARY):
        faults.append(f"name: {show(name)} is the name of a database already; choose another one")
    own = [one for one, about in databases.items() if about.split(" ")[0] == application]
    if kept is not None and kept not in own:
        faults.append(
            f"kept: {show(kept)} is not a database that a restore of this application has made or "
            f"kept; choose one of: {', '.join(own) or '(none)'}"
        )
    faults += [
        f"kept: does not go together with {key}" for key in ("time", "name")
        if kept is not None and request.get(key) is not None
    ]  # fmt: skip
    confirm = request.get("confirm")
    if confirm is not None and confirm != application:
        faults.append(f"confirm: {show(confirm)} is not the application's name")
    if faults:
        raise RunnerError("\n".join(faults))
    return Request(str(application), until, name, kept, confirm is not None)


def source(
    until: datetime.datetime | None, backups: Sequence[Mapping[str, Any]]
) -> Mapping[str, Any]:
    """Return the backup that a restore begins with.

    Args:
        until: the moment; None for the newest state.
        backups: the backups, from old to new.

    Raises:
        RunnerError: there is no backup, or none before the moment, or the moment is yet to come.
    """
    if not backups:
        raise RunnerError("there is no backup\nnext: salt-run backup.status")
    if until is None:
        return backups[-1]
    if until > datetime.datetime.now(datetime.UTC):
        raise RunnerError(f"time: {words(until)} is yet to come; choose an earlier moment")
    before = [one for one in backups if one["end"] < int(until.timestamp())]
    if not before:
        raise RunnerError(
            f"time: {words(until)} is before the end of the first backup; choose a moment since "
            f"{moment(backups[0]['end'] + 1, seconds=True)}"
        )
    return before[-1]


def words(until: datetime.datetime | None) -> str:
    """Return the moment of a restore in words."""
    return "now" if until is None else moment(until.timestamp(), seconds=True)


def previous(application: str, now: datetime.datetime) -> str:
    """Return the name that an application's database gets when another one takes its place."""
    return f"{application[:39]}_before_{now:%Y%m%d_%H%M%S}"


def plan(
    request: Request, label: str, primary: str, room: Mapping[str, Any], hosts: Sequence[str]
) -> str:
    """Return in words what a restore will do, and the command that does it.

    Args:
        request: the request.
        label: the backup that it begins with; "" if a kept database comes back.
        primary: the host on which it happens.
        room: the answer of `salina.backup.scratch.room`.
        hosts: the app hosts that stop meanwhile.
    """
    asked: dict[str, Any] = {"application": request.application}
    lines = []
    if request.kept:
        asked["kept"] = request.kept
        lines.append(f"{request.kept} becomes the database of {request.application} again")
    else:
        lines += [
            f"the database of {request.application} as of {words(request.until)}, from backup "
            f"{label} and the WAL after it",
            f"on {primary} {size(room['needed'])} are needed, and {size(room['free'])} are free",
        ]
    if request.until:
        asked["time"] = request.until.isoformat()
    if request.name:
        asked["name"] = request.name
        lines.append(f"it gets the name {request.name}, and {request.application} goes on")
    else:
        lines += [
            f"{request.application} stops on {', '.join(hosts)} while the databases change places",
            "what users have changed after that moment is then in the kept database only",
            f"kept: the current database, as {request.application}_before_… with the moment, until "
            "`salt-run backup.discard`",
        ]
    lines.append("files that are gone come back; none is removed or replaced")
    asked["confirm"] = request.application
    told = ", ".join(f'"{key}": "{value}"' for key, value in asked.items())
    return "\n".join([*lines, f"next: {COMMAND} pillar='{{{told}}}'"])


def came_back(found: Mapping[str, Any]) -> str:
    """Return the answer of `files_backup.bring_back` in words."""
    words = [f"{found['back']} removed files came back"]
    if found["copy"]:
        words.append(f"{found['copied']} came from the copy of {found['copy']}")
    return ", ".join(words)


def cluster_steps(
    first: str,
    others: Sequence[str],
    apps: Sequence[str],
    applications: Sequence[str],
    until: str,
    backup: float,
) -> dict[str, Any]:
    """Return the restore of the whole cluster as salt/orch/change.jinja does it.

    Args:
        first: the database host that gets the data.
        others: the other database hosts, which copy it from there.
        apps: the app hosts.
        applications: the applications, whose files come back as well.
        until: the moment, or "" for the newest.
        backup: when the backup ended from which the cluster comes, in seconds since the epoch.
    """
    hosts = [first, *others]

    def run(step: str, function: str, **arguments: Any) -> dict[str, Any]:
        return {"name": step, "runner": function, "arguments": arguments}

    steps = [
        run("every database host answers", "fleet.ready", hosts=hosts),
        {"name": "they get their packages", "hosts": hosts, "sls": "prepare"},
        {"name": f"{first} can restore", "hosts": [first], "sls": "pgbackrest.restore"},
        run("the cluster is restored", "backup.make_cluster", host=first, until=until),
        {"name": f"{first} becomes the primary", "hosts": [first]},
        run("it answers", "fleet.ready", hosts=hosts),
    ]
    if others:
        steps.append({"name": "the replicas copy it", "hosts": list(others)})
    # Of the newest state the last changes may be lost, nobody knows how many. So everything comes
    # back that was removed since the backup.
    ended = datetime.datetime.fromtimestamp(backup, datetime.UTC).isoformat()
    for name in applications:
        steps.append(
            run(f"files of {name} come back", "backup.bring_files", application=name, until=until)
        )
        if not until:
            given = {"application": name, "until": ended, "copies": False}
            steps.append(run(f"removed files of {name} come back", "backup.bring_files", **given))
    steps += [
        {"name": "the applications follow", "hosts": list(apps)},  # with the releases that fit
        run("each app host serves", "fleet.probe", hosts=list(apps), timeout=300),
        # the backups before it lead to the lost cluster
        run("a full backup is made", "backup.make", kind="full"),
    ]
    return {"what": "restore: the whole database cluster", "steps": steps}


def since(request: Request, about: str, now: datetime.datetime) -> datetime.datetime:
    """Return the moment whose files a restore needs.

    Args:
        request: the request.
        about: what the kept database is, in words that end with its moment; "" for a copy.
        now: this moment. For the newest state nothing that users remove from now on is missing.
    """
    if request.until:
        return request.until
    found = MOMENT.search(about)
    return parse_moment(found[0]) if found else now


def told(
    request: Request, hosts: Sequence[str], kept: str, about: str, moment: datetime.datetime
) -> dict[str, Any]:
    """Return a restore as people read it and as salt/orch/change.jinja does it.

    Args:
        request: the request.
        hosts: the app hosts of the application.
        kept: the name that the application's database gets.
        about: what the copy is, in words.
        moment: the moment whose files it needs.
    """
    application, needed = request.application, moment.isoformat()

    def run(step: str, function: str, **arguments: Any) -> dict[str, Any]:
        return {"name": step, "runner": function, "arguments": arguments}

    def files(step: str, **arguments: Any) -> dict[str, Any]:
        given = {"application": application, "until": needed, **arguments}
        return run(step, "backup.bring_files", **given)

    steps = []
    if not request.kept:
        until = target(request.until) if request.until else ""
        steps.append(
            run(
                "the database is copied from the backups",
                "backup.copy",
                application=application,
                until=until,
                about=about,
            )
        )
    steps.append(files("files that are gone come back"))
    if request.name:
        steps.append(
            run(f"the copy becomes {request.name}", "backup.rename", database=request.name)
        )
    else:
        steps += [
            run("every app host answers", "fleet.ready", hosts=list(hosts)),
            run(
                "each host has the release of the database",
                "upgrade.prepare",
                application=application,
                database=request.kept or TEMPORARY,
            ),
            run("the application stops", "backup.stop", hosts=list(hosts)),
            files("files removed meanwhile come back", copies=False),
            run(
                "the databases change places",
                "backup.exchange",
                application=application,
                source=request.kept or TEMPORARY,
                kept=kept,
            ),
            run("each host gets its release", "upgrade.switch", application=application),
            {"name": "the application starts", "hosts": list(hosts)},
            run("each host serves", "fleet.probe", hosts=list(hosts), through=True),
        ]
    place = f" as {request.name}" if request.name else ""
    what = request.kept or f"the state of {words(request.until)}"
    return {"what": f"restore: {application} gets {what}{place}", "steps": steps}

"""A restore of applications' databases: the request, what it does in words, and its steps."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from salina.backup.scratch import TEMPORARY, parse_moment, target
from salina_fleet.backup import moment, size
from salina_fleet.change.step import apply, run
from salina_fleet.errors import RunnerError
from salina_fleet.schema.document import show

LATEST = "latest"
ALL = "all"
"""The word for every application but copies for trials. No application has this name."""
LONGEST = 63
"""The most characters of a database's name."""
NAME = re.compile(r"[a-z][a-z0-9_]*")
MOMENT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC$")
KEYS = ("application", "time", "name", "kept", "confirm")
COMMAND = "salt-run state.orchestrate orch.restore"


@dataclass(frozen=True)
class Request:
    """A valid request for one application.

    `until` is a moment, or None for the newest state. `name` is the name of a new database; without
    one the copy takes the place of the application's database. `kept` is a database that an earlier
    restore has kept, and that comes back. `exchanged`: the databases have changed places already.
    """

    application: str
    until: datetime.datetime | None
    name: str | None
    kept: str | None
    confirmed: bool
    exchanged: bool = False

    @property
    def origin(self) -> str:
        """The request as the application's database records it."""
        return self.kept or f"as of {target(self.until) if self.until else LATEST}"

    @property
    def in_place(self) -> bool:
        """Whether the application's own database is replaced."""
        return self.name is None


def parse(
    request: Mapping[str, Any],
    applications: Collection[str],
    every: Sequence[str],
    databases: Mapping[str, str],
    names: Collection[str],
    origins: Mapping[str, str],
) -> list[Request]:
    """Return a request, checked, as one for each application.

    Args:
        request: some of `KEYS`.
        applications: those of the topology.
        every: those that `ALL` stands for.
        databases: those that earlier restores have made or kept, each with what it is, which begins
            with its application.
        names: those of all databases.
        origins: the `origin` of each application's database that a restore has put in its place.

    Raises:
        RunnerError: with every fault.
    """
    faults = [
        f"{key}: is not known; choose among {', '.join(KEYS)}" for key in request if key not in KEYS
    ]
    application, name, kept = (request.get(key) for key in ("application", "name", "kept"))
    known = isinstance(application, str) and application in (ALL, *applications)
    if not known:
        faults.append(
            f"application: {show(application)} is not an application; "
            f"choose one of: {', '.join(applications)}; or {ALL}"
        )
    until = None
    if request.get("time") not in (None, LATEST):
        try:
            until = parse_moment(str(request["time"]))
        except ValueError as error:
            faults.append(str(error))
    chosen = list(every) if application == ALL else [str(application)]
    given = {one: f"{one}_{name}" if application == ALL else str(name) for one in chosen}
    if name is not None and (not isinstance(name, str) or not NAME.fullmatch(name)):
        faults.append(
            f"name: {show(name)} is not valid; must be the name of a new database, of lower-case "
            "letters, digits and underscores, beginning with a letter"
        )
    elif name is not None:
        faults += [
            f"name: {show(one)} is the name of a database already; choose another one"
            for one in given.values()
            if one in (*names, *applications, TEMPORARY)
        ]
        faults += [
            f"name: {show(one)} has {len(one)} characters; must have at most {LONGEST}"
            for one in given.values()
            if len(one) > LONGEST
        ]
    own = [one for one, about in databases.items() if about.split(" ")[0] == application]
    if kept is not None and application == ALL:
        faults.append(f"kept: does not go together with {ALL}")
    elif kept is not None and kept not in own and kept != origins.get(str(application)):
        faults.append(
            f"kept: {show(kept)} is not a database that a restore of this application has made or "
            f"kept; choose one of: {', '.join(own) or '(none)'}"
        )
    faults += [
        f"kept: does not go together with {key}" for key in ("time", "name")
        if kept is not None and request.get(key) is not None
    ]  # fmt: skip
    confirm = request.get("confirm")
    if known and confirm is not None and confirm != application:
        faults.append(f"confirm: {show(confirm)} is not valid; must be {application}")
    if faults:
        raise RunnerError("\n".join(faults))
    confirmed = confirm is not None
    found = [Request(one, until, given[one] if name else None, kept, confirmed) for one in chosen]
    return [
        replace(one, exchanged=one.origin == origins.get(one.application))
        if one.in_place and one.kept not in databases
        else one
        for one in found
    ]


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


def copies(requests: Sequence[Request]) -> list[Request]:
    """Return the requests for which a database is copied from the backups."""
    return [one for one in requests if not (one.kept or one.exchanged)]


def plan(
    requests: Sequence[Request],
    label: str,
    primary: str,
    room: Mapping[str, Any],
    hosts: Mapping[str, Sequence[str]],
) -> str:
    """Return in words what a restore will do, and the command that does it.

    Args:
        requests: the requests, one for each application.
        label: the backup that it begins with; "" if nothing is copied from the backups.
        primary: the host on which it happens.
        room: the answer of `salina.backup.scratch.room`.
        hosts: the app hosts of each application, which stop meanwhile.
    """
    first, copied = requests[0], copies(requests)
    lines = []
    if copied:
        names = ", ".join(one.application for one in copied)
        lines += [
            f"the database{'s' if copied[1:] else ''} of {names} as of {words(first.until)}, from "
            f"backup {label} and the WAL after it",
            f"on {primary} {size(room['needed'])} are needed, and {size(room['free'])} are free",
        ]
    for one in requests:
        lines += _words(one, hosts[one.application])
    if not all(one.exchanged for one in requests):
        lines.append("files that are gone come back; none is removed or replaced")
    asked = _asked(requests)
    return "\n".join([*lines, f"next: {COMMAND} pillar='{json.dumps(asked)}'"])


def _words(request: Request, hosts: Sequence[str]) -> list[str]:
    """Return in words what happens to one application."""
    if request.name:
        return [f"the copy gets the name {request.name}, and {request.application} goes on"]
    if request.exchanged:
        return [
            f"{request.application} got {_state(request)} already: its databases keep their "
            f"places, and {', '.join(hosts)} follow"
        ]
    back = f"{request.kept} becomes the database of {request.application} again"
    return [
        *([back] if request.kept else []),
        f"{request.application} stops on {', '.join(hosts)} while the databases change places",
        "what users have changed after that moment is then in the kept database only",
        f"kept: the current database, as {request.application}_before_… with the moment, until "
        "`salt-run backup.discard`",
    ]


def _asked(requests: Sequence[Request]) -> dict[str, str]:
    """Return the request as an operator confirms it."""
    first, several = requests[0], requests[1:]
    application = ALL if several else first.application
    asked = {"application": application}
    if first.kept:
        asked["kept"] = first.kept
    if first.until:
        asked["time"] = first.until.isoformat()
    if first.name:
        asked["name"] = first.name.removeprefix(f"{first.application}_") if several else first.name
    return asked | {"confirm": application}


def came_back(found: Mapping[str, Any]) -> str:
    """Return the answer of `files_backup.bring_back` in words."""
    words = [f"{found['back']} removed files came back"]
    if found["copy"]:
        words.append(f"{found['copied']} came from the copy of {found['copy']}")
    return ", ".join(words)


def backup(kind: str, second: bool) -> dict[str, Any]:
    """Return a backup that an operator asks for, as salt/orch/change.jinja does it.

    Args:
        kind: full, diff or incr.
        second: whether there is a second repository, which then gets it at once.
    """
    steps = [run("a backup is made", "backup.make", kind=kind)]
    if second:
        steps.append(run("the second repository has it", "backup.mirror"))
    return {"what": "backup", "steps": steps}


def drill(applications: Sequence[str], second: bool) -> dict[str, Any]:
    """Return a restore drill as salt/orch/change.jinja does it.

    Args:
        applications: those that start with their restored databases.
        second: whether there is a second repository. A fault of one repository says nothing about
            the other one, so this step is taken in any case, and stops no other.
    """
    steps = [run("the backup is restored and compared", "backup.drill")]
    if applications:
        name = f"{', '.join(applications)}: a process of its own answers with it"
        steps.append(run(name, "backup.drill_applications", applications=list(applications)))
    if second:
        steps.append({**run("the second repository is compared", "backup.compare"), "apart": True})
    return {"what": "restore drill", "steps": steps}


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

    steps = [
        run("every database host answers", "fleet.ready", hosts=hosts),
        apply("they get their packages", hosts, "prepare"),
        apply(f"{first} can restore", [first], "pgbackrest.restore"),
        run("the cluster is restored", "backup.make_cluster", host=first, until=until),
        apply(f"{first} becomes the primary", [first]),
        run("it answers", "fleet.ready", hosts=hosts),
    ]
    if others:
        steps.append(apply("the replicas copy it", others))
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
    if apps:
        steps += [
            apply("the applications follow", apps),  # with the releases that fit
            run("each app host serves", "fleet.probe", hosts=list(apps), timeout=300),
        ]
    steps += [
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
    requests: Sequence[Request],
    hosts: Mapping[str, Sequence[str]],
    about: Mapping[str, str],
    now: datetime.datetime,
) -> dict[str, Any]:
    """Return a restore as people read it and as salt/orch/change.jinja does it.

    Args:
        requests: the requests, one for each application.
        hosts: the app hosts of each application.
        about: what each database is that an earlier restore has made or kept.
        now: this moment.
    """
    steps = []
    for request in requests:
        found = about.get(request.kept or "", "")
        own = _steps(request, hosts[request.application], found, now)
        if requests[1:]:
            own = [{**one, "name": f"{request.application}: {one['name']}"} for one in own]
        steps += own
    # without a mark the same request would be done again; of several, those that are done as well
    marked = [one.application for one in requests if one.in_place and not one.kept]
    if marked:
        steps.append(run("the restore is complete", "backup.complete", applications=marked))
    return {"what": _what(requests), "steps": steps}


def _what(requests: Sequence[Request]) -> str:
    """Return a restore in a few words."""
    names = ", ".join(one.application for one in requests)
    state = _state(requests[0])
    if all(one.exchanged for one in requests):
        return f"restore: {names} got {state} already"
    verb = "get" if requests[1:] else "gets"
    places = [one.name for one in requests if one.name]
    place = f" as {', '.join(places)}" if places else ""
    return f"restore: {names} {verb} {state}{place}"


def _state(request: Request) -> str:
    """Return in words what an application gets."""
    return request.kept or f"the state of {words(request.until)}"


def _steps(
    request: Request, hosts: Sequence[str], about: str, now: datetime.datetime
) -> list[dict[str, Any]]:
    """Return the steps for one application.

    Args:
        request: the request.
        hosts: the application's hosts.
        about: what the kept database is, in words; "" for a copy.
        now: this moment.
    """
    application, needed = request.application, since(request, about, now).isoformat()
    source = request.kept or TEMPORARY
    answer = run("every app host answers", "fleet.ready", hosts=list(hosts))
    serve = [
        apply("the application starts", hosts),
        run("each host serves", "fleet.probe", hosts=list(hosts), through=True),
    ]
    if request.exchanged:  # users may work already: an apply changes a release that runs in turns
        return [answer, *serve]

    def files(name: str, **arguments: Any) -> dict[str, Any]:
        given = {"application": application, "until": needed, **arguments}
        return run(name, "backup.bring_files", **given)

    steps = []
    if not request.kept:
        given = {
            "application": application,
            "until": target(request.until) if request.until else "",
            "about": f"{application} as of {words(request.until or now)}",
        }
        steps.append(run("the database is copied from the backups", "backup.copy", **given))
    steps.append(files("files that are gone come back"))
    if request.name:
        name = f"the copy becomes {request.name}"
        return [*steps, run(name, "backup.rename", database=request.name)]
    given = {"application": application, "database": source}
    places = {
        "application": application,
        "source": source,
        "kept": previous(application, now),
        "origin": request.origin,
    }
    return [
        *steps,
        answer,
        run("each host has the release of the database", "upgrade.prepare", **given),
        run("the application stops", "backup.stop", hosts=list(hosts)),
        files("files removed meanwhile come back", copies=False),
        run("the databases change places", "backup.exchange", **places),
        run("each host gets its release", "upgrade.switch", application=application),
        *serve,
    ]

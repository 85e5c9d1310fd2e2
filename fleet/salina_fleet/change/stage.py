"""A copy of an application for trials: the request, what it does in words, and its steps."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from salina.backup.scratch import parse_moment, target
from salina_fleet.backup import size
from salina_fleet.change.restore import LATEST, words
from salina_fleet.change.step import apply, run
from salina_fleet.errors import RunnerError
from salina_fleet.model.topology import Application
from salina_fleet.schema.document import show

COMMAND = "salt-run state.orchestrate orch.stage"
KEYS = ("application", "time", "live", "confirm")
PLAIN = (
    "its definition does not say how a copy becomes neutral: only the firewall keeps it from mail "
    "and payments, and the sessions of the original are valid in it"
)


@dataclass(frozen=True)
class Request:
    """A valid request.

    `application` becomes a copy of `original` as of `until`; None stands for now. With `live` the
    running database is copied, and otherwise the backups are restored.
    """

    application: str
    original: str
    until: datetime | None
    live: bool
    confirmed: bool


def parse(request: Mapping[str, Any], copies: Sequence[Application]) -> Request:
    """Return a request, checked.

    Args:
        request: some of `KEYS`.
        copies: the applications that are copies of others.

    Raises:
        RunnerError: with every fault.
    """
    known = {one.name: one for one in copies}
    faults = [
        f"{key}: is not known; choose among {', '.join(KEYS)}" for key in request if key not in KEYS
    ]
    name = request.get("application", next(iter(known)) if len(known) == 1 else None)
    if not isinstance(name, str) or name not in known:
        faults.append(
            f"application: {show(name)} is not a copy of another application; choose one of: "
            f"{', '.join(known) or '(none has copy_of in pillar/topology.yaml)'}"
        )
    until, live = None, request.get("live", False)
    if not isinstance(live, bool):
        faults.append(f"live: {show(live)} is not valid; must be true or false")
    if request.get("time") not in (None, LATEST):
        try:
            until = parse_moment(str(request["time"]))
        except ValueError as error:
            faults.append(str(error))
        if live is True:
            faults.append("time: does not go together with live")
    confirm = request.get("confirm")
    if confirm is not None and confirm != name:
        faults.append(f"confirm: {show(confirm)} is not the name of the copy")
    if faults:
        raise RunnerError("\n".join(faults))
    original = str(known[str(name)].copy_of)
    return Request(str(name), original, until, bool(live), confirm is not None)


def plan(
    request: Request, release: str, hosts: Sequence[str], neutral: str, room: Mapping[str, Any]
) -> str:
    """Return in words what a request will do, and the command that does it.

    Args:
        request: the request.
        release: the release that the copy gets.
        hosts: the app hosts of the copy.
        neutral: what is turned off in the copy, in words.
        room: the answer of `backup.source`; {} if the running database is copied.
    """
    asked: dict[str, Any] = {"application": request.application}
    if request.until:
        asked["time"] = request.until.isoformat()
    if request.live:
        asked["live"] = True
    asked["confirm"] = request.application
    source = "its running database" if request.live else "the backups"
    lines = [
        f"{request.application} becomes a copy of {request.original} as of "
        f"{words(request.until)}, from {source}, with release {release}",
        *_room(room),
        neutral or PLAIN,
        f"lost: all data that {request.application} has now; files stay, and new ones come",
        f"{request.application} stops on {', '.join(hosts)} at the end; {request.original} goes on",
        f"next: {COMMAND} pillar='{json.dumps(asked)}'",
    ]
    return "\n".join(lines)


def _room(room: Mapping[str, Any]) -> list[str]:
    if not room:
        return []
    return [
        f"it begins with backup {room['label']}; on {room['primary']} {size(room['needed'])} are "
        f"needed, and {size(room['free'])} are free"
    ]


def told(request: Request, release: str, hosts: Sequence[str], now: datetime) -> dict[str, Any]:
    """Return a request as people read it and as salt/orch/change.jinja does it.

    Args:
        request: the request.
        release: the release that the copy gets.
        hosts: the app hosts of the copy.
        now: this moment.
    """
    own = {"application": request.application}
    both = {**own, "original": request.original}
    since = (request.until or now).isoformat()
    files = {"application": request.original, "target": request.application}
    until = target(request.until) if request.until else ""
    about = f"{request.application} from {request.original} as of {words(request.until or now)}"
    copied = {**both, "until": until, "live": request.live, "about": about}
    steps = [
        run("every app host answers", "fleet.ready", hosts=list(hosts)),
        run("every host has the release", "upgrade.fetch", **own, release=release),
        run("the database is copied", "stage.copy", **copied),
        # after the database, so that no file is missing that it names
        run("users' files are copied", "backup.copy_files"),
        run("the files come", "backup.bring_files", **files, until=since),
    ]
    if not request.until:  # copying the database may have taken long
        newest = {**files, "until": ""}
        steps.append(run("those of the newest copy come", "backup.bring_files", **newest))
    steps += [
        run("the copy gets its release", "stage.change", **own, release=release),
        run("the application stops", "backup.stop", hosts=list(hosts)),
        run("the copy takes its place", "stage.exchange", **own),
        run("each host gets its release", "upgrade.switch", **own),
        apply("the application starts", hosts),
        run("each host serves", "fleet.probe", hosts=list(hosts), through=True),
        run("the former database is deleted", "stage.clean", **own),
    ]
    what = f"stage: {request.application} from {request.original} as of {words(request.until)}"
    return {"what": what, "steps": steps}

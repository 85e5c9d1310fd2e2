"""Releases of the applications: who builds one, its digest, and what runs where.

Minions call `build` and `built` through `peer_run` (master.d/20-security.conf). Both only read and
write a file, because a worker of the master waits for their answer.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from salt.exceptions import CommandExecutionError

from salina_fleet import minions, runner
from salina_fleet.change import releases
from salina_fleet.errors import RunnerError
from salina_fleet.model import release
from salina_fleet.schema.faults import not_among

__opts__: dict[str, Any]

DIGEST = re.compile(r"[0-9a-f]{64}")
ANSWER = 10
"""Seconds to wait for the app hosts."""


def build(name: str) -> dict[str, str]:
    """Let the calling minion build its application's release, unless that exists already.

    Salt has authenticated the minion's id. A minion also gets the digests of former releases,
    since the database may belong to one of these, but it builds none of them.

    Args:
        name: the release's name.

    Returns:
        `digest`: the SHA-256 of the release's archive if the release exists, otherwise "". `host`,
        only with a digest: the host that has built it. `obstacle`: why the minion must not build
        it, or "". Salt passes a runner's result to the minion, but not the exception that it
        raises.

    CLI Example:
        salt s1 release.obtain
    """
    try:
        file, host, application, wanted = _caller()
        with releases.changing(file) as found:
            own = found.get(application, {})
            if name != wanted and (former := own.get(name)) and former.digest:
                return {"digest": former.digest, "host": former.host, "obstacle": ""}
            _current(name, application, wanted)
            own, digest, refused = releases.build(own, name, host, time.time())
            found[application] = own
        built = {"host": own[name].host} if digest else {}
        return {"digest": digest, **built, "obstacle": refused}
    except (CommandExecutionError, OSError, ValueError) as error:
        return {"digest": "", "obstacle": str(error)}


def built(name: str, digest: str) -> dict[str, str]:
    """Record the release that the calling minion has built, unless another one was faster.

    Args:
        name: the release's name.
        digest: the SHA-256 of its archive.

    Returns:
        `digest`: the one that counts, which may be another host's. `obstacle`: why nothing was
        recorded, or "".

    CLI Example:
        salt s1 release.obtain
    """
    try:
        file, host, application, wanted = _caller()
        if not DIGEST.fullmatch(str(digest)):
            raise RunnerError(f"{digest} is not a SHA-256")
        with releases.changing(file) as found:
            own = found.get(application, {})
            if name != wanted and (former := own.get(name)) and former.digest:
                return {"digest": former.digest, "obstacle": ""}
            _current(name, application, wanted)
            found[application], counts, refused = releases.finish(
                own, name, host, digest, time.time()
            )
        return {"digest": counts, "obstacle": refused}
    except (CommandExecutionError, OSError, ValueError) as error:
        return {"digest": "", "obstacle": str(error)}


def revisions() -> dict[str, Any]:
    """Show which release of each application is wanted, and which one every app host runs.

    Returns:
        For each application: `revision` as its definition names it, `commit`, `repositories` (the
        same two of each further repository), `wanted` (the name of the release), `built` (the host
        that has built it, "" before that) and `hosts`. For each of these `runs`, `since` when in
        UTC, `waits`, the release that waits for orch.upgrade, and `kept`, the other releases on the
        host; or the reason why it is not known.

    Raises:
        RunnerError: a file of the repository or of the state has a fault.

    CLI Example:
        salt-run application.revisions
    """
    site = runner.site(__opts__)
    file = site.state / releases.FILE
    recorded = releases.read(file)
    data, shown = site.data, {}
    for name, application in site.fleet.topology.applications.items():
        chosen, commits = application.definition, release.commits(data, name)
        found = {
            label.partition("/")[2]: {"revision": one["revision"], "commit": commits[label]}
            for label, one in release.sources(chosen, site.definitions[chosen]).items()
        }
        hosts = runner.serving(site, name)
        answers = minions.answers(__opts__, hosts, "release.status", [], ANSWER, ANSWER)
        wanted = release.wanted(data, name)
        built = recorded.get(name, {}).get(wanted)
        shown[name] = {
            **found.pop(""),
            "repositories": found,
            "wanted": wanted,
            "built": built.host if built and built.digest else "",
            "hosts": {host: _status(answers.get(host)) for host in hosts},
        }
    return shown


def forget(application: str, name: str) -> str:
    """Forget the digest of a release, so that the next apply builds it again.

    This helps if its archive is nowhere any more, or if a host that built it cannot be trusted. The
    next host that does not have the release builds it. A host that has it keeps its own until the
    file NAME.json beside it is deleted.

    Args:
        application: the application's name.
        name: the release's name.

    Returns:
        A sentence that says so.

    Raises:
        RunnerError: there is no such application or no such release.

    CLI Example:
        salt-run application.forget crm c0ffee000000-0123abcd
    """
    site = runner.site(__opts__)
    with releases.changing(site.state / releases.FILE) as found:
        if application not in site.fleet.topology.applications:
            known = list(site.fleet.topology.applications)
            raise RunnerError(f"application: {not_among(application, known, 'an application')}")
        own = found.get(application, {})
        if name not in own:
            raise RunnerError(f"name: {not_among(name, list(own), 'a release')}")
        del own[name]
    return f"{application}: the digest of release {name} is forgotten"


def _status(answer: Mapping[str, Any] | None) -> Any:
    """Return what a host says about its releases, or why it does not."""
    if answer is None:
        return "it did not answer"
    return answer["ret"]


def _caller() -> tuple[Path, str, str, str]:
    """Return the file of the releases, the calling minion, its application, and its release.

    Raises:
        RunnerError: the minion is not an app host.
    """
    site, host = runner.site(__opts__), __opts__["id"]
    found = site.fleet.hosts.get(host)
    if found is None or not found.application:
        raise RunnerError(f"{host} is not a host of the fleet that serves an application")
    application = site.fleet.topology.served_by(found).name
    return site.state / releases.FILE, host, application, release.wanted(site.data, application)


def _current(name: str, application: str, wanted: str) -> None:
    """Refuse a release that is not the one that the definition wants."""
    if name != wanted:
        raise RunnerError(f"{name} is not the release of {application} any more, which is {wanted}")

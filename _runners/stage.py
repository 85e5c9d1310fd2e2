"""Let an application become a copy of another one, for trials: the steps of orch.stage.

The copy has hosts, a database, a domain and files of its own (`copy_of` in pillar/topology.yaml).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from salina.application import copy as names
from salina_fleet import minions, runner
from salina_fleet.change import follow, restore
from salina_fleet.change import stage as steps
from salina_fleet.errors import RunnerError
from salina_fleet.kinds import KINDS
from salina_fleet.model import release

__opts__: dict[str, Any]
__salt__: dict[str, Callable[..., Any]]

FORMER = "{} before orch.stage"
"""The comment of the database that a copy has replaced."""
LONGEST = 4 * 3600
"""Seconds for each command that changes the copy."""


def begin(**request: Any) -> dict[str, Any]:
    """Return the steps of orch.stage, which makes a copy for trials, and exclude other changes.

    Args:
        request: `application`, the copy; `time`, a moment (UTC unless it has an offset), by default
            now; `live`, whether the running database is copied instead of the backups; and
            `confirm`, the name of the copy once more.

    Returns:
        `what`, the change in words, and the `steps`.

    Raises:
        RunnerError: the request is invalid, the fleet has no backup host or no storage hosts,
            another change is running, or `confirm` is missing; then the message is the plan.

    CLI Example:
        salt-run stage.begin application=crm_staging
    """
    site = runner.site(__opts__)
    wanted = steps.parse(runner.plain(request), site.fleet.topology.copies)
    for role in ("backup", "storage"):
        if not site.fleet.having(role):
            raise RunnerError(
                f"no host has the role {role}, and the files of a copy come from the backups to a "
                "volume; give it to one in pillar/topology.yaml"
            )
    runner.resolved(site, [wanted.application])
    hosts = runner.serving(site, wanted.application)
    own, room = release.wanted(site.data, wanted.application), dict[str, Any]()
    if not wanted.live:
        moment = wanted.until.isoformat() if wanted.until else ""
        room = __salt__["backup.source"](wanted.original, moment)
    if not wanted.confirmed:
        chosen = site.definitions[site.fleet.topology.applications[wanted.application].definition]
        neutral = KINDS[chosen["kind"]].neutral(chosen)
        raise RunnerError(steps.plan(wanted, own, hosts, neutral, room))
    told = steps.told(wanted, own, hosts, datetime.now(UTC))
    runner.exclude(site, told["what"])
    return told


def copy(application: str, original: str, until: str, live: bool, about: str) -> str:
    """Copy an application's database for another application: a step of orch.stage.

    Args:
        application: the copy, to whose role the database belongs.
        original: the application whose database is copied. It goes on.
        until: the moment, as PostgreSQL writes it, or "" for now.
        live: whether the running database is copied instead of the backups.
        about: what the copy is, in words.

    Returns:
        The name of the database.

    Raises:
        RunnerError: no primary answers, or the copy failed. The running databases are as before.

    CLI Example:
        salt-run stage.copy crm_staging crm '' True 'crm_staging from crm as of now'
    """
    if live:
        found = runner.on_primary(__opts__, "database_branch.make", application, True, original)
    else:
        found = __salt__["backup.branch"](application, original, until, about)
    with _removed(application):
        _on_host(application, "upgrade.neutralise")
    return str(found)


def change(application: str, release: str) -> str:
    """Bring a copy to the release of its application, and ask for pages: a step of orch.stage.

    Args:
        application: the copy.
        release: the release's name.

    Returns:
        What was done, in a sentence.

    Raises:
        RunnerError: the host does not answer, the modules or migrations fail, or a page does not
            answer. The application goes on with its former data.

    CLI Example:
        salt-run stage.change crm_staging c0ffee000000-0123abcd
    """
    with _removed(application):
        done = _on_host(application, "upgrade.run", True, LONGEST)
        pages = _on_host(application, "upgrade.check", release)
    return f"release {release}: {', '.join(done)}; it answers {', '.join(pages)}"


def exchange(application: str) -> str:
    """Let a copy take the place of an application's database: a step of orch.stage.

    Args:
        application: the copy.

    Returns:
        The name of the former database, which the last step deletes.

    Raises:
        RunnerError: the application runs, a host does not answer, or PostgreSQL refused.

    CLI Example:
        salt-run stage.exchange crm_staging
    """
    __salt__["backup.stays_stopped"](application)
    former = restore.previous(application, datetime.now(UTC))
    given = (application, names.name(application), former, FORMER.format(application))
    return str(runner.on_primary(__opts__, "database_copy.exchange", *given))


def clean(application: str) -> list[str]:
    """Delete the databases that copies have replaced: the last step of orch.stage.

    Args:
        application: the copy.

    Returns:
        Their names; one that an interrupted orch.stage has left is among them.

    Raises:
        RunnerError: no primary answers, or PostgreSQL refused.

    CLI Example:
        salt-run stage.clean crm_staging
    """
    about = FORMER.format(application)
    former = [
        one["name"]
        for one in runner.on_primary(__opts__, "database_copy.kept")
        if one["about"] == about
    ]
    for name in former:
        runner.on_primary(__opts__, "database_copy.discard", name)
    return former


@contextlib.contextmanager
def _removed(application: str) -> Iterator[None]:
    """Remove the copy if the block fails: it has real data, and is perhaps not neutral."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(RunnerError):  # the next copy takes its place
            runner.on_primary(__opts__, "database_branch.remove", application)
        raise


def _on_host(application: str, function: str, *arguments: Any) -> Any:
    """Call a function on the first host of the copy."""
    host = runner.serving(runner.site(__opts__), application)[0]
    follow.note([host], f"runs {function}")
    return minions.work(__opts__, host, function, *arguments)

"""Let an application become a copy of another one, for trials: the steps of orch.stage.

The copy has hosts, a database, a domain and files of its own (`copy_of` in pillar/topology.yaml).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
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

WORK, BUSY = 60, 45
"""Seconds after which the master asks whether a host is still at its work, and for the answer."""
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
    hosts = [host.id for host in site.fleet.serving(wanted.application)]
    own = release.wanted(site.data, wanted.application)
    if not wanted.confirmed:
        chosen = site.definitions[site.fleet.topology.applications[wanted.application].definition]
        neutral = KINDS[chosen["kind"]].neutral(chosen)
        raise RunnerError(steps.plan(wanted, own, hosts, neutral))
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
        return str(_on_primary("database_branch.make", application, True, original))
    _on_primary("database_copy.make", original, until, about, application)
    _on_primary("database_branch.remove", application)
    return str(_on_primary("database_copy.rename", names.name(application), application))


def change(application: str, release: str) -> str:
    """Neutralise a copy, bring it to the release of its application, and ask for pages: a step.

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
    site = runner.site(__opts__)
    host = site.fleet.serving(application)[0].id
    follow.note([host], "neutralises the copy, and brings it to its release")
    try:
        done = minions.call(__opts__, host, "upgrade.run", [True, LONGEST], WORK, BUSY)
        pages = minions.call(__opts__, host, "upgrade.check", [release], WORK, BUSY)
    except BaseException:
        with contextlib.suppress(RunnerError):  # the next copy takes its place
            _on_primary("database_branch.remove", application)
        raise
    return f"release {release}: {', '.join(done)}; it answers {', '.join(pages)}"


def exchange(application: str) -> str:
    """Let a copy take the place of an application's database, which is deleted: a step.

    Args:
        application: the copy.

    Returns:
        What was done, in a sentence.

    Raises:
        RunnerError: no primary answers, or PostgreSQL refused.

    CLI Example:
        salt-run stage.exchange crm_staging
    """
    former = restore.previous(application, datetime.now(UTC))
    given = (application, names.name(application), former, f"{application} before orch.stage")
    _on_primary("database_copy.exchange", *given)
    _on_primary("database_copy.discard", former)
    return f"the former database of {application} is deleted"


def _on_primary(function: str, *arguments: Any) -> Any:
    primary = runner.primary(__opts__, runner.site(__opts__))
    follow.note([primary], f"runs {function}")
    return minions.call(__opts__, primary, function, list(arguments), WORK, BUSY)

"""Delete what an application that left the topology has left behind: the steps of orch.remove."""

from __future__ import annotations

from typing import Any

from salina_fleet import minions, runner
from salina_fleet.change import follow, releases
from salina_fleet.change import leftover as steps
from salina_fleet.errors import RunnerError
from salina_fleet.model.backup import BackupSettings
from salina_fleet.roles.storage import StorageSettings
from salina_fleet.site import Site

__opts__: dict[str, Any]

ROLES = ("database", "storage", "backup")
"""The roles whose hosts have data of applications that no longer exist."""


def begin(**request: Any) -> dict[str, Any]:
    """Return the steps of orch.remove, and exclude other changes.

    Args:
        request: `application`, the name that it had, and `confirm`, the same once more.

    Returns:
        `what`, the removal in words, and the `steps`.

    Raises:
        RunnerError: the request is invalid, the topology has the application, nothing is left of
            it, a host does not answer, another change is running, or `confirm` is missing; then the
            message is the plan.

    CLI Example:
        salt-run leftover.begin application=crm_staging
    """
    site = runner.site(__opts__)
    known = site.fleet.topology.applications
    application, confirmed = steps.parse(runner.plain(request), known)
    primary, found = runner.primary(__opts__, site), _found(site, application)
    if found.nothing:
        raise RunnerError(f"{application}: nothing is left of an application with this name")
    backup = runner.having(site, "backup")
    if not confirmed:
        days = site.fleet.settings[BackupSettings].keep_days
        raise RunnerError(steps.plan(application, primary, "".join(backup[:1]), found, days))
    told = steps.told(application, bool(runner.having(site, "storage")), bool(backup))
    runner.exclude(site, told["what"])
    return told


def files(application: str) -> list[str]:
    """Delete the volume of an application and its bricks on every storage host: a step.

    Args:
        application: the application's name.

    Returns:
        The bricks, with their hosts.

    Raises:
        RunnerError: the topology has the application, a host does not answer, or gluster refused.

    CLI Example:
        salt-run leftover.files crm_staging
    """
    site = _site(application)
    hosts, base = runner.having(site, "storage"), site.fleet.settings[StorageSettings].brick
    for host in hosts:  # a host whose brick was replaced finds nothing
        follow.note([host], "deletes the volume")
        minions.work(__opts__, host, "leftover.delete_volumes", application, base)
    gone = []
    for host in hosts:
        follow.note([host], "deletes the files")
        found = minions.work(__opts__, host, "leftover.delete_bricks", application, base)
        gone += [f"{host}:{one}" for one in found]
    return gone


def copies(application: str) -> list[str]:
    """Delete the copies of an application's files on the backup host: a step.

    Args:
        application: the application's name.

    Returns:
        The directories.

    Raises:
        RunnerError: the topology has the application, or the backup host does not answer.

    CLI Example:
        salt-run leftover.copies crm_staging
    """
    [host] = runner.having(_site(application), "backup")
    follow.note([host], "deletes the copies")
    return list(minions.work(__opts__, host, "leftover.delete_copies", application))


def database(application: str) -> list[str]:
    """Delete the databases of an application, its role, and the records of its releases: a step.

    Args:
        application: the application's name.

    Returns:
        The databases.

    Raises:
        RunnerError: the topology has the application, no primary answers, or PostgreSQL refused.

    CLI Example:
        salt-run leftover.database crm_staging
    """
    site = _site(application)
    with releases.changing(site.state / releases.FILE) as recorded:
        recorded.pop(application, None)
    return list(runner.on_primary(__opts__, "leftover.drop", application))


def _site(application: str) -> Site:
    """Return the site, in which the application must not exist."""
    site = runner.site(__opts__)
    steps.parse({"application": application}, site.fleet.topology.applications)
    return site


def _found(site: Site, application: str) -> steps.Found:
    """Return what is left of an application, from hosts that have read their pillars again."""
    hosts = [host for role in ROLES for host in runner.having(site, role)]
    minions.ask(__opts__, list(dict.fromkeys(hosts)), "saltutil.refresh_pillar", [True])
    base = site.fleet.settings[StorageSettings].brick
    bricks = {
        host: minions.work(__opts__, host, "leftover.bricks", application, base)
        for host in runner.having(site, "storage")
    }
    copied: list[str] = []
    for host in runner.having(site, "backup"):
        copied += minions.work(__opts__, host, "leftover.copies", application)
    databases = runner.on_primary(__opts__, "leftover.databases", application)
    recorded = releases.read(site.state / releases.FILE).get(application, {})
    return steps.Found(tuple(databases), bricks, tuple(copied), len(recorded))

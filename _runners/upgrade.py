"""Bring an application to another release, with its database: the steps of orch.upgrade.

`begin` plans, `rehearse` tries the release with a copy of the database, and `change` lets code and
database change together. An operator uses orch.upgrade, orch.rehearse and orch.rollback.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from salina.application import copy
from salina.common import wait
from salina_fleet import minions, runner
from salina_fleet.backup import moment
from salina_fleet.change import follow, restore
from salina_fleet.change import upgrade as steps
from salina_fleet.errors import RunnerError
from salina_fleet.model import release
from salina_fleet.site import Site

__opts__: dict[str, Any]
__salt__: dict[str, Callable[..., Any]]

FAILOVER = 120
"""Seconds in which the database hosts name a primary again."""
WORK = 60
"""Seconds after which the master asks for the first time whether a host is still at its work."""


def begin(**request: Any) -> dict[str, Any]:
    """Return the steps of an upgrade, and exclude other changes. orch.upgrade takes them.

    Args:
        request: `application`, and `confirm`, its name once more.

    Returns:
        `what`, the upgrade in words, and the `steps`.

    Raises:
        RunnerError: the request is invalid, a host does not answer, the release cannot be built,
            another change is running, or `confirm` is missing; then the message is the plan.

    CLI Example:
        salt-run upgrade.begin application=crm
    """
    site, application, confirmed = _asked(request)
    hosts = _hosts(site, application)
    plan = _plan(site, application)
    backup = bool(site.fleet.having("backup"))
    if not confirmed and plan.needed:
        took = steps.seconds(site.state / steps.FILE, application, plan.release)
        raise RunnerError(steps.words(application, plan, hosts, took, backup))
    if not confirmed:
        return {"what": f"{application} and its database have release {plan.release}", "steps": []}
    kept = restore.previous(application, datetime.now(UTC))
    told = steps.told(application, plan, hosts, kept, backup)
    runner.exclude(site, told["what"])
    return told


def rehearsal(**request: Any) -> dict[str, Any]:
    """Return the steps of a rehearsal, and exclude other changes. orch.rehearse takes them.

    Args:
        request: `application`.

    Returns:
        `what`, the rehearsal in words, and the `steps`.

    Raises:
        RunnerError: the request is invalid, or another change is running.

    CLI Example:
        salt-run upgrade.rehearsal application=crm
    """
    site, application, _ = _asked(request)
    told = steps.rehearsal(application, _hosts(site, application))
    runner.exclude(site, told["what"])
    return told


def rollback(**request: Any) -> dict[str, Any]:
    """Return the steps that undo the last upgrade of an application. orch.rollback takes them.

    It is a restore of the database that the upgrade has kept; the hosts then run its release.

    Args:
        request: `application`, and `confirm`, its name once more.

    Returns:
        `what`, the restore in words, and the `steps`.

    Raises:
        RunnerError: the request is invalid, no upgrade has kept a database, or `confirm` is
            missing; then the message is the plan, with what would be lost.

    CLI Example:
        salt-run upgrade.rollback application=crm
    """
    site, application, confirmed = _asked(request)
    found = minions.call(__opts__, runner.primary(__opts__, site), "database_copy.kept", [], WORK)
    start = f"{application} before release "
    kept = sorted(one["name"] for one in found if str(one["about"]).startswith(start))
    if not kept:
        raise RunnerError(
            f"{application}: no upgrade has kept a database, or it was discarded\n"
            "next: salt-run backup.kept, or orch.restore with a moment before the upgrade"
        )
    if not confirmed:
        about = next(one["about"] for one in found if one["name"] == kept[-1])
        asked = f'{{"application": "{application}", "confirm": "{application}"}}'
        raise RunnerError(
            f"{kept[-1]} becomes the database of {application} again ({about}), and its hosts run "
            "the former release\n"
            "lost: what users have changed since then; it stays in a kept database only\n"
            f"next: salt-run state.orchestrate orch.rollback pillar='{asked}'"
        )
    return dict(
        __salt__["backup.restore"](application=application, kept=kept[-1], confirm=application)
    )


def fetch(application: str) -> list[str]:
    """Let every host of an application have its release: a step of orch.upgrade.

    Args:
        application: the application's name.

    Returns:
        The hosts.

    Raises:
        RunnerError: a host does not answer, or the release cannot be built or unpacked.

    CLI Example:
        salt-run upgrade.fetch crm
    """
    site = runner.site(__opts__)
    hosts = _hosts(site, application)
    _refresh(hosts)
    for host in hosts:
        follow.note([host], "gets the release")
        _call(host, "upgrade.fetch")
    return hosts


def rehearse(application: str) -> str:
    """Try the release with a copy of the database, in which nothing reaches the world outside.

    Users notice nothing. It is a step of orch.upgrade and of orch.rehearse.

    Args:
        application: the application's name.

    Returns:
        What was done, in a sentence.

    Raises:
        RunnerError: a host does not answer, the copy cannot be made, the modules or migrations
            fail, or a page does not answer.

    CLI Example:
        salt-run upgrade.rehearse crm
    """
    site = runner.site(__opts__)
    host = _hosts(site, application)[0]
    wanted = release.wanted(site.data, application)
    _on_primary("database_branch.make", [application, True])
    begun = time.monotonic()
    try:
        done, pages = _tried(host, neutral=True)
    except BaseException:
        with contextlib.suppress(RunnerError):  # the next copy takes its place
            _on_primary("database_branch.remove", [application])
        raise
    took = time.monotonic() - begun
    _on_primary("database_branch.remove", [application])
    steps.rehearsed(site.state / steps.FILE, application, wanted, took)
    return f"release {wanted} in {took:.0f} s: {', '.join(done)}; it answers {', '.join(pages)}"


def change(application: str, kept: str) -> str:
    """Let code and database of an application change together: a step of orch.upgrade.

    The application stops, and a copy of its database changes. Then the two databases change places,
    and the first host serves with the new release. If anything fails before that, the former
    release serves again with its own database.

    Args:
        application: the application's name.
        kept: the name that its database gets.

    Returns:
        What was done, in a sentence.

    Raises:
        RunnerError: with the reason, and whether the former release serves again.

    CLI Example:
        salt-run upgrade.change crm crm_before_20261130_120000
    """
    site = runner.site(__opts__)
    hosts = _hosts(site, application)
    plan = _plan(site, application)
    took = steps.seconds(site.state / steps.FILE, application, plan.release)
    exchanged, begun = False, time.monotonic()
    try:
        follow.note(hosts, "stops its application")
        minions.ask(__opts__, hosts, "application.stop", [steps.patience(took)])
        since = minions.ask(__opts__, hosts, "application.stopped")
        _on_primary("database_branch.make", [application, False])
        done, _ = _tried(hosts[0], neutral=False)
        for host in hosts:
            minions.call(__opts__, host, "application.hold", [since[host]], WORK)
        until = moment(time.time(), seconds=True)
        about = f"{application} before release {plan.release}, until {until}"
        exchanged = True
        given = [application, copy.name(application), kept, about]
        _on_primary("database_copy.exchange", given)
        for host in hosts:
            minions.call(__opts__, host, "upgrade.switch", [plan.release], WORK)
        follow.note([hosts[0]], "serves with the new release")
        minions.call(__opts__, hosts[0], "upgrade.serve", [], WORK)
    except BaseException as error:
        said = _back(hosts, application, plan.former, kept if exchanged else "")
        raise RunnerError(f"{error or type(error).__name__}\n{said}") from error
    faults = []
    for host in hosts[1:]:
        try:
            minions.call(__opts__, host, "application.start", [], WORK)
        except RunnerError as error:
            faults.append(str(error))
    if faults:
        raise RunnerError(
            "\n".join([f"release {plan.release} serves, but not on every host", *faults])
            + "\nnext: the same command again, or orch.rollback"
        )
    gone = time.monotonic() - begun
    return f"release {plan.release}: {', '.join(done)}; nobody could use it for {gone:.0f} s"


def _tried(host: str, neutral: bool) -> tuple[list[str], list[str]]:
    """Bring the copy to the release on a host, and ask for pages; return what was done."""
    follow.note([host], "brings the copy to the new release")
    done = minions.call(__opts__, host, "upgrade.run", [neutral], WORK)
    follow.note([host], "asks for pages of the new release")
    return list(done), list(minions.call(__opts__, host, "upgrade.check", [], WORK))


def _back(hosts: Sequence[str], application: str, former: str, kept: str) -> str:
    """Let the former release serve with its own database, and return in words what happened.

    Args:
        hosts: the app hosts.
        application: the application's name.
        former: the former release.
        kept: the name that the former database has if they changed places, or "".
    """
    faults: list[str] = []

    def tried(step: Callable[[], Any]) -> bool:
        try:
            step()
        except RunnerError as error:
            faults.append(str(error))
            return False
        return True

    def everywhere(function: str, *arguments: Any) -> None:
        for host in hosts:
            tried(functools.partial(_call, host, function, *arguments))

    if kept:
        everywhere("application.halt")
        if tried(lambda: _returned(application, kept)):
            everywhere("upgrade.switch", former)
            everywhere("application.start")
    else:
        everywhere("application.start")
    tried(lambda: _on_primary("database_branch.remove", [application]))
    if not faults:
        return f"the former release {former} serves again, with its own data"
    faults.append("next: salt-run fleet.health; then the same command again")
    return "\n".join(faults)


def _returned(application: str, kept: str) -> None:
    """Give an application its former database again, if it had changed places already."""
    names = _on_primary("database_copy.names", [])
    if kept in names:
        given = [application, kept, copy.name(application), f"{application}: a failed upgrade"]
        _on_primary("database_copy.exchange", given)


def _call(host: str, function: str, *arguments: Any) -> Any:
    return minions.call(__opts__, host, function, list(arguments), WORK)


def _on_primary(function: str, arguments: list[Any]) -> Any:
    """Call a function on the primary, whichever host that is now; a failover may be under way."""
    said: list[RunnerError] = []

    def named() -> str | None:
        try:
            return runner.primary(__opts__, runner.site(__opts__))
        except RunnerError as error:
            said.append(error)
            return None

    primary = wait.until(named, FAILOVER)
    if not primary:
        raise said[-1]
    follow.note([primary], f"runs {function}")
    return _call(primary, function, *arguments)


def _plan(site: Site, application: str) -> steps.Plan:
    """Return what an upgrade changes, as the first host finds it."""
    hosts = _hosts(site, application)
    _refresh(hosts)
    _call(hosts[0], "upgrade.fetch")
    found = _call(hosts[0], "upgrade.plan")
    wanted = release.wanted(site.data, application)
    if found["release"] != wanted:
        raise RunnerError(f"{hosts[0]} wants release {found['release']}, and the master {wanted}")
    if not found["former"]:
        raise RunnerError(
            f"{hosts[0]} runs a checkout from before there were releases; name its commit as "
            "`revision` in the definition, apply, and upgrade then"
        )
    differing, missing = tuple(found["differing"]), tuple(found["missing"])
    return steps.Plan(found["former"], wanted, differing, missing)


def _refresh(hosts: Sequence[str]) -> None:
    """Let hosts read their pillars again: an apply reads its own, and leaves the minion's alone."""
    minions.ask(__opts__, hosts, "saltutil.refresh_pillar", [True])


def _hosts(site: Site, application: str) -> list[str]:
    """Return the app hosts of an application."""
    return [host.id for host in site.fleet.serving(application)]


def _asked(request: dict[str, Any]) -> tuple[Site, str, bool]:
    """Return the site, the application of a request, and whether it is confirmed."""
    site = runner.site(__opts__)
    given = runner.plain(request)
    return site, *steps.parse(given, site.fleet.topology.applications)

"""Bring an application to another release, with its database: the steps of orch.upgrade.

`begin` plans, `rehearse` tries the release with a copy of the database, and `change` lets code and
database change together; `migrate` takes its place if the former release works with the changed
database. An operator uses orch.upgrade, orch.rehearse and orch.rollback.
"""

from __future__ import annotations

import contextlib
import json
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from salina.application import copy
from salina_fleet import minions, runner
from salina_fleet.backup import moment
from salina_fleet.change import follow, restore
from salina_fleet.change import upgrade as steps
from salina_fleet.errors import RunnerError
from salina_fleet.history import since
from salina_fleet.model import release
from salina_fleet.site import Site

__opts__: dict[str, Any]
__salt__: dict[str, Callable[..., Any]]

FAILOVER = 400
"""Seconds in which there is a primary again, and for some attempts to find it: a database host that
has just died costs each of them two minutes.
"""
REHEARSAL = 4 * 3600
"""Seconds for each command of a rehearsal."""
APPLYING = 900
"""Seconds to wait for hosts that apply their states."""
REFUSED = "is running as PID"
"""Words of a minion that refuses an apply, because another one has begun."""


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
    hosts = runner.serving(site, application)
    _synchronise(hosts)
    plan = _plan(site, application)
    backup = bool(site.fleet.having("backup"))
    if not confirmed and plan.needed:
        took = steps.seconds(site.state / steps.FILE, application, plan.release)
        commits = _commits(site, application, plan.former)
        raise RunnerError(steps.words(application, plan, commits, hosts, took, backup))
    if not confirmed:
        runs = minions.ask(__opts__, hosts, "release.active")
        others = [host for host in hosts if runs[host] != plan.release]
        return {"what": steps.unneeded(application, plan.release, others), "steps": []}
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
    wanted = release.wanted(site.data, application)
    told = steps.rehearsal(application, wanted, runner.serving(site, application))
    runner.exclude(site, told["what"])
    return told


def rollback(**request: Any) -> dict[str, Any]:
    """Return the steps that undo the last upgrade of an application. orch.rollback takes them.

    It is a restore of the database that the upgrade has kept; the hosts then run its release. After
    a rollback the same request only finishes it. Another step back needs the name of its database,
    which the plan has.

    Args:
        request: `application`; `kept`, the database; and `confirm`, the application's name once
            more.

    Returns:
        `what`, the restore in words, and the `steps`.

    Raises:
        RunnerError: the request is invalid, no upgrade has kept a database, or `confirm` is
            missing; then the message is the plan, with what would be lost.

    CLI Example:
        salt-run upgrade.rollback application=crm
    """
    chosen = request.pop("kept", None)
    site, application, confirmed = _asked(request)
    if confirmed and chosen is None:
        origin = runner.on_primary(__opts__, "database_copy.origins").get(application, "")
        chosen = origin if restore.NAME.fullmatch(origin) else None
    if chosen is not None:
        given = {"confirm": application} if confirmed else {}
        return dict(__salt__["backup.restore"](application=application, kept=chosen, **given))
    found = runner.on_primary(__opts__, "database_copy.kept")
    _refresh(site, application)
    runs = _call(runner.serving(site, application)[0], "release.due")["recorded"]
    start = f"{application} before release {runs},"
    kept = sorted(one["name"] for one in found if str(one["about"]).startswith(start))
    if not kept:
        raise RunnerError(
            f"{application}: no database is kept from before the upgrade to {runs or 'a release'}\n"
            "next: salt-run backup.kept, then orch.restore with one of these or with a moment"
        )
    if not confirmed:
        about = next(one["about"] for one in found if one["name"] == kept[-1])
        asked = json.dumps({"application": application, "kept": kept[-1], "confirm": application})
        raise RunnerError(
            f"{kept[-1]} becomes the database of {application} again ({about}), and its hosts run "
            "the former release\n"
            "lost: what users have changed since then; it stays in a kept database only\n"
            f"next: salt-run state.orchestrate orch.rollback pillar='{asked}'"
        )
    return dict(
        __salt__["backup.restore"](application=application, kept=kept[-1], confirm=application)
    )


def fetch(application: str, release: str) -> list[str]:
    """Let every host of an application have its release: a step of orch.upgrade.

    Args:
        application: the application's name.
        release: the release's name.

    Returns:
        The hosts.

    Raises:
        RunnerError: a host does not answer, or the release cannot be built or unpacked.

    CLI Example:
        salt-run upgrade.fetch crm c0ffee000000-0123abcd
    """
    site = _unchanged(application, release)
    hosts = runner.serving(site, application)
    _synchronise(hosts)
    _refresh(site, application)
    for host in hosts:
        follow.note([host], "gets the release")
        _call(host, "upgrade.fetch")
    return hosts


def rehearse(application: str, release: str) -> str:
    """Try the release with a copy of the database, in which nothing reaches the world outside.

    If the former release goes on with the changed database, it is tried with the copy as well.
    Users notice nothing. It is a step of orch.upgrade and of orch.rehearse.

    Args:
        application: the application's name.
        release: the release's name.

    Returns:
        What was done, in a sentence.

    Raises:
        RunnerError: a host does not answer, the copy cannot be made, the modules or migrations
            fail, or a page does not answer.

    CLI Example:
        salt-run upgrade.rehearse crm c0ffee000000-0123abcd
    """
    site = _unchanged(application, release)
    host = runner.serving(site, application)[0]
    plan = _plan(site, application)
    begun = time.monotonic()
    _call(host, "upgrade.end")
    try:
        runner.on_primary(__opts__, "database_branch.make", application, True)
        done, pages = _tried(host, release, True, REHEARSAL)
        if plan.needed and plan.rolls:
            _former(host, plan.former)
            pages.append("and so does the former release")
    finally:
        _together([host], "upgrade.end")
        with contextlib.suppress(RunnerError):  # the next copy takes its place
            runner.on_primary(__opts__, "database_branch.remove", application, patience=FAILOVER)
    took = time.monotonic() - begun
    steps.rehearsed(site.state / steps.FILE, application, release, took)
    return f"release {release} in {took:.0f} s: {', '.join(done)}; it answers {', '.join(pages)}"


def change(application: str, release: str, kept: str) -> str:
    """Let code and database of an application change together: a step of orch.upgrade.

    The application stops, and a copy of its database changes. Then the two databases change places,
    and the first host serves with the new release. If anything fails before that, the former
    release serves again with its own database.

    Args:
        application: the application's name.
        release: the release's name.
        kept: the name that its database gets.

    Returns:
        What was done, in a sentence.

    Raises:
        RunnerError: with the reason, and which release serves now.

    CLI Example:
        salt-run upgrade.change crm c0ffee000000-0123abcd crm_before_20261130_120000
    """
    site = _unchanged(application, release)
    hosts = runner.serving(site, application)
    plan = _plan(site, application)
    patience = steps.patience(steps.seconds(site.state / steps.FILE, application, release))
    _call(hosts[0], "upgrade.end")
    _call(hosts[0], "upgrade.settle")
    exchanged, begun = False, time.monotonic()
    try:
        follow.note(hosts, "stops its application")
        minions.ask(__opts__, hosts, "application.stop", [patience])
        since = minions.ask(__opts__, hosts, "application.stopped")
        writes = runner.on_primary(__opts__, "database_branch.writes", application)
        runner.on_primary(__opts__, "database_branch.make", application, False)
        done, _ = _tried(hosts[0], release, False, patience)
        for host in hosts:
            _call(host, "application.hold", since[host])
        if writes != runner.on_primary(__opts__, "database_branch.writes", application):
            raise RunnerError(f"somebody wrote into the database of {application} meanwhile")
        until = moment(time.time(), seconds=True)
        about = f"{application} before release {release}, until {until}"
        exchanged = True
        given = [application, copy.name(application), kept, about]
        runner.on_primary(__opts__, "database_copy.exchange", *given)
        if faults := _together(hosts, "upgrade.switch", release):
            raise RunnerError("\n".join(faults.values()))
        follow.note([hosts[0]], "serves with the new release")
        _call(hosts[0], "upgrade.serve")
    except BaseException as error:
        with _undisturbed():
            said = _back(hosts, application, plan.former, kept if exchanged else "")
        raise RunnerError(f"{_reason(error)}\n{said}") from error
    if faults := _together(hosts[1:], "application.start"):
        raise RunnerError(
            "\n".join([f"release {release} serves, but not on every host", *faults.values()])
            + "\nnext: the same command again, or orch.rollback"
        )
    gone = time.monotonic() - begun
    return f"release {release}: {', '.join(done)}; nobody could use it for {gone:.0f} s"


def migrate(application: str, release: str) -> str:
    """Bring an application's database to a release while the former one goes on: a step.

    The hosts follow afterwards, one by one, with an apply.

    Args:
        application: the application's name.
        release: the release's name.

    Returns:
        What was done, in a sentence.

    Raises:
        RunnerError: with the reason. The former release goes on.

    CLI Example:
        salt-run upgrade.migrate crm c0ffee000000-0123abcd
    """
    site = _unchanged(application, release)
    host = runner.serving(site, application)[0]
    if not _plan(site, application).rolls:
        raise RunnerError(
            "the definition no longer declares all migrations as compatible\n"
            "next: the same command again, which stops the application"
        )
    took = steps.seconds(site.state / steps.FILE, application, release)
    _call(host, "upgrade.settle")
    follow.note([host], "brings the database to the new release")
    try:
        done = _call(host, "upgrade.migrate", steps.patience(took))
    except RunnerError as error:
        raise RunnerError(
            f"{error}\nthe former release goes on, with the part of the changes that was made\n"
            "next: the same command again"
        ) from error
    return f"release {release}: {', '.join(done)}; the former one goes on meanwhile"


def prepare(application: str, database: str) -> str:
    """Let the hosts of an application have the release of another database: a step of restores.

    Args:
        application: the application's name.
        database: the database that takes the place of the application's.

    Returns:
        The release's name, or "" if the database names none.

    Raises:
        RunnerError: a host does not answer, or the release is nowhere. Nothing has stopped yet.

    CLI Example:
        salt-run upgrade.prepare crm crm_before_20261129_120000
    """
    site = runner.site(__opts__)
    _refresh(site, application)
    wanted = str(runner.on_primary(__opts__, "database_copy.release", database))
    for host in runner.serving(site, application) if wanted else []:
        _call(host, "upgrade.have", wanted)
    return wanted


def switch(application: str) -> list[str]:
    """Let an application's stopped hosts run the release of their database: a step of restores.

    Args:
        application: the application's name.

    Returns:
        The hosts.

    Raises:
        RunnerError: a host does not answer, or the release is nowhere.

    CLI Example:
        salt-run upgrade.switch crm
    """
    site = runner.site(__opts__)
    hosts = runner.serving(site, application)
    for host in hosts:
        follow.note([host], "gets the release of the database")
        _call(host, "upgrade.follow")
    return hosts


def serves(application: str) -> list[str]:
    """Ask for pages of the copy of an application's database, with its release: a step of drills.

    Args:
        application: the application's name.

    Returns:
        The paths that answered.

    Raises:
        RunnerError: a host does not answer, the release is nowhere, or a page does not answer.

    CLI Example:
        salt-run upgrade.serves crm
    """
    site = runner.site(__opts__)
    _refresh(site, application)
    host = runner.serving(site, application)[0]
    wanted = runner.on_primary(__opts__, "database_copy.release", copy.name(application))
    wanted = wanted or _call(host, "release.active")
    if not wanted:
        raise RunnerError(f"{host} runs a checkout from before there were releases")
    follow.note([host], f"asks for pages of release {wanted}")
    for function, *given in (("have", wanted), ("neutralise",), ("check", wanted)):
        answer = _call(host, f"upgrade.{function}", *given)
    return list(answer)


def _unchanged(application: str, name: str) -> Site:
    """Return the site, if its definition still wants this release."""
    site = runner.site(__opts__)
    wanted = release.wanted(site.data, application)
    if wanted != name:
        raise RunnerError(
            f"{application}: the definition wants release {wanted} by now, and no longer {name}\n"
            "next: the same command again"
        )
    return site


def _tried(host: str, release: str, neutral: bool, seconds: int) -> tuple[list[str], list[str]]:
    """Bring the copy to the release on a host, and ask for pages; return what was done."""
    follow.note([host], "brings the copy to the new release")
    done = _call(host, "upgrade.run", neutral, seconds)
    follow.note([host], "asks for pages of the new release")
    return list(done), list(_call(host, "upgrade.check", release))


def _former(host: str, name: str) -> None:
    """Ask for pages of the former release with the changed copy."""
    follow.note([host], "asks for pages of the former release")
    try:
        _call(host, "upgrade.check", name)
    except RunnerError as error:
        raise RunnerError(
            f"{error}\nthis was the former release {name} with the changed database: if it does "
            "not work with that, `compatible` in the definition is wrong"
        ) from error


def _back(hosts: Sequence[str], application: str, former: str, kept: str) -> str:
    """Let the former release serve with its own database, and return in words what happened.

    Args:
        hosts: the app hosts.
        application: the application's name.
        former: the former release.
        kept: the name that the former database has if they changed places, or "".
    """
    said, faults, serve = "with its own data", dict[str, str](), list(hosts)
    if kept:
        faults |= _together(hosts, "application.halt")
        try:
            said = _returned(application, kept)
        except RunnerError as error:
            advice = "next: salt-run fleet.health; then the same command again"
            return "\n".join([f"nobody serves {application}", *faults.values(), str(error), advice])
        faults |= _together(hosts, "upgrade.switch", former)
        serve = [host for host in hosts if host not in faults]
    faults |= _together(serve, "application.start")
    _together(hosts[:1], "upgrade.end")
    with contextlib.suppress(RunnerError):  # the next copy takes its place
        runner.on_primary(__opts__, "database_branch.remove", application, patience=FAILOVER)
    found = f"the former release {former} serves again, {said}"
    if not faults:
        return found
    where = ", ".join(host for host in serve if host not in faults) or "no host"
    lines = [f"{found}, on {where}", *faults.values()]
    if kept:
        lines.append("the hosts above may run the new release with this database: stop them")
    return "\n".join([*lines, "next: salt-run fleet.health; then apply the states of these hosts"])


def _returned(application: str, kept: str) -> str:
    """Give an application its former database again, if it had changed places already.

    The other one is kept, because users may have changed something in it.

    Args:
        application: the application's name.
        kept: the name that its former database has then.

    Returns:
        What happened, in words.
    """
    if kept not in runner.on_primary(__opts__, "database_copy.names", patience=FAILOVER):
        return "with its own data"
    failed = restore.previous(application, datetime.now(UTC)).replace("_before_", "_failed_")
    about = f"{application} of a failed upgrade, until {moment(time.time(), seconds=True)}"
    runner.on_primary(
        __opts__, "database_copy.exchange", application, kept, failed, about, patience=FAILOVER
    )
    return f"with its own data; the database of the new one is {failed} (salt-run backup.kept)"


def _together(hosts: Sequence[str], function: str, *arguments: Any) -> dict[str, str]:
    """Call a function on several hosts at once, and return the faults of those that failed."""
    follow.note(hosts, f"runs {function}")
    return minions.together(__opts__, hosts, function, list(arguments), minions.WORK, minions.BUSY)[
        1
    ]


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Let no signal of a terminal interrupt the way back."""
    ignored = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    try:
        before = {one: signal.signal(one, signal.SIG_IGN) for one in ignored}
    except ValueError:  # not in the main thread, which gets the signals
        before = {}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _reason(error: BaseException) -> str:
    """Return in words why an upgrade ended."""
    if isinstance(error, KeyboardInterrupt | SystemExit):
        return "it was interrupted"
    return str(error) or type(error).__name__


def _call(host: str, function: str, *arguments: Any) -> Any:
    return minions.work(__opts__, host, function, *arguments)


def _plan(site: Site, application: str) -> steps.Plan:
    """Return what an upgrade changes, as the first host finds it."""
    hosts = runner.serving(site, application)
    _refresh(site, application)
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
    return steps.Plan(found["former"], wanted, differing, missing, found["rolls"])


def _commits(site: Site, application: str, former: str) -> tuple[list[str], str]:
    """Return the commits since a former release, and why these may not be all."""
    name = site.fleet.topology.applications[application].definition
    (own, source), *further = release.sources(name, site.definitions[name]).items()
    commit, begun = site.revisions.commit(own, source), former.partition("-")[0]
    same = commit.startswith(begun)
    found, unknown = ([], "") if same else since(source, site.store, commit, begun)
    # only the new release's commits of these are known
    heads = ((one["name"], site.revisions.commit(label, one)) for label, one in further)
    newest = [f"{place} at {head[:12]}" for place, head in heads]
    also = [f"further repositories: {', '.join(newest)}"] if newest else []
    return found, "\n".join([*filter(None, [unknown]), *also])


def _refresh(site: Site, application: str) -> None:
    """Let the hosts that change read their pillars again.

    An apply reads a pillar of its own, and leaves the minion's as it is.
    """
    databases = runner.having(site, "database")
    hosts = list(dict.fromkeys([*runner.serving(site, application), *databases]))
    minions.ask(__opts__, hosts, "saltutil.refresh_pillar", [True])


def _synchronise(hosts: Sequence[str]) -> None:
    """Let hosts have the master's Python, before one of them builds a release.

    A host that was not applied since an update of this repository would build it the former way,
    and all others would take that for the release. This waits for a host that applies its states.
    """
    end = time.monotonic() + APPLYING
    while True:
        runner.idle(__opts__, hosts, max(0, round(end - time.monotonic())))
        follow.note(hosts, "gets the master's Python")
        try:
            minions.ask(__opts__, hosts, "state.apply", ["common.python"])
            return
        except RunnerError as error:  # another apply may begin between both questions
            if REFUSED not in str(error) or time.monotonic() >= end:
                raise


def _asked(request: dict[str, Any]) -> tuple[Site, str, bool]:
    """Return the site, the application of a request, and whether it is confirmed."""
    site = runner.site(__opts__)
    given = runner.plain(request)
    application, confirmed = steps.parse(given, site.fleet.topology.applications)
    runner.resolved(site, [application])  # otherwise its hosts have no pillar, and say only that
    return site, application, confirmed

"""The common part of this project's runners: the master's view, with errors as Salt shows them."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import salt.runner

from salina.common import wait
from salina.common.orchestration import Failure, failures
from salina_fleet import health, minions, policy
from salina_fleet.change import absence, exclusive, follow, scale
from salina_fleet.errors import RunnerError
from salina_fleet.fleet import Fleet
from salina_fleet.model import members, release
from salina_fleet.provision.userdata import OWN
from salina_fleet.revisions import RevisionError, Source
from salina_fleet.roles import ROLES
from salina_fleet.schema import document
from salina_fleet.schema.document import DataError, show
from salina_fleet.site import Site, read

LAST_CHANGE = "last-change.json"
"""The file in the master's state directory that describes the last complete change."""
ANSWER_SECONDS = 20
"""Seconds to wait for the answers of the hosts that follow a change; a silent host is down then."""
TAKEOVER_SECONDS = 30
"""Seconds to wait until another host has taken over from one that is down."""


def site(opts: dict[str, Any]) -> Site:
    """Return everything that the master decides from, as its configuration says (`salina:`).

    Raises:
        RunnerError: some file has a fault; the runner then ends with exit code 1.
    """
    try:
        return read(_configured(opts)["root"], state(opts), opts.get("cachedir"))
    except DataError as error:
        raise RunnerError(str(error)) from None  # the message says it all


def state(opts: dict[str, Any]) -> Path:
    """Return the master's state directory.

    Raises:
        RunnerError: the master's configuration does not name it.
    """
    return Path(_configured(opts)["state"])


def sources(site: Site, applications: Iterable[str]) -> dict[str, Source]:
    """Return the repositories of the applications' definitions, by the names of their records.

    Args:
        site: the master's view.
        applications: names of applications of the topology.
    """
    names = {site.fleet.topology.applications[one].definition: None for one in applications}
    found: dict[str, Source] = {}
    for name in names:
        found |= release.sources(name, site.definitions[name])
    return found


def resolved(site: Site, applications: Iterable[str]) -> None:
    """Make sure that the commit of each application is recorded, before a change begins.

    Args:
        site: the master's view.
        applications: names of applications of the topology.

    Raises:
        RunnerError: a revision cannot be looked up; nothing was recorded then.
    """
    try:
        site.revisions.ensure(sources(site, applications))
    except RevisionError as error:
        raise RunnerError(str(error)) from None  # the message says it all


def unfinished(site: Site) -> dict[str, list[str]]:
    """Return the hosts of each pool that a change has begun with and not finished.

    Raises:
        RunnerError: the file of the unfinished hosts is damaged.
    """
    file = site.state / members.UNFINISHED
    try:
        return members.unfinished(file, site.fleet.topology)
    except members.MembersError as error:
        raise RunnerError(str(error)) from None  # the message says it all


def removal(site: Site, host: str) -> str:
    """Return the command that finishes the removal of a host; "" if no change is removing it.

    The next change of its pool destroys such a host, so it must not come back before.

    Args:
        site: the master's view.
        host: an id.

    Raises:
        RunnerError: the file of the unfinished hosts is damaged.
    """
    for pool, begun in unfinished(site).items():
        now = site.fleet.members[pool]
        if host in begun and host not in now:
            return f"salt-run fleet.scale pool={pool} count={len(now)}"
    return ""


def membership(opts: dict[str, Any], site: Site) -> health.Finding:
    """Judge the members of the pools by the keys that the master has accepted.

    Args:
        opts: the master's options.
        site: the master's view.
    """
    accepted = [file.name for file in Path(opts["pki_dir"], "minions").glob("*")]
    changing = [host for hosts in unfinished(site).values() for host in hosts]
    return health.membership(site.fleet.topology, site.fleet.members, accepted, changing)


def plan(site: Site, request: dict[str, Any]) -> scale.Change:
    """Return the change that a request for a pool needs.

    Args:
        site: the master's view.
        request: a runner's arguments, with those that Salt adds.

    Raises:
        RunnerError: the request is invalid, with every fault.
    """
    topology, begun = site.fleet.topology, unfinished(site)
    try:
        wanted = scale.parse(plain(request), topology)
        return scale.plan(wanted, topology, site.fleet.members, begun[wanted.pool])
    except scale.RequestError as error:
        raise RunnerError(str(error)) from None  # the message says it all


def followers(site: Site, change: scale.Change) -> list[str]:
    """Return the hosts that follow a change: the neighbours, the balancers, and monitoring."""
    roles = site.fleet.topology.pools[change.pool].roles
    beside = policy.neighbours(site.fleet, roles) if change.touched else []
    return [host for host in beside if host not in change.touched]


def absent(opts: dict[str, Any], site: Site, change: scale.Change) -> list[str]:
    """Return the hosts that do not answer, and that a change may skip.

    Args:
        opts: the master's options.
        site: the master's view.
        change: the change.

    Raises:
        RunnerError: the change cannot do without one of the hosts.
    """
    silent = minions.silent(opts, followers(site, change), ANSWER_SECONDS)
    if not silent:
        return []
    roles = policy.beside(site.fleet, site.fleet.topology.pools[change.pool].roles)
    faults = absence.shortages(site.fleet, roles, silent)
    for role in (role for role in ROLES if role in roles and not faults):
        faults += _indispensable(opts, site.fleet, role, silent)
    if faults:
        lines = "\n".join(faults)
        raise RunnerError(f"{lines}\nnext: salt-run fleet.ready")
    return silent


def _indispensable(
    opts: dict[str, Any], fleet: Fleet, role: str, silent: Collection[str]
) -> list[str]:
    """Return a sentence if one of the silent hosts may be the one that its role depends on."""
    hosts = [host.id for host in fleet.having(role)]
    away, there = ([one for one in hosts if (one in silent) is dead] for dead in (True, False))
    function = ROLES[role].indispensable
    if function is None or not away:
        return []

    def named() -> bool:
        answers = minions.client(opts).cmd(there, function, tgt_type="list")
        return bool({str(answer) for answer in answers.values()} & {*there})

    if wait.until(named, TAKEOVER_SECONDS):
        return []
    return [
        f"{', '.join(away)}: no answer; none of {', '.join(there)} has taken over as the host that "
        f"`{function}` names; start each host that is down"
    ]


def balancers(site: Site) -> list[str]:
    """Return the balancers, without those that the last change skipped because they were down."""
    missing = absence.missing(behind(site))
    return [host for host in having(site, "balancer") if host not in missing]


def behind(site: Site) -> absence.Behinds:
    """Return the hosts that changes skipped because they were down.

    Raises:
        RunnerError: the file of these hosts is damaged.
    """
    try:
        return absence.load(site.state / absence.BEHIND, site.fleet.hosts)
    except absence.BehindError as error:
        raise RunnerError(str(error)) from None  # the message says it all


def told(site: Site, change: scale.Change, skipped: Collection[str]) -> dict[str, Any]:
    """Return a change with its steps and the hosts that follow it, as `scale.told` describes.

    Args:
        site: the master's view.
        change: the change.
        skipped: the hosts that are down.
    """
    front = having(site, "balancer")
    last = [
        host.id
        for name, role in ROLES.items()
        for host in (site.fleet.having(name) if role.watches else ())
    ]
    beside = [host for host in followers(site, change) if host not in (*front, *last)]
    beside, front, last = (
        [host for host in hosts if host not in skipped] for hosts in (beside, front, last)
    )
    served = site.fleet.topology.pools[change.pool].application or ""
    others = [host for host in site.fleet.serving(served) if host.pool != change.pool]
    closes = not change.members and not others
    return scale.told(change, beside, front, last, skipped, closes)


def serving(site: Site, application: str) -> list[str]:
    """Return the app hosts of an application.

    Args:
        site: the site.
        application: the application's name.

    Raises:
        RunnerError: there is none: its pool has no members.
    """
    hosts = [host.id for host in site.fleet.serving(application)]
    if not hosts:
        pools = site.fleet.topology.pools.values()
        own = next((pool.name for pool in pools if pool.application == application), "POOL")
        raise RunnerError(
            f"{application}: no host serves it, and this needs one\n"
            f"next: salt-run fleet.scale pool={own} count=1"
        )
    return hosts


def having(site: Site, role: str) -> list[str]:
    """Return the ids of the hosts with a role."""
    return [host.id for host in site.fleet.having(role)]


def primary(opts: dict[str, Any], site: Site) -> str:
    """Return the host that the database hosts call the primary.

    Args:
        opts: the master's options.
        site: the site.

    Raises:
        RunnerError: none names one.
    """
    hosts = having(site, "database")
    found = minions.answers(opts, hosts, "patroni.leader", [], minions.ANSWER, minions.GATHER)
    named = [answer["ret"] for answer in found.values() if not answer.get("retcode")]
    for host in named:
        if host in hosts:
            return str(host)
    raise RunnerError(f"none of {', '.join(hosts)} names a primary\nnext: salt-run fleet.health")


def on_primary(opts: dict[str, Any], function: str, *arguments: Any, patience: float = 0) -> Any:
    """Call a function on the primary, whichever host that is now, and return its answer.

    Args:
        opts: the master's options.
        function: the function.
        arguments: its arguments.
        patience: seconds to try again, for a function that can be repeated: a database host may
            still name a primary that has just died.

    Raises:
        RunnerError: no host names a primary, it does not answer, or the function fails.
    """
    said: list[RunnerError] = []

    def attempt() -> tuple[Any] | None:
        try:
            host = primary(opts, site(opts))
            follow.note([host], f"runs {function}")
            return (minions.work(opts, host, function, *arguments),)
        except RunnerError as error:
            said.append(error)
            return None

    found = wait.until(attempt, patience)
    if not found:
        raise said[-1]
    return found[0]


def idle(opts: dict[str, Any], hosts: Sequence[str], patience: int) -> None:
    """Wait until no host applies states.

    Args:
        opts: the master's options.
        hosts: ids.
        patience: seconds to wait.

    Raises:
        RunnerError: with the hosts that still do, and who holds each.
    """
    busy = minions.busy(opts, hosts, patience)
    if busy:
        held = ", ".join(f"{host} ({who})" for host, who in busy.items())
        raise RunnerError(
            f"states are still being applied on {held} after {patience} s\n"
            f"next: salt {next(iter(busy))} saltutil.running"
        )


def exclude(site: Site, what: str, patience: float = 0) -> None:
    """Exclude other changes from now on, until this process ends.

    Args:
        site: the site.
        what: the change, in words for a process that is refused.
        patience: seconds to wait for the end of another change.

    Raises:
        RunnerError: another process is changing the fleet.
    """
    found = ""

    def taken() -> bool:
        nonlocal found
        try:
            exclusive.take(site.change_file, what)
        except exclusive.BusyError as error:
            found = str(error)
            return False
        return True

    if not wait.until(taken, patience):
        raise RunnerError(f"{found}\nnext: salt-run fleet.status")


def orchestrate(
    opts: dict[str, Any], name: str, request: Mapping[str, Any] | None = None
) -> list[Failure]:
    """Run an orchestration in this process.

    Args:
        opts: the master's options.
        name: the orchestration.
        request: its pillar.

    Returns:
        What failed.
    """
    # as the user who runs this, because minions refuse commands of an unknown user
    low: dict[str, Any] = {"mods": name, "__user__": opts["user"]}
    if request:
        low["pillar"] = dict(request)
    with salt.runner.RunnerClient(opts) as client:
        ran = client.low("state.orchestrate", low, print_event=False)
    if not isinstance(ran, dict) or "data" not in ran:
        return failures(str(ran), name)
    found = [failure for steps in ran["data"].values() for failure in failures(steps, name)]
    return found or (failures(str(ran), name) if ran.get("retcode") else [])


def plain(request: dict[str, Any]) -> dict[str, Any]:
    """Return a runner's arguments without those that Salt adds."""
    return {key: value for key, value in request.items() if not key.startswith("__")}


def provisioner(opts: dict[str, Any]) -> list[str] | None:
    """Return the command that makes and removes hosts, or None when the operator does.

    The master's configuration names it, because it belongs to that machine: `salina:
    {provisioner}`. It is called with `create ID` and user data on standard input, or with `destroy
    ID`. A repeated call must succeed.

    Raises:
        RunnerError: the command cannot be called.
    """
    path = opts.get("salina", {}).get("provisioner")
    if path is None:
        return None
    if not isinstance(path, str) or not os.path.isabs(path):
        found = "is not valid; must be the absolute path of an executable"
    elif not os.path.isfile(path) or not os.access(path, os.X_OK):
        found = "is not an executable file; correct the path"
    else:
        return [path]
    raise RunnerError(f"the master's configuration: salina.provisioner: {show(path)} {found}")


def user_data(opts: dict[str, Any]) -> dict[str, Any]:
    """Return the operator's own keys for cloud-init, which every new host gets.

    The master's configuration names their file: `salina: {user_data}`. It may name a source of
    packages that exists in one place only.

    Raises:
        RunnerError: the file cannot be read, or is not a mapping without the master's own keys.
    """
    path = opts.get("salina", {}).get("user_data")
    if path is None:
        return {}
    where = f"the master's configuration: salina.user_data: {show(path)}"
    try:
        found = document.read(path)
    except DataError as error:
        raise RunnerError(f"{where}: {error}") from None
    if not isinstance(found, dict):
        raise RunnerError(f"{where}: must be a mapping of cloud-init's keys")
    own = [key for key in OWN if key in found]
    if own:
        raise RunnerError(f"{where}: {own[0]}: is not valid here; the master itself gives it")
    return found


def _configured(opts: dict[str, Any]) -> dict[str, Any]:
    configured = opts.get("salina")
    if not configured:
        raise RunnerError("the master's configuration has no `salina: {root, state}`")
    return dict(configured)

"""Take the steps of a change to a pool. orch.scale and orch.join call them in order.

`begin` records the planned members. `drain`, `retire` and `destroy` remove hosts, `create` brings
new ones, and `done` closes the change. Each step can be repeated after an interruption. `follow`
and `ended` show the progress of an orchestration. An operator uses the runner `fleet`.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from typing import Any

from salina.common import file, wait
from salina_fleet import guard, minions, runner
from salina_fleet.change import absence, exclusive, quiet, scale
from salina_fleet.change import deployment as deploy
from salina_fleet.change import follow as progress
from salina_fleet.errors import RunnerError
from salina_fleet.model import members
from salina_fleet.provision import provisioner
from salina_fleet.roles.balancer import BalancerSettings
from salina_fleet.roles.storage import StorageSettings
from salina_fleet.site import Site

__opts__: dict[str, Any]
__salt__: dict[str, Callable[..., Any]]

KNOWN_SECONDS = 30
"""Seconds to wait for the answer of a host whose key was accepted before, perhaps just now."""
USER_DATA = "salt-run fleet.user_data ID FILE, and start the host with it"
"""The command that gives a host a key, where no provisioner makes hosts."""


def begin(**request: Any) -> dict[str, Any]:
    """Begin a change: exclude other changes, and record the planned members.

    From now on every pillar names the planned members. A change that touches no host records
    nothing. A change skips hosts that are down, as far as their roles can spare them
    (`Role.spare`), and records them as behind.

    Args:
        request: as for `fleet.plan`.

    Returns:
        The plan, as `fleet.plan` returns it.

    Raises:
        RunnerError: the request is invalid, another change is running, the master accepts forged
            returns, the application's revision cannot be looked up, or a host is down that the
            change needs. Nothing was recorded then.

    CLI Example:
        salt-run change.begin pool=app count=5
    """
    site = _site()
    runner.plan(site, request)  # report an invalid request, also while another change is running
    try:
        exclusive.take(site.change_file, scale.in_words(runner.plain(request)))
    except exclusive.BusyError as error:
        raise RunnerError(f"{error}\nnext: salt-run fleet.status") from None
    guard.ensure(__opts__)
    site = _site()  # another change may have ended meanwhile
    change = runner.plan(site, request)
    application = site.fleet.topology.pools[change.pool].application
    runner.resolved(site, [application] if application and change.joining else [])
    skipped = runner.absent(__opts__, site, change)
    if change.touched:
        following = {*runner.followers(site, change)} - {*skipped}
        late = absence.skip(runner.behind(site), following, skipped)
        absence.save(site.state / absence.BEHIND, late)
        _save_unfinished(site, runner.unfinished(site) | {change.pool: list(change.touched)})
        wanted = {**site.fleet.members, change.pool: change.members}
        members.save(site.members_file, wanted, site.fleet.topology)
    return runner.told(_site(), change, skipped)


def deployment(test: bool = False) -> dict[str, Any]:
    """Return the steps of orch.deploy, exclude other changes, and record the missing commits.

    Args:
        test: exclude no other change, because the hosts only predict.

    Returns:
        `what`, the change in words, and the `steps`.

    Raises:
        RunnerError: with every fault of the topology and its companions, or with every revision
            that cannot be looked up; or another change is running.

    CLI Example:
        salt-run change.deployment
    """
    site = _site()
    if not test:
        runner.exclude(site, deploy.WHAT, deploy.PATIENCE)
        site = _site()  # another change may have ended meanwhile
    runner.resolved(site, site.fleet.topology.applications)
    return deploy.told(site.fleet.tiers())


def follow(what: str, steps: Sequence[dict[str, Any]]) -> None:
    """Show the progress of the orchestration that this process runs, until `ended`.

    `salt-run` shows it on its standard error. `fleet.watch` shows it in any other terminal.
    Monitoring sends no alarms meanwhile.

    Args:
        what: the change in a few words.
        steps: the steps, as `begin` and `deployment` return them.

    CLI Example:
        salt-run change.follow deployment '[]'
    """
    site = _site()
    progress.begin(__opts__, site.state, what, steps)
    quiet.begin(__opts__, site)


def ended(error: str, results: dict[str, Sequence[Any]]) -> None:
    """Show the end of the orchestration that this process runs, and record its durations.

    Args:
        error: what failed; "" for a success.
        results: whether each step that was taken succeeded, and its seconds.

    CLI Example:
        salt-run change.ended '' '{}'
    """
    progress.end(error, {name: (bool(good), float(took)) for name, (good, took) in results.items()})
    with contextlib.suppress(RunnerError):  # the topology was changed meanwhile, and has a fault
        quiet.end(__opts__, _site())


def create(hosts: Sequence[str], timeout: int = 300, again: Collection[str] = ()) -> list[str]:
    """Create those hosts that do not answer yet, and wait for their minions.

    The provisioner gets each host's user data with a key that is accepted before the host exists.
    A host that cannot be created, or does not answer in time, is removed from the members again, or
    stays a wanted member if its pool has no more than its minimum of members.

    Args:
        hosts: ids.
        timeout: seconds to wait for the new minions.
        again: those of the hosts with which an interrupted change had begun.

    Returns:
        The hosts that were created.

    Raises:
        RunnerError: with the hosts that could not be created, and why.

    CLI Example:
        salt-run change.create hosts='[s4]'
    """
    known = [host for host in hosts if provisioner.accepted(__opts__, host)]
    there = set(known) - set(minions.silent(__opts__, known, KNOWN_SECONDS))
    absent = [host for host in hosts if host not in there]
    progress.note(absent, "is being created")
    failed = provisioner.create(__opts__, _site(), absent)
    made = [host for host in absent if host not in failed]
    silent = minions.silent(__opts__, made, timeout)
    failed |= {host: f"it did not answer within {timeout} s" for host in silent}
    if failed:
        left = _take_out(failed, again)
        site = _site()
        lines = [_failure(site, host, why) for host, why in failed.items()]
        lines += [f"{host} still exists, because {why}" for host, why in left.items()]
        if silent and runner.provisioner(__opts__) is None:
            commands = [command for host in silent if (command := runner.removal(site, host))]
            lines.append(f"next: {commands[0] if commands else USER_DATA}")
        raise RunnerError("\n".join(lines))
    __salt__["fleet.ready"](sorted(there))  # an interrupted change may have started an apply there
    return absent


def drain(hosts: Sequence[str], timeout: int | None = None) -> list[str]:
    """Send no more requests to hosts, and wait until their current requests have ended.

    Args:
        hosts: ids.
        timeout: seconds to wait; setting balancer.drain by default. Longer requests are cut off
            when the host stops.

    Returns:
        The hosts that were drained. A host that the balancers no longer know is not among them.

    Raises:
        RunnerError: a balancer does not answer, or refused.

    CLI Example:
        salt-run change.drain hosts='[s2]'
    """
    site = _site()
    bound = site.fleet.settings[BalancerSettings].drain if timeout is None else timeout
    balancers = runner.balancers(site)
    drained = set()
    for balancer, servers in minions.ask(__opts__, balancers, "balancer.servers").items():
        # an interrupted change may have removed a host from a balancer already
        for host in (host for host in hosts if host in servers):
            minions.ask(__opts__, [balancer], "balancer.drain", [host])
            drained.add(host)

    def idle() -> bool:
        answers = minions.ask(__opts__, balancers, "balancer.servers").values()
        left = {
            one: sum(found[one]["sessions"] for found in answers if one in found) for one in drained
        }
        for one, requests in left.items():
            progress.note([one], f"has {requests} requests left", not requests)
        return not any(left.values())

    if drained:
        wait.until(idle, bound)
    return sorted(drained)


def retire(hosts: Sequence[str]) -> list[str]:
    """Stop the application's services on hosts, and unmount the volume. Skip silent hosts.

    Args:
        hosts: ids.

    Returns:
        The hosts that answered.

    CLI Example:
        salt-run change.retire hosts='[s2]'
    """
    site = _site()
    known = [host for host in hosts if provisioner.accepted(__opts__, host)]
    silent = minions.silent(__opts__, known, KNOWN_SECONDS)
    alive = [host for host in known if host not in silent]
    kinds = {str(one["kind"]) for one in site.definitions.values()}
    agent = ("salina-health.socket", "salina-health")
    units = [*agent, "nginx", *sorted(kinds), "pgbouncer", "haproxy"]
    progress.note(silent, "does not answer, and is skipped", True)
    if alive:
        progress.note(alive, "stops its services")
        # results do not matter: a unit may be missing, and the host is destroyed next
        client = minions.client(__opts__)
        client.cmd(alive, "cmd.retcode", [["systemctl", "stop", *units]], tgt_type="list")
        mount = site.fleet.settings[StorageSettings].mount
        client.cmd(alive, "mount.umount", [mount], tgt_type="list")
    return alive


def destroy(hosts: Sequence[str]) -> list[str]:
    """Have the provisioner remove hosts, and delete their minions' keys.

    Args:
        hosts: ids of hosts that are not members any more.

    Returns:
        The hosts.

    Raises:
        RunnerError: a host is still a member, the master accepts forged returns, or the provisioner
            failed.

    CLI Example:
        salt-run change.destroy hosts='[s2]'
    """
    staying = [host for host in hosts if host in _site().fleet.hosts]
    if staying:
        advice = "remove it from its pool with orch.scale"
        raise RunnerError(
            "\n".join(f"{host} is still a host of the fleet; {advice}" for host in staying)
        )
    guard.ensure(__opts__)
    progress.note(hosts, "is being destroyed")
    failed = provisioner.destroy(__opts__, hosts)
    if failed:
        raise RunnerError("\n".join(f"{host}: {why}" for host, why in failed.items()))
    return list(hosts)


def done(pool: str) -> dict[str, Any]:
    """Close the change to a pool: none of its hosts is unfinished, and no follower is behind.

    Args:
        pool: the pool's name.

    Returns:
        `pool`, its `members`, the hosts that `joined` and `left`, and the time when it `ended`.

    CLI Example:
        salt-run change.done app
    """
    site = _site()
    begun, now = runner.unfinished(site), site.fleet.members[pool]
    last = {
        "pool": pool,
        "members": list(now),
        "joined": [one for one in begun[pool] if one in now],
        "left": [one for one in begun[pool] if one not in now],
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    _save_unfinished(site, begun | {pool: []})
    absence.save(site.state / absence.BEHIND, absence.missing(runner.behind(site)))
    file.put(site.state / runner.LAST_CHANGE, json.dumps(last))
    return last


def _site() -> Site:
    return runner.site(__opts__)


def _save_unfinished(site: Site, hosts: dict[str, list[str]]) -> None:
    members.save_unfinished(site.state / members.UNFINISHED, hosts, site.fleet.topology)


def _failure(site: Site, host: str, why: str) -> str:
    """Return why a host was not created, and whether it is still a member."""
    for pool, ids in site.fleet.members.items():
        if host in ids:
            least = site.fleet.topology.pools[pool].minimum
            return (
                f"{host} was not created, because {why}\n"
                f"{host} stays a wanted member, because {pool} needs at least {least}; "
                "repeat the command"
            )
    return f"{host} was taken out of the pool, because {why}"


def _take_out(hosts: Collection[str], again: Collection[str]) -> provisioner.Failures:
    """Remove hosts that never answered from the members; return those that still exist, and why.

    The hosts of a pool that needs them stay members (`scale.without`), and unfinished.
    A host with which an interrupted change had begun (`again`) stays unfinished, because other
    hosts may have followed that change: the next change corrects them. A host that still exists
    stays unfinished too. An accepted key says nothing about this: the operator may have written the
    host's user data before the change.
    """
    site = _site()
    left = scale.without(hosts, site.fleet.members, site.fleet.topology)
    members.save(site.members_file, left, site.fleet.topology)
    failed = provisioner.destroy(__opts__, list(hosts))
    away = {*hosts} - {*again, *failed, *(one for ids in left.values() for one in ids)}
    begun = {
        pool: [one for one in ids if one not in away]
        for pool, ids in runner.unfinished(site).items()
    }
    _save_unfinished(site, begun)
    return failed

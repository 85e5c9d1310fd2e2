"""The fleet as a whole: who is in it, whether all of it answers, and how a pool changes.

A change (salt/orch/scale.sls) calls the functions below: `begin` takes the lock and records what is
wanted, `drain`, `retire` and `destroy` take hosts away, `create` and `probe` bring them, `done`
closes it. Each may be called again after an interruption.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any

from salt.exceptions import CommandExecutionError

from salina.common import file as salina_file
from salina.common import wait
from salina.common.https import host_port
from salina_fleet import minions, policy, runner
from salina_fleet.change import join, lock, scale
from salina_fleet.model import members as salina_members
from salina_fleet.provision import provisioner
from salina_fleet.roles import app
from salina_fleet.roles.balancer import BalancerSettings
from salina_fleet.roles.storage import StorageSettings
from salina_fleet.site import Site

__opts__: dict[str, Any]

LAST = "last-change.json"
PATIENCE = 900
"""Seconds for states that are being applied."""
KNOWN_SECONDS = 30
"""For a host that was made before, perhaps just now, to answer."""


def members() -> dict[str, list[str]]:
    """The active members of each pool.

    CLI Example: salt-run fleet.members
    """
    return {pool: list(ids) for pool, ids in _site().fleet.members.items()}


def ready(
    hosts: Sequence[str] | None = None, timeout: int = 120, patience: int = PATIENCE
) -> list[str]:
    """Wait until every planned host's minion answers, and none of them applies states.

    One that is about to restart with its new configuration (salt/common/minion.sls) is waited
    for as well; so is what an orchestration that was killed had begun, and the restart with which
    that may end: a second apply at the same time would fail. `hosts`: ids (default: the whole
    fleet). `timeout`, `patience`: seconds for the one and for the other. Returns the hosts. Raises
    CommandExecutionError with those that did not answer (Salt's own `batch` passes over a dead
    minion without a word), or still apply.

    CLI Example: salt-run fleet.ready
    CLI Example: salt-run fleet.ready hosts='[s1, s2]' timeout=30
    """
    known = _site().fleet.hosts
    planned = list(known) if hosts is None else list(hosts)
    strangers = [host for host in planned if host not in known]
    if strangers:
        raise CommandExecutionError(f"no host of the fleet: {', '.join(strangers)}")
    _answer(planned, timeout)
    applying = minions.busy(__opts__, planned, 0)
    if applying:
        busy = minions.busy(__opts__, applying, patience)
        if busy:
            raise CommandExecutionError(
                f"waited {patience} s for {', '.join(busy)}, where states are being applied"
                f"\nnext: salt {busy[0]} saltutil.running"
            )
        _answer(applying, timeout)  # such a run may end with a restart of its minion
    return planned


def status() -> dict[str, Any]:
    """How each pool is and is to be, the lock's holder, the last change, why a host did not join.

    `members`: who is there now, `wanted`: who is to be; `joining` and `leaving` are the difference,
    while a change is under way or after it was interrupted.

    CLI Example: salt-run fleet.status
    """
    site = _site()
    unfinished = runner.unfinished(site)
    try:
        last = json.loads((site.state / LAST).read_text())
    except FileNotFoundError:
        last = None
    pools = {}
    for pool, wanted in site.fleet.members.items():
        joining = [one for one in unfinished[pool] if one in wanted]
        leaving = [one for one in unfinished[pool] if one not in wanted]
        members = [one for one in wanted if one not in joining] + leaving
        pools[pool] = {
            "members": members,
            "wanted": list(wanted),
            "joining": joining,
            "leaving": leaving,
        }
    return pools | {
        "lock": lock.holder(site.lock_file) or None,
        "last change": last,
        "failed to join": join.attempt(site.state / join.ATTEMPT).error or None,
    }


# A change


def plan(**request: Any) -> dict[str, Any]:
    """What an orch.scale with the same arguments would change; nothing is changed.

    Returns pool, members (afterwards), joining, leaving, the hosts that follow (neighbours and
    balancers), and the steps. Raises CommandExecutionError with every fault of the request.

    CLI Example: salt-run fleet.plan pool=app count=5
    CLI Example: salt-run fleet.plan pool=app add='[s4]' remove='[s2]'
    """
    site = _site()
    return _told(site, _plan(site, request))


def begin(**request: Any) -> dict[str, Any]:
    """Take the lock, record what is wanted, and return it as `plan` does.

    From here on every pillar knows the members that are wanted. Nothing is recorded when there is
    nothing to do, and neither when it raises CommandExecutionError: a bad request, or another
    change that is under way.

    CLI Example: none, it is a step of orch.scale
    """
    site = _site()
    _plan(site, request)  # a bad request is told as such, whoever holds the lock
    what = f"a change to {json.dumps(_plain(request), sort_keys=True)}"
    try:
        lock.take(site.lock_file, what)
    except lock.LockedError as error:
        raise CommandExecutionError(f"{error}\nnext: salt-run fleet.status") from None
    site = _site()  # another change may have ended meanwhile
    change = _plan(site, request)
    if change.touched:
        _save_unfinished(site, runner.unfinished(site) | {change.pool: list(change.touched)})
        wanted = {**site.fleet.members, change.pool: change.members}
        salina_members.save(site.members_file, wanted, site.fleet.topology)
    return _told(_site(), change)


def create(hosts: Sequence[str], timeout: int = 300) -> list[str]:
    """Have the provisioner make those of the hosts that don't answer, and wait for their minions.

    Each gets its key with its user data, accepted before it exists. A host that can't be made, or
    doesn't come within `timeout` seconds, is taken out of the members again. Returns the hosts
    that were made. Raises CommandExecutionError with those that were taken out, and why.

    CLI Example: none, it is a step of orch.scale
    """
    known = [host for host in hosts if provisioner.accepted(__opts__, host)]
    there = set(known) - set(minions.silent(__opts__, known, KNOWN_SECONDS))
    absent = [host for host in hosts if host not in there]
    failed = provisioner.create(__opts__, _site(), absent)
    made = [host for host in absent if host not in failed]
    silent = minions.silent(__opts__, made, timeout)
    failed |= {host: f"did not answer within {timeout} s" for host in silent}
    if failed:
        left = _take_out(failed, known)
        lines = [f"{host} is taken out again: {why}" for host, why in failed.items()]
        lines += [f"{host} is still there: {why}" for host, why in left.items()]
        if silent and runner.provisioner(__opts__) is None:
            lines.append("next: salt-run fleet.user_data ID FILE, and start the host with it")
        raise CommandExecutionError("\n".join(lines))
    ready(sorted(there))  # an interrupted change may have begun to apply
    return absent


def user_data(host: str, path: str) -> str:
    """Write what a new host must be given at its first start into a file for root alone.

    Its key is made and accepted with it. For a fleet without a provisioner. Raises
    CommandExecutionError.

    CLI Example: salt-run fleet.user_data s4 /root/s4.yaml
    """
    ids = [one for pool in _site().fleet.topology.pools.values() for one in pool.ids()]
    if host not in [*ids, *_site().fleet.hosts]:
        raise CommandExecutionError(f"{host} is no host of the topology")
    salina_file.put(path, provisioner.user_data(__opts__, _site(), host), 0o600)
    return f"{path} is the user data of {host}; its key is accepted"


def drain(hosts: Sequence[str], timeout: int | None = None) -> list[str]:
    """Send these hosts no more requests, and wait until those they have are done.

    `timeout`: seconds (default: setting balancer.drain); sessions that are longer are cut off
    with the host. Returns the hosts. Raises CommandExecutionError when a balancer refuses.

    CLI Example: none, it is a step of orch.scale
    """
    site = _site()
    bound = site.fleet.settings[BalancerSettings].drain if timeout is None else timeout
    balancers = [host.id for host in site.fleet.having("balancer")]
    drained = set()
    for balancer, servers in minions.ask(__opts__, balancers, "balancer.servers").items():
        for host in (host for host in hosts if host in servers):  # else it followed already
            minions.ask(__opts__, [balancer], "balancer.drain", [host])
            drained.add(host)

    def idle() -> bool:
        answers = minions.ask(__opts__, balancers, "balancer.servers").values()
        return not any(found[one]["sessions"] for found in answers for one in drained & set(found))

    if drained:
        wait.until(idle, bound)
    return sorted(drained)


def retire(hosts: Sequence[str]) -> list[str]:
    """Stop the application and what belongs to it, and unmount the volume, where a host answers.

    Returns the hosts that did.

    CLI Example: none, it is a step of orch.scale
    """
    site = _site()
    known = [host for host in hosts if provisioner.accepted(__opts__, host)]
    silent = minions.silent(__opts__, known, KNOWN_SECONDS)
    alive = [host for host in known if host not in silent]
    kinds = {str(one["kind"]) for one in site.definitions.values()}
    units = ["nginx", *sorted(kinds), "pgbouncer", "haproxy"]
    if alive:
        # what is not there need not be stopped, and the host goes anyway
        client = minions.client(__opts__)
        client.cmd(alive, "cmd.retcode", [["systemctl", "stop", *units]], tgt_type="list")
        mount = site.fleet.settings[StorageSettings].mount
        client.cmd(alive, "mount.umount", [mount], tgt_type="list")
    return alive


def destroy(hosts: Sequence[str]) -> list[str]:
    """Have the provisioner remove hosts, and forget their minions. Raises CommandExecutionError.

    CLI Example: none, it is a step of orch.scale
    """
    staying = [host for host in hosts if host in _site().fleet.hosts]
    if staying:
        raise CommandExecutionError(f"{', '.join(staying)} belongs to the fleet")
    failed = provisioner.destroy(__opts__, hosts)
    if failed:
        raise CommandExecutionError("\n".join(f"{host}: {why}" for host, why in failed.items()))
    return list(hosts)


def probe(hosts: Sequence[str], through: bool = False, timeout: int = 120) -> list[str]:
    """Wait until each host answers the balancers with its application's health.

    `through`: until the balancers send it requests, too. `timeout`: seconds. Returns the hosts.
    Raises CommandExecutionError with what the last one said.

    CLI Example: salt-run fleet.probe hosts='[s1, s2]'
    """
    site = _site()
    balancers = [host.id for host in site.fleet.having("balancer")]
    if through:
        for host in hosts:
            minions.ask(__opts__, balancers, "balancer.ready", [host])
    obstacle = _not_served if through else _unhealthy
    try:
        wait.clear(
            lambda: obstacle(site, balancers, hosts), timeout, f"{', '.join(hosts)} to serve"
        )
    except TimeoutError as error:
        raise CommandExecutionError(str(error)) from None  # the message says it all
    return list(hosts)


def done(pool: str) -> dict[str, Any]:
    """Close the change of a pool: nothing of it is unfinished. Returns what came and went.

    CLI Example: none, it is the last step of orch.scale
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
    salina_file.put(site.state / LAST, json.dumps(last))
    return last


# What they share


def _site() -> Site:
    return runner.site(__opts__)


def _answer(hosts: Sequence[str], timeout: int) -> None:
    """Wait until the hosts' minions answer. Raises CommandExecutionError with those that don't."""
    silent = minions.silent(__opts__, hosts, timeout)
    if silent:
        raise CommandExecutionError(
            f"waited {timeout} s for every planned minion: no answer from {', '.join(silent)}"
            "\nnext: salt-run fleet.ready"
        )


def _save_unfinished(site: Site, hosts: dict[str, list[str]]) -> None:
    file = site.state / salina_members.UNFINISHED
    salina_members.save_unfinished(file, hosts, site.fleet.topology)


def _plain(request: dict[str, Any]) -> dict[str, Any]:
    """A request without what Salt adds to a runner's arguments."""
    return {key: value for key, value in request.items() if not key.startswith("__")}


def _plan(site: Site, request: dict[str, Any]) -> scale.Change:
    topology, begun = site.fleet.topology, runner.unfinished(site)
    try:
        wanted = scale.parse(_plain(request), topology)
        return scale.plan(wanted, topology, site.fleet.members, begun[wanted.pool])
    except scale.RequestError as error:
        raise CommandExecutionError(str(error)) from None  # the message says it all


def _told(site: Site, change: scale.Change) -> dict[str, Any]:
    """A change with the hosts that follow it."""
    balancers = [host.id for host in site.fleet.having("balancer")]
    beside = policy.neighbours(site.fleet, site.fleet.topology.pools[change.pool].roles)
    still = {*change.touched, *balancers}
    return scale.told(change, [host for host in beside if host not in still], balancers)


def _unhealthy(site: Site, balancers: list[str], hosts: Sequence[str]) -> str:
    """Which of the hosts don't answer the balancers, and why not."""
    said = []
    for host in hosts:
        here = site.fleet.hosts[host]
        address = host_port(app.address(site.fleet, here), app.PORT)
        health = site.definition_of(here)["health"]
        asked = [f"http://{address}{health['path']}", health["cookie"]]
        answers = minions.ask(__opts__, balancers, "application.health", asked)
        said += [f"{host}: {fault}" for fault in answers.values() if fault]
    return "; ".join(said)


def _not_served(site: Site, balancers: list[str], hosts: Sequence[str]) -> str:
    """Which of the hosts the balancers send no requests, or don't answer one through them."""
    said = []
    for balancer, servers in minions.ask(__opts__, balancers, "balancer.servers").items():
        waiting = [host for host in hosts if not servers.get(host, {}).get("serving")]
        said += [f"{balancer} has not {host}" for host in waiting]
    if said:
        return "; ".join(said)
    topology = site.fleet.topology
    service = topology.service
    there = [
        one for one in balancers if service.address in site.fleet.hosts[one].addresses.values()
    ]
    for host in hosts:
        here = site.fleet.hosts[host]
        health = site.definition_of(here)["health"]
        url = f"{service.scheme}://{host_port(service.address, service.port)}{health['path']}"
        asked = [host, url, topology.served_by(here).domain, health["cookie"]]
        answers = minions.ask(__opts__, there, "balancer.answer", asked)
        said += [f"{host} through {one}: {fault}" for one, fault in answers.items() if fault]
    return "; ".join(said)


def _take_out(hosts: Collection[str], known: Collection[str]) -> provisioner.Failures:
    """Undo the joining of hosts that never came; returns those that could not be removed.

    Those which were `known` from an interrupted change stay unfinished: others may have followed
    it already, and the next change sees to these. So do those that are still there.
    """
    site = _site()
    left = {
        pool: [one for one in ids if one not in hosts] for pool, ids in site.fleet.members.items()
    }
    salina_members.save(site.members_file, left, site.fleet.topology)
    failed = provisioner.destroy(__opts__, list(hosts))
    away = {*hosts} - {*known, *failed}
    begun = {
        pool: [one for one in ids if one not in away]
        for pool, ids in runner.unfinished(site).items()
    }
    _save_unfinished(site, begun)
    return failed

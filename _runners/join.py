"""Hosts that join by themselves: they came up with a key that was accepted beforehand.

The reactor calls `started` for each minion that starts (salt/reactor/join.sls), the schedule `look`
for what was lost or interrupted (master.d/40-reactor.conf). Both are cheap, and have `catch_up` do
the work in a process of its own.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import salt.runner
from salt.exceptions import CommandExecutionError

from salina.common import file, orchestration
from salina_fleet import minions, runner
from salina_fleet.change import join, lock
from salina_fleet.model import members
from salina_fleet.provision import provisioner
from salina_fleet.site import Site

__opts__: dict[str, Any]
__salt__: dict[str, Callable[..., Any]]

log = logging.getLogger(__name__)

ORCHESTRATION = "orch.join"
ANSWER_SECONDS = 10
NOTHING = "nothing"
SALT_RUN = "import salt.scripts; salt.scripts.salt_run()"

_waking = threading.Lock()
_awake: list[subprocess.Popen[bytes]] = []
"""The process that was begun last."""


def started(minion: object = None, tag: object = None) -> str:
    """Look after a minion that has started. Returns what follows.

    `minion`: the id in the event, `tag`: the event's. The start of a settled member, or a forged
    event, costs no more than this call.

    CLI Example: none, the reactor calls it
    """
    site = _site()
    if join.starts(minion, tag) and _obstacles(site).get(str(minion)) == "":
        return f"{minion}: {_wake(site)}"
    return NOTHING


def look() -> str:
    """Look after the hosts whose start event was lost, or whose joining was interrupted.

    Returns what follows.

    CLI Example: salt-run join.look
    """
    site = _site()
    begun = {host for hosts in runner.unfinished(site).values() for host in hosts}
    if not begun.intersection(_attempt(site).hosts):  # somebody finished it
        (site.state / join.ATTEMPT).unlink(missing_ok=True)
    return _wake(site) if "" in _obstacles(site).values() else NOTHING


def plan() -> dict[str, Any]:
    """Who would join now, and what stands against the others; nothing is changed.

    Returns joining (hosts of each pool) and waiting (host: why). Hosts that nobody gave user data
    are in neither.

    CLI Example: salt-run join.plan
    """
    site = _site()
    found = _obstacles(site)
    free = [host for host, obstacle in found.items() if not obstacle]
    there = _ask(free, "test.ping")
    found |= {host: "does not answer" for host in free if host not in there}
    balancers = [host.id for host in site.fleet.having("balancer")] if there else []
    silent = sorted({*balancers} - {*_ask(balancers, "balancer.servers")})
    if silent:  # before the first deployment, too
        found |= dict.fromkeys(there, f"no balancer at work on {', '.join(silent)}")
    joining: dict[str, list[str]] = {}
    for host, obstacle in found.items():
        if not obstacle:
            pool = join.pool_of(host, site.fleet.topology)
            joining.setdefault(str(pool), []).append(host)
    return {"joining": joining, "waiting": {host: why for host, why in found.items() if why}}


def catch_up() -> list[str]:
    """Have those of a pool join who want to and may. Returns them.

    While another change is under way nobody does: it goes first. Raises CommandExecutionError when
    a joining fails; that is in the master's log and in `fleet.status` as well.

    CLI Example: salt-run join.catch_up
    """
    site = _site()
    if lock.holder(site.lock_file):
        return []
    hosts = next(iter(plan()["joining"].values()), [])  # other pools have the next turn
    if hosts:
        try:
            lock.take(site.lock_file, f"the joining of {', '.join(hosts)}")
        except lock.LockedError:
            return []
        _join(site, hosts)
    return hosts


def begin(test: bool = False, **request: Any) -> dict[str, Any]:
    """Take the lock, and record hosts that came up by themselves as members.

    `request`: hosts, a list of one pool's; `test`: nothing is recorded. Returns what `fleet.begin`
    does. Raises CommandExecutionError: another change is under way, or a host is no pool's, is
    being taken out, or has no key that was accepted; nothing was recorded then.

    CLI Example: none, it is a step of orch.join
    """
    site = _site()
    given = {key: value for key, value in request.items() if not key.startswith("__")}
    hosts = given.get("hosts")
    listed = hosts if isinstance(hosts, list) else []
    pools = {join.pool_of(host, site.fleet.topology) for host in listed}
    pool = next(iter(pools), None)
    if len(pools) != 1 or pool is None or len(given) != 1:
        raise CommandExecutionError(
            f'request: {json.dumps(given)}, allowed is {{"hosts": [a list of hosts of one pool]}}'
        )
    leaving = {*runner.unfinished(site)[pool]} - {*site.fleet.members[pool]}
    for host in listed:
        if not provisioner.accepted(__opts__, host):
            raise CommandExecutionError(
                f"{host} has no key that was accepted\nnext: salt-run fleet.user_data {host} FILE"
            )
        if host in leaving:
            raise CommandExecutionError(f"{host} is being taken out\nnext: salt-run fleet.status")
    change: dict[str, Any] = __salt__["fleet.plan" if test else "fleet.begin"](
        pool=pool, add=listed
    )
    return change


def _site() -> Site:
    return runner.site(__opts__)


def _obstacles(site: Site) -> dict[str, str]:
    """What the master itself has against the hosts whose keys are accepted."""
    fleet, now = site.fleet, time.time()
    quiet = now - _touched(site)
    found = join.obstacles(
        fleet.topology, fleet.members, runner.unfinished(site), _attempt(site), quiet, now
    )
    return {
        host: obstacle for host, obstacle in found.items() if provisioner.accepted(__opts__, host)
    }


def _wake(site: Site) -> str:
    """Have a process of its own look closer, one at a time. Returns what follows.

    Its own because a lock lasts as long as its process: the reactor's lasts for weeks.
    """
    if lock.holder(site.lock_file):
        return "a change is under way; the schedule looks again"
    with _waking:
        if _awake and _awake[0].poll() is None:
            return "is being looked after"
        command = [sys.executable, "-c", SALT_RUN, "-c", str(__opts__["config_dir"])]
        _awake[:] = [
            subprocess.Popen(
                [*command, "join.catch_up"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # what fails is in the master's log
                start_new_session=True,
            )
        ]
    return "joins, unless something stands against it"


def _touched(site: Site) -> float:
    """When hosts became unfinished last: seconds since the epoch."""
    try:
        return (site.state / members.UNFINISHED).stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _attempt(site: Site) -> join.Attempt:
    return join.attempt(site.state / join.ATTEMPT)


def _ask(hosts: Iterable[str], function: str) -> list[str]:
    """Which of the hosts answer, without an error."""
    asked = list(hosts)
    if not asked:
        return asked
    client = minions.client(__opts__, gather_job_timeout=5)
    answers = client.cmd(asked, function, tgt_type="list", timeout=ANSWER_SECONDS, full_return=True)
    return [host for host in asked if answers.get(host, {}).get("retcode", 1) == 0]


def _join(site: Site, hosts: list[str]) -> None:
    """Run the orchestration, and keep account of it until it has succeeded."""
    tried = join.Attempt(tuple(hosts), time.time())
    _note(site, tried)
    # as whoever runs this: Salt's minions take no commands from an unknown user
    low = {"mods": ORCHESTRATION, "pillar": {"hosts": hosts}, "__user__": __opts__["user"]}
    with salt.runner.RunnerClient(__opts__) as client:
        ran = client.low("state.orchestrate", low, print_event=False)
    error = _failure(ran)
    if error:
        _note(site, dataclasses.replace(tried, at=time.time(), error=error))
        log.error("%s did not join: %s", ", ".join(hosts), error)
        raise CommandExecutionError(f"{', '.join(hosts)} did not join: {error}")
    (site.state / join.ATTEMPT).unlink(missing_ok=True)


def _note(site: Site, tried: join.Attempt) -> None:
    file.put(site.state / join.ATTEMPT, json.dumps(dataclasses.asdict(tried)))


def _failure(ran: object) -> str:
    """What failed in the orchestration; "": nothing did."""
    if not isinstance(ran, dict) or "data" not in ran:
        return str(ran)
    found = [
        failure
        for steps in ran["data"].values()
        for failure in orchestration.failures(steps, ORCHESTRATION)
    ]
    return orchestration.told(found) if found or not ran.get("retcode") else str(ran)

"""Let hosts join by themselves, if they start with a key that was accepted beforehand.

Let hosts catch up as well, if a change skipped them because they were down.

The reactor calls `started` for each minion that starts (salt/reactor/join.sls). The schedule calls
`look`, in case an event was lost or a join was interrupted (master.d/40-reactor.conf). Both are
cheap: a process of its own runs `catch_up`, which does the work.
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

from salina.common import file, orchestration
from salina_fleet import minions, runner
from salina_fleet.change import absence, exclusive, join
from salina_fleet.errors import RunnerError
from salina_fleet.model import members
from salina_fleet.provision import provisioner
from salina_fleet.roles import ROLES
from salina_fleet.site import Site

__opts__: dict[str, Any]
__salt__: dict[str, Callable[..., Any]]

log = logging.getLogger(__name__)

ORCHESTRATION = "orch.join"
CATCH_UP = "orch.catch_up"
ANSWER_SECONDS = 10
NOTHING = "nothing"
SALT_RUN = "import salt.scripts; salt.scripts.salt_run()"

_waking = threading.Lock()
_awake: list[subprocess.Popen[bytes]] = []
"""The process that was started last."""


def started(minion: object = None, tag: object = None) -> str:
    """Look after a minion that has just started, if it may join or has to catch up.

    The reactor calls it. For any other member, or another host's event, nothing follows.

    Args:
        minion: the id in the event.
        tag: the event's tag.

    Returns:
        What follows, as a sentence.

    CLI Example:
        salt-run join.started s4 salt/minion/s4/start
    """
    if not join.starts(minion, tag):
        return NOTHING
    site = _site()
    if minion in runner.behind(site):
        return f"{minion}: {_wake(site, 'it catches up')}"
    if _obstacles(site).get(str(minion)) == "":
        return f"{minion}: {_wake(site, 'it joins')}"
    return NOTHING


def look() -> str:
    """Look after hosts whose start event was lost, or whose join was interrupted.

    Returns:
        What follows, as a sentence.

    CLI Example:
        salt-run join.look
    """
    site = _site()
    running = exclusive.holder(site.change_file)  # perhaps the attempt itself, before it begins
    if not running and not _obstacles(site).keys() & _attempt(site).hosts:
        (site.state / join.ATTEMPT).unlink(missing_ok=True)  # another change finished it
    if absence.due(runner.behind(site), time.time()):
        return _wake(site, "hosts catch up")
    return _wake(site, "hosts join") if "" in _obstacles(site).values() else NOTHING


def plan() -> dict[str, Any]:
    """Show which hosts would join now, and why others would not. This changes nothing.

    Returns:
        `joining`, the hosts of each pool, and `waiting`, each host with the reason. A host without
        user data is in neither.

    CLI Example:
        salt-run join.plan
    """
    site = _site()
    found = _obstacles(site)
    free = [host for host, obstacle in found.items() if not obstacle]
    there = _ask(free, "test.ping")
    found |= {host: "it does not answer" for host in free if host not in there}
    balancers = [host.id for host in site.fleet.having("balancer")] if there else []
    silent = sorted({*balancers} - {*_ask(balancers, "balancer.servers")})
    # all of them also before the first deployment
    if len(silent) > ROLES["balancer"].spare(site.fleet):
        found |= dict.fromkeys(there, f"no balancer is running on {', '.join(silent)}")
    joining: dict[str, list[str]] = {}
    for host, obstacle in found.items():
        if not obstacle:
            pool = join.pool_of(host, site.fleet.topology)
            joining.setdefault(str(pool), []).append(host)
    return {"joining": joining, "waiting": {host: why for host, why in found.items() if why}}


def catch_up() -> list[str]:
    """Apply the states of hosts that are behind, and let all waiting hosts of one pool join.

    While another change is running, do nothing.

    Returns:
        The hosts that caught up or joined.

    Raises:
        RunnerError: an apply or the join failed. The master's log and `fleet.status` say so too.

    CLI Example:
        salt-run join.catch_up
    """
    site = _site()
    if exclusive.holder(site.change_file):
        return []
    late = _ask(absence.due(runner.behind(site), time.time()), "test.ping")
    if late:
        if not _claimed(site, f"the states of {', '.join(late)} after an absence"):
            return []
        _apply(site, late)
        return late  # the schedule calls again for the joining hosts
    joining: dict[str, list[str]] = plan()["joining"]
    hosts = next(iter(joining.values()), [])  # the schedule calls again for the other pools
    if hosts:
        if not _claimed(site, f"the join of {', '.join(hosts)}"):
            return []
        _join(site, hosts)
    return hosts


def begin(test: bool = False, **request: Any) -> dict[str, Any]:
    """Begin a change that makes hosts members which started by themselves.

    It is the first step of orch.join.

    Args:
        test: record nothing.
        request: `hosts`, a list of ids of one pool.

    Returns:
        The plan, as `fleet.plan` returns it.

    Raises:
        RunnerError: another change is running, the request is invalid, or a host is
            being removed or has no accepted key. Nothing was recorded then.

    CLI Example:
        salt-run join.begin hosts='[s4]' test=True
    """
    site = _site()
    given = {key: value for key, value in request.items() if not key.startswith("__")}
    hosts = given.get("hosts")
    listed = hosts if isinstance(hosts, list) else []
    pools = {join.pool_of(host, site.fleet.topology) for host in listed}
    pool = next(iter(pools), None)
    if len(pools) != 1 or pool is None or len(given) != 1:
        raise RunnerError(
            'request: must be like {"hosts": ["s4"]}, with hosts of one pool only; '
            f"found: {json.dumps(given)}"
        )
    for host in listed:
        if not provisioner.accepted(__opts__, host):
            raise RunnerError(
                f"{host} has no accepted key\nnext: salt-run fleet.user_data {host} FILE"
            )
        command = runner.removal(site, host)
        if command:
            raise RunnerError(f"{host} is being removed by an unfinished change\nnext: {command}")
    change: dict[str, Any] = __salt__["fleet.plan" if test else "change.begin"](
        pool=pool, add=listed
    )
    return change


def _site() -> Site:
    return runner.site(__opts__)


def _obstacles(site: Site) -> dict[str, str]:
    """Return why hosts with accepted keys may not join, as far as the master itself knows."""
    fleet, now = site.fleet, time.time()
    quiet = now - _touched(site)
    found = join.obstacles(
        fleet.topology, fleet.members, runner.unfinished(site), _attempt(site), quiet, now
    )
    return {
        host: obstacle for host, obstacle in found.items() if provisioner.accepted(__opts__, host)
    }


def _wake(site: Site, what: str) -> str:
    """Start a process that looks closer, one at a time. Return what follows: `what`, or why not.

    A change belongs to its process, and the reactor's process runs for weeks: so start another one.
    """
    if exclusive.holder(site.change_file):
        return "another change is running; the schedule looks again"
    with _waking:
        if _awake and _awake[0].poll() is None:
            return "another process is looking after it"
        command = [sys.executable, "-c", SALT_RUN, "-c", str(__opts__["config_dir"])]
        _awake[:] = [
            subprocess.Popen(
                [*command, "join.catch_up"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # the master's log has the errors
                start_new_session=True,
            )
        ]
    return f"{what}, unless something prevents it"


def _touched(site: Site) -> float:
    """Return when hosts last became unfinished, in seconds since the epoch."""
    try:
        return (site.state / members.UNFINISHED).stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _attempt(site: Site) -> join.Attempt:
    return join.attempt(site.state / join.ATTEMPT)


def _ask(hosts: Iterable[str], function: str) -> list[str]:
    """Return the hosts that answer without an error."""
    asked = list(hosts)
    if not asked:
        return asked
    client = minions.client(__opts__, gather_job_timeout=5)
    answers = client.cmd(asked, function, tgt_type="list", timeout=ANSWER_SECONDS, full_return=True)
    return [host for host in asked if answers.get(host, {}).get("retcode", 1) == 0]


def _join(site: Site, hosts: list[str]) -> None:
    """Run the orchestration, and record the attempt until it has succeeded."""
    tried = join.Attempt(tuple(hosts), time.time())
    _note(site, tried)
    error = orchestration.told(runner.orchestrate(__opts__, ORCHESTRATION, {"hosts": hosts}))
    if error:
        _note(site, dataclasses.replace(tried, at=time.time(), error=error))
        log.error("%s did not join: %s", ", ".join(hosts), error)
        raise RunnerError(f"{', '.join(hosts)} did not join: {error}")
    (site.state / join.ATTEMPT).unlink(missing_ok=True)


def _claimed(site: Site, what: str) -> bool:
    """Start a change in this process; return False if another process is changing the fleet."""
    try:
        exclusive.take(site.change_file, what)
    except exclusive.BusyError:
        return False
    return True


def _apply(site: Site, hosts: list[str]) -> None:
    """Apply the states of hosts that are behind. A host that fails stays behind, with the error."""
    error = orchestration.told(runner.orchestrate(__opts__, CATCH_UP, {"hosts": hosts}))
    behind = runner.behind(site)
    kept = {host: one for host, one in behind.items() if host not in hosts}
    if error:
        now = time.time()
        failed = {
            host: dataclasses.replace(one, tried=now, error=error)
            for host, one in behind.items()
            if host in hosts
        }
        kept |= failed
    absence.save(site.state / absence.BEHIND, kept)
    if error:
        log.error("%s did not catch up: %s", ", ".join(hosts), error)
        raise RunnerError(f"{', '.join(hosts)} did not catch up: {error}")


def _note(site: Site, tried: join.Attempt) -> None:
    file.put(site.state / join.ATTEMPT, json.dumps(dataclasses.asdict(tried)))

"""Show the fleet as a whole, wait for it, deploy it, and plan and make changes to its pools.

These are an operator's commands. The steps of a change are in the runner `change`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

from salina.common import file, reading, wait
from salina.common.https import host_port
from salina.common.orchestration import told
from salina_fleet import health as healths
from salina_fleet import minions, operators, runner
from salina_fleet.change import deployment, exclusive, follow, join
from salina_fleet.change import plan as plans
from salina_fleet.change.progress import seconds
from salina_fleet.change.screen import HEARTBEAT, Screen
from salina_fleet.errors import RunnerError
from salina_fleet.health import Finding, Row
from salina_fleet.provision import provisioner
from salina_fleet.revisions import RevisionError
from salina_fleet.roles import ROLES, app
from salina_fleet.roles.balancer import own
from salina_fleet.schema.faults import not_among
from salina_fleet.secrets import SecretsError
from salina_fleet.site import Site

__opts__: dict[str, Any]

PATIENCE = 900
"""Seconds to wait for minions that apply states."""
ANSWER, GATHER = 4, 2
"""Seconds to wait for a connected minion's health, and whether it still works on the answer."""
PREDICT, PREDICTION = 15, 600
"""Seconds until the master asks a silent minion whether it still predicts, and for all together."""


def members() -> dict[str, list[str]]:
    """Return the active members of each pool.

    Returns:
        Each pool's name with the ids of its members.

    CLI Example:
        salt-run fleet.members
    """
    return {pool: list(ids) for pool, ids in _site().fleet.members.items()}


def ready(
    hosts: Sequence[str] | None = None, timeout: int = 120, patience: int = PATIENCE
) -> list[str]:
    """Wait until the minion of every planned host answers and applies no states.

    This also waits for a minion that is about to restart with a new configuration
    (salt/common/minion.sls), and for states that a killed orchestration had started. A second
    apply at the same time would fail.

    Args:
        hosts: ids; the whole fleet by default.
        timeout: seconds to wait for answers.
        patience: seconds to wait for states that are being applied.

    Returns:
        The hosts.

    Raises:
        RunnerError: with the hosts that did not answer, or that still apply states.
            (Salt's own `batch` passes over a dead minion without a word.)

    CLI Example:
        salt-run fleet.ready
        salt-run fleet.ready hosts='[s1, s2]' timeout=30
    """
    planned = _chosen(_site(), hosts)
    _answer(planned, timeout)
    applying = minions.busy(__opts__, planned, 0)
    if applying:
        runner.idle(__opts__, list(applying), patience)
        _answer(list(applying), timeout)  # such a run may end with a restart of its minion
    return planned


def status() -> dict[str, Any]:
    """Show the members of each pool, the running and the last change, and what is left to do.

    Returns:
        For each pool: `members` (current), `wanted` (planned), and their difference, `joining` and
        `leaving`, while a change is running or after it was interrupted. Beside the pools:
        `running` (what, pid, since), `last change`, `failed to join` (the reason), and `behind`
        (each host that a change skipped because it was down: since when, and why it could not
        catch up yet). Each of these is None if there is none.

    CLI Example:
        salt-run fleet.status
    """
    site = _site()
    unfinished = runner.unfinished(site)
    try:
        last = json.loads(reading.read(site.state / runner.LAST_CHANGE))
    except FileNotFoundError:
        last = None
    except OSError as error:
        raise RunnerError(f"{error.filename}: the file cannot be read: {error.strerror}") from None
    except ValueError as error:
        file = site.state / runner.LAST_CHANGE
        raise RunnerError(f"{file}: the file is damaged: {error}; delete it") from None
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
        "running": exclusive.holder(site.change_file) or None,
        "last change": last,
        "failed to join": join.attempt(site.state / join.ATTEMPT).error or None,
        "behind": {
            host: {"since": one.since, "error": one.error or None}
            for host, one in runner.behind(site).items()
        }
        or None,
    }


def health() -> Any:
    """Show the health of every host and every tier, as the hosts themselves see it now.

    A minion that is not connected to the master counts as silent at once.

    Returns:
        A line for each host and each tier. With `--out=json` (or another format) a mapping:
        `healthy`, and `hosts` and `tiers` with their checks.

    Raises:
        RunnerError: something is not healthy; the message has the same lines. With `--out` the
            exit code alone says so.

    CLI Example:
        salt-run fleet.health
        salt-run fleet.health --out=json
    """
    site = _site()
    hosts = _health(site)
    tiers = healths.tiers(
        {role: [host.id for host in site.fleet.having(role)] for role in ROLES}, hosts
    )
    told = healths.data(hosts, tiers)
    if __opts__.get("output"):
        return {"data": {**told, "retcode": int(not told["healthy"])}, "outputter": "json"}
    text = healths.text([*hosts, *tiers])
    if not told["healthy"]:
        raise RunnerError(text)
    return text


def plan(hosts: Sequence[str] | None = None, **request: Any) -> Any:
    """Show what would change. This changes nothing.

    Without a pool: what an apply or a deployment would change on each host now. Every host predicts
    it with `state.apply test=True`, all at the same time: the differences of files (except of those
    with secrets), packages, services, restarts and reloads, and whether a restart takes a turn.
    A host that predicts cannot apply states meanwhile.

    With a pool: what `fleet.scale` with the same arguments would do.

    Args:
        hosts: ids of the hosts that predict; the whole fleet by default. Not with a pool.
        request: `pool`, and either `count` or lists of ids to `add` and to `remove`.

    Returns:
        Without a pool: lines for people, hosts with the same changes together, in the order of a
        deployment. With `--out=json` (or another format) a mapping of the same facts: `complete`,
        `summary`, and `hosts`, each with `changes`, `notes` (mostly of states that cannot predict
        anything now), `failures` (states that would fail) and `obstacle` (why it predicted
        nothing).

        With a pool: `pool`, `members` (afterwards), `joining`, `leaving`, the hosts that follow the
        change (`neighbours`, `balancers`, `watchers`), those that are down (`skipped`;
        they catch up when they return), and the `steps`.

    Raises:
        RunnerError: the request is invalid, with every fault; or hosts are down that the change of
            a pool needs. Or the plan is incomplete, because a host is down or applies states
            already, or a state would fail: then the message is the plan. With `--out` the exit code
            alone says so.

    CLI Example:
        salt-run fleet.plan
        salt-run fleet.plan hosts='[s1, lb1]'
        salt-run fleet.plan --out=json
        salt-run fleet.plan pool=app count=5
        salt-run fleet.plan pool=app add='[s4]' remove='[s2]'
    """
    site = _site()
    if runner.plain(request):
        if hosts is not None:
            raise RunnerError(
                "hosts: is not valid with a pool, whose change concerns the hosts that follow it; "
                "remove hosts or the pool"
            )
        change = runner.plan(site, request)
        return runner.told(site, change, runner.absent(__opts__, site, change))
    found = _predicted(site, _chosen(site, hosts))
    whole = plans.whole(found)
    if __opts__.get("output"):
        return {"data": {**plans.data(found), "retcode": int(not whole)}, "outputter": "json"}
    if not whole:
        raise RunnerError(plans.text(found))
    return plans.text(found)


def scale(**request: Any) -> str:
    """Run orch.scale and show its progress: steps, hosts, elapsed and usual times.

    The progress is on standard error, in place on a terminal and as lines in a log.

    Args:
        request: as for `fleet.plan`.

    Returns:
        The steps that were taken, with their durations and the hosts' changes.

    Raises:
        RunnerError: the request is invalid, or another change is running. Or a step failed; then
            the message has the failures, the next command, and the steps until then.

    CLI Example:
        salt-run fleet.scale pool=app count=5
        salt-run fleet.scale pool=app add='[s4]' remove='[s2]'
    """
    site = _site()
    change = runner.told(site, runner.plan(site, request), [])  # change.begin asks who is down
    running = exclusive.holder(site.change_file)
    if running:
        raise RunnerError(f"{exclusive.describe(running)}\nnext: salt-run fleet.watch")
    return _followed("orch.scale", change, runner.plain(request))


def deploy() -> str:
    """Run orch.deploy and show its progress, as `fleet.scale` does.

    Returns:
        The steps that were taken, with their durations and the hosts' changes.

    Raises:
        RunnerError: another change is running, or a revision cannot be looked up; no host was
            changed then. Or a step failed; then the message has the failures, the next command, and
            the steps until then.

    CLI Example:
        salt-run fleet.deploy
    """
    runner.exclude(_site(), deployment.WHAT, deployment.PATIENCE)
    site = _site()  # another change may have ended meanwhile
    runner.resolved(site, site.fleet.topology.applications)
    return _followed("orch.deploy", deployment.told(site.fleet.tiers()), {})


def revisions() -> dict[str, dict[str, str]]:
    """Return the commit that every host runs of each application. This asks no repository.

    Returns:
        Each definition's name with its record: `repository`, `revision` and `commit`; and those of
        its further repositories under DEFINITION/NAME. A repository at a full commit needs no
        record. The record of a definition whose source was changed is the old one until the first
        use of the new one.

    Raises:
        RunnerError: the file of the records is damaged.

    CLI Example:
        salt-run fleet.revisions
    """
    try:
        return _site().revisions.recorded()
    except RevisionError as error:
        raise RunnerError(str(error)) from None  # the message says it all


def resolve(application: str | None = None) -> dict[str, dict[str, str | None]]:
    """Record the newest commit of each application's branch. This changes no host.

    A branch that moves changes no host by itself: hosts run the recorded commit. Apply or deploy
    afterwards, so that all hosts get the new one.

    Args:
        application: an application of the topology; all of them by default.

    Returns:
        Each definition's name, and DEFINITION/NAME of each further repository, with its `revision`,
        the commit `before` (None without a record), and the `commit` now.

    Raises:
        RunnerError: there is no such application, another change is running, or a revision cannot
            be looked up. Nothing was recorded then.

    CLI Example:
        salt-run fleet.resolve
        salt-run fleet.resolve crm
    """
    site = _site()
    known = site.fleet.topology.applications
    if application is not None and application not in known:
        wrong = not_among(application, known, "an application")
        raise RunnerError(f"application: {wrong}")
    try:
        exclusive.take(site.change_file, "look up revisions")
    except exclusive.BusyError as error:
        raise RunnerError(f"{error}\nnext: salt-run fleet.status") from None
    sources = runner.sources(site, known if application is None else [application])
    try:
        before = site.revisions.recorded()
        commits = site.revisions.renew(sources)
    except RevisionError as error:
        raise RunnerError(str(error)) from None  # the message says it all
    return {
        name: {
            "revision": sources[name]["revision"],
            "before": before[name]["commit"] if name in before else None,
            "commit": commit,
        }
        for name, commit in commits.items()
    }


def watch(timeout: int = 0) -> str:
    """Show the progress of the change that is running, whoever started it, until its end.

    Args:
        timeout: seconds to wait for a change to begin.

    Returns:
        The text that the change ends with, or that no change is running.

    CLI Example:
        salt-run fleet.watch
        salt-run fleet.watch timeout=60
    """
    return follow.watch(runner.state(__opts__), timeout)


def known_hosts() -> str:
    """Show the public SSH key of every host, for an operator's file of known hosts.

    Returns:
        A line for each host: its name, its addresses, and its key.

    Raises:
        RunnerError: the fleet has no management host, or its secret does not exist.

    CLI Example:
        salt-run fleet.known_hosts
    """
    site = _site()
    if not site.fleet.having(operators.JUMP):
        raise RunnerError("no host has role management; add such a host to pillar/topology.yaml")
    try:
        return "\n".join(operators.known_hosts(site.data))
    except SecretsError as error:
        raise RunnerError(str(error)) from None


def user_data(host: str, path: str, replace: bool = False) -> str:
    """Write a new host's user data into a file that only root may read.

    Give the host this file at its first start. Its key is created and accepted at the same time.
    Use this for a fleet without a provisioner.

    Args:
        host: the new host's id.
        path: the file to write.
        replace: also replace a key that is accepted already. The host that has this key is cut
            off from the master at once.

    Returns:
        A sentence that says so.

    Raises:
        RunnerError: the topology has no such host, an unfinished change is removing the host, the
            host has an accepted key and `replace` is false, or the file cannot be written. No key
            was changed then.

    CLI Example:
        salt-run fleet.user_data s4 /root/s4.yaml
        salt-run fleet.user_data s2 /root/s2.yaml replace=True
    """
    site = _site()
    ids = [one for pool in site.fleet.topology.pools.values() for one in pool.ids()]
    if host not in [*ids, *site.fleet.hosts]:
        raise RunnerError(
            f"host: {host!r} is not in the topology; choose a host or a pool's id from "
            "pillar/topology.yaml, or add it there"
        )
    command = runner.removal(site, host)
    if command:
        raise RunnerError(
            f"host: {host} is being removed by an unfinished change, and the pool's next change "
            f"would destroy it; finish that change first\nnext: {command}"
        )
    if provisioner.accepted(__opts__, host) and not replace:
        raise RunnerError(
            f"host: {host} already has an accepted key, and a new key would cut it off if it is "
            "alive. If it is gone, or was never started, add replace=True. For a host that is "
            'alive, see "Give a host its key again" in docs/operations.md'
            f"\nnext: salt {host} test.ping"
        )
    file.put(path, "", 0o600)  # a path that cannot be written fails before the key changes
    file.put(path, provisioner.user_data(__opts__, site, host), 0o600)
    return f"{path} holds the user data of {host}; its key is accepted"


def probe(hosts: Sequence[str], through: bool = False, timeout: int = 120) -> list[str]:
    """Wait until the application on each host answers the balancers' health checks.

    Args:
        hosts: ids of app hosts.
        through: also wait until the balancers send requests to each host.
        timeout: seconds to wait.

    Returns:
        The hosts.

    Raises:
        RunnerError: with the last reason, if it took longer.

    CLI Example:
        salt-run fleet.probe hosts='[s1, s2]'
    """
    site = _site()
    balancers = runner.balancers(site)
    if through:
        for host in hosts:
            minions.ask(__opts__, balancers, "balancer.ready", [host])
    obstacle = _not_served if through else _unhealthy
    try:
        wait.clear(
            lambda: obstacle(site, balancers, hosts), timeout, f"{', '.join(hosts)} to serve"
        )
    except TimeoutError as error:
        raise RunnerError(str(error)) from None  # the message says it all
    return list(hosts)


def _site() -> Site:
    return runner.site(__opts__)


def _chosen(site: Site, hosts: Sequence[str] | None) -> list[str]:
    """Return the hosts that an operator names, or all. Raise RunnerError for an unknown one."""
    known = site.fleet.hosts
    chosen = list(known) if hosts is None else list(hosts)
    strangers = [host for host in chosen if host not in known]
    if strangers:
        advice = "`salt-run topology.show` lists all hosts"
        raise RunnerError(
            "\n".join(f"{host} is not a host of the fleet; {advice}" for host in strangers)
        )
    return chosen


def _predicted(site: Site, hosts: Sequence[str]) -> dict[str, plans.Expected]:
    """Let hosts predict their changes, show which of them still do, and return the plan."""
    connected = minions.connected(__opts__, site.fleet)
    screen = Screen(follow.STDERR) if __opts__.get("__cli") == "salt-run" else None
    begun = shown = time.time()

    def heard(waiting: Sequence[str]) -> None:
        nonlocal shown
        now = time.time()
        if screen and waiting and now - shown >= HEARTBEAT:
            working = f"{', '.join(waiting)} predict their changes"
            screen.show([], [f"… plan  {seconds(now - begun)}", working], now)
            shown = now

    asked = [host for host in hosts if host in connected]
    answers = minions.predictions(__opts__, asked, PREDICT, PREDICTION, heard)
    if screen:
        screen.show([], [], time.time())

    def one(host: str) -> plans.Expected:
        if host not in connected:
            return plans.Expected(obstacle="it is down: its minion is not connected to the master")
        if host not in answers:
            return plans.Expected(obstacle="its minion is connected but does not answer")
        return plans.expected(host, answers[host])

    order = [host for _, tier in site.fleet.tiers() for host in tier]
    return {host: one(host) for host in order if host in hosts}


def _followed(orchestration: str, change: dict[str, Any], request: dict[str, Any]) -> str:
    """Run an orchestration that shows its progress, and return the text of its end.

    The progress begins here, because the orchestration needs seconds to begin.
    """

    def run() -> str:
        found = runner.orchestrate(__opts__, orchestration, request)
        return f"{told(found)}\nnext: {found[0].next}" if found else ""

    if change["steps"]:
        follow.begin(__opts__, _site().state, change["what"], change["steps"])
    error, text = follow.returned(run)
    if error:
        raise RunnerError(text or error)
    return text or change["what"]


def _health(site: Site) -> list[Row]:
    """Ask all hosts that are connected, at once, and return a row for every host."""
    connected = minions.connected(__opts__, site.fleet)
    asked, answers = time.time(), _answers(sorted(connected), "health.check")
    outdated = [host for host, one in answers.items() if _outdated(site, host, one)]
    if outdated:  # only after a change of the repository or of the topology
        _answers(outdated, "saltutil.refresh_pillar", True)
        answers |= _answers(outdated, "health.check")
    answered = time.time()

    def findings(host: str) -> list[Finding]:
        if host not in connected:
            return [Finding("minion", False, "silent: it is not connected to the master")]
        if host not in answers:
            return [Finding("minion", False, "silent: it is connected but does not answer")]
        answer = answers[host]
        if answer.get("retcode") or not isinstance(answer["ret"], dict):
            return [Finding("minion", False, str(answer["ret"]))]
        if _outdated(site, host, answer):
            return [Finding("minion", False, "its pillar is old; see the master's log")]
        return [Finding("minion", True), *healths.findings(answer["ret"], asked, answered)]

    def again(hosts: list[str]) -> dict[str, list[Finding]]:
        return {
            host: [Finding(*one) for one in answer["ret"]["checks"]]
            for host, answer in _answers(hosts, "health.check").items()
            if isinstance(answer["ret"], dict)
        }

    membership = runner.membership(__opts__, site)
    rows = [
        Row(
            host.id,
            " ".join(host.roles),
            (*findings(host.id), *([membership] if "master" in host.roles else [])),
        )
        for host in site.fleet.hosts.values()
    ]
    return healths.compared(site.fleet.topology, rows, again)


def _answers(hosts: Sequence[str], function: str, *arguments: Any) -> dict[str, Any]:
    return minions.answers(__opts__, hosts, function, arguments, ANSWER, GATHER)


def _outdated(site: Site, host: str, answer: dict[str, Any]) -> bool:
    """Tell whether a host made other checks than the master wants: its pillar is an old one."""
    if not isinstance(answer["ret"], dict):
        return False
    wanted = healths.checks(site.fleet, site.fleet.hosts[host], site.definitions)
    return bool(answer["ret"]["wanted"] != healths.for_pillar(wanted))


def _answer(hosts: Sequence[str], timeout: int) -> None:
    """Wait until the hosts' minions answer. Raise RunnerError with those that do not."""
    silent = minions.silent(__opts__, hosts, timeout)
    if silent:
        raise RunnerError(
            f"{', '.join(silent)} did not answer within {timeout} s; start each host that is down"
            "\nnext: salt-run fleet.ready"
        )


def _unhealthy(site: Site, balancers: list[str], hosts: Sequence[str]) -> str:
    """Return which hosts do not answer the balancers, and why."""
    said = []
    for host in hosts:
        here = site.fleet.hosts[host]
        health = site.definition_of(here)["health"]
        domain = site.fleet.topology.served_by(here).domain
        asked = [host, app.address(site.fleet, here), app.PORT, domain]
        asked += [health["path"], health["cookie"]]
        answers = minions.ask(__opts__, balancers, "balancer.reach", asked)
        faults = [fault for fault in answers.values() if fault]
        follow.note([host], faults[0] if faults else "is healthy", not faults)
        said += [f"{host}: {fault}" for fault in faults]
    return "; ".join(said)


def _not_served(site: Site, balancers: list[str], hosts: Sequence[str]) -> str:
    """Return which hosts get no requests from the balancers, or do not answer one through them."""
    said = []
    for balancer, servers in minions.ask(__opts__, balancers, "balancer.servers").items():
        waiting = [host for host in hosts if not servers.get(host, {}).get("serving")]
        follow.note(waiting, f"gets no requests from {balancer} yet")
        said += [f"{balancer} sends no requests to {host} yet" for host in waiting]
    if said:
        return "; ".join(said)
    topology = site.fleet.topology
    service = topology.service
    for host in hosts:
        here = site.fleet.hosts[host]
        health = site.definition_of(here)["health"]
        answers: dict[str, Any] = {}
        for one in balancers:  # each at its own address, since two share the published one
            address = own(site.fleet, site.fleet.hosts[one])
            url = f"{service.scheme}://{host_port(address, service.port)}{health['path']}"
            asked = [host, url, topology.served_by(here).domain, health["cookie"]]
            answers |= minions.ask(__opts__, [one], "balancer.answer", asked)
        faults = [f"{host} through {one}: {fault}" for one, fault in answers.items() if fault]
        follow.note([host], faults[0] if faults else "serves", not faults)
        said += faults
    return "; ".join(said)

"""The health of the lab: every host, every tier, and the service as a client sees it.

Each host makes its own checks, the same as for `salt-run fleet.health`. Here they are sent to the
host's own Python, so a host with a dead minion answers as well.
"""

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from rich.markup import escape
from rich.table import Table

from lab.cloud import server
from lab.errors import LabError
from lab.machines import containers, faults, inventory, minions, plan, topology_file
from lab.machines.plan import Machine, Plan
from lab.paths import REPOSITORY
from lab.process import run
from salina_fleet import health, policy, secrets
from salina_fleet.fleet import Fleet
from salina_fleet.health import Finding, Row
from salina_fleet.model import definition, settings
from salina_fleet.model.members import Members
from salina_fleet.model.topology import Topology
from salina_fleet.secrets import SecretsError

PROBE = REPOSITORY / "_utils/salina/health/probes.py"
SETTINGS = REPOSITORY / "pillar/settings"
PROBE_SECONDS = 20
PROBES = 2 * (os.cpu_count() or 1)
"""How many hosts make their checks at a time. More only hinder each other and the minions."""
LOGIN = '''read -r login; exec curl --config <(printf 'user = "%s"\\n' "$login") "$@"'''
"""A command of bash that reads NAME:PASSWORD from its first line, so that `ps` never shows it."""
PING_SECONDS = 6
"""A minion that is connected and answers later counts as silent."""


def definitions(topology: Topology) -> dict[str, dict[str, Any]]:
    """Return the content of the files in pillar/app that the topology's applications name."""
    names = {one.definition for one in topology.applications.values()}
    folder = topology_file.APPLICATIONS
    return {name: definition.load(folder / f"{name}.yaml").to_dict() for name in names}


def probe(
    machine: Machine, fleet: Fleet, defined: Mapping[str, Mapping[str, Any]]
) -> list[Finding]:
    """Have a running host make its checks.

    Args:
        machine: the host's container.
        fleet: all hosts.
        defined: the applications' definitions.
    """
    checks = health.checks(fleet, fleet.hosts[machine.name], defined)
    wanted = json.dumps(health.for_program(checks))
    command = containers.attach(machine, ["python3", "-IS", "-", wanted])
    asked = time.time()
    try:
        done = run(command, text=PROBE.read_text(), timeout=PROBE_SECONDS)
    except LabError as error:
        return [Finding("probe", False, str(error).splitlines()[-1])]
    return health.findings(json.loads(done.stdout), asked, time.time())


def service(
    caller: Machine,
    trusted: str,
    fleet: Fleet,
    defined: Mapping[str, Mapping[str, Any]],
    passwords: Mapping[str, str],
) -> Row:
    """Ask each application as a client does, and verify its certificate.

    Args:
        caller: a running machine.
        trusted: the CA's certificate.
        fleet: all hosts.
        defined: the applications' definitions.
        passwords: those of visitors, by the applications that ask for one.
    """
    published = fleet.topology.service
    found = []
    for one in fleet.topology.applications.values():
        asked = defined[one.definition]["health"]
        url = f"{published.scheme}://{one.domain}:{published.port}{asked['path']}"
        given = ["--silent", "--show-error", "--max-time", "10", "--output", "/dev/null"]
        given += ["--cookie", asked["cookie"]] if asked["cookie"] else []
        given += ["--resolve", f"{one.domain}:{published.port}:{published.address}"]
        given += ["--write-out", "%{http_code}", "--cacert", "/dev/stdin", url]
        curl, text = ["curl"], trusted
        password = passwords.get(one.name)
        if password:
            curl, text = ["bash", "-c", LOGIN, "curl"], f"{one.name}:{password}\n{trusted}"
        done = run(containers.attach(caller, [*curl, *given]), text=text, check=False)
        found.append(answered(url, done, bool(one.copy_of), bool(password)))
    return Row("service", f"from {caller.name}", tuple(found))


def answered(url: str, done: subprocess.CompletedProcess[str], copy: bool, login: bool) -> Finding:
    """Return what an application's answer says about it.

    Args:
        url: the page that was asked for.
        done: the run of curl.
        copy: whether it is a copy for trials, which asks for a password.
        login: whether the password was given.
    """
    if done.returncode:
        return Finding(url, False, done.stderr.strip())
    if copy and not login and done.stdout == "401":
        words = "asks for a password, which the master does not have: the application was not asked"
        return Finding(url, True, f"{words}; next: salt-run secrets.create", True)
    detail = f"HTTP {done.stdout}" + " with the visitors' password" * login
    return Finding(url, done.stdout == "200", detail)


def visitors(topology: Topology) -> dict[str, str]:
    """Return the passwords of visitors, by the copies for trials, as far as the master has them."""
    store, found = secrets.open_store(inventory.master_state(topology)), dict[str, str]()
    for one in topology.copies:
        with contextlib.suppress(SecretsError):
            found[one.name] = store.get(secrets.own(one.name, secrets.VISITORS))
    return found


def authority(wanted: Plan, fleet: Fleet) -> str:
    """Return the CA's certificate from the host that clients reach; empty where it has none yet.

    The file is read from this machine, because a command in a frozen host would never end.
    """
    for machine in wanted.machines:
        host = fleet.hosts.get(machine.name)
        file = containers.delta(machine) / "etc/salina/tls/ca.crt"
        if host and policy.published(fleet, host) and file.exists():
            return file.read_text()
    return ""


def ping(wanted: Plan, running: set[str]) -> set[str]:
    """Return the names of the minions which answer; those without a connection aren't asked."""
    if wanted.master.container not in running:
        return set()
    asked = {
        name for name, _ in minions.connections(wanted) if wanted.machine(name).container in running
    }
    return minions.answering(wanted, asked, PING_SECONDS) if asked else set()


def look(wanted: Plan, topology: Topology) -> tuple[list[Row], list[Row], dict[str, Row]]:
    """Return a row for each host, for each tier, and for the service and what makes hosts.

    Nothing is expected of a host that is not a member.
    """
    there, states = containers.existing(), containers.states()
    running = {container for container, state in states.items() if state == "RUNNING"}
    active, membership = members(topology)
    fleet = Fleet(topology, active, settings.load(SETTINGS))
    planned, defined = plan.make(topology, active), definitions(topology)

    def state(machine: Machine) -> str:
        if machine.container not in there:
            return "missing"
        return states.get(machine.container, "STOPPED").lower()

    def found(machine: Machine) -> list[Finding]:
        if machine not in planned.machines:
            return [Finding("host", True, state(machine))]
        more = [membership] if machine.master else []
        if machine.container not in running:
            return [*more, Finding("host", False, state(machine))]
        return [*probe(machine, fleet, defined), *more] if machine.minion else more

    def row(machine: Machine, rest: list[Finding]) -> Row:
        if machine not in planned.machines:
            return Row(machine.name, f"{machine.kind}, not a member", tuple(rest))
        first = [Finding("minion", machine.name in answering.result())] if machine.minion else []
        return Row(machine.name, machine.kind, (*first, *rest))

    caller = wanted.caller(topology.service.address)
    asked: dict[str, Future[Row]] = {}
    with ThreadPoolExecutor(2) as pool, ThreadPoolExecutor(PROBES) as probes:
        answering = pool.submit(ping, planned, running)
        if caller.container in running:  # a command in a frozen host would never end
            asked["service"] = pool.submit(
                service, caller, authority(wanted, fleet), fleet, defined, visitors(topology)
            )
        probed = list(probes.map(found, wanted.machines))
        rows = [row(machine, rest) for machine, rest in zip(wanted.machines, probed, strict=True)]
    others = {name: one.result() for name, one in asked.items()}

    def again(hosts: list[str]) -> dict[str, list[Finding]]:
        return {host: probe(planned.machine(host), fleet, defined) for host in hosts}

    rows = health.compared(topology, rows, again)
    roles: dict[str, list[str]] = {}
    for machine in planned.machines:
        for role in machine.roles:
            roles.setdefault(role, []).append(machine.name)
    return rows, health.tiers(roles, rows), {**others, "cloud": makes_hosts()}


def members(topology: Topology) -> tuple[Members, Finding]:
    """Return the members that the lab assumes, and what is wrong with the master's file of them."""
    active, fault = inventory.active_members(topology), inventory.members_fault(topology)
    if fault:
        words = f"{fault}; the hosts below are the initial members; correct the file on the master"
        return active, Finding("members", False, words)
    accepted, changing = inventory.accepted_keys(topology), inventory.changing_hosts(topology)
    return active, health.membership(topology, active, accepted, changing)


def makes_hosts() -> Row:
    """Return whether the lab's cloud is there for the master's provisioner."""
    there = server.pid() is not None
    why = "" if there else "not running, so no host of a pool can be created; run bin/lab up"
    return Row("cloud", "the lab", (Finding("process", there, why),))


def table(rows: list[Row], injected: list[faults.Fault]) -> Table:
    """Return what is to be shown: details for what is wrong and for what says something."""
    shown = Table(box=None, pad_edge=False)
    for heading in ("", "host", "roles", "health"):
        shown.add_column(heading)
    for row in rows:
        sign = f"[green]{health.GOOD}[/]" if row.good else f"[red]{health.BAD}[/]"
        shown.add_row(sign, row.name, row.roles, ", ".join(describe(one) for one in row.findings))
    for fault in injected:
        shown.add_row("[yellow]![/]", fault.host, "fault", f"injected: {fault}; bin/lab heal")
    return shown


def describe(finding: Finding) -> str:
    """Return a finding in a few words; red where it isn't good, yellow where it is a notice."""
    words = escape(str(finding))
    if not finding.good:
        return f"[red]{words}[/]"
    return f"[yellow]{health.NOTE} {words}[/]" if finding.notice else words

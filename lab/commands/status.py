"""The health of the fleet: every host, every tier, and the service as a client sees it.

The files of a host's roles (`fleet/salina_fleet/roles`) name its checks, and lab/commands/probe.py
makes them.
"""

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from lab.cloud import server
from lab.errors import LabError
from lab.machines import containers, faults, inventory, minions, plan, topology_file
from lab.machines.plan import Machine, Plan
from lab.paths import REPOSITORY
from lab.process import run
from salina_fleet import policy
from salina_fleet.fleet import Fleet
from salina_fleet.model import definition, settings
from salina_fleet.model.topology import Topology
from salina_fleet.roles import ROLES

PROBE = Path(__file__).with_name("probe.py")
SETTINGS = REPOSITORY / "pillar/settings"
PROBE_SECONDS = 60
PING_SECONDS = 10
PARALLEL = 4


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    what: str
    good: bool
    detail: str = ""


@dataclass(frozen=True)
class Row:
    """A host, or the service, with all that was looked at."""

    name: str
    roles: str
    checks: tuple[Check, ...]

    @property
    def good(self) -> bool:
        """Whether all is well."""
        return all(check.good for check in self.checks)


def definitions(topology: Topology) -> dict[str, dict[str, Any]]:
    """Return the content of the files in pillar/app that the topology's applications name."""
    names = {one.definition for one in topology.applications.values()}
    folder = topology_file.APPLICATIONS
    return {name: definition.load(folder / f"{name}.yaml").to_dict() for name in names}


def probe(machine: Machine, fleet: Fleet, defined: Mapping[str, Mapping[str, Any]]) -> list[Check]:
    """Have a running host make the checks of its roles, each once.

    Args:
        machine: the host's container.
        fleet: all hosts.
        defined: the applications' definitions.
    """
    host = fleet.hosts[machine.name]
    wanted = [check for role in host.roles for check in ROLES[role].checks(fleet, host, defined)]
    once = [check for place, check in enumerate(wanted) if check not in wanted[:place]]
    command = containers.attach(machine, ["python3", "-", json.dumps(once)])
    try:
        done = run(command, text=PROBE.read_text(), timeout=PROBE_SECONDS)
    except LabError as error:
        return [Check("probe", False, str(error).splitlines()[-1])]
    return [Check(*check) for check in json.loads(done.stdout)]


def service(
    caller: Machine, wanted: Plan, fleet: Fleet, defined: Mapping[str, Mapping[str, Any]]
) -> Row:
    """Ask each application as a client does, and verify its certificate."""
    trusted, published = authority(wanted, fleet), fleet.topology.service
    checks = []
    for one in fleet.topology.applications.values():
        health = defined[one.definition]["health"]
        url = f"{published.scheme}://{one.domain}:{published.port}{health['path']}"
        curl = ["curl", "--silent", "--show-error", "--max-time", "10", "--output", "/dev/null"]
        curl += ["--cookie", health["cookie"]] if health["cookie"] else []
        curl += ["--resolve", f"{one.domain}:{published.port}:{published.address}"]
        curl += ["--write-out", "%{http_code}", "--cacert", "/dev/stdin", url]
        done = run(containers.attach(caller, curl), text=trusted, check=False)
        detail = f"HTTP {done.stdout}" if done.returncode == 0 else done.stderr.strip()
        checks.append(Check(url, done.stdout == "200", detail))
    return Row("service", f"from {caller.name}", tuple(checks))


def authority(wanted: Plan, fleet: Fleet) -> str:
    """Return the CA's certificate from the host that clients reach; empty where it has none yet."""
    for machine in wanted.machines:
        host = fleet.hosts.get(machine.name)
        if host and policy.published(fleet, host):
            command = containers.attach(machine, ["cat", "/etc/salina/tls/ca.crt"])
            return run(command, check=False).stdout
    return ""


def ping(wanted: Plan, running: set[str]) -> set[str]:
    """Return the names of the minions which answer; those without a connection aren't asked."""
    if wanted.master.container not in running:
        return set()
    asked = {
        name for name, _ in minions.connections(wanted) if wanted.machine(name).container in running
    }
    return minions.answering(wanted, asked, PING_SECONDS) if asked else set()


def tiers(wanted: Plan, rows: list[Row]) -> list[Row]:
    """Return a row for each role: how many of its hosts are well."""
    well = {row.name for row in rows if row.good}
    roles = dict.fromkeys(role for machine in wanted.machines for role in machine.roles)
    return [
        Row(role, "tier", (Check("hosts", set(hosts) <= well, tally(hosts, well)),))
        for role in roles
        if (hosts := [one.name for one in wanted.machines if role in one.roles])
    ]


def tally(hosts: list[str], well: set[str]) -> str:
    """Return how many of the hosts are well."""
    return f"{len(well.intersection(hosts))} of {len(hosts)} are well"


def look(wanted: Plan, topology: Topology) -> list[Row]:
    """Return a row for each host, each tier, the service, and for what makes hosts.

    Nothing is expected of a host that is not a member.
    """
    there, frozen = containers.existing(), containers.frozen()
    running = containers.running() - frozen
    fleet = Fleet(topology, inventory.active_members(topology), settings.load(SETTINGS))
    members, defined = plan.make(topology, fleet.members), definitions(topology)

    def state(machine: Machine) -> str:
        if machine.container not in there:
            return "missing"
        if machine.container in frozen:
            return "frozen"
        return "running" if machine.container in running else "stopped"

    def row(machine: Machine) -> Row:
        roles = " ".join(machine.roles) or "client"
        if machine not in members.machines:
            return Row(
                machine.name, f"{roles}, not a member", (Check("host", True, state(machine)),)
            )
        if machine.container not in running:
            return Row(machine.name, roles, (Check("host", False, state(machine)),))
        return Row(
            machine.name, roles, tuple(probe(machine, fleet, defined) if machine.minion else ())
        )

    with ThreadPoolExecutor(PARALLEL) as pool:
        answering = pool.submit(ping, members, running)
        rows = list(pool.map(row, wanted.machines))
        up = {machine.name: machine.name in answering.result() for machine in members.minions}
    rows = [
        Row(one.name, one.roles, (Check("minion", up[one.name]), *one.checks))
        if one.name in up
        else one
        for one in rows
    ]
    caller = wanted.caller(topology.service.address)
    found = [service(caller, wanted, fleet, defined)] if caller.container in running else []
    return [*rows, *tiers(members, rows), *found, makes_hosts()]


def makes_hosts() -> Row:
    """Return whether the lab's cloud is there for the master's provisioner."""
    there = server.pid() is not None
    why = "" if there else "not running, so no host of a pool can be created; run bin/lab up"
    return Row("cloud", "the lab", (Check("process", there, why),))


def table(rows: list[Row], injected: list[faults.Fault]) -> Table:
    """Return what is to be shown: details for what is wrong and for what says something."""
    shown = Table(box=None, pad_edge=False)
    for heading in ("", "host", "roles", "health"):
        shown.add_column(heading)
    for row in rows:
        sign = "[green]✓[/]" if row.good else "[red]✗[/]"
        shown.add_row(sign, row.name, row.roles, ", ".join(describe(check) for check in row.checks))
    for fault in injected:
        shown.add_row("[yellow]![/]", fault.host, "fault", f"injected: {fault}; bin/lab heal")
    return shown


def describe(check: Check) -> str:
    """Return a check in a few words; red where it isn't good."""
    text = f"{check.what}: {check.detail}" if check.detail else check.what
    return text if check.good else f"[red]{text}[/]" if check.detail else f"[red]no {text}[/]"

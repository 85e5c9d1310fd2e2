"""The commands that change the lab, step by step."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from lab.cloud import server
from lab.commands import deploy, preflight, relay
from lab.commands.console import out, step
from lab.errors import LabError
from lab.exclusive import exclusive, hosts_lock
from lab.machines import (
    containers,
    faults,
    hosts,
    inventory,
    keys,
    minions,
    network,
    plan,
    provision,
    salt_master,
    snapshots,
    topology_file,
)
from lab.machines.image import ensure_images
from lab.machines.plan import Machine, Plan
from lab.mirror.build import ensure_mirror
from lab.paths import CACHE, RELAY, REPOSITORY, STATE
from lab.process import remove_tree
from salina_fleet import secrets
from salina_fleet.model import settings
from salina_fleet.model.definition import Definition
from salina_fleet.model.monitoring import MonitoringSettings
from salina_fleet.model.topology import Topology

HTTPS, HTTP, MONITORING = 8443, 8080, 8081  # on this machine's loopback address
SECRETS = "/var/lib/salina/secrets"  # on the master
FLEET_STATUS = "bin/lab salt-run fleet.status"


def up(
    source: Path | None,
    app: str | None,
    clone: str | None,
    revision: str | None,
    with_deployment: bool,
) -> None:
    """Create the lab, or bring an existing one to what the topology and the repository say.

    Args:
        source: Another topology than the repository's.
        app: Another definition than the topology's: DEFINITION, or APPLICATION=DEFINITION.
        clone: A clone on this machine in place of the definition's repository: DIR, or
            APPLICATION=DIR.
        revision: The revision of that clone; None stands for that of the definition.
        with_deployment: Whether Salt deploys at the end.

    Raises:
        LabError: The topology is invalid, the machine cannot run the lab, or a step failed.
    """
    text, own = topology_file.choose(source, app)
    topology = topology_file.parse(text)
    found = topology_file.definitions(topology)
    clones = topology_file.sources(topology, clone, revision)
    if revision:
        found |= {name: with_revision(found[name], revision) for name in clones}
    preflight.ensure()
    with exclusive("up"):
        platforms = plan.platforms(topology)
        ensure_mirror(platforms, found, clones)
        bases = ensure_images(platforms)
        STATE.mkdir(parents=True, exist_ok=True)
        topology_file.write(text, own)
        topology_file.write_revision(clones, revision)
        bring_up(topology, bases, own)
        if with_deployment:
            wanted = inventory.current_plan()
            with step("secrets"):
                deploy.create_secrets(wanted.master)
            start = time.monotonic()
            ended = deploy.orchestrate(wanted)
            out.print(f"[green]✓[/] deployment [dim]{time.monotonic() - start:.0f} s[/]")
            out.print(ended.partition("\n")[2], markup=False)
            summary(wanted, topology, found)


def bring_up(topology: Topology, bases: Mapping[str, Path], own: bool) -> None:
    """Start the network, the hosts and the minions, or bring running ones to the plan.

    Hosts that an unfinished change to a pool works on stay as they are.

    Args:
        topology: The lab's topology.
        bases: The root directory of each platform's image.
        own: Whether the topology is the repository's own.
    """
    hosts.keep_images(bases)
    with step("cloud"):
        server.ensure()
    with hosts_lock():
        active = inventory.active_members(topology)
        changing = inventory.changing_hosts(topology)
        wanted = plan.make(topology, inventory.without_hosts(active, changing))
        with step("network"):
            if network.find() is None:
                containers.remove_groups()
            network.ensure(wanted.bridges)
        with step(f"{len(wanted.machines)} hosts"):
            hosts.remove_strangers(changing.union(machine.name for machine in wanted.machines))
            faults.unfreeze(wanted.machines)
            salt_master.accept(wanted)
            hosts.ensure_machines(wanted, topology)
            faults.heal(wanted.machines)
        with step("master"):
            salt_master.ensure(wanted, topology, own)
            forgotten = inventory.forget_members(wanted.master, topology)
            inventory.forget_commits(wanted.master, topology)
    for fault in forgotten:
        out.print(f"  the pools have their initial members again, because {fault}")
    with step(f"{len(wanted.minions)} minions"):
        minions.wait_until_connected(wanted)
    if changing:
        names = ", ".join(sorted(changing))
        out.print(f"  a change to a pool has not finished its work on {names}")
        out.print(f"  next: {FLEET_STATUS}   (if no change is running, run orch.scale again)")


def with_revision(one: Definition, revision: str) -> Definition:
    """Return a definition with another revision of its code."""
    return replace(one, source=replace(one.source, revision=revision))


def summary(wanted: Plan, topology: Topology, definitions: Mapping[str, Definition]) -> None:
    """Print the hosts, the service's addresses, and how to log in.

    Args:
        wanted: The plan of the lab.
        topology: The lab's topology.
        definitions: The definitions of its applications.
    """
    out.print()
    for machine in wanted.machines:
        addresses = " ".join(interface.address for interface in machine.interfaces)
        out.print(f"  {machine.name:<8} {machine.kind:<18} {addresses}")
    scheme, port = ("https", HTTPS) if topology.service.tls else ("http", HTTP)
    for one in topology.applications.values():
        here = f"{scheme}://{one.domain}:{port}/"  # it answers to no other name
        known = f"; needs the line `127.0.0.1 {one.domain}` in /etc/hosts"
        out.print(f"\n  {topology.url(one)}/ for {clients(wanted)}")
        out.print(f"  {here} on this machine, while `bin/lab forward` runs{known}")
        logins = {"login": definitions[one.definition].login}
        if one.copy_of:  # after orch.stage, its logins are those of the original
            logins = {secrets.VISITORS: one.name}
        for purpose, name in logins.items():
            show = f"bin/lab exec {wanted.master.name} -- cat"
            file = f"{SECRETS}/{secrets.own(one.name, purpose)}"
            out.print(f"  {purpose}: {name}, password: {show} {file}")
    for host in topology.having("monitoring"):
        password = f"{SECRETS}/{secrets.MONITORING}"
        address = topology.address(host, "edge")
        out.print(f"\n  https://{address}/ is the page of monitoring, for {clients(wanted)}")
        out.print(
            f"  https://127.0.0.1:{MONITORING}/ on this machine, while `bin/lab forward` runs"
        )
        out.print(
            f"  login: operator, password: bin/lab exec {wanted.master.name} -- cat {password}"
        )
    out.print(f"  (all secrets are in {SECRETS} on {wanted.master.name})")


def clients(wanted: Plan) -> str:
    """Return who reaches the service: the clients' names, or the network they would be in."""
    names = " and ".join(machine.name for machine in wanted.clients)
    return f"the clients {names}" if names else "clients on the edge network"


def down() -> None:
    """Remove the lab and everything that it created, except its caches."""
    with exclusive("down"), step("lab removed"):
        stop_relay()
        server.stop()
        hosts.remove_all()


def clean() -> None:
    """Remove the lab and its caches."""
    down()
    with exclusive("clean"), step("caches removed"):
        remove_tree(CACHE)


def rebuild(machines: list[Machine]) -> None:
    """Replace hosts by new, empty ones, and wait for their minions."""
    with exclusive("rebuild"):
        wanted = inventory.current_plan()
        hosts.keep_images(ensure_images({machine.platform for machine in machines}))
        before = minions.connections(wanted)
        names = [machine.name for machine in machines]
        with step(f"{', '.join(names)} rebuilt"), hosts_lock():
            hosts.rebuild(machines, wanted)
            faults.forget(names)
        rebuilt = [machine for machine in machines if machine.minion]
        if rebuilt:
            with step("minions"):
                minions.wait_until_connected(wanted, rebuilt, before)


def add(name: str) -> None:
    """Create a host of a pool, empty except for a minion as from a cloud, and wait for it.

    Raises:
        LabError: No pool has such a host, it already exists, or it cannot be created.
    """
    with exclusive(f"add {name}"):
        wanted, topology = inventory.current_plan(), topology_file.read()
        machine = inventory.pool_machine(name, topology)
        member = name in inventory.expected_hosts(topology)
        if machine.container in containers.existing():
            raise LabError(f"{name} already exists", f"bin/lab rebuild {name}   (empties it)")
        with step(f"{name} created"):
            given = hosts.user_data(wanted.master, machine)
            own = keys.pair(keys.minion(name))
            containers.put(wanted.master, provision.accepted({name: own}))
            server.ask("create", name, given)
        with step("minion"):
            minions.wait_until_connected(inventory.current_plan(), [machine])
        if member:
            out.print(f"  {name} is a member of its pool, but still empty")
            out.print(f"  next: bin/lab salt {name} state.apply")
        else:
            out.print(f"  {name} joins its pool by itself, once the service is deployed")
            out.print(f"  next: {FLEET_STATUS}   (shows whether it has joined)")


def remove(name: str) -> None:
    """Delete a host of a pool without warning, and what the master keeps about its minion.

    Raises:
        LabError: No pool has such a host, or it does not exist.
    """
    with exclusive(f"remove {name}"):
        topology = topology_file.read()
        machine = inventory.pool_machine(name, topology)
        if machine.container not in containers.present():
            raise LabError(f"the host {name} does not exist", "bin/lab status")
        with step(f"{name} removed"):
            server.ask("destroy", name)
            salt_master.forget_keys(inventory.current_plan().master, [name])
        if name in inventory.expected_hosts(topology):
            out.print(f"  {name} is still a member of its pool")
            out.print(f"  next: bin/lab add {name}   (or remove it from the pool with orch.scale)")


def snapshot(name: str) -> None:
    """Save the lab under a name, and start it again.

    Raises:
        LabError: The name is invalid.
    """
    with exclusive("snapshot"):
        with step(f"snapshot {name}"), hosts_lock():
            faults.heal(inventory.current_plan().machines)
            snapshots.take(name)
        start_again()


def restore(name: str) -> None:
    """Return the lab to a snapshot, and start it.

    Raises:
        LabError: There is no such snapshot.
    """
    with exclusive("restore"):
        with step(f"snapshot {name} restored"), hosts_lock():
            snapshots.restore(name)
        start_again()


def start_again() -> None:
    """Start the lab's hosts from their files."""
    own = not topology_file.overridden()
    topology = topology_file.read()
    bring_up(topology, ensure_images(plan.platforms(topology)), own)


def forward() -> None:
    """Relay this machine's loopback address to the service, until interrupted."""
    wanted, topology = inventory.current_plan(), topology_file.read()
    service = topology.service
    caller = wanted.caller(service.address)
    routes = [relay.Route(HTTP, service.address, service.http)]
    if service.tls:
        routes.append(relay.Route(HTTPS, service.address, service.https))
    page = settings.load(REPOSITORY / "pillar/settings")[MonitoringSettings].page_port
    for host in topology.having("monitoring"):
        address = topology.address(host, "edge") or ""  # its role needs one
        routes.append(relay.Route(MONITORING, address, page))

    def namespace() -> Path:
        return containers.namespace(caller)

    with only_relay():
        out.print(", ".join(f"127.0.0.1:{route.port}" for route in routes), "(Ctrl-C to stop)")
        names = " ".join(one.domain for one in topology.applications.values())
        out.print(f"  /etc/hosts on this machine needs the line: 127.0.0.1 {names}")
        asyncio.run(relay.serve(routes, namespace))


@contextmanager
def only_relay() -> Iterator[None]:
    """Record that this process is the relay, so that `down` ends it."""
    stop_relay()
    RELAY.write_text(str(os.getpid()))
    try:
        yield
    finally:
        RELAY.unlink(missing_ok=True)


def stop_relay() -> None:
    """End the relay if it runs."""
    if RELAY.exists():
        pid = RELAY.read_text()
        if network.arguments(pid)[-1:] == ["forward"]:
            os.kill(int(pid), signal.SIGTERM)
        RELAY.unlink(missing_ok=True)

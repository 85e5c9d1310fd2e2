"""What the commands that change the lab do, one after the other."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.cloud import server as cloud
from lab.commands import deploy, preflight
from lab.commands import forward as relay
from lab.commands.console import out, step
from lab.errors import LabError
from lab.exclusive import exclusive, hosts
from lab.machines import containers, faults, keys, network, plan, provision, snapshots
from lab.machines import hosts as fleet
from lab.machines.image import ensure as ensure_image
from lab.machines.plan import Machine, Plan
from lab.mirror import build as mirror
from lab.paths import CACHE, RELAY, STATE
from lab.process import remove_tree
from salina_fleet import secrets
from salina_fleet.model import topology as salina_topology

HTTPS, HTTP = 8443, 8080  # on this machine's loopback
SECRETS = "/var/lib/salina/secrets"  # on the master
JOINING = "bin/lab salt-run fleet.status"
UNFINISHED = "bin/lab salt-run fleet.status   (if nobody is: orch.scale again)"


def up(source: Path | None, application: str | None, with_deployment: bool) -> None:
    """Bring the lab to what topology and repository say, from whatever there is.

    :param source: another topology than the repository's
    :param application: another application than the topology's
    :param with_deployment: whether Salt deploys at the end
    """
    text, own = fleet.choose(source, application)
    topology = fleet.parse(text)
    for one in topology.applications.values():
        fleet.check_application(one.definition)
    preflight.ensure()
    with exclusive("up"):
        mirror.ensure()
        base = ensure_image()
        STATE.mkdir(parents=True, exist_ok=True)
        fleet.write_topology(text, own)
        bring_up(topology, base, own)
        if with_deployment:
            wanted = fleet.current()
            with step("secrets"):
                deploy.create_secrets(wanted.master)
            start = time.monotonic()
            deploy.orchestrate(wanted)
            out.print(f"[green]✓[/] deployment [dim]{time.monotonic() - start:.0f} s[/]")
            summary(wanted, topology)


def bring_up(topology: salina_topology.Topology, base: Path, own: bool) -> None:
    """Start network, hosts and minions, or bring those that run to the plan.

    Hosts that a change of a pool is at work on are its own: they stay as they are.
    """
    with step("cloud"):
        cloud.ensure()
    with hosts():
        members = fleet.members(topology)
        begun = fleet.unfinished(topology)
        wanted = plan.make(topology, fleet.without(members, begun))
        with step("network"):
            if network.find() is None:
                containers.remove_groups()
            network.ensure(wanted.bridges)
        with step(f"{len(wanted.machines)} hosts"):
            fleet.remove_strangers(begun.union(machine.name for machine in wanted.machines))
            faults.unfreeze(wanted.machines)
            fleet.ensure_machines(wanted, topology, base)
            faults.heal(wanted.machines)
        with step("master"):
            fleet.ensure_master(wanted, topology, own)
            forgotten = fleet.forget_members(wanted.master, topology)
    for fault in forgotten:
        out.print(f"  forgotten, the pools have their initial members: {fault}")
    with step(f"{len(wanted.minions)} minions"):
        fleet.wait_for_minions(wanted)
    if begun:
        out.print(f"  a change is at work on {', '.join(sorted(begun))}: {UNFINISHED}")


def summary(wanted: Plan, topology: salina_topology.Topology) -> None:
    """Print where the service is, how to get in, and which hosts there are."""
    out.print()
    for machine in wanted.machines:
        addresses = " ".join(interface.address for interface in machine.interfaces)
        out.print(f"  {machine.name:<8} {' '.join(machine.roles) or 'client':<18} {addresses}")
    scheme, port = ("https", HTTPS) if topology.service.tls else ("http", HTTP)
    for one in topology.applications.values():
        first = one is topology.default  # which needs no name
        here = f"{scheme}://{'127.0.0.1' if first else one.domain}:{port}/"
        known = "" if first else f", and /etc/hosts has 127.0.0.1 {one.domain}"
        password = f"{SECRETS}/{secrets.own(one.name, 'login')}"
        out.print(f"\n  {topology.url(one)}/ for the clients {clients(wanted)}")
        out.print(f"  {here} on this machine, while this runs: bin/lab forward{known}")
        out.print(f"  login: admin, password: bin/lab exec {wanted.master.name} -- cat {password}")
    out.print(f"  (all secrets are in {SECRETS})")


def clients(wanted: Plan) -> str:
    """Return the clients' names."""
    return " and ".join(machine.name for machine in wanted.clients) or "on the edge network"


def down() -> None:
    """Remove the lab with all it has made, except its caches."""
    with exclusive("down"), step("lab removed"):
        stop_relay()
        cloud.stop()
        fleet.remove_all()


def clean() -> None:
    """Remove the lab and its caches."""
    down()
    with exclusive("clean"), step("caches removed"):
        remove_tree(CACHE)


def rebuild(machines: list[Machine]) -> None:
    """Make hosts anew and wait for their minions."""
    with exclusive("rebuild"):
        wanted = fleet.current()
        base = ensure_image()
        before = fleet.connections(wanted)
        with step(f"{', '.join(machine.name for machine in machines)} anew"), hosts():
            fleet.rebuild(machines, wanted, base)
            faults.forget(machine.name for machine in machines)
        minions = [machine for machine in machines if machine.minion]
        if minions:
            with step("minions"):
                fleet.wait_for_minions(wanted, minions, before)


def add(name: str) -> None:
    """Make a new bare host with a minion, as a cloud would, and wait for it."""
    with exclusive(f"add {name}"):
        wanted, topology = fleet.current(), fleet.topology()
        machine = fleet.machine_of(name, topology)
        member = name in fleet.named(topology)
        if machine.container in containers.existing():
            raise LabError(f"{name} is there already", f"bin/lab rebuild {name}   (bare again)")
        with step(f"{name}, bare"):
            given = fleet.user_data(wanted.master, machine)
            own = keys.pair(keys.minion(name))
            containers.put(wanted.master, provision.accepted({name: own}))
            cloud.ask("create", name, given)
        with step("minion"):
            fleet.wait_for_minions(fleet.current(), [machine])
        if member:
            out.print(f"  {name} is a member, and bare: bin/lab salt {name} state.apply")
        else:
            out.print(f"  {name} joins by itself, once the fleet is deployed: {JOINING}")


def remove(name: str) -> None:
    """Away with a host of a pool, and with what the master keeps of its minion."""
    with exclusive(f"remove {name}"):
        topology = fleet.topology()
        machine = fleet.machine_of(name, topology)
        if machine.container not in containers.present():
            raise LabError(f"there is no host {name}", "bin/lab status")
        with step(f"{name} removed"):
            cloud.ask("destroy", name)
            fleet.forget_keys(fleet.current().master, [name])
        if name in fleet.named(topology):
            out.print(f"  {name} is still a member: bin/lab add {name}, or orch.scale takes it out")


def snapshot(name: str) -> None:
    """Keep the lab under a name, and start it again."""
    with exclusive("snapshot"):
        with step(f"snapshot {name}"), hosts():
            faults.heal(fleet.current().machines)
            snapshots.take(name)
        start_again()


def restore(name: str) -> None:
    """Take the lab back to a snapshot and start it."""
    with exclusive("restore"):
        with step(f"snapshot {name} taken back"), hosts():
            snapshots.put_back(name)
        start_again()


def start_again() -> None:
    """Start the lab's hosts as they are kept."""
    own = not fleet.overridden()
    bring_up(fleet.topology(), ensure_image(), own)


def forward() -> None:
    """Relay the service to this machine's loopback until interrupted."""
    wanted, service = fleet.current(), fleet.topology().service
    caller = wanted.caller(service.address)
    routes = [relay.Route(HTTP, service.address, service.http)]
    if service.tls:
        routes.append(relay.Route(HTTPS, service.address, service.https))

    def namespace() -> Path:
        return containers.namespace(caller)

    with only_relay():
        out.print(", ".join(f"127.0.0.1:{route.port}" for route in routes), "(Ctrl-C ends it)")
        asyncio.run(relay.serve(routes, namespace))


@contextmanager
def only_relay() -> Iterator[None]:
    """Note that this process is the relay, so that `down` ends it."""
    stop_relay()
    RELAY.write_text(str(os.getpid()))
    try:
        yield
    finally:
        RELAY.unlink(missing_ok=True)


def stop_relay() -> None:
    """End a relay that still runs."""
    if RELAY.exists():
        pid = RELAY.read_text()
        if network.arguments(pid)[-1:] == ["forward"]:
            os.kill(int(pid), signal.SIGTERM)
        RELAY.unlink(missing_ok=True)

"""The running lab: from the plan to containers with connected minions, and away with it."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Set
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml

from lab.errors import LabError
from lab.machines import containers, keys, network, plan, provision, userdata
from lab.machines.plan import Machine, Plan
from lab.machines.provision import Files
from lab.machines.userdata import UserData
from lab.paths import CONTAINERS, OVERRIDE, REPOSITORY, STATE, TOPOLOGY
from lab.process import remove_tree, run, wait_until
from salina_fleet.model import definition as salina_definition
from salina_fleet.model import members as salina_members
from salina_fleet.model import topology as salina_topology
from salina_fleet.model.members import Members
from salina_fleet.provision import userdata as salina_userdata

OWN_TOPOLOGY = REPOSITORY / "pillar/topology.yaml"
APPLICATIONS = REPOSITORY / "pillar/app"
KEPT = "var/lib/salina"  # on the master
CONFIGURATIONS = ("master.d/*.conf", "lab/master.conf")
MASTER_LOADS = (*CONFIGURATIONS, "_pillar/*.py", "fleet/**/*.py", "_utils/**/*.py")
MASTER = "salt-master"
LOADED = STATE / "master-loaded"
FILE_LISTS = "/var/cache/salt/master/file_lists/roots"
CONNECT_SECONDS = 180
PARALLEL = 4


def each(action: Callable[[Machine], object], machines: Iterable[Machine]) -> None:
    """Do something to several machines at the same time; the first error counts."""
    with ThreadPoolExecutor(PARALLEL) as pool:
        list(pool.map(action, machines))


# The topology


def choose(source: Path | None, application: str | None) -> tuple[str, bool]:
    """Return the topology's text for the lab, and whether it is the repository's own.

    :param source: another topology than pillar/topology.yaml
    :param application: a file of pillar/app for the topology's application; NAME=FILE for one of
        several
    :raises LabError: no such application; no such topology, or one with faults
    """
    name, _, definition = (application or "").rpartition("=")
    known = sorted(path.stem for path in APPLICATIONS.glob("*.yaml"))
    if application is not None and definition not in known:
        raise LabError(f"no application {definition!r}; there are: {', '.join(known)}")
    path = source or OWN_TOPOLOGY
    try:
        data = salina_topology.load(path).to_dict()
    except salina_topology.TopologyError as error:
        raise LabError(str(error), "mend it, then: make up (others: tests/topologies)") from error
    if application is None:
        return path.read_text(), source is None
    names = list(data["applications"])
    if name not in names and (name or len(names) > 1):
        which = " or ".join(f"APP={one}={definition}" for one in names)
        raise LabError(f"APP={application}: the topology has {', '.join(names)}", which)
    data["applications"][name or names[0]]["definition"] = definition
    return yaml.safe_dump(data, sort_keys=False), False


def parse(text: str) -> salina_topology.Topology:
    """Return the topology.

    :raises LabError: with all of its faults
    """
    try:
        return salina_topology.loads(text, "topology")
    except salina_topology.TopologyError as error:
        raise LabError(str(error), "mend the topology, then: make up") from error


def check_application(name: str) -> None:
    """See that the lab's hosts can fetch an application.

    :param name: of a file of pillar/app
    :raises LabError: the file has faults, or names a repository beyond the lab
    """
    try:
        repository = salina_definition.load(APPLICATIONS / f"{name}.yaml").source.repository
    except salina_definition.DefinitionError as error:
        raise LabError(str(error), f"mend pillar/app/{name}.yaml, then: make up") from error
    if not repository.startswith("file:///srv/mirror/"):
        raise LabError(
            f"{name} comes from {repository}, and the lab's hosts have no way out",
            "make up APP=odoo-14.0, or APP=sample-crm: the lab's mirror has these",
        )


def topology() -> salina_topology.Topology:
    """Return the running lab's topology.

    :raises LabError: there is no lab
    """
    if not TOPOLOGY.exists():
        raise LabError("there is no lab on this machine", "make up")
    return parse(TOPOLOGY.read_text())


def members(fleet: salina_topology.Topology) -> Members:
    """Return the active members of the pools, as the master keeps them."""
    try:
        return salina_members.load(kept(fleet) / salina_members.FILE, fleet)
    except salina_members.MembersError:
        return fleet.initial()  # of another topology than the file was written for


def unfinished(fleet: salina_topology.Topology) -> set[str]:
    """Return the hosts that a change of a pool is at work on, as the master keeps them.

    A change notes its hosts here before it changes the members, and drops them afterwards: asked
    after `members`, this misses none that was on the way then.
    """
    try:
        found = salina_members.unfinished(kept(fleet) / salina_members.UNFINISHED, fleet)
    except salina_members.MembersError:
        return set()  # of another topology
    return {host for hosts in found.values() for host in hosts}


def forget_members(master: Machine, fleet: salina_topology.Topology) -> list[str]:
    """Have the running master forget members that don't fit the topology; return why they don't.

    On a real master that is an error, and a person's to mend.
    """
    faults = []
    for name, load in (
        (salina_members.FILE, salina_members.load),
        (salina_members.UNFINISHED, salina_members.unfinished),
    ):
        try:
            load(kept(fleet) / name, fleet)
        except salina_members.MembersError as error:
            run(containers.attach(master, ["rm", "--force", f"/{KEPT}/{name}"]))
            faults.append(str(error))
    return faults


def kept(fleet: salina_topology.Topology) -> Path:
    """Return where the master's own state is on this machine."""
    master = next(host.id for host in fleet.hosts if "master" in host.roles)
    return CONTAINERS / f"salina-{master}/delta" / KEPT


def current() -> Plan:
    """Return the plan of all hosts: of the members, and of others of the pools that are there."""
    fleet = topology()
    there = {container.removeprefix("salina-") for container in containers.present()}
    return plan.make(fleet, joined(fleet, members(fleet), there))


def joined(fleet: salina_topology.Topology, now: Members, hosts: Iterable[str]) -> Members:
    """Return the members with those of the hosts that are of their pools."""
    more = set(hosts)
    return {
        pool.name: [one for one in pool.ids() if one in more.union(now[pool.name])]
        for pool in fleet.pools.values()
    }


def without(now: Members, hosts: Set[str]) -> Members:
    """Return the members without these hosts."""
    return {pool: [one for one in ids if one not in hosts] for pool, ids in now.items()}


def machine_of(name: str, fleet: salina_topology.Topology) -> Machine:
    """Return the machine of a host that comes and goes.

    :raises LabError: no pool has a host of that name
    """
    ids = [one for pool in fleet.pools.values() for one in pool.ids()]
    if name not in ids:
        raise LabError(f"{name!r} is no host of a pool; they have: {', '.join(ids) or 'none'}")
    return plan.make(fleet, joined(fleet, fleet.initial(), [name])).machine(name)


def write_topology(text: str, own: bool) -> None:
    """Keep the topology, and show it to the master where it isn't the repository's own.

    In place: the master's bind mount shows the file itself, so it must stay the same one.
    """
    OVERRIDE.mkdir(parents=True, exist_ok=True)
    TOPOLOGY.write_text(text)
    override = OVERRIDE / "topology.yaml"
    if own:
        override.unlink(missing_ok=True)
    else:
        override.write_text(text)


def overridden() -> bool:
    """Say whether the lab has another topology than the repository's own."""
    return (OVERRIDE / "topology.yaml").exists()


def show_topology(master: Machine, own: bool) -> None:
    """Bring the running master to the topology that was written: mounted, or the own one."""
    target = "/srv/salina/pillar/topology.yaml"
    script = f"while umount {target} 2>/dev/null; do :; done"
    if not own:
        script += f"; mount --bind /srv/override/topology.yaml {target}"
    run(containers.attach(master, ["sh", "-c", script]))


# Machines


def files(wanted: Plan, machine: Machine, fleet: salina_topology.Topology) -> Files:
    """Return what a machine is given before its first start."""
    if machine.minion:
        given = bare(machine, userdata.parse(user_data(wanted.master, machine), machine.name))
    else:
        domains = [one.domain for one in fleet.applications.values()]
        given = provision.system(machine, dict.fromkeys(domains, fleet.service.address))
    if machine.master:
        given |= provision.master(keys.master(), configurations())
        given |= provision.accepted(minion_keys(wanted))
    return given


def bare(machine: Machine, given: UserData) -> Files:
    """Return what a host with a minion is given before its first start."""
    return provision.system(machine, {}) | given.files


def user_data(master: Machine, machine: Machine) -> str:
    """Return the lab's own user data for a host, with the key that is kept for it."""
    assert master.management
    pair = keys.pair(keys.minion(machine.name))
    own = keys.master().public
    return salina_userdata.render(machine.name, master.management, pair.private, pair.public, own)


def configurations() -> list[str]:
    """Return the master's configuration files, as paths in the repository."""
    found = [path for pattern in CONFIGURATIONS for path in REPOSITORY.glob(pattern)]
    return sorted(str(path.relative_to(REPOSITORY)) for path in found)


def minion_keys(wanted: Plan) -> dict[str, keys.Pair]:
    """Return the keys of all planned minions, made where they are missing."""
    return {machine.name: keys.pair(keys.minion(machine.name)) for machine in wanted.minions}


def create(name: str, given: str) -> bool:
    """Make a host of a pool; false when it runs already, made from the same user data.

    :param given: its user data
    :raises LabError: there is no such host, or its user data has faults
    """
    fleet = topology()
    machine, master = machine_of(name, fleet), plan.make(fleet, {}).master
    data = userdata.parse(given, name)
    if containers.runs(machine, bare(machine, data)):
        return False
    discard(machine)
    keys.keep(keys.minion(name), data.pair)
    base = containers.base_of(containers.read_configuration(master))
    containers.create(machine, base, bare(machine, data))
    containers.start(machine)
    return True


def destroy(name: str) -> bool:
    """Remove a host of a pool; false when it isn't there.

    :raises LabError: there is no such host
    """
    return discard(machine_of(name, topology()))


def discard(machine: Machine) -> bool:
    """Stop and remove a container, also a half-written one, with its key; false: there is none."""
    there = machine.container in containers.present()
    if containers.state(machine) not in ("", "STOPPED"):
        containers.stop(machine, kill=True)
    containers.remove(machine)
    keys.forget(keys.minion(machine.name))
    return there


def remove_strangers(planned: Iterable[str]) -> None:
    """Stop and remove all containers but those of these hosts."""
    names = {container.removeprefix("salina-") for container in containers.present()}
    for name in sorted(names - set(planned)):
        discard(Machine(name, (), ()))


def ensure_machines(wanted: Plan, fleet: salina_topology.Topology, base: Path) -> None:
    """Bring all containers of the plan to run, with the plan's cards and addresses."""
    existing, running = containers.existing(), containers.running()
    keys.master(), minion_keys(wanted)  # before threads ask for them

    def bring_up(machine: Machine) -> None:
        if machine.container not in existing:
            containers.create(machine, base, files(wanted, machine, fleet))
        elif not containers.is_current(machine):
            if machine.container in running:
                containers.stop(machine)
                running.discard(machine.container)
            containers.configure(machine)
        if machine.container in existing and not machine.minion:  # a minion's are Salt's
            containers.put(machine, files(wanted, machine, fleet))
        if machine.container not in running:
            containers.start(machine)

    each(bring_up, sorted(wanted.machines, key=lambda machine: not machine.master))


def ensure_master(wanted: Plan, fleet: salina_topology.Topology, own: bool) -> None:
    """Give the running master the planned keys, the topology, and a restart where it needs one.

    Keys of hosts that nobody names are forgotten.

    :param own: whether it takes the repository's own topology
    """
    master = wanted.master
    # Existing files stay: tar replaces a file by deleting it first, and a master that boots at that
    # moment starts without its unit, its key or a part of its configuration.
    containers.put(master, provision.master(keys.master(), configurations()), keep=True)
    containers.put(master, provision.accepted(minion_keys(wanted)))
    # Salt makes it at the first question for files. Who else asks at that moment is told that there
    # are none (salt/fileserver/roots.py, _file_lists): a minion of a new master had no states then.
    run(containers.attach(master, ["mkdir", "--parents", FILE_LISTS]))
    accepted = run(containers.attach(master, ["ls", provision.ACCEPTED])).stdout.split()
    forget_keys(master, set(accepted) - named(fleet))
    show_topology(master, own)
    loaded = digest(path for pattern in MASTER_LOADS for path in REPOSITORY.glob(pattern))
    if LOADED.exists() and LOADED.read_text() != loaded:
        run(containers.attach(master, ["systemctl", "restart", MASTER]))
    LOADED.write_text(loaded)


def named(fleet: salina_topology.Topology) -> set[str]:
    """Return all hosts that are to be, or that a change is at work on."""
    return {host.id for host in fleet.fleet(members(fleet))} | unfinished(fleet)


def forget_keys(master: Machine, names: Iterable[str]) -> None:
    """Drop what the running master keeps about minions."""
    traces = [path.format(name) for name in sorted(names) for path in provision.TRACES]
    run(containers.attach(master, ["rm", "--recursive", "--force", *traces]))


def digest(paths: Iterable[Path]) -> str:
    """Return a digest of the files' names and contents."""
    total = hashlib.sha256()
    for path in sorted(paths):
        total.update(f"{path.name}\0".encode() + path.read_bytes())
    return total.hexdigest()


# Minions


def connections(wanted: Plan) -> set[tuple[str, str]]:
    """Return the connections on which minions listen to the master: (minion, its port)."""
    ss = ["ss", "-H", "-t", "-n", "state", "established", "( sport = :4505 )"]
    shown = run(containers.attach(wanted.master, ss), check=False).stdout
    return peers(shown, {machine.management or "": machine.name for machine in wanted.minions})


def peers(shown: str, names: Mapping[str, str]) -> set[tuple[str, str]]:
    """Return the known peers in what `ss` shows: (name, port).

    :param shown: lines with the peer's address:port in the fourth column
    :param names: address -> name
    """
    ends = [line.split()[3].rpartition(":") for line in shown.splitlines()]
    addresses = [(end[0].strip("[]").removeprefix("::ffff:"), end[2]) for end in ends]
    return {(names[address], port) for address, port in addresses if address in names}


def wait_for_minions(
    wanted: Plan,
    machines: Iterable[Machine] | None = None,
    before: Set[tuple[str, str]] = frozenset(),
) -> None:
    """Wait until minions are connected, and answer.

    :param machines: the minions to wait for; all of them unless told
    :param before: connections that don't count, of minions which were cut off
    :raises LabError: some did not within CONNECT_SECONDS
    """
    expected = {machine.name for machine in machines or wanted.minions}
    silent = set(expected)

    def all_answer() -> bool:
        silent.intersection_update(expected - {name for name, _ in connections(wanted) - before})
        if silent:
            return False
        silent.update(expected - answering(wanted, expected))
        return not silent

    if not wait_until(all_answer, CONNECT_SECONDS, 0.5):
        raise not_connected(sorted(silent))


def answering(wanted: Plan, expected: Iterable[str], seconds: int = 30) -> set[str]:
    """Return the minions that answer a ping within some seconds."""
    ping = ["salt", "--static", "--out=json", "--log-level=quiet", "-t", str(seconds)]
    target = ["-L", ",".join(sorted(expected)), "test.ping"]
    shown = run(containers.attach(wanted.master, [*ping, *target]), check=False).stdout
    try:
        answers: dict[str, object] = json.loads(shown)
    except ValueError:
        return set()
    return {name for name, answer in answers.items() if answer is True}


def not_connected(silent: list[str]) -> LabError:
    """Return the error for minions that did not connect."""
    return LabError(
        f"no minion answers on: {', '.join(silent)} ({CONNECT_SECONDS} s)",
        f"bin/lab exec {silent[0]} -- journalctl -u salt-minion -n 30",
    )


# All of it


def remove_all() -> None:
    """End everything of the lab and remove its state; what was killed midway, too."""
    containers.thaw_groups()
    network.stop()
    if not wait_until(lambda: not containers.busy_groups(), 20):
        raise LabError("processes of the lab do not end", "ps -e -o pid,stat,wchan,args")
    containers.remove_groups()
    with ThreadPoolExecutor(PARALLEL) as pool:  # reading what there is takes most of the time
        list(pool.map(remove_tree, CONTAINERS.glob("*")))
    remove_tree(STATE)


def rebuild(machines: Iterable[Machine], wanted: Plan, base: Path) -> None:
    """Make hosts anew, bare as a cloud hands them over, with the keys they had."""
    fleet, running = topology(), containers.running()

    def anew(machine: Machine) -> None:
        if machine.container in running:
            containers.stop(machine, kill=True)
        containers.create(machine, base, files(wanted, machine, fleet))
        containers.start(machine)

    each(anew, machines)

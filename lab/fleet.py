"""The running lab: from the plan to containers with connected minions, and away with it."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Set
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml

import salina_app
import salina_members
import salina_topology
from lab import containers, keys, network, plan, provision
from lab.errors import LabError
from lab.paths import CONTAINERS, KEYS, OVERRIDE, REPOSITORY, STATE, TOPOLOGY
from lab.plan import Machine, Plan
from lab.process import remove_tree, run, wait_until
from lab.provision import Files

OWN_TOPOLOGY = REPOSITORY / "pillar/topology.yaml"
APPLICATIONS = REPOSITORY / "pillar/app"
MEMBERS = "var/lib/salina/members.json"  # on the master
MASTER_LOADS = ("master.d/*.conf", "_pillar/*.py", "_utils/*.py")
LOADED = STATE / "master-loaded"
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
    :param application: another application than the topology names
    :raises LabError: no such application; no such topology, or one with faults
    """
    known = sorted(path.stem for path in APPLICATIONS.glob("*.yaml"))
    if application is not None and application not in known:
        raise LabError(f"no application {application!r}; there are: {', '.join(known)}")
    path = source or OWN_TOPOLOGY
    try:
        data = salina_topology.load(path).to_dict()
    except salina_topology.TopologyError as error:
        raise LabError(str(error), "mend it, then: make up (others: tests/topologies)") from error
    if application is None:
        return path.read_text(), source is None
    data["service"]["application"] = application
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
        repository = salina_app.load(APPLICATIONS / f"{name}.yaml").source.repository
    except salina_app.AppError as error:
        raise LabError(str(error), f"mend pillar/app/{name}.yaml, then: make up") from error
    if not repository.startswith("file:///srv/mirror/"):
        raise LabError(
            f"{name} comes from {repository}, and the lab's hosts have no way out",
            "make up APP=odoo-14.0 (or another whose repository the lab's mirror has)",
        )


def topology() -> salina_topology.Topology:
    """Return the running lab's topology.

    :raises LabError: there is no lab
    """
    if not TOPOLOGY.exists():
        raise LabError("there is no lab on this machine", "make up")
    return parse(TOPOLOGY.read_text())


def members(fleet: salina_topology.Topology) -> Mapping[str, list[str]]:
    """Return the active members of the pools, as the master keeps them."""
    master = next(host.id for host in fleet.hosts if "master" in host.roles)
    path = CONTAINERS / f"salina-{master}/delta" / MEMBERS
    try:
        return salina_members.load(path, fleet)
    except salina_members.MembersError:
        return fleet.initial()  # of another topology than the file was written for


def current() -> Plan:
    """Return the plan of the running lab."""
    fleet = topology()
    return plan.make(fleet, members(fleet))


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
    known = {} if machine.minion else {fleet.service.domain: fleet.service.address}
    given = provision.system(machine, known)
    if machine.minion:
        master = wanted.master
        assert master.management
        pair = keys.pair(f"minion-{machine.name}")
        given |= provision.minion(machine, master.management, pair, keys.master().public)
    if machine.master:
        given |= provision.master(keys.master(), configurations())
        given |= provision.accepted(minion_keys(wanted))
    return given


def configurations() -> list[str]:
    """Return the names of the master's configuration files."""
    return sorted(path.name for path in (REPOSITORY / "master.d").glob("*.conf"))


def minion_keys(wanted: Plan) -> dict[str, keys.Pair]:
    """Return the keys of all planned minions, made where they are missing."""
    ids = [machine.name for machine in wanted.minions]
    return {name: keys.pair(f"minion-{name}") for name in ids}


def remove_strangers(wanted: Plan) -> None:
    """Stop and remove the containers that the plan doesn't have."""
    planned = {machine.container for machine in wanted.machines}
    for container in sorted(containers.present() - planned):
        machine = Machine(container.removeprefix("salina-"), (), ())
        if container in containers.running():
            containers.stop(machine, kill=True)
        containers.remove(machine)
        (KEYS / f"minion-{machine.name}.pem").unlink(missing_ok=True)
        (KEYS / f"minion-{machine.name}.pub").unlink(missing_ok=True)


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
        if machine.container not in running:
            containers.start(machine)

    each(bring_up, sorted(wanted.machines, key=lambda machine: not machine.master))


def ensure_master(wanted: Plan, fleet: salina_topology.Topology, own: bool) -> None:
    """Give the running master the planned keys, the topology, and a restart where it needs one.

    Keys of hosts that the topology can't have are forgotten.

    :param own: whether it takes the repository's own topology
    """
    master = wanted.master
    links = provision.master(keys.master(), configurations())
    containers.put(master, provision.accepted(minion_keys(wanted)) | links)
    accepted = run(containers.attach(master, ["ls", provision.ACCEPTED])).stdout.split()
    gone = set(accepted) - {host.id for host in fleet.everyone()}
    forgotten = [f"{provision.ACCEPTED}/{name}" for name in sorted(gone)]
    run(containers.attach(master, ["rm", "-f", *forgotten]))
    show_topology(master, own)
    loaded = digest(path for pattern in MASTER_LOADS for path in REPOSITORY.glob(pattern))
    if LOADED.exists() and LOADED.read_text() != loaded:
        run(containers.attach(master, ["systemctl", "restart", "salt-master"]))
    LOADED.write_text(loaded)


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

"""Create, rebuild and remove the lab's hosts."""

import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lab.errors import LabError
from lab.machines import (
    containers,
    inventory,
    keys,
    network,
    plan,
    provision,
    salt_master,
    topology_file,
    userdata,
)
from lab.machines.plan import Machine, Plan
from lab.machines.provision import Files
from lab.machines.userdata import UserData
from lab.paths import CONTAINERS, IMAGES_OF, REPOSITORY, STATE
from lab.process import remove_tree, wait_until
from salina_fleet.model.topology import Topology
from salina_fleet.provision.userdata import SETTINGS_SOURCE, render

END_SECONDS = 20  # for killed processes

# The first files of a host


def initial_files(wanted: Plan, machine: Machine, topology: Topology) -> Files:
    """Return the files that a machine has before its first start.

    Args:
        wanted: The plan of the lab.
        machine: The machine.
        topology: The lab's topology.
    """
    if machine.minion:
        given = bare_files(machine, userdata.parse(user_data(wanted.master, machine), machine.name))
    else:
        domains = [one.domain for one in topology.applications.values()]
        given = provision.system(machine, dict.fromkeys(domains, topology.service.address))
    if machine.master:
        given |= provision.master(keys.master(), salt_master.configurations())
        given |= provision.accepted(salt_master.minion_keys(wanted))
    return given


def bare_files(machine: Machine, given: UserData) -> Files:
    """Return the files that a host with a minion has before its first start."""
    return provision.system(machine, {}) | given.files


def user_data(master: Machine, machine: Machine) -> str:
    """Return a host's user data like that of `fleet.user_data`, with the key that the lab keeps."""
    assert master.management
    pair = keys.pair(keys.minion(machine.name))
    own, settings = keys.master().public, (REPOSITORY / SETTINGS_SOURCE).read_text()
    return render(machine.name, master.management, pair.private, pair.public, own, settings)


# The images


def keep_images(bases: Mapping[str, Path]) -> None:
    """Remember the root directory of each platform's image, for hosts that come later."""
    known = _images() | {name: str(base) for name, base in bases.items()}
    unfinished = IMAGES_OF.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(known))
    unfinished.rename(IMAGES_OF)


def image_of(machine: Machine, master: Machine) -> Path:
    """Return the root directory of the image for a machine: the running lab's, also if the
    repository has changed since. A lab from before the platforms has only the master's.
    """
    known = _images().get(machine.platform)
    if known:
        return Path(known)
    return containers.base_of(containers.read_configuration(master), master.container)


def _images() -> dict[str, str]:
    found: dict[str, str] = json.loads(IMAGES_OF.read_text()) if IMAGES_OF.exists() else {}
    return found


# One host of a pool


def create(name: str, given: str) -> bool:
    """Create a host of a pool, and start it.

    Args:
        name: The host's id.
        given: Its user data.

    Returns:
        False when the host already runs and was created from the same user data.

    Raises:
        LabError: No pool has such a host, or its user data is invalid.
    """
    topology = topology_file.read()
    machine = inventory.pool_machine(name, topology)
    master = plan.make(topology, {}).master
    data = userdata.parse(given, name)
    if containers.runs(machine, bare_files(machine, data)):
        return False
    discard(machine)
    keys.keep(keys.minion(name), data.pair)
    containers.create(machine, image_of(machine, master), bare_files(machine, data))
    containers.start(machine)
    return True


def destroy(name: str) -> bool:
    """Remove a host of a pool.

    Returns:
        False when the host did not exist.

    Raises:
        LabError: No pool has such a host.
    """
    return discard(inventory.pool_machine(name, topology_file.read()))


def discard(machine: Machine) -> bool:
    """Stop and remove a container, even a half-written one, and its key.

    Returns:
        False when there was no container.
    """
    found = machine.container in containers.present()
    if containers.state(machine) not in ("", "STOPPED"):
        containers.stop(machine, kill=True)
    containers.remove(machine)
    keys.forget(keys.minion(machine.name))
    return found


# All hosts


def remove_strangers(planned: Iterable[str]) -> None:
    """Stop and remove every container whose host is not planned."""
    names = {container.removeprefix("salina-") for container in containers.present()}
    for name in sorted(names - set(planned)):
        discard(Machine(name, (), ()))


def ensure_machines(wanted: Plan, topology: Topology) -> None:
    """Make all containers of the plan run, with the planned network cards and addresses.

    A container of another platform than its host's is replaced.

    Args:
        wanted: The plan of the lab.
        topology: The lab's topology.
    """
    existing, running = containers.existing(), containers.running()
    for machine in wanted.machines:
        if machine.container in existing and containers.platform(machine) != machine.platform:
            if machine.container in running:
                containers.stop(machine, kill=True)
            existing.discard(machine.container)
            running.discard(machine.container)
    keys.master(), salt_master.minion_keys(wanted)  # before threads ask for them

    def bring_up(machine: Machine) -> None:
        if machine.container not in existing:
            base = image_of(machine, wanted.master)
            containers.create(machine, base, initial_files(wanted, machine, topology))
        elif not containers.is_current(machine):
            if machine.container in running:
                containers.stop(machine)
                running.discard(machine.container)
            containers.configure(machine)
        if machine.container in existing and not machine.minion:  # Salt manages a minion's files
            containers.put(machine, initial_files(wanted, machine, topology))
        if machine.container not in running:
            containers.start(machine)

    containers.each(bring_up, sorted(wanted.machines, key=lambda machine: not machine.master))


def rebuild(machines: Iterable[Machine], wanted: Plan) -> None:
    """Replace hosts by new ones, which are bare as from a cloud and keep their keys.

    Args:
        machines: The hosts to rebuild.
        wanted: The plan of the lab.
    """
    topology, running = topology_file.read(), containers.running()

    def replace(machine: Machine) -> None:
        if machine.container in running:
            containers.stop(machine, kill=True)
        base = image_of(machine, wanted.master)
        containers.create(machine, base, initial_files(wanted, machine, topology))
        containers.start(machine)

    containers.each(replace, machines)


def remove_all() -> None:
    """End all processes of the lab and remove its state, even after a command was killed.

    Raises:
        LabError: Processes of the lab did not end.
    """
    containers.thaw_groups()
    network.stop()
    if not wait_until(lambda: not containers.busy_groups(), END_SECONDS):
        raise LabError(
            f"processes of the lab are still there, {END_SECONDS} s after they were killed",
            "ps -e -o pid,stat,wchan,args",
        )
    containers.remove_groups()
    # Finding all files takes most of the time, so look into several containers at once.
    with ThreadPoolExecutor(containers.PARALLEL) as pool:
        list(pool.map(remove_tree, CONTAINERS.glob("*")))
    remove_tree(STATE)

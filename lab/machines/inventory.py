"""Which hosts the lab has, and which it should have: the topology and its pools' members."""

from collections.abc import Iterable, Mapping, Set
from pathlib import Path

from lab.errors import LabError
from lab.machines import containers, plan, provision, topology_file
from lab.machines.plan import Machine, Plan
from lab.mirror import repositories
from lab.paths import CONTAINERS, MIRROR
from lab.process import run
from salina_fleet import revisions
from salina_fleet.model import members
from salina_fleet.model.members import Members
from salina_fleet.model.topology import Topology
from salina_fleet.revisions import RevisionError, Revisions

MASTER_STATE = "var/lib/salina"  # on the master


def active_members(topology: Topology) -> Members:
    """Return the active members of each pool, as the master keeps them.

    Members that belong to another topology are ignored: the pools then have their initial ones.
    """
    try:
        return members.load(master_state(topology) / members.FILE, topology)
    except members.MembersError:
        return topology.initial()


def members_fault(topology: Topology) -> str:
    """Return why `active_members` cannot use the master's file of the members, or ""."""
    try:
        members.load(master_state(topology) / members.FILE, topology)
    except members.MembersError as error:
        return f"/{MASTER_STATE}/{members.FILE}: {'; '.join(error.faults)}"
    return ""


def accepted_keys(topology: Topology) -> set[str]:
    """Return the hosts whose keys the master has accepted."""
    root = master_state(topology).parents[MASTER_STATE.count("/")]
    return {file.name for file in (root / provision.ACCEPTED.lstrip("/")).glob("*")}


def changing_hosts(topology: Topology) -> set[str]:
    """Return the hosts that an unfinished change to a pool works on, as the master keeps them.

    A change writes its hosts here before it changes the members, and removes them afterwards.
    So call this after `active_members`: it then misses no change that was running meanwhile.
    """
    try:
        found = members.unfinished(master_state(topology) / members.UNFINISHED, topology)
    except members.MembersError:
        return set()  # the file belongs to another topology
    return {host for hosts in found.values() for host in hosts}


def forget_members(master: Machine, topology: Topology) -> list[str]:
    """Delete the running master's files of members that do not fit the topology.

    On a real master such a file is an error, which a person has to correct.

    Returns:
        Why each deleted file did not fit.
    """
    faults = []
    for name, load in (
        (members.FILE, members.load),
        (members.UNFINISHED, members.unfinished),
    ):
        try:
            load(master_state(topology) / name, topology)
        except members.MembersError as error:
            run(containers.attach(master, ["rm", "--force", f"/{MASTER_STATE}/{name}"]))
            faults.append(str(error))
    return faults


def forget_commits(master: Machine, topology: Topology) -> None:
    """Delete the running master's records of commits, if the mirror does not have one of them.

    A rebuilt mirror has new repositories, without the old commits.
    """
    records = Revisions(master_state(topology))
    try:
        found = records.recorded().values()
    except RevisionError:
        pass  # the next lines delete the damaged file
    else:
        if all(map(_in_mirror, found)):
            return
    run(containers.attach(master, ["rm", "--force", f"/{MASTER_STATE}/{revisions.FILE}"]))


def _in_mirror(record: Mapping[str, str]) -> bool:
    """Tell whether the mirror has a recorded commit, or has nothing to do with it."""
    url = record["repository"]
    name = url.removeprefix(repositories.OWN)
    home = MIRROR / "git" / (repositories.name(url) if name == url else name)
    if name == url and not home.exists():
        return True
    argv = ["git", f"--git-dir={home}", "cat-file", "-e", record["commit"]]
    return run(argv, check=False).returncode == 0


def master_state(topology: Topology) -> Path:
    """Return where this machine stores the master's MASTER_STATE directory."""
    master = next(host.id for host in topology.hosts if "master" in host.roles)
    return CONTAINERS / f"salina-{master}/delta" / MASTER_STATE


def current_plan() -> Plan:
    """Return the plan of all hosts: the members, and every other host of a pool that exists.

    Raises:
        LabError: There is no lab on this machine.
    """
    topology = topology_file.read()
    existing = {container.removeprefix("salina-") for container in containers.present()}
    return plan.make(topology, with_hosts(topology, active_members(topology), existing))


def with_hosts(topology: Topology, active: Members, hosts: Iterable[str]) -> Members:
    """Return the members, and in addition those of the hosts that belong to a pool.

    Args:
        topology: The lab's topology.
        active: The active members of each pool.
        hosts: The additional hosts. Hosts that belong to no pool are ignored.
    """
    more = set(hosts)
    return {
        pool.name: [host for host in pool.ids() if host in more.union(active[pool.name])]
        for pool in topology.pools.values()
    }


def without_hosts(active: Members, hosts: Set[str]) -> Members:
    """Return the members except these hosts."""
    return {pool: [host for host in ids if host not in hosts] for pool, ids in active.items()}


def pool_machine(name: str, topology: Topology) -> Machine:
    """Return the machine of a host that belongs to a pool.

    Raises:
        LabError: No pool has a host of that name.
    """
    ids = [host for pool in topology.pools.values() for host in pool.ids()]
    if name not in ids:
        choice = f"choose one of: {', '.join(ids)}" if ids else "the topology has no pools"
        raise LabError(f"{name!r} is not a host of a pool; {choice}", "bin/lab status")
    return plan.make(topology, with_hosts(topology, topology.initial(), [name])).machine(name)


def expected_hosts(topology: Topology) -> set[str]:
    """Return all hosts that should exist, and those that an unfinished change works on."""
    active = {host.id for host in topology.fleet(active_members(topology))}
    return active | changing_hosts(topology)

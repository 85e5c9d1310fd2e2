"""The lab's master: its configuration, the keys that it accepts, and the topology that it sees."""

from collections.abc import Iterable

from lab.machines import containers, inventory, keys, provision
from lab.machines.plan import Machine, Plan
from lab.mirror.cache import remove
from lab.paths import DEFINITIONS, FORMER, REPOSITORY, STATE, digest
from lab.process import run
from salina_fleet.model.topology import Topology

CONFIGURATIONS = ("master.d/*.conf", "lab/master.conf")
MASTER_LOADS = (
    *CONFIGURATIONS,
    "_guard/*.py",
    "_pillar/*.py",
    "fleet/**/*.py",
    "_utils/**/*.py",
)
UNIT = "salt-master"
LOADED = STATE / "master-loaded"
GIT = "command -v git || { apt-get --quiet update && apt-get --quiet --yes install git; }"
FILE_LISTS = "/var/cache/salt/master/file_lists/roots"


def configurations() -> list[str]:
    """Return the master's configuration files, as paths in the repository."""
    found = [path for pattern in CONFIGURATIONS for path in REPOSITORY.glob(pattern)]
    return sorted(str(path.relative_to(REPOSITORY)) for path in found)


def minion_keys(wanted: Plan) -> dict[str, keys.Pair]:
    """Return the key pair of each planned minion, by its name; missing pairs are generated."""
    return {machine.name: keys.pair(keys.minion(machine.name)) for machine in wanted.minions}


def accept(wanted: Plan) -> None:
    """Give a running master the keys of all planned minions, before new hosts start.

    A minion that asks before its key is accepted stays pending for the master, although the key is
    there a moment later.

    Args:
        wanted: The plan of the lab.
    """
    if containers.answers(wanted.master):
        containers.put(wanted.master, provision.accepted(minion_keys(wanted)))


def ensure(wanted: Plan, topology: Topology, own: bool) -> None:
    """Give the running master the planned keys and the topology, and restart it if necessary.

    The keys of hosts that neither the topology nor a change names are deleted.

    Args:
        wanted: The plan of the lab.
        topology: The lab's topology.
        own: Whether it is the repository's own.
    """
    master = wanted.master
    # Keep existing files: tar replaces a file by deleting it first, and a master that boots at that
    # moment starts without its unit, its key or a part of its configuration.
    containers.put(master, provision.master(keys.master(), configurations()), keep=True)
    containers.put(master, provision.accepted(minion_keys(wanted)))
    # Salt creates this directory at the first request for files. A second request at that moment is
    # answered with an empty list (salt/fileserver/roots.py, _file_lists), and the minion of a new
    # master then had no states.
    run(containers.attach(master, ["mkdir", "--parents", FILE_LISTS]))
    # An operator has git on the master, from which it gets this repository. The master looks up the
    # commits of the applications with it.
    run(containers.attach(master, ["env", "DEBIAN_FRONTEND=noninteractive", "sh", "-c", GIT]))
    accepted = run(containers.attach(master, ["ls", provision.ACCEPTED])).stdout.split()
    forget_keys(master, set(accepted) - inventory.expected_hosts(topology))
    show_topology(master, own)
    loaded = digest(path for pattern in MASTER_LOADS for path in REPOSITORY.glob(pattern))
    if LOADED.exists() and LOADED.read_text() != loaded:
        run(containers.attach(master, ["systemctl", "restart", UNIT]))
    LOADED.write_text(loaded)


def show_topology(master: Machine, own: bool) -> None:
    """Show the running master the lab's topology, and its definitions if they are other ones.

    Args:
        master: The master's machine.
        own: Whether it sees the repository's own topology, instead of a mount over it.
    """
    shown = {"topology.yaml": not own, "app": DEFINITIONS.exists()}
    script = " && ".join(f"{{ {shown_by(name, other)}; }}" for name, other in shown.items())
    run(containers.attach(master, ["sh", "-c", script]))
    remove(FORMER)


def shown_by(name: str, other: bool) -> str:
    """Return the shell commands with which the master sees a part of the pillar.

    A mount that shows the right file or directory stays, so a reader never sees the repository's.

    Args:
        name: The file or directory in the folder `pillar`.
        other: Whether the master sees that of the lab, instead of the repository's own.
    """
    target, source = f"/srv/salina/pillar/{name}", f"/srv/override/{name}"
    none = f"while umount --lazy {target} 2>/dev/null; do :; done"
    if not other:
        return none
    return f"[ {source} -ef {target} ] || {{ {none}; mount --bind {source} {target}; }}"


def forget_keys(master: Machine, names: Iterable[str]) -> None:
    """Delete everything that the running master keeps about these minions."""
    traces = [path.format(name) for name in sorted(names) for path in provision.TRACES]
    run(containers.attach(master, ["rm", "--recursive", "--force", *traces]))

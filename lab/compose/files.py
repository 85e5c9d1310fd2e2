"""Write a Compose file beside its image and the first files of its hosts, which have their keys."""

from pathlib import Path

from lab.compose import image
from lab.machines import keys, provision, userdata
from lab.machines.keys import Pair
from lab.machines.plan import Machine, Plan
from lab.machines.provision import Files
from lab.paths import REPOSITORY
from salina_fleet.provision.userdata import SETTINGS_SOURCE, render

CONFIGURATIONS = "master.d/*.conf"


def write(directory: Path, compose: str, topology: str | None, wanted: Plan) -> None:
    """Write everything that `docker compose` needs into a directory.

    Only its owner can read the directory, because the hosts' files have private keys. Keys that an
    earlier run has made stay, so a running fleet goes on.

    Args:
        directory: The directory.
        compose: The text of the Compose file.
        topology: The text of the topology; None if it is the repository's own.
        wanted: The plan of the machines.
    """
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    directory.chmod(0o700)
    texts = {f"image/{path}": text for path, text in image.files().items()}
    texts |= {"docker-compose.yaml": compose}
    texts |= {} if topology is None else {"topology.yaml": topology}
    for path, text in texts.items():
        file = directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    pairs = {
        name: keys.pair(name, directory / "keys")
        for name in (keys.MASTER, *(keys.minion(one.name) for one in wanted.minions))
    }
    hosts = directory / "hosts"
    hosts.mkdir(exist_ok=True, mode=0o700)
    for machine in wanted.machines:
        file = hosts / f"{machine.name}.tar"
        file.touch(mode=0o600)
        file.write_bytes(provision.archive(first_files(machine, wanted, pairs)))


def first_files(machine: Machine, wanted: Plan, pairs: dict[str, Pair]) -> Files:
    """Return the files that a container unpacks before its first start: the lab's, without names.

    Docker itself writes /etc/hostname and /etc/hosts.

    Args:
        machine: The container's machine.
        wanted: The plan of all machines.
        pairs: The keys by the names that lab/machines/keys.py gives them.
    """
    if not machine.minion:
        return {}
    assert wanted.master.management
    pair, master = pairs[keys.minion(machine.name)], pairs[keys.MASTER]
    settings = (REPOSITORY / SETTINGS_SOURCE).read_text()
    given = render(
        *(machine.name, wanted.master.management),
        *(pair.private, pair.public, master.public, settings),
    )
    found = userdata.parse(given, machine.name).files
    if machine.master:
        paths = sorted(REPOSITORY.glob(CONFIGURATIONS))
        found = found | provision.master(
            master, [str(path.relative_to(REPOSITORY)) for path in paths]
        )
        found |= provision.accepted(
            {one.name: pairs[keys.minion(one.name)] for one in wanted.minions}
        )
    return found

"""Which hosts copy users' files to the backup host, and what of.

Why: docs/decisions/0048-files-are-copied-from-a-brick.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from salina.storage import gluster
from salina_fleet import secrets
from salina_fleet.model.backup import BackupSettings
from salina_fleet.role import CLIENT, ROOT, Certificate, MasterData, Pillar

if TYPE_CHECKING:
    from salina_fleet.fleet import Fleet
    from salina_fleet.model.topology import Host, Topology

NAME = "files-backup"
"""The name of the certificate with which a host sends files."""

KEYS = {
    "files_backup": "How this host copies users' files to the backup host.",
    "files_backup.host": "The host's id, which is also its name among the bricks.",
    "files_backup.server": "The backup host.",
    "files_backup.port": "Its port for files.",
    "files_backup.password": "The password with which the copies are sent and encrypted.",
    "files_backup.every": "The seconds from one copy to the next.",
    "files_backup.sources": "The files that this host can copy.",
    "files_backup.sources[].name": "The name of their repository.",
    "files_backup.sources[].application": "The application, and the directory of its files.",
    "files_backup.sources[].uid": "The number of the application's user, who owns the files.",
    "files_backup.sources[].path": "The directory on this host that has that directory.",
    "files_backup.sources[].volume": "GlusterFS's volume, null for a directory of this host.",
    "files_backup.sources[].servers": "The hosts of the volume that have the same files.",
    "files_backup.sources[].options": "The options with which the volume is mounted.",
    "files_backup.sources[].place": (
        "The host's place among those with the same files: the first copies them, and each of the "
        "others only if those before it do not."
    ),
}
"""The meanings of the keys of `pillar`."""


@dataclass(frozen=True)
class Source:
    """Files of an application, of which each of these hosts has all.

    `name`: the name of their repository. `path`: the directory on the hosts that has the
    application's directory. `volume`: GlusterFS's volume, or None for a directory of one host.
    """

    name: str
    application: str
    path: str
    volume: str | None
    hosts: tuple[str, ...]


def sources(fleet: Fleet) -> list[Source]:
    """Return the files of all applications; none in a fleet without a backup host.

    A volume with more bricks than copies has its files on several sets of hosts.
    """
    from salina_fleet.roles import storage

    if not fleet.having("backup"):
        return []
    settings = fleet.settings[storage.StorageSettings]
    peers = [host.id for host in storage.holding(fleet)]
    copies = storage.copies(len(peers), settings.replica)
    found = []
    for application in fleet.topology.applications.values():
        name = application.name
        if not peers:
            hosts = tuple(host.id for host in fleet.serving(name))
            found.append(Source(name, name, settings.mount, None, hosts))
            continue
        volume = storage.volume(application, settings)
        sets = [tuple(peers[first : first + copies]) for first in range(0, len(peers), copies)]
        for place, hosts in enumerate(sets):
            own = name if len(sets) == 1 else f"{name}-{place + 1}"
            found.append(Source(own, name, storage.brick(settings, volume), volume, hosts))
    return found


def holders(topology: Topology) -> str:
    """Return the role of the hosts that have users' files."""
    return "storage" if topology.having("storage") else "app"


def pillar(data: MasterData, host: Host) -> Pillar:
    """Return the section of a host that has users' files; nothing without a backup host."""
    from salina_fleet.roles import storage

    fleet = data.fleet
    own = [source for source in sources(fleet) if host.id in source.hosts]
    if not own:
        return {}
    peers = [peer.id for peer in storage.holding(fleet)]
    options = gluster.mount_options(peers, storage.family(fleet)) if peers else []
    settings = fleet.settings[BackupSettings]
    return {
        "files_backup": {
            "host": host.id,
            "server": fleet.having("backup")[0].id,
            "port": settings.files_port,
            "password": data.secrets.get(secrets.FILES_BACKUP),
            "every": settings.files_minutes * 60,
            "sources": [
                {
                    "name": source.name,
                    "application": source.application,
                    "uid": data.definitions[
                        fleet.topology.applications[source.application].definition
                    ]["uid"],
                    "path": source.path,
                    "volume": source.volume,
                    "servers": list(source.hosts),
                    "options": options,
                    "place": source.hosts.index(host.id),
                }
                for source in own
            ],
        }
    }


def triggers(fleet: Fleet, host: Host) -> list[str]:
    """Return the timer of the copies, if a host has users' files to send."""
    return ["salina-files.timer"] if certificate(fleet, host) else []


def certificate(fleet: Fleet, host: Host) -> list[Certificate]:
    """Return the certificate with which a host sends files, if it has any to send."""
    if any(host.id in source.hosts for source in sources(fleet)):
        return [Certificate(NAME, (f"DNS:{host.id}",), (CLIENT,), group=ROOT)]
    return []

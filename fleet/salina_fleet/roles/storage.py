"""GlusterFS: a volume for each application's files, over all storage hosts but the spares."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from salina_fleet import secrets
from salina_fleet.model import files_backup
from salina_fleet.model.backup import BackupSettings
from salina_fleet.role import (
    ANY,
    CLIENT,
    ROOT,
    SERVER,
    Certificate,
    Check,
    Look,
    MasterData,
    Pillar,
    Port,
    Role,
    Row,
    Tuning,
    named,
)
from salina_fleet.schema.declare import VOLUME, Scalar, flag, given, nested, number, path, values
from salina_fleet.schema.document import join
from salina_fleet.schema.rules import Text

if TYPE_CHECKING:
    from salina_fleet.fleet import Fleet
    from salina_fleet.model.settings import Settings
    from salina_fleet.model.topology import Application, Host, Topology

GLUSTERD, PEERS = 24007, 24008
FIRST_BRICK = 49152
OFF = (False, 0, "off", "no", "false", "disable", "0")
"""The values with which an option is off."""
OPTION = Text(
    r"[a-z][a-z0-9-]*(\.[a-z0-9_-]+)+",
    "the whole name of an option, such as performance.cache-size",
)
OPTION_VALUE = Text(r"[^\s-]([^\x00-\x1f]*\S)?", "a plain value", others=(int, float, bool))
CERTIFICATE = "files"
"""The name of the certificate with which GlusterFS knows a host."""

KEYS = {
    "storage": "GlusterFS on a storage host.",
    "storage.name": "The host's own name in the pool.",
    "storage.peers": "The storage hosts that have bricks, which form the pool.",
    "storage.spare": "Whether the host has no brick and stays outside of the pool (decision 65).",
    "storage.volumes": "The volumes of the pool: one for each application.",
    "storage.volumes[].name": "The volume's name.",
    "storage.volumes[].brick": "The directory of each host's brick, empty on a spare.",
    "storage.volumes[].replica": "The copies of each file.",
    "storage.volumes[].bricks": "The bricks in their order: host and directory.",
    "storage.volumes[].options": "The options that every apply restores.",
    "storage.volumes[].options.NAME": "The value of the option, as `gluster volume get` shows it.",
    "storage.volumes[].tls": (
        "The options of a volume in a pool that uses TLS, which also say whose certificates it "
        "takes; empty without TLS."
    ),
    "storage.volumes[].tls.NAME": "The value of the option.",
    "storage.family": "The address family of the storage hosts: `inet` or `inet6`.",
    **files_backup.KEYS,
}
"""The meanings of the keys of its pillar."""


@dataclass(frozen=True)
class StorageSettings(Tuning):
    """GlusterFS: volumes over the storage hosts, mounted on the app hosts."""

    replica: int | None = number(
        None,
        1,
        9,
        "The copies of each file; null stands for one on each host, at most three. Hosts beyond "
        "the last whole set of copies are spares.",
    )
    volume: str = given(
        VOLUME,
        "nas",
        about="The volume of the application to which the topology gives no other one.",
    )
    brick: str = path(
        "/nas",
        "The directory of this volume's brick on each storage host; another volume's name is "
        "added to it, such as /nas-shop.",
    )
    mount: str = path("/mnt/nas", "The directory at which an app host mounts its volume.")
    ping_timeout: int = number(
        5, 1, 600, "The seconds after which clients stop waiting for a silent storage host."
    )
    max_port: int = number(
        49251, 49160, 60999, "The highest port that a brick may take; the lowest is 49152."
    )
    wait: int = number(
        300, 1, 3600, "The seconds that a state or a boot waits for other hosts or the volume."
    )
    tls: bool = flag(
        True,
        "Whether GlusterFS uses TLS. A pool that was formed without it stays as it is until "
        "orch.storage_tls moves it.",
    )
    options: dict[str, Scalar] = values(
        {}, "Further options of every volume.", name=OPTION, value=OPTION_VALUE
    )

    def conflicts(
        self,
        topology: Topology,
        settings: Settings,
        definitions: Mapping[str, Mapping[str, Any]],
    ) -> Iterator[tuple[str, str]]:
        """Each directory is a place of its own, and with a backup host a brick has whole files.

        They are copied from there. A host may have several roles, so the directories of the backups
        count as well.
        """
        backups = settings[BackupSettings].directories()
        volumes = {volume(one, self): None for one in topology.applications.values()}
        bricks = [("brick", brick(self, name)) for name in volumes]
        own = [*bricks, ("mount", self.mount)]
        yield from nested([*((f"{key} in backup.yaml", one) for key, one in backups), *own])
        if topology.having("backup") and self.options.get("features.shard", False) not in OFF:
            why = "because users' files are copied from a brick, which would have pieces of them"
            yield "options", f"features.shard is not valid with a backup host, {why}; remove it"


class Storage(Role):
    """A host with a brick of every volume, or a spare that can get them."""

    name = "storage"
    order = 30
    tier = 2
    daemons = ("glusterd",)
    column = 4
    links = ("data",)
    row = "S4"
    settings: ClassVar = {"storage": StorageSettings}
    keys = KEYS
    software: ClassVar = {
        "glusterfs-server": "the bricks, one copy of each file",
        "attr": "getfattr, with which operators look at the bricks",
        "glusterd": "GlusterFS's management daemon, which starts the bricks",
        "restic": "copies users' files to the backup host, encrypted",
        "salina-files.timer": "starts the copies of users' files",
    }

    def rows(self, topology: Topology, settings: Settings) -> Iterable[Row]:
        """App hosts mount their volume; storage hosts form the pool."""
        bricks = f"{FIRST_BRICK}:{settings[StorageSettings].max_port}"
        volume = f"{GLUSTERD},{bricks}"
        yield Row("app", self.name, "data", volume, "the volume", by_root=True)
        pool = f"{GLUSTERD}:{PEERS},{bricks}"
        yield Row(self.name, self.name, "data", pool, "GlusterFS peers", by_root=True)

    def ports(self, topology: Topology, settings: Settings, host: Host) -> Iterable[Port]:
        """The ports of GlusterFS's management daemon, and those of the bricks."""
        yield Port(GLUSTERD, "GlusterFS", ANY)
        yield Port(PEERS, "GlusterFS", ANY)
        yield Port(FIRST_BRICK, "a brick", ANY, last=settings[StorageSettings].max_port)

    def directories(self, fleet: Fleet) -> Iterable[str]:
        """The bricks, and GlusterFS's own records of the pool."""
        yield from (volume["brick"] for volume in self.volumes(fleet))
        yield "/var/lib/glusterd"

    def pillar(self, data: MasterData, host: Host) -> Pillar:
        """Return the pool and its volumes."""
        fleet, settings = data.fleet, data.fleet.settings[StorageSettings]
        return {
            "storage": {
                "name": host.id,
                "peers": [peer.id for peer in holding(fleet)],
                "spare": is_spare(fleet, host),
                "volumes": self.volumes(fleet),
                "family": family(fleet),
                "max_port": settings.max_port,
                "tls": settings.tls,
                "wait": settings.wait,
            },
            **files_backup.pillar(data, host),
        }

    def volumes(self, fleet: Fleet) -> list[Pillar]:
        """Return the volumes as they must be."""
        settings = fleet.settings[StorageSettings]
        peers = [peer.id for peer in holding(fleet)]
        replica = copies(len(peers), settings.replica)
        options = {
            "network.ping-timeout": str(settings.ping_timeout),
            # by default close() succeeds before the volume has answered, and an application that
            # checks it, as Node does, never learns of an error
            "performance.flush-behind": "off",
        }
        if replica > 1:
            # a write needs a majority of the copies, so no split-brain can arise
            options["cluster.quorum-type"] = "auto"
            # only this check finds a host that froze and thawed; by default it runs every 600 s
            options["cluster.heal-timeout"] = "60"
        if len(peers) > 2:
            # a minority that changed the volume would be rejected when it comes back
            options["cluster.server-quorum-type"] = "server"
        volumes = []
        for application in fleet.topology.applications.values():
            name = volume(application, settings)
            own_brick = brick(settings, name)
            own = {"auth.allow": ",".join(addresses(fleet, application))}
            own |= {key: _option(value) for key, value in settings.options.items()}
            volumes.append(
                {
                    "name": name,
                    "brick": own_brick,
                    "replica": replica,
                    "bricks": [f"{peer}:{own_brick}" for peer in peers],
                    "options": options | own,
                    "tls": tls_options(fleet, application) if settings.tls else {},
                }
            )
        return volumes

    def certificates(self, fleet: Fleet, host: Host) -> Iterable[Certificate]:
        """The name by which the volumes know this host, as a server and as a client."""
        if fleet.settings[StorageSettings].tls:
            yield certificate(SERVER, CLIENT)
        yield from files_backup.certificate(fleet, host)

    def spare(self, fleet: Fleet) -> int:
        """A minority of the copies of a file, since a write needs a majority."""
        replica = fleet.settings[StorageSettings].replica
        return (copies(len(fleet.having(self.name)), replica) - 1) // 2

    def rules(
        self, topology: Topology, settings: Settings, sound: Callable[[str], bool]
    ) -> Iterator[str]:
        """The storage hosts hold a whole set of copies, and no applications share a volume."""
        hosts = topology.having(self.name)
        count = copies(len(hosts), settings[StorageSettings].replica)
        if hosts and len(hosts) < count:
            yield (
                f"hosts: {named(hosts)} role {self.name}; there must be at least {count}, the "
                "number of copies (`replica` in pillar/settings/storage.yaml)"
            )
        owners: dict[str, str] = {}
        for application in topology.applications.values() if hosts else ():
            name = volume(application, settings[StorageSettings])
            owner = owners.setdefault(name, application.name)
            path = join(join("applications", application.name), "volume")
            if owner != application.name and sound(path):
                advice = f"give {application.name} a volume of its own: `volume: NAME`"
                yield f"{path}: {name} is already used by {owner}; {advice}"

    def triggers(self, fleet: Fleet, host: Host) -> Iterable[str]:
        """The timer of the copies of users' files."""
        return files_backup.triggers(fleet, host)

    def checks(
        self, fleet: Fleet, host: Host, definitions: Mapping[str, Mapping[str, Any]]
    ) -> list[Check]:
        """The pool, the volume and this host's brick; a spare is in no pool."""
        if is_spare(fleet, host):
            return [Check("spare")]
        alike = (self.name,)
        needs = {"peers": alike, "heal": alike}
        return [Check("gluster", {"host": host.id}, needs=needs, decides=True)]

    def evidence(self, data: MasterData, host: Host) -> Iterable[Look]:
        """Its volumes, whether they use TLS, and whose certificates they take."""
        fleet, settings = data.fleet, data.fleet.settings[StorageSettings]
        if is_spare(fleet, host):
            yield Look("X1", "files", {"names": {}})
            return
        names = {
            volume(application, settings): [one.id for one in clients(fleet, application)]
            for application in fleet.topology.applications.values()
        }
        yield Look("X1", "files", {"names": names})
        keys = ("name", "replica", "bricks", "options")
        wanted = [{key: one[key] for key in keys} for one in self.volumes(fleet)]
        yield Look("S3", "volumes", {"wanted": wanted})


def copies(storage_hosts: int, replica: int | None) -> int:
    """Return the volume's replica count: the setting's, or one copy a host up to three."""
    return replica if replica is not None else min(3, storage_hosts)


def holding(fleet: Fleet) -> tuple[Host, ...]:
    """Return the storage hosts that have bricks: as many whole sets of copies as there are.

    The order is that of the topology, so a host at its end changes nothing before a set is whole.
    """
    hosts = fleet.having(Storage.name)
    count = copies(len(hosts), fleet.settings[StorageSettings].replica)
    return hosts[: len(hosts) // count * count] if hosts else ()


def is_spare(fleet: Fleet, host: Host) -> bool:
    """Tell whether a storage host has no brick."""
    return host not in holding(fleet)


def volume(application: Application, settings: StorageSettings) -> str:
    """Return the name of an application's volume."""
    return application.volume or settings.volume


def brick(settings: StorageSettings, volume: str) -> str:
    """Return the directory of a volume's brick on each storage host."""
    return settings.brick if volume == settings.volume else f"{settings.brick}-{volume}"


def certificate(*uses: str) -> Certificate:
    """Return a host's certificate for GlusterFS, which knows hosts by their common names."""
    return Certificate(
        CERTIFICATE,
        (),
        uses,
        authority=secrets.FILES_CA,
        group=ROOT,
    )


def clients(fleet: Fleet, application: Application) -> list[Host]:
    """Return the hosts that may mount an application's volume.

    They include those of hosts that its pools do not have now, to which the firewall is closed. So
    a change of a pool changes no volume, and the storage hosts judge no running client again.
    """
    hosts = [
        *fleet.having(Storage.name),
        *(host for host in fleet.topology.everyone() if host.application == application.name),
    ]
    return list({host.id: host for host in hosts}.values())


def tls_options(fleet: Fleet, application: Application) -> dict[str, str]:
    """Return the options with which a volume uses TLS, and takes its own hosts' names only."""
    names = ",".join(host.id for host in clients(fleet, application))
    return {"client.ssl": "on", "server.ssl": "on", "auth.ssl-allow": names}


def addresses(fleet: Fleet, application: Application) -> list[str]:
    """Return the addresses of the hosts that may mount an application's volume."""
    hosts = clients(fleet, application)
    return list(dict.fromkeys(fleet.address(host, "data") for host in hosts))


def family(fleet: Fleet) -> str:
    """Return the address family of the storage hosts: GlusterFS uses IPv4 unless told otherwise."""
    addresses = [fleet.address(peer, "data") for peer in fleet.having(Storage.name)]
    return "inet6" if any(":" in address for address in addresses) else "inet"


def _option(value: object) -> str:
    """Return a volume option as `gluster volume get` shows it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)

"""pgBackRest's repository: the backups of the database cluster, and its WAL."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from os.path import dirname
from typing import TYPE_CHECKING, Any, ClassVar

from salina.backup import pgbackrest
from salina.backup import second as mirror
from salina.backup.drill import RECORD
from salina_fleet import secrets
from salina_fleet.backup import LATE, LATE_DRILL, LATE_FILES, LATE_SECOND
from salina_fleet.kinds import KINDS
from salina_fleet.model import files_backup, second
from salina_fleet.model.backup import (
    SCRATCH_KEYS,
    STANZA,
    BackupSettings,
    certificate,
    scratch_pillar,
)
from salina_fleet.platforms import named_for_postgresql
from salina_fleet.role import Certificate, Check, MasterData, Pillar, Port, Role, Row
from salina_fleet.roles.database import TOGETHER, DatabaseSettings, files
from salina_fleet.schema.document import join

if TYPE_CHECKING:
    from salina_fleet.fleet import Fleet
    from salina_fleet.model.settings import Settings
    from salina_fleet.model.topology import Host, Topology

FILE = "pillar/settings/backup.yaml"
APART = ("database", "storage")
"""The roles whose hosts hold what the backups are of."""

KEYS = {
    "backup": "pgBackRest's repository.",
    "backup.address": "The host's own address, on which pgBackRest listens.",
    "backup.stanza": "pgBackRest's name for the cluster.",
    "backup.password": "The password with which pgBackRest encrypts the repository.",
    "backup.databases": "The database hosts, which may send WAL.",
    "backup.database_port": "PostgreSQL's port on these hosts.",
    "backup.database_files": "The directory of the cluster's files on these hosts.",
    "backup.others": "The days of the week without a full backup.",
    "backup.parents": "The directories in which those of the settings are.",
    "files_repository": "The copies of users' files on the backup host.",
    "files_repository.listen": "The address and the port at which they arrive.",
    "files_repository.directory": "The directory of the repositories.",
    "files_repository.password": "The password with which they are encrypted, and sent.",
    "files_repository.sources": "The files, each with a repository of its own.",
    "files_repository.sources[].name": "The name of the repository.",
    "files_repository.sources[].application": "The application, and the directory of its files.",
    "files_repository.sources[].path": "The directory on the hosts that has that directory.",
    "files_repository.sources[].named": (
        "Where the application's database names its files; null if only the application knows."
    ),
    "files_repository.sources[].named.directory": "The directory in which they are.",
    "files_repository.sources[].named.column": "The column with their paths: schema, table, name.",
    "files_repository.keep_days": "The days for which copies are kept.",
    "files_repository.hour": "The hour of the day in which older ones are deleted.",
    **second.KEYS,
    **SCRATCH_KEYS,
}
"""The meanings of the keys of its pillar."""
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


class Backup(Role):
    """The host with the repository."""

    name = "backup"
    order = 55
    tier = 4
    column = 4
    links = ("data",)
    row = "O9"
    count = ((0, 1), "at most one host may have it")
    reads_key = True
    reserved_names = ("config", "data", "index", "keys", "locks", "snapshots")  # rclone's paths
    settings: ClassVar = {"backup": BackupSettings}
    keys = KEYS
    software: ClassVar = {
        **named_for_postgresql(
            "postgresql-{}", "restores a backup in a drill, which proves that it is good"
        ),
        **named_for_postgresql(
            "postgresql-client-{}", "looks into the restored database of a drill"
        ),
        "pgbackrest": "the repository of the database's backups, and its service",
        "restic": "looks into the copies of users' files, and forgets old ones",
        "rclone": (
            "takes the copies of users' files, and mirrors the repositories to a second place"
        ),
        "salina-backup@full.timer": "starts the full backups",
        "salina-backup@diff.timer": "starts the differential backups",
        "salina-files-repository": "takes the copies of users' files; refuses to delete any",
        "salina-files-forget.timer": "forgets copies that are older than the settings say",
        "salina-second.timer": "mirrors the repositories to the second place",
    }

    def together(self, host: Host) -> str:
        """Both ends of pgBackRest have the same version, and a drill starts the same PostgreSQL."""
        return TOGETHER

    def rows(self, topology: Topology, settings: Settings) -> Iterable[Row]:
        """Database hosts send their WAL, and the backup host fetches theirs; users' files come."""
        port = str(settings[BackupSettings].port)
        yield Row("database", self.name, "data", port, "WAL for the backups")
        yield Row(self.name, "database", "data", port, "backups")
        holder = files_backup.holders(topology)
        files = str(settings[BackupSettings].files_port)
        yield Row(holder, self.name, "data", files, "copies of files", by_root=True)

    def ports(self, topology: Topology, settings: Settings, host: Host) -> Iterable[Port]:
        """The ports of pgBackRest's server, and of the one for users' files."""
        own = settings[BackupSettings]
        yield own.own_port
        yield Port(own.files_port, "rclone", "data", f"{FILE}: files_port")

    def directories(self, fleet: Fleet) -> Iterable[str]:
        """The repositories, and the copies of the master's state."""
        own = fleet.settings[BackupSettings]
        return [own.repository, own.files_repository, own.master_copies]

    def pillar(self, data: MasterData, host: Host) -> Pillar:
        """Return the repository, and the hosts whose cluster it holds."""
        fleet, settings = data.fleet, data.fleet.settings[BackupSettings]
        database = fleet.settings[DatabaseSettings]
        own = fleet.address(host, "data")
        address = f"[{own}]" if ":" in own else own
        return {
            "backup": {
                "address": own,
                "stanza": STANZA,
                "password": data.secrets.get(secrets.BACKUP),
                "databases": [one.id for one in fleet.having("database")],
                "database_port": database.port,
                "database_files": files(fleet.topology),
                "others": [day for day in DAYS if day != settings.full],
                "parents": sorted({dirname(path) for _, path in settings.directories()}),
                **{key: value for key, value in asdict(settings).items() if key != "second"},
            },
            "files_repository": {
                "listen": f"{address}:{settings.files_port}",
                "directory": settings.files_repository,
                "password": data.secrets.get(secrets.FILES_BACKUP),
                "sources": [
                    {
                        "name": source.name,
                        "application": source.application,
                        "path": source.path,
                        "named": _named(data, source.application),
                    }
                    for source in files_backup.sources(fleet)
                ],
                "keep_days": settings.keep_days,
                "hour": settings.hour,
            },
            "second_repository": _second(data),
            **scratch_pillar(
                fleet.topology, database, files(fleet.topology), pgbackrest.SCRATCH_FILE
            ),
        }

    def certificates(self, fleet: Fleet, host: Host) -> Iterable[Certificate]:
        """The one by which pgBackRest's other end knows this host."""
        yield certificate(host)

    def rules(
        self, topology: Topology, settings: Settings, sound: Callable[[str], bool]
    ) -> Iterator[str]:
        """The backups are not on a host that can lose what they are of."""
        for host in topology.having(self.name):
            path = f"{join('hosts', host.id)}.roles"
            for role in APART:
                if role in host.roles and sound(path):
                    yield (
                        f"{path}: {self.name} and {role} on one host: whoever loses the host loses "
                        f"the data and its backup; give {self.name} to another host"
                    )

    def triggers(self, fleet: Fleet, host: Host) -> Iterable[str]:
        """The timers of the backups, of the copies that are too old, and of the mirror."""
        yield from ("salina-backup@full.timer", "salina-backup@diff.timer")
        yield "salina-files-forget.timer"
        if fleet.settings[BackupSettings].second:
            yield "salina-second.timer"

    def checks(
        self, fleet: Fleet, host: Host, definitions: Mapping[str, Mapping[str, Any]]
    ) -> list[Check]:
        """The day's backup is there, and a restore drill has tried it."""
        settings = fleet.settings[BackupSettings]
        found = [
            Check("unit", {"name": "pgbackrest"}),
            Check(
                "backup",
                {
                    "stanza": STANZA,
                    "hours": LATE,
                    "record": RECORD,
                    "days": settings.drill_days + LATE_DRILL,
                    "applications": settings.drill_application,
                },
                decides=True,
            ),
            Check("repositories", {"places": [settings.repository, settings.files_repository]}),
            Check("unit", {"name": "salina-files-repository"}),
            Check(
                "files_copied",
                {
                    "directory": settings.files_repository,
                    "sources": [source.name for source in files_backup.sources(fleet)],
                    "minutes": LATE_FILES * settings.files_minutes,
                },
            ),
        ]
        if settings.recipient:
            saved = {"directory": settings.master_copies, "hours": LATE}
            found.append(Check("master_saved", saved))
        if settings.second:
            minutes = LATE_SECOND * settings.second.minutes
            since = {"record": mirror.RECORD, "settings": mirror.SETTINGS, "minutes": minutes}
            read = {"compared": mirror.COMPARED, "days": settings.drill_days + LATE_DRILL}
            found.append(Check("second_repository", {**since, **read}))
        return found


def _second(data: MasterData) -> Pillar | None:
    """Return the place of the second repository, and what goes there; None without one."""
    settings = data.fleet.settings[BackupSettings]
    if settings.second is None:
        return None
    folder = settings.files_repository
    parts = [
        ("pgbackrest", "pgbackrest", settings.repository, "postgres"),
        *(
            (f"restic/{source.name}", "restic", f"{folder}/{source.name}", "restic")
            for source in files_backup.sources(data.fleet)
        ),
        ("master", "master", settings.master_copies, "root"),
    ]
    names = ("name", "kind", "directory", "owner")
    return asdict(settings.second) | {
        "host_keys": list(settings.second.host_keys),
        "secret": data.secrets.get(secrets.second(settings.second.kind)),
        "parts": [dict(zip(names, part, strict=True)) for part in parts],
        "writes": [settings.repository, folder, settings.master_copies],
    }


def _named(data: MasterData, application: str) -> Pillar | None:
    """Return where an application's database names its files, for a restore drill."""
    definition = data.definitions[data.fleet.topology.applications[application].definition]
    return KINDS[definition["kind"]].named(application)

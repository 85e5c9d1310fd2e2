"""pgBackRest's repository: the backups of the database cluster, and its WAL."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, ClassVar

from salina.backup import pgbackrest
from salina.backup.drill import RECORD
from salina_fleet import secrets
from salina_fleet.backup import LATE, LATE_DRILL
from salina_fleet.model.backup import (
    SCRATCH_KEYS,
    STANZA,
    BackupSettings,
    certificate,
    scratch_pillar,
)
from salina_fleet.role import Certificate, Check, MasterData, Pillar, Role, Row
from salina_fleet.roles.database import DatabaseSettings, files
from salina_fleet.schema.document import join

if TYPE_CHECKING:
    from salina_fleet.fleet import Fleet
    from salina_fleet.model.settings import Settings
    from salina_fleet.model.topology import Host, Topology

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
    count = ((0, 1), "at most one host may have it")
    reads_key = True
    settings: ClassVar = {"backup": BackupSettings}
    keys = KEYS

    def rows(self, topology: Topology, settings: Settings) -> Iterable[Row]:
        """Database hosts send their WAL, and the backup host fetches their files."""
        port = str(settings[BackupSettings].port)
        yield Row("database", self.name, "data", port, "WAL for the backups")
        yield Row(self.name, "database", "data", port, "backups")

    def ports(self, settings: Settings) -> Mapping[int, str]:
        """The port of pgBackRest's server."""
        return {settings[BackupSettings].port: "pgBackRest"}

    def pillar(self, data: MasterData, host: Host) -> Pillar:
        """Return the repository, and the hosts whose cluster it holds."""
        fleet, settings = data.fleet, data.fleet.settings[BackupSettings]
        database = fleet.settings[DatabaseSettings]
        return {
            "backup": {
                "address": fleet.address(host, "data"),
                "stanza": STANZA,
                "password": data.secrets.get(secrets.BACKUP),
                "databases": [one.id for one in fleet.having("database")],
                "database_port": database.port,
                "database_files": files(database),
                "others": [day for day in DAYS if day != settings.full],
                **asdict(settings),
            },
            **scratch_pillar(database, files(database), pgbackrest.SCRATCH_FILE),
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

    def checks(
        self, fleet: Fleet, host: Host, definitions: Mapping[str, Mapping[str, Any]]
    ) -> list[Check]:
        """The day's backup is there, and a restore drill has tried it."""
        settings = fleet.settings[BackupSettings]
        return [
            Check("unit", {"name": "pgbackrest"}),
            Check(
                "backup",
                {
                    "stanza": STANZA,
                    "hours": LATE,
                    "record": RECORD,
                    "days": settings.drill_days + LATE_DRILL,
                },
            ),
        ]

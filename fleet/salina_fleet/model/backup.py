"""The settings of the backups, and what both ends of pgBackRest need."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from salina.backup import scratch
from salina_fleet.model.second import SecondSettings
from salina_fleet.role import CLIENT, SERVER, UNPRIVILEGED, Certificate, Pillar, Port, Tuning
from salina_fleet.schema.declare import flag, given, nested, number, path, record, text
from salina_fleet.schema.faults import invalid
from salina_fleet.schema.rules import Nullable

if TYPE_CHECKING:
    from salina_fleet.model.topology import Host, Topology
    from salina_fleet.roles.database import DatabaseSettings

STANZA = "salina"
"""pgBackRest's name for the cluster."""


@dataclass(frozen=True)
class BackupSettings(Tuning):
    """pgBackRest. Why these defaults: docs/decisions/0045-backup.md."""

    port: int = number(
        8432, UNPRIVILEGED, 65535, "pgBackRest's port on the backup host and on the database hosts."
    )
    repository: str = path(
        "/var/lib/pgbackrest", "The directory of the backups on the backup host."
    )
    files_port: int = number(
        8433, UNPRIVILEGED, 65535, "The port on the backup host to which users' files are sent."
    )
    files_repository: str = path(
        "/var/lib/restic", "The directory of the copies of users' files on the backup host."
    )
    files_minutes: int = number(
        15, 5, 1440, "The minutes from one copy of users' files to the next."
    )
    hour: int = number(3, 0, 23, "The hour, by the backup host's own clock, of the day's backup.")
    full: str = text(
        "Sun",
        "(Mon|Tue|Wed|Thu|Fri|Sat|Sun)",
        "a day of the week: Mon, Tue, Wed, Thu, Fri, Sat or Sun",
        "The day of the week on which a backup is full; on the others it has what changed since.",
    )
    keep_days: int = number(
        14,
        2,
        3650,
        "The days back to which database and files can be restored to any moment. A file that a "
        "user removes stays on the volume for so long.",
    )
    drill_hour: int = number(
        5, 0, 23, "The hour, in UTC, at which a restore drill begins on the master."
    )
    drill_days: int = number(7, 1, 365, "The days from one restore drill to the next.")
    drill_application: bool = flag(
        True,
        "Whether a drill also starts each application with its restored database, beside the "
        "running one, and asks for its pages.",
    )
    recipient: str | None = text(
        None,
        "age1[0-9a-z]{58}",
        "the public part of an age key (age1…)",
        "The key for which the master's own state is encrypted; with null it is not saved.",
    )
    master_copies: str = path(
        "/var/lib/salina-master", "The directory of the copies of that state on the backup host."
    )
    second: SecondSettings | None = given(
        Nullable(record(SecondSettings)),
        None,
        about="Another place that gets a mirror of all backups; with null they are on one host.",
    )
    wait: int = number(600, 1, 3600, "The seconds that a state waits for the primary.")

    @property
    def own_port(self) -> Port:
        """Return the port of pgBackRest, on the backup host and on the database hosts."""
        return Port(self.port, "pgBackRest", "data", "pillar/settings/backup.yaml: port")

    def directories(self) -> list[tuple[str, str]]:
        """Return the directories of the backup host, each after its key."""
        keys = ("repository", "files_repository", "master_copies")
        return [(key, getattr(self, key)) for key in keys]

    def rules(self) -> Iterator[tuple[str, str]]:
        """Daemons share no directory; a drill tries a backup while it is kept."""
        yield from nested(self.directories())
        if self.drill_days >= self.keep_days:
            yield "drill_days", invalid(self.drill_days, f"less than keep_days: {self.keep_days}")
        for key, message in self.second.rules() if self.second else ():
            yield f"second.{key}", message


SCRATCH_KEYS = {
    "scratch": "A scratch cluster, which restores and restore drills need.",
    "scratch.configuration": "The configuration of pgBackRest with which it is restored.",
    "scratch.files": "The directory of its files.",
    "scratch.port": "PostgreSQL's port, which names its socket.",
    "scratch.stanza": "pgBackRest's name for the cluster.",
    "scratch.version": "The major version of PostgreSQL.",
}
"""The meanings of the keys of `scratch_pillar`."""


def scratch_pillar(
    topology: Topology, database: DatabaseSettings, directory: str, configuration: str
) -> Pillar:
    """Return the section of the pillar that a host with a scratch cluster needs.

    Args:
        topology: the topology, whose database hosts have one version of PostgreSQL.
        database: the settings of the database hosts.
        directory: the directory of the running cluster, beside which the scratch cluster is.
        configuration: a file of pgBackRest, in which the cluster is on this host.
    """
    return {
        "scratch": {
            "configuration": configuration,
            "files": scratch.directory(directory),
            "port": database.port,
            "stanza": STANZA,
            "version": topology.platform("database").postgresql,
        }
    }


def certificate(host: Host) -> Certificate:
    """Return a host's certificate for pgBackRest, which knows the other end by its name."""
    return Certificate("backup", (f"DNS:{host.id}",), (SERVER, CLIENT), ("pgbackrest",))

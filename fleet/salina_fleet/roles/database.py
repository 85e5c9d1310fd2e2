"""PostgreSQL under Patroni: one primary, and the others replicate it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from salina.common.https import host_port
from salina_fleet import secrets
from salina_fleet.kinds import KINDS
from salina_fleet.role import AT_LEAST_ONE, Check, MasterData, Pillar, Role, Row, named
from salina_fleet.schema.document import join

if TYPE_CHECKING:
    from salina_fleet.fleet import Fleet
    from salina_fleet.model.settings import Settings
    from salina_fleet.model.topology import Host, Topology

CLUSTER = "salina"
"""The cluster's name. It is no application's, since applications come and go."""
NAME = "database"
"""The name by which an app host reaches the primary; every database certificate carries it."""


class Database(Role):
    """A host with a member of the PostgreSQL cluster."""

    name = "database"
    order = 50
    tier = 3
    column = 4
    links = ("data",)
    count = AT_LEAST_ONE
    reads_key = True
    reserved_ids = (NAME,)
    reserved_names = (
        *("postgres", "template0", "template1", "public", "none"),  # PostgreSQL's own
        *("all", "sameuser", "samerole", "samegroup", "replication"),  # words of pg_hba.conf
        *("replicator", "rewinder"),  # Patroni's roles
    )

    def rows(self, topology: Topology, settings: Settings) -> Iterable[Row]:
        """App hosts reach the primary and ask Patroni which it is; members replicate."""
        ports = f"{settings.database.port},{settings.database.rest_port}"
        yield Row("app", self.name, "data", ports, "PostgreSQL and who is primary")
        yield Row(self.name, self.name, "data", ports, "replication and Patroni")

    def ports(self, settings: Settings) -> Mapping[int, str]:
        """PostgreSQL's port and that of Patroni's REST interface."""
        return {settings.database.port: "PostgreSQL", settings.database.rest_port: "Patroni"}

    def pillar(self, data: MasterData, host: Host) -> Pillar:
        """Return the cluster, its passwords, and the applications with a database in it."""
        fleet = data.fleet
        settings = asdict(fleet.settings.database)
        top = {key: settings.pop(key) for key in ("port", "rest_port", "version", "parameters")}
        client_port = fleet.settings.quorum.client_port
        return {
            "database": {
                "scope": CLUSTER,
                "name": host.id,
                "address": fleet.address(host, "data"),
                "first": host.first,
                "members": members(fleet),
                "quorum": [
                    host_port(fleet.address(voter, "data"), client_port)
                    for voter in fleet.having("quorum")
                ],
                **top,
                "settings": settings,
                "passwords": {
                    name: data.secrets.get(f"database-{name}")
                    for name in ("superuser", "replication", "rewind", "rest")
                },
                "applications": [
                    {
                        "name": one.name,
                        "user": one.name,
                        "password": data.secrets.get(secrets.own(one.name, "database")),
                        "reaches": [
                            one.name,
                            *KINDS[data.definitions[one.definition]["kind"]].databases,
                        ],
                        "clients": [fleet.address(app, "data") for app in fleet.serving(one.name)],
                    }
                    for one in fleet.topology.applications.values()
                ],
            }
        }

    def certificate_names(self, fleet: Fleet, host: Host) -> list[str]:
        """Return the name under which app hosts verify the primary, whichever host it is."""
        return [f"DNS:{NAME}"]

    def rules(
        self, topology: Topology, settings: Settings, sound: Callable[[str], bool]
    ) -> Iterator[str]:
        """Exactly one database host initialises the cluster."""
        if not all(sound(f"{join('hosts', host.id)}.first") for host in topology.hosts):
            return
        databases = topology.having(self.name)
        first = [host for host in databases if host.first]
        if databases and len(first) != 1:
            yield f"hosts: {named(first)} with first: true; must be exactly one database host"
        for host in topology.hosts:
            if host.first and host not in databases:
                yield f"{join('hosts', host.id)}.first: true needs role {self.name}"

    def checks(
        self, fleet: Fleet, host: Host, definitions: Mapping[str, Mapping[str, Any]]
    ) -> list[Check]:
        """Patroni runs this member, and one member leads."""
        port = fleet.settings.database.rest_port
        return [Check("patroni", {"address": fleet.address(host, "data"), "port": str(port)})]


def members(fleet: Fleet) -> list[Pillar]:
    """Return the database hosts, each with its name and address."""
    return [
        {"name": peer.id, "address": fleet.address(peer, "data")}
        for peer in fleet.having(Database.name)
    ]

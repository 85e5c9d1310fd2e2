"""etcd: a vote in the quorum that holds the lease of the primary database."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from salina_fleet.role import LOOPBACK, Check, MasterData, Pillar, Role, Row

if TYPE_CHECKING:
    from salina_fleet.fleet import Fleet
    from salina_fleet.model.settings import Settings
    from salina_fleet.model.topology import Host, Topology

CLUSTER = "salina"


class Quorum(Role):
    """A host with a member of etcd."""

    name = "quorum"
    order = 40
    tier = 2
    column = 4
    links = ("data",)
    count = ((1, 3, 5), "1, 3 or 5, an odd number of voters")
    reads_key = True

    def rows(self, topology: Topology, settings: Settings) -> Iterable[Row]:
        """Patroni keeps its lease in etcd; the members talk to each other."""
        client, peer = settings.quorum.client_port, settings.quorum.peer_port
        yield Row("database", self.name, "data", str(client), "the lease of Patroni")
        yield Row(self.name, self.name, "data", f"{client},{peer}", "etcd peers")

    def ports(self, settings: Settings) -> Mapping[int, str]:
        """Etcd's ports for clients and for members."""
        return {settings.quorum.client_port: "etcd", settings.quorum.peer_port: "etcd"}

    def pillar(self, data: MasterData, host: Host) -> Pillar:
        """Return the cluster's members."""
        fleet = data.fleet
        own = f"{CLUSTER} {fleet.topology.service.address}"
        return {
            "quorum": {
                "name": host.id,
                "address": fleet.address(host, "data"),
                "members": [
                    {"name": voter.id, "address": fleet.address(voter, "data")}
                    for voter in fleet.having(self.name)
                ],
                # not a secret: it keeps two clusters apart that reach each other by mistake
                "token": hashlib.sha256(own.encode()).hexdigest()[:16],
                **asdict(fleet.settings.quorum),
            }
        }

    def certificate_names(self, fleet: Fleet, host: Host) -> list[str]:
        """Return the names by which etcdctl reaches the member on its own host."""
        return ["DNS:localhost", f"IP:{LOOPBACK}"]

    def checks(
        self, fleet: Fleet, host: Host, definitions: Mapping[str, Mapping[str, Any]]
    ) -> list[Check]:
        """The member answers, and the cluster has a leader."""
        port = fleet.settings.quorum.client_port
        return [Check("etcd", {"address": fleet.address(host, "data"), "port": str(port)})]

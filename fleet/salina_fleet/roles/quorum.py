"""etcd: a vote in the quorum that holds the lease of the primary database."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from salina.common.https import host_port
from salina.quorum.etcd import METRICS
from salina_fleet import secrets
from salina_fleet.role import (
    CLIENT,
    LOOPBACK,
    SERVER,
    Alert,
    Certificate,
    Check,
    Exporter,
    Look,
    MasterData,
    Pillar,
    Port,
    Role,
    Row,
    Tuning,
)
from salina_fleet.schema.declare import number
from salina_fleet.schema.faults import invalid

if TYPE_CHECKING:
    from salina_fleet.fleet import Fleet
    from salina_fleet.model.settings import Settings
    from salina_fleet.model.topology import Host, Topology

FILE = "pillar/settings/quorum.yaml"
CLUSTER = "salina"
PEER_NAME = "etcd-peer"
"""The name by which etcd recognises the certificates of its peers."""
PATRONI = "patroni"
"""Patroni's user of etcd."""

KEYS = {
    "quorum": "etcd, in which Patroni keeps who the primary is.",
    "quorum.name": "The host's own name in the cluster.",
    "quorum.address": "The host's own address in the cluster.",
    "quorum.members": "All voters.",
    "quorum.members[].name": "The voter's id.",
    "quorum.members[].address": "The voter's address.",
    "quorum.peer_name": "The common name in the certificates of the voters.",
    "quorum.passwords": "The passwords of etcd's users.",
    "quorum.passwords.root": "The password of the user that manages etcd itself.",
    "quorum.passwords.patroni": "The password of Patroni's user.",
    "quorum.keys": "The keys that each of the other users may read and write.",
    "quorum.keys.patroni": "The beginning of Patroni's keys.",
    "quorum.token": "A text that keeps two clusters apart which meet by mistake; it is not secret.",
}
"""The meanings of the keys of its pillar."""


@dataclass(frozen=True)
class QuorumSettings(Tuning):
    """etcd on the quorum hosts."""

    client_port: int = number(2379, 1, 65535, "The port for Patroni.")
    peer_port: int = number(2380, 1, 65535, "The port for the other voters.")
    heartbeat_interval: int = number(
        100, 10, 10_000, "The milliseconds between two heartbeats of the leader."
    )
    election_timeout: int = number(
        1000, 50, 50_000, "The milliseconds of silence after which the voters elect a leader."
    )
    wait: int = number(300, 1, 3600, "The seconds that a state waits for the other voters.")

    def rules(self) -> Iterator[tuple[str, str]]:
        """Etcd's own rule: a member must miss several heartbeats before it calls an election."""
        least = 5 * self.heartbeat_interval
        if self.election_timeout < least:
            words = f"at least 5 * heartbeat_interval: {least}"
            yield "election_timeout", invalid(self.election_timeout, words)


class Quorum(Role):
    """A host with a member of etcd."""

    name = "quorum"
    order = 40
    tier = 2
    daemons = ("etcd",)
    column = 4
    links = ("data",)
    row = "S11"
    count = ((1, 3, 5), "the number of hosts with role quorum must be 1, 3 or 5")
    reads_key = True
    reserved_ids = (PEER_NAME,)
    settings: ClassVar = {"quorum": QuorumSettings}
    keys = KEYS
    software: ClassVar = {
        "etcd-server": "a vote in the election of the primary database host",
        "etcd-client": "etcdctl, with which operators look at the members",
        "etcd": "the member of the quorum; keeps Patroni's lease",
    }

    def rows(self, topology: Topology, settings: Settings) -> Iterable[Row]:
        """Patroni keeps its lease in etcd; the members talk to each other."""
        quorum = settings[QuorumSettings]
        client, peer = quorum.client_port, quorum.peer_port
        yield Row("database", self.name, "data", str(client), "the lease of Patroni")
        yield Row(self.name, self.name, "data", f"{client},{peer}", "etcd peers")

    def ports(self, topology: Topology, settings: Settings, host: Host) -> Iterable[Port]:
        """Etcd's ports for clients and for members, and for its own numbers."""
        quorum = settings[QuorumSettings]
        yield Port(quorum.client_port, "etcd", "data", f"{FILE}: client_port")
        yield Port(quorum.peer_port, "etcd", "data", f"{FILE}: peer_port")
        yield Port(int(METRICS.rpartition(":")[2]), "etcd's numbers", LOOPBACK)

    def directories(self, fleet: Fleet) -> Iterable[str]:
        """The data of etcd."""
        return ["/var/lib/etcd"]

    def pillar(self, data: MasterData, host: Host) -> Pillar:
        """Return the cluster's members."""
        fleet = data.fleet
        own = f"{CLUSTER} {fleet.topology.service.address}"
        return {
            "quorum": {
                "name": host.id,
                "address": fleet.address(host, "data"),
                "members": fleet.listed(self.name, "data"),
                # not a secret: it keeps two clusters apart that reach each other by mistake
                "peer_name": PEER_NAME,
                "passwords": {
                    "root": data.secrets.get(secrets.ETCD_ROOT),
                    PATRONI: data.secrets.get(secrets.ETCD_PATRONI),
                },
                "keys": {PATRONI: f"/service/{CLUSTER}/"},
                "token": hashlib.sha256(own.encode()).hexdigest()[:16],
                **asdict(fleet.settings[QuorumSettings]),
            }
        }

    def spare(self, fleet: Fleet) -> int:
        """A minority, since the voters decide by majority."""
        return (len(fleet.having(self.name)) - 1) // 2

    def certificates(self, fleet: Fleet, host: Host) -> Iterable[Certificate]:
        """One for clients of the member, one for the other members; etcd reads both all the time.

        The first is a client's as well, because etcd's JSON interface calls etcd itself with it.
        That interface refuses every client whose certificate has a common name, once it wants a
        login: the name could be taken for the user's.
        """
        address = f"IP:{fleet.address(host, 'data')}"
        names = (f"DNS:{host.id}", "DNS:localhost", f"IP:{LOOPBACK}", address)
        yield Certificate("etcd", names, (SERVER, CLIENT), common_name="")
        peer = (f"DNS:{host.id}", address)
        yield Certificate("etcd-peer", peer, (SERVER, CLIENT), common_name=PEER_NAME)

    def checks(
        self, fleet: Fleet, host: Host, definitions: Mapping[str, Mapping[str, Any]]
    ) -> list[Check]:
        """The member has a quorum."""
        port = fleet.settings[QuorumSettings].client_port
        asked = {"address": fleet.address(host, "data"), "port": port}
        return [Check("etcd", asked, needs={"etcd": (self.name,)}, decides=True)]

    def exporters(self, fleet: Fleet, host: Host) -> Iterable[Exporter]:
        """Those of etcd's own numbers that are about the member and its disk."""
        yield Exporter("etcd", METRICS, keep="etcd_(server|disk|mvcc_db)_.*")

    def alerts(self, fleet: Fleet) -> Iterable[Alert]:
        """The voters disagree often, or the disk of one of them is slow or full."""
        yield Alert(
            "LeaderChanges",
            "max(increase(etcd_server_leader_changes_seen_total[1h])) > 3",
            0,
            "The voters of the quorum have elected a leader more than three times within an hour.",
        )
        fsync = "sum by (instance, le) (rate(etcd_disk_wal_fsync_duration_seconds_bucket[10m]))"
        yield Alert(
            "QuorumDiskSlow",
            f"histogram_quantile(0.99, {fsync}) > 0.5",
            15,
            "{{ $labels.instance }}: its disk takes more than half a second for a vote.",
        )
        yield Alert(
            "QuorumFull",
            "etcd_mvcc_db_total_size_in_bytes / etcd_server_quota_backend_bytes > 0.8",
            10,
            "{{ $labels.instance }}: etcd has used nearly all of the space that it may use.",
        )

    def evidence(self, data: MasterData, host: Host) -> Iterable[Look]:
        """Its own member wants a login, and knows its peers by name."""
        port = data.fleet.settings[QuorumSettings].client_port
        endpoint = host_port(data.fleet.address(host, "data"), port)
        yield Look("X3", "login", {"endpoint": endpoint, "certificate": "etcd"})
        yield Look("X3", "peers", {"name": PEER_NAME})

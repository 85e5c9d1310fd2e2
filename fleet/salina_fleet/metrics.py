"""The numbers of all hosts for Prometheus; nothing in a fleet without a monitoring host.

Each host has one door: stunnel takes the certificates of the fleet's CA that name a monitoring
host, and connects them to the exporter whose name they ask for (TLS' server name), `node.s1`. So an
exporter needs neither a port of its own in the network nor TLS. A role's file says which exporters
its hosts have, what Prometheus notices in their numbers, and which graphs it shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from salina_fleet.fleet import Fleet
from salina_fleet.model.prometheus import PrometheusSettings
from salina_fleet.model.topology import Host
from salina_fleet.report import ASKS, GROUP
from salina_fleet.role import SERVER, Alert, Certificate, Exporter, Graph, Pillar
from salina_fleet.roles import ROLES

TRIGGERS = ("prometheus-node-exporter.socket",)
"""The socket of the exporter that every host has."""
CERTIFICATE = "metrics"
"""The name of the certificate by which Prometheus knows the exporters of a host."""
UNIT = "salina-metrics"
"""The door's unit."""
DAEMONS = (UNIT, "prometheus-node-exporter")
"""The services of every host."""

NODE = Exporter("node", "/run/prometheus-node-exporter.sock")
"""Debian's exporter of the host itself (salt/metrics)."""

UNITS = {
    "ratio": "percentunit",
    "seconds": "s",
    "bytes": "bytes",
    "bytes per second": "Bps",
    "per second": "reqps",
    "number": "short",
}
"""The units of graphs, each with Grafana's word for it."""

ALERTS = (
    Alert(
        "NoNumbers",
        "up == 0",
        5,
        "{{ $labels.instance }} has given no numbers of {{ $labels.job }} for 5 minutes.",
    ),
    Alert(
        "DiskFills",
        "predict_linear(node_filesystem_avail_bytes[6h], 3 * 86400) < 0"
        " and node_filesystem_avail_bytes / node_filesystem_size_bytes < 0.4",
        60,
        "{{ $labels.instance }}: {{ $labels.mountpoint }} will be full within three days.",
    ),
    Alert(
        "KilledForMemory",
        "increase(node_vmstat_oom_kill[15m]) > 0",
        0,
        "{{ $labels.instance }}: the kernel has killed a process because memory was short.",
    ),
    Alert(
        "ProcessorBusy",
        '1 - avg by (instance) (rate(node_cpu_seconds_total{mode="idle"}[5m])) > 0.9',
        30,
        "{{ $labels.instance }}: its processors have been busy for half an hour.",
    ),
    Alert(
        "ConnectionsTracked",
        "node_nf_conntrack_entries / node_nf_conntrack_entries_limit > 0.8",
        5,
        "{{ $labels.instance }}: its firewall's table of connections is nearly full.",
    ),
)
"""The alerts that every host's numbers can give."""

GRAPHS = (
    Graph(
        "Busy processors",
        '1 - avg by (instance) (rate(node_cpu_seconds_total{mode="idle"}[5m]))',
        ("instance",),
        "ratio",
    ),
    Graph(
        "Used memory",
        "1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes",
        ("instance",),
        "ratio",
    ),
    Graph(
        "The fullest disk of each host",
        "max by (instance) (1 - node_filesystem_avail_bytes / node_filesystem_size_bytes)",
        ("instance",),
        "ratio",
    ),
)
"""The graphs of every host."""

KEYS = {
    "metrics": "How the host gives its numbers; only in a fleet with a monitoring host.",
    "metrics.address": "The host's own address at which Prometheus asks.",
    "metrics.port": "The port.",
    "metrics.asked_by": "The monitoring hosts, whose names their certificates have.",
    "metrics.exporters": "The exporters of the host; the first one also answers to other names.",
    "metrics.exporters[].name": "The name of its job.",
    "metrics.exporters[].server": "The name by which Prometheus asks for it.",
    "metrics.exporters[].connect": "Where it answers on the host.",
    "metrics.exporters[].known_as": "Its name if it answers with TLS, and otherwise empty.",
}
"""The meanings of the keys of `pillar`."""


def exporters(fleet: Fleet, host: Host) -> list[Exporter]:
    """Return the exporters of a host, each once: its own, then those of its roles."""
    found = {NODE.name: NODE}
    for role in host.roles:
        for one in ROLES[role].exporters(fleet, host):
            found.setdefault(one.name, one)
    return list(found.values())


def server(exporter: Exporter, host: Host) -> str:
    """Return the name by which Prometheus asks for an exporter of a host: `node.s1`.

    No host has such a name: the topology's rules refuse it.
    """
    return f"{exporter.name}.{host.id}"


def certificates(fleet: Fleet, host: Host) -> list[Certificate]:
    """Return the certificate by which Prometheus knows the exporters of a host."""
    if not fleet.having(ASKS):
        return []
    names = tuple(f"DNS:{server(one, host)}" for one in exporters(fleet, host))
    return [Certificate(CERTIFICATE, names, (SERVER,), (UNIT,), group=GROUP)]


def pillar(fleet: Fleet, host: Host) -> Pillar:
    """Return the section of a host's pillar, if the fleet has monitoring."""
    watchers = fleet.having(ASKS)
    if not watchers:
        return {}
    return {
        "metrics": {
            "address": fleet.address(host, "management"),
            "port": fleet.settings[PrometheusSettings].port,
            "asked_by": [one.id for one in watchers],
            "exporters": [
                {
                    "name": one.name,
                    "server": server(one, host),
                    "connect": one.connect,
                    "known_as": one.known_as,
                }
                for one in exporters(fleet, host)
            ],
        }
    }


def names(fleet: Fleet) -> dict[str, str]:
    """Return the names of all exporters, each with the address of its host's door."""
    return {
        server(one, host): fleet.address(host, "management")
        for host in fleet.hosts.values()
        for one in exporters(fleet, host)
    }


def jobs(fleet: Fleet) -> list[Pillar]:
    """Return what Prometheus asks for: a job for each exporter, with the hosts that have it."""
    found: dict[str, Pillar] = {}
    for host in fleet.hosts.values():
        for one in exporters(fleet, host):
            new = {"name": one.name, "path": one.path, "keep": one.keep, "targets": []}
            targets = found.setdefault(one.name, new)["targets"]
            targets.append({"server": server(one, host), "host": host.id})
    return list(found.values())


def alerts(fleet: Fleet) -> list[Alert]:
    """Return what Prometheus notices: in the numbers of every host, and of each role's hosts."""
    present = [role for name, role in ROLES.items() if fleet.having(name)]
    return [*ALERTS, *(one for role in present for one in role.alerts(fleet))]


def graphs(fleet: Fleet) -> list[Graph]:
    """Return the graphs of the page: those of the roles nearest to the clients are the first."""
    present = [role for name, role in ROLES.items() if fleet.having(name)]
    return [*(one for role in reversed(present) for one in role.graphs()), *GRAPHS]


def grafana(wanted: Sequence[Graph]) -> dict[str, Any]:
    """Return graphs as a dashboard that Grafana imports, which asks for its data source then."""
    source = {"type": "prometheus", "uid": "${DS_PROMETHEUS}"}
    panels = [
        {
            "id": place + 1,
            "type": "timeseries",
            "title": one.title,
            "datasource": source,
            "fieldConfig": {"defaults": {"unit": UNITS[one.unit], "min": 0}, "overrides": []},
            "gridPos": {"h": 8, "w": 12, "x": 12 * (place % 2), "y": 8 * (place // 2)},
            "targets": [
                {
                    "refId": "A",
                    "datasource": source,
                    "expr": one.expr,
                    "legendFormat": " ".join(f"{{{{{label}}}}}" for label in one.legend),
                }
            ],
        }
        for place, one in enumerate(wanted)
    ]
    return {
        "__inputs": [
            {
                "name": "DS_PROMETHEUS",
                "label": "Prometheus",
                "type": "datasource",
                "pluginId": "prometheus",
            }
        ],
        "title": "Salina",
        "uid": "salina",
        "schemaVersion": 37,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "panels": panels,
    }

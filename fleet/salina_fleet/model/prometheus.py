"""The settings of Prometheus, and of every host's door to its numbers.

Why: docs/decisions/0057-prometheus-asks-through-one-door.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from salina_fleet.model.logs import LogSettings
from salina_fleet.model.monitoring import MonitoringSettings
from salina_fleet.role import Tuning
from salina_fleet.schema.declare import number
from salina_fleet.schema.faults import invalid

if TYPE_CHECKING:
    from salina_fleet.model.settings import Settings
    from salina_fleet.model.topology import Topology

PORT = 9090
"""Prometheus' own port, on loopback."""


@dataclass(frozen=True)
class PrometheusSettings(Tuning):
    """Prometheus on the monitoring host."""

    port: int = number(8435, 1, 65535, "The port of every host at which Prometheus asks it.")
    every: int = number(
        30, 5, 120, "The seconds between two questions. Graphs and alerts look at 5 minutes."
    )
    keep_days: int = number(15, 1, 3650, "The days for which the numbers are kept.")
    keep_mb: int = number(
        1024, 64, 10_000_000, "The most megabytes of the disk that they take; older ones go first."
    )

    def conflicts(
        self,
        topology: Topology,
        settings: Settings,
        definitions: Mapping[str, Mapping[str, Any]],
    ) -> Iterator[tuple[str, str]]:
        """No other daemon of monitoring has its port."""
        other = settings[MonitoringSettings]
        used = {
            other.port: "port in pillar/settings/monitoring.yaml",
            other.page_port: "page_port in pillar/settings/monitoring.yaml",
            settings[LogSettings].port: "port in pillar/settings/logs.yaml",
        }
        if self.port in used:
            yield "port", invalid(self.port, f"another one than {used[self.port]}")

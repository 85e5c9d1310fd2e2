"""The settings of Prometheus, and of every host's door to its numbers.

Why: docs/decisions/0057-prometheus-asks-through-one-door.md.
"""

from __future__ import annotations

from dataclasses import dataclass

from salina_fleet.role import Tuning
from salina_fleet.schema.declare import number

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

"""The settings of the logs that the monitoring host keeps of every host.

Why: docs/decisions/0058-the-log-host-knows-who-writes.md.
"""

from __future__ import annotations

from dataclasses import dataclass

from salina_fleet.role import Tuning
from salina_fleet.schema.declare import number


@dataclass(frozen=True)
class LogSettings(Tuning):
    """The logs of every host, which the monitoring host keeps."""

    port: int = number(19532, 1024, 65535, "The port at which the monitoring host takes logs.")
    size: int = number(
        1024,
        256,
        1_000_000,
        "The MiB that the logs of one host may have there. Its oldest ones are deleted first.",
    )
    days: int = number(30, 1, 3650, "The days after which logs are deleted there.")

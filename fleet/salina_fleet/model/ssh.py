"""The settings of sshd."""

from __future__ import annotations

from dataclasses import dataclass

from salina_fleet.role import Tuning
from salina_fleet.schema.declare import flag, number


@dataclass(frozen=True)
class SshSettings(Tuning):
    """sshd, on the hosts where somebody has installed it."""

    managed: bool = flag(
        True,
        "Whether Salina configures sshd, where it is installed: keys only, no root, no old "
        "algorithms.",
    )
    port: int = number(
        22,
        1,
        65535,
        "The port of sshd. It is open for the master, and on the master for the whole management "
        "network.",
    )

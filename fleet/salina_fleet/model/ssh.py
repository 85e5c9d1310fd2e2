"""The settings of sshd."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from salina_fleet.role import Tuning
from salina_fleet.schema.declare import flag, number

if TYPE_CHECKING:
    from salina_fleet.model.settings import Settings
    from salina_fleet.model.topology import Topology


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
        "The port of sshd. It is open for the master and the management host. In a fleet without a "
        "management host it is open on the master for the whole management network.",
    )

    def conflicts(
        self,
        topology: Topology,
        settings: Settings,
        definitions: Mapping[str, Mapping[str, Any]],
    ) -> Iterator[tuple[str, str]]:
        """Operators come in through an sshd that Salina configures."""
        if not self.managed and topology.having("management"):
            yield (
                "managed",
                "false is not valid with a host with role management, whose sshd is reached from "
                "outside; set it to true, or remove the role",
            )

"""The settings of the hosts' clocks: chrony on every host."""

from __future__ import annotations

from dataclasses import dataclass

from salina_fleet.model.addresses import destination
from salina_fleet.role import Tuning
from salina_fleet.schema.declare import flag, given
from salina_fleet.schema.rules import ListOf, Parsed

PORT = 123
"""The port of NTP."""
SERVER = Parsed(destination, "an address or a name such as 2.debian.pool.ntp.org")


@dataclass(frozen=True)
class TimeSettings(Tuning):
    """The hosts' clocks, which chrony keeps. The master asks the servers, and the hosts ask it."""

    managed: bool = flag(True, "Whether Salina installs and configures chrony on every host.")
    servers: tuple[str, ...] = given(
        ListOf(SERVER, least=0),
        ("2.debian.pool.ntp.org",),
        about=(
            "The time servers that the master asks, by address or by a name that may stand for "
            "several. Without any the fleet follows the master's own clock."
        ),
    )

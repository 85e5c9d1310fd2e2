"""The Salt master: it serves states and pillars, signs certificates, and keeps the secrets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from salina_fleet import secrets
from salina_fleet.model import clock
from salina_fleet.model.clock import TimeSettings
from salina_fleet.model.ssh import SshSettings
from salina_fleet.role import (
    ALL,
    ANY,
    EXACTLY_ONE,
    NETWORK,
    Check,
    MasterData,
    Pillar,
    Port,
    Role,
    Row,
)

if TYPE_CHECKING:
    from salina_fleet.fleet import Fleet
    from salina_fleet.model.settings import Settings
    from salina_fleet.model.topology import Host, Topology

PUBLISH, ANSWER = 4505, 4506


class Master(Role):
    """The host with the Salt master."""

    name = "master"
    order = 10
    tier = 1
    count = EXACTLY_ONE
    alias = "salt"
    connected_before = (PUBLISH, ANSWER)  # the minion's connections
    keys: ClassVar[Mapping[str, str]] = {
        "master": "The master's own directories.",
        "master.state": (
            "The directory in which the master keeps members, changes, commits and secrets."
        ),
        "master.secrets": "The directory of the secrets, which only root can read.",
    }
    software: ClassVar = {
        "age": "encrypts the copies of the master's state for the operator's key",
    }

    def rows(self, topology: Topology, settings: Settings) -> Iterable[Row]:
        """Any host of the management network reaches Salt: a new one is let in by its key.

        SSH leads from the master to every other host. The master itself is the operators' way in,
        as long as no host has the role `management`.
        """
        port = str(settings[SshSettings].port)
        yield Row(self.name, ALL, "management", port, "SSH")
        if not topology.having("management"):
            yield Row(NETWORK, self.name, "management", port, "SSH")
        yield Row(NETWORK, self.name, "management", f"{PUBLISH},{ANSWER}", "Salt", by_root=True)
        if settings[TimeSettings].managed:
            yield Row(NETWORK, self.name, "management", str(clock.PORT), "the time", "udp")

    def ports(self, topology: Topology, settings: Settings, host: Host) -> Iterable[Port]:
        """Salt's two ports."""
        return [Port(port, "Salt", ANY) for port in (PUBLISH, ANSWER)]

    def pillar(self, data: MasterData, host: Host) -> Pillar:
        """Return where the master keeps what is not in the repository."""
        return {"master": {"state": data.state, "secrets": f"{data.state}/{secrets.FOLDER}"}}

    def checks(
        self, fleet: Fleet, host: Host, definitions: Mapping[str, Mapping[str, Any]]
    ) -> list[Check]:
        """The master runs, and changes the pool by its load if it has to."""
        from salina_fleet.model.settings import AutoscaleSettings  # it imports this file

        found = [Check("unit", {"name": "salt-master"}, decides=True)]
        if fleet.settings[AutoscaleSettings].enabled:
            # it asks the balancers
            needs = {"autoscaling": ("balancer",)}
            found.append(Check("autoscale", row="S12", needs=needs))
        return found

    def checks_of_all(self, fleet: Fleet, host: Host) -> list[Check]:
        """Each minion is connected to the master."""
        return [Check("salt", {"port": PUBLISH}, "K1", needs={"salt": (self.name,)})]

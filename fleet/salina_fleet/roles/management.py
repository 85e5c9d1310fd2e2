"""The management host: operators log in to it from outside, and through it to every other host."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from salina_fleet.model import operators as model
from salina_fleet.model.ssh import SshSettings
from salina_fleet.role import ALL, ANY, Check, Look, MasterData, Pillar, Role, Row
from salina_fleet.schema.document import join

if TYPE_CHECKING:
    from salina_fleet.fleet import Fleet
    from salina_fleet.model.settings import Settings
    from salina_fleet.model.topology import Host, Topology


class Management(Role):
    """The host through which operators reach the fleet."""

    name = "management"
    order = 85
    tier = 5
    column = 2
    links = ("edge",)
    count = ((0, 1), "at most one host may have it")
    watches = True
    row = "S14"
    keys: ClassVar[Mapping[str, str]] = {
        "management": "The host through which operators reach the others.",
        "management.known_hosts": "The public SSH key of every host, as /etc/ssh/ssh_known_hosts.",
    }

    def rows(self, topology: Topology, settings: Settings) -> Iterable[Row]:
        """Operators come from anywhere, and go on to every host."""
        port = str(settings[SshSettings].port)
        yield Row(ANY, self.name, "edge", port, "SSH for operators")
        yield Row(self.name, ALL, "management", port, "SSH for operators")

    def pillar(self, data: MasterData, host: Host) -> Pillar:
        """Return the keys of all hosts."""
        # it reads ROLES, of which this file is a part
        from salina_fleet import operators

        return {"management": {"known_hosts": operators.known_hosts(data)}}

    def spare(self, fleet: Fleet) -> int:
        """All of them: the service needs no management host."""
        return len(fleet.having(self.name))

    def names_here(self, fleet: Fleet, host: Host) -> Mapping[str, str]:
        """Every host by its name, over the management network."""
        return {
            one.id: fleet.address(one, "management")
            for one in fleet.hosts.values()
            if one.id != host.id
        }

    def rules(
        self, topology: Topology, settings: Settings, sound: Callable[[str], bool]
    ) -> Iterator[str]:
        """Operators need a management host, and keys of their own."""
        known = topology.operators.items()
        good = {name: one for name, one in known if sound(join("operators", name))}
        yield from model.rules(good, bool(topology.having(self.name)))

    def checks(
        self, fleet: Fleet, host: Host, definitions: Mapping[str, Mapping[str, Any]]
    ) -> list[Check]:
        """The daemon runs by which operators come in.

        Every host checks the sockets by which sessions are recorded (`triggers`).
        """
        return [Check("unit", {"name": "ssh"}, decides=True)]

    def evidence(self, data: MasterData, host: Host) -> Iterable[Look]:
        """Operators alone come in, with keys only, and every host answers with its own key."""
        port = data.fleet.settings[SshSettings].port
        yield Look(self.row, "outside")
        yield Look(self.row, "reached", {"hosts": sorted(data.fleet.hosts), "port": port})

"""HAProxy before the app hosts: TLS ends here, and the service's address is its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from salina_fleet.role import ANY, EXACTLY_ONE, Check, MasterData, Pillar, Role, Row
from salina_fleet.roles import app
from salina_fleet.schema.document import join

if TYPE_CHECKING:
    from salina_fleet.fleet import Fleet
    from salina_fleet.model.settings import Settings
    from salina_fleet.model.topology import Host, Topology


class Balancer(Role):
    """The host that clients reach."""

    name = "balancer"
    order = 70
    tier = 4
    column = 2
    links = ("edge", "web")
    count = EXACTLY_ONE

    def rows(self, topology: Topology, settings: Settings) -> Iterable[Row]:
        """Anybody reaches the published ports."""
        published = ",".join(str(port) for port in topology.service.ports)
        yield Row(ANY, self.name, "edge", published, "the published service")

    def pillar(self, data: MasterData, host: Host) -> Pillar:
        """Return the published service, and each application with its servers."""
        fleet = data.fleet
        service = fleet.topology.service
        settings = asdict(fleet.settings.balancer)
        balance = settings.pop("balance")
        by_load = balance == "load"  # the daemon of salt/load sets the servers' weights
        inter = fleet.settings.balancer.inter
        return {
            "balancer": {
                "address": service.address,
                "http": service.http,
                "https": service.https,
                "tls": service.tls,
                "balance": "roundrobin" if by_load else balance,
                "load": {"every": seconds(inter)} if by_load else None,
                "applications": [
                    {
                        "name": one.name,
                        "domain": one.domain,
                        "health": dict(data.definitions[one.definition]["health"]),
                        "servers": [
                            {
                                "name": server.id,
                                "address": app.address(fleet, server),
                                "port": app.PORT,
                            }
                            for server in fleet.serving(one.name)
                        ],
                    }
                    for one in fleet.topology.applications.values()
                ],
                "settings": settings,
            }
        }

    def certificate_names(self, fleet: Fleet, host: Host) -> list[str]:
        """Return the applications' domains: clients verify these."""
        return [f"DNS:{one.domain}" for one in fleet.topology.applications.values()]

    def rules(
        self, topology: Topology, settings: Settings, sound: Callable[[str], bool]
    ) -> Iterator[str]:
        """The service's address is the balancer's own, where clients can reach it."""
        edge, address = topology.links.get("edge"), topology.service.address
        if not topology.links.get("clients") or not edge or not address:
            return
        if not sound("service.address"):
            return
        network = topology.networks.get(edge)
        fault = network.misfit(address) if network else None
        balancers = topology.having(self.name)
        if fault:
            yield f"service.address: {address} {fault} ({edge})"
        elif all(sound(f"{join('hosts', host.id)}.addresses") for host in balancers):
            own = [one for host in balancers if (one := topology.address(host, "edge"))]
            if own and address not in own:
                allowed = f"must be the balancer's address in {edge}: {', '.join(own)}"
                yield f"service.address: {address} is not valid; {allowed}"

    def checks(
        self, fleet: Fleet, host: Host, definitions: Mapping[str, Mapping[str, Any]]
    ) -> list[Check]:
        """Every server of every backend is up."""
        return [Check("haproxy")]


def seconds(duration: str) -> float:
    """Return a duration such as 500ms or 5s in seconds."""
    unit = duration.lstrip("0123456789")
    return int(duration.removesuffix(unit)) * {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}[unit]

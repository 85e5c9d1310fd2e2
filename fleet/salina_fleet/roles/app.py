"""App hosts: an application behind nginx, with the volume and the way to the database."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from salina.storage import gluster
from salina_fleet import secrets
from salina_fleet.role import LOOPBACK, Check, MasterData, Pillar, Role, Row
from salina_fleet.roles import database, storage
from salina_fleet.schema.document import join

if TYPE_CHECKING:
    from salina_fleet.fleet import Fleet
    from salina_fleet.model.settings import Settings
    from salina_fleet.model.topology import Host, Topology

PORT = 80
"""Where nginx listens for the balancers."""
CA = "/etc/salina/tls/ca.crt"


class App(Role):
    """A host that serves an application."""

    name = "app"
    order = 60
    tier = 4
    column = 3
    links = ("web", "data")
    count = (range(1, 10**9), "at least one, here or in a pool")
    pools = True
    serves = True
    reserved_names = ("pgbouncer", "database")  # backends and databases of the way to the database

    def rows(self, topology: Topology, settings: Settings) -> Iterable[Row]:
        """The balancers send requests."""
        yield Row("balancer", self.name, "web", str(PORT), "HTTP")

    def ports(self, settings: Settings) -> Mapping[int, str]:
        """The ports on loopback that lead to the database."""
        route = settings.database_route
        return {route.listen: "the database route", route.pool_port: "pgbouncer"}

    def pillar(self, data: MasterData, host: Host) -> Pillar:
        """Return the volume's mount, the way to the database, and the application."""
        fleet, settings = data.fleet, data.fleet.settings
        application = fleet.topology.served_by(host)
        name, definition = application.name, data.definitions[application.definition]
        password = data.secrets.get(secrets.own(name, "database"))
        servers = [peer.id for peer in fleet.having("storage")]
        route = asdict(settings.database_route)
        listen, pool_port = route.pop("listen"), route.pop("pool_port")
        return {
            "files": {
                "mount": settings.storage.mount,
                "volume": settings.storage.volume if servers else None,
                "servers": servers,
                "options": gluster.mount_options(servers, storage.family(fleet)),
                "wait": settings.storage.wait,
            },
            "database_route": {
                "members": database.members(fleet),
                "port": settings.database.port,
                "rest_port": settings.database.rest_port,
                "listen": listen,
                "pool_port": pool_port,
                "ca": CA,
                "name": database.NAME,
                "databases": [{"name": name, "user": name, "password": password}],
                "settings": route,
            },
            "app": {
                "kind": definition["kind"],
                "name": application.definition,
                "definition": dict(definition),
                "address": address(fleet, host),
                "port": PORT,
                "balancers": [
                    LOOPBACK if balancer.id == host.id else fleet.address(balancer, "web")
                    for balancer in fleet.having("balancer")
                ],
                "domain": application.domain,
                "url": fleet.topology.url(application),
                "database": {
                    "name": name,
                    "user": name,
                    "password": password,
                    "host": LOOPBACK,
                    "port": pool_port,
                },
                "secrets": {
                    "admin_password": data.secrets.get(secrets.own(name, "admin")),
                    "login_password": data.secrets.get(secrets.own(name, "login")),
                },
                "data": f"{settings.storage.mount}/{name}",
                "settings": asdict(settings.app),
            },
        }

    def names_here(self, fleet: Fleet, host: Host) -> Mapping[str, str]:
        """The application finds the primary on loopback, whichever host it is."""
        return {database.NAME: LOOPBACK}

    def rules(
        self, topology: Topology, settings: Settings, sound: Callable[[str], bool]
    ) -> Iterator[str]:
        """Each application has hosts."""
        paths = [f"{join('hosts', host.id)}.application" for host in topology.hosts]
        served = {host.application for host in topology.hosts}
        served |= {pool.application for pool in topology.pools.values()}
        if served <= {None} or not sound("pools") or not all(map(sound, paths)):
            return
        for name in topology.applications:
            if name not in served:
                needed = f"at least one host or pool with role {self.name} must name it"
                yield f"{join('applications', name)}: no host serves it; {needed}"

    def checks(
        self, fleet: Fleet, host: Host, definitions: Mapping[str, Mapping[str, Any]]
    ) -> list[Check]:
        """The way to the database, the mount, and the application behind nginx."""
        application = fleet.topology.served_by(host)
        health = definitions[application.definition]["health"]
        return [
            Check("haproxy"),
            *([Check("mount")] if fleet.having("storage") else []),
            Check(
                "application",
                {
                    "address": address(fleet, host),
                    "port": str(PORT),
                    "domain": application.domain,
                    "path": health["path"],
                    "cookie": health["cookie"] or "",
                },
            ),
        ]


def address(fleet: Fleet, host: Host) -> str:
    """Return where an app host's nginx listens.

    On the balancer's own host it is loopback, since the balancer may have the same address and the
    same port there.
    """
    return LOOPBACK if "balancer" in host.roles else fleet.address(host, "web")

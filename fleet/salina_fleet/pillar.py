"""What one minion may know: its pillar, chosen by its id alone.

Of the others it holds only what its roles need, and of the secrets only those that its roles
use, so neither the cost nor the knowledge of a minion grows with the fleet beyond that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from salina.common.https import host_port
from salina.storage import gluster
from salina_fleet import policy
from salina_fleet import secrets as names
from salina_fleet.model.settings import Settings, seconds
from salina_fleet.model.topology import Application, Host, Topology, copies
from salina_fleet.policy import Fleet

Pillar = dict[str, Any]
STATE = "/var/lib/salina"
CERTIFICATE = "/etc/salina/tls"
DATABASE = "database"
"""The name by which an app host reaches the primary; every database certificate carries it."""
LOOPBACK = "127.0.0.1"
CLUSTER = "salina"
"""The database cluster's name: no application's, for these come and go."""
BUSES = {"odoo": ("postgres",)}
"""Kind of application -> databases that it uses beside its own: Odoo's bus listens there."""


class UnknownMinion(Exception):
    """An id that is no host of the topology and no active member of a pool."""


def pillar_for(
    topology: Topology,
    members: Mapping[str, list[str]],
    settings: Settings,
    secrets: names.Source,
    definitions: Mapping[str, Mapping[str, Any]],
    minion_id: str,
    tree: str,
    state: str = STATE,
) -> Pillar:
    """The pillar of one minion. The keys are described in docs (the working contract).

    `members`: pool -> active ids. `secrets`: where `get(name)` gives a secret's value.
    `definitions`: name -> content of pillar/app/<name>.yaml. `tree`: digest of the Python that
    minions load. `state`: the master's state directory, where the CA's key is.

    Raises UnknownMinion; KeyError for a definition that is not among `definitions`;
    SecretsError for a secret that does not exist.
    """
    fleet = Fleet(topology, members, settings)
    return select(fleet, secrets, definitions, minion_id, tree, state)


def select(
    fleet: Fleet,
    secrets: names.Source,
    definitions: Mapping[str, Mapping[str, Any]],
    minion_id: str,
    tree: str,
    state: str = STATE,
) -> Pillar:
    """As `pillar_for`, for a fleet that is indexed already."""
    if minion_id not in fleet.hosts:
        raise UnknownMinion(
            f"{minion_id!r} is no host of the topology and no active member of a pool"
        )
    host = fleet.hosts[minion_id]
    pillar = {
        "node": _node(fleet, host, tree),
        "hosts": _hosts(fleet, host),
        "ufw": _ufw(fleet, host),
        "tls": _tls(fleet, host, secrets),
    }
    sections: Mapping[str, Callable[[], Pillar]] = {
        "master": lambda: _master(fleet, state),
        "balancer": lambda: _balancer(fleet, definitions),
        "app": lambda: _app(fleet, host, secrets, definitions),
        "storage": lambda: _storage(fleet, host),
        "quorum": lambda: _quorum(fleet, host),
        "database": lambda: _database(fleet, host, secrets, definitions),
    }
    for role in host.roles:
        if role in sections:
            pillar.update(sections[role]())
    return pillar


def url(topology: Topology, application: Application) -> str:
    """An application as clients call it: https://crm.example, http://crm.example:8080."""
    scheme, port = published(topology)
    usual = {"https": 443, "http": 80}[scheme]
    return f"{scheme}://{application.domain}" + ("" if port == usual else f":{port}")


def published(topology: Topology) -> tuple[str, int]:
    """The scheme and the port by which clients reach the service's address."""
    service = topology.service
    return ("https", service.https) if service.tls else ("http", service.http)


def _node(fleet: Fleet, host: Host, tree: str) -> Pillar:
    return {
        "id": host.id,
        "roles": list(host.roles),
        "pool": host.pool,
        "application": host.application,
        "tree": tree,
    }


def _hosts(fleet: Fleet, host: Host) -> list[Pillar]:
    """The lines of /etc/hosts: the host itself, whom its roles talk to, and the master."""
    entries: dict[str, list[str]] = {}

    def add(address: str, name: str) -> None:
        known = entries.setdefault(address, [])
        if name not in known:
            known.append(name)

    add(_own_address(fleet, host), host.id)
    for peer, address in policy.peers(fleet, host).items():
        add(address, peer)
    for master in fleet.having("master"):
        address = fleet.address(master, "management")
        if master.id not in [name for known in entries.values() for name in known]:
            add(address, master.id)
        add(address, "salt")
    if "app" in host.roles:
        add(LOOPBACK, DATABASE)
    return [{"address": address, "names": known} for address, known in entries.items()]


def _own_address(fleet: Fleet, host: Host) -> str:
    """The address that a host's own name stands for: where its peers find it."""
    for link in ("data", "web", "edge", "management"):
        address = fleet.topology.address(host, link)
        if address:
            return address
    raise UnknownMinion(f"{host.id} has no address")  # the parser lets no such host pass


def _ufw(fleet: Fleet, host: Host) -> Pillar:
    forward = policy.forwards(fleet, host)
    return {
        "rules": policy.rules(fleet, host),
        "routes": policy.routes(fleet, host),
        "forward": forward,
        "ping": policy.pings(fleet, host),
        "masters": [fleet.address(master, "management") for master in fleet.having("master")],
        "forward_ping": [fleet.topology.service.address] if forward else [],
        "settings": asdict(fleet.settings.firewall),
    }


# Certificates


def _tls(fleet: Fleet, host: Host, secrets: names.Source) -> Pillar:
    keeps_key = {"database", "quorum"} & set(host.roles)  # daemons that read the key themselves
    return {
        "ca": secrets.get(names.CA_CERT),
        "common_name": host.id,
        "names": certificate_names(fleet, host),
        "renew_days": fleet.settings.tls.renew_days,
        "group": "ssl-cert" if keeps_key else "root",
    }


def certificate_names(fleet: Fleet, host: Host) -> list[str]:
    """The subject alternative names of a host: itself, its addresses, what it serves."""
    found = [f"DNS:{host.id}"]
    if "database" in host.roles:
        found.append(f"DNS:{DATABASE}")
    if "balancer" in host.roles:
        found += [f"DNS:{one.domain}" for one in fleet.topology.applications.values()]
    if "quorum" in host.roles:
        found += ["DNS:localhost", f"IP:{LOOPBACK}"]  # etcdctl on the host itself
    found += [f"IP:{address}" for address in host.addresses.values()]
    return list(dict.fromkeys(found))


def signing_policy(fleet: Fleet, host: Host) -> dict[str, Any]:
    """What the CA certifies of one host, in x509_v2's terms: no part is the minion's choice."""
    return {
        "CN": host.id,
        "subjectAltName": certificate_names(fleet, host),
        "basicConstraints": "critical, CA:false",
        "keyUsage": "critical, digitalSignature",
        "extendedKeyUsage": "serverAuth, clientAuth",
        "subjectKeyIdentifier": "hash",
        "authorityKeyIdentifier": "keyid",
        "days_valid": fleet.settings.tls.days,
    }


# One section per role


def _master(fleet: Fleet, state: str) -> Pillar:
    return {
        "master": {"state": state, "secrets": f"{state}/{names.FOLDER}"},
    }


def _balancer(fleet: Fleet, definitions: Mapping[str, Mapping[str, Any]]) -> Pillar:
    service = fleet.topology.service
    settings = asdict(fleet.settings.balancer)
    balance = settings.pop("balance")
    by_load = balance == "load"  # the daemon of salt/load gives the servers their weights
    return {
        "balancer": {
            "address": service.address,
            "http": service.http,
            "https": service.https,
            "tls": service.tls,
            "balance": "roundrobin" if by_load else balance,
            "load": {"every": seconds(settings["inter"])} if by_load else None,
            "applications": [
                {
                    "name": one.name,
                    "domain": one.domain,
                    "health": dict(definitions[one.definition]["health"]),
                    "servers": [
                        {
                            "name": app.id,
                            "address": fleet.app_address(app),
                            "port": policy.APP_PORT,
                        }
                        for app in fleet.serving(one.name)
                    ],
                }
                for one in fleet.topology.applications.values()
            ],
            "settings": settings,
        }
    }


def _app(
    fleet: Fleet,
    host: Host,
    secrets: names.Source,
    definitions: Mapping[str, Mapping[str, Any]],
) -> Pillar:
    application = fleet.topology.served_by(host)
    name, definition = application.name, definitions[application.definition]
    settings = fleet.settings
    password = secrets.get(names.own(name, "database"))
    storage = fleet.having("storage")
    volume = settings.storage.volume if storage else None
    address = fleet.app_address(host)
    balancers = [
        LOOPBACK if balancer.id == host.id else fleet.address(balancer, "web")
        for balancer in fleet.having("balancer")
    ]
    tuning = asdict(settings.app)
    route = asdict(settings.database_route)
    return {
        "files": {
            "mount": settings.storage.mount,
            "volume": volume,
            "servers": [peer.id for peer in storage],
            "options": gluster.mount_options([peer.id for peer in storage], _storage_family(fleet)),
            "wait": settings.storage.wait,
        },
        "database_route": {
            "members": _database_members(fleet),
            "port": settings.database.port,
            "rest_port": settings.database.rest_port,
            "listen": route.pop("listen"),
            "pool_port": settings.database_route.pool_port,
            "ca": f"{CERTIFICATE}/ca.crt",
            "name": DATABASE,
            "databases": [{"name": name, "user": name, "password": password}],
            "settings": {key: value for key, value in route.items() if key != "pool_port"},
        },
        "app": {
            "kind": definition["kind"],
            "name": application.definition,
            "definition": dict(definition),
            "address": address,
            "port": policy.APP_PORT,
            "balancers": balancers,
            "domain": application.domain,
            "url": url(fleet.topology, application),
            "database": {
                "name": name,
                "user": name,
                "password": password,
                "host": LOOPBACK,
                "port": settings.database_route.pool_port,
            },
            "secrets": {
                "admin_password": secrets.get(names.own(name, "admin")),
                "login_password": secrets.get(names.own(name, "login")),
            },
            "data": f"{settings.storage.mount}/{name}",
            "settings": tuning,
        },
    }


def _storage(fleet: Fleet, host: Host) -> Pillar:
    settings = fleet.settings.storage
    peers = [peer.id for peer in fleet.having("storage")]
    replica = copies(len(peers), settings.replica)
    options = {"network.ping-timeout": str(settings.ping_timeout)}
    if replica > 1:
        options["cluster.quorum-type"] = "auto"  # writes need a majority: no split-brain can arise
        # a host that froze and thawed is noticed by no event, only by this check (default 600 s)
        options["cluster.heal-timeout"] = "60"
    if len(peers) > 2:
        # no change of the volume by a minority, which would be rejected when it comes back
        options["cluster.server-quorum-type"] = "server"
    options.update({key: _option(value) for key, value in settings.options.items()})
    return {
        "storage": {
            "name": host.id,
            "peers": peers,
            "volume": {
                "name": settings.volume,
                "replica": replica,
                "bricks": [f"{peer}:{settings.brick}" for peer in peers],
                "options": options,
            },
            "brick": settings.brick,
            "family": _storage_family(fleet),
            "max_port": settings.max_port,
            "wait": settings.wait,
        }
    }


def _storage_family(fleet: Fleet) -> str:
    """What GlusterFS is told of the storage hosts' addresses: by itself it uses IPv4 only."""
    addresses = [fleet.address(peer, "data") for peer in fleet.having("storage")]
    return "inet6" if any(":" in address for address in addresses) else "inet"


def _option(value: object) -> str:
    """A volume option as `gluster volume get` shows it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)


def _quorum(fleet: Fleet, host: Host) -> Pillar:
    settings = asdict(fleet.settings.quorum)
    fleets_own = f"{CLUSTER} {fleet.topology.service.address}"
    return {
        "quorum": {
            "name": host.id,
            "address": fleet.address(host, "data"),
            "members": [
                {"name": voter.id, "address": fleet.address(voter, "data")}
                for voter in fleet.having("quorum")
            ],
            # not a secret: it keeps two clusters that meet by mistake apart
            "token": hashlib.sha256(fleets_own.encode()).hexdigest()[:16],
            **settings,
        }
    }


def _database_members(fleet: Fleet) -> list[Pillar]:
    return [
        {"name": peer.id, "address": fleet.address(peer, "data")}
        for peer in fleet.having("database")
    ]


def _database(
    fleet: Fleet,
    host: Host,
    secrets: names.Source,
    definitions: Mapping[str, Mapping[str, Any]],
) -> Pillar:
    settings = asdict(fleet.settings.database)
    top = {key: settings.pop(key) for key in ("port", "rest_port", "version", "parameters")}
    return {
        "database": {
            "scope": CLUSTER,
            "name": host.id,
            "address": fleet.address(host, "data"),
            "first": host.first,
            "members": _database_members(fleet),
            "quorum": [
                host_port(fleet.address(voter, "data"), fleet.settings.quorum.client_port)
                for voter in fleet.having("quorum")
            ],
            **top,
            "settings": settings,
            "passwords": {
                name: secrets.get(f"database-{name}")
                for name in ("superuser", "replication", "rewind", "rest")
            },
            "applications": [
                {
                    "name": one.name,
                    "user": one.name,
                    "password": secrets.get(names.own(one.name, "database")),
                    "reaches": [one.name, *BUSES.get(definitions[one.definition]["kind"], ())],
                    "clients": [fleet.address(app, "data") for app in fleet.serving(one.name)],
                }
                for one in fleet.topology.applications.values()
            ],
        }
    }


def main() -> None:
    """Print a minion's pillar with recognisable fake secrets: python -m salina_select ID [FILE]."""
    import json
    import sys
    from pathlib import Path

    from salina_fleet.model import application as salina_app
    from salina_fleet.model import settings as salina_settings
    from salina_fleet.model import topology as salina_topology

    root = Path(__file__).resolve().parent.parent
    topology = salina_topology.load(sys.argv[2] if sys.argv[2:] else root / "pillar/topology.yaml")
    definitions = {
        one.definition: salina_app.load(root / f"pillar/app/{one.definition}.yaml").to_dict()
        for one in topology.applications.values()
    }
    pillar = pillar_for(
        topology,
        topology.initial(),
        salina_settings.load(root / "pillar/settings"),
        names.FakeStore(),
        definitions,
        sys.argv[1],
        "0" * 64,
    )
    print(json.dumps(pillar, indent=2))


if __name__ == "__main__":
    main()

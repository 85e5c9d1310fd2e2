"""HAProxy before the app hosts: TLS ends here, and the service's address is its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from salina_fleet import edge, secrets
from salina_fleet.model import addresses
from salina_fleet.model.tls import TlsSettings
from salina_fleet.role import (
    ACME,
    ANY,
    CA,
    CLIENT,
    ONE_OR_TWO,
    SERVER,
    Alert,
    Certificate,
    Check,
    Exporter,
    Graph,
    Look,
    MasterData,
    Pillar,
    Port,
    Role,
    Row,
    Tuning,
)
from salina_fleet.roles import app
from salina_fleet.schema.declare import duration, given, number, seconds
from salina_fleet.schema.document import join
from salina_fleet.schema.faults import invalid
from salina_fleet.schema.rules import ListOf, Parsed

if TYPE_CHECKING:
    from salina_fleet.fleet import Fleet
    from salina_fleet.model.settings import Settings
    from salina_fleet.model.topology import Application, Host, Topology

UNIT = "haproxy"
PEERS = 1024
"""Where two balancers tell each other what their limits have counted, with TLS."""
CERTIFICATE = "balancer"
"""The name of the certificate that app hosts ask for."""
APPLICATIONS = 'proxy!="database",proxy!~".*[.]any"'
"""The backends of HAProxy that have an application's servers, in Prometheus' language."""

KEYS = {
    "balancer": "HAProxy before the app hosts.",
    "balancer.address": "The address at which clients reach the service.",
    "balancer.further": (
        "Where this balancer serves besides: at its own address, if two balancers share the "
        "published one. It asks itself there."
    ),
    "balancer.peers": (
        "Two balancers, this one first, which tell each other what the limits have counted; empty "
        "for a single one."
    ),
    "balancer.peers[].name": "The balancer's id.",
    "balancer.peers[].address": "Its address.",
    "balancer.peers[].port": "Its port, with TLS.",
    "balancer.http": "The port for plain HTTP.",
    "balancer.https": "The port for HTTPS.",
    "balancer.tls": "Whether the service uses HTTPS; the HTTP port then only redirects.",
    "balancer.balance": "HAProxy's algorithm: `roundrobin` or `leastconn`.",
    "balancer.load": "The daemon that sets the weights by load, null while the setting is off.",
    "balancer.load.every": "The seconds between two rounds of the daemon.",
    "balancer.applications": "The applications.",
    "balancer.applications[].name": "The application's name, which is also its backend's name.",
    "balancer.applications[].domain": "The host name by which clients call the application.",
    "balancer.applications[].certificate": (
        "The name of its certificate in /etc/salina/tls, null without HTTPS."
    ),
    "balancer.applications[].visitors": (
        "The user and the password of a copy for trials; null for every other application."
    ),
    "balancer.applications[].visitors.user": "The user's name, which is the application's.",
    "balancer.applications[].visitors.password": "The password.",
    "balancer.applications[].url": "The URL by which clients call the application.",
    "balancer.applications[].health": "The health check of the application.",
    "balancer.applications[].health.path": (
        "The path that answers 200 while an app host is healthy."
    ),
    "balancer.applications[].health.cookie": "A cookie that the check sends, or null.",
    "balancer.applications[].servers": (
        "The active app hosts of the application. Without any, clients get a page of maintenance."
    ),
    "balancer.applications[].servers[].name": "The app host's id.",
    "balancer.applications[].servers[].address": "The address of the app host's web server.",
    "balancer.applications[].servers[].port": "The port of the app host's web server, with TLS.",
    "balancer.health_name": (
        "The host name of the health checks, which an app host's nginx gives to its agent."
    ),
    "balancer.older_port": "The port without TLS of app hosts of an earlier version.",
    "balancer.certificate": (
        "The name of the certificate in /etc/salina/tls that the balancer shows to app hosts."
    ),
    "balancer.acme": "The answer to an ACME directory's challenges, null without a directory.",
    "balancer.acme.thumbprint": "The thumbprint of the account's key (RFC 7638).",
    "balancer.settings": "pillar/settings/balancer.yaml, except `balance` and the limits.",
    **edge.KEYS,
}
"""The meanings of the keys of its pillar."""


@dataclass(frozen=True)
class BalancerSettings(Tuning):
    """HAProxy before the app hosts."""

    balance: Literal["roundrobin", "leastconn", "load"] = given(
        default="roundrobin",
        about=(
            "How HAProxy chooses an app host: in turn, by the fewest connections, or in turn with "
            "fewer requests for a slower host."
        ),
    )
    maxconn: int = number(
        4096, 10, 30_000, "The most connections that HAProxy accepts at the same time."
    )
    connect: str = duration("3s", "The longest wait for a connection to an app host.")
    connections: int = number(
        400, 1, 15_000, "The most connections of one client address at the same time."
    )
    requests: int = number(
        2000, 10, 1_000_000, "The most requests of one client address in 10 seconds."
    )
    logins: int = number(
        30, 1, 100_000, "The most failed logins of one client address in a minute."
    )
    exempt: tuple[str, ...] = given(
        ListOf(Parsed(addresses.network, "a range such as 192.0.2.0/24"), least=0),
        (),
        about="The networks whose clients have no limits.",
    )
    client: str = duration(
        "30s", "The longest silence of a client, also of one that has not sent a request yet."
    )
    server: str = duration("300s", "The longest wait for an answer of an app host.")
    tunnel: str = duration("1h", "The longest silence of an open tunnel, such as a websocket.")
    queue: str = duration("30s", "The longest wait of a request for a free app host.")
    http_request: str = duration("10s", "The longest time that a client takes to send a request.")
    check: str = duration("5s", "The longest wait for the answer to a health check.")
    inter: str = duration("2s", "The time between two health checks.")
    fastinter: str = duration(
        "500ms", "The time between two health checks while a host changes its state."
    )
    fall: int = number(2, 1, 100, "The failed checks after which a host gets no more requests.")
    rise: int = number(2, 1, 100, "The passed checks after which a host gets requests again.")
    slowstart: str = duration(
        "10s", "The time in which the share of a returning host grows to the full one.", zero=True
    )
    retries: int = number(2, 0, 10, "How often HAProxy tries a failed request again.")
    drain: int = number(
        60, 0, 3600, "The seconds that a host's requests have to end before the host leaves."
    )
    hsts: int = number(
        31_536_000,
        0,
        63_072_000,
        "The seconds for which browsers insist on HTTPS; 0 tells them to stop.",
    )

    def rules(self) -> Iterator[tuple[str, str]]:
        """One address never holds more than half of the connections."""
        if edge.most_connections(self.connections) > self.maxconn // 2:
            most = f"{self.maxconn // 2}, which is half of maxconn: {self.maxconn}"
            found = f"{self.connections} with a tenth for answers is more than {most}"
            yield "connections", f"{found}; lower it, or raise maxconn"


class Balancer(Role):
    """The host that clients reach."""

    name = "balancer"
    order = 70
    tier = 4
    daemons = ("haproxy", "salina-load")
    column = 2
    links = ("edge", "web")
    row = "S12"
    count = ONE_OR_TWO
    reserved_names = ("or",)  # HAProxy's word between two conditions
    settings: ClassVar = {"balancer": BalancerSettings}
    keys = KEYS
    software: ClassVar = {
        "haproxy": "TLS for the clients, and the balancing of their requests",
        "socat": "asks HAProxy's sockets at a reload",
        "dehydrated": "asks an ACME directory for the published certificates",
        "keepalived": "gives the published address to one of two balancers",
        "nftables": "keeps a frozen one of the two from answering for the address",
        "salina-load": "sets the weights of app hosts by their response times",
    }

    def shared(self, topology: Topology) -> Mapping[str, str]:
        """The published address: two balancers have it in turns."""
        return {"edge": topology.service.address}

    def rows(self, topology: Topology, settings: Settings) -> Iterable[Row]:
        """Anybody reaches the published ports; two balancers count a client's requests together."""
        published = ",".join(str(port) for port in topology.service.ports)
        yield Row(ANY, self.name, "edge", published, "the published service")
        if len(topology.having(self.name)) > 1:
            counts = "what the limits have counted, TLS"
            yield Row(self.name, self.name, "web", str(PEERS), counts)

    def ports(self, topology: Topology, settings: Settings, host: Host) -> Iterable[Port]:
        """The published ones, and where two balancers tell each other what they have counted."""
        published = ("http", "https") if topology.service.tls else ("http",)
        for key in published:
            place = f"pillar/topology.yaml: service.{key}"
            yield Port(getattr(topology.service, key), "the service", "edge", place)
        if len(topology.having(self.name)) > 1:
            yield Port(PEERS, "the two balancers for their limits", "web")

    def pillar(self, data: MasterData, host: Host) -> Pillar:
        """Return the published service, and each application with its servers."""
        fleet = data.fleet
        service = fleet.topology.service
        settings = asdict(fleet.settings[BalancerSettings])
        balance = settings.pop("balance")
        limited = ("connections", "requests", "logins", "exempt")
        limits = {name: settings.pop(name) for name in limited}
        by_load = balance == "load"  # the daemon of salt/load sets the servers' weights
        inter = fleet.settings[BalancerSettings].inter
        return {
            "balancer": {
                "address": service.address,
                "further": further(fleet, host),
                "peers": peers(fleet, host),
                "http": service.http,
                "https": service.https,
                "tls": service.tls,
                "balance": algorithm_of(fleet.settings[BalancerSettings]),
                "load": {"every": seconds(inter)} if by_load else None,
                "applications": [
                    {
                        "name": one.name,
                        "domain": one.domain,
                        "url": fleet.topology.url(one),
                        "visitors": visitors(data, one),
                        "certificate": public(one.name) if service.tls else None,
                        "edge": edge.application(one.name, data.definitions[one.definition]),
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
                "health_name": app.HEALTH_NAME,
                "older_port": app.LOCAL_PORT,
                "certificate": CERTIFICATE,
                "acme": {"thumbprint": thumbprint(data)} if issued(fleet) else None,
                "limits": edge.limits(**limits, own=[service.address, *further(fleet, host)]),
                "headers": edge.headers({}),
                "settings": settings,
            }
        }

    def spare(self, fleet: Fleet) -> int:
        """All but one: the balancers that are up have all of the traffic."""
        return len(fleet.having(self.name)) - 1

    def certificates(self, fleet: Fleet, host: Host) -> Iterable[Certificate]:
        """One for each domain, which tells clients nothing of the fleet, and one for app hosts."""
        source = fleet.settings[TlsSettings].public
        for one in fleet.topology.applications.values() if fleet.topology.service.tls else ():
            names = (f"DNS:{one.domain}",)
            yield Certificate(public(one.name), names, (SERVER,), (UNIT,), one.domain, source)
        uses = (CLIENT, SERVER) if peers(fleet, host) else (CLIENT,)
        yield Certificate(CERTIFICATE, (f"DNS:{host.id}",), uses, (UNIT,))

    def rules(
        self, topology: Topology, settings: Settings, sound: Callable[[str], bool]
    ) -> Iterator[str]:
        """Clients or a router can reach the service's address: the balancer's, or a pair's."""
        yield from _public_fits(topology, sound)
        edge, address = topology.links.get("edge"), topology.service.address
        if not topology.links.get("clients") or not edge or not address:
            return
        if not sound("service.address"):
            return
        network = topology.networks.get(edge)
        fault = network.misfit(address) if network else None
        balancers = topology.having(self.name)
        if fault:
            ranges = [ip_network(one.cidr) for one in topology.networks.values()]
            outside = not any(ip_address(address) in one for one in ranges)
            mapped = "; if a cloud or a router maps it to the balancer, it is `service.public`"
            yield (
                f"service.address: {address} {fault}; must be an address in the network {edge}"
                f"{mapped if outside else ''}"
            )
        elif len(balancers) > 1:  # salina_fleet.pair judges that no host has it as its own
            for host in balancers:
                path = f"{join('hosts', host.id)}.roles"
                if app.App.name in host.roles and sound(path):  # its nginx is on loopback
                    advice = "choose another host"
                    yield f"{path}: one of two balancers cannot serve an application; {advice}"
        elif all(sound(f"{join('hosts', host.id)}.addresses") for host in balancers):
            own = [one for host in balancers if (one := topology.address(host, "edge"))]
            if own and address not in own:
                words = f"the balancer's address in the network {edge}: {', '.join(own)}"
                yield f"service.address: {invalid(address, words)}"

    def checks(
        self, fleet: Fleet, host: Host, definitions: Mapping[str, Mapping[str, Any]]
    ) -> list[Check]:
        """Every server of every backend is up, and clients get the current certificate."""
        service = fleet.topology.service
        where = {"address": own(fleet, host), "port": service.https}
        tls = fleet.settings[TlsSettings]
        applications = fleet.topology.applications
        backends = {
            f"haproxy {name}": (app.App.name,) for name in applications if fleet.serving(name)
        }
        # a host in its turn is drained, which its report says
        found = [Check("haproxy", needs=backends, decides=True, alone=tuple(backends))]
        for one in applications.values():
            if not fleet.serving(one.name):
                here = {"address": own(fleet, host), "port": service.port, "tls": service.tls}
                found.append(Check("closed", {**here, "domain": one.domain}, "S1"))
        for one in applications.values() if service.tls else ():
            name = public(one.name)
            asked = {"domain": one.domain, "certificate": name, "own": tls.public != CA}
            found.append(Check("served", {**where, **asked}, "X6"))
            if tls.public == ACME and tls.acme:
                issuer = {"directory": tls.acme.directory, "least": tls.least}
                found.append(Check("issued", {"certificate": name, **issuer}, "X6"))
        return found

    def exporters(self, fleet: Fleet, host: Host) -> Iterable[Exporter]:
        """HAProxy's own numbers."""
        yield app.HAPROXY

    def alerts(self, fleet: Fleet) -> Iterable[Alert]:
        """Requests fail, or there are nearly too many of them."""
        answers = "sum by (instance) (rate(haproxy_frontend_http_responses_total"
        yield Alert(
            "RequestsFail",
            f'{answers}{{proxy="service",code="5xx"}}[5m]))'
            f' / {answers}{{proxy="service"}}[5m])) > 0.05',
            5,
            "{{ $labels.instance }}: more than 5 % of the requests fail.",
        )
        yield Alert(
            "BalancerFull",
            'haproxy_frontend_current_sessions{proxy="service"}'
            ' / haproxy_frontend_limit_sessions{proxy="service"} > 0.8',
            5,
            "{{ $labels.instance }}: it has nearly as many connections as it accepts.",
        )

    def graphs(self) -> Iterable[Graph]:
        """The requests, and how each application's hosts answer them."""
        requests = 'rate(haproxy_frontend_http_responses_total{proxy="service"}[5m])'
        by_status = f"sum by (code) ({requests})"
        yield Graph("Answers by status", by_status, ("code",), "per second")
        server = ("proxy", "server")
        requests = f"rate(haproxy_server_sessions_total{{{APPLICATIONS}}}[5m])"
        yield Graph("Requests by app host", requests, server, "per second")
        time = f"haproxy_server_response_time_average_seconds{{{APPLICATIONS}}}"
        yield Graph("Time of the last 1024 answers", time, server, "seconds")
        healthy = f"haproxy_backend_active_servers{{{APPLICATIONS}}}"
        yield Graph("Healthy app hosts", healthy, ("proxy",), "number")

    def evidence(self, data: MasterData, host: Host) -> Iterable[Look]:
        """A client's view of each application, the certificate that it gets, and what is behind."""
        yield Look("X7", "servers")
        topology, settings = data.fleet.topology, data.fleet.settings[BalancerSettings]
        hosts = {
            name: [one.id for one in data.fleet.serving(name)]
            for name in topology.applications
            if data.fleet.serving(name)
        }
        algorithm = algorithm_of(settings)
        if hosts:
            yield Look("S2", "balance", {"algorithm": algorithm, "applications": hosts})
        service = topology.service
        # not the published address, which the other one of two balancers may have now
        here = own(data.fleet, host)
        where = {"address": here, "port": service.port}
        for one in topology.applications.values():
            path = data.definitions[one.definition]["health"]["path"]
            asked = {**where, "tls": service.tls, "domain": one.domain, "path": path}
            asked |= {"copy": True} if one.copy_of else {}
            yield Look("X5", "edge", asked)
            client = {"address": here, "domain": one.domain, "path": path}
            https = service.https if service.tls else None
            ports = {"http": service.http, "https": https, "url": topology.url(one)}
            ports |= {} if data.fleet.serving(one.name) else {"closed": True}
            yield Look("S1", "front", {**client, **ports})
            if service.tls:
                wanted = {"hsts": settings.hsts, "certificate": public(one.name)}
                yield Look("O5", "transport", {**client, "port": service.https, **wanted})
                source = data.fleet.settings[TlsSettings].public
                yield Look("X6", "shown", {**where, "domain": one.domain, "source": source})


def _public_fits(topology: Topology, sound: Callable[[str], bool]) -> Iterator[str]:
    """Yield why no router can replace the public address with the balancer's own."""
    public, address = topology.service.public, topology.service.address
    if not public or not address or not sound("service.public") or not sound("service.address"):
        return
    found = ip_address(public)
    if found.version != ip_address(address).version:
        words = f"of IPv{ip_address(address).version}, like service.address"
        yield f"service.public: {invalid(public, words)}"
    for name, network in topology.networks.items():
        if found in ip_network(network.cidr):
            own = f"is inside of the fleet's network {name}, {network.cidr}"
            yield f"service.public: {public} {own}; must be an address outside, or remove it"


def own(fleet: Fleet, host: Host) -> str:
    """Return a balancer's own address in the clients' direction, at which it asks itself."""
    return fleet.address(host, "edge")


def further(fleet: Fleet, host: Host) -> list[str]:
    """Return where a balancer serves besides the published address: at its own, if it differs."""
    here = own(fleet, host)
    return [] if here == fleet.topology.service.address else [here]


def peers(fleet: Fleet, host: Host) -> list[Pillar]:
    """Return two balancers as each other's peers, this one first; none for a single one."""
    hosts = sorted(fleet.having(Balancer.name), key=lambda one: one.id != host.id)
    found = [{"name": one.id, "address": fleet.address(one, "web"), "port": PEERS} for one in hosts]
    return found if len(found) > 1 else []


def algorithm_of(settings: BalancerSettings) -> str:
    """Return HAProxy's algorithm. By load it goes in turn, and a daemon sets the weights."""
    return "roundrobin" if settings.balance == "load" else settings.balance


def issued(fleet: Fleet) -> bool:
    """Tell whether an ACME directory issues the published certificates."""
    return fleet.topology.service.tls and fleet.settings[TlsSettings].public == ACME


def thumbprint(data: MasterData) -> str:
    """Return the thumbprint of the fleet's account at the ACME directory."""
    from salina.common import certificate

    return certificate.thumbprint(data.secrets.get(secrets.ACME_ACCOUNT).encode())


def visitors(data: MasterData, application: Application) -> Pillar | None:
    """Return the user and the password that clients of a copy for trials need."""
    if not application.copy_of:
        return None
    password = data.secrets.get(secrets.own(application.name, secrets.VISITORS))
    return {"user": application.name, "password": password}


def public(application: str) -> str:
    """Return the name of the certificate with which clients reach an application."""
    return f"public-{application}"

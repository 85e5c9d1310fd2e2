"""Nagios: it asks every host for its report, and each application as a client does."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, ClassVar

from salina.monitoring.mail import SPOOL
from salina.monitoring.plugin import REPORT
from salina.monitoring.quiet import STATUS
from salina_fleet import logs, secrets
from salina_fleet.kinds import KINDS
from salina_fleet.model.logs import LogSettings
from salina_fleet.model.monitoring import MonitoringSettings
from salina_fleet.model.prometheus import PORT, PrometheusSettings
from salina_fleet.model.tls import TlsSettings
from salina_fleet.role import (
    ALL,
    ANY,
    CA,
    CLIENT,
    LOOPBACK,
    NETWORK,
    ROOT,
    SERVER,
    Alert,
    Certificate,
    Check,
    Exporter,
    MasterData,
    Pillar,
    Port,
    Role,
    Row,
)
from salina_fleet.schema.document import join

if TYPE_CHECKING:
    from salina_fleet.fleet import Fleet
    from salina_fleet.model.settings import Settings
    from salina_fleet.model.topology import Host, Topology

USER = "operator"
"""The user of the web page."""
CERTIFICATE, PAGE = "monitoring", "monitoring-page"
"""The certificates with which it asks the hosts, and with which it shows its page."""
PREFIX = "/prometheus"
"""The path under which Prometheus serves, also behind nginx."""
TRUSTED = "/etc/salina/tls/ca.crt"
LATE = 300
"""Seconds after which Nagios has certainly checked something."""
LATE_MAIL = 15
"""Minutes after which a mail should have been sent; nullmailer tries at least every five."""
BESIDE = "master"
"""The only role that may be on the same host."""

FILE = "pillar/settings/monitoring.yaml"
KEYS = {
    "monitoring": "Nagios, and its web page.",
    "monitoring.address": "The address of the web page.",
    "monitoring.user": "The user of the web page.",
    "monitoring.password": "A hash of the user's password, in the form of htpasswd.",
    "monitoring.hosts": "All hosts.",
    "monitoring.hosts[].name": "The host's id.",
    "monitoring.hosts[].address": "The address at which it is asked.",
    "monitoring.hosts[].roles": "Its roles.",
    "monitoring.hosts[].services": "The services that are in its report.",
    "monitoring.clients": "The applications that are asked as their clients ask them.",
    "monitoring.clients[].name": "The application.",
    "monitoring.clients[].host": "The balancer, at whose address it answers.",
    "monitoring.watcher": "The host's own id; the tiers' services are its own.",
    "monitoring.tiers": "The roles whose hosts say whether they do its work.",
    "monitoring.tiers[].service": "The name of the tier's service.",
    "monitoring.tiers[].spare": "How many of its hosts may have a fault.",
    "monitoring.tiers[].hosts": "Its hosts.",
    "monitoring.tiers[].hosts[].name": "The host's id.",
    "monitoring.tiers[].hosts[].services": "The services that have to be good.",
    "monitoring.dependencies": "The services that stay silent while others have a fault.",
    "monitoring.dependencies[].host": "The host of the service that stays silent.",
    "monitoring.dependencies[].service": "Its name.",
    "monitoring.dependencies[].on": "The services whose fault is the cause.",
    "monitoring.dependencies[].on[].name": "Their host.",
    "monitoring.dependencies[].on[].services": "Their names.",
    "monitoring.users": "The passwords with which it logs in at applications.",
    "monitoring.users.NAME": "The password at one of them.",
    "monitoring.relay_password": "The password at the mail server, null without a login.",
    "monitoring.plugin": "The configuration of the plugin (salina.monitoring.plugin).",
    "monitoring.plugin.port": "The port of every host at which it is asked.",
    "monitoring.plugin.least": "The fewest seconds that a published certificate is valid.",
    "monitoring.plugin.hosts": "The hosts.",
    "monitoring.plugin.hosts.NAME": (
        "The host's address, its checks, each with the findings that are services of their own, "
        "and the `partner` to compare with on the first host of a pair."
    ),
    "monitoring.plugin.clients": "The applications.",
    "monitoring.plugin.clients.NAME": "How the application is asked, and its certificate verified.",
    "prometheus": "Prometheus, and the page with its graphs.",
    "prometheus.listen": "Its address and port on loopback.",
    "prometheus.root": "The path under which it serves.",
    "prometheus.certificate": "The name of the certificate with which it asks.",
    "prometheus.jobs": "The exporters that it asks, a job for each kind.",
    "prometheus.jobs[].name": "The name of the job.",
    "prometheus.jobs[].path": "The path of the exporters' page.",
    "prometheus.jobs[].keep": (
        "A regular expression for the names of the numbers that are kept; empty: all."
    ),
    "prometheus.jobs[].targets": "The exporters.",
    "prometheus.jobs[].targets[].server": "The exporter's name, which its certificate has.",
    "prometheus.jobs[].targets[].host": "Its host.",
    "prometheus.alerts": "The alerts that the numbers can give.",
    "prometheus.alerts[].name": "The alert's name.",
    "prometheus.alerts[].expr": "The condition, in Prometheus' query language.",
    "prometheus.alerts[].minutes": "The minutes for which it must hold.",
    "prometheus.alerts[].summary": "A sentence about it, with labels.",
    "prometheus.graphs": "The graphs of the page.",
    "prometheus.graphs[].title": "The title.",
    "prometheus.graphs[].expr": "The lines, in Prometheus' query language.",
    "prometheus.graphs[].legend": "The labels that name a line.",
    "prometheus.graphs[].unit": "The unit.",
}
"""The meanings of the keys of its pillar."""


class Monitoring(Role):
    """The host that watches the others."""

    name = "monitoring"
    order = 80
    tier = 5
    column = 2
    links = ("edge",)
    count = ((0, 1), "at most one host may have it")
    daemons = ("nagios4", "nullmailer", "nginx", "fcgiwrap", "prometheus")
    reads_key = True
    watches = True
    row = "S13"
    settings: ClassVar = {"monitoring": MonitoringSettings, "prometheus": PrometheusSettings}
    keys = KEYS
    software: ClassVar = {
        "nagios4-core": "asks every host for its report, and sends alarms",
        "nagios4-cgi": "the pages of Nagios",
        "nullmailer": "keeps mails until the mail server of the settings has taken them",
        "php-cgi": "a dependency of Nagios' pages that does not listen",
        "nginx": "the page, behind TLS and a password",
        "fcgiwrap": "starts Nagios' programs for nginx",
        "fcgiwrap.socket": "starts Nagios' programs for nginx",
        "nagios4": "asks every host for its report, and sends alarms",
        "prometheus": "asks every host for its numbers, and draws the graphs",
        "salina-logs": "takes the logs of every host, each under the name in its certificate",
        "salina-logs.target": "writes the logs of each host into a directory of its own",
        "salina-logs-bounded.timer": "deletes the oldest logs of a host that has too many",
    }

    def rows(self, topology: Topology, settings: Settings) -> Iterable[Row]:
        """Anybody reaches the page, it asks every host, and every host sends its logs."""
        own = settings[MonitoringSettings]
        yield Row(ANY, self.name, "edge", str(own.page_port), "the page of monitoring")
        yield Row(self.name, ALL, "management", str(own.port), "reports for monitoring")
        numbers = str(settings[PrometheusSettings].port)
        yield Row(self.name, ALL, "management", numbers, "numbers for Prometheus")
        kept = str(settings[LogSettings].port)
        yield Row(NETWORK, self.name, "management", kept, "the logs of every host")

    def ports(self, topology: Topology, settings: Settings, host: Host) -> Iterable[Port]:
        """Those of the page, of the logs, and of Prometheus on loopback."""
        page = settings[MonitoringSettings].page_port
        yield Port(page, "the page of monitoring", "edge", f"{FILE}: page_port")
        kept = settings[LogSettings].port
        yield Port(kept, "the log host", "management", "pillar/settings/logs.yaml: port")
        yield Port(PORT, "Prometheus", LOOPBACK)

    def ports_of_all(self, topology: Topology, settings: Settings) -> Iterable[Port]:
        """Those at which monitoring asks every host."""
        report, numbers = settings[MonitoringSettings].port, settings[PrometheusSettings].port
        yield Port(report, "the report", "management", f"{FILE}: port")
        place = "pillar/settings/prometheus.yaml: port"
        yield Port(numbers, "the door to the numbers", "management", place)

    def names_here(self, fleet: Fleet, host: Host) -> Mapping[str, str]:
        """Prometheus finds each exporter by its name, which is that in the certificate."""
        from salina_fleet import metrics

        return metrics.names(fleet)

    def pillar(self, data: MasterData, host: Host) -> Pillar:
        """Return all hosts with their services, and the applications as clients see them."""
        # these read ROLES, of which this file is a part
        from salina_fleet import pair, watch

        fleet, definitions = data.fleet, data.definitions
        settings = asdict(fleet.settings[MonitoringSettings])
        port = settings.pop("port")
        checks = {one.id: watch.expected(fleet, one, definitions) for one in fleet.hosts.values()}
        addresses = {one.id: fleet.address(one, "management") for one in fleet.hosts.values()}
        partners = {one: {"partner": other} for one, other in pair.pairs(fleet.topology).values()}
        clients = _clients(data)
        front = fleet.having("balancer")[0].id
        # a frozen host's kernel still answers, but the host gives no report
        report = [{"name": front, "services": [REPORT]}]
        tiers = watch.tiers(fleet, definitions)
        seen = _seen(clients, front, report, host.id, [one["service"] for one in tiers])
        return {
            "monitoring": {
                "address": fleet.address(host, "edge"),
                "user": USER,
                "password": hashed(data.secrets.get(secrets.MONITORING)),
                "hosts": [
                    {
                        "name": one.id,
                        "address": addresses[one.id],
                        "roles": list(one.roles),
                        "services": watch.listed(checks[one.id]),
                    }
                    for one in fleet.hosts.values()
                ],
                "clients": [{"name": name, "host": front} for name in clients],
                "watcher": host.id,
                "tiers": tiers,
                "dependencies": [*watch.dependencies(fleet, definitions, host.id), *seen],
                "plugin": {
                    "port": port,
                    "least": fleet.settings[TlsSettings].least,
                    "hosts": {
                        name: {
                            "address": addresses[name],
                            "checks": own,
                            **partners.get(name, {}),
                        }
                        for name, own in checks.items()
                    },
                    "clients": clients,
                },
                "users": {
                    name: data.secrets.get(secrets.own(name, secrets.USER_OF_MONITORING))
                    for name, one in clients.items()
                    if one["user"]
                },
                "relay_password": (
                    data.secrets.get(secrets.RELAY) if settings["relay_user"] else None
                ),
                **settings,
                "recipients": list(settings["recipients"]),
                "heartbeat_to": list(settings["heartbeat_to"] or settings["recipients"]),
            },
            "prometheus": _prometheus(fleet),
        }

    def spare(self, fleet: Fleet) -> int:
        """All of them: no other host needs monitoring."""
        return len(fleet.having(self.name))

    def certificates(self, fleet: Fleet, host: Host) -> Iterable[Certificate]:
        """One with which it asks the hosts, and one for its page, which tells nothing of them."""
        yield Certificate(CERTIFICATE, (f"DNS:{host.id}",), (CLIENT,))
        names = (f"IP:{fleet.address(host, 'edge')}",)
        yield Certificate(PAGE, names, (SERVER,), ("nginx",), common_name="", group=ROOT)

    def rules(
        self, topology: Topology, settings: Settings, sound: Callable[[str], bool]
    ) -> Iterator[str]:
        """Monitoring does not fail together with what it watches."""
        for host in topology.having(self.name):
            path = f"{join('hosts', host.id)}.roles"
            others = [role for role in host.roles if role not in (self.name, BESIDE)]
            if others and sound(path):
                yield (
                    f"{path}: {self.name} and {others[0]} on one host: nobody tells that the host "
                    f"is down; give {self.name} to another host, or to that of the {BESIDE}"
                )

    def triggers(self, fleet: Fleet, host: Host) -> Iterable[str]:
        """Those of its page, of the logs, and of the mail that says that monitoring works."""
        yield from ("fcgiwrap.socket", "salina-logs-bounded.timer")
        if fleet.settings[MonitoringSettings].heartbeat:
            yield "salina-heartbeat.timer"

    def checks(
        self, fleet: Fleet, host: Host, definitions: Mapping[str, Mapping[str, Any]]
    ) -> list[Check]:
        """Its daemons run, logs arrive, and what Nagios and Prometheus have noticed."""
        front = fleet.having("balancer")[0].id
        names = [
            name
            for one in fleet.topology.applications.values()
            if not one.copy_of
            for name in (f"client {one.name}", f"use {one.name}")
        ]
        waiting = {"spool": SPOOL, "minutes": LATE_MAIL}
        own = fleet.settings[MonitoringSettings]
        late = max(LATE, 4 * own.every)
        page = {"address": fleet.address(host, "edge"), "port": own.page_port}
        page |= {"domain": page["address"], "certificate": PAGE, "own": False}
        seen = {"status": STATUS, "late": late, "services": [[front, name] for name in names]}
        return [
            Check("unit", {"name": "nagios4"}, decides=True),
            Check("unit", {"name": "nginx"}),
            Check("served", page, "X6"),
            Check("unit", {"name": "prometheus"}),
            Check("alerts", {"port": PORT, "root": PREFIX}),
            Check("unit", {"name": logs.UNIT}),
            Check("logs", {"hosts": list(fleet.hosts)}),
            Check("nagios", seen, needs=dict.fromkeys(names, ())),
            Check("unit", {"name": "nullmailer"}),
            Check("mails", waiting),
        ]

    def exporters(self, fleet: Fleet, host: Host) -> Iterable[Exporter]:
        """Prometheus' numbers of itself."""
        connect = f"{LOOPBACK}:{PORT}"
        yield Exporter("prometheus", connect, f"{PREFIX}/metrics", keep="prometheus_.*")

    def alerts(self, fleet: Fleet) -> Iterable[Alert]:
        """A rule that cannot be evaluated gives no alert."""
        yield Alert(
            "RulesFail",
            "increase(prometheus_rule_evaluation_failures_total[15m]) > 0",
            0,
            "{{ $labels.instance }}: Prometheus cannot evaluate some of its rules.",
        )


def _prometheus(fleet: Fleet) -> Pillar:
    """Return Prometheus' jobs, what it notices, and the graphs of its page."""
    from salina_fleet import metrics

    return {
        "listen": f"{LOOPBACK}:{PORT}",
        "root": PREFIX,
        "certificate": CERTIFICATE,
        **asdict(fleet.settings[PrometheusSettings]),
        "jobs": metrics.jobs(fleet),
        "alerts": [one._asdict() for one in metrics.alerts(fleet)],
        "graphs": [{**one._asdict(), "legend": list(one.legend)} for one in metrics.graphs(fleet)],
    }


def hashed(password: str) -> str:
    """Return a hash of a password, as htpasswd has it.

    The password is random, so a fast hash is as good as a slow one.
    """
    return f"{{SHA}}{base64.b64encode(hashlib.sha1(password.encode()).digest()).decode()}"


def _seen(
    clients: Iterable[str], front: str, report: list[Pillar], watcher: str, tiers: list[str]
) -> list[Pillar]:
    """Return on what the results of the clients depend.

    A client that cannot use an application that answers may meet the fault of any host behind it.
    The watcher's own view of a result gives no second alarm.

    Args:
        clients: the applications.
        front: the balancer, which has their services.
        report: the balancer's report.
        watcher: the monitoring host.
        tiers: the services of the tiers.
    """
    found = []
    for one in clients:
        services = [f"client {one}", f"use {one}"]
        behind = {"name": front, "services": services[:1]}
        found += [
            {"host": front, "service": services[0], "on": report},
            {
                "host": front,
                "service": services[1],
                "on": [*report, behind, {"name": watcher, "services": tiers}],
            },
            *(
                {"host": watcher, "service": name, "on": [{"name": front, "services": [name]}]}
                for name in services
            ),
        ]
    return found


def _clients(data: MasterData) -> Pillar:
    """Return how the plugin asks each application; a copy for trials has no clients."""
    fleet, service = data.fleet, data.fleet.topology.service
    known = fleet.settings[TlsSettings].public == CA
    found = {}
    for one in fleet.topology.applications.values():
        if one.copy_of:
            continue
        definition = data.definitions[one.definition]
        health, kind = definition["health"], KINDS[definition["kind"]]
        found[one.name] = {
            "address": service.address,
            "port": service.port,
            "tls": service.tls,
            "ca": TRUSTED if known else None,
            "domain": one.domain,
            "path": health["path"],
            "cookie": health["cookie"],
            "pages": list(definition["pages"]),
            "user": kind.watched_as,
            "closed": not fleet.serving(one.name),
        }
    return found

"""The firewall's settings: ufw on every host, and the rules that an operator adds."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from salina.application import git
from salina_fleet.model import addresses, release
from salina_fleet.model.backup import BackupSettings
from salina_fleet.model.monitoring import MonitoringSettings
from salina_fleet.model.tls import TlsSettings
from salina_fleet.role import ACME, ANY, Tuning
from salina_fleet.roles import ROLES
from salina_fleet.schema.declare import derived, flag, given, record, text
from salina_fleet.schema.faults import choose, invalid, not_among
from salina_fleet.schema.rules import Choice, ListOf, Nullable, Parsed, Rule, Text, Unfit

if TYPE_CHECKING:
    from salina_fleet.model.settings import Settings
    from salina_fleet.model.topology import Host, Topology
    from salina_fleet.schema.faults import Place
    from salina_fleet.schema.rules import Reading

MOST_PORTS = 15
"""The most ports that one rule of ufw can name; a range counts as two."""


COMMENT = r"[^'\"`$\\\x00-\x1f]{1,60}"
COMMENT_WORDS = "text of at most 60 characters without quotation marks, backquotes, $ and \\"
COMMENT_ABOUT = "The comment that `ufw status` and the port table show."


class Ports(Rule):
    """TCP or UDP ports, read as ufw writes them: `80,443`, `9000:9010`."""

    words = "a port such as 9100, a list such as 9100,9200, or a range such as 9000-9010"
    blank = ""

    def read(self, value: Any, place: Place, reading: Reading) -> Any:
        """Return the ports in ufw's form."""
        written = str(value) if type(value) is int else value
        if not isinstance(written, str) or not re.fullmatch(r"[\d,\- ]+", written, re.ASCII):
            return reading.fault(place, invalid(value, self.words))
        found, count = [], 0
        for part in written.split(","):
            ends = [end.strip() for end in part.split("-")]
            numbers = [int(end) for end in ends if re.fullmatch(r"[0-9]{1,5}", end)]
            fits = all(1 <= one <= 65535 for one in numbers) and sorted({*numbers}) == numbers
            if len(numbers) != len(ends) or len(ends) > 2 or not fits:
                return reading.fault(place, invalid(value, f"{self.words}, from 1 to 65535"))
            found.append(":".join(map(str, numbers)))
            count += len(numbers)
        if count > MOST_PORTS:
            message = f"{count} ports are listed; a rule can have at most {MOST_PORTS}; split it"
            return reading.fault(place, message)
        return ",".join(found)


def _source(written: str) -> str:
    """Return an address or a range in its shortest form, or `any`."""
    if written == ANY:
        return ANY
    try:
        return addresses.address(written)
    except Unfit:
        return addresses.network(written)


@dataclass(frozen=True)
class OperatorRule:
    """Ports that an operator opens, on the hosts with a role, on one host, or on every host."""

    network: str = given(
        Text(r"[\s\S]+", "the name of a network of pillar/topology.yaml"),
        about="The network: the ports are open at the address that a host has in it.",
    )
    ports: str = given(Ports(), about="The ports, with `-` for a range.")
    role: str | None = given(
        Nullable(Choice(ROLES, "a role")),
        None,
        about="The role whose hosts open the ports; without role and host every host does.",
    )
    host: str | None = text(
        None, r"[\s\S]+", "the id of a host", about="The one host that opens the ports."
    )
    source: str | None = given(
        Nullable(Parsed(_source, "an address, a range such as 10.1.5.0/24, or any")),
        None,
        key="from",
        about="The addresses that may connect; null stands for the whole network.",
    )
    protocol: Literal["tcp", "udp"] = given(default="tcp", about="The protocol of the ports.")
    comment: str = text("a rule of the operator", COMMENT, COMMENT_WORDS, about=COMMENT_ABOUT)

    def covers(self, host: Host) -> bool:
        """Return whether the rule opens ports of this host."""
        return _covers(self, host)


@dataclass(frozen=True)
class Egress:
    """Connections that hosts open to places outside the fleet."""

    ports: str = given(Ports(), about="The ports, with `-` for a range.")
    role: str | None = given(
        Nullable(Choice(ROLES, "a role")),
        None,
        about="The role whose hosts open the connections; without role and host every host does.",
    )
    host: str | None = text(
        None, r"[\s\S]+", "the id of a host", about="The one host that opens the connections."
    )
    to: str = given(
        Parsed(_source, "an address, a range such as 192.0.2.0/24, or any"),
        ANY,
        about="The addresses that the hosts reach.",
    )
    protocol: Literal["tcp", "udp"] = given(default="tcp", about="The protocol of the ports.")
    application: bool = flag(
        False, "Whether the application itself may open them, too, and not only other programs."
    )
    comment: str = text("a connection to the outside", COMMENT, COMMENT_WORDS, about=COMMENT_ABOUT)

    def covers(self, host: Host) -> bool:
        """Return whether this host opens the connections."""
        return _covers(self, host)

    def opens(self, port: int) -> bool:
        """Return whether a TCP port somewhere is among those of the connections."""
        ends = [part.partition(":")[::2] for part in self.ports.split(",")]
        return self.protocol == "tcp" and any(
            int(first) <= port <= int(last or first) for first, last in ends
        )


EGRESS = (
    Egress(ports="53", protocol="udp", comment="DNS"),
    Egress(ports="53", comment="DNS"),
    Egress(ports="123", role="master", protocol="udp", comment="NTP"),
    Egress(ports="80,443", comment="packages and repositories"),
    Egress(ports="22", role="master", comment="git by SSH"),
)
"""The hosts of an ordinary fleet need these of the outside: names, time, packages, code."""
LOCAL = ("localhost", "127.0.0.1", "::1")
"""The names of a mail server on the host itself."""


def _covers(rule: OperatorRule | Egress, host: Host) -> bool:
    if rule.host is not None:
        return host.id == rule.host
    return rule.role is None or rule.role in host.roles


@dataclass(frozen=True)
class OwnFirewall:
    """The rules of a file that no update of this repository touches: pillar/local/firewall.yaml."""

    added: tuple[OperatorRule, ...] = given(
        ListOf(record(OperatorRule), least=0), (), key="rules", about="Further rules."
    )
    egress: tuple[Egress, ...] = given(
        ListOf(record(Egress), least=0), (), about="Further connections to the outside."
    )


@dataclass(frozen=True)
class FirewallSettings(Tuning):
    """ufw on every host."""

    logging: Literal["off", "low", "medium", "high", "full"] = given(
        default="low", about="How much ufw logs."
    )
    reverse_path: Literal["strict", "loose", "none"] = given(
        default="strict",
        about=(
            "Which packets the kernel drops for their source: `strict` drops those whose answer "
            "would leave through another interface, `loose` those that have no route back. With "
            "`strict` every rule of ufw also names the interface that packets come in on."
        ),
    )
    router_advertisements: bool = flag(
        False, "Whether a host takes its IPv6 routes and addresses from routers."
    )
    added: tuple[OperatorRule, ...] = given(
        ListOf(record(OperatorRule), least=0),
        (),
        key="rules",
        about="Rules of the operator's own, beside those of the port table.",
    )
    egress: tuple[Egress, ...] = given(
        ListOf(record(Egress), least=0),
        EGRESS,
        about=(
            "The connections that hosts open to the outside. Inside the fleet they open those of "
            "the port table, and no others anywhere."
        ),
    )
    own_rules: int = derived(0)
    own_egress: int = derived(0)
    """How many of the last entries are those of OwnFirewall."""

    def with_own(self, own: OwnFirewall) -> FirewallSettings:
        """Return the settings with the operator's further entries behind them."""
        return replace(
            self,
            added=self.added + own.added,
            egress=self.egress + own.egress,
            own_rules=len(own.added),
            own_egress=len(own.egress),
        )

    def own_key(self, key: str) -> str | None:
        """Return an entry's key in the operator's own file: rules[3].host is rules[0].host there.

        None for a key of pillar/settings/firewall.yaml.
        """
        found = re.match(r"(rules|egress)\[(\d+)\]", key)
        if found is None:
            return None
        here = {
            "rules": len(self.added) - self.own_rules,
            "egress": len(self.egress) - self.own_egress,
        }[found[1]]
        if int(found[2]) < here:
            return None
        return f"{found[1]}[{int(found[2]) - here}]{key[found.end() :]}"

    def conflicts(
        self,
        topology: Topology,
        settings: Settings,
        definitions: Mapping[str, Mapping[str, Any]],
    ) -> Iterator[tuple[str, str]]:
        """Each rule fits the topology, and hosts reach the places outside that they need."""
        yield from self._misplaced(topology)
        yield from self._unreached(topology, definitions)
        tls = settings[TlsSettings]
        if topology.service.tls and tls.public == ACME and tls.acme:
            balancers = [host for host in topology.everyone() if "balancer" in host.roles]
            place = f"{tls.acme.directory} (pillar/settings/tls.yaml)"
            yield from self._closed(balancers, place, tls.acme.port, "balancer")
        if second := settings[BackupSettings].second:
            hosts = [host for host in topology.everyone() if "backup" in host.roles]
            name, port = second.target
            place = f"{name} (pillar/settings/backup.yaml)"
            yield from self._closed(hosts, place, port, "backup")
        mail = settings[MonitoringSettings]
        if mail.mails and mail.relay not in (None, *LOCAL):
            place = f"{mail.relay} (pillar/settings/monitoring.yaml)"
            watching = [host for host in topology.hosts if "monitoring" in host.roles]
            yield from self._closed(watching, place, mail.relay_port, "monitoring")

    def _unreached(
        self, topology: Topology, definitions: Mapping[str, Mapping[str, Any]]
    ) -> Iterator[tuple[str, str]]:
        """The master and an application's hosts open connections to the code's repositories."""
        everyone = list(topology.everyone())
        for application in topology.applications.values():
            if application.definition not in definitions:
                continue
            hosts = [
                host
                for host in everyone
                if "master" in host.roles or host.application == application.name
            ]
            name = application.definition
            for source in release.sources(name, definitions[name]).values():
                place = f"{source['repository']} (pillar/app/{name}.yaml)"
                if port := git.remote(source["repository"]).port:
                    yield from self._closed(hosts, place, port)

    def _closed(
        self, hosts: Iterable[Host], place: str, port: int, role: str | None = None
    ) -> Iterator[tuple[str, str]]:
        """Yield a fault if one of the hosts may not open connections to a place outside.

        Args:
            hosts: the hosts that need them.
            place: the place, and the file that names it.
            port: its TCP port.
            role: the role that needs them; None for the first role of the host.
        """
        for host in hosts:
            if not any(one.covers(host) and one.opens(port) for one in self.egress):
                name = role or next(iter(host.roles), "")
                entry = f"{{role: {name}, ports: {port}}}"
                yield "egress", f"{host.id} cannot reach {place} at port {port}; add {entry}"
                return

    def _misplaced(self, topology: Topology) -> Iterator[tuple[str, str]]:
        """Each rule names hosts and a network of the topology, and the hosts are on the network."""
        hosts = {host.id: host for host in topology.everyone()}
        static = [host.id for host in topology.hosts]
        choices = [*static, *(pool.id_pattern for pool in topology.pools.values())]
        for place, rule in enumerate(self.added):
            path = f"rules[{place}]"
            network = topology.networks.get(rule.network)
            if rule.role is not None and rule.host is not None:
                yield path, "both role and host are given; give at most one of them"
            elif rule.host is not None and rule.host not in hosts:
                yield f"{path}.host", not_among(rule.host, choices, "a host")
            elif network is None:
                yield f"{path}.network", not_among(rule.network, topology.networks, "a network")
            else:
                elsewhere = [
                    host
                    for host in hosts.values()
                    if rule.covers(host) and network.name not in host.addresses
                ]
                if elsewhere:
                    advice = choose(elsewhere[0].addresses)
                    without = f"{elsewhere[0].id} has no address in the network {network.name}"
                    yield f"{path}.network", f"{without}; {advice}"
                elif rule.source not in (None, ANY):
                    version = ipaddress.ip_network(network.cidr).version
                    if ipaddress.ip_network(rule.source or "").version != version:
                        words = f"of IPv{version}, like the network {network.name}"
                        yield f"{path}.from", invalid(rule.source, words)
        for place, one in enumerate(self.egress):
            path = f"egress[{place}]"
            covered = [host for host in hosts.values() if one.covers(host)]
            if one.role is not None and one.host is not None:
                yield path, "both role and host are given; give at most one of them"
            elif one.host is not None and one.host not in hosts:
                yield f"{path}.host", not_among(one.host, choices, "a host")
            elif one.application and not any(host.application for host in covered):
                words = "no host of this entry serves an application"
                yield f"{path}.application", f"{words}; set role or host to one that does"

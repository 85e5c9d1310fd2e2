"""The firewall's settings: ufw on every host, and the rules that an operator adds."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from salina_fleet.model import addresses
from salina_fleet.role import ANY, Tuning
from salina_fleet.roles import ROLES
from salina_fleet.schema.declare import flag, given, record, text
from salina_fleet.schema.faults import choose, invalid, not_among
from salina_fleet.schema.rules import Choice, ListOf, Nullable, Parsed, Rule, Text, Unfit

if TYPE_CHECKING:
    from salina_fleet.model.settings import Settings
    from salina_fleet.model.topology import Host, Topology
    from salina_fleet.schema.faults import Place
    from salina_fleet.schema.rules import Reading

MOST_PORTS = 15
"""The most ports that one rule of ufw can name; a range counts as two."""


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
    comment: str = text(
        "a rule of the operator",
        r"[^'\"`$\\\x00-\x1f]{1,60}",
        "text of at most 60 characters without quotation marks, backquotes, $ and \\",
        about="The comment that `ufw status` and the port table show.",
    )

    def covers(self, host: Host) -> bool:
        """Return whether the rule opens ports of this host."""
        if self.host is not None:
            return host.id == self.host
        return self.role is None or self.role in host.roles


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

    def conflicts(
        self,
        topology: Topology,
        settings: Settings,
        definitions: Mapping[str, Mapping[str, Any]],
    ) -> Iterator[tuple[str, str]]:
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

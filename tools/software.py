"""The packages and units of each machine, with their purposes: a part of docs/deployment.md.

The rendered states say what a host gets. The purposes stand in `software` of its roles' files, and
below for the part that every host has.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from salina_fleet.kinds import KINDS
from salina_fleet.model.topology import Host
from salina_fleet.roles import ROLES
from tests import fleets
from tests.render.minion import Minion

EVERY_HOST: Mapping[str, str] = {
    "ssl-cert": "the group that reads private keys, for daemons that do so themselves",
    "ufw": "the host's own firewall",
    "zstd": "unpacks the releases of applications",
    "unattended-upgrades": "installs Debian's security updates",
    "chrony": "keeps the time, which certificates and the quorum need",
    "stunnel4": "gives the host's health and numbers to monitoring, over TLS",
    "salina-hosts": "restores /etc/hosts at a boot, so that no name depends on DNS",
    "salina-certificates.timer": "renews the host's certificates before they expire",
    "salina-closed": "closes a host whose firewall did not start",
    "apt-daily.timer": "fetches the lists of packages",
    "apt-daily-upgrade.timer": "installs the security updates, at another minute on each host",
    "salina-report.socket": "gathers the report about the host's health",
    "salina-report-tls.socket": "takes the connections of monitoring",
    "prometheus-node-exporter": "the host's own numbers: processors, memory, disks, network",
    "prometheus-node-exporter.socket": "the host's own numbers, while somebody asks",
    "salina-metrics": "gives the numbers of all exporters to Prometheus, over TLS",
    "systemd-journal-remote": "sends the host's logs to the monitoring host, over TLS",
    "systemd-journal-upload": "sends the host's logs to the monitoring host, over TLS",
    "salina-drift.timer": "finds out once a day what another apply would change",
    "openssh-server": "lets the operators in, with keys only",
    "salina-session@.socket": "records the sessions of an operator",
    "sudo": "gives operators their rights: root to those with rank `all`, else some commands",
}
"""The packages and units of every host -> their purposes."""
PACKAGE, UNIT = "package", "unit"
INSTALLS = {("pkg", "installed")}
RUNS = {
    ("service", "running"),
    ("daemon", "running"),
    ("daemon", "at_boot"),
    ("quorum", "joined"),  # starts etcd, when the cluster has taken the member
}
"""The states that install a package, and those that start a unit."""


class Item(NamedTuple):
    """A package or a unit that a host gets; `kind` is PACKAGE or UNIT."""

    kind: str
    name: str


def items(chunks: Iterable[Mapping[str, Any]]) -> list[Item]:
    """Return the packages and the units of rendered states, each once, in their order."""
    found: dict[Item, None] = {}
    for chunk in chunks:
        state = (chunk["state"], chunk["fun"])
        if state in INSTALLS:
            found |= dict.fromkeys(Item(PACKAGE, one) for one in chunk["pkgs"])
        elif state in RUNS:
            found[Item(UNIT, _unit(chunk["name"]))] = None
    return list(found)


def _unit(name: str) -> str:
    """Return the name of a unit; an instance that an operator has is known by its template's."""
    template = re.sub(r"@[^.]+", "@", name)
    return template if template in EVERY_HOST else name


def purposes(roles: Iterable[str], kind: str | None) -> Mapping[str, str]:
    """Return the purposes of all packages and units that a host may get.

    Args:
        roles: the host's roles.
        kind: the kind of the application that it serves, if it serves one.
    """
    found = dict(KINDS[kind].software) if kind else {}
    for role in reversed([*roles]):
        found |= ROLES[role].software
    return {**EVERY_HOST, **found}


def groups() -> list[tuple[list[Host], list[tuple[Item, str]]]]:
    """Return the hosts of the default fleet that are alike, with their packages and units."""
    fleet = fleets.fleet()
    alike: dict[tuple[tuple[str, ...], str | None], list[Host]] = {}
    for host in fleet.hosts.values():
        alike.setdefault((host.roles, host.application), []).append(host)
    return [(hosts, list(_explained(hosts[0]))) for hosts in alike.values()]


def _explained(host: Host) -> Iterator[tuple[Item, str]]:
    pillar = fleets.pillar(host.id)
    kind = pillar["app"]["kind"] if "app" in pillar else None
    known = purposes(host.roles, kind)
    for item in items(Minion(host.id, pillar).chunks):
        yield item, known.get(item.name, "")


def markdown() -> str:
    """Write the part of docs/deployment.md about packages and units."""
    found = groups()
    every = [
        one for one in found[0][1] if all(one[0] in [item for item, _ in has] for _, has in found)
    ]
    lines = _section("Every host", every)
    for hosts, has in found:
        own = [one for one in has if one not in every]
        names = ", ".join(host.id for host in hosts)
        lines += _section(f"{names}: {', '.join(hosts[0].roles)}", own)
    return "\n".join(lines)


def _section(title: str, has: Iterable[tuple[Item, str]]) -> list[str]:
    rows = [f"| `{item.name}` | {item.kind} | {why} |" for item, why in has]
    head = ["| name | what it is | purpose |", "|---|---|---|"]
    return [
        f"### {title}",
        "",
        *([*head, *rows] if rows else ["Nothing more than every host has."]),
        "",
    ]

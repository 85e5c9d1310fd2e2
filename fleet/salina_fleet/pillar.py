"""The pillar of a minion: everything that it may know, chosen by its id alone.

Every host's pillar has the sections below; each of its roles adds its own (`roles/<role>.py`). Of
other hosts and of the secrets a pillar holds only what the host's roles use, so neither a minion's
knowledge nor the cost of its pillar grows with the fleet beyond that. All keys: docs/pillar.md.
"""

from __future__ import annotations

from dataclasses import asdict

from salina_fleet import certificates, health, logs, metrics, operators, pair, policy, report
from salina_fleet.fleet import Fleet
from salina_fleet.model import drift, ids, updates
from salina_fleet.model.clock import TimeSettings
from salina_fleet.model.drift import DriftSettings
from salina_fleet.model.firewall import FirewallSettings
from salina_fleet.model.rules import RESERVED_IDS
from salina_fleet.model.ssh import SshSettings
from salina_fleet.model.topology import Host
from salina_fleet.model.updates import UpdateSettings
from salina_fleet.platforms import PLATFORMS
from salina_fleet.role import MasterData, Pillar
from salina_fleet.roles import ROLES

STATE = "/var/lib/salina"
"""The master's state directory, unless its configuration names another."""
REVERSE_PATH = {"none": 0, "strict": 1, "loose": 2}
"""The kernel's numbers for rp_filter (Documentation/networking/ip-sysctl.rst)."""
ADDRESSED_ON = ("data", "web", "edge", "management")
"""A host's own name stands for its address on the first of these links that it is on."""

KEYS: dict[str, str] = {
    "host": "The identity of the host.",
    "host.id": "The host's minion id, which is also its host name.",
    "host.roles": "The roles of the host, as the topology lists them.",
    "host.pool": (
        "The pool that the host belongs to, null for a host that is listed by its own name."
    ),
    "host.application": "The application that an app host serves, null for every other host.",
    "host.platform": "The operating system that the topology names for the host.",
    "host.platform.name": "Its name in the topology.",
    "host.platform.finger": "Salt's grain `osfinger` on such a host, which an apply compares.",
    "host.platform.gluster_certificates": (
        "The directory in which its GlusterFS expects its key and certificates."
    ),
    "host.packages": "The packages that differ from salt/packages.yaml on this platform.",
    "host.packages.NAME": "The packages of a component.",
    "host.tree": (
        "The digest of the Python that minions receive; a minion synchronises when its own differs."
    ),
    "host.checks": "The checks by which the host judges its health, besides its minion.",
    "host.checks[].name": "The name of the check.",
    "host.checks[].probe": "A function of `_utils/salina/health/probes.py`.",
    "host.checks[].arguments": "The arguments of that function.",
    "host.checks[].arguments.NAME": "The value of an argument.",
    "hosts": (
        "The lines of the host's /etc/hosts: itself, the hosts that its roles talk to, the master."
    ),
    "hosts[].address": "The address of the line.",
    "hosts[].names": "The host names that stand for the address.",
    "ufw": "The host's firewall.",
    "ufw.rules": "The connections that the host accepts; its firewall drops all others.",
    "ufw.rules[].comment": "The comment that `ufw status` shows: the source and the purpose.",
    "ufw.rules[].proto": "The protocol: `tcp`, `udp`, or `vrrp` between the hosts of a pair.",
    "ufw.rules[].ports": (
        "The ports, in ufw's words: `80,443` are two ports, `49152:49251` is a range. It is empty "
        "for a protocol without ports."
    ),
    "ufw.rules[].from": "The source: an address, a network, or `any`.",
    "ufw.rules[].to": "The address of this host that the source may reach.",
    "ufw.rules[].in": (
        "The host's own address whose interface the connections come in on. Null stands for every "
        "interface, if `reverse_path` in pillar/settings/firewall.yaml is not `strict`."
    ),
    "ufw.routes": "The connections that the firewall host forwards; empty on every other host.",
    "ufw.routes[].comment": "The comment that `ufw status` shows.",
    "ufw.routes[].proto": "The protocol: `tcp` or `udp`.",
    "ufw.routes[].ports": "The ports, in ufw's words.",
    "ufw.routes[].from": "The source: an address, a network, or `any`.",
    "ufw.routes[].to": "The address of the host behind the firewall.",
    "ufw.routes[].in": "As for `ufw.rules`.",
    "ufw.routes[].out": "The own address whose interface the connections leave on, or null.",
    "ufw.taken_over": (
        "Those of `ufw.routes` whose connections the host takes over from the other firewall; "
        "empty for a single one."
    ),
    "ufw.taken_over[].comment": "As for `ufw.routes`.",
    "ufw.taken_over[].proto": "The protocol: `tcp`.",
    "ufw.taken_over[].ports": "As for `ufw.routes`.",
    "ufw.taken_over[].from": "As for `ufw.routes`.",
    "ufw.taken_over[].to": "As for `ufw.routes`.",
    "ufw.taken_over[].in": "As for `ufw.routes`.",
    "ufw.taken_over[].out": "As for `ufw.routes`.",
    "ufw.forward": "Whether the kernel forwards packets between the host's networks.",
    "ufw.ping": "The host's own addresses that answer ping.",
    "ufw.connected_before": (
        "The daemons that hosts are connected to before their firewall starts: it accepts "
        "packets of these connections, although it has not seen them begin."
    ),
    "ufw.connected_before[].address": "The address of the daemon.",
    "ufw.connected_before[].ports": "The ports of the daemon, in ufw's words.",
    "ufw.forward_ping": "The addresses behind the firewall that ping may reach through it.",
    "ufw.forward_ping[].to": "The address.",
    "ufw.forward_ping[].in": "As for `ufw.routes`.",
    "ufw.forward_ping[].out": "As for `ufw.routes`.",
    "ufw.near": (
        "The host's own networks, from which no packet comes in on another interface; empty if "
        "`reverse_path` is not `strict`. For IPv6 the kernel has no such check of its own."
    ),
    "ufw.near[].network": "The network.",
    "ufw.near[].in": "The host's own address whose interface leads to the network.",
    "ufw.outgoing": "The connections that the host may open; its firewall drops all others.",
    "ufw.outgoing[].comment": "The comment that `ufw status` shows: the target and the purpose.",
    "ufw.outgoing[].proto": "As for `ufw.rules`.",
    "ufw.outgoing[].ports": "As for `ufw.rules`.",
    "ufw.outgoing[].to": "The target: an address, a network, or `any`.",
    "ufw.ping_to": "The networks that the host may ping.",
    "ufw.application": (
        "The application of an app host, which opens connections within its own host and no others "
        "but these; null on every other host."
    ),
    "ufw.application.uid": "The number of the application's user.",
    "ufw.application.to": "The connections to other hosts that it may open.",
    "ufw.application.to[].proto": "The protocol: `tcp` or `udp`.",
    "ufw.application.to[].ports": "The ports, in ufw's words.",
    "ufw.application.to[].to": "The target: an address, a network, or `any`.",
    "ufw.by_root": "The openings on other hosts that only root of this host may use.",
    "ufw.by_root[].proto": "The protocol: `tcp` or `udp`.",
    "ufw.by_root[].ports": "The ports, in ufw's words.",
    "ufw.by_root[].to": "The address of the other host.",
    "ufw.elsewhere": (
        "The fleet's networks that the firewall host has no part in, so nobody sends it packets "
        "from there; empty on every other host."
    ),
    "ufw.reverse_path": "The kernel's number for `reverse_path` in pillar/settings/firewall.yaml.",
    "ufw.settings": "The other keys of pillar/settings/firewall.yaml.",
    "ssh": "sshd, if it is installed.",
    "time": "chrony, which keeps the host's clock.",
    "time.managed": "Whether Salina installs and configures chrony.",
    "time.servers": (
        "The servers that the host asks: the master, or on the master those of the settings."
    ),
    "time.serves": "The networks that may ask this host; empty on every host but the master.",
    "updates": "Debian's security updates, which the host installs by itself.",
    "updates.download": "When the host downloads its updates, by its own clock.",
    "updates.install": "When the host installs its updates; no other host has the same time.",
    "updates.origins": "The origins of security updates, as unattended-upgrades writes them.",
    "updates.restarted": (
        "The services of Debian itself that an apply restarts when an update has replaced their "
        "files."
    ),
    "drift": "The daily look at what another apply would change on the host.",
    "drift.time": "When the host looks, by its own clock; no other host has the same time.",
    **certificates.KEYS,
    **report.KEYS,
    **metrics.KEYS,
    **logs.KEYS,
    **operators.KEYS,
    **pair.KEYS,
}
"""The meanings of the keys of the sections that every host has, for docs/pillar.md."""


class UnknownMinion(Exception):
    """An id that is neither a host of the topology nor an active member of a pool."""


def select(data: MasterData, minion_id: str) -> Pillar:
    """Return the pillar of one minion.

    Raises:
        UnknownMinion: the id is not a host of the fleet.
        KeyError: a definition is not among `data.definitions`.
        SecretsError: a secret does not exist.
    """
    fleet = data.fleet
    if minion_id not in fleet.hosts:
        raise UnknownMinion(
            f"{minion_id!r} is not a host of the topology or an active member of a pool"
        )
    host = fleet.hosts[minion_id]
    platform = PLATFORMS[host.platform]
    pillar = {
        "host": {
            "id": host.id,
            "roles": list(host.roles),
            "pool": host.pool,
            "application": host.application,
            "platform": {
                "name": platform.name,
                "finger": platform.finger,
                "gluster_certificates": platform.gluster_certificates,
            },
            "packages": {name: list(one) for name, one in platform.packages.items()},
            "tree": data.tree,
            "checks": health.for_pillar(health.checks(fleet, host, data.definitions)),
        },
        "hosts": _hosts(fleet, host),
        "ufw": _ufw(data, host),
        "ssh": asdict(fleet.settings[SshSettings]),
        "time": _time(fleet, host),
        "updates": _updates(fleet, host),
        "drift": _drift(fleet, host),
        "tls": certificates.pillar(data, host),
        **report.pillar(fleet, host),
        **metrics.pillar(fleet, host),
        **logs.pillar(fleet, host),
        **operators.pillar(data, host),
        **pair.pillar(fleet, host),
    }
    for role in host.roles:
        pillar.update(ROLES[role].pillar(data, host))
    return pillar


def _hosts(fleet: Fleet, host: Host) -> list[Pillar]:
    """Return the lines of /etc/hosts: the host itself, its peers, and the names its roles need.

    The roles' names with a dot have lines of their own, after the others. Otherwise one of them
    would be the full name of a host, and Salt names the key of a master after that: it would make a
    new key when it starts again, and every minion would refuse it.
    """
    entries: dict[tuple[str, bool], list[str]] = {}
    known: set[str] = set()

    def add(address: str, name: str, apart: bool = False) -> None:
        names = entries.setdefault((address, apart), [])
        if name not in names:
            names.append(name)
        known.add(name)

    own = _own_address(fleet, host)
    add(own, host.id)
    short = ids.short(host.id)  # as Debian's installer and cloud-init write it
    others = {role.alias for name, role in ROLES.items() if name not in host.roles}
    if short not in RESERVED_IDS and short not in others and short not in fleet.hosts:
        add(own, short)
    for peer, address in policy.peers(fleet, host).items():
        add(address, peer)
    for name, role in ROLES.items():
        for other in fleet.having(name) if role.alias else ():
            address = fleet.address(other, "management")
            if other.id not in known:
                add(address, other.id)
            add(address, role.alias or other.id)
    for name in host.roles:
        for alias, address in ROLES[name].names_here(fleet, host).items():
            if alias not in known:
                add(address, alias, "." in alias)
    lines = sorted(entries.items(), key=lambda entry: entry[0][1])
    return [{"address": address, "names": names} for (address, _), names in lines]


def _own_address(fleet: Fleet, host: Host) -> str:
    """Return the address that a host's own name stands for: where its peers find it."""
    for link in ADDRESSED_ON:
        address = fleet.topology.address(host, link)
        if address:
            return address
    raise UnknownMinion(f"{host.id} has no address")  # the topology's rules refuse such a host


def _ufw(data: MasterData, host: Host) -> Pillar:
    fleet = data.fleet
    forward = policy.forwards(fleet, host)
    settings = fleet.settings[FirewallSettings]
    return {
        "rules": policy.rules(fleet, host),
        "routes": policy.routes(fleet, host),
        "forward": forward,
        "ping": policy.pings(fleet, host),
        "connected_before": [
            {"address": fleet.address(peer, "management"), "ports": ",".join(map(str, ports))}
            for name, role in ROLES.items()
            if (ports := role.connected_before)
            for peer in fleet.having(name)
        ],
        "taken_over": policy.taken_over(fleet, host),
        "forward_ping": policy.forward_pings(fleet, host),
        "near": policy.near(fleet, host),
        "outgoing": policy.outgoing(fleet, host),
        "ping_to": [network.cidr for network in fleet.topology.networks.values()],
        "by_root": policy.by_root(fleet, host),
        "application": application(data, host),
        "elsewhere": policy.elsewhere(fleet, host) if forward else [],
        "reverse_path": REVERSE_PATH[settings.reverse_path],
        "settings": {
            "logging": settings.logging,
            "router_advertisements": settings.router_advertisements,
        },
    }


def application(data: MasterData, host: Host) -> Pillar | None:
    """Return the user of a host's application, and the connections that it may open itself.

    A copy for trials may open none, because its data is that of real customers.
    """
    if not host.application:
        return None
    served = data.fleet.topology.served_by(host)
    opened = [] if served.copy_of else policy.egress(data.fleet, host)
    return {
        "uid": data.definitions[served.definition]["uid"],
        "to": [
            {"proto": one.protocol, "ports": one.ports, "to": one.to}
            for one in opened
            if one.application
        ],
    }


def _time(fleet: Fleet, host: Host) -> Pillar:
    """Return whom a host asks for the time: the hosts ask the master, which all of them reach."""
    settings = fleet.settings[TimeSettings]
    masters = fleet.having("master")
    serves = host in masters
    network = fleet.topology.networks[fleet.topology.links["management"]]
    return {
        "managed": settings.managed,
        "servers": (
            list(settings.servers)
            if serves
            else [fleet.address(master, "management") for master in masters]
        ),
        "serves": [network.cidr] if serves else [],
    }


def _drift(fleet: Fleet, host: Host) -> Pillar:
    settings = fleet.settings[DriftSettings]
    later = fleet.update_minutes[host.id]
    return {"enabled": settings.enabled, "time": drift.time(settings.hour, later)}


def _updates(fleet: Fleet, host: Host) -> Pillar:
    settings = fleet.settings[UpdateSettings]
    download, install = updates.times(settings.hour, fleet.update_minutes[host.id])
    return {
        "enabled": settings.enabled,
        "download": download,
        "install": install,
        "origins": list(PLATFORMS[host.platform].updates),
        "restarted": list(updates.SYSTEM),
    }

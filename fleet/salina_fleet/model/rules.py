"""Rules of the topology across its fields, judged wherever the fields themselves are sound."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace as changed
from typing import TYPE_CHECKING, TypeVar

from salina_fleet import pair
from salina_fleet.kinds import KINDS
from salina_fleet.model.addresses import misfit
from salina_fleet.model.ssh import SshSettings
from salina_fleet.role import EXPORTERS, named, without
from salina_fleet.roles import ROLES
from salina_fleet.schema.document import ambiguous, join
from salina_fleet.schema.faults import Faults, choose, invalid

if TYPE_CHECKING:
    from salina_fleet.model.settings import Settings
    from salina_fleet.model.topology import Host, Pool, Topology

IP6_NAMES = ("localhost", "loopback", "localnet", "mcastprefix", "allnodes", "allrouters")
RESERVED_IDS = (
    "localhost",
    *(f"ip6-{name}" for name in IP6_NAMES),
    *(one for role in ROLES.values() for one in role.reserved_ids),
)
"""Ids that no host can have: in /etc/hosts or in certificates they mean something else."""
LOCAL = r"localhost\..*|.*\.localhost"
"""Such ids with a domain: the host calls itself localhost, or a resolver answers with loopback."""
ELSEWHERE = "/etc/hosts or a certificate uses it for something else"
RESERVED_NAMES = tuple(one for role in ROLES.values() for one in role.reserved_names)
"""Names that no application can have: it names a database, a role and a backend of HAProxy."""


MOST_HOSTS = 50_000
"""The most hosts that a fleet can have, with all members of its pools: the master judges each."""


def completed(topology: Topology, faults: Faults) -> Topology:
    """Return the topology with each host's application, and without pools that have no members.

    A host whose role serves an application serves the only one when it names none. On the way the
    faults of pools and of applications are recorded, since the rules below depend on them.
    """
    names = tuple(topology.applications)
    hosts = tuple(
        _serving(host, join("hosts", host.id), names, faults)
        if host.application or _serves(host)
        else host
        for host in topology.hosts
    )
    pools = {}
    room = MOST_HOSTS - len(hosts)
    for name, pool in topology.pools.items():
        path = join("pools", name)
        served = _serving(pool, path, names, faults)
        if faults.sound(join(path, "id")) and faults.sound(join(path, "maximum")):
            _members(pool, path, faults)
            if pool.maximum > room:
                words = f"at most {room}, because a fleet can have {MOST_HOSTS} hosts"
                faults.add(join(path, "maximum"), invalid(pool.maximum, words))
                continue
            room -= pool.maximum
            pools[name] = served
    return changed(topology, hosts=hosts, pools=pools)


Server = TypeVar("Server", "Host", "Pool")


def _serving(one: Server, path: str, names: Sequence[str], faults: Faults) -> Server:
    """Return a host or a pool with the application that it serves: the only one is the default."""
    here = join(path, "application")
    if not _serves(one):
        if one.application and faults.sound(join(path, "roles")):
            roles = " or ".join(name for name, role in ROLES.items() if role.serves)
            faults.add(here, without(one.application, roles))
        return changed(one, application=None)
    if one.application:
        return one
    if len(names) == 1:
        return changed(one, application=names[0])
    if names and here not in faults.paths:
        faults.add(here, f"missing; {choose(names)}")
    return one


def _serves(one: Host | Pool) -> bool:
    return any(ROLES[role].serves for role in one.roles)


def _members(pool: Pool, path: str, faults: Faults) -> None:
    """Record the faults of a pool's members and of their number."""
    least, here = join(path, "minimum"), join(path, "initial")
    if pool.minimum > pool.maximum and faults.sound(least):
        faults.add(
            least, invalid(pool.minimum, f"a number from 0 to {pool.maximum}, the pool's maximum")
        )
    for host_id in pool.initial:
        if pool.number(host_id) is None:
            words = f"{pool.id_pattern} with n from 1 to {pool.maximum}"
            faults.add(here, invalid(host_id, words))
    if faults.sound(here) and faults.sound(least):
        count = len(pool.initial)
        if not pool.minimum <= count <= pool.maximum:
            limits = f"from {pool.minimum} (minimum) to {pool.maximum} (maximum)"
            faults.add(here, f"{count} members are listed; the number must be {limits}")


def across(topology: Topology, settings: Settings, faults: Faults) -> Iterator[str]:
    """Yield the faults that show only when the parts of the topology are seen together."""
    yield from _ports_free(topology, settings, faults)
    yield from _domains_differ(topology, faults)
    yield from _copies_fit(topology, faults)
    yield from _networks_apart(topology)
    yield from _ids_differ(topology, faults)
    yield from _addresses_fit(topology, faults)
    yield from _links_reach(topology, faults)
    if "hosts" not in faults.paths and all(
        faults.sound(f"{join('hosts', host.id)}.roles") for host in topology.hosts
    ):
        yield from _counts(topology, faults)
        yield from _platforms_agree(topology, faults)
        yield from pair.faults(topology, faults.sound)
        for role in ROLES.values():
            yield from role.rules(topology, settings, faults.sound)


WEB = (80, 443)
"""The ports that nginx of an app host has as well, at another address."""


def own_ports(topology: Topology, settings: Settings) -> dict[int, str]:
    """Return the ports that the fleet's own daemons use, each with the daemon's name."""
    from salina_fleet.model.topology import Host

    found = {settings[SshSettings].port: "SSH"}
    for kind in KINDS.values():
        found |= kind.ports
    for role in ROLES.values():
        host = Host(role.name, (role.name,), {})
        everywhere = role.ports_of_all(topology, settings)
        for port in (*role.ports(topology, settings, host), *everywhere):
            if port.at != "edge" and port.number not in WEB:
                numbers = range(port.number, (port.last or port.number) + 1)
                found |= dict.fromkeys(numbers, port.daemon)
    return found


def _ports_free(topology: Topology, settings: Settings, faults: Faults) -> Iterator[str]:
    used = own_ports(topology, settings)
    http, https = topology.service.http, topology.service.https
    free = [faults.sound("service.http"), faults.sound("service.https")]
    for place, (key, port) in enumerate((("http", http), ("https", https))):
        if free[place] and port in used:
            free[place] = False
            yield f"service.{key}: {port} is used by {used[port]}; choose another port"
    if all(free) and http == https:
        yield f"service.https: {https} is already used by http; choose another port"


def _domains_differ(topology: Topology, faults: Faults) -> Iterator[str]:
    """Check that each application has its own domain, and that it is not the name of a host.

    A host has a certificate of its own name, and every host finds it by this name.
    """
    pooled = (one for pool in topology.pools.values() for one in pool.ids())
    ids = (*(host.id for host in topology.hosts), *pooled)
    owners = {one: f"the host {one}" for one in ids}
    owners |= {role.alias: f"the {name}" for name, role in ROLES.items() if role.alias}
    for one in topology.applications.values():
        path = f"{join('applications', one.name)}.domain"
        if one.domain in owners:
            yield (
                f"{path}: {one.domain} is already used by {owners[one.domain]}; "
                "choose another domain"
            )
        elif faults.sound(path):
            owners[one.domain] = one.name


def _copies_fit(topology: Topology, faults: Faults) -> Iterator[str]:
    originals = [one.name for one in topology.applications.values() if not one.copy_of]
    for one in topology.copies:
        path = f"{join('applications', one.name)}.copy_of"
        if not faults.sound(path):
            continue
        if one.copy_of not in originals:
            yield f"{path}: {invalid(one.copy_of, 'an application that is not a copy')}"


def _networks_apart(topology: Topology) -> Iterator[str]:
    """Yield each network that overlaps another one, with the smallest of those around it.

    Sorted by their first addresses, a network follows those around it, so nobody compares all.
    """
    names = list(topology.networks)
    ranges = [ipaddress.ip_network(network.cidr) for network in topology.networks.values()]
    begins = [(one.version, int(one.network_address), one.prefixlen) for one in ranges]
    ends = [(one.version, int(one.broadcast_address)) for one in ranges]
    found: dict[int, list[int]] = {}
    around: list[int] = []
    for one in sorted(range(len(names)), key=begins.__getitem__):
        while around and begins[one][:2] > ends[around[-1]]:
            around.pop()
        if around:
            first, last = sorted((around[-1], one))
            found.setdefault(last, []).append(first)
        around.append(one)
    for last, others in sorted(found.items()):
        for first in sorted(others):
            both = f"{ranges[last]} overlaps {ranges[first]} ({names[first]})"
            yield f"{join('networks', names[last])}: {both}; choose another range"


def _ids_differ(topology: Topology, faults: Faults) -> Iterator[str]:
    aliases = {role.alias: name for name, role in ROLES.items() if role.alias}
    owners = {host.id: join("hosts", host.id) for host in topology.hosts}
    for pool in topology.pools.values():
        path = join("pools", pool.name)
        for host_id in pool.ids():
            if host_id in owners:
                owner = owners[host_id]
                same = f"the pool's member {host_id} has the same id as {owner}"
                yield f"{path}.id: {same}; choose another id rule"
                break
            if ambiguous(host_id):
                name = f"member {host_id} would have a name that YAML or the resolver misreads"
                yield f"{path}.id: the pool's {name}; choose an id rule that begins with a letter"
                break
            if host_id in RESERVED_IDS or host_id in aliases or re.fullmatch(LOCAL, host_id):
                name = f"member {host_id} would have a name that is reserved, because {ELSEWHERE}"
                yield f"{path}.id: the pool's {name}; choose another id rule"
                break
            owners[host_id] = path
    for host in topology.hosts:
        role = aliases.get(host.id)
        path = join("hosts", host.id)
        if role and role not in host.roles and faults.sound(f"{path}.roles"):
            reserved = f"the name `{host.id}` is reserved for the {role}"
            yield f"{path}: {reserved}; give this host the role {role}, or another name"
    for host_id, path in owners.items():
        name, _, other = host_id.partition(".")
        if name in EXPORTERS and other in owners:
            where = path if path.startswith("hosts") else f"{path}.id"
            asked = f"monitoring asks {other} for numbers by the name {host_id}"
            yield f"{where}: {asked}; choose another id"


def _where(host: Host) -> str:
    """Return the path of a host's addresses; a pool's member has them from the pool's rules."""
    return f"{join('pools', host.pool) if host.pool else join('hosts', host.id)}.addresses"


def _addresses_fit(topology: Topology, faults: Faults) -> Iterator[str]:
    ranges = {net.name: ipaddress.ip_network(net.cidr) for net in topology.networks.values()}
    owners: dict[str, str] = {}
    told: set[str] = set()  # pools' rules: one line for a rule, not one for each member
    for host in topology.everyone():
        for name, text in host.addresses.items():
            if faults.paths and join(_where(host), name) in faults.paths:
                continue  # there is no such network
            fault = misfit(text, ranges.get(name))
            if fault is None and text in owners:
                fault = f"is already used by {owners[text]}"
            if fault is None:
                owners[text] = host.id
                continue
            path = join(_where(host), name)
            if path not in told:
                told.update([path] if host.pool else [])
                found = f"{host.id} at {text}" if host.pool else text
                among = f" in {ranges[name]}" if name in ranges else ""
                yield f"{path}: {found} {fault}; choose another address{among}"


def _links_reach(topology: Topology, faults: Faults) -> Iterator[str]:
    """Check that every host has an address in each network that its roles need."""
    members = [pool.host(1) for pool in topology.pools.values()]
    for host in (*topology.hosts, *members):
        path = _where(host)
        if not faults.sound(path) or not faults.sound(f"{path.removesuffix('addresses')}roles"):
            continue
        needed: dict[str, str] = {}
        for role in host.roles:
            for link in ROLES[role].links:
                needed.setdefault(topology.links.get(link, ""), f"role {role} needs")
        needed.setdefault(topology.links.get("management", ""), "every host needs")
        for network, why in needed.items():
            if network and network not in host.addresses:
                yield f"{join(path, network)}: missing; {why} an address in this network"


def _platforms_agree(topology: Topology, faults: Faults) -> Iterator[str]:
    """Check that hosts which can only work together on one platform have the same one."""
    seen: dict[str, tuple[str, str]] = {}
    for host in (*topology.hosts, *(pool.host(1) for pool in topology.pools.values())):
        path = f"{join('pools', host.pool) if host.pool else join('hosts', host.id)}.platform"
        if not faults.sound(path):
            continue
        groups = (ROLES[role].together(host) for role in host.roles)
        for group in sorted({group for group in groups if group}):
            owner, platform = seen.setdefault(group, (path, host.platform))
            if host.platform != platform:
                words = f"{platform}, as {owner}: {group} needs the same platform on all its hosts"
                yield f"{path}: {invalid(host.platform, words)}"
                break


def _counts(topology: Topology, faults: Faults) -> Iterator[str]:
    """Check how many hosts have each role; a pool counts as one host."""
    for name, role in ROLES.items():
        hosts = topology.having(name)
        pools = [pool for pool in topology.pools.values() if name in pool.roles]
        allowed, words = role.count
        if len(hosts) + len(pools) in allowed or (role.pools and not faults.sound("pools")):
            continue
        yield f"hosts: {named(hosts)} role {name}; {words}"

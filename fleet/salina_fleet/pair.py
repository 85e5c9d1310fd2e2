"""Pairs: two hosts with the same role share addresses, and one of them has these at a time.

keepalived moves the addresses (salt/pair, decision 67). The role says which addresses these are
(`Role.shared`); a role with one host shares none.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from salina.common import wait
from salina.health.probes import ELSEWHERE, HERE
from salina_fleet.role import ANY, Check, Row
from salina_fleet.roles import ROLES
from salina_fleet.schema.document import join

if TYPE_CHECKING:
    from salina_fleet.fleet import Fleet
    from salina_fleet.model.topology import Host, Topology
    from salina_fleet.role import Role

SIZE = 2
"""The hosts of a pair."""
VRRP = "vrrp"
"""The protocol in which the two speak (112), in ufw's words. It has no ports."""
UNIT = "keepalived"
ROW = "K6"
"""The row of docs/requirements.md that pairs work for."""
MOVE = 8.0
"""Seconds after which both hosts agree again: a host takes the addresses of a dead one within five,
and a move in a turn is shorter.
"""

KEYS = {
    "pair": "The addresses that this host shares with another one; missing on a host that has none "
    "to share.",
    "pair.role": "The role that both hosts have.",
    "pair.number": "The number of the pair in the protocol, which no other pair has.",
    "pair.own": "The host's own address from which it speaks to the other one.",
    "pair.partner": "The address of the other host.",
    "pair.addresses": "The shared addresses.",
    "pair.addresses[].address": "The address.",
    "pair.addresses[].length": "The length of its prefix, with which it stands for itself alone.",
    "pair.addresses[].in": "The host's own address whose interface carries it.",
    "pair.needs": (
        "The host's own addresses on the other interfaces that its work needs; without one of them "
        "the other host gets the shared addresses. Those of the shared addresses are always needed."
    ),
}
"""The meanings of the keys of the section, for docs/pillar.md."""


def shared(topology: Topology, role: Role) -> dict[str, str]:
    """Return the addresses that the two hosts of a role share: the link -> the address."""
    if len(topology.having(role.name)) != SIZE:
        return {}
    return dict(role.shared(topology))


def of(fleet: Fleet, host: Host) -> dict[str, str]:
    """Return the addresses that a host shares: the link -> the address."""
    found: dict[str, str] = {}
    for name in host.roles:
        found |= shared(fleet.topology, ROLES[name])
    return found


def reached(fleet: Fleet, row: Row, host: Host) -> str:
    """Return the address of a host to which a row leads: for everybody the shared one."""
    role = ROLES.get(row.target)
    found = shared(fleet.topology, role) if role and row.source == ANY else {}
    return found.get(row.link) or fleet.address(host, row.link)


def rows(topology: Topology, role: Role) -> Iterator[Row]:
    """Yield the row by which the two hosts of a role agree on who has the addresses.

    They speak in the innermost network of the addresses, which clients do not reach.
    """
    links = list(shared(topology, role))
    if links:
        yield Row(role.name, role.name, links[-1], "", "which of the two serves", VRRP)


def pillar(fleet: Fleet, host: Host) -> dict[str, Any]:
    """Return the section `pair` of a host, if it shares addresses."""
    for name in host.roles:
        if found := shared(fleet.topology, ROLES[name]):
            return {"pair": _section(fleet, host, ROLES[name], found)}
    return {}


def _section(fleet: Fleet, host: Host, role: Role, found: dict[str, str]) -> dict[str, Any]:
    link = list(found)[-1]
    (partner,) = (one for one in fleet.having(role.name) if one.id != host.id)
    return {
        "role": role.name,
        "number": role.order,
        "own": fleet.address(host, link),
        "partner": fleet.address(partner, link),
        "addresses": [
            {
                "address": address,
                "length": ipaddress.ip_address(address).max_prefixlen,
                "in": own,
            }
            for address, own in {
                address: fleet.address(host, link) for link, address in found.items()
            }.items()
        ],
        "needs": list(
            dict.fromkeys(fleet.address(host, link) for link in role.links if link not in found)
        ),
    }


def checks(fleet: Fleet, host: Host) -> Iterator[Check]:
    """Yield what a host looks at because it shares addresses."""
    if found := of(fleet, host):
        own = [fleet.address(host, link) for link in found]
        asked = {"addresses": list(found.values()), "own": own}
        yield Check("unit", {"name": UNIT}, ROW)
        yield Check("shared", {key: list(dict.fromkeys(asked[key])) for key in asked}, ROW)


def pairs(topology: Topology) -> dict[str, tuple[str, str]]:
    """Return the two hosts of each pair: the role -> their ids."""
    found = {}
    for role in ROLES.values():
        if shared(topology, role):
            one, other = topology.having(role.name)
            found[role.name] = (one.id, other.id)
    return found


def disagreeing(topology: Topology, said: Mapping[str, str]) -> dict[str, str]:
    """Return the fault of each host that has shared addresses together with its partner, or neither
    of them has.

    A host alone cannot see that. One that has said nothing, or a fault of its own, is not compared.

    Args:
        topology: the topology.
        said: where the addresses are: a host -> HERE or ELSEWHERE (salina.health.probes).
    """
    found: dict[str, str] = {}
    for both in pairs(topology).values():
        words = {HERE: "both {} and {} have them", ELSEWHERE: "neither {} nor {} has them"}
        places = {said.get(host, "") for host in both}
        if len(places) == 1 and (fault := words.get(places.pop())):
            fault = f"{fault.format(*both)}; see journalctl -u {UNIT} on both"
            found |= dict.fromkeys(both, fault)
    return found


def settled(
    topology: Topology,
    said: Mapping[str, str],
    again: Callable[[list[str]], Mapping[str, str]],
    seconds: float = MOVE,
) -> dict[str, tuple[bool, str]]:
    """Return what holds for hosts that disagree at first: whether they agree later, and words.

    The addresses may be on their way from one to the other, so these hosts are asked again.

    Args:
        topology: the topology.
        said: as in `disagreeing`.
        again: asks hosts once more.
        seconds: the time after which no such move is under way any more.
    """
    asked = list(disagreeing(topology, said))
    if not asked:
        return {}
    told: dict[str, str] = {}

    def agree() -> bool:
        told.clear()
        told.update(again(asked))
        return told.keys() >= {*asked} and not disagreeing(topology, told)

    wait.until(agree, seconds)
    bad = disagreeing(topology, told)
    bad |= dict.fromkeys({*asked} - told.keys(), "asked again, it did not say where they are")
    return {host: (host not in bad, bad.get(host) or told[host]) for host in asked}


def faults(topology: Topology, sound: Callable[[str], bool]) -> Iterator[str]:
    """Yield each host whose own address is a shared one, as `path: message`.

    Such a host would answer for the address after each of its boots, although the other one has it.

    Args:
        topology: its parts that have no fault of their own.
        sound: tells whether a path of the file has no fault.
    """
    for role in ROLES.values():
        hosts = topology.having(role.name)
        addresses = {*shared(topology, role).values()}
        names = " and ".join(host.id for host in hosts)
        for host in topology.everyone() if addresses else ():
            where = join("pools", host.pool) if host.pool else join("hosts", host.id)
            for network, address in host.addresses.items():
                path = join(f"{where}.addresses", network)
                if address in addresses and sound(path):
                    yield (
                        f"{path}: {address} is the address that {names} share; give {host.id} "
                        f"another one in the network {network}"
                    )

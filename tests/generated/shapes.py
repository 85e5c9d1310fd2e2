"""Topologies: one function for each aspect, each of which adds to what those before it have made.

A new shape of a fleet is a new choice in its aspect, or a new function in ASPECTS.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from salina_fleet.model import ids, topology
from salina_fleet.model.operators import NAME as OPERATOR
from salina_fleet.roles import ROLES
from tests import fleets
from tests.generated import values

PURPOSES = tuple(topology.PURPOSES)
RANGES = (
    *("10.{}.0.0/24", "172.{}.16.0/20", "192.168.{}.0/26", "198.{}.4.0/22", "100.64.{}.0/25"),
    *("fd00:{}::/64", "2001:db8:{}::/48", "fd00:ffff:{}::/112"),
)
"""Networks; the number makes each of them different."""
IDS = r"[g-m]([a-z0-9-]{0,9}[a-z0-9]|[0-9]{1,2}|[a-z]{20}-[0-9a-f]{41})?"
"""Ids of hosts: short ones, numbered ones, and the longest ones; no word that YAML reads as another
value.
"""
DOMAINS = ("", "", ".prod.example.com", ".a")
"""The ends of ids: nothing, or a domain, as Salt makes ids by default."""
SHORT = 30
"""The most characters before a domain."""
LONG = f"{'a' * 63}.{'b' * 63}.{'c' * 63}.{'d' * 58}"
"""A domain that has with its end, such as .x0, the most characters: 253."""
PATTERNS = (
    *("s{n}", "web-{n}-blue", "app-{n}", "crm-{n:02}", "a{n:04}"),
    *("s{n:03}.x.example", "crm-{n:02}.prod.example.com", "a{n}.b"),
)
"""The rules for the ids of a pool's members."""
ALONE = {"backup": {"database", "storage"}, "monitoring": set(ROLES)}
"""Roles, and those with which they share no host, since both would be lost together."""
PAIRED = {"balancer": {"firewall", "app"}, "firewall": {"balancer"}}
"""The same for the roles of which a fleet has two hosts."""


@dataclass
class Draft:
    """A topology while it is made, and the generator of its choices."""

    draw: st.DrawFn
    data: dict[str, Any] = field(default_factory=dict)
    places: dict[str, int] = field(default_factory=dict)
    """Network -> the place of its last address."""
    domains: tuple[str, ...] = ("",)
    """The ends that the ids of its hosts may have."""
    alone: dict[str, set[str]] = field(default_factory=lambda: dict(ALONE))
    """Role -> those with which it shares no host."""

    def one_of(self, *choices: Any) -> Any:
        """Return one of some choices."""
        return self.draw(st.sampled_from(choices))

    def chance(self, of: int = 2) -> bool:
        """Return true once in `of` times."""
        return self.draw(st.integers(1, of)) == 1

    def network(self, purpose: str) -> str:
        """Return the network of a link."""
        return str(self.data["links"][purpose])

    def address(self, name: str, further: int = 0) -> str:
        """Return the next address of a network; `further` leaves some out behind it."""
        cidr = ipaddress.ip_network(self.data["networks"][name])
        place = self.places.get(name, 0) + 1
        while further and set(f"{place:x}") & set("abcdef"):
            place += 1  # a pool's rule has decimal digits
        self.places[name] = place + further
        return str(cidr[place])

    def label(self, taken: Iterable[str]) -> str:
        """Return an id that is not taken yet."""
        used, domain = {*taken}, self.one_of(*self.domains)
        found = st.from_regex(IDS, fullmatch=True)
        if domain:
            found = found.map(lambda one: f"{one[:SHORT].rstrip('-')}{domain}")
        return str(self.draw(found.filter(lambda one: one not in used)))

    def fits(self, role: str, group: list[str]) -> bool:
        """Tell whether a host with some roles can have another one."""
        pairs = [(role, one) for one in group] + [(one, role) for one in group]
        return not any(two in self.alone.get(one, ()) for one, two in pairs)


def networks(draft: Draft) -> None:
    """One network for everything, one each, or something between them."""
    count = draft.one_of(1, 2, 3, 5, 5)
    names = [f"n{place}" for place in range(count)]
    same = draft.one_of(RANGES[0], None, *RANGES)
    draft.data["networks"] = {
        name: (same or draft.one_of(*RANGES)).format(place + 20) for place, name in enumerate(names)
    }
    links = [names[place * count // len(PURPOSES)] for place in range(len(PURPOSES))]
    if draft.chance(4):
        links = [draft.one_of(*names) for _ in PURPOSES]
    draft.data["links"] = dict(zip(PURPOSES, links, strict=True))


def applications(draft: Draft) -> None:
    """One to three, with volumes, and with copies for trials."""
    found: dict[str, Any] = {}
    names = draft.draw(
        st.lists(values.of(topology.NAME, {}), min_size=1, max_size=3, unique=True)
        if draft.chance(3)
        else st.just(["crm"])
    )
    for place, name in enumerate(names):
        found[name] = {
            "domain": draft.one_of("crm.example", "a", "x--y.example.org", LONG) + f".x{place}",
            "definition": draft.one_of(*fleets.APPLICATIONS),
        }
        if place or draft.chance(5):
            found[name]["volume"] = f"v{place}"
        if place and draft.chance():
            found[name]["copy_of"] = names[0]
            found[name]["definition"] = found[names[0]]["definition"]
    draft.data["applications"] = found


def layout(draft: Draft) -> None:
    """Groups of roles, each for one host; roles share a host, or have hosts of their own.

    Two balancers or two firewalls are a pair.
    """
    links = draft.data["links"]
    wanted = ["master", "balancer", "database", *["database"] * draft.one_of(0, 0, 1, 2)]
    wanted += ["storage"] * draft.one_of(0, 0, 1, 2, 3, 3, 4)
    if draft.chance() or links["clients"] != links["edge"]:
        wanted.append("firewall")
    for role, others in PAIRED.items():
        if role in wanted and draft.chance(8):
            wanted.append(role)
            draft.alone[role] = others
    wanted += [name for name in ("backup", "monitoring", "management") if draft.chance()]
    groups: list[list[str]] = []
    together = draft.one_of(2, 8, 10, 10, 10)
    for role in wanted:
        homes = [one for one in groups if role not in one and draft.fits(role, one)]
        if homes and draft.draw(st.integers(1, 10)) <= together:
            draft.one_of(*homes).append(role)
        else:
            groups.append([role])
    for _ in range(draft.one_of(1, 1, 1, 3, 3, 5)):
        homes = [one for one in groups if "quorum" not in one and draft.fits("quorum", one)]
        if homes and not draft.chance(6):
            draft.one_of(*homes).append("quorum")
        else:
            groups.append(["quorum"])
    draft.data["groups"] = groups


def pools(draft: Draft) -> None:
    """App hosts: of a pool, by themselves, or on a host with other roles."""
    draft.data["pools"] = {}
    shared = any("storage" in group for group in draft.data["groups"])
    sizes = (1, 3, 10) if shared else (1, 1, 1, 3)  # without storage only one host is allowed
    for place, name in enumerate(draft.data["applications"]):
        way = draft.one_of("pool", "pool", "host", "together")
        free = [group for group in draft.data["groups"] if draft.fits("app", group)]
        if way == "together" and free and len(draft.data["applications"]) == 1:
            draft.one_of(*free).append("app")
        elif way == "pool":
            most, least = draft.one_of(*sizes), draft.one_of(0, 0, 1)
            pattern = f"{'x' * place}{draft.one_of(*PATTERNS)}"
            many = draft.draw(st.integers(least, min(2, most)))
            draft.data["pools"][f"p{place}"] = {
                "id": pattern,
                "roles": ["app"],
                "application": name,
                "minimum": least,
                "maximum": most,
                "initial": [ids.member(pattern, n) for n in range(1, many + 1)],
            }
        else:
            draft.data["groups"].append(["app", f"={name}"])


def hosts(draft: Draft) -> None:
    """Ids and addresses for each group; one of the database hosts is the first."""
    found: dict[str, Any] = {}
    first = True
    draft.domains = DOMAINS if draft.chance(3) else ("",)
    for group in draft.data.pop("groups"):
        roles = [name for name in ROLES if name in group]
        needed = {"management", *(link for role in roles for link in ROLES[role].links)}
        if draft.chance(6):
            needed |= {draft.one_of(*PURPOSES)}
        names = dict.fromkeys(draft.network(link) for link in PURPOSES if link in needed)
        host: dict[str, Any] = {
            "roles": roles,
            "addresses": {name: draft.address(name) for name in names},
        }
        if "database" in roles and first:
            host["first"], first = True, False
        served = [one[1:] for one in group if one.startswith("=")]
        if served:
            host["application"] = served[0]
        taken = [*found, *(role.alias for role in ROLES.values() if role.alias)]
        taken += [one for pool in draft.data["pools"].values() for one in members(pool)]
        found["salt" if "master" in roles and draft.chance() else draft.label(taken)] = host
    draft.data["hosts"] = found
    for pool in draft.data["pools"].values():
        links = ("management", *(link for role in pool["roles"] for link in ROLES[role].links))
        pool["addresses"] = {
            name: rule(draft.address(name, pool["maximum"]))
            for name in dict.fromkeys(draft.network(link) for link in links)
        }


def members(pool: dict[str, Any]) -> list[str]:
    """Return the ids of all members that a pool can have."""
    return [ids.member(pool["id"], n) for n in range(1, pool["maximum"] + 1)]


def rule(address: str) -> str:
    """Return a pool's rule that begins behind an address: 10.1.3.(4+n) for 10.1.3.4."""
    separator = ":" if ":" in address else "."
    stem, _, last = address.rpartition(separator)
    return f"{stem}{separator}({last or 0}+n)"


def service(draft: Draft) -> None:
    """The balancer's own address or that of a pair, with or without TLS, and its ports.

    Two firewalls have gateways.
    """
    edge = draft.network("edge")
    own = [
        one["addresses"][edge]
        for one in draft.data["hosts"].values()
        if "balancer" in one["roles"] and edge in one["addresses"]
    ]
    draft.data["service"] = {"address": own[0] if len(own) == 1 else draft.address(edge)}
    firewalls = [one for one in draft.data["hosts"].values() if "firewall" in one["roles"]]
    if len(firewalls) > 1:
        both = dict.fromkeys((draft.network("clients"), edge))
        draft.data["gateways"] = {name: draft.address(name) for name in both}
    if draft.chance():
        draft.data["service"]["tls"] = draft.chance()
    if draft.chance(3):
        draft.data["service"] |= {
            "http": draft.one_of(80, 8080, 1, 65535),
            "https": draft.one_of(443, 8443, 65534),
        }


def operators(draft: Draft) -> None:
    """Some people, if a host lets them in."""
    roles = {role for one in draft.data["hosts"].values() for role in one["roles"]}
    if "management" not in roles or draft.chance():
        return
    names = draft.draw(st.lists(values.of(OPERATOR, {}), max_size=3, unique=True))
    draft.data["operators"] = {
        name: {
            "keys": [values.KEYS[place]],
            "expires": draft.one_of("2037-06-30", "2001-01-01"),
            "may": draft.one_of("look", "operate", "all"),
        }
        for place, name in enumerate(names)
    }


ASPECTS: tuple[Callable[[Draft], None], ...] = (
    networks,
    applications,
    layout,
    pools,
    hosts,
    service,
    operators,
)


@st.composite
def topologies(draw: st.DrawFn) -> dict[str, Any]:
    """Return the content of a topology, most often a valid one."""
    draft = Draft(draw)
    for aspect in ASPECTS:
        aspect(draft)
    return draft.data

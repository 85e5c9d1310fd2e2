"""The rules of ufw: current, wanted, and the steps between them.

ufw prints its rules (``ufw show added``) in one form, whatever the words of the command were. Rules
are compared in that form, so rules that an operator added by hand are found too.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any

LOOPBACK = "lo"
ANYWHERE = ("any", "0.0.0.0/0", "::/0")
BUILTINS = ("INPUT", "OUTPUT", "FORWARD")
"""The kernel's own chains. Each begins with a jump to a chain of ufw."""
BOOT = "salina-closed"
"""The chain by which a boot closes the host while ufw does not."""
CLOSED = BUILTINS
"""Those that drop a packet which no rule accepts."""


@dataclass(frozen=True)
class Rule:
    """One rule, in the words that ufw prints: ``allow from 10.1.5.2 to any port 22 proto tcp``."""

    words: tuple[str, ...]
    comment: str = ""

    def __str__(self) -> str:
        text = shlex.join(self.words)
        return f"{text} comment '{self.comment}'" if self.comment else text

    @property
    def addition(self) -> list[str]:
        """Return the command that adds this rule, or gives it this comment."""
        return ["ufw", *self.words, *(["comment", self.comment] if self.comment else [])]

    @property
    def deletion(self) -> list[str]:
        """Return the command that deletes the rule."""
        if self.words[0] == "route":
            return ["ufw", "route", "delete", *self.words[1:]]
        return ["ufw", "delete", *self.words]


@dataclass(frozen=True)
class Status:
    """The firewall as a whole, from ``ufw status verbose``; empty words while it is inactive.

    ``routed`` is ``disabled`` when the kernel does not forward packets.
    """

    active: bool
    logging: str = ""
    incoming: str = ""
    outgoing: str = ""
    routed: str = ""


def interfaces(text: str) -> dict[str, list[str]]:
    """Return the interfaces of each address of this host, without those of loopback.

    Args:
        text: the output of ``ip -json address show``.

    Raises:
        ValueError: the text is something else.
    """
    found: dict[str, list[str]] = {}
    for card in json.loads(text):
        for one in card.get("addr_info", ()):
            if card["ifname"] != LOOPBACK and "local" in one:
                found.setdefault(one["local"], []).append(card["ifname"])
    return found


def interface(found: Mapping[str, list[str]], address: str) -> str:
    """Return the one interface that carries an address of this host.

    Args:
        found: the answer of ``interfaces``.
        address: the address.

    Raises:
        ValueError: no interface carries it, or several do.
    """
    names = found.get(str(ip_address(address)), [])
    if len(names) == 1:
        return names[0]
    if names:
        raise ValueError(
            f"{address} is on several interfaces of this host: {', '.join(names)}; remove it from "
            "all but one"
        )
    raise ValueError(
        f"{address} is on no interface of this host, which has {', '.join(found) or 'no address'}; "
        "give the host this address, or correct pillar/topology.yaml"
    )


def wanted(
    rules: Iterable[Mapping[str, Any]],
    routes: Iterable[Mapping[str, Any]],
    outgoing: Iterable[Mapping[str, Any]],
    found: Mapping[str, list[str]],
) -> list[Rule]:
    """Return the rules that the pillar ``ufw`` describes, in ufw's form.

    Two entries that give the same rule become one, with both comments.

    Args:
        rules: ``{comment, proto, ports, from, to, in}``: ``ports`` as ``80,443`` or
            ``49152:49251``, or empty for a protocol without ports; ``from`` and ``to`` an address,
            a network or ``any``. ``in`` is the address of this host whose interface the packets
            come in on, or None for all interfaces.
        routes: the same for packets that pass through, and leave on the interface of ``out``.
        outgoing: ``{comment, proto, ports, to}`` for connections that this host opens.
        found: the interfaces of this host's addresses, from ``interfaces``.

    Raises:
        ValueError: an address is invalid, or on no interface of this host.
        KeyError: a key is missing.
    """
    comments: dict[tuple[str, ...], list[str]] = {}
    entries = [((), rule) for rule in rules] + [(("route",), route) for route in routes]
    named = [((*prefix, *_words(entry, found)), entry) for prefix, entry in entries]
    named += [(_outgoing(entry), entry) for entry in outgoing]
    for words, entry in named:
        said = comments.setdefault(words, [])
        if entry["comment"] not in said:
            said.append(entry["comment"])
    return [Rule(words, "; ".join(said)) for words, said in comments.items()]


def added(text: str) -> list[Rule]:
    """Parse the output of ``ufw show added``.

    Raises:
        ValueError: a line cannot be split into words.
    """
    found = []
    for line in text.splitlines():
        if line.startswith("ufw "):
            words = shlex.split(line)[1:]
            comment = ""
            if len(words) > 2 and words[-2] == "comment":
                *words, _, comment = words
            found.append(Rule(tuple(words), comment))
    return found


def status(text: str) -> Status:
    """Parse the output of ``ufw status verbose``.

    Raises:
        ValueError: the text is something else.
    """
    if re.search(r"^Status: inactive$", text, re.MULTILINE):
        return Status(active=False)
    found = re.search(
        r"^Status: active\nLogging: (?:on \((\w+)\)|off)\n"
        r"Default: (\w+) \(incoming\), (\w+) \(outgoing\), (\w+) \(routed\)$",
        text,
        re.MULTILINE,
    )
    if not found:
        raise ValueError(f"`ufw status verbose` printed something unexpected: {text!r}")
    logging, incoming, outgoing, routed = found.groups()
    return Status(True, logging or "off", incoming, outgoing, routed)


def unused(rules: str) -> list[str]:
    """Return the chains of the kernel that do not use ufw's rules, although ufw has loaded them.

    Loading them again does not help: ufw adds its jumps only together with its chains.
    Source: ``ufw_start`` in ``ufw-init-functions`` of ufw 0.36.2.

    Args:
        rules: the kernel's rules, as ``iptables --list-rules`` or ``ip6tables --list-rules`` prints
            them.
    """
    lines = set(rules.splitlines())
    return [
        chain
        for chain in BUILTINS
        for name in ("ufw", "ufw6")
        if f"-N {name}-before-{chain.lower()}" in lines
        and f"-A {chain} -j {name}-before-{chain.lower()}" not in lines
    ]


def has_rules(rules: str) -> bool:
    """Tell whether the kernel has the chains of ufw's own rules, so that it can take new ones.

    Args:
        rules: as for ``unused``.
    """
    lines = rules.splitlines()
    return any(f"-N {name}-user-input" in lines for name in ("ufw", "ufw6"))


def closed_by_boot(rules: str) -> bool:
    """Tell whether a boot closed the host because ufw did not start (salt/ufw/files/closed).

    Args:
        rules: as for ``unused``.
    """
    return f"-N {BOOT}" in rules.splitlines()


def closed(rules: str) -> bool:
    """Tell whether the kernel drops a packet that no rule accepts.

    Args:
        rules: as for ``unused``.
    """
    lines = set(rules.splitlines())
    return not lines.intersection(f"-P {chain} ACCEPT" for chain in CLOSED)


def plan(have: Iterable[Rule], want: Iterable[Rule]) -> tuple[list[Rule], list[Rule]]:
    """Return the rules to add, and those to delete afterwards, so that no wanted packet is dropped.

    A rule with another comment is added again: ufw then replaces the comment.
    """
    have, want = list(have), list(want)
    keep = {rule.words for rule in want}
    return (
        [rule for rule in want if rule not in have],
        [rule for rule in have if rule.words not in keep],
    )


def _words(entry: Mapping[str, Any], found: Mapping[str, list[str]]) -> tuple[str, ...]:
    """Return an entry of the pillar as ufw would print it, without the comment.

    Source: ``ufw.parser.UFWCommandRule.get_command`` of ufw 0.36.2.
    """
    source, destination = _address(entry["from"]), _address(entry["to"])
    cards: tuple[str, ...] = ()
    for direction in ("in", "out"):
        if entry.get(direction) is not None:
            cards += (direction, "on", interface(found, entry[direction]))
    if source == destination == "any" and not cards:
        return ("allow", f"{_ports(entry['ports'])}/{entry['proto']}")
    origin = () if source == "any" else ("from", source)
    return ("allow", *cards, *origin, "to", destination, *_service(entry))


def _outgoing(entry: Mapping[str, Any]) -> tuple[str, ...]:
    """Return an outgoing connection of the pillar as ufw would print it, without the comment."""
    destination = _address(entry["to"])
    if destination == "any":
        return ("allow", "out", f"{_ports(entry['ports'])}/{entry['proto']}")
    return ("allow", "out", "to", destination, *_service(entry))


def _service(entry: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the ports and the protocol of an entry; a protocol such as VRRP has no ports."""
    ports = ("port", _ports(entry["ports"])) if entry["ports"] else ()
    return (*ports, "proto", entry["proto"])


def _address(text: str) -> str:
    """Return an address as ufw writes it: ``10.1.5.2``, ``10.1.5.0/24``, ``any``."""
    if text in ANYWHERE:
        return "any"
    network = ip_network(text, strict=False)
    return str(network if network.num_addresses > 1 else network.network_address)


def _ports(text: str) -> str:
    """Return a list of ports as ufw writes it: in order, each one once."""
    ports = {part.strip() for part in text.split(",")}
    return ",".join(sorted(ports, key=lambda port: int(port.partition(":")[0])))

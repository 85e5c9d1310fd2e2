"""The rules of ufw: current, wanted, and the steps between them.

ufw prints its rules (``ufw show added``) in one form, whatever the words of the command were. Rules
are compared in that form, so rules that an operator added by hand are found too.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_network

ANYWHERE = ("any", "0.0.0.0/0", "::/0")
BUILTINS = ("INPUT", "OUTPUT", "FORWARD")
"""The kernel's own chains. Each begins with a jump to a chain of ufw."""
BOOT = "salina-closed"
"""The chain by which a boot closes the host while ufw does not."""
CLOSED = ("INPUT", "FORWARD")
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


def wanted(rules: Iterable[Mapping[str, str]], routes: Iterable[Mapping[str, str]]) -> list[Rule]:
    """Return the rules that the pillar ``ufw`` describes, in ufw's form.

    Two entries that give the same rule become one, with both comments.

    Args:
        rules: ``{comment, proto, ports, from, to}``: ``ports`` as ``80,443`` or ``49152:49251``,
            ``from`` and ``to`` an address, a network or ``any``.
        routes: the same for packets that pass through.

    Raises:
        ValueError: an address is invalid.
        KeyError: a key is missing.
    """
    comments: dict[tuple[str, ...], list[str]] = {}
    entries = [((), rule) for rule in rules] + [(("route",), route) for route in routes]
    for prefix, entry in entries:
        said = comments.setdefault((*prefix, *_words(entry)), [])
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


def _words(entry: Mapping[str, str]) -> tuple[str, ...]:
    """Return an entry of the pillar as ufw would print it, without the comment.

    Source: ``ufw.parser.UFWCommandRule.get_command`` of ufw 0.36.2.
    """
    source, destination = _address(entry["from"]), _address(entry["to"])
    ports, proto = _ports(entry["ports"]), entry["proto"]
    if source == destination == "any":
        return ("allow", f"{ports}/{proto}")
    origin = () if source == "any" else ("from", source)
    return ("allow", *origin, "to", destination, "port", ports, "proto", proto)


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

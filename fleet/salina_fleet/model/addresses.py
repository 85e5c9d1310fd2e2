"""Addresses, networks, and the rules by which the members of a pool get their addresses.

`address`, `network` and `rule` are what a field may be (`Parsed`). Each returns what the text
means, or raises Unfit.
"""

from __future__ import annotations

import ipaddress
import re
from functools import cache

from salina_fleet.schema.rules import Unfit

MAX_POOL = 4096
"""The largest number of a pool's member."""

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
UNUSABLE = tuple(
    ipaddress.ip_network(cidr)
    for cidr in ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3")
) + tuple(ipaddress.ip_network(cidr) for cidr in ("::/127", "fe80::/10", "ff00::/8"))

ADDRESS_RULE = re.compile(r"(?P<stem>[0-9A-Fa-f.:]*[.:])\((?P<base>[0-9]{1,5})\+n\)")


def address(text: str) -> str:
    """Return an IP address in its shortest form."""
    try:
        if "%" not in text:
            return str(ipaddress.ip_address(text))
    except ValueError:
        pass
    raise Unfit


def destination(text: str) -> str:
    """Return an IP address in its shortest form, or the name of a host as DNS can have it."""
    if re.fullmatch(r"[0-9.]+|.*:.*", text):
        return address(text)
    label = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
    if len(text) > 253 or not re.fullmatch(rf"{label}(\.{label})*\.?", text):
        raise Unfit
    return text


def network(text: str) -> str:
    """Return a range in its shortest form."""
    try:
        found = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise Unfit from None
    if "/" not in text or "%" in text:  # a zone is an interface of one host
        raise Unfit
    if ipaddress.ip_interface(text).ip != found.network_address:
        raise Unfit(f"is an address, not a network; write {found}")
    if any(found.overlaps(bad) for bad in UNUSABLE if bad.version == found.version):
        kinds = "a loopback, link-local, multicast or reserved range"
        raise Unfit(f"overlaps {kinds}; choose another range")
    return str(found)


def rule(text: str) -> str:
    """Return a pool's rule when it gives every member an address."""
    try:
        _ = start(text) + MAX_POOL
    except ValueError:
        match = ADDRESS_RULE.fullmatch(text)
        if match and ":" not in match["stem"] and int(match["base"]) > 255:
            raise Unfit(f"begins above 255; {match['base']} must be at most 255") from None
        raise Unfit from None
    return text


@cache
def start(text: str) -> IPAddress:
    """Return the address that a pool's rule counts from: 10.1.3.10 for 10.1.3.(10+n)."""
    match = ADDRESS_RULE.fullmatch(text)
    if match is None:
        raise ValueError(text)
    return ipaddress.ip_address(f"{match['stem']}{match['base']}")


def misfit(text: str, network: IPNetwork | None) -> str | None:
    """Return why no host can have this address in a network; None when one can."""
    found = ipaddress.ip_address(text)
    if network is None:
        return None
    if found not in network:
        return f"is outside {network}"
    if network.prefixlen >= network.max_prefixlen - 1:  # point to point: every address is a host's
        return None
    if found == network.network_address:
        return f"is the address of {network} itself"
    if found.version == 4 and found == network.broadcast_address:
        return f"is the broadcast address of {network}"
    return None

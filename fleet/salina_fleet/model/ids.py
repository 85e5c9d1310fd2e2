"""The ids of hosts: minion ids, which are also host names, and the rules for those of a pool."""

from __future__ import annotations

import re
from functools import cache

from salina_fleet.model.addresses import MAX_POOL
from salina_fleet.schema.rules import Unfit

LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
"""One part of a host name, between dots."""
LENGTH = 63
"""The most characters: PostgreSQL cuts off what is longer, certificates and Linux take one more."""
ID = rf"(?=.{{1,{LENGTH}}}\Z){LABEL}(?:\.{LABEL})*(?<!\.[0-9])(?<!\.[0-9][0-9])(?<!\.[0-9]{{3}})"
"""An id: a host name, or a full domain name. Its end is never that of an IP address."""
WORDS = (
    "a host name, also with its domain: a-z, 0-9, - and dots, at most 63 characters, "
    "and not an IP address"
)
PATTERN_WORDS = (
    "a host name with {n} for the number, such as s{n}, or {n:02} for one with two digits or more"
)
NUMBER = re.compile(r"\{n(?::0([2-4]))?\}")
"""The place of the number in a pool's rule, and the fewest digits that it has."""


def pattern(text: str) -> str:
    """Return the rule for the ids of a pool's members, if each number gives an id.

    Raises:
        Unfit: the text is not such a rule.
    """
    if len(NUMBER.findall(text)) != 1:
        raise Unfit
    if not all(re.fullmatch(ID, member(text, number)) for number in (1, MAX_POOL)):
        raise Unfit
    return text


def member(rule: str, number: int) -> str:
    """Return the id of a pool's member: s1 for s{n} and 1, crm-01 for crm-{n:02} and 1."""
    before, digits, after = _parts(rule)
    return f"{before}{number:0{digits}}{after}"


def number(rule: str, host_id: str) -> int | None:
    """Return the number of a member, from 1 on; None for any other id."""
    before, _, after = _parts(rule)
    digits = host_id.removeprefix(before).removesuffix(after)
    if not re.fullmatch(r"[0-9]{1,4}", digits):
        return None
    found = int(digits)
    return found if found and member(rule, found) == host_id else None


def short(host_id: str) -> str:
    """Return an id without its domain: nas1 for nas1.prod.example.com."""
    return host_id.partition(".")[0]


@cache
def _parts(rule: str) -> tuple[str, int, str]:
    """Return what is before the number, the fewest digits of it, and what is after it."""
    found = NUMBER.search(rule)
    if found is None:  # a rule with a fault, which is reported
        return rule, 1, ""
    return rule[: found.start()], int(found[1] or 1), rule[found.end() :]

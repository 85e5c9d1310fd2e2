"""Values that a rule of the schema allows: one strategy for each kind of rule.

The rules themselves say what is allowed, so a new setting is tried without a line here. A rule that
a function judges (`Parsed`) says so only in words: EXAMPLES has some texts for each of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from hypothesis import strategies as st

from salina_fleet.model.firewall import Ports
from salina_fleet.schema.declare import DURATION
from salina_fleet.schema.rules import (
    REQUIRED,
    Choice,
    Flag,
    ListOf,
    MappingOf,
    Nullable,
    Number,
    Parsed,
    Record,
    Reference,
    Rule,
    Text,
)

Strategy = st.SearchStrategy[Any]
Data = dict[str, Any]

LONG = 40
"""The most characters of a text whose rule has no limit."""
LETTERS = st.characters(min_codepoint=32, max_codepoint=0x24F, exclude_categories=("Cc", "Cs"))
KEYS = (
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIG8jfgUIp97u7b5/SuNA5B5sdN2v47x/eRw/Ldr8YXm",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPE06W27fqf6qJhJz1D+IQYAqY1aR5C6Xd/0tmpyd11R",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPbT/WsDROoYMHsJN2EMvRhi+YqUpAkKgTdhJ0Qq3xMA",
)
PLACES = ("any", "192.0.2.7", "192.0.2.0/24", "2001:db8::/32", "2001:db8::7", "0.0.0.0/0")

DURATIONS = ("0s", "1ms", "500ms", "1s", "2s", "30s", "5m", "1h", "24h", "0ms", "720h", "99999s")
LIFETIMES = ("30m", "12h", "7d", "30d", "90d", "365d")

OPTIONS: Mapping[str, tuple[Any, ...]] = {
    "max_connections": (100, 1, 262121, 262143),
    "work_mem": ("4MB", "64kB", 1024, "1GB"),
    "shared_buffers": ("128MB", 16, "128kB"),
    "log_min_duration_statement": (-1, "250ms", 0),
    "random_page_cost": (1.1, 4, "1e0"),
    "log_line_prefix": ("%m [%p] ", "", "it's \\"),
    "jit": ("off", False, True),
    "performance.cache-size": ("64MB", "1GB"),
    "nfs.disable": ("on", True),
}
"""Parameters of PostgreSQL and options of volumes, with values."""

LIKELY: Mapping[str, tuple[str, ...]] = {DURATION: DURATIONS}
"""A pattern most of whose texts are of no use -> some that are."""
HOSTS = (
    *("mail.example.com", "10.1.5.2", "fd00::25", "x", "1-a.example.com.", "EXAMPLE.com"),
    *("mail.example.com:587", "10.1.5.256", "-a", "a..b", "..", "fd00::25/64", "a" * 64),
)
EXAMPLES: Mapping[str, tuple[str, ...]] = {
    "a regular expression": (
        *("^/[^/]+/static/", "^/a.b$", "^/(a|b)/", "^/", "^/[0-9]{2}/x", "^/a~b", "^/x#y"),
        *(r"^/\d+/", "^/(?:a)+", "^/(?P<n>a)/", "^/[[:alpha:]]", "^/a\\.b", "^/é", "^/%C3"),
        *("^/(?i)x", "^/x(?=y)", "^/.*\\.(css|js)$", "^/a++", "^/\\Aa", "^/[^]a]", "^/x|^/y"),
    ),
    "a duration such as 90d": LIFETIMES,
    "an address or a name": HOSTS,
    "a host name or an address": HOSTS,
    "a duration": DURATIONS,
    "a git URL": (
        *("https://git.example/crm.git", "file:///srv/mirror/git/odoo-14.0.git"),
        *("ssh://git@git.example:2222/crm.git", "git@git.example:crm.git"),
    ),
    "a public key": KEYS,
    "a range such as": ("192.0.2.0/24", "2001:db8::/32", "10.0.0.0/8"),
    "an address, a range": PLACES,
}
"""The beginning of a rule's words -> texts for it, most of them valid."""


def of(rule: Rule, names: Mapping[str, tuple[str, ...]]) -> Strategy:
    """Return a strategy for the values of a rule.

    Args:
        rule: the rule.
        names: the names that other parts of the same file declare: part -> names.
    """
    for kind, make in STRATEGIES.items():
        if isinstance(rule, kind):
            found: Strategy = make(rule, names)
            return found
    raise TypeError(f"{type(rule).__name__} has no strategy: add one to STRATEGIES")


def _number(rule: Number, names: Mapping[str, Any]) -> Strategy:
    """Limits and their neighbours are more likely than anything between them."""
    near = [rule.low, rule.low + 1, rule.high - 1, rule.high]
    edges = [one for one in dict.fromkeys(near) if rule.low <= one <= rule.high]
    return st.sampled_from(edges) | st.integers(rule.low, rule.high)


def _text(rule: Text, names: Mapping[str, Any]) -> Strategy:
    pattern = rule._fits.__self__.pattern  # type: ignore[attr-defined]
    if pattern in LIKELY and not rule.others:
        return st.sampled_from(LIKELY[pattern])
    drawn = (
        st.text(LETTERS, max_size=LONG)
        if pattern == r"[\s\S]*"
        else st.from_regex(re.compile(pattern, re.ASCII), fullmatch=True, alphabet=LETTERS)
    )
    plain = drawn.filter(lambda text: len(text) < 10 * LONG and not rule._reserved(text))
    if rule.others:
        return plain | st.integers(-1, 2**31) | st.booleans() | st.floats(allow_nan=False)
    return plain


def _parsed(rule: Parsed, names: Mapping[str, Any]) -> Strategy:
    for words, texts in EXAMPLES.items():
        if rule.words.startswith(words):
            return st.sampled_from(texts)
    raise TypeError(f"no text is known for {rule.words!r}: add some to EXAMPLES")


def _listed(rule: ListOf, names: Mapping[str, tuple[str, ...]]) -> Strategy:
    unique = repr if rule.once else None
    return st.lists(of(rule.item, names), min_size=rule.least, max_size=3, unique_by=unique)


def _mapped(rule: MappingOf, names: Mapping[str, tuple[str, ...]]) -> Strategy:
    keys, items = of(rule.name, names), of(rule.value, names)
    if getattr(rule.value, "others", ()):
        known = [{key: one} for key, ones in OPTIONS.items() for one in ones]
        return st.sampled_from(known) | st.dictionaries(keys, items, max_size=1)
    return st.dictionaries(keys, items, min_size=rule.least, max_size=2)


@st.composite
def _record(draw: st.DrawFn, rule: Record, names: Mapping[str, tuple[str, ...]]) -> Data:
    """Return a record with the required keys, and some of the others."""
    found: Data = {}
    for key in rule.keys.values():
        if key.name and (key.only is None or found.get(key.only[0]) == key.only[1]):
            required = key.default is REQUIRED or key.only is not None
            if required or draw(st.integers(0, 3)) == 0:
                found[key.name] = draw(of(key.rule, names))
    return found


STRATEGIES: Mapping[type[Rule], Callable[[Any, Mapping[str, tuple[str, ...]]], Strategy]] = {
    Number: _number,
    Flag: lambda rule, names: st.booleans(),
    Choice: lambda rule, names: st.sampled_from(rule.choices),
    Reference: lambda rule, names: st.sampled_from(names.get(rule.part) or ("none",)),
    Parsed: _parsed,
    Text: _text,
    Ports: lambda rule, names: st.sampled_from(
        [9100, "9100,9200", "9000:9010", "53", 65535, "1:9"]
    ),
    Nullable: lambda rule, names: st.none() | of(rule.rule, names),
    ListOf: _listed,
    MappingOf: _mapped,
    Record: _record,
}


SURE = (Number, Flag, Choice)
"""Rules of which every value is valid that they give."""


@st.composite
def changed(
    draw: st.DrawFn, rule: Record, base: Data, names: Mapping[str, tuple[str, ...]], most: int
) -> Data:
    """Return a record's data with up to `most` of its keys changed, here or in its parts."""
    found = dict(base)
    keys = [
        key
        for key in rule.keys.values()
        if key.name and (key.only is None or base.get(key.only[0]) == key.only[1])
    ]
    for key in draw(st.lists(st.sampled_from(keys), max_size=most, unique_by=id)):
        inner = key.rule.rule if isinstance(key.rule, Nullable) else key.rule
        here = found.get(key.name)
        if isinstance(inner, Record) and isinstance(here, dict) and draw(st.integers(0, 3)):
            found[key.name] = draw(changed(inner, here, names, most))
        else:
            found[key.name] = draw(of(key.rule, names))
    return found

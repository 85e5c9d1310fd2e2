"""Declarations: dataclasses whose fields say what is allowed, and the one reader of them.

    @dataclass(frozen=True)
    class Service:
        address: str = given(ADDRESS, about="Where clients reach the service.")
        http: int = number(80, 1, 65535)
        tls: bool = flag(True)

A field that is a flag, a `Literal` or another such dataclass needs no rule: its type is one.
"""

from __future__ import annotations

import dataclasses
import json
import re
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from salina_fleet.schema.document import join
from salina_fleet.schema.faults import Faults, invalid
from salina_fleet.schema.rules import (
    REQUIRED,
    Choice,
    Flag,
    Key,
    ListOf,
    MappingOf,
    Name,
    Nullable,
    Number,
    Parsed,
    Reading,
    Record,
    Rule,
    Text,
    Unfit,
)

Scalar = str | int | float | bool
T = TypeVar("T")

DURATION = r"[0-9]{1,6}(ms|s|m|h)"
VOLUME = Name(
    r"[a-z][a-z0-9_]{0,30}",
    "a name of letters, digits and _",
    reserved="all|help",
    reason="it is a word of the command gluster",
)
PATH = r"(/(?!\.\.?(/|\Z))[A-Za-z0-9._-]+)+"
"""An absolute path that is written without `.` and `..`."""
TAKEN = (
    *("bin", "boot", "dev", "etc", "lib", "lib32", "lib64", "libx32", "lost[+]found", "proc"),
    *(
        "home",
        "root",
        "run",
        "sbin",
        "sys",
        "tmp",
        "usr",
        "var/run",
        "var/lock",
        "var/tmp",
        "var/log",
    ),
    *("var/lib/(dpkg|apt|systemd|salt|glusterd|postgresql|etcd|salina|odoo|node|ucf|dbus|pam)",),
    *("var/cache/(apt|debconf|salt|nginx)", "opt/(odoo|node|patroni)", "srv/salina"),
)
"""Directories of the system, of its packages or of Salina: nothing else is in them. Our services do
not see those of users (ProtectHome)."""
PARENTS = "media|mnt|opt|srv|var(/(backups|cache|lib|local|mail|opt|spool|www))?"
"""Directories that have those of several owners: one of them may be given, but not they."""
DIRECTORY = Text(
    rf"(?!/({'|'.join(TAKEN)})(/|\Z))(?!/({PARENTS})\Z){PATH}",
    "an absolute path without . and .., outside of the system's own directories",
)
ANY = Text(r"[\s\S]*", "text")
PLAIN = Text(r"[\s\S]*", "a plain value", others=(int, float, bool))


def given(
    rule: Rule | None = None,
    default: Any = REQUIRED,
    *,
    key: str = "",
    about: str = "",
    only: tuple[str, str] | None = None,
) -> Any:
    """Return a field of a dataclass: a value that the data gives.

    Args:
        rule: what it may be; None: what its type says.
        default: its value when it is left out; a field without one is required.
        key: its key in the data, when that is not the field's name.
        about: what it means, in English, for the documentation.
        only: another key and a value of it: only with that value is this key known, and required.
    """
    metadata = {"rule": rule, "key": key, "about": about, "only": only}
    if default is REQUIRED:
        return field(metadata=metadata)
    if isinstance(default, dict):
        return field(default_factory=default.copy, metadata=metadata)
    return field(default=default, metadata=metadata)


def named() -> Any:
    """Return a field of a dataclass: the name under which the record is in a mapping."""
    return field(metadata={"named": True})


def derived(default: Any) -> Any:
    """Return a field of a dataclass: a value that the data does not give."""
    return field(default=default, metadata={"derived": True})


def flag(default: bool, about: str = "") -> Any:
    """Return a field: true or false."""
    return given(default=default, about=about)


def number(default: int | None, low: int, high: int, about: str = "") -> Any:
    """Return a field: a whole number from `low` to `high`; with default None also null."""
    return given(_or_null(Number(low, high), default), default, about=about)


def text(default: str | None, pattern: str, words: str, about: str = "") -> Any:
    """Return a field: text that matches `pattern`, which `words` describe.

    With default None null is allowed, too.
    """
    return given(_or_null(Text(pattern, words), default), default, about=about)


SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
"""The seconds of each unit of a duration."""


MOST_MILLISECONDS = 2**31 - 1
"""HAProxy keeps durations as milliseconds in 32 bits: 24.8 days."""


def duration(default: str, about: str = "", zero: bool = False) -> Any:
    """Return a field: a duration such as 500ms or 5s, as HAProxy takes it.

    Args:
        default: its default.
        about: what it means, in English.
        zero: whether 0s is allowed: HAProxy refuses it for checks, and would wait for ever.
    """

    def read(text: str) -> str:
        fits = re.fullmatch(DURATION, text)
        if not fits or not (not zero) <= round(seconds(text) * 1000) <= MOST_MILLISECONDS:
            raise Unfit
        return text

    words = f"a duration such as 500ms or 5s, from {'0s' if zero else '1ms'} to 596h"
    return given(Parsed(read, words), default, about=about)


def seconds(duration: str) -> float:
    """Return a duration in seconds: 0.5 for 500ms."""
    unit = duration.lstrip("0123456789")
    return int(duration.removesuffix(unit)) * SECONDS[unit]


def path(default: str, about: str = "") -> Any:
    """Return a field: the path of a directory that belongs to the fleet alone."""
    return given(DIRECTORY, default, about=about)


def nested(paths: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Yield each directory that is another one, inside it or around it: the key, and the message.

    Args:
        paths: the keys, each with its directory.
    """
    before: list[tuple[str, str]] = []
    for key, directory in paths:
        for other, there in before:
            if f"{directory}/".startswith(f"{there}/") or f"{there}/".startswith(f"{directory}/"):
                yield key, invalid(directory, f"neither inside nor around {other}: {there}")
                break
        before.append((key, directory))


def values(
    default: Mapping[str, Scalar],
    about: str = "",
    name: Rule = ANY,
    value: Rule = PLAIN,
    judge: Callable[[str, Any], str | None] = lambda name, value: None,
) -> Any:
    """Return a field: a mapping of names to plain values, which are added to the default's.

    Args:
        default: the values that are there without being given.
        about: what it means, in English.
        name: the rule for each name.
        value: the rule for each value.
        judge: what judges a sound value beside its name: it returns a message, or None.
    """
    words = "a mapping of names to plain values"
    rule = MappingOf(name, value, words, base=default, judge=judge)
    return given(rule, dict(default), about=about)


def _or_null(rule: Rule, default: object) -> Rule:
    return Nullable(rule) if default is None else rule


_RECORDS: dict[type[Any], Record] = {}
"""The rules that `record` has made already."""


def record(kind: type[Any]) -> Record:
    """Return the rule that a dataclass declares."""
    if kind not in _RECORDS:
        _RECORDS[kind] = Record(_keys(kind), kind)
    return _RECORDS[kind]


def _keys(kind: type[Any]) -> dict[str, Key]:
    hints = get_type_hints(kind)
    keys: dict[str, Key] = {}
    for item in dataclasses.fields(kind):
        if item.metadata.get("derived"):
            continue
        if item.metadata.get("named"):
            keys[item.name] = Key("", ANY, "")
            continue
        default: Any = REQUIRED
        if item.default is not dataclasses.MISSING:
            default = item.default
        elif item.default_factory is not dataclasses.MISSING:
            default = item.default_factory
        keys[item.name] = Key(
            item.metadata.get("key") or item.name,
            item.metadata.get("rule") or _rule(hints[item.name]),
            default,
            item.metadata.get("about", ""),
            item.metadata.get("only"),
        )
    return keys


def _rule(hint: Any) -> Rule:
    """Return the rule that a type alone makes."""
    if get_origin(hint) in (Union, types.UnionType):
        hint = get_args(hint)[0]
    if get_origin(hint) is Literal:
        return Choice(get_args(hint))
    if hint is bool:
        return Flag()
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return record(hint)
    raise TypeError(f"{hint} needs a rule")


def read(kind: type[T], data: object, before: Iterable[str] = ()) -> tuple[T, Faults]:
    """Return what `data` gives as a `kind`, and all its faults.

    Values with a fault are left out: rules across fields can be judged on the rest, where
    `Faults.sound` says that there is no fault.

    Args:
        kind: a dataclass of this module's declarations.
        data: plain data, as `document.read` returns it.
        before: the faults that were found while the file was read.
    """
    faults = Faults(before)
    return record(kind).read(data, None, Reading(data, faults)), faults


@dataclass(frozen=True)
class Entry:
    """A key as the documentation shows it.

    Attributes:
        path: where it is: `hosts.NAME.roles`.
        words: what is allowed: "a number from 1 to 65535".
        default: its default as JSON, "none", or when it is required: "required with kind odoo".
        about: what it means.
    """

    path: str
    words: str
    default: str
    about: str


def describe(declared: type[Any] | Record, path: str = "") -> Iterator[Entry]:
    """Return every key that a dataclass or its rule declares, each before the keys of its parts."""
    yield from _inside(declared if isinstance(declared, Record) else record(declared), path)


def _inside(rule: Rule, path: str) -> Iterator[Entry]:
    if isinstance(rule, Nullable):
        yield from _inside(rule.rule, path)
    elif isinstance(rule, ListOf):
        yield from _inside(rule.item, f"{path}[]")
    elif isinstance(rule, MappingOf):
        yield from _inside(rule.value, join(path, "NAME"))
    elif isinstance(rule, Record):
        for key in rule.keys.values():
            if key.name:
                here = join(path, key.name)
                yield Entry(here, key.rule.words, _default(key), key.about)
                yield from _inside(key.rule, here)


def _default(key: Key) -> str:
    if key.only is not None:
        return f"required with {' '.join(key.only)}"
    if key.default is REQUIRED:
        return "required"
    if key.value is None and not isinstance(key.rule, Nullable):
        return "none"
    return "{}" if isinstance(key.rule, Record) else json.dumps(key.value, default=_written)


def _written(value: Any) -> dict[str, Any]:
    """Return a record of a default as an operator would write it: without its own defaults."""
    keys = _keys(type(value))
    found = {key.name: (getattr(value, name), key.default) for name, key in keys.items()}
    return {name: one for name, (one, default) in found.items() if one != default}

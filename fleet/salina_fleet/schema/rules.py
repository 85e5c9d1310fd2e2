"""Rules: what is allowed in one place of the data, said to the program and in English.

Each rule reads plain data into the value it stands for, and describes itself in `words`, which
fit after "must be". A fault is recorded and reading goes on, so all faults are found at once.
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from salina_fleet.schema.document import Misread, ambiguous, not_text, show
from salina_fleet.schema.faults import (
    Faults,
    Place,
    invalid,
    missing,
    not_among,
    path_of,
    quote,
    repeated,
    unknown,
)

FAULTY: Any = object()
"""The result of a rule for a value with a fault: lists and mappings leave it out."""
REQUIRED: Any = object()
"""The default of a field that has none."""


class Reading:
    """One reading of a whole: its faults, and the names that its parts declare."""

    def __init__(self, data: object, faults: Faults) -> None:
        self.faults = faults
        self._data: Mapping[Any, Any] = data if isinstance(data, dict) else {}
        self._names: dict[str, dict[str, None]] = {}

    def fault(self, place: Place, message: str) -> Any:
        """Record a fault; return FAULTY."""
        self.faults.add(path_of(place), message)
        return FAULTY

    def names(self, part: str) -> dict[str, None]:
        """Return the names that the data's own mapping `part` declares, in their order."""
        if part not in self._names:
            content = self._data.get(part)
            keys = content if isinstance(content, dict) else {}
            self._names[part] = dict.fromkeys(key for key in keys if isinstance(key, str))
        return self._names[part]


class Rule:
    """The values that are allowed in one place.

    Attributes:
        words: what is allowed, in English: "a number from 1 to 65535".
        blank: what stands in a partial result for a required value with a fault.
    """

    words: str
    blank: Any = None

    def read(self, value: Any, place: Place, reading: Reading) -> Any:
        """Return what `value` means, or FAULTY after recording why it is not allowed."""
        raise NotImplementedError


class Number(Rule):
    """A whole number within limits."""

    blank = 0

    def __init__(self, low: int, high: int) -> None:
        self.low, self.high = low, high
        self.words = f"a number from {low} to {high}" if low < high else str(low)

    def read(self, value: Any, place: Place, reading: Reading) -> Any:
        if type(value) is int and self.low <= value <= self.high:
            return value
        if isinstance(value, Misread) and type(value.value) is int:
            words = f"{self.words}, in plain decimal digits"
            return reading.fault(place, invalid(value, words))
        return reading.fault(place, invalid(value, self.words))


class Flag(Rule):
    """True or false."""

    words = "true or false"
    blank = False

    def read(self, value: Any, place: Place, reading: Reading) -> Any:
        value = _boolean(value)
        if isinstance(value, bool):
            return value
        return reading.fault(place, invalid(value, self.words))


def _boolean(value: Any) -> Any:
    """Return true for YAML's other words for it (yes, on, True), likewise false, else the value."""
    return value.value if isinstance(value, Misread) and type(value.value) is bool else value


def _written(value: Any) -> str | None:
    """Return how a number or a boolean was written; None for everything else."""
    if isinstance(value, Misread):
        return value.written
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, (int, float)) and abs(value) < 1e18 else None


class Text(Rule):
    """Text that matches a pattern as a whole.

    Args:
        pattern: the regular expression.
        words: what it allows, in English.
        reserved: a pattern of texts that are not allowed all the same.
        reason: why they are not, in English, after "because".
        others: types of plain values that are allowed beside text.
    """

    blank = ""

    def __init__(
        self,
        pattern: str,
        words: str,
        reserved: str = "",
        reason: str = "",
        others: tuple[type, ...] = (),
    ) -> None:
        self.words = words
        self.reason = reason
        self.others = others
        self._fits = re.compile(pattern).fullmatch
        self._reserved = re.compile(reserved or r"(?!)").fullmatch

    def read(self, value: Any, place: Place, reading: Reading) -> Any:
        plain = _boolean(value) if bool in self.others else value
        if type(plain) in self.others and (type(plain) is not float or math.isfinite(plain)):
            return plain
        written = _written(value)
        if written is not None and self._fits(written):
            return reading.fault(place, quote(value, written))
        if not isinstance(value, str) or not self._fits(value):
            return reading.fault(place, invalid(value, self.words))
        if self._reserved(value):
            message = f"{show(value)} is reserved, because {self.reason}; choose another one"
            return reading.fault(place, message)
        return value


class Name(Text):
    """Text that names something, which neither YAML nor the resolver reads as something else.

    A name is also in files, commands and addresses of other programs, where nothing quotes it.
    """

    def read(self, value: Any, place: Place, reading: Reading) -> Any:
        found = super().read(value, place, reading)
        if found is FAULTY or not ambiguous(found):
            return found
        words = "YAML or the resolver reads this name as a number, a date, true, false or nothing"
        message = f"{show(value)} is not valid, because {words}; choose another one"
        return reading.fault(place, message)


class Choice(Rule):
    """One of some texts; `noun` says what each of them is: "a role"."""

    blank = ""

    def __init__(self, choices: Iterable[str], noun: str = "valid") -> None:
        self.choices = tuple(choices)
        self.noun = noun
        self.words = f"one of {', '.join(self.choices)}"

    def read(self, value: Any, place: Place, reading: Reading) -> Any:
        # `off` is the boolean for YAML, but here the word itself is among the choices
        found = _written(value) or value
        if isinstance(found, str) and found in self.choices:
            return found
        return reading.fault(place, not_among(value, self.choices, self.noun))


class Reference(Rule):
    """A name that another part of the data declares: `part` is that part, `noun` "a network"."""

    blank = ""

    def __init__(self, part: str, noun: str) -> None:
        self.part = part
        self.noun = noun
        self.words = f"the name of {noun}, from {part}"

    def read(self, value: Any, place: Place, reading: Reading) -> Any:
        names = reading.names(self.part)
        if isinstance(value, str) and value in names:
            return value
        written = _written(value)
        if written in names:
            return reading.fault(place, quote(value, str(written)))
        return reading.fault(place, not_among(value, names, self.noun))


class Unfit(Exception):
    """Raised by the function of `Parsed`; its text, if any, follows the value: what is wrong."""


class Parsed(Rule):
    """Text that a function understands: it returns what the text means, or raises Unfit."""

    blank = ""

    def __init__(self, function: Callable[[str], Any], words: str) -> None:
        self.function = function
        self.words = words

    def read(self, value: Any, place: Place, reading: Reading) -> Any:
        message = invalid(value, self.words)
        if isinstance(value, str):
            try:
                return self.function(value)
            except Unfit as unfit:
                message = f"{show(value)} {unfit}" if str(unfit) else message
        elif (written := _written(value)) is not None and self._understands(written):
            message = quote(value, written)
        return reading.fault(place, message)

    def _understands(self, text: str) -> bool:
        try:
            self.function(text)
        except Unfit:
            return False
        return True


class Nullable(Rule):
    """The values that another rule allows, or null."""

    def __init__(self, rule: Rule) -> None:
        self.rule = copy.copy(rule)
        self.rule.words = self.words = f"{rule.words}, or null"

    def read(self, value: Any, place: Place, reading: Reading) -> Any:
        return None if value is None else self.rule.read(value, place, reading)


class ListOf(Rule):
    """A list, read as a tuple.

    Args:
        item: the rule for each item.
        least: how many items there must be, 0 or 1.
        once: whether each item must be different from the others.
        order: what puts the items into order; by default they keep the file's.
    """

    blank = ()

    def __init__(
        self,
        item: Rule,
        least: int = 1,
        once: bool = True,
        order: Callable[[tuple[Any, ...]], tuple[Any, ...]] | None = None,
    ) -> None:
        self.item = item
        self.least = least
        self.once = once
        self.order = order
        self.words = f"a list of {'one or more ' if least else ''}items, each {item.words}"

    def read(self, value: Any, place: Place, reading: Reading) -> Any:
        if not isinstance(value, list) or len(value) < self.least:
            return reading.fault(place, invalid(value, self.words))
        found: list[Any] = []
        seen: set[Any] = set()
        for number, item in enumerate(value):
            here = (place, number)
            result = self.item.read(item, here, reading)
            if result is FAULTY:
                continue
            if self.once:
                if result in seen:
                    reading.fault(here, repeated(item))
                    continue
                seen.add(result)
            found.append(result)
        return self.order(tuple(found)) if self.order else tuple(found)


class MappingOf(Rule):
    """A mapping of names to values.

    An entry whose name has a fault stays, so that it is still judged with the others; an entry
    whose value has one is left out.

    Args:
        name: the rule for each name.
        value: the rule for each value.
        words: what the mapping is, in English.
        least: how many entries there must be, 0 or 1.
        base: entries that are there without being given; a given one replaces its namesake.
        judge: what judges a sound value beside its name: it returns a message, or None.
        make: what turns the entries into the result; by default they stay a dict.
    """

    def __init__(
        self,
        name: Rule,
        value: Rule,
        words: str = "a mapping",
        least: int = 0,
        base: Mapping[str, Any] | None = None,
        make: Callable[[dict[str, Any]], Any] = dict,
        judge: Callable[[str, Any], str | None] = lambda name, value: None,
    ) -> None:
        self.judge = judge
        self.name = name
        self.value = value
        self.words = words
        self.least = least
        self.base = base or {}
        self.make = make
        self.blank = make({})

    def read(self, value: Any, place: Place, reading: Reading) -> Any:
        few = isinstance(value, Mapping) and len(value) < self.least
        if few and not reading.faults.sound(path_of(place)):
            return self.blank  # a key that is not text is known already
        if few or not isinstance(value, Mapping):
            return reading.fault(place, invalid(value, self.words))
        found = dict(self.base)
        for name, item in texts(value, place, reading):
            here = (place, name)
            named = self.name.read(name, here, reading)
            result = self.value.read(item, here, reading)
            if result is FAULTY:
                continue
            message = None if named is FAULTY else self.judge(name, result)
            if message is None:
                found[name] = result
            else:
                reading.fault(here, message)
        return self.make(found)


def texts(value: Mapping[Any, Any], place: Place, reading: Reading) -> Iterable[tuple[str, Any]]:
    """Return the entries of a mapping whose keys are text; any other key is a fault."""
    if not all(isinstance(key, str) for key in value):
        for key in value:
            if not isinstance(key, str):
                reading.fault(place, not_text(key))
        return [(key, item) for key, item in value.items() if isinstance(key, str)]
    return value.items()


@dataclass(frozen=True)
class Key:
    """A key of a record.

    Attributes:
        name: the key in the data; empty for a field that has the name under which the record is
            in a mapping.
        rule: what its value may be.
        default: its value when it is left out, or a function that makes it; REQUIRED: none.
        about: what it means, in English.
        only: another key and the value of it without which this key is unknown, and with which
            it is required.
    """

    name: str
    rule: Rule
    default: Any = REQUIRED
    about: str = ""
    only: tuple[str, str] | None = None

    @property
    def value(self) -> Any:
        """The default itself."""
        return self.default() if callable(self.default) else self.default

    @property
    def stand_in(self) -> Any:
        """The replacement for a value with a fault in a partial result."""
        return self.rule.blank if self.default is REQUIRED else self.value


class Record(Rule):
    """A mapping with these keys and no others, each with a rule of its own.

    Whatever is read, the result is a whole record: what has a fault stands there as its default.

    Args:
        keys: the attribute of the result -> its key.
        make: what makes the result of the attributes.
    """

    words = "a mapping"

    def __init__(self, keys: Mapping[str, Key], make: Callable[..., Any]) -> None:
        self.keys = dict(keys)
        self.make = make
        self.blank = self._blank("")

    def _blank(self, named: object) -> Any:
        return self.make(
            **{
                attribute: key.stand_in if key.name else named
                for attribute, key in self.keys.items()
            }
        )

    def read(self, value: Any, place: Place, reading: Reading) -> Any:
        named = place[1] if place else ""
        if not isinstance(value, dict):
            reading.fault(place, invalid(value, self.words))
            return self._blank(named)
        given = dict(texts(value, place, reading))
        known: list[str] = []
        faulty: set[str] = set()
        found: dict[str, Any] = {}
        for attribute, key in self.keys.items():
            name = key.name
            if not name:
                found[attribute] = named
                continue
            required = key.default is REQUIRED
            if key.only is not None:
                other, wanted = key.only
                required = given.get(other) == wanted
                if not required:
                    if other in faulty:  # whose key it is cannot be said: nothing is judged
                        known.append(name)
                    found[attribute] = key.value
                    continue
            known.append(name)
            if name in given:
                result = key.rule.read(given[name], (place, name), reading)
                if result is FAULTY:
                    faulty.add(name)
                    result = key.stand_in
            elif required:
                reading.fault((place, name), missing(key.rule.words))
                faulty.add(name)
                result = key.stand_in
            else:
                result = key.value
            found[attribute] = result
        if not given.keys() <= set(known):
            for name in given:
                if name not in known:
                    reading.fault((place, name), unknown(known))
        return self.make(**found)

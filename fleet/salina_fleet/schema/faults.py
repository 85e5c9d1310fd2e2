"""Faults of data: where each one is, and the few phrases that every fault is told in.

A fault says where, what was found, what is allowed and what to do next:
`hosts.nas2.roles[0]: "stroage" is not a role; choose one of: master, firewall`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from itertools import islice

from salina_fleet.schema.document import join, rest, show

Place = tuple["Place", str | int] | None
"""A place in the data: its parent's place and its key or number (None: the whole).

The text of a path is made only for a fault, so a good file costs none.
"""
CHOICES = 40
"""The most choices that a message lists."""


def path_of(place: Place) -> str:
    """Return a place as text: `node.once[0].name`."""
    if place is None:
        return ""
    parent, key = place
    return f"{path_of(parent)}[{key}]" if isinstance(key, int) else join(path_of(parent), key)


def invalid(value: object, words: str) -> str:
    """Return the message for a value that is not allowed; `words` say what is."""
    return f"{'empty' if value is None else f'{show(value)} is not valid'}; must be {words}"


def quote(value: object, written: str) -> str:
    """Return the message for a text that YAML reads as something else, and what to do."""
    return f"{show(value)} is not text; quote it: {json.dumps(written)}"


def not_among(value: object, choices: Iterable[str], noun: str = "valid") -> str:
    """Return the message for a value that is none of the `choices`; `noun`: "a role"."""
    found = "empty" if value is None else f"{show(value)} is not {noun}"
    return f"{found}; {choose(choices)}"


def choose(choices: Iterable[str]) -> str:
    """Return what to do about a missing or wrong value: choose one of these."""
    known = choices if isinstance(choices, Collection) else tuple(choices)
    names = ", ".join(islice(known, CHOICES))
    more = "".join(f" {one}" for one in rest(known, CHOICES))
    return f"choose one of: {names}{more}" if names else "there is none to choose from"


def missing(words: str) -> str:
    """Return the message for a value that is not there."""
    return f"missing; must be {words}"


def unknown(known: Iterable[str], noun: str = "key") -> str:
    """Return the message for a key that means nothing here."""
    return f"unknown {noun}; {choose(known)}"


def repeated(value: object) -> str:
    """Return the message for an item that is in the list already."""
    return f"{show(value)} is repeated; must be listed once"


class Faults:
    """The faults found so far, and where: a path without one is sound.

    Args:
        before: faults that were found while the file was read, as lines.
    """

    def __init__(self, before: Iterable[str] = ()) -> None:
        self.lines: list[str] = []
        self.paths: set[str] = set()
        self._above: set[str] = set()
        for line in before:
            path, _, message = line.partition(": ")
            self.add(path, message)

    def add(self, path: str, message: str) -> None:
        """Record a fault at a path. An empty path is the whole, whose parts stay sound."""
        self.lines.append(f"{path}: {message}" if path and message else path or message)
        self.paths.add(path)
        self._above.update(path[:end] for end, letter in enumerate(path) if letter in ".[")

    def sound(self, path: str) -> bool:
        """Return whether no fault is at this path, above it or below it."""
        if not self.paths:
            return True
        parents = (path[:end] for end, letter in enumerate(path) if letter == ".")
        return not (
            path in self.paths
            or path in self._above
            or any(parent in self.paths for parent in parents)
        )

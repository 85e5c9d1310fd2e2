"""The schema: what a declaration allows, all its faults at once, and what it says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from salina_fleet.model.definition import RULE, Definition
from salina_fleet.model.settings import COMPONENTS
from salina_fleet.model.topology import Topology
from salina_fleet.schema.declare import (
    DIRECTORY,
    derived,
    describe,
    duration,
    given,
    named,
    number,
    path,
    read,
    record,
    text,
    values,
)
from salina_fleet.schema.faults import Faults
from salina_fleet.schema.rules import (
    REQUIRED,
    Choice,
    ListOf,
    MappingOf,
    Nullable,
    Record,
    Reference,
    Text,
)

WORD = Text(r"[a-z]+", "a word", reserved="root|admin", reason="the system uses it")


@dataclass(frozen=True)
class Tool:
    name: str = named()
    weight: int = number(REQUIRED, 1, 9, about="In kilograms.")
    kind: Literal["hand", "power"] = "hand"
    owner: str | None = given(Reference("people", "a person"), None)
    copies: int = derived(1)


@dataclass(frozen=True)
class Lamp:
    watts: int = number(5, 1, 100)


@dataclass(frozen=True, kw_only=True)
class Shed:
    people: tuple[str, ...] = given(MappingOf(WORD, WORD, make=tuple), {})
    tools: Mapping[str, Tool] = given(MappingOf(WORD, record(Tool), "a mapping of tools", least=1))
    door: str = given(Choice(("left", "right"), "a side"))
    lamp: Lamp | None = given(Nullable(record(Lamp)), None)
    locked: bool = False
    colours: tuple[str, ...] = given(ListOf(WORD, order=lambda words: tuple(sorted(words))), ())
    pause: str = duration("5s")
    place: str = path("/shed")
    note: str | None = text(None, r"\S*", "one word", about="For whoever comes next.")
    extra: dict[str, Any] = values({"a": 1, "b": 2})
    left: Lamp | None = given(default=None, only=("door", "left"))


GOOD: dict[str, Any] = {"tools": {"saw": {"weight": 2}}, "door": "right"}


def test_defaults() -> None:
    shed, faults = read(Shed, GOOD)
    assert faults.lines == []
    assert shed == Shed(tools={"saw": Tool("saw", 2)}, door="right", people={})  # type: ignore[arg-type]
    assert shed.extra == {"a": 1, "b": 2}


def test_what_is_given() -> None:
    data = GOOD | {
        "people": {"ann": "x"},
        "tools": {"drill": {"weight": 3, "kind": "power", "owner": "ann"}},
        "lamp": {"watts": 7},
        "colours": ["red", "blue"],
        "note": None,
        "extra": {"b": "two"},
    }
    shed, faults = read(Shed, data)
    assert faults.lines == []
    assert shed.people == ("ann",)
    assert shed.tools == {"drill": Tool("drill", 3, "power", "ann")}
    assert (shed.lamp, shed.colours, shed.note) == (Lamp(7), ("blue", "red"), None)
    assert shed.extra == {"a": 1, "b": "two"}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"tools": {}}, "tools: an empty mapping is not valid; must be a mapping of tools"),
        ({"tools": None}, "tools: empty; must be a mapping of tools"),
        ({"tools": {"saw": []}}, "tools.saw: an empty list is not valid; must be a mapping"),
        ({"tools": {"saw": {}}}, "tools.saw.weight: missing; must be a number from 1 to 9"),
        (
            {"tools": {"saw": {"weight": True}}},
            "tools.saw.weight: true is not valid; must be a number from 1 to 9",
        ),
        (
            {"tools": {"saw": {"weight": 1, "kind": 5}}},
            "tools.saw.kind: 5 is not valid; choose one of: hand, power",
        ),
        (
            {"tools": {"saw": {"weight": 1, "owner": "bob"}}, "people": {"ann": "x"}},
            'tools.saw.owner: "bob" is not a person; choose one of: ann',
        ),
        (
            {"tools": {"saw": {"weight": 1, "owner": None}}},
            "tools.saw.owner: empty; there is none to choose from",
        ),
        (
            {"tools": {"saw": {"weight": 1, "copies": 2}}},
            "tools.saw.copies: unknown key; choose one of: weight, kind, owner",
        ),
        ({"tools": {"S 1": {"weight": 1}}}, 'tools."S 1": "S 1" is not valid; must be a word'),
        (
            {"tools": {"root": {"weight": 1}}},
            'tools.root: "root" is reserved, because the system uses it; choose another one',
        ),
        (
            {"tools": {7: {}, "saw": {"weight": 1}}},
            "tools: a key is 7; keys must be text, so quote it",
        ),
        ({"door": "front"}, 'door: "front" is not a side; choose one of: left, right'),
        ({"door": "left"}, "left: missing; must be a mapping"),
        (
            {"left": {}},
            "left: unknown key; choose one of: people, tools, door, lamp, locked, colours, pause, "
            "place, note, extra",
        ),
        ({"lamp": 3}, "lamp: 3 is not valid; must be a mapping, or null"),
        ({"locked": "no"}, 'locked: "no" is not valid; must be true or false'),
        (
            {"colours": "red"},
            'colours: "red" is not valid; must be a list of one or more items, each a word',
        ),
        ({"colours": ["red", 1]}, "colours[1]: 1 is not valid; must be a word"),
        ({"colours": ["red", "red"]}, 'colours[1]: "red" is repeated; must be listed once'),
        (
            {"pause": "5"},
            'pause: "5" is not valid; must be a duration such as 500ms or 5s, from 1ms to 596h',
        ),
        ({"place": "shed"}, f'place: "shed" is not valid; must be {DIRECTORY.words}'),
        ({"note": "a b"}, 'note: "a b" is not valid; must be one word, or null'),
        ({"extra": {"a": None}}, "extra.a: empty; must be a plain value"),
    ],
)
def test_fault(change: dict[str, Any], fault: str) -> None:
    _, faults = read(Shed, GOOD | change)
    assert faults.lines == [fault]


def test_all_faults_at_once_and_what_is_sound() -> None:
    """An invalid value is left out, replaced by its default, or blank; the rest is there."""
    data = {
        "tools": {"saw": {"weight": 0, "kind": "hand"}, "axe": {"weight": 3}},
        "colours": ["red", 4],
        "pause": 7,
        "more": 1,
    }
    shed, faults = read(Shed, data, ['line 1: a tag ("!x"); must be a plain value'])
    assert [line.partition(": ")[0] for line in faults.lines] == [
        "line 1",
        "tools.saw.weight",
        "door",
        "colours[1]",
        "pause",
        "more",
    ]
    assert shed.tools == {"saw": Tool("saw", 0), "axe": Tool("axe", 3)}
    assert (shed.door, shed.colours, shed.pause) == ("", ("red",), "5s")
    assert not faults.sound("tools") and not faults.sound("tools.saw")
    assert faults.sound("tools.axe") and faults.sound("tools.saw.kind")
    assert not faults.sound("pause.unit") and not faults.sound("colours")


def test_whose_key_it_is_cannot_be_said() -> None:
    """A key that depends on another one is not judged when that one has a fault."""
    _, faults = read(Shed, GOOD | {"door": "front", "left": {"watts": 0}})
    assert faults.lines == ['door: "front" is not a side; choose one of: left, right']


def test_no_mapping_at_all() -> None:
    shed, faults = read(Shed, ["tools"])
    assert faults.lines == ["a list is not valid; must be a mapping"]
    assert shed.tools == {}


def test_a_sound_place_is_found_fast() -> None:
    """With a fault in each of many places the question stays as cheap as the path is long."""
    faults = Faults(f"hosts.h{n}.roles[0]: x" for n in range(1000))
    assert not faults.sound("hosts") and not faults.sound("hosts.h1")
    assert not faults.sound("hosts.h1.roles") and not faults.sound("hosts.h1.roles[0]")
    assert faults.sound("hosts.h1.addresses") and faults.sound("hosts.h") and faults.sound("pools")


def test_it_describes_itself() -> None:
    found = {entry.path: entry for entry in describe(Shed)}
    assert list(found)[:5] == [
        "people",
        "tools",
        "tools.NAME.weight",
        "tools.NAME.kind",
        "tools.NAME.owner",
    ]
    weight, note, left = found["tools.NAME.weight"], found["note"], found["left"]
    assert (weight.words, weight.default, weight.about) == (
        "a number from 1 to 9", "required", "In kilograms.",
    )  # fmt: skip
    assert (note.words, note.default, note.about) == (
        "one word, or null", "null", "For whoever comes next.",
    )  # fmt: skip
    assert (left.default, found["tools.NAME.owner"].default) == ("required with door left", "none")
    assert found["extra"].default == '{"a": 1, "b": 2}'


@pytest.mark.parametrize("kind", [Topology, Definition, RULE, *COMPONENTS.values()])
def test_every_model_describes_itself(kind: type[Any] | Record) -> None:
    entries = list(describe(kind))
    assert len({entry.path for entry in entries}) == len(entries) > 0
    assert all(entry.words and entry.default for entry in entries)

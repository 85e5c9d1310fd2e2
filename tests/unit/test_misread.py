"""Values that YAML reads as something else than an operator wrote."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from salina_fleet.schema import document
from salina_fleet.schema.declare import (
    Scalar,
    flag,
    given,
    named,
    number,
    read,
    record,
    text,
    values,
)
from salina_fleet.schema.document import DataError, Misread
from salina_fleet.schema.rules import ListOf, MappingOf, Name, Parsed, Reference, Text, Unfit

NAME = Name(r"[a-z0-9-]+", "a name")


def _short(written: str) -> str:
    if len(written) > 3:
        raise Unfit
    return written


@dataclass(frozen=True)
class Part:
    name: str = named()


@dataclass(frozen=True)
class Whole:
    """One field of each rule."""

    port: int = number(1, 0, 65535)
    tls: bool = flag(False)
    logging: Literal["off", "low"] = given(default="low")
    revision: str = text("", r"[A-Za-z0-9.:]*", "a revision")
    short: str = given(Parsed(_short, "three letters"), "")
    plain: dict[str, Scalar] = values({})
    words: tuple[str, ...] = given(ListOf(Text(r"\S+", "a word"), least=0), ())
    parts: dict[str, Part] = given(MappingOf(NAME, record(Part)), {})
    part: str = given(Reference("parts", "a part"), "")


def faults(written: str) -> list[str]:
    """Return the faults of a text of YAML."""
    return read(Whole, document.loads(written, "x"))[1].lines


def test_k5_a_key_that_yaml_changes() -> None:
    """K5: a key that is not a text for YAML is refused with the same advice."""
    with pytest.raises(DataError) as caught:
        document.loads("plain: {no: 1}", "x")
    assert caught.value.faults == (
        "plain: a key is no (false in YAML); keys must be text, so quote it",
    )


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("80", 80),
        ("-1", -1),
        ("1.5", 1.5),
        ("true", True),
        ("null", None),
        ("~", None),
        ("010", Misread("010", 8)),
        ("0123", Misread("0123", 83)),
        ("0x1F", Misread("0x1F", 31)),
        ("0b11", Misread("0b11", 3)),
        ("1_000", Misread("1_000", 1000)),
        ("+5", Misread("+5", 5)),
        ("12:30:00", Misread("12:30:00", 45_000)),
        ("1:20", Misread("1:20", 80)),
        ("1.10", Misread("1.10", 1.1)),
        ("1.0e+3", Misread("1.0e+3", 1000.0)),
        ("yes", Misread("yes", True)),
        ("off", Misread("off", False)),
        ("True", Misread("True", True)),
        ("2026-01-01", "2026-01-01"),
        ('"010"', "010"),
        (".inf", math.inf),
    ],
)
def test_k5_a_value_remembers_how_it_was_written(written: str, found: Any) -> None:
    """K5: `010` is not the number 8, but `80` is 80."""
    result = document.loads(written, "x")
    assert result == found and type(result) is type(found)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (
            "port: 010",
            "port: 010 (8 in YAML) is not valid; must be a number from 0 to 65535, in plain "
            "decimal digits",
        ),
        (
            "port: 1:20",
            "port: 1:20 (80 in YAML) is not valid; must be a number from 0 to 65535, in plain "
            "decimal digits",
        ),
        (
            "port: 80.0",
            "port: 80.0 is not valid; must be a number from 0 to 65535",
        ),
        ("revision: 19.0", 'revision: 19.0 is not text; quote it: "19.0"'),
        ("revision: 1.10", 'revision: 1.10 (1.1 in YAML) is not text; quote it: "1.10"'),
        (
            "revision: 12:30:00",
            'revision: 12:30:00 (45000 in YAML) is not text; quote it: "12:30:00"',
        ),
        ("revision: on", 'revision: on (true in YAML) is not text; quote it: "on"'),
        ("short: 1.0", 'short: 1.0 is not text; quote it: "1.0"'),
        ("short: 1000", "short: 1000 is not valid; must be three letters"),
        ("words: [a, 0x1F]", 'words[1]: 0x1F (31 in YAML) is not text; quote it: "0x1F"'),
        ("plain: {a: 0123}", 'plain.a: 0123 (83 in YAML) is not text; quote it: "0123"'),
        ("plain: {a: .nan}", "plain.a: nan is not valid; must be a plain value"),
        ("plain: {a: -.inf}", "plain.a: -inf is not valid; must be a plain value"),
        ("parts: {'12': {}}\npart: 12", 'part: 12 is not text; quote it: "12"'),
    ],
)
def test_k5_a_changed_value_is_refused_with_what_to_do(written: str, message: str) -> None:
    """K5: a number is written plainly, and a text that looks like one is quoted."""
    assert message in faults(written)


@pytest.mark.parametrize("written", ["off", '"off"'])
def test_k5_a_word_among_the_choices_is_that_word(written: str) -> None:
    """K5: `logging: off` means the word, although `off` is a boolean for YAML."""
    whole, found = read(Whole, document.loads(f"logging: {written}", "x"))
    assert (whole.logging, found.lines) == ("off", [])


@pytest.mark.parametrize("written", ["yes", "on", "True", "true"])
def test_k5_the_other_words_for_true_stay(written: str) -> None:
    """K5: where a boolean is meant, each of YAML's words for it is one."""
    whole, found = read(Whole, document.loads(f"tls: {written}\nplain: {{a: {written}}}", "x"))
    assert found.lines == []
    assert whole.tls is True and whole.plain["a"] is True


@pytest.mark.parametrize(
    "name",
    [
        "no",
        "yes",
        "on",
        "off",
        "null",
        "true",
        "1234",
        "010",
        "08",
        "0x1f",
        "2026-01-01",
        "1.2.3.4",
    ],
)
def test_k5_a_name_that_means_something_else(name: str) -> None:
    """K5: a name is a name for YAML and for the resolver, too."""
    assert document.ambiguous(name)


@pytest.mark.parametrize("name", ["nas1", "s10", "n", "y", "noo", "a1234", "1e3", "0x1g", "10-1-2"])
def test_k5_a_name_that_means_nothing_else(name: str) -> None:
    """K5: a name with a digit or a letter of a boolean is still a name."""
    assert not document.ambiguous(name)


def test_k5_an_ambiguous_name_is_one_line() -> None:
    """K5: the line says why."""
    assert faults("parts: {'no': {}}") == [
        'parts.no: "no" is not valid, because YAML or the resolver reads this name as a number, a '
        "date, true, false or nothing; choose another one"
    ]


@pytest.mark.parametrize(
    ("written", "fault"),
    [
        (
            r'revision: "a\ud800"',
            "revision: the text has the character U+D800, which no file can hold; remove it",
        ),
        (
            r'plain: {a: "\0"}',
            "plain.a: the text has the character U+0000, which no file can hold; remove it",
        ),
        (
            r'"a\0": 1',
            "line 1: the text has the character U+0000, which no file can hold; remove it",
        ),
    ],
)
def test_k5_a_text_that_no_file_can_hold(written: str, fault: str) -> None:
    """K5: half a character and NUL are in no file, environment or JSON of a host."""
    with pytest.raises(DataError) as caught:
        document.loads(written, "x")
    assert caught.value.faults[0] == fault

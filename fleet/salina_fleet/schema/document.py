"""YAML as Salina reads its own data files: mappings with text keys, lists and plain values.

Duplicate keys, tags, anchors and aliases are faults: an operator who writes them means
something else than what a lenient reader makes of them. Whatever the file holds, the only
exception is `DataError`, which lists every fault with its path.
"""

from __future__ import annotations

import gc
import math
import re
import socket
import sys
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from salina.common import reading
from salina.common.reading import MAX_BYTES

MAX_DEPTH = 20
"""The maximum nesting depth: PyYAML's time grows with the square of it."""
SLOW_BYTES = 200_000
"""A larger text with an error gets the fast parser's shorter explanation."""
SHOWN = 50
"""The most faults that a message lists; it counts the rest."""
LONGEST = 2000
"""The most characters of a fault; a list inside it may be long."""
SUFFIX = ".yaml"
LOCK = ".#"
"""How an editor's lock begins (Emacs): a link, which leads nowhere."""

PLAIN = "is not allowed; write a plain value"

_CONVERTED = ("null", "bool", "int", "float")
FAST = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The parser of libyaml, which a PyYAML that was built without it does not have."""
_TAG = "tag:yaml.org,2002:"


UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
"""Characters of a text that no file, environment or JSON on a host can hold."""


@dataclass(frozen=True)
class Misread:
    """A value that YAML reads as another one than was written: `010` as 8, `1.10` as 1.1.

    Attributes:
        written: the value as it was written.
        value: the number or the boolean that YAML reads.
    """

    written: str
    value: int | float | bool


class DataError(Exception):
    """A data file with faults: `source` (the file's name) and `faults` (one printable line each).

    `data`: what could be read all the same, so that its own faults can be reported with these.
    """

    def __init__(self, source: str, faults: Iterable[str], data: Any = None) -> None:
        self.source = source
        self.faults = tuple(_cut(_printable(fault)) for fault in faults)
        self.data = data
        super().__init__(source, self.faults)

    def __str__(self) -> str:
        count = "1 fault" if len(self.faults) == 1 else f"{len(self.faults)} faults"
        lines = [*self.faults[:SHOWN], *rest(self.faults, SHOWN, "faults")]
        return "\n".join([f"{self.source}: {count}", *(f"  {line}" for line in lines)])


def rest(found: Collection[object], shown: int, noun: str = "") -> list[str]:
    """Return what stands for the rest of a long list: `and 9950 more faults`, or nothing."""
    more = len(found) - shown
    return [f"and {more} more {noun}".rstrip()] if more > 0 else []


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text)} characters)"


def _printable(text: str) -> str:
    """A name from the file can hold a newline, or what a terminal obeys."""
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )


def join(path: str, key: object) -> str:
    """The path of a key inside a path: 'hosts' and 'nas1' make 'hosts.nas1'.

    A key which would make the path unreadable (a newline, a dot, a space) is quoted.
    """
    text = str(key)
    plain = text.replace("-", "").replace("_", "").isalnum() and text.isascii() and len(text) <= 70
    text = text if plain else show(text)
    return f"{path}.{text}" if path else text


def show(value: object) -> str:
    """Return what was found, fit for one line of a message: kinds by name, long texts cut."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a mapping" if value else "an empty mapping"
    if isinstance(value, (list, tuple)):
        return "a list" if value else "an empty list"
    if isinstance(value, str):
        text = _printable(value.replace("\\", "\\\\").replace('"', '\\"'))
        text = f'"{text}"'
    elif isinstance(value, Misread):
        text = f"{value.written} ({show(value.value)} in YAML)"
    elif isinstance(value, int) and value.bit_length() > 1000:
        text = f"{value:#x}"  # Python writes at most 4300 decimal digits
    else:
        text = repr(value)
    return text if len(text) <= 70 else f"{text[:60]}… ({len(text)} characters)"


def not_text(key: object) -> str:
    """Return the message for a key of a mapping that is not text."""
    advice = ", so quote it" if isinstance(key, (Misread, bool, int, float)) else ""
    return f"a key is {'empty' if key is None else show(key)}; keys must be text{advice}"


def ambiguous(name: str) -> bool:
    """Tell whether a name means something else elsewhere: `no`, `null`, `1234`, `0x1f`.

    YAML reads such a name as a boolean, a number or a date, or the resolver as an address.
    """
    resolver: Any = yaml.resolver.Resolver()
    kind = resolver.resolve(yaml.ScalarNode, name, (True, False))
    if kind != f"{_TAG}str" or name.isdigit():  # `08` is a number for YAML 1.2
        return True
    try:
        socket.inet_aton(name)
    except (OSError, ValueError):
        return False
    return True


def read(path: str | Path, source: str | None = None) -> Any:
    """The data in the file `path`; `source` is its name in messages (default: the path).

    Raises DataError, also for a file that is missing or cannot be read.
    """
    name = source or str(path)
    try:
        raw = reading.read(path)
    except OSError as error:
        raise DataError(name, [f"the file cannot be read: {error.strerror}"]) from error
    return loads(raw, name)


def files(folder: str | Path, stem: str | None = None) -> tuple[list[Path], list[str]]:
    """Return the data files in a folder, and a fault for each file that only looks like one.

    Other files, such as an editor's backups, mean nothing.

    Args:
        folder: the folder; one that does not exist is empty.
        stem: the only name (without .yaml) that counts; None: every name.

    Raises:
        DataError: the folder cannot be read.
    """
    try:
        names = reading.names(folder)
    except OSError as error:
        raise DataError(str(folder), [f"the folder cannot be read: {error.strerror}"]) from error
    found, faults = [], []
    for path in (Path(folder, name) for name in names):
        name = path.name.removeprefix(LOCK)
        right = f"{Path(name).stem}{SUFFIX}"
        if Path(name).suffix.lower() not in (SUFFIX, ".yml") or stem not in (None, right[:-5]):
            continue
        if path.name.startswith(LOCK):
            message = f"{name} has changes in an editor that are not saved; save them"
            faults.append(f"{path.name}: {message}, or delete this file")
        elif name != right:
            message = f"a data file's name must end with {SUFFIX}; "
            there = f"move its content to {right}" if right in names else f"rename it to {right}"
            faults.append(f"{path.name}: {message}{there}")
        else:
            found.append(path)
    return found, faults


@contextmanager
def at_once() -> Iterator[None]:
    """Let Python not search for unused objects while many are made: that takes twice as long."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def loads(raw: bytes | str, source: str) -> Any:
    """The data in YAML text or bytes: dicts, lists, str, int, float, bool, Misread and None.

    An empty text is None. Raises DataError with every fault found.
    """
    if len(raw) > MAX_BYTES:
        raise DataError(source, [f"the file is too large; it must have at most {MAX_BYTES} bytes"])
    try:
        text = raw.decode("utf-8") if isinstance(raw, bytes) else raw
    except UnicodeDecodeError as error:
        raise DataError(source, ["the file is not text in UTF-8; save it as UTF-8"]) from error
    try:
        try:
            with at_once():
                data, faults = _data(text, FAST)
        except (yaml.YAMLError, ValueError, OverflowError):  # the slow parser explains more
            if len(raw) > SLOW_BYTES:
                raise
            data, faults = _data(text, yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        raise DataError(source, [f"{_line(error.problem_mark)}{_problem(error)}"]) from error
    except yaml.YAMLError as error:
        raise DataError(source, [f"the file is not text: {str(error).splitlines()[0]}"]) from error
    except (ValueError, OverflowError) as error:  # a character beyond Unicode: "\\UFFFFFFFF"
        raise DataError(source, [_escape(text) or f"the file is not YAML: {error}"]) from error
    if faults:
        raise DataError(source, faults, data)
    return data


def _data(text: str, loader: Any) -> tuple[Any, list[str]]:
    """Return the data in a text, and its faults; None for data that has forbidden parts."""
    faults = _forbidden(text, loader)
    node = None if faults else yaml.compose(text, Loader=loader)
    return None if node is None else _value(node, "", faults), faults


def _problem(error: yaml.MarkedYAMLError) -> str:
    return f"the file is not YAML: {error.problem or error.context}"


def _escape(text: str) -> str:
    """Return the fault of an escape beyond Unicode, for which PyYAML gives no line; "" for none."""
    for found in re.finditer(r"\\U([0-9A-Fa-f]{8})", text):
        if int(found[1], 16) > sys.maxunicode:
            line = text.count("\n", 0, found.start()) + 1
            return f"line {line}: the character escape {found[0]} is beyond Unicode; correct it"
    return ""


def _line(mark: Any) -> str:
    return f"line {mark.line + 1}: " if mark is not None else ""


def _forbidden(text: str, loader: Any) -> list[str]:
    """Faults for depth, tags, anchors, aliases, further documents (gone after composing)."""
    faults: list[str] = []
    documents = depth = 0
    for event in yaml.parse(text, Loader=loader):
        line = _line(event.start_mark)
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            return [*faults, f"{line}{depth} levels of nesting; there must be at most {MAX_DEPTH}"]
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents == 2:
                faults.append(f"{line}a second document begins here; the file must have only one")
        elif isinstance(event, yaml.AliasEvent):
            faults.append(f"{line}the alias *{event.anchor} {PLAIN}")
        elif isinstance(event, yaml.NodeEvent):
            if event.anchor is not None:
                faults.append(f"{line}the anchor &{event.anchor} {PLAIN}")
            tag = getattr(event, "tag", None)
            if tag is not None:
                faults.append(f"{line}the tag {show(tag)} {PLAIN}")
    return faults


def _value(node: yaml.Node, path: str, faults: list[str]) -> Any:
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, path, faults)
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, f"{path}[{number}]", faults) for number, item in enumerate(node.value)]
    kind = node.tag.removeprefix(_TAG)
    if kind not in _CONVERTED:  # also dates and `<<`: here they are the text that was written
        if found := UNSTORABLE.search(node.value):
            character = f"the character U+{ord(found[0]):04X}, which no file can hold"
            where = path or f"line {node.start_mark.line + 1}"
            faults.append(f"{where}: the text has {character}; remove it")
        return node.value
    constructor = yaml.constructor.SafeConstructor()
    try:
        value = getattr(constructor, f"construct_yaml_{kind}")(node)
    except (ValueError, OverflowError):  # `0x_`, or more digits than Python reads
        return node.value
    return value if value is None or _plain(value) == node.value else Misread(node.value, value)


def _plain(value: bool | int | float) -> str:
    """Return a boolean or a number as one writes it: true, 80, 1.5; "" for a very long one."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value).replace("inf", ".inf").replace("nan", ".nan")
    try:
        return str(value)
    except ValueError:  # Python writes at most 4300 decimal digits
        return ""


def _mapping(node: yaml.MappingNode, path: str, faults: list[str]) -> dict[str, Any]:
    data: dict[str, Any] = {}
    lines: dict[str, int] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        key = _value(key_node, path, faults)
        if not isinstance(key, str):
            where = path or f"line {line}"
            faults.append(f"{where}: {not_text(key)}")
            continue
        here = join(path, key)
        if key in data:
            twice = f"is given twice (lines {lines[key]} and {line})"
            faults.append(f"{here}: {twice}; remove one")
            continue
        lines[key] = line
        data[key] = _value(value_node, here, faults)
    return data

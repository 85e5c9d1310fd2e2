"""Every text of the repository that a person reads: documents, comments, docstrings, messages."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tests.conftest import REPOSITORY

PLACES = (
    *("_guard", "_modules", "_pillar", "_runners", "_states", "_utils", "bench", "bin", "docs"),
    *("drill", "fleet", "lab", "master.d", "pillar", "salt", "tests", "tools"),
)
"""The top-level folders."""
PYTHON = {".py"}
TOKEN = re.compile(
    r"""(?P<comment>\#.*)"""
    r"""|\"{3}(?:\\[\s\S]|[^\\])*?\"{3}|'{3}(?:\\[\s\S]|[^\\])*?'{3}"""
    r"""|"(?:\\[\s\S]|[^"\\])*"|'(?:\\[\s\S]|[^'\\])*'"""
)
"""A comment of Python, or a string, which may have the sign of a comment inside.

The tokenizer of the standard library finds the same comments, and takes ten times as long.
"""
WITH_COMMENTS = {".sls", ".yaml", ".yml", ".conf", ".toml", ".cfg", ".j2", ".jinja", ".ini", ".sh"}
OTHERS_OWN = ("salt/locks/",)
"""Files that tools write, whose texts are not ours."""


class Text(NamedTuple):
    """A piece of text: its file, its first line, its kind, and the text itself."""

    file: str
    line: int
    kind: str
    text: str

    @property
    def where(self) -> str:
        """The place as an editor takes it."""
        return f"{self.file}:{self.line}"


@cache
def files() -> list[Path]:
    """Return every file of the repository, in order."""
    found = [file for file in REPOSITORY.iterdir() if file.is_file()]
    for place in PLACES:
        found += [
            file
            for file in (REPOSITORY / place).rglob("*")
            if file.is_file() and "__pycache__" not in file.parts
        ]
    return sorted(found)


def name(file: Path) -> str:
    """Return a file's path in the repository."""
    return str(file.relative_to(REPOSITORY))


@cache
def texts() -> list[Text]:
    """Return every text: a Markdown paragraph, a block of comments, a docstring, a message."""
    found: list[Text] = []
    for file in files():
        if name(file).startswith(OTHERS_OWN):
            continue
        if file.suffix == ".md":
            found += _markdown(file)
        elif file.suffix in PYTHON:
            found += _python(file)
        elif file.suffix in WITH_COMMENTS or file.name == "Makefile":
            found += _comments(file)
    return found


def _markdown(file: Path) -> Iterator[Text]:
    block: list[str] = []
    start = 1
    fenced = False
    for number, line in enumerate([*file.read_text(encoding="utf-8").splitlines(), ""], start=1):
        fence = line.lstrip().startswith("```")
        item = re.match(r"(?:[-*]|[0-9]+\.) +(.*)", line)
        if fence or fenced or item or not line.strip() or line.startswith(("#", "|", "    ")):
            if block:
                yield Text(name(file), start, "paragraph", "\n".join(block))
            block = []
        if fence:
            fenced = not fenced
        elif fenced or line.startswith("    "):
            yield Text(name(file), number, "code", line)
        elif line.startswith("#"):
            yield Text(name(file), number, "heading", line.lstrip("# "))
        elif line.startswith("|"):
            yield Text(name(file), number, "row", line)
        elif line.strip():
            start = start if block else number
            block.append(item[1] if item else line)


def _python(file: Path) -> Iterator[Text]:
    source = file.read_text(encoding="utf-8")
    docstrings = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Expr(value=ast.Constant(value=str() as text) as constant):
                docstrings.add(constant)  # ast.walk finds the constant itself later
                yield Text(name(file), node.lineno, "docstring", text)
            case ast.Constant(value=str() as text) if node not in docstrings and " " in text:
                yield Text(name(file), node.lineno, "message", text)
    block: list[tuple[int, int, str]] = []
    line, counted = 1, 0
    for token in TOKEN.finditer(source):
        if token["comment"]:
            line, counted = line + source.count("\n", counted, token.start()), token.start()
            column = token.start() - source.rfind("\n", 0, token.start()) - 1
            here = (line, column, token["comment"].lstrip("#!: "))
            if block and (block[-1][0] + 1, block[-1][1]) != here[:2]:
                yield _block(file, block)
                block = []
            block.append(here)
    if block:
        yield _block(file, block)


def _comments(file: Path) -> Iterator[Text]:
    block: list[tuple[int, int, str]] = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        match = re.search(r"(?:^|\s)#+\s(.*)|\{#-?\s*(.*?)\s*-?#\}|(?:^|\s);\s(.*)", line)
        if match is None:
            continue
        here = (number, match.start(), next(part for part in match.groups() if part is not None))
        if block and (block[-1][0] + 1, block[-1][1]) != here[:2]:
            yield _block(file, block)
            block = []
        block.append(here)
    if block:
        yield _block(file, block)


def _block(file: Path, block: list[tuple[int, int, str]]) -> Text:
    return Text(name(file), block[0][0], "comment", "\n".join(text for _, _, text in block))

"""The requirements and the tests that prove them: docs/requirements.md.

A test proves a row when its name begins with the row's id (`test_s10_…`, `test_o2_o3_…`) or its
docstring does (`S10: …`, `O2, O3: …`). The tests are parsed and never imported.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROW = r"[SOKX][1-9][0-9]?"
IN_NAME = re.compile(r"test_((?:[sokx][1-9][0-9]?_)+)")
IN_DOCSTRING = re.compile(rf"({ROW}(?:, {ROW})*): ")
PROOF = "pytest.mark.proof"
DATA = "docs/requirements.yaml"


@dataclass(frozen=True)
class Test:
    """A test: its file in the repository, its name, the rows that it proves, and whether only `make
    proof` runs it.
    """

    file: str
    name: str
    rows: tuple[str, ...]
    proof: bool


@cache
def groups(root: Path) -> dict[str, dict[str, Any]]:
    """Return the content of docs/requirements.yaml: letter -> title, source, rows."""
    content: dict[str, dict[str, Any]] = yaml.safe_load((root / DATA).read_text(encoding="utf-8"))
    return content


@cache
def rows(root: Path) -> dict[str, str]:
    """Return every row: its id -> its sentence."""
    return {key: text for group in groups(root).values() for key, text in group["rows"].items()}


@cache
def tests(root: Path) -> tuple[Test, ...]:
    """Return every test of the repository, in the order of the files and their lines."""
    return tuple(
        test
        for file in sorted((root / "tests").rglob("test_*.py"))
        for test in _of_file(str(file.relative_to(root)), file.read_text(encoding="utf-8"))
    )


def _of_file(file: str, text: str) -> Iterator[Test]:
    """Yield the tests of a file, in the order of its lines."""
    body = ast.parse(text).body
    all_proofs = any(
        PROOF in ast.unparse(node.value)
        for node in body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark"
    )
    for node in body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            proof = all_proofs or PROOF in map(ast.unparse, node.decorator_list)
            yield Test(file, node.name, named(node.name, ast.get_docstring(node) or ""), proof)


def named(name: str, docstring: str) -> tuple[str, ...]:
    """Return the rows that a test names, each once."""
    found: list[str] = []
    if match := IN_NAME.match(name):
        found += match[1].upper().strip("_").split("_")
    if match := IN_DOCSTRING.match(docstring):
        found += match[1].split(", ")
    return tuple(dict.fromkeys(found))


def proofs(root: Path) -> dict[str, list[Test]]:
    """Return the tests of each row, an empty list for a row that no test proves."""
    found: dict[str, list[Test]] = {row: [] for row in rows(root)}
    for test in tests(root):
        for row in test.rows:
            found.setdefault(row, []).append(test)
    return found


def markdown(root: Path) -> str:
    """Write docs/requirements.md."""
    proved = proofs(root)
    missing = [row for row, found in proved.items() if not found]
    lines = [
        "# What the service must do, and the tests that prove it",
        "",
        "`make docs` writes this file from [requirements.yaml](requirements.yaml) and the tests.",
        "A test proves a row when its name or its docstring begins with the row's id",
        "(`test_s10_…`, `O2, O3: …`).",
        "",
    ]
    for letter, group in groups(root).items():
        lines.append(f"- **{letter}**: {group['title']}. These rows come from {group['source']}.")
    if missing:
        links = ", ".join(f"[{row}](#{row.lower()})" for row in missing)
        lines += ["", f"Rows that no test proves yet: {links}."]
    for letter, group in groups(root).items():
        lines += ["", f"## {letter}: {group['title']}"]
        for row, text in group["rows"].items():
            lines += ["", f"### {row}", "", text.strip(), ""]
            if why := group.get("elsewhere", {}).get(row, {}).get("why"):
                lines += [f"`salt-run verify.service` cannot show this row. {why}", ""]
            lines += _proof(proved[row])
    return "\n".join(lines) + "\n"


def _proof(found: list[Test]) -> Iterator[str]:
    if not found:
        yield "No test proves this row yet."
    files: dict[str, list[str]] = {}
    for test in found:
        files.setdefault(test.file, []).append(test.name)
    for file, names in files.items():
        yield f"- [{file}](../{file})"
        yield from (f"  - `{name}`" for name in names)

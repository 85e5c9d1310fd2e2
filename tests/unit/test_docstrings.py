"""One style of docstring for everything that Salt loads, so that `sys.doc` answers an operator."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

FOLDERS = ("_modules", "_states", "_runners", "_pillar")
SECTIONS = ("Args", "Returns", "Raises", "CLI Example")
#: Functions that only Salt calls. Their examples show the command that leads to the call.
INDIRECT = {"application.build", "application.built", "certificates.sign", "salina.ext_pillar"}


def functions() -> dict[str, ast.FunctionDef]:
    """Every public function, by folder and name."""
    return {
        f"{folder}/{file.stem}.{node.name}": node
        for folder in FOLDERS
        for file in sorted(Path(REPOSITORY, folder).glob("*.py"))
        for node in ast.parse(file.read_text()).body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    }


FUNCTIONS = functions()


def sections(docstring: str) -> dict[str, list[str]]:
    """The lines of each section of a docstring, by its heading; those before are under ""."""
    found: dict[str, list[str]] = {"": []}
    heading = ""
    for line in docstring.splitlines():
        if re.fullmatch(r"[A-Z][A-Za-z ]*:", line):
            heading = line.removesuffix(":")
            found[heading] = []
        else:
            found[heading].append(line)
    return found


@pytest.mark.parametrize("name", FUNCTIONS)
def test_sections(name: str) -> None:
    """Args for each argument, Returns for each result, and an example at the end."""
    function = FUNCTIONS[name]
    found = sections(ast.get_docstring(function) or "")
    assert re.fullmatch(r"[A-Z].*[.:]", found[""][0]), found[""][0]
    assert [*found][1:] == [section for section in SECTIONS if section in found]
    given = function.args
    arguments = [each.arg for each in (*given.args, *given.kwonlyargs, given.kwarg) if each]
    described = [re.match(r" {4}(\w+): ", line) for line in found.get("Args", [])]
    assert [match[1] for match in described if match] == arguments
    nothing = isinstance(function.returns, ast.Constant) and function.returns.value is None
    assert ("Returns" in found) is not nothing
    assert "CLI Example" in found


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_example_calls_the_function(name: str) -> None:
    folder, function = name.split("/")
    example = sections(ast.get_docstring(FUNCTIONS[name]) or "")["CLI Example"]
    said = "\n".join(example)
    if folder == "_states":
        assert re.fullmatch(r" {4}See salt/\S+\.sls\.", said)
        return
    command = {"_modules": "salt ", "_runners": "salt(-run)? ", "_pillar": "salt-run "}[folder]
    assert re.match(f" {{4}}{command}", example[0]), example[0]
    if function not in INDIRECT:
        assert f" {function}" in said

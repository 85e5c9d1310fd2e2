"""The direction of imports: minions receive `salina`, and never need the master's packages."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from salina.common import tree
from tests.conftest import REPOSITORY

SERVED = sorted(
    file
    for kind in tree.KINDS
    for file in (REPOSITORY / f"_{kind}").rglob("*.py")
    if file.is_file()
)
FLEET = sorted((REPOSITORY / "fleet").rglob("*.py"))
LABORATORY = ("lab", "tests", "bench", "drill", "tools")


def imported(file: Path) -> set[str]:
    """The names of the top packages that a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file}: a relative import"
            found.add((node.module or "").split(".")[0])
    return found


def name(file: Path) -> str:
    return str(file.relative_to(REPOSITORY))


@pytest.mark.parametrize("file", SERVED, ids=name)
def test_minions_need_nothing_of_the_master(file: Path) -> None:
    """The files that minions receive import neither `salina_fleet` nor the lab."""
    assert not imported(file) & {"salina_fleet", *LABORATORY}


@pytest.mark.parametrize("file", FLEET, ids=name)
def test_the_fleet_needs_nothing_of_the_lab(file: Path) -> None:
    """The master's package imports `salina`, and nothing of the lab or the tests."""
    assert not imported(file) & {*LABORATORY}


def test_served_packages_load_alone() -> None:
    """Every module that minions are served can be imported with `_utils` alone on the path."""
    below = REPOSITORY / "_utils"
    modules = [
        ".".join(file.relative_to(below).with_suffix("").parts).removesuffix(".__init__")
        for file in sorted(below.rglob("*.py"))
    ]
    script = f"import importlib\nfor one in {modules}: importlib.import_module(one)"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONPATH": str(below)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_a_digest_covers_what_is_served(tmp_path: Path) -> None:
    """A minion synchronises again for a change of what it is served, and for nothing else."""
    for folder in (*(f"_{kind}" for kind in tree.KINDS), "fleet/salina_fleet", "_runners", "lab"):
        (tmp_path / folder).mkdir(parents=True)
    before = tree.of_repository(tmp_path)
    for folder in ("fleet/salina_fleet", "_runners", "lab"):
        (tmp_path / folder / "new.py").write_text("x = 1\n")
        assert tree.of_repository(tmp_path) == before
    for kind in tree.KINDS:
        (tmp_path / f"_{kind}" / "new.py").write_text("x = 1\n")
        assert tree.of_repository(tmp_path) != before
        before = tree.of_repository(tmp_path)

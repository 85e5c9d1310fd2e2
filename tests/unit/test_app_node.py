"""Application files of kind node: each fault is named with its path."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from salina_fleet.model import application
from salina_fleet.schema import document
from tests.fleets import REPOSITORY

FILE = REPOSITORY / "pillar" / "app" / "crm-2017.yaml"
GOOD: dict[str, Any] = document.read(FILE)
KEYS = "runtime, npm, lock, install, once, start, environment, uploads, scratch"
HASH = "what `npm view PACKAGE dist.integrity` says: sha512-…"
TEXT = "text; no part of a command is read by a shell"
WORD = "a word of letters, digits and _ . / : = , @ + -"


def changed(path: str, value: Any) -> dict[str, Any]:
    """The good file with one value in another way; None takes it out."""
    data = copy.deepcopy(GOOD)
    *parents, last = (int(key) if key.isdigit() else key for key in path.split("."))
    place: Any = data
    for key in parents:
        place = place[key]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return data


@pytest.mark.parametrize(
    ("path", "value", "fault"),
    [
        ("node", None, "node: missing, allowed is a mapping"),
        ("odoo", {}, "odoo: unknown, allowed is kind, source, port, live, health, static, uid, "
         "database_login, node"),
        ("database_login", "trust", "database_login: 'trust', allowed is scram-sha-256 or md5"),
        ("node.runtime", None, "node.runtime: missing, allowed is a mapping"),
        ("node.runtime.version", "10", "node.runtime.version: '10', allowed is an exact version "
         "such as 10.24.1"),
        ("node.runtime.version", 10.24, "node.runtime.version: 10.24, allowed is an exact version "
         "such as 10.24.1"),
        ("node.runtime.integrity", None, f"node.runtime.integrity: missing, allowed is {HASH}"),
        ("node.runtime.integrity", "sha512-abc", "node.runtime.integrity: 'sha512-abc', "
         f"allowed is {HASH}"),
        ("node.npm", "6.14.18", "node.npm: '6.14.18', allowed is a mapping"),
        ("node.npm.integrty", "x", "node.npm.integrty: unknown, allowed is version, integrity"),
        ("node.lock", "../crm", "node.lock: '../crm', allowed is the name of a file in salt/locks, "
         "without .txt or .json"),
        ("node.install", "npm ci", "node.install: 'npm ci', allowed is a list of at least one: "
         f"{TEXT}"),
        ("node.install", None, f"node.install: missing, allowed is a list of at least one: {TEXT}"),
        ("node.start", [], f"node.start: an empty list, allowed is a list of at least one: {WORD}"),
        ("node.start", ["node", "a; b"], f"node.start[1]: 'a; b', allowed is {WORD}"),
        ("node.start", ["node", "%i"], f"node.start[1]: '%i', allowed is {WORD}"),
        ("node.once", {"migrate": []}, "node.once: a mapping, allowed is a list of mappings"),
        ("node.once.0", "migrate", "node.once[0]: 'migrate', allowed is a mapping"),
        ("node.once.0.command", None, "node.once[0].command: missing, allowed is a list of at "
         f"least one: {TEXT}"),
        ("node.once.0.command.1", 3, f"node.once[0].command[1]: 3, allowed is {TEXT}"),
        ("node.once.0.each_revision", "yes", "node.once[0].each_revision: 'yes', allowed is true "
         "or false"),
        ("node.once.0.user", "root", "node.once[0].user: unknown, allowed is name, command, "
         "each_revision"),
        ("node.once.1.name", "migrate", "node.once[1].name: 'migrate' once more, allowed is once"),
        ("node.once.1.name", "Seed!", "node.once[1].name: 'Seed!', allowed is a name of small "
         "letters, digits and blanks"),
        ("node.environment", ["A=1"], "node.environment: a list, allowed is a mapping"),
        ("node.environment", {"PORT": 1}, "node.environment.PORT: it is set by this project, "
         "allowed is any other"),
        ("node.environment", {"A-B": 1}, "node.environment: 'A-B', allowed is the name of a "
         "variable"),
        ("node.environment", {"A": True}, "node.environment.A: true, allowed is one line of text "
         'without " and \\, or a number'),
        ("node.environment", {"A": 'a"b'}, "node.environment.A: 'a\"b', allowed is one line of "
         'text without " and \\, or a number'),
        ("node.uploads", "public/uploads", "node.uploads: 'public/uploads', allowed is a list of "
         "at least one: a directory inside the checkout"),
        ("node.uploads", ["../x"], "node.uploads[0]: '../x', allowed is a directory inside the "
         "checkout"),
        ("node.uploads", ["x/"], "node.uploads[0]: 'x/', allowed is a directory inside the "
         "checkout"),
        ("node.uploads", ["uploads"], "node.scratch[0]: 'uploads' is among the uploads, allowed is "
         "another one"),
        ("node.upload", "x", f"node.upload: unknown, allowed is {KEYS}"),
    ],
)  # fmt: skip
def test_fault(path: str, value: Any, fault: str) -> None:
    with pytest.raises(application.AppError) as caught:
        application.parse(changed(path, value), "pillar/app/x.yaml")
    assert caught.value.faults == (fault,)


def test_what_may_be_left_out() -> None:
    data = copy.deepcopy(GOOD)
    for key in ("lock", "once", "environment", "uploads", "scratch"):
        del data["node"][key]
    del data["database_login"]
    found = application.parse(data)
    assert found.database_login == "scram-sha-256"
    assert found.node
    assert (found.node.lock, found.node.once, found.node.environment) == (None, (), {})


def test_a_command_may_say_a_word_twice() -> None:
    found = application.parse(changed("node.install", ["npm", "-q", "-q"]))
    assert found.node and found.node.install == ("npm", "-q", "-q")


def unpinned(dependencies: dict[str, Any]) -> list[str]:
    """The packages of a lock without a hash; those within another's tarball need none."""
    found = []
    for name, package in dependencies.items():
        if not package.get("integrity") and not package.get("bundled"):
            found.append(name)
        found += unpinned(package.get("dependencies", {}))
    return found


LOCKS = [*(REPOSITORY / "salt" / "locks").glob("*.json")]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_locks_name_hashes_and_no_address(lock: Path) -> None:
    """A registry is the host's own; what it gives is known by its hash."""
    assert "://" not in lock.read_text()
    assert unpinned(json.loads(lock.read_text())["dependencies"]) == []

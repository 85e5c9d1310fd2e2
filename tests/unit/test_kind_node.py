"""Application files of kind node: each fault is named with its path."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from salina_fleet.kinds import KINDS
from salina_fleet.kinds.node import Node, NodeSection
from salina_fleet.model import definition
from salina_fleet.schema import document
from tests.fleets import REPOSITORY

FILE = REPOSITORY / "pillar" / "app" / "crm-2017.yaml"
GOOD: dict[str, Any] = document.read(FILE)
KEYS = (
    "runtime, npm, lock, install, once, migrations, compatible, neutral, start, environment, "
    "uploads, scratch"
)
HASH = "the output of `npm view PACKAGE dist.integrity`: sha512-…"
TEXT = "text (no shell reads it)"
WORD = "a word of letters, digits and _ . / : = , @ + -"


def changed(path: str, value: Any) -> dict[str, Any]:
    """The good file with one value in another way; None takes it out."""
    data = copy.deepcopy(GOOD)
    keys = path.replace("[", ".").replace("]", "").split(".")
    *parents, last = (int(key) if key.isdigit() else key for key in keys)
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
        ("node", None, "missing; must be a mapping"),
        ("odoo", {}, "unknown key; choose one of: kind, source, known_hosts, port, live, "
         "health, pages, checks, static, uid, database_login, login, logins, session, closed, rpc, "
         "same_site, headers, user_files, node"),
        ("database_login", "trust", '"trust" is not a kind of login; choose one of: '
         "scram-sha-256, md5"),
        ("node.runtime", None, "missing; must be a mapping"),
        ("node.runtime.version", "10", '"10" is not valid; must be an exact version such as '
         "10.24.1"),
        ("node.runtime.version", 10.24, "10.24 is not valid; must be an exact version such as "
         "10.24.1"),
        ("node.runtime.integrity", None, f"missing; must be {HASH}"),
        ("node.runtime.integrity", "sha512-abc", f'"sha512-abc" is not valid; must be {HASH}'),
        ("node.npm", "6.14.18", '"6.14.18" is not valid; must be a mapping'),
        ("node.npm.integrty", "x", "unknown key; choose one of: version, integrity"),
        ("node.lock", "../crm", '"../crm" is not valid; must be the name of a file in salt/locks '
         "without .txt or .json, or null"),
        ("node.install", "npm ci", '"npm ci" is not valid; must be a list of one or more items, '
         f"each {TEXT}"),
        ("node.install", None, f"missing; must be a list of one or more items, each {TEXT}"),
        ("node.start", [], "an empty list is not valid; must be a list of one or more items, "
         f"each {WORD}"),
        ("node.start[1]", "a; b", f'"a; b" is not valid; must be {WORD}'),
        ("node.start[1]", "%i", f'"%i" is not valid; must be {WORD}'),
        ("node.once", {"migrate": []}, "a mapping is not valid; must be a list of items, each a "
         "mapping"),
        ("node.once[0]", "migrate", '"migrate" is not valid; must be a mapping'),
        ("node.once[0].command", None, "missing; must be a list of one or more items, each "
         f"{TEXT}"),
        ("node.once[0].command[1]", 3, '3 is not text; quote it: "3"'),
        ("node.once[0].each_revision", "yes", '"yes" is not valid; must be true or false'),
        ("node.once[0].user", "root", "unknown key; choose one of: name, command, each_revision, "
         "login_password"),
        ("node.once[1].name", "migrate", '"migrate" is repeated; must be listed once'),
        ("node.once[1].name", "Seed!", '"Seed!" is not valid; must be a name of small letters, '
         "digits and spaces"),
        ("node.migrations", "/migrations", '"/migrations" is not valid; must be a directory '
         "inside the checkout, or null"),
        ("node.migrations", ["migrations"], "a list is not valid; must be a directory inside the "
         "checkout, or null"),
        ("node.compatible", "migrations/2.js", '"migrations/2.js" is not valid; must be a list of '
         "items, each a file inside the checkout"),
        ("node.neutral", "DELETE FROM mail", '"DELETE FROM mail" is not valid; must be a list of '
         f"items, each {TEXT}"),
        ("node.environment", ["A=1"], "a list is not valid; must be a mapping of variables "
         "to values"),
        ("node.environment.PORT", 1, "Salina sets this variable; remove it"),
        ("node.environment.SALINA_HELD", "/x", "Salina sets this variable; remove it"),
        ("node.environment.A-B", 1, '"A-B" is not valid; must be the name of a variable'),
        ("node.environment.A", True, 'true is not text; quote it: "true"'),
        ("node.environment.A", 'a"b', '"a\\"b" is not valid; must be one line of text without " '
         "and \\, or a number"),
        ("node.uploads", "public/uploads", '"public/uploads" is not valid; must be a list of '
         "items, each a directory inside the checkout"),
        ("node.uploads[0]", "../x", '"../x" is not valid; must be a directory inside the checkout'),
        ("node.uploads[0]", "x/", '"x/" is not valid; must be a directory inside the checkout'),
        ("node.scratch[0]", "public/uploads", '"public/uploads" is not valid; must be neither '
         "inside nor around uploads[0]: public/uploads"),
        ("node.scratch[0]", "public", '"public" is not valid; must be neither inside nor around '
         "uploads[0]: public/uploads"),
        ("node.scratch[0]", "public/uploads/x", '"public/uploads/x" is not valid; must be neither '
         "inside nor around uploads[0]: public/uploads"),
        ("node.uploads[0]", "node_modules", '"node_modules" contains code; choose a directory '
         "without code"),
        ("node.uploads[0]", "lib/node_modules/x", '"lib/node_modules/x" contains code; choose a '
         "directory without code"),
        ("node.scratch[0]", "bin", '"bin" contains code; choose a directory without code'),
        ("node.upload", "x", f"unknown key; choose one of: {KEYS}"),
    ],
)  # fmt: skip
def test_fault(path: str, value: Any, fault: str) -> None:
    with pytest.raises(definition.DefinitionError) as caught:
        definition.parse(changed(path, value), "pillar/app/x.yaml")
    assert caught.value.faults == (f"{path}: {fault}",)


def test_what_may_be_left_out() -> None:
    data = copy.deepcopy(GOOD)
    for key in ("lock", "once", "migrations", "neutral", "environment", "uploads", "scratch"):
        del data["node"][key]
    del data["database_login"]
    found = definition.parse(data)
    assert found.database_login == "scram-sha-256"
    assert isinstance(found.section, NodeSection)
    assert (found.section.lock, found.section.once, found.section.environment) == (None, (), {})
    assert (found.section.migrations, found.section.compatible) == (None, ())
    assert found.section.neutral == ()


def test_x10_a_definition_says_how_a_copy_is_neutral() -> None:
    """X10: The hosts get the statements as they are. They are not a reason to build it again."""
    statements = ["DELETE FROM \"Sessions\" WHERE sid <> 'salina'", "UPDATE mails SET sent = true"]
    found = definition.parse(changed("node.neutral", statements))
    section = found.to_dict()["node"]
    assert section["neutral"] == statements
    assert Node().built_from(section) == Node().built_from(section | {"neutral": []})


def test_x10_only_its_definition_makes_a_copy_of_node_neutral() -> None:
    """O1, X10, K5: Without statements a plan says so. Salina itself knows the tables of Odoo."""
    said = "the statements of `neutral` in its definition run in the copy"
    for statements, words in ((["DELETE FROM mails", "DELETE FROM jobs"], said), ([], "")):
        found = definition.parse(changed("node.neutral", statements)).to_dict()
        assert KINDS["node"].neutral(found) == words
    odoo = definition.load(FILE.with_name("odoo-14.0.yaml")).to_dict()
    assert KINDS["odoo"].neutral(odoo) == (
        "mail, jobs and payments are off in the copy, and nobody is logged in"
    )


def compatible(migrations: str | None, *files: str) -> dict[str, Any]:
    """The good file with these migrations, of which some are compatible."""
    data = copy.deepcopy(GOOD)
    data["node"] |= {"migrations": migrations, "compatible": [*files]}
    return data


def test_o8_migrations_may_be_compatible() -> None:
    """O8: The hosts get them as a list. Another one is not a reason to build a release again."""
    files = ("db/migrations/2.js", "db/migrations/old/0-first.sql")
    found = definition.parse(compatible("db/migrations", *files))
    assert isinstance(found.section, NodeSection)
    assert found.section.compatible == files
    section = found.to_dict()["node"]
    assert section["compatible"] == [*files]
    assert Node().built_from(section) == Node().built_from(section | {"compatible": []})


@pytest.mark.parametrize(
    ("migrations", "file"),
    [
        ("migrations", "app.js"),
        ("migrations", "migrations"),
        ("migrations", "migrations.js"),
        ("migrations", "db/migrations/2.js"),
        ("db/migrations", "db/2.js"),
        (None, "migrations/2.js"),
        (None, "2.js"),
    ],
)
def test_k5_a_compatible_file_that_is_not_a_migration(migrations: str | None, file: str) -> None:
    """O8, K5: It would have no effect. The fault names its place in the list."""
    good = [f"{migrations}/1.js"] * (migrations is not None)
    with pytest.raises(definition.DefinitionError) as caught:
        definition.parse(compatible(migrations, *good, file))
    assert caught.value.faults == (
        f'node.compatible[{len(good)}]: "{file}" is not in the directory that `migrations` names',
    )


def test_k5_compatible_files_need_migrations() -> None:
    """O8, K5: Each is a fault if the definition does not say where the migrations are."""
    data = compatible(None, "migrations/2.js", "3.js")
    del data["node"]["migrations"]
    with pytest.raises(definition.DefinitionError) as caught:
        definition.parse(data)
    assert [fault.partition(": ")[0] for fault in caught.value.faults] == [
        *("node.compatible[0]", "node.compatible[1]")
    ]
    data["node"]["compatible"] = []
    definition.parse(data)


@pytest.mark.parametrize(
    ("migrations", "files", "said"),
    [
        ("/migrations", ["migrations/2.js"], 'node.migrations: "/migrations" is not valid; must be '
         "a directory inside the checkout, or null"),
        ("migrations", ["/migrations/2.js"], 'node.compatible[0]: "/migrations/2.js" is not valid; '
         "must be a file inside the checkout"),
        ("migrations", ["migrations/../app.js", "app.js"], "node.compatible[0]: "
         '"migrations/../app.js" is not valid; must be a file inside the checkout'),
        ("migrations", ["app.js", "app.js"], 'node.compatible[1]: "app.js" is repeated; must be '
         "listed once"),
        (None, ["../app.js", "app.js"], 'node.compatible[0]: "../app.js" is not valid; must be a '
         "file inside the checkout"),
    ],
)  # fmt: skip
def test_k5_a_faulty_path_has_one_fault(
    migrations: str | None, files: list[str], said: str
) -> None:
    """K5: The two keys are compared only if each is valid."""
    with pytest.raises(definition.DefinitionError) as caught:
        definition.parse(compatible(migrations, *files))
    assert caught.value.faults == (said,)


def test_a_command_may_say_a_word_twice() -> None:
    found = definition.parse(changed("node.install", ["npm", "-q", "-q"]))
    assert isinstance(found.section, NodeSection)
    assert found.section.install == ("npm", "-q", "-q")


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

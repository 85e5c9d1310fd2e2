"""The documents: the generated ones are up to date, and no text cites what does not exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from salina_fleet.schema.declare import Entry
from tests import guide, texts
from tests.conftest import REPOSITORY
from tests.texts import Text
from tools import docs, pillar, requirements, settings

# A path of the repository in a text: it begins with a folder of the top level. One that belongs to
# something else (/etc/salt/minion.d, roles/app) has a character before that folder.
FOLDERS = "|".join(re.escape(place) for place in texts.PLACES)
PATH = re.compile(rf"(?<![\w/.~${{}}:<>-])(?:{FOLDERS})/[\w./*<>{{}}…-]*")
BARE = re.compile(r"(?<![\w/.*<>{}~-])[a-z_]\w*\.(?:py|sls|md)\b")
TAG = re.compile(r"salt/(?:minion|job|auth|run|key|presence|beacon|engine|stats)(?:/|$)")
"""Tags of Salt's events look like paths."""
MADE = {"bench/results.json"}
"""Files that a command of this repository writes, and that are not kept in git."""
OWN = re.compile(r"(salt|pillar)/local(/|$)")
"""Folders of the operator, which git ignores (decision 66)."""
FOREIGN = {"setup.py", "salt/fileserver/roots.py"}
"""Files of other projects."""
PLACEHOLDER = re.compile(r"<[^>]*>|\{[^}]*\}|…|\b[A-Z]{2,}\b|\*+")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
ROW = re.compile(rf"(?<![\w#/.-])({requirements.ROW})(?![\w/-])")
DECISION = re.compile(r"\b[Dd]ecision (\d+)")
TARGET = re.compile(r"`make ([a-z]+)")
ELSEWHERE = re.compile(r"\bdesign[,:] \"?[A-Z]|\bthe working contract\b|\.\./shared\b")
"""Documents that the authors of the first commits had, and that are not in the repository."""


FORM = ("Context", "Decision", "Rejected", "Consequences")
"""The headings of a decision; others may follow the second one."""


def decision(path: Path) -> tuple[str, str]:
    """Check the form of a decision; return its line in the index, and its date."""
    head, *sections = path.read_text(encoding="utf-8").split("\n## ")
    found = re.match(r"# (\d+)\. (.+)\n\n\*\*Date:\*\* (\d{4}-\d\d-\d\d)(?=$|\n|\. )", head)
    assert found, "it must begin with its number, its title and its date"
    number, title, date = found.groups()
    assert path.name.startswith(f"{int(number):04}-")
    texts_of = dict(section.split("\n", 1) for section in sections)
    assert all(text.strip() for text in texts_of.values())
    headings = tuple(texts_of)
    assert (*headings[:2], *headings[-2:]) == FORM
    return f"- {int(number):04}: [{title}]({path.name})", date


def test_every_decision_has_the_same_form_and_is_in_the_list() -> None:
    """The list has all of them under their titles, and the newest is last."""
    folder = REPOSITORY / "docs/decisions"
    found = [decision(path) for path in sorted(folder.glob("0*.md"))]
    index = (folder / "README.md").read_text(encoding="utf-8").splitlines()
    assert [line for line in index if line.startswith("- ")] == [line for line, _ in found]
    dates = [date for _, date in found]
    assert dates == sorted(dates)


@pytest.mark.parametrize("name", docs.FILES)
def test_generated_documents_are_up_to_date(name: str) -> None:
    """The file is what `make docs` writes."""
    file = REPOSITORY / name
    assert file.is_file(), f"{name} is missing; run: make docs"
    assert file.read_text(encoding="utf-8") == docs.FILES[name](), f"{name} is old; run: make docs"


def test_every_key_of_the_pillar_has_a_meaning() -> None:
    """Each key of each pillar of all topologies has a meaning, and each meaning has its key."""
    keys = set(pillar.found().keys)
    assert keys - {key for key, text in pillar.meanings().items() if text} == set(), "no meaning"
    assert set(pillar.KEYS) - keys == set(), "meanings of keys that no pillar has"


def test_a_setting_has_its_meaning_in_one_place() -> None:
    """The declaration of a setting says what it means; no list of the pillar's keys repeats it."""
    assert [key for key in pillar.KEYS if ".settings." in key] == []


@pytest.mark.parametrize(("name", "entries"), [(name, one) for name, _, one in settings.sections()])
def test_every_key_of_a_file_has_a_meaning(name: str, entries: list[Entry]) -> None:
    """Each key of a file of pillar/ has a meaning: one sentence."""
    wrong = [entry.path for entry in entries if not re.fullmatch(r"\S.*[^.]\.", entry.about)]
    assert entries and not wrong, f"{name}: keys without a meaning; add about= to the declarations"


def test_settings_md_has_every_file() -> None:
    """Each file of pillar/settings has its section, and so have the topology and definitions.

    The file of a component may be missing in pillar/settings.
    """
    here = {str(file.relative_to(REPOSITORY)) for file in REPOSITORY.glob("pillar/settings/*.yaml")}
    named = {name for name, _, _ in settings.sections()}
    assert here | {"pillar/topology.yaml", "pillar/app/NAME.yaml"} <= named


def test_every_test_names_rows_that_exist() -> None:
    """A test that names an unknown row proves nothing."""
    known = requirements.rows(REPOSITORY)
    unknown = [
        f"{test.file}: {test.name}: {row}"
        for test in requirements.tests(REPOSITORY)
        for row in test.rows
        if row not in known
    ]
    assert not unknown


def test_make_test_proves_every_row_that_is_proved() -> None:
    """A row is not left to `make proof` alone, which runs seldom."""
    proved = requirements.proofs(REPOSITORY)
    seldom = {row for row, found in proved.items() if found and all(one.proof for one in found)}
    assert not seldom
    assert any(one.proof for found in proved.values() for one in found)


def test_a_test_names_its_rows_in_its_name_or_first_in_its_docstring() -> None:
    """A row in the middle of a text is a citation, and no proof."""
    assert requirements.named("test_o2_o3_service", "") == ("O2", "O3")
    assert requirements.named("test_it", "S10, S2: hosts come and go.") == ("S10", "S2")
    assert requirements.named("test_s10_it", "S10: once.") == ("S10",)
    assert requirements.named("test_it", "Hosts join (S10).") == ()
    assert requirements.named("test_s10", "") == ()


@cache
def names() -> frozenset[str]:
    """Return the names of all files of the repository."""
    return frozenset(file.name for file in texts.files())


def cited_paths(text: Text) -> Iterator[str]:
    """Find the paths that a text cites and that do not exist."""
    for match in PATH.finditer(text.text):
        path = match[0].rstrip(".…-").removesuffix("'s")
        if not exists(path) and not shown(text.file, path):
            yield path
    for match in BARE.finditer(text.text):
        if match[0] not in names() | FOREIGN:
            yield match[0]


def shown(page: str, path: str) -> bool:
    """Tell whether a page itself shows the file, or one in the folder, for its reader to create."""
    if not page.endswith(".md"):
        return False
    return any(
        made == path or made.startswith(f"{path}/") for made, _ in guide.blocks(REPOSITORY / page)
    )


@cache
def exists(path: str) -> bool:
    """Tell whether a path exists; a placeholder or a star stands for any name."""
    if path in MADE | FOREIGN or TAG.match(path) or OWN.match(path):
        return True
    if (REPOSITORY / path).exists():
        return True
    if not PLACEHOLDER.search(path):
        return False
    return any(REPOSITORY.glob(PLACEHOLDER.sub("*", path).rstrip("/")))


@cache
def anchors(file: Path) -> set[str]:
    """Return the anchors of a Markdown file's headings, as GitHub names them."""
    found: set[str] = set()
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            title = re.sub(r"[^\w\- ]", "", line.lstrip("#").strip().lower())
            slug = title.replace(" ", "-")
            number = 0
            while slug in found:
                number += 1
                slug = f"{title.replace(' ', '-')}-{number}"
            found.add(slug)
    return found


def cited_links(text: Text) -> Iterator[str]:
    """Find the links to files and headings that do not exist."""
    for match in LINK.finditer(text.text):
        target, _, anchor = match[1].partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        here = REPOSITORY / text.file
        file = (here.parent / target) if target else here
        if not file.exists() or (anchor and anchor not in anchors(file)):
            yield match[1]


def cited_rows(text: Text) -> Iterator[str]:
    """Find the rows that docs/requirements.yaml does not have."""
    known = requirements.rows(REPOSITORY)
    return (match[1] for match in ROW.finditer(text.text) if match[1] not in known)


@cache
def targets() -> list[str]:
    """Return the targets of the Makefile."""
    return re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)


def cited_documents(text: Text) -> Iterator[str]:
    """Find decisions, targets of make and other documents that do not exist."""
    for match in DECISION.finditer(text.text):
        if not any(REPOSITORY.glob(f"docs/decisions/{int(match[1]):04}-*.md")):
            yield match[0]
    yield from (match[0] for match in TARGET.finditer(text.text) if match[1] not in targets())
    yield from (match[0] for match in ELSEWHERE.finditer(text.text))


@pytest.mark.parametrize(
    "judge", [cited_paths, cited_links, cited_rows, cited_documents], ids=lambda one: one.__name__
)
def test_no_text_cites_what_does_not_exist(judge) -> None:  # type: ignore[no-untyped-def]
    """Every path, link, heading, row, decision and target of make that a text names exists."""
    wrong = [
        f"{text.where}: {cited}"
        for text in texts.texts()
        if text.kind != "message" and text.file != "tests/unit/test_docs.py"
        for cited in judge(text)
    ]
    assert not wrong, "\n" + "\n".join(wrong)

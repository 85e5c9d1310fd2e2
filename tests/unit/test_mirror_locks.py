"""Each environment from PyPI has a lock of exact versions that agrees with pyproject.toml."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from lab.errors import LabError
from lab.mirror import locks as written
from lab.mirror.locks import environments
from lab.paths import LOCKS, REPOSITORY
from salina.common import locks

NAMES = sorted(environments())


def pins(name: str) -> dict[str, str]:
    found = locks.entries((LOCKS / f"{name}.txt").read_text())
    return dict(entry.split("==") for entry in found)


def test_every_lock_is_declared() -> None:
    tools = [f"{name}.build" for name in NAMES if "build" in environments()[name]]
    assert sorted(path.stem for path in LOCKS.glob("*.txt")) == sorted(NAMES + tools)


@pytest.mark.parametrize("name", NAMES)
def test_lock_holds_exact_versions_and_no_address(name: str) -> None:
    """X10: And the hashes of every file, but no address of an index."""
    first, *lines = (LOCKS / f"{name}.txt").read_text().splitlines()
    assert first == "--only-binary :all:"
    entry, digest = r"[a-z0-9-]+==[\w.+]+ \\", r"    --hash=sha256:[0-9a-f]{64}( \\)?"
    sources = "--no-binary [a-z0-9,-]+"
    assert all(re.fullmatch(f"{entry}|{digest}|{sources}", line) for line in lines)


@pytest.mark.parametrize("name", NAMES)
def test_sources_of_a_lock_are_declared(name: str) -> None:
    """X10: Everything else is a wheel, whose installation runs no code of it."""
    text = (LOCKS / f"{name}.txt").read_text()
    assert list(locks.sources(text)) == environments()[name].get("sources", [])
    assert bool(locks.sources(text)) == ("build" in environments()[name])


@pytest.mark.parametrize("name", NAMES)
def test_lock_meets_its_requirements(name: str) -> None:
    locked = pins(name)
    for requirement in map(Requirement, environments()[name]["requirements"]):
        version = locked[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), requirement


def test_odoo_itself_is_no_distribution() -> None:
    assert "odoo" not in pins("odoo-14.0")


def test_database_engine_is_one_that_loses_nothing() -> None:
    """S11: Patroni before 3.0.4 lost rows with etcd3 (docs/decisions/0002-patroni.md)."""
    assert Requirement("patroni>=4.1").specifier.contains(pins("patroni")["patroni"])


def test_tools_and_minions_share_one_salt() -> None:
    assert pins("tools")["salt"] == pins("minion")["salt"]


def test_licence_is_the_whole_text() -> None:
    text = (REPOSITORY / "LICENSE").read_text()
    assert "Apache License" in text and "END OF TERMS AND CONDITIONS" in text


@pytest.mark.parametrize("name", sorted(path.name for path in LOCKS.glob("*.txt")))
def test_x10_every_line_of_every_lock_has_hashes(name: str) -> None:
    """X10: pip can verify every file that an environment is built from."""
    text = (LOCKS / name).read_text()
    assert locks.faults(text) == []
    assert all(locks.entries(text).values())
    if sources := locks.sources(text):
        assert {*sources} <= {entry.partition("==")[0] for entry in locks.entries(text)}
        assert (LOCKS / locks.tools(name)).exists()


def test_a_lock_is_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """X10: uv keeps the versions of the former lock, whose options it cannot read all."""
    target = tmp_path / "tools.txt"
    monkeypatch.setattr(written, "LOCKS", tmp_path)
    environment = written.Environment(python="3.11", requirements=["six"], sources=["a", "b"])

    pinned = "six==2 \\\n    --hash=sha256:2\n"
    drafts: list[str] = []

    def uv(command: Sequence[Any], text: str) -> None:
        draft = Path(command[command.index("--output-file") + 1])
        drafts.append(draft.read_text())
        draft.write_text(pinned)

    def failing(command: Sequence[Any], text: str) -> None:
        raise LabError("no versions fit together")

    monkeypatch.setattr(written, "run", uv)
    for _ in range(2):
        written.compile_locks("tools", environment, upgrade=False)
        assert target.read_text() == f"--only-binary :all:\n--no-binary a,b\n{pinned}"
    assert drafts == ["", pinned]
    before = target.read_text()
    monkeypatch.setattr(written, "run", failing)
    with pytest.raises(LabError):
        written.compile_locks("tools", environment, upgrade=False)
    assert target.read_text() == before
    assert [path.name for path in tmp_path.iterdir()] == ["tools.txt"]

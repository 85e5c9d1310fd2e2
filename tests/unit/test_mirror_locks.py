"""Each environment from PyPI has a lock of exact versions that agrees with pyproject.toml."""

import re

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from lab.mirror.locks import environments
from lab.paths import LOCKS, REPOSITORY

NAMES = sorted(environments())


def pins(name: str) -> dict[str, str]:
    lines = (LOCKS / f"{name}.txt").read_text().split()
    return dict(line.split("==") for line in lines)


def test_every_lock_is_declared() -> None:
    assert sorted(path.stem for path in LOCKS.glob("*.txt")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_lock_holds_exact_versions_and_no_address(name: str) -> None:
    text = (LOCKS / f"{name}.txt").read_text()
    assert all(re.fullmatch(r"[a-z0-9-]+==[\w.+]+", line) for line in text.splitlines())


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

"""The lab's mirror has the packages of an application without a lock, and their build tools."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from lab.errors import LabError
from lab.mirror import requirements
from lab.mirror.requirements import ASSUMED, Requirements

PROJECT = '[build-system]\nrequires = ["flit_core>=3.2,<4", "wheel"]\n'


@pytest.mark.parametrize(
    ("text", "tools"),
    [
        (None, ASSUMED),
        ("", ASSUMED),
        ("[project]\nname = 'x'\n", ASSUMED),
        ("[build-system]\nbuild-backend = 'x'\n", ASSUMED),
        (PROJECT, ("flit_core>=3.2,<4", "wheel")),
        ("[build-system]\nrequires = []\n", ()),
    ],
)
def test_the_tools_that_a_project_names(text: str | None, tools: tuple[str, ...]) -> None:
    assert requirements.tools_of(text) == tools


def archive(place: Path, kind: str, files: dict[str, str]) -> Path:
    """Write a source archive."""
    path = place / f"crm-1.0.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as packed:
            for name, text in files.items():
                packed.writestr(name, text)
    else:
        with tarfile.open(path, "w:gz") as packed_tar:
            for name, text in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(text)
                packed_tar.addfile(member, io.BytesIO(text.encode()))
    return path


@pytest.mark.parametrize("kind", ["tar.gz", "zip"])
def test_the_tools_of_a_source_archive(tmp_path: Path, kind: str) -> None:
    """Only the file at the top counts: a package may contain others, for example as test data."""
    inner = {"crm-1.0/tests/pyproject.toml": "[build-system]\nrequires = ['other']\n"}
    found = archive(tmp_path, kind, {**inner, "crm-1.0/pyproject.toml": PROJECT})
    assert requirements.build_tools(found) == ("flit_core>=3.2,<4", "wheel")
    assert requirements.build_tools(archive(tmp_path, kind, inner)) == ASSUMED


def test_a_wheel_needs_no_tools(tmp_path: Path) -> None:
    assert requirements.build_tools(tmp_path / "crm-1.0-py3-none-any.whl") == ()


@pytest.mark.parametrize("kind", ["tar.gz", "zip"])
def test_an_archive_that_cannot_be_read_is_told(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"crm-1.0.{kind}"
    path.write_text("no archive")
    with pytest.raises(LabError, match=f"^{path.name}: "):
        requirements.build_tools(path)
    broken = archive(tmp_path, kind, {"crm-1.0/pyproject.toml": "["})
    with pytest.raises(LabError, match=f"^{path.name}: "):
        requirements.build_tools(broken)


def test_pip_gets_the_constraints_for_the_builds_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X10: The tools of a build would otherwise be the newest ones."""
    ran: list[tuple[list[str], str]] = []

    def unprivileged(place: Path, arguments: list[str], variables: dict[str, str]) -> None:
        limits = Path(variables["PIP_CONSTRAINT"]).read_text()
        ran.append((arguments[arguments.index("--constraint") + 2 :], limits))
        if len(ran) == 1:
            archive(place / "results", "tar.gz", {"crm-1.0/pyproject.toml": PROJECT})

    monkeypatch.setattr(requirements, "unprivileged", unprivileged)
    wanted = Requirements(
        "x.yaml: odoo.python.requirements",
        requirements.THIS_PYTHON,
        ("lxml\n",),
        ("addon==1.0",),
        ("setuptools<82",),
    )
    requirements.fetch(wanted, tmp_path)
    assert [one[0][0] for one in ran] == ["-r", "--no-deps", "flit_core>=3.2,<4"]
    assert {one[1] for one in ran} == {"setuptools<82\n"}
    assert [path.name for path in tmp_path.iterdir()] == ["crm-1.0.tar.gz"]


def test_another_python_needs_a_lock(tmp_path: Path) -> None:
    """K5: The file, what was found, and what to do."""
    with pytest.raises(LabError, match=r"^x\.yaml: Python 3\.9 cannot be resolved here") as caught:
        requirements.fetch(Requirements("x.yaml", "3.9", ("lxml\n",)), tmp_path)
    assert caught.value.advice.startswith("use a lock instead")


def test_what_pip_cannot_fetch_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """K5: With pip's own words, and the Debian packages of the definition."""

    def fails(*_: object) -> None:
        raise LabError("pg_config executable not found")

    monkeypatch.setattr(requirements, "unprivileged", fails)
    wanted = Requirements("x.yaml", requirements.THIS_PYTHON, ("x",), packages=("libpq-dev",))
    with pytest.raises(LabError, match="pip cannot fetch them:\npg_config executable") as caught:
        requirements.fetch(wanted, tmp_path)
    assert "apt-get install libpq-dev" in caught.value.advice

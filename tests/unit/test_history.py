"""The commits of an upgrade's plan, with a real git."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from salina_fleet import history
from salina_fleet.secrets import FakeStore

SOURCE = {"key": None, "known_hosts": ()}


@pytest.fixture
def source(tmp_path: Path) -> dict[str, Any]:
    """A repository, to which `add` adds commits."""
    place = tmp_path / "upstream"
    git(tmp_path, "init", "--quiet", "--initial-branch=main", str(place))
    return {**SOURCE, "repository": f"file://{place}", "place": place}


def git(place: Path, *arguments: str) -> str:
    """Run git, and return its output."""
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
    command = ["git", "-C", str(place), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def add(source: dict[str, Any], *subjects: str) -> str:
    """Add commits, and return the last one."""
    for subject in subjects:
        git(source["place"], "commit", "--quiet", "--allow-empty", "--message", subject)
    return git(source["place"], "rev-parse", "HEAD")


def since(source: dict[str, Any], commit: str, former: str) -> tuple[list[str], str]:
    """Return the commits since a former one, without their hashes."""
    found, unknown = history.since(source, FakeStore(), commit, former[:12])
    return [line.partition(" ")[2] for line in found], unknown


def test_o8_a_plan_has_the_commits_of_the_new_release(source: dict[str, Any]) -> None:
    """O8: The newest first. Newer ones, which the release does not have, are left out."""
    former = add(source, "first")
    commit = add(source, "a field", "a page")
    add(source, "later")
    assert since(source, commit, former) == (["a page", "a field"], "")
    assert since(source, former, former) == ([], "")


def test_o8_a_merge_brings_only_what_is_new(source: dict[str, Any]) -> None:
    """O8: Commits that the former release has already are not new, whatever their date is."""
    add(source, "root")
    git(source["place"], "checkout", "--quiet", "-b", "side")
    add(source, "side")
    git(source["place"], "checkout", "--quiet", "main")
    former = add(source, "main")
    git(source["place"], "merge", "--quiet", "--no-edit", "side")
    merged = git(source["place"], "rev-parse", "HEAD")
    found, unknown = since(source, merged, former)
    assert ({*found}, unknown) == ({"Merge branch 'side'", "side"}, "")


def test_k5_a_former_commit_that_is_not_found(
    source: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """K5: The way is too long, or leads elsewhere. The plan says so, and shows what is known."""
    former = add(source, "first")
    commit = add(source, "one", "two", "three")
    monkeypatch.setattr(history, "MOST", 2)
    words = f"{former[:12]} is not among the 2 commits before it"
    assert since(source, commit, former) == (["three", "two"], words)


def test_k5_a_repository_that_does_not_answer(source: dict[str, Any], tmp_path: Path) -> None:
    """K5: An upgrade needs no repository any more, so its plan goes on."""
    commit = add(source, "first")
    source["repository"] = f"file://{tmp_path}/nowhere"
    found, unknown = since(source, commit, "0" * 12)
    assert found == [] and unknown.startswith("the commits are not known: ")
    missing = FakeStore(without=["deploy-addons"])
    found, unknown = history.since({**source, "key": "addons"}, missing, commit, "0" * 12)
    assert found == [] and "deploy-addons" in unknown


def test_k5_a_commit_does_not_write_to_the_terminal(source: dict[str, Any]) -> None:
    """K5: Its author may be anybody. Control characters are not shown as they are."""
    former = add(source, "first")
    [line], _ = since(source, add(source, "red \x1b[31m"), former)
    assert "\x1b" not in line

"""Checkouts: the module with git for real."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from salt.exceptions import CommandExecutionError

from tests.loading import load
from tests.upstream import Upstream

DATES = {"one": "2021-01-01T00:00:00Z", "two": "2022-02-02T00:00:00Z"}


def run_all(argv: list[str], **options: Any) -> dict[str, Any]:
    """`cmd.run_all` as Salt has it, for real."""
    assert options["python_shell"] is False
    env = {**os.environ, **options["env"]}
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=env)
    return {"retcode": done.returncode, "stdout": done.stdout.strip(), "stderr": done.stderr}


@pytest.fixture
def checkout() -> ModuleType:
    return load("_modules/checkout.py", salt={"cmd.run_all": run_all})


@pytest.fixture
def upstream(tmp_path: Path) -> str:
    """A repository with two commits on `14.0` and a tag on the first."""
    work = tmp_path / "work"
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@x.invalid", "-C", str(work)]
    subprocess.run(["git", "init", "-q", "-b", "14.0", str(work)], check=True)
    for text in ("one", "two"):
        (work / "file").write_text(text)
        subprocess.run([*git, "add", "file"], check=True)
        dated = {**os.environ, "GIT_COMMITTER_DATE": DATES[text]}
        subprocess.run([*git, "commit", "-qm", text], check=True, env=dated)
        if text == "one":
            subprocess.run([*git, "tag", "first"], check=True)
    subprocess.run(["git", "clone", "-q", "--bare", str(work), f"{tmp_path}/up.git"], check=True)
    return f"file://{tmp_path}/up.git"


@pytest.mark.parametrize(("revision", "text"), [("14.0", "two"), ("first", "one")])
def test_staging_then_release(
    checkout: ModuleType, tmp_path: Path, upstream: str, revision: str, text: str
) -> None:
    """O1: Staging comes from the source, and a release is a clone of staging."""
    staging, release = str(tmp_path / "staging"), str(tmp_path / "release")
    assert checkout.status(staging) == {"revision": "", "commit": "", "changed": []}
    assert checkout.revision(staging) == ""
    commit = checkout.update(staging, upstream, revision)
    assert checkout.update(release, staging, revision) == commit
    assert Path(release, "file").read_text() == text
    assert checkout.status(release) == {
        "revision": revision,
        "commit": commit,
        "changed": [],
    }


def test_a_commit_by_its_hash(checkout: ModuleType, tmp_path: Path, upstream: str) -> None:
    """O1: A revision may be the hash of a commit."""
    staging = str(tmp_path / "staging")
    commit = checkout.update(staging, upstream, "first")
    assert checkout.update(str(tmp_path / "other"), upstream, commit) == commit


def test_x10_the_recorded_commit_after_its_branch_has_moved(
    checkout: ModuleType, tmp_path: Path
) -> None:
    """X10: A host that joins later gets the commit, also if a forced push replaced it."""
    upstream = Upstream(tmp_path / "up.git")
    wanted = upstream.commit("wanted", parent=upstream.first)
    upstream.commit("newer", parent=wanted)
    assert checkout.update(str(tmp_path / "joined"), upstream.url, wanted) == wanted
    upstream.commit("forced")
    staging, release = str(tmp_path / "staging"), str(tmp_path / "release")
    assert checkout.update(staging, upstream.url, wanted) == wanted
    assert checkout.update(release, staging, wanted) == wanted
    assert Path(release, "file").read_text() == "wanted"
    upstream.tag("v1", wanted)
    assert checkout.update(str(tmp_path / "by-tag"), upstream.url, "v1") == wanted


def test_x10_staging_with_another_commit_does_not_become_a_release(
    checkout: ModuleType, tmp_path: Path
) -> None:
    """X10, O1: A release takes the recorded commit, or nothing."""
    upstream = Upstream(tmp_path / "up.git")
    other = upstream.commit("other", parent=upstream.first)
    staging, release = str(tmp_path / "staging"), str(tmp_path / "release")
    checkout.update(staging, upstream.url, other)
    with pytest.raises(CommandExecutionError, match=f"has commit {other} checked out, but must"):
        checkout.update(release, staging, upstream.first)
    assert checkout.revision(release) == ""


def test_another_revision(checkout: ModuleType, tmp_path: Path, upstream: str) -> None:
    """O1: Staging and its clone change to another revision."""
    staging, release = str(tmp_path / "staging"), str(tmp_path / "release")
    for revision, text in [("first", "one"), ("14.0", "two"), ("first", "one")]:
        checkout.update(staging, upstream, revision)
        checkout.update(release, staging, revision)
        assert Path(release, "file").read_text() == text
    Path(release, "file").write_text("by hand")
    assert checkout.status(release)["changed"] == ["file"]


def test_files_have_the_time_of_their_commit(
    checkout: ModuleType, tmp_path: Path, upstream: str
) -> None:
    """O1: Files have the time of their commit, because Odoo names what it makes of them after
    it.
    """
    staging, release = str(tmp_path / "staging"), str(tmp_path / "release")
    for revision, text in [("first", "one"), ("14.0", "two")]:
        checkout.update(staging, upstream, revision)
        commit = checkout.update(release, staging, revision)
        committed = ["git", "-C", release, "show", "--no-patch", "--format=%ct", commit]
        time = int(subprocess.check_output(committed))
        for place in (staging, release):
            assert Path(place, "file").read_text() == text
            assert Path(place, "file").stat().st_mtime == time
            assert checkout.status(place)["changed"] == []


def test_a_checkout_that_was_interrupted_is_made_anew(
    checkout: ModuleType, tmp_path: Path, upstream: str
) -> None:
    """O1, K2: git was killed: the checkout has no record, and locks that no process holds."""
    staging = tmp_path / "staging"
    unfinished = tmp_path / "staging.unfinished/.git"
    unfinished.mkdir(parents=True)
    (unfinished / "shallow.lock").touch()
    checkout.update(str(staging), upstream, "first")
    assert not unfinished.exists()
    assert checkout.status(str(staging))["revision"] == "first"
    assert checkout.revision(str(staging)) == "first"


@pytest.mark.parametrize("lock", ["index.lock", "shallow.lock", "config.lock", "HEAD.lock"])
def test_a_new_revision_that_was_interrupted_is_taken_up(
    checkout: ModuleType, tmp_path: Path, upstream: str, lock: str
) -> None:
    """O1, K2: An interrupted change of the revision is finished."""
    staging = tmp_path / "staging"
    checkout.update(str(staging), upstream, "first")
    (staging / ".git" / lock).touch()
    assert checkout.update(str(staging), upstream, "14.0")
    assert (staging / "file").read_text() == "two"
    with pytest.raises(CommandExecutionError, match=r"15\.0"):
        checkout.update(str(staging), upstream, "15.0")
    assert checkout.status(str(staging))["revision"] == ""  # neither the old one nor the new


def test_something_else_in_a_checkout_s_place_stays(
    checkout: ModuleType, tmp_path: Path, upstream: str
) -> None:
    staging = tmp_path / "staging"
    staging.mkdir()
    (staging / "mine").touch()
    with pytest.raises(CommandExecutionError, match="staging is not a checkout that Salina made"):
        checkout.update(str(staging), upstream, "14.0")
    assert (staging / "mine").exists()


def test_revision_that_does_not_exist(checkout: ModuleType, tmp_path: Path, upstream: str) -> None:
    """O1, K5: The error names a revision that does not exist."""
    with pytest.raises(CommandExecutionError, match=r"fetch .* 15\.0: .*remote ref 15\.0"):
        checkout.update(str(tmp_path / "staging"), upstream, "15.0")
    assert checkout.status(str(tmp_path / "staging"))["revision"] == ""

"""The lab's mirror has the repositories that definitions name, and hosts ask it for their URLs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from lab.errors import LabError
from lab.mirror import repositories
from lab.mirror.repositories import Copy, Wanted
from tests.upstream import Upstream

URL = "https://git.example/team/crm.git"
PLACE = "pillar/app/crm.yaml: source"
NONE = "f" * 40
LISTING = (
    "1111\trefs/heads/main\n2222\trefs/heads/19.0\n3333\trefs/tags/v1\n4444\trefs/tags/v1^{}\n"
    "5555\trefs/remotes/origin/18.0\n5555\trefs/remotes/origin/HEAD\n6666\trefs/heads/both\n"
    "7777\trefs/tags/both\n"
)


@pytest.fixture
def upstream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Upstream:
    """The repository behind URL. This machine's git reaches it by another address."""
    found = Upstream(tmp_path / "upstream.git")
    (tmp_path / "gitconfig").write_text(f'[url "{found.url}"]\n\tinsteadOf = {URL}\n')
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    return found


@pytest.mark.parametrize(
    ("revision", "found"),
    [
        ("19.0", ("refs/heads/19.0", "refs/heads/19.0")),
        ("v1", ("refs/tags/v1", "refs/tags/v1")),
        ("both", ("refs/tags/both", "refs/tags/both")),
        ("18.0", ("refs/remotes/origin/18.0", "refs/heads/18.0")),
        ("17.0", ("", "")),
        ("HEAD", ("refs/remotes/origin/HEAD", "refs/heads/HEAD")),
    ],
)
def test_the_ref_of_a_revision(revision: str, found: tuple[str, str]) -> None:
    """A tag comes before a branch, as for git; a clone's own upstream branches come last."""
    assert repositories.choose_ref(LISTING, revision) == found


def test_the_branches_of_a_repository() -> None:
    assert repositories.branches(LISTING) == ["18.0", "19.0", "both", "main"]
    assert repositories.branches("") == []


@pytest.mark.parametrize(
    ("url", "stem"),
    [
        (URL, "crm-"),
        ("git@git.example:team/crm.git", "crm-"),
        ("ssh://git@git.example/crm/", "crm-"),
        ("https://git.example/%20.git", "20-"),
        ("https://git.example/€.git", "repository-"),
    ],
)
def test_the_name_of_a_copy(url: str, stem: str) -> None:
    found = repositories.name(url)
    assert found.startswith(stem) and found.endswith(".git")
    assert len({repositories.name(one) for one in (url, f"{url}2")}) == 2


def test_o1_hosts_ask_the_copy_for_the_url_of_the_definition(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """O1, X10: With git itself: a branch, and a commit without a name, as root's repositories."""
    second = upstream.commit("second", "19.0")
    store, mirror = tmp_path / "store", tmp_path / "mirror"
    wanted = [Wanted(URL, "main", PLACE), Wanted(URL, second, PLACE)]
    copies = repositories.fetch_all(wanted, store)
    assert [copies[one].commit for one in wanted] == [upstream.first, second]
    repositories.publish(store, copies.values(), mirror / repositories.name(URL))
    text = repositories.configuration([URL, URL], ["own.git"])
    text = text.replace(repositories.ON_HOSTS, str(mirror))
    assert text.count("insteadOf") == 1
    (tmp_path / "host").write_text(text)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "host"))
    upstream.path.rename(tmp_path / "away")
    for revision, commit in (("main", upstream.first), (second, second)):
        host = tmp_path / f"host-{revision}"
        subprocess.run(["git", "init", "-q", host], check=True)
        fetch = ["git", "-C", host, "fetch", "-q", "--depth=1", URL, revision]
        subprocess.run(fetch, check=True)
        asked = ["git", "-C", host, "rev-parse", "FETCH_HEAD"]
        assert subprocess.check_output(asked, text=True).strip() == commit
    listed = subprocess.check_output(["git", "ls-remote", "--", URL, "main"], text=True)
    assert listed.split() == [upstream.first, "refs/heads/main"]


def test_the_configuration_of_hosts() -> None:
    name = repositories.name(URL)
    assert repositories.configuration([URL], ["own.git"]) == (
        f'[url "file:///srv/mirror/git/{name}"]\n\tinsteadOf = {URL}\n'
        f"[safe]\n\tdirectory = /srv/mirror/git/own.git\n\tdirectory = /srv/mirror/git/{name}\n"
    )


def test_a_branch_that_moved_is_fetched_again(upstream: Upstream, tmp_path: Path) -> None:
    one = Wanted(URL, "main", PLACE)
    assert repositories.fetch(one, tmp_path / "store").commit == upstream.first
    moved = upstream.commit("other")  # not a descendant
    assert repositories.fetch(one, tmp_path / "store").commit == moved


def test_a_repository_that_is_away_is_needed_no_more(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy of an earlier time is good enough, and somebody is told."""
    said: list[str] = []
    monkeypatch.setattr(repositories.out, "print", said.append)
    store = tmp_path / "store"
    wanted = [Wanted(URL, revision, PLACE) for revision in ("main", upstream.first)]
    before = [repositories.fetch(one, store) for one in wanted]
    upstream.path.rename(tmp_path / "away")
    assert [repositories.fetch(one, store) for one in wanted] == before
    assert len(said) == 1 and "does not answer; the lab uses its copy" in said[0]


def test_k5_a_repository_that_cannot_be_read_is_told(upstream: Upstream, tmp_path: Path) -> None:
    """K5: With the file, git's own reason, and what to do."""
    upstream.path.rename(tmp_path / "away")
    for revision in ("main", NONE):
        with pytest.raises(LabError) as caught:
            repositories.fetch(Wanted(URL, revision, PLACE), tmp_path / "store")
        assert str(caught.value).startswith(f"{PLACE}: this machine cannot read {URL}: ")
        assert "does not appear to be a git repository" in str(caught.value)
        assert "SOURCE=DIR" in caught.value.advice and "insteadOf" in caught.value.advice


@pytest.mark.parametrize("revision", ["18.0", NONE])
def test_k5_a_revision_that_is_missing_is_told(
    upstream: Upstream, tmp_path: Path, revision: str
) -> None:
    """K5: With the branches that there are."""
    upstream.commit("second", "19.0")
    with pytest.raises(LabError, match=f"has no {revision}; its branches: 19.0, main") as caught:
        repositories.fetch(Wanted(URL, revision, PLACE), tmp_path / "store")
    assert caught.value.advice == f"correct {PLACE}.revision, then: make up"
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", "-b", "19.0", upstream.url, clone], check=True)
    with pytest.raises(LabError, match=f"{clone} has no {revision}") as caught:
        repositories.fetch(Wanted(URL, revision, PLACE, clone), tmp_path / "store")
    assert caught.value.advice == f"make up APP=NAME SOURCE={clone} REVISION=BRANCH"


def test_o1_a_clone_stands_for_its_upstream(upstream: Upstream, tmp_path: Path) -> None:
    """O1: A branch that it has only from there, a commit, and a clone without history."""
    second = upstream.commit("second", "19.0", upstream.first)
    clone = tmp_path / "clone"
    argv = ["git", "clone", "-q", "--depth=1", "--no-single-branch", upstream.url, clone]
    subprocess.run(argv, check=True)
    upstream.path.rename(tmp_path / "away")
    for number, revision in enumerate(("19.0", second)):
        one = Wanted(URL, revision, PLACE, clone)
        found = repositories.fetch(one, tmp_path / f"store-{number}")
        assert (found.url, found.commit) == (URL, second)


def test_k5_a_source_that_is_no_repository_is_told(tmp_path: Path) -> None:
    """K5: A directory of files is not one."""
    with pytest.raises(LabError, match="cannot read") as caught:
        repositories.fetch(Wanted(URL, "main", PLACE, tmp_path), tmp_path / "store")
    assert caught.value.advice.startswith("SOURCE must be the directory of a git repository")


def test_files_of_a_copy(upstream: Upstream, tmp_path: Path) -> None:
    copy = repositories.fetch(Wanted(URL, "main", PLACE), tmp_path / "store")
    assert repositories.file(tmp_path / "store", copy, "file") == "first"
    assert repositories.file(tmp_path / "store", copy, "missing") is None


def test_o1_submodules_are_copied_at_their_commits(upstream: Upstream, tmp_path: Path) -> None:
    """O1: A relative URL counts as on a host, and a submodule of a submodule as well."""
    part = Upstream(tmp_path / "part.git")
    with open(os.environ["GIT_CONFIG_GLOBAL"], "a") as file:
        file.write(f'[url "{part.url}"]\n\tinsteadOf = https://git.example/team/part.git\n')
    modules = '[submodule "part"]\n\tpath = lib/part\n\turl = ../part.git\n'
    blob = upstream.git("hash-object", "-w", "--stdin", text=modules)
    lib = upstream.git("mktree", "--missing", text=f"160000 commit {part.first}\tpart\n")
    entries = f"100644 blob {blob}\t.gitmodules\n040000 tree {lib}\tlib\n"
    tree = upstream.git("mktree", text=entries)
    commit = upstream.git("commit-tree", tree, "-m", "with a submodule")
    upstream.git("update-ref", "refs/heads/main", commit)
    one = Wanted(URL, "main", PLACE, submodules=True)
    found = repositories.fetch_all([one], tmp_path / "store")
    part_url = "https://git.example/team/part.git"
    assert {(copy.url, copy.commit) for copy in found.values()} == {
        (URL, commit),
        (part_url, part.first),
    }
    alone = repositories.fetch_all([Wanted(URL, "main", PLACE)], tmp_path / "store")
    assert len(alone) == 1
    grouped = repositories.by_url(found.values())
    assert [len(copies) for copies in grouped.values()] == [1, 1]


def test_k5_a_submodule_without_a_url_is_told(upstream: Upstream, tmp_path: Path) -> None:
    """K5: The message names the submodule."""
    blob = upstream.git("hash-object", "-w", "--stdin", text="")
    entries = f"100644 blob {blob}\t.gitmodules\n160000 commit {NONE}\tpart\n"
    tree = upstream.git("mktree", "--missing", text=entries)
    commit = upstream.git("commit-tree", tree, "-m", "x")
    upstream.git("update-ref", "refs/heads/main", commit)
    one = Wanted(URL, "main", PLACE, submodules=True)
    with pytest.raises(LabError, match=f"^{PLACE}: submodule part: "):
        repositories.fetch_all([one], tmp_path / "store")


def test_a_copy_is_published_with_its_revisions_only(upstream: Upstream, tmp_path: Path) -> None:
    upstream.commit("second", "19.0")
    store, root = tmp_path / "store", tmp_path / "root"
    for revision in ("main", "19.0"):
        repositories.fetch(Wanted(URL, revision, PLACE), store)
    root.mkdir()
    copy = Copy(URL, "refs/heads/19.0", upstream.git("rev-parse", "19.0"))
    repositories.publish(store, [copy], root)
    listed = subprocess.check_output(["git", "ls-remote", str(root)], text=True).split()
    assert listed == [copy.commit, "HEAD", copy.commit, "refs/heads/19.0"]

"""Git repositories: the URLs of submodules, and how git logs in with a deploy key (X10, K4)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from salina.application import git

KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\ncanary\n-----END OPENSSH PRIVATE KEY-----"
KNOWN = ["git.example ssh-ed25519 AAAA", "[git.example]:2222 ssh-ed25519 BBBB"]


@pytest.mark.parametrize(
    ("parent", "url", "found"),
    [
        ("https://git.example/team/app.git", "../lib.git", "https://git.example/team/lib.git"),
        (
            "https://git.example/team/app.git",
            "./lib.git",
            "https://git.example/team/app.git/lib.git",
        ),
        ("https://git.example/team/app/", "../../x/lib", "https://git.example/x/lib"),
        ("git@git.example:team/app.git", "../lib.git", "git@git.example:team/lib.git"),
        ("git@git.example:team/app.git", "../../x/lib.git", "git@git.example:x/lib.git"),
        ("ssh://git@git.example:2222/a/b", "../c", "ssh://git@git.example:2222/a/c"),
        ("file:///srv/git/app.git", "../lib.git", "file:///srv/git/lib.git"),
        ("file:///srv/git/app.git", "file:///srv/other.git", "file:///srv/other.git"),
        ("https://git.example/a", "git@git.example:lib.git", "git@git.example:lib.git"),
        ("https://git.example/a", "https://other.example/lib", "https://other.example/lib"),
    ],
)
def test_o1_the_repository_of_a_submodule(parent: str, url: str, found: str) -> None:
    """O1: A relative URL means the same as for git."""
    assert git.submodule(parent, url) == found


@pytest.mark.parametrize(
    ("parent", "url"),
    [
        ("https://git.example/app", "file:///root/secret.git"),
        ("git@git.example:app", "file:///root/secret.git"),
        ("https://git.example/app", "/root/secret.git"),
        ("https://git.example/app", "ext::sh -c evil"),
        ("https://git.example/app", "http://git.example/lib"),
        ("https://git.example/app", "git://git.example/lib"),
        ("https://git.example/app", "--upload-pack=evil"),
        ("https://git.example/app", ""),
        ("git@git.example:app", "../../lib"),
        ("file:///srv/app", "ext::sh -c evil"),
    ],
)
def test_x10_a_submodule_of_another_kind_is_refused(parent: str, url: str) -> None:
    """X10, K5: Only the URLs that a definition may have; a local one in a local repository only."""
    with pytest.raises(
        ValueError, match="is not valid; must be a git URL: https://, ssh://"
    ) as told:
        git.submodule(parent, url)
    assert ("file:///" in str(told.value).partition(";")[2]) is parent.startswith("file:///")


@pytest.mark.parametrize(
    ("repository", "server"),
    [
        ("ssh://git@git.example/team/app.git", "git.example"),
        ("ssh://git@git.example:22/team/app.git", "git.example"),
        ("ssh://git@Git.example:2222/team/app.git", "[git.example]:2222"),
        ("ssh://git@[fd00::1]:2222/app.git", "[fd00::1]:2222"),
        ("ssh://git.example/app.git", "git.example"),
        ("git@git.example:team/app.git", "git.example"),
    ],
)
def test_the_name_of_a_server(repository: str, server: str) -> None:
    """It is the one that OpenSSH looks for in a known_hosts file."""
    assert git.by_ssh(repository)
    assert git.server(repository) == server


def test_other_urls_are_not_by_ssh() -> None:
    """They need no deploy key."""
    assert not git.by_ssh("https://git.example/x.git")
    assert not git.by_ssh("file:///srv/x.git")


@pytest.mark.parametrize(
    ("repository", "remote"),
    [
        ("https://git.example/x.git", ("https", "git.example", 443)),
        ("https://git.example:8443/x.git", ("https", "git.example", 8443)),
        ("ssh://git@git.example:/x.git", ("ssh", "git.example", 22)),
        ("ssh://git@[fd00::1]:2222/x.git", ("ssh", "fd00::1", 2222)),
        ("git@Git.example:2222/x.git", ("ssh", "git.example", 22)),  # 2222 is a folder
        ("file:///srv/x.git", ("file", "", None)),
    ],
)
def test_the_place_that_git_fetches_from(repository: str, remote: tuple[str, str, int]) -> None:
    """A local repository has no server and no port."""
    assert git.remote(repository) == remote


def test_k4_git_uses_a_key_and_forgets_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """K4: Only root reads the files, the variables do not have the key, and nothing remains."""
    monkeypatch.setattr(git, "PRIVATE", str(tmp_path))
    with git.environment(KEY, KNOWN) as found:
        assert {*found} == {"GIT_TERMINAL_PROMPT", "GIT_SSH_COMMAND"}
        (place,) = tmp_path.iterdir()
        files = {path.name: path.read_text() for path in place.iterdir()}
        modes = {path.stat().st_mode & 0o777 for path in place.iterdir()}
        assert (place.stat().st_mode & 0o777, modes) == (0o700, {0o600})
    assert files == {"key": f"{KEY}\n", "known_hosts": "".join(f"{one}\n" for one in KNOWN)}
    assert "canary" not in str(found)
    words = found["GIT_SSH_COMMAND"].split(" -o ")
    assert {"StrictHostKeyChecking=yes", "IdentitiesOnly=yes", "BatchMode=yes"} <= {*words}
    assert {"GlobalKnownHostsFile=/dev/null", f"UserKnownHostsFile={place}/known_hosts"} <= {*words}
    assert os.listdir(tmp_path) == []


def test_k4_the_key_is_gone_after_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """K4: Also if git fails."""
    monkeypatch.setattr(git, "PRIVATE", str(tmp_path))
    with pytest.raises(KeyError), git.environment(KEY, KNOWN):
        raise KeyError
    assert os.listdir(tmp_path) == []


def test_without_a_key_the_host_s_own_configuration_counts() -> None:
    """It may have keys of its own, as before there were deploy keys."""
    with git.environment(None, []) as found:
        assert found == {"GIT_TERMINAL_PROMPT": "0"}

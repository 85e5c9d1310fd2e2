"""Check out an application's code from git, at one revision and without its history."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from salt.exceptions import CommandExecutionError

from salina.application import commits
from salina.common import commands, file

__salt__: dict[str, Any]

#: A file in a complete checkout. It holds the revision as the state named it, and is written last.
RECORD = ".git/salina-revision"


def revision(path: str) -> str:
    """Return the revision of a complete checkout, as it was requested. This does not run git.

    Args:
        path: the work tree.

    Returns:
        The branch, tag or commit, or "" if there is no complete checkout.

    CLI Example:
        salt s1 checkout.revision /opt/odoo/production
    """
    record = Path(path) / RECORD
    return record.read_text().strip() if record.exists() else ""


def status(path: str) -> dict[str, Any]:
    """Return what a directory has checked out.

    Args:
        path: the work tree.

    Returns:
        `revision` as it was requested, its `commit`, and the list of `changed` files. The values
        are empty if there is no complete checkout.

    Raises:
        CommandExecutionError: git failed.

    CLI Example:
        salt s1 checkout.status /opt/odoo/production
    """
    if not (Path(path) / RECORD).exists():
        return {"revision": "", "commit": "", "changed": []}
    status = _git(path, "status", "--porcelain=v2", "--branch", "--untracked-files=no").splitlines()
    return {
        "revision": revision(path),
        "commit": next(line.split()[-1] for line in status if line.startswith("# branch.oid")),
        "changed": [line.split()[-1] for line in status if not line.startswith("#")],
    }


def update(path: str, repository: str, revision: str) -> str:
    """Bring a checkout to a revision. This deletes local changes.

    From a URL, git fetches only that revision, without its history. From a path, the new checkout
    is a local clone of the revision that the other one has checked out.

    A new checkout is built under another name and renamed when it is complete. The record of an
    existing checkout is empty during the change. So an interrupted checkout is never taken for a
    complete one.

    Args:
        path: the work tree.
        repository: a git URL, or the path of another checkout on this host.
        revision: a branch, tag or commit. It is recorded, so `checkout.status` needs no network.
            The states give a commit, which the master has looked up for all hosts.

    Returns:
        The commit.

    Raises:
        CommandExecutionError: git failed, the path holds something else, or a path as repository
            has another commit than the requested one.

    CLI Example:
        salt s1 checkout.update /opt/odoo/staging https://git.example/odoo.git 19.0
    """
    # a checkout without history takes another such revision only with --update-shallow
    local = repository.startswith("/")
    option, wanted = ("--update-shallow", "HEAD") if local else ("--depth=1", revision)
    home = Path(path)
    place = _begin(home)
    _git(place, "config", "remote.origin.url", repository)
    if local:
        _share(Path(repository, ".git"), place / ".git")
    _git(place, "fetch", "--quiet", option, "origin", wanted)
    commit = _git(place, "rev-parse", "FETCH_HEAD^{commit}")
    if commits.is_full(revision) and commit != revision:
        raise CommandExecutionError(
            f"{repository} has commit {commit} checked out, but must have {revision}; delete it, "
            "then apply again"
        )
    _git(place, "checkout", "--quiet", "--force", "--detach", commit)
    _date(place)
    file.put(place / RECORD, f"{revision}\n")
    try:
        place.rename(home)
    except OSError as error:
        raise CommandExecutionError(
            f"{path} is not a checkout that Salina made ({error.strerror}); move it away, then "
            "apply again"
        ) from error
    return commit


def _begin(home: Path) -> Path:
    """Return where to work: the existing checkout, or a new one beside its final place."""
    if (home / RECORD).exists():
        file.put(home / RECORD, "")
        for lock in (home / ".git").glob("*.lock"):  # a killed git leaves these
            lock.unlink()
        return home
    aside = home.with_name(f"{home.name}.unfinished")
    if aside.exists():
        shutil.rmtree(aside)
    _command(["git", "init", "--quiet", str(aside)])
    return aside


def _share(source: Path, target: Path) -> None:
    """Link the objects of another repository on this host into this one.

    `git clone --local` does the same, but not for a repository without its history. Where links
    are impossible, for instance between two file systems, git copies the objects when it fetches.
    """

    def link(old: str, new: str) -> None:
        if not os.path.exists(new):
            os.link(old, new)

    objects = source / "objects", target / "objects"
    try:
        shutil.copytree(*objects, copy_function=link, dirs_exist_ok=True)
    except OSError:
        return
    if (source / "shallow").exists():
        shutil.copy(source / "shallow", target / "shallow")


def _date(place: Path) -> None:
    """Set the time of every file to the time of its commit, so that it is the same on all hosts.

    Odoo names its bundles of scripts and styles after the times of their files. If the times
    differed, each host would delete the bundles of the others and build them again at each request.
    """
    time = int(_git(place, "log", "-1", "--format=%ct"))
    for name in filter(None, _git(place, "ls-files", "-z").split("\0")):
        os.utime(place / name, (time, time), follow_symlinks=False)
    _git(place, "update-index", "-q", "--refresh")  # so that `status` need not read all files


def _git(path: str | Path, *arguments: str) -> str:
    return _command(["git", "-C", str(path), *arguments])


def _command(argv: list[str]) -> str:
    """Run a command that never asks for a password, and return its output."""
    return commands.run(__salt__["cmd.run_all"], argv, env={"GIT_TERMINAL_PROMPT": "0"})

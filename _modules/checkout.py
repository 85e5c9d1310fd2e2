"""Check out an application's code from git, at one revision and without its history."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from salt.exceptions import CommandExecutionError

from salina.application import commits, git
from salina.common import commands, file

__salt__: dict[str, Any]

#: A file in a complete checkout. It holds the revision as the state named it, and is written last.
RECORD = ".git/salina-revision"
#: The mode of a submodule in git's index.
LINK = "160000"
#: The file of a repository that names its submodules.
MODULES = ".gitmodules"
#: The checkouts of the submodules, in a checkout from a URL. No file of the code can be there.
SUBMODULES = ".git/salina-submodules"


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


def update(
    path: str,
    repository: str,
    revision: str,
    submodules: bool = False,
    key: str | None = None,
    known_hosts: list[str] | None = None,
) -> str:
    """Bring a checkout to a revision. This deletes local changes.

    From a URL, git fetches only that revision, without its history. From a path, the new checkout
    is a local clone of the revision that the other one has checked out.

    A new checkout is built under another name and renamed when it is complete. The record of an
    existing checkout is empty during the change. So an interrupted checkout is never taken for a
    complete one.

    Submodules are checkouts of their own, each at the commit that the code names. From a URL they
    are beside the repository's objects, and from a path in their places in the work tree.

    Args:
        path: the work tree.
        repository: a git URL, or the path of another checkout on this host.
        revision: a branch, tag or commit. It is recorded, so `checkout.status` needs no network.
            The states give a commit, which the master has looked up for all hosts.
        submodules: whether the submodules are checked out as well, and theirs.
        key: the deploy key of a private repository, which git also uses for its submodules. Give it
            from the pillar only, because Salt records the arguments of a command.
        known_hosts: the public keys of git servers, as lines of a known_hosts file; with a key.

    Returns:
        The commit.

    Raises:
        CommandExecutionError: git failed, the path holds something else, a path as repository
            has another commit than the requested one, or the URL of a submodule is not valid.

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
    with git.environment(key, known_hosts or []) as env:
        _git(place, "fetch", "--quiet", option, "origin", wanted, env=env)
    commit = _git(place, "rev-parse", "FETCH_HEAD^{commit}")
    if commits.is_full(revision) and commit != revision:
        raise CommandExecutionError(
            f"{repository} has commit {commit} checked out, but must have {revision}; delete it, "
            "then apply again"
        )
    _git(place, "checkout", "--quiet", "--force", "--detach", commit)
    _date(place)
    for one in _submodules(place, repository) if submodules else ():
        inside = place / (one.path if local else one.own)
        inside.parent.mkdir(parents=True, exist_ok=True)
        update(str(inside), one.repository, one.commit, True, key, known_hosts)
    file.put(place / RECORD, f"{revision}\n")
    try:
        place.rename(home)
    except OSError as error:
        raise CommandExecutionError(
            f"{path} is not a checkout that Salina made ({error.strerror}); move it away, then "
            "apply again"
        ) from error
    return commit


class Submodule(NamedTuple):
    """A submodule: its path, the commit that the code names, and its repository.

    `own`: where its checkout is, beside the objects of a repository from a URL.
    """

    path: str
    commit: str
    repository: str
    own: str


def _submodules(place: Path, repository: str) -> Iterator[Submodule]:
    """Yield the submodules. A local clone has them from the checkouts of the other one."""
    listed = [line.split(maxsplit=3) for line in _listed(place, "ls-files", "--stage", "-z")]
    urls = _urls(place) if any(path == MODULES for *_, path in listed) else {}
    for path, commit in ((path, commit) for mode, commit, _, path in listed if mode == LINK):
        own, fault = f"{SUBMODULES}/{quote(path, safe='')}", f"{repository}: submodule {path}"
        if repository.startswith("/"):
            yield Submodule(path, commit, f"{repository}/{own}", own)
            continue
        if path not in urls:
            raise CommandExecutionError(f"{fault}: {MODULES} must have its path and its url")
        try:
            yield Submodule(path, commit, git.submodule(repository, urls[path]), own)
        except ValueError as error:
            raise CommandExecutionError(f"{fault}: {error}") from None


def _urls(place: Path) -> dict[str, str]:
    """Return the URL of each submodule by its path, from the commit and not from the work tree."""
    found: dict[str, dict[str, str]] = {}
    for entry in _listed(place, "config", "-z", f"--blob=HEAD:{MODULES}", "--list"):
        name, _, value = entry.partition("\n")
        submodule, _, key = name.rpartition(".")
        found.setdefault(submodule, {})[key] = value
    return {one["path"]: one["url"] for one in found.values() if {"path", "url"} <= one.keys()}


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
    for name in _listed(place, "ls-files", "-z"):
        os.utime(place / name, (time, time), follow_symlinks=False)
    _git(place, "update-index", "-q", "--refresh")  # so that `status` need not read all files


def _listed(path: Path, *arguments: str) -> list[str]:
    """Run git, and return the items of its output, each of which ends with a NUL."""
    return [item for item in _git(path, *arguments).split("\0") if item]


def _git(path: str | Path, *arguments: str, env: Mapping[str, str] | None = None) -> str:
    return _command(["git", "-C", str(path), *arguments], env)


def _command(argv: list[str], env: Mapping[str, str] | None = None) -> str:
    return commands.run(__salt__["cmd.run_all"], argv, env=env or {})

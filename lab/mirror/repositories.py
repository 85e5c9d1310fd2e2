"""Copy the git repositories that definitions name into the lab's mirror.

git asks each repository as on any machine, so `url.<base>.insteadOf` in its configuration counts. A
clone on this machine can take the place of one repository (`make up SOURCE=DIR`). Each copy has one
branch or tag for each revision, without history. The lab's hosts ask the same URLs as real hosts,
and their git replaces each by its copy (`configuration`).
"""

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lab.commands.console import out
from lab.errors import LabError
from lab.mirror.cache import digest
from lab.process import run
from salina.application import commits, git

ON_HOSTS = "/srv/mirror/git"
OWN = f"file://{ON_HOSTS}/"  # repositories with this URL are made by the lab itself
MODULES = ".gitmodules"
LINK = "160000"  # the mode of a submodule in a tree
PATIENCE = 1800.0  # seconds; Odoo has 400 MB


@dataclass(frozen=True)
class Wanted:
    """One revision of a repository.

    Args:
        url: The repository, as the definition names it.
        revision: A branch, a tag or a full commit.
        place: Where the definition names it, for messages.
        source: A clone on this machine to ask instead.
        submodules: Whether the hosts also need its submodules.
    """

    url: str
    revision: str
    place: str
    source: Path | None = None
    submodules: bool = False

    @property
    def asked(self) -> str:
        """Return the repository that git asks."""
        return str(self.source) if self.source else self.url


@dataclass(frozen=True)
class Copy:
    """One revision that was copied: the repository's URL, and the ref and the commit there."""

    url: str
    ref: str
    commit: str


def name(url: str) -> str:
    """Return the name of a repository's copy: the end of its URL, and a digest of the URL.

    >>> name("https://git.example/team/crm.git")
    'crm-9b2f9cd40f0a.git'
    """
    last = re.split(r"[/:]", url.rstrip("/"))[-1].removesuffix(".git")
    return f"{re.sub(r'[^A-Za-z0-9._-]', '', last) or 'repository'}-{digest(url)}.git"


def choose_ref(listing: str, revision: str) -> tuple[str, str]:
    """Return the ref of a branch or tag in the output of `git ls-remote`, and its name in the copy.

    A branch that a clone has only from its own upstream counts as well.

    Args:
        listing: Lines of COMMIT, a tab, and the ref.
        revision: The name of the branch or tag.

    Returns:
        Two refs, or two empty texts if there is no such branch and no such tag.
    """
    refs = {line.split("\t")[1] for line in listing.splitlines() if "\t" in line}
    branch = f"refs/heads/{revision}"
    for ref, own in (
        (f"refs/tags/{revision}", f"refs/tags/{revision}"),
        (branch, branch),
        (f"refs/remotes/origin/{revision}", branch),
    ):
        if ref in refs:
            return ref, own
    return "", ""


def branches(listing: str) -> list[str]:
    """Return the names of the branches in the output of `git ls-remote`."""
    found = re.findall(r"\trefs/(?:heads|remotes/origin)/(\S+)$", listing, re.MULTILINE)
    return sorted(set(found) - {"HEAD"})


def configuration(urls: Iterable[str], own: Iterable[str] = ()) -> str:
    """Return git's configuration for the hosts: each URL is replaced by its copy in the mirror.

    Root owns the copies; any user may clone them, as from a public server.

    Args:
        urls: The repositories with a copy.
        own: The names of further repositories in the mirror.
    """
    copies = {url: name(url) for url in sorted(set(urls))}
    lines = []
    for url, copy in copies.items():
        lines += [f'[url "{OWN}{copy}"]', f"\tinsteadOf = {url}"]
    lines += ["[safe]", *(f"\tdirectory = {ON_HOSTS}/{one}" for one in [*own, *copies.values()])]
    return "".join(f"{line}\n" for line in lines)


def fetch(wanted: Wanted, store: Path) -> Copy:
    """Copy one revision, if the store does not have it.

    A commit is fetched once. A branch or tag is looked up each time; if that fails, the copy of an
    earlier time is good enough, since the hosts cannot tell.

    Args:
        wanted: The revision.
        store: The directory of the copies, which is kept between runs.

    Raises:
        LabError: The repository cannot be reached, or does not have the revision.
    """
    home = store / name(wanted.url)
    if not (home / "HEAD").exists():
        run(["git", "init", "--quiet", "--bare", home])
    if commits.is_full(wanted.revision):
        theirs, own = wanted.revision, f"refs/heads/commit-{wanted.revision}"
        if _commit(home, own) == wanted.revision:
            return Copy(wanted.url, own, wanted.revision)
    else:
        listing = run(_git("ls-remote", "--", wanted.asked), check=False, timeout=PATIENCE)
        theirs, own = choose_ref(listing.stdout, wanted.revision)
        if listing.returncode:
            return _earlier(home, wanted, listing.stderr)
        if not theirs:
            raise _no_revision(wanted, listing.stdout)
    # the revision may have moved to a commit that does not follow the former one
    specification = f"+{theirs}:{own}"
    argv = _git(f"--git-dir={home}", "fetch", "--quiet", "--depth=1", "--no-tags", "--force")
    done = run([*argv, "--", wanted.asked, specification], check=False, timeout=PATIENCE)
    if done.returncode:
        if theirs == wanted.revision and reaches(wanted):
            listing = run(_git("ls-remote", "--", wanted.asked), check=False, timeout=PATIENCE)
            raise _no_revision(wanted, listing.stdout)
        return _earlier(home, wanted, done.stderr)
    return Copy(wanted.url, own, _commit(home, own))


def reaches(wanted: Wanted) -> bool:
    """Return whether this machine reaches a repository."""
    return not run(_git("ls-remote", "--", wanted.asked, "HEAD"), check=False).returncode


def fetch_all(wanted: Iterable[Wanted], store: Path) -> Mapping[Wanted, Copy]:
    """Copy revisions, and the submodules of those that need them. Return the copy of each.

    Raises:
        LabError: A repository cannot be reached, or does not have its revision.
    """
    found: dict[Wanted, Copy] = {}
    left = list(wanted)
    while left:
        one = left.pop()
        if one not in found:
            found[one] = fetch(one, store)
            if one.submodules:
                left += _submodules(store / name(one.url), one, found[one].commit)
    return found


def file(store: Path, copy: Copy, path: str) -> str | None:
    """Return the text of a file of a revision, or None if there is no such file.

    A link is not followed, so it has no text either.
    """
    home = f"--git-dir={store / name(copy.url)}"
    entry = run(_git(home, "ls-tree", copy.commit, "--", path), check=False).stdout
    if not entry.startswith("100"):  # the mode of a file; 120000 is a link, 040000 a directory
        return None
    return run(_git(home, "show", f"{copy.commit}:{path}")).stdout


def publish(store: Path, copies: Iterable[Copy], root: Path) -> None:
    """Make an empty directory a repository with exactly these revisions.

    Args:
        store: The directory of the copies.
        copies: Revisions of one repository.
        root: The directory.
    """
    known = sorted(copies, key=lambda copy: copy.ref)
    home = store / name(known[0].url)
    # HEAD names a branch that exists, for people who look inside
    branch = next((one.ref for one in known if one.ref.startswith("refs/heads/")), "")
    run(["git", "init", "--quiet", "--bare", root])
    run(["cp", "--recursive", "--link", f"{home}/objects/.", f"{root}/objects/"])
    if (home / "shallow").exists():
        run(["cp", home / "shallow", root / "shallow"])
    for one in known:
        run(_git(f"--git-dir={root}", "update-ref", one.ref, one.commit))
    if branch:
        run(_git(f"--git-dir={root}", "symbolic-ref", "HEAD", branch))


def by_url(copies: Iterable[Copy]) -> Mapping[str, list[Copy]]:
    """Return the copies of each repository."""
    found: dict[str, list[Copy]] = {}
    for one in copies:
        found.setdefault(one.url, []).append(one)
    return found


def _submodules(home: Path, parent: Wanted, commit: str) -> list[Wanted]:
    """Return the submodules of a commit as a host would fetch them."""
    inside = _git(f"--git-dir={home}")
    tree = run([*inside, "ls-tree", "-r", "-z", commit]).stdout.split("\0")
    entries = [line.partition("\t") for line in tree if line.startswith(LINK)]
    if not entries:
        return []
    blob = f"--blob={commit}:{MODULES}"
    urls = submodule_urls(run([*inside, "config", "-z", blob, "--list"]).stdout)
    found = []
    for head, _, path in entries:
        place = f"{parent.place}: submodule {path}"
        try:
            url = git.submodule(parent.url, urls[path])
        except (KeyError, ValueError) as error:
            raise LabError(f"{place}: {error}", f"correct {MODULES} of {parent.url}") from error
        found.append(Wanted(url, head.split()[2], place, submodules=True))
    return found


def submodule_urls(listing: str) -> dict[str, str]:
    """Return the URL of each submodule by its path, from the output of `git config -z --list`."""
    found: dict[str, dict[str, str]] = {}
    for entry in filter(None, listing.split("\0")):
        key, _, value = entry.partition("\n")
        submodule, _, word = key.rpartition(".")
        found.setdefault(submodule, {})[word] = value
    return {one["path"]: one["url"] for one in found.values() if {"path", "url"} <= one.keys()}


def _earlier(home: Path, wanted: Wanted, said: str) -> Copy:
    """Return the copy of an earlier run.

    Raises:
        LabError: There is none.
    """
    ours = [f"refs/{kind}/{wanted.revision}" for kind in ("tags", "heads")]
    if commits.is_full(wanted.revision):
        ours = [f"refs/heads/commit-{wanted.revision}"]
    why = " ".join(said.split()[-60:]) or "no answer"
    for ref in ours:
        if commit := _commit(home, ref):
            out.print(f"  {wanted.asked} does not answer; the lab uses its copy of {commit[:12]}")
            return Copy(wanted.url, ref, commit)
    advice = "give a clone on this machine: make up APP=NAME SOURCE=DIR"
    if wanted.source:
        advice = "SOURCE must be the directory of a git repository that root may read"
    raise LabError(
        f"{wanted.place}: this machine cannot read {wanted.asked}: {why}",
        f"{advice}   (or set url.<base>.insteadOf in this machine's git configuration)",
    )


def _no_revision(wanted: Wanted, listing: str) -> LabError:
    """Return the error about a revision that a repository does not have."""
    has = branches(listing)
    shown = ", ".join(has[:8]) + (f" and {len(has) - 8} more" if has[8:] else "")
    advice = f"correct {wanted.place}.revision, then: make up"
    if wanted.source:
        choice = has[0] if len(has) == 1 else "BRANCH"
        advice = f"make up APP=NAME SOURCE={wanted.source} REVISION={choice}"
    return LabError(
        f"{wanted.place}: {wanted.asked} has no {wanted.revision}; its branches: {shown or 'none'}",
        advice,
    )


def _commit(home: Path, ref: str) -> str:
    """Return the commit of a ref, or "" if there is none."""
    argv = _git(f"--git-dir={home}", "rev-parse", "--quiet", "--verify", f"{ref}^{{commit}}")
    return run(argv, check=False).stdout.strip()


def _git(*arguments: str) -> list[str]:
    """Return a command of git that asks no person, with this machine's own configuration."""
    settings = ["env", "GIT_TERMINAL_PROMPT=0", "LC_ALL=C"]
    if "GIT_SSH_COMMAND" not in os.environ:
        settings.append("GIT_SSH_COMMAND=ssh -o BatchMode=yes")
    return [*settings, "git", *arguments]

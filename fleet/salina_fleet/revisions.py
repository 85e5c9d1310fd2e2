"""The commit of each repository: looked up once, recorded on the master, and given to every host.

A definition (a file of pillar/app) names a branch, a tag or a commit. If each host looked up a
branch by itself, hosts that apply at different times could run different commits. So only the
master looks it up, and every pillar names the recorded commit, also after the branch has moved.

The records are one JSON file beside the members. A record counts for one repository and one
revision: when the definition names another, the master looks that up at the first use, which may be
a pillar. A full commit is its own record and needs no network. The record of `source` has the
definition's name, and that of a further repository DEFINITION/NAME (`release.sources`).
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from salina.application import git
from salina.application.commits import is_full
from salina.common import file, reading
from salina_fleet import secrets
from salina_fleet.schema.document import DataError, show
from salina_fleet.schema.faults import invalid

FILE = "revisions.json"
LOCK = "revisions.lock"
"""One process looks revisions up at a time. The file holds the failures of the last attempts."""
ANSWER = 20
"""Seconds for the answer of a repository."""
TIMED_OUT = 124
"""The exit code of `timeout` after that."""
PAUSE = 60
"""Seconds for which a pillar repeats a failure without asking the repository again."""
BRANCH = "refs/heads/{}"
KEYS = {"repository", "revision", "commit"}

Source = Mapping[str, Any]
"""A repository of a definition, as `salina_fleet.model.release.sources` returns it."""


class RevisionError(DataError):
    """Revisions that cannot be looked up, or a damaged file of records."""

    def __str__(self) -> str:
        return f"{super().__str__()}\nnext: salt-run fleet.resolve"


class Commits(Protocol):
    """The part of the records that a pillar needs."""

    def commit(self, name: str, source: Source) -> str:
        """The commit of a repository."""
        ...


class Revisions:
    """The records in a state directory of a master."""

    def __init__(self, state: str | Path) -> None:
        self.file = Path(state) / FILE
        self._lock = Path(state) / LOCK
        self._secrets = secrets.open_store(state)

    def recorded(self) -> dict[str, dict[str, str]]:
        """Return the record of each repository: its `repository`, `revision` and `commit`.

        Raises:
            RevisionError: the file is damaged, or cannot be read.
        """
        try:
            data = json.loads(reading.read(self.file))
        except FileNotFoundError:
            return {}
        except OSError as error:
            fault = f"the file cannot be read: {error.strerror}"
            raise RevisionError(str(self.file), [fault]) from error
        except (ValueError, RecursionError) as error:
            raise self._damaged(str(error)) from error
        if not isinstance(data, dict):
            raise self._damaged(invalid(data, "a mapping of definitions"))
        for name, record in data.items():
            if not _sound(record):
                words = f"a mapping with {', '.join(sorted(KEYS))}"
                raise self._damaged(f"{name}: {invalid(record, words)}")
        return data

    def commit(self, name: str, source: Source) -> str:
        """Return the commit of a repository, for a pillar.

        Without a record, look the revision up and record it. After a failure the next pillars
        repeat the failure for a while, so a repository that is away is not asked for each minion.

        Args:
            name: the name of the record.
            source: the repository.

        Raises:
            RevisionError: the revision cannot be looked up, or the file is damaged.
        """
        return (
            _known(self.recorded(), name, source)
            or self._look_up({name: source}, newest=False, pause=PAUSE)[name]
        )

    def ensure(self, sources: Mapping[str, Source]) -> dict[str, str]:
        """Return the commit of each repository; look up only those without a record.

        Args:
            sources: the repositories by the names of their records.

        Raises:
            RevisionError: with every revision that cannot be looked up. None was recorded then.
        """
        recorded = self.recorded()
        known = {name: _known(recorded, name, source) for name, source in sources.items()}
        return known if all(known.values()) else self._look_up(sources, newest=False, pause=0)

    def renew(self, sources: Mapping[str, Source]) -> dict[str, str]:
        """Look up and record the newest commit of each repository, and return them.

        Args:
            sources: the repositories by the names of their records.

        Raises:
            RevisionError: with every revision that cannot be looked up. None was recorded then.
        """
        return self._look_up(sources, newest=True, pause=0)

    def _look_up(
        self, sources: Mapping[str, Source], *, newest: bool, pause: int
    ) -> dict[str, str]:
        """Look up what has no record yet (or everything, for the `newest`), and record it."""
        faults, commits = {}, {}
        with self._locked() as failures:
            recorded = self.recorded()  # another process may have recorded it meanwhile
            for name, source in sources.items():
                commits[name] = _known(recorded, name, source)
                if commits[name] and (not newest or is_full(source["revision"])):
                    continue
                last = failures.pop(name, {})
                fault = _repeated(last, source, pause)
                if not fault:
                    last = {**_identity(source), "time": time.time()}
                    commits[name], fault = look_up(name, source, self._secrets)
                if fault:
                    faults[name] = fault
                    failures[name] = last | {"fault": fault}
                recorded[name] = {**_identity(source), "commit": commits[name]}
            if not faults:
                file.put(self.file, json.dumps(recorded, indent=2) + "\n")
        if faults:
            raise RevisionError("salina", faults.values())
        return commits

    @contextmanager
    def _locked(self) -> Iterator[dict[str, dict[str, Any]]]:
        """Keep other processes out, and keep the failures that the block leaves in the mapping."""
        try:
            self._lock.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            fault = f"the file cannot be opened: {error.strerror}"
            raise RevisionError(str(self._lock), [fault]) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            failures = _failures(os.pread(descriptor, 1_000_000, 0))
            yield failures
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(failures).encode(), 0)
        finally:
            os.close(descriptor)

    def _damaged(self, why: str) -> RevisionError:
        advice = "restore it from a backup, or delete it: then every branch is looked up again"
        return RevisionError(str(self.file), [f"the file is damaged: {why}; {advice}"])


def look_up(name: str, source: Source, store: secrets.Source) -> tuple[str, str]:
    """Ask a repository for the commit of a revision.

    Args:
        name: the name of the record, for the message.
        source: the repository.
        store: the secrets, for a deploy key.

    Returns:
        The commit and "", or "" and a fault with its file and path.
    """
    repository, revision = source["repository"], source["revision"]
    asked = [revision, f"{revision}^{{}}"]
    # `timeout` ends git's own helpers too, which would keep this process waiting
    argv = ["timeout", str(ANSWER), "git", "ls-remote", "--", repository, *asked]
    try:
        key = secrets.deploy_key(store, source["key"])
    except secrets.SecretsError as error:
        return "", _fault(name, source, "key", str(error))
    with git.environment(key, source["known_hosts"]) as access:
        env = {**os.environ, **access, "LC_ALL": "C"}
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, env=env
        )
    if done.returncode:
        why = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        if done.returncode == TIMED_OUT:
            why = f"no answer within {ANSWER} s"
        message = f"the master cannot read {show(repository)}: {why}; correct it"
        return "", _fault(name, source, "repository", message)
    refs = {ref: commit for commit, ref in map(str.split, done.stdout.splitlines())}
    # the order in which git itself looks for a name; ^{} is the commit of an annotated tag
    for ref in (place.format(revision) for place in ("{}", "refs/{}", "refs/tags/{}", BRANCH)):
        for found in (f"{ref}^{{}}", ref):
            if found in refs:
                return refs[found], ""
    words = f"a branch or a tag of {repository}, or a full commit of 40 digits"
    return "", _fault(name, source, "revision", invalid(revision, words))


def _fault(name: str, source: Source, key: str, message: str) -> str:
    return f"pillar/app/{name.partition('/')[0]}.yaml: {source['place']}.{key}: {message}"


def _identity(source: Source) -> dict[str, str]:
    """Return what a record counts for."""
    return {key: source[key] for key in ("repository", "revision")}


def _known(recorded: Mapping[str, Mapping[str, str]], name: str, source: Source) -> str:
    """Return the commit of a repository if it is a full one, or if it is recorded, or ""."""
    if is_full(source["revision"]):
        return str(source["revision"])
    record = recorded.get(name, {})
    wanted = {**_identity(source), "commit": record.get("commit")}
    return str(wanted["commit"]) if record == wanted else ""


def _repeated(last: Mapping[str, Any], source: Source, pause: int) -> str:
    """Return the last fault of a repository if it is recent and about the same source, or ""."""
    same = all(last.get(key) == value for key, value in _identity(source).items())
    recent = abs(time.time() - last.get("time", 0)) < pause
    return str(last["fault"]) if same and recent else ""


def _failures(content: bytes) -> dict[str, dict[str, Any]]:
    try:
        return dict(json.loads(content))
    except ValueError:  # empty, or writing it was interrupted
        return {}


def _sound(record: object) -> bool:
    return (
        isinstance(record, dict)
        and set(record) == KEYS
        and all(isinstance(value, str) for value in record.values())
        and is_full(record["commit"])
    )

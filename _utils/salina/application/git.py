"""Git repositories: which URLs are valid, and how git logs in with a deploy key.

The master looks revisions up in them, and an app host fetches their code. Both log in with the same
key, and both know the server's public keys beforehand.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

LOCAL = "file:///"
REPOSITORY = rf"(https://|ssh://|{LOCAL}|[a-z0-9_-]+@[A-Za-z0-9.-]+:)[^\s'\"]+"
WORDS = "a git URL: https://, ssh://, file:/// or USER@HOST:PATH"
RELATIVE = ("./", "../")
PRIVATE = "/run"
"""Where a key is while git uses it: in memory, and never on a disk."""
PORTS = {"https": 443, "ssh": 22}
"""The TCP ports at which git fetches, unless a URL names another one."""


class Remote(NamedTuple):
    """The place from which git fetches a repository; a local one has no server and no port."""

    scheme: str
    server: str
    port: int | None


def submodule(parent: str, url: str) -> str:
    """Return the repository of a submodule.

    Only a local repository has local submodules. Otherwise the author of a repository could have
    root fetch another user's repository of this host.

    Args:
        parent: the repository that has the submodule.
        url: the submodule's URL in .gitmodules, which may be relative to the parent.

    Raises:
        ValueError: the URL is not valid; the message says what is allowed.
    """
    found = _joined(parent, url) if url.startswith(RELATIVE) else url
    words = WORDS if parent.startswith(LOCAL) else WORDS.replace(f", {LOCAL}", "")
    local = found.startswith(LOCAL) and not parent.startswith(LOCAL)
    if local or not re.fullmatch(REPOSITORY, found):
        raise ValueError(f'"{url}" is not valid; must be {words}, or a relative path')
    return found


def _joined(parent: str, url: str) -> str:
    """Return a relative URL as git understands it: ../x beside host:team/app is host:team/x."""
    base, rest, between = parent.rstrip("/"), url, "/"
    while rest.startswith(RELATIVE):
        step, _, rest = rest.partition("/")
        if step == "..":
            between = "/" if "/" in base else ":"
            base = base.rpartition(between)[0]
    return f"{base}{between}{rest}"


def remote(repository: str) -> Remote:
    """Return the place from which git fetches a repository.

    Args:
        repository: a URL that fits `REPOSITORY`.

    Raises:
        ValueError: the URL's server or port is not valid.
    """
    if "://" not in repository:  # USER@HOST:PATH
        return Remote("ssh", repository.partition(":")[0].rpartition("@")[2].lower(), PORTS["ssh"])
    url = urlsplit(repository)
    port = PORTS.get(url.scheme) if url.port is None else url.port
    return Remote(url.scheme, url.hostname or "", port)


def by_ssh(repository: str) -> bool:
    """Return whether git reaches a repository by SSH."""
    return remote(repository).scheme == "ssh"


def server(repository: str) -> str:
    """Return the server of a repository by SSH, as it is called in a known_hosts file."""
    _, name, port = remote(repository)
    return name if port == PORTS["ssh"] else f"[{name}]:{port}"


@contextmanager
def environment(key: str | None, known_hosts: Iterable[str]) -> Iterator[dict[str, str]]:
    """Yield the environment variables with which git asks a repository, and never a person.

    With a key they name files that only this user reads, and that exist only meanwhile. ssh then
    uses this key and no other, and accepts a server only by the keys that are known beforehand.

    Args:
        key: a private key, or None: then the configuration of this host counts.
        known_hosts: lines of a known_hosts file.
    """
    silent = {"GIT_TERMINAL_PROMPT": "0"}
    if key is None:
        yield silent
        return
    with tempfile.TemporaryDirectory(prefix="salina-git-", dir=PRIVATE) as directory:
        place = Path(directory)
        for name, lines in (("key", [key.rstrip("\n")]), ("known_hosts", known_hosts)):
            descriptor = os.open(place / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="ascii") as written:
                written.writelines(f"{line}\n" for line in lines)
        options = {
            "IdentityFile": place / "key",
            "IdentitiesOnly": "yes",
            "IdentityAgent": "none",
            "BatchMode": "yes",
            "StrictHostKeyChecking": "yes",
            "UserKnownHostsFile": place / "known_hosts",
            "GlobalKnownHostsFile": "/dev/null",
        }
        words = [f"-o {name}={value}" for name, value in options.items()]
        yield {**silent, "GIT_SSH_COMMAND": " ".join(["ssh -F none", *words])}

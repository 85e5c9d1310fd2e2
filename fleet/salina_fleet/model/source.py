"""A git repository in a definition: where code comes from, and how hosts may read it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from salina.application import git
from salina_fleet.schema.declare import flag, given
from salina_fleet.schema.rules import Nullable, Parsed, Text, Unfit

REVISION = Text(
    # git check-ref-format refuses these in the names of branches and tags
    r"(?!.*(\.\.|//|/\.|\.lock(/|\Z)|[./]\Z))[A-Za-z0-9][A-Za-z0-9._/-]{0,199}",
    "a branch, a tag or a commit",
)


def _repository(text: str) -> str:
    """Return a repository's URL, whose server and port can be told from it."""
    if not re.fullmatch(git.REPOSITORY, text):
        raise Unfit
    try:
        _, server, port = git.remote(text)
        if not text.startswith(git.LOCAL) and not (server and port):
            raise ValueError("it names no server")
    except ValueError as error:
        raise Unfit(f"is not a URL: {error}; correct it") from None
    return text


REPOSITORY = Parsed(_repository, git.WORDS)
KEY = Text(r"[a-z0-9][a-z0-9_-]{0,30}", "the name of a deploy key, such as addons")
KNOWN_HOST = Text(
    r"[A-Za-z0-9.:\[\]_-]+(,[A-Za-z0-9.:\[\]_-]+)* "
    r"(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521)) [A-Za-z0-9+/]{40,}={0,2}",
    "a line of a known_hosts file such as git.example ssh-ed25519 AAAA…",
)


@dataclass(frozen=True, kw_only=True)
class Source:
    """A git repository, and a branch, tag or commit in it."""

    repository: str = given(REPOSITORY, about="The git repository of the code.")
    revision: str = given(
        REVISION,
        about=(
            "The branch, tag or full commit that the hosts run. The master looks a branch or tag "
            "up once, and records the commit."
        ),
    )
    submodules: bool = flag(
        False, "Whether the hosts also fetch its submodules, at the commits that it names."
    )
    key: str | None = given(
        Nullable(KEY),
        None,
        about="The deploy key of a private repository by SSH; `salt-run secrets.deploy_key` takes "
        "it. With null, the SSH configuration of each host's root counts.",
    )

"""Definitions of applications: each file pillar/app/NAME.yaml as frozen dataclasses.

The top of a file has what every kind of application has. The keys of one kind are in the section
with the kind's name, which the kind's file declares (`salina_fleet/kinds`).
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from salina.application import git
from salina_fleet import edge
from salina_fleet.kind import INSIDE, Section
from salina_fleet.kinds import KINDS
from salina_fleet.model import release
from salina_fleet.model.source import KNOWN_HOST, Source
from salina_fleet.role import RESERVED_BELOW
from salina_fleet.schema import document
from salina_fleet.schema.declare import derived, given, number, record
from salina_fleet.schema.document import show
from salina_fleet.schema.faults import Faults, invalid, missing
from salina_fleet.schema.rules import (
    REQUIRED,
    Choice,
    Key,
    ListOf,
    MappingOf,
    Nullable,
    Number,
    Parsed,
    Reading,
    Record,
    Text,
    Unfit,
)

URL_PATH = Text(r"/[A-Za-z0-9._~/?=&%-]*", "a path such as /web/health")


LIVE_PATH = Text(r"(/[A-Za-z0-9._~-]+)+/?", "a path below / such as /websocket")
TOKEN = re.compile(
    r"\\[dDwWsSbB]|\\[^A-Za-z0-9\\]"  # a kind of letters, or a letter that is not special
    # a set
    r"|\[(?:\^|(?!\^))(?![:.=])(?:\\[dDwWsS]|\\[^A-Za-z0-9\\]|(?!--|&&|~~|\|\|)[^\\\[\]])+\]"
    r"|\((\?[:=!])?|[^\\\[\](]"  # the beginning of a group, or another letter
)
"""A part of a regular expression that Python reads as PCRE2 does, in nginx and in HAProxy. nginx
itself makes one backslash of two."""
PATTERN_WORDS = (
    "must have only letters, sets such as [a-z], groups that begin with ( (?: (?= or (?!, | * + ? "
    ". ^ $ \\d \\w \\s \\b, and \\ before another punctuation mark"
)


def _pattern(text: str) -> str:
    """Return a regular expression for paths, which nginx and HAProxy can have without quotes.

    Why it is not any expression of PCRE2: docs/decisions/0063-what-a-daemon-would-refuse.md.
    """
    if not re.fullmatch(r"\^/[!-~]{0,500}", text) or re.search(r"['\"{};]", text):
        raise Unfit
    try:
        with warnings.catch_warnings(action="ignore", category=FutureWarning):  # of sets in sets
            re.compile(text)
    except re.error as error:
        raise Unfit(f"is not a regular expression: {error}; correct it") from None
    place = 0
    while place < len(text):
        token = TOKEN.match(text, place)
        if token is None or (token[0] == "(" and text.startswith("(?", place)):
            raise Unfit(f"has {show(text[place : place + 3])} at position {place}; {PATTERN_WORDS}")
        place = token.end()
    return text


LOCATION = Parsed(_pattern, "a regular expression such as ^/[^/]+/static/")
LONGEST = 4000
"""The most characters of one parameter in nginx' configuration, whose buffer has 4,096."""
PREFIX = Text(r"(/[A-Za-z0-9._-]+)+", "a path such as /web/database")
PARAMETER = Text(r"[A-Za-z0-9_-]{1,60}", "the name of a parameter")
HEADER = Text(r"[A-Za-z][A-Za-z0-9-]{0,60}", "the name of a header")
HEADER_VALUE = Text(
    r"[^\"\\%$\x00-\x1f]{1,500}", "one line of text without quotation marks and without \\, % and $"
)
COOKIE_NAME = Text(r"[A-Za-z0-9._-]{1,60}", "the name of a cookie")
COOKIE = Text(r"[A-Za-z0-9._-]+=[A-Za-z0-9._:/+=-]+", "NAME=VALUE")
LOGIN = Text(r"[A-Za-z0-9._@+-]{1,100}", "the name with which somebody logs in")
LOGINS = ("scram-sha-256", "md5")


class DefinitionError(document.DataError):
    """A definition with faults: `source` (its name) and `faults` (one line each)."""


@dataclass(frozen=True)
class Live:
    """Long polling or websocket: requests below `path` go to `port` of the application."""

    path: str = given(LIVE_PATH, about="The path below which nginx sends requests to `live.port`.")
    port: int = number(
        REQUIRED, 1, RESERVED_BELOW - 1, "The port of the application for these requests."
    )


@dataclass(frozen=True)
class Health:
    """The request of the balancer's probe; its cookie keeps the probe from creating sessions."""

    path: str = given(URL_PATH, about="The path that answers 200 while an app host is healthy.")
    cookie: str | None = given(
        Nullable(COOKIE),
        None,
        about="A cookie that the check sends, so that the application creates no session for it.",
    )


@dataclass(frozen=True)
class Login:
    """A request by which somebody logs in, and the answer that tells that it failed.

    Without `status` and without `location` the answer does not tell, and every attempt counts.
    """

    path: str = given(LOCATION, about="The paths of the request; upper and lower case are equal.")
    method: Literal["POST", "PUT", "GET"] = given(
        default="POST", about="The method of the request."
    )
    status: int | None = given(
        Nullable(Number(200, 599)), None, about="The status of the answer to a failed login."
    )
    location: str | None = given(
        Nullable(LOCATION), None, about="Where the answer to a failed login redirects."
    )


@dataclass(frozen=True)
class Session:
    """How the application recognises a session: by a cookie, and by nothing else from outside."""

    cookie: str | None = given(
        Nullable(COOKIE_NAME), None, about="The cookie that scripts in a browser must not read."
    )
    parameters: tuple[str, ...] = given(
        ListOf(PARAMETER, least=0),
        (),
        about="Parameters of the address that name a session; the balancer removes them.",
    )
    headers: tuple[str, ...] = given(
        ListOf(HEADER, least=0),
        (),
        about="Headers of a request that name a session; the balancer removes them.",
    )


@dataclass(frozen=True, kw_only=True)
class Definition:
    """An application: the keys of every kind, and the section of its own kind."""

    kind: str = given(Choice(KINDS, "a kind"), about="The kind of the application.")
    source: Source = given(about="The origin of the code.")
    known_hosts: tuple[str, ...] = given(
        ListOf(KNOWN_HOST, least=0),
        (),
        about="The public keys of the git servers that hosts ask with a deploy key. Nothing else "
        "makes them trust such a server.",
    )
    port: int = number(
        REQUIRED, 1, RESERVED_BELOW - 1, "The port on which the application listens."
    )
    live: Live | None = given(
        Nullable(record(Live)),
        None,
        about="Long polling or websockets, which another port of the application answers.",
    )
    health: Health = given(about="The request by which the balancer checks an app host.")
    pages: tuple[str, ...] = given(
        ListOf(URL_PATH, least=0),
        (),
        about="Further paths that must answer 200 before orch.upgrade lets a release serve.",
    )
    checks: tuple[str, ...] = given(
        ListOf(INSIDE, least=0),
        (),
        about="Files of the checkout that orch.upgrade runs on the changed copy of the database, "
        "before anybody uses it: Python in the shell of Odoo, or JavaScript. One that ends with an "
        "error ends the upgrade.",
    )
    static: str | None = given(
        Nullable(LOCATION), None, about="The paths of the static files, which nginx caches."
    )
    uid: int = number(
        REQUIRED, 100, 65533, "The id of the application's user and group, the same on every host."
    )
    database_login: str = given(
        Choice(LOGINS, "a kind of login"),
        LOGINS[0],
        about=(
            "How the application's driver logs in at pgbouncer; pgbouncer itself always uses SCRAM."
        ),
    )
    login: str = given(
        LOGIN, "admin", about="The login of the first user, whose password Salina generates."
    )
    logins: tuple[Login, ...] = given(
        ListOf(record(Login), least=0, once=False),
        (),
        about="The requests by which somebody logs in; the balancer limits those that fail.",
    )
    session: Session = given(default=Session(), about="How the application recognises a session.")
    closed: tuple[str, ...] = given(
        ListOf(PREFIX, least=0),
        (),
        about="Paths that nobody reaches through nginx, with everything below them.",
    )
    rpc: tuple[str, ...] = given(
        ListOf(PREFIX, least=0),
        (),
        about="The same, unless `rpc` in pillar/settings/app.yaml is true: calls by programs.",
    )
    same_site: Literal["Lax", "Strict", "None"] = given(
        default="Lax", about="The SameSite of cookies to which the application gives none."
    )
    headers: Mapping[str, str | None] = given(
        MappingOf(HEADER, Nullable(HEADER_VALUE), "a mapping of headers to values"),
        {},
        about=(
            "Headers that the balancer adds to an answer without them, in place of its own values; "
            "null stands for none."
        ),
    )
    user_files: tuple[str, ...] = given(
        ListOf(LOCATION, least=0),
        (),
        about=(
            "The paths of files that users have uploaded. Browsers run nothing in them; upper and "
            "lower case are equal."
        ),
    )
    section: Section | None = derived(None)

    def to_dict(self) -> dict[str, Any]:
        """Return the pillar's form: lists in place of tuples, and no part of another kind."""
        plain: dict[str, Any] = _plain(asdict(self))
        section = plain.pop("section")
        return plain | {self.kind: section}


def _made(**found: Any) -> Definition:
    """Return a definition with the section of its own kind."""
    sections = {name: found.pop(name) for name in KINDS}
    return Definition(**found, section=sections.get(found["kind"]))


RULE = Record(
    record(Definition).keys
    | {
        name: Key(name, record(kind.section), None, f"The keys of kind {name}.", ("kind", name))
        for name, kind in KINDS.items()
    },
    _made,
)
"""The keys of a file: those of every kind, and for each kind the section of its name."""


def load(path: str | Path) -> Definition:
    """Return the definition in a file. Raises DefinitionError, also when it can't be read."""
    try:
        data = document.read(path)
    except document.DataError as error:
        if error.data is None:
            raise DefinitionError(error.source, error.faults) from error
        return parse(error.data, str(path), error.faults)
    return parse(data, str(path))


def parse(data: object, source: str = "definition", before: Iterable[str] = ()) -> Definition:
    """Return the definition that `data` gives.

    Args:
        data: a file's content.
        source: the file's name in messages.
        before: the faults that were found while the file was read.

    Raises:
        DefinitionError: with every fault, each with its path, what was found and what is allowed:
            `odoo.python.interpreter: 3 is not valid; must be a command such as python3.11`.
    """
    faults = Faults(before)
    definition: Definition = RULE.read(data, None, Reading(data, faults))
    kind = definition.kind
    if kind in KINDS and KINDS[kind].waits and definition.live is None and faults.sound("live"):
        words = f"a mapping such as {{path: /websocket, port: 8072}} with kind {kind}"
        faults.lines.append(f"live: {missing(words)}")
    if definition.live and definition.live.port == definition.port and faults.sound("live.port"):
        words = f"another port than port: {definition.port}"
        faults.lines.append(f"live.port: {invalid(definition.live.port, words)}")
    if definition.section:
        for key, message in definition.section.rules(lambda key: faults.sound(f"{kind}.{key}")):
            faults.lines.append(f"{f'{kind}.{key}' if key else kind}: {message}")
    if not faults.lines:
        faults.lines += [*_closed(definition.to_dict()), *_private(definition.to_dict())]
    if faults.lines:
        raise DefinitionError(source, faults.lines)
    return definition


def _closed(definition: Mapping[str, Any]) -> Iterator[str]:
    """Yield why nginx cannot close all these paths: they are one regular expression to it."""
    length = len(edge.closed(definition, rpc=False) or "")
    if length > LONGEST:
        yield (
            f"closed: its paths and those of rpc are a regular expression of {length} characters; "
            f"nginx takes at most {LONGEST}; name a path above several of them"
        )


def _private(definition: Mapping[str, Any]) -> Iterator[str]:
    """Yield the repositories whose deploy key cannot be used, or not safely."""
    known = {name for line in definition["known_hosts"] for name in line.split()[0].split(",")}
    for one in release.sources("", definition).values():
        if one["key"] is None:
            continue
        if not git.by_ssh(one["repository"]):
            yield (
                f"{one['place']}.key: {document.show(one['key'])} needs a repository by SSH; write "
                "ssh:// or USER@HOST:PATH, or remove the key"
            )
        elif (server := git.server(one["repository"])) not in known:
            yield (
                f"known_hosts: no line names {server}, which {one['place']} asks with a deploy "
                "key; add its public key (docs/operations.md#private-repositories)"
            )


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value

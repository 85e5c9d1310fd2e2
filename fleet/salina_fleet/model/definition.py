"""Definitions of applications: each file pillar/app/NAME.yaml as frozen dataclasses.

The top of a file has what every kind of application has; what only one kind has is under the
kind's own name. A new version is a new file. A new kind is one more dataclass here and one
component in salt/.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from salina_fleet.schema import document
from salina_fleet.schema.declare import PATH, Scalar, given, number, read, record
from salina_fleet.schema.document import join, show
from salina_fleet.schema.faults import Faults, repeated
from salina_fleet.schema.rules import REQUIRED, Choice, ListOf, MappingOf, Nullable, Text

REVISION = Text(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,199}", "a branch, a tag or a commit")
REPOSITORY = Text(
    r"(https://|ssh://|file:///|[a-z0-9_-]+@[A-Za-z0-9.-]+:)[^\s'\"]+",
    "a git URL: https://, ssh://, file:/// or USER@HOST:PATH",
)
URL_PATH = Text(r"/[A-Za-z0-9._~/?=&%-]*", "a path such as /web/health")
LOCATION = Text(r"\^/[^\s'\"{};]*", "a regular expression such as ^/[^/]+/static/")
COOKIE = Text(r"[A-Za-z0-9._-]+=[A-Za-z0-9._:/+=-]+", "NAME=VALUE")
DEBIAN = Text(r"[a-z0-9][a-z0-9.+-]+", "the name of a Debian package")
RELEASE = Text(r"[a-z]+", "the code name of a Debian release")
INTERPRETER = Text(r"python3\.[0-9]{1,2}", "a command such as python3.11")
LOCK = Text(r"[a-z0-9][a-z0-9.-]*", "the name of a file in salt/locks without .txt or .json")
INSIDE = Text(r"(?!.*\.\.)[A-Za-z0-9_][A-Za-z0-9._/-]*", "a path inside the checkout")
FILE = Text(PATH, "an absolute path")
PINNED = Text(r"[A-Za-z0-9][A-Za-z0-9._-]*==[0-9][A-Za-z0-9.]*", "NAME==VERSION")
MODULE = Text(r"[a-z][a-z0-9_]*", "a module of Odoo")
OPTION = Text(r"[a-z][a-z0-9_]*", "an option of odoo.conf")
SCALAR = Text(r".*", "one line of text, a number, or true or false", others=(int, float, bool))
VERSION = Text(r"[0-9]+\.[0-9]+\.[0-9]+", "an exact version such as 10.24.1")
INTEGRITY = Text(
    r"sha512-[A-Za-z0-9+/]{86}==", "the output of `npm view PACKAGE dist.integrity`: sha512-…"
)
DIRECTORY = Text(
    r"[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*",
    "a directory inside the checkout",
)
STEP = Text(r"[a-z][a-z0-9 ._-]{0,59}", "a name of small letters, digits and spaces")
ARGUMENT = Text(r"[^\x00]+", "text (no shell reads it)")
WORD = Text(r"[A-Za-z0-9_./:=,@+-]+", "a word of letters, digits and _ . / : = , @ + -")
VARIABLE = Text(r"[A-Za-z_][A-Za-z0-9_]*", "the name of a variable")
VALUE = Text(
    r"[^\"\\\x00\r\n]*", 'one line of text without " and \\, or a number', others=(int, float)
)
KINDS = ("odoo", "node")
LOGINS = ("scram-sha-256", "md5")
OURS = ("DATABASE_URL", "PATH", "PORT")
"""Variables of a Node application that this project sets."""


class DefinitionError(document.DataError):
    """A definition with faults: `source` (its name) and `faults` (one line each)."""


@dataclass(frozen=True)
class Source:
    """Where the code comes from: a git repository, and a branch, tag or commit in it."""

    repository: str = given(REPOSITORY)
    revision: str = given(REVISION)


@dataclass(frozen=True)
class Live:
    """Long polling or websocket: requests below `path` go to `port` of the application."""

    path: str = given(URL_PATH)
    port: int = number(REQUIRED, 1, 65535)


@dataclass(frozen=True)
class Health:
    """The request of the balancer's probe; its cookie keeps the probe from creating sessions."""

    path: str = given(URL_PATH)
    cookie: str | None = given(Nullable(COOKIE), None)


@dataclass(frozen=True)
class Python:
    """An interpreter, the Debian packages it needs, and the content of its environment.

    Either `lock` (all distributions with exact versions) or `requirements` (a file of the
    checkout, resolved with dependencies) and `without_dependencies` (added after it).
    """

    interpreter: str = given(INTERPRETER)
    release: str | None = given(Nullable(RELEASE), None)
    packages: tuple[str, ...] = given(ListOf(DEBIAN, least=0), ())
    lock: str | None = given(Nullable(LOCK), None)
    requirements: str | None = given(Nullable(INSIDE), None)
    without_dependencies: tuple[str, ...] = given(ListOf(PINNED, least=0), ())


@dataclass(frozen=True, kw_only=True)
class Odoo:
    """What only Odoo has. `names`: option of odoo.conf -> what this version calls it."""

    configuration: str = given(FILE, "/etc/odoo/odoo.conf")
    python: Python
    addons: tuple[str, ...] = given(ListOf(INSIDE))
    modules: tuple[str, ...] = given(ListOf(MODULE))
    server_wide_modules: tuple[str, ...] = given(ListOf(MODULE))
    names: Mapping[str, str] = given(
        MappingOf(OPTION, OPTION, "a mapping of options to their names"), {}
    )
    options: Mapping[str, Scalar] = given(
        MappingOf(OPTION, SCALAR, "a mapping of options to values"), {}
    )


@dataclass(frozen=True)
class Package:
    """A package of the npm registry: its exact version, and the hash that the registry names."""

    version: str = given(VERSION)
    integrity: str = given(INTEGRITY)


@dataclass(frozen=True)
class Step:
    """A command that runs once for the service, or once for each revision of the code."""

    name: str = given(STEP)
    command: tuple[str, ...] = given(ListOf(ARGUMENT, once=False))
    each_revision: bool = False


@dataclass(frozen=True, kw_only=True)
class Node:
    """What only a Node application has.

    `lock`: a file of salt/locks in place of the checkout's own package-lock.json. `uploads`: the
    directories on the shared volume; `scratch`: the host's own directories where it may write.
    """

    runtime: Package
    npm: Package
    lock: str | None = given(Nullable(LOCK), None)
    install: tuple[str, ...] = given(ListOf(ARGUMENT, once=False))
    once: tuple[Step, ...] = given(ListOf(record(Step), least=0, once=False), ())
    start: tuple[str, ...] = given(ListOf(WORD, once=False))
    environment: Mapping[str, str | int | float] = given(
        MappingOf(VARIABLE, VALUE, "a mapping of variables to values"), {}
    )
    uploads: tuple[str, ...] = given(ListOf(DIRECTORY, least=0), ())
    scratch: tuple[str, ...] = given(ListOf(DIRECTORY, least=0), ())


@dataclass(frozen=True, kw_only=True)
class Definition:
    """A definition of an application: what every kind has, and the part of its own kind.

    `database_login`: how its driver logs in at this host's pgbouncer; pgbouncer itself always
    logs in at the server by SCRAM.
    """

    kind: str = given(Choice(KINDS, "a kind"))
    source: Source
    port: int = number(REQUIRED, 1, 65535)
    live: Live | None = given(Nullable(record(Live)), None)
    health: Health
    static: str | None = given(Nullable(LOCATION), None)
    uid: int = number(REQUIRED, 100, 65533)
    database_login: str = given(Choice(LOGINS, "a kind of login"), LOGINS[0])
    odoo: Odoo | None = given(default=None, only=("kind", "odoo"))
    node: Node | None = given(default=None, only=("kind", "node"))

    def to_dict(self) -> dict[str, Any]:
        """Return the pillar's form: lists in place of tuples, and no part of another kind."""
        plain: dict[str, Any] = _plain(asdict(self))
        return {key: plain[key] for key in plain if key not in KINDS or key == self.kind}


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
    definition, faults = read(Definition, data, before)
    faults.lines += _across(definition, faults)
    if faults.lines:
        raise DefinitionError(source, faults.lines)
    return definition


# Rules across fields


def _across(definition: Definition, faults: Faults) -> Iterator[str]:
    if definition.odoo:
        yield from _python(definition.odoo.python, "odoo.python", faults)
    if definition.node:
        yield from _node(definition.node, faults)


def _python(python: Python, path: str, faults: Faults) -> Iterator[str]:
    if (python.lock is None) == (python.requirements is None) and all(
        faults.sound(f"{path}.{key}") for key in ("lock", "requirements")
    ):
        found = "both lock and requirements are" if python.lock else "neither is"
        yield f"{path}: {found} given; must be either lock or requirements"
    if python.lock and python.without_dependencies:
        yield (
            f"{path}.without_dependencies: not valid beside lock, which names every distribution; "
            "must be left out"
        )


def _node(node: Node, faults: Faults) -> Iterator[str]:
    names = [step.name for step in node.once]
    for place, name in enumerate(names):
        if name and name in names[:place]:
            yield f"node.once[{place}].name: {repeated(name)}"
    for name in OURS:
        if name in node.environment:
            yield f"{join('node.environment', name)}: set by this project; must be left out"
    for place, directory in enumerate(node.scratch):
        if directory in node.uploads and faults.sound("node.scratch"):
            yield (
                f"node.scratch[{place}]: {show(directory)} is among the uploads; "
                "must be another directory"
            )


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value

"""Application data files: pillar/app/NAME.yaml as frozen dataclasses, and their only validator.

What every kind of application has is at the top of the file; what only one kind has is under the
kind's own name. A new version is a new file, a new kind is one more dataclass here and one
component in salt/.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from salina_fleet.schema import document
from salina_fleet.schema.document import join, show

Scalar = str | int | float | bool

REVISION = (r"[A-Za-z0-9][A-Za-z0-9._/-]{0,199}", "a branch, a tag or a commit")
REPOSITORY = (
    r"(https://|ssh://|file:///|[a-z0-9_-]+@[A-Za-z0-9.-]+:)[^\s'\"]+",
    "a git URL: https://, ssh://, file:/// or USER@HOST:PATH",
)
URL_PATH = (r"/[A-Za-z0-9._~/?=&%-]*", "a path such as /web/health")
LOCATION = (r"\^/[^\s'\"{};]*", "a regular expression such as ^/[^/]+/static/")
COOKIE = (r"[A-Za-z0-9._-]+=[A-Za-z0-9._:/+=-]+", "NAME=VALUE")
DEBIAN = (r"[a-z0-9][a-z0-9.+-]+", "the name of a Debian package")
RELEASE = (r"[a-z]+", "the code name of a Debian release")
INTERPRETER = (r"python3\.[0-9]{1,2}", "a command such as python3.11")
LOCK = (r"[a-z0-9][a-z0-9.-]*", "the name of a file in salt/locks, without .txt or .json")
INSIDE = (
    r"(?!.*\.\.)[A-Za-z0-9_][A-Za-z0-9._/-]*",
    "a path inside the checkout",
)
FILE = (r"(/[A-Za-z0-9._-]+)+", "an absolute path")
PINNED = (r"[A-Za-z0-9][A-Za-z0-9._-]*==[0-9][A-Za-z0-9.]*", "NAME==VERSION")
MODULE = (r"[a-z][a-z0-9_]*", "a module of Odoo")
OPTION = (r"[a-z][a-z0-9_]*", "an option of odoo.conf")
SCALAR = (r".*", "one line of text, a number, true or false")
VERSION = (r"[0-9]+\.[0-9]+\.[0-9]+", "an exact version such as 10.24.1")
INTEGRITY = (r"sha512-[A-Za-z0-9+/]{86}==", "what `npm view PACKAGE dist.integrity` says: sha512-…")
DIRECTORY = (
    r"[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*",
    "a directory inside the checkout",
)
STEP = (r"[a-z][a-z0-9 ._-]{0,59}", "a name of small letters, digits and blanks")
ARGUMENT = (r"[^\x00]+", "text; no part of a command is read by a shell")
PLAIN = (r"[A-Za-z0-9_./:=,@+-]+", "a word of letters, digits and _ . / : = , @ + -")
VARIABLE = (r"[A-Za-z_][A-Za-z0-9_]*", "the name of a variable")
VALUE = (r"[^\"\\\x00\r\n]*", 'one line of text without " and \\, or a number')
LOGINS = ("scram-sha-256", "md5")
OURS = ("DATABASE_URL", "PATH", "PORT")
"""Variables of a Node application that this project sets."""


class AppError(document.DataError):
    """An application data file with faults: `source` (its name) and `faults` (one line each)."""


@dataclass(frozen=True)
class Source:
    """Where the code comes from: a git repository, and a branch, tag or commit in it."""

    repository: str
    revision: str


@dataclass(frozen=True)
class Live:
    """Long polling or websocket: requests below `path` go to `port` of the application."""

    path: str
    port: int


@dataclass(frozen=True)
class Health:
    """What the balancer asks for; the cookie keeps its probes from making sessions."""

    path: str
    cookie: str | None


@dataclass(frozen=True)
class Python:
    """An interpreter, the Debian packages it needs, and what goes into its environment.

    Either `lock` (all distributions with exact versions) or `requirements` (a file of the
    checkout, resolved with dependencies) and `without_dependencies` (added after it).
    """

    interpreter: str
    release: str | None
    packages: tuple[str, ...]
    lock: str | None
    requirements: str | None
    without_dependencies: tuple[str, ...]


@dataclass(frozen=True)
class Odoo:
    """What only Odoo has. `names`: option of odoo.conf -> what this version calls it."""

    configuration: str
    python: Python
    addons: tuple[str, ...]
    modules: tuple[str, ...]
    server_wide_modules: tuple[str, ...]
    names: Mapping[str, str]
    options: Mapping[str, Scalar]


@dataclass(frozen=True)
class Package:
    """A package of the npm registry: its exact version, and the hash that the registry names."""

    version: str
    integrity: str


@dataclass(frozen=True)
class Step:
    """A command that is run once for the service, or once for each revision of the code."""

    name: str
    command: tuple[str, ...]
    each_revision: bool


@dataclass(frozen=True)
class Node:
    """What only a Node application has.

    `lock`: a file of salt/locks in place of the checkout's own package-lock.json. `uploads`: the
    directories on the shared volume; `scratch`: those of this host where it may write, too.
    """

    runtime: Package
    npm: Package
    lock: str | None
    install: tuple[str, ...]
    once: tuple[Step, ...]
    start: tuple[str, ...]
    environment: Mapping[str, str | int | float]
    uploads: tuple[str, ...]
    scratch: tuple[str, ...]


@dataclass(frozen=True)
class Application:
    """An application: what every kind has, and the part of its own kind.

    `database_login`: what its driver and this host's pgbouncer speak with one another; the server
    is always asked by SCRAM.
    """

    kind: str
    source: Source
    port: int
    live: Live | None
    health: Health
    static: str | None
    uid: int
    database_login: str
    odoo: Odoo | None
    node: Node | None

    def to_dict(self) -> dict[str, Any]:
        """The pillar's form: every key there but other kinds' parts, lists in place of tuples."""
        plain: dict[str, Any] = _plain(asdict(self))
        return {key: plain[key] for key in plain if key not in KINDS or key == self.kind}


def load(path: str | Path) -> Application:
    """The application in a file. Raises AppError, also when it can't be read."""
    try:
        data = document.read(path)
    except document.DataError as error:
        if error.data is None:
            raise AppError(error.source, error.faults) from error
        return parse(error.data, str(path), error.faults)
    return parse(data, str(path))


def parse(data: object, source: str = "application", before: Iterable[str] = ()) -> Application:
    """The application that `data` (a file's content) describes.

    Raises AppError with every fault, each with its path, what was found and what is allowed:
    `odoo.python.lock: 3, allowed is the name of a file in salt/locks, without .txt`. `before`: the
    faults found while the file was read.
    """
    top = _Table(data, "", list(before))
    kind = top.one_of("kind", KINDS)
    top.known.update({} if kind else dict.fromkeys(KINDS, ()))
    application = Application(
        kind=kind,
        source=_source(top.table("source")),
        port=top.number("port", 1, 65535),
        live=_live(top.table("live")) if "live" in top else None,
        health=_health(top.table("health")),
        static=top.optional("static", LOCATION),
        uid=top.number("uid", 100, 65533),
        database_login=top.one_of("database_login", LOGINS)
        if "database_login" in top
        else LOGINS[0],
        odoo=_odoo(top.table("odoo")) if kind == "odoo" else None,
        node=_node(top.table("node")) if kind == "node" else None,
    )
    top.close()
    if top.faults:
        raise AppError(source, top.faults)
    return application


class _Table:
    """A mapping of the file: each key is asked for once; what nobody asked for is unknown.

    Faults of all tables go to one list. Whatever is returned after a fault is never used.
    """

    def __init__(self, data: object, path: str, faults: list[str]) -> None:
        self.path = path
        self.faults = faults
        self.data: Mapping[Any, Any] = data if isinstance(data, Mapping) else {}
        self.known: dict[str, tuple[_Table, ...]] = {}
        if not isinstance(data, Mapping):
            self.fault(path or "file", data, "a mapping")
            self.broken = True
        else:
            self.broken = False

    def __contains__(self, key: str) -> bool:
        self.known.setdefault(key, ())
        return self.data.get(key) is not None

    def fault(self, path: str, found: object, allowed: str) -> None:
        self.faults.append(f"{path}: {show(found)}, allowed is {allowed}")

    def get(self, key: str, allowed: str) -> Any:
        """A required value; None after the fault of a missing one."""
        if key not in self and not self.broken:
            self.faults.append(f"{join(self.path, key)}: missing, allowed is {allowed}")
        return self.data.get(key)

    def table(self, key: str) -> _Table:
        value = self.get(key, "a mapping")
        table = _Table({} if value is None else value, join(self.path, key), self.faults)
        table.broken = table.broken or value is None
        self.known[key] = (table,)
        return table

    def tables(self, key: str) -> tuple[_Table, ...]:
        """A list of mappings; empty when left out."""
        value = self.data[key] if key in self else []
        if not isinstance(value, list):
            self.fault(join(self.path, key), value, "a list of mappings")
            value = []
        path = join(self.path, key)
        self.known[key] = tuple(
            _Table(item, f"{path}[{number}]", self.faults) for number, item in enumerate(value)
        )
        return self.known[key]

    def text(self, key: str, rule: tuple[str, str]) -> str:
        return self._match(join(self.path, key), self.get(key, rule[1]), rule)

    def optional(self, key: str, rule: tuple[str, str]) -> str | None:
        return self.text(key, rule) if key in self else None

    def _match(self, path: str, value: object, rule: tuple[str, str]) -> str:
        pattern, allowed = rule
        if isinstance(value, str) and re.fullmatch(pattern, value):
            return value
        if value is not None:
            self.fault(path, value, allowed)
        return ""

    def one_of(self, key: str, allowed: tuple[str, ...]) -> str:
        return self.text(key, ("|".join(map(re.escape, allowed)), " or ".join(allowed)))

    def number(self, key: str, low: int, high: int) -> int:
        allowed = f"a number from {low} to {high}"
        value = self.get(key, allowed)
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        if value is not None:
            self.fault(join(self.path, key), value, allowed)
        return low

    def flag(self, key: str) -> bool:
        """True or false; false when left out."""
        value = self.data[key] if key in self else False
        if not isinstance(value, bool):
            self.fault(join(self.path, key), value, "true or false")
        return value is True

    def texts(self, key: str, rule: tuple[str, str], different: bool = True) -> tuple[str, ...]:
        """A list that is not empty, of texts; of different ones, unless it is a command."""
        allowed = f"a list of at least one: {rule[1]}"
        here, value = join(self.path, key), self.get(key, allowed)
        if not isinstance(value, list) or not value:
            if value is not None:
                self.fault(here, value, allowed)
            return ()
        for number, item in enumerate(value):
            self._match(f"{here}[{number}]", "" if item is None else item, rule)
            if different and item in value[:number]:
                self.faults.append(f"{here}[{number}]: {show(item)} once more, allowed is once")
        return tuple(str(item) for item in value)

    def optional_texts(self, key: str, rule: tuple[str, str]) -> tuple[str, ...]:
        return self.texts(key, rule) if key in self and self.data[key] != [] else ()

    def mapping(
        self, key: str, names: tuple[str, str], rule: tuple[str, str], scalar: tuple[type, ...] = ()
    ) -> dict[str, Any]:
        """Names by one rule with texts by another, or with plain values of the types that are in
        `scalar`; {} when left out.
        """
        if key not in self:
            return {}
        here, value = join(self.path, key), self.data[key]
        if not isinstance(value, Mapping):
            self.fault(here, value, "a mapping")
            return {}
        for name, item in value.items():
            self._match(here, name, names)
            if item is None:
                self.fault(join(here, name), item, rule[1])
            elif type(item) not in scalar:
                self._match(join(here, name), item, rule)
        return dict(value)

    def close(self) -> None:
        """Name the unknown keys of this table and of those inside it."""
        for key in self.data:
            if key not in self.known:
                allowed = ", ".join(self.known)
                self.faults.append(f"{join(self.path, key)}: unknown, allowed is {allowed}")
        for tables in self.known.values():
            for table in tables:
                table.close()


def _source(table: _Table) -> Source:
    return Source(table.text("repository", REPOSITORY), table.text("revision", REVISION))


def _live(table: _Table) -> Live:
    return Live(table.text("path", URL_PATH), table.number("port", 1, 65535))


def _health(table: _Table) -> Health:
    return Health(table.text("path", URL_PATH), table.optional("cookie", COOKIE))


def _python(table: _Table) -> Python:
    python = Python(
        interpreter=table.text("interpreter", INTERPRETER),
        release=table.optional("release", RELEASE),
        packages=table.optional_texts("packages", DEBIAN),
        lock=table.optional("lock", LOCK),
        requirements=table.optional("requirements", INSIDE),
        without_dependencies=table.optional_texts("without_dependencies", PINNED),
    )
    if (python.lock is None) == (python.requirements is None) and not table.broken:
        found = "both" if python.lock else "neither"
        table.faults.append(f"{table.path}: {found}, allowed is either lock or requirements")
    if python.lock and python.without_dependencies:
        table.faults.append(
            f"{join(table.path, 'without_dependencies')}: allowed only beside requirements: "
            "a lock names all there is"
        )
    return python


def _odoo(table: _Table) -> Odoo:
    return Odoo(
        configuration=table.optional("configuration", FILE) or "/etc/odoo/odoo.conf",
        python=_python(table.table("python")),
        addons=table.texts("addons", INSIDE),
        modules=table.texts("modules", MODULE),
        server_wide_modules=table.texts("server_wide_modules", MODULE),
        names=table.mapping("names", OPTION, OPTION),
        options=table.mapping("options", OPTION, SCALAR, (int, float, bool)),
    )


def _node(table: _Table) -> Node:
    node = Node(
        runtime=_package(table.table("runtime")),
        npm=_package(table.table("npm")),
        lock=table.optional("lock", LOCK),
        install=table.texts("install", ARGUMENT, different=False),
        once=tuple(map(_step, table.tables("once"))),
        start=table.texts("start", PLAIN, different=False),
        environment=table.mapping("environment", VARIABLE, VALUE, (int, float)),
        uploads=table.optional_texts("uploads", DIRECTORY),
        scratch=table.optional_texts("scratch", DIRECTORY),
    )
    names = [step.name for step in node.once]
    for number, name in enumerate(names):
        if name and name in names[:number]:
            table.faults.append(
                f"{join(table.path, 'once')}[{number}].name: {show(name)} once more, "
                "allowed is once"
            )
    for name in OURS:
        if name in node.environment:
            table.faults.append(
                f"{join(table.path, 'environment')}.{name}: it is set by this project, "
                "allowed is any other"
            )
    for number, directory in enumerate(node.scratch):
        if directory in node.uploads:
            table.faults.append(
                f"{join(table.path, 'scratch')}[{number}]: {show(directory)} is among the uploads, "
                "allowed is another one"
            )
    return node


def _package(table: _Table) -> Package:
    return Package(table.text("version", VERSION), table.text("integrity", INTEGRITY))


def _step(table: _Table) -> Step:
    return Step(
        table.text("name", STEP),
        table.texts("command", ARGUMENT, different=False),
        table.flag("each_revision"),
    )


KINDS = ("odoo", "node")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value

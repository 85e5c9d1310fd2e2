"""A kind of application: the class that every file of `salina_fleet/kinds` defines for one kind.

A kind has one file there and one component in salt/, both with the kind's name. How to add one:
docs/guides/add-an-application-kind.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from salina_fleet.schema.rules import Text

if TYPE_CHECKING:
    from salina_fleet.platforms import Platform
    from salina_fleet.role import Look
    from salina_fleet.roles.app import AppSettings
    from salina_fleet.roles.database import RouteSettings

INSIDE_PATTERN = r"(?!.*\.\.)[A-Za-z0-9_][A-Za-z0-9._/-]*"
INSIDE = Text(INSIDE_PATTERN, "a path inside the checkout")
LOCK = Text(r"[a-z0-9][a-z0-9.-]*", "the name of a file in salt/locks without .txt or .json")


class Section:
    """The section that only one kind has in a definition: a dataclass of declarations."""

    def rules(self, sound: Callable[[str], bool]) -> Iterator[tuple[str, str]]:
        """Yield the faults across its keys.

        Args:
            sound: tells whether a key has no fault of its own.

        Returns:
            Pairs of a path inside the section (empty: the section itself) and a message.
        """
        yield from ()


class Kind:
    """A kind of application, such as Odoo. Its name is that of its component in salt/, its user,
    its unit, and its section in a definition (a file of pillar/app).
    """

    name: ClassVar[str]
    section: ClassVar[type[Section]]
    """The section of a definition that only this kind has."""
    waits: ClassVar[bool] = False
    """Whether it answers long requests at a port of its own: a definition then needs `live`."""
    databases: ClassVar[tuple[str, ...]] = ()
    """Databases that it uses besides its own."""
    steps_through_pgbouncer: ClassVar[bool] = False
    """Whether its one-time steps need pgbouncer, since its drivers may know neither SCRAM nor TLS.
    They get a pool of their own. The steps of other kinds connect to the local HAProxy.
    """
    code: ClassVar[tuple[str, ...]] = ()
    """Places from which it loads code, which therefore are on the host's own disk."""
    environment: ClassVar[str | None] = None
    """The environment of Python in which it runs, if there is one."""
    rows: ClassVar[tuple[str, str]] = ("S8", "S8")
    """The rows of docs/requirements.md about its checkout and about its unit."""
    watched_as: ClassVar[str | None] = None
    """The user as whom monitoring logs in, and keeps a file, if this kind's states make one."""
    ports: ClassVar[Mapping[int, str]] = {}
    """Ports that it listens on unless a definition says otherwise, each with the daemon's name."""

    software: ClassVar[Mapping[str, str]] = {}
    """The Debian packages and the units that its hosts get, each with its purpose, as in a role."""

    def built_from(self, section: Mapping[str, Any]) -> tuple[Mapping[str, Any], list[str]]:
        """Return what a release is built from, beside the commit of its code.

        Args:
            section: the kind's own section of a definition.

        Returns:
            The keys of the section that count, and the files of salt/locks. One that does not exist
            counts as well, because it may come.
        """
        return {}, []

    def unfit(self, section: Mapping[str, Any], platform: Platform) -> Iterator[tuple[str, str]]:
        """Yield why hosts of a platform cannot run a definition: the key, and the message.

        Args:
            section: the kind's own section of the definition.
            platform: the platform.
        """
        yield from ()

    def lock(self, section: Mapping[str, Any]) -> tuple[str, str] | None:
        """Return the lock that a definition names, which must be there.

        Args:
            section: the kind's own section of a definition.

        Returns:
            The key of the section, and the name of a file of salt/locks; None without a lock.
        """
        return None

    def repositories(self, section: Mapping[str, Any]) -> tuple[str, list[Mapping[str, Any]]]:
        """Return the further git repositories that a release contains.

        Args:
            section: the kind's own section of a definition.

        Returns:
            The key of the section that lists them, and its items: each a `Source` with a `name`.
        """
        return "", []

    def named(self, application: str) -> dict[str, str] | None:
        """Return where an application's database names its files, if every one does.

        Args:
            application: the application's name, which is also its database's.

        Returns:
            `column`: its schema, table and name with dots between; `directory`: where these files
            are in the application's directory.
        """
        return None

    def neutral(self, definition: Mapping[str, Any]) -> str:
        """Return in words what keeps a copy of the database from mail, payments and the like.

        Args:
            definition: the content of the application's file.

        Returns:
            The words; "" if nothing does.
        """
        words = "the statements of `neutral` in its definition run in the copy"
        return words if definition[self.name].get("neutral") else ""

    def passwords(self, definition: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the purposes of the passwords that its hosts need, besides the database's.

        Args:
            definition: the content of the application's file.

        Returns:
            Some of `salina_fleet.secrets.APPLICATION`.
        """
        return ()

    def steps(self, section: Mapping[str, Any], commit: str) -> list[str]:
        """Return the names of the steps that run once for the service.

        Args:
            section: the kind's own section of a definition.
            commit: the commit of the code.
        """
        return []

    def shared(self, section: Mapping[str, Any]) -> list[str]:
        """Return the paths at which it writes users' files, which are links to the volume.

        Args:
            section: the kind's own section of a definition.
        """
        return []

    def jobs(self, definition: Mapping[str, Any], app: AppSettings) -> int | None:
        """Return the seconds in which one of its scheduled jobs must end, if any is due.

        Args:
            definition: the content of the application's file.
            app: pillar/settings/app.yaml.

        Returns:
            The seconds; None if it has no jobs in Odoo's table.
        """
        return None

    def evidence(
        self,
        definition: Mapping[str, Any],
        database: str,
        settings: AppSettings,
        nginx: Mapping[str, Any],
    ) -> Iterable[Look]:
        """Return what an app host can show of the rows about this kind while it runs.

        Args:
            definition: the content of the application's file.
            database: the name of the application's database.
            settings: pillar/settings/app.yaml.
            nginx: the arguments of the looks that ask nginx: `port` on loopback, and `domain`.
        """
        return ()

    def conflicts(self, app: AppSettings, route: RouteSettings) -> Iterator[tuple[str, str]]:
        """Yield the faults of pillar/settings/app.yaml beside those of the way to the database.

        Returns:
            Pairs of a key and a message.
        """
        yield from ()

"""Odoo: HTTP workers and a gevent process for long polling, in one unit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from salina.application import odoo
from salina.common import locks
from salina_fleet.kind import INSIDE, INSIDE_PATTERN, LOCK, Kind, Section
from salina_fleet.model.source import Source
from salina_fleet.role import Look
from salina_fleet.schema.declare import PATH, Scalar, flag, given, record
from salina_fleet.schema.document import join
from salina_fleet.schema.faults import invalid, not_among, repeated
from salina_fleet.schema.rules import Choice, ListOf, MappingOf, Nullable, Text

if TYPE_CHECKING:
    from salina_fleet.platforms import Platform
    from salina_fleet.roles.app import AppSettings
    from salina_fleet.roles.database import RouteSettings

DEBIAN = Text(r"[a-z0-9][a-z0-9.+-]+", "the name of a Debian package")
INTERPRETERS = {"bullseye": "python3.9"}
"""The older Debian releases from which a host can have Python, each with its command."""
RELEASE = Choice(INTERPRETERS, "an older Debian release")
INTERPRETER = Text(r"python3\.[0-9]{1,2}", "a command such as python3.11")
ADDONS = Text(
    rf"\.|{INSIDE_PATTERN}", "a directory of the repository, or . for the repository itself"
)
REPOSITORY_NAME = Text(r"[a-z0-9][a-z0-9_-]{0,60}", "a name of small letters, digits, _ and -")
HIDDEN = "dev|home|proc|root|run|sys|tmp|var/run|var/tmp"
"""Directories in which Odoo's service does not see a file that Salt writes there."""
FILE = Text(
    rf"(?=/etc/odoo/[^/]+\.conf\Z|.*/odoo[^/]*\.conf\Z)(?!/({HIDDEN})/){PATH}",
    "a file NAME.conf in /etc/odoo, or a file odoo*.conf elsewhere, but not below /home or /tmp",
)
PINNED = Text(r"[A-Za-z0-9][A-Za-z0-9._-]*==[0-9][A-Za-z0-9.]*", "NAME==VERSION")
NUMBERS = r"[0-9]+(\.[0-9]+)*"
SUFFIX = r"((a|b|rc)[0-9]+)?(\.post[0-9]+)?(\.dev[0-9]+)?"
COMPARISON = (
    rf"((<=|>=|<|>){NUMBERS}{SUFFIX}|(==|!=){NUMBERS}(\.\*|{SUFFIX})"
    rf"|~=(?=[0-9]+\.[0-9]){NUMBERS}{SUFFIX})"
)
CONSTRAINT = Text(
    rf"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?{COMPARISON}(,{COMPARISON})*",
    "a version constraint such as setuptools<82 or setuptools>=61,<82",
)
MODULE = Text(r"[a-z][a-z0-9_]*", "a module of Odoo")
OPTION = Text(r"[a-z][a-z0-9_]*", "an option of odoo.conf")
SCALAR = Text(
    r"[^\r\n\x00]*", "one line of text, a number, or true or false", others=(int, float, bool)
)

OURS = {"addons_path": "addons", "server_wide_modules": "server_wide_modules"}
"""The options of odoo.conf that also name this project's own addons, and the keys for them."""
PROXY = (
    *("proxy_set_header Host ", "proxy_set_header X-Real-IP ", "proxy_set_header X-Forwarded-For "),
    *("proxy_set_header X-Forwarded-Host ", "proxy_set_header X-Forwarded-Proto "),
    *("proxy_buffers ", "proxy_buffer_size ", "proxy_next_upstream ", "proxy_read_timeout "),
    *("access_log /var/log/nginx/", "error_log /var/log/nginx/"),
)
"""The directives of nginx that Odoo needs: headers, buffers, retries and logs."""
COMPLETE = {
    "without_dependencies": "lists every Python package",
    "constraints": "fixes every version",
}
"""The keys that a lock excludes, and the reasons."""
DAY = 86_400
JOBS, JOB_LIMITS = 7200, 4
"""The fewest seconds without the end of a job that is due that are a fault; and how many jobs may
take all of their time in a row.
"""
LISTENING = 2
"""Sessions with the database postgres beside those of the scheduled jobs: the bus, and a query."""


@dataclass(frozen=True)
class Python:
    """An interpreter, the Debian packages it needs, and the content of its environment."""

    interpreter: str = given(INTERPRETER, about="The command of the interpreter.")
    release: str | None = given(
        Nullable(RELEASE),
        None,
        about="The Debian release that contains the interpreter; null stands for the host's own.",
    )
    packages: tuple[str, ...] = given(
        ListOf(DEBIAN, least=0), (), about="The Debian packages that this version needs."
    )
    lock: str | None = given(
        Nullable(LOCK),
        None,
        about="A file of salt/locks with the exact version of every Python package.",
    )
    requirements: str | None = given(
        Nullable(INSIDE),
        None,
        about="In place of a lock: a file of the checkout that names the Python packages.",
    )
    without_dependencies: tuple[str, ...] = given(
        ListOf(PINNED, least=0),
        (),
        about="Python packages that are added to the requirements without their dependencies.",
    )
    constraints: tuple[str, ...] = given(
        ListOf(CONSTRAINT, least=0),
        (),
        about="Versions that pip may take, for the requirements and for the tools that build them.",
    )


@dataclass(frozen=True, kw_only=True)
class Repository(Source):
    """A further git repository with modules."""

    name: str = given(REPOSITORY_NAME, about="The name of the repository, which its record has.")
    addons: tuple[str, ...] = given(
        ListOf(ADDONS),
        (".",),
        about="The directories of the repository with modules, in this order; `.` is the "
        "repository itself.",
    )
    requirements: str | None = given(
        Nullable(INSIDE),
        None,
        about="A file of the repository that names Python packages. They are installed together "
        "with those of `python.requirements`.",
    )


@dataclass(frozen=True, kw_only=True)
class OdooSection(Section):
    """The keys of Odoo."""

    configuration: str = given(
        FILE, "/etc/odoo/odoo.conf", about="The file of Odoo's configuration on an app host."
    )
    python: Python = given(about="The Python environment; it has either a lock or requirements.")
    addons: tuple[str, ...] = given(
        ListOf(INSIDE), about="The directories of the checkout with modules, in this order."
    )
    repositories: tuple[Repository, ...] = given(
        ListOf(record(Repository), least=0),
        (),
        about="Further git repositories with modules. Odoo takes a module from the first directory "
        "that has it: those of these repositories come first, in this order, and then `addons`.",
    )
    modules: tuple[str, ...] = given(
        ListOf(MODULE),
        about="The modules that Odoo installs when it initialises the database. orch.upgrade "
        "installs one that is added later.",
    )
    server_wide_modules: tuple[str, ...] = given(
        ListOf(MODULE), about="The modules that Odoo loads when it starts, for all databases."
    )
    names: Mapping[str, str] = given(
        MappingOf(OPTION, OPTION, "a mapping of options to their names"),
        {},
        about="Options of odoo.conf that this version calls differently.",
    )
    options: Mapping[str, Scalar] = given(
        MappingOf(OPTION, SCALAR, "a mapping of options to values"),
        {},
        about="Further options of odoo.conf; they also replace those that Salina writes, except "
        "addons_path and server_wide_modules.",
    )

    right_to_left: bool = flag(
        False,
        "Whether the hosts get the command rtlcss, with which Odoo makes the style sheets for "
        "languages such as Arabic and Hebrew.",
    )

    def rules(self, sound: Callable[[str], bool]) -> Iterator[tuple[str, str]]:
        """The Python environment has one source; options leave this project's addons in place."""
        for option, key in OURS.items():
            if option in self.options:
                message = f"Salina writes this option; remove it, and use odoo.{key} instead"
                yield join("options", option), message
        python = self.python
        # the host's own one depends on its platform (`unfit`)
        wanted = INTERPRETERS.get(python.release or "", python.interpreter)
        alone = all(sound(f"python.{key}") for key in ("interpreter", "release"))
        if alone and python.interpreter != wanted:
            yield (
                "python.interpreter",
                invalid(python.interpreter, f"{wanted}, the only one of Debian {python.release}"),
            )
        if (python.lock is None) == (python.requirements is None) and all(
            sound(f"python.{key}") for key in ("lock", "requirements")
        ):
            found = (
                "both lock and requirements are"
                if python.lock
                else "neither lock nor requirements is"
            )
            yield "python", f"{found} given; give exactly one of them"
        names = [one.name for one in self.repositories]
        for place, one in enumerate(self.repositories):
            if one.name and one.name in names[:place]:
                yield f"repositories[{place}].name", repeated(one.name)
            if python.lock and one.requirements:
                yield (
                    f"repositories[{place}].requirements",
                    "cannot be combined with odoo.python.lock, because the lock lists every Python "
                    "package; add its packages to the lock, and remove this",
                )
        for key, why in COMPLETE.items():
            if python.lock and getattr(python, key):
                message = f"cannot be combined with lock, because the lock already {why}; remove it"
                yield f"python.{key}", message


class Odoo(Kind):
    """Odoo from a git checkout."""

    name = "odoo"
    section = OdooSection
    code = ("/opt/odoo/production", odoo.DATA)
    environment = f"/opt/odoo/production/{odoo.ENVIRONMENT}"
    rows = ("O1", "O3")
    waits = True
    databases = ("postgres",)  # its bus listens for notifications there
    watched_as = "salina-monitoring"
    ports: ClassVar[Mapping[int, str]] = {8069: "Odoo", 8072: "Odoo"}
    software: ClassVar = {
        "python3-virtualenv": "Odoo's environment of packages from PyPI",
        "wkhtmltopdf": "prints reports as PDF",
        "fonts-dejavu-core": "the letters of these reports",
        "python3.9": "the interpreter of Odoo 14, from the previous Debian release",
        "build-essential": "compiles the packages from PyPI that have no wheel",
        "python3-dev": "the same, for Python",
        "libpq-dev": "the same, for the driver of PostgreSQL",
        "libldap2-dev": "the same, for LDAP",
        "libsasl2-dev": "the same, for logins of LDAP",
        "libmagic1": "tells the types of uploaded files",
        "nodejs": "runs rtlcss, for languages written from right to left",
        "odoo": "the application",
        "salina-log-odoo": "sends the application's log to the monitoring host",
    }

    def built_from(self, section: Mapping[str, Any]) -> tuple[Mapping[str, Any], list[str]]:
        """The Python environment, and where the modules are."""
        python = section["python"]
        lock = f"{python['lock']}.txt"
        keys = {"python": python, "addons": section["addons"]}
        if section["repositories"]:
            counting = ("name", "submodules", "addons", "requirements")
            keys["repositories"] = [
                {key: one[key] for key in counting} for one in section["repositories"]
            ]
        files = [lock, locks.tools(lock)] if python["lock"] else []
        return keys, [*files, odoo.RTLCSS_LOCK] if section["right_to_left"] else files

    def unfit(self, section: Mapping[str, Any], platform: Platform) -> Iterator[tuple[str, str]]:
        """The interpreter exists: it is the platform's own, or in a release on its mirrors."""
        python, own = section["python"], f"python{platform.python}"
        if python["release"] is None and python["interpreter"] != own:
            words = f"{own}, which is the interpreter of {platform.title}"
            yield "python.interpreter", invalid(python["interpreter"], words)
        elif python["release"] not in (None, *platform.releases):
            words = f"a release on the mirrors of {platform.title}"
            yield "python.release", not_among(python["release"], platform.releases, words)

    def lock(self, section: Mapping[str, Any]) -> tuple[str, str] | None:
        """A lock of pip."""
        python = section["python"]
        return ("python.lock", f"{python['lock']}.txt") if python["lock"] else None

    def repositories(self, section: Mapping[str, Any]) -> tuple[str, list[Mapping[str, Any]]]:
        """Those with further modules."""
        return "repositories", section["repositories"]

    def named(self, application: str) -> dict[str, str] | None:
        """Odoo's attachments name the files of its file store."""
        column = "public.ir_attachment.store_fname"
        return {"column": column, "directory": f"filestore/{application}"}

    def neutral(self, definition: Mapping[str, Any]) -> str:
        """The tables are the same in every Odoo."""
        return "mail, jobs and payments are off in the copy, and nobody is logged in"

    def steps(self, section: Mapping[str, Any], commit: str) -> list[str]:
        """Those of salt/odoo/once.sls, but two, which are done while their rows are there."""
        return ["initialise", "set the login"]

    def shared(self, section: Mapping[str, Any]) -> list[str]:
        """The file store."""
        return [f"{odoo.DATA}/filestore"]

    def jobs(self, definition: Mapping[str, Any], app: AppSettings) -> int | None:
        """As long as several jobs may take; with an unlimited job, a day."""
        section = definition[self.name]

        def option(name: str, ours: int) -> int:
            value = str(section["options"].get(section["names"].get(name, name), ours))
            return int(value) if value.isdigit() else ours

        if not option("max_cron_threads", app.cron_threads):
            return None
        limit = option("limit_time_real_cron", app.limit_time_cron)
        return max(JOBS, JOB_LIMITS * limit) if limit else DAY

    def evidence(
        self,
        definition: Mapping[str, Any],
        database: str,
        settings: AppSettings,
        nginx: Mapping[str, Any],
    ) -> Iterable[Look]:
        """odoo.conf, and what nginx does for Odoo."""
        section, live = definition[self.name], definition["live"]
        wanted = {
            "db_name": database,
            "dbfilter": f"^{database}$",
            "list_db": False,
            "proxy_mode": True,
            "http_interface": "127.0.0.1",
            "http_port": definition["port"],
            "gevent_port": live["port"],
            "max_cron_threads": settings.cron_threads,
            "limit_memory_soft": settings.limit_memory_soft * 2**20,
            "limit_memory_hard": settings.limit_memory_hard * 2**20,
            "limit_time_cpu": settings.limit_time_cpu,
            "limit_time_real": settings.limit_time_real,
            "limit_request": settings.limit_request,
            "logfile": odoo.LOG,
        }
        named = {section["names"].get(key, key): value for key, value in wanted.items()}
        # the definition's own options come last, and may be secret
        plain = {key: str(value) for key, value in named.items() if key not in section["options"]}
        asked = {"path": section["configuration"], "wanted": plain, "workers": settings.workers}
        yield Look("O2", "odoo", asked)
        path = definition["health"]["path"]
        yield Look("O4", "proxied", {**nginx, "path": path, "directives": list(PROXY)})
        folders = [f"{self.code[0]}/{place}/web/static" for place in section["addons"]]
        kept = {"folders": folders, "prefix": "/web/static", "minutes": settings.static_cache}
        yield Look("O6", "static", {**nginx, **kept})
        yield Look("O7", "long", {**nginx, "path": live["path"]})

    def passwords(self, definition: Mapping[str, Any]) -> tuple[str, ...]:
        """Its configuration has the first one, and a one-time step sets the second."""
        return ("admin", "login")

    def conflicts(self, app: AppSettings, route: RouteSettings) -> Iterator[tuple[str, str]]:
        """Every process gets its sessions from pgbouncer, however many of them are busy."""
        pool = f"pool_size in pillar/settings/database_route.yaml is {route.pool_size}"
        workers = 1 if app.workers is None else app.workers
        needed = odoo.sessions(workers, app.cron_threads, app.database_connections)
        most = odoo.most_workers(route.pool_size, app.cron_threads)
        if needed <= route.pool_size:
            pass
        elif not workers:
            most = route.pool_size - odoo.sessions(0, 0, 0)
            words = f"at most {most} without workers, because {pool}"
            yield "database_connections", invalid(app.database_connections, words)
        elif most < 1:
            why = f"{pool}, which is too small for one worker and {app.cron_threads} cron_threads"
            yield "workers", f"{why}; set pool_size to at least {needed}"
        else:
            why = f"because {pool} and each process needs {odoo.SESSIONS} sessions"
            words = f"at most {most}, {why}; or set pool_size to at least {needed}"
            yield "workers", invalid(app.workers, words)
        most = route.postgres_pool_size - LISTENING
        if app.cron_threads > most:
            size = (
                f"postgres_pool_size in pillar/settings/database_route.yaml is {most + LISTENING}"
            )
            advice = f"or set postgres_pool_size to at least {app.cron_threads + LISTENING}"
            words = f"at most {most}, because {size}; {advice}"
            yield "cron_threads", invalid(app.cron_threads, words)

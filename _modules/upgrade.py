"""Bring a copy of the application's database to a new release, and try the release with it.

The copy is beside the running database, which stays as it is until the two change places. So
whatever fails or dies before that leaves the former release with its own data. An operator uses
orch.upgrade; decision 50 has the reasons.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from salt.exceptions import CommandExecutionError

from salina.application import copy, schema
from salina.application.database import mark, session
from salina.common import commands, pillars
from salina.common import wait as waiting
from salina.database.psql import PsqlError, Session

__salt__: dict[str, Any]
__pillar__: dict[str, Any]

TAIL = 40
"""The lines that an error shows of a failed command's output."""
ANSWER = 300
"""Seconds for the first answer of a release that starts."""
CLOSED = "/run/salina-closed"
"""While this file exists, nginx answers 503 to everybody (salt/nginx/files/nginx.conf)."""
ON_COPY = ("run", "neutralise", "check")
"""The functions that work on the copy of the database."""
KILLED = 30
"""Seconds until a killed job is gone."""
LATER = 600
"""Seconds after which an application with another release starts by itself."""
PAGE = 120
"""Seconds for a page. The first request of Odoo's login page builds its style sheets."""


def plan(database: str = "") -> dict[str, Any]:
    """Return what an upgrade of this host's application would change. This changes nothing.

    Args:
        database: the name of a copy, which is asked instead of the application's database.

    Returns:
        `former` and `release`, the names of the releases; `differing`, the modules or migrations
        that are not the same in both; `missing`, the modules that would be installed; and `rolls`,
        whether the former release works with the changed database.

    Raises:
        CommandExecutionError: the database does not answer, or the release is not on this host.

    CLI Example:
        salt s1 upgrade.plan
    """
    app = _app()
    directory = str(app["release"]["directory"])
    if not __salt__["release.complete"](directory):
        raise CommandExecutionError(f"{directory} is not complete; apply the states of this host")
    found = __salt__["schema.obstacle"](directory, database)
    differing, missing = found["differing"], []
    if modules := __salt__.get(f"{app['kind']}.missing_modules"):
        missing = modules(database)
    return {
        "former": found["release"] or __salt__["release.active"](),
        "release": app["release"]["name"],
        "differing": differing,
        "missing": missing,
        "rolls": not missing and __salt__[f"{app['kind']}.rolls"](differing),
    }


def fetch() -> str:
    """Have the release that this host's pillar wants, beside the one that runs.

    Returns:
        How it was got, in words.

    Raises:
        CommandExecutionError: it cannot be built or unpacked.

    CLI Example:
        salt s1 upgrade.fetch
    """
    wanted = _app()["release"]
    how = str(__salt__["release.obtain"](wanted["directory"], wanted["store"]))
    have(wanted["name"])  # with the links of its directories, which no apply may have made yet
    return how


def settle() -> None:
    """Let the database name the release that this host runs, if it names none yet.

    So the database that an upgrade replaces says which code it needs.

    Raises:
        CommandExecutionError: the database does not answer.

    CLI Example:
        salt s1 upgrade.settle
    """
    former = plan()["former"]
    if former and former == __salt__["release.active"]():
        __salt__["schema.record"](str(_directory(former)))


def have(name: str) -> None:
    """Have a release that was built before, beside the one that runs.

    Args:
        name: the release's name.

    Raises:
        CommandExecutionError: it is neither on this host nor in the store.

    CLI Example:
        salt s1 upgrade.have c0ffee000000-0123abcd
    """
    __salt__["release.fetch"](str(_directory(name)), _app()["release"]["store"])


def follow() -> str:
    """Let this host run the release that its database belongs to, from the next start on.

    Returns:
        The release's name.

    Raises:
        CommandExecutionError: the database does not answer, or the release is nowhere.

    CLI Example:
        salt s1 upgrade.follow
    """
    due = str(__salt__["release.due"]()["name"])
    if due and due != __salt__["release.active"]():
        have(due)
        switch(due)
    return due


def run(neutral: bool, seconds: int) -> list[str]:
    """Bring the copy of the database to the new release: migrations, or changed and new modules.

    A neutral copy then has the operator's own checks.

    Args:
        neutral: whether mail, jobs and payments are turned off in the copy before anything runs.
        seconds: after which a command is killed.

    Returns:
        The commands that ran, in words.

    Raises:
        CommandExecutionError: one of them failed, with the end of what it printed.

    CLI Example:
        salt s1 upgrade.run True 3600
    """
    if neutral:
        neutralise()
    with _files():
        done = _changed(_name(), _name(), seconds)
        # not in the copy that becomes the application's: a check may leave something behind
        return [*done, *(_own_checks(seconds) if neutral else [])]


def end() -> list[str]:
    """End what an interrupted upgrade still does on this host with the copy of the database.

    Salt goes on with a job whose orchestration was interrupted. An application that loses the copy
    connects again, and would write into the next one before that has its data.

    Returns:
        The ids of the jobs that were ended.

    Raises:
        CommandExecutionError: one of them does not end.

    CLI Example:
        salt s1 upgrade.end
    """

    def left() -> list[str]:
        found = (__salt__["saltutil.is_running"](f"upgrade.{one}") for one in ON_COPY)
        return [str(job["jid"]) for jobs in found for job in jobs]

    jobs = left()
    for job in jobs:
        __salt__["saltutil.kill_job"](job)
    try:
        waiting.clear(lambda: " ".join(left()), KILLED, "the jobs of an earlier upgrade to end")
    except TimeoutError as error:
        raise CommandExecutionError(str(error)) from None
    return jobs


def neutralise() -> None:
    """Turn off mail, jobs and payments in the copy of the database, and end all sessions.

    Raises:
        CommandExecutionError: the copy does not answer, or a statement failed.

    CLI Example:
        salt s1 upgrade.neutralise
    """
    try:
        with _session(_name()) as opened:
            for statement in copy.neutral(_app()):
                opened.query(statement)
    except PsqlError as error:
        raise CommandExecutionError(f"{_name()}: it cannot be neutralised: {error}") from error


def migrate(seconds: int) -> list[str]:
    """Bring the running database to the new release, while the former one goes on with it.

    The commands have a pool of pgbouncer of their own, because users may fill the application's.

    Args:
        seconds: after which a command is killed.

    Returns:
        The commands that ran, in words.

    Raises:
        CommandExecutionError: the former release would not work with the changed database, or a
            command failed, with the end of what it printed.

    CLI Example:
        salt s1 upgrade.migrate 3600
    """
    if not plan()["rolls"]:
        raise CommandExecutionError("the former release does not work with the changed database")
    pool = pillars.section(__pillar__, "database_route")["steps"]["name"]
    return _changed(_app()["database"]["name"], pool, seconds)


def check(name: str) -> list[str]:
    """Start a release with the copy of the database, and ask for its pages.

    No balancer knows it, and its jobs do not run.

    Args:
        name: the release's name.

    Returns:
        The paths that answered.

    Raises:
        CommandExecutionError: it is not on this host or does not start, or a page does not answer
            with status 200.

    CLI Example:
        salt s1 upgrade.check c0ffee000000-0123abcd
    """
    app = _app()
    port, directory = _free_port(), str(_directory(name))
    if not __salt__["release.complete"](directory):
        raise CommandExecutionError(f"{directory} is not complete; apply the states of this host")
    command = __salt__[f"{app['kind']}.server"](directory, port)
    with _files(), tempfile.TemporaryFile("w+") as output, _logged():
        process = subprocess.Popen(
            [*_become(), *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=directory,
            env=_environment(port, _name(), directory),
            start_new_session=True,
        )
        try:
            return _asked(f"http://127.0.0.1:{port}", lambda: process.poll() is None)
        except (CommandExecutionError, OSError) as error:
            output.seek(0)
            raise CommandExecutionError(f"{error}\n{_tail(output.read())}") from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def switch(name: str) -> None:
    """Let this host run another release from the next start of its application on.

    It starts after a while, should the master die before it starts it.

    Args:
        name: the release's name.

    Raises:
        CommandExecutionError: the release is not on this host.

    CLI Example:
        salt s1 upgrade.switch c0ffee000000-0123abcd
    """
    __salt__["release.activate"](str(_directory(name)))
    __salt__["application.later"](LATER)


def serve() -> list[str]:
    """Start the application of this host, and ask for its pages before anybody else does.

    Returns:
        The paths that answered.

    Raises:
        CommandExecutionError: it does not start, or a page does not answer with status 200.

    CLI Example:
        salt s1 upgrade.serve
    """
    with _closed():
        try:
            __salt__["application.start"]()
            return _asked(f"http://127.0.0.1:{_app()['definition']['port']}", lambda: True)
        except BaseException as error:
            with contextlib.suppress(CommandExecutionError):  # nobody may use it from now on
                __salt__["application.stop"](LATER)
            if isinstance(error, OSError):
                raise CommandExecutionError(str(error)) from None
            raise


@contextmanager
def _closed() -> Iterator[None]:
    """Let nginx answer nobody, also if no other host serves.

    Should this process die, it opens when all pages would have answered.
    """
    unit, run = "salina-open", __salt__["cmd.run_all"]
    longest = ANSWER + PAGE * (1 + len(_app()["definition"]["pages"])) + LATER
    __salt__["service.stop"](f"{unit}.timer")  # of an earlier upgrade
    timer = ["systemd-run", "--collect", f"--unit={unit}", f"--on-active={longest}"]
    commands.run(run, [*timer, "rm", "--force", CLOSED])
    try:
        Path(CLOSED).touch()
        yield
    finally:
        Path(CLOSED).unlink(missing_ok=True)
        __salt__["service.stop"](f"{unit}.timer")


def _asked(url: str, goes_on: Callable[[], bool]) -> list[str]:
    """Ask for the pages of an application that starts, and return their paths.

    Args:
        url: where it listens.
        goes_on: returns false if it has ended.
    """
    health = _app()["definition"]["health"]

    def obstacle() -> str:
        if not goes_on():
            raise CommandExecutionError("the application ended")
        return str(__salt__["application.health"](f"{url}{health['path']}", health["cookie"]))

    waiting.clear(obstacle, ANSWER, f"{url}{health['path']}")
    pages = _app()["definition"]["pages"]
    for path in pages:
        if fault := __salt__["application.health"](f"{url}{path}", health["cookie"], PAGE):
            raise CommandExecutionError(f"{path}: {fault}")
    return [health["path"], *pages]


def _changed(database: str, pool: str, seconds: int) -> list[str]:
    """Bring a database to the new release by way of a pool, and return in words what was done."""
    app, before = _app(), plan(database)
    directory = Path(app["release"]["directory"])
    work = __salt__[f"{app['kind']}.upgrade"](
        str(directory), before["differing"], before["missing"]
    )
    usual = _environment(0, pool, str(directory))
    for each in work:
        known = app["secrets"]
        secret = {name: known[key] for name, key in each.get("secrets", {}).items()}
        env = usual | each.get("env", {}) | secret
        _command(each["command"], each.get("stdin"), env, seconds)
    parts = __salt__[f"{app['kind']}.checksums"](str(directory))
    try:
        with _session(database) as opened:
            for each in work:
                if "step" in each:
                    mark(opened, each["step"])
        with _session(database, True) as opened:
            schema.record(opened, directory.name, parts, schema.recorded(opened).get("release", ""))
    except (PsqlError, ValueError) as error:
        raise CommandExecutionError(f"{database}: the release is not recorded: {error}") from error
    return [str(each["words"]) for each in work]


def _own_checks(seconds: int) -> list[str]:
    """Run the operator's checks on the copy, and return in words what was done."""
    app = _app()
    directory, found = str(app["release"]["directory"]), []
    for file in app["definition"]["checks"]:
        command = __salt__[f"{app['kind']}.check"](directory, file)
        _command(command, None, _environment(0, _name(), directory), seconds)
        found.append(f"{file} passed")
    return found


def _command(command: list[str], stdin: str | None, env: dict[str, str], seconds: int) -> None:
    """Run a command as the application's user."""
    with _logged():
        result = __salt__["cmd.run_all"](
            [*_become(), *command],
            python_shell=False,
            cwd=_app()["release"]["directory"],
            stdin=stdin,
            stdin_raw_newlines=True,  # otherwise Salt changes the script
            env=env,
            timeout=seconds,
            clean_env=True,
            redirect_stderr=True,
            output_loglevel="quiet",
        )
        if result["retcode"]:
            raise CommandExecutionError(
                f"this command ended with exit code {result['retcode']}: {' '.join(command)}\n"
                f"{_tail(result['stdout'])}"
            )


@contextmanager
def _logged() -> Iterator[None]:
    """Add the end of the log of what was tried, if the application writes one, to an error."""
    log = Path(copy.log(_app()["kind"]))
    before = log.stat().st_size if log.exists() else 0
    try:
        yield
    except CommandExecutionError as error:
        if not log.exists():
            raise
        with log.open(errors="replace") as content:
            content.seek(before)
            said = _tail(content.read())
        raise CommandExecutionError(f"{error}\n{said}".rstrip()) from None


def _tail(text: str) -> str:
    return "\n".join(text.splitlines()[-TAIL:])


def _become() -> list[str]:
    kind = _app()["kind"]
    return [*commands.MORTAL, f"--reuid={kind}", f"--regid={kind}", "--init-groups", "--"]


def _environment(port: int, pool: str, directory: str) -> dict[str, str]:
    """Return the environment in which a release uses a pool of pgbouncer."""
    app = _app()
    text = Path(f"/etc/{app['kind']}/environment").read_text()
    return copy.environment(app, text, directory, port, pool)


@contextmanager
def _files() -> Iterator[None]:
    """Let the copy have the files of the database. A file that it adds is used by nobody else."""
    link = copy.files(_app())
    if link is None:
        yield
        return
    path, target = link
    try:
        Path(path).unlink(missing_ok=True)
        Path(path).symlink_to(target)
    except OSError as error:
        raise CommandExecutionError(f"{path} must be a link to {target}: {error}") from None
    try:
        yield
    finally:
        Path(path).unlink(missing_ok=True)


def _directory(name: str) -> Path:
    """Return the directory of a release of this host."""
    return Path(_app()["release"]["directory"]).with_name(name)


def _session(database: str, record: bool = False) -> Session:
    return session(__pillar__, "salina: upgrade", database, record)


def _name() -> str:
    return copy.name(_app()["database"]["name"])


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _app() -> Mapping[str, Any]:
    return pillars.section(__pillar__, "app")

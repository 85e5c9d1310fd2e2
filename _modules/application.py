"""What an application host asks and does beyond Salt's own modules.

Health, the database, code from git, and steps that are done once for the whole service.
"""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from salt.exceptions import CommandExecutionError

from salina.application import odoo
from salina.common import apt, file
from salina.common import command as salina_command
from salina.common import health as salina_health
from salina.database.psql import PsqlError, Session, installed, literal

__salt__: dict[str, Any]
__grains__: dict[str, Any]
__pillar__: dict[str, Any]

#: In the application's database: which one-time steps are done, where and when.
MARKS = "salina_once"
#: In a checkout: the revision as it was asked for, written when all of it is there.
RECORD = ".git/salina-revision"
#: How much of a failed command's output is shown.
TAIL = 40


def health(url: str, cookie: str | None = None, timeout: float = 5) -> str:
    """Ask a URL: "" if it answers 200, otherwise what is wrong.

    Args:
        url: http://127.0.0.1:8069/web/health
        cookie: NAME=VALUE, for an application that would make a session for whoever has none.
        timeout: seconds.

    CLI example::

        salt s1 application.health http://127.0.0.1:8069/web/health
    """
    return salina_health.ask(url, {"Cookie": cookie} if cookie else {}, timeout)[0]


def listening(address: str, port: int) -> bool:
    """Tell whether something listens on exactly this address and port.

    CLI example::

        salt s1 application.listening 10.1.3.11 80
    """
    where = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    listing = _command(["ss", "--no-header", "--listening", "--numeric", "--tcp"])
    return where in [line.split()[3] for line in listing.splitlines()]


def database() -> str:
    """Ask the application's database by the application's own way: "" if it can be written to.

    CLI example::

        salt s1 application.database
    """
    if not installed():
        return "psql is not installed"
    try:
        with Session(_database(), "salina: does it answer?") as session:
            recovering = session.query("SELECT pg_is_in_recovery()") != ["f"]
            return "it is a replica: read-only" if recovering else ""
    except PsqlError as error:
        return str(error)


def done(step: str) -> str:
    """Where and when a one-time step was done: "s1 at 2026-11-21 22:31:07+00", or "".

    Raises:
        CommandExecutionError: the database doesn't answer.

    CLI example::

        salt s1 application.done init
    """
    try:
        with Session(_database(), f"salina: {step}?") as session:
            return _done(session, step)
    except PsqlError as error:
        raise CommandExecutionError(f"whether {step} was done is not known: {error}") from error


def once(
    step: str,
    command: list[str],
    user: str,
    cwd: str,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    env_file: str | None = None,
    patience: int = 900,
) -> str:
    """Run a command if no host has done this step yet: "" after it ran, else who did it and when.

    The hosts of the service take turns by an advisory lock of the application's database, held for
    as long as the command runs: who holds it loses it by dying, and the command dies with it. The
    step counts as done when the command succeeded, and only then; otherwise the next call, on
    whichever host, tries it again.

    Args:
        step: its name, unique in this service.
        command: argv.
        user: who runs it, in the group of the same name.
        cwd: where.
        stdin: what it reads; the place for a script.
        env: its environment; the place for a secret.
        env_file: file of NAME="value" lines with more of it, as systemd reads them.
        patience: seconds for the turn to come, and again for the command itself.

    Raises:
        CommandExecutionError: the command failed, or the database, or the turn didn't come.

    CLI example::

        salt s1 application.once greet '[echo, hello]' odoo /
    """
    try:
        with Session(_database(), f"salina: {step} on {platform.node()}") as session:
            session.query(f"SET lock_timeout = '{patience}s'")
            key = literal(f"salina once {step}")
            session.query(f"SELECT pg_advisory_lock(hashtextextended({key}, 0))")
            session.query(
                f"CREATE TABLE IF NOT EXISTS {MARKS} (step text PRIMARY KEY, "
                "host text NOT NULL, finished timestamptz(0) NOT NULL DEFAULT now())"
            )
            before = _done(session, step)
            if before:
                return before
            environment = _environment(env_file) | dict(env or {})
            _run(step, command, user, cwd, stdin, environment, patience)
            session.query(
                f"INSERT INTO {MARKS} (step, host) "
                f"VALUES ({literal(step)}, {literal(platform.node())})"
            )
            return ""
    except PsqlError as error:
        raise CommandExecutionError(f"{step} is not recorded as done: {error}") from error


def _done(session: Session, step: str) -> str:
    if session.query(f"SELECT to_regclass('{MARKS}') IS NULL") == ["t"]:
        return ""
    rows = session.query(
        f"SELECT host || ' at ' || finished FROM {MARKS} WHERE step = {literal(step)}"
    )
    return rows[0] if rows else ""


def _run(
    step: str,
    command: list[str],
    user: str,
    cwd: str,
    stdin: str | None,
    env: Mapping[str, str],
    timeout: int,
) -> None:
    """Run a command as a user; its environment is given, not shown."""
    become = [f"--reuid={user}", f"--regid={user}", "--init-groups"]
    result = __salt__["cmd.run_all"](
        [*salina_command.MORTAL, *become, "--", *command],
        python_shell=False,
        cwd=cwd,
        stdin=stdin,
        env=dict(env),
        timeout=timeout,
        redirect_stderr=True,
        output_loglevel="quiet",
    )
    if result["retcode"]:
        tail = "\n".join(result["stdout"].splitlines()[-TAIL:])
        raise CommandExecutionError(
            f"{step} stays undone, since this ended with {result['retcode']}: "
            f"{' '.join(command)}\n{tail}"
        )


def _environment(path: str | None) -> dict[str, str]:
    """The variables in a file as this project writes it for systemd: NAME="value"."""
    lines = Path(path).read_text().splitlines() if path else []
    pairs = (line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    return {name: value.strip('"') for name, value in pairs}


def _database() -> dict[str, Any]:
    found: dict[str, Any] = __pillar__["app"]["database"]
    return found


def checked_out(path: str) -> dict[str, Any]:
    """What a directory has checked out: `revision` as it was asked for, `commit`, `changed` files.

    Empty values where there is no checkout yet.

    CLI example::

        salt s1 application.checked_out /opt/odoo/production
    """
    record = Path(path) / RECORD
    if not record.exists():
        return {"revision": "", "commit": "", "changed": []}
    status = _git(path, "status", "--porcelain=v2", "--branch", "--untracked-files=no").splitlines()
    return {
        "revision": record.read_text().strip(),
        "commit": next(line.split()[-1] for line in status if line.startswith("# branch.oid")),
        "changed": [line.split()[-1] for line in status if not line.startswith("#")],
    }


def check_out(path: str, repository: str, revision: str) -> str:
    """Bring a checkout to a revision and return its commit. Local changes are lost.

    From a URL only that revision is fetched, without its history. From another checkout of this
    host (a path) it is what that one has checked out, as a local clone of it.

    A new one is made aside and gets its name when it is complete; the record of an old one is
    empty meanwhile. So one that was interrupted is known as such.

    Args:
        path: the work tree.
        repository: a git URL, or the path of another checkout.
        revision: branch, tag or commit. Recorded, so that the next question needs no network.

    Raises:
        CommandExecutionError: git failed; the message holds its command and what it said. Or there
            is something else at the path.

    CLI example::

        salt s1 application.check_out /opt/odoo/staging https://git.example/odoo.git 19.0
    """
    # a checkout without history takes another such revision only when told to
    local = repository.startswith("/")
    option, wanted = ("--update-shallow", "HEAD") if local else ("--depth=1", revision)
    home = Path(path)
    place = _begin(home)
    _git(place, "config", "remote.origin.url", repository)
    if local:
        _share(Path(repository, ".git"), place / ".git")
    _git(place, "fetch", "--quiet", option, "origin", wanted)
    _git(place, "checkout", "--quiet", "--force", "--detach", "FETCH_HEAD")
    _date(place)
    file.put(place / RECORD, f"{revision}\n")
    try:
        place.rename(home)
    except OSError as error:
        raise CommandExecutionError(
            f"{path} is no checkout of this project ({error.strerror}): move it away, then apply "
            "again"
        ) from error
    return _git(home, "rev-parse", "HEAD")


def _begin(home: Path) -> Path:
    """Return where to work: in the checkout that is there, or in a new one beside its place."""
    if (home / RECORD).exists():
        file.put(home / RECORD, "")
        for lock in (home / ".git").glob("*.lock"):  # of a git that was killed
            lock.unlink()
        return home
    aside = home.with_name(f"{home.name}.unfinished")
    if aside.exists():
        shutil.rmtree(aside)
    _command(["git", "init", "--quiet", str(aside)])
    return aside


def _share(source: Path, target: Path) -> None:
    """Give a repository the objects of another one of this host, as links to the same files.

    What `git clone --local` does, and does not for a repository without its history. Where it can't
    be, as between two file systems, git copies them when it fetches.
    """

    def link(old: str, new: str) -> None:
        if not os.path.exists(new):
            os.link(old, new)

    objects = source / "objects", target / "objects"
    try:
        shutil.copytree(*objects, copy_function=link, dirs_exist_ok=True)
    except OSError:
        return
    if (source / "shallow").exists():
        shutil.copy(source / "shallow", target / "shallow")


def _date(place: Path) -> None:
    """Give every file the time of its commit, the same on all hosts.

    Odoo names its bundles of scripts and styles after their files' times: with times of its own
    each host would delete the bundles of the others and make them anew, request by request.
    """
    time = int(_git(place, "log", "-1", "--format=%ct"))
    for name in filter(None, _git(place, "ls-files", "-z").split("\0")):
        os.utime(place / name, (time, time), follow_symlinks=False)
    _git(place, "update-index", "-q", "--refresh")  # so that `status` needn't read them all


def _git(path: str | Path, *arguments: str) -> str:
    return _command(["git", "-C", str(path), *arguments])


def _command(argv: list[str]) -> str:
    """Run a command that never asks anything, and return what it prints."""
    never_asks = {"GIT_TERMINAL_PROMPT": "0"}
    return salina_command.run(__salt__["cmd.run_all"], argv, env=never_asks)


def apt_source(release: str) -> str:
    """The APT source of another Debian release, on the mirror this host uses for its own.

    Raises:
        CommandExecutionError: this host has no source of its own release.

    CLI example::

        salt s1 application.apt_source bullseye
    """
    directory = Path("/etc/apt")
    paths = [directory / "sources.list", *(directory / "sources.list.d").glob("*")]
    own = f"{directory}/sources.list.d/{release}.sources"
    files = {str(path): path.read_text() for path in paths if path.is_file() and str(path) != own}
    try:
        return apt.of_release(files, __grains__["oscodename"], release)
    except ValueError as error:
        raise CommandExecutionError(f"{release} can't be asked for: {error}") from error


def odoo_configuration() -> str:
    """The contents of odoo.conf for this host, with its secrets.

    CLI example: see ``salt/odoo/configuration.sls``.
    """
    return odoo.configuration(__pillar__["app"], __grains__["num_cpus"])

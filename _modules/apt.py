"""Debian's packages where Salt's own `pkg` doesn't help: after an installation that was killed."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import Any

from salina.common import apt, command

__salt__: dict[str, Any]

DPKG = Path("/var/lib/dpkg")
QUIET = {"DEBIAN_FRONTEND": "noninteractive"}
#: As Salt installs: a file that was changed stays as it is.
CONFFILES = ("--force-confdef", "--force-confold")


def unfinished() -> list[str]:
    """Name the packages that an installation left halfway, and what else dpkg has to take up.

    CLI example::

        salt s1 apt.unfinished
    """
    updates = [path.name for path in (DPKG / "updates").glob("[0-9]*")]
    found = apt.unfinished((DPKG / "status").read_text(encoding="utf-8"))
    return found or (["dpkg's journal"] if updates else [])


def busy() -> str:
    """Say who is installing packages now, or "".

    CLI example::

        salt s1 apt.busy
    """
    with (DPKG / "lock-frontend").open("a") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return f"another process holds {file.name}"
    return ""


def finish() -> None:
    """Take up what an installation left halfway.

    Raises:
        CommandExecutionError: it can't be finished either; the message holds what apt said.

    CLI example::

        salt s1 apt.finish
    """
    run = __salt__["cmd.run_all"]
    # It fails where a package has to be unpacked again; that is what apt does then.
    run(["dpkg", *CONFFILES, "--configure", "--pending"], python_shell=False, env=QUIET)
    options = [f"--option=DPkg::Options::={option}" for option in CONFFILES]
    fix = ["apt-get", "--assume-yes", "--quiet", *options, "--fix-broken", "install"]
    command.run(run, fix, env=QUIET)

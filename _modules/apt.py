"""Manage Debian's packages where Salt's own `pkg` does not help.

After a killed installation `pkg` installs nothing more. It also knows no other Debian releases.
"""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import Any

from salt.exceptions import CommandExecutionError

from salina.common import apt, commands

__salt__: dict[str, Any]
__grains__: dict[str, Any]

APT = Path("/etc/apt")
DPKG = Path("/var/lib/dpkg")
QUIET = {"DEBIAN_FRONTEND": "noninteractive"}
#: Keep changed configuration files, as Salt's own installations do.
CONFFILES = ("--force-confdef", "--force-confold")


def unfinished() -> list[str]:
    """Return the packages that an installation left unfinished.

    Returns:
        Names of packages, or an entry for dpkg's journal if only that is unfinished.

    CLI Example:
        salt s1 apt.unfinished
    """
    updates = [path.name for path in (DPKG / "updates").glob("[0-9]*")]
    found = apt.unfinished((DPKG / "status").read_text(encoding="utf-8"))
    return found or (["dpkg's journal"] if updates else [])


def busy() -> str:
    """Return why packages cannot be installed at this moment, or "" if they can.

    Returns:
        A sentence about the process that holds apt's lock, or "".

    CLI Example:
        salt s1 apt.busy
    """
    with (DPKG / "lock-frontend").open("a") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return f"another process holds {file.name}"
    return ""


def finish() -> None:
    """Finish what an interrupted installation left.

    Raises:
        CommandExecutionError: apt could not finish it; the message holds apt's output.

    CLI Example:
        salt s1 apt.finish
    """
    run = __salt__["cmd.run_all"]
    # dpkg fails for a package that must be unpacked again; apt does that afterwards
    run(["dpkg", *CONFFILES, "--configure", "--pending"], python_shell=False, env=QUIET)
    options = [f"--option=DPkg::Options::={option}" for option in CONFFILES]
    fix = ["apt-get", "--assume-yes", "--quiet", *options, "--fix-broken", "install"]
    commands.run(run, fix, env=QUIET)


def source(release: str) -> str:
    """Return an APT source for another Debian release, on the mirror that this host uses.

    Args:
        release: the other release's code name.

    Returns:
        The text of a `.sources` file.

    Raises:
        CommandExecutionError: this host has no source for its own release.

    CLI Example:
        salt s1 apt.source bullseye
    """
    paths = [APT / "sources.list", *(APT / "sources.list.d").glob("*")]
    own = APT / "sources.list.d" / f"{release}.sources"
    files = {str(path): path.read_text() for path in paths if path.is_file() and path != own}
    try:
        return apt.of_release(files, __grains__["oscodename"], release)
    except ValueError as error:
        raise CommandExecutionError(
            f"cannot find a mirror for {release}: {error}; add one below {APT}, then apply again"
        ) from error

"""Run the code of packages while they are installed, as a user that owns nothing.

A package's install scripts and its build are somebody else's code. As root, such code could read
every secret of the host. The user USER reads only files that everybody may read; the state
`common.builder` creates it. The result belongs to root, so the service cannot change it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from salt.exceptions import CommandExecutionError

from salina.common import commands

USER = "salina-build"


def run(
    run_all: Callable[..., dict[str, Any]],
    place: Path,
    argv: Sequence[str],
    results: Sequence[Path] = (),
    **options: Any,
) -> None:
    """Run a command as USER in a directory, and give the directory back to root.

    Args:
        run_all: Salt's `cmd.run_all`.
        place: the directory that the command may change, and in which it runs.
        argv: the command.
        results: directories in which the caller writes afterwards. They must not be links, which
            could lead anywhere.
        options: options of `cmd.run_all`, such as `env`.

    Raises:
        CommandExecutionError: the command failed, or one of the results is a link.
    """
    commands.run(
        run_all, ["chown", "--recursive", "--no-dereference", f"{USER}:{USER}", str(place)]
    )
    become = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--no-new-privs"]
    try:
        # the kernel forgets the first --pdeathsig when the user changes
        commands.run(run_all, [*become, "--pdeathsig=KILL", "--", *argv], cwd=str(place), **options)
    finally:
        # a process that it left behind could change the files later; exit code 1: there is none
        end = ["pkill", "--signal=KILL", f"--uid={USER}"]
        run_all(end, python_shell=False, ignore_retcode=True)
        commands.run(run_all, ["chown", "--recursive", "--no-dereference", "root:root", str(place)])
    commands.run(run_all, ["chmod", "--recursive", "a-s,go-w", str(place)])
    for path in results:
        if path.is_symlink():
            raise CommandExecutionError(f"{path} is a link; it must be a directory")

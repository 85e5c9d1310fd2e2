"""Commands of this project's modules: they fail with a reason, and end with the job they are of.

A job can be killed alone (`saltutil.kill_job`, a lack of memory). What it began would go on unseen,
and the next apply would do the same work at the same place at the same time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from salt.exceptions import CommandExecutionError

MORTAL = ("setpriv", "--pdeathsig=KILL")
"""Before a command: it is killed when its parent is. More options may follow, then ``--``."""


def run(run_all: Callable[..., dict[str, Any]], argv: Sequence[str], **options: Any) -> str:
    """Run a command and return what it prints.

    Args:
        run_all: Salt's `cmd.run_all`.
        argv: the command.
        options: of `cmd.run_all`, such as `env`.

    Raises:
        CommandExecutionError: it failed; the message holds the command and what it said.
    """
    result = run_all([*MORTAL, "--", *argv], python_shell=False, **options)
    if result["retcode"]:
        said = result["stderr"] or result["stdout"] or f"exit code {result['retcode']}"
        raise CommandExecutionError(f"{' '.join(argv)}: {said}")
    return str(result["stdout"])


def systemctl(salt: Mapping[str, Any], action: str, name: str, **options: Any) -> None:
    """Have systemd start, restart, reload or enable a service.

    Args:
        salt: Salt's functions.
        action: one of these.
        name: the service.
        options: of that function of Salt's `service`, such as `no_block`.

    Raises:
        CommandExecutionError: with the command and what systemd said.
    """
    try:
        salt[f"service.{action}"](name, **options)
    except CommandExecutionError as error:
        raise CommandExecutionError(f"systemctl {action} {name}: {error}") from None

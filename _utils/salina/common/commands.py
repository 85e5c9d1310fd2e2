"""Commands of this project's modules: they raise with their output, and die with their Salt job.

A job can be killed alone (`saltutil.kill_job`, out of memory). Its command would continue unseen,
and the next apply would do the same work at the same place at the same time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from salt.exceptions import CommandExecutionError

MORTAL = ("setpriv", "--pdeathsig=KILL")
"""Before a command: it is killed when its parent is. More options may follow, then ``--``."""


def run(run_all: Callable[..., dict[str, Any]], argv: Sequence[str], **options: Any) -> str:
    """Run a command and return its output.

    Args:
        run_all: Salt's `cmd.run_all`.
        argv: the command.
        options: options of `cmd.run_all`, such as `env`.

    Raises:
        CommandExecutionError: the command failed; the message has the command and its output.
    """
    result = run_all([*MORTAL, "--", *argv], python_shell=False, **options)
    if result["retcode"]:
        said = result["stderr"] or result["stdout"] or f"exit code {result['retcode']}"
        raise CommandExecutionError(f"{' '.join(argv)}: {said}")
    return str(result["stdout"])


def systemctl(salt: Mapping[str, Any], action: str, name: str, **options: Any) -> None:
    """Let systemd start, restart, reload or enable a service.

    Args:
        salt: Salt's functions.
        action: one of these.
        name: the service.
        options: options of that function of Salt's `service`, such as `no_block`.

    Raises:
        CommandExecutionError: systemd refused; the message has the command and systemd's output.
    """
    try:
        done = salt[f"service.{action}"](name, **options)
    except CommandExecutionError as error:
        raise CommandExecutionError(f"systemctl {action} {name}: {error}") from None
    if done is False:  # Salt raises nothing if systemd cannot stop a unit
        raise CommandExecutionError(f"systemctl {action} {name}: failed; see journalctl -u {name}")

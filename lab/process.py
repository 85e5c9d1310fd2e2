"""Run commands on the machine, and wait for conditions."""

import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from lab.errors import LabError


def run(
    argv: Sequence[str | Path],
    *,
    text: str | None = None,
    data: bytes | None = None,
    check: bool = True,
    timeout: float | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command, and return its exit code and output.

    Args:
        argv: The command and its arguments; no shell reads them.
        text: Standard input.
        data: Standard input as bytes.
        check: Whether a non-zero exit code is an error.
        timeout: Seconds after which the command is killed.

    Raises:
        LabError: The command failed, timed out or is not installed. The message has the command
            and its last lines of output.
    """
    command = [str(part) for part in argv]
    given = text.encode() if text is not None else data or b""
    try:
        done = subprocess.run(
            command, input=given, capture_output=True, timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise LabError(
            f"the command did not end within {timeout:g} s: {' '.join(command)[:300]}"
        ) from error
    except FileNotFoundError as error:
        raise LabError(f"this machine has no command {command[0]}") from error
    out = done.stdout.decode(errors="replace")
    err = done.stderr.decode(errors="replace")
    if check and done.returncode:
        said = "\n".join((err or out).strip().splitlines()[-20:])
        raise LabError(f"exit code {done.returncode} from: {' '.join(command)[:300]}\n{said}")
    return subprocess.CompletedProcess(command, done.returncode, out, err)


def remove_tree(path: Path) -> None:
    """Remove a folder and everything in it, even hundreds of thousands of files."""
    run(["rm", "--recursive", "--force", "--one-file-system", path])


def wait_until(condition: Callable[[], bool], seconds: float, interval: float = 0.2) -> bool:
    """Wait until a condition holds.

    Args:
        condition: Called repeatedly.
        seconds: The longest wait.
        interval: Seconds between two calls.

    Returns:
        False when the condition did not hold within that time.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(interval)
    return True

"""Commands of the machine, as argument lists, and conditions that are waited for."""

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
    """Run a command and return its exit code and output.

    :param argv: command and arguments; no shell
    :param text: standard input
    :param data: standard input as bytes
    :param check: a non-zero exit code is an error
    :param timeout: seconds after which the command is killed
    :raises LabError: with the command and what it said
    """
    command = [str(part) for part in argv]
    given = text.encode() if text is not None else data or b""
    try:
        done = subprocess.run(
            command, input=given, capture_output=True, timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise LabError(f"no end after {timeout} s: {' '.join(command)[:300]}") from error
    except FileNotFoundError as error:
        raise LabError(f"no such command on this machine: {command[0]}") from error
    out = done.stdout.decode(errors="replace")
    err = done.stderr.decode(errors="replace")
    if check and done.returncode:
        said = "\n".join((err or out).strip().splitlines()[-20:])
        raise LabError(f"exit code {done.returncode} from: {' '.join(command)[:300]}\n{said}")
    return subprocess.CompletedProcess(command, done.returncode, out, err)


def remove_tree(path: Path) -> None:
    """Remove a folder with all that is in it, be it hundreds of thousands of files."""
    run(["rm", "--recursive", "--force", "--one-file-system", path])


def wait_until(condition: Callable[[], bool], seconds: float, interval: float = 0.2) -> bool:
    """Ask for a condition until it holds; false when it doesn't within the time.

    :param condition: asked again and again
    :param seconds: bound of the wait
    :param interval: seconds between two questions
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(interval)
    return True

"""Another process that changes the fleet."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from salina_fleet.change import exclusive

HOLD = """
    import sys
    from salina_fleet.change import exclusive
    exclusive.take(sys.argv[1], "app to 5 members")
    exclusive.take(sys.argv[1], "once more by the same process")
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def another(file: Path, script: str = HOLD) -> Iterator[subprocess.Popen[str]]:
    """Start a process that has a lock until its standard input ends, or it is killed."""
    command = [sys.executable, "-c", textwrap.dedent(script), str(file)]
    utilities = {"PYTHONPATH": str(Path(exclusive.__file__).parents[2])}
    process = subprocess.Popen(
        command, env=utilities, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout and process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()

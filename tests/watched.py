"""A command as an operator sees it: the lines that it prints while it runs, and their age."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Sequence

OLDEST = 2.0
"""Seconds that a line about the present may be old."""
BUSY = 1.0
"""Seconds by which it may be late on a machine whose processors all have other work."""
NOISE = ("Traceback", "unclosed", "[ERROR")
"""Words of Salt's that no operator needs."""


class Watched:
    """A running command. Its progress is on standard error, and its result on standard output."""

    def __init__(self, command: Sequence[str], *, merged: bool = False) -> None:
        """Start it.

        Args:
            command: the command.
            merged: whether it prints its progress on standard output as well.
        """
        # A pipe that nobody reads yet would stop a command that prints more than it holds.
        self.result = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 (follow closes it)
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if merged else self.result,
            stderr=subprocess.STDOUT if merged else subprocess.PIPE,
            encoding="utf-8",
        )
        self.stream = self.process.stdout if merged else self.process.stderr
        self.lines: list[str] = []
        self.ages: list[float] = []
        """The seconds between a line and the one after it."""
        self.printed = ""
        self.code: int | None = None

    def follow(self) -> None:
        """Read the lines until the end."""
        assert self.stream
        last = 0.0
        for line in self.stream:
            now = time.monotonic()
            self.ages += [now - last] if last else []
            self.lines.append(line.rstrip())
            last = now
        self.code = self.process.wait()
        with self.result:
            self.result.seek(0)
            self.printed = self.result.read()

    @property
    def output(self) -> str:
        """Everything that it printed."""
        return "\n".join([*self.lines, self.printed])

    @property
    def ended(self) -> list[str]:
        """The lines that are not about the present."""
        return [line for line in self.lines if not line.lstrip().startswith("…")]

    @property
    def told(self) -> list[str]:
        """The lines of its result."""
        return [line for line in self.printed.splitlines() if line]

    def stale(self, first: int = 0, last: int | None = None, late: float = 0) -> list[str]:
        """Return the lines, between two of them, that stayed the latest for too long.

        Args:
            first: the place of the first line.
            last: the place of the last line; by default the end.
            late: seconds that they may stay longer than `OLDEST`.
        """
        return [
            f"{age:.1f} s: {line}"
            for age, line in zip(self.ages[first:last], self.lines[first:last], strict=False)
            if age > OLDEST + late
        ]

    def noise(self) -> list[str]:
        """Return the words in its output that no operator needs."""
        return [word for word in NOISE if word in self.output]

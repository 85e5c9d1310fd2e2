"""Print where a run's time went: its slowest phases, and how idle the processors were meanwhile.

A long run tells its failures and slow phases at once, since it may be ended before it tells all.

A phase is a test itself, its setup or its teardown. A slow phase with idle processors waits for
something, so other work fits beside it; a slow phase with busy processors needs less work.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Self

import pytest

SHOWN = 10
LEAST = 120
"""Seconds. A shorter run prints nothing."""
SLOW = 60
"""Seconds of a phase that is told at once."""
WORDS = 12
"""The last lines of a failure that are told at once."""


class Processors(NamedTuple):
    """The time of all processors since the boot, in the unit of the kernel."""

    idle: int
    total: int

    @classmethod
    def read(cls) -> Self:
        """Read the first line of /proc/stat."""
        with Path("/proc/stat").open() as file:
            return cls.parse(file.readline())

    @classmethod
    def parse(cls, line: str) -> Self:
        """Return what a line says: user nice system idle iowait irq softirq steal, and guests."""
        numbers = [int(word) for word in line.split()[1:9]]  # user contains the guests already
        return cls(numbers[3] + numbers[4], sum(numbers))

    def idle_since(self, before: Processors) -> float:
        """Return the share of the time since then in which the processors were idle."""
        return (self.idle - before.idle) / max(1, self.total - before.total)


class Phase(NamedTuple):
    """A test, its setup or its teardown: seconds, the share of idle processors, its name."""

    seconds: float
    idle: float
    name: str

    def __str__(self) -> str:
        return f"{self.seconds:7.1f} s  {self.idle:4.0%} idle  {self.name}"


@dataclass(eq=False)  # pytest keeps plugins in sets
class Timing:
    """A plugin of pytest that keeps account of each phase."""

    begun: float = field(default_factory=time.monotonic)
    first: Processors = field(default_factory=Processors.read)
    last: Processors = field(init=False)
    phases: list[Phase] = field(default_factory=list)
    reporter: pytest.TerminalReporter | None = None

    def __post_init__(self) -> None:
        self.last = self.first

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a phase that has just ended: the next one begins now."""
        now = Processors.read()
        when = "" if report.when == "call" else f" ({report.when})"
        self.phases.append(Phase(report.duration, now.idle_since(self.last), report.nodeid + when))
        self.last = now
        told = self.at_once(report, time.monotonic() - self.begun)
        if told and self.reporter:
            self.reporter.ensure_newline()
            self.reporter.write_line(told)

    def at_once(self, report: pytest.TestReport, seconds: float) -> str:
        """Return what is printed about the phase that has just ended, or "".

        Args:
            report: the phase.
            seconds: the duration of the run until now.
        """
        if seconds < LEAST or not (report.failed or report.duration >= SLOW):
            return ""
        words = report.longreprtext.splitlines()[-WORDS:] if report.failed else []
        return "\n".join([str(self.phases[-1]), *words])

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Find the terminal, if pytest has one."""
        self.reporter = session.config.pluginmanager.get_plugin("terminalreporter")

    def lines(self, seconds: float, now: Processors) -> list[str]:
        """Return the whole run and its slowest phases; a short run has nothing to tell."""
        if seconds < LEAST:
            return []
        whole = Phase(seconds, now.idle_since(self.first), "all of it")
        return [str(phase) for phase in [whole, *sorted(self.phases, reverse=True)[:SHOWN]]]

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print what was noted."""
        lines = self.lines(time.monotonic() - self.begun, Processors.read())
        if lines:
            terminalreporter.section("time, and idle processors meanwhile")
        for line in lines:
            terminalreporter.write_line(line)

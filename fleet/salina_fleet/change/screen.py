"""Show the progress of a change: in place on a terminal, as plain lines in a log."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from salina_fleet.change.progress import BAD, GOOD

HEARTBEAT = 1.0
"""Seconds after which a log gets a new line about the present, even if nothing has happened."""
TIME = re.compile(r"(?:\d+ min )?\d+ s$")
UP_AND_CLEAR = "\x1b[{}F\x1b[J"
COLOURS = {GOOD: f"\x1b[32m{GOOD}\x1b[0m", BAD: f"\x1b[31m{BAD}\x1b[0m"}


class Screen:
    """An open file that shows lines which stay, and below them lines about the present."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.terminal = os.isatty(descriptor)
        self.drawn = 0
        """How many lines about the present a terminal shows now."""
        self.last = 0.0
        self.said: list[str] = []
        """The last lines of a log about the hosts, without the times."""

    def show(self, lasting: Sequence[str], present: Sequence[str], now: float) -> None:
        """Show further lines that stay, and the present ones instead of the last present ones.

        Args:
            lasting: the lines that stay.
            present: the first line is about a step, and the others are about its hosts. A log
                repeats these only when more than their times has changed.
            now: seconds.
        """
        if self.terminal:
            self._draw(lasting, present)
            return
        lines = list(lasting)
        if present and (lasting or now - self.last >= HEARTBEAT):
            hosts = [" ".join(line.split()) for line in present[1:]]
            said = [TIME.sub("", line) for line in hosts]
            news = hosts if said != self.said else []  # a log keeps every line, so say it once
            self.said = said
            lines.append(": ".join(filter(None, (present[0], "; ".join(news)))))
        if lines:
            self._write("".join(f"{line}\n" for line in lines))
            self.last = now

    def _draw(self, lasting: Sequence[str], present: Sequence[str]) -> None:
        columns, rows = os.get_terminal_size(self.descriptor)
        # a line that wraps, or that scrolls out of the screen, could not be erased
        columns, rows = (columns or 80) - 1, (rows or 24) - 2  # a terminal may not know its size
        shown = [line[:columns] for line in present[:rows]]
        erase = UP_AND_CLEAR.format(self.drawn) if self.drawn else ""
        text = "".join(f"{line}\n" for line in [*lasting, *shown])
        for sign, coloured in COLOURS.items():
            text = text.replace(sign, coloured)
        self._write(erase + text)
        self.drawn = len(shown)

    def _write(self, text: str) -> None:
        # not through sys.stderr, whose lock a thread could hold when the process ends or forks
        data = text.encode()
        try:
            while data:
                data = data[os.write(self.descriptor, data) :]
        except OSError:
            pass  # nobody reads any more, and the change goes on

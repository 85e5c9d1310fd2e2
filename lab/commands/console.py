"""The output that the operator sees: one line for each step, with its duration."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from lab.errors import LabError

WIDTH = 200  # when the output is not a terminal

out = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else WIDTH)
err = Console(stderr=True, highlight=False, soft_wrap=True)


@contextmanager
def step(title: str) -> Iterator[None]:
    """Show that a step is running, and afterwards how long it took."""
    start = time.monotonic()
    if out.is_terminal:
        with out.status(f"{title} …"):
            yield
    else:
        out.print(f"  … {title}")
        yield
    out.print(f"[green]✓[/] {title} [dim]{time.monotonic() - start:.1f} s[/]")


def complain(error: LabError) -> None:
    """Print an error, and what to do about it."""
    err.print("[red]✗[/]", end=" ")
    err.print(str(error), markup=False)
    if error.advice:
        err.print("  next:", end=" ", style="bold")
        err.print(error.advice, markup=False)

"""Results of the benchmark, how they are shown, and how they are stored."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from salina.common import file

FILE = Path(__file__).with_name("results.json")


@dataclass(frozen=True)
class Result:
    """One result.

    Args:
        name: What was measured.
        value: The result.
        unit: The unit of the value.
        bound: The largest value that is good enough, or None if any value is.
        least: Whether the bound is the smallest such value instead.
        detail: The absolute figures behind the value.
    """

    name: str
    value: float
    unit: str
    bound: float | None = None
    least: bool = False
    detail: str = ""

    @property
    def holds(self) -> bool:
        """Return whether the value is within the bound; always true without a bound."""
        if self.bound is None:
            return True
        return self.value >= self.bound if self.least else self.value <= self.bound


def table(results: Iterable[Result], title: str) -> Table:
    """Return the table to print: a line for each result, with its bound and details."""
    shown = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for heading in ("", "measure", "value", "bound", "details"):
        shown.add_column(heading, justify="right" if heading in ("value", "bound") else "left")
    for result in results:
        sign = "" if result.bound is None else "[green]✓[/]" if result.holds else "[red]✗[/]"
        bound = "" if result.bound is None else f"{'≥' if result.least else '≤'} {result.bound:g}"
        shown.add_row(sign, result.name, f"{result.value:.3g} {result.unit}", bound, result.detail)
    return shown


def write(results: Iterable[Result], path: Path = FILE) -> None:
    """Replace the file of the results, JSON in the form that tools outside the repository read."""
    kept = [
        {
            "name": result.name,
            "value": round(result.value, 4),
            "unit": result.unit,
            "bound": result.bound,
            "holds": result.holds,
        }
        for result in results
    ]
    file.put(path, json.dumps(kept, indent=2) + "\n")

"""A figure and what is asked of it; how figures are shown and kept."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

FILE = Path(__file__).with_name("results.json")


@dataclass(frozen=True)
class Result:
    """One figure.

    `bound`: the largest value that is good, with `least` the smallest; None: it is only told.
    `detail`: the absolute figures behind it.
    """

    name: str
    value: float
    unit: str
    bound: float | None = None
    least: bool = False
    detail: str = ""

    @property
    def holds(self) -> bool:
        """Whether the bound is kept; always, where there is none."""
        if self.bound is None:
            return True
        return self.value >= self.bound if self.least else self.value <= self.bound


def table(results: Iterable[Result], title: str) -> Table:
    """Return what is shown: a line for each figure, its bound, and the figures behind it."""
    shown = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for heading in ("", "measure", "value", "bound", "behind it"):
        shown.add_column(heading, justify="right" if heading in ("value", "bound") else "left")
    for result in results:
        sign = "" if result.bound is None else "[green]✓[/]" if result.holds else "[red]✗[/]"
        bound = "" if result.bound is None else f"{'≥' if result.least else '≤'} {result.bound:g}"
        shown.add_row(sign, result.name, f"{result.value:.3g} {result.unit}", bound, result.detail)
    return shown


def write(results: Iterable[Result], path: Path = FILE) -> None:
    """Keep the figures as JSON, in the form that tools outside the repository read."""
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
    path.write_text(json.dumps(kept, indent=2) + "\n")

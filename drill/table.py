"""A table as Markdown, which a person reads in a terminal as well."""

from collections.abc import Iterable, Sequence


def markdown(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in which all cells of a column have the same width.

    Args:
        headings: The heading of each column.
        rows: The cells of each row; a vertical bar in them is escaped.
    """
    cells = [[cell.replace("|", r"\|") for cell in row] for row in (headings, *rows)]
    widths = [max(len(cell) for cell in column) for column in zip(*cells, strict=True)]
    lines = [
        " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in cells
    ]
    lines.insert(1, " | ".join("-" * width for width in widths))
    return "\n".join(f"| {line} |" for line in lines)

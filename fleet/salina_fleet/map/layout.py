"""Where everything stands in the picture: sizes in pixels, and a box for each group."""

from __future__ import annotations

from dataclasses import dataclass

from salina_fleet.map.groups import CLIENTS, Group

WIDTH, GAP, MARGIN, TOP = 248, 144, 28, 112
ROW, HEAD, FOOT, SPACE, PAD = 34, 36, 22, 40, 10
STRIP, BAND = 26, 34
SHOWN = 6
"""The hosts that a group shows one by one; a larger group shows its first and its last ones."""


@dataclass(frozen=True)
class Box:
    """A rectangle in the picture."""

    x: float
    y: float
    width: float
    height: float

    @property
    def middle(self) -> float:
        """Return the height at which arrows leave and arrive."""
        return self.y + self.height / 2

    @property
    def right(self) -> float:
        """Return the right edge."""
        return self.x + self.width

    @property
    def bottom(self) -> float:
        """Return the lower edge."""
        return self.y + self.height


def height(group: Group) -> int:
    """Return the height of a group's box."""
    return HEAD + min(len(group.hosts), SHOWN) * ROW + (FOOT if len(group.hosts) > 1 else 4)


@dataclass(frozen=True)
class Layout:
    """The picture's size, and where everything stands in it.

    `places`: the clients, and each group by its id. `band`: the management network. `low`: the
    lowest edge of a column.
    """

    places: dict[str, Box]
    band: Box
    low: float
    width: float
    height: float


def layout(known: list[Group]) -> Layout:
    """Return where the clients and each group stand: the columns, then the masters below."""
    places, width, low = _columns(known)
    band = Box(MARGIN, low + 30, width - 2 * MARGIN, BAND)
    masters = [group for group in known if group.column == 0]
    for number, group in enumerate(masters):
        x = MARGIN + number * (WIDTH + PAD)
        places[group.id] = Box(x, band.bottom + 30, WIDTH, height(group))
    below = 30 + max(height(group) for group in masters) if masters else 0
    return Layout(places, band, low, width, band.bottom + MARGIN + below)


def _columns(known: list[Group]) -> tuple[dict[str, Box], float, float]:
    """Return the places of the clients and the columns, the width, and the lowest edge."""
    columns: dict[int, list[Group]] = {}
    for group in known:
        if group.column:
            columns.setdefault(group.column, []).append(group)
    heights = {
        number: sum(height(group) for group in column) + SPACE * (len(column) - 1)
        for number, column in columns.items()
    }
    tallest = max([120, *heights.values()])
    places = {CLIENTS: Box(MARGIN, TOP + (tallest - 96) / 2, 120, 96)}
    x: float = MARGIN + 120 + GAP
    for number in sorted(columns):
        y = TOP + (tallest - heights[number]) / 2
        for group in columns[number]:
            places[group.id] = Box(x, y, WIDTH, height(group))
            y += height(group) + SPACE
        x += WIDTH + GAP
    return places, x - GAP + MARGIN, TOP + tallest

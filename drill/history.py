"""Judge what clients noticed: the longest gap, and the history of the acknowledged writes."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple


class Write(NamedTuple):
    """A write that was acknowledged.

    `number`: the row. `at`: the time of the acknowledgement, in seconds. `rows`: how many rows the
    write found in the table.
    """

    number: int
    at: float
    rows: int


def gap(times: Iterable[float], begin: float, end: float) -> float:
    """Return for how many seconds at most nothing succeeded.

    Args:
        times: When something succeeded, in seconds.
        begin: When the fault began. The last success before it counts as well.
        end: When the observation ended.
    """
    found = sorted(times)
    before = [at for at in found if at < begin][-1:] or [begin]
    within = [at for at in found if begin <= at <= end]
    return max(later - earlier for earlier, later in pairwise([*before, *within, end]))


@dataclass(frozen=True)
class History:
    """The fate of the acknowledged writes.

    Args:
        acknowledged: How many there are.
        lost: Rows that a database host does not have.
        doubled: Rows that a database host has more than once.
        vanished: Writes that found fewer rows than had been acknowledged until then, so that a row
            was away for a while.
    """

    acknowledged: int
    lost: tuple[int, ...] = ()
    doubled: tuple[int, ...] = ()
    vanished: tuple[int, ...] = ()

    @property
    def good(self) -> bool:
        """Return whether every acknowledged row is there once, and was there all the time."""
        return not (self.lost or self.doubled or self.vanished)

    def __str__(self) -> str:
        parts = {"lost": self.lost, "double": self.doubled, "away for a while": self.vanished}
        faults = [
            f"{len(found)} {what} (such as {found[0]})" for what, found in parts.items() if found
        ]
        told = "; ".join(faults) or "each of them is there once, on every database host"
        return f"{self.acknowledged} acknowledged writes: {told}"


def judge(writes: Sequence[Write], tables: Mapping[str, Sequence[int]]) -> History:
    """Return what became of the acknowledged writes.

    A row that nobody acknowledged may be there or not: the client whose connection broke does not
    know. Such a row may also vanish.

    Args:
        writes: The acknowledged writes of one client, in their order.
        tables: A database host -> the rows that it has.
    """
    counts = [Counter(table) for table in tables.values()]
    return History(
        len(writes),
        lost=tuple(one.number for one in writes if not all(count[one.number] for count in counts)),
        doubled=tuple(
            one.number for one in writes if any(count[one.number] > 1 for count in counts)
        ),
        vanished=tuple(one.number for place, one in enumerate(writes) if one.rows < place),
    )

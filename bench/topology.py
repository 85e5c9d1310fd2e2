"""Measure how long the master reads a fleet of ten thousand hosts, whether it is good or bad.

The process that measures forgets the result before each turn, as a new process of the master has
none. So it reads the files, or finds the result of the process that has read them.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median

from bench.repeat import in_turn, spread
from bench.result import Result
from salina_fleet import site
from salina_fleet.schema.document import DataError
from tests import fleets

COUNT = 10_000
SECONDS = 3
"""The most seconds of CPU time for the first process."""
ROUNDS = 3
KEYS = {"good": "addresses", "with a misspelt key for each host": "adresses"}
"""The key of each host's addresses."""


def text(count: int, key: str) -> str:
    """Return the default topology with so many app hosts of their own beside its pool.

    Args:
        count: The number of further hosts.
        key: The key of their addresses.
    """
    found = fleets.DEFAULT.read_text()
    for name, wide in (("web", "10.3"), ("data", "10.4"), ("management", "10.5")):
        found = found.replace(f"  {name}: 10.1.{wide[-1]}.0/24", f"  {name}: {wide}.0.0/16")
        found = found.replace(f" 10.1.{wide[-1]}.", f" {wide}.0.")
    hosts = "".join(
        f"  a{n}: {{roles: [app], {key}: {{web: 10.3.{place}, data: 10.4.{place}, "
        f"management: 10.5.{place}}}}}\n"
        for n, place in ((n, f"{n // 250 + 1}.{n % 250 + 1}") for n in range(count))
    )
    return found.replace("\nhosts:\n", f"\nhosts:\n{hosts}", 1)


class Master:
    """A repository with a topology, and what a master keeps of it."""

    def __init__(self, place: Path, content: str) -> None:
        self.root, self.state, self.cache = (place / name for name in ("site", "state", "cache"))
        (self.root / "pillar").mkdir(parents=True)
        for name in ("pillar/settings", "pillar/app", "salt", "_modules", "_states", "_utils"):
            (self.root / name).symlink_to(fleets.REPOSITORY / name)
        (self.root / "pillar/topology.yaml").write_text(content)
        self.state.mkdir()
        self.cache.mkdir()

    def read(self, *, known: bool = False, shared: bool = True) -> float:
        """Return how many seconds of CPU time it takes until the process knows the fleet.

        Args:
            known: Whether the process knows it already.
            shared: Whether it may take the result of another process.
        """
        if not known:
            site._known.clear()
        start = time.process_time()
        try:
            site.read(self.root, self.state, self.cache if shared else None)
        except DataError as error:
            assert str(error)
        return time.process_time() - start

    def noted(self) -> str:
        """Return how many files and folders a pillar compares with their stamps, and their size."""
        result, _ = site._known[(str(self.root), str(self.state))]
        places = [Path(path) for path in result.files]
        size = sum(place.stat().st_size for place in places if place.is_file())
        return f"the stamps of {len(places)} files and folders with {size / 1e6:.1f} MB"


def measure() -> Iterator[Result]:
    """Measure a good and a bad topology: the first process, the next ones, and the next pillar."""
    with tempfile.TemporaryDirectory(prefix="salina-bench-") as place:
        for number, (kind, key) in enumerate(KEYS.items()):
            master = Master(Path(place) / str(number), text(COUNT, key))
            master.read()  # so that the result is there, and the files are in the caches
            sides: dict[str, Callable[[], float]] = {
                "alone": partial(master.read, shared=False),
                "shared": master.read,
                "known": partial(master.read, known=True),
            }
            found = in_turn(sides, ROUNDS)
            name = f"a topology of {COUNT:,} hosts, {kind}"
            alone, shared = found["alone"], found["shared"]
            detail = spread(alone, digits=2)
            yield Result(f"{name}: the first process", median(alone), "s", SECONDS, detail=detail)
            yield Result(
                f"{name}: the first process / each other one",
                median(alone) / median(shared),
                "ratio",
                detail=f"{detail} / {spread(shared, digits=3)}",
            )
            yield Result(
                f"{name}: each further pillar",
                median(found["known"]) * 1000,
                "ms",
                detail=master.noted(),
            )

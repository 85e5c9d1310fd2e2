"""Print the picture of the repository's own topology (`make map`)."""

from __future__ import annotations

import sys
from pathlib import Path

from salina_fleet import site
from salina_fleet.fleet import Fleet
from salina_fleet.map import svg
from salina_fleet.model import settings, topology


def main() -> None:
    """Print the picture, with the pools as they begin."""
    root = Path(__file__).resolve().parents[3]
    tuned = settings.load(root / site.SETTINGS)
    planned = topology.load(root / site.TOPOLOGY, tuned)
    sys.stdout.write(svg.draw(Fleet(planned, planned.initial(), tuned)))


if __name__ == "__main__":
    main()

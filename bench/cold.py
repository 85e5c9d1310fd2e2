"""From nothing to a deployed fleet, with image and mirrors in the cache."""

import subprocess
from collections.abc import Iterator

from bench.repeat import seconds
from bench.result import Result
from lab.commands import preflight
from lab.machines import image
from lab.mirror import build as mirror
from lab.paths import REPOSITORY

LAB = REPOSITORY / "bin/lab"
BOUND = 6.0


def measure() -> Iterator[Result]:
    """Bring the lab up where there is none."""
    preflight.ensure()
    mirror.ensure()
    image.ensure()
    took = seconds(lambda: subprocess.run([LAB, "up"], check=True)) / 60
    yield Result("cold make up, image and mirrors cached", took, "min", BOUND)


def down() -> None:
    """Remove the lab."""
    subprocess.run([LAB, "down"], check=True)

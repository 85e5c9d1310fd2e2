"""Measure `make up` from no lab to a deployed fleet, with image and mirror in the cache."""

import subprocess
from collections.abc import Iterator

from bench.repeat import seconds
from bench.result import Result
from lab.commands import preflight
from lab.machines.image import ensure_image
from lab.mirror.build import ensure_mirror
from lab.paths import REPOSITORY

LAB = REPOSITORY / "bin/lab"
BOUND = 6.0


def measure() -> Iterator[Result]:
    """Start the lab. There must be none before."""
    preflight.ensure()
    ensure_mirror()
    ensure_image()
    took = seconds(lambda: subprocess.run([LAB, "up"], check=True)) / 60
    yield Result("cold make up, image and mirrors cached", took, "min", BOUND)


def down() -> None:
    """Remove the lab."""
    subprocess.run([LAB, "down"], check=True)

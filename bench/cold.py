"""Measure `make up` from no lab to a deployed fleet, with image and mirror in the cache."""

import os
import subprocess
import time
from collections.abc import Iterator

from bench.repeat import seconds
from bench.result import Result
from lab.commands import preflight
from lab.machines.image import ensure_image
from lab.mirror.build import ensure_mirror
from lab.paths import REPOSITORY
from tests.timing import Processors

LAB = REPOSITORY / "bin/lab"
BOUND = 3.0
"""Minutes, on two processors that do nothing else."""
QUIET = 60
"""Seconds. For a minute after a removal, ext4 without a journal avoids the freed inodes. That makes
new files slow, and a fresh machine has no such inodes."""


def measure() -> Iterator[Result]:
    """Start the lab. There must be none before."""
    preflight.ensure()
    ensure_mirror()
    ensure_image()
    before = Processors.read()
    took = seconds(lambda: subprocess.run([LAB, "up"], check=True)) / 60
    idle = Processors.read().idle_since(before)
    detail = f"the processors were idle for {idle:.0%} of it"
    yield Result("cold make up, image and mirrors cached", took, "min", BOUND, detail=detail)


def down() -> None:
    """Remove the lab."""
    subprocess.run([LAB, "down"], check=True)


def settle() -> None:
    """Wait until a removal costs the disk nothing more."""
    os.sync()
    time.sleep(QUIET)

"""Measure the memory of the whole lab at rest."""

from collections.abc import Iterable, Iterator

from bench.machine import field
from bench.result import Result
from lab.machines import containers

BOUND = 8.0


def processes() -> set[int]:
    """Return the ids of all processes in the lab's containers."""
    files = [file for group in containers.groups() for file in group.rglob("cgroup.procs")]
    return {int(pid) for file in files for pid in file.read_text().split() if pid != "0"}


def proportional(pids: Iterable[int]) -> float:
    """Return the memory of processes in GiB: proportional set sizes count shared pages once."""
    total = 0
    for pid in pids:
        try:
            total += int(field(f"/proc/{pid}/smaps_rollup", "Pss").split()[0])
        except (OSError, IndexError):  # the process has ended, or belongs to the kernel
            continue
    return total / 2**20


def measure() -> Iterator[Result]:
    """Measure the memory of the hosts' processes. The page cache is not in it."""
    pids, hosts = processes(), containers.running()
    yield Result(
        "memory of the lab at rest",
        proportional(pids),
        "GiB",
        BOUND,
        detail=f"proportional set size of {len(pids)} processes on {len(hosts)} hosts",
    )

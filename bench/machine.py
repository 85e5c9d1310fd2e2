"""Describe the machine, because results mean nothing without it, and what its hosts spend."""

import os
import platform
from pathlib import Path

import salt.version

from tests.lab import lab

PROCESSOR = """
import glob, os

spent = 0
for file in glob.glob("/proc/[0-9]*/stat"):
    try:
        with open(file) as stat:
            spent += sum(map(int, stat.read().rpartition(")")[2].split()[11:15]))
    except OSError:
        pass  # the process has ended
print(spent / os.sysconf("SC_CLK_TCK"))
"""


def field(file: str, name: str) -> str:
    """Return a field of a file of /proc with lines of the form `name: value`.

    It is empty when the file has no such field.
    """
    for line in Path(file).read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""


def describe() -> str:
    """Return one line with the cores, memory, kernel, version of Salt, and load of the machine."""
    memory = int(field("/proc/meminfo", "MemTotal").split()[0]) / 2**20
    processor = field("/proc/cpuinfo", "model name") or platform.machine()
    return (
        f"{os.cpu_count()} cores ({processor}), {memory:.0f} GiB of memory, "
        f"Linux {platform.release()}, Salt {salt.version.__version__}, "
        f"load at the start {os.getloadavg()[0]:.1f}"
    )


def processor(host: str) -> float:
    """Return the processor's seconds of all processes of a host, with those that have ended."""
    return float(lab.run(host, "python3", "-c", PROCESSOR))

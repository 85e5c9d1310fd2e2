"""Describe the machine, because results mean nothing without it."""

import os
import platform
from pathlib import Path

import salt.version


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

"""Reserve ports for processes with CAP_NET_BIND_SERVICE (decision 34)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from salina.common import commands, listeners

__salt__: dict[str, Any]

#: The first port that every process may bind.
FIRST = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
PROCESSES = Path("/proc")


def first() -> int:
    """Return the first port that every process of this host may bind.

    Returns:
        The port; the kernel reserves those below it.

    CLI Example:
        salt s1 reserved_ports.first
    """
    return int(FIRST.read_text())


def obstacles(below: int) -> list[str]:
    """Return the services that could not listen at their ports again if these became reserved.

    Args:
        below: the first port that every process may bind.

    Returns:
        A sentence for each port that only processes without CAP_NET_BIND_SERVICE hold.

    Raises:
        CommandExecutionError: `ss` failed.

    CLI Example:
        salt s1 reserved_ports.obstacles 32768
    """
    ask = ["ss", "--no-header", "--listening", "--numeric", "--tcp", "--udp", "--processes"]
    listing = commands.run(__salt__["cmd.run_all"], ask)
    return sorted(
        {
            f"{one.processes[min(one.processes)]} (process {min(one.processes)}) listens on port "
            f"{one.port} without CAP_NET_BIND_SERVICE"
            for one in listeners.listeners(listing)
            if first() <= one.port < below and one.processes
            if not any(_may_bind(pid) for pid in one.processes)
        }
    )


def reserve(below: int) -> None:
    """Reserve all ports below a number until the next boot.

    Args:
        below: the first port that every process may bind.

    Raises:
        OSError: the kernel refuses, for example because the range of net.ipv4.ip_local_port_range
            begins below this number.

    CLI Example:
        salt s1 reserved_ports.reserve 32768
    """
    FIRST.write_text(f"{below}\n")


def _may_bind(pid: int) -> bool:
    """Tell whether a process, or the one that starts its successors, may bind reserved ports.

    HAProxy's worker has no capability: its master binds for it. A process that has just ended
    holds no port.
    """
    try:
        status = (PROCESSES / str(pid) / "status").read_text()
        parent = listeners.parent(status)
        return listeners.may_bind(status) or (parent > 1 and _may_bind(parent))
    except FileNotFoundError:
        return True

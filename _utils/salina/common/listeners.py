"""The sockets on which processes of this host wait, and who may open them again.

The kernel lets only processes with the capability CAP_NET_BIND_SERVICE bind a port below
`net.ipv4.ip_unprivileged_port_start`, for IPv4 and for IPv6 (ip-sysctl.rst, capabilities(7)).
"""

from __future__ import annotations

import re
from typing import NamedTuple

BIND_SERVICE = 1 << 10
"""The bit of CAP_NET_BIND_SERVICE in the sets of capabilities."""
PROCESS = re.compile(r'\("(?P<name>[^"]*)",pid=(?P<pid>\d+)')


class Listener(NamedTuple):
    """A socket that waits: its port, and the processes that hold it, as process id -> program."""

    port: int
    processes: dict[int, str]


def listeners(listing: str) -> list[Listener]:
    """Return the sockets that wait for connections or packets.

    Args:
        listing: the output of `ss --no-header --listening --numeric --tcp --udp --processes`.
    """
    found = []
    for line in listing.splitlines():
        port = line.split()[4].rpartition(":")[2]
        held = {int(one["pid"]): one["name"] for one in PROCESS.finditer(line)}
        if port.isdigit():
            found.append(Listener(int(port), held))
    return found


def may_bind(status: str) -> bool:
    """Tell whether a process has CAP_NET_BIND_SERVICE.

    Args:
        status: the content of /proc/PID/status.
    """
    found = re.search(r"^CapPrm:\s*([0-9a-f]+)$", status, re.MULTILINE)
    return found is not None and bool(int(found[1], 16) & BIND_SERVICE)


def parent(status: str) -> int:
    """Return the id of a process's parent, or 0.

    Args:
        status: the content of /proc/PID/status.
    """
    found = re.search(r"^PPid:\s*(\d+)$", status, re.MULTILINE)
    return int(found[1]) if found else 0

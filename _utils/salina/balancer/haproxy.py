"""HAProxy's runtime socket: its commands, and its answers parsed.

Source: HAProxy 2.6 Management Guide, 9.1 (CSV format) and 9.3 (`show servers state`).
"""

from __future__ import annotations

import csv
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

SOCKET = "/run/haproxy/admin.sock"
TIMEOUT = 10.0
SPARE = ".any"
"""Ends the name of the second backend of an application, for when no host of it is healthy; the
first one, with the health checks, has the application's name (salt/balancer)."""
ROUTE = "database"
"""The way to the database, which a balancer that is an app host has as well; no application's name.
"""
RUNNING = 2  # srv_op_state: SRV_ST_RUNNING
MAINTENANCE = 0x01 | 0x02 | 0x20  # srv_admin_state: by command, inherited, by an unknown name
DRAIN = 0x08 | 0x10  # by command, inherited


@dataclass(frozen=True)
class Server:
    """A server of a backend, with the state of its health check and the operator's decision.

    `response` has the milliseconds of the last good health check, or None when there was none.
    """

    backend: str
    name: str
    address: str
    port: int
    healthy: bool
    drained: bool
    maintenance: bool
    weight: int
    sessions: int
    requests: int
    check: str
    response: int | None = None

    @property
    def serving(self) -> bool:
        """Tell whether the server gets new requests."""
        return self.healthy and not self.drained and not self.maintenance and self.weight > 0


def ask(command: str, path: str = SOCKET) -> str:
    """Send one command and return the whole answer.

    Args:
        command: one line, as in HAProxy's management guide.
        path: the socket.

    Raises:
        OSError: HAProxy does not answer.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(TIMEOUT)
        connection.connect(path)
        connection.sendall(f"{command}\n".encode())
        return b"".join(iter(lambda: connection.recv(65536), b"")).decode()


def statistics(text: str) -> list[dict[str, str]]:
    """Parse the answer to `show stat`: a row for each frontend, backend and server, no empty cells.

    Args:
        text: CSV whose first line begins with `# pxname`.

    Raises:
        ValueError: the text is something else.
    """
    if not text.startswith("# pxname,"):
        raise ValueError(f"HAProxy answered something unexpected to `show stat`: {text[:80]!r}")
    rows = csv.DictReader(text.removeprefix("# ").strip().splitlines())
    return [{key: value for key, value in row.items() if key and value} for row in rows]


def states(text: str) -> dict[tuple[str, str], dict[str, str]]:
    """Parse the answer to `show servers state`: backend and server to the columns of its line.

    Args:
        text: version 1 of the format.

    Raises:
        ValueError: the text is something else.
    """
    lines = text.strip().splitlines()
    if len(lines) < 2 or lines[0] != "1" or not lines[1].startswith("# "):
        raise ValueError(
            f"HAProxy answered something unexpected to `show servers state`: {text[:80]!r}"
        )
    columns = lines[1].removeprefix("# ").split()
    rows = [dict(zip(columns, line.split(), strict=False)) for line in lines[2:]]
    return {(row["be_name"], row["srv_name"]): row for row in rows}


def servers(stat: str, state: str) -> list[Server]:
    """Return every server of every backend, in HAProxy's order.

    Args:
        stat: the answer to `show stat`.
        state: the answer to `show servers state`.

    Raises:
        ValueError: one of the answers is something else.
    """
    counters = {(row["pxname"], row["svname"]): row for row in statistics(stat)}
    return [_server(key, row, counters.get(key, {})) for key, row in states(state).items()]


def app_hosts(found: Iterable[Server]) -> list[Server]:
    """Return each app host once, as the backend of its application has it, with health checks."""
    return [one for one in found if one.backend != ROUTE and not one.backend.endswith(SPARE)]


def _server(key: tuple[str, str], state: Mapping[str, str], counters: Mapping[str, str]) -> Server:
    admin = int(state["srv_admin_state"])
    return Server(
        backend=key[0],
        name=key[1],
        address=state["srv_addr"],
        port=int(state["srv_port"]),
        healthy=int(state["srv_op_state"]) == RUNNING,
        drained=bool(admin & DRAIN),
        maintenance=bool(admin & MAINTENANCE),
        weight=int(state["srv_uweight"]),
        sessions=int(counters.get("scur", 0)),
        requests=int(counters.get("stot", 0)),
        check=" ".join(counters[key] for key in ("check_status", "last_chk") if key in counters),
        response=_response(counters),
    )


def _response(counters: Mapping[str, str]) -> int | None:
    """Return the time of the last health check; a running check marks its status with `* `."""
    good = counters.get("check_status", "").removeprefix("* ") == "L7OK"
    return int(counters["check_duration"]) if good and "check_duration" in counters else None

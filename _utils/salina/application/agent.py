"""The health agent of an app host: it answers the balancers' checks, and drains the host.

A balancer asks the agent, and no longer the application. The agent passes the question on to the
application, unless it knows of another reason why the host cannot serve. It looks for such reasons
at its own pace, each in a thread of its own, so a mount that hangs never delays an answer.

HAProxy tells in each check how it sees this host (`http-check send-state`). So the host knows when
a drain has ended its requests, and when it gets requests again, without asking another host.

The daemon runs with Python's standard library and `salina.database.psql` alone (salt/health).
docs/decisions/0023-a-host-restarts-in-its-turn.md has the reasons.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

from salina.database.psql import PsqlError, Session

SOCKET = "/run/salina-health.sock"
"""Where processes of this host, as root, ask for the agent's view."""
DRAIN = "/run/salina/drain"
"""While this file exists and is fresh, the host takes no new requests."""
LEASE = 120.0
"""Seconds after which a turn, and with it the drain, has ended unless its holder renewed it."""
EVERY = 5.0
"""Seconds between two checks of the same thing."""
PATIENCE = 20.0
"""Seconds. A check that takes longer has failed. GlusterFS waits less for a storage host."""
FIRST = 3.0
"""Seconds that the agent waits for the first results when it starts."""
FREE = 50 * 2**20
"""Bytes that every checked file system must have free."""
HANDOVER = 120.0
"""Seconds after which a balancer's process with an earlier configuration sends nothing new."""
STATE_HEADER = "X-Haproxy-Server-State"
STATE = re.compile(
    r"(?P<state>[A-Z]+).*; node=(?P<node>[^;]+); weight=(?P<weight>\d+)/(?P<total>\d+); "
    r"scur=(?P<sessions>\d+)/"
)


@dataclass(frozen=True)
class View:
    """How a balancer sees this host.

    `state` is HAProxy's: UP, DOWN, or NOLB for a drained host. `weight` is the host's current share
    of `total`, the shares of all hosts. `sessions` counts the requests that the host processes.
    """

    state: str
    weight: int
    total: int
    sessions: int

    @property
    def serving(self) -> bool:
        """Tell whether the balancer sends new requests to this host."""
        return self.state == "UP" and self.weight > 0

    @property
    def others(self) -> bool:
        """Tell whether the balancer sends requests to other hosts."""
        return self.total > (self.weight if self.serving else 0)


def parse_state(text: str) -> tuple[str, View] | None:
    """Return a balancer's name and its view, or None for any other text.

    Source: HAProxy 2.6 Configuration Manual, `http-check send-state`.

    Args:
        text: such as "UP 2/3; name=crm/s1; node=lb1; weight=100/300; scur=1/5; qcur=0".
    """
    found = STATE.match(text)
    if not found:
        return None
    weight, total, sessions = (int(found[key]) for key in ("weight", "total", "sessions"))
    return found["node"], View(found["state"], weight, total, sessions)


def draining(path: str, now: float) -> bool:
    """Tell whether the host drains itself.

    Args:
        path: the file that its turn renews.
        now: the time, in seconds.
    """
    try:
        return now - Path(path).stat().st_mtime < LEASE
    except OSError:
        return False


# The checks


def files(directory: str, host: str) -> str:
    """Return why a file in the shared directory cannot be written and read back, or "".

    The kernel first drops what it has cached, which could answer for a dead mount.

    Args:
        directory: the application's directory on the volume.
        host: the id of this host.
    """
    place = Path(directory) / ".salina-health"
    path, content = place / host, f"{time.time_ns():<4095}\n".encode()
    try:
        place.mkdir(exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o640)
        try:
            os.write(descriptor, content)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return (
            ""
            if _uncached(path) == content
            else f"{path} does not have the content that was just written"
        )
    except OSError as error:
        return f"{error.filename or path}: {error.strerror}"


def _uncached(path: Path) -> bytes:
    """Return a file's content of one page, not from the kernel's cache."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        return os.read(descriptor, 4096)
    finally:
        os.close(descriptor)


def database(given: Mapping[str, Any]) -> str:
    """Return why the application's database takes no writes, or "".

    The write is a message in the write-ahead log, which no table sees.

    Args:
        given: `host`, `port`, `name`, `user`, `password`: the application's own route.
    """
    try:
        with Session(given, "salina: health", patience=5) as session:
            session.query("SELECT pg_logical_emit_message(true, 'salina', 'health')")
    except PsqlError as error:
        return f"the database {given['name']} takes no writes: {error}"
    return ""


def disk(directories: Sequence[str]) -> str:
    """Return which file systems are full, or "".

    Args:
        directories: a directory of each file system.
    """
    faults = []
    for directory in directories:
        found = os.statvfs(directory)
        free = found.f_bavail * found.f_frsize
        if free < FREE:
            faults.append(f"{directory} has {free // 2**20} MiB free, of {FREE // 2**20} needed")
    return "; ".join(faults)


class Check:
    """A check that a thread repeats, and its last result."""

    def __init__(self, probe: Callable[[], str]) -> None:
        """Begin to check.

        Args:
            probe: returns the fault, or "".
        """
        self.probe = probe
        self.found = threading.Event()
        self.fault, self.ended = "", time.monotonic()
        threading.Thread(target=self._repeat, daemon=True).start()

    def _repeat(self) -> None:
        while True:
            try:
                self.fault = self.probe()
            except Exception as error:  # whatever it is, the host cannot be called healthy
                self.fault = f"{type(error).__name__}: {error}"
            self.ended = time.monotonic()
            self.found.set()
            time.sleep(EVERY)

    def result(self) -> str:
        """Return the last fault, or that the check takes too long."""
        since = time.monotonic() - self.ended
        return f"no answer for {since:.0f} s" if since > EVERY + PATIENCE else self.fault


class Agent:
    """The checks of this host, and how the balancers see it."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        """Begin the checks, and wait for their first results.

        Args:
            given: the content of the agent's file (salt/health).
        """
        self.application = given["application"]
        self.views: dict[str, tuple[View, float]] = {}
        self.secure: dict[str, float] = {}
        self.checks = {
            "files": Check(lambda: files(given["directory"], given["host"])),
            "database": Check(lambda: database(given["database"])),
            "disk": Check(lambda: disk(given["disks"])),
        }
        end = time.monotonic() + FIRST
        for check in self.checks.values():
            check.found.wait(max(0.0, end - time.monotonic()))

    def faults(self) -> dict[str, str]:
        """Return the fault that each failed check found."""
        results = {name: check.result() for name, check in self.checks.items()}
        return {name: fault for name, fault in results.items() if fault}

    def hear(self, header: str, secure: bool) -> None:
        """Take note of how a balancer sees this host, and since when it asks over TLS only.

        Args:
            header: HAProxy's header.
            secure: whether the balancer asked over TLS, which nginx ends.
        """
        heard = parse_state(header)
        if not heard:
            return
        name, now = heard[0], time.monotonic()
        self.views[name] = heard[1], now
        if secure:
            self.secure.setdefault(name, now)
        else:
            self.secure.pop(name, None)

    def verdict(self) -> tuple[int, str]:
        """Return the status for a balancer, and the reason.

        With 404 HAProxy sends no new requests (`http-check disable-on-404`). With another status
        than 200 it takes the host for dead.
        """
        if draining(DRAIN, time.time()):
            return 404, "draining"
        faults = self.faults()
        if faults:
            return 503, "; ".join(f"{name}: {fault}" for name, fault in faults.items())
        return self._ask()

    def _ask(self) -> tuple[int, str]:
        """Ask the application, through its web server."""
        given = self.application
        connection = http.client.HTTPConnection(
            given["address"], given["port"], timeout=given["timeout"]
        )
        cookie = {"Cookie": given["cookie"]} if given["cookie"] else {}
        try:
            connection.request("GET", given["path"], headers={"Host": given["domain"], **cookie})
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException) as error:
            return 503, f"application: {error or type(error).__name__}"
        finally:
            connection.close()
        return (200, "healthy") if status == 200 else (503, f"application: status {status}")

    def told(self) -> dict[str, Any]:
        """Return what the host's own processes want to know."""
        now = time.monotonic()
        status, reason = self.verdict()
        return {
            "status": status,
            "reason": reason,
            "checks": {name: check.result() for name, check in self.checks.items()},
            "balancers": {
                name: {
                    **asdict(view),
                    "age": now - at,
                    "secure": now - self.secure.get(name, now),
                }
                for name, (view, at) in self.views.items()
            },
        }


class Answer(BaseHTTPRequestHandler):
    """The answer to one request."""

    protocol_version = "HTTP/1.1"
    timeout = 10

    def do_GET(self) -> None:
        """Answer a balancer, or over the Unix socket a process of this host."""
        agent = cast(Server, self.server).agent
        if self.request.family == socket.AF_UNIX:
            status, content = 200, json.dumps(agent.told())
        else:
            secure = self.headers.get("X-Forwarded-Proto") == "https"
            agent.hear(self.headers.get(STATE_HEADER, ""), secure)
            status, content = agent.verdict()
        body = f"{content}\n".encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: there is a request every two seconds."""


class Server(ThreadingHTTPServer):
    """An HTTP server on a socket that systemd has opened."""

    daemon_threads = True

    def __init__(self, opened: socket.socket, agent: Agent) -> None:
        """Serve on a socket.

        Args:
            opened: a listening socket.
            agent: the agent that knows the answers.
        """
        super().__init__(("", 0), Answer, bind_and_activate=False)
        self.socket.close()
        self.socket = opened
        self.agent = agent

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection; one over the Unix socket has no address."""
        connection, address = self.socket.accept()
        return connection, address or ("", 0)


# The other side


def ask(path: str = SOCKET, timeout: float = 5.0) -> dict[str, Any]:
    """Return the view of this host's agent.

    Args:
        path: the agent's socket.
        timeout: seconds.

    Raises:
        OSError: there is no agent, or it does not answer.
        ValueError: its answer is something else.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout)
        connection.connect(path)
        connection.sendall(b"GET / HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    return dict(json.loads(answer.partition(b"\r\n\r\n")[2]))


def views(told: Mapping[str, Any], recent: float) -> dict[str, View]:
    """Return how the balancers see this host, without those that have not asked recently.

    Args:
        told: the agent's view.
        recent: seconds.
    """
    keys = ("state", "weight", "total", "sessions")
    return {
        name: View(**{key: one[key] for key in keys})
        for name, one in told["balancers"].items()
        if one["age"] <= recent
    }


def older(told: Mapping[str, Any], balancers: Sequence[str], recent: float) -> list[str]:
    """Return the balancers that may still send requests without TLS.

    A balancer that has just been moved to TLS has a process with the earlier configuration for
    the connections that were open, so it counts for a while.

    Args:
        told: the agent's view. An agent of an earlier version says nothing of TLS.
        balancers: the names of all balancers.
        recent: seconds. A balancer that has not asked since then may be of an earlier version.
    """
    known = told["balancers"]
    return [
        name
        for name in balancers
        if name not in known
        or known[name]["age"] > recent
        or known[name].get("secure", 0) < HANDOVER
    ]


def main(arguments: Sequence[str]) -> None:
    """Serve on the sockets that systemd has opened, by the file that the argument names."""
    agent = Agent(json.loads(Path(arguments[0]).read_text()))
    count = int(os.environ.get("LISTEN_FDS", "0"))
    opened = [socket.socket(fileno=3 + number) for number in range(count)]
    servers = [Server(one, agent) for one in opened]
    for server in servers[1:]:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    servers[0].serve_forever()


if __name__ == "__main__":
    main(sys.argv[1:])

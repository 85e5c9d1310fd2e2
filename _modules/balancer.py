"""The balancer's HAProxy at run time, through its socket: who serves, drain, weights.

What is set here outlives a reload (salt/haproxy), not a restart.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from salt.exceptions import CommandExecutionError

from salina.balancer import haproxy
from salina.common import health

SOCKET = haproxy.SOCKET
#: In a request of this host itself: which server is to answer it; in the answer: which one did.
SERVER = "X-Salina-Server"


def stats() -> list[dict[str, str]]:
    """Return HAProxy's statistics: a row per frontend, backend and server.

    Raises:
        CommandExecutionError: HAProxy doesn't answer.

    CLI example::

        salt lb1 balancer.stats
    """
    try:
        return haproxy.statistics(_ask("show stat"))
    except ValueError as error:
        raise CommandExecutionError(str(error)) from error


def servers(backend: str | None = None) -> dict[str, dict[str, Any]]:
    """Return the app hosts of all applications by name, or the servers of one backend.

    ``serving`` says whether new requests go there; ``healthy``, ``drained``, ``maintenance`` and
    ``weight`` why not; ``sessions`` are those of this moment, ``response`` is how long the last
    health check took (milliseconds). ``backend`` is the application's name.

    Args:
        backend: as in HAProxy's configuration.

    Raises:
        CommandExecutionError: HAProxy doesn't answer, or has no such backend.

    CLI example::

        salt lb1 balancer.servers
        salt lb1 balancer.servers crm.any
    """
    known = _servers()
    found = (
        [server for server in known if server.backend == backend]
        if backend
        else haproxy.app_hosts(known)
    )
    if not found:
        raise CommandExecutionError(f"HAProxy has no backend {backend or 'with app hosts'}")
    return {
        server.name: {**dataclasses.asdict(server), "serving": server.serving} for server in found
    }


def answer(
    server: str, url: str, domain: str, cookie: str | None = None, timeout: float = 5
) -> str:
    """Ask one server through this balancer, as a client would: "" if all is well.

    Otherwise what is wrong: the status, or who answered in its place.

    Args:
        server: which one is to answer.
        url: of the balancer's own published address: https://10.1.2.2:443/web/health
        domain: the application's.
        cookie: NAME=VALUE, as for ``application.health``.
        timeout: seconds.

    CLI example::

        salt lb1 balancer.answer s4 https://10.1.2.2/web/health crm.example
    """
    headers = {"Host": domain, SERVER: server} | ({"Cookie": cookie} if cookie else {})
    fault, found = health.ask(url, headers, timeout)
    by = found.get(SERVER, "nobody in particular")
    return fault or ("" if by == server else f"{by} answered")


def drain(server: str) -> None:
    """Send a server no further requests; those it has go on.

    Args:
        server: its name, in whichever backends it is.

    Raises:
        CommandExecutionError: HAProxy doesn't answer, or knows no such server.

    CLI example::

        salt lb1 balancer.drain s2
    """
    _set(server, "set server {} state drain")


def ready(server: str) -> None:
    """Let a server have requests again, as soon as it is healthy.

    Args:
        server: its name, in whichever backends it is.

    Raises:
        CommandExecutionError: HAProxy doesn't answer, or knows no such server.

    CLI example::

        salt lb1 balancer.ready s2
    """
    _set(server, "set server {} state ready")


def weight(server: str, percent: int) -> None:
    """Give a server a part of the share it has by its configuration.

    Args:
        server: its name, in whichever backends it is.
        percent: 0 to 100; with 0 it gets nothing new.

    Raises:
        CommandExecutionError: another percentage, HAProxy doesn't answer, or knows no such server.

    CLI example::

        salt lb1 balancer.weight s2 50
    """
    if not 0 <= percent <= 100:  # HAProxy would silently take another
        raise CommandExecutionError(f"a weight is 0 to 100 percent, not {percent}")
    _set(server, f"set weight {{}} {percent}%")


def _set(server: str, command: str) -> None:
    """Run a command for an app host in each backend that has it."""
    found = [
        known for known in _servers() if known.name == server and known.backend != haproxy.ROUTE
    ]
    if not found:
        raise CommandExecutionError(f"HAProxy has no server {server}")
    for known in found:
        line = command.format(f"{known.backend}/{known.name}")
        answer = _ask(line).strip()
        if answer:
            raise CommandExecutionError(f"HAProxy, {line}: {answer}")


def _servers() -> list[haproxy.Server]:
    try:
        return haproxy.servers(_ask("show stat"), _ask("show servers state"))
    except ValueError as error:
        raise CommandExecutionError(str(error)) from error


def _ask(command: str) -> str:
    """Send one command and return the whole answer."""
    try:
        return haproxy.ask(command, SOCKET)
    except OSError as error:
        raise CommandExecutionError(f"{SOCKET}: {error} (is haproxy running?)") from error

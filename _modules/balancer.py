"""Control the balancer's HAProxy through its socket: its servers, their drain and their weights.

A change made here survives a reload (salt/haproxy), but not a restart.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from salt.exceptions import CommandExecutionError

from salina.balancer import app_hosts, haproxy
from salina.common import http, pillars
from salina.common.https import identity

__pillar__: dict[str, Any]

SOCKET = haproxy.SOCKET
ANSWER = 5.0
"""Seconds in which a healthy application answers."""
#: A header. In a request of this host it names the server that must answer; in an answer, the one
#: that did.
SERVER = "X-Salina-Server"


def stats() -> list[dict[str, str]]:
    """Return HAProxy's statistics.

    Returns:
        A row per frontend, backend and server.

    Raises:
        CommandExecutionError: HAProxy does not answer.

    CLI Example:
        salt lb1 balancer.stats
    """
    try:
        return haproxy.statistics(_ask("show stat"))
    except ValueError as error:
        raise CommandExecutionError(str(error)) from error


def servers(backend: str | None = None) -> dict[str, dict[str, Any]]:
    """Return the app hosts of all applications, or the servers of one backend.

    Args:
        backend: its name in HAProxy's configuration. An application's backend has its name.

    Returns:
        Each server's name with its values. `serving` says whether it gets new requests; `healthy`,
        `drained`, `maintenance` and `weight` say why not. `sessions` is the current number of
        requests, and `response` the milliseconds that the last health check took.

    Raises:
        CommandExecutionError: HAProxy does not answer, or has no such backend.

    CLI Example:
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
    """Request a URL from one server through this balancer, as a client would.

    Args:
        server: the server that must answer.
        url: a URL at the balancer's own published address, such as https://10.1.2.2:443/web/health
        domain: the application's domain.
        cookie: NAME=VALUE, as for `application.health`.
        timeout: seconds.

    Returns:
        "" if the server answered with status 200. Otherwise the reason, for instance the name of
        another server that answered.

    CLI Example:
        salt lb1 balancer.answer s4 https://10.1.2.2/web/health crm.example
    """
    headers = {"Host": domain, SERVER: server} | ({"Cookie": cookie} if cookie else {})
    fault, found = http.ask(url, headers, timeout)
    by = found.get(SERVER, "an unnamed server")
    return fault or ("" if by == server else f"{by} answered instead")


def reach(
    server: str, address: str, port: int, domain: str, path: str, cookie: str | None = None
) -> str:
    """Request a path from an app host directly, as HAProxy would.

    Args:
        server: the app host's id, which its certificate must bear.
        address: its address.
        port: the port of its web server.
        domain: the application's domain.
        path: the path, such as /web/health
        cookie: NAME=VALUE, as for `application.health`.

    Returns:
        "" if it answered with status 200. Otherwise the reason.

    CLI Example:
        salt lb1 balancer.reach s4 10.1.3.14 443 crm.example /web/health
    """
    headers = {"Host": domain} | ({"Cookie": cookie} if cookie else {})
    caller = identity(_pillar()["certificate"])
    try:
        found = app_hosts.status(server, address, port, caller, path, headers, ANSWER)
    except OSError as error:
        return str(error)
    return "" if found == 200 else f"status {found}"


def without_tls() -> list[str]:
    """Return the app hosts that answer, but not yet over TLS.

    Returns:
        Their ids. A host that does not answer at all is not among them.

    CLI Example:
        salt lb1 balancer.without_tls
    """
    own = _pillar()
    hosts = [server for one in own["applications"] for server in one["servers"]]
    caller = identity(own["certificate"])
    return app_hosts.without_tls(hosts, caller, own["health_name"], own["older_port"])


def drain(server: str) -> None:
    """Send no new requests to a server. Its current requests go on.

    Args:
        server: its name, in all backends that have it.

    Raises:
        CommandExecutionError: HAProxy does not answer, or has no such server.

    CLI Example:
        salt lb1 balancer.drain s2
    """
    _set(server, "set server {} state drain")


def ready(server: str) -> None:
    """Send requests to a drained server again, as soon as it is healthy.

    Args:
        server: its name, in all backends that have it.

    Raises:
        CommandExecutionError: HAProxy does not answer, or has no such server.

    CLI Example:
        salt lb1 balancer.ready s2
    """
    _set(server, "set server {} state ready")


def weight(server: str, percent: int) -> None:
    """Set a server's weight, relative to its configuration.

    Args:
        server: its name, in all backends that have it.
        percent: 0 to 100; with 0 it gets no new requests.

    Raises:
        CommandExecutionError: another percentage, HAProxy does not answer, or has no such server.

    CLI Example:
        salt lb1 balancer.weight s2 50
    """
    if not 0 <= percent <= 100:  # HAProxy would silently use another value
        raise CommandExecutionError(f"percent: {percent} must be from 0 to 100")
    _set(server, f"set weight {{}} {percent}%")


def _set(server: str, command: str) -> None:
    """Run a command for an app host in each backend that has it."""
    found = [
        known for known in _servers() if known.name == server and known.backend != haproxy.ROUTE
    ]
    if not found:
        raise CommandExecutionError(f"HAProxy has no server {server} (see balancer.servers)")
    for known in found:
        line = command.format(f"{known.backend}/{known.name}")
        answer = _ask(line).strip()
        if answer:
            raise CommandExecutionError(f"HAProxy refused `{line}`: {answer}")


def _pillar() -> dict[str, Any]:
    return pillars.section(__pillar__, "balancer")


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
        raise CommandExecutionError(f"{SOCKET}: {error} (is HAProxy running?)") from error

"""App hosts as this balancer reaches them: over TLS, and each side proves who it is."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from salina.common import https
from salina.common.https import Identity

CONNECT = 3.0
"""Seconds in which a host that is up accepts a connection."""
REFUSED = (400, 403)
"""The statuses of nginx for a client without a certificate, or with another host's."""


def status(
    name: str,
    address: str,
    port: int,
    caller: Identity,
    path: str,
    headers: Mapping[str, str],
    timeout: float = CONNECT,
) -> int:
    """Return the status of an app host's answer to one GET.

    Args:
        name: the app host's id, which its certificate must bear.
        address: its address.
        port: the port at which it speaks TLS.
        caller: this balancer's certificate.
        path: the path to request.
        headers: the headers of the request, among them `Host`.
        timeout: seconds for each step of the connection.

    Raises:
        OSError: the host does not answer, or its certificate is not its own.
    """
    context = ssl.create_default_context(cafile=caller.ca)
    context.load_cert_chain(caller.certificate, caller.key)
    return https.status(context, name, address, port, path, headers, timeout)


def without_tls(
    servers: Iterable[Mapping[str, Any]], caller: Identity, domain: str, older: int
) -> list[str]:
    """Return the app hosts that answer, but not yet over TLS. A dead host is not among them.

    Args:
        servers: the `name`, `address` and `port` of each app host.
        caller: this balancer's certificate.
        domain: the host name of the health checks.
        older: the port without TLS of earlier versions.
    """
    hosts = list(servers)

    def late(host: Mapping[str, Any]) -> bool:
        where = (host["name"], host["address"], host["port"])
        try:
            return status(*where, caller, "/", {"Host": domain}) in REFUSED
        except OSError:
            return _open(host["address"], older)

    with ThreadPoolExecutor(max_workers=8) as pool:
        return [
            host["name"] for host, found in zip(hosts, pool.map(late, hosts), strict=True) if found
        ]


def _open(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), 1).close()
    except OSError:
        return False
    return True

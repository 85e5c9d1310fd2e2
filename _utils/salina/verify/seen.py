"""The form of what a look sees, and a client's question by HTTP."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Mapping
from typing import Any, NamedTuple

WAIT = 10
"""Seconds for one answer."""
TLS = "/etc/salina/tls"


class Seen(NamedTuple):
    """The subject of a look, whether it is as it must be, and what was seen."""

    what: str
    good: bool
    seen: str


def unverified() -> ssl.SSLContext:
    """Return a TLS context for questions about another matter than who signed a certificate."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def get(
    address: str,
    port: int,
    tls: bool,
    domain: str,
    path: str,
    *,
    source: str = "",
    headers: Mapping[str, str] | None = None,
    wait: float = WAIT,
) -> tuple[int, Mapping[str, str]]:
    """Return status and headers (in lower case) of a request.

    Args:
        address: the server's address.
        port: its port.
        tls: whether to use HTTPS.
        domain: the host name that the request is for.
        path: the path.
        source: the address that the request comes from; "" for the kernel's choice.
        headers: what to send besides.
        wait: the seconds for one answer.

    Raises:
        OSError: there is no answer.
    """
    given: dict[str, Any] = {"timeout": wait, "source_address": (source, 0) if source else None}
    if tls:
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            address, port, context=unverified(), **given
        )
    else:
        connection = http.client.HTTPConnection(address, port, **given)
    try:
        connection.request("GET", path, headers={"Host": domain, **(headers or {})})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}
    except http.client.HTTPException as error:
        raise OSError(f"no HTTP: {error!r}") from error
    finally:
        connection.close()

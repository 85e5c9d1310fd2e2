"""Calls of the JSON interfaces of etcd and Patroni: HTTPS, both sides with certificates of the CA.

The module uses the standard library only, because it must work on a bare minion.
"""

from __future__ import annotations

import base64
import http.client
import json
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen


class NoAnswer(Exception):
    """The other side could not be reached, or its answer was not HTTP.

    `refused` says that the host is up and that no daemon listens.
    """

    def __init__(self, message: str, refused: bool = False) -> None:
        super().__init__(message)
        self.refused = refused


FOLDER = "/etc/salina/tls"


@dataclass(frozen=True)
class Identity:
    """The caller: the files of the CA, of one of this host's certificates and of its key, and
    perhaps what it sends as `Authorization`.
    """

    ca: str
    certificate: str
    key: str
    authorization: str = field(default="", repr=False)


def identity(name: str) -> Identity:
    """Return the identity that a certificate of this host gives, by its name in the pillar."""
    return Identity(f"{FOLDER}/ca.crt", f"{FOLDER}/{name}.crt", f"{FOLDER}/{name}.key")


def with_login(caller: Identity, name: str, password: str) -> Identity:
    """Return a caller that logs in by HTTP's basic authentication."""
    token = base64.b64encode(f"{name}:{password}".encode()).decode()
    return replace(caller, authorization=f"Basic {token}")


def common_name(address: str, port: int, caller: Identity, timeout: float = 5) -> str:
    """Return the common name in the certificate that a server shows, or "" without an answer.

    Args:
        address: the server's address, which its certificate must bear.
        port: its port.
        caller: the certificate to show.
        timeout: seconds for each step of the connection.
    """
    try:
        context = ssl.create_default_context(cafile=caller.ca)
        context.load_cert_chain(caller.certificate, caller.key)
        with (
            socket.create_connection((address, port), timeout) as plain,
            context.wrap_socket(plain, server_hostname=address) as secure,
        ):
            shown: Any = secure.getpeercert() or {}
    except OSError:
        return ""
    return str(dict(pair for part in shown.get("subject", ()) for pair in part)["commonName"])


def status(
    context: ssl.SSLContext,
    name: str,
    address: str,
    port: int,
    path: str,
    headers: Mapping[str, str],
    timeout: float,
) -> int:
    """Return the status of the answer to one GET, from a server that is known by another name.

    Args:
        context: the CA, and perhaps the caller's certificate.
        name: the name that the server's certificate must bear.
        address: the server's address.
        port: its port.
        path: the path to request.
        headers: the headers of the request, among them `Host`.
        timeout: seconds for each step of the connection.

    Raises:
        OSError: the server does not answer, or its certificate is wrong.
    """
    connection = http.client.HTTPSConnection(address, port, timeout=timeout)
    with (
        socket.create_connection((address, port), timeout) as plain,
        context.wrap_socket(plain, server_hostname=name) as secure,
    ):
        connection.sock = secure
        try:
            connection.request("GET", path, headers=dict(headers))
            return connection.getresponse().status
        except http.client.HTTPException as error:
            raise OSError(f"no HTTP: {error!r}") from error


def host_port(address: str, port: int) -> str:
    """Return an address and a port as one text: ``10.1.4.21:2379``, ``[fd00::1]:2379``."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def call(
    method: str, url: str, identity: Identity, body: Any = None, timeout: float = 5
) -> tuple[int, Any]:
    """Return the status of one call and its decoded JSON, or the text when it is something else.

    A status such as 503 is an answer, not an error.

    Args:
        method: ``GET``, ``POST``, ``PATCH``.
        url: an https URL. The other side's certificate must bear its host.
        identity: the certificate to use.
        body: the content to send, as JSON; None for nothing.
        timeout: seconds for each step of the connection.

    Raises:
        NoAnswer: refused, timed out, a certificate missing or not trusted, an interrupted answer.
    """
    headers = {"Content-Type": "application/json"}
    if identity.authorization:
        headers["Authorization"] = identity.authorization
    data = None if body is None else json.dumps(body).encode()
    request = Request(url, data=data, headers=headers, method=method)
    try:
        context = ssl.create_default_context(cafile=identity.ca)
        context.load_cert_chain(identity.certificate, identity.key)
        with urlopen(request, timeout=timeout, context=context) as answer:
            return answer.status, _decoded(answer.read())
    except HTTPError as error:
        with error:
            return error.code, _decoded(error.read())
    except URLError as error:
        refused = isinstance(error.reason, ConnectionRefusedError)
        raise NoAnswer(f"{url}: {error.reason}", refused) from error
    except (OSError, http.client.HTTPException) as error:
        raise NoAnswer(f"{url}: {error}") from error


def _decoded(content: bytes) -> Any:
    text = content.decode("utf-8", "replace")
    try:
        return json.loads(text)
    except ValueError:
        return text.strip()

"""The service on this machine's loopback, for a browser: a relay that connects as a client does.

It listens in the machine's network namespace and connects from within a client's, so the way
leads through the firewall, and no address of the lab is reachable here by itself.
"""

import asyncio
import ctypes
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.errors import LabError

CLONE_NEWNET = 0x40000000
CHUNK = 65536
CONNECT_SECONDS = 10
libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Route:
    """A port of this machine's loopback, and where in the lab it leads."""

    port: int
    address: str
    target: int


def enter(namespace: int) -> None:
    """Put this thread into a network namespace.

    :param namespace: file descriptor of it
    :raises OSError: the kernel refused
    """
    if libc.setns(namespace, CLONE_NEWNET) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


@contextmanager
def within(path: Path) -> Iterator[None]:
    """Make sockets in another network namespace: they stay in the one they were made in."""
    here = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        there = os.open(path, os.O_RDONLY)
        try:
            enter(there)
            try:
                yield
            finally:
                enter(here)
        finally:
            os.close(there)
    finally:
        os.close(here)


async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Pass bytes on until the source ends, then end the target's input."""
    try:
        while data := await source.read(CHUNK):
            target.write(data)
            await target.drain()
        target.write_eof()
    except OSError:
        target.close()


async def relay(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    route: Route,
    namespace: Callable[[], Path],
) -> None:
    """Serve one connection: connect from within the lab and pass bytes in both directions."""
    try:
        family = socket.AF_INET6 if ":" in route.address else socket.AF_INET
        with within(namespace()):
            outer = socket.socket(family, socket.SOCK_STREAM)
        outer.setblocking(False)
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(CONNECT_SECONDS):
            await loop.sock_connect(outer, (route.address, route.target))
        far_reader, far_writer = await asyncio.open_connection(sock=outer)
        await asyncio.gather(copy(reader, far_writer), copy(far_reader, writer))
        far_writer.close()
    except (OSError, LabError, TimeoutError):
        pass  # the browser sees a closed connection, as with any server that is away
    finally:
        writer.close()


async def serve(routes: list[Route], namespace: Callable[[], Path]) -> None:
    """Listen on this machine's loopback for all routes, until cancelled.

    :param routes: what leads where
    :param namespace: path of the client's network namespace; asked anew for each connection,
        since a host that was restarted has another one
    :raises LabError: a port is in use
    """
    servers = []
    for route in routes:

        async def handle(
            reader: asyncio.StreamReader, writer: asyncio.StreamWriter, route: Route = route
        ) -> None:
            await relay(reader, writer, route, namespace)

        try:
            servers.append(await asyncio.start_server(handle, "127.0.0.1", route.port))
        except OSError as error:
            raise LabError(
                f"port {route.port} of this machine: {error.strerror}",
                f"ss -tlnp 'sport = :{route.port}'",
            ) from error
    await asyncio.gather(*(server.serve_forever() for server in servers))

"""A relay that shows the lab's service on this machine's loopback address, for a browser.

It listens in this machine's network namespace, and connects from within the namespace of one of
the lab's clients. So its connections pass the firewall like a client's, and this machine needs no
route to the lab.
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
    """A port of this machine's loopback address, and the address and port in the lab behind it."""

    port: int
    address: str
    target: int


def enter(namespace: int) -> None:
    """Move this thread into a network namespace.

    Args:
        namespace: The file descriptor of the namespace.

    Raises:
        OSError: The kernel refused.
    """
    if libc.setns(namespace, CLONE_NEWNET) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


@contextmanager
def within(path: Path) -> Iterator[None]:
    """Enter another network namespace for a while. Sockets that are created there stay there."""
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
    """Copy bytes until the source ends, then end the target's input."""
    try:
        while data := await source.read(CHUNK):
            target.write(data)
            await target.drain()
        target.write_eof()
    except OSError:
        target.close()


async def connect(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    route: Route,
    namespace: Callable[[], Path],
) -> None:
    """Serve one connection: connect from within the lab, and copy bytes in both directions.

    Args:
        reader: The browser's side.
        writer: The browser's side.
        route: The address in the lab.
        namespace: Returns the path of the client's network namespace.
    """
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
        pass  # the browser sees a closed connection, as with any server that is down
    finally:
        writer.close()


async def serve(routes: list[Route], namespace: Callable[[], Path]) -> None:
    """Listen on this machine's loopback address for all routes, until cancelled.

    Args:
        routes: The ports to listen on.
        namespace: Returns the path of the client's network namespace. It is called for each
            connection, because a restarted host has another one.

    Raises:
        LabError: A port is in use.
    """
    servers = []
    for route in routes:

        async def handle(
            reader: asyncio.StreamReader, writer: asyncio.StreamWriter, route: Route = route
        ) -> None:
            await connect(reader, writer, route, namespace)

        try:
            servers.append(await asyncio.start_server(handle, "127.0.0.1", route.port))
        except OSError as error:
            raise LabError(
                f"the relay cannot listen on 127.0.0.1:{route.port}: {error.strerror}",
                f"ss -tlnp 'sport = :{route.port}'   (shows which process uses the port)",
            ) from error
    await asyncio.gather(*(server.serve_forever() for server in servers))

"""Ports for the daemons that tests start."""

from __future__ import annotations

import socket
from contextlib import suppress
from random import SystemRandom

OWN = range(20_000, 32_768)
"""The kernel gives outgoing connections the ports behind these, and one may come in between."""


def free() -> int:
    """Return a port of loopback on which nobody listens."""
    for port in SystemRandom().sample(OWN, 100):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("a hundred ports are in use")

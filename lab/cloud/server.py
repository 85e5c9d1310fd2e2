"""The lab's cloud: a process on the machine that creates and removes hosts of pools on request.

It listens on a Unix socket, because the master's network does not reach this machine. The socket
is visible in the master's container, where lab/cloud/provisioner.py connects to it. `bin/lab add`
and `bin/lab remove` use it as well.

Usage: python -m lab.cloud.server VERSION

`bin/lab up` starts it, and replaces a running one of another version.
"""

import json
import logging
import os
import signal
import socket
import socketserver
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from lab.cloud import provisioner
from lab.errors import LabError
from lab.exclusive import hosts_lock
from lab.machines import faults, hosts, network
from lab.paths import CLOUD_LOG, CLOUD_SOCKET, REPOSITORY, digest
from lab.process import wait_until

Action = Callable[[str, str], str]
"""A function of a host's id and its user data that returns what it did."""

CODE = ("lab/**/*.py", "fleet/**/*.py", "_utils/**/*.py")
PARALLEL = 4
READ_SECONDS = 10
START_SECONDS = 20
STOP_SECONDS = 60  # for the requests that it works on

log = logging.getLogger(__name__)
noting = threading.Lock()
"""The lock on the list of injected faults."""


# Actions


def create(host: str, user_data: str) -> str:
    """Create a host, unless it already runs with this user data."""
    with hosts_lock(shared=True):
        if not hosts.create(host, user_data):
            return "already runs"
        with noting:
            faults.forget([host])
    return "created"


def destroy(host: str, _: str) -> str:
    """Remove a host, if it exists."""
    with hosts_lock(shared=True):
        removed = hosts.destroy(host)
        with noting:
            faults.forget([host])
    return "removed" if removed else "does not exist"


# The process


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Answer requests: PARALLEL of them at the same time, but only one for each host.

    The process ends when its socket's file is gone, which means that the lab was removed.
    """

    request_queue_size = 64

    def __init__(self, path: Path, actions: Mapping[str, Action]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.unlink(missing_ok=True)  # a killed cloud leaves its socket
        super().__init__(str(path), Handler)
        path.chmod(0o600)
        self.path, self.inode = path, path.stat().st_ino
        self.actions = actions
        self.slots = threading.Semaphore(PARALLEL)
        self.busy: dict[str, threading.Lock] = {}

    def service_actions(self) -> None:
        """End the process when the socket is no longer its own; called twice a second."""
        try:
            if self.path.stat().st_ino == self.inode:
                return
        except FileNotFoundError:
            pass
        log.info("the socket is gone")
        raise SystemExit(0)

    def answer(self, raw: bytes) -> dict[str, str]:
        """Run a request, and return the answer: {"done": …} or {"error": …}."""
        try:
            action, host, user_data = read(raw, self.actions)
        except ValueError as error:
            log.info("refused: %s", error)
            return {"error": f"invalid request: {error}"}
        begun = time.monotonic()
        try:
            with self.busy.setdefault(host, threading.Lock()), self.slots:
                answer = {"done": self.actions[action](host, user_data)}
        except LabError as error:
            answer = {"error": f"{error}\nnext: {error.advice}" if error.advice else str(error)}
        except Exception as error:  # the caller waits for an answer, whatever happened
            log.exception("%s %.70r", action, host)
            answer = {"error": f"{type(error).__name__}: {error}; next: {CLOUD_LOG}"}
        log.info("%s %.70r: %s, %.1f s", action, host, *answer.values(), time.monotonic() - begun)
        return answer


class Handler(socketserver.StreamRequestHandler):
    """Handle one request: JSON until the end of input. The answer is JSON as well."""

    timeout = READ_SECONDS
    server: Server

    def handle(self) -> None:
        """Read the request, run it, and answer."""
        try:
            raw = self.rfile.read(provisioner.MAX_BYTES + 1)
        except OSError as error:  # for instance a timeout
            log.info("refused: %s", error)
            return
        if raw:  # `pid` connects without a request
            answer = json.dumps(self.server.answer(raw)).encode()
            with suppress(OSError):  # the caller is gone; a repeated request finds the work done
                self.wfile.write(answer)


def read(raw: bytes, actions: Mapping[str, Action]) -> tuple[str, str, str]:
    """Return a request's action, host and user data.

    Raises:
        ValueError: The request is invalid. The message never shows its content, which may be a
            private key.
    """
    if len(raw) > provisioner.MAX_BYTES:
        raise ValueError(f"it must have at most {provisioner.MAX_BYTES} bytes")
    try:
        data = json.loads(raw)
    except (ValueError, RecursionError):
        raise ValueError("it must be JSON") from None
    keys = ("action", "host", "user_data")
    if not isinstance(data, dict) or set(data) != {*keys}:
        raise ValueError(f"it must be a mapping with the keys {', '.join(keys)}")
    if not all(isinstance(value, str) for value in data.values()):
        raise ValueError("every value must be a string")
    if data["action"] not in actions:
        raise ValueError(f"action: choose one of: {', '.join(actions)}")
    return data["action"], data["host"], data["user_data"]


def serve(path: Path, actions: Mapping[str, Action]) -> None:
    """Answer requests until SIGTERM. Running requests are finished first.

    Args:
        path: The socket to listen on.
        actions: The function for each action.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    with Server(path, actions) as server:
        # an exception here could interrupt the start of a request's thread, which closes its socket
        signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
        server.serve_forever()


# Starting and stopping it


def pid(path: Path = CLOUD_SOCKET) -> int | None:
    """Return the id of the process that listens on the socket, or None."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(READ_SECONDS)
        try:
            connection.connect(str(path))
        except OSError:
            return None
        peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", peer)[0])


def ensure() -> None:
    """Start the cloud, unless it already runs with the same code.

    Raises:
        LabError: The cloud did not start.
    """
    version = digest(path for pattern in CODE for path in REPOSITORY.glob(pattern))
    running = pid()
    if running is not None and network.arguments(str(running))[-1:] == [version]:
        return
    stop()
    with CLOUD_LOG.open("a") as file:
        subprocess.Popen(
            [sys.executable, "-m", __name__, version],
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    if not wait_until(lambda: pid() is not None, START_SECONDS):
        raise LabError(
            "the lab's cloud, the process that creates and removes hosts of pools, did not start "
            f"within {START_SECONDS} s",
            f"tail {CLOUD_LOG}",
        )


def stop() -> None:
    """Stop the cloud if it runs, after the requests that it works on."""
    running = pid()
    if running is None:
        return
    os.kill(running, signal.SIGTERM)
    if not wait_until(lambda: not network.arguments(str(running)), STOP_SECONDS):
        os.kill(running, signal.SIGKILL)


def ask(action: str, host: str, user_data: str = "") -> None:
    """Ask the cloud for an action.

    Args:
        action: "create" or "destroy".
        host: The host's id.
        user_data: The host's cloud-init user data, to create it.

    Raises:
        LabError: The request failed.
    """
    try:
        provisioner.ask(action, host, user_data, str(CLOUD_SOCKET))
    except provisioner.ProvisionerError as error:
        raise LabError(f"{action} {host}: {error}") from None


if __name__ == "__main__":
    serve(CLOUD_SOCKET, {"create": create, "destroy": destroy})

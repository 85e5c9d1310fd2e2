"""The lab's cloud: a process on the machine that makes and removes hosts of pools when asked.

It listens on a path socket, which the master's container sees (its network leads nowhere); the
master calls lab/cloud/provisioner.py. `bin/lab add` and `bin/lab remove` ask it as well.
CLI: python -m lab.cloud.server VERSION     (by `bin/lab up`, which replaces one of another version)
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
from lab.exclusive import hosts
from lab.machines import faults, network
from lab.machines import hosts as fleet
from lab.paths import CLOUD_LOG, CLOUD_SOCKET, REPOSITORY
from lab.process import wait_until

Action = Callable[[str, str], str]
"""From a host's id and its user data to what was done."""

CODE = ("lab/**/*.py", "fleet/**/*.py", "_utils/**/*.py")
PARALLEL = 4
READ_SECONDS = 10
START_SECONDS = 20
STOP_SECONDS = 60  # for what it is at work on

log = logging.getLogger(__name__)
noting = threading.Lock()
"""Held while the noted faults are changed."""


# What it does


def create(host: str, user_data: str) -> str:
    """Make a host, unless it runs already with this user data."""
    with hosts(shared=True):
        if not fleet.create(host, user_data):
            return "runs already"
        with noting:
            faults.forget([host])
    return "made"


def destroy(host: str, _: str) -> str:
    """Remove a host, unless it isn't there."""
    with hosts(shared=True):
        removed = fleet.destroy(host)
        with noting:
            faults.forget([host])
    return "removed" if removed else "is not there"


# The process


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Answers requests, PARALLEL at the same time and one for each host.

    It ends when its socket's file is gone: the lab was removed without it.
    """

    request_queue_size = 64

    def __init__(self, path: Path, actions: Mapping[str, Action]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.unlink(missing_ok=True)  # of one that was killed
        super().__init__(str(path), Handler)
        path.chmod(0o600)
        self.path, self.inode = path, path.stat().st_ino
        self.actions = actions
        self.slots = threading.Semaphore(PARALLEL)
        self.busy: dict[str, threading.Lock] = {}

    def service_actions(self) -> None:
        """Look, twice a second, whether the socket is still this one's."""
        try:
            if self.path.stat().st_ino == self.inode:
                return
        except FileNotFoundError:
            pass
        log.info("the socket is gone")
        raise SystemExit(0)

    def answer(self, raw: bytes) -> dict[str, str]:
        """Do what a request says, and return what is told: {"done": …} or {"error": …}."""
        try:
            action, host, user_data = read(raw, self.actions)
        except ValueError as error:
            log.info("refused: %s", error)
            return {"error": f"the request: {error}"}
        begun = time.monotonic()
        try:
            with self.busy.setdefault(host, threading.Lock()), self.slots:
                told = {"done": self.actions[action](host, user_data)}
        except LabError as error:
            told = {"error": f"{error}\nnext: {error.advice}" if error.advice else str(error)}
        except Exception as error:  # whatever it is, who asked is told
            log.exception("%s %.70r", action, host)
            told = {"error": f"{type(error).__name__}: {error}; next: {CLOUD_LOG}"}
        log.info("%s %.70r: %s, %.1f s", action, host, *told.values(), time.monotonic() - begun)
        return told


class Handler(socketserver.StreamRequestHandler):
    """One request: JSON until the end of input, then the answer, JSON as well."""

    timeout = READ_SECONDS
    server: Server

    def handle(self) -> None:
        """Read, do, answer."""
        try:
            raw = self.rfile.read(provisioner.MAX_BYTES + 1)
        except OSError as error:  # also: nothing more came in time
            log.info("refused: %s", error)
            return
        if raw:  # else it was `pid`
            told = json.dumps(self.server.answer(raw)).encode()
            with suppress(OSError):  # who asked has gone, and finds it done when asking again
                self.wfile.write(told)


def read(raw: bytes, actions: Mapping[str, Action]) -> tuple[str, str, str]:
    """Return a request's action, host and user data.

    :raises ValueError: it is none; what was found, a private key perhaps, is not shown
    """
    if len(raw) > provisioner.MAX_BYTES:
        raise ValueError(f"allowed is {provisioner.MAX_BYTES} bytes")
    try:
        data = json.loads(raw)
    except (ValueError, RecursionError):
        raise ValueError("allowed is JSON") from None
    keys = ("action", "host", "user_data")
    if not isinstance(data, dict) or set(data) != {*keys}:
        raise ValueError(f"allowed is a mapping of {', '.join(keys)}")
    if not all(isinstance(value, str) for value in data.values()):
        raise ValueError("allowed are texts")
    if data["action"] not in actions:
        raise ValueError(f"action: allowed is {', '.join(actions)}")
    return data["action"], data["host"], data["user_data"]


def serve(path: Path, actions: Mapping[str, Action]) -> None:
    """Answer requests until the process is told to end; what is under way is finished first."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with Server(path, actions) as server:
        server.serve_forever()


# Its life


def pid(path: Path = CLOUD_SOCKET) -> int | None:
    """Return the process id of who listens on the socket; none when nobody does."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(READ_SECONDS)
        try:
            connection.connect(str(path))
        except OSError:
            return None
        peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", peer)[0])


def ensure() -> None:
    """Start the cloud, unless one with the same code is there.

    :raises LabError: it did not start
    """
    version = fleet.digest(path for pattern in CODE for path in REPOSITORY.glob(pattern))
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
        raise LabError(f"the cloud did not start within {START_SECONDS} s", f"tail {CLOUD_LOG}")


def stop() -> None:
    """End the cloud, after what it is at work on; no such process is fine."""
    running = pid()
    if running is None:
        return
    os.kill(running, signal.SIGTERM)
    if not wait_until(lambda: not network.arguments(str(running)), STOP_SECONDS):
        os.kill(running, signal.SIGKILL)


def ask(action: str, host: str, user_data: str = "") -> None:
    """Have the cloud do something.

    :raises LabError: it was not done
    """
    try:
        provisioner.ask(action, host, user_data, str(CLOUD_SOCKET))
    except provisioner.ProvisionerError as error:
        raise LabError(f"{action} {host}: {error}") from None


if __name__ == "__main__":
    serve(CLOUD_SOCKET, {"create": create, "destroy": destroy})

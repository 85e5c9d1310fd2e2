#!/usr/bin/python3
"""The lab's provisioner: asks the lab's cloud (lab/cloud/server.py) to create or remove a host.

It runs on the master with the system's Python, without Salt and without the lab's modules.

Usage: provisioner.py create ID < USER-DATA
       provisioner.py destroy ID

Exit code 0: the host now exists (or does not), even if nothing had to be done. Exit code 1: the
request failed, and standard error says why. Exit code 2: the arguments are invalid.
"""

import json
import socket
import sys
import time

SOCKET = "/srv/lab/provisioner.sock"
LOG = "/var/lib/salina-lab/cloud.log"  # lab/paths.py: CLOUD_LOG
USAGE = "usage: provisioner.py create ID < USER-DATA | provisioner.py destroy ID"
MAX_BYTES = 100_000  # of a request
ANSWER_SECONDS = 300
ABSENT_SECONDS = 10  # `bin/lab up` restarts the cloud when its code has changed


class ProvisionerError(Exception):
    """The request failed; the message says why."""


def exchange(request: bytes, path: str) -> dict[str, str]:
    """Send a request to the cloud, and return its answer.

    Raises:
        OSError: The cloud does not run, or ended before it answered.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(ANSWER_SECONDS)
        connection.connect(path)
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    if not answer:
        raise ConnectionResetError("the cloud ended before it answered")
    return dict(json.loads(answer))


def ask(action: str, host: str, user_data: str = "", path: str = SOCKET) -> str:
    """Ask the cloud for an action, and return what it did. A repeated request changes nothing.

    Args:
        action: "create" or "destroy".
        host: The host's id.
        user_data: The host's cloud-init user data, to create it.
        path: The cloud's socket.

    Raises:
        ProvisionerError: The request failed.
    """
    content = {"action": action, "host": host, "user_data": user_data}
    request = json.dumps(content).encode()
    if len(request) > MAX_BYTES:
        raise ProvisionerError(
            f"the request has {len(request)} bytes; it must have at most {MAX_BYTES}: "
            "shorten the user data"
        )
    end = time.monotonic() + ABSENT_SECONDS
    while True:
        try:
            answer = exchange(request, path)
        except TimeoutError:
            raise ProvisionerError(
                "the lab's cloud (the process that creates and removes hosts of pools) did not "
                f"answer within {ANSWER_SECONDS} s\n"
                f"next, on the machine that runs the lab: tail {LOG}"
            ) from None
        except OSError as error:
            if time.monotonic() > end:
                raise ProvisionerError(
                    f"the lab's cloud is not running: {path}: {error.strerror or error}\n"
                    "next, on the machine that runs the lab: bin/lab up"
                ) from None
            time.sleep(0.5)
        else:
            if "error" in answer:
                raise ProvisionerError(answer["error"])
            return answer["done"]


def main(arguments: list[str], path: str = SOCKET) -> int:
    """Run the command line's request, and return the exit code."""
    if len(arguments) != 2 or arguments[0] not in ("create", "destroy"):
        print(USAGE, file=sys.stderr)
        return 2
    action, host = arguments
    given = sys.stdin.buffer.read().decode(errors="replace") if action == "create" else ""
    try:
        print(f"{host}: {ask(action, host, given, path)}")
    except ProvisionerError as error:
        print(f"{action} {host}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

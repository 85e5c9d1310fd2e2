#!/usr/bin/python3
"""The lab's provisioner: has the lab's cloud (lab/cloud/server.py) make or remove a host.

Run on the master by its plain Python, without Salt and without the lab.
CLI: provisioner.py create ID < USER-DATA
     provisioner.py destroy ID
Exit code 0: it is so, also when it was so before; 1: it is not, standard error says why; 2: usage.
"""

import json
import socket
import sys
import time

SOCKET = "/srv/lab/provisioner.sock"
USAGE = "usage: provisioner.py create ID < USER-DATA | provisioner.py destroy ID"
MAX_BYTES = 100_000  # of a request
ANSWER_SECONDS = 300
ABSENT_SECONDS = 10  # `bin/lab up` replaces the cloud when its code has changed


class ProvisionerError(Exception):
    """It was not done; the message says why."""


def exchange(request: bytes, path: str) -> dict[str, str]:
    """Return what the cloud answers.

    :raises OSError: it is not there, or ended meanwhile
    """
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(ANSWER_SECONDS)
        connection.connect(path)
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    if not answer:
        raise ConnectionResetError("it ended before it answered")
    return dict(json.loads(answer))


def ask(action: str, host: str, user_data: str = "", path: str = SOCKET) -> str:
    """Have the cloud do something, and return what it did. Asking again does no harm.

    :param action: create or destroy
    :param host: the host's id
    :param user_data: for create: what the host is told at its first start
    :param path: the cloud's socket
    :raises ProvisionerError: it was not done
    """
    content = {"action": action, "host": host, "user_data": user_data}
    request = json.dumps(content).encode()
    if len(request) > MAX_BYTES:
        raise ProvisionerError(f"the user data is larger than {MAX_BYTES} bytes")
    end = time.monotonic() + ABSENT_SECONDS
    while True:
        try:
            answer = exchange(request, path)
        except TimeoutError:
            raise ProvisionerError(f"no answer within {ANSWER_SECONDS} s") from None
        except OSError as error:
            if time.monotonic() > end:
                raise ProvisionerError(
                    f"the lab's cloud is not there: {path}: {error.strerror or error}\n"
                    "next, on the lab's machine: bin/lab up"
                ) from None
            time.sleep(0.5)
        else:
            if "error" in answer:
                raise ProvisionerError(answer["error"])
            return answer["done"]


def main(arguments: list[str], path: str = SOCKET) -> int:
    """Do what the command line says, and return the exit code."""
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

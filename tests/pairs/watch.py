"""A client's view of a pair: its requests, one connection that stays open, and who answers for an
address.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from salina.common import wait
from tests.lab.traffic import Background

NEW = """
import http.client, socket, ssl

tls = ssl.create_default_context(cadata=given["ca"])

def connect(timeout):
    plain = socket.create_connection((given["address"], 443), timeout)
    secure = tls.wrap_socket(plain, server_hostname=given["domain"])
    connection = http.client.HTTPSConnection(given["domain"], timeout=timeout)
    connection.sock = secure
    return connection

def ask(connection):
    connection.request("GET", given["path"], headers={"Host": given["domain"]})
    answer = connection.getresponse()
    answer.read()
    if answer.status != 200:
        raise OSError(f"HTTP {answer.status}")

def requests():
    '''A new connection for each request, as a new visitor has.'''
    while not stopped.wait(0.1):
        begun, fault = time.time(), ""
        try:
            connection = connect(1.5)
            ask(connection)
            connection.close()
        except (OSError, http.client.HTTPException) as error:
            fault = str(error) or type(error).__name__
        say(kind="request", at=time.time(), took=time.time() - begun, fault=fault)

def kept():
    '''One connection that stays open, as that of a long answer does.'''
    connection = None
    while not stopped.wait(0.2):
        try:
            if connection is None:
                connection = connect(10)
                say(kind="opened", at=time.time())
            ask(connection)
            say(kind="kept", at=time.time())
        except (OSError, http.client.HTTPException):
            connection = None

threading.Thread(target=kept, daemon=True).start()
requests()
"""

ARP = """
import fcntl, socket, struct

def hardware(card):
    with socket.socket() as asked:
        return fcntl.ioctl(asked, 0x8927, struct.pack("256s", card.encode()))[18:24]

asked = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806))
asked.bind((given["card"], 0x0806))
asked.settimeout(0.02)
own, target = hardware(given["card"]), socket.inet_aton(given["address"])
question = struct.pack("!HHHBBH", 0x0806, 1, 0x0800, 6, 4, 1) + own
question = b"\\xff" * 6 + own + question + socket.inet_aton(given["own"]) + bytes(6) + target
while not stopped.is_set():
    asked.send(question)
    seen, end = set(), time.time() + 0.2
    while time.time() < end:
        try:
            answer = asked.recv(2048)
        except TimeoutError:
            continue
        if answer[20:22] == b"\\0\\2" and answer[28:32] == target:
            seen.add(answer[22:28].hex(":"))
    say(at=time.time(), seen=sorted(seen))
"""


class Visitor(Background):
    """A client that asks the service again and again, with new connections and with one old one."""

    def __init__(self, host: str, **given: Any) -> None:
        super().__init__(host, NEW, **given)

    def good(self, since: float = 0.0) -> list[float]:
        """Return when requests with a new connection were answered."""
        return [
            one["at"]
            for one in self.lines()
            if one["kind"] == "request" and not one["fault"] and one["at"] > since
        ]

    def serves(self, seconds: float = 30.0) -> None:
        """Wait until a request is answered."""
        known = len(self.good())
        assert wait.until(lambda: len(self.good()) > known, seconds, 0.2), self.lines()[-5:]

    def gap(self) -> float:
        """Return the longest time between two answers."""
        return longest(self.good())

    def opened(self) -> int:
        """Return how often the old connection had to be opened."""
        return sum(one["kind"] == "opened" for one in self.lines())

    def silence(self) -> float:
        """Return the longest time between two answers on the old connection."""
        return longest(one["at"] for one in self.lines() if one["kind"] == "kept")


class Answers(Background):
    """The cards that answer for an address in a network, which is asked five times a second."""

    def __init__(self, host: str, card: str, own: str, address: str) -> None:
        super().__init__(host, ARP, card=card, own=own, address=address)

    def several(self) -> list[list[str]]:
        """Return the cards of each moment at which more than one answered."""
        return [one["seen"] for one in self.lines() if len(one["seen"]) > 1]

    def asked(self) -> int:
        """Return how often somebody answered."""
        return sum(bool(one["seen"]) for one in self.lines())

    def silence(self) -> float:
        """Return the longest time between two answers."""
        return longest(one["at"] for one in self.lines() if one["seen"])


def longest(moments: Iterable[float]) -> float:
    """Return the longest time between two moments."""
    return max((after - before for before, after in pairwise(moments)), default=0.0)

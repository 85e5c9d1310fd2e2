"""K6: Two balancers as HAProxy runs them: they tell each other what their limits have counted."""

from __future__ import annotations

import http.client
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from salina.common import wait
from tests import authority, fleets, haproxy, ports
from tests.integration.test_haproxy_config import certificate, fragment, pages

HAPROXY = haproxy.program()
IDS = ("lb1", "lb2")
TABLE = "show table service\n"


class Balancer:
    """A running HAProxy, and what it has counted."""

    def __init__(self, folder: Path, port: int, text: str) -> None:
        self.port = port
        self.control = str(folder / "admin.sock")
        (folder / "haproxy.cfg").write_text(text)
        assert HAPROXY
        self.process = subprocess.Popen([HAPROXY, "-db", "-f", folder / "haproxy.cfg"])

    def end(self) -> None:
        """Kill it."""
        self.process.kill()
        self.process.wait(10)

    def ask(self, command: str) -> str:
        """Return its answer at its control socket; "" while there is none."""
        with socket.socket(socket.AF_UNIX) as asked:
            if asked.connect_ex(self.control):
                return ""
            asked.sendall(command.encode())
            return b"".join(iter(lambda: asked.recv(65536), b"")).decode()

    def status(self) -> int:
        """Return the status of a request by a foreign name, which the balancer itself answers."""
        asked = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        asked.request("GET", "/", headers={"Host": "foreign.invalid"})
        return asked.getresponse().status


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[list[Balancer]]:
    """Two balancers on loopback, each with its own certificate."""
    assert HAPROXY, "no haproxy yet: run `make hosts`"
    places = {name: ports.free() for name in IDS}
    certificate(tmp_path)
    pages(tmp_path)
    fleet = authority.Authority(tmp_path)
    with ExitStack() as ends:
        found = []
        for name in IDS:
            folder = tmp_path / name
            folder.mkdir()
            fleet.issue(f"balancer-{name}", name, use="server client")
            others = sorted(IDS, key=lambda one: one != name)
            peers = [{"name": one, "address": "127.0.0.1", "port": places[one]} for one in others]
            text = settings(tmp_path, folder, name, peers)
            found.append(Balancer(folder, *text))
            ends.callback(found[-1].end)
        yield found


def settings(home: Path, folder: Path, name: str, peers: list[dict[str, Any]]) -> tuple[int, str]:
    """Return a balancer's port for plain HTTP, and its configuration."""
    plain = ports.free()
    limits = fleets.pillar("lb1", "pairs")["balancer"]["limits"] | {"exempt": ["192.0.2.1"]}
    text = fragment(
        "pairs", servers={"crm": []}, address="127.0.0.1", further=[], peers=peers,
        http=plain, https=ports.free(), limits=limits, certificate=f"balancer-{name}",
    )  # fmt: skip
    for path in ("/etc/salina/tls", "/etc/haproxy/errors"):
        text = text.replace(path, str(home))
    head = (
        "global\n    ssl-load-extra-files key\n    ssl-load-extra-del-ext\n"
        f"    stats socket {folder}/admin.sock mode 600 level admin\n"
    )
    return plain, head + text


def test_k6_x5_two_balancers_count_a_clients_requests_together(pair: list[Balancer]) -> None:
    """K6, X5: A client that one of them has counted is known to the other one."""
    first, second = pair
    assert wait.until(lambda: second.ask("show info\n") and first.ask("show info\n"), 10, 0.1)
    assert first.status() == 421

    def known() -> bool:
        return "http_req_rate(10000)=1" in second.ask(TABLE)

    assert wait.until(known, 15, 0.2), second.ask(TABLE)
    assert second.status() == 421

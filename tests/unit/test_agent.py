"""S12: The health agent of an app host."""

from __future__ import annotations

import http.client
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from salina.application import agent

UP = "UP 3/3; name=crm/s1; node=lb1; weight=100/300; scur=2/5; qcur=0"


@pytest.fixture
def application() -> Iterator[dict[str, Any]]:
    """An application that answers with the status in its path."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            good = self.headers["Host"] == "crm.example" and self.headers["Cookie"] == "sid=probe"
            self.send_response(int(self.path[1:]) if good else 400)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield {
            "address": "127.0.0.1",
            "port": server.server_port,
            "path": "/200",
            "domain": "crm.example",
            "cookie": "sid=probe",
            "timeout": 2,
        }
        server.shutdown()


@pytest.fixture
def daemon(
    application: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> agent.Agent:
    monkeypatch.setattr(agent, "DRAIN", str(tmp_path / "drain"))
    monkeypatch.setattr(agent, "database", lambda _given: "")
    given = {"application": application, "directory": str(tmp_path), "disks": [str(tmp_path)]}
    given["host"] = "s1"
    return agent.Agent({**given, "database": {}})


@pytest.mark.parametrize(
    ("text", "view"),
    [
        (UP, agent.View("UP", 100, 300, 2)),
        (UP.replace("UP 3/3", "UP"), agent.View("UP", 100, 300, 2)),
        (UP.replace("UP 3/3", "NOLB 3/3"), agent.View("NOLB", 100, 300, 2)),
        (UP.replace("UP 3/3", "DOWN 1/2"), agent.View("DOWN", 100, 300, 2)),
    ],
)
def test_how_a_balancer_sees_the_host(text: str, view: agent.View) -> None:
    """S12: The header of HAProxy's health check."""
    assert agent.parse_state(text) == ("lb1", view)


@pytest.mark.parametrize("text", ["", "UP", "UP 3/3; name=crm/s1"])
def test_another_header_says_nothing(text: str) -> None:
    assert agent.parse_state(text) is None


@pytest.mark.parametrize(
    ("view", "serving", "others"),
    [
        (agent.View("UP", 100, 300, 0), True, True),
        (agent.View("UP", 100, 100, 0), True, False),
        (agent.View("UP", 0, 200, 0), False, True),  # an operator drained it
        (agent.View("NOLB", 0, 0, 3), False, False),
        (agent.View("DOWN", 0, 200, 0), False, True),
    ],
)
def test_who_serves(view: agent.View, serving: bool, others: bool) -> None:
    assert (view.serving, view.others) == (serving, others)


def test_it_passes_the_check_on_to_the_application(daemon: agent.Agent) -> None:
    """S12: The time of a check is still the time of the application."""
    assert daemon.verdict() == (200, "healthy")
    daemon.application["path"] = "/500"
    assert daemon.verdict() == (503, "application: status 500")
    daemon.application["port"] = 1
    assert daemon.verdict()[0] == 503


def test_a_drain_comes_first_and_ends_by_itself(daemon: agent.Agent) -> None:
    """S12: 404 stands for no new requests. A drain that nobody renews has ended."""
    drain = Path(agent.DRAIN)
    drain.touch()
    assert daemon.verdict() == (404, "draining")
    then = time.time() - agent.LEASE - 1
    os.utime(drain, (then, then))
    assert daemon.verdict()[0] == 200


def test_each_check_counts(daemon: agent.Agent) -> None:
    """S12: A host that cannot reach its files or its database is not healthy."""
    daemon.checks["files"].fault = "/mnt: Transport endpoint is not connected"
    daemon.checks["disk"].fault = "full"
    assert daemon.verdict() == (
        503,
        "files: /mnt: Transport endpoint is not connected; disk: full",
    )


def test_a_check_that_hangs_is_a_fault_and_delays_no_answer(daemon: agent.Agent) -> None:
    """S12: A mount that hangs stops only the thread that looks at it."""
    never = threading.Event()
    hanging = agent.Check(lambda: str(never.wait()))
    hanging.ended -= agent.EVERY + agent.PATIENCE + 1
    daemon.checks["files"] = hanging
    begun = time.monotonic()
    status, reason = daemon.verdict()
    assert (status, reason[:21]) == (503, "files: no answer for ")
    assert time.monotonic() - begun < 1
    never.set()


def test_a_check_that_raises_is_a_fault() -> None:
    check = agent.Check(lambda: str(1 / 0))
    assert check.found.wait(5)
    assert check.result() == "ZeroDivisionError: division by zero"


def test_files(tmp_path: Path) -> None:
    assert agent.files(str(tmp_path), "s1") == ""
    (written,) = (tmp_path / ".salina-health").iterdir()
    assert written.stat().st_size == 4096
    missing = tmp_path / "missing"
    assert agent.files(str(missing), "s1") == f"{missing}/.salina-health: No such file or directory"


def test_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert agent.disk([str(tmp_path)]) == ""
    monkeypatch.setattr(agent, "FREE", 2**60)
    assert "MiB free, of" in agent.disk([str(tmp_path)])


def test_both_sockets(daemon: agent.Agent, tmp_path: Path) -> None:
    """S12: A balancer gets the status; a process of this host gets everything, with the views."""
    path = str(tmp_path / "socket")
    inside, outside = socket.socket(socket.AF_UNIX), socket.socket()
    inside.bind(path)
    outside.bind(("127.0.0.1", 0))
    servers = []
    for listening in (inside, outside):
        listening.listen()
        servers.append(agent.Server(listening, daemon))
        threading.Thread(target=servers[-1].serve_forever, args=(0.02,), daemon=True).start()
    connection = http.client.HTTPConnection(*outside.getsockname(), timeout=5)
    connection.request("GET", "/web/health", headers={agent.STATE_HEADER: UP})
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (200, b"healthy\n")
    connection.close()
    told = agent.ask(path)
    assert (told["status"], told["reason"]) == (200, "healthy")
    assert told["checks"] == {"files": "", "database": "", "disk": ""}
    assert agent.views(told, 15) == {"lb1": agent.View("UP", 100, 300, 2)}
    told["balancers"]["lb1"]["age"] = 16
    assert agent.views(told, 15) == {}
    assert json.dumps(told)
    for server in servers:
        server.shutdown()
        server.server_close()


def test_x7_it_knows_which_balancers_ask_over_tls(daemon: agent.Agent) -> None:
    """X7: nginx says which check came over TLS. One without TLS, and the time counts again."""
    daemon.hear(UP, True)
    daemon.secure["lb1"] -= 200
    daemon.hear(UP, True)
    told = daemon.told()
    assert told["balancers"]["lb1"]["secure"] > 199
    assert agent.older(told, ["lb1"], 10) == []
    assert agent.older(told, ["lb1", "lb2"], 10) == ["lb2"]
    daemon.hear(UP, False)
    assert agent.older(daemon.told(), ["lb1"], 10) == ["lb1"]
    daemon.hear(UP, True)
    assert daemon.told()["balancers"]["lb1"]["secure"] < 10
    assert agent.older(daemon.told(), ["lb1"], 10) == ["lb1"]

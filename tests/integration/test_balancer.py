"""S1, S2, O5: the balancer's fragment in a real HAProxy, before three small web servers."""

from __future__ import annotations

import http.client
import json
import ssl
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from salt.exceptions import CommandExecutionError

from _modules import balancer as module
from salina.application import agent
from salina.balancer import haproxy, load
from salina.common import wait
from tests import fleets, ports
from tests.authority import serve_tls
from tests.integration.test_haproxy_config import HAPROXY, certificate, fragment, pages

SERVERS = ("s1", "s2", "s3")
SHOPS = ("w1", "w2")
HEALTH = "/web/health"
QUICK = {
    "inter": "300ms",  # in which a check also makes its connection and its handshake
    "fastinter": "100ms",
    "slowstart": "100ms",
    "rise": 1,
    "fall": 1,
}


class Application(ThreadingHTTPServer):
    """One app host: says its name and the headers it got."""

    daemon_threads = True

    def __init__(self, name: str, home: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        serve_tls(self, home)
        self.name = name
        self.health = 200
        self.delay = 0.0
        self.requests: list[str] = []
        self.state = ""
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, *_: Any) -> None:
        """A health check hangs up once it has seen enough."""


class Handler(BaseHTTPRequestHandler):
    """Answers; /502 as nginx does before an Odoo that is away."""

    protocol_version = "HTTP/1.1"
    server: Application

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        time.sleep(self.server.delay)
        status = self.server.health if self.path == HEALTH else 200
        if self.path == "/502" and self.server.name != "s1":
            status = 502
        if self.path == HEALTH:
            self.server.state = self.headers.get(agent.STATE_HEADER, "")
        else:
            self.server.requests.append(f"{self.command} {self.path}")
        body = json.dumps({"server": self.server.name, "headers": dict(self.headers)}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *_: Any) -> None: ...


@dataclass
class Balancer:
    """A running HAProxy with its servers behind it."""

    http: int
    https: int
    applications: dict[str, Application]
    context: ssl.SSLContext = field(default_factory=ssl._create_unverified_context)

    def ask(
        self,
        path: str = "/",
        method: str = "GET",
        tls: bool = True,
        source: str = "127.0.0.1",
        **headers: str,
    ) -> tuple[int, dict[str, str], bytes]:
        """Send one request: status, headers, body."""
        options: dict[str, Any] = {"timeout": 10, "source_address": (source, 0)}
        connection = (
            http.client.HTTPSConnection("127.0.0.1", self.https, context=self.context, **options)
            if tls
            else http.client.HTTPConnection("127.0.0.1", self.http, **options)
        )
        connection.request(method, path, headers={"Host": "crm.example", **headers})
        answer = connection.getresponse()
        found = (answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        connection.close()
        return found

    def names(self, requests: int, **keywords: Any) -> Counter[str]:
        """Which servers answered so many requests, and how many each."""
        return Counter(json.loads(self.ask(**keywords)[2])["server"] for _ in range(requests))

    def settle(self, **wanted: Any) -> None:
        """Wait until each app host is as wanted: `serving=True`."""

        def settled() -> bool:
            found = module.servers().values()
            return all(server[key] == value for server in found for key, value in wanted.items())

        assert wait.until(settled, 10, 0.05), module.servers()


def start(home: Path, tls: bool, *shops: str) -> Iterator[Balancer]:
    """Run HAProxy with the fragment, and servers, until the test is over.

    `shops`: those of the second application, in a fleet that has two.
    """
    certificate(home)
    pages(home)
    plain, secure = ports.free(), ports.free()
    applications = {name: Application(name, home) for name in (*SERVERS, *shops)}
    known = {
        name: {"name": name, "address": "127.0.0.1", "port": application.server_port}
        for name, application in applications.items()
    }
    text = fragment(
        "two-applications" if shops else "default",
        servers={
            "crm": [known[name] for name in SERVERS],
            "shop": [known[name] for name in shops],
        },
        health={"path": HEALTH, "cookie": None},
        address="127.0.0.1",
        http=plain,
        https=secure,
        tls=tls,
        settings={**fleets.pillar("lb1")["balancer"]["settings"], **QUICK},
    )
    for path in ("/etc/salina/tls", "/etc/haproxy/errors"):
        text = text.replace(path, str(home))
    control = f"""\
global
    stats socket {home}/admin.sock mode 600 level admin
    server-state-file {home}/servers-state
    ssl-load-extra-files key
    ssl-load-extra-del-ext
"""
    (home / "haproxy.cfg").write_text(control + text)
    assert HAPROXY, "neither this machine nor the lab's mirror (bin/lab up) has HAProxy"
    process = subprocess.Popen([HAPROXY, "-db", "-f", home / "haproxy.cfg"])
    try:
        assert wait.until(lambda: (home / "admin.sock").exists(), 10, 0.05)
        balancer = Balancer(plain, secure, applications)
        balancer.settle(serving=True, check="L7OK")
        yield balancer
    finally:
        process.terminate()
        process.wait(10)
        for application in applications.values():
            application.shutdown()
            application.server_close()


@pytest.fixture
def at_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where HAProxy is to be: module and daemon ask it there."""
    ask, own = haproxy.ask, str(tmp_path / "admin.sock")
    monkeypatch.setattr(module, "SOCKET", own)
    monkeypatch.setattr(haproxy, "ask", lambda command, path=own: ask(command, path))
    return tmp_path


@pytest.fixture
def balancer(at_hand: Path) -> Iterator[Balancer]:
    """The default: TLS."""
    yield from start(at_hand, True)


@pytest.fixture
def two(at_hand: Path) -> Iterator[Balancer]:
    """Two applications."""
    yield from start(at_hand, True, *SHOPS)


@pytest.fixture
def plain(at_hand: Path) -> Iterator[Balancer]:
    """Plain HTTP, as in the assignment."""
    yield from start(at_hand, False)


def test_s12_a_host_drains_itself(balancer: Balancer) -> None:
    """S12: With 404 a host gets no new requests. Each check tells it how the balancer sees it."""

    def view(name: str) -> agent.View:
        seen = agent.parse_state(balancer.applications[name].state)
        assert seen, balancer.applications[name].state
        return seen[1]

    assert wait.until(lambda: view("s1").serving and view("s1").others, 10, 0.05), view("s1")
    balancer.applications["s1"].health = 404
    assert wait.until(lambda: view("s1").state == "NOLB", 10, 0.05), view("s1")
    assert set(balancer.names(8)) == {"s2", "s3"}
    assert wait.until(lambda: view("s2").total < 300, 10, 0.05), view("s2")
    balancer.applications["s1"].health = 200
    assert wait.until(lambda: view("s1").serving, 10, 0.05), view("s1")
    assert wait.until(lambda: "s1" in balancer.names(30), 10, 0.05)  # its share grows


def test_requests_go_round(balancer: Balancer) -> None:
    """S2: Each server gets a request in turn."""
    assert balancer.names(30) == dict.fromkeys(SERVERS, 10)


@pytest.mark.parametrize("host", ["shop.example", "Shop.Example", "shop.example:8443"])
def test_each_application_by_its_name(two: Balancer, host: str) -> None:
    """S2: Two host names lead each to the hosts of its own application in turn."""
    assert two.names(10, Host=host) == dict.fromkeys(SHOPS, 5)
    assert two.names(30, Host="crm.example") == dict.fromkeys(SERVERS, 10)


@pytest.mark.parametrize("host", ["127.0.0.1", "www.shop.example", "shop.example.org"])
def test_x5_other_names_are_no_applications(two: Balancer, host: str) -> None:
    """X5: A request for an unknown host name is misdirected, and no application gets it."""
    assert two.ask(Host=host)[0] == 421
    assert not any(one.requests for one in two.applications.values())
    assert two.names(30, Host="crm.example") == dict.fromkeys(SERVERS, 10)


def test_an_application_in_need_does_not_fall_to_the_other(two: Balancer) -> None:
    """S12: Its requests wait at its own hosts, and the other application serves on."""
    for name in SHOPS:
        two.applications[name].health = 500
    assert wait.until(
        lambda: not any(module.servers()[name]["healthy"] for name in SHOPS), 10, 0.05
    )
    assert two.names(10, Host="shop.example") == dict.fromkeys(SHOPS, 5)
    assert two.names(30, Host="crm.example") == dict.fromkeys(SERVERS, 10)


def test_a_drained_host_is_its_applications(two: Balancer) -> None:
    """S10: A drained server is listed with the application that it serves."""
    assert {name: server["backend"] for name, server in module.servers().items()} == {
        **dict.fromkeys(SERVERS, "crm"), **dict.fromkeys(SHOPS, "shop"),
    }  # fmt: skip
    module.drain("w1")
    assert set(module.servers("shop.any")) == set(SHOPS)
    assert two.names(10, Host="shop.example") == {"w2": 10}
    assert two.names(30, Host="crm.example") == dict.fromkeys(SERVERS, 10)


def test_plain_http_is_redirected(balancer: Balancer) -> None:
    """O5: HTTP redirects permanently to the same page, and only HTTPS answers have HSTS."""
    status, headers, _ = balancer.ask(
        "/web?debug=1", tls=False, Host=f"crm.example:{balancer.http}"
    )
    assert status == 301
    assert headers["location"] == f"https://crm.example:{balancer.https}/web?debug=1"
    assert "strict-transport-security" not in headers
    assert balancer.ask()[1]["strict-transport-security"] == "max-age=31536000"


def test_without_tls_port_80_serves(plain: Balancer) -> None:
    """S1: With `tls: false` port 80 serves, as in the assignment."""
    status, headers, body = plain.ask(tls=False)
    assert status == 200 and "strict-transport-security" not in headers
    assert json.loads(body)["headers"]["x-forwarded-proto"] == "http"
    assert plain.names(30, tls=False) == dict.fromkeys(SERVERS, 10)
    with pytest.raises(ConnectionRefusedError):
        plain.ask()


def test_a_client_does_not_say_who_it_is(balancer: Balancer) -> None:
    """O4: The balancer replaces every header that names the client."""
    forged = {
        "X-Forwarded-For": "6.6.6.6",
        "X-Forwarded-Proto": "gopher",
        "X-Forwarded-Server": "evil",
        "X-Real-IP": "6.6.6.6",
        "Forwarded": "for=6.6.6.6",
    }
    headers = json.loads(balancer.ask(**forged)[2])["headers"]
    assert {key: value for key, value in headers.items() if "forwarded" in key} == {
        "x-forwarded-for": "127.0.0.1",
        "x-forwarded-proto": "https",
        "x-forwarded-host": "crm.example",
        "x-forwarded-port": str(balancer.https),
    }
    assert "x-real-ip" not in headers


def test_a_sick_server_gets_nothing(balancer: Balancer) -> None:
    """S12: A server whose health check fails gets no request."""
    balancer.applications["s2"].health = 500
    assert wait.until(lambda: not module.servers()["s2"]["healthy"], 10, 0.05)
    assert balancer.names(30) == {"s1": 15, "s3": 15}


def test_a_dead_server_fails_no_request(balancer: Balancer) -> None:
    """S12: No request fails, not even before the health check has noticed."""
    balancer.applications["s3"].shutdown()
    balancer.applications["s3"].server_close()
    for _ in range(10):
        assert balancer.ask(method="POST")[0] == 200


def test_all_sick_is_better_than_no_service(balancer: Balancer) -> None:
    """S11, S12: When a common part such as the database is down, requests wait in the app hosts."""
    for application in balancer.applications.values():
        application.health = 500
    balancer.settle(healthy=False)
    assert balancer.ask()[0] == 200


def test_no_server_at_all_is_said_decently(balancer: Balancer) -> None:
    """S12: Without any server clients get a readable page with status 503."""
    for application in balancer.applications.values():
        application.shutdown()
        application.server_close()
    balancer.settle(healthy=False)
    status, headers, body = balancer.ask()
    assert status == 503 and headers["retry-after"] == "5"
    assert b"One moment, please" in body


def test_what_changes_something_is_sent_once(balancer: Balancer) -> None:
    """S12: A failed GET goes to another server, and a POST does not."""
    assert {balancer.ask("/502")[0] for _ in range(6)} == {200}
    assert Counter(balancer.ask("/502", "POST")[0] for _ in range(6)) == {502: 4, 200: 2}
    sent = [line for application in balancer.applications.values() for line in application.requests]
    assert sent.count("POST /502") == 6


def test_module_drain_and_ready(balancer: Balancer) -> None:
    """S10: The module takes a server out of both backends, and puts it back."""
    module.drain("s2")
    assert module.servers()["s2"]["drained"] and module.servers("crm.any")["s2"]["drained"]
    assert balancer.names(20) == {"s1": 10, "s3": 10}
    module.ready("s2")
    assert module.servers()["s2"]["serving"]


@pytest.mark.parametrize("name", SERVERS)
def test_s10_one_server_is_asked_as_a_client_would(balancer: Balancer, name: str) -> None:
    """S10: A probe through the balancer reaches the new host, and that host answers."""
    url = f"https://127.0.0.1:{balancer.https}/"
    for _ in range(3):
        assert module.answer(name, url, "crm.example") == ""
    assert balancer.applications[name].requests == ["GET /"] * 3
    assert module.answer(name, f"{url}nothing", "crm.example", "sid=1") == ""


def test_s10_each_applications_servers_answer(two: Balancer) -> None:
    """S10: A probe by an application's name never reaches another application's host."""
    url = f"https://127.0.0.1:{two.https}/"
    assert module.answer("w2", url, "shop.example") == ""
    assert module.answer("w2", url, "crm.example") in [
        f"{name} answered instead" for name in SERVERS
    ]


def test_s10_without_tls_too(plain: Balancer) -> None:
    """S10: The probe also works over plain HTTP."""
    assert module.answer("s2", f"http://127.0.0.1:{plain.http}/", "crm.example") == ""


def test_s10_what_is_wrong_is_told(balancer: Balancer) -> None:
    """S10, K5: The probe reports a refused connection, and an answer of another server."""
    free = ports.free()
    assert "refused" in module.answer("s1", f"https://127.0.0.1:{free}/", "crm.example")
    nowhere = f"https://127.0.0.1:{balancer.https}/502"
    assert module.answer("s2", nowhere, "crm.example") == "s1 answered instead"  # in its place


def test_s7_a_client_does_not_choose_its_server(balancer: Balancer) -> None:
    """S7: A client neither chooses its server nor learns which server or application answered."""
    for _ in range(3):
        status, headers, body = balancer.ask(source="127.0.0.2", **{"X-Salina-Server": "s2"})
        assert status == 200 and "x-salina-server" not in headers
        assert "x-salina-server" not in json.loads(body)["headers"]
    asked = {name: len(one.requests) for name, one in balancer.applications.items()}
    assert asked == dict.fromkeys(SERVERS, 1)


def test_module_weight(balancer: Balancer) -> None:
    """S12: The module sets a server's share of the requests."""
    module.weight("s3", 50)
    assert balancer.names(50) == {"s1": 20, "s2": 20, "s3": 10}


def test_load(balancer: Balancer, monkeypatch: pytest.MonkeyPatch) -> None:
    """S12: A slow server gets almost nothing, and its full share when it is fast again."""
    monkeypatch.setattr(load, "SHORTEST", 0.1)
    monkeypatch.setattr(load, "UNNOTICED", 100.0)
    balancer.applications["s3"].delay = 0.5
    threading.Thread(target=load.main, args=[["0.1"]], daemon=True).start()

    def weights() -> list[int]:
        found = module.servers()
        return [int(found[name]["weight"]) for name in SERVERS]

    assert wait.until(lambda: weights()[2] == 1, 20, 0.05)
    assert balancer.names(100)["s3"] <= 1
    balancer.applications["s3"].delay = 0
    assert wait.until(lambda: weights() == [100, 100, 100], 20, 0.05)
    assert balancer.names(30)["s3"] == 10


def test_load_leaves_nothing(balancer: Balancer) -> None:
    """S12: When the daemon ends every server has its full weight again."""
    load.give(load.servers()[1], 1)
    assert module.servers()["s2"]["weight"] == 1
    load.restore()
    assert {server["weight"] for server in module.servers().values()} == {100}
    with pytest.raises(ValueError, match=r"set weight crm/s9 1%: No such server"):
        load.give(replace(load.servers()[1], name="s9"), 1)


def test_module_statistics(balancer: Balancer) -> None:
    """The module returns HAProxy's own statistics."""
    balancer.ask()
    rows = {(row["pxname"], row["svname"]): row for row in module.stats()}
    assert rows["service", "FRONTEND"]["req_tot"] == "1"


def test_module_errors(balancer: Balancer, monkeypatch: pytest.MonkeyPatch) -> None:
    """K5: The module names an unknown server, an unknown backend, a bad weight and a dead
    HAProxy.
    """
    with pytest.raises(CommandExecutionError, match="HAProxy has no server s9"):
        module.drain("s9")
    with pytest.raises(CommandExecutionError, match="no backend nothing"):
        module.servers("nothing")
    with pytest.raises(CommandExecutionError, match="percent: 101 must be from 0 to 100"):
        module.weight("s1", 101)
    monkeypatch.setattr(module, "SOCKET", "/nonexistent")
    with pytest.raises(CommandExecutionError, match="is HAProxy running"):
        module.stats()

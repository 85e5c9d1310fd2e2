"""X5: the edge's rules in a real HAProxy, attacked over IPv4 and IPv6."""

from __future__ import annotations

import base64
import itertools
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from salina.balancer import haproxy as haproxy_socket
from salina.common import wait
from salina.health import probes
from salina_fleet import edge
from salina_fleet.model import settings
from salina_fleet.roles.balancer import BalancerSettings
from tests import fleets, ports
from tests.backend import Application, Headers
from tests.integration.test_haproxy_config import (
    HAPROXY,
    certificate,
    fragment,
    pages,
    visitors,
)

needs_haproxy = pytest.mark.skipif(HAPROXY is None, reason="no haproxy yet: see make integration")
BOTH = pytest.mark.parametrize("family", ["127.0.0.1", "::1"])
WIDE = {"connections": 100, "closed_above": 110, "requests": 100_000, "logins": 1000}


class Log:
    """HAProxy's log, as a syslog daemon gets it."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.lines: list[str] = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        with suppress(OSError):  # the test is over, and has closed the socket
            while data := self.socket.recv(65536):
                self.lines.append(data.decode().strip())

    def reasons(self) -> Counter[str]:
        """How many requests were refused for each reason; servers have lines of the log, too."""
        requests = [line for line in self.lines if '" ' in line]
        return Counter(line.split()[-1] for line in requests if not line.endswith(" -"))


@dataclass
class Edge:
    """A running balancer before an application for each domain, reached at `address`."""

    address: str
    http: int
    https: int
    applications: dict[str, Application]
    log: Log
    control: str
    context: ssl.SSLContext = field(default_factory=ssl._create_unverified_context)

    def connect(self, tls: bool = True, source: str = "", timeout: float = 10) -> socket.socket:
        """Open a connection from a source address, with TLS or to the plain port."""
        port = self.https if tls else self.http
        own = (source, 0) if source else None
        raw = socket.create_connection((self.address, port), timeout, own)
        return self.context.wrap_socket(raw) if tls else raw

    def raw(self, text: str, tls: bool = True, source: str = "") -> str:
        """Send these bytes, and return the whole answer."""
        with self.connect(tls, source) as connection:
            connection.sendall(text.encode())
            found = b""
            while data := connection.recv(65536):
                found += data
            return found.decode()

    def ask(
        self,
        path: str = "/",
        method: str = "GET",
        tls: bool = True,
        source: str = "",
        also: Mapping[str, str] | None = None,
        **own: str,
    ) -> tuple[int, Headers]:
        """Send one request as a browser would; return the status and the headers in lower case."""
        headers = {"Host": "crm.example", **own, **(also or {})}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        if method != "GET":
            lines += "Content-Length: 0\r\n"
        request = f"{method} {path} HTTP/1.1\r\n{lines}Connection: close\r\n\r\n"
        head = self.raw(request, tls, source).partition("\r\n\r\n")[0].split("\r\n")
        pairs = [line.split(": ", 1) for line in head[1:]]
        return int(head[0].split()[1]), [(name.lower(), value) for name, value in pairs]

    def statuses(self, number: int, *arguments: Any, **keywords: Any) -> Counter[int]:
        """The statuses of many equal requests, one after the other."""
        return Counter(self.ask(*arguments, **keywords)[0] for _ in range(number))


def own(pillar: dict[str, Any], **changed: Any) -> dict[str, Any]:
    """Return the pillar's limits with some of them changed."""
    return {**pillar["limits"], **WIDE, "attempts": 10_000, "exempt": ["192.0.2.1"], **changed}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The balancer's certificate and pages."""
    place = tmp_path_factory.mktemp("edge")
    certificate(place)
    pages(place)
    return place


@pytest.fixture
def start(home: Path, tmp_path: Path) -> Iterator[Any]:
    """A function that runs HAProxy with the rendered fragment, until the test is over."""
    with ExitStack() as ends:

        def run(
            address: str = "127.0.0.1",
            definition: str = "",
            fleet: str = "default",
            quick: bool = False,
            tls: bool = True,
            closed: bool = False,
            **limits: Any,
        ) -> Edge:
            pillar = fleets.pillar("lb1", fleet)["balancer"]
            names = [one["name"] for one in pillar["applications"]]
            applications = {name: Application(home) for name in names}
            log, plain, secure = Log(), ports.free(), ports.free()
            servers = {
                name: []
                if closed
                else [
                    {
                        "name": f"{name.replace('_', '-')}1",  # as in its certificate
                        "address": "127.0.0.1",
                        "port": one.server_port,
                    }
                ]
                for name, one in applications.items()
            }
            kept = dict(pillar["settings"])
            kept |= {"client": "2s", "http_request": "1s"} if quick else {}
            edges = {}
            if definition:
                edges["crm"] = edge.application("crm", fleets.definition(definition))
            text = fragment(
                fleet, servers=servers, address=address, http=plain, https=secure, tls=tls,
                settings=kept, limits=own(pillar, **limits), edges=edges,
            )  # fmt: skip
            for path in ("/etc/salina/tls", "/etc/haproxy/errors"):
                text = text.replace(path, str(home))
            control = (
                f"global\n    log 127.0.0.1:{log.socket.getsockname()[1]} local0\n"
                "    ssl-load-extra-files key\n    ssl-load-extra-del-ext\n"
                f"    stats socket {tmp_path}/admin.sock mode 600 level admin\n"
            )
            file = tmp_path / "haproxy.cfg"
            file.write_text(control + visitors(fleet) + text)
            assert HAPROXY
            process = subprocess.Popen([HAPROXY, "-db", "-f", file])
            ends.callback(process.wait, 10)
            ends.callback(process.kill)
            ends.enter_context(closing(log.socket))
            found = Edge(address, plain, secure, applications, log, f"{tmp_path}/admin.sock")

            def answers() -> bool:
                with socket.socket(socket.AF_UNIX) as control:  # which counts for no client
                    return control.connect_ex(found.control) == 0

            assert wait.until(lambda: process.poll() is not None or answers(), 10, 0.05)
            assert process.poll() is None
            for one in applications.values():
                ends.callback(one.server_close)
                ends.callback(one.shutdown)
            return found

        yield run


# An application without hosts


@needs_haproxy
@BOTH
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_s1_clients_of_an_application_without_hosts_get_a_page(
    start: Any, family: str, method: str
) -> None:
    """S1, S10: 503 at once, with the time after which they may ask again; plain HTTP redirects."""
    here: Edge = start(family, closed=True)
    status, headers = here.ask("/web/login", method)
    found = dict(headers)
    assert (status, found["retry-after"], found["cache-control"]) == (503, "60", "no-store")
    assert "strict-transport-security" in found and "x-request-id" in found
    assert found["content-type"].startswith("text/html")
    assert "Closed for maintenance" in here.raw("GET / HTTP/1.0\r\nHost: crm.example\r\n\r\n")
    assert here.ask("/", tls=False)[0] == 301
    assert here.ask("/", Host="foreign.example")[0] == 421
    assert here.ask("/a/../b")[0] == 400
    [probed] = probes.CHECKS["closed"](here.address, here.https, True, "crm.example")
    assert probed[:2] == ("closed crm.example", True) and probed[3:] == (True,)


@needs_haproxy
def test_s1_a_page_of_maintenance_that_is_missing_is_a_fault(start: Any) -> None:
    """S1: Some balancer still has the hosts, so its states were not applied."""
    here: Edge = start()
    [probed] = probes.CHECKS["closed"](here.address, here.https, True, "crm.example")
    assert probed[:2] == ("closed crm.example", False)
    assert "although its pool has no members" in probed[2]


# Limits


@needs_haproxy
@BOTH
def test_x5_one_client_cannot_hold_all_connections(start: Any, family: str) -> None:
    """X5: Idle connections of one client stop at its limit; another client is served."""
    here: Edge = start(family, connections=10, closed_above=12)
    held = []
    with ExitStack() as open_ones:
        closed = 0
        for _ in range(40):
            try:
                one = open_ones.enter_context(here.connect(tls=False))
                one.settimeout(0.2)
                closed += one.recv(1) == b""
            except TimeoutError:
                held.append(one)
            except ConnectionResetError:
                closed += 1
        assert len(held) <= 12 and closed >= 28
        # HAProxy logs none of those that it closed, but counts them
        stats = haproxy_socket.statistics(haproxy_socket.ask("show stat", here.control))
        (row,) = [one for one in stats if (one["pxname"], one["svname"]) == ("service", "FRONTEND")]
        assert int(row["dcon"]) == closed
        key = "::ffff:127.0.0.1" if family == "127.0.0.1" else "::"
        assert f"key={key} " in haproxy_socket.ask("show table service", here.control)
        # the last ones that are held get an answer, and a line of the log
        held[-1].settimeout(5)
        held[-1].sendall(b"GET / HTTP/1.1\r\nHost: crm.example\r\n\r\n")
        assert held[-1].recv(4096).startswith(b"HTTP/1.1 429 ")
        assert wait.until(lambda: here.log.reasons() == {"connections": 1}, 5, 0.05)
        # those within the limit are still served
        held[0].settimeout(5)
        held[0].sendall(b"GET / HTTP/1.1\r\nHost: crm.example\r\n\r\n")
        assert held[0].recv(4096).startswith(b"HTTP/1.1 301 ")
        if family == "127.0.0.1":
            assert here.ask(source="127.0.0.2")[0] == 200

    def served() -> bool:
        with suppress(OSError):
            return here.ask()[0] == 200
        return False

    assert wait.until(served, 5, 0.1)


@needs_haproxy
@pytest.mark.parametrize("tls", [False, True])
def test_x5_an_idle_connection_ends_soon(start: Any, tls: bool) -> None:
    """X5: A connection without a TLS handshake or without a request is closed."""
    here: Edge = start(quick=True)
    port = here.https if tls else here.http
    with socket.create_connection(("127.0.0.1", port), 10) as idle:
        began = time.monotonic()
        while idle.recv(4096):
            pass
        assert time.monotonic() - began < 5
    with here.connect() as idle:  # after its handshake
        assert idle.recv(4096)[:12] in (b"", b"HTTP/1.1 408")


@needs_haproxy
def test_x5_long_polls_and_websockets_outlive_the_silence(start: Any) -> None:
    """X5: A client that waits for an answer, or has a websocket, may be silent for longer."""
    here: Edge = start(quick=True)
    with here.connect() as socket_:
        socket_.sendall(
            b"GET /websocket HTTP/1.1\r\nHost: crm.example\r\nConnection: Upgrade\r\n"
            b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        assert socket_.recv(4096).startswith(b"HTTP/1.1 101 ")
        here.applications["crm"].delay = 4  # the websocket is as silent meanwhile
        assert here.ask("/longpolling/poll", "POST")[0] == 200
        socket_.sendall(b"still here\n")
        assert socket_.recv(4096) == b"still here\n"


@needs_haproxy
@BOTH
def test_x5_too_many_requests_get_429(start: Any, family: str) -> None:
    """X5: Over the limit a client gets 429 with Retry-After and one log line; others do not."""
    here: Edge = start(family, requests=20)
    found = here.statuses(15)
    assert found == {200: 15}
    with here.connect() as one:  # on one connection, since connections count as well
        one.sendall(b"GET / HTTP/1.1\r\nHost: crm.example\r\n\r\n" * 10)
        said = b""
        while said.count(b"HTTP/1.1 ") < 10:
            data = one.recv(65536)
            assert data, said
            said += data
    assert (said.count(b"HTTP/1.1 200"), said.count(b"HTTP/1.1 429")) == (5, 5)
    assert said.lower().count(b"retry-after: 10\r\n") == 5 and b"Too many requests" in said
    assert wait.until(lambda: here.log.reasons() == {"requests": 5}, 5, 0.05)
    if family == "127.0.0.1":
        assert here.ask(source="127.0.0.2")[0] == 200


@needs_haproxy
def test_x5_connections_without_requests_are_counted_too(start: Any) -> None:
    """X5: A client that opens and closes connections without end is not accepted any more."""
    here: Edge = start(requests=20)

    def refused() -> bool:
        try:
            with here.connect(source="127.0.0.3"):
                return False
        except OSError:
            return True

    assert [refused() for _ in range(30)].count(True) == 10
    assert here.ask()[0] == 200


FAILED: dict[str, tuple[str, int, Headers]] = {
    "odoo-14.0": ("/web/login", 200, []),
    "odoo-19.0": ("/web/session/authenticate", 200, []),
    "sample-crm": ("/login", 403, []),
    "crm-2017": ("/session", 302, [("Location", "/reload")]),
}
SUCCEEDED: dict[str, tuple[str, int, Headers]] = {
    "odoo-14.0": ("/web/login", 303, [("Location", "https://crm.example/web")]),
    "sample-crm": ("/login", 302, [("Location", "/")]),
    "crm-2017": ("/session", 302, [("Location", "/goback")]),
}


@needs_haproxy
@BOTH
@pytest.mark.parametrize("definition", FAILED)
def test_x5_wrong_passwords_are_limited(start: Any, definition: str, family: str) -> None:
    """X5: After the limit of failed logins a client cannot try another one, and still browses."""
    here: Edge = start(family, definition, logins=5)
    path, status, headers = FAILED[definition]
    application = here.applications["crm"]
    application.status, application.headers = status, headers
    assert here.statuses(8, path, "POST") == {status: 5, 429: 3}
    spelled = path.replace("o", "%6f").replace("/", "//", 2)[1:].upper().replace("%6F", "%6f")
    for trick in (f"{path}?x=1", f"{path}/", spelled):
        assert here.ask(trick, "POST")[0] == 429, trick
    answer = dict(here.ask(path, "POST")[1])
    assert answer["retry-after"] == "60"
    assert wait.until(lambda: here.log.reasons() == {"logins": 7}, 5, 0.05)
    application.status, application.headers = 200, []
    assert here.statuses(3, path) == here.statuses(3, "/web", "POST") == {200: 3}
    if family == "127.0.0.1":
        assert here.ask(path, "POST", source="127.0.0.2")[0] == 200


@needs_haproxy
@pytest.mark.parametrize("definition", SUCCEEDED)
def test_x5_right_passwords_are_not_counted_as_wrong(start: Any, definition: str) -> None:
    """X5: Many users behind one address log in; only far too many attempts are refused."""
    here: Edge = start(definition=definition, logins=2, attempts=20)
    path, status, headers = SUCCEEDED[definition]
    application = here.applications["crm"]
    application.status, application.headers = status, headers
    assert here.statuses(25, path, "POST") == {status: 20, 429: 5}


@needs_haproxy
def test_x5_passwords_sent_at_once_are_limited(start: Any) -> None:
    """X5: Attempts count before their answers arrive, so many at once do not slip through."""
    here: Edge = start(logins=2, attempts=20)
    here.applications["crm"].delay = 1
    found: list[int] = []

    def attempt() -> None:
        found.append(here.ask("/web/login", "POST")[0])

    threads = [threading.Thread(target=attempt) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    answers = Counter(found)
    assert {*answers} == {200, 429}
    assert 20 <= answers[200] <= 23  # HAProxy forgets an attempt every three seconds


@needs_haproxy
def test_x5_exempt_networks_have_no_limits(start: Any) -> None:
    """X5: No limit applies to an exempt network."""
    limits = {"connections": 2, "closed_above": 3, "requests": 10, "logins": 1, "attempts": 1}
    here: Edge = start(exempt=["127.0.0.1", "127.0.5.0/24"], **limits)
    assert here.statuses(30, "/web/login", "POST", source="127.0.5.9") == {200: 30}
    with ExitStack() as held:
        for _ in range(10):
            held.enter_context(here.connect(source="127.0.5.9"))
        assert here.ask(source="127.0.5.9")[0] == 200
    assert here.statuses(3, "/web/login", "POST", source="127.0.6.9") == {200: 1, 429: 2}


def test_x5_the_balancer_has_no_limits_for_itself() -> None:
    """X5: The balancer's own address is exempt, since it probes app hosts through the service."""
    for name in ("default", "ipv6"):
        (host,) = fleets.fleet(name).having("balancer")
        balancer = fleets.pillar(host.id, name)["balancer"]
        assert balancer["limits"]["exempt"] == [balancer["address"]]
        assert f"acl exempt-network src {balancer['address']}\n" in fragment(**balancer)


def test_x5_a_client_of_ipv6_is_its_network() -> None:
    """X5: The 2^64 addresses of an IPv6 client count as one."""
    assert "tcp-request connection track-sc0 src,ipmask(32,64) unless" in fragment()


def test_x5_one_address_never_gets_more_than_half() -> None:
    """X5: A limit that lets one client fill the balancer is refused."""
    with pytest.raises(settings.SettingsError) as caught:
        settings.parse({"balancer": {"connections": 2000}})
    (fault,) = caught.value.faults
    assert fault == (
        "balancer.yaml: connections: 2000 with a tenth for answers is more than 2048, which is "
        "half of maxconn: 4096; lower it, or raise maxconn"
    )
    assert settings.parse({"balancer": {"connections": 1861}})[BalancerSettings].connections == 1861


# Names


@needs_haproxy
@BOTH
def test_x5_foreign_names_are_misdirected(start: Any, family: str) -> None:
    """X5: 421 and a log line for a name that no application has, over HTTP and HTTPS."""
    here: Edge = start(family)
    names = ("evil.test", "crm.example.evil.test", "xcrm.example", "127.0.0.1", "[::1]", "")
    for host in (*names, "crm.example."):
        assert here.ask(Host=host)[0] == 421, host
        found, headers = here.ask(tls=False, Host=host)
        assert found == 421 and "location" not in dict(headers), host
    assert not here.applications["crm"].requests
    assert wait.until(lambda: here.log.reasons() == {"host": 2 * len(names) + 2}, 5, 0.05)


@needs_haproxy
@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl, which speaks HTTP/2")
def test_x5_a_refusal_with_content_arrives_over_http_2(start: Any) -> None:
    """X5: HTTP/2 would end the request without an answer if its content came too late."""
    here: Edge = start()
    shown = ["--output", "/dev/null", "--write-out", "%{http_code} %{http_version}"]
    for number in range(5):
        asked = ["--header", f"Host: evil{number}.test", f"https://127.0.0.1:{here.https}/"]
        argv = ["curl", "--silent", "--insecure", "--http2", "--data", "{}", *shown, *asked]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (0, "421 2")


HEADS = (
    ("GET / HTTP/1.0\r\n", 421),
    ("GET / HTTP/1.0\r\nHost: crm.example\r\n", 200),
    ("GET http://evil.test/ HTTP/1.1\r\nHost: crm.example\r\nConnection: close\r\n", 400),
    ("GET http://evil.test/ HTTP/1.1\r\nHost: evil.test\r\nConnection: close\r\n", 421),
    ("GET / HTTP/1.1\r\nHost: crm.example\r\nHost: evil.test\r\nConnection: close\r\n", 400),
    (
        "GET / HTTP/1.1\r\nHost: evil.test\r\nX-Forwarded-Host: crm.example\r\n"
        "Connection: close\r\n",
        421,
    ),
)


@needs_haproxy
def test_x5_tricks_with_names(start: Any) -> None:
    """X5: Neither an absolute address nor a second name nor an old protocol gets around it."""
    here: Edge = start()
    for head, wanted in HEADS:
        assert here.raw(f"{head}\r\n").split()[1] == str(wanted), head


@needs_haproxy
@BOTH
def test_x5_an_application_is_reached_by_its_name(start: Any, family: str) -> None:
    """X5: Capital letters and a port do not matter, and a redirect names the domain itself."""
    here: Edge = start(family)
    for host in ("crm.example", "CRM.Example", "crm.example:443"):
        assert here.ask(Host=host)[0] == 200, host
        found, headers = here.ask("/web?debug=1", tls=False, Host=host)
        location = f"https://crm.example:{here.https}/web?debug=1"
        assert (found, dict(headers)["location"]) == (301, location), host


# A copy for trials

VISITOR = "127.0.0.9"
"""A client's address; the balancer itself has 127.0.0.1."""


def basic(login: str) -> dict[str, str]:
    """The header with which a browser sends a user and a password."""
    return {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}


PASSWORD = "canary-app-crm_staging-visitors"
WRONG = [
    *("", ":", "crm_staging:", f"crm:{PASSWORD}", f":{PASSWORD}", f"crm_staging:{PASSWORD}x"),
    *(f"crm_staging:{PASSWORD[:-1]}", f"crm_staging:{PASSWORD.upper()}"),
]


@needs_haproxy
def test_x10_a_copy_is_behind_a_password(start: Any) -> None:
    """O1, X10: Without it no request reaches the application, and no password does in any case."""
    here: Edge = start(fleet="staging")
    copy = here.applications["crm_staging"]
    for path in ("/", "/web/login", "/websocket", "/web/health"):
        status, headers = here.ask(path, source=VISITOR, Host="crm-staging.example")
        assert (status, dict(headers)["www-authenticate"]) == (401, 'Basic realm="crm_staging"')
    for login in WRONG:
        given = {"Host": "crm-staging.example", **basic(login)}
        assert here.ask(source=VISITOR, also=given)[0] == 401, login
    bearer = {"Authorization": f"Bearer {PASSWORD}"}
    assert here.ask(source=VISITOR, Host="crm-staging.example", also=bearer)[0] == 401
    assert copy.requests == []
    right = basic(f"crm_staging:{PASSWORD}")
    assert here.ask(source=VISITOR, Host="CRM-Staging.example", also=right)[0] == 200
    [(_, headers)] = copy.requests
    assert "authorization" not in headers


@needs_haproxy
def test_x10_no_browser_sends_the_password_in_plain_text(start: Any) -> None:
    """O1, X10: It is asked for after the redirect to HTTPS."""
    here: Edge = start(fleet="staging")
    status, headers = here.ask("/web", tls=False, source=VISITOR, Host="crm-staging.example")
    assert (status, dict(headers)["location"].partition(":")[0]) == (301, "https")


@needs_haproxy
def test_o1_the_balancer_itself_and_the_original_need_no_password(start: Any) -> None:
    """O1: A change asks for the pages of the copy. The original may have logins of its own."""
    here: Edge = start(fleet="staging")
    assert here.ask(Host="crm-staging.example")[0] == 200
    assert here.ask(source=VISITOR)[0] == 200
    assert here.ask(source=VISITOR, also=basic("me:mine"))[0] == 200
    original = here.applications["crm"].requests
    assert [headers.get("authorization") for _, headers in original] == [
        *(None, basic("me:mine")["Authorization"])
    ]


# Paths


@needs_haproxy
def test_x5_paths_that_no_browser_sends_are_refused(start: Any) -> None:
    """X5: Dots and a doubled first slash, which nginx and applications read differently: 400."""
    here: Edge = start()
    bad = ("//web/database", "//x/web/database", "/a/./x", "/a/%2e%2e/x", "/a/..", "/a%2f../b")
    for path in bad:
        assert here.ask(path)[0] == 400, path
    assert not here.applications["crm"].requests
    assert wait.until(lambda: here.log.reasons() == {"path": len(bad)}, 5, 0.05)
    for good in ("/web/a.b", "/.well-known/x", "/web/...", "/web//x", "/web/content/a..b?x=/../"):
        assert here.ask(good)[0] == 200, good


# Sessions


ADDRESSES = (
    ("/web?session_id=stolen", "/web?"),
    ("/web?a=1&session_id=stolen&b=2", "/web?a=1&b=2"),
    ("/web?session_id=a&session_id=b&c=3", "/web?&c=3"),
    ("/web?session%5Fid=stolen", "/web?"),
    ("/web?a=1&%73e%73sion%5fid=stolen", "/web?a=1"),
    ("/web?session_id", "/web?"),
    ("/web?my_session_id=1&session_id2=2", "/web?my_session_id=1&session_id2=2"),
    ("/web?redirect=%2Fweb%3Fsession_id%3D1", "/web?redirect=%2Fweb%3Fsession_id%3D1"),
    ("/web?a=1", "/web?a=1"),
    ("/web", "/web"),
)


@needs_haproxy
def test_x5_a_session_comes_in_its_cookie_only(start: Any) -> None:
    """X5: The balancer removes the session from the address and from headers, not the cookie."""
    here: Edge = start()
    names = {"X-Openerp-Session-Id": "stolen", "Cookie": "session_id=own"}
    for given, _ in ADDRESSES:
        assert here.ask(given, also=names)[0] == 200, given
    found = here.applications["crm"].requests
    assert [path for path, _ in found] == [passed for _, passed in ADDRESSES]
    for _, headers in found:
        assert headers["cookie"] == "session_id=own" and "x-openerp-session-id" not in headers


@needs_haproxy
def test_x5_another_application_keeps_its_parameters(start: Any) -> None:
    """X5: What Odoo does not get, a Node application beside it does."""
    here: Edge = start(fleet="two-applications")
    for name in ("crm", "shop"):
        assert here.ask("/x?session_id=1", Host=f"{name}.example")[0] == 200
    found = {name: one.requests[0][0] for name, one in here.applications.items()}
    assert found == {"crm": "/x?", "shop": "/x?session_id=1"}


COOKIES = {
    "session_id=a; Path=/": "session_id=a; Path=/; HttpOnly; SameSite=Lax; Secure",
    "session_id=a; httponly; secure; samesite=strict": (
        "session_id=a; httponly; secure; samesite=strict"
    ),
    "tz=Europe/Madrid; Path=/": "tz=Europe/Madrid; Path=/; SameSite=Lax; Secure",
    "a=secure; Expires=Wed, 21 Oct 2026 07:28:00 GMT": (
        "a=secure; Expires=Wed, 21 Oct 2026 07:28:00 GMT; SameSite=Lax; Secure"
    ),
    "b=1; SameSite=None; Secure": "b=1; SameSite=None; Secure",
    "c=samesite": "c=samesite; SameSite=Lax; Secure",
}


@needs_haproxy
def test_x5_cookies_are_protected(start: Any) -> None:
    """X5: Every cookie gets what the application did not say, and only the session HttpOnly."""
    here: Edge = start()
    here.applications["crm"].headers = [("Set-Cookie", cookie) for cookie in COOKIES]
    found = [value for name, value in here.ask()[1] if name == "set-cookie"]
    assert found == [*COOKIES.values()]


@needs_haproxy
def test_x5_without_tls_cookies_are_not_secure(start: Any) -> None:
    """X5: A browser would not send a Secure cookie over plain HTTP."""
    here: Edge = start(tls=False)
    here.applications["crm"].headers = [("Set-Cookie", "session_id=a")]
    assert dict(here.ask(tls=False)[1])["set-cookie"] == "session_id=a; HttpOnly; SameSite=Lax"


# Headers


@needs_haproxy
def test_x5_every_answer_has_the_headers(start: Any) -> None:
    """X5: Answers of the application, redirects and the balancer's own errors have them all."""
    here: Edge = start()
    wanted = {name.lower(): value for name, value in edge.HEADERS.items()}
    here.applications["crm"].headers = [("Server", "Werkzeug/1.0"), ("X-Powered-By", "Express")]
    answers = {
        200: here.ask(),
        301: here.ask(tls=False),
        400: here.ask("//x"),
        421: here.ask(Host="evil.test"),
    }
    here.applications["crm"].shutdown()
    here.applications["crm"].server_close()
    answers[503] = here.ask()
    for number, (found, headers) in answers.items():
        assert found == number
        given = dict(headers)
        assert wanted.items() <= given.items(), number
        assert not {"server", "x-powered-by"} & given.keys(), number


@needs_haproxy
def test_x5_the_applications_own_headers_stay(start: Any) -> None:
    """X5: The balancer adds a header only where the application gave none."""
    here: Edge = start()
    own = {"x-frame-options": "DENY", "content-security-policy": "default-src 'self'"}
    here.applications["crm"].headers = [*own.items()]
    headers = here.ask()[1]
    assert own.items() <= dict(headers).items()
    assert Counter(name for name, _ in headers)["x-frame-options"] == 1
    assert dict(headers)["x-content-type-options"] == "nosniff"


def test_x5_a_definition_has_exceptions() -> None:
    """X5: An application has another value, a further header, or none."""
    own = {"x-frame-options": None, "Referrer-Policy": "no-referrer", "Permissions-Policy": "a=()"}
    assert {one["name"]: one["value"] for one in edge.headers(own)} == {
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Content-Security-Policy": "frame-ancestors 'self'",
        "Permissions-Policy": "a=()",
    }


UPLOADS = {
    "odoo-14.0": ["/web/content/7", "/web/image/7/a.svg", "/WEB//%63ontent?id=7"],
    "sample-crm": ["/uploads/a.html", "/%75ploads/a.svg"],
}


def test_x2_every_definition_names_the_uploads() -> None:
    """X2: The definitions of one kind of application name the same paths."""
    for name, paths in (("odoo-19.0", "odoo-14.0"), ("crm-2017", "sample-crm")):
        found, same = (fleets.definition(one)["user_files"] for one in (name, paths))
        assert found == same != []


@needs_haproxy
@pytest.mark.parametrize("definition", UPLOADS)
def test_x2_a_browser_runs_nothing_in_an_upload(start: Any, definition: str) -> None:
    """X2: A page is stored and not shown, and no script of it runs, whatever the application
    says. Images are shown, and the application's own pages stay as they are.
    """
    here: Edge = start(definition=definition)
    application = here.applications["crm"]
    pages = ("text/html; charset=utf-8", "image/svg+xml", "application/xml")
    dispositions = {
        "": "attachment",
        "inline; filename=a.html": "attachment; filename=a.html",
        "attachment; filename=a.html": "attachment; filename=a.html",
    }
    for path, page, own in itertools.product(UPLOADS[definition], pages, dispositions):
        application.headers = [("Content-Type", page), ("Content-Security-Policy", "script-src *")]
        application.headers += [("Content-Disposition", own)] if own else []
        headers = here.ask(path)[1]
        found = dict(headers)
        assert found["content-security-policy"].startswith("default-src 'none';")
        assert Counter(name for name, _ in headers)["content-security-policy"] == 1
        assert found["content-disposition"] == dispositions[own]
        assert found["x-content-type-options"] == "nosniff"
    application.headers = [("Content-Type", "image/png")]
    assert "content-disposition" not in dict(here.ask(UPLOADS[definition][0])[1])
    application.headers = [("Content-Type", "text/html")]
    for path in ("/", "/web", "/web/binary/upload_attachment", "/web/contents", "/upload"):
        found = dict(here.ask(path)[1])
        assert "content-disposition" not in found
        assert found["content-security-policy"] == "frame-ancestors 'self'"


# The id of a request


@needs_haproxy
def test_s13_a_request_has_one_id_that_no_client_chooses(start: Any) -> None:
    """S13: The application, the log and the client see the same id; a client's own is replaced."""
    here: Edge = start()
    forged = "00000000-0000-4000-8000-000000000000"
    ids = []
    for path in ("/one", "/two", "//refused"):
        _, headers = here.ask(path, also={"X-Request-ID": forged, "x-request-id": forged})
        ids += [value for name, value in headers if name == "x-request-id"]
    assert len({*ids}) == len(ids) == 3 and forged not in ids
    assert all(re.fullmatch(r"[0-9a-f-]{36}", one) for one in ids)
    seen = [headers["x-request-id"] for _, headers in here.applications["crm"].requests]
    assert seen == ids[:2]
    logged = wait.until(lambda: [line for line in here.log.lines if ids[2] in line], 5)
    assert logged and logged[0].endswith(" path")
    assert [sum(one in line for line in here.log.lines) for one in ids] == [1, 1, 1]

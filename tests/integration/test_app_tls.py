"""X7: a real HAProxy and a real nginx with an app host's configuration, and TLS between them."""

from __future__ import annotations

import http.client
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from salina.balancer import app_hosts, haproxy
from salina.common import https, wait
from salina.common.https import Identity
from salina.verify import evidence
from salina.verify.evidence import Seen
from tests import fleets, nginx, ports
from tests.authority import Authority
from tests.backend import Application
from tests.integration.test_haproxy_config import HAPROXY, certificate, fragment, pages
from tests.loading import load, states
from tests.render.minion import Minion

pytestmark = pytest.mark.skipif(
    HAPROXY is None or nginx.program() is None, reason="no haproxy or nginx: see make integration"
)
FILES = fleets.REPOSITORY / "salt/haproxy/files"
APPLICATIONS = ["odoo-14.0", "sample-crm"]


class AppHost(NamedTuple):
    """An app host on loopback: its ports, its application, its agent, and its CA."""

    port: int
    plain: int
    application: Application
    agent: Application
    authority: Authority

    def status(self, caller: Identity | None, host: str = "crm.example") -> int:
        """Return the status of an answer over TLS."""
        context = ssl.create_default_context(cafile=self.authority.folder / "ca.crt")
        context.check_hostname = False
        if caller:
            context.load_cert_chain(caller.certificate, caller.key)
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self.port, context=context, timeout=10
        )
        connection.request("GET", "/web", headers={"Host": host})
        found = connection.getresponse().status
        connection.close()
        return found


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Any]:
    """A function that runs nginx with an app host's configuration, and what is behind it."""
    with ExitStack() as ends:

        def run(name: str = "odoo-14.0") -> AppHost:
            place = tmp_path / "s1"
            place.mkdir()
            authority = Authority(place)
            authority.issue("web", "s1")
            pillar = fleets.pillar("s1", application=name)
            application, agent = Application(), Application()
            for one in (application, agent):
                ends.callback(one.server_close)
                ends.callback(one.shutdown)
            definition, port, plain = pillar["app"]["definition"], ports.free(), ports.free()
            pillar["app"] |= {"address": "127.0.0.1", "port": port, "local_port": plain}
            pillar["app"] |= {"health_port": agent.server_port}
            pillar["app"]["balancers"] = [{"name": "lb1", "address": "127.0.0.1"}]
            definition |= {"port": application.server_port}
            if definition["live"]:
                definition["live"] = {**definition["live"], "port": application.server_port}
            text = dict(Minion("s1", pillar).files)["/etc/nginx/nginx.conf"]
            ends.enter_context(nginx.running(text, place, plain))
            return AppHost(port, plain, application, agent, authority)

        yield run


class Balancer(NamedTuple):
    """HAProxy on loopback: its port for clients, its socket, and its directory."""

    port: int
    home: Path

    def ask(self, path: str = "/web", host: str = "crm.example") -> int:
        """Return the status of a client's request."""
        context = ssl._create_unverified_context()
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self.port, context=context, timeout=10
        )
        connection.request("GET", path, headers={"Host": host})
        found = connection.getresponse().status
        connection.close()
        return found

    def tell(self, command: str) -> str:
        """Return HAProxy's answer to a command."""
        return haproxy.ask(command, str(self.home / "admin.sock"))

    def server(self) -> haproxy.Server:
        """Return the app host as HAProxy sees it."""
        found = haproxy.servers(self.tell("show stat"), self.tell("show servers state"))
        return haproxy.app_hosts(found)[0]


@pytest.fixture
def balancer(tmp_path: Path) -> Iterator[Any]:
    """A function that runs HAProxy with the rendered fragment before an app host."""
    with ExitStack() as ends:

        def run(behind: AppHost, state: str = "") -> Balancer:
            home = tmp_path / "lb1"
            home.mkdir()
            certificate(home)
            pages(home)
            behind.authority.issue("balancer", "lb1", use="client")
            for file in ("ca.crt", "balancer.crt", "balancer.key"):
                shutil.copy(behind.authority.folder / file, home / file)
            port = ports.free()
            servers = {"crm": [{"name": "s1", "address": "127.0.0.1", "port": behind.port}]}
            quick = {"inter": "200ms", "fastinter": "200ms", "slowstart": "0s", "rise": 1}
            text = fragment(
                servers=servers,
                address="127.0.0.1",
                http=ports.free(),
                https=port,
                settings={**fleets.pillar("lb1")["balancer"]["settings"], **quick},
            )
            for path in ("/etc/salina/tls", "/etc/haproxy/errors"):
                text = text.replace(path, str(home))
            control = (
                "global\n    ssl-load-extra-files key\n    ssl-load-extra-del-ext\n"
                f"    stats socket {home}/admin.sock mode 600 level admin\n"
                f"    server-state-file {home}/servers-state\n"
            )
            (home / "haproxy.cfg").write_text(control + text)
            if state:
                save(home, state)
            assert HAPROXY
            process = subprocess.Popen([HAPROXY, "-db", "-f", home / "haproxy.cfg"])
            ends.callback(process.wait, 10)
            ends.callback(process.terminate)
            found = Balancer(port, home)

            def answers() -> bool:
                with socket.socket(socket.AF_UNIX) as control:
                    return control.connect_ex(str(home / "admin.sock")) == 0

            assert wait.until(lambda: process.poll() is not None or answers(), 10, 0.05)
            return found

        yield run


@pytest.mark.parametrize("application", APPLICATIONS)
def test_x7_requests_and_checks_cross_in_tls(host: Any, balancer: Any, application: str) -> None:
    """X7: A request reaches the application, and a check the agent, over the same TLS port.

    O4: The application hears who the client is, and that it uses HTTPS.
    """
    behind: AppHost = host(application)
    before: Balancer = balancer(behind)
    assert wait.until(lambda: before.server().serving, 10, 0.05), before.server()
    assert before.server().port == behind.port
    assert before.ask() == 200
    ((path, headers),) = behind.application.requests
    assert path == "/web" and headers["x-forwarded-proto"] == "https"
    assert headers["x-real-ip"] == "127.0.0.1" and headers["host"] == "crm.example"
    assert not behind.agent.requests
    assert before.ask(host="health.invalid") == 421  # no client asks the agent
    assert not behind.agent.requests


def test_o7_websockets_cross_in_tls(host: Any, balancer: Any) -> None:
    """O7, X7: A connection that is upgraded passes HAProxy and nginx in both directions."""
    behind: AppHost = host()
    before: Balancer = balancer(behind)
    assert wait.until(lambda: before.server().serving, 10, 0.05)
    context = ssl._create_unverified_context()
    with (
        socket.create_connection(("127.0.0.1", before.port), 10) as plain,
        context.wrap_socket(plain) as secure,
    ):
        secure.sendall(
            b"GET /longpolling/x HTTP/1.1\r\nHost: crm.example\r\nConnection: Upgrade\r\n"
            b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        reader = secure.makefile("rb")
        assert b" 101 " in reader.readline()
        while reader.readline().strip():
            pass
        secure.sendall(b"hello\n")
        assert reader.readline() == b"hello\n"


def test_o8_while_the_application_is_away_clients_are_asked_to_come_again(
    host: Any, balancer: Any
) -> None:
    """O8: They get 503 with Retry-After through HAProxy. The application's own answers pass."""
    behind: AppHost = host()
    before: Balancer = balancer(behind)
    assert wait.until(lambda: before.server().serving, 10, 0.05), before.server()
    context = ssl._create_unverified_context()

    def asked(method: str) -> tuple[int, str | None, bytes]:
        connection = http.client.HTTPSConnection(
            "127.0.0.1", before.port, context=context, timeout=10
        )
        connection.request(method, "/web/x.js", b"x" * 9000, {"Host": "crm.example"})
        answer = connection.getresponse()
        page = answer.read()
        connection.close()
        return answer.status, answer.headers.get("Retry-After"), page

    behind.application.status = 503  # by the application itself, and none of nginx's business
    assert asked("POST") == (503, None, b"ok")
    behind.agent.status = 503
    assert wait.until(lambda: not before.server().healthy, 10, 0.05), before.server()
    behind.application.shutdown()
    behind.application.server_close()
    for method in ("GET", "POST"):
        status, again, page = asked(method)
        assert (status, again) == (503, "5") and b"tries again by itself" in page, method


def test_x7_nobody_else_of_the_fleet_reaches_the_application(host: Any) -> None:
    """X7: nginx refuses a client without a certificate, and one with another host's or purpose."""
    behind: AppHost = host()
    own = behind.authority
    assert behind.status(own.issue("lb1", "lb1", use="client")) == 200
    for caller in (
        None,
        own.issue("s2", "s2", use="client"),
        own.issue("server", "lb1", use="server"),
        own.issue("old", "lb1", use="client", expired=True),
        own.issue("more", "lb10", use="client"),
    ):
        for name in ("crm.example", "health.invalid", "anything.example"):
            assert behind.status(caller, name) in (400, 403), caller
    elsewhere = own.folder / "elsewhere"
    elsewhere.mkdir()
    foreign = Authority(elsewhere).issue("lb1", "lb1", use="client")
    assert behind.status(foreign) == 400
    assert len(behind.application.requests) == 1 and not behind.agent.requests


@pytest.mark.parametrize("wrong", ["another host's", "expired", "a client's", "another CA's"])
def test_x7_a_wrong_certificate_takes_a_host_out(host: Any, balancer: Any, wrong: str) -> None:
    """X7: HAProxy sends nothing to a host that does not prove its id, neither request nor check."""
    behind: AppHost = host()
    before: Balancer = balancer(behind)
    assert wait.until(lambda: before.server().serving, 10, 0.05)
    own = behind.authority
    if wrong == "another CA's":
        elsewhere = own.folder / "elsewhere"
        elsewhere.mkdir()
        Authority(elsewhere).issue("web", "s1")
        for file in ("web.crt", "web.key"):
            shutil.copy(elsewhere / file, own.folder / file)
    else:
        name = "s2" if wrong == "another host's" else "s1"
        use = "client" if wrong == "a client's" else "server"
        own.issue("web", name, use=use, expired=wrong == "expired")
    reload(own.folder)
    assert wait.until(lambda: not before.server().healthy, 10, 0.05), before.server()
    assert before.server().check.startswith("L6RSP"), before.server()
    count = len(behind.application.requests)
    assert before.ask() == 503
    assert len(behind.application.requests) == count
    own.issue("web", "s1")
    reload(own.folder)
    assert wait.until(lambda: before.server().serving, 10, 0.05), before.server()
    assert before.ask() == 200


def reload(place: Path) -> None:
    """Let nginx read its files again."""
    process = (place / "nginx.pid").read_text().strip()
    subprocess.run(["kill", "-HUP", process], check=True)


def test_x6_a_renewed_certificate_fails_no_request(host: Any, balancer: Any) -> None:
    """X6: nginx takes a renewed certificate over while requests go on."""
    behind: AppHost = host()
    before: Balancer = balancer(behind)
    assert wait.until(lambda: before.server().serving, 10, 0.05)
    for number in range(40):
        if number % 10 == 5:
            behind.authority.issue("web", "s1")
            reload(behind.authority.folder)
        assert before.ask() == 200


def test_x7_what_the_balancer_asks_itself(host: Any) -> None:
    """X7: The balancer's own questions verify the host, and find one that has no TLS yet."""
    behind: AppHost = host()
    own = behind.authority
    caller = own.issue("balancer", "lb1", use="client")
    where = ("127.0.0.1", behind.port, caller, "/web", {"Host": "crm.example"})
    assert app_hosts.status("s1", *where) == 200
    with pytest.raises(OSError, match="s2"):
        app_hosts.status("s2", *where)
    dead = ports.free()
    servers = [
        {"name": "s1", "address": "127.0.0.1", "port": behind.port},
        {"name": "s2", "address": "127.0.0.1", "port": dead},
    ]
    late = app_hosts.without_tls
    assert late(servers, caller, "health.invalid", behind.plain) == ["s2"]
    assert late(servers, caller, "health.invalid", ports.free()) == []
    stranger = own.issue("stranger", "bbdd1", use="client")
    assert late(servers[:1], stranger, "health.invalid", behind.plain) == ["s1"]


# The move from plain HTTP


def test_x7_a_reload_moves_running_servers_to_tls(host: Any, balancer: Any, tmp_path: Path) -> None:
    """X7: The saved state of a server without TLS does not take TLS from it, and keeps its drain.

    HAProxy itself reads from its state file how it reaches a server and where it checks it.
    """
    behind: AppHost = host()
    older = tmp_path / "older"
    older.mkdir()
    (older / "haproxy.cfg").write_text(
        f"global\n    stats socket {older}/admin.sock level admin\n"
        "defaults\n    mode http\n    timeout connect 1s\n    timeout client 1s\n"
        "    timeout server 1s\n"
        "backend crm\n    option httpchk\n"
        f"    default-server check inter 100ms port {behind.agent.server_port}\n"
        f"    server s1 127.0.0.1:{behind.plain} weight 100\n"
        f"backend crm.any\n    server s1 127.0.0.1:{behind.plain} weight 100 check\n"
    )
    assert HAPROXY
    with subprocess.Popen([HAPROXY, "-db", "-f", older / "haproxy.cfg"]) as process:
        control = str(older / "admin.sock")
        assert wait.until(lambda: Path(control).exists(), 10, 0.05)
        assert not haproxy.ask("set server crm/s1 state drain", control).strip()
        state = haproxy.ask("show servers state", control)
        process.terminate()
    row = haproxy.states(state)["crm", "s1"]
    kept = (row["srv_port"], row["srv_use_ssl"], row["srv_check_port"])
    assert kept == (str(behind.plain), "0", str(behind.agent.server_port))
    before: Balancer = balancer(behind, state=state)
    for row in haproxy.states(before.tell("show servers state")).values():
        kept = (row["srv_port"], row["srv_use_ssl"], row["srv_check_port"])
        assert kept == (str(behind.port), "1", "0")
    assert wait.until(lambda: before.server().check.startswith("L7OK"), 10, 0.05)
    assert before.server().drained
    before.tell("set server crm/s1 state ready")
    assert wait.until(lambda: before.server().serving, 10, 0.05), before.server()
    assert before.ask() == 200
    assert len(behind.application.requests) == 1


def save(home: Path, state: str) -> None:
    """Let the script of a reload save the state of HAProxy's servers.

    Args:
        home: where HAProxy's configuration is, and where the state goes.
        state: the answer of the running HAProxy.
    """
    (home / "answer").write_text(state)
    text = (FILES / "haproxy-save-state").read_text()
    text, count = re.subn(r"echo 'show servers state' .* >", f"cat {home}/answer >", text)
    assert count == 1
    text = text.replace("/run/haproxy/servers-state", str(home / "servers-state"))
    text = text.replace("/etc/haproxy/conf.d/*.cfg", str(home / "haproxy.cfg"))
    (home / "script").write_text(text)
    subprocess.run(["sh", home / "script"], check=True)


@pytest.mark.parametrize("test", [False, True])
def test_x7_the_balancer_waits_for_tls_on_app_hosts(test: bool) -> None:
    """X7, K5: It names the hosts and the next command, and changes nothing until they have it."""
    late: list[str] = []
    state = states("balancer", test, balancer_without_tls=lambda: late)
    ret = state.app_hosts_have_tls("TLS on the app hosts", 0)
    assert (ret["result"], ret["changes"], ret["comment"]) == (True, {}, "they have it")
    late += ["s2", "s3"]
    ret = state.app_hosts_have_tls("TLS on the app hosts", 0)
    assert (ret["result"], ret["changes"]) == (None if test else False, {})
    assert ret["comment"].endswith(
        "for TLS on every app host: s2, s3 do not speak TLS with this balancer yet; "
        "next: salt -L s2,s3 state.apply"
    )


def test_x7_the_balancers_module_asks_with_its_own_certificate(
    host: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X7, S10: A probe of a new app host takes the way of HAProxy's requests."""
    behind: AppHost = host()
    own = behind.authority
    own.issue("balancer", "lb1", use="client")
    monkeypatch.setattr(https, "FOLDER", str(own.folder))
    pillar = fleets.pillar("lb1")
    server = {"name": "s1", "address": "127.0.0.1", "port": behind.port}
    pillar["balancer"]["applications"][0]["servers"] = [server]
    module = load("_modules/balancer.py", salt={}, pillar=pillar)
    asked = ("127.0.0.1", behind.port, "crm.example", "/web/health")
    assert module.reach("s1", *asked, "sid=probe") == ""
    assert behind.application.requests[-1][1]["cookie"] == "sid=probe"
    assert "certificate is not valid for 's2'" in module.reach("s2", *asked)
    behind.application.status = 500
    assert module.reach("s1", *asked) == "status 500"
    assert module.without_tls() == []
    pillar["balancer"]["applications"][0]["servers"] = [server | {"port": ports.free()}]
    pillar["balancer"]["older_port"] = behind.plain
    module = load("_modules/balancer.py", salt={}, pillar=pillar)
    assert module.without_tls() == ["s1"]


# The evidence


def test_x7_what_the_hosts_show(host: Any, balancer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """X7: A client without a certificate, an open port without TLS, a server without TLS."""
    behind: AppHost = host()
    before: Balancer = balancer(behind)
    monkeypatch.setattr(evidence, "TLS", str(behind.authority.folder))
    asked = {"address": "127.0.0.1", "port": behind.port, "name": "s1"}
    first, second = evidence.encrypted(**asked, plain=ports.free())
    assert first == Seen(f"port {behind.port} without a certificate", True, "HTTP 400")
    assert (second.good, second.seen) == (True, "closed")
    _, second = evidence.encrypted(**asked, plain=behind.plain)
    assert (second.good, second.seen[:4]) == (False, "open")
    assert len(list(evidence.encrypted(**asked, plain=None))) == 1
    with pytest.raises(OSError, match="s2"):
        list(evidence.encrypted(**asked | {"name": "s2"}, plain=None))
    told = before.tell("show servers state")
    monkeypatch.setattr(haproxy, "ask", lambda *_: told)
    (seen,) = evidence.servers()
    assert seen == Seen("requests to app hosts", True, "all in TLS")
    told = told.replace(f" {behind.port} - 1 ", f" {behind.port} - 0 ", 1)
    (seen,) = evidence.servers()
    assert seen == Seen("requests to app hosts", False, "without TLS: s1")

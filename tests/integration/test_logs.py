"""S13: the web server that takes the logs, as rendered, in a real nginx."""

from __future__ import annotations

import http.client
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from socketserver import ThreadingUnixStreamServer

import pytest

from salina.common import wait
from tests import fleets, nginx, ports
from tests.authority import Authority
from tests.render.minion import Minion

pytestmark = pytest.mark.skipif(nginx.program() is None, reason="no nginx: see make integration")
ANSWER = b"HTTP/1.1 202 Accepted\r\nContent-Length: 3\r\nConnection: close\r\n\r\nOK."


class Receiver(ThreadingUnixStreamServer):
    """In place of the receiver of a host: it keeps the lines that it gets."""

    daemon_threads = True

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), None)  # type: ignore[arg-type]
        self.got: list[bytes] = []
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def finish_request(self, request: object, client_address: object) -> None:
        """Read one request to its end, and accept it."""
        assert isinstance(request, socket.socket)
        text = b""
        while not text.endswith((b"0\r\n\r\n", b"END")):
            text += request.recv(65536)
        self.got.append(text)
        request.sendall(ANSWER)


class LogHost:
    """The running web server, and the receivers of two hosts."""

    def __init__(self, port: int, authority: Authority, receivers: dict[str, Receiver]) -> None:
        self.port, self.authority, self.receivers = port, authority, receivers

    def send(
        self, certificate: str | None, method: str = "POST", path: str = "/upload", **headers: str
    ) -> int:
        """Send a line with a certificate; return the status of the answer."""
        folder = self.authority.folder
        context = ssl.create_default_context(cafile=folder / "ca.crt")
        context.check_hostname = False
        if certificate:
            context.load_cert_chain(folder / f"{certificate}.crt", folder / f"{certificate}.key")
        with ExitStack() as ends:
            asked = http.client.HTTPSConnection("127.0.0.1", self.port, context=context, timeout=10)
            ends.callback(asked.close)
            asked.request(
                method, path, "MESSAGE=a line\nEND" if method == "POST" else None, headers
            )
            return asked.getresponse().status

    def got(self) -> dict[str, int]:
        """Return how many requests each receiver got."""
        return {host: len(one.got) for host, one in self.receivers.items()}


@pytest.fixture
def log_host(tmp_path: Path) -> Iterator[LogHost]:
    """nginx with the configuration of the monitoring host."""
    pillar = fleets.pillar("nagios")
    text = dict(Minion("nagios", pillar).files)["/etc/salina/logs/nginx.conf"]
    port, place = ports.free(), tmp_path
    authority = Authority(place)
    authority.issue("logs-kept", "nagios")
    authority.issue("web", "s1")  # of a server, of which the host has several
    for name, host in (("nas1", "nas1"), ("other", "s99"), ("like", "s1,OU=nas1")):
        authority.issue(name, host, ["nas1"], "client")
    for old, new in (
        ("/run/salina-logs", str(place)),
        ("/etc/salina/tls", str(place)),
        ("listen 10.1.5.5:19532", f"listen 127.0.0.1:{port}"),
        ("user salina-logs;", "user root;"),
    ):
        assert old in text
        text = text.replace(old, new)
    file = place / "nginx.conf"
    file.write_text(text)
    command = [str(nginx.program()), "-p", str(place), "-e", "stderr", "-c", str(file)]
    with ExitStack() as ends:
        receivers = {host: Receiver(place / f"{host}.sock") for host in ("nas1", "s1")}
        for one in receivers.values():
            ends.callback(one.server_close)
            ends.callback(one.shutdown)
        process = subprocess.Popen([*command, "-g", "daemon off;"])
        ends.callback(process.wait, 10)
        ends.callback(process.terminate)

        def answers() -> bool:
            with socket.socket() as connection:
                return connection.connect_ex(("127.0.0.1", port)) == 0

        assert wait.until(lambda: process.poll() is not None or answers(), 10, 0.05)
        assert process.poll() is None
        yield LogHost(port, authority, receivers)


def test_s13_a_host_writes_its_own_logs_only(log_host: LogHost) -> None:
    """S13: The certificate says who sends, whatever the request says."""
    assert log_host.send("nas1") == 202
    assert log_host.got() == {"nas1": 1, "s1": 0}
    for path in ("/upload?host=s1", "//upload", "/x/../upload"):
        log_host.send("nas1", path=path, Host="s1")
    log_host.send("nas1", **{"X-Sender": "s1", "Host": "s1.sock"})
    assert log_host.got()["s1"] == 0


def test_s13_only_hosts_of_the_fleet_send(log_host: LogHost) -> None:
    """S13: No certificate, one that is for a server, one of a host that is gone, a similar name."""
    assert log_host.send(None) == log_host.send("web") == 400
    assert log_host.send("other") == log_host.send("like") == 403
    assert log_host.got() == {"nas1": 0, "s1": 0}


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "PUT", "OPTIONS"])
def test_s13_a_host_neither_reads_nor_deletes(log_host: LogHost, method: str) -> None:
    """S13: A host that was taken can only add lines."""
    assert log_host.send("nas1", method) == 403
    assert log_host.send("nas1", method, "/entries") == 404
    assert log_host.got() == {"nas1": 0, "s1": 0}

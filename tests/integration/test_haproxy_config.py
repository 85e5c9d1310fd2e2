"""S1, S2, O5: the balancer's files as rendered, judged by HAProxy itself."""

from __future__ import annotations

import contextlib
import copy
import http.client as http_client
import json
import re
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jinja2
import pytest

from salina.common import wait
from salina_fleet.roles import app
from tests import authority, fleets, haproxy, ports

HAPROXY = haproxy.program()


def fragment(
    name: str = "default",
    servers: Mapping[str, list[dict[str, Any]]] | None = None,
    health: Mapping[str, Any] | None = None,
    edges: Mapping[str, Mapping[str, Any]] | None = None,
    **balancer: Any,
) -> str:
    """20-balancer.cfg of a fleet, with parts of pillar `balancer` replaced.

    `servers` and `edges`: those of some applications by their names. `health`: of all of them.
    """
    pillar = copy.deepcopy(fleets.pillar("lb1", name))
    for application in pillar["balancer"]["applications"]:
        application["servers"] = (servers or {}).get(application["name"], application["servers"])
        application["edge"] = (edges or {}).get(application["name"], application["edge"])
        application["health"] = health or application["health"]
    pillar["balancer"].update(balancer)
    for application in pillar["balancer"]["applications"]:
        application["url"] = url(application["domain"], pillar["balancer"])
    return rendered("20-balancer.cfg", pillar)


def visitors(name: str = "default") -> str:
    """The files 15-visitors-NAME.cfg of a fleet, one after the other."""
    pillar = fleets.pillar("lb1", name)
    copies = [one["name"] for one in pillar["balancer"]["applications"] if one["visitors"]]
    return "\n".join(rendered("15-visitors.cfg", pillar, application=one) for one in copies)


def rendered(file: str, pillar: Mapping[str, Any], **context: str) -> str:
    """A file of the balancer."""
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        loader=jinja2.FileSystemLoader(fleets.REPOSITORY / "salt"),
    )
    return environment.get_template(f"balancer/files/{file}").render(pillar=pillar, **context)


def url(domain: str, balancer: Mapping[str, Any]) -> str:
    """Return an application's URL with the port of a changed pillar `balancer`."""
    port = balancer["https"]
    return f"https://{domain}" if port == 443 else f"https://{domain}:{port}"


@pytest.fixture(scope="module")
def conf_d(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of fragments with the global one in it, and beside it what they name."""
    assert HAPROXY, "no haproxy yet: run `make hosts`"
    home = tmp_path_factory.mktemp("haproxy")
    certificate(home)
    pages(home)
    directory = home / "conf.d"
    directory.mkdir()
    text = (fleets.REPOSITORY / "salt/haproxy/files/00-global.cfg").read_text()
    # its user and group come with its package, which this machine may not have
    for own, anyone in (("user haproxy", "user nobody"), ("group haproxy", "group nogroup")):
        assert f"{own}\n" in text
        text = text.replace(f"{own}\n", f"{anyone}\n")
    (directory / "00-global.cfg").write_text(text)
    return directory


def pages(directory: Path) -> None:
    """Put the balancer's own pages where its configuration finds them."""
    for source, target in (
        ("503.http", "503-balancer.http"),
        ("closed.html", "503-closed.html"),
        ("429.html", "429-balancer.html"),
    ):
        shutil.copy(fleets.REPOSITORY / "salt/balancer/files" / source, directory / target)


def certificate(directory: Path) -> None:
    """Make the certificates and keys of the applications, as the component tls does.

    `web` is that of all app hosts.
    """
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1"
    names = "-subj /CN=crm.example -keyout public-crm.key -out public-crm.crt"
    subprocess.run(
        [*command.split(), *names.split()], cwd=directory, check=True, capture_output=True
    )
    for end in ("key", "crt"):
        for name in ("shop", "crm_staging"):
            shutil.copy(directory / f"public-crm.{end}", directory / f"public-{name}.{end}")
    fleet = authority.Authority(directory)
    fleet.issue("balancer", "lb1", use="client")
    fleet.issue("web", "s1", authority.APP_HOSTS)


def judge(conf_d: Path, text: str, users: str = "") -> subprocess.CompletedProcess[str]:
    """Let HAProxy read the fragments, with the paths of a host moved to the test's directory.

    `users`: the fragment with the passwords of copies.
    """
    for path in ("/etc/salina/tls", "/etc/haproxy/errors"):
        text = text.replace(path, str(conf_d.parent))
    (conf_d / "15-visitors-crm_staging.cfg").write_text(users or visitors())
    (conf_d / "20-balancer.cfg").write_text(text)
    assert HAPROXY
    return subprocess.run([HAPROXY, "-c", "-f", conf_d], capture_output=True, text=True)


@pytest.mark.parametrize("changed", [{}, {"tls": False}, {"https": 8443, "http": 8080}])
def test_haproxy_takes_it(conf_d: Path, changed: dict[str, Any]) -> None:
    result = judge(conf_d, fragment(**changed))
    assert result.returncode == 0, result.stderr
    # the only warning: there is no file of the servers' states here
    assert result.stderr.count("[WARNING]") == 1 and "servers-state" in result.stderr, result.stderr


def test_haproxy_takes_ipv6_addresses(conf_d: Path) -> None:
    servers = {"crm": [{"name": "s1", "address": "fd00:3::11", "port": 443}]}
    result = judge(conf_d, fragment(address="2001:db8::2", servers=servers))
    assert result.returncode == 0, result.stderr


def test_tls_redirects_and_pins() -> None:
    """O5: Port 80 redirects permanently, and HSTS is on."""
    text = fragment()
    assert "bind 10.1.2.2:80\n" in text
    assert "bind 10.1.2.2:443 ssl crt /etc/salina/tls/public-crm.crt alpn" in text
    assert "http-request redirect code 301 location https://" in text
    assert 'Strict-Transport-Security "max-age=31536000" if { ssl_fc }' in text


def test_redirect_names_another_port() -> None:
    """O5: The redirect names an HTTPS port other than 443."""
    assert "location https://crm.example:8443%[pathq]" in fragment(https=8443)


def test_plain_http_as_in_the_assignment() -> None:
    """S1: With `tls: false` port 80 serves, and no other port exists."""
    text = fragment(tls=False)
    assert text.count("    bind ") == 1
    assert "redirect code" not in text and "Strict-Transport" not in text


@pytest.mark.parametrize("changed", [{}, {"tls": False}])
def test_haproxy_takes_two_applications(conf_d: Path, changed: dict[str, Any]) -> None:
    result = judge(conf_d, fragment("two-applications", **changed))
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("[WARNING]") == 1, result.stderr


@pytest.mark.parametrize("changed", [{}, {"tls": False}, {"address": "2001:db8::2"}])
def test_o1_haproxy_takes_a_copy_for_trials(conf_d: Path, changed: dict[str, Any]) -> None:
    """O1, X10: With its password, and not without."""
    text = fragment("staging", **changed)
    result = judge(conf_d, text, visitors("staging"))
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("[WARNING]") == 1, result.stderr
    assert "unable to find userlist" in judge(conf_d, text).stderr


def test_two_applications_have_their_own_servers_and_checks() -> None:
    """S2: Only the two backends of an application have the hosts of its pool."""
    text = fragment("two-applications")
    parts = text.split("\nbackend ")[1:]
    found = {part.split()[0]: re.findall(r"(?m)^    server (\w+) ", part) for part in parts}
    assert found == {
        **{name: ["s1", "s2", "s3"] for name in ("crm", "crm.any")},
        **{name: ["w1", "w2", "w3"] for name in ("shop", "shop.any")},
    }
    for one in fleets.topology("two-applications").applications.values():
        path = fleets.definition(one.definition)["health"]["path"]
        assert f"uri {path} ver HTTP/1.1 hdr Host {app.HEALTH_NAME}" in text
        assert f"req.hdr(host),host_only -i {one.domain} }}" in text
    for name in ("crm", "shop"):
        assert f"use_backend {name} if {name}\n" in text
    assert "default_backend" not in text


def test_both_backends_have_every_server() -> None:
    """S2: Both backends have s1, s2 and s3, the one for unhealthy servers too."""
    text = fragment()
    for number in (1, 2, 3):
        assert (
            text.count(
                f"server s{number} 10.1.3.{10 + number}:443 ssl verifyhost s{number} tcp-ut 5s\n"
            )
            == 2
        )
    assert "balance roundrobin" in text


def test_a_probe_brings_its_cookie() -> None:
    text = fragment(health={"path": "/", "cookie": "session=probe"})
    assert "hdr Host health.invalid hdr Cookie session=probe\n" in text


class Answer(BaseHTTPRequestHandler):
    """An app host: it answers the health checks, and says what it got of every other request."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer with the length of the path and of the cookies."""
        lengths = [len(self.path), sum(map(len, self.headers.get_all("Cookie", [])))]
        content = json.dumps(lengths).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def running(conf_d: Path) -> Iterator[tuple[int, int]]:
    """HAProxy with the balancer's fragments before one app host: its ports for HTTP and HTTPS."""
    http, https = ports.free(), ports.free()
    host = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    authority.serve_tls(host, conf_d.parent)
    threading.Thread(target=host.serve_forever, args=(0.02,), daemon=True).start()
    servers = {"crm": [{"name": "s1", "address": "127.0.0.1", "port": host.server_port}]}
    own = {"address": "127.0.0.1", "http": http, "https": https}
    judged = judge(conf_d, fragment(servers=servers, **own))
    assert judged.returncode == 0, judged.stderr
    home = conf_d.parent
    whole = "".join(file.read_text() for file in sorted(conf_d.glob("*.cfg")))
    lines = [line for line in whole.splitlines() if line.split()[:1] not in (["user"], ["group"])]
    text = "\n".join(line for line in lines if line.split()[:1] != ["chroot"])
    text = text.replace("/run/haproxy", str(home)).replace(" user root group root", "")
    (home / "whole.cfg").write_text(f"{text}\n")
    assert HAPROXY
    command = [HAPROXY, "-db", "-f", home / "whole.cfg"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    yield http, https
    process.terminate()
    process.wait(10)
    host.shutdown()


LONG = f"/web?{'q' * 9000}"
COOKIES = {"Cookie": "; ".join(f"c{n}={'v' * 2990}" for n in range(4))}


def test_a_long_address_and_large_cookies_pass(running: tuple[int, int]) -> None:
    """S1, O5: 9 kB of address and 12 kB of cookies arrive, over HTTPS and after the redirect."""
    http, https = running
    insecure = ssl._create_unverified_context()

    def connected() -> bool:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", http), 1).close()
            return True
        return False

    assert wait.until(connected, 10)
    plain = http_client.HTTPConnection("127.0.0.1", http, timeout=10)
    plain.request("GET", LONG, headers={**COOKIES, "Host": "crm.example"})
    redirect = plain.getresponse()
    assert redirect.status == 301
    assert redirect.headers["Location"] == f"https://crm.example:{https}{LONG}"
    service = http_client.HTTPSConnection("127.0.0.1", https, timeout=10, context=insecure)
    service.request("GET", LONG, headers={**COOKIES, "Host": "crm.example"})
    answer = service.getresponse()
    assert (answer.status, json.load(answer)) == (200, [len(LONG), len(COOKIES["Cookie"])])
    assert len(COOKIES["Cookie"]) > 11_900


def test_nginx_takes_what_the_balancer_lets_through() -> None:
    """O4: One header of nginx may be as large as all headers together are at the balancer."""
    nginx = (fleets.REPOSITORY / "salt/nginx/files/nginx.conf").read_text()
    size = re.search(r"large_client_header_buffers 4 (\d+)k;", nginx)
    most = re.search(r"tune.bufsize (\d+)\n", fragment())
    assert size and most and int(size[1]) * 1024 >= int(most[1])

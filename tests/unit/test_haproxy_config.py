"""S1, S2, O5: the balancer's files as rendered, judged by HAProxy itself."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml

import salina_app
import salina_secrets
import salina_select
import salina_settings
import salina_topology

HAPROXY = shutil.which("haproxy", path="/usr/sbin:/usr/bin")


def balancer_pillar(repository: Path, **service: Any) -> dict[str, Any]:
    """The pillar of lb1 in the default fleet, with another published service."""
    data = yaml.safe_load((repository / "pillar/topology.yaml").read_text())
    data["service"].update(service)
    topology = salina_topology.parse(data, "test")
    name = topology.service.application
    return salina_select.pillar_for(
        topology,
        topology.initial(),
        salina_settings.Settings(),
        salina_secrets.FakeStore(),
        {name: salina_app.load(repository / f"pillar/app/{name}.yaml").to_dict()},
        "lb1",
        "0" * 64,
    )


def fragment(repository: Path, pillar: dict[str, Any]) -> str:
    source = (repository / "salt/balancer/files/20-balancer.cfg").read_text()
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    return environment.from_string(source).render(pillar=pillar)


@pytest.fixture
def conf_d(repository: Path, tmp_path: Path) -> Path:
    """A directory of fragments with the global one in it, and what it names."""
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "1",
            "-subj",
            "/CN=lb1",
            "-keyout",
            "host.key",
            "-out",
            "host.crt",
        ],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    shutil.copy(repository / "salt/balancer/files/503.http", tmp_path / "503-balancer.http")
    directory = tmp_path / "conf.d"
    directory.mkdir()
    shutil.copy(repository / "salt/haproxy/files/00-global.cfg", directory)
    return directory


def judge(conf_d: Path, text: str) -> subprocess.CompletedProcess[str]:
    """Let HAProxy read the fragments, with the paths of a host moved to the test's directory."""
    for path in ("/etc/salina/tls", "/etc/haproxy/errors"):
        text = text.replace(path, str(conf_d.parent))
    (conf_d / "20-balancer.cfg").write_text(text)
    assert HAPROXY
    return subprocess.run(
        [HAPROXY, "-c", "-f", conf_d], capture_output=True, text=True, check=False
    )


@pytest.mark.skipif(HAPROXY is None, reason="no haproxy on this machine")
@pytest.mark.parametrize(
    "service",
    [
        {},
        {"tls": False},
        {"https": 8443, "http": 8080},
    ],
)
def test_haproxy_takes_it(repository: Path, conf_d: Path, service: dict[str, Any]) -> None:
    result = judge(conf_d, fragment(repository, balancer_pillar(repository, **service)))
    assert result.returncode == 0, result.stderr
    assert "servers-state" in result.stderr  # the only warning: a start comes before it is written
    assert result.stderr.count("[WARNING]") == 1, result.stderr


@pytest.mark.skipif(HAPROXY is None, reason="no haproxy on this machine")
def test_haproxy_takes_ipv6_addresses(repository: Path, conf_d: Path) -> None:
    pillar = balancer_pillar(repository)
    pillar["balancer"]["address"] = "2001:db8::2"
    pillar["balancer"]["servers"] = [{"name": "s1", "address": "fd00:3::11", "port": 80}]
    result = judge(conf_d, fragment(repository, pillar))
    assert result.returncode == 0, result.stderr


def test_tls_redirects_and_pins(repository: Path) -> None:
    """O5: port 80 redirects permanently, HSTS on."""
    text = fragment(repository, balancer_pillar(repository))
    assert "bind 10.1.2.2:80\n" in text
    assert "bind 10.1.2.2:443 ssl crt /etc/salina/tls/host.crt" in text
    assert "http-request redirect code 301 location https://" in text
    assert 'Strict-Transport-Security "max-age=31536000" if { ssl_fc }' in text


def test_redirect_names_another_port(repository: Path) -> None:
    text = fragment(repository, balancer_pillar(repository, https=8443))
    assert "regsub(:[0-9]+$,)]:8443%[capture.req.uri]" in text


def test_plain_http_as_in_the_assignment(repository: Path) -> None:
    """S1: with `tls: false` port 80 serves, and there is no other."""
    text = fragment(repository, balancer_pillar(repository, tls=False))
    assert text.count("    bind ") == 1
    assert "redirect code" not in text and "Strict-Transport" not in text


def test_both_backends_have_every_server(repository: Path) -> None:
    """S2: s1, s2, s3; also in the backend for when none of them is healthy."""
    text = fragment(repository, balancer_pillar(repository))
    for number in (1, 2, 3):
        assert text.count(f"server s{number} 10.1.3.{10 + number}:80") == 2
    assert "balance roundrobin" in text


def test_a_probe_brings_its_cookie(repository: Path) -> None:
    pillar = balancer_pillar(repository)
    pillar["balancer"]["health"] = {"path": "/", "cookie": "session=probe"}
    assert "hdr Host crm.example hdr Cookie session=probe\n" in fragment(repository, pillar)

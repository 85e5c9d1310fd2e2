"""X6: a real HAProxy answers the challenges of an ACME directory, and shows its certificate."""

from __future__ import annotations

import contextlib
import http.client
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from salina.common import wait
from salina.health import probes
from salina.verify import evidence
from tests import fleets
from tests.integration.test_haproxy_config import conf_d, fragment, running  # noqa: F401
from tests.unit.test_acme import CA, DIRECTORY, PUBLIC, THUMBPRINT, issued


def test_x6_without_a_directory_there_is_no_challenge() -> None:
    assert "acme-challenge" not in fragment()


@pytest.fixture
def answering(
    conf_d: Path,  # noqa: F811
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> tuple[int, int]:
    """The ports of a running HAProxy that answers challenges."""
    import tests.integration.test_haproxy_config as haproxy

    whole: Callable[..., str] = haproxy.fragment

    def with_acme(*arguments: Any, **given: Any) -> str:
        limits = fleets.pillar("lb1")["balancer"]["limits"] | {
            "requests": 10,
            "exempt": ["192.0.2.1"],
        }
        acme = {"thumbprint": THUMBPRINT}
        return whole(*arguments, acme=acme, limits=limits, **given)

    monkeypatch.setattr(haproxy, "fragment", with_acme)
    ports: tuple[int, int] = request.getfixturevalue("running")
    return ports


def ask(connection: http.client.HTTPConnection, path: str, host: str) -> tuple[int, str]:
    """Return the status and the body, or the address of a redirect."""
    connection.request("GET", path, headers={"Host": host})
    answer = connection.getresponse()
    body = answer.read().decode()
    return answer.status, answer.headers["Location"] or body


def test_x6_x5_haproxy_answers_challenges(answering: tuple[int, int]) -> None:
    """X6, X5: On plain HTTP, for a published domain and a token; never refused by a limit."""
    plain, secure = answering

    def up() -> bool:
        try:
            ask(http.client.HTTPConnection("127.0.0.1", plain, timeout=5), "/", "crm.example")
        except OSError:
            return False
        return True

    assert wait.until(up, 10)
    connection = http.client.HTTPConnection("127.0.0.1", plain, timeout=5)
    path = "/.well-known/acme-challenge/a-Token_09"
    redirect = f"https://crm.example:{secure}"
    assert ask(connection, path, "crm.example") == (200, f"a-Token_09.{THUMBPRINT}")
    for other in (f"{path}/", f"{path}.html", path.removesuffix("a-Token_09"), f"{path}%3Cb"):
        assert ask(connection, other, "crm.example") == (301, redirect + other)
    assert ask(connection, path, "evil.example")[0] == 421
    for _ in range(15):
        assert ask(connection, path, "crm.example")[0] == 200
    assert ask(connection, "/web", "crm.example")[0] == 429
    unverified = ssl._create_unverified_context()
    https = http.client.HTTPSConnection("127.0.0.1", secure, timeout=5, context=unverified)
    assert THUMBPRINT not in ask(https, path, "crm.example")[1]


def test_x6_whose_certificate_clients_see(
    answering: tuple[int, int],
    conf_d: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """X6: verify.security names the source and the days; the health check compares the file."""
    where = {"address": "127.0.0.1", "port": answering[1], "domain": "crm.example"}
    for module in (probes, evidence):
        monkeypatch.setattr(module, "TLS", str(tmp_path))
    own = (conf_d.parent / "public-crm.crt").read_text()

    def seen(source: str) -> tuple[bool, str]:
        [one] = evidence.shown(**where, source=source)
        return one.good, one.seen.partition(", names")[0]

    def up() -> bool:
        with contextlib.suppress(OSError):
            seen("ca")
            return True
        return False

    (tmp_path / "ca.crt").write_text(CA)
    assert wait.until(up, 10)
    assert seen("own") == (True, "source own")
    assert seen("ca") == (False, "source another CA instead of ca")
    (tmp_path / "ca.crt").write_text(own)  # it is signed by itself
    assert seen("acme") == (False, "source ca instead of acme")
    assert seen("ca")[1] == "source ca"
    for text, good in ((f"# {DIRECTORY}\n{own}{PUBLIC}", True), (issued(), False)):
        (tmp_path / "public-crm.crt").write_text(text)
        [check] = probes.served(**where, certificate="public-crm", own=True)
        assert check[:2] == ("served to crm.example", good)

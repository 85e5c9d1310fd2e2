"""verify.security: what hosts look at, how they judge it, and how the rows are shown."""

from __future__ import annotations

import importlib
import json
import socket
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from salina.application.release import activate
from salina.common.https import NoAnswer
from salina.verify import evidence
from salina.verify.evidence import Seen
from salina_fleet import secrets, verify
from salina_fleet.role import Look
from tests import fleets, pypi, releases
from tests.loading import load

ROWS = {f"X{number}" for number in range(1, 12)}


def looks(host: str, name: str = "default") -> list[Look]:
    """The looks that a host is asked for."""
    fleet = fleets.fleet(name)
    return verify.looks(fleets.master_data(fleet, secrets.FakeStore()), fleet.hosts[host])


def test_every_row_has_evidence() -> None:
    """X1, X2, X3, X5, X6, X7, X8, X9, X10, X11: Some host looks at each row; X4 is the master's."""
    asked = {look.row for host in fleets.fleet().hosts for look in looks(host)}
    assert {row for row in asked if row.startswith("X")} == ROWS - {"X4"}


@pytest.mark.parametrize(("name", "host"), fleets.everyone())
def test_every_look_exists_and_holds_no_secret(name: str, host: str) -> None:
    """K4: The looks go into the job cache."""
    for look in looks(host, name):
        assert look.look in evidence.LOOKS
        assert "canary" not in str(look.arguments)


def test_x5_only_a_copy_is_asked_without_its_password() -> None:
    """X5: The balancer asks as a stranger would."""
    asked = [look.arguments for look in looks("lb1", "staging") if look.look == "edge"]
    assert {one["domain"]: one.get("copy", False) for one in asked} == {
        "crm.example": False,
        "crm-staging.example": True,
    }


def test_a_host_looks_at_its_own_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """The job carries what all hosts look at; a look that fails is a finding."""

    def broken() -> Iterator[Seen]:
        raise OSError("no such file")

    found = {"good": lambda: iter([Seen("a", True, "b")]), "broken": broken}
    monkeypatch.setattr(evidence, "LOOKS", found)
    monkeypatch.setattr(importlib, "reload", lambda module: module)
    module = load("_modules/verify.py", opts={"id": "s1"}, pillar={})
    wanted = [{"row": "X1", "look": name, "arguments": {}} for name in found]
    assert module.look({"s1": wanted, "s2": []}) == [
        {"row": "X1", "what": "a", "good": True, "seen": "b"},
        {"row": "X1", "what": "broken", "good": False, "seen": "no such file"},
    ]


def test_the_rows_that_do_not_hold_come_last() -> None:
    """K5: The operator reads the end first. A silent host leaves its rows open."""
    wanted = [Look("X2", "local"), Look("X10", "commit"), Look("X10", "commit")]
    found = [
        *verify.findings("s1", wanted, "it is connected but does not answer"),
        *verify.findings(
            "s2", wanted[:1], [{"row": "X2", "what": "/opt", "good": True, "seen": "/o"}]
        ),
    ]
    assert verify.text(found).splitlines() == [
        "✓ X2   s2         /opt: /o",
        "✗ X2   s1         the host: it is connected but does not answer",
        "✗ X10  s1         the host: it is connected but does not answer",
        "0 of 2 rows hold; not: X2, X10",
    ]
    told = verify.told(found)
    assert (told["good"], [row["good"] for row in told["rows"].values()]) == (False, [False, False])
    assert verify.text(found[2:]).endswith("1 of 1 rows hold")


# The looks


@pytest.fixture
def says(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that sets what commands print, by their first words."""

    def give(**answers: str) -> None:
        def command(*argv: str) -> str:
            return answers[Path(argv[0]).name.replace("-", "_")]

        monkeypatch.setattr(evidence, "command", command)

    return give


def only(look: str, **arguments: Any) -> Seen:
    [seen] = evidence.LOOKS[look](**arguments)
    return seen


BOUND = """\
-N {chain}
-A {chain} -s 10.1.5.2/32 -d 10.1.5.11/32 -i eth2 -p tcp -m tcp --dport 22 -j ACCEPT
"""
UNBOUND = "-A {chain} -d 10.1.5.11/32 -p tcp -m tcp --dport 80 -j ACCEPT\n"


@pytest.mark.parametrize(
    ("rules", "good", "words"),
    [
        (BOUND, True, "each names its own"),
        (BOUND + UNBOUND, False, "without an interface: -A {chain} -d 10.1.5.11/32 -p tcp"),
        ("-N {chain}\n", True, "no rule lets packets in"),  # IPv6 in a fleet without it
    ],
)
def test_x7_every_rule_names_an_interface(
    monkeypatch: pytest.MonkeyPatch, rules: str, good: bool, words: str
) -> None:
    """X7: For IPv4 and for IPv6. An empty chain lets nothing in."""
    monkeypatch.setattr(evidence, "has_ipv6", lambda: True)
    monkeypatch.setattr(evidence, "command", lambda *argv: rules.format(chain=argv[-1]))
    found = list(evidence.interfaces())
    assert [one.what for one in found] == ["interfaces in iptables", "interfaces in ip6tables"]
    for one, chain in zip(found, ("ufw-user-input", "ufw6-user-input"), strict=True):
        assert one.good == good
        assert one.seen.startswith(words.format(chain=chain))


SENT = """\
-P OUTPUT DROP
-N {chain}
-A OUTPUT -j {chain}
-A {chain} -d 10.1.5.2/32 -m owner --uid-owner 869 -m conntrack --ctstate NEW -j REJECT
"""
OWN = "-A {chain} -m conntrack --ctstate NEW -m owner --uid-owner 869 -j REJECT --reject-with x\n"


@pytest.mark.parametrize(
    ("rules", "uid", "good"),
    [
        (SENT, None, [True]),
        (SENT + OWN, 869, [True, True]),
        (SENT, 869, [True, False]),
        (SENT + OWN, 8, [True, False]),
        (SENT.replace("DROP", "ACCEPT") + OWN, 869, [False, True]),
        (SENT.replace("-A OUTPUT", "# ") + OWN, 869, [False, True]),
    ],
)
def test_x7_a_host_sends_only_what_its_rules_let_out(
    monkeypatch: pytest.MonkeyPatch, rules: str, uid: int | None, good: list[bool]
) -> None:
    """X7: The kernel's own rules count, for IPv4 and for IPv6."""
    chains = {"iptables": "ufw-before-output", "ip6tables": "ufw6-before-output"}
    monkeypatch.setattr(evidence, "has_ipv6", lambda: True)
    monkeypatch.setattr(evidence, "command", lambda tool, _: rules.format(chain=chains[tool]))
    found = list(evidence.outgoing(uid))
    assert [one.good for one in found] == [*good, *good]
    assert {one.what.rpartition(" ")[2] for one in found} == {*chains}


@pytest.mark.parametrize(
    ("mode", "uses", "good"),
    [
        (0o640, "TLS Web Server Authentication", True),
        (0o644, "TLS Web Server Authentication", False),
        (0o600, "TLS Web Server Authentication, TLS Web Client Authentication", False),
    ],
)
def test_x6_a_certificate(
    says: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, uses: str, good: bool
) -> None:
    """X6: Its purposes are exactly the wanted ones, and others do not read its key."""
    monkeypatch.setattr(evidence, "TLS", str(tmp_path))
    (tmp_path / "database.key").touch(mode)
    (tmp_path / "database.key").chmod(mode)
    says(openssl=f"X509v3 Extended Key Usage: \n    {uses}\n", systemctl="active\n")
    wanted = [{"name": "database", "uses": ["serverAuth"]}]
    own, renewal = evidence.certificates(wanted)
    assert (own.good, renewal) == (good, Seen("renewal", True, "the timer is active"))


def test_x9_sshd(says: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """X9: Passwords, root, and a host without sshd."""
    monkeypatch.setattr(evidence, "SSHD", str(tmp_path / "sshd"))
    assert only("sshd") == Seen("sshd", True, "not installed")
    (tmp_path / "sshd").touch()
    keys = "permitrootlogin no\npasswordauthentication no\nkbdinteractiveauthentication no\n"
    says(sshd=keys)
    assert only("sshd").good
    says(sshd=keys.replace("permitrootlogin no", "permitrootlogin without-password"))
    assert only("sshd") == Seen("sshd", False, "permitrootlogin without-password")


INFO = "client.ssl=on\nserver.ssl=on\nauth.ssl-allow=nas1,s1\n"


@pytest.mark.parametrize(
    ("info", "good", "words"),
    [
        (INFO, True, "for nas1,s1"),
        (INFO.replace("nas1,s1", "nas1,s1,w1"), False, "for nas1,s1,w1"),
        (INFO.replace("server.ssl=on", "server.ssl=off"), False, "for nas1,s1"),
        ("status=1\n", False, "for hosts without a name"),
    ],
)
def test_x1_a_volume_that_takes_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, info: str, good: bool, words: str
) -> None:
    """X1: The names are those of its application's hosts, on both sides of every connection."""
    (tmp_path / "nas").mkdir()
    (tmp_path / "nas/info").write_text(info)
    brick = ["/usr/sbin/glusterfsd", "--brick-name", "/nas", "--brick-port", "49200"]
    asked: list[tuple[str, int]] = []

    def encrypted(what: str, port: int) -> Seen:
        asked.append((what, port))
        return Seen(what, True, "TLSv1.3")

    monkeypatch.setattr(evidence, "VOLUMES", tmp_path)
    monkeypatch.setattr(evidence, "processes", lambda: iter([(1, ["init"]), (2, brick)]))
    monkeypatch.setattr(evidence, "_encrypted", encrypted)
    *daemons, volume = evidence.files({"nas": ["s1", "nas1"]})
    assert asked == [("glusterd", 24007), ("brick /nas", 49200)]
    assert all(seen.good for seen in daemons)
    assert volume == Seen("volume nas", good, words)


def test_x1_a_daemon_without_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    """X1: Only an answer in TLS counts."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        Thread(target=lambda: server.accept()[0].close(), daemon=True).start()
        seen = evidence._encrypted("glusterd", server.getsockname()[1])
    assert not seen.good and "orch.storage_tls" in seen.seen


def test_x2_code_on_the_volume(tmp_path: Path) -> None:
    """X2: A link to the volume counts as the volume, and a name that begins like it does not."""
    volume = tmp_path / "nas"
    for folder in (volume / "crm", tmp_path / "nas-local"):
        folder.mkdir(parents=True)
    (tmp_path / "link").symlink_to(volume / "crm")
    judged = {
        path.name: good
        for path in (tmp_path / "nas-local", tmp_path / "link", tmp_path / "absent")
        for _, good, _ in evidence.local([str(path)], str(volume))
    }
    assert judged == {"nas-local": True, "link": False, "absent": False}


def test_x8_logs(tmp_path: Path) -> None:
    """X8: Every file counts, the rotated ones too."""
    for name, mode in (("access.log", 0o640), ("access.log.1", 0o640)):
        (tmp_path / name).touch()
        (tmp_path / name).chmod(mode)
    assert only("logs", folder=str(tmp_path)).good
    (tmp_path / "access.log.1").chmod(0o644)
    assert only("logs", folder=str(tmp_path)) == Seen(
        str(tmp_path), False, "everybody reads access.log.1"
    )


def test_x10_a_release(tmp_path: Path) -> None:
    """X10: The recorded release runs, and nobody has changed its files."""
    release = releases.complete(tmp_path / "releases" / releases.NAME)
    link = tmp_path / "production"
    activate(link, release)

    def seen(wanted: str = release.name) -> list[tuple[bool, str]]:
        asked = {"link": str(link), "wanted": wanted}
        found = evidence.gather([{"row": "X10", "look": "runs", "arguments": asked}])
        return [(one["good"], one["seen"]) for one in found]

    assert seen() == [(True, release.name), (True, "unchanged")]
    assert seen(releases.NEXT) == [(False, release.name), (True, "unchanged")]
    changed = releases.change(release, "code.py")
    assert seen() == [(True, release.name), (False, changed)]


@pytest.mark.parametrize("older", [False, True])
def test_x10_without_a_release_there_is_no_evidence(tmp_path: Path, older: bool) -> None:
    """X10: A host that runs nothing, or a checkout from before, shows it as a fault."""
    link = tmp_path / "production"
    if older:
        link.mkdir()
    asked = {"link": str(link), "wanted": releases.NAME}
    found = evidence.gather([{"row": "X10", "look": "runs", "arguments": asked}])
    assert found and not any(one["good"] for one in found)


@pytest.mark.parametrize(
    ("record", "good", "words"),
    [
        (
            {"lock": True, "requirements": pypi.lock({"six": "0" * 64}).splitlines()},
            True,
            "its hash",
        ),
        ({"lock": True, "requirements": ["six==1.0"]}, False, "six==1.0 has no hash"),
        ({"lock": False, "requirements": ["six"]}, False, "nothing was verified"),
    ],
)
def test_x10_an_environment(tmp_path: Path, record: Any, good: bool, words: str) -> None:
    """X10: It was built from a lock with hashes; anything else is said plainly."""
    (tmp_path / "salina.json").write_text(json.dumps(record))
    seen = only("environment", path=str(tmp_path))
    assert (seen.good, words in seen.seen) == (good, True)


@pytest.mark.parametrize(
    ("answer", "good", "words"),
    [
        ((400, {"error": "etcdserver: user name is empty"}), True, "user name is empty"),
        ((200, {"kvs": []}), False, "it answered"),
        (NoAnswer("timed out"), False, "timed out"),
    ],
)
def test_x3_a_request_without_a_login(
    monkeypatch: pytest.MonkeyPatch, answer: Any, good: bool, words: str
) -> None:
    """X3: An answer is a fault, and so is silence."""

    def call(*_: Any, **__: Any) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(evidence, "call", call)
    arguments = {"endpoint": "10.1.4.21:2379", "certificate": "etcd"}
    [seen] = evidence.gather([{"row": "X3", "look": "login", "arguments": arguments}])
    assert (seen["good"], words in seen["seen"]) == (good, True)


class Site(BaseHTTPRequestHandler):
    """An application behind a balancer that refuses foreign names."""

    headers_sent = ("X-Content-Type-Options", "Referrer-Policy", "X-Frame-Options")

    def do_GET(self) -> None:
        known = self.headers["Host"] == "crm.example"
        self.send_response(200 if known else 421)
        for name in self.headers_sent:
            self.send_header(name, "x")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


def test_x5_the_published_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """X5: A foreign name is refused, and the headers are there, or named."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        asked = {"address": "127.0.0.1", "port": server.server_port, "tls": False, "path": "/"}
        first, second = evidence.edge(domain="crm.example", **asked)
        assert (first, second.good) == (Seen("a foreign host name", True, "HTTP 421"), True)
        monkeypatch.setattr(Site, "headers_sent", ("Referrer-Policy",))
        _, second = evidence.edge(domain="crm.example", **asked)
        assert second.seen == "no x-content-type-options, x-frame-options"
        _, second, _ = evidence.edge(domain="crm.example", copy=True, **asked)
        assert second == Seen("crm.example without its password", False, "HTTP 200")
    finally:
        server.shutdown()
        server.server_close()

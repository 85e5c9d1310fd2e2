"""S13: What clients do: log in, keep a file and read it back; and what nobody else watches."""

from __future__ import annotations

import base64
import json
import os
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from salina.health import probes
from salina.monitoring import mail, plugin
from salina.monitoring.plugin import CRITICAL, OK
from salina_fleet.kinds import KINDS
from salina_fleet.model import settings
from salina_fleet.model.monitoring import MonitoringSettings
from salina_fleet.model.settings import SettingsError
from tests import fleets
from tests.render.minion import Minion

USER, PASSWORD = "salina-monitoring", "canary-password"
NOON = 1_780_000_000.0


class Odoo:
    """The parts of Odoo's interface that a browser uses, with one attachment at most."""

    def __init__(self) -> None:
        self.files: dict[int, dict[str, str]] = {}
        self.logins = 0
        self.sessions: set[str] = set()
        self.status: dict[str, int] = {}
        self.wrong = b""
        self.asked: list[str] = []

    def answer(self, path: str, cookie: str, params: Any) -> tuple[int, bytes, str]:
        """Return status, body and a new cookie."""
        self.asked.append(path)
        if path in self.status:
            return self.status[path], b"", ""
        if path == "/web/session/authenticate":
            good = params == {"db": "crm", "login": USER, "password": PASSWORD}
            self.logins += 1
            session = f"session{self.logins}"
            self.sessions |= {session} if good else set()
            return 200, self._told({"uid": 7 if good else None}), f"session_id={session}; HttpOnly"
        if cookie.removeprefix("session_id=") not in self.sessions:
            return 200, b'{"error": {"message": "x", "data": {"message": "Session expired"}}}', ""
        if path == "/web/session/destroy":
            self.sessions.clear()
            return 200, self._told(None), ""
        if path.startswith("/web/content/"):
            number = int(path.removeprefix("/web/content/").partition("?")[0])
            return 200, self.wrong or base64.b64decode(self.files[number]["datas"]), ""
        method, arguments = params["method"], params["args"]
        assert params["model"] == "ir.attachment" and path.endswith(f"/ir.attachment/{method}")
        if method == "search":
            assert arguments == [[["name", "=", USER], ["create_uid", "=", 7]]]
            return 200, self._told([*self.files]), ""
        if method == "create":
            self.files[41] = arguments[0]
            return 200, self._told(41), ""
        assert method == "write"
        self.files[arguments[0][0]] |= arguments[1]
        return 200, self._told(True), ""

    def _told(self, result: Any) -> bytes:
        return json.dumps({"jsonrpc": "2.0", "result": result}).encode()


@pytest.fixture
def odoo() -> Iterator[SimpleNamespace]:
    """An application, and the plugin's configuration for it."""
    there = Odoo()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length", "0"))
            body = json.loads(self.rfile.read(length)) if length else {}
            cookie = self.headers.get("Cookie", "")
            status, told, given = there.answer(self.path, cookie, body.get("params"))
            self.send_response(status)
            if given:
                self.send_header("Set-Cookie", given)
            self.send_header("Content-Length", str(len(told)))
            self.end_headers()
            self.wfile.write(told)

        do_GET = do_POST

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        way = {"address": "127.0.0.1", "port": server.server_port, "tls": False, "ca": None}
        asked = {**way, "domain": "crm.example", "user": USER, "pages": ["/web/login"]}
        yield SimpleNamespace(there=there, configuration={"clients": {"crm": asked}})
        server.shutdown()


@pytest.fixture(autouse=True)
def passwords(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The file of the passwords."""
    file = tmp_path / "users.json"
    file.write_text(json.dumps({"crm": PASSWORD}))
    monkeypatch.setattr(plugin, "USERS", file)
    return file


def test_s13_a_login_and_an_attachment(odoo: SimpleNamespace) -> None:
    """S13: There is one attachment. It has other content each hour, and each login ends."""
    for later in (0, 60, 3600):
        state, words = plugin.use("crm", odoo.configuration, NOON + later)
        assert state == OK, words
        assert words.startswith("logged in, wrote an attachment and read it back, in ")
    [(number, kept)] = odoo.there.files.items()
    assert number == 41 and kept["name"] == USER
    assert base64.b64decode(kept["datas"]) == b"Salina 2026-05-28T21"
    assert not odoo.there.sessions and odoo.there.logins == 3


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/web/session/authenticate", 503, "/web/session/authenticate: HTTP 503"),
        ("/web/content/41?download=1", 404, "/web/content/41?download=1: HTTP 404"),
    ],
)
def test_s13_an_error_is_a_fault(odoo: SimpleNamespace, path: str, status: int, words: str) -> None:
    """S13: It says what a client could not do."""
    odoo.there.status[path] = status
    assert plugin.use("crm", odoo.configuration, NOON) == (CRITICAL, words)


def test_s13_what_a_client_cannot_do(odoo: SimpleNamespace, passwords: Path) -> None:
    """S13: A wrong password, another content, no application, an answer of another form."""
    odoo.there.wrong = b"other"
    words = "the attachment does not have the content that was just written"
    assert plugin.use("crm", odoo.configuration, NOON) == (CRITICAL, words)
    passwords.write_text('{"crm": "wrong"}')
    found = plugin.use("crm", odoo.configuration, NOON)
    assert found == (CRITICAL, f"{USER} cannot log in")
    passwords.write_text("{}")
    assert "another form" in plugin.use("crm", odoo.configuration, NOON)[1]
    passwords.unlink()
    assert plugin.use("crm", odoo.configuration, NOON)[0] == CRITICAL
    odoo.configuration["clients"]["crm"]["port"] = 1
    assert "no answer" in plugin.use("crm", odoo.configuration, NOON)[1]


def test_s13_without_a_user_the_pages_are_asked(odoo: SimpleNamespace) -> None:
    """S13: Those of the definition, since each Node application logs in differently."""
    asked = {**odoo.configuration["clients"]["crm"], "user": None, "pages": ["/a", "/b"]}
    configuration = {"clients": {"crm": asked}}
    assert plugin.use("crm", configuration, NOON)[1].startswith("2 pages, in ")
    assert odoo.there.asked == ["/a", "/b"]
    odoo.there.status["/b"] = 500
    assert plugin.use("crm", configuration, NOON) == (CRITICAL, "/b: HTTP 500")


def test_x8_only_nagios_reads_the_password() -> None:
    """X8, S13: It is in a file of Nagios' own user, and on the hosts that make the user."""
    minion = Minion("nagios", fleets.pillar("nagios"))
    holding = [path for path, text in minion.files if "canary-app-crm-monitoring" in text]
    assert holding == ["/etc/nagios4/users.json"]
    [chunk] = [one for one in minion.chunks if one["name"] == holding[0]]
    assert (chunk["user"], chunk["mode"], chunk["show_changes"]) == ("nagios", "0400", False)


def test_s13_a_fleet_without_monitoring_makes_no_user() -> None:
    """S13, X8: Neither does a copy for trials."""
    for name, host, made in (("default", "s1", True), ("two-applications", "s1", False)):
        pillar = fleets.pillar(host, name)
        watched = bool(fleets.fleet(name).having("monitoring"))
        assert watched is made
        ids = [one["__id__"] for one in Minion(host, pillar).chunks]
        assert ("odoo-watched" in ids) is made
    copies = [one.name for one in fleets.topology("staging").copies]
    hosts = [one for one in fleets.fleet("staging").hosts.values() if one.application in copies]
    assert hosts
    for host in hosts:
        assert "monitoring_password" not in fleets.pillar(host.id, "staging")["app"]["secrets"]


class Users:
    """Odoo's users, in a version that calls their groups by one of two names."""

    def __init__(self, field: str, there: bool) -> None:
        self._fields = {field}
        self.there, self.calls = there, list[Any]()

    def with_context(self, **_: Any) -> Users:
        """Return the same."""
        return self

    def search(self, domain: Any) -> Any:
        """Return the user, if there is one."""
        assert domain == [("login", "=", USER)]
        return self if self.there else None

    def create(self, values: Any) -> None:
        """Note it."""
        self.calls.append(("create", values))

    def write(self, values: Any) -> None:
        """Note it."""
        self.calls.append(("write", values))


@pytest.mark.parametrize("field", ["groups_id", "group_ids"])
@pytest.mark.parametrize("there", [True, False])
def test_s13_the_user_has_no_further_group(
    monkeypatch: pytest.MonkeyPatch, field: str, there: bool
) -> None:
    """S13: In every version of Odoo, whether the user is there or not."""
    users, committed = Users(field, there), list[bool]()

    class Environment(dict[str, Any]):
        cr = SimpleNamespace(commit=lambda: committed.append(True))

        def ref(self, name: str) -> Any:
            """Return a record."""
            assert name == "base.group_user"
            return SimpleNamespace(id=1)

    monkeypatch.setenv("WATCHED_AS", str(KINDS["odoo"].watched_as))
    monkeypatch.setenv("WATCHED_PASSWORD", PASSWORD)
    script = (fleets.REPOSITORY / "salt/odoo/files/watched.py").read_text()
    exec(script, {"env": Environment({"res.users": users})})
    [(call, values)] = users.calls
    assert call == ("write" if there else "create") and committed == [True]
    assert values[field] == [(6, 0, [1])] and values["password"] == PASSWORD
    assert {"groups_id", "group_ids"} & {*values} == {field}


# Nagios itself


STATUS = """\
programstatus {{
\tprogram_start={begun}
\t}}

servicestatus {{
\thost_name=lb1
\tservice_description=client crm
\tcurrent_state=0
\tlast_check={checked}
\tplugin_output=HTTP 200
\t}}

servicestatus {{
\thost_name=lb1
\tservice_description=use crm
\tcurrent_state=2
\tstate_type={hard}
\tlast_check=0
\tplugin_output=x cannot log in
\t}}
"""


def test_s13_what_nagios_knows_of_the_clients(tmp_path: Path) -> None:
    """S13: fleet.health and verify.service show it. One that was never asked counts as good.
    One that Nagios does not know does not: its application has just come.
    """
    status = tmp_path / "status.dat"
    services = [["lb1", "client crm"], ["lb1", "use crm"], ["lb1", "use shop"]]
    arguments = {"status": str(status), "late": 300, "services": services}
    [(what, good, words)] = probes.made("nagios", arguments)
    assert (what, good) == ("nagios", False) and "journalctl -u nagios4" in words
    status.write_text(STATUS.format(begun=1, checked=time.time(), hard=0))
    goods = [good for _, good, _ in probes.made("nagios", arguments)]
    assert goods == [True, True, True, False]  # a blip
    status.write_text(STATUS.format(begun=1, checked=time.time(), hard=1))
    assert probes.made("nagios", arguments) == [
        ("nagios", True, "2 services"),
        ("client crm", True, ""),
        ("use crm", False, "x cannot log in"),
        ("use shop", False, "Nagios does not know it; apply the states of this host"),
    ]
    status.write_text(STATUS.format(begun=time.time(), checked=0, hard=1))
    found = probes.made("nagios", arguments)
    assert found[0][1] and found[3][1]  # it has just begun
    status.write_text(STATUS.format(begun=1, checked=time.time() - 900, hard=1))
    stuck = "it has checked nothing for 15 minutes; restart nagios4"
    assert probes.made("nagios", arguments)[0] == ("nagios", False, stuck)
    os.utime(status, (0, time.time() - 600))
    stuck = "it has written nothing for 10 minutes; restart nagios4"
    assert probes.made("nagios", arguments)[0] == ("nagios", False, stuck)


def test_s13_a_fault_of_the_clients_is_one_alarm() -> None:
    """S13: The watcher's own view of it is silent, and a fault behind the balancer is the cause."""
    found = fleets.pillar("nagios")["monitoring"]["dependencies"]
    own = {
        (one["host"], one["service"]): {other["name"]: other["services"] for other in one["on"]}
        for one in found
    }
    assert own["nagios", "use crm"] == {"lb1": ["use crm"]}
    assert own["nagios", "client crm"] == {"lb1": ["client crm"]}
    behind = next(one for one in found if (one["host"], one["service"]) == ("lb1", "use crm"))
    names = [(other["name"], other["services"]) for other in behind["on"]]
    assert names[:2] == [("lb1", ["report"]), ("lb1", ["client crm"])]
    assert {"tier app", "tier database", "tier storage"} <= {*names[2][1]}


def test_s13_a_mail_says_that_monitoring_works(tmp_path: Path) -> None:
    """S13: And none comes from a Nagios that does not work."""
    status = tmp_path / "status.dat"
    status.write_text(STATUS.format(begun=1, checked=1, hard=1))
    found = mail.heartbeat(status, "salina@example.com", ["a@example.com"])
    assert found["Subject"] == "Monitoring works: 2 services, 1 of them critical"
    os.utime(status, (0, time.time() - 600))
    with pytest.raises(OSError, match="so Nagios does not work"):
        mail.heartbeat(status, "salina@example.com", [])


@pytest.mark.parametrize(("hours", "made"), [(24, True), (0, False)])
def test_s13_the_mail_is_a_setting(hours: int, made: bool) -> None:
    """S13: It goes to the recipients of the alarms unless others are given."""
    own = fleets.settings().but(
        MonitoringSettings(heartbeat=hours, recipients=("a@b.c",), relay="127.0.0.1")
    )
    pillar = fleets.pillar("nagios", own=own)
    assert pillar["monitoring"]["heartbeat_to"] == ["a@b.c"]
    files = dict(Minion("nagios", pillar).files)
    timer = files.get("/etc/systemd/system/salina-heartbeat.timer", "")
    assert ("OnUnitActiveSec=24h" in timer) is made


def test_k5_a_mail_needs_somebody_who_gets_it() -> None:
    """K5: One clear error."""
    with pytest.raises(SettingsError) as caught:
        settings.parse({"monitoring": {"heartbeat": 24}})
    (found,) = caught.value.faults
    assert found.startswith("monitoring.yaml: heartbeat_to: missing; must be the addresses")

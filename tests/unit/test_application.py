"""The checks of the application, and the states that wait for them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from salt.exceptions import CommandExecutionError

from salina.application import agent
from salina.application import database as own_path
from salina.database.psql import PsqlError
from tests import fleets
from tests.loading import failure, load, refusing, states


@pytest.fixture
def application() -> ModuleType:
    return load("_modules/application.py", salt={}, pillar=fleets.pillar("s1"))


@pytest.fixture
def server() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.headers["Cookie"] == "sid=probe"
            self.send_response(int(self.path.removeprefix("/") or (200 if known else 401)))
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as http:
        threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()


def test_health(application: ModuleType, server: str) -> None:
    assert application.health(f"{server}/200") == ""
    assert application.health(f"{server}/503") == "status 503"
    assert application.health(f"{server}/", "sid=probe") == ""
    assert application.health(f"{server}/") == "status 401"
    assert application.health("http://127.0.0.1:1/") == "[Errno 111] Connection refused"


def test_listening(application: ModuleType) -> None:
    """The wildcard is not the address."""
    lines = "LISTEN 0 511 0.0.0.0:80 0.0.0.0:*\nLISTEN 0 511 [fd00::1]:80 [::]:*"
    said = {"retcode": 0, "stdout": lines}
    application.__salt__ = {"cmd.run_all": lambda *_, **__: said}  # type: ignore[attr-defined]
    assert application.listening("fd00::1", 80)
    assert not application.listening("10.1.3.11", 80)


# The database


class Psql:
    """A session that answers whether the server is a replica, or is refused."""

    def __init__(self, recovering: str | None, record: bool = True) -> None:
        self.recovering, self.record = recovering, record
        self.asked: dict[str, Any] = {}

    def __call__(self, database: dict[str, Any], name: str, ca: str, options: str = "") -> Psql:
        """Connect."""
        self.asked = {**database, "ca": ca, "options": options}
        return self

    def __enter__(self) -> Psql:
        if self.recovering is None:
            raise PsqlError("timeout expired")
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def query(self, sql: str) -> list[str]:
        """Answer."""
        if "salina.release" in sql:
            assert self.asked["options"] == "-c search_path=pg_catalog"
            return ["f" if self.record else "t"]
        return [str(self.recovering)]


@pytest.mark.parametrize("fleet", ["default", "one-host", "ipv6"])
def test_s12_checks_have_a_path_that_the_application_cannot_fill(
    fleet: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S12, S6: Salt's sessions go to the local HAProxy, by TLS to the server's own name."""
    (host, *_) = fleets.fleet(fleet).having("app")
    pillar = fleets.pillar(host.id, fleet)
    psql = Psql("f")
    monkeypatch.setattr(own_path, "Session", psql)
    with own_path.session(pillar, "salina: a test"):
        pass
    route, database = pillar["database_route"], pillar["app"]["database"]
    assert (psql.asked["host"], psql.asked["port"]) == ("database", route["listen"])
    assert route["listen"] != database["port"] == route["pool_port"]
    assert psql.asked["ca"] == "/etc/salina/tls/ca.crt"
    assert [psql.asked[key] for key in ("name", "user", "password")] == [
        database[key] for key in ("name", "user", "password")
    ]
    names = {name: one["address"] for one in pillar["hosts"] for name in one["names"]}
    assert names["database"] == "127.0.0.1"


def test_x10_the_record_has_a_login_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """X10, O8: The application owns the database, so no setting of it is trusted."""
    pillar, psql = fleets.pillar("s1"), Psql("f")
    monkeypatch.setattr(own_path, "Session", psql)
    with own_path.session(pillar, "salina: a test", "salina_next_crm", record=True):
        pass
    login = [psql.asked[key] for key in ("name", "user", "password")]
    assert login == ["salina_next_crm", "salina_record_crm", "canary-app-crm-record"]
    assert psql.asked["options"] == "-c search_path=pg_catalog"


@pytest.mark.parametrize(
    ("recovering", "record", "obstacle"),
    [
        ("f", True, ""),
        ("t", True, "it is a replica: read-only"),
        (None, True, "timeout expired"),
        ("f", False, "salina.release is missing; apply the states of the database hosts"),
    ],
)
def test_s12_why_the_database_takes_no_writes(
    application: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    recovering: str,
    record: bool,
    obstacle: str,
) -> None:
    """S12: The check tells a replica and a silent server from a primary.

    After an update the states of a database host may still be on their way.
    """
    monkeypatch.setattr(own_path, "Session", Psql(recovering, record))
    monkeypatch.setattr(application, "installed", lambda: True)
    assert application.database() == obstacle
    monkeypatch.setattr(application, "installed", lambda: False)
    assert application.database() == "psql is not installed"


# New settings and new code

CODE = ["/opt/odoo/production.json", "/opt/odoo/addons/salina_odoo14/health.py"]
OLD, NEW = "c0ffee000000-0123abcd", "c0ffee000000-4567abcd"


def pending(application: ModuleType, runs: str, newer: list[str], waits: str = "") -> str:
    """Why a restart would start other code, where one release runs and NEW is wanted."""
    application.__salt__ = {  # type: ignore[attr-defined]
        "release.active": lambda: runs,
        "release.waits": lambda: waits,
        "daemon.outdated": lambda name, files: [one for one in files if one in newer],
    }
    return str(application.pending_code("odoo", CODE, NEW))


def test_s12_what_else_a_restart_would_start(application: ModuleType) -> None:
    """S12: Code on its way, and code that the service does not run yet, are other code."""
    assert pending(application, NEW, []) == ""
    assert pending(application, OLD, []) == f"its release will change from {OLD} to {NEW}"
    assert pending(application, "", []) == f"its release will change from none to {NEW}"
    assert pending(application, NEW, CODE) == f"{CODE[0]}, {CODE[1]} changed"
    assert pending(application, NEW, CODE[1:]) == f"{CODE[1]} changed"


def test_s12_a_release_that_waits_holds_no_settings_up(application: ModuleType) -> None:
    """S12: The service goes on with its release, so a restart starts the code that it runs."""
    assert pending(application, OLD, [], waits=NEW) == ""
    assert pending(application, OLD, CODE, waits=NEW) == f"{CODE[0]}, {CODE[1]} changed"
    said = f"its release will change from {OLD} to {NEW}"
    assert pending(application, OLD, [], waits="c0ffee000000-00000000") == said
    assert pending(application, OLD, [], waits=OLD) == said


@pytest.mark.parametrize("reason", ["", f"its release will change from {OLD} to {NEW}"])
def test_s12_settings_alone_restart_a_service_at_once(reason: str) -> None:
    """S12, S9: A restart for settings never starts code before its one-time steps."""
    asked: list[tuple[Any, ...]] = []
    calls: list[tuple[Any, ...]] = []

    def why(*given: Any) -> str:
        asked.append(given)
        return reason

    def current(name: str, files: list[str], restart: bool, turn: str) -> dict[str, Any]:
        calls.append((name, files, restart, turn))
        return {"name": name, "result": True, "changes": {"read": files}, "comment": ""}

    found = states("application", application_pending_code=why)
    found.__states__ = {"daemon.current": current}  # type: ignore[attr-defined]
    ret = found.reconfigured("odoo", ["/etc/odoo/odoo.conf"], CODE, NEW, "app")
    assert ret["result"] is True
    assert asked == [("odoo", CODE, NEW)]
    if not reason:
        assert calls == [("odoo", ["/etc/odoo/odoo.conf"], True, "app")]
        assert ret["changes"] == {"read": ["/etc/odoo/odoo.conf"]}
    else:
        assert (calls, ret["changes"]) == ([], {})
        assert ret["comment"] == f"odoo takes its settings together with its code, because {reason}"


# The states

Wait = Callable[[bool, str], dict[str, Any]]


def answers(test: bool, obstacle: str) -> dict[str, Any]:
    """The state that waits for the database; `obstacle`: what its one look finds."""
    looks = iter([obstacle])
    found = states("application", test, application_database=lambda: next(looks))
    ret: dict[str, Any] = found.database_answers("crm", wait=60 if test else 0)
    return ret


def healthy(test: bool, obstacle: str) -> dict[str, Any]:
    """The same for the application."""
    looks = iter([obstacle])
    salt = {"application_health": lambda url, cookie: next(looks), "turn_renew": lambda: None}
    found = states("application", test, **salt)
    wait = 60 if test else 0
    ret: dict[str, Any] = found.healthy("http://127.0.0.1:8069/", "/var/log/crm.log", wait)
    return ret


@pytest.mark.parametrize("test", [False, True])
@pytest.mark.parametrize("wait", [answers, healthy])
def test_what_is_there_is_not_waited_for(wait: Wait, test: bool) -> None:
    ret = wait(test, "")
    assert (ret["result"], ret["changes"]) == (True, {})


WAITS = [
    (answers, "the database crm", ""),
    (healthy, "http://127.0.0.1:8069/", " (see /var/log/crm.log)"),
]


@pytest.mark.parametrize(("wait", "what", "log"), WAITS)
def test_waiting_is_predicted_by_one_look(wait: Wait, what: str, log: str) -> None:
    """K3: A prediction looks once and does not wait."""
    ret = wait(True, "status 500")
    assert (ret["result"], ret["comment"]) == (None, f"it would wait for {what}: status 500{log}")


@pytest.mark.parametrize(("wait", "what", "log"), WAITS)
def test_waits_with_a_bound(wait: Wait, what: str, log: str) -> None:
    """K5: The failure names what it waited for, and the log that may tell more."""
    assert failure(wait(False, "read-only")) == f"waited 0 s for {what}: read-only{log}"


class Nginx:
    """A service that listens where it should, from its restart on."""

    def __init__(
        self,
        listens: bool = False,
        mends: bool = True,
        everywhere: bool = True,
        test: bool = False,
        running: bool = True,
    ) -> None:
        self.listens = listens
        self.everywhere = everywhere
        self.mends = mends
        self.restarts: list[str] = []
        self.states = states("application", test, application_listening=self.listening)
        self.states.__salt__["service.restart"] = self.restart
        self.states.__salt__["service.status"] = lambda _: running

    def listening(self, address: str, port: int) -> bool:
        if address in ("0.0.0.0", "::"):
            return self.everywhere
        return self.listens

    def restart(self, name: str) -> None:
        self.restarts.append(name)
        self.listens = self.mends

    def apply(self) -> dict[str, Any]:
        ret: dict[str, Any] = self.states.listening("nginx", "10.1.3.11", 80)
        return ret


@pytest.mark.parametrize("test", [False, True])
def test_a_service_that_listens_is_left_alone(test: bool) -> None:
    nginx = Nginx(listens=True, test=test)
    ret = nginx.apply()
    assert (ret["result"], ret["changes"], nginx.restarts) == (True, {}, [])


@pytest.mark.parametrize("test", [False, True])
def test_a_service_that_listens_everywhere_is_restarted(test: bool) -> None:
    nginx = Nginx(test=test)
    ret = nginx.apply()
    assert ret["result"] is (None if test else True)
    listening = {"old": None, "new": "10.1.3.11 port 80"}
    assert ret["changes"] == {"restart": "nginx", "listening": listening}
    assert nginx.restarts == ([] if test else ["nginx"])


@pytest.mark.parametrize("test", [False, True])
def test_a_stopped_service_is_left_to_the_state_that_starts_it(test: bool) -> None:
    """K3: So the prediction names one start, as in the real run."""
    nginx = Nginx(test=test, running=False)
    ret = nginx.apply()
    assert (ret["result"], ret["changes"], nginx.restarts) == (True, {}, [])


@pytest.mark.parametrize("test", [False, True])
def test_a_service_that_listens_elsewhere_is_left_to_its_reload(test: bool) -> None:
    """X7: nginx opens its port with TLS without a restart, which would fail requests."""
    nginx = Nginx(everywhere=False, test=test)
    ret = nginx.apply()
    assert (ret["result"], ret["changes"], nginx.restarts) == (True, {}, [])
    assert ret["comment"] == "nginx will listen on 10.1.3.11 port 80 when it reloads"


def test_a_service_that_does_not_come_to_listen() -> None:
    assert failure(Nginx(mends=False).apply()) == (
        "systemctl restart nginx: it succeeded, but nginx does not listen on 10.1.3.11 port 80 "
        "(see journalctl -u nginx)"
    )
    nginx = Nginx()
    nginx.states.__salt__["service.restart"] = refusing("Job for nginx.service failed.")
    assert failure(nginx.apply()) == "systemctl restart nginx: Job for nginx.service failed."


# The move to TLS

LISTEN = "listen 10.1.3.11:80 default_server;\n"
CLOSED = "# Managed by Salt (salt/nginx).\n"
KEPT = "port 80 is open without TLS for lb1"


class Move:
    """An app host whose nginx may have a port without TLS, and what its agent tells."""

    def __init__(self, place: Path, monkeypatch: pytest.MonkeyPatch, nginx: str) -> None:
        self.file, configuration = place / "older-balancers.conf", place / "nginx.conf"
        configuration.write_text(nginx)
        self.given = [str(self.file), str(configuration), "10.1.3.11", 80, ["lb1"]]
        self.told: dict[str, Any] | None = None
        monkeypatch.setattr(agent, "ask", self.ask)

    def ask(self) -> dict[str, Any]:
        if self.told is None:
            raise FileNotFoundError
        return self.told

    def apply(self, test: bool = False) -> tuple[bool | None, bool, str]:
        module = load("_modules/application.py", salt={}, pillar={})
        found = states("application", test, application_older_balancers=module.older_balancers)
        ret = found.open_to_older(*self.given)
        return ret["result"], bool(ret["changes"]), ret["comment"]


def heard(age: float, **more: float) -> dict[str, Any]:
    """Return an agent's view of a balancer."""
    return {"balancers": {"lb1": {"age": age, **more}}}


def test_x7_a_host_that_never_had_a_port_without_tls_opens_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X7, K1, K3: A new host has nothing to keep, and a second apply changes nothing."""
    move = Move(tmp_path, monkeypatch, "listen 10.1.3.11:443 ssl default_server;\n")
    assert move.apply(test=True) == (None, True, "it would be written, so that it is closed")
    assert not move.file.exists()
    assert move.apply() == (True, True, "it is closed")
    assert move.file.read_text() == CLOSED
    assert move.apply() == (True, False, "it is closed")


def test_x7_a_host_that_is_its_own_balancer_keeps_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X7: There the port is on loopback, where nginx listens in any case."""
    move = Move(tmp_path, monkeypatch, "listen 127.0.0.1:80 default_server;\n")
    move.given[2] = "127.0.0.1"
    assert move.apply()[2] == "it is closed"


@pytest.mark.parametrize(
    "told",
    [
        None,
        {"balancers": {}},
        heard(1),
        heard(1, secure=0),
        heard(1, secure=119),
        heard(11, secure=600),
    ],
)
def test_x7_the_port_stays_while_a_balancer_may_use_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: dict[str, Any] | None
) -> None:
    """X7, K2: Also with an agent of an earlier version, and when an apply was killed."""
    move = Move(tmp_path, monkeypatch, f"    {LISTEN}")
    move.told = told
    assert move.apply() == (True, True, KEPT)
    assert move.file.read_text() == CLOSED + LISTEN
    Path(move.given[1]).write_text("listen 10.1.3.11:443 ssl default_server;\n")
    assert move.apply() == (True, False, KEPT)
    assert move.file.read_text() == CLOSED + LISTEN


def test_x7_the_port_closes_when_no_balancer_uses_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X7: Every balancer has asked over TLS only, long enough for its earlier process to end."""
    move = Move(tmp_path, monkeypatch, LISTEN)
    assert move.apply() == (True, True, KEPT)
    Path(move.given[1]).write_text("")
    move.told = heard(1, secure=121)
    assert move.apply(test=True) == (None, True, "it would be written, so that it is closed")
    assert move.apply() == (True, True, "it is closed")
    assert move.file.read_text() == CLOSED
    move.told = None
    assert move.apply() == (True, False, "it is closed")


# An application that stops for a change


class Systemd:
    """Systemd on an app host: whether the application runs, and the timer that starts it again."""

    def __init__(self) -> None:
        self.running, self.timer = True, False
        self.since = 0
        salt = {
            "service.stop": self.stop,
            "service.start": self.start,
            "service.status": lambda unit: self.running,
            "cmd.run_all": self.run_all,
        }
        pillar = fleets.pillar("s1")
        self.module: Any = load("_modules/application.py", salt=salt, pillar=pillar)

    def stop(self, unit: str) -> None:
        """Stop a unit."""
        if unit == "odoo":
            self.running = False
            self.since += 1
        else:
            assert unit == f"{self.module.AGAIN}.timer"
            self.timer = False

    def start(self, unit: str) -> None:
        """Start the application."""
        assert unit == "odoo"
        self.running = True

    def run_all(self, argv: list[str], **_: Any) -> dict[str, Any]:
        """Set the timer, or say when the application stopped."""
        assert "systemd-run" in argv or argv[-1] == "odoo"
        self.timer = self.timer or "systemd-run" in argv
        return {"retcode": 0, "stdout": str(self.since), "stderr": ""}


def test_o8_an_application_that_stopped_stays_stopped() -> None:
    """O8, K2: Until it is held, systemd would start it again if the master died."""
    host = Systemd()
    host.module.stop(900)
    assert (host.running, host.timer) == (False, True)
    since = host.module.stopped()
    host.module.hold(since)
    assert (host.running, host.timer) == (False, False)
    host.module.start()
    assert host.running


@pytest.mark.parametrize("runs", [True, False])
def test_o8_an_application_that_ran_meanwhile_is_noticed(runs: bool) -> None:
    """O8, K5: Users may have changed something that the copy does not have."""
    host = Systemd()
    host.module.stop(900)
    since = host.module.stopped()
    host.start("odoo")
    if not runs:
        host.stop("odoo")
    with pytest.raises(CommandExecutionError, match=r"^odoo runs$|the application ran meanwhile"):
        host.module.hold(since)


@pytest.mark.parametrize(("call", "running"), [("start", True), ("halt", False)])
def test_o8_no_timer_starts_the_application_later(call: str, running: bool) -> None:
    """O8: It runs, or stays stopped, until somebody else changes that."""
    host = Systemd()
    host.module.stop(900)
    getattr(host.module, call)()
    assert (host.running, host.timer) == (running, False)


@pytest.mark.parametrize(("done", "said"), [(True, ""), (None, ""), (False, "failed; see")])
def test_k5_an_application_that_does_not_stop_is_an_error(done: bool | None, said: str) -> None:
    """K5: Salt only returns False, and the change that stops the application would go on."""
    asked: list[str] = []

    def stop(unit: str) -> bool | None:
        asked.append(unit)
        return done

    salt = {"service.stop": stop}
    module = load("_modules/application.py", salt=salt, pillar=fleets.pillar("s1"))
    if said:
        with pytest.raises(CommandExecutionError, match=f"systemctl stop odoo: {said}"):
            module.halt()
    else:
        module.halt()
    assert asked == ["salina-application-start.timer", "odoo"]

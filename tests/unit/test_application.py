"""The checks of the application, and the states that wait for them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import ModuleType
from typing import Any

import pytest

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
    ret: dict[str, Any] = found.healthy("http://127.0.0.1:8069/", wait=60 if test else 0)
    return ret


@pytest.mark.parametrize("test", [False, True])
@pytest.mark.parametrize("wait", [answers, healthy])
def test_what_is_there_is_not_waited_for(wait: Wait, test: bool) -> None:
    ret = wait(test, "")
    assert (ret["result"], ret["changes"]) == (True, {})


WAITS = [(answers, "the database crm"), (healthy, "http://127.0.0.1:8069/")]


@pytest.mark.parametrize(("wait", "what"), WAITS)
def test_waiting_is_predicted_by_one_look(wait: Wait, what: str) -> None:
    """K3: A prediction looks once and does not wait."""
    ret = wait(True, "status 500")
    assert (ret["result"], ret["comment"]) == (None, f"it would wait for {what}: status 500")


@pytest.mark.parametrize(("wait", "what"), WAITS)
def test_waits_with_a_bound(wait: Wait, what: str) -> None:
    assert failure(wait(False, "read-only")) == f"waited 0 s for {what}: read-only"


class Nginx:
    """A service that listens where it should, from its restart on."""

    def __init__(self, listens: bool = False, mends: bool = True, test: bool = False) -> None:
        self.listens = listens
        self.mends = mends
        self.restarts: list[str] = []
        self.states = states("application", test, application_listening=lambda *_: self.listens)
        self.states.__salt__["service.restart"] = self.restart

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
def test_a_service_that_listens_elsewhere_is_restarted(test: bool) -> None:
    nginx = Nginx(test=test)
    ret = nginx.apply()
    assert ret["result"] is (None if test else True)
    assert ret["changes"] == {"listening": {"old": None, "new": "10.1.3.11 port 80"}}
    assert nginx.restarts == ([] if test else ["nginx"])


def test_a_service_that_does_not_come_to_listen() -> None:
    assert failure(Nginx(mends=False).apply()) == (
        "systemctl restart nginx: it succeeded, but nginx does not listen on 10.1.3.11 port 80 "
        "(see journalctl -u nginx)"
    )
    nginx = Nginx()
    nginx.states.__salt__["service.restart"] = refusing("Job for nginx.service failed.")
    assert failure(nginx.apply()) == "systemctl restart nginx: Job for nginx.service failed."

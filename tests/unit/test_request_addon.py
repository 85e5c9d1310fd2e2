"""Odoo logs the id of the request to which a line belongs (S13).

Odoo and its servers are only pretended: they have what the addon uses of them.
"""

from __future__ import annotations

import importlib.util
import io
import logging
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from tests import fleets
from tests.conftest import REPOSITORY
from tests.render.minion import Minion

SALT = REPOSITORY / "salt"
ADDON = SALT / "odoo/files/addons/salina_request"
ID = "5f0c1de2-3a1b-4a68-9f8a-0a54c9ab1c7e"
LOG = logging.getLogger("odoo.trial")


class Handler:
    """A request's handler of werkzeug or of gevent, which logs the answer at its end."""

    def __init__(self, given: str | None) -> None:
        self.headers = {"X-Request-ID": given} if given else {}
        self.environ = {"HTTP_X_REQUEST_ID": given} if given else {}


class Threaded(Handler):
    def run_wsgi(self) -> None:
        LOG.info("%s 200", "GET /web")


class Waiting(Handler):
    def handle_one_response(self) -> None:
        LOG.info("%s 200", "POST /longpolling/poll")


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """Return the text that Odoo's handler writes, in the process for long polling."""
    for name in ("odoo", "werkzeug", "werkzeug.serving", "gevent", "gevent.pywsgi"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    vars(sys.modules["odoo"])["evented"] = True
    vars(sys.modules["werkzeug.serving"])["WSGIRequestHandler"] = type("T", (Threaded,), {})
    vars(sys.modules["gevent.pywsgi"])["WSGIHandler"] = type("W", (Waiting,), {})
    written, root, factory = io.StringIO(), logging.getLogger(), logging.getLogRecordFactory()
    own = logging.StreamHandler(written)
    own.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    others, level = [*root.handlers], root.level
    root.handlers[:] = [own]
    root.setLevel("INFO")
    spec = importlib.util.spec_from_file_location("logs", ADDON / "logs.py")
    assert spec and spec.loader
    try:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
        yield written
    finally:
        logging.setLogRecordFactory(factory)
        root.handlers[:] = others
        root.setLevel(level)


def ask(given: str | None, waiting: bool = False) -> None:
    """Have a server handle a request."""
    if waiting:
        handler: Any = sys.modules["gevent.pywsgi"]
        handler.WSGIHandler(given).handle_one_response()
    else:
        handler = sys.modules["werkzeug.serving"]
        handler.WSGIRequestHandler(given).run_wsgi()


def test_s13_a_line_has_the_id_of_its_request(log: io.StringIO) -> None:
    """S13: Also in the process for long polling. A line of no request is as it was."""
    ask(ID)
    LOG.info("a job")
    ask(ID, waiting=True)
    assert log.getvalue().splitlines() == [
        f"INFO odoo.trial: [{ID}] GET /web 200",
        "INFO odoo.trial: a job",
        f"INFO odoo.trial: [{ID}] POST /longpolling/poll 200",
    ]


@pytest.mark.parametrize("given", [None, "", "x", f"{ID}%s", f"{ID}\nINFO odoo: forged", "%(x)s"])
def test_s13_anything_but_an_id_is_ignored(log: io.StringIO, given: str | None) -> None:
    """S13: A process of the host can ask Odoo without the balancer, and forges no line."""
    ask(given)
    assert log.getvalue() == "INFO odoo.trial: GET /web 200\n"


def test_s13_the_id_ends_with_the_request(
    log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S13: Also if the handler fails."""
    with monkeypatch.context() as broken, pytest.raises(ZeroDivisionError):
        broken.setattr(LOG, "info", lambda *words: 1 / 0)
        ask(ID)
    LOG.info("a job")
    assert log.getvalue() == "INFO odoo.trial: a job\n"


def test_all_files_of_the_addon_are_installed() -> None:
    """Odoo restarts for every file except the manifest."""
    names = {chunk["name"] for chunk in Minion("s1", fleets.pillar("s1")).chunks}
    code = (SALT / "odoo/code.jinja").read_text()
    for file in ADDON.glob("*.py"):
        assert f"/opt/odoo/addons/salina_request/{file.name}" in names
        restarts = f"'/opt/odoo/addons/salina_request/{file.name}'" in code
        assert restarts is (file.name != "__manifest__.py")

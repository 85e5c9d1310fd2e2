"""X5: the paths that a real nginx closes, in every spelling."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from salina.common import wait
from salina_fleet import edge
from tests import fleets, nginx, ports
from tests.backend import Application
from tests.render.minion import Minion

ODOO = ("/web/database/manager", "/web/database", "/xmlrpc/2/common", "/xmlrpc", "/jsonrpc")
TRICKS = (
    *("/web/./database/manager", "/%77eb/database", "//web/database", "/web/database;x"),
    *("/WEB/DataBase/manager", "/web//database/manager", "/web%2fdatabase/manager"),
    *("/web/static/../database/manager", "/web/static/%2e%2e/database/manager"),
    *("/web/database/", "/web/database?x=1", "/web/database%2Fmanager", "/web/database/manager%00"),
    *("/web/database/x/static/y.js", "/longpolling/../web/database/manager", "/jsonrpc/"),
    *("/%6asonrpc", "/xmlrpc/2/object?a=/web", "/web/database#x", "http://x/web/database/manager"),
)
OPEN = ("/web", "/web/login", "/web/databases", "/jsonrpcx", "/web/dataset/call_kw/x", "/a/jsonrpc",
        "/web/static/x.js", "/longpolling/poll")  # fmt: skip


@pytest.fixture
def reverse_proxy(tmp_path: Path) -> Iterator[Any]:
    """A function that runs nginx with an app host's configuration: its port, and the requests."""
    with ExitStack() as ends:

        def run(application: str = "odoo-14.0", rpc: bool = False) -> tuple[int, Application]:
            pillar = fleets.pillar("s1", application=application)
            pillar["app"]["closed"] = edge.closed(pillar["app"]["definition"], rpc)
            behind, port = Application(), ports.free()
            ends.callback(behind.server_close)
            ends.callback(behind.shutdown)
            definition = pillar["app"]["definition"]
            pillar["app"] |= {"address": "127.0.0.1", "port": ports.free(), "local_port": port}
            pillar["app"]["balancers"] = [{"name": "lb1", "address": "127.0.0.1"}]
            definition |= {"port": behind.server_port}
            if definition["live"]:
                definition["live"] = {**definition["live"], "port": behind.server_port}
            text = dict(Minion("s1", pillar).files)["/etc/nginx/nginx.conf"]
            ends.enter_context(nginx.running(text, tmp_path, port))
            return port, behind

        yield run


def status(port: int, path: str, **headers: str) -> int:
    """The status of nginx's answer to exactly this path."""
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"GET {path} HTTP/1.1\r\nHost: crm.example\r\n{lines}Connection: close\r\n\r\n"
        connection.sendall(head.encode())
        return int(connection.makefile("rb").readline().split()[1])


def test_x5_odoo_is_closed_to_programs_and_its_database_manager_to_all(
    reverse_proxy: Any, tmp_path: Path
) -> None:
    """X5: No spelling of a closed path reaches Odoo; every refusal has one line in the log."""
    port, odoo = reverse_proxy()
    paths = (*ODOO, *TRICKS)
    found = {path: status(port, path) for path in paths}
    assert set(found.values()) <= {400, 403}, found
    assert [found[path] for path in ODOO] == [403] * len(ODOO)
    assert odoo.requests == []
    log = tmp_path / "odoo-access.log"

    def refused() -> int:
        """Count the lines; nginx writes one after it has answered."""
        return len(re.findall(r'" 40[03] ', log.read_text()))

    assert wait.until(lambda: refused() == len(paths), 10), log.read_text()
    assert {path: status(port, path) for path in OPEN} == dict.fromkeys(OPEN, 200)


def test_x5_a_setting_opens_rpc_and_nothing_else(reverse_proxy: Any) -> None:
    """X5: With `rpc: true` programs reach Odoo, and the database manager stays closed."""
    port, _ = reverse_proxy(rpc=True)
    assert [status(port, path) for path in ODOO] == [403, 403, 200, 200, 200]


def test_x5_a_node_application_has_nothing_closed(reverse_proxy: Any) -> None:
    """X5: A definition without closed paths closes none."""
    port, _ = reverse_proxy("sample-crm", rpc=False)
    assert status(port, "/jsonrpc") == status(port, "/") == 200


def test_x5_nginx_ignores_headers_with_underscores(reverse_proxy: Any) -> None:
    """X5: X_Openerp_Session_Id would be the same header to Odoo; nginx does not pass it on."""
    port, odoo = reverse_proxy()
    assert status(port, "/web", X_Openerp_Session_Id="stolen", Accept="x") == 200
    ((_, headers),) = odoo.requests
    assert "accept" in headers and "stolen" not in headers.values()

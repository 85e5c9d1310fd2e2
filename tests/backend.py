"""An application behind a real HAProxy or nginx: it answers anything, and keeps the requests."""

from __future__ import annotations

import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.authority import serve_tls

Headers = list[tuple[str, str]]


class Application(ThreadingHTTPServer):
    """An application behind the balancer: it answers as the test says, and keeps the requests."""

    daemon_threads = True
    request_queue_size = 100

    def __init__(self, tls: Path | None = None) -> None:
        """Serve.

        Args:
            tls: the directory of the certificates of an app host; None for no TLS.
        """
        super().__init__(("127.0.0.1", 0), Handler)
        if tls:
            serve_tls(self, tls)
        self.status = 200
        self.headers: Headers = []
        self.delay = 0.0
        self.requests: list[tuple[str, dict[str, str]]] = []
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print an error, unless the proxy has closed the connection: that is what it may do."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Application

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if "X-Haproxy-Server-State" not in self.headers:
            asked = (self.path, {key.lower(): value for key, value in self.headers.items()})
            self.server.requests.append(asked)
            time.sleep(self.server.delay)
        if self.headers.get("Upgrade"):
            self.send_response_only(101)
            self.send_header("Upgrade", "websocket")
            self.send_header("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
            self.send_header("Connection", "Upgrade")
            self.end_headers()
            self.wfile.write(self.rfile.readline())
            self.close_connection = True
            return
        self.send_response_only(self.server.status)
        for name, value in self.server.headers:
            self.send_header(name, value)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    do_POST = do_PUT = do_GET

    def log_message(self, *_: Any) -> None: ...

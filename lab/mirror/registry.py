"""The npm registry of a host of the lab: it serves files of the mirror on the loopback address.

It is part of the image, and needs only Python. systemd listens on the port and starts it with the
first request. It ends after a minute without requests. lab/mirror/npm.py writes the files:

    NAME/index.json             the versions of a package, which npm requests first
    NAME/-/NAME-VERSION.tgz     one version
"""

import socket
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

ROOT = "/srv/mirror/npm"
PORT = 4873
URL = f"http://127.0.0.1:{PORT}/"
IDLE = 60  # seconds
FIRST = 3  # the file descriptor of the socket that systemd passes


class Handler(SimpleHTTPRequestHandler):
    """Serve the files of a directory, without listings and without a log."""

    def translate_path(self, path: str) -> str:
        """Return the file for a URL's path. npm writes @scope/name as @scope%2fname."""
        place = Path(self.directory) / unquote(path.partition("?")[0]).lstrip("/")
        inside = place.resolve().is_relative_to(Path(self.directory).resolve())
        return str(place / "index.json" if place.is_dir() else place) if inside else ""

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


class Server(ThreadingHTTPServer):
    """Serve on an open socket, until IDLE seconds pass without a request."""

    daemon_threads = True
    timeout = IDLE

    def __init__(self, given: socket.socket, root: str) -> None:
        """Serve the files below `root` on the given socket."""
        super().__init__(("", 0), lambda *of: Handler(*of, directory=root), bind_and_activate=False)
        self.socket.close()
        self.socket = given
        self.idle = False

    def handle_timeout(self) -> None:
        """Mark the server as idle, which ends it."""
        self.idle = True


def serve(server: Server) -> None:
    """Answer requests until the server is idle."""
    while not server.idle:
        server.handle_request()


if __name__ == "__main__":
    serve(Server(socket.socket(fileno=FIRST), ROOT))

"""The npm registry of a host of the lab: files of its mirror, by HTTP on its own loopback.

It is part of the image, and needs nothing but Python. systemd opens the port and starts it with the
first request; after a minute without another it ends. The layout of the
files that lab/mirror/npm.py writes:

    NAME/index.json             what npm asks first: the versions of a package
    NAME/-/NAME-VERSION.tgz     a version
"""

import socket
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

ROOT = "/srv/mirror/npm"
PORT = 4873
URL = f"http://127.0.0.1:{PORT}/"
IDLE = 60  # seconds
FIRST = 3  # the descriptor of the first socket that systemd hands over


class Handler(SimpleHTTPRequestHandler):
    """Answers with the files of a directory; nothing is listed, nothing is logged."""

    def translate_path(self, path: str) -> str:
        """Return the file for a URL's path: @scope%2fname is @scope/name."""
        place = Path(self.directory) / unquote(path.partition("?")[0]).lstrip("/")
        inside = place.resolve().is_relative_to(Path(self.directory).resolve())
        return str(place / "index.json" if place.is_dir() else place) if inside else ""

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """Serves on a socket that is open already, as long as anybody asks."""

    daemon_threads = True
    timeout = IDLE

    def __init__(self, given: socket.socket, root: str) -> None:
        """Take the socket over; `root` holds the files."""
        super().__init__(("", 0), lambda *of: Handler(*of, directory=root), bind_and_activate=False)
        self.socket.close()
        self.socket = given
        self.idle = False

    def handle_timeout(self) -> None:
        """End."""
        self.idle = True


def serve(server: Server) -> None:
    """Answer until nobody asks any more."""
    while not server.idle:
        server.handle_request()


if __name__ == "__main__":
    serve(Server(socket.socket(fileno=FIRST), ROOT))

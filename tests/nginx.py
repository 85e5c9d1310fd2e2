"""A real nginx for tests: this machine's, or the one that the lab's hosts install."""

from __future__ import annotations

import atexit
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from salina.common import wait
from tests.authority import Authority
from tests.packaged import POOL

PATHS = ("/var/log/nginx", "/etc/nginx", "/etc/salina/tls", "/var/cache/nginx", "/run/nginx.pid")
TYPES = "types { text/html html; }\n"
"""In place of /etc/nginx/mime.types."""


@cache
def program() -> Path | None:
    """Return the command, or None if this machine has none and the lab's mirror neither."""
    own = shutil.which("nginx", path="/usr/sbin:/usr/bin")
    if own:
        return Path(own)
    packages = sorted(POOL.glob("nginx_*.deb"))
    if not packages:
        return None
    home = Path(tempfile.mkdtemp(prefix="salina-nginx-"))
    atexit.register(shutil.rmtree, home)
    subprocess.run(["dpkg-deb", "--extract", packages[-1], home], check=True)
    return home / "usr/sbin/nginx"


@contextmanager
def running(text: str, place: Path, port: int) -> Iterator[None]:
    """Run nginx with an app host's configuration, whose paths are moved to a directory.

    Args:
        text: the configuration.
        place: the directory, for the logs as well. It may have certificates already.
        port: the port at which the configuration listens on loopback.
    """
    command = program()
    assert command
    (place / "mime.types").write_text(TYPES)
    (place / "release.map").write_text('default "none";\n')
    (place / "older-balancers.conf").touch()
    if not (place / "web.crt").exists():
        Authority(place).issue("web", "s1")
    for path in PATHS:
        text = text.replace(path, str(place if path != "/run/nginx.pid" else place / "nginx.pid"))
    user = "user www-data;\n" if os.geteuid() == 0 else ""
    assert "user www-data;\n" in text
    text = text.replace("user www-data;\n", user.replace("www-data", "root"))
    for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"):
        text = text.replace("\nhttp {\n", f"\nhttp {{\n    {kind}_temp_path {place}/{kind};\n")
    (place / "nginx.conf").write_text(text)
    asked: list[str | Path] = [
        command,
        "-p",
        place,
        "-e",
        place / "start.log",
        "-c",
        place / "nginx.conf",
    ]
    process = subprocess.Popen([*asked, "-g", "daemon off;"])
    try:

        def answers() -> bool:
            with socket.socket() as connection:
                return connection.connect_ex(("127.0.0.1", port)) == 0

        assert wait.until(lambda: process.poll() is not None or answers(), 10, 0.05)
        assert process.poll() is None, (place / "start.log").read_text()
        yield
    finally:
        process.terminate()
        process.wait(10)

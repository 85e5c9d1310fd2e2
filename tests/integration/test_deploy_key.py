"""A deploy key and a real sshd: git reads a private repository, and trusts no other server (K4)."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from salt.exceptions import CommandExecutionError

from salina.common import wait
from salina_fleet import revisions, secrets
from tests import ports, sshd
from tests.loading import load
from tests.unit.test_addons import run_all
from tests.upstream import Upstream

PROGRAM = sshd.program()
SETTINGS = """\
ListenAddress 127.0.0.1
Port {port}
HostKey {place}/host
AuthorizedKeysFile {place}/deploy.pub
PermitRootLogin yes
PasswordAuthentication no
KbdInteractiveAuthentication no
StrictModes no
UsePAM no
PidFile none
"""


class Server:
    """A git server with SSH on loopback, and what a definition has of it."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.port = ports.free()
        for name in ("host", "deploy", "other"):
            argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f"]
            subprocess.run([*argv, f"{place}/{name}"], check=True)
        self.upstream = Upstream(place / "up.git")
        self.url = f"ssh://root@127.0.0.1:{self.port}{place}/up.git"
        (place / "sshd_config").write_text(SETTINGS.format(port=self.port, place=place))

    def known(self, name: str = "host") -> list[str]:
        """Return the line of a known_hosts file with this key."""
        kind, key = (self.place / f"{name}.pub").read_text().split()[:2]
        return [f"[127.0.0.1]:{self.port} {kind} {key}"]

    def private(self, name: str = "deploy") -> str:
        """Return a private key."""
        return (self.place / name).read_text()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run sshd."""
        argv = ["unshare", "--mount", "sh", "-ec", sshd.AROUND, "sh", str(PROGRAM), "-D", "-e"]
        argv += ["-f", f"{self.place}/sshd_config"]
        with (self.place / "log").open("w") as log:
            process = subprocess.Popen(argv, stdout=log, stderr=log)
        try:
            assert wait.until(self._answers, 20), (self.place / "log").read_text()
            yield
        finally:
            process.kill()
            process.wait()

    def _answers(self) -> bool:
        with socket.socket() as opened:
            return opened.connect_ex(("127.0.0.1", self.port)) == 0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    assert PROGRAM, "no sshd yet: run `make hosts`"
    found = Server(tmp_path)
    with found.running():
        yield found


def look_up(server: Server, known: list[str], key: str = "deploy") -> tuple[str, str]:
    """Look the revision up as the master does."""
    store = secrets.open_store(server.place)
    store.replace(secrets.deploy("team"), server.private(key))
    source = {"repository": server.url, "revision": "main", "key": "team", "place": "source"}
    return revisions.look_up("crm", {**source, "known_hosts": known}, store)


def test_k4_x10_a_private_repository_by_a_real_ssh(server: Server) -> None:
    """K4, X10: The master looks the commit up, and a host fetches it, with nothing of root's own.

    Neither trusts a server that shows another key, and a key that the server does not know ends at
    once, without a question.
    """
    assert look_up(server, server.known()) == (server.upstream.first, "")
    _, fault = look_up(server, server.known("other"))
    assert "Host key verification failed" in fault
    _, fault = look_up(server, server.known(), "other")
    assert "Permission denied (publickey)" in fault
    checkout: Any = load("_modules/checkout.py", salt={"cmd.run_all": run_all})
    target, commit = str(server.place / "staging"), server.upstream.first
    for key, known in ((server.private("other"), "host"), (server.private(), "other")):
        with pytest.raises(CommandExecutionError, match="fetch"):
            checkout.update(target, server.url, commit, False, key, server.known(known))
    found = checkout.update(target, server.url, commit, False, server.private(), server.known())
    assert found == commit
    assert (server.place / "staging/file").read_text() == "first"

"""The role of docs/guides/add-a-role.md on a real host: its package, its unit, its daemon.

The host gets the guide's states as files and applies them without the master, since the lab's
master serves the repository itself, which a test must not change. A master that serves the role is
in tests/integration/test_add_a_role.py.
"""

from __future__ import annotations

import base64
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.commands.status import PROBE
from tests import guide
from tests.lab.lab import Results, results, run, shell

pytestmark = pytest.mark.lab

HOST, ADDRESS, PORT = "nas1", "10.1.4.21", 1234
PLACE = "/run/add-a-role"
ASK = f"""
import socket
with socket.create_connection(("{ADDRESS}", {PORT}), 10) as connection:
    print(connection.makefile().read())
"""
AWAY = f"""
systemctl disable --now --quiet clock || true
systemctl reset-failed --quiet clock || true
rm -rf {PLACE} /etc/systemd/system/clock.service
systemctl daemon-reload
test ! -e {PLACE}.socat || apt-get remove --yes --quiet socat
rm -f {PLACE}.socat
"""


@pytest.fixture
def states(tmp_path: Path) -> Iterator[None]:
    """The guide's states on the host; afterwards nothing of them is left."""
    root = guide.copy(tmp_path / "tree")
    paths = [path for path in guide.follow(guide.ROLE, root) if path.startswith("salt/")]
    paths.append("salt/packages.jinja")
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for path in paths:
            tar.add(root / path, path)
    shell(HOST, f"mkdir -p {PLACE}; command -v socat >/dev/null || touch {PLACE}.socat")
    unpack = f"base64 --decode | tar --extract --directory {PLACE}"
    run(HOST, "sh", "-ec", unpack, given=base64.b64encode(archive.getvalue()).decode())
    try:
        yield
    finally:
        shell(HOST, AWAY)


def apply() -> Results:
    """Apply the role's states; return what they did on the host."""
    pillar = {"clock": {"address": ADDRESS, "port": PORT}, "host": {"packages": {}}}
    command = ["salt-call", "--local", "--out=json", f"--file-root={PLACE}/salt"]
    said = run(HOST, *command, "state.apply", "role.clock", f"pillar={json.dumps(pillar)}")
    return results({HOST: json.loads(said)["local"]})


def test_a_role_that_the_guide_adds_is_deployed(states: None) -> None:
    """The daemon runs and answers, `bin/lab status` sees it, and the next apply changes nothing."""
    first = apply()[HOST]
    assert all(state["result"] for state in first.values()), first
    assert first["clock-service"]["changes"]
    assert "20" in run(HOST, "python3", "-c", ASK)
    checks = json.dumps([["unit", {"name": "clock"}]])
    seen = json.loads(run(HOST, "python3", "-", checks, given=PROBE.read_text()))
    assert ["clock", True, "active"] in seen["checks"]
    again = apply()[HOST]
    assert not [state for state in again.values() if state["changes"]]

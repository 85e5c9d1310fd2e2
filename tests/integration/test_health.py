"""`salt-run fleet.health` on a real master: nas1, s1 and the master's own minion are connected."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.integration.conftest import Installation


@pytest.fixture(autouse=True)
def synchronised(installation: Installation) -> None:
    """The minions get the function. s1 may have it or not, which depends on the tests before."""
    for name in ("salt", "nas1"):
        installation.salt(name, "saltutil.sync_all")


def health(installation: Installation, *options: str) -> tuple[int, str, float]:
    """Run it as an operator does; the exit code, the output, and the seconds it took."""
    folder = Path(installation.master.config["conf_file"]).parent
    command = [str(Path(sys.executable).parent / "salt-run"), "-c", str(folder), *options]
    begun = time.monotonic()
    done = subprocess.run([*command, "fleet.health"], capture_output=True, text=True)
    return done.returncode, done.stdout, time.monotonic() - begun


def test_health(installation: Installation) -> None:
    """Every host has a line, silent ones too, and the exit code is not 0."""
    code, text, seconds = health(installation)
    print(text, f"{seconds:.1f} s")
    lines = {line.split()[1]: line for line in text.splitlines() if line[:1] in "✓✗"}
    assert code == 1, text
    hosts = installation.run("topology.show").data["hosts"]
    assert set(hosts) <= set(lines)
    assert "silent" in lines["bbdd1"] and "silent" not in lines["nas1"]
    assert "minion" in lines["nas1"] and "etcd" in lines["nas1"]
    assert "0 of 2 are well" in lines["database"]
    assert "Traceback" not in text


def test_health_as_json(installation: Installation) -> None:
    """Programs get the same, with the same exit code."""
    code, text, _ = health(installation, "--out=json")
    found = json.loads(text)
    assert (code, found["healthy"], found["retcode"]) == (1, False, 1)
    assert found["hosts"]["bbdd1"]["checks"][0]["what"] == "minion"
    first = {"what": "minion", "good": True, "detail": "", "notice": False}
    assert found["hosts"]["nas1"]["checks"][0] == first
    assert any(one["what"] == "clock" and one["good"] for one in found["hosts"]["nas1"]["checks"])

"""docs/guides/add-a-role.md keeps its promise: four places, and the whole fleet knows the role."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import fleets, guide
from tests.conftest import REPOSITORY

ASK = """
import json, sys
from pathlib import Path
from salina_fleet import policy, secrets, site
from salina_fleet.map import mermaid
from salina_fleet.roles import ROLES
from salina_fleet.schema.declare import describe
root, state = Path(sys.argv[1]), Path(sys.argv[2])
read = site.read(root, state)
secrets.create(read.store, ["crm"], 3650)
fleet = read.fleet
host = fleet.hosts["nas1"]
pillars = {one: read.pillar(one) for one in ("nas1", "nas2", "s1")}
checks = [check for role in host.roles for check in ROLES[role].checks(fleet, host, {})]
print(json.dumps({
    "roles": host.roles, "pillars": pillars, "tiers": fleet.tiers(), "map": mermaid.draw(fleet),
    "checks": checks, "rows": fleet.rows, "keys": dict(ROLES["clock"].keys),
    "settings": {
        f"{name}.{entry.path}": entry.about
        for name, kind in ROLES["clock"].settings.items() for entry in describe(kind)
    },
}))
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository in which somebody followed the guide; nas1 has the new role."""
    root = guide.copy(tmp_path_factory.mktemp("tree"))
    guide.follow(guide.ROLE, root)
    guide.give(root, "nas1", "clock")
    return root


@pytest.fixture(scope="module")
def found(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The answers of the copy's own Python about the fleet."""
    state = tmp_path_factory.mktemp("state")
    fleets.record(state)
    done = subprocess.run(
        [sys.executable, "-c", ASK, str(tree), str(state)],
        env={"PYTHONPATH": f"{tree}/fleet:{tree}/_utils"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_four_places() -> None:
    """A role is a Python file, a folder in salt/, a file in salt/role/ and a line of packages."""
    paths = [path for path, _ in guide.blocks(guide.ROLE)]
    assert [path for path in paths if path.endswith(".py")] == ["fleet/salina_fleet/roles/clock.py"]
    states = [path for path in paths if path.startswith("salt/")]
    assert {path.split("/")[1] for path in states} == {"clock", "role", "packages.yaml"}
    assert len(states) == len(paths) - 1
    (line,) = [content for path, content in guide.blocks(guide.ROLE) if "packages" in path]
    assert line.count("\n") == 1
    assert not [
        path for path in paths if path != "salt/packages.yaml" and (REPOSITORY / path).exists()
    ]


def test_the_fleet_knows_the_role(found: dict[str, Any]) -> None:
    """Topology, pillar, policy, map, tiers and status, without an edit of any of them."""
    assert found["roles"] == ["storage", "quorum", "clock"]
    assert found["pillars"]["nas1"]["clock"] == {"address": "10.1.4.21", "port": 1234}
    assert not {"nas2", "s1"} & {host for host, one in found["pillars"].items() if "clock" in one}
    assert ["app", "clock", "data", "1234", "the time", "tcp", False] in found["rows"]
    rules = [rule for rule in found["pillars"]["nas1"]["ufw"]["rules"] if rule["ports"] == "1234"]
    assert [rule["from"] for rule in rules] == ["10.1.4.11", "10.1.4.12", "10.1.4.13"]
    assert "1234" not in [rule["ports"] for rule in found["pillars"]["nas2"]["ufw"]["rules"]]
    assert ["unit", {"name": "clock"}] in [one[:2] for one in found["checks"]]
    assert "clock" in found["map"] and "1234" in found["map"]
    assert any("clock" in name and "nas1" in hosts for name, hosts in found["tiers"])
    assert set(found["keys"]) == {"clock", "clock.address"}
    assert found["settings"] == {"clock.port": "The TCP port of the clock."}


def test_its_settings_are_known(tree: Path, tmp_path: Path) -> None:
    """A file of pillar/settings tunes it, and a mistake in that is an error."""
    ask = (
        "import sys; from salina_fleet.model import settings; "
        "from salina_fleet.roles.clock import ClockSettings; "
        "print(settings.load(sys.argv[1])[ClockSettings].port)"
    )
    said = []
    for content in ("port: 99\n", "port: noon\n"):
        (tmp_path / "clock.yaml").write_text(content)
        said.append(
            subprocess.run(
                [sys.executable, "-c", ask, str(tmp_path)],
                env={"PYTHONPATH": f"{tree}/fleet:{tree}/_utils"},
                capture_output=True,
                text=True,
            )
        )
    assert said[0].stdout == "99\n"
    fault = 'clock.yaml: port: "noon" is not valid; must be a number from 1 to 65535'
    assert fault in said[1].stderr


def test_the_example_is_clean(tree: Path) -> None:
    """The guide's Python passes the checks that the repository's own passes."""
    role = tree / "fleet/salina_fleet/roles/clock.py"
    config = ["--config", str(REPOSITORY / "pyproject.toml")]
    for check in (["check"], ["format", "--check"]):
        done = subprocess.run(
            [Path(sys.executable).parent / "ruff", *check, *config, role],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr

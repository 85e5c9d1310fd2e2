"""The commits of the applications on a real master (X10)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from salina_fleet import revisions
from tests import fleets
from tests.integration.conftest import Installation
from tests.upstream import Upstream

APPLICATION = "odoo-14.0"


@pytest.fixture
def upstream(installation: Installation, tmp_path: Path) -> Iterator[Upstream]:
    """The application comes from a repository of the test, and has no record yet."""
    made = Upstream(tmp_path / "up.git")
    file = installation.repository / f"pillar/app/{APPLICATION}.yaml"
    good, old = file.read_text(), fleets.definition(APPLICATION)["source"]
    text = good.replace(old["repository"], made.url)
    file.write_text(text.replace(f'revision: "{old["revision"]}"', "revision: main"))
    (installation.state / revisions.FILE).unlink()
    yield made
    file.write_text(good)
    (installation.state / revisions.LOCK).unlink(missing_ok=True)
    fleets.record(installation.state)


def source(installation: Installation) -> dict[str, Any]:
    """The source in the pillar of s1, as the minion itself gets it."""
    pillar = installation.call("s1", "pillar.get", "app", "unmask=True").data
    found: dict[str, Any] = pillar["definition"]["source"]
    return found


def test_x10_hosts_get_the_recorded_commit(installation: Installation, upstream: Upstream) -> None:
    """X10: The first pillar records the commit. Only `fleet.resolve` takes another one."""
    record = {"repository": upstream.url, "revision": "main", "commit": upstream.first}
    wanted = {**record, "submodules": False, "key": None}
    assert source(installation) == wanted
    second = upstream.commit("second", parent=upstream.first)
    assert source(installation) == wanted
    assert installation.run("fleet.revisions").data == {APPLICATION: record}
    assert installation.run("fleet.resolve").data == {
        APPLICATION: {"revision": "main", "before": upstream.first, "commit": second}
    }
    assert source(installation) == wanted | {"commit": second}


def test_x10_a_revision_that_does_not_exist_stops_what_needs_it(
    installation: Installation, upstream: Upstream
) -> None:
    """X10, K5: The deployment and the app hosts end with the path. Other hosts do not need it."""
    upstream.git("update-ref", "-d", "refs/heads/main")
    fault = f"pillar/app/{APPLICATION}.yaml: source.revision: "
    deployed = [
        installation.run("fleet.deploy"),
        installation.run("state.orchestrate", "orch.deploy"),
        installation.run("fleet.resolve"),
    ]
    for ended in deployed:
        assert ended.returncode == 1
        told = ended.stdout + ended.stderr
        assert fault in told and "next: salt-run fleet.resolve" in told
        assert "Traceback" not in told
    applied = installation.salt("s1", "state.apply", "common.hosts", "test=True")
    assert applied.returncode != 0
    assert fault in "\n".join(applied.data)
    other = installation.salt("nas1", "state.apply", "common.hosts", "test=True")
    assert fault not in other.stdout
    assert not (installation.state / revisions.FILE).exists()

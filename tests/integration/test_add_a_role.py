"""A running master serves the role of docs/guides/add-a-role.md as soon as its files are there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import guide
from tests.integration.conftest import Installation


@pytest.fixture
def role(installation: Installation) -> Iterator[None]:
    """The guide's files in the master's repository, and nas1 with the role; undone afterwards."""
    changed = {installation.repository / path for path, _ in guide.blocks(guide.ROLE)} | {
        installation.repository / "pillar/topology.yaml"
    }
    before = {file: file.read_bytes() if file.exists() else None for file in changed}
    guide.follow(guide.ROLE, installation.repository)
    guide.give(installation.repository, "nas1", "clock")
    try:
        yield
    finally:
        for file, content in before.items():
            if content is None:
                file.unlink()
            else:
                file.write_bytes(content)


def test_a_role_that_the_guide_adds_is_served(installation: Installation, role: None) -> None:
    """The master accepts it, opens its port, and gives its hosts their pillar and states."""
    assert installation.run("topology.check").returncode == 0
    table = installation.run("topology.table").stdout
    assert "clock" in table and "1234" in table
    clock = {"address": "10.1.4.21", "port": 1234}
    assert installation.run("pillar.show_pillar", "nas1").data["clock"] == clock
    assert "clock" not in installation.run("pillar.show_pillar", "s1").data
    done = installation.salt("nas1", "state.apply", "role.clock", "test=True")
    named = {key.split("_|-")[1]: state for key, state in done.data.items()}
    assert {"clock-unit", "clock-service", "clock-current"} <= set(named), done
    assert named["clock-unit"]["result"] is None, named["clock-unit"]

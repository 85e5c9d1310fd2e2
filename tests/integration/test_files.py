"""What the file server hands out."""

from __future__ import annotations

import pytest

from tests.integration.conftest import Fleet


def test_python_through_links(fleet: Fleet) -> None:
    """The relative links in salt/ are followed: modules, states and utilities are served."""
    listed = fleet.call("nas1", "cp.list_master").data
    assert {"_utils/salina_topology.py", "_modules/certificate.py", "top.sls"} <= set(listed)
    assert not [name for name in listed if "__pycache__" in name]


@pytest.mark.parametrize(
    "path",
    [
        "topology.yaml",
        "pillar/topology.yaml",
        "../pillar/topology.yaml",
        "_modules/../../pillar/topology.yaml",
        "../../state/secrets/ca.key",
        "_pillar/salina.py",
    ],
)
def test_pillar_is_not_served(fleet: Fleet, path: str) -> None:
    """Neither pillar/ nor secrets nor the master's own Python can be had from the file server."""
    assert "pillar" not in str(fleet.call("nas1", "cp.list_master").data)
    assert not fleet.call("nas1", "cp.get_file_str", f"salt://{path}").data

"""The files that the master's file server gives out."""

from __future__ import annotations

from tests.integration.conftest import Installation


def test_python_through_links(installation: Installation) -> None:
    """The file server follows the links in salt/: it serves modules, states and utilities."""
    listed = installation.call("nas1", "cp.list_master").data
    assert {"_utils/salina/storage/gluster.py", "_modules/certificate.py", "top.sls"} <= set(listed)
    hidden = {"__pycache__", "pillar", "_guard", "_pillar", "fleet", "salina_fleet"}
    assert not [name for name in listed if hidden & {*name.split("/")}]
    assert not [name for name in listed if "topology" in name]


HIDDEN = (
    "topology.yaml",
    "pillar/topology.yaml",
    "../pillar/topology.yaml",
    "_modules/../../pillar/topology.yaml",
    "../../state/secrets/ca.key",
    "_pillar/salina.py",
    "../fleet/salina_fleet/site.py",
)


def test_pillar_is_not_served(installation: Installation) -> None:
    """S6, K4: The file server gives out no pillar, no secret and none of the master's own
    Python.
    """
    paths = [f"salt://{path}" for path in ("top.sls", *HIDDEN)]
    ask = "{% for path in " + str(paths) + " %}{{ not salt['cp.get_file_str'](path) }};{% endfor %}"
    got = installation.call("nas1", "slsutil.renderer", f"string={ask}", "default_renderer=jinja")
    assert got.data == "False;" + "True;" * len(HIDDEN)

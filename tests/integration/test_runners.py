"""The runners on a real master."""

from __future__ import annotations

import stat

from tests.integration.conftest import Fleet


def test_topology(fleet: Fleet) -> None:
    """check, show and map, as the operator calls them."""
    assert "is good" in fleet.run("topology.check").stdout
    assert fleet.run("topology.show").data["hosts"]["nas1"]["roles"] == ["storage", "quorum"]
    assert "nas1" in fleet.run("topology.map").stdout


def test_secrets_are_made_once(fleet: Fleet) -> None:
    """secrets.create changes nothing the second time, tells no value, and lets root alone read."""
    folder = fleet.state / "secrets"
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    made = fleet.run("secrets.create")
    assert made.data == {"made": []}
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for file in folder.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) & 0o077 == 0
        assert file.read_text().strip() not in made.stdout + made.stderr


def test_configuration_is_the_repositorys(fleet: Fleet) -> None:
    """The drop-ins of master.d are in force as they stand, over whatever else is configured."""
    roots = fleet.run("config.get", "file_roots").data
    assert roots == {"base": [str(fleet.repository / "salt")]}
    assert fleet.run("config.get", "auto_accept").data is False
    assert fleet.run("config.get", "peer").data == {".*": ["x509.sign_remote_certificate"]}

"""Every role of every fleet renders, its requisites resolve, and its templates give files."""

from __future__ import annotations

import pytest

from tests import fleets
from tests.render.minion import Minion

CERTIFICATE = "canary-ca.crt"  # kept with the secrets, but for everyone to read


def hosts() -> list[tuple[str, str]]:
    """(fleet, host), one host for each set of roles: the others differ in addresses alone."""
    kinds = {(name, fleets.fleet(name).hosts[host].roles): host for name, host in fleets.everyone()}
    return [(name, host) for (name, _), host in kinds.items()]


@pytest.fixture(scope="module", params=hosts(), ids="-".join)
def minion(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Minion:
    """Each host of each fleet; compiled once."""
    fleet, host = request.param
    return Minion(host, fleets.pillar(host, fleet), tmp_path_factory.mktemp(host))


def test_host(minion: Minion) -> None:
    """All states compile, and no template fails or leaves a value out."""
    assert minion.chunks
    for path, content in minion.files():
        assert content.strip(), path
        lines = [line for line in content.splitlines() if not line.lstrip().startswith("#")]
        assert not [line for line in lines if "None" in line or "{{" in line], path


def test_secrets_stay_out_of_readable_files(minion: Minion) -> None:
    """A file that holds a secret is not for everyone, and is never shown as a diff."""
    for chunk in minion.chunks:
        if chunk["state"] != "file" or chunk["fun"] != "managed":
            continue
        content = minion.render(chunk) if chunk.get("template") else str(chunk.get("contents", ""))
        if "canary-" in content.replace(CERTIFICATE, ""):
            assert str(chunk.get("mode", "0644"))[-1] == "0", chunk["name"]
            assert chunk.get("show_changes") is False, chunk["name"]  # Salt ignores show_diff


def test_no_secret_on_a_command_line(minion: Minion) -> None:
    """No command, and no name of a state, has a secret in it."""
    for chunk in minion.chunks:
        assert "canary-" not in str(chunk["name"]), chunk["__id__"]
        if chunk["state"] == "cmd":
            assert "canary-" not in str(chunk), chunk["__id__"]

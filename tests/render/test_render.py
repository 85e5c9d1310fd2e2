"""Every role of every fleet renders, its requisites resolve, and its templates give files."""

from __future__ import annotations

import pytest

from tests import fleets
from tests.render.minion import Minion

#: States that wait for other hosts, and the one that restarts the minion.
NOT_ALONE = {
    *("gluster.peers", "gluster.volume", "gluster.mounted", "quorum.joined", "quorum.serves"),
    *("patroni.its_turn", "patroni.working", "patroni.configured", "database.present"),
    *("application.database_answers", "application.once", "application.healthy"),
    "daemon.current_afterwards",
}

CERTIFICATE = f"canary-{fleets.PUBLIC}"


CASES = (
    {f"{fleet}-{host}": (fleet, host, None, "") for fleet, host in fleets.kinds()}
    | {
        f"{fleet}-{host}-by-load": (fleet, host, fleets.BY_LOAD, "")
        for fleet, host in fleets.balancers()
    }
    | {f"s1-{name}": ("default", "s1", None, name) for name in fleets.APPLICATIONS}
)


@pytest.fixture(scope="module", params=CASES.values(), ids=CASES)
def minion(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Minion:
    """Each host of each fleet, and an app host for each application; compiled once."""
    fleet, host, own, application = request.param
    return Minion(host, fleets.pillar(host, fleet, own, application), tmp_path_factory.mktemp(host))


def test_host(minion: Minion) -> None:
    """S15: All states compile; no file is empty, and no template fails or leaves a value out."""
    assert minion.chunks
    for path, content in minion.files():
        assert content.strip(), path
        if path.endswith(".py"):
            continue  # no template
        lines = [line for line in content.splitlines() if not line.lstrip().startswith("#")]
        assert not [line for line in lines if "None" in line or "{{" in line], path


def test_what_a_host_prepares_is_its_own_and_waits_for_nobody(minion: Minion) -> None:
    """Before its tier's turn a host does a part of its states, none of which needs another host."""
    prepared = minion.apply("prepare")
    every = {(chunk["__id__"], chunk["state"], chunk["name"]) for chunk in minion.chunks}
    assert {(chunk["__id__"], chunk["state"], chunk["name"]) for chunk in prepared} <= every
    assert not {f"{chunk['state']}.{chunk['fun']}" for chunk in prepared} & NOT_ALONE


def test_s12_the_turn_ends_after_everything_else(minion: Minion) -> None:
    """S12: Only the restart of the minion itself comes after the end of the turn."""
    names = [chunk["__id__"] for chunk in minion.chunks]
    assert set(names[names.index("turn-ended") :]) <= {"turn-ended", "minion-current"}


def test_secrets_stay_out_of_readable_files(minion: Minion) -> None:
    """S6, K4: A file that has a secret is not readable by everyone, and Salt never shows its
    diff.
    """
    for chunk in minion.chunks:
        if (chunk["state"], chunk["fun"]) != ("file", "managed"):
            continue
        if "canary-" in minion.render(chunk).replace(CERTIFICATE, ""):
            assert str(chunk.get("mode", "0644"))[-1] == "0", chunk["name"]
            assert chunk.get("show_changes") is False, chunk["name"]  # Salt ignores show_diff


def test_no_secret_is_in_a_state(minion: Minion) -> None:
    """S6, K4: No argument of a state has a secret, because Salt keeps and shows arguments."""
    for chunk in minion.chunks:
        held = "canary-" in str(chunk).replace(CERTIFICATE, "")
        assert not held, chunk["__id__"]

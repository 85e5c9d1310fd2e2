"""S12: The turns of hosts that restart something, as the master keeps them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from salina_fleet.change import turns
from salina_fleet.change.turns import LEASE, Turn
from salina_fleet.provision import provisioner
from salina_fleet.site import Site
from tests import fleets

HOSTS = ["s1", "s2", "s3"]


def held(host: str = "s1", failure: str = "") -> Turn:
    return Turn(host, "odoo has to restart", begun=100, until=100 + LEASE, failure=failure)


def test_one_host_at_a_time() -> None:
    """S12: The second host waits, and learns who has the turn, since when, and for what."""
    now, refused = turns.take([], "s1", "odoo has to restart", 1, 100)
    assert (now, refused) == ([held()], "")
    assert turns.take(now, "s2", "nginx", 1, 130) == (
        now,
        "s1 has the turn, for 30 s now: odoo has to restart",
    )
    both, refused = turns.take(now, "s2", "nginx", 2, 130)
    assert refused == "" and [one.host for one in both] == ["s1", "s2"]


def test_the_holder_renews_its_turn() -> None:
    now, refused = turns.take([held()], "s1", "nginx has to reload", 1, 150)
    assert refused == ""
    assert now == [Turn("s1", "nginx has to reload", begun=100, until=150 + LEASE)]


def test_a_turn_ends_with_its_holder() -> None:
    """S12: Nobody renews the turn of a host that died; a host that left the fleet has none."""
    assert turns.current([held()], HOSTS, 100 + LEASE - 1) == [held()]
    assert turns.current([held()], HOSTS, 100 + LEASE + 1) == []
    assert turns.current([held()], ["s2", "s3"], 101) == []


def test_a_host_that_is_not_healthy_afterwards_keeps_the_others_from_the_same() -> None:
    """S12: A failed turn does not end by itself, and the message says what to do."""
    failed = turns.end([held()], "s1", "no answer")
    assert failed == [held(failure="no answer")]
    later = turns.current(failed, HOSTS, 10_000)
    assert later == failed
    assert (turns.failed(later, "s2"), turns.failed(later, "s1")) == (True, False)
    assert turns.obstacle(later, "s2", 3, 10_000) == (
        "s1 is not healthy after its own turn: no answer\n"
        "next: repair it, then salt s1 state.apply   (or salt-run turn.clear s1)"
    )
    assert turns.take(later, "s1", "again", 1, 10_000)[1] == ""  # its own apply repairs it
    assert turns.end(later, "s1", "") == []


def test_the_file_keeps_them(tmp_path: Path) -> None:
    path = tmp_path / "turns.json"
    assert turns.read(path) == {}
    with turns.changing(path) as found:
        found["app of crm"] = [held()]
        found["database"] = []
    assert turns.read(path) == {"app of crm": [held()]}


@pytest.mark.parametrize("rebuilt", [False, True])
def test_s12_a_new_host_has_no_turn_of_the_earlier_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rebuilt: bool
) -> None:
    """S12: Neither one that gets its user data again, nor one of the same id after a removal."""
    pki = tmp_path / "pki"
    pki.mkdir()
    (pki / "master.pub").write_text("public")
    opts: dict[str, Any] = {
        "pki_dir": str(pki),
        "cachedir": str(tmp_path),
        "salina": {"root": str(fleets.REPOSITORY), "state": str(tmp_path)},
    }
    path = tmp_path / turns.FILE
    with turns.changing(path) as found:
        found["app of crm"] = [held(failure="no answer"), held("s2")]
    monkeypatch.setattr(provisioner, "_keys", lambda _: SimpleNamespace(store=lambda *_: None))
    monkeypatch.setattr(
        provisioner.salt.key, "get_key", lambda _: SimpleNamespace(delete_key=lambda match: None)
    )
    if rebuilt:
        definitions = {"odoo-14.0": fleets.definition("odoo-14.0")}
        root = fleets.REPOSITORY
        site = Site(root, tmp_path, fleets.fleet(), definitions, fleets.LOCKS, fleets.TREE)
        assert "#cloud-config" in provisioner.user_data(opts, site, "s1")
    else:
        assert provisioner.destroy(opts, ["s1"]) == {}
    assert turns.read(path) == {"app of crm": [held("s2")]}

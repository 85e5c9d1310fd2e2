"""A fleet without a monitoring host or a management host keeps nothing of what these need."""

from __future__ import annotations

from typing import Any

import pytest

from tests import fleets
from tests.render.minion import Minion


def states(host: str, *without: str) -> list[dict[str, Any]]:
    """Return the states that every host has, with a pillar that has no such sections."""
    pillar = fleets.pillar(host)
    for section in without:
        pillar.pop(section, None)
    return list(Minion(host, pillar).apply("common"))


@pytest.mark.parametrize("section", ["report", "metrics"])
def test_s13_nothing_is_left_without_a_monitoring_host(section: str) -> None:
    """S13: Neither a daemon nor a file. Each is looked for, so the next prediction is empty."""
    there = {one["__id__"] for one in states("s1")}
    assert not [name for name in there if name.startswith(section) and name.endswith("absent")]
    found = states("s1", section)
    own = [one for one in found if one["__id__"].startswith(f"{section}-")]
    assert {f"{one['state']}.{one['fun']}" for one in own} <= {
        *("service.dead", "pkg.purged", "file.absent", "module.run"),
    }
    gone = [one["name"] for one in own if one["__id__"] == f"{section}-absent"]
    made = [
        name
        for one in states("s1")
        if one["__id__"] in (f"{section}-program", f"{section}-settings", f"{section}-units")
        for name in [one["name"]]
    ]
    assert made and all(
        any(name == one or name.startswith(f"{one}/") for one in gone) for name in made
    )
    stopped = [one for one in own if one["fun"] in ("dead", "purged")]
    assert stopped and all("onlyif" in one for one in stopped)
    order = [one["__id__"] for one in own]
    assert max(order.index(one["__id__"]) for one in stopped) < order.index(f"{section}-absent")


def test_s14_a_former_management_host_forgets_the_keys_of_all_hosts() -> None:
    """S14: Before the mark by which the file is known as Salina's own; nobody else's goes."""
    here = {one["__id__"] for one in states("ges")}
    assert "management-known-hosts-absent" not in here
    found = states("ges", "management")
    known, client = (one for one in found if one["__id__"].startswith("management-"))
    assert known["name"] == "/etc/ssh/ssh_known_hosts"
    assert known["onlyif"] == [{"fun": "file.file_exists", "path": client["name"]}]
    assert client["require"] == [{"file": known["__id__"]}]

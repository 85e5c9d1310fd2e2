"""The questions of the runner `fleet` to the balancers when hosts leave and join (S10)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from salt.exceptions import CommandExecutionError

from salina_fleet import minions, runner
from salina_fleet.change import deployment, exclusive
from salina_fleet.site import Site
from tests import fleets, holder
from tests.loading import load

BUSY = {"s1": {"sessions": 7}, "s2": {"sessions": 1}}
IDLE = {"s1": {"sessions": 7}, "s2": {"sessions": 0}}
FOLLOWED = {"s1": {"sessions": 7}}


def drained(
    monkeypatch: pytest.MonkeyPatch, one: Iterator[Any], other: dict[str, Any], timeout: int
) -> tuple[list[str], list[tuple[list[str], Any]]]:
    """Drain s2 at two balancers; what was returned, and which of them were told to drain whom.

    `one`: what lb1 says of its servers, each time it is asked; `other`: what lb2 always says.
    """
    told: list[tuple[list[str], Any]] = []

    def ask(_: Any, hosts: Sequence[str], function: str, arguments: Any = ()) -> dict[str, Any]:
        if function == "balancer.servers":
            return {"lb1": next(one), "lb2": other}
        assert function == "balancer.drain"
        told.append((list(hosts), arguments))
        return dict.fromkeys(hosts)

    balancers = [SimpleNamespace(id=name) for name in ("lb1", "lb2")]
    fleet = SimpleNamespace(having=lambda _: balancers, settings=fleets.settings(), hosts={})
    site = SimpleNamespace(fleet=fleet, state=Path("/nowhere"))
    monkeypatch.setattr(minions, "ask", ask)
    monkeypatch.setattr(runner, "site", lambda _: site)
    return load("_runners/change.py", opts={}).drain(["s2"], timeout), told


def readied(
    monkeypatch: pytest.MonkeyPatch, applying: list[list[str]], silent: list[list[str]]
) -> list[tuple[str, list[str]]]:
    """The questions of `fleet.ready`, and for each the hosts that apply states or are silent."""
    asked: list[tuple[str, list[str]]] = []

    def answers(what: str, given: list[Any]) -> Any:
        def ask(_: Any, hosts: Sequence[str], __: int) -> Any:
            asked.append((what, list(hosts)))
            return given.pop(0)

        return ask

    held = [dict.fromkeys(hosts, "state.apply by root") for hosts in applying]
    monkeypatch.setattr(minions, "busy", answers("busy", held))
    monkeypatch.setattr(minions, "silent", answers("silent", silent))
    site = SimpleNamespace(fleet=fleets.fleet())
    monkeypatch.setattr(runner, "site", lambda _: site)
    load("_runners/fleet.py", opts={}).ready(["s1", "s2"])
    return asked


def test_s15_a_run_that_was_under_way_may_restart_its_minion(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """S15: A minion may restart at the end of a run: it answers before, and a moment later not at
    all.
    """
    idle = [("silent", ["s1", "s2"]), ("busy", ["s1", "s2"])]
    assert readied(monkeypatch, [[]], [[]]) == idle
    again = [*idle, ("busy", ["s2"]), ("silent", ["s2"])]
    assert readied(monkeypatch, [["s2"], []], [[], []]) == again
    with pytest.raises(CommandExecutionError, match="s2 did not answer within"):
        readied(monkeypatch, [["s2"], []], [[], ["s2"]])
    with pytest.raises(CommandExecutionError, match=r"applied on s2 \(state.apply by root\) after"):
        readied(monkeypatch, [["s2"], ["s2"]], [[]])


def test_s10_its_requests_end_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """S10: Requests end before a host leaves; a balancer that has followed already is not asked."""
    answers = iter([BUSY, BUSY, IDLE])
    assert drained(monkeypatch, answers, FOLLOWED, 5) == (["s2"], [(["lb1"], ["s2"])])
    assert not list(answers)


def test_s10_not_for_longer_than_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """S10: The wait for the requests has a bound."""
    answers = iter([BUSY, BUSY, IDLE])
    told = [(["lb1"], ["s2"]), (["lb2"], ["s2"])]
    assert drained(monkeypatch, answers, BUSY, 0) == (["s2"], told)
    assert list(answers) == [IDLE]


def test_s10_nothing_to_wait_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """S10: Without requests there is no wait."""
    assert drained(monkeypatch, iter([FOLLOWED]), FOLLOWED, 60) == ([], [])


def test_s10_each_host_is_asked_for_its_own_applications_health(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """S10: Each host of two pools is asked for its own application, directly and as a client
    would.
    """
    asked: list[list[str | None]] = []

    def ask(_: Any, hosts: Sequence[str], function: str, arguments: Any = ()) -> dict[str, Any]:
        if function == "balancer.servers":
            return {host: {one: {"serving": True} for one in ("s1", "w2")} for host in hosts}
        if function != "balancer.ready":
            asked.append([function, *arguments])
        return dict.fromkeys(hosts, "")

    fleet = fleets.fleet("two-applications")
    crm, shop = fleet.topology.applications.values()
    applications = {"crm": crm, "shop": replace(shop, definition="node")}
    topology = replace(fleet.topology, applications=applications)
    definitions = {
        "odoo-14.0": fleets.definition("odoo-14.0"),
        "node": {"health": {"path": "/", "cookie": "sid=probe"}},
    }
    site = Site(
        tmp_path,
        tmp_path,
        replace(fleet, topology=topology),
        definitions,
        fleets.LOCKS,
        fleets.TREE,
    )
    monkeypatch.setattr(minions, "ask", ask)
    monkeypatch.setattr(runner, "site", lambda _: site)
    module = load("_runners/fleet.py", opts={})
    assert module.probe(["s1", "w2"]) == ["s1", "w2"]
    assert module.probe(["s1", "w2"], through=True) == ["s1", "w2"]
    assert asked == [
        ["balancer.reach", "s1", "10.1.3.11", 443, "crm.example", "/web/health", None],
        ["balancer.reach", "w2", "10.1.3.82", 443, "shop.example", "/", "sid=probe"],
        ["balancer.answer", "s1", "https://10.1.2.2:443/web/health", "crm.example", None],
        ["balancer.answer", "w2", "https://10.1.2.2:443/", "shop.example", "sid=probe"],
    ]


def test_s10_what_a_new_host_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """S10, K5: The error says that another host answered in the new one's place."""
    said = {"balancer.servers": {"s1": {"serving": True}}, "balancer.answer": "s2 answered instead"}

    def ask(_: Any, hosts: Sequence[str], function: str, arguments: Any = ()) -> dict[str, Any]:
        return {host: said.get(function, "") for host in hosts}

    definitions = {"odoo-14.0": fleets.definition("odoo-14.0")}
    site = Site(Path(), Path(), fleets.fleet(), definitions, fleets.LOCKS, fleets.TREE)
    monkeypatch.setattr(minions, "ask", ask)
    monkeypatch.setattr(runner, "site", lambda _: site)
    with pytest.raises(CommandExecutionError, match="s1 through lb1: s2 answered instead"):
        load("_runners/fleet.py", opts={}).probe(["s1"], through=True, timeout=0)


def test_k5_a_deployment_and_other_changes_exclude_each_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """K5: The second one is refused before it looks up a revision. A prediction excludes none."""
    definitions = {"odoo-14.0": fleets.definition("odoo-14.0")}
    site = Site(tmp_path, tmp_path, fleets.fleet(), definitions, fleets.LOCKS, fleets.TREE)
    resolved: list[Any] = []
    monkeypatch.setattr(runner, "site", lambda _: site)
    monkeypatch.setattr(runner, "resolved", lambda *given: resolved.append(given))
    monkeypatch.setattr(deployment, "PATIENCE", 0)
    change, fleet = (load(f"_runners/{name}.py", opts={}) for name in ("change", "fleet"))
    with holder.another(site.change_file):
        for deploy in (change.deployment, fleet.deploy):
            with pytest.raises(CommandExecutionError, match="running: app to 5 members, since"):
                deploy()
        assert not resolved
        assert change.deployment(test=True)["steps"]
    change.deployment(test=True)
    assert exclusive.holder(site.change_file) == {}
    change.deployment()
    assert exclusive.holder(site.change_file)["what"] == "deployment"
    assert fleet.status()["running"]["what"] == "deployment"

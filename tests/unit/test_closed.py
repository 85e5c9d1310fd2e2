"""An application whose pool has no members: its clients get a page of maintenance (S1, S10)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from salina.monitoring import plugin
from salina.verify import service
from salina_fleet import health, runner, verify, watch
from salina_fleet.change import autoscale, scale
from salina_fleet.errors import RunnerError
from salina_fleet.fleet import Fleet
from salina_fleet.model import members
from salina_fleet.model.settings import AutoscaleSettings
from tests import fleets

FLEET = fleets.fleet("cloud")
TOPOLOGY = FLEET.topology
OPEN = {"app": ["s1", "s2"], "shop": ["w1", "w2"]}
CLOSED = {"app": ["s1", "s2"], "shop": list[str]()}
PORTS = ("127.0.0.1", 80, 443, "shop.example", "https://shop.example", "/")


def change(data: dict[str, Any], now: Mapping[str, list[str]]) -> scale.Change:
    """Return the change of a request."""
    return scale.plan(scale.parse({"pool": "shop", **data}, TOPOLOGY), TOPOLOGY, now)


def steps(data: dict[str, Any], now: dict[str, list[str]]) -> list[str]:
    """Return the names of the steps of a request."""
    site: Any = SimpleNamespace(fleet=Fleet(TOPOLOGY, now, FLEET.settings))
    told = runner.told(site, change(data, now), [])
    return [one["name"] for one in told["steps"]]


def test_s10_a_pool_may_have_no_members() -> None:
    """S10: From the beginning, by its number, or by the names of its members."""
    assert TOPOLOGY.pools["shop"].initial == ()
    assert members.faults_of(CLOSED, TOPOLOGY) == []
    assert change({"count": 0}, OPEN).leaving == ("w1", "w2")
    assert change({"remove": ["w1", "w2"]}, OPEN).leaving == ("w1", "w2")
    assert change({"count": 0}, CLOSED).touched == ()
    assert change({"count": 2}, CLOSED).joining == ("w1", "w2")
    with pytest.raises(scale.RequestError, match="a number from 1 to 10"):
        scale.parse({"pool": "app", "count": 0}, TOPOLOGY)


def test_s10_the_page_of_maintenance_comes_before_the_last_host_leaves() -> None:
    """S10: A request must not reach a host that stops, and without another one it would."""
    told = steps({"count": 0}, OPEN)
    page = told.index("balancers show the page of maintenance")
    assert page < told.index("drained") < told.index("stopped") < told.index("destroyed")
    assert "balancers follow" not in told


def test_s10_otherwise_the_balancers_follow_as_ever() -> None:
    """S10: Also when hosts of another pool serve the same application."""
    assert "balancers follow" in steps({"count": 1}, OPEN)
    assert "balancers follow" in steps({"count": 1}, CLOSED)
    pools = {name: replace(one, application="crm") for name, one in TOPOLOGY.pools.items()}
    both = Fleet(replace(TOPOLOGY, pools=pools), OPEN, FLEET.settings)
    site: Any = SimpleNamespace(fleet=both)
    told = runner.told(site, change({"count": 0}, OPEN), [])
    assert "balancers follow" in [one["name"] for one in told["steps"]]


def test_s12_a_pool_without_members_stays_so() -> None:
    """S12: It has no load by which it could grow, and the last host stays by itself."""
    rule = autoscale.rule(AutoscaleSettings(enabled=True, pool="shop"), TOPOLOGY)
    idle = tuple(autoscale.Sample(float(at), 0) for at in range(0, 400, 60))
    for count in (0, 1):
        assert autoscale.decide(autoscale.History(idle), 360.0, rule, count) == count


def test_k5_what_needs_a_host_is_refused() -> None:
    """K5: An upgrade, a copy and a restore run on an app host."""
    site: Any = SimpleNamespace(fleet=FLEET)
    assert runner.serving(site, "crm") == ["s1", "s2"]
    with pytest.raises(RunnerError, match="shop: no host serves it") as caught:
        runner.serving(site, "shop")
    assert str(caught.value).endswith("next: salt-run fleet.scale pool=shop count=1")


def test_s13_health_and_monitoring_say_so() -> None:
    """S13: It is a notice: an operator has closed the application."""
    definitions = fleets.definitions(TOPOLOGY)
    checks = {one.name: one for one in health.checks(FLEET, FLEET.hosts["lb1"], definitions)}
    assert "closed shop.example" in checks and "closed crm.example" not in checks
    assert [*checks["haproxy"].needs] == ["haproxy crm"]
    tiers = watch.tiers(FLEET, definitions)
    [app] = [one for one in tiers if one["service"] == "tier app"]
    assert [one["name"] for one in app["hosts"]] == ["s1", "s2"]
    clients = fleets.pillar("nagios", "cloud")["monitoring"]["plugin"]["clients"]
    assert {name: one["closed"] for name, one in clients.items()} == {"crm": False, "shop": True}


@pytest.mark.parametrize(
    ("status", "left", "state"),
    [(503, 1e9, 1), (503, 1.0, 2), (200, 1e9, 0), (502, 1e9, 2)],
)
def test_s13_a_closed_application_is_a_warning(
    status: int, left: float, state: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S13: Its certificate counts as before."""
    given = fleets.pillar("nagios", "cloud")["monitoring"]["plugin"]
    monkeypatch.setattr(plugin, "answer", lambda **_: (status, left))
    found, words = plugin.client("shop", given)
    assert found == state and words.startswith("closed") == (state == 1)
    assert plugin.use("shop", given, 0.0) == (1, "closed, because its pool has no members")
    assert plugin.client("crm", given)[0] == (0 if state == 0 else 2)


def test_s1_the_verification_says_why_a_row_does_not_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """S1: Clients do not reach the application. Nothing is said of its requests (S2)."""
    answers = iter([(301, {"location": "https://shop.example/"}), (503, {})])
    monkeypatch.setattr(service, "get", lambda *_, **__: next(answers))
    plain, secure = service.front(*PORTS, closed=True)
    assert plain.good and plain.seen == "HTTP 301 to https://shop.example/"
    assert not secure.good and secure.seen == "HTTP 503; closed, because its pool has no members"
    looks = verify.looks(fleets.master_data(FLEET), FLEET.hosts["lb1"])
    [balance] = [one for one in looks if one.look == "balance"]
    assert [*balance.arguments["applications"]] == ["crm"]
    fronts = {one.arguments["domain"]: one.arguments for one in looks if one.look == "front"}
    assert fronts["shop.example"]["closed"] and "closed" not in fronts["crm.example"]
    empty = Fleet(TOPOLOGY, {"app": [], "shop": []}, FLEET.settings)
    looks = verify.looks(fleets.master_data(empty), empty.hosts["lb1"])
    assert "balance" not in [one.look for one in looks]

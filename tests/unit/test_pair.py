"""K6: Two hosts share addresses: what each knows of that, looks at, and does in its turn."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lab.machines import plan
from salina.health import probes
from salina.health.probes import ELSEWHERE, HERE
from salina_fleet import health, pair, verify
from salina_fleet.health import Finding, Row
from salina_fleet.roles import ROLES
from tests import fleets
from tests.loading import load

LB1, LB2, SERVICE = "10.1.2.3", "10.1.2.4", "10.1.2.2"
OUTSIDE, INSIDE, GATEWAY, INNER = "10.1.1.2", "10.1.2.7", "10.1.1.1", "10.1.2.1"


def test_k6_each_balancer_knows_the_other_one() -> None:
    """K6: Both have the same pillar but for their own addresses."""
    assert fleets.pillar("lb1", "pairs")["pair"] == {
        "role": "balancer",
        "number": 70,
        "own": LB1,
        "partner": LB2,
        "addresses": [{"address": SERVICE, "length": 32, "in": LB1}],
        "needs": ["10.1.3.1"],
    }
    assert fleets.pillar("lb2", "pairs")["pair"]["partner"] == LB1


def test_k6_each_firewall_has_both_gateways_or_none() -> None:
    """K6: They move together, and the two speak in the inner network."""
    found = fleets.pillar("fw1", "pairs")["pair"]
    assert (found["own"], found["partner"], found["needs"]) == (INSIDE, "10.1.2.8", [])
    assert [(one["address"], one["in"]) for one in found["addresses"]] == [
        (GATEWAY, OUTSIDE),
        (INNER, INSIDE),
    ]


def test_k6_a_single_host_shares_nothing() -> None:
    """K6: The default fleet has one firewall and one balancer."""
    fleet = fleets.fleet()
    for host in fleet.hosts.values():
        assert not pair.of(fleet, host) and not pair.pillar(fleet, host)
        assert not list(pair.checks(fleet, host))
    assert not any(list(pair.rows(fleet.topology, role)) for role in ROLES.values())


def test_k6_pairs_have_different_numbers() -> None:
    """K6: Both pairs speak in the same network."""
    numbers = [fleets.pillar(host, "pairs")["pair"]["number"] for host in ("lb1", "fw1")]
    assert len({*numbers}) == 2 and all(0 < number < 256 for number in numbers)


def test_k6_each_balancer_serves_and_asks_itself_at_its_own_address() -> None:
    """K6, X5: Also while the other one has the published address; neither limits itself."""
    found = fleets.pillar("lb2", "pairs")["balancer"]
    assert (found["address"], found["further"]) == (SERVICE, [LB2])
    assert found["limits"]["exempt"] == [SERVICE, LB2]
    assert [one["name"] for one in found["peers"]] == ["lb2", "lb1"]
    single = fleets.pillar("lb1")["balancer"]
    assert (single["further"], single["peers"]) == ([], [])
    checks = fleets.pillar("lb2", "pairs")["host"]["checks"]
    (waiting,) = (one for one in checks if one["probe"] == "waiting")
    assert "keepalived" in waiting["arguments"]["applied"]
    (served,) = (one for one in checks if one["probe"] == "served")
    assert served["arguments"]["address"] == LB2


def test_k6_two_balancers_prove_to_each_other_who_they_are() -> None:
    """K6, X6: A single one has no server that asks for its certificate."""
    for name, uses in (("default", ["clientAuth"]), ("pairs", ["clientAuth", "serverAuth"])):
        certificates = fleets.pillar("lb1", name)["tls"]["certificates"]
        (own,) = (one for one in certificates if one["name"] == "balancer")
        assert own["uses"] == uses


def test_k6_the_labs_hosts_use_the_shared_gateways() -> None:
    """K6, S15: Clients and balancers do; the firewalls themselves have none."""
    topology = fleets.topology("pairs")
    made = plan.make(topology, topology.initial())
    gateways = {
        machine.name: {card.gateway for card in machine.interfaces if card.gateway}
        for machine in made.machines
    }
    assert gateways["c1"] == {GATEWAY}
    assert gateways["lb1"] == gateways["lb2"] == {INNER}
    assert gateways["fw1"] == gateways["fw2"] == gateways["s1"] == set()


def card(name: str, *addresses: str, cut: bool = False) -> dict[str, Any]:
    """A network card, as `ip -json address show` prints it."""
    flags = ["BROADCAST", "NO-CARRIER" if cut else "LOWER_UP"]
    return {"ifname": name, "flags": flags, "addr_info": [{"local": one} for one in addresses]}


@pytest.mark.parametrize(
    ("cards", "good", "words"),
    [
        ([card("eth0", OUTSIDE, GATEWAY), card("eth1", INSIDE, INNER)], True, "here"),
        ([card("eth0", OUTSIDE), card("eth1", INSIDE)], True, "at the other host"),
        (
            [card("eth0", OUTSIDE, GATEWAY), card("eth1", INSIDE)],
            False,
            f"only {GATEWAY} of {GATEWAY}, {INNER}; see journalctl -u keepalived",
        ),
        ([card("eth0", OUTSIDE, cut=True), card("eth1", INSIDE)], False, "eth0 is not connected"),
        ([card("eth1", INSIDE)], False, f"{OUTSIDE} is on no interface"),
    ],
)
def test_k6_the_health_of_a_pair(cards: list[dict[str, Any]], good: bool, words: str) -> None:
    """K6: A host has all of the shared addresses or none, and could have them."""
    found = probes.moved(json.dumps(cards), [GATEWAY, INNER], [OUTSIDE, INSIDE])
    assert found == ("shared addresses", good, words)


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ({"lb1": HERE, "lb2": ELSEWHERE}, ""),
        ({"lb1": HERE, "lb2": HERE}, "both lb1 and lb2 have them"),
        ({"lb1": ELSEWHERE, "lb2": ELSEWHERE}, "neither lb1 nor lb2 has them"),
        ({"lb2": ELSEWHERE}, ""),  # the other one says nothing, or has a fault of its own
        ({"lb1": HERE, "lb2": HERE, "fw1": HERE, "fw2": ELSEWHERE}, "both lb1 and lb2 have them"),
    ],
)
def test_k6_the_two_of_a_pair_are_compared(said: dict[str, str], fault: str) -> None:
    """K6: Each of them alone cannot see that both have the addresses, or that neither has."""
    found = pair.disagreeing(fleets.topology("pairs"), said)
    words = f"{fault}; see journalctl -u keepalived on both"
    assert found == (dict.fromkeys(("lb1", "lb2"), words) if fault else {})
    assert not pair.disagreeing(fleets.topology(), said)


def rows(one: str, other: str) -> list[Row]:
    """The rows of both balancers, and of another host."""
    own = {"lb1": one, "lb2": other}
    found = [
        Row(host, "balancer", (Finding("units", True), Finding(probes.SHARED, True, words)))
        for host, words in own.items()
    ]
    return [*found, Row("s1", "app", (Finding("units", True),))]


def test_k6_a_move_that_is_under_way_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """K6: Hosts that disagree are asked again, and the rows have what they say then."""
    monkeypatch.setattr("salina.common.wait.time.sleep", lambda _: None)
    later = iter([(ELSEWHERE, ELSEWHERE), (ELSEWHERE, HERE)])

    def again(hosts: list[str]) -> dict[str, tuple[Finding, ...]]:
        assert hosts == ["lb1", "lb2"]
        return {row.name: row.findings for row in rows(*next(later))[:2]}

    topology = fleets.topology("pairs")
    assert health.compared(topology, rows(HERE, HERE), again) == rows(ELSEWHERE, HERE)
    assert not list(later)
    assert health.compared(topology, rows(HERE, ELSEWHERE), again) == rows(HERE, ELSEWHERE)


def test_k6_a_pair_that_goes_on_disagreeing_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """K6: Of both hosts, in each view of the fleet; so is one that does not say it again."""
    monkeypatch.setattr(pair.settled, "__defaults__", (0.0,))
    topology, given = fleets.topology("pairs"), rows(HERE, HERE)
    found = health.compared(topology, given, lambda _: {row.name: row.findings for row in given})
    assert [row.good for row in found] == [False, False, True]
    assert "both lb1 and lb2 have them" in health.text(found)
    found = health.compared(topology, given, lambda _: {"lb1": given[0].findings})
    assert [row.good for row in found] == [True, False, True]
    seen = [verify.Finding("K6", host, probes.SHARED, True, ELSEWHERE) for host in ("lb1", "lb2")]
    told = verify.compared(topology, [*seen, seen[0]._replace(what="keepalived")], lambda _: seen)
    assert [one.good for one in told] == [False, False, True]
    assert told[0].seen.startswith("neither lb1 nor lb2 has them")


def test_k6_which_shared_addresses_are_here() -> None:
    """K6: `pair.held` reads the cards of the host."""
    shown = json.dumps([card("lo", "127.0.0.1"), card("eth0", LB1, SERVICE)])
    pillar = {"pair": fleets.pillar("lb1", "pairs")["pair"]}
    salt = {"cmd.run_all": lambda *_, **__: {"retcode": 0, "stdout": shown, "stderr": ""}}
    assert load("_modules/pair.py", salt=salt, pillar=pillar).held() == [SERVICE]

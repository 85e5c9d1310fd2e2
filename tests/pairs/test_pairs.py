"""K6: Two firewalls and two balancers: what a client notices when one of them goes and returns."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from lab.machines import inventory
from salina.common import wait
from tests import fleets
from tests.lab import lab
from tests.pairs.watch import Answers, Visitor

pytestmark = pytest.mark.lab

FLEET = fleets.fleet("pairs")
SERVICE = FLEET.topology.service.address
PAIRS = {"balancer": ("lb1", "lb2"), "firewall": ("fw1", "fw2")}
SHARED = {
    role: [one["address"] for one in fleets.pillar(hosts[0], "pairs")["pair"]["addresses"]]
    for role, hosts in PAIRS.items()
}
LOST = 5.0
"""Seconds for which a client may get no answer."""
KINDS = ("kill", "freeze", "link-down", "stop")
OFTEN = (("balancer", "kill"), ("firewall", "freeze"))
CASES = [
    pytest.param(role, kind, marks=[] if (role, kind) in OFTEN else pytest.mark.proof)
    for role in PAIRS
    for kind in KINDS
]


def held(host: str) -> list[str]:
    """Return the shared addresses that a host has; none for one that does not answer."""
    shown = lab.execute(host, "ip", "-json", "address", "show").stdout or "[]"
    own = {one.get("local") for card in json.loads(shown) for one in card["addr_info"]}
    return [address for found in SHARED.values() for address in found if address in own]


def holder(role: str) -> str:
    """Return the one host of a pair that has its addresses; "" while it is not clear."""
    found = {host: addresses for host in PAIRS[role] if (addresses := held(host))}
    return next(iter(found)) if [*found.values()] == [SHARED[role]] else ""


def settled() -> None:
    """Wait until each pair has its addresses once, and everything is well."""
    for role in PAIRS:

        def clear(role: str = role) -> str:
            return holder(role)

        assert wait.until(clear, 30, 0.5), {host: held(host) for host in PAIRS[role]}

    def well() -> bool:
        return not lab.salt_run("fleet.health").returncode

    assert wait.until(well, 120, 2), lab.salt_run("fleet.health").stdout


def card(host: str, address: str) -> str:
    """Return the name of the card of a host with an address."""
    cards = inventory.current_plan().machine(host).interfaces
    return next(one.name for one in cards if one.address.startswith(f"{address}/"))


@contextmanager
def alone(role: str) -> Iterator[None]:
    """Ask all the time who answers for the addresses of a pair: somebody does, and never two.

    A host of the other pair asks in the network that both are in, and a client asks in its own.
    """
    other = PAIRS["firewall" if role == "balancer" else "balancer"][1]
    own = FLEET.address(FLEET.hosts[other], "edge")
    asked = [(other, card(other, own), own, SHARED[role][-1])]
    if role == "firewall":
        (outside,) = inventory.current_plan().machine("c2").interfaces
        asked.append(("c2", outside.name, outside.address.partition("/")[0], SHARED[role][0]))
    with ExitStack() as ends:
        found = [ends.enter_context(Answers(*one)) for one in asked]
        assert wait.until(lambda: all(one.asked() for one in found), 15, 0.2)
        yield
    print(f"{role}: nobody answered for at most {max(one.silence() for one in found):.1f} s")
    for one in found:
        assert one.several() == []


@pytest.fixture
def visitor() -> Iterator[Visitor]:
    """A client beyond the firewalls."""
    settled()
    ca = lab.run("core", "cat", "/etc/salina/tls/ca.crt")
    domain = FLEET.topology.default.domain
    with Visitor("c1", ca=ca, address=SERVICE, domain=domain, path="/health") as found:
        found.serves()
        yield found


def test_k6_one_of_two_has_the_addresses() -> None:
    """K6: Both see it in the same way, and the health of the fleet says where they are."""
    settled()
    for role, hosts in PAIRS.items():
        found = lab.salt("-L", ",".join(hosts), "pair.held")
        assert sorted(found.values()) == [[], SHARED[role]]
    told = json.loads(lab.salt_run("fleet.health").stdout)["hosts"]
    for hosts in PAIRS.values():
        words = [
            one["detail"]
            for host in hosts
            for one in told[host]["checks"]
            if one["what"] == "shared addresses"
        ]
        assert sorted(words) == ["at the other host", "here"]


def test_k6_k1_the_second_run_changes_nothing() -> None:
    """K6, K1: On no host, whichever has the addresses."""
    found = lab.highstate()
    assert not lab.failures(found)
    assert not lab.changes(found)


@pytest.mark.parametrize(("role", "kind"), CASES)
def test_k6_one_of_two_is_lost(visitor: Visitor, role: str, kind: str) -> None:
    """K6, S1: Its partner takes over, and no client waits for longer when it returns.

    The lost one is the one that serves. The connections through a firewall go on.
    """
    lost = holder(role)
    (partner,) = {*PAIRS[role]} - {lost}
    opened = visitor.opened()
    with alone(role):
        lab.fault(kind, lost)
        try:
            assert wait.until(lambda: held(partner) == SHARED[role], 15, 0.2), held(partner)
            visitor.serves()
        finally:
            lab.heal(lost)
        settled()
        visitor.serves()
    gaps = f"{visitor.gap():.1f} s with new connections, {visitor.silence():.1f} s with an old one"
    print(f"{role}, {kind}: no answer for at most {gaps}")
    assert visitor.gap() < LOST
    if role == "firewall":
        assert visitor.opened() == opened and visitor.silence() < LOST


@pytest.mark.parametrize("role", ["balancer", pytest.param("firewall", marks=pytest.mark.proof)])
def test_k6_s12_a_host_gives_the_addresses_up_in_its_turn(visitor: Visitor, role: str) -> None:
    """K6, S12: Before anything restarts the other one serves, and it goes on doing so."""
    before = holder(role)
    (after,) = {*PAIRS[role]} - {before}
    with alone(role):
        try:
            taken = lab.salt(before, "turn.take", role, "a trial")
            assert taken == {before: "it has its turn and no requests"}
            assert holder(role) == after
        finally:
            assert lab.salt(before, "turn.end") == {before: ""}
        settled()
        visitor.serves()
    assert holder(role) == after
    assert visitor.gap() < LOST


@pytest.mark.proof
@pytest.mark.parametrize("service", ["keepalived", "haproxy"])
def test_k6_a_killed_daemon_costs_little(visitor: Visitor, service: str) -> None:
    """K6: systemd starts it again, and no address stays behind."""
    host = holder("balancer")
    with alone("balancer"):
        lab.fault("service-kill", service, host)
        lab.heal(host)
        settled()
        visitor.serves()
    assert visitor.gap() < LOST


@pytest.mark.proof
def test_k6_s13_both_have_the_addresses(visitor: Visitor) -> None:
    """K6, S13: Two balancers that do not hear each other both take the address, and each of them is
    well in its own eyes. The health of the fleet and the daily check compare them.
    """

    def ruled(option: str) -> None:
        for host in PAIRS["balancer"]:
            partner = fleets.pillar(host, "pairs")["pair"]["partner"]
            lab.run(host, "iptables", option, "INPUT", "-s", partner, "-p", "112", "-j", "DROP")

    ruled("-I")
    try:
        assert wait.until(lambda: all(map(held, PAIRS["balancer"])), 15, 0.5)
        told = json.loads(lab.salt_run("fleet.health").stdout)["hosts"]
        words = "both lb1 and lb2 have them; see journalctl -u keepalived on both"
        for host in PAIRS["balancer"]:
            (found,) = (one for one in told[host]["checks"] if one["what"] == "shared addresses")
            assert (found["good"], found["detail"]) == (False, words)
        seen = json.loads(lab.salt_run("verify.service").stdout)["rows"]["K6"]["seen"]
        assert words in [one["seen"] for one in seen if not one["good"]]
    finally:
        ruled("-D")
    settled()
    visitor.serves()

"""K6: The files of two hosts that share addresses, and what is left when there is only one."""

from __future__ import annotations

from typing import Any

import pytest

from tests import fleets
from tests.render.minion import Minion

UNIT = "/etc/systemd/system/keepalived.service.d/salina.conf"
CONFIGURATION = "/etc/keepalived/keepalived.conf"
LEASE = "/etc/keepalived/salina-lease"
SERVES = "/etc/keepalived/salina-serves"


class Files:
    """The rendered files of a host, by their paths."""

    def __init__(self, host: str, fleet: str) -> None:
        minion = Minion(host, fleets.pillar(host, fleet))
        self.states: dict[str, dict[str, Any]] = {
            one["name"]: one
            for one in minion.chunks
            if (one["state"], one["fun"]) == ("file", "managed") and "source" in one
        }
        self.ids = {one["__id__"] for one in minion.chunks}
        self.chunks = minion.chunks
        self.minion = minion

    def lines(self, path: str) -> list[str]:
        """Return the lines of a file, without comments."""
        text = self.minion.render(self.states[path])
        found = [line.strip() for line in text.splitlines()]
        return [line for line in found if line and not line.startswith("#")]


@pytest.fixture(scope="module", params=["lb1", "lb2", "fw1", "fw2"])
def host(request: pytest.FixtureRequest) -> Files:
    """Each host of a pair."""
    return Files(request.param, "pairs")


def test_k6_both_have_the_same_priority(host: Files) -> None:
    """K6: So the addresses stay where they are until their host cannot serve."""
    lines = host.lines(CONFIGURATION)
    assert "priority 100" in lines and "state BACKUP" in lines
    assert not any("nopreempt" in line for line in lines)
    own = host.minion.opts["pillar"]["pair"]
    assert f"unicast_src_ip {own['own']}" in lines
    assert f"{own['partner']} min_ttl 255 max_ttl 255" in lines
    state = host.states[CONFIGURATION]
    assert state["check_cmd"] == "/usr/sbin/keepalived --config-test --use-file"


def test_k6_no_address_stays_behind(host: Files) -> None:
    """K6: However keepalived ends, systemd takes the addresses away and starts it again."""
    addresses = [one["address"] for one in host.minion.opts["pillar"]["pair"]["addresses"]]
    lines = host.lines(UNIT)
    assert "Restart=always" in lines
    stops = [line for line in lines if line.startswith("ExecStopPost=-/usr/sbin/ip address delete")]
    assert [line.split()[3] for line in stops] == [f"{one}/32" for one in addresses]


def test_k6_the_kernel_answers_only_with_a_lease(host: Files) -> None:
    """K6: Each shared address needs one, and the program of keepalived renews it."""
    addresses = [one["address"] for one in host.minion.opts["pillar"]["pair"]["addresses"]]
    rules = [line for line in host.lines(LEASE) if line.endswith("drop")]
    assert rules == [
        f"arp operation reply arp saddr ip {one} arp saddr ip != @held drop" for one in addresses
    ]
    renewed = [line for line in host.lines(SERVES) if line.endswith("timeout 1500ms }")]
    assert renewed == [
        f"add element arp salina_pair held {{ {one} timeout 1500ms }}" for one in addresses
    ]


def test_k6_a_balancer_also_listens_while_the_other_one_has_the_address() -> None:
    """K6: The kernel lets it, before HAProxy asks, and at each boot."""
    found = Files("lb1", "pairs")
    assert "pair-bound" in found.ids
    lines = found.lines("/etc/haproxy/conf.d/20-balancer.cfg")
    assert "bind 10.1.2.2:80" in lines and "bind 10.1.2.3:80" in lines
    assert any(line.startswith("stick-table ") and "peers balancers" in line for line in lines)


@pytest.mark.parametrize("name", ["lb1", "fw"])
def test_k6_a_single_host_has_no_keepalived(name: str) -> None:
    """K6: One that shared addresses before forgets that, and never had a unit to stop otherwise."""
    found = Files(name, "default")
    assert CONFIGURATION not in found.states
    assert {"pair-stopped", "pair-absent", "pair-unloaded"} <= found.ids
    assert "pair-service" not in found.ids

"""S7: Packets with a false source do not reach the hosts behind the firewall."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests import fleets
from tests.lab.lab import run, shell

pytestmark = [pytest.mark.lab, pytest.mark.proof]

HOSTS = fleets.fleet().hosts
SERVICE = fleets.topology().service
SENT = 5


def addresses() -> dict[str, str]:
    """An address for c1 to lie about: of each network that c1 has no part in, and a free one."""
    topology = fleets.topology()
    return {
        name: network.cidr.replace(".0/24", ".250")
        for name, network in topology.networks.items()
        if name != topology.links["clients"]
    }


@pytest.fixture(params=addresses())
def lie(request: pytest.FixtureRequest) -> Iterator[str]:
    """An address of an inner network that c1 pretends to have."""
    address = addresses()[request.param]
    run("c1", "ip", "address", "add", f"{address}/32", "dev", "lo")
    yield address
    run("c1", "ip", "address", "delete", f"{address}/32", "dev", "lo")


def arrived(host: str, source: str) -> int:
    """Count the packets with a source that reached a host, before its firewall judges them."""
    rules = run(host, "iptables", "-t", "raw", "-L", "PREROUTING", "-nvx")
    return sum(int(line.split()[0]) for line in rules.splitlines() if source in line)


def test_a_client_cannot_send_in_the_name_of_an_inner_host(lie: str) -> None:
    """S7, X7: fw drops the packets, whether it has a part in the network or not."""
    honest = f"ping -c {SENT} -i 0.2 -W 2 {SERVICE.address}"
    assert f"{SENT} received" in shell("c1", honest)  # fw answers no ARP in the name of another
    watch = f"PREROUTING -s {lie} -j ACCEPT"
    for host in ("fw", "lb1"):
        run(host, "iptables", "-t", "raw", "-A", *watch.split())
    try:
        ping = f"ping -c {SENT} -i 0.2 -W 1 -I {lie} {SERVICE.address}"
        assert f"{SENT} packets transmitted, 0 received" in shell("c1", f"{ping} || true")
        assert (arrived("fw", lie), arrived("lb1", lie)) == (SENT, 0)
    finally:
        for host in ("fw", "lb1"):
            run(host, "iptables", "-t", "raw", "-D", *watch.split())
    assert f"{SENT} received" in shell("c1", honest)


@pytest.mark.parametrize("host", HOSTS)
def test_each_interface_checks_sources_and_takes_no_routes(host: str) -> None:
    """S7, X7: Also the interfaces that existed before the first apply."""
    script = """
cd /proc/sys/net
for name in ipv4/conf/*/rp_filter ipv?/conf/*/accept_redirects ipv?/conf/*/accept_source_route \\
    ipv6/conf/*/accept_ra; do echo "$name $(cat $name)"; done
"""
    found = dict(line.split() for line in shell(host, script).splitlines())
    assert found
    wrong = {
        name: value
        for name, value in found.items()
        if value != ("1" if name.endswith("rp_filter") else "0")
    }
    assert not wrong, json.dumps(wrong)

"""S7: Packets with a false source do not reach the hosts behind the firewall."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from salina.common import wait
from tests import fleets
from tests.lab.lab import apply, changes, execute, failures, run, salt, shell
from tests.lab.traffic import Traffic

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


@pytest.fixture
def detour() -> Iterator[str]:
    """An app host that reaches the balancer's address in the edge network by a way of its own."""
    host, way = "s1", HOSTS["lb1"].addresses["web"]
    route = f"{SERVICE.address} via {way}"
    shell(host, f"ip route add {route}; iptables -I OUTPUT -d {SERVICE.address} -j ACCEPT")
    yield host
    shell(host, f"ip route del {route}; iptables -D OUTPUT -d {SERVICE.address} -j ACCEPT")


def asked(host: str) -> bool:
    """Whether a host gets an answer from the published service."""
    url = f"https://{SERVICE.address}/"
    return execute(host, "curl", "-sk", "-o", "/dev/null", "--max-time", "3", url).returncode == 0


def test_x7_a_port_is_open_on_its_own_interface_only(detour: str) -> None:
    """X7: lb1 drops a packet for its published address that comes in from the app hosts' network.

    The source is true, so the kernel's own check lets it pass. From the edge network it is open.
    """
    assert not asked(detour)
    assert asked("fw")


def test_x7_rules_get_their_interfaces_under_traffic() -> None:
    """X7, K1, K3: Rules without an interface, as older versions wrote them, are replaced in one
    step that a prediction shows.
    """
    place = f"to {SERVICE.address} port 80,443 proto tcp"
    bound = f"allow in on eth0 {place}"
    assert bound in run("lb1", "ufw", "show", "added")
    with Traffic() as traffic:
        shell("lb1", f"ufw allow {place}; ufw delete {bound}")
        begun = time.time()
        wait.clear(lambda: traffic.obstacle(begun), 60, "the traffic to begin")
        predicted = apply("lb1", "ufw", test=True)["lb1"]["ufw-rules"]["changes"]
        done = apply("lb1", "ufw")
        begun = time.time()
        wait.clear(lambda: traffic.obstacle(begun), 60, "the traffic to go on")
    assert traffic.failed() == []
    assert not failures(done)
    assert done["lb1"]["ufw-rules"]["changes"] == predicted
    assert predicted == {
        "add": [f"{bound} comment 'the published service'"],
        "delete": [f"allow {place}"],
    }
    assert not changes(apply("lb1", "ufw"))


def test_x7_a_host_without_its_address_changes_no_rule() -> None:
    """X7, K5: The message names the address, and those that the host has."""
    host = "s1"
    rule = {"comment": "x", "proto": "tcp", "ports": "1", "from": "any", "to": "any"}
    said = salt(host, "ufw.plan", json.dumps([rule | {"in": "10.1.4.99"}]), "[]")[host]
    assert "10.1.4.99 is on no interface of this host, which has " in said
    assert HOSTS[host].addresses["data"] in said

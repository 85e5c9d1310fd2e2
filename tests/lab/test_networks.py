"""S7: Packets with a false source do not reach the hosts behind the firewall."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from salina.common import wait
from tests import fleets
from tests.lab.lab import apply, changes, execute, failures, run, salt, salt_run, sending, shell
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
    shell(host, f"ip route add {route}")
    try:
        with sending(host):
            yield host
    finally:
        shell(host, f"ip route del {route}")


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
    said = salt(host, "ufw.plan", json.dumps([rule | {"in": "10.1.4.99"}]), "[]", "[]")[host]
    assert "10.1.4.99 is on no interface of this host, which has " in said
    assert HOSTS[host].addresses["data"] in said


CONNECT = """
import json, socket, sys
for address, port in json.loads(sys.argv[1]):
    try:
        socket.create_connection((address, port), 2).close()
        print("open")
    except OSError as error:
        print(type(error).__name__)
"""
REFUSED, SILENT = "ConnectionRefusedError", "TimeoutError"
APP = fleets.pillar("s1")["app"]
MASTER = HOSTS["salt"].addresses["management"]


def opened(host: str, *targets: tuple[str, int], user: str = "root") -> list[str]:
    """The answers that a user of a host gets from each address and port."""
    command = ["runuser", "-u", user, "--", "python3", "-c", CONNECT, json.dumps(targets)]
    return run(host, *command).split()


@pytest.fixture
def way() -> Iterator[str]:
    """An app host that has a way to the outside, as on a cloud."""
    host, route = "s1", "default via {}".format(HOSTS["lb1"].addresses["web"])
    shell(host, f"ip route add {route}")
    yield host
    shell(host, f"ip route del {route}")


def test_x7_the_application_reaches_its_own_host_only(way: str) -> None:
    """X7, X8: A program that runs as the application reaches neither the master nor others."""
    nas, database = (HOSTS[name].addresses["data"] for name in ("nas1", "bbdd1"))
    others = [(MASTER, 4505), (MASTER, 4506), (MASTER, 22), (nas, 24007), (database, 5432)]
    others += [("169.254.169.254", 80), ("192.0.2.1", 443), (HOSTS["s2"].addresses["web"], 443)]
    own = [("127.0.0.1", fleets.pillar(way)["database_route"]["pool_port"]), (APP["address"], 443)]
    user = APP["kind"]
    assert opened(way, *others, user=user) == [REFUSED] * len(others)
    assert opened(way, *own, user=user) == ["open"] * len(own)


def test_x7_only_root_reaches_the_master_and_the_cloud(way: str) -> None:
    """X7: Not even a user of the host that runs no application."""
    cloud = ("169.254.169.254", 80)
    for host in (way, "lb1", "nas1"):
        assert opened(host, (MASTER, 4505), (MASTER, 4506)) == ["open"] * 2
        assert opened(host, (MASTER, 4505), (MASTER, 4506), user="nobody") == [REFUSED] * 2
    assert opened(way, cloud, user="nobody") == [REFUSED]
    assert opened(way, cloud) != [REFUSED]


@pytest.fixture
def listener() -> Iterator[tuple[str, int]]:
    """A port of bbdd2 that its own firewall opens, and that no row of the table has."""
    host, port = "bbdd2", 4321
    address = HOSTS[host].addresses["data"]
    serve = f"python3 -m http.server --bind {address} {port}"
    opening = f"INPUT -p tcp --dport {port} -j ACCEPT"
    shell(host, f"systemd-run --quiet --unit lab-listener {serve}; iptables -I {opening}")
    try:
        up = f"ss -Hltn 'sport = :{port}' | grep -q ."
        wait.clear(lambda: "" if not execute(host, "sh", "-c", up).returncode else "no", 20, "it")
        yield address, port
    finally:
        shell(host, f"systemctl stop lab-listener; iptables -D {opening}")


def test_x7_root_opens_what_the_table_says(listener: tuple[str, int]) -> None:
    """X7: A host's own firewall drops all other connections, wherever they lead."""
    address, _ = listener
    database = (address, 5432)
    assert opened("s1", listener, database) == [SILENT, "open"]
    with sending("s1"):  # so it was the firewall of s1
        assert opened("s1", listener) == ["open"]
    assert opened("lb1", (HOSTS["s1"].addresses["web"], 443)) == ["open"]
    assert opened("bbdd1", (HOSTS["nas1"].addresses["data"], 2379)) == ["open"]


def test_x7_connections_go_on_when_the_rules_begin() -> None:
    """X7, S12: A firewall that is loaded again, with its rules for what hosts open, cuts nothing.

    Every host of the traffic's way loads its firewall as at the first apply.
    """
    hosts = ["lb1", "s1", "nas1", "bbdd1"]
    with Traffic() as traffic:
        begun = time.time()
        wait.clear(lambda: traffic.obstacle(begun), 60, "the traffic to begin")
        for host in hosts:
            shell(host, "iptables -P OUTPUT ACCEPT; rm -f /run/salina-ufw-loaded")
            found = apply(host, "ufw")
            assert changes(found) and not failures(found)
        begun = time.time()
        wait.clear(lambda: traffic.obstacle(begun), 60, "the traffic to go on")
    assert traffic.failed() == []
    assert "-P OUTPUT DROP" in run("s1", "iptables", "-S", "OUTPUT")


def tracking(host: str) -> list[str]:
    """The facts about a host's clock, as chrony prints them."""
    return run(host, "chronyc", "-n", "-c", "tracking").strip().split(",")


def test_x6_every_host_follows_the_masters_clock() -> None:
    """X6: chrony of each host has an answer of the master. The master has no way out of the lab."""
    for host in HOSTS:
        assert run(host, "systemctl", "is-enabled", "chrony").strip() == "enabled"
        found = tracking(host)
        assert found[-1] == "Normal", host
        assert found[1] == ("" if host == "salt" else MASTER)


def test_x6_x7_nobody_else_tells_a_host_the_time() -> None:
    """X6, X7: chrony of a host has no open port, and the master is its only server."""
    assert run("s1", "ss", "-Hlun", "sport = :123") == ""
    assert "-p udp" in run("salt", "iptables", "-S", "ufw-user-input")
    assert MASTER in run("s1", "chronyc", "-n", "-c", "sources")
    assert len(run("s1", "chronyc", "-n", "-c", "sources").splitlines()) == 1


@pytest.fixture
def silent_master() -> Iterator[str]:
    """A host whose chrony starts again while the master's does not answer."""
    host = "s3"
    run("salt", "systemctl", "stop", "chrony")
    run(host, "systemctl", "restart", "chrony")
    yield host
    run("salt", "systemctl", "start", "chrony")
    run(host, "systemctl", "restart", "chrony")
    wait.clear(lambda: "" if tracking(host)[-1] == "Normal" else "no", 60, f"the clock of {host}")


def test_x6_an_unsynchronised_clock_is_shown(silent_master: str) -> None:
    """X6: A notice names the host's next step, and `verify.security` finds it."""
    seen = json.loads(salt_run("fleet.health").stdout)["hosts"][silent_master]
    [found] = [check for check in seen["checks"] if check["what"] == "time"]
    assert found["notice"] and "no time server has answered yet" in found["detail"]
    rows = json.loads(salt_run("verify.security").stdout)["rows"]
    wrong = [one for one in rows["X6"]["seen"] if not one["good"]]
    assert [(one["host"], one["what"]) for one in wrong] == [(silent_master, "time")]

"""The edge of the running lab as a client beyond the firewall sees it: S1, S2, S7, O5, X5."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from lab.machines.plan import CLIENTS
from salina.common import wait
from salina_fleet import policy
from salina_fleet.model import settings
from salina_fleet.model.firewall import FirewallSettings
from salina_fleet.model.monitoring import MonitoringSettings
from salina_fleet.model.ssh import SshSettings
from tests import fleets
from tests.lab.lab import apply, execute, results, run, salt, sending, shell
from tests.lab.tiers import APPS, all_serve, servers
from tests.lab.traffic import Background

pytestmark = pytest.mark.lab

SCAN = Path(__file__).with_name("scan.py").read_text()
SERVICE = fleets.topology().service
DOMAIN = fleets.topology().default.domain
HEALTH = fleets.pillar("lb1")["balancer"]["applications"][0]["health"]["path"]
HOSTS = fleets.fleet().hosts
ADDRESSES = {address: host.id for host in HOSTS.values() for address in host.addresses.values()}
OLD_TLS = ("-tls1", "-tls1_1")
WEAK = ("AES128-SHA", "AES256-SHA256", "ECDHE-ECDSA-AES128-SHA", "NULL-SHA256")


def curl(*arguments: str, host: str = "c1") -> str:
    """Return the output of curl on a client that resolves the service's name and trusts no CA."""
    names = ["--connect-to", f"{DOMAIN}::{SERVICE.address}:"]
    return run(host, "curl", "--silent", "--show-error", "--max-time", "20", *names, *arguments)


def headers(*arguments: str) -> dict[str, str]:
    """The headers of an answer; its status as `status`."""
    lines = curl("--insecure", "--head", *arguments).splitlines()
    found = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
    return {**found, "status": lines[0].split()[1]}


def scan(host: str, targets: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Which ports of which addresses let a packet of this host through: see scan.py.

    The host's own firewall lets all packets out meanwhile.
    """
    with nullcontext() if host in CLIENTS else sending(host):
        found: dict[str, dict[str, Any]] = json.loads(
            run(host, "python3", "-", json.dumps(list(targets.items())), given=SCAN)
        )
    return found


@cache
def ports_of_interest() -> str:
    """Every port of the table, everything that listens somewhere, and the well-known ones."""
    rows = fleets.fleet().rows
    ranges = {part.replace(":", "-") for row in rows for part in row.ports.split(",")}
    listening = {
        line.split()[3].rpartition(":")[2]
        for host in HOSTS
        for line in run(host, "ss", "-Hltn").splitlines()
    }
    return ",".join(["1-1024", *sorted(ranges | listening)])


def numbers(text: str) -> set[int]:
    """The ports that `80,443` or `49152:49251` means."""
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition(":")
        found.update(range(int(first), int(last or first) + 1))
    return found


def test_a_client_reaches_the_service_by_name() -> None:
    """S1, X6: A client reaches the service through firewall and balancer, with a certificate of the
    CA, which names the domain and nothing else.
    """
    authority = run("salt", "cat", "/var/lib/salina/secrets/ca.crt")
    names = f"--resolve {DOMAIN}:443:{SERVICE.address}"
    script = f"cat >/tmp/ca.crt; curl -sS {names} --cacert /tmp/ca.crt -o /dev/null"
    script += " -w '%{http_code}' https://"
    found = run("c1", "sh", "-ec", f"{script}{DOMAIN}{HEALTH}", given=authority)
    by_address = execute("c1", "sh", "-ec", f"{script}{SERVICE.address}{HEALTH}", given=authority)
    run("c1", "rm", "/tmp/ca.crt")
    assert found == "200"
    assert "no alternative certificate subject name matches" in by_address.stderr
    address = f"https://{SERVICE.address}{HEALTH}"
    status = curl("--insecure", "--output", "/dev/null", "--write-out", "%{http_code}", address)
    assert status == "421"


def test_plain_http_is_redirected_and_https_pinned() -> None:
    """O5: Port 80 redirects permanently, and answers over HTTPS have HSTS."""
    plain = headers(f"http://{DOMAIN}/web?debug=1")
    assert plain["status"] == "301"
    assert plain["location"] == f"https://{DOMAIN}/web?debug=1"
    assert int(headers(f"https://{DOMAIN}/")["strict-transport-security"].split("=")[1]) > 0


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
def test_a_long_address_and_large_cookies_pass(version: str) -> None:
    """S1, O4: 9 kB of address and 12 kB of cookies pass the balancer, nginx and the application."""
    cookies = "; ".join(f"trial{number}={'v' * 2990}" for number in range(4))
    address = f"https://{DOMAIN}{HEALTH}?{'q' * 9000}"
    status = curl(
        "--insecure", version, "--cookie", cookies, "--output", "/dev/null",
        "--write-out", "%{http_code}", address,
    )  # fmt: skip
    assert status == "200"


def test_tls_of_today() -> None:
    """O5: Mozilla's intermediate settings hold: TLS 1.2 and 1.3, forward secrecy, AEAD."""

    def shake(*arguments: str) -> str:
        command = ["openssl", "s_client", "-connect", f"{SERVICE.address}:443", *arguments]
        said = run("c1", *command, given="", check=False)
        return said.partition("Cipher is ")[2].split("\n")[0]

    for version in OLD_TLS:
        assert shake(version, "-cipher", "ALL:@SECLEVEL=0") == "(NONE)"
    for cipher in WEAK:
        assert shake("-tls1_2", "-cipher", f"{cipher}:@SECLEVEL=0") in ("(NONE)", "")
    assert shake("-tls1_2").startswith("ECDHE-ECDSA-")
    assert shake("-tls1_3").startswith("TLS_")


def test_the_key_is_roots_alone() -> None:
    """O5: Only root can read the private key of the service."""
    found = run("lb1", "stat", "-c", "%U:%G %a", "/etc/salina/tls/public-crm.key")
    assert found.strip() == "root:root 600"


def test_requests_go_round() -> None:
    """S2: Of 300 requests of a client each app host gets 100."""

    def counts() -> dict[str, int]:
        return {name: server["requests"] for name, server in servers().items()}

    assert wait.until(all_serve, 60), servers()
    before = counts()
    statuses = curl(
        "--insecure", "--output", "/dev/null", "--write-out", "%{http_code}\\n",
        f"https://{DOMAIN}{HEALTH}?[1-300]",
    )  # fmt: skip
    assert statuses.split() == ["200"] * 300
    after = counts()
    found = {name: after[name] - before[name] for name in before}
    # Nagios asks as a client, too
    assert {*found} == {*APPS} and all(100 <= count <= 110 for count in found.values()), found


@pytest.fixture
def drained() -> Iterator[str]:
    """An app host that gets no requests."""
    assert wait.until(all_serve, 60)
    salt("lb1", "balancer.drain", APPS[1])
    yield APPS[1]
    salt("lb1", "balancer.ready", APPS[1])


def test_a_drain_outlives_a_reload(drained: str) -> None:
    """S10: A drained host stays drained when HAProxy reloads."""

    def served() -> int:
        stats = salt("lb1", "balancer.stats")["lb1"]
        found = {row["pxname"]: row["stot"] for row in stats if row["svname"] == "FRONTEND"}
        return int(found["service"])

    before = served()
    run("lb1", "systemctl", "reload", "haproxy")
    assert served() < before  # a new process, which monitoring may have asked already
    assert {name for name, server in servers().items() if not server["serving"]} == {drained}


def test_only_the_service_is_open_to_clients() -> None:
    """S7: A client scans all TCP ports and the low UDP ports of all addresses of all hosts."""
    found = scan("c1", dict.fromkeys(ADDRESSES, "1-65535"))
    let_through = {address: answer for address, answer in found.items() if any(answer.values())}
    fleet, ports = fleets.fleet(), {SERVICE.address: sorted(SERVICE.ports)}
    for host in fleet.having("monitoring"):
        ports[fleet.address(host, "edge")] = [fleet.settings[MonitoringSettings].page_port]
    for host in fleet.having("management"):
        ports[fleet.address(host, "edge")] = [fleet.settings[SshSettings].port]
    assert let_through == {
        address: {"open": opened, "closed": [], "udp": False} for address, opened in ports.items()
    }


def test_only_the_service_answers_ping_of_clients() -> None:
    """S7: Only the service's address answers ping."""
    pings = [f"ping -c1 -W2 -q {address} >&2 && echo {address} &\n" for address in ADDRESSES]
    assert shell("c1", "".join(pings) + "wait").split() == [SERVICE.address]


def test_the_firewall_is_closed_over_ipv6() -> None:
    """S7: The firewall also drops packets to the link-local address in the clients' network."""
    link = run("fw", "sh", "-c", "ip -6 -o addr show dev eth0 scope link").split()[3].split("/")[0]
    ports = "22 80 443 4505 4506 8008 24007"
    script = f"""
ping -c1 -W1 -q -I eth0 {link} >&2 && echo ping
for port in {ports}; do
    timeout 1 bash -c "exec 3<>/dev/tcp/{link}%eth0/$port" 2>/dev/null
    [ $? = 124 ] || echo "$port"
done; true
"""
    assert run("c1", "bash", "-s", given=script) == ""


@pytest.mark.parametrize("source", HOSTS)
def test_hosts_reach_what_the_table_says(source: str) -> None:
    """S7: Every host scans the addresses of every other host in their common networks."""
    fleet = fleets.fleet()
    here = HOSTS[source].addresses
    targets = {
        address: host.id
        for host in HOSTS.values()
        if host.id != source
        for network, address in host.addresses.items()
        if network in here
    }
    wanted: dict[str, set[int]] = {address: set() for address in targets}
    for address, target in targets.items():
        for opening in policy.allowed(fleet, source, target):
            if opening.address == address and opening.proto == "tcp":
                wanted[address] |= numbers(opening.ports)
    found = scan(source, dict.fromkeys(targets, ports_of_interest()))
    passed = {address: {*answer["open"], *answer["closed"]} for address, answer in found.items()}
    assert passed == wanted
    assert not any(answer["udp"] for answer in found.values())


def test_a_rule_added_by_hand_is_removed() -> None:
    """S7: An apply deletes a rule that somebody added by hand."""
    run("fw", "ufw", "allow", "99/tcp")
    changes = apply("fw", "ufw")["fw"]["ufw-rules"]["changes"]
    assert changes == {"delete": ["allow 99/tcp"]}
    assert "99" not in run("fw", "ufw", "show", "added")


@pytest.mark.proof
def test_a_rule_of_the_settings_is_kept() -> None:
    """S7: An apply adds the operator's rules and keeps them, until the settings have them no
    more.
    """
    rule = {"host": "s1", "network": "web", "ports": "9000-9010", "comment": "lab trial"}
    own = settings.parse({"firewall": {"rules": [rule]}})
    fleet = replace(fleets.fleet(), settings=fleets.settings().but(own[FirewallSettings]))
    pillar = json.dumps({"ufw": {"rules": policy.rules(fleet, fleet.hosts["s1"])}})
    wanted = "allow in on eth0 from 10.1.3.0/24 to 10.1.3.11 port 9000:9010 proto tcp"
    command = ("s1", "state.apply", "ufw", "queue=True", f"pillar={pillar}")
    states = [results(salt(*command)) for _ in range(2)]
    try:
        shown = run("s1", "ufw", "show", "added")
        assert f"ufw {wanted} comment 'lab trial'" in shown
        assert states[0]["s1"]["ufw-rules"]["changes"] == {"add": [f"{wanted} comment 'lab trial'"]}
        assert not states[1]["s1"]["ufw-rules"]["changes"]
        found = scan("lb1", {"10.1.3.11": "9000,9010,9011"})["10.1.3.11"]
        assert {*found["open"], *found["closed"]} == {9000, 9010}
    finally:
        changes = apply("s1", "ufw")["s1"]["ufw-rules"]["changes"]
    assert changes == {"delete": [f"{wanted} comment 'lab trial'"]}


def test_a_bad_fragment_does_not_land() -> None:
    """K5: A fragment that HAProxy refuses is not written, and HAProxy keeps running."""
    bad = "frontend bad\n    bind 10.1.2.2:99999\n"
    run("lb1", "sh", "-ec", "cat >/tmp/bad.cfg", given=bad)
    before = run("lb1", "systemctl", "show", "haproxy", "--property=MainPID")
    check = "/usr/local/sbin/haproxy-check 20-balancer.cfg"
    answer = salt(
        "lb1", "state.single", "file.managed", "/etc/haproxy/conf.d/20-balancer.cfg",
        "source=/tmp/bad.cfg", f"check_cmd={check}",
    )["lb1"]  # fmt: skip
    (state,) = answer.values()
    assert state["result"] is False and "port" in state["comment"]
    assert "backend crm.any" in run("lb1", "cat", "/etc/haproxy/conf.d/20-balancer.cfg")
    assert run("lb1", "systemctl", "show", "haproxy", "--property=MainPID") == before


# The attacks come from c1 and use up its limits. c2 is a user at the same time. A limit of c1 ends
# within a minute.
HOLD = """
import socket

held = []
for _ in range(given["count"]):
    try:
        held.append(socket.create_connection((given["address"], given["port"]), 5))
    except OSError:
        pass

def alive(one):
    one.settimeout(0.01)
    try:
        while one.recv(4096):
            pass  # over HTTP a 408 comes before the end
        return False
    except TimeoutError:
        return True
    except OSError:
        return False

say(held=sum(map(alive, held)))
stopped.wait(given["seconds"])
say(after=sum(map(alive, held)))
"""
GUESS = """
import http.client, ssl

tls = ssl._create_unverified_context()
statuses = []
for number in range(given["count"]):
    connection = http.client.HTTPSConnection(given["address"], timeout=30, context=tls)
    body = json.dumps({"params": {"db": "crm", "login": "admin", "password": f"wrong{number}"}})
    headers = {"Host": given["domain"], "Content-Type": "application/json"}
    connection.request("POST", "/web/session/authenticate", body, headers)
    answer = connection.getresponse()
    statuses.append([answer.status, answer.headers.get("Retry-After")])
    connection.close()
say(statuses=statuses)
"""
LIMITS = fleets.pillar("lb1")["balancer"]["limits"]


def status(*arguments: str, host: str = "c2") -> str:
    """The status of an answer; 000 without one."""
    asked = ["--insecure", "--output", "/dev/null", "--write-out", "%{http_code}"]
    return curl(*asked, *arguments, host=host)


def refused(since: str, reason: str) -> list[str]:
    """The lines of the balancer's log about requests that it refused for a reason."""
    log = run("lb1", "journalctl", "--unit=haproxy", "--identifier=haproxy", f"--since=@{since}")
    return [line for line in log.splitlines() if line.endswith(f" {reason}")]


def moment() -> str:
    """The time on the balancer, as journalctl takes it."""
    return run("lb1", "date", "+%s").strip()


@pytest.fixture
def attacker() -> Iterator[None]:
    """See that c1 is served before and after it attacks."""

    def served() -> bool:
        return status(f"https://{DOMAIN}{HEALTH}", host="c1") == "200"

    assert wait.until(served, 90)
    yield
    assert wait.until(served, 90)


@pytest.mark.proof
@pytest.mark.parametrize("port", SERVICE.ports)
def test_x5_idle_connections_of_one_client_lock_nobody_out(attacker: None, port: int) -> None:
    """X5: Of 4,300 idle connections of c1 the balancer keeps few, and none for long; c2 works."""
    attack = {"address": SERVICE.address, "port": port, "count": 4300, "seconds": 45}
    with Background("c1", HOLD, **attack) as attacking:
        assert wait.until(attacking.lines, 120)
        (found,) = attacking.lines()
        assert found["held"] <= LIMITS["closed_above"], found
        statuses = [status(f"https://{DOMAIN}{HEALTH}") for _ in range(20)]
        assert statuses == ["200"] * 20
        assert wait.until(lambda: len(attacking.lines()) == 2, 90)
        assert attacking.lines()[1] == {"after": 0}


@pytest.mark.proof
def test_x5_passwords_cannot_be_guessed(attacker: None) -> None:
    """X5: c1's wrong passwords meet the limit, while c1 still browses and c2 logs in."""
    since = moment()
    count = LIMITS["logins"] * 2
    asked = {"address": SERVICE.address, "domain": DOMAIN, "count": count}
    with Background("c1", GUESS, **asked) as attacking:
        assert wait.until(attacking.lines, 120)
    (found,) = attacking.lines()
    passed = [one for one in found["statuses"] if one[0] == 200]
    limited = [one for one in found["statuses"] if one == [429, "60"]]
    assert len(passed) + len(limited) == count
    assert len(passed) <= LIMITS["logins"] + 2  # the rate is an estimate of a sliding minute
    assert wait.until(lambda: len(refused(since, "logins")) == len(limited), 10)
    assert status(f"https://{DOMAIN}/web/login", host="c1") == "200"
    password = run("salt", "cat", "/var/lib/salina/secrets/app-crm-login").strip()
    call = json.dumps({"params": {"db": "crm", "login": "admin", "password": password}})
    command = ["--insecure", "--header", "Content-Type: application/json", "--data", call]
    answer = json.loads(curl(*command, f"https://{DOMAIN}/web/session/authenticate", host="c2"))
    assert answer["result"]["uid"]


@pytest.mark.proof
def test_x5_a_flood_of_requests_gets_429(attacker: None) -> None:
    """X5: Beyond the limit c1 gets 429 with Retry-After, and c2 works."""
    since = moment()
    number = LIMITS["requests"] * 2
    url = f"https://{DOMAIN}/web/static/src/img/favicon.ico?[1-{number}]"
    asked = ["--insecure", "--http1.1", "--parallel", "--parallel-max", "20", "--output"]
    shown = ["--write-out", "%{http_code}\\n", "--max-time", "120"]
    statuses = curl(*asked, "/dev/null", *shown, url).split()
    assert "429" in statuses and status(f"https://{DOMAIN}{HEALTH}") == "200"
    limited = statuses.count("429")
    assert wait.until(lambda: len(refused(since, "requests")) >= limited, 30)
    assert headers(f"https://{DOMAIN}{HEALTH}")["retry-after"] == "10"


@pytest.mark.proof
def test_x5_only_the_domain_is_served() -> None:
    """X5: 421 for another host name over HTTP and HTTPS, with a line of the log for each."""
    since = moment()
    for url in (f"http://{DOMAIN}/", f"https://{DOMAIN}{HEALTH}"):
        for name in ("evil.test", SERVICE.address, "salina"):
            assert status("--header", f"Host: {name}", url) == "421"
    assert wait.until(lambda: len(refused(since, "host")) == 6, 10), refused(since, "host")
    assert status(f"https://{DOMAIN}{HEALTH}") == "200"
    assert status("--http1.1", "--header", f"Host: {DOMAIN.upper()}:443",
                  f"https://{DOMAIN}{HEALTH}") == "200"  # fmt: skip


CLOSED = (
    *("/web/database/manager", "/web/database/selector", "/web/database/list", "/xmlrpc/2/common"),
    *("/xmlrpc/common", "/jsonrpc", "/web/./database/manager", "/%77eb/database/manager"),
    *("//web/database/manager", "/web//database/manager", "/web/static/../database/manager"),
    *("/web%2fdatabase/manager", "/web/database;x", "/WEB/DATABASE/manager"),
)


@pytest.mark.proof
def test_x5_the_database_manager_and_rpc_are_closed() -> None:
    """X5: No spelling reaches them, by GET or POST; the web client's own calls work."""
    call = ["--header", "Content-Type: application/json", "--data", "{}"]
    for path in CLOSED:
        for more in ([], call):
            found = status("--path-as-is", *more, f"https://{DOMAIN}{path}")
            assert found in ("400", "403"), (path, found)
    url = f"https://{DOMAIN}/web/webclient/version_info"
    assert "result" in json.loads(curl("--insecure", *call, url))


@pytest.mark.proof
def test_x5_a_session_comes_in_its_cookie_only() -> None:
    """X5: The session of a user works as a cookie, and neither in the address nor in a header."""
    password = run("salt", "cat", "/var/lib/salina/secrets/app-crm-login").strip()
    body = {"params": {"db": "crm", "login": "admin", "password": password}}
    kind = ["--insecure", "--header", "Content-Type: application/json", "--data"]
    shown = ["--dump-header", "-", "--output", "/dev/null"]
    url = f"https://{DOMAIN}/web/session"
    log_in = [*kind, json.dumps(body), *shown, f"{url}/authenticate"]
    answer = curl(*log_in, host="c2").lower()  # c1 may have used up its logins
    (cookie,) = [line for line in answer.splitlines() if line.startswith("set-cookie: session_id=")]
    for attribute in ("httponly", "samesite=lax", "secure"):
        assert cookie.count(attribute) == 1, cookie
    session = cookie.split("session_id=")[1].split(";")[0]
    info = [*kind, "{}"]

    def user(address: str, *more: str) -> object:
        return json.loads(curl(*info, *more, address, host="c2")).get("result", {}).get("uid")

    asked = f"{url}/get_session_info"
    assert user(asked, "--cookie", f"session_id={session}")
    assert not user(f"{asked}?session_id={session}")
    assert not user(f"{asked}?session%5Fid={session}")
    assert not user(asked, "--header", f"X-Openerp-Session-Id: {session}")


@pytest.mark.proof
@pytest.mark.parametrize("name", ["application", "redirect", "refusal"])
def test_x5_every_answer_has_the_headers(name: str) -> None:
    """X5: The application's answers and the balancer's own have the headers that protect."""
    asked = {
        "application": [f"https://{DOMAIN}/web/login"],
        "redirect": [f"http://{DOMAIN}/web/login"],
        "refusal": ["--header", "Host: evil.test", f"https://{DOMAIN}/"],
    }
    found = headers(*asked[name])
    assert found["x-content-type-options"] == "nosniff"
    assert found["referrer-policy"] and found["x-frame-options"]
    assert "frame-ancestors" in found["content-security-policy"]
    assert not {"server", "x-powered-by"} & found.keys()

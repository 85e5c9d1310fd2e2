"""S13: The logs of every host arrive at the monitoring host, and a request has one id in them."""

from __future__ import annotations

import re
import uuid

import pytest

from salina.common import wait
from salina_fleet import logs
from tests import fleets
from tests.lab import lab, tiers

pytestmark = pytest.mark.lab

FLEET = fleets.fleet()
SERVICE = fleets.topology().service
DOMAIN = fleets.topology().default.domain
[KEEPER] = FLEET.having(logs.KEEPS)
URL = fleets.pillar("s1")["logs"]["url"]
TLS = "/etc/salina/tls"
ID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"


def kept(host: str, words: str) -> list[str]:
    """Return the messages with these words that the monitoring host has got from a host."""
    files = f"--file=/var/log/journal/remote/{host}/*.journal*"
    argv = ["journalctl", "--quiet", files, "--output=cat", f"--grep={words}"]
    return lab.run(KEEPER.id, *argv, check=False).splitlines()


def followed(request: str) -> list[tuple[str, str]]:
    """Return the host and the program of each line about a request, as an operator finds them."""
    lines = lab.run(KEEPER.id, "salina-request", request, "--since=-10min").splitlines()
    words = [line.split() for line in lines]
    return [(host, re.split(r"[\[:]", program)[0]) for _, host, program, *_ in words]


def ask(path: str, *options: str) -> str:
    """Ask the service as c1 does; return the id that the answer has."""
    names = ["--connect-to", f"{DOMAIN}::{SERVICE.address}:"]
    argv = ["curl", "--silent", "--show-error", "--insecure", "--max-time", "20", *names, *options]
    head = lab.run("c1", *argv, "--dump-header", "-", "--output", "/dev/null", path)
    [found] = re.findall(r"(?im)^x-request-id: (\S+)\s*$", head)
    return str(found)


def test_s13_a_request_is_followed_through_three_logs() -> None:
    """S13: One id is in the logs of the balancer, of nginx and of the application, on one way."""
    forged = str(uuid.uuid4())
    found = ask(f"https://{DOMAIN}/web/login", "--header", f"X-Request-ID: {forged}")
    assert re.fullmatch(ID, found) and found != forged
    balancer = FLEET.having("balancer")[0].id

    def missing() -> str:
        seen = {*followed(found)}
        ways = [{(balancer, "haproxy"), (app, "nginx"), (app, "odoo")} for app in tiers.APPS]
        return "" if any(way <= seen for way in ways) else f"only {sorted(seen)} so far"

    wait.clear(missing, 60, f"the lines of {found}")
    assert followed(forged) == []


def test_s13_every_host_sends_its_logs() -> None:
    """S13: The monitoring host as well. Only root of it reads them."""
    trial = str(uuid.uuid4())
    for host in FLEET.hosts:
        lab.run(host, "logger", "--tag=salina-trial", trial)
        lab.run(host, "systemctl", "is-active", logs.SENDER)

    def missing() -> str:
        return " ".join(host for host in FLEET.hosts if not kept(host, trial))

    wait.clear(missing, 60, "the line of each host")
    lab.run(KEEPER.id, "systemctl", "is-active", logs.UNIT, "salina-logs-bounded.timer")
    for user in ("www-data", "nagios", "salina-logs"):
        read = f"ls /var/log/journal/remote/{KEEPER.id}/"
        refused = lab.execute(KEEPER.id, "runuser", "-u", user, "--", "sh", "-c", read)
        assert refused.returncode and "Permission denied" in refused.stderr


FORGE = """
now=$(date +%s%6N)
boot=$(tr -d - </proc/sys/kernel/random/boot_id)
printf '__REALTIME_TIMESTAMP=%s\\n__MONOTONIC_TIMESTAMP=1\\n_BOOT_ID=%s\\n' "$now" "$boot"
printf '_HOSTNAME=nas1\\nSYSLOG_IDENTIFIER=forged\\nMESSAGE=%s\\n\\n' "$1"
"""


def test_s13_a_taken_host_writes_as_itself_only() -> None:
    """S13: It can neither write as another host, nor read or delete what it has written."""
    trial = str(uuid.uuid4())

    def send(host: str, certificate: str, *options: str, path: str = "/upload") -> str:
        mine = f"--cert {TLS}/{certificate}.crt --key {TLS}/{certificate}.key"
        kind = "Content-Type: application/vnd.fdo.journal"
        curl = (
            f"curl -sS --max-time 20 --cacert {TLS}/ca.crt {mine} -o /dev/null -w '%{{http_code}}'"
        )
        body = f"-H '{kind}' --data-binary @-" if not options else " ".join(options)
        script = f"forge() {{ {FORGE}\n}}\nforge {trial} | {curl} {body} {URL}{path}"
        return lab.shell(host, script)

    assert send("s1", "logs") == "202"
    wait.clear(lambda: "" if kept("s1", trial) else "nothing", 20, "the forged line")
    assert kept("nas1", trial) == []
    assert ("s1", "forged") in followed(trial)
    # certificates of the same CA, which are for servers
    assert send("s1", "web") == send("s1", "report") == "400"
    for path in ("/upload", "/entries", "/", "/browse"):
        assert send("s1", "logs", "--get", path=path) in ("403", "404")
    assert send("s1", "logs", "--request DELETE") == "403"
    assert len(kept("s1", trial)) == 1


def attempts(host: str) -> int:
    """Return how often a host could not send its logs in the last minute."""
    argv = ["journalctl", "--quiet", "--unit", logs.SENDER, "--since=-1min", "--output=cat"]
    return lab.run(host, *argv, check=False).count("Upload to")


@pytest.mark.proof
@pytest.mark.parametrize("kind", ["kill", "freeze", "link-down"])
def test_s13_nothing_is_lost_while_the_log_host_is_away(kind: str) -> None:
    """S13: The others serve, no unit of them fails, and all lines arrive afterwards."""
    hosts = ("s1", "nas1")
    trial = str(uuid.uuid4())
    number = 40
    lab.fault(kind, KEEPER.id)
    try:
        for count in range(number):
            for host in hosts:
                lab.run(host, "logger", "--tag=salina-trial", f"{trial} {count}.")
            if count == number // 2:  # a frozen host refuses nothing, so then the time is up
                wait.until(lambda: attempts("s1") >= 3 or None, 60)
        for host in hosts:
            lab.run(host, "systemctl", "is-active", logs.SENDER)
            failed = lab.run(host, "systemctl", "list-units", "--failed", "--plain", "--no-legend")
            assert failed == ""
            assert not lab.failures(lab.results(lab.salt(host, "state.apply", "logs")))
    finally:
        lab.lab("heal")
    wanted = [f"{trial} {count}." for count in range(number)]

    def missing() -> str:
        found = {host: {*kept(host, trial)} for host in hosts}
        return " ".join(
            f"{len({*wanted} - found[host])} of {host}" for host in hosts if {*wanted} - found[host]
        )

    wait.clear(missing, 180, "all lines")

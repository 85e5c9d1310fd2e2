"""X8: what a user, or a daemon that was broken into, cannot do on a host of the running lab."""

from __future__ import annotations

import json
import re
import subprocess

import pytest

from salina.common import wait
from tests import fleets
from tests.lab import tiers
from tests.lab.lab import apply, changes, execute, failures, run, salt, shell
from tests.lab.tiers import APPS, all_serve

pytestmark = [pytest.mark.lab, pytest.mark.proof]

HOSTS = fleets.fleet().hosts
ROUTE = fleets.pillar("s1")["database_route"]
APP = fleets.pillar("s1")["app"]
PORTS = [
    *(APP["definition"]["port"], APP["definition"]["live"]["port"]),
    *(ROUTE["listen"], ROUTE["pool_port"], APP["health_port"]),
]
"""The ports of an app host's services that are not below 1024."""

BIND = """
import errno, json, socket, sys
bound = []
for port in json.loads(sys.argv[1]):
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with socket.socket(family) as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                one.bind((address, port))
                bound.append(f"{address} port {port}")
            except OSError as error:  # a host may have no IPv6
                if error.errno not in (errno.EACCES, errno.EADDRNOTAVAIL):
                    raise
print(json.dumps(bound))
"""


def bound(host: str, ports: list[int], user: str = "nobody") -> list[str]:
    """The ports that a user of a host gets."""
    command = ["runuser", "-u", user, "--", "python3", "-", json.dumps(ports)]
    found: list[str] = json.loads(run(host, *command, given=BIND))
    return found


@pytest.mark.parametrize("user", ["nobody", "www-data", "odoo"])
def test_x8_nobody_takes_a_port_while_its_service_is_down(user: str) -> None:
    """X8: While Odoo and pgbouncer are stopped, another user cannot listen at their ports.

    Not even a process of their own users that systemd did not start.
    """
    host = APPS[-1]
    run(host, "systemctl", "stop", "odoo", "pgbouncer")
    try:
        assert bound(host, PORTS, user) == []
        assert bound(host, [40000], user)  # the attack works where nothing is reserved
    finally:
        run(host, "systemctl", "start", "pgbouncer", "odoo")
    assert wait.until(all_serve, 120), "not all app hosts serve again"


def test_x8_ports_stay_reserved_after_a_boot() -> None:
    """X8: The boot's own service reserves the ports again."""
    host, first = APPS[0], "/proc/sys/net/ipv4/ip_unprivileged_port_start"
    shell(host, f"echo 1024 >{first}; systemctl restart systemd-sysctl")
    assert run(host, "cat", first).strip() == "32768"
    assert bound(host, PORTS) == []


def test_x8_nobody_reads_the_logs_of_nginx() -> None:
    """X8: Another user reads no log of nginx, also after logrotate has begun new files."""
    host = APPS[0]
    for _ in range(2):
        read = shell(
            host,
            "runuser -u nobody -- find /var/log/nginx -type f -readable; "
            "runuser -u root -- find /var/log/nginx -type f -name '*-access.log' -readable",
        )
        assert read.splitlines() == [f"/var/log/nginx/{APP['kind']}-access.log"]  # root's own
        run(host, "logrotate", "--force", "/etc/logrotate.d/nginx")
        run(host, "curl", "-s", "-o", "/dev/null", "http://127.0.0.1/")
    written = f"test -s /var/log/nginx/{APP['kind']}-access.log"
    assert wait.until(lambda: shell(host, f"{written} && echo yes", check=False) == "yes\n", 10)


def connected(host: str) -> subprocess.CompletedProcess[str]:
    """Connect to the database with the application's password, past pgbouncer."""
    server = f"host={ROUTE['name']} port={ROUTE['listen']} sslmode=verify-full"
    place = f"{server} sslrootcert={ROUTE['ca']} user=crm dbname=crm"
    script = f"read -r PGPASSWORD; export PGPASSWORD; psql -XAtqc 'SELECT 1' '{place}'"
    return execute(host, "sh", "-ec", script, given=tiers.secret("app-crm-database") + "\n")


def test_x8_a_role_cannot_use_up_postgresql() -> None:
    """X8: A program with the application's password gets no more than the role's connections.

    The test takes away all connections in place of opening hundreds. An apply gives them back.
    """
    primary = tiers.leader()
    limit = fleets.pillar(primary)["database"]["applications"][0]["connections"]
    shown = "SELECT rolconnlimit FROM pg_roles WHERE rolname = 'crm'"
    assert tiers.sql(primary, shown) == str(limit)
    assert connected(APPS[0]).stdout == "1\n"
    tiers.sql(primary, "ALTER ROLE crm CONNECTION LIMIT 0")
    try:
        refused = connected(APPS[0])
        assert refused.returncode and 'too many connections for role "crm"' in refused.stderr
    finally:
        apply(primary, "database")
    assert tiers.sql(primary, shown) == str(limit)
    assert connected(APPS[0]).stdout == "1\n"


def test_x8_postgresql_logs_connections() -> None:
    """X8: The journal says who connected, and for how long."""
    primary = tiers.leader()
    assert connected(APPS[0]).stdout == "1\n"

    def logged() -> bool:
        text = run(primary, "journalctl", "--unit", "patroni", "--since", "-2min", "--no-pager")
        begun = "connection authorized: user=crm database=crm" in text
        return begun and "disconnection: session time:" in text

    assert wait.until(logged, 20)


DAEMONS = {
    "nginx": APPS[0],
    "pgbouncer": APPS[0],
    "odoo": APPS[0],
    "haproxy": APPS[0],
    "etcd": "nas1",
    "patroni": "bbdd1",
    "prometheus": "nagios",
    "prometheus-node-exporter": APPS[0],
    "salina-metrics": APPS[0],
}
"""A daemon -> a host that runs it."""
WRITE = """
for path in /etc /usr/local /opt /root /var/spool; do
    if touch "$path/salina-attack" 2>/dev/null; then
        rm "$path/salina-attack"; echo "$path"
    fi
done
"""


def main_pid(daemon: str, host: str) -> str:
    """The main process of a daemon."""
    return run(host, "systemctl", "show", "--property=MainPID", "--value", daemon).strip()


@pytest.mark.parametrize("daemon", DAEMONS)
def test_x8_a_daemon_reaches_only_what_it_needs(daemon: str) -> None:
    """X8: Even root in a daemon's place writes no program and no configuration of the host."""
    host = DAEMONS[daemon]
    pid = main_pid(daemon, host)
    status = run(host, "cat", f"/proc/{pid}/status")
    facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert (facts["NoNewPrivs"], facts["Seccomp"]) == ("1", "2")
    inside = run(host, "nsenter", "--target", pid, "--mount", "sh", "-es", given=WRITE)
    assert inside.split() == []
    assert run(host, "sh", "-es", given=WRITE).split()  # the attack works outside


def test_x8_the_exposure_is_printed() -> None:
    """X8: `systemd-analyze security` finds every daemon less exposed than 4 of 10."""
    for daemon, host in DAEMONS.items():
        said = run(host, "systemd-analyze", "security", "--no-pager", f"{daemon}.service")
        summary = said.strip().splitlines()[-1]
        print(f"{host}: {summary}")
        assert float(re.search(r": ([0-9.]+) ", summary)[1]) < 4  # type: ignore[index]


@pytest.mark.parametrize("host", [APPS[0], "lb1"])
def test_x8_haproxy_reloads_in_its_sandbox(host: str) -> None:
    """X8, S2: A reload starts a new worker of the same master, which keeps its sandbox."""
    before = main_pid("haproxy", host)
    run(host, "systemctl", "reload", "haproxy")
    assert main_pid("haproxy", host) == before
    assert run(host, "systemctl", "is-active", "haproxy").strip() == "active"
    assert run(host, "journalctl", "-u", "haproxy", "-n", "50", "--no-pager")  # it still logs


def test_x8_nginx_replaces_its_program_in_its_sandbox() -> None:
    """X8, S12: An upgrade of the package hands over to a new master process."""
    host = APPS[0]
    before = main_pid("nginx", host)
    run(host, "sh", "-ec", f"kill -USR2 {before}; sleep 1; kill -QUIT {before}")
    assert wait.until(lambda: main_pid("nginx", host) not in ("0", before), 20)
    url = f"http://127.0.0.1{APP['definition']['health']['path']}"
    code = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-H", f"Host: {APP['domain']}"]
    assert run(host, *code, url) == "200"
    run(host, "systemctl", "restart", "nginx")


def test_x8_pgbouncer_restarts_in_its_sandbox() -> None:
    """X8, S12: It opens its port and its log again."""
    host = APPS[-1]
    run(host, "systemctl", "restart", "pgbouncer")
    mode = run(host, "stat", "--format=%U", "/var/log/postgresql/pgbouncer.log").strip()
    assert mode == "postgres"
    assert wait.until(all_serve, 120), "not all app hosts serve again"


BROKEN = "/etc/systemd/system/ufw.service.d/attack.conf"


def test_x8_a_host_whose_firewall_does_not_start_is_closed() -> None:
    """X8, S7: Nobody reaches its daemons, the minion goes on, and an apply repairs the firewall."""
    host, port = APPS[-1], "https://{}/".format(HOSTS[APPS[-1]].addresses["web"])

    def reaches() -> bool:
        asked = execute("lb1", "curl", "-sk", "-o", "/dev/null", "--max-time", "2", port)
        return asked.returncode == 0

    broken = "[Service]\nExecStart=\nExecStart=/bin/false\n"
    script = f"""
        mkdir -p $(dirname {BROKEN}); cat >{BROKEN} <<EOF
{broken}EOF
        systemctl daemon-reload
        systemctl stop ufw; /usr/lib/ufw/ufw-init flush-all
        systemctl start ufw || true
        systemctl restart salina-closed
        rm -f /run/salina-ufw-loaded
    """
    assert reaches()
    try:
        shell(host, script)
        assert not reaches()
        assert salt(host, "test.ping") == {host: True}
    finally:
        shell(host, f"rm -f {BROKEN}; systemctl daemon-reload; systemctl reset-failed ufw")
        found = apply(host, "ufw")
    assert changes(found) and not failures(found)
    assert reaches()
    assert "salina-closed" not in run(host, "iptables", "-S")
    assert wait.until(all_serve, 120), "not all app hosts serve again"

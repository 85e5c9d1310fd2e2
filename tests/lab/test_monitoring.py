"""S13: Nagios sees every host, gives one alarm for one fault, and has a page with a password."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from salina.common import wait
from salina.monitoring import plugin
from salina.monitoring.mail import SPOOL
from salina_fleet.model.monitoring import MonitoringSettings
from tests import fleets
from tests.lab import alarms, lab, tiers
from tests.lab.alarms import FLEET, NAGIOS, PORT, QUICK, SERVICES, bad, page, services, well
from tools import chromium as browser
from tools import picture

pytestmark = pytest.mark.lab

PLUGIN = "/usr/local/lib/salina-monitoring/plugin.py"


def test_s13_every_host_and_service_is_good() -> None:
    """S13: Nagios knows every host of the fleet, and has a result for each of its checks."""
    well()
    found = services()
    assert {*found} == {*FLEET.hosts}
    for host in FLEET.hosts:
        checks = fleets.pillar(host)["host"]["checks"]
        assert {"report", *(one["name"] for one in checks)} <= {*found[host]}
    assert found["lb1"]["client crm"] == found["lb1"]["use crm"] == "ok"
    health = json.loads(lab.salt_run("fleet.health").stdout)["hosts"][NAGIOS.id]["checks"]
    assert {"nagios", "client crm", "use crm"} <= {one["what"] for one in health if one["good"]}


def test_s13_the_page_wants_a_password_and_takes_no_commands() -> None:
    """S13: Clients reach it through the firewall host, over TLS, and only read."""
    password = tiers.secret("monitoring")
    assert page("/")[0] == page(SERVICES, "wrong")[0] == "401"
    status, body = page("/", password, "--location")
    assert status == "200" and "nas1" in body
    command = "/nagios4/cgi-bin/cmd.cgi?cmd_typ=11&cmd_mod=2&btnSubmit=Commit"
    assert page(command, password, "--request", "POST")[0] == "403"
    assert "do not have permission" in page(command, password)[1]
    assert page("/nagios4/index.php", password)[0] == "404"
    pipe = lab.execute(NAGIOS.id, "runuser", "-u", "www-data", "--", "ls", "/run/nagios4")
    assert pipe.returncode and "Permission denied" in pipe.stderr


@pytest.fixture(scope="module")
def chromium() -> None:
    """Debian's browser on this machine, and the driver that a program needs."""
    if not (shutil.which("chromium") and shutil.which("chromedriver")):
        argv = ["apt-get", "install", "-qq", "-y", "--no-install-recommends", *browser.PACKAGES]
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "update", "-qq"], check=True)
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, env=environment)


@pytest.mark.proof
def test_s13_a_person_logs_in_and_sees_the_hosts(chromium: None) -> None:
    """S13: In headless Chromium on a client, through the firewall host. Without the password, or
    with a wrong one, the page shows nothing.
    """
    well()
    refused = [
        *picture.pages([picture.START], user=""),
        *picture.pages([picture.START], password="wrong"),
    ]
    assert not any(host in seen["text"] for seen in refused for host in ("nas1", "bbdd1"))
    hosts = "/nagios4/cgi-bin/status.cgi?hostgroup=all&style=hostdetail"
    services_page, hosts_page = picture.pages([picture.START, hosts])
    assert services_page["url"].endswith("/nagios4/cgi-bin/status.cgi?host=all")
    for host in FLEET.hosts:
        assert re.search(rf"\b{host}\s+UP\b", hosts_page["text"]), host
    assert "CRITICAL" not in services_page["text"].partition("Status Information")[2]
    assert base64.b64decode(services_page["picture"]).startswith(b"\x89PNG")


ASK = """
import sys
sys.path.insert(0, "/tmp")
import plugin
import ssl
context = ssl.create_default_context(cafile="/etc/salina/tls/ca.crt")
name, address, port, certificate = sys.argv[1:]
if certificate:
    context.load_cert_chain(certificate + ".crt", certificate + ".key")
with plugin.socket.create_connection((address, int(port)), 5) as connection:
    with context.wrap_socket(connection, server_hostname=name) as secure:
        print(len(plugin._all(secure)))
"""


def test_s13_a_host_gives_its_report_to_monitoring_alone() -> None:
    """S13: Each side proves who it is: other certificates of the fleet's CA are refused."""
    source = lab.run(NAGIOS.id, "cat", PLUGIN)
    port = str(FLEET.settings[MonitoringSettings].port)

    def ask(asker: str, host: str, certificate: str, name: str = "") -> Any:
        lab.run(asker, "sh", "-c", "cat >/tmp/plugin.py", given=source)
        address = FLEET.hosts[host].addresses["management"]
        argv = [name or host, address, port, certificate]
        return lab.execute(asker, "python3", "-", *argv, given=ASK)

    own = f"{plugin.TLS}/monitoring"
    assert int(ask(NAGIOS.id, "s1", own).stdout) > 100
    assert "Hostname mismatch" in ask(NAGIOS.id, "s1", own, name="s2").stderr
    for certificate in ("", f"{plugin.TLS}/report"):
        assert "SSLError" in ask(NAGIOS.id, "s1", certificate).stderr
    # a client's certificate of the same CA; a host's own firewall lets it through
    for host, certificate in (("lb1", "balancer"), ("bbdd1", "host")):
        assert "SSLError" in ask(host, host, f"{plugin.TLS}/{certificate}").stderr
    with lab.sending("lb1"):
        assert "timed out" in ask("lb1", "s1", f"{plugin.TLS}/balancer").stderr


def test_s13_the_report_of_a_host_costs_little() -> None:
    """S13: Nothing runs while nobody asks, and no failed unit stays."""
    for host in ("s1", "nas1"):
        lab.run(host, "systemctl", "is-active", "salina-report.socket", "salina-report-tls.socket")
        failed = lab.run(host, "systemctl", "list-units", "--failed", "--plain", "--no-legend")
        assert "salina-report" not in failed


# Alarms


@pytest.fixture(scope="module")
def sink() -> Iterator[None]:
    """A mail server on the monitoring host, and Nagios that asks often and sends there."""
    with alarms.sink(use_every=30, heartbeat_to=["ops@example.com"]):
        yield


def mails() -> list[str]:
    """Return the subjects of all mails that have arrived."""
    return [mail.subject for mail in alarms.mails()]


def problems() -> list[str]:
    """Return those of them that are about a fault."""
    return [mail.subject for mail in alarms.problems()]


@pytest.mark.proof
def test_s13_a_failed_unit_is_one_mail(sink: None) -> None:
    """S13: And another one when it is well again."""
    before = problems()
    expected = "PROBLEM: fw system is CRITICAL"
    lab.shell("fw", "systemd-run --quiet --unit=salina-trial --wait /bin/false", check=False)
    try:
        wait.clear(lambda: "" if problems() != before else str(bad()), 120, "a mail")
        assert problems() == [*before, expected]
        assert services()["fw"]["system"] == "critical"
    finally:
        lab.shell("fw", "systemctl reset-failed salina-trial")
        well()
    recovered = "RECOVERY: fw system is OK"
    wait.clear(lambda: "" if recovered in mails() else str(mails()), 60, "a mail")
    assert problems() == [*before, expected]


@pytest.mark.proof
@pytest.mark.parametrize(("kind", "what"), [("kill", "nas3"), ("freeze", "nas3 report")])
def test_s13_a_storage_host_that_dies_is_one_mail(sink: None, kind: str, what: str) -> None:
    """S13: The others see it as well, which is red on the page and in no mail."""
    tiers.whole()
    before = problems()
    lab.fault(kind, "nas3")
    try:
        wait.clear(lambda: "" if problems() != before else str(bad()), 180, "a mail")
        if kind == "kill":  # GlusterFS takes longer to notice a frozen host
            for seen in ("nas1 peers", "s1 mount"):
                wait.clear(lambda: "" if seen in bad() else str(bad()), 120, "a red service")  # noqa: B023
        wait.until(lambda: len(problems()) > len(before) + 1 or None, 6 * QUICK)
        [mail] = problems()[len(before) :]
        assert mail.startswith(f"PROBLEM: {what} is")
    finally:
        lab.lab("heal")
        tiers.whole()
        well(plugin.SETTLING)
    assert len(problems()) == len(before) + 1


def quiet(seconds: float = 6 * QUICK) -> None:
    """Wait for longer than an alarm needs, and expect none."""
    before = problems()
    wait.until(lambda: problems() != before or None, seconds)
    assert problems() == before


@pytest.mark.proof
def test_s13_announced_work_gives_no_mail_until_its_end(sink: None) -> None:
    """S13: The page shows the fault. One that outlasts the work gives its alarm."""
    before = problems()
    done = lab.salt_run("maintenance.begin", "[fw]", "minutes=10", "why=a test")
    assert done.returncode == 0, done.stderr
    try:
        shown = json.loads(lab.salt_run("maintenance.show").stdout)
        assert [(one["host"], one["why"]) for one in shown] == [("fw", "a test")]
        lab.shell("fw", "systemd-run --quiet --unit=salina-trial --wait /bin/false", check=False)
        wait.clear(lambda: "" if "fw system" in bad() else str(bad()), 120, "a red service")
        quiet()
        assert lab.salt_run("maintenance.end", "[fw]").returncode == 0
        wait.clear(lambda: "" if problems() != before else str(bad()), 120, "a mail")
        assert problems() == [*before, "PROBLEM: fw system is CRITICAL"]
    finally:
        lab.salt_run("maintenance.end")
        lab.shell("fw", "systemctl reset-failed salina-trial", check=False)
        well()


@pytest.mark.proof
def test_s13_a_host_in_its_turn_gives_no_mail(sink: None) -> None:
    """S13: Its faults are warnings meanwhile."""
    assert "turn" in lab.salt("s1", "turn.take", "app", "a test")["s1"]
    try:
        lab.run("s1", "systemctl", "stop", "nginx")

        def warned() -> str:
            lab.salt("s1", "turn.renew")
            found = services()["s1"]
            return "" if found["report"] == found["app"] == "warning" else str(found)

        wait.clear(warned, 120, "warnings")
        before = problems()
        assert not wait.until(lambda: (not warned() and problems() != before) or None, 4 * QUICK)
    finally:
        lab.run("s1", "systemctl", "start", "nginx")
        lab.salt("s1", "turn.end")
        well()


@pytest.mark.proof
def test_s13_a_client_that_cannot_log_in_is_one_mail(sink: None) -> None:
    """S13: fleet.health shows it as well. The next apply makes the user again."""
    before = problems()
    off = "UPDATE res_users SET active = false WHERE login = 'salina-monitoring'"
    tiers.sql(tiers.leader(), off, "crm")
    try:
        wait.clear(lambda: "" if problems() != before else str(bad()), 240, "a mail")
        assert problems() == [*before, "PROBLEM: lb1 use crm is CRITICAL"]
        told = json.loads(lab.salt_run("fleet.health").stdout)
        own = {one["what"]: one for one in told["hosts"][NAGIOS.id]["checks"]}
        assert not own["use crm"]["good"] and own["client crm"]["good"]
    finally:
        assert not lab.failures(lab.results(lab.salt("s1", "state.apply", "queue=True")))
        well()
    assert len(problems()) == len(before) + 1


@pytest.mark.proof
def test_s13_a_mail_waits_for_the_mail_server(sink: None) -> None:
    """S13: An alarm arrives although the server was away when it was sent, also if nullmailer
    restarts meanwhile.
    """
    before, expected = problems(), "PROBLEM: fw system is CRITICAL"
    kept = f"ls {SPOOL}/queue"
    lab.run(NAGIOS.id, "systemctl", "stop", alarms.SINK)
    lab.shell("fw", "systemd-run --quiet --unit=salina-trial --wait /bin/false", check=False)
    try:
        wait.clear(lambda: "" if lab.shell(NAGIOS.id, kept) else str(bad()), 120, "a mail")
        lab.run(NAGIOS.id, "systemctl", "restart", "nullmailer")
        alarms.listen()
        wait.clear(lambda: lab.shell(NAGIOS.id, kept), 330, "the mail to be sent")
        assert problems() == [*before, expected]
    finally:
        alarms.listen()
        lab.shell("fw", "systemctl reset-failed salina-trial")
        well()


@pytest.mark.proof
def test_s13_a_mail_says_that_monitoring_works(sink: None) -> None:
    """S13: Its absence says the opposite, so nobody has to watch this host."""
    apply = (NAGIOS.id, "state.apply", "monitoring.heartbeat", "queue=True")
    own = {"monitoring": {"heartbeat": 1, "relay": "127.0.0.1", "relay_port": PORT}}
    own["monitoring"] |= {"relay_tls": False}
    try:
        assert not lab.failures(lab.results(lab.salt(*apply, f"pillar={json.dumps(own)}")))
        lab.run(NAGIOS.id, "systemctl", "start", "salina-heartbeat")
        words = "Monitoring works: "
        wait.clear(lambda: "" if words in " ".join(mails()) else str(mails()), 30, "a mail")
        found = [one for one in mails() if one.startswith(words)]
        assert found[-1].endswith(" 0 of them critical")
    finally:
        assert not lab.failures(lab.results(lab.salt(*apply)))
        given = {"monitoring": {"relay": "127.0.0.1", "relay_port": PORT, "relay_tls": False}}
        mail = (NAGIOS.id, "state.apply", "monitoring.mail_service", "queue=True")
        lab.salt(*mail, f"pillar={json.dumps(given)}")  # the sink's, for the tests after this one
    gone = lab.execute(NAGIOS.id, "systemctl", "is-active", "salina-heartbeat.timer")
    assert gone.returncode


@pytest.mark.proof
def test_s13_a_file_that_somebody_edited_is_drift() -> None:
    """S13: A look at it keeps no apply waiting, and the apply that repairs it ends the notice."""
    path = "/etc/apt/apt.conf.d/51salina"

    def drift() -> dict[str, Any]:
        found = json.loads(lab.salt_run("fleet.health").stdout)["hosts"]["nas2"]["checks"]
        return next(one for one in found if one["what"] == "drift")

    lab.run("salt", "salt", "nas2", "state.apply", "queue=True")
    assert lab.salt("nas2", "drift.look")["nas2"]["changes"] == []
    lab.shell("nas2", f"echo '// edited' >>{path}")
    try:
        assert lab.salt("nas2", "drift.look")["nas2"]["changes"] == ["updates-settings"]
        seen = drift()
        assert seen["good"] and seen["notice"] and "would change updates-settings" in seen["detail"]
        wait.clear(
            lambda: "" if (found := services()["nas2"])["applied"] == "warning" else str(found),
            120,
            "a warning",
        )
    finally:
        lab.results(lab.salt("nas2", "state.apply", "queue=True"))
    assert not drift()["notice"]


FILL = """
set -eu
export PGPASSWORD=$(python3 -c \
    'import json; print(json.load(open("/etc/odoo/health.json"))["database"]["password"])')
for number in $(seq 40); do
    psql -h 127.0.0.1 -p 6432 -U crm -d crm -qc 'SELECT pg_sleep(25)' >/dev/null 2>&1 &
done
wait
"""


@pytest.mark.proof
def test_s13_clients_that_wait_for_the_pool_are_seen() -> None:
    """S13: In pgbouncer's own counters, which need no connection of the pool."""
    well()
    unit = ["systemd-run", "--unit=salina-fill", "--collect", "--quiet", "sh", "-c", FILL]
    lab.run("s1", *unit)

    def queue() -> str:
        [found] = [
            one
            for one in json.loads(lab.salt_run("fleet.health").stdout)["hosts"]["s1"]["checks"]
            if one["what"] == "queue"
        ]
        return str(found["detail"])

    try:
        wait.clear(lambda: "" if "clients of crm wait" in queue() else queue(), 60, "a queue")
    finally:
        lab.shell("s1", "systemctl stop salina-fill", check=False)
        wait.clear(queue, 60, "no queue")
        well()

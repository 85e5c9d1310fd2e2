"""S13: Nagios sees every host, gives one alarm for one fault, and has a page with a password."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from salina.common import wait
from salina.monitoring import plugin
from salina_fleet.model.monitoring import MonitoringSettings
from tests import fleets
from tests.lab import alarms, lab, tiers
from tests.lab.alarms import FLEET, NAGIOS, QUICK, SERVICES, bad, page, services, well

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
    assert found["lb1"]["client crm"] == "ok"


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
    with alarms.sink():
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
            wait.clear(lambda: "" if "nas1 peers" in bad() else str(bad()), 120, "a red service")
        wait.until(lambda: len(problems()) > len(before) + 1 or None, 6 * QUICK)
        [mail] = problems()[len(before) :]
        assert mail.startswith(f"PROBLEM: {what} is")
    finally:
        lab.lab("heal")
        tiers.whole()
        well(plugin.SETTLING)
    assert len(problems()) == len(before) + 1

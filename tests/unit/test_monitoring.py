"""S13: Nagios' plugin and its mails, the role's settings, and Nagios' own view of its files."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from salina.health import probes, told
from salina.monitoring import mail, plugin
from salina.monitoring.plugin import CRITICAL, OK, UNKNOWN, WARNING, NoReport, Result
from salina_fleet import runner, secrets
from salina_fleet.errors import RunnerError
from salina_fleet.fleet import Fleet
from salina_fleet.model import settings, topology
from salina_fleet.model.firewall import FirewallSettings
from salina_fleet.model.monitoring import MonitoringSettings
from salina_fleet.model.settings import SettingsError
from salina_fleet.model.topology import TopologyError
from salina_fleet.site import Site
from tests import fleets
from tests.loading import load
from tests.render.minion import Minion

NAGIOS = shutil.which("nagios4")
NULLMAILER = shutil.which("nullmailer-send", path="/usr/sbin")
GOOD = [["peers", True, "2 of 2 connected"], ["volume nas", True, "started"]]
EXPECTED = {"gluster": ["peers", "heal"], "etcd": ["etcd"]}


def judged(report: dict[str, Any]) -> dict[str, tuple[int, str]]:
    """The state and the words of each service."""
    return {one.service: one[1:] for one in plugin.results(report, EXPECTED)}


# The report of a host


def test_s13_a_report_has_the_results_of_each_check() -> None:
    """S13: A check that cannot be made is in it as well."""
    checks = [
        {"name": "disk", "probe": "disk", "arguments": {}},
        {"name": "unit x", "probe": "nonsense", "arguments": {"name": "x"}},
    ]
    found = told.told(checks)
    assert list(found["checks"]) == ["disk", "unit x"]
    assert found["checks"]["unit x"][0][1] is False
    assert abs(found["clock"] - time.time()) < 60


def test_s13_a_finding_about_other_hosts_is_a_service_of_its_own() -> None:
    """S13: The rest of its check is another one, and a check that is such a finding has one."""
    heal = ["heal", False, "3 entries to heal"]
    found = judged({"gluster": [*GOOD, heal], "etcd": [["etcd", False, "HTTP 503"]]})
    assert found == {
        "gluster": (OK, "volume nas: started"),
        "peers": (OK, "peers: 2 of 2 connected"),
        "heal": (CRITICAL, "heal: 3 entries to heal"),
        "etcd": (CRITICAL, "etcd: HTTP 503"),
    }


def test_s13_a_failed_check_says_nothing_of_its_other_findings() -> None:
    """S13: They keep their state; and a finding that a host does not have now is good."""
    found = judged({"gluster": [["gluster", False, "no answer"]], "etcd": []})
    assert found.keys() == {"gluster", "etcd"}
    assert found["gluster"] == (CRITICAL, "gluster: no answer")
    assert found["etcd"] == (OK, "nothing to look at on this host now")
    assert judged({"gluster": GOOD, "etcd": []})["heal"][0] == OK


def test_s13_a_check_that_a_host_does_not_make_is_unknown() -> None:
    """S13: Its states are older than the configuration of monitoring."""
    words = "the host does not make this check; apply its states"
    assert judged({"etcd": []})["gluster"] == (UNKNOWN, words)


def test_s13_a_notice_is_a_warning() -> None:
    """S13: Faults are shown alone; without them the notices are."""
    notice, fault = ["reboot waits", True, "next: reboot", True], ["units", False, ""]
    assert plugin.judge("x", [notice]) == Result("x", WARNING, "reboot waits: next: reboot")
    assert plugin.judge("x", [notice, fault]) == Result("x", CRITICAL, "units: not good")
    assert plugin.judge("x", [["ufw", True, ""]]) == Result("x", OK, "ufw: good")


@pytest.mark.parametrize(
    ("spare", "states", "state"),
    [
        (1, ["0,0", "0,2", "0,0"], OK),
        (1, ["2,0", "0,2", "0,0"], CRITICAL),
        (0, ["0,1,0"], OK),
        (0, ["0,3"], CRITICAL),
    ],
)
def test_s13_a_tier_can_spare_some_hosts(spare: int, states: list[str], state: int) -> None:
    """S13: A warning does not count, and a host with two faults counts once."""
    assert plugin.main("tier", str(spare), *states)[0] == state


class Asked:
    """The plugin with a host whose report is given, and Nagios' pipe."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
        self.report: dict[str, Any] | NoReport = {"checks": {"a": []}, "clock": time.time()}
        self.pipe = place / "nagios.cmd"
        configuration = {"port": 1, "hosts": {"s1": {"address": "192.0.2.1", "checks": {"a": []}}}}
        (place / "salina.json").write_text(json.dumps(configuration))
        monkeypatch.setattr(plugin, "CONFIGURATION", place / "salina.json")
        monkeypatch.setattr(plugin, "COMMANDS", str(self.pipe))
        monkeypatch.setattr(plugin, "fetch", self.fetch)

    def fetch(self, name: str, address: str, port: int) -> dict[str, Any]:
        """Return the report, or raise."""
        assert (name, address, port) == ("s1", "192.0.2.1", 1)
        if isinstance(self.report, NoReport):
            raise self.report
        return self.report

    def ask(self, last: float = 0) -> tuple[int, str]:
        """Run the plugin as Nagios does, with somebody at the other end of the pipe."""
        os.mkfifo(self.pipe)
        reader = os.open(self.pipe, os.O_RDONLY | os.O_NONBLOCK)
        try:
            return plugin.main("report", "s1", str(last))
        finally:
            self.said = os.read(reader, 65536).decode()
            os.close(reader)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Asked:
    """A plugin with one host."""
    return Asked(monkeypatch, tmp_path)


def test_s13_nagios_gets_a_line_for_each_service(asked: Asked) -> None:
    """S13: And no line that a host's words would add."""
    words = "x\n[1] PROCESS_SERVICE_CHECK_RESULT;s2;a;0;forged"
    asked.report = {"checks": {"a": [["a", False, words]]}, "clock": time.time()}
    assert asked.ask()[0] == OK
    (line,) = asked.said.splitlines()
    assert line.partition("] ")[2].startswith("PROCESS_SERVICE_CHECK_RESULT;s1;a;2;a: x [1] PRO")


@pytest.mark.parametrize(
    ("report", "state", "words"),
    [
        (NoReport("no report: timed out"), CRITICAL, "no report: timed out"),
        ({"clock": 1.0}, CRITICAL, "another form"),
        ({"checks": {"a": [["short"]]}, "clock": 1.0}, CRITICAL, "another form"),
        ({"checks": {"a": 1}, "clock": 1.0}, CRITICAL, "another form"),
        ({"checks": [], "clock": 1.0}, CRITICAL, "its clock differs by"),
    ],
)
def test_s13_a_bad_report_is_a_fault(asked: Asked, report: Any, state: int, words: str) -> None:
    """S13: Whatever a host sends; a wrong clock is one as well."""
    asked.report = report
    found = asked.ask() if not isinstance(report, NoReport) else plugin.main("report", "s1", "0")
    assert found[0] == state and words in found[1]


@pytest.mark.parametrize(
    ("partner", "line"),
    [
        ([["shared addresses", True, "at the other host"]], "0;shared addresses: here"),
        ([["shared addresses", True, "here"]], "2;lb1 and lb2 both say: here; see journalctl"),
        ([["shared addresses", False, "eth0 is not connected"]], "0;shared addresses: here"),
        ([], "0;shared addresses: here"),
        (None, "0;shared addresses: here"),  # no report: that is the alarm
    ],
)
def test_s13_k6_the_first_host_of_a_pair_is_compared(
    monkeypatch: pytest.MonkeyPatch, partner: Any, line: str
) -> None:
    """S13, K6: Nagios asks the other one at the same time, and gives one alarm."""
    given: list[Result] = []

    def fetch(name: str, *_: Any) -> dict[str, Any]:
        if name == "lb2" and partner is None:
            raise NoReport("no report")
        own = [["shared addresses", True, "here"]] if name == "lb1" else partner
        return {"checks": {"shared": own}, "clock": time.time()}

    monkeypatch.setattr(plugin, "fetch", fetch)
    monkeypatch.setattr(plugin, "submit", lambda host, found, now: given.extend(found))
    other = {"address": "192.0.2.2", "checks": {"shared": []}}
    hosts = {"lb1": {**other, "partner": "lb2"}, "lb2": other}
    plugin.report("lb1", 0.0, {"port": 1, "hosts": hosts})
    (found,) = given
    assert f"{found.state};{found.words}".startswith(line)


def test_s13_k6_nagios_knows_the_partner_of_the_first_host() -> None:
    """S13, K6: Both would give an alarm of the same fault."""
    data = fleets.data("pairs")
    addresses = {"management": "10.1.5.9", "edge": "10.1.2.5"}
    data["hosts"]["nagios"] = {"roles": ["monitoring"], "addresses": addresses}
    parsed = topology.parse(data)
    whole = Fleet(parsed, parsed.initial(), fleets.settings())
    found = fleets.pillars.select(fleets.master_data(whole), "nagios")["monitoring"]
    partners = {name: one.get("partner") for name, one in found["plugin"]["hosts"].items()}
    assert {name: one for name, one in partners.items() if one} == {"fw1": "fw2", "lb1": "lb2"}


def test_s13_a_host_that_is_back_is_settling(asked: Asked) -> None:
    """S13: So what others see of its absence stays silent for some minutes."""
    state, words = asked.ask(time.time() - 60)
    assert state == WARNING and words.startswith("it is back for 60 s")


def test_s13_without_nagios_the_plugin_says_so(asked: Asked) -> None:
    """S13: Nobody reads the pipe."""
    assert plugin.main("report", "s1", "0")[0] == UNKNOWN


def test_s13_a_refused_connection_is_an_answer() -> None:
    """S13: A host without its daemon is not down."""
    assert plugin.reachable("127.0.0.1", 1)[0] == OK


# Mails


def test_s13_a_mail_names_host_service_and_words() -> None:
    """S13: The words of a host are text in it, and no header."""
    macros = {
        "NAGIOS_NOTIFICATIONTYPE": "PROBLEM",
        "NAGIOS_HOSTNAME": "s1",
        "NAGIOS_SERVICEDESC": "disk",
        "NAGIOS_SERVICESTATE": "CRITICAL",
        "NAGIOS_SERVICEOUTPUT": "/ has 1 MiB free `id` $(id)\nBcc: x@example.com",
    }
    found = mail.message(macros, "salina@example.com", ["a@example.com", "b@example.com"])
    assert found["Subject"] == "PROBLEM: s1 disk is CRITICAL"
    assert (found["From"], found["To"]) == ("salina@example.com", "a@example.com, b@example.com")
    assert found["Bcc"] is None and "`id` $(id)" in found.get_content()
    host = {
        "NAGIOS_NOTIFICATIONTYPE": "RECOVERY",
        "NAGIOS_HOSTNAME": "s1",
        "NAGIOS_HOSTSTATE": "UP",
    }
    assert mail.message(host, "x@y.z", ["a@b.c"])["Subject"] == "RECOVERY: s1 is UP"


def test_s13_a_mail_is_kept_until_it_is_sent(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """S13: nullmailer gets the envelope and the mail; a full disk is the only reason to fail."""
    kept, queue = tmp_path / "kept", tmp_path / "queue"
    queue.write_text(
        f"#!/bin/sh\ncat >{kept}; echo the disk is full >&2; exit $(cat {kept}.code)\n"
    )
    queue.chmod(0o755)
    monkeypatch.setattr(mail, "QUEUE", str(queue))
    host = {"NAGIOS_NOTIFICATIONTYPE": "", "NAGIOS_HOSTNAME": "s1", "NAGIOS_HOSTSTATE": "DOWN"}
    found = mail.message(host, "x@y.z", ["a@b.c", "d@e.f"])
    (tmp_path / "kept.code").write_text("0")
    mail.keep(found, "x@y.z", ["a@b.c", "d@e.f"])
    envelope, _, text = kept.read_bytes().partition(b"\n\n")
    assert (envelope, text) == (b"x@y.z\na@b.c\nd@e.f", bytes(found))
    (tmp_path / "kept.code").write_text("1")
    with pytest.raises(OSError, match="the disk is full"):
        mail.keep(found, "x@y.z", ["a@b.c"])


def test_s13_mails_that_are_not_sent_are_a_fault(tmp_path: Path) -> None:
    """S13, K5: A server that is away for some minutes is none. A refused mail stays one."""
    given = {"spool": str(tmp_path), "minutes": 15}
    assert probes.made("mails", given)[0][1] is False
    for name in ("queue", "failed"):
        (tmp_path / name).mkdir()
    assert probes.made("mails", given) == [("mails", True, "")]
    for minutes in (14, 5):
        file = tmp_path / f"queue/{minutes}"
        file.write_text("")
        os.utime(file, (0, time.time() - minutes * 60))
    assert probes.made("mails", given) == [("mails", True, "")]
    os.utime(tmp_path / "queue/14", (0, time.time() - 20 * 60))
    wait, log = (
        "2 wait for the mail server, the first for 20 minutes",
        "see journalctl -u nullmailer",
    )
    assert probes.made("mails", given) == [("mails", False, f"{wait}; {log}")]
    (tmp_path / "failed/1").write_text("")
    refused = f"the mail server refused 1, which are in {tmp_path}/failed"
    assert probes.made("mails", given) == [("mails", False, f"{wait}; {refused}; {log}")]


# Settings and topology


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"recipients": ["ops@example.com"]}, "relay: missing; must be the mail server"),
        (
            {"relay_user": "ops", "relay_tls": False},
            "relay_user: is not valid without relay_tls, because the password would be sent",
        ),
        ({"relay_user": 'a "b'}, "must be a user without spaces"),
        ({"recipients": ["nobody"]}, "a mail address with a whole domain"),
        ({"recipients": ["root@localhost"]}, "a mail address with a whole domain"),
    ],
)
def test_k5_a_bad_setting_is_one_clear_error(given: dict[str, Any], fault: str) -> None:
    """K5, S13: The file, the key, and what is allowed."""
    with pytest.raises(SettingsError) as caught:
        settings.parse({"monitoring": given})
    (found,) = caught.value.faults
    assert found.startswith("monitoring.yaml: ") and fault in found


RELAYED = {"recipients": ("a@b.c",), "relay": "mail.example", "relay_user": "ops"}


CAS = "x509cafile=/etc/ssl/certs/ca-certificates.crt"


@pytest.mark.parametrize(("port", "tls"), [(587, "starttls"), (465, "tls")])
def test_s13_a_mail_server_may_want_a_login(port: int, tls: str) -> None:
    """S13, X8: Over TLS that is verified; the password is in a file of Nagios' own."""
    own = fleets.settings().but(MonitoringSettings(**RELAYED, relay_port=port))
    minion = Minion("nagios", fleets.pillar("nagios", own=own))
    files = dict(minion.files)
    *_, line = files["/etc/nagios4/mail/remotes"].splitlines()
    assert line.startswith(f"mail.example smtp port={port} {tls} {CAS} user='ops' pass='")
    assert [path for path, text in files.items() if "canary" in text and "relay" in text] == [
        "/etc/nagios4/mail/remotes"
    ]
    assert "canary-relay" not in str(fleets.pillar("nagios"))


PASSWORDS = ("a'b \"c\\d:#e", "a!!b", "end!", "''", " # ")


def login(password: str) -> str:
    """The last line of the file of mail servers, with a password."""
    own = fleets.settings().but(MonitoringSettings(**RELAYED))
    given = fleets.pillar("nagios", own=own)
    given["monitoring"] = {**given["monitoring"], "relay_password": password}
    return dict(Minion("nagios", given).files)["/etc/nagios4/mail/remotes"].splitlines()[-1]


@pytest.mark.parametrize("password", PASSWORDS)
def test_s13_a_password_may_have_every_sign(password: str) -> None:
    """S13: In quotes: nullmailer overlooks the sign that follows a backslash and its sign."""
    assert shlex.split(login(password))[-2:] == ["user=ops", f"pass={password}"]
    assert "\\" not in login(password.replace("\\", ""))


@pytest.mark.programs
@pytest.mark.skipif(NULLMAILER is None, reason="needs nullmailer")
@pytest.mark.parametrize("password", PASSWORDS)
def test_s13_nullmailer_reads_the_password(password: str, tmp_path: Path) -> None:
    """S13: The real one gives it to its program for SMTP as it is."""
    for name in ("conf", "protocols", "queue/queue", "queue/failed", "queue/tmp"):
        (tmp_path / name).mkdir(parents=True)
    os.mkfifo(tmp_path / "queue/trigger")
    (tmp_path / "conf/remotes").write_text(login(password) + "\n")
    (tmp_path / "conf/pausetime").write_text("0\n")  # it ends when it has tried each mail
    (tmp_path / "queue/queue/1").write_text("a@b.c\nd@e.f\n\nSubject: x\n\n")
    smtp = tmp_path / "protocols/smtp"
    smtp.write_text(f"#!/bin/sh\ncat >{tmp_path}/given\n")
    smtp.chmod(0o755)
    environment = {"NULLMAILER_TEST_PREFIX": str(tmp_path)}
    subprocess.run([str(NULLMAILER)], env=environment, timeout=20, check=True)
    given = (tmp_path / "given").read_text().splitlines()
    assert {"host=mail.example", "user=ops", f"pass={password}"} <= {*given}


@pytest.mark.parametrize("more", [{}, {"relay": "mail.example", "relay_tls": False}])
def test_s13_a_mail_server_may_want_nothing(more: dict[str, Any]) -> None:
    """S13: Without a server nullmailer sends nothing, and waits."""
    own = fleets.settings().but(MonitoringSettings(**more))
    files = dict(Minion("nagios", fleets.pillar("nagios", own=own)).files)
    lines = files["/etc/nagios4/mail/remotes"].splitlines()
    assert lines[1:] == (["mail.example smtp port=25"] if more else [])
    assert files["/etc/nagios4/mail/helohost"].strip() == "localhost.localdomain"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (b"correct horse\n", "relay is kept with the secrets\nnext: salt nagios state.apply"),
        (b"", "must be one line of plain text"),
        (b"a\nb", "must be one line of plain text"),
        (b"canary\xff", "must be one line of plain text"),
    ],
)
def test_k4_the_operator_gives_the_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: bytes, said: str
) -> None:
    """K4, S13: The messages have nothing of it."""
    own = fleets.settings().but(MonitoringSettings(**RELAYED))
    whole, here = fleets.fleet(), tmp_path / "given"
    fleet = Fleet(whole.topology, whole.members, own)
    site = Site(tmp_path, tmp_path, fleet, {}, fleets.LOCKS, fleets.TREE)
    monkeypatch.setattr(runner, "site", lambda _: site)
    here.write_bytes(given)
    called = load("_runners/secrets.py", opts={})
    try:
        told = called.relay(str(here))
        assert site.store.get(secrets.RELAY) == "correct horse"
    except RunnerError as error:
        told = str(error)
    assert said in told and "canary" not in told and "horse" not in told


def test_s13_mails_need_a_way_out() -> None:
    """S13, K5: The firewall's settings let the monitoring host reach its mail server."""
    own = fleets.settings().but(
        MonitoringSettings(recipients=("a@b.c",), relay="mail.example", relay_port=587)
    )
    here = fleets.topology()
    found = own[FirewallSettings].conflicts(here, own, fleets.definitions(here))
    place = "mail.example (pillar/settings/monitoring.yaml)"
    advice = "add {role: monitoring, ports: 587}"
    assert [*found] == [("egress", f"nagios cannot reach {place} at port 587; {advice}")]


def test_s13_monitoring_does_not_fail_with_what_it_watches() -> None:
    """S13: It has a host of its own, or that of the master."""
    data = fleets.data()
    data["hosts"]["nagios"]["roles"] = ["monitoring", "master"]
    del data["hosts"]["salt"]
    topology.parse(data)
    data = fleets.data()
    data["hosts"]["bkp1"]["roles"] = ["backup", "monitoring"]
    data["hosts"]["bkp1"]["addresses"]["edge"] = "10.1.2.5"
    del data["hosts"]["nagios"]
    with pytest.raises(
        TopologyError, match=r"hosts\.bkp1\.roles: monitoring and backup on one host"
    ):
        topology.parse(data)


def test_s13_a_new_member_is_watched() -> None:
    """S13: The configuration follows the members."""
    whole = fleets.fleet()
    grown = Fleet(whole.topology, {"app": ["s1", "s4"]}, whole.settings)
    found = fleets.pillars.select(fleets.master_data(grown), "nagios")["monitoring"]
    names = [one["name"] for one in found["hosts"]]
    assert "s4" in names and "s2" not in names
    assert found["plugin"]["hosts"]["s4"]["address"] == "10.1.5.14"


# Nagios itself


@pytest.mark.skipif(NAGIOS is None, reason="Nagios is not installed here")
@pytest.mark.parametrize("recipients", [(), ("ops@example.com",)])
def test_s13_nagios_accepts_its_files(tmp_path: Path, recipients: tuple[str, ...]) -> None:
    """S13: With and without mails."""
    own = fleets.settings().but(
        replace(fleets.settings()[MonitoringSettings], recipients=recipients, relay="127.0.0.1")
    )
    minion = Minion("nagios", fleets.pillar("nagios", own=own))
    (tmp_path / "spool").mkdir()
    for path, text in minion.files:
        if path.startswith("/etc/nagios4/"):
            here = text.replace("/etc/nagios4", str(tmp_path))
            here = here.replace("/var/lib/nagios4/spool/checkresults", str(tmp_path / "spool"))
            here = here.replace("/var/lib/nagios4", str(tmp_path))
            here = here.replace("/var/log/nagios4", str(tmp_path))
            (tmp_path / Path(path).name).write_text(here.replace("/run/nagios4", str(tmp_path)))
    with (tmp_path / "nagios.cfg").open("a") as file:
        file.write("nagios_user=root\nnagios_group=root\n")
    argv = [str(NAGIOS), "-v", str(tmp_path / "nagios.cfg")]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "Total Warnings: 0" in done.stdout, done.stdout

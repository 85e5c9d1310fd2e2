"""Nagios as a witness: the services on its page, and the mails that it sends to a local sink."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from salina.common import wait
from salina.monitoring.mail import SPOOL
from tests import fleets
from tests.lab import lab, tiers

FLEET = fleets.fleet()
[NAGIOS] = FLEET.having("monitoring")
PAGE = f"https://{NAGIOS.addresses['edge']}"
SERVICES = "/nagios4/cgi-bin/statusjson.cgi?query=servicelist&formatoptions=enumerate"
SINK = "salina-sink"
PORT = 2525
QUICK = 10
"""The seconds between two questions while somebody waits for alarms."""
PROBLEM = "PROBLEM: "
SUBJECT = re.compile(r"""^([0-9.]+) \S+ \S+: (?:b['"])?Subject: (.*?)['"]?$""", re.MULTILINE)
"""A line of the sink's journal, with the time in seconds."""


class Mail(NamedTuple):
    """When a mail arrived, in seconds since the epoch, and its subject."""

    at: float
    subject: str


def page(path: str, password: str = "", *options: str) -> tuple[str, str]:
    """Return status and body of a page as c1 gets it, with the user's password or without one."""
    ca = lab.run("salt", "cat", "/etc/salina/tls/ca.crt")
    lab.run("c1", "sh", "-c", "cat >/tmp/monitoring-ca.crt", given=ca)
    login = f'user = "operator:{password}"\n' if password else ""
    argv = ["curl", "--silent", "--show-error", "--max-time", "20", "--config", "-", *options]
    write = ["--cacert", "/tmp/monitoring-ca.crt", "--write-out", "\n%{http_code}", f"{PAGE}{path}"]
    body, _, status = lab.run("c1", *argv, *write, given=login).rpartition("\n")
    return status, body


def services() -> dict[str, dict[str, str]]:
    """Return the state of each service, by host, as the page shows it to a client."""
    status, body = page(SERVICES, tiers.secret("monitoring"))
    assert status == "200"
    found: dict[str, dict[str, str]] = json.loads(body)["data"]["servicelist"]
    return found


def bad() -> dict[str, str]:
    """Return the services that are neither good nor a notice."""
    return {
        f"{host} {service}": state
        for host, own in services().items()
        for service, state in own.items()
        if state not in ("ok", "warning")
    }


def well(seconds: float = 240) -> None:
    """Wait until every service is good."""
    wait.clear(lambda: str(bad() or ""), seconds, "all services to be good")


def listen() -> None:
    """Start the mail server on the monitoring host, which a power cut ends."""
    if lab.execute(NAGIOS.id, "systemctl", "is-active", "--quiet", SINK).returncode:
        server = ["python3", "-u", "-W", "ignore", "-m", "smtpd", "-n", "-c", "DebuggingServer"]
        unit = ["systemd-run", f"--unit={SINK}", "--collect", *server, f"127.0.0.1:{PORT}"]
        lab.run(NAGIOS.id, *unit)


@contextmanager
def sink(**more: Any) -> Iterator[None]:
    """Have a mail server on the monitoring host, and Nagios that asks often and sends there.

    `more`: further settings of monitoring.
    """
    own = {
        **{"every": QUICK, "recipients": ["ops@example.com"], "relay": "127.0.0.1"},
        **{"relay_port": PORT, "relay_tls": False, **more},
    }
    listen()
    apply = (NAGIOS.id, "state.apply", "monitoring", "queue=True")
    try:
        given = f"pillar={json.dumps({'monitoring': own})}"
        assert not lab.failures(lab.results(lab.salt(*apply, given)))
        well()
        yield
    finally:
        lab.results(lab.salt(*apply))
        # without a mail server, what was not sent would wait for ever
        lab.shell(NAGIOS.id, f"systemctl stop {SINK}; rm -f {SPOOL}/queue/*", check=False)


def mails(since: float = 0) -> list[Mail]:
    """Return the mails that have arrived, in their order; none while the host is down.

    Args:
        since: seconds since the epoch.
    """
    asked = ["journalctl", f"--unit={SINK}", "--output=short-unix", "--no-pager"]
    found = parse(lab.run(NAGIOS.id, *asked, check=False))
    return [mail for mail in found if mail.at >= since]


def problems(since: float = 0) -> list[Mail]:
    """Return those of them that are about a fault."""
    return [mail for mail in mails(since) if mail.subject.startswith(PROBLEM)]


def parse(journal: str) -> list[Mail]:
    """Return the mails in the journal of the sink, as `--output=short-unix` prints it."""
    return [Mail(float(at), subject) for at, subject in SUBJECT.findall(journal)]

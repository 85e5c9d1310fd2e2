"""The mail of an alarm: Nagios starts this, and nullmailer sends it.

nullmailer keeps it until the mail server takes it. This file uses the standard library only.

The words of a result are a host's own, so they reach this program in its environment, and never
through a shell.

CLI: python3 -m salina.monitoring.mail                the mail of an alarm
     python3 -m salina.monitoring.mail heartbeat      a mail that says that monitoring works
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from pathlib import Path

CONFIGURATION = Path("/etc/nagios4/salina.json")
STATUS, STALE = Path("/var/lib/nagios4/status.dat"), 120.0
"""Nagios' view of everything, and the seconds after which it is not that of a running one."""
SPOOL = "/var/lib/nagios4/mail"
"""The directory with the mails that nullmailer has. It sees it as its own one."""
QUEUE = "/usr/sbin/nullmailer-queue"
"""The program that keeps a mail on the disk, and has nullmailer's daemon send it."""


def message(told: Mapping[str, str], sender: str, recipients: list[str]) -> EmailMessage:
    """Return the mail about an alarm.

    Args:
        told: Nagios' macros, as its environment gives them.
        sender: the address of the sender.
        recipients: the addresses that get it.
    """
    service = told.get("NAGIOS_SERVICEDESC", "")
    kind = "SERVICE" if service else "HOST"
    state, words = told[f"NAGIOS_{kind}STATE"], told.get(f"NAGIOS_{kind}OUTPUT", "")
    what = f"{told['NAGIOS_HOSTNAME']} {service}".strip()
    mail = EmailMessage()
    mail["Subject"] = f"{told['NAGIOS_NOTIFICATIONTYPE']}: {what} is {state}"
    mail["From"], mail["To"] = sender, ", ".join(recipients)
    mail["Date"], mail["Message-ID"] = formatdate(), make_msgid(domain=sender.rpartition("@")[2])
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(f"{what}: {state}\n{words}\n\nat {told.get('NAGIOS_LONGDATETIME', '')}\n")
    return mail


def heartbeat(status: Path, sender: str, recipients: list[str]) -> EmailMessage:
    """Return the mail which says that monitoring works, and what it sees.

    Args:
        status: the file with Nagios' view of everything.
        sender: the address of the sender.
        recipients: the addresses that get it.

    Raises:
        OSError: Nagios does not run, so there is nothing to say.
    """
    age = time.time() - status.stat().st_mtime
    if age > STALE:
        raise OSError(f"{status} is {age:.0f} s old, so Nagios does not work")
    found = status.read_text().split("servicestatus {")[1:]
    bad = sum("\n\tcurrent_state=2\n" in one for one in found)
    mail = EmailMessage()
    mail["Subject"] = f"Monitoring works: {len(found)} services, {bad} of them critical"
    mail["From"], mail["To"] = sender, ", ".join(recipients)
    mail["Date"], mail["Message-ID"] = formatdate(), make_msgid(domain=sender.rpartition("@")[2])
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content("Without this mail, monitoring or its way to you is broken.\n")
    return mail


def keep(mail: EmailMessage, sender: str, recipients: list[str]) -> None:
    """Give a mail to nullmailer, which keeps it until the mail server has taken it.

    Args:
        mail: the mail.
        sender: the address of the sender, which gets a mail that the server refuses for ever.
        recipients: the addresses that get it.

    Raises:
        OSError: it could not be kept.
    """
    envelope = "".join(f"{one}\n" for one in (sender, *recipients))
    given = f"{envelope}\n".encode() + bytes(mail)
    done = subprocess.run([QUEUE], input=given, capture_output=True, check=False)
    if done.returncode:
        raise OSError(done.stderr.decode(errors="replace").strip() or f"{QUEUE} failed")


def main(arguments: list[str]) -> None:
    """Do what the module's docstring says."""
    settings = json.loads(CONFIGURATION.read_text())
    sender, recipients = settings["sender"], settings["recipients"]
    if arguments == ["heartbeat"]:
        recipients = settings["heartbeat_to"]
        mail = heartbeat(STATUS, sender, recipients)
    else:
        mail = message(os.environ, sender, recipients)
    keep(mail, sender, recipients)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except OSError as error:
        sys.exit(str(error))

"""The settings of monitoring, and what every host needs to give its report.

Why: docs/decisions/0055-nagios-asks-each-host-once.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from salina_fleet.model.addresses import destination
from salina_fleet.role import Tuning
from salina_fleet.schema.declare import flag, given, number, text
from salina_fleet.schema.faults import missing
from salina_fleet.schema.rules import ListOf, Nullable, Parsed, Text

MAIL = r"[A-Za-z0-9._+-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+"
"""nullmailer refuses an address without a dot in its domain."""
MAIL_WORDS = "a mail address with a whole domain, such as ops@example.com"
USERS = r"[^\s\"\\]{1,254}"


@dataclass(frozen=True)
class MonitoringSettings(Tuning):
    """Nagios, its web page, and the mails that it sends."""

    port: int = number(8434, 1, 65535, "The port of every host at which monitoring asks it.")
    page_port: int = number(443, 1, 65535, "The port of the web page, with TLS.")
    every: int = number(60, 10, 3600, "The seconds between two questions to a host.")
    use_every: int = number(
        120,
        30,
        86_400,
        "The seconds between two times that monitoring logs in at an application and keeps a file.",
    )
    attempts: int = number(
        3, 1, 100, "The bad results in a row after which a fault is an alarm. One is a short blip."
    )
    remind: int = number(
        24, 0, 8760, "The hours after which an alarm is sent again while its fault lasts; 0: never."
    )
    quiet: int = number(
        60,
        0,
        1440,
        "The minutes for which at most an orchestration keeps alarms silent, since it restarts "
        "what it changes; 0: never.",
    )
    recipients: tuple[str, ...] = given(
        ListOf(Text(MAIL, MAIL_WORDS), least=0),
        (),
        about="The addresses that get the alarms by mail. Without any, only the page shows them.",
    )
    heartbeat: int = number(
        0,
        0,
        168,
        "The hours between two mails that say that monitoring works, so that their absence says "
        "the opposite; 0: none are sent.",
    )
    heartbeat_to: tuple[str, ...] = given(
        ListOf(Text(MAIL, MAIL_WORDS), least=0),
        (),
        about="The addresses that get these mails, such as one of a service that reports their "
        "absence; those of `recipients` by default.",
    )
    sender: str = text(
        "salina@localhost.localdomain", MAIL, MAIL_WORDS, about="The sender of these mails."
    )
    relay: str | None = given(
        Nullable(Parsed(destination, "a host name or an address, without a port")),
        None,
        about="The mail server that takes these mails; required with recipients.",
    )
    relay_port: int = number(25, 1, 65535, "The port of the mail server.")
    relay_tls: bool = flag(
        True,
        "Whether the mail server must use TLS, with a certificate of a known CA. At port 465 a "
        "connection begins with it, at other ports it follows by STARTTLS.",
    )
    relay_user: str | None = text(
        None,
        USERS,
        "a user without spaces",
        about="The user at the mail server; `salt-run secrets.relay` takes the password. Null: the "
        "server wants no login.",
    )

    @property
    def mails(self) -> bool:
        """Whether anybody gets mails."""
        return bool(self.recipients or self.heartbeat_to)

    def rules(self) -> Iterator[tuple[str, str]]:
        """A mail needs a server, a heartbeat an address, and a password TLS."""
        if self.mails and self.relay is None:
            yield "relay", missing("the mail server that takes the mails for `recipients`")
        if self.heartbeat and not self.mails:
            yield "heartbeat_to", missing("the addresses that get the mails of `heartbeat`")
        if self.relay_user is not None and not self.relay_tls:
            why = "because the password would be sent in plain text"
            yield "relay_user", f"is not valid without relay_tls, {why}; remove it or use TLS"

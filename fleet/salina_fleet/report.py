"""How every host gives its report to the monitoring hosts; nothing in a fleet without one.

stunnel decides who may ask: it takes the certificates of the fleet's CA that name a monitoring
host. The report itself is made by salina.health.told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from salina_fleet import secrets
from salina_fleet.model.monitoring import MonitoringSettings
from salina_fleet.role import SERVER, Certificate, Pillar

if TYPE_CHECKING:
    from salina_fleet.fleet import Fleet
    from salina_fleet.kind import Kind
    from salina_fleet.model.topology import Application, Host

CERTIFICATE = "report"
"""The name of the certificate by which monitoring knows a host."""
GROUP = "stunnel4"
"""The group of the user as whom stunnel runs; the package makes it."""
TRIGGERS = ("salina-report.socket", "salina-report-tls.socket")
"""The sockets at which a host waits for the question."""
ASKS = "monitoring"
"""The role whose hosts ask for reports."""

KEYS = {
    "report": "How the host gives its report; only in a fleet with a monitoring host.",
    "report.address": "The host's own address at which it is asked.",
    "report.port": "The port.",
    "report.asked_by": "The monitoring hosts, whose names their certificates have.",
}
"""The meanings of the keys of `pillar`."""


def certificates(fleet: Fleet, host: Host) -> list[Certificate]:
    """Return the certificate by which monitoring knows a host, if the fleet has monitoring."""
    if not fleet.having(ASKS):
        return []
    return [Certificate(CERTIFICATE, (f"DNS:{host.id}",), (SERVER,), group=GROUP)]


def passwords(fleet: Fleet, application: Application, kind: Kind) -> tuple[str, ...]:
    """Return the purpose of the password with which monitoring logs in at an application, if so.

    A copy for trials is not watched.
    """
    watched = kind.watched_as and fleet.having(ASKS) and not application.copy_of
    return (secrets.USER_OF_MONITORING,) if watched else ()


def pillar(fleet: Fleet, host: Host) -> Pillar:
    """Return the section of a host's pillar, if the fleet has monitoring."""
    watchers = fleet.having(ASKS)
    if not watchers:
        return {}
    return {
        "report": {
            "address": fleet.address(host, "management"),
            "port": fleet.settings[MonitoringSettings].port,
            "asked_by": [one.id for one in watchers],
        }
    }

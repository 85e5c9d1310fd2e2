"""Verification of a running fleet: what its hosts show of the requirements.

The looks themselves run on the hosts (_utils/salina/verify/evidence.py). A role's file says which
ones; those of every host are here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from salina_fleet import certificates, pillar
from salina_fleet.model.clock import TimeSettings
from salina_fleet.model.firewall import FirewallSettings
from salina_fleet.model.ssh import SshSettings
from salina_fleet.model.topology import Host
from salina_fleet.model.updates import UpdateSettings
from salina_fleet.policy import STRICT
from salina_fleet.role import CA, Look, MasterData
from salina_fleet.roles import ROLES


class Finding(NamedTuple):
    """A thing that was seen on a host, and the row that it belongs to."""

    row: str
    host: str
    what: str
    good: bool
    seen: str

    def __str__(self) -> str:
        sign = "✓" if self.good else "✗"
        return f"{sign} {self.row:<4} {self.host:<10} {self.what}: {self.seen}"


def looks(data: MasterData, host: Host) -> list[Look]:
    """Return what a host can show of the rows about security."""
    settings = data.fleet.settings
    kernel = pillar.REVERSE_PATH[settings[FirewallSettings].reverse_path]
    found = [
        Look("X7", "kernel", {"reverse_path": kernel}),
        Look("X11", "updates", {"enabled": settings[UpdateSettings].enabled}),
    ]
    application = pillar.application(data, host)
    uid = application["uid"] if application else None
    found.append(Look("X7", "outgoing", {"uid": uid}))
    if settings[FirewallSettings].reverse_path == STRICT:
        found.append(Look("X7", "interfaces"))
    if settings[SshSettings].managed:
        found.append(Look("X9", "sshd"))
    if settings[TimeSettings].managed:
        found.append(Look("X6", "time"))
    wanted = [
        {"name": one.name, "uses": list(one.uses) if one.source == CA else None}
        for one in certificates.certificates(data.fleet, host)
    ]
    if wanted:
        found.append(Look("X6", "certificates", {"wanted": wanted}))
    return found + [one for role in host.roles for one in ROLES[role].evidence(data, host)]


def findings(host: str, wanted: Iterable[Look], answer: Any) -> list[Finding]:
    """Return what a host has answered; without an answer, every row that it was asked for is open.

    Args:
        host: the host.
        wanted: what it was asked for.
        answer: its answer, or the reason why there is none.
    """
    if not isinstance(answer, list):
        rows = dict.fromkeys(look.row for look in wanted)
        return [Finding(row, host, "the host", False, str(answer)) for row in rows]
    return [Finding(one["row"], host, one["what"], one["good"], one["seen"]) for one in answer]


def text(found: Sequence[Finding]) -> str:
    """Return the findings by row, those that are not good last, and a summary."""
    lines = [str(one) for one in sorted(found, key=_place)]
    bad = list(dict.fromkeys(one.row for one in sorted(found, key=_place) if not one.good))
    rows = dict.fromkeys(one.row for one in found)
    summary = f"{len(rows) - len(bad)} of {len(rows)} rows hold"
    return "\n".join([*lines, f"{summary}; not: {', '.join(bad)}" if bad else summary])


def told(found: Sequence[Finding]) -> Mapping[str, Any]:
    """Return the findings as data for programs."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for one in sorted(found, key=_place):
        rows.setdefault(one.row, []).append(
            {"host": one.host, "what": one.what, "good": one.good, "seen": one.seen}
        )
    return {
        "good": all(one.good for one in found),
        "rows": {
            row: {"good": all(one["good"] for one in seen), "seen": seen}
            for row, seen in rows.items()
        },
    }


def _place(finding: Finding) -> tuple[bool, str, int]:
    return not finding.good, finding.row[0], int(finding.row[1:])

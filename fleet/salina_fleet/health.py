"""The health of the fleet: what each host looks at, and how the results become one picture.

The checks themselves run on the hosts (_utils/salina/health/probes.py). `salt-run fleet.health` and
`bin/lab status` collect the results in different ways, and show them with the functions here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from salina.applied import record
from salina.health.probes import SHARED
from salina_fleet import logs, metrics, operators, pair
from salina_fleet import report as reports
from salina_fleet.certificates import certificates
from salina_fleet.fleet import Fleet
from salina_fleet.model import updates
from salina_fleet.model.clock import TimeSettings
from salina_fleet.model.drift import DriftSettings
from salina_fleet.model.tls import TlsSettings
from salina_fleet.model.topology import Host, Topology
from salina_fleet.role import ACME, OWN, Check, Role
from salina_fleet.roles import ROLES

MINION = "salt-minion"
RENEWAL_FAILS = "its renewal fails: systemctl status salina-certificates"
GIVE_ANOTHER = "give a newer one: salt-run certificates.own"
CLOCK = 2.0
"""Seconds by which a host's clock may differ from the master's."""
GOOD, BAD, NOTE = "✓", "✗", "!"


class Finding(NamedTuple):
    """The subject of a check, whether it is good, and further words.

    `notice`: an operator has something to do, although all is well.
    """

    what: str
    good: bool
    detail: str = ""
    notice: bool = False

    def __str__(self) -> str:
        text = f"{self.what}: {self.detail}" if self.detail else self.what
        return text if self.good or self.detail else f"no {text}"


@dataclass(frozen=True)
class Row:
    """A host, a tier or the service, with everything that was looked at."""

    name: str
    roles: str
    findings: tuple[Finding, ...]

    @property
    def good(self) -> bool:
        """Tell whether all is well."""
        return all(finding.good for finding in self.findings)


def checks(
    fleet: Fleet, host: Host, definitions: Mapping[str, Mapping[str, Any]]
) -> tuple[Check, ...]:
    """Return what a host looks at, each check once: that of every host, then that of its roles.

    Args:
        fleet: all hosts.
        host: the host.
        definitions: the name of a file in pillar/app -> its content.
    """
    least = fleet.settings[TlsSettings].least
    own = {
        one.name: GIVE_ANOTHER if one.source == OWN else RENEWAL_FAILS
        for one in certificates(fleet, host)
        if one.source != ACME
    }
    row = ROLES[host.roles[-1]].row if host.roles else Role.row
    applied = [*restarted(host), *logs.daemons(fleet, host, definitions)]
    applied += [pair.UNIT] if pair.of(fleet, host) else []
    wanted = [
        Check("system", row=row),
        Check("triggers", {"units": triggers(fleet, host)}, row),
        Check("firewall", row="S7"),
        Check("memory", row=row),
        Check("disk", row=row),
        Check("waiting", {"applied": applied, "host": host.id}, "X11"),
    ]
    drift = fleet.settings[DriftSettings]
    since = {"alarm_days": drift.alarm_days, "apply_days": drift.apply_days}
    records = {"folder": str(record.FOLDER), "predicts": drift.enabled}
    wanted.append(Check("applied", {**records, **since, "host": host.id}, "K1"))
    if fleet.settings[updates.UpdateSettings].enabled:
        settings = {"settings": updates.FILE, "alarm_days": drift.alarm_days}
        wanted.append(Check("updated", settings, "X11"))
    if fleet.settings[TimeSettings].managed:
        wanted.append(Check("timekeeping", row="X6"))
    if own:
        wanted.append(Check("certificates", {"names": own, "least": least}, "X6"))
    for role in ROLES.values():
        wanted += [one._replace(row=one.row or row) for one in role.checks_of_all(fleet, host)]
    for role in (ROLES[name] for name in host.roles):
        checks = role.checks(fleet, host, definitions)
        wanted += [one._replace(row=one.row or role.row) for one in checks]
    wanted += pair.checks(fleet, host)
    found: dict[str, Check] = {}
    for one in wanted:  # two roles may look at the same thing, each for another reason
        before = found.get(one.name, one)
        needs, decides = {**before.needs, **one.needs}, before.decides or one.decides
        alone = tuple(dict.fromkeys([*before.alone, *one.alone]))
        found[one.name] = before._replace(needs=needs, decides=decides, alone=alone)
    return tuple(found.values())


def triggers(fleet: Fleet, host: Host) -> list[str]:
    """Return the timers and sockets that a host must have: what they start never runs otherwise."""
    settings = fleet.settings
    found = ["salina-certificates.timer"] if certificates(fleet, host) else []
    found += ["salina-drift.timer"] if settings[DriftSettings].enabled else []
    found += updates.TRIGGERS if settings[updates.UpdateSettings].enabled else []
    found += [*reports.TRIGGERS, *metrics.TRIGGERS] if fleet.having(reports.ASKS) else []
    if fleet.having(operators.JUMP):
        found += [operators.RECORDER.format(name) for name in fleet.topology.operators]
    for role in host.roles:
        found += ROLES[role].triggers(fleet, host)
    return list(dict.fromkeys(found))


def restarted(host: Host) -> list[str]:
    """Return the services that an apply restarts when an update has replaced their files."""
    own = [daemon for role in host.roles for daemon in ROLES[role].daemons]
    return list(dict.fromkeys([*own, *metrics.DAEMONS, MINION, *updates.SYSTEM]))


def for_pillar(wanted: Iterable[Check]) -> list[dict[str, Any]]:
    """Return checks as a minion's pillar has them (`host.checks`)."""
    return [
        {"name": check.name, "probe": check.probe, "arguments": dict(check.arguments)}
        for check in wanted
    ]


def for_program(wanted: Iterable[Check]) -> list[tuple[str, dict[str, Any]]]:
    """Return checks as the program of salina.health.probes takes them."""
    return [(check.probe, dict(check.arguments)) for check in wanted]


def findings(report: Mapping[str, Any], asked: float, answered: float) -> list[Finding]:
    """Return what a host has found, and the difference between its clock and this host's.

    Args:
        report: the host's answer (`salina.health.probes.report`).
        asked: the time of the question, in seconds.
        answered: the time of the answer.
    """
    found = [Finding(*check) for check in report["checks"]]
    return [*found, clock(report["clock"], asked, answered)]


def clock(shown: float, asked: float, answered: float) -> Finding:
    """Compare a host's clock, which it read between two moments, with this host's.

    Args:
        shown: the host's time, in seconds.
        asked: this host's time at the question.
        answered: this host's time at the answer.
    """
    ahead, behind = shown - answered, asked - shown
    if max(ahead, behind) <= CLOCK:
        return Finding("clock", True)
    words = f"{ahead:.0f} s ahead of" if ahead > behind else f"{behind:.0f} s behind"
    return Finding("clock", False, f"{words} the master; set the time, see `timedatectl`")


def compared(
    topology: Topology,
    rows: Sequence[Row],
    again: Callable[[list[str]], Mapping[str, Iterable[Finding]]],
) -> list[Row]:
    """Return the hosts' rows after the two hosts of each pair were compared.

    Args:
        topology: the topology.
        rows: the rows.
        again: returns what hosts find now. It is called if two disagree, since the addresses may be
            on their way from one to the other.
    """
    said = _shared({row.name: row.findings for row in rows})
    found = pair.settled(topology, said, lambda hosts: _shared(again(hosts)))
    return [
        replace(row, findings=tuple(_judged(one, *found[row.name]) for one in row.findings))
        if row.name in found
        else row
        for row in rows
    ]


def _judged(finding: Finding, good: bool, words: str) -> Finding:
    return finding._replace(good=good, detail=words) if finding.what == SHARED else finding


def _shared(found: Mapping[str, Iterable[Finding]]) -> dict[str, str]:
    """Return where the hosts of pairs have found the shared addresses."""
    return {
        host: one.detail
        for host, own in found.items()
        for one in own
        if one.what == SHARED and one.good
    }


def tiers(hosts: Mapping[str, Sequence[str]], rows: Iterable[Row]) -> list[Row]:
    """Return a row for each role: how many of its hosts are well.

    Args:
        hosts: the role -> the ids of its hosts.
        rows: the hosts' rows.
    """
    well = {row.name for row in rows if row.good}
    return [
        Row(role, "tier", (Finding("hosts", set(ids) <= well, tally(ids, well)),))
        for role, ids in hosts.items()
        if ids
    ]


def tally(hosts: Sequence[str], well: set[str]) -> str:
    """Return how many of the hosts are well."""
    return f"{len(well.intersection(hosts))} of {len(hosts)} are well"


def membership(
    topology: Topology,
    members: Mapping[str, Sequence[str]],
    accepted: Collection[str],
    changing: Collection[str],
) -> Finding:
    """Judge the members of the pools by the keys that the master has accepted.

    A host gets its key before it becomes a member. So a member without a key means that the file of
    the members is wrong, even if it fits the topology.

    Args:
        topology: the topology.
        members: the members of each pool.
        accepted: the ids whose keys the master has accepted.
        changing: the hosts that an unfinished change works on.
    """
    ids = [host for pool in topology.pools.values() for host in pool.ids()]
    current = [host for pool in members.values() for host in pool]
    keyless = [host for host in current if host not in {*accepted, *changing}]
    others = [host for host in ids if host in accepted and host not in {*current, *changing}]
    if not keyless:
        return Finding("members", True, " ".join(current))
    words = f"the master has accepted no key of {', '.join(keyless)}"
    if others:
        words += f", and {', '.join(others)} has a key but is not a member"
    return Finding("members", False, f"{words}; correct the file of the members")


def data(hosts: Iterable[Row], roles: Iterable[Row], **others: Row) -> dict[str, Any]:
    """Return rows as data for programs.

    Args:
        hosts: the hosts' rows.
        roles: the tiers' rows.
        others: further rows by name.
    """
    hosts, roles = list(hosts), list(roles)
    return {
        "healthy": all(row.good for row in (*hosts, *roles, *others.values())),
        "hosts": {row.name: {"roles": row.roles, **_told(row)} for row in hosts},
        "tiers": {row.name: _told(row) for row in roles},
        **{name: _told(row) for name, row in others.items()},
    }


def _told(row: Row) -> dict[str, Any]:
    return {"healthy": row.good, "checks": [finding._asdict() for finding in row.findings]}


def text(rows: Sequence[Row]) -> str:
    """Return rows as lines: the sign, the name, the roles, and what was found.

    Faults are first, then notices.
    """
    names, roles = (max(len(part) for part in parts) for parts in _columns(rows))
    lines = []
    for row in rows:
        found = sorted(row.findings, key=lambda one: (one.good, not one.notice))
        words = ", ".join(f"{mark(one)}{one}" for one in found)
        sign = GOOD if row.good else BAD
        lines.append(f"{sign} {row.name:{names}}  {row.roles:{roles}}  {words}")
    return "\n".join(lines)


def mark(finding: Finding) -> str:
    """Return the mark before a finding that needs attention, with a space; "" for any other."""
    if not finding.good:
        return f"{BAD} "
    return f"{NOTE} " if finding.notice else ""


def _columns(rows: Sequence[Row]) -> tuple[list[str], list[str]]:
    return [row.name for row in rows], [row.roles for row in rows]

"""Verification of a running fleet: what its hosts show of the requirements.

The looks themselves run on the hosts (_utils/salina/verify). A role's file says which ones; those
of every host are here. The checks of a host's health are looks as well, so that the verification
finds every fault that `salt-run fleet.health` finds.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from salina.health.probes import SHARED
from salina_fleet import certificates, health, pair, pillar
from salina_fleet.model.clock import TimeSettings
from salina_fleet.model.firewall import FirewallSettings
from salina_fleet.model.ssh import SshSettings
from salina_fleet.model.topology import Host, Topology
from salina_fleet.model.updates import UpdateSettings
from salina_fleet.policy import STRICT
from salina_fleet.role import CA, Look, MasterData
from salina_fleet.roles import ROLES
from salina_fleet.schema import document

REQUIREMENTS = "docs/requirements.yaml"
"""The rows, and for some of them why a running fleet cannot answer."""
NO_PART = "No host of this fleet has a part in it."
WIDTH = 100
"""The most columns of a line of the table."""
MOST = 500
"""The most characters of a host's words."""
CLOCK = "clock"
"""The look whose answer is a time, which only the master can judge."""


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


class Row(NamedTuple):
    """A row of docs/requirements.yaml: what was seen, or else why a running fleet cannot answer.

    `test`: the test that proves a row which cannot be answered, "" if there is none.
    """

    name: str
    findings: Sequence[Finding] = ()
    why: str = ""
    test: str = ""

    @property
    def good(self) -> bool | None:
        """Tell whether the row holds; None if the fleet cannot answer."""
        return all(one.good for one in self.findings) if self.findings else None


def looks(data: MasterData, host: Host) -> list[Look]:
    """Return what a host can show of the requirements. A health check is a look as well."""
    found = [Look("X6", CLOCK), Look("K1", "tree", {"wanted": data.tree})]
    for check in health.checks(data.fleet, host, data.definitions):
        if check.probe != "timekeeping":  # the look `time` is the same, and stricter
            asked = {"name": check.probe, "arguments": dict(check.arguments)}
            found.append(Look(check.row, "probe", asked))
    return [*found, *_security(data, host), *_roles(data, host)]


def _roles(data: MasterData, host: Host) -> Iterator[Look]:
    for role in host.roles:
        yield from ROLES[role].evidence(data, host)


def _security(data: MasterData, host: Host) -> list[Look]:
    """Return what every host can show of the rows about security."""
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
    return found


def findings(host: str, wanted: Iterable[Look], answer: Any) -> list[Finding]:
    """Return what a host has answered; without an answer, every row that it was asked for is open.

    Args:
        host: the host.
        wanted: what it was asked for.
        answer: its answer, or the reason why there is none.
    """
    rows = dict.fromkeys(look.row for look in wanted)
    if not isinstance(answer, list):
        last = _printable(str(answer).strip().rpartition("\n")[2])  # of a traceback
        return [Finding(row, host, "the host", False, last) for row in rows]
    found = [
        Finding(
            one["row"], host, _printable(one["what"]), one["good"] is True, _printable(one["seen"])
        )
        for one in answer
        if one["row"] in rows
    ]
    shown = {one.row for one in found}
    silent = "it was asked, and showed nothing"
    missing = [Finding(row, host, "the host", False, silent) for row in rows if row not in shown]
    return found + missing


def timed(found: Iterable[Finding], asked: float, answered: float) -> list[Finding]:
    """Return findings after each host's clock was compared with the master's.

    Args:
        found: the findings; those of the look `clock` have the host's time, in seconds.
        asked: the master's time at the question.
        answered: its time at the answer.
    """
    return [
        _timed(one, asked, answered) if one.what == CLOCK and one.good else one for one in found
    ]


def _timed(finding: Finding, asked: float, answered: float) -> Finding:
    try:
        judged = health.clock(float(finding.seen), asked, answered)
    except ValueError:  # nothing from a host is trusted to be what it should be
        return finding._replace(good=False, seen="the host has sent no time")
    return finding._replace(good=judged.good, seen=judged.detail or "as the master's")


def agreeing(found: Sequence[Finding]) -> list[Finding]:
    """Return findings after the hosts' releases were compared: the same name is the same archive.

    Args:
        found: the findings; those of the look `checkout` have the digest of the archive.
    """
    seen: dict[str, set[str]] = {}
    for one in found:
        if one.what.startswith("release ") and one.good:
            seen.setdefault(one.what, set()).add(one.seen)
    return [
        one._replace(good=False, seen=f"{one.seen}, which differs between hosts")
        if one.good and len(seen.get(one.what, ())) > 1
        else one
        for one in found
    ]


def compared(
    topology: Topology,
    found: Sequence[Finding],
    again: Callable[[list[str]], Iterable[Finding]],
) -> list[Finding]:
    """Return findings after the two hosts of each pair were compared, as `fleet.health` does.

    Args:
        topology: the topology.
        found: the findings.
        again: returns what hosts say now of their shared addresses.
    """
    judged = pair.settled(topology, _shared(found), lambda hosts: _shared(again(hosts)))
    return [
        one._replace(good=judged[one.host][0], seen=judged[one.host][1])
        if one.what == SHARED and one.host in judged
        else one
        for one in found
    ]


def _shared(found: Iterable[Finding]) -> dict[str, str]:
    return {one.host: one.seen for one in found if one.what == SHARED and one.good}


def rows(found: Sequence[Finding], root: Path) -> list[Row]:
    """Return every row of docs/requirements.yaml, with what was seen or why nothing can be.

    Args:
        found: the findings.
        root: the repository.
    """
    groups = document.read(root / REQUIREMENTS).values()
    elsewhere = {name: one for group in groups for name, one in group.get("elsewhere", {}).items()}
    seen: dict[str, list[Finding]] = {name: [] for group in groups for name in group["rows"]}
    for one in found:
        seen.setdefault(one.row, []).append(one)  # a role's own row may be in no document
    return [
        Row(name, own) if own else Row(name, (), **elsewhere.get(name, {"why": NO_PART}))
        for name, own in seen.items()
    ]


def table(shown: Sequence[Row]) -> str:
    """Return rows as lines for people: the faults, what holds, what a fleet cannot show, a summary.

    A fault has a line for each group of hosts that show the same. A row that holds has a line for
    each group of hosts that show the same things.
    """
    bad = [row for row in shown if row.good is False]
    good = [row for row in shown if row.good]
    other = [row for row in shown if row.good is None]
    lines = [line for row in bad for line in _lines(row.name, _faults(row), health.BAD)]
    lines += [line for row in good for line in _lines(row.name, _grouped(row), health.GOOD)]
    for row in other:
        test = f" ({row.test})" if row.test else ""
        lines += _wrapped(f"- {row.name:<4} ", f"{row.why}{test}")
    summary = f"{len(good)} of {len(good) + len(bad)} rows hold, {len(other)} cannot be seen here"
    if bad:
        summary += f"; not: {', '.join(row.name for row in bad)}"
    return "\n".join([*lines, summary])


def _lines(name: str, groups: Mapping[str, Sequence[str]], sign: str) -> Iterator[str]:
    """Yield the lines of a row.

    Args:
        name: the row's name.
        groups: what was seen -> the hosts.
        sign: whether it holds.
    """
    for words, hosts in groups.items():
        yield from _wrapped(f"{sign} {name:<4} ", f"{' '.join(dict.fromkeys(hosts))}: {words}")


def _faults(row: Row) -> Mapping[str, list[str]]:
    """Return each fault of a row with the hosts that show it."""
    found: dict[str, list[str]] = {}
    for one in row.findings:
        if not one.good:
            found.setdefault(f"{one.what}: {one.seen}", []).append(one.host)
    return found


def _grouped(row: Row) -> Mapping[str, list[str]]:
    """Return what the hosts show of a row that holds; hosts that show the same are together."""
    hosts: dict[str, list[str]] = {}
    for one in row.findings:
        words = one.what if one.seen in ("", "good") else f"{one.what}: {one.seen}"
        hosts.setdefault(one.host, []).append(words)
    found: dict[str, list[str]] = {}
    for host, words_of in hosts.items():
        found.setdefault("; ".join(dict.fromkeys(words_of)), []).append(host)
    return found


def _wrapped(start: str, words: str) -> list[str]:
    return textwrap.wrap(
        words,
        WIDTH,
        initial_indent=start,
        subsequent_indent=" " * len(start),
        break_long_words=False,
        break_on_hyphens=False,
    )


def data(shown: Sequence[Row]) -> dict[str, Any]:
    """Return rows as data for programs. `good` of a row that a fleet cannot show is null."""
    return {
        "good": all(row.good is not False for row in shown),
        "rows": {row.name: _data(row) for row in shown},
    }


def _data(row: Row) -> dict[str, Any]:
    if row.good is None:
        return {"good": None, "why": row.why, "test": row.test or None}
    return {"good": row.good, "seen": [_plain(one) for one in row.findings]}


def _plain(finding: Finding) -> dict[str, Any]:
    """Return a finding without its row, which has it."""
    return {key: value for key, value in finding._asdict().items() if key != "row"}


def _printable(words: Any) -> str:
    """Return a host's words without control characters, and not too many of them."""
    return "".join(one if one.isprintable() else " " for one in str(words)[:MOST])


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
        rows.setdefault(one.row, []).append(_plain(one))
    return {
        "good": all(one.good for one in found),
        "rows": {
            row: {"good": all(one["good"] for one in seen), "seen": seen}
            for row, seen in rows.items()
        },
    }


def _place(finding: Finding) -> tuple[bool, str, int]:
    return not finding.good, finding.row[0], int(finding.row[1:])

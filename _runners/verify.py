"""Verify on the running fleet what docs/requirements.md promises. Nothing here changes anything."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from salina_fleet import guard, minions, runner
from salina_fleet import verify as verification
from salina_fleet.change import exclusive
from salina_fleet.errors import RunnerError
from salina_fleet.role import Look
from salina_fleet.site import Site
from salina_fleet.verify import Finding

__opts__: dict[str, Any]

ANSWER, GATHER = 15, 5
"""Seconds for the hosts' answers, and for the question whether a silent one still looks."""
TOGETHER = 50
"""Hosts that are asked by one job, because a job carries what each of them looks at."""
SECURITY = "X"
"""The beginning of the names of the rows about security."""


def service() -> Any:
    """Show which requirements hold now, and what was seen of each. This changes nothing.

    Every row of docs/requirements.md is there: it holds, it does not, or a running fleet cannot
    answer it. Then a line says why, and which test proves the row. All checks of `fleet.health` are
    among the looks.

    Returns:
        A table: first the rows that do not hold, at the end a summary. With `--out=json` (or
        another format) a mapping: `good`, and `rows`, each with `good` (null for a row that cannot
        be answered) and what was `seen`.

    Raises:
        RunnerError: a row does not hold; the message is the table. With `--out` the exit code alone
            says so.

    CLI Example:
        salt-run verify.service
        salt-run verify.service --out=json
    """
    site = runner.site(__opts__)
    found = [*_seen(site, lambda look: True), *_changes(site)]
    shown = verification.rows(verification.agreeing(found), site.root)
    return _answer(verification.data(shown), verification.table(shown))


def security() -> Any:
    """Show which rows about security hold now, and what was seen of each.

    The looks prove less than the attacks of `make proof`, which break things. They are for a fleet
    that people work with.

    Returns:
        A line for each thing that was seen, and a summary. With `--out=json` (or another format) a
        mapping: `good`, and `rows` with what was seen.

    Raises:
        RunnerError: a row does not hold; the message has the same lines. With `--out` the exit code
            alone says so.

    CLI Example:
        salt-run verify.security
        salt-run verify.security --out=json
    """
    site = runner.site(__opts__)
    found = _seen(site, lambda look: look.row.startswith(SECURITY))
    return _answer(verification.told(found), verification.text(found))


def _answer(told: Any, text: str) -> Any:
    """Return data or a text, as the operator wants it. A row that does not hold is an error."""
    if __opts__.get("output"):
        return {"data": {**told, "retcode": int(not told["good"])}, "outputter": "json"}
    if not told["good"]:
        raise RunnerError(text)
    return text


def _seen(site: Site, concerns: Callable[[Look], bool]) -> list[Finding]:
    """Ask every host for the looks that concern a question, and the master itself."""
    connected = minions.connected(__opts__, site.fleet)
    wanted = {
        host.id: [look for look in verification.looks(site.data, host) if concerns(look)]
        for host in site.fleet.hosts.values()
    }
    found = [_guarded(one.id) for one in site.fleet.having("master")]
    there = sorted(connected)
    for hosts in (there[at : at + TOGETHER] for at in range(0, len(there), TOGETHER)):
        asked = {host: [_told(look) for look in wanted[host]] for host in hosts}
        begun = time.time()
        answers = minions.answers(__opts__, hosts, "verify.look", [asked], ANSWER, GATHER)
        ended = time.time()
        for host in hosts:
            answer = answers.get(host, {}).get("ret", "it is connected but does not answer")
            own = verification.findings(host, wanted[host], answer)
            found += verification.timed(own, begun, ended)
    for host in sorted(set(wanted) - connected):
        found += verification.findings(host, wanted[host], "it is not connected to the master")

    def again(hosts: list[str]) -> list[Finding]:
        own = {
            host: [look for look in wanted[host] if look.arguments.get("name") == "shared"]
            for host in hosts
        }
        asked = {host: [_told(look) for look in looks] for host, looks in own.items()}
        said = minions.answers(__opts__, hosts, "verify.look", [asked], ANSWER, GATHER)
        return [
            one
            for host, answer in said.items()
            for one in verification.findings(host, own[host], answer["ret"])
        ]

    return verification.compared(site.fleet.topology, found, again)


def _told(look: Look) -> dict[str, Any]:
    return {"row": look.row, "look": look.look, "arguments": dict(look.arguments)}


def _guarded(host: str) -> Finding:
    """Ask the running master whether it refuses forged requests."""
    try:
        guard.ensure(__opts__)
    except RunnerError as error:
        return Finding("X4", host, "forged requests", False, str(error).splitlines()[0])
    return Finding("X4", host, "forged requests", True, "refused")


def _changes(site: Site) -> list[Finding]:
    """Look into the master's own records: the members, interrupted changes, and hosts behind."""
    members = runner.membership(__opts__, site)
    running = exclusive.holder(site.change_file)
    begun = [host for hosts in runner.unfinished(site).values() for host in hosts]
    behind = runner.behind(site)
    words = "every change has come to its end"
    if running:
        words = f"running: {running.get('what')}"
    elif begun or behind:
        faults = [f"interrupted at {', '.join(begun)}"] if begun else []
        faults += [f"behind: {', '.join(behind)}"] if behind else []
        words = f"{'; '.join(faults)}; see salt-run fleet.status"
    good = bool(running) or not (begun or behind)
    return [
        finding
        for one in site.fleet.having("master")
        for finding in (
            Finding("S10", one.id, members.what, members.good, members.detail),
            Finding("S10", one.id, "changes", good, words),
        )
    ]

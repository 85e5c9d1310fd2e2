"""Verify on the running fleet what docs/requirements.md promises. Nothing here changes anything."""

from __future__ import annotations

from typing import Any

from salina_fleet import guard, minions, runner
from salina_fleet import verify as verification
from salina_fleet.errors import RunnerError
from salina_fleet.role import Look
from salina_fleet.site import Site
from salina_fleet.verify import Finding

__opts__: dict[str, Any]

ANSWER, GATHER = 15, 5
"""Seconds for the hosts' answers, and for the question whether a silent one still looks."""
TOGETHER = 50
"""Hosts that are asked by one job, because a job carries what each of them looks at."""


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
    found = _seen(site)
    told = verification.told(found)
    if __opts__.get("output"):
        return {"data": {**told, "retcode": int(not told["good"])}, "outputter": "json"}
    text = verification.text(found)
    if not told["good"]:
        raise RunnerError(text)
    return text


def _seen(site: Site) -> list[Finding]:
    """Ask every host, and the master itself."""
    connected = minions.connected(__opts__, site.fleet)
    wanted = {host.id: verification.looks(site.data, host) for host in site.fleet.hosts.values()}
    found = [_guarded(one.id) for one in site.fleet.having("master")]
    there = sorted(connected)
    for hosts in (there[at : at + TOGETHER] for at in range(0, len(there), TOGETHER)):
        asked = {host: [_told(look) for look in wanted[host]] for host in hosts}
        answers = minions.answers(__opts__, hosts, "verify.look", [asked], ANSWER, GATHER)
        for host in hosts:
            answer = answers.get(host, {}).get("ret", "it is connected but does not answer")
            found += verification.findings(host, wanted[host], answer)
    for host in sorted(set(wanted) - connected):
        found += verification.findings(host, wanted[host], "it is not connected to the master")
    return found


def _told(look: Look) -> dict[str, Any]:
    return {"row": look.row, "look": look.look, "arguments": dict(look.arguments)}


def _guarded(host: str) -> Finding:
    """Ask the running master whether it refuses forged requests."""
    try:
        guard.ensure(__opts__)
    except RunnerError as error:
        return Finding("X4", host, "forged requests", False, str(error).splitlines()[0])
    return Finding("X4", host, "forged requests", True, "refused")

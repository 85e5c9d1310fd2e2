"""Nagios' commands for downtimes: hosts whose faults are expected give no alarms until an end."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence

from salina.monitoring.plugin import COMMANDS

STATUS = "/var/lib/nagios4/status.dat"
"""Nagios' view of everything."""
AUTHOR = "Salina"
CHANGE = "a change of the fleet, see salt-run fleet.watch"
"""The comment of the downtimes of an orchestration."""


def begin(hosts: Iterable[str], minutes: int, comment: str, now: float) -> list[str]:
    """Return the commands that keep hosts and all of their services silent for some time.

    Args:
        hosts: the hosts.
        minutes: how long at most. An alarm comes then, if the fault is still there.
        comment: why, in a few words.
        now: the time.
    """
    start, words = int(now), written(comment)
    rest = f"{start};{start + 60 * minutes};1;0;0;{AUTHOR};{words}"
    return [
        f"[{start}] SCHEDULE_{what}_DOWNTIME;{host};{rest}"
        for host in hosts
        for what in ("HOST", "HOST_SVC")
    ]


def end(comment: str, now: float) -> list[str]:
    """Return the command that ends all downtimes with a comment."""
    return [f"[{int(now)}] DEL_DOWNTIME_BY_START_TIME_COMMENT;;{written(comment)}"]


def end_hosts(hosts: Iterable[str], now: float) -> list[str]:
    """Return the commands that end all downtimes of hosts and of their services."""
    return [f"[{int(now)}] DEL_DOWNTIME_BY_HOST_NAME;{host}" for host in hosts]


def written(comment: str) -> str:
    """Return a comment without the characters that end it or the command."""
    return " ".join(comment.replace(";", ",").split())[:200]


def give(lines: Sequence[str]) -> None:
    """Give Nagios some commands.

    Raises:
        OSError: Nagios does not read its commands.
    """
    pipe = os.open(COMMANDS, os.O_WRONLY | os.O_NONBLOCK)
    try:
        for line in lines:
            os.write(pipe, f"{line}\n".encode(errors="replace"))
    finally:
        os.close(pipe)


def current(
    blocks: Iterable[tuple[str, Mapping[str, str]]], now: float
) -> Iterator[dict[str, str]]:
    """Yield the hosts that are silent now, with the seconds that are left, and why.

    Args:
        blocks: Nagios' view, as `salina.health.probes.blocks` returns it.
        now: the time.
    """
    for kind, block in blocks:
        left = float(block.get("end_time", 0)) - now
        if kind == "hostdowntime" and left > 0:
            yield {
                "host": block["host_name"],
                "minutes": f"{left / 60:.0f}",
                "why": block.get("comment", ""),
            }

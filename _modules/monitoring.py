"""Keep Nagios silent about hosts whose faults are expected, on the monitoring host."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from salt.exceptions import CommandExecutionError

from salina.health import probes
from salina.monitoring import quiet as silence


def quiet(hosts: Sequence[str], minutes: int, comment: str) -> bool:
    """Keep hosts and all of their services silent. The page shows their faults and the comment.

    Args:
        hosts: ids.
        minutes: how long at most. A fault that is there then gives its alarm.
        comment: why, in a few words.

    Returns:
        True.

    Raises:
        CommandExecutionError: Nagios does not run.

    CLI Example:
        salt nagios monitoring.quiet '[s1]' 30 'a reboot'
    """
    return _give(silence.begin(hosts, int(minutes), comment, time.time()))


def heard(hosts: Sequence[str] = (), comment: str = "") -> bool:
    """End the silence of hosts, or every one with a comment.

    Args:
        hosts: ids.
        comment: the comment that the silence was begun with.

    Returns:
        True.

    Raises:
        CommandExecutionError: Nagios does not run.

    CLI Example:
        salt nagios monitoring.heard '[s1]'
    """
    now = time.time()
    ends = silence.end(comment, now) if comment else []
    return _give([*silence.end_hosts(hosts, now), *ends])


def silent() -> list[dict[str, str]]:
    """Return the hosts that give no alarms now.

    Returns:
        For each one `host`, `minutes` (how many are left) and `why`.

    Raises:
        CommandExecutionError: Nagios does not run.

    CLI Example:
        salt nagios monitoring.silent
    """
    try:
        text = Path(silence.STATUS).read_text()
    except OSError as error:
        raise CommandExecutionError(f"{silence.STATUS}: {error.strerror}") from None
    return list(silence.current(probes.blocks(text), time.time()))


def _give(lines: Sequence[str]) -> bool:
    try:
        silence.give(lines)
    except OSError as error:
        raise CommandExecutionError(f"Nagios does not take commands: {error}") from None
    return True

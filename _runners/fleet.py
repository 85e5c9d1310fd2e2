"""The fleet as a whole: who is in it, and whether all of it answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import salt.client
from salt.exceptions import CommandExecutionError

import salina_runner
import salina_wait

__opts__: dict[str, Any]

RESTART = "salina-minion-restart"
"""The transient unit that restarts a minion after the run which changed its configuration."""


def members() -> dict[str, list[str]]:
    """The active members of each pool.

    CLI Example: salt-run fleet.members
    """
    return {pool: list(ids) for pool, ids in salina_runner.site(__opts__).fleet.members.items()}


def ready(hosts: Sequence[str] | None = None, timeout: int = 120) -> list[str]:
    """Wait until every planned host's minion answers, `timeout` seconds at most.

    One that is about to restart with its new configuration (salt/common/minion.sls) is waited
    for as well. `hosts`: ids (default: the whole fleet). Returns them. Raises
    CommandExecutionError with those that did not answer: Salt's own `batch` passes over a dead
    minion without a word.

    CLI Example: salt-run fleet.ready
    CLI Example: salt-run fleet.ready hosts='[s1, s2]' timeout=30
    """
    known = salina_runner.site(__opts__).fleet.hosts
    planned = list(known) if hosts is None else list(hosts)
    strangers = [host for host in planned if host not in known]
    if strangers:
        raise CommandExecutionError(f"no host of the fleet: {', '.join(strangers)}")
    silent = list(planned)
    # one that is away is asked again soon, rather than waited for
    client = salt.client.get_local_client(mopts={**__opts__, "gather_job_timeout": 5})

    def obstacle() -> str:
        asked = ("service.status", [RESTART])
        answers = client.cmd(silent, *asked, tgt_type="list", timeout=5) if silent else {}
        silent[:] = [host for host in silent if answers.get(host) is not False]
        return f"no answer from {', '.join(silent)}" if silent else ""

    try:
        salina_wait.clear(obstacle, timeout, "every planned minion")
    except TimeoutError as error:
        raise CommandExecutionError(str(error)) from None  # the message says it all
    return planned

"""A pool that grows and shrinks by itself, when pillar/settings/autoscale.yaml says so."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime
from typing import Any

from salt.exceptions import CommandExecutionError

from salina.common import file as salina_file
from salina_fleet import minions, runner
from salina_fleet.change import autoscale
from salina_fleet.change.autoscale import History, Sample
from salina_fleet.model.settings import AutoscaleSettings

__opts__: dict[str, Any]
__salt__: dict[str, Any]

HISTORY = "autoscale.json"


def evaluate() -> dict[str, Any]:
    """See how much the pool has to do, and have orch.scale change it where the rule asks for it.

    The master does so once a minute (master.d/50-autoscale.conf). Also a change by hand, or one
    that failed, is followed by the cooling time. What was begun and interrupted is then finished.

    Returns what was seen and what follows. Raises CommandExecutionError: a rule that does not fit
    the topology, a balancer that does not answer, or an orch.scale that failed.

    CLI Example: salt-run autoscale.evaluate
    """
    site = runner.site(__opts__)
    settings = site.fleet.settings[AutoscaleSettings]
    if not settings.enabled:
        return {"enabled": False}
    try:
        rule = autoscale.rule(settings, site.fleet.topology)
    except autoscale.RuleError as error:
        raise CommandExecutionError(str(error)) from None  # the message says it all
    status = __salt__["fleet.status"]()
    if status["lock"]:
        return {"waits for": status["lock"]}
    pool, members = status[rule.pool], site.fleet.members[rule.pool]
    now = time.time()
    file = site.state / HISTORY
    kept = autoscale.loads(file.read_text()) if file.exists() else History()
    ended = status["last change"]["ended"] if status["last change"] else None
    if ended:
        kept = replace(kept, changed=max(kept.changed, datetime.fromisoformat(ended).timestamp()))
    balancers = [one.id for one in site.fleet.having("balancer")]
    answers = minions.ask(__opts__, balancers, "balancer.servers")
    load = autoscale.load(answers.values(), members)
    history = autoscale.record(kept, Sample(now, load), rule)
    wanted = autoscale.decide(history, now, rule, len(members))
    interrupted = bool(pool["joining"] or pool["leaving"])
    cooled = not 0 <= now - history.changed < rule.cooling
    changes = wanted != len(members) or (interrupted and cooled)
    if changes:
        history = replace(
            history, changed=now
        )  # before, so that one that fails is not tried at once
    salina_file.put(file, autoscale.dumps(history))
    if changes:
        _scale(rule.pool, wanted)
    return {"load": load, "members": len(members), "wanted": wanted}


def _scale(pool: str, count: int) -> None:
    """Have orch.scale do it, in this process, whose end gives the lock back."""
    done = __salt__["state.orchestrate"]("orch.scale", pillar={"pool": pool, "count": count})
    if done["retcode"]:
        raise CommandExecutionError(f"orch.scale of {pool} to {count} failed: {done['data']}")

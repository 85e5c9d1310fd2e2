"""Let a pool grow and shrink with its load, if pillar/settings/autoscale.yaml enables it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from salina.common import file, reading
from salina.health.probes import AUTOSCALED
from salina_fleet import minions, runner
from salina_fleet.change import autoscale
from salina_fleet.change.autoscale import History, Sample
from salina_fleet.errors import RunnerError
from salina_fleet.fleet import Fleet
from salina_fleet.model.settings import AutoscaleSettings
from salina_fleet.roles import ROLES
from salina_fleet.site import Site

__opts__: dict[str, Any]
__salt__: dict[str, Callable[..., Any]]

HISTORY = "autoscale.json"


class ChangeError(RunnerError):
    """orch.scale has failed."""


def evaluate() -> dict[str, Any]:
    """Measure the pool's load, and run orch.scale if the rule asks for it.

    The master calls this once a minute (master.d/50-autoscale.conf). The cooling time follows every
    change, also one by hand and one that failed. After it, an interrupted change is finished.
    Failures in a row are a fault of the master's health.

    Returns:
        The `load`, and how many `members` the pool has and is `wanted` to have. Or that autoscaling
        is not `enabled`, or the running change that it `waits for`.

    Raises:
        RunnerError: the rule does not fit the topology, a balancer does not answer, or
            orch.scale failed.

    CLI Example:
        salt-run autoscale.evaluate
    """
    site = runner.site(__opts__)
    settings = site.fleet.settings[AutoscaleSettings]
    if not settings.enabled:
        return {"enabled": False}
    try:
        return _evaluated(site, settings)
    except Exception as error:  # whatever it is, only the master's log would have it
        what = "change" if isinstance(error, ChangeError) else "look"
        _note(autoscale.failure(_failures(), what, time.time(), error))
        raise


def _evaluated(site: Site, settings: AutoscaleSettings) -> dict[str, Any]:
    """Return what `evaluate` does."""
    try:
        rule = autoscale.rule(settings, site.fleet.topology)
    except autoscale.RuleError as error:
        raise RunnerError(str(error)) from None  # the message says it all
    status = __salt__["fleet.status"]()
    if status["running"]:
        return {"waits for": status["running"]}
    pool, members = status[rule.pool], site.fleet.members[rule.pool]
    now = time.time()
    past = site.state / HISTORY
    try:
        kept = autoscale.loads(reading.text(past))
    except FileNotFoundError:
        kept = History()
    except OSError as error:
        raise RunnerError(f"{past}: the file cannot be read: {error.strerror}") from None
    ended = status["last change"]["ended"] if status["last change"] else None
    if ended:
        kept = replace(kept, changed=max(kept.changed, datetime.fromisoformat(ended).timestamp()))
    answers = minions.ask(__opts__, _balancers(site.fleet), "balancer.servers")
    load = autoscale.load(answers.values(), members)
    history = autoscale.record(kept, Sample(now, load), rule)
    wanted = autoscale.decide(history, now, rule, len(members))
    interrupted = bool(pool["joining"] or pool["leaving"])
    cooled = not 0 <= now - history.changed < rule.cooling
    changes = wanted != len(members) or (interrupted and cooled)
    if changes:
        # recorded before the change, so that a failed one is not repeated at once
        history = replace(history, changed=now)
    file.put(past, autoscale.dumps(history))
    if changes:
        _scale(rule.pool, wanted)
    # a change that failed is tried again after the cooling time, and has not succeeded until then
    cooling = not (changes or cooled)
    _note({what: one for what, one in _failures().items() if what == "change" and cooling})
    return {"load": load, "members": len(members), "wanted": wanted}


def _failures() -> dict[str, Any]:
    """Return the record of the last failures in a row; {} if there are none."""
    try:
        return dict(json.loads(reading.text(Path(AUTOSCALED))))
    except (OSError, ValueError):
        return {}


def _note(failures: Mapping[str, Any]) -> None:
    """Write the record of the last failures in a row; without any there is no file."""
    if failures:
        file.put(AUTOSCALED, json.dumps(failures), 0o600)
    else:
        Path(AUTOSCALED).unlink(missing_ok=True)


def _balancers(fleet: Fleet) -> list[str]:
    """Return the balancers that answer, if the fleet can spare the others; otherwise all.

    One of two that is down has no requests.
    """
    found = [one.id for one in fleet.having("balancer")]
    spare = ROLES["balancer"].spare(fleet)
    silent = minions.silent(__opts__, found, 0) if spare else []
    return [one for one in found if one not in silent] if len(silent) <= spare else found


def _scale(pool: str, count: int) -> None:
    """Run orch.scale in this process. When the process ends, other changes may begin."""
    done = __salt__["state.orchestrate"]("orch.scale", pillar={"pool": pool, "count": count})
    if done["retcode"]:
        raise ChangeError(f"orch.scale of {pool} to {count} failed: {done['data']}")

"""Take this host's turn before something restarts, and end it when the host serves again.

The hosts of a tier take turns, which the master keeps (_runners/turn.py). On a host with a health
agent, a turn begins with a drain: the balancers send no new requests, and the current ones end. A
host of a pair gives the shared addresses to the other one (salt/pair/files/serves). The
file of the drain (`salina.application.agent`) also names the turn, so a killed apply leaves nothing
that the next one does not find. A turn that failed is recorded as well, for the apply that repairs
the host.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from salt.exceptions import CommandExecutionError

from salina.application import agent
from salina.common import file, master
from salina.common import wait as waiting

__salt__: dict[str, Any]
__pillar__: dict[str, Any]
__context__: dict[str, Any]

QUIET = 30.0
"""Seconds. A host that serves no requests for so long will not do so in a moment. During a
switchover of the database no host serves any, and without turns they would all restart then.
"""
RECENT = 15.0
"""Seconds. A balancer that has not asked for so long sends no requests to this host."""
FAILED = Path("/var/lib/salina-turn/failed.json")
"""The roles whose turns failed, and the balancers that sent no requests, until an apply succeeds.

The master keeps a failed turn without end, so this file must survive a reboot.
"""
RENEW = 20.0
"""Seconds between two renewals at the master."""


def serving() -> bool:
    """Return whether a balancer sends requests to this host, or still has some there.

    Returns:
        False on a host without a health agent.

    CLI Example:
        salt s1 turn.serving
    """
    return bool(_busy(_views()))


def held() -> list[str]:
    """Return the roles for which this host has a turn, or had one that was killed or failed.

    Returns:
        The roles; none without a turn.

    CLI Example:
        salt s1 turn.held
    """
    return sorted({*_drain().get("turns", {}), *_failed()["roles"]})


def needed(role: str) -> bool:
    """Return whether this host must take its turn before it restarts something.

    Args:
        role: one of the host's roles.

    Returns:
        False on a host of a balanced role that serves no requests, because nobody would notice.
        That is also a new host, which does not have its health agent yet.

    CLI Example:
        salt s1 turn.needed app
    """
    return _needed(role, _views(), _drain())


def take(role: str, what: str, wait: int = 900, drain: int = 60) -> str:
    """Take this host's turn among the hosts of a role, and drain the host if it serves requests.

    A host that serves no requests, and does not begin to within QUIET, needs no turn. A host that
    has its turn already renews it.

    Args:
        role: one of the host's roles.
        what: what will restart, in words for those who wait meanwhile.
        wait: seconds to wait for the turn.
        drain: seconds that the current requests have to end. Longer ones are cut off.

    Returns:
        What happened, in words.

    Raises:
        CommandExecutionError: the turn did not come in time, or another host failed in its turn.
            The message names that host.

    CLI Example:
        salt s1 turn.take app 'odoo restarts'
    """
    views, given = _views(), _drain()
    if not _needed(role, views, given) and not _serves_soon():
        return "it serves no requests, so it needs no turn"
    _clear(lambda: _obstacle(role, what), wait, f"the turn of this host ({what})")
    turns = {**given.get("turns", {}), role: what}
    balancers = given.get("balancers") or sorted(views)
    now = time.time()  # a killed apply may have left an older turn
    begun = given.get("begun", now) if agent.draining(agent.DRAIN, now) else now
    _record({**given, "turns": turns, "balancers": balancers, "begun": begun})

    def busy() -> str:
        renew()
        return "; ".join(filter(None, (_busy(_views()), _kept())))

    try:
        waiting.clear(busy, drain, "its requests to end")
    except TimeoutError as error:
        if any(one.serving for one in _views().values()):
            _release(turns, "")
            raise CommandExecutionError(str(error)) from None  # the message says it all
        return f"it has its turn, but {error}"
    return "it has its turn and no requests"


def renew() -> None:
    """Keep the turn of this host, if it has one. Call this while you wait for something in it.

    CLI Example:
        salt s1 turn.renew
    """
    given = _drain()
    if not given:
        return
    if time.time() - float(given["renewed"]) > RENEW:
        for role, what in given["turns"].items():
            _ask("turn.take", role, what)
        _record(given)
    else:
        os.utime(agent.DRAIN)


def fail(reason: str) -> None:
    """Let the next hosts get no turn when this one ends, although this host serves again.

    They would meet the same fault. The next apply of this host lets them have their turns.

    Args:
        reason: the fault.

    CLI Example:
        salt s1 turn.fail 'release c0ffee000000-0123abcd does not answer'
    """
    given = _drain()
    if given:
        _record({**given, "failure": reason})


def end(wait: int = 120) -> str:
    """End the drain, wait until the balancers send requests again, and end the turn.

    Args:
        wait: seconds to wait for the balancers.

    Returns:
        Why the host is not healthy, or "". With a reason the turn stays taken, because the next
        host would meet the same fault. The next call ends it, as soon as the balancers send
        requests to this host again.

    Raises:
        CommandExecutionError: the master does not answer.

    CLI Example:
        salt s1 turn.end
    """
    given, failed, begun = _drain(), _failed(), time.monotonic()
    turns, failure = given.get("turns", {}), str(given.get("failure", ""))
    roles = sorted({*turns, *failed["roles"]})
    known = {one["name"] for one in __pillar__.get("app", {}).get("balancers", [])}
    balancers = sorted(known & {*given.get("balancers", []), *failed["balancers"]})
    for role, what in turns.items():
        _ask("turn.take", role, what)  # from now on nothing renews it
    Path(agent.DRAIN).unlink(missing_ok=True)

    def away() -> str:
        told = agent.ask()
        seen = agent.views(told, min(RECENT, time.monotonic() - begun))
        serving = {name for name, one in seen.items() if one.serving}
        missing = [name for name in balancers if name not in serving]
        fault = "" if told["status"] == 200 else f", because of {told['reason']}"
        return f"{', '.join(missing)} sends it none yet{fault}" if missing else ""

    missed: list[str] = []
    try:
        if balancers:
            waiting.clear(away, wait, "requests from the balancers")
    except (OSError, ValueError) as error:
        failure, missed = str(error), balancers
    if not failure:
        _release(roles, "")
        FAILED.unlink(missing_ok=True)
        return ""
    try:
        FAILED.parent.mkdir(exist_ok=True)
        file.put(FAILED, json.dumps({"roles": roles, "balancers": missed}))
    finally:  # a full disk does not keep the master from learning the failure
        _release(roles, failure)
    return failure


def _needed(role: str, views: Mapping[str, agent.View], given: Mapping[str, Any]) -> bool:
    balanced = "health" in __pillar__.get(role, {})
    return not balanced or bool(given) or bool(_busy(views))


def _serves_soon() -> bool:
    """Wait until the balancers send requests to this host; return False if they do not in QUIET.

    The next restart of the same job does not wait again. A host that no balancer asks never waits.
    """
    if not _views() or __context__.get("turn.quiet"):
        return False
    serves = bool(waiting.until(lambda: _busy(_views()), QUIET))
    __context__["turn.quiet"] = not serves
    return serves


def _obstacle(role: str, what: str) -> str:
    """Return why this host cannot have its turn now.

    Raises:
        CommandExecutionError: it would wait in vain, because another host failed in its turn.
    """
    answer = master.ask(__salt__, "turn.take", role, what)
    refused = str(answer["obstacle"])
    if refused and answer.get("final"):
        raise CommandExecutionError(refused)
    alone = [name for name, one in _views().items() if one.serving and not one.others]
    if not refused and alone and __pillar__["app"]["others"]:
        _release([role], "")
        return f"{', '.join(alone)} sends requests to no other host now"
    return refused


def _busy(views: Mapping[str, agent.View]) -> str:
    """Return which balancers send requests to this host, or wait for answers."""
    return "; ".join(
        f"{name} still sends it requests" if one.serving else f"{name} waits for {one.sessions}"
        for name, one in views.items()
        if one.serving or one.sessions
    )


def _kept() -> str:
    """Return which shared addresses this host still has; the other one of its pair takes them."""
    held = __salt__["pair.held"]() if "pair" in __pillar__ else []
    return f"it still has {', '.join(held)}" if held else ""


def _release(roles: Iterable[str], failure: str) -> None:
    Path(agent.DRAIN).unlink(missing_ok=True)
    for role in roles:
        refused = _ask("turn.end", role, failure)
        if refused:
            raise CommandExecutionError(f"the turn for {role} did not end: {refused}")


def _record(given: dict[str, Any]) -> None:
    """Write the file of the drain, which the health agent and the next apply read."""
    Path(agent.DRAIN).parent.mkdir(exist_ok=True)
    file.put(agent.DRAIN, json.dumps({**given, "renewed": time.time()}))


def _ask(function: str, *arguments: str) -> str:
    """Return the master's obstacle, or "" when it agrees."""
    return str(master.ask(__salt__, function, *arguments)["obstacle"])


def _clear(obstacle: Callable[[], str], seconds: int, what: str) -> None:
    try:
        waiting.clear(obstacle, seconds, what, master.PAUSE)
    except TimeoutError as error:
        raise CommandExecutionError(str(error)) from None  # the message says it all


def _views() -> dict[str, agent.View]:
    """Return how the balancers see this host; nothing on a host without an agent."""
    try:
        return agent.views(agent.ask(), RECENT)
    except (OSError, ValueError):
        return {}  # without its agent, the balancers take the host for dead


def _failed() -> dict[str, list[str]]:
    """Return the `roles` whose turns failed, and the `balancers` for which the host waited in vain.

    The master accepts no end of a turn for a role that the host does not have any more.
    """
    try:
        found = dict(json.loads(FAILED.read_text()))
    except (OSError, ValueError):
        return {"roles": [], "balancers": []}
    own = __pillar__["host"]["roles"]
    return {"roles": [one for one in found["roles"] if one in own], "balancers": found["balancers"]}


def _drain() -> dict[str, Any]:
    """Return what the file of the drain says, or {} without one."""
    try:
        return dict(json.loads(Path(agent.DRAIN).read_text()))
    except (OSError, ValueError):
        return {}

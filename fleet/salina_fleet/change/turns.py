"""The turns of hosts that restart something: who has one, and who must wait.

The master keeps them, because every apply needs the master anyway, and a host that is being
repaired may lack everything else. A turn ends by itself when its holder does not renew it. A holder
that is not healthy afterwards keeps the others from the same fate: they are refused, with its name.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from salina.application.agent import LEASE
from salina.common import file, reading
from salina_fleet.errors import RunnerError

FILE = "turns.json"
"""The name of the file in the master's state directory."""
Turns = dict[str, list["Turn"]]
"""The turns of each tier."""


@dataclass(frozen=True)
class Turn:
    """A host's turn.

    `what` says in words what the host restarts. `begun` and `until` are seconds since 1970.
    `failure` is empty, or says why the host was not healthy at the end of its turn; then the turn
    does not end by itself.
    """

    host: str
    what: str
    begun: float
    until: float
    failure: str = ""


def current(turns: Iterable[Turn], hosts: Iterable[str], now: float) -> list[Turn]:
    """Return the turns that have not ended: neither by time, nor because the host is gone.

    Args:
        turns: a tier's turns.
        hosts: the hosts of the fleet.
        now: the time.
    """
    known = set(hosts)
    return [one for one in turns if one.host in known and (one.failure or one.until > now)]


def obstacle(turns: Iterable[Turn], host: str, places: int, now: float) -> str:
    """Return why a host cannot have a turn now, or "".

    Args:
        turns: the tier's current turns.
        host: the host that asks.
        places: how many hosts may have a turn at the same time.
        now: the time.
    """
    others = [one for one in turns if one.host != host]
    for one in others:
        if one.failure:
            return (
                f"{one.host} is not healthy after its own turn: {one.failure}\nnext: repair it, "
                f"then salt {one.host} state.apply   (or salt-run turn.clear {one.host})"
            )
    if len(others) < places:
        return ""
    return "; ".join(
        f"{one.host} has the turn, for {now - one.begun:.0f} s now: {one.what}" for one in others
    )


def failed(turns: Iterable[Turn], host: str) -> bool:
    """Tell whether another host was not healthy after its turn, so that waiting does not help."""
    return any(one.failure for one in turns if one.host != host)


def take(
    turns: list[Turn], host: str, what: str, places: int, now: float
) -> tuple[list[Turn], str]:
    """Give a host a turn, or renew the one that it has.

    Args:
        turns: the tier's current turns.
        host: the host that asks.
        what: what it restarts, in words.
        places: how many hosts may have a turn at the same time.
        now: the time.

    Returns:
        The tier's turns, and the obstacle, or "".
    """
    refused = obstacle(turns, host, places, now)
    if refused:
        return turns, refused
    own = next((one for one in turns if one.host == host), Turn(host, what, now, now))
    renewed = replace(own, what=what, until=now + LEASE, failure="")
    return [one for one in turns if one.host != host] + [renewed], ""


def end(turns: list[Turn], host: str, failure: str) -> list[Turn]:
    """End a host's turn.

    Args:
        turns: the tier's current turns.
        host: the host.
        failure: why it is not healthy, or "".
    """
    left = [one for one in turns if one.host != host]
    return left + [replace(one, failure=failure) for one in turns if failure and one.host == host]


def read(path: Path) -> Turns:
    """Return the turns in a file; a missing file has none.

    Raises:
        RunnerError: the file is damaged, or cannot be read.
    """
    try:
        return {
            tier: [Turn(**one) for one in turns]
            for tier, turns in json.loads(reading.read(path)).items()
        }
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise RunnerError(f"{path}: the file cannot be read: {error.strerror}") from None
    except (AttributeError, TypeError, ValueError, RecursionError) as error:
        advice = "delete it: then each host asks for its turn again"
        raise RunnerError(f"{path}: the file is damaged: {error}; {advice}") from None


@contextmanager
def changing(path: Path) -> Iterator[Turns]:
    """Let one process at a time change the turns in a file."""
    with file.locked(path.with_suffix(".lock")):
        turns = read(path)
        yield turns
        content = {tier: [asdict(one) for one in found] for tier, found in turns.items() if found}
        file.put(path, json.dumps(content))


def clear(path: Path, host: str) -> None:
    """End every turn of a host in a file.

    Args:
        path: the file.
        host: a host that will not end them itself.

    Raises:
        RunnerError: the file is damaged, or cannot be read.
    """
    with changing(path) as found:
        for tier in found:
            found[tier] = end(found[tier], host, "")

"""Hosts that are down while a pool changes: which of them a change may skip, and who catches up.

Each role says how many of its hosts may be down (`Role.spare`). A change skips these hosts and
records them as behind, in one file of the master's state directory. They catch up when they return
(_runners/join.py): the master applies their states. A host that has returned may also follow the
next change, but it stays recorded until that change is done, because it may fail before.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from salina.common import file, reading
from salina_fleet.fleet import Fleet
from salina_fleet.roles import ROLES
from salina_fleet.schema.document import DataError

BEHIND = "behind.json"
RETRY = 600
"""Seconds until a host whose states failed is tried again."""


class BehindError(DataError):
    """A damaged file of the hosts that are behind."""


@dataclass(frozen=True)
class Behind:
    """A host that a change skipped.

    `since` is the change's time. `tried` is the time at which the host's states failed with
    `error`, in seconds since the epoch. `follows` tells whether the last change that has begun
    applies all states to the host.
    """

    since: str
    tried: float = 0.0
    error: str = ""
    follows: bool = False


Behinds = dict[str, Behind]


def shortages(fleet: Fleet, roles: Collection[str], absent: Collection[str]) -> list[str]:
    """Return each role that cannot spare its absent hosts, as a sentence.

    Args:
        fleet: the fleet.
        roles: the roles because of which hosts follow the change.
        absent: the hosts that do not answer.
    """
    found = []
    for role in (role for role in ROLES if role in roles):
        hosts = [host.id for host in fleet.having(role)]
        away = [host for host in hosts if host in absent]
        spare = ROLES[role].spare(fleet)
        if len(away) > spare:
            most = f"at most {spare} of the {len(hosts)} hosts" if spare else "no host"
            found.append(
                f"{', '.join(away)}: no answer; {most} with role {role} may be down; "
                "start each host that is down"
            )
    return found


def skip(known: Mapping[str, Behind], following: Iterable[str], absent: Iterable[str]) -> Behinds:
    """Return the hosts that are behind when a change begins.

    Args:
        known: the hosts that were behind before.
        following: the hosts to which the change applies all states; they catch up with its end.
        absent: the hosts that the change skips.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    follow = {*following}
    kept = {host: replace(one, follows=host in follow) for host, one in known.items()}
    return {host: Behind(now) for host in absent} | kept


def missing(known: Mapping[str, Behind]) -> Behinds:
    """Return the hosts to which the change that has begun applies no states.

    When the change is done, only these are still behind.
    """
    return {host: one for host, one in known.items() if not one.follows}


def due(known: Mapping[str, Behind], now: float) -> list[str]:
    """Return the hosts whose states did not fail within the last RETRY seconds."""
    return [host for host, one in known.items() if not 0 <= now - one.tried < RETRY]


def load(path: Path, hosts: Collection[str]) -> Behinds:
    """Return the hosts that are behind; a missing file means none.

    Args:
        path: the file.
        hosts: the fleet's hosts; others have left it, and are left out.

    Raises:
        BehindError: the file is damaged, or cannot be read.
    """
    try:
        data = json.loads(reading.read(path))
        return {host: Behind(**one) for host, one in data.items() if host in hosts}
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise BehindError(str(path), [f"the file cannot be read: {error.strerror}"]) from error
    except (TypeError, AttributeError, ValueError, RecursionError) as error:
        fault = f"the file is damaged: {error}; delete it, and apply all states on every host"
        raise BehindError(str(path), [fault]) from error


def save(path: Path, behind: Mapping[str, Behind]) -> None:
    """Replace the file atomically."""
    file.put(path, json.dumps({host: asdict(one) for host, one in behind.items()}))

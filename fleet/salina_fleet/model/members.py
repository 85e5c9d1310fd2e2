"""The active members of the pools: the one part of the topology that changes while running.

The master keeps them in one JSON file outside the repository ({"app": ["s1", "s2"]}). A missing
file means the members that the topology begins with, and so does a pool that the file does not
have yet. One change of the fleet runs at a time (change/exclusive.py), so no two processes write
them. Each write is atomic: a reader sees the old file or the new one, never half of it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from salina.common import file, reading
from salina_fleet.model.topology import Topology
from salina_fleet.schema.document import DataError, join
from salina_fleet.schema.faults import invalid, repeated, unknown

FILE = "members.json"
UNFINISHED = "unfinished.json"
Members = dict[str, list[str]]


class MembersError(DataError):
    """A members file that is damaged or does not fit the topology."""


def load(path: str | Path, topology: Topology) -> Members:
    """Return the active members of each pool of `topology`, in the order of their numbers.

    A missing file, or pool, gives the topology's initial members. Raises MembersError for a file
    that is damaged, names hosts or pools the topology does not have, or leaves a pool below its
    minimum.
    """
    data = _read(path, topology.initial())
    _check(path, faults_of(data, topology))
    return _ordered(data, topology)


def unfinished(path: str | Path, topology: Topology) -> Members:
    """Return the hosts of each pool with which a change has begun and not finished.

    A missing file, or pool, means none. Raises MembersError as `load` does.
    """
    data = _read(path, {pool: [] for pool in topology.pools})
    _check(path, faults_of(data, topology, least=False))
    return _ordered(data, topology)


def save(path: str | Path, members: Mapping[str, Sequence[str]], topology: Topology) -> None:
    """Replace the members file atomically. Raises MembersError for members that do not fit."""
    _check(path, faults_of(members, topology))
    _write(Path(path), _ordered(members, topology))


def save_unfinished(
    path: str | Path, hosts: Mapping[str, Sequence[str]], topology: Topology
) -> None:
    """Replace the file of unfinished hosts atomically. Raises MembersError as `save` does."""
    _check(path, faults_of(hosts, topology, least=False))
    _write(Path(path), _ordered(hosts, topology))


def faults_of(data: object, topology: Topology, least: bool = True) -> list[str]:
    """Return why `data` are not members of `topology`: no line when they are.

    `least`: whether a pool must have the minimum of members.
    """
    if not isinstance(data, Mapping):
        return [invalid(data, "a mapping of pools")]
    faults = [
        f"{join('', name)}: {unknown(topology.pools, 'pool')}"
        for name in data
        if name not in topology.pools
    ]
    for pool in topology.pools.values():
        ids = data.get(pool.name)
        if not isinstance(ids, Sequence) or isinstance(ids, str):
            faults.append(f"{pool.name}: {invalid(ids, 'a list of ids')}")
            continue
        words = f"{pool.id_pattern} with n from 1 to {pool.maximum}"
        seen: set[str] = set()
        for place, host_id in enumerate(ids):
            if not isinstance(host_id, str) or pool.number(host_id) is None:
                faults.append(f"{pool.name}[{place}]: {invalid(host_id, words)}")
            elif host_id in seen:
                faults.append(f"{pool.name}[{place}]: {repeated(host_id)}")
            else:
                seen.add(host_id)
        if least and len(ids) < pool.minimum:
            listed = f"{len(ids)} members are listed"
            faults.append(f"{pool.name}: {listed}; there must be at least {pool.minimum}")
    return faults


def _ordered(members: Mapping[str, Sequence[str]], topology: Topology) -> Members:
    return {
        pool.name: sorted(members[pool.name], key=lambda member: pool.number(member) or 0)
        for pool in topology.pools.values()
    }


def _read(path: str | Path, missing: Members) -> Any:
    """Return the content of a file, with the `missing` members of pools that it does not have."""
    try:
        data = json.loads(reading.read(path), object_pairs_hook=_once)
        return missing | data if isinstance(data, dict) else data
    except FileNotFoundError:
        return missing
    except OSError as error:
        raise MembersError(str(path), [f"the file cannot be read: {error.strerror}"]) from error
    except (ValueError, RecursionError) as error:
        raise MembersError(str(path), [f"the file is damaged: {error}"]) from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a mapping of JSON: the reader itself would keep the last of two equal keys."""
    for name, count in Counter(name for name, _ in pairs).items():
        if count > 1:
            raise ValueError(f"{join('', name)} is given {count} times; remove all but one")
    return dict(pairs)


def _check(path: str | Path, faults: list[str]) -> None:
    if faults:
        raise MembersError(str(path), faults)


def _write(target: Path, members: Members) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    file.put(target, json.dumps(members, indent=2) + "\n")

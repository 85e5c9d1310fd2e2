"""The active members of the pools: the one part of the topology that changes while running.

The master keeps them in one JSON file outside the repository ({"app": ["s1", "s2"]}). A missing
file means the members that the topology begins with, and so does a pool that the file has not yet.
Writers hold a lock and replace the file atomically, so a reader sees the old members or the new
ones, never half of either.
"""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from salina_fleet.model.topology import Topology
from salina_fleet.schema.document import DataError, join, show

FILE = "members.json"
UNFINISHED = "unfinished.json"
Members = dict[str, list[str]]


class MembersError(DataError):
    """A members file that is damaged or does not fit the topology."""


def load(path: str | Path, topology: Topology) -> Members:
    """The active members of each pool of `topology`, in the order of their numbers.

    A missing file, or pool, gives the topology's initial members. Raises MembersError for a file
    that is damaged, names hosts or pools the topology does not have, or leaves a pool below its
    minimum.
    """
    data = _read(path, topology.initial())
    _check(path, faults_of(data, topology))
    return _ordered(data, topology)


def unfinished(path: str | Path, topology: Topology) -> Members:
    """The hosts of each pool that a change has begun with and not finished, as `save` keeps them.

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


@contextmanager
def locked(path: str | Path) -> Iterator[None]:
    """Hold the one lock for changing the members file: read, change and save inside it."""
    lock = Path(path).with_name(f".{Path(path).name}.lock")
    lock.parent.mkdir(parents=True, exist_ok=True)
    with open(lock, "w", encoding="ascii") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def faults_of(data: object, topology: Topology, least: bool = True) -> list[str]:
    """Why `data` are no members of `topology`; an empty list when they are.

    `least`: whether a pool must have the minimum of members.
    """
    if not isinstance(data, Mapping):
        return [f"{show(data)}, allowed is a mapping of pools"]
    pools = ", ".join(topology.pools) or "none: the topology has no pool"
    faults = [
        f"{join('', name)}: unknown, allowed is {pools}"
        for name in data
        if name not in topology.pools
    ]
    for pool in topology.pools.values():
        ids = data.get(pool.name)
        if not isinstance(ids, Sequence) or isinstance(ids, str):
            faults.append(f"{pool.name}: {show(ids)}, allowed is a list of ids")
            continue
        rule = f"{pool.id_pattern} with n from 1 to {pool.maximum}, once"
        for place, host_id in enumerate(ids):
            known = isinstance(host_id, str) and pool.number(host_id) is not None
            if not known or host_id in ids[:place]:
                again = " once more" if known else ""
                found = f"{pool.name}[{place}]: {show(host_id)}{again}"
                faults.append(f"{found}, allowed is {rule}")
        if least and len(ids) < pool.minimum:
            faults.append(f"{pool.name}: {len(ids)} members, allowed is {pool.minimum} and more")
    return faults


def _ordered(members: Mapping[str, Sequence[str]], topology: Topology) -> Members:
    return {
        pool.name: sorted(members[pool.name], key=lambda member: pool.number(member) or 0)
        for pool in topology.pools.values()
    }


def _read(path: str | Path, missing: Members) -> Any:
    """The content of a file, with what stands for the pools that it has not."""
    try:
        data = json.loads(Path(path).read_bytes(), object_pairs_hook=_once)
        return missing | data if isinstance(data, dict) else data
    except FileNotFoundError:
        return missing
    except OSError as error:
        raise MembersError(str(path), [f"cannot be read: {error.strerror}"]) from error
    except (ValueError, RecursionError) as error:
        raise MembersError(str(path), [f"is damaged: {error}"]) from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A mapping of JSON; of a key that is given twice the reader itself would take the last."""
    for name, count in Counter(name for name, _ in pairs).items():
        if count > 1:
            raise ValueError(f"{join('', name)} {count} times, allowed is once")
    return dict(pairs)


def _check(path: str | Path, faults: list[str]) -> None:
    if faults:
        raise MembersError(str(path), faults)


def _write(target: Path, members: Members) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "w", encoding="ascii") as stream:
            json.dump(members, stream, indent=2)
            stream.write("\n")
            stream.flush()
            os.fsync(stream.fileno())
            os.fchmod(stream.fileno(), 0o644)
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise

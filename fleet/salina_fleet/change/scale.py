"""A request to scale a pool, and the hosts that join and leave for it.

A host that a change has touched and not finished stays recorded as unfinished, beside the members.
So the same request after an interruption, or another one, continues where the change stopped.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from salina_fleet.model.topology import Pool, Topology
from salina_fleet.schema.document import DataError, join, show
from salina_fleet.schema.faults import choose, invalid, not_among, repeated, unknown

KEYS = ("pool", "count", "add", "remove")


class RequestError(DataError):
    """A request with faults; nothing was changed."""


@dataclass(frozen=True)
class Request:
    """A pool, and either its wanted number of members or the hosts to add and to remove."""

    pool: str
    count: int | None = None
    add: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()


@dataclass(frozen=True)
class Change:
    """The pool's members afterwards, the joining hosts and the leaving hosts.

    `again` are the joining hosts with which an earlier change has begun. Other hosts may have
    followed that change, and know them.
    """

    pool: str
    members: tuple[str, ...]
    joining: tuple[str, ...]
    leaving: tuple[str, ...]
    again: tuple[str, ...] = ()

    @property
    def touched(self) -> tuple[str, ...]:
        """The hosts that are unfinished until the change is done."""
        return self.joining + self.leaving


def parse(data: object, topology: Topology) -> Request:
    """Return the request of an orchestration's pillar: {"pool": "app", "count": 5}.

    Args:
        data: the pillar; it may have "add": ["s4"] and "remove": ["s2"] instead of the count.
        topology: the pools.

    Raises:
        RequestError: the request is invalid; it has every fault.
    """
    if not isinstance(data, Mapping):
        raise RequestError("request", [invalid(data, f"a mapping with {', '.join(KEYS)}")])
    faults = [f"{join('', key)}: {unknown(KEYS)}" for key in data if key not in KEYS]
    name = data.get("pool")
    pool = topology.pools.get(name) if isinstance(name, str) else None
    if pool is None:
        wrong = not_among(name, topology.pools, "a pool")
        absent = f"missing; {choose(topology.pools)}"
        faults.append(f"pool: {wrong if 'pool' in data else absent}")
    count, listed = data.get("count"), [key for key in ("add", "remove") if key in data]
    if ("count" in data) == bool(listed):
        faults.append("count: give either `count`, or `add` and/or `remove`")
    if "count" in data and pool and not _counts(count, pool):
        words = f"a number from {pool.minimum} to {pool.maximum}"
        faults.append(f"count: {invalid(count, words)}")
    for key in listed:
        faults += _id_faults(key, data[key], pool) if pool else []
    twice = set(_ids(data.get("add"))) & set(_ids(data.get("remove")))
    faults += [
        f"add: {show(one)} is in both add and remove; list it in only one of them"
        for one in sorted(twice)
    ]
    if faults or pool is None:
        raise RequestError("request", faults)
    return Request(pool.name, count, tuple(_ids(data.get("add"))), tuple(_ids(data.get("remove"))))


def in_words(request: Mapping[str, Any]) -> str:
    """Return a valid request in a few words: `app to 5 hosts`."""
    if "count" in request:
        return f"{request['pool']} to {request['count']} hosts"
    parts = [f"{key} {', '.join(request[key])}" for key in ("add", "remove") if key in request]
    return f"{request['pool']}: {' and '.join(parts)}"


def plan(
    request: Request,
    topology: Topology,
    members: Mapping[str, Sequence[str]],
    unfinished: Iterable[str] = (),
) -> Change:
    """Return the hosts that join and leave, so that the pool is as requested.

    A count adds the lowest free numbers and removes the highest.

    Args:
        request: the wanted members.
        topology: the pools.
        members: the current members of each pool.
        unfinished: the hosts that an earlier change has begun with.

    Raises:
        RequestError: a host to remove is not a member, the pool would be too small or too large, or
            members would leave and none would stay that serves.
    """
    pool = topology.pools[request.pool]
    now, begun = list(members[pool.name]), set(unfinished)
    if request.count is None:
        wanted = {*now, *request.add} - {*request.remove}
    elif request.count >= len(now):
        free = [one for one in pool.ids() if one not in now]
        wanted = {*now, *free[: request.count - len(now)]}
    else:
        wanted = set(now[: request.count])
    settled = set(now) - begun
    joining = wanted - settled
    leaving = {*now, *begun} - wanted
    faults = [
        f"remove: {not_among(one, now, 'a member')}"
        for one in request.remove
        if one not in now and one not in begun
    ]
    if not pool.minimum <= len(wanted) <= pool.maximum:
        faults.append(
            f"{pool.name}: the pool would have {len(wanted)} members; "
            f"the number must be from {pool.minimum} to {pool.maximum}"
        )
    if settled & leaving and wanted and not settled & wanted:
        faults.append(
            f"{pool.name}: this would remove every current member; "
            "add hosts first, and remove the old ones with a second command"
        )
    if faults:
        raise RequestError("request", faults)
    ordered = (_ordered(pool, hosts) for hosts in (wanted, joining, leaving, joining & begun))
    return Change(pool.name, *ordered)


def without(
    hosts: Collection[str], members: Mapping[str, Sequence[str]], topology: Topology
) -> dict[str, list[str]]:
    """Return the members of each pool without hosts that could not be created.

    A pool that would fall below its minimum keeps them as wanted members.

    Args:
        hosts: the hosts.
        members: the members of each pool.
        topology: the pools.
    """
    left = {}
    for pool in topology.pools.values():
        wanted = list(members[pool.name])
        rest = [host for host in wanted if host not in hosts]
        left[pool.name] = rest if len(rest) >= pool.minimum else wanted
    return left


def told(
    change: Change,
    neighbours: Sequence[str],
    balancers: Sequence[str],
    watchers: Sequence[str],
    skipped: Iterable[str] = (),
    closes: bool = False,
) -> dict[str, Any]:
    """Return a change as people read it and as salt/orch/change.jinja does it.

    It has the steps in their order, each with a name, and either the runner's function with its
    arguments or the hosts to apply. A leaving host has no requests any more before it stops, and a
    joining host gets none before it serves. A change that touches no host has no steps.

    Args:
        change: the joining and the leaving hosts.
        neighbours: the hosts whose rules name the pool's hosts.
        balancers: the balancers, which follow after the new hosts serve.
        watchers: the hosts with a list of all hosts, which follow last. A monitoring host would
            give an alarm for a host that does not serve yet.
        skipped: all of these hosts that are down, and catch up when they return.
        closes: whether no host of the application is left. The balancers then show the page of
            maintenance first: without a host that is not drained they would use a drained one.
    """
    joining, leaving = list(change.joining), list(change.leaving)
    steps: list[dict[str, Any]] = []

    def run(name: str, function: str, hosts: list[str], **more: Any) -> None:
        if hosts:
            steps.append({"name": name, "runner": function, "arguments": {"hosts": hosts, **more}})

    def apply(name: str, hosts: Sequence[str]) -> None:
        if hosts and change.touched:
            steps.append({"name": name, "hosts": list(hosts)})

    if change.touched:
        run("all who follow answer", "fleet.ready", [*neighbours, *balancers, *watchers])
    if closes:
        apply("balancers show the page of maintenance", balancers)
    run("drained", "change.drain", leaving)
    run("stopped", "change.retire", leaving)
    again = {"again": list(change.again)} if change.again else {}
    run("created", "change.create", joining, **again)
    # at the same time, as on a bare fleet: the new ones wait for what they need of the others
    apply("applied", [*neighbours, *joining])
    run("each serves", "fleet.probe", joining)
    if not closes:
        apply("balancers follow", balancers)
    run("each serves through the balancers", "fleet.probe", joining, through=True)
    apply("the rest follows", watchers)
    run("destroyed", "change.destroy", leaving)
    run("each minion has its configuration", "fleet.ready", joining)
    if steps:
        steps.append({"name": "done", "runner": "change.done", "arguments": {"pool": change.pool}})
    plain: dict[str, Any] = {"pool": change.pool, "members": list(change.members)}
    plain |= {"joining": joining, "leaving": leaving, "what": _what(change)}
    follow = {"neighbours": neighbours, "balancers": balancers, "watchers": watchers}
    lists = {name: [*hosts] for name, hosts in {**follow, "skipped": skipped}.items()}
    return plain | lists | {"steps": steps}


def _what(change: Change) -> str:
    """Return a change in a few words: `app: add s4 and remove s2`."""
    sides = {"add": change.joining, "remove": change.leaving}
    parts = [f"{word} {', '.join(hosts)}" for word, hosts in sides.items() if hosts]
    return f"{change.pool}: {' and '.join(parts) or 'nothing to change'}"


def _ordered(pool: Pool, ids: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(ids, key=lambda one: pool.number(one) or 0))


def _counts(value: object, pool: Pool) -> bool:
    plain = isinstance(value, int) and not isinstance(value, bool)
    return plain and pool.minimum <= int(str(value)) <= pool.maximum


def _ids(value: object) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def _id_faults(key: str, value: object, pool: Pool) -> list[str]:
    """Return the faults of a list of ids."""
    if not isinstance(value, list) or not value:
        return [f"{key}: {invalid(value, 'a list of ids')}"]
    rule = f"{pool.id_pattern} with n from 1 to {pool.maximum}"
    faults = [
        f"{key}: {invalid(one, rule)}"
        for one in value
        if not isinstance(one, str) or pool.number(one) is None
    ]
    if not faults:
        twice = {one for one in value if value.count(one) > 1}
        faults += [f"{key}: {repeated(one)}" for one in sorted(twice)]
    return faults

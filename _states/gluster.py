"""Keep this host's part of GlusterFS: brick, trusted pool, volume; and a client's mount.

All storage hosts may apply at the same moment. What one of them does for all is done by one only,
the others wait for it, with a bound. Nothing here stops a volume, takes a brick away or deletes
anything: such a difference is an error that says what an operator can do.
"""

from __future__ import annotations

from typing import Any

from salt.exceptions import CommandExecutionError

from salina.common import state
from salina.common import wait as salina_wait
from salina.storage import gluster
from salina.storage.gluster import Peer, Volume

__salt__: dict[str, Any]
__opts__: dict[str, Any]


@state.fails_plainly
def brick(name: str, volume: str) -> dict[str, Any]:
    """Ensure that this host's brick directory is empty or the volume's own, and not full.

    It changes nothing. To be required by the start of glusterd: a host whose directory holds
    something else then never offers itself to the pool.

    Args:
        name: ``nas1:/nas``.
        volume: the volume's name.

    CLI Example:
        See salt/gluster/server.sls.
    """
    fault = __salt__["gluster.brick_fault"](name, volume)
    return _result(name, not fault, {}, fault or f"it can be a brick of {volume}")


@state.fails_plainly
def peers(name: str, host: str, hosts: list[str], wait: int) -> dict[str, Any]:
    """Ensure that the trusted pool has these hosts and no others.

    A member that is down is no difference: what it lacks meanwhile it gets when it is back.

    Args:
        name: free text.
        host: this host's name.
        hosts: all hosts of the pool, in the same order on each; the first adds the others.
        wait: seconds to wait for the others.

    Fails:
        they did not come in time, or gluster refused one.

    CLI Example:
        See salt/gluster/server.sls.
    """
    if __opts__["test"] and not __salt__["gluster.installed"]():
        return _result(name, None, _joining(hosts, [host]), "the pool would be made")
    try:
        pool, plan = _pool_plan(host, hosts)
    except CommandExecutionError as error:
        if __opts__["test"]:
            return _result(name, None, {}, f"would be compared when GlusterFS runs: {error}")
        raise
    before = _members(pool)
    if plan.faults:
        return _result(name, False, {}, "\n".join(plan.faults))
    if not plan.probe and not plan.waits:
        away = ", ".join(peer["names"][0] for peer in pool if not peer["connected"])
        return _result(name, True, {}, f"as wanted; down: {away}" if away else "as wanted")
    if __opts__["test"]:
        return _result(name, None, _joining(hosts, before), "the pool would be completed")

    def obstacle() -> str:
        _, plan = _pool_plan(host, hosts)
        if plan.faults:
            raise CommandExecutionError("\n".join(plan.faults))
        silent = [peer for peer in plan.probe if not __salt__["gluster.listens"](peer)]
        for peer in sorted(set(plan.probe) - set(silent)):
            refused = _attempt("gluster.probe", peer)
            if refused:
                return refused
        waits = [*plan.waits, *(f"{peer} does not answer on port 24007" for peer in silent)]
        return "; ".join(waits) if waits or not plan.probe else "the peers were just added"

    salina_wait.clear(obstacle, wait, "the trusted pool")
    changes = _joining(_members(__salt__["gluster.pool"](host)), before)
    return _result(name, True, changes, "the pool was completed")


@state.fails_plainly
def volume(
    name: str,
    host: str,
    replica: int,
    bricks: list[str],
    options: dict[str, str],
    wait: int,
) -> dict[str, Any]:
    """Ensure that a volume is there with these bricks, is started, and has these options.

    The host of the first brick creates it. Options that are not named are left alone.

    Args:
        name: the volume's.
        host: this host's name.
        replica: how many copies of each file.
        bricks: ``nas1:/nas`` each; one is this host's.
        options: by name, as texts.
        wait: seconds to wait for the others.

    Fails:
        gluster refused, or it did not come about in time.

    CLI Example:
        See salt/gluster/server.sls.
    """
    wanted = Volume(status="Started", replica=replica, bricks=bricks, options=options)
    if __opts__["test"] and not __salt__["gluster.installed"]():
        changes = gluster.difference(None, wanted)
        return _result(name, None, changes, "the volume would be made")
    try:
        before, plan = _volume_plan(name, host, wanted)
    except CommandExecutionError as error:
        if __opts__["test"]:
            return _result(name, None, {}, f"would be compared when GlusterFS runs: {error}")
        raise
    if plan.faults:
        return _result(name, False, {}, "\n".join(plan.faults))
    changes = gluster.difference(before, wanted)
    if plan.revive:
        changes["brick"] = {"old": "its process is dead", "new": "running"}
    if not plan.steps and not plan.waits:
        return _result(name, True, {}, "as wanted")
    if __opts__["test"]:
        return _result(name, None, changes, "it would be changed")

    def obstacle() -> str:
        _, plan = _volume_plan(name, host, wanted)
        if plan.faults:
            raise CommandExecutionError("\n".join(plan.faults))
        for function, *arguments in plan.steps:
            refused = _attempt(f"gluster.{function}", *arguments)
            if refused:
                return refused
        return plan.waits or ", ".join(f"{step[0]} was just done" for step in plan.steps)

    salina_wait.clear(obstacle, wait, f"volume {name}")
    return _result(name, True, changes, "it is started, with its bricks and options")


@state.fails_plainly
def mounted(name: str, volume: str, servers: list[str], wait: int) -> dict[str, Any]:
    """Ensure that a volume is mounted here, by its line in /etc/fstab; wait until it can be.

    Core's ``mount.mounted`` would mount it anew whenever an option differs, and the options of
    GlusterFS are not seen in a mount: it would take the volume from running applications.

    Args:
        name: the directory; made if it is absent.
        volume: its name.
        servers: the storage hosts.
        wait: seconds to wait for them.

    Fails:
        it could not be mounted in time.

    CLI Example:
        See salt/gluster/mount.sls.
    """
    found = __salt__["gluster.mounted"](name)
    if found["source"] and not _is_volume(found, volume):
        comment = f"{found['source']} is mounted at {name}, not volume {volume}: unmount it first"
        return _result(name, False, {}, comment)
    if found["source"] and not found["fault"]:
        away = ", ".join(__salt__["gluster.unconnected"](name))
        comment = f"{found['source']} is mounted" + (f"; not connected to {away}" if away else "")
        return _result(name, True, {}, comment)
    if not found["source"] and __salt__["file.directory_exists"](name):
        hidden = sorted(set(__salt__["file.readdir"](name)) - {".", ".."})
        if hidden:
            comment = f"{name} has files of its own, which a mount would hide: {hidden[:3]}"
            return _result(name, False, {}, f"{comment}. Move them away, then apply again")
    changes = {name: {"old": found["fault"] or None, "new": volume}}
    if __opts__["test"]:
        return _result(name, None, changes, "it would be mounted")

    def obstacle() -> str:
        if not any(__salt__["gluster.listens"](server) for server in servers):
            return f"none of {', '.join(servers)} answers on port 24007"
        found = __salt__["gluster.mounted"](name)
        if found["source"] and not found["fault"]:
            return ""
        unit = __salt__["gluster.mount"](name)
        return f"see journalctl -u gluster-mountable -u {unit}"

    salina_wait.clear(obstacle, wait, f"volume {volume} to be mountable")
    return _result(name, True, changes, "it was mounted")


def _volume_plan(name: str, host: str, wanted: Volume) -> tuple[Volume | None, gluster.VolumePlan]:
    """The volume as it is, and what is to be done about it."""
    found = __salt__["gluster.volumes"]().get(name)
    own = next(brick for brick in wanted["bricks"] if gluster.brick_host(brick) == host)
    runs = bool(__salt__["gluster.brick_runs"](own))
    return found, gluster.plan_volume(name, host, wanted, found, runs)


def _is_volume(found: dict[str, str], volume: str) -> bool:
    """Whether what is mounted is the volume, whichever server it was asked of."""
    source = found["source"].partition(":")[2].strip("/")
    return found["type"] == "fuse.glusterfs" and source == volume


def _pool_plan(host: str, hosts: list[str]) -> tuple[list[Peer], gluster.PoolPlan]:
    """The pool as it is, and what is to be done. A host that is alone asks if others know it."""
    pool = __salt__["gluster.pool"](host)
    for peer in [peer for peer in hosts if peer != host] if len(pool) == 1 else []:
        fault = _forgotten(host, pool, peer)
        if fault:
            return pool, gluster.PoolPlan(faults=(fault,))
    volumes = __salt__["gluster.volumes"]()
    return pool, gluster.plan_pool(host, hosts, pool, volumes)


def _forgotten(host: str, pool: list[Peer], peer: str) -> str:
    if not __salt__["gluster.listens"](peer):
        return ""
    try:
        its, volumes = __salt__["gluster.pool"](peer, peer), __salt__["gluster.volumes"](peer)
    except CommandExecutionError as error:
        if gluster.transient(str(error)):
            return ""  # it is about to start or to stop; whoever waits asks again
        raise
    return gluster.forgotten(host, pool, peer, its, volumes)


def _members(pool: list[Peer]) -> list[str]:
    """The names of a pool's members."""
    return sorted(name for peer in pool for name in peer["names"])


def _joining(members: list[str], before: list[str]) -> dict[str, Any]:
    """A state's `changes` when hosts become members."""
    return {name: {"old": None, "new": "member"} for name in sorted(members) if name not in before}


def _attempt(function: str, *args: Any) -> str:
    """Call a function. Its refusal as a text if that passes by itself, "" if it was done."""
    try:
        __salt__[function](*args)
    except CommandExecutionError as error:
        if gluster.transient(str(error)):
            return str(error)
        raise
    return ""


def _result(name: str, result: bool | None, changes: Any, comment: str) -> dict[str, Any]:
    return {"name": name, "result": result, "changes": changes, "comment": comment}

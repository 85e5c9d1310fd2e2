"""Ensure this host's part of GlusterFS: brick, trusted pool, volume, and a client's mount.

All storage hosts may apply at the same moment. One host does what is needed once, and the others
wait for it, with a time limit. Nothing here stops a volume, removes a brick or deletes anything. If
that is necessary, the state fails and says what an operator can do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from salt.exceptions import CommandExecutionError

from salina.common import commands, prediction, state
from salina.common import wait as waiting
from salina.storage import gluster
from salina.storage.gluster import Peer, Volume

__salt__: dict[str, Any]
__opts__: dict[str, Any]

NONE = "the settings want no TLS"
T = TypeVar("T")


@state.fails_plainly
def brick(name: str, volume: str) -> dict[str, Any]:
    """Ensure that this host's brick directory is empty or belongs to the volume, and is not full.

    This changes nothing. Require it before the start of glusterd, so that a host whose directory
    holds something else never offers itself to the pool.

    Args:
        name: a brick of this host, such as nas1:/nas.
        volume: the volume's name.

    Returns:
        The state's result. It fails if the directory cannot be a brick of the volume.

    CLI Example:
        See salt/gluster/daemon.sls.
    """
    fault = __salt__["gluster.brick_fault"](name, volume)
    return state.result(name, not fault, fault or f"it can be a brick of {volume}")


@state.fails_plainly
def secured(name: str, hosts: list[str], wanted: bool, wait: int = 0) -> dict[str, Any]:
    """Ensure that the GlusterFS of this host uses TLS, unless its pool was formed without it.

    A process of GlusterFS with TLS cannot talk to one without it. So this state never moves a pool:
    it decides only about a host that is in none. It must do as the storage hosts do that run
    already, and the first one of them decides by the settings.

    Args:
        name: this host's name.
        hosts: all storage hosts.
        wanted: whether a new pool must use TLS.
        wait: seconds to wait until a storage host answers. 0 asks once, for a storage host, which
            may be the first one.

    Returns:
        The state's result. It fails if no storage host answers in time, or if the pool uses TLS and
        must not.

    CLI Example:
        See salt/gluster/tls.sls.
    """
    uses = bool(__salt__["gluster.tls"]())
    lasting = "the pool uses TLS, and nothing leads back; set `tls: true` in "
    lasting += "pillar/settings/storage.yaml"
    if __salt__["gluster.formed"]():
        if uses:
            return state.result(name, wanted, "it uses TLS" if wanted else lasting)
        return state.result(name, True, f"the pool was formed {gluster.PLAIN}" if wanted else NONE)
    others = [host for host in hosts if host != name]
    speak: list[bool] = []

    def obstacle() -> str:
        answers = (__salt__["gluster.speaks_tls"](host) for host in others)
        speak[:] = [answer for answer in answers if answer is not None]
        return "" if speak else f"none of {', '.join(others)} answers on port 24007"

    if wait and wanted and not uses and not __opts__["test"]:
        waiting.clear(obstacle, wait, "a storage host, which knows whether the pool uses TLS")
    else:
        obstacle()
    if speak and all(speak) and not wanted:
        return state.result(name, False, lasting)
    must = all(speak) and wanted
    comment = "it uses TLS" if must else f"the pool was formed {gluster.PLAIN}" if wanted else NONE
    if uses == must:
        return state.result(name, True, comment)
    changes = {"tls": {"old": uses, "new": must}}
    if __opts__["test"]:
        return state.result(name, None, f"it would {'' if must else 'not '}use TLS", changes)
    __salt__["gluster.secure"](must)
    if __salt__["service.status"]("glusterd"):  # without peers and volumes, so nobody uses it
        commands.systemctl(__salt__, "restart", "glusterd")
    return state.result(name, True, comment, changes)


@state.fails_plainly
def peers(name: str, host: str, hosts: list[str], wait: int) -> dict[str, Any]:
    """Ensure that the trusted pool has these hosts and no others.

    A member that is down is not a difference. It catches up when it returns.

    Args:
        name: free text.
        host: this host's name.
        hosts: all hosts of the pool, in the same order on each host. The first one adds the others.
        wait: seconds to wait for the others.

    Returns:
        The state's result. It fails if the others do not come in time, or if gluster refuses one.

    CLI Example:
        See salt/gluster/server.sls.
    """
    if __opts__["test"] and not __salt__["gluster.installed"]():
        return state.result(name, None, "the pool would be created", _joining(hosts, [host]))
    try:
        pool, plan = _answer(lambda: _pool_plan(host, hosts), wait, "the trusted pool")
    except CommandExecutionError as error:
        if __opts__["test"]:
            return state.result(name, None, f"it would be compared when GlusterFS runs: {error}")
        raise
    before = _members(pool)
    if plan.faults:
        return state.result(name, False, "\n".join(plan.faults))
    if not plan.probe and not plan.waits:
        away = ", ".join(peer["names"][0] for peer in pool if not peer["connected"])
        return state.result(
            name,
            True,
            f"the pool is complete; these members are down: {away}"
            if away
            else "the pool is complete",
        )
    if __opts__["test"]:
        return state.result(name, None, "the pool would be completed", _joining(hosts, before))

    def obstacle() -> str:
        _, plan = _pool_plan(host, hosts)
        if plan.faults:
            raise CommandExecutionError("\n".join(plan.faults))
        silent = [peer for peer in plan.probe if not __salt__["gluster.listens"](peer)]
        for peer in sorted(set(plan.probe) - set(silent)):
            __salt__["gluster.probe"](peer)
        waits = [*plan.waits, *(f"{peer} does not answer on port 24007" for peer in silent)]
        return "; ".join(waits) if waits or not plan.probe else "the peers were added just now"

    _clear(obstacle, wait, "the trusted pool")
    pool = _answer(lambda: __salt__["gluster.pool"](host), wait, "the trusted pool")
    changes = _joining(_members(pool), before)
    return state.result(name, True, "the pool was completed", changes)


@state.fails_plainly
def volume(
    name: str,
    host: str,
    replica: int,
    bricks: list[str],
    options: dict[str, str],
    wait: int,
    tls: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Ensure that a volume exists with these bricks, is started, and has these options.

    The host of the first brick creates it. Options that are not named stay as they are.

    Args:
        name: the volume's name.
        host: this host's name.
        replica: the number of copies of each file.
        bricks: bricks such as nas1:/nas; one of them is this host's.
        options: each option's name with its value, as texts.
        wait: seconds to wait for the others.
        tls: further options of a volume with TLS. A started volume without TLS does not get them,
            because that would interrupt its clients.

    Returns:
        The state's result. It fails if gluster refuses, or if the volume is not complete in time.

    CLI Example:
        See salt/gluster/server.sls.
    """
    wanted = Volume(status="Started", replica=replica, bricks=bricks, options=options)
    if __opts__["test"] and not __salt__["gluster.installed"]():
        changes = gluster.difference(None, wanted)
        return state.result(name, None, "the volume would be created", changes)
    try:
        found = _answer(__salt__["gluster.volumes"], wait, f"volume {name}").get(name)
        secured = bool(__salt__["gluster.tls"]())
        wanted["options"] = gluster.with_tls(options, tls or {}, found, secured)
        before, plan = _answer(lambda: _volume_plan(name, host, wanted), wait, f"volume {name}")
    except CommandExecutionError as error:
        if __opts__["test"]:
            return state.result(name, None, f"it would be compared when GlusterFS runs: {error}")
        raise
    if plan.faults:
        return state.result(name, False, "\n".join(plan.faults))
    changes = gluster.difference(before, wanted)
    if plan.revive:
        changes["brick"] = {"old": "its process is dead", "new": "running"}
    good = "the volume is started, with its bricks and options"
    if tls and gluster.TLS not in wanted["options"]:
        good = f"{good}, but {gluster.PLAIN}"
    if not plan.steps and not plan.waits:
        return state.result(name, True, good)
    if __opts__["test"]:
        return state.result(name, None, "the volume would be changed", changes)

    def obstacle() -> str:
        _, plan = _volume_plan(name, host, wanted)
        if plan.faults:
            raise CommandExecutionError("\n".join(plan.faults))
        for function, *arguments in plan.steps:
            __salt__[f"gluster.{function}"](*arguments)
        return plan.waits or ", ".join(f"{step[0]} was done just now" for step in plan.steps)

    _clear(obstacle, wait, f"volume {name}")
    return state.result(name, True, good, changes)


@state.fails_plainly
def current(
    name: str,
    volumes: list[str],
    hosts: list[str],
    files: list[str],
    wait: int,
    turn: str | None = None,
) -> dict[str, Any]:
    """Ensure that GlusterFS runs the program and has read the files that are on the disk.

    Its service and this host's bricks restart together, in the turn of this host. They restart only
    while all storage hosts and clients are connected and nothing has to be healed. The next host
    gets its turn when all of this is true again.

    Args:
        name: the service.
        volumes: the volumes' names.
        hosts: all storage hosts.
        files: the files that the service reads only at its start.
        wait: seconds to wait for the others, before the restart and after it.
        turn: the role whose hosts take turns for this.

    Returns:
        The state's result. It fails if the host gets no turn, or the others are not ready in time.

    CLI Example:
        See salt/gluster/server.sls.
    """
    old = [*prediction.unread(__salt__, name, files), *__salt__["daemon.replaced"](name)]
    if not old:
        return state.result(name, True, f"{name} has read its files and runs the right program")
    if __opts__["test"]:
        predicted = prediction.renewal(__salt__, prediction.RESTART, name, turn)
        when = ", in the turn of this host" if prediction.TURN in predicted else ""
        comment = f"{name} would restart{when}, because {', '.join(old)} changed"
        return state.result(name, None, comment, {**predicted, "read": old})

    def obstacle() -> str:
        __salt__["turn.renew"]()
        return str(__salt__["gluster.restart_obstacle"](volumes, hosts))

    if turn:
        __salt__["turn.take"](turn, f"{name} has to restart")
    waiting.clear(obstacle, wait, f"the storage hosts and clients, before {name} restarts")
    # Debian's unit allows six starts an hour, and then stays stopped.
    commands.run(__salt__["cmd.run_all"], ["systemctl", "reset-failed", name])
    commands.systemctl(__salt__, "restart", name)
    waiting.clear(obstacle, wait, f"the storage hosts and clients, after {name} has restarted")
    return state.result(name, True, f"{name} was restarted", {"restarted": old})


@state.fails_plainly
def mounted(name: str, volume: str, servers: list[str], wait: int) -> dict[str, Any]:
    """Ensure that a volume is mounted here, by its line in /etc/fstab. Wait until that is possible.

    A mount without `nosuid`, `nodev` and `noexec` gets these options at once, and its users notice
    nothing. Salt's own `mount.mounted` mounts again whenever an option differs, and a mount does
    not show the options of GlusterFS. So it would take the volume away from running applications.

    Args:
        name: the directory; systemd creates it.
        volume: the volume's name.
        servers: the storage hosts.
        wait: seconds to wait for them.

    Returns:
        The state's result. It fails if the volume cannot be mounted in time, or if the directory
        holds files or another mount.

    CLI Example:
        See salt/gluster/mount.sls.
    """
    found = __salt__["gluster.mounted"](name)
    if found["source"] and not _is_volume(found, volume):
        fault = f"{name}: {found['source']} is mounted here instead of volume {volume}"
        return state.result(name, False, f"{fault}; unmount it, then apply again")
    if found["source"] and not found["fault"]:
        return _restricted(name, found)
    if not found["source"] and __salt__["file.directory_exists"](name):
        hidden = sorted(set(__salt__["file.readdir"](name)) - {".", ".."})
        if hidden:
            comment = f"{name}: it holds files, which a mount would hide: {hidden[:3]}"
            return state.result(name, False, f"{comment}; move them away, then apply again")
    changes = {name: {"old": found["fault"] or None, "new": volume}}
    if __opts__["test"]:
        return state.result(name, None, "it would be mounted", changes)

    def obstacle() -> str:
        if not any(__salt__["gluster.listens"](server) for server in servers):
            return f"none of {', '.join(servers)} answers on port 24007"
        found = __salt__["gluster.mounted"](name)
        if found["source"] and not found["fault"]:
            return ""
        unit = __salt__["gluster.mount"](name)
        advice = f"see journalctl -u gluster-mountable -u {unit}"
        return f"{found['fault']}; {advice}" if found["fault"] else advice

    waiting.clear(obstacle, wait, f"volume {volume} to be mountable")
    return state.result(name, True, "it was mounted", changes)


def _restricted(name: str, found: dict[str, str]) -> dict[str, Any]:
    """Return a state's result for a mounted volume, after it has got its restrictions."""
    away = ", ".join(__salt__["gluster.unconnected"](name))
    comment = f"{found['source']} is mounted" + (f"; not connected to {away}" if away else "")
    loose = ",".join(gluster.loose(found["options"]))
    if not loose:
        return state.result(name, True, comment)
    changes = {name: {"old": found["options"], "new": f"{found['options']},{loose}"}}
    if __opts__["test"]:
        return state.result(name, None, f"{comment}; it would get {loose}", changes)
    __salt__["gluster.restrict"](name)
    return state.result(name, True, f"{comment}; it got {loose}", changes)


def _volume_plan(name: str, host: str, wanted: Volume) -> tuple[Volume | None, gluster.VolumePlan]:
    """Return the current volume, and a plan for its differences."""
    found = __salt__["gluster.volumes"]().get(name)
    own = next(brick for brick in wanted["bricks"] if gluster.brick_host(brick) == host)
    runs = bool(__salt__["gluster.brick_runs"](own))
    return found, gluster.plan_volume(name, host, wanted, found, runs)


def _is_volume(found: dict[str, str], volume: str) -> bool:
    """Return whether a mount is the volume, from whichever server."""
    source = found["source"].partition(":")[2].strip("/")
    return found["type"] == "fuse.glusterfs" and source == volume


def _pool_plan(host: str, hosts: list[str]) -> tuple[list[Peer], gluster.PoolPlan]:
    """Return the current pool, and a plan. A host that is alone asks whether the others know it."""
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
            return ""  # glusterd is starting or stopping; a state that waits asks again
        raise
    return gluster.forgotten(host, pool, peer, its, volumes)


def _members(pool: list[Peer]) -> list[str]:
    """Return the names of a pool's members."""
    return sorted(name for peer in pool for name in peer["names"])


def _joining(members: list[str], before: list[str]) -> dict[str, Any]:
    """Return a state's `changes` for hosts that become members."""
    return {name: {"old": None, "new": "member"} for name in sorted(members) if name not in before}


def _clear(obstacle: Callable[[], str], wait: int, waiting_for: str) -> None:
    """Wait until there is no obstacle. A refusal of gluster that passes by itself is one, too."""

    def patient() -> str:
        try:
            return obstacle()
        except CommandExecutionError as error:
            if gluster.transient(str(error)):
                return str(error)
            raise

    waiting.clear(patient, wait, waiting_for)


def _answer(question: Callable[[], T], wait: int, waiting_for: str) -> T:
    """Return the answer to a question. Unlike a prediction, an apply asks until gluster answers."""
    answers: list[T] = []

    def obstacle() -> str:
        answers.append(question())
        return ""

    if __opts__["test"]:
        return question()
    _clear(obstacle, wait, waiting_for)
    return answers[0]

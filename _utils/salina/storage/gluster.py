"""GlusterFS as data: the answers of `gluster --mode=script --xml`, and the necessary steps.

The functions are pure: ``_modules/gluster.py`` asks and acts, and ``_states/gluster.py`` decides by
the plans that are made here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict
from xml.etree import ElementTree

JOINED, REJECTED = (
    3,
    6,
)  # states of a peer (glusterd-sm.h); all others are on the way to one of them

FLAGS = ("nosuid", "nodev", "noexec")
"""Options of every mount: what one app host writes must give nobody rights on another host."""
TLS = "server.ssl"
"""The option that a volume has exactly if it was made for TLS, or moved to it."""
PLAIN = "without TLS; to move the fleet: salt-run state.orchestrate orch.storage_tls"
NO_REASON = "gluster gave no reason"

# Refusals that pass by themselves: another host's command holds the lock, or the hosts don't all
# know yet that a peer has joined. Without a reason: seen when three bare hosts began together.
TRANSIENT = (
    NO_REASON,
    "another transaction",
    "locking failed",
    "not in 'peer in cluster' state",
    "is not befriended",
    "connection failed. please check if gluster daemon is operational",
    "request timed out",  # a host that is busy, for instance with its own first apply
)


class GlusterError(Exception):
    """GlusterFS refused a command, or its answer was not XML."""


class Peer(TypedDict):
    """A member of the trusted pool as this host sees it; `names` are all of its names."""

    names: list[str]
    uuid: str
    state: int
    description: str
    connected: bool


class Volume(TypedDict):
    """A volume. `status` is Created, Started or Stopped; `options` are those that were set."""

    status: str
    replica: int
    bricks: list[str]
    options: dict[str, str]


@dataclass(frozen=True)
class PoolPlan:
    """The next steps for the trusted pool: of this host, of other hosts, of an operator."""

    probe: tuple[str, ...] = ()
    waits: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()


@dataclass(frozen=True)
class VolumePlan:
    """The next steps for a volume: of this host, of another host, of an operator.

    `steps` are functions of the module `gluster` with their arguments, in this order. `revive` says
    that one of them starts this host's dead brick.
    """

    steps: tuple[tuple[Any, ...], ...] = ()
    revive: bool = False
    waits: str = ""
    faults: tuple[str, ...] = ()


def answer(text: str) -> ElementTree.Element:
    """Return the root of gluster's answer.

    Raises:
        GlusterError: the answer is a refusal, or not XML.
    """
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError:
        raise GlusterError(text.strip() or "gluster printed nothing") from None
    if root.findtext("opRet") != "0":
        reason = root.findtext("opErrstr") or root.findtext("output") or NO_REASON
        raise GlusterError(reason.strip())
    return root


def transient(message: str) -> bool:
    """Tell whether a refusal passes by itself, so that the same command can be tried again."""
    return any(text in message.lower() for text in TRANSIENT)


def parse_pool(text: str, host: str) -> list[Peer]:
    """Return the members that `gluster pool list` names; `host` replaces localhost."""
    return [_peer(element, host) for element in answer(text).iter("peer")]


def _peer(element: ElementTree.Element, host: str) -> Peer:
    state = element.findtext("state")  # localhost has none
    names = {name.text or "" for name in element.iter("hostname")}
    return Peer(
        names=[host] if state is None else sorted(names),
        uuid=element.findtext("uuid", ""),
        state=JOINED if state is None else int(state),
        description=element.findtext("stateStr", "this host"),
        connected=element.findtext("connected") == "1",
    )


def parse_volumes(text: str) -> dict[str, Volume]:
    """Return the volumes that `gluster volume info` names."""
    return {
        volume.findtext("name", ""): Volume(
            status=volume.findtext("statusStr", ""),
            replica=int(volume.findtext("replicaCount", "1")),
            bricks=[brick.findtext("name", "") for brick in volume.iter("brick")],
            options={
                option.findtext("name", ""): option.findtext("value", "")
                for option in volume.iter("option")
            },
        )
        for volume in answer(text).iter("volume")
    }


def parse_heal(text: str) -> dict[str, int | None]:
    """Return the number of entries to heal for each brick (`gluster volume heal VOLUME info`).

    A brick that is not connected has None.
    """
    return {
        brick.findtext("name", ""): int(entries) if entries.isdigit() else None
        for brick in answer(text).iter("brick")
        for entries in [brick.findtext("numberOfEntries", "-")]
    }


def parse_clients(text: str) -> dict[str, set[str] | None]:
    """Return the addresses of each brick's clients (`gluster volume status VOLUME clients`).

    A brick whose process does not run has None.
    """
    return {
        f"{node.findtext('hostname')}:{node.findtext('path')}": {
            client.findtext("hostname", "").rpartition(":")[0] for client in node.iter("client")
        }
        if node.findtext("status") == "1"
        else None
        for node in answer(text).iter("node")
    }


def cut_off(bricks: Sequence[str], clients: Mapping[str, set[str] | None]) -> list[str]:
    """Return a sentence for each brick that does not run, and for each client without a brick.

    Every client of a volume has a connection to each of its bricks.

    Args:
        bricks: the bricks of the volume.
        clients: the addresses of each brick's clients. A brick that does not run has None, or is
            missing.
    """
    everyone = set().union(*(found for found in clients.values() if found))
    faults = []
    for brick in bricks:
        found = clients.get(brick)
        if found is None:
            faults.append(f"{brick} does not run")
        else:
            lonely = sorted(everyone - found)
            faults += [f"{client} has no connection to {brick}" for client in lonely]
    return faults


def brick_host(brick: str) -> str:
    """Return the host of a brick: nas1 for nas1:/nas."""
    return brick.partition(":")[0]


def plan_pool(
    host: str, wanted: Sequence[str], pool: Sequence[Peer], volumes: Mapping[str, Volume]
) -> PoolPlan:
    """Compare the trusted pool with the hosts that it must have.

    One host adds the others, so that they never found three pools at the same moment: the first of
    the wanted hosts, or in an existing pool the first of its members.

    Args:
        host: this host.
        wanted: all hosts of the pool, in the topology's order; the same on each of them.
        pool: the pool as this host sees it.
        volumes: the volumes that this host knows.
    """
    known = {name: peer for peer in pool for name in peer["names"]}
    missing = [name for name in wanted if name not in known]
    members = [name for name in wanted if name in known]
    adder = members[0] if len(members) > 1 else wanted[0]
    found = {name: known[name] for name in members}
    rejected = [name for name, peer in found.items() if peer["state"] == REJECTED]
    waits = [
        f"{name} is on its way into the pool ({peer['description']})"
        for name, peer in found.items()
        if peer["state"] not in (JOINED, REJECTED)
    ]
    if missing and adder != host:
        added = missing if len(members) > 1 else [host]
        waits += [
            f"{adder} has not added {name} (see the apply's result on {adder})" for name in added
        ]
    strangers = [peer for peer in pool if not set(peer["names"]) & set(wanted)]
    return PoolPlan(
        probe=tuple(missing) if adder == host else (),
        waits=tuple(waits),
        # a new host comes first: it may get the bricks of one that leaves
        faults=(() if missing else _departures(strangers, wanted, volumes))
        + _rejections(rejected, host, wanted, volumes),
    )


def _departures(
    strangers: Sequence[Peer], wanted: Sequence[str], volumes: Mapping[str, Volume]
) -> tuple[str, ...]:
    """Return for each member that must not be one how it leaves, with its bricks."""
    free = {
        name: [
            host for host in wanted if host not in [brick_host(brick) for brick in volume["bricks"]]
        ]
        for name, volume in volumes.items()
    }
    found = []
    for peer in strangers:
        steps = []
        for name, volume in volumes.items():
            copies = volume["replica"]
            for brick in volume["bricks"]:
                if brick_host(brick) not in peer["names"] or copies == 1:
                    continue
                if free[name]:
                    new = f"{free[name].pop(0)}:{brick.partition(':')[2]}"
                    steps.append(f"gluster volume replace-brick {name} {brick} {new} commit force")
                elif copies == len(volume["bricks"]):
                    fewer = f"replica {copies - 1} {brick} force"
                    steps.append(f"gluster volume remove-brick {name} {fewer}")
        away = "" if peer["connected"] else " force"
        steps.append(f"gluster peer detach {peer['names'][0]}{away}")
        found.append(
            f"{peer['names'][0]} is in the trusted pool, but not among the hosts with bricks. If "
            f"it must leave, run `{'; '.join(steps)}`. If it must stay, it must be one of the "
            "first storage hosts of the topology."
        )
    return tuple(found)


def _rejections(
    rejected: Sequence[str], host: str, wanted: Sequence[str], volumes: Mapping[str, Volume]
) -> tuple[str, ...]:
    """Return a message for each rejected peer; a peer that most others reject is itself wrong."""
    if len(rejected) > 1 and 2 * len(rejected) >= len(wanted):
        return (
            f"{host} and {', '.join(rejected)} reject each other. Run the apply on the other "
            "storage hosts; their error says what to do on this one.",
        )
    return tuple(rejection(peer, host, volumes) for peer in rejected)


def forgotten(
    host: str, pool: Sequence[Peer], peer: str, its: Sequence[Peer], volumes: Mapping[str, Volume]
) -> str:
    """Return the instructions when a peer knows this host as another one: it was rebuilt; or "".

    Args:
        host: this host, alone in its pool.
        pool: the pool as this host sees it.
        peer: another host.
        its: the pool as the peer sees it.
        volumes: the volumes that the peer knows.
    """
    own = {member["uuid"] for member in pool}
    known = [member["uuid"] for member in its if host in member["names"]]
    lost = [uuid for uuid in known if uuid.strip("0-") and uuid not in own]
    return rejection(host, peer, volumes) if lost else ""


def rejection(peer: str, host: str, volumes: Mapping[str, Volume]) -> str:
    """Return the instructions for a peer that the pool rejects; each command was tried."""
    leave, enter, check = [], [], []
    for name, volume in volumes.items():
        copies = volume["replica"]
        for brick in volume["bricks"]:
            if brick_host(brick) == peer and copies > 1:
                check.append(f"gluster volume heal {name} info    # the others: connected")
                leave.append(
                    f"gluster volume remove-brick {name} replica {copies - 1} {brick} force"
                )
                add = f"gluster volume add-brick {name} replica {copies} {brick} force"
                enter.append(f"until {add}; do sleep 1; done    # the pool takes a moment")
    rebuilt = [*check, *leave, f"gluster peer detach {peer}", f"gluster peer probe {peer}", *enter]
    differs = [
        "systemctl stop glusterd",
        "find /var/lib/glusterd -mindepth 1 ! -name glusterd.info -delete",
        "systemctl start glusterd",
        f"gluster peer probe {host}",
        "systemctl restart glusterd",
    ]
    return "\n  ".join(
        [
            f"{peer} is rejected by the trusted pool.",
            f"If it was rebuilt, with an empty brick, on {host}:",
            *(f"  {command}" for command in rebuilt),
            f"If its brick is whole, and only its configuration differs, on {peer}:",
            *(f"  {command}" for command in differs),
        ]
    )


def plan_volume(
    name: str, host: str, wanted: Volume, found: Volume | None, brick_runs: bool
) -> VolumePlan:
    """Compare a volume with its wanted condition.

    The host of the first brick creates the volume, sets its options, and starts it, so no host ever
    sees a started volume without its options. Any host restores the options of a started volume.

    Args:
        name: the name of the volume.
        host: this host.
        wanted: the volume of the topology and the settings.
        found: the current volume, or None when there is none.
        brick_runs: whether this host's brick process runs.
    """
    creator = brick_host(wanted["bricks"][0])
    if found is None:
        if host != creator:
            return VolumePlan(waits=f"{creator} has not created it")
        return VolumePlan(
            (
                ("create", name, wanted["replica"], wanted["bricks"]),
                ("set_options", name, wanted["options"]),
                ("start", name),
            )
        )
    faults = volume_faults(name, wanted, found)
    if faults:
        return VolumePlan(faults=tuple(faults))
    created = found["status"] == "Created"
    if created and host != creator:
        return VolumePlan(waits=f"{creator} has not started it")
    steps: list[tuple[Any, ...]] = []
    have = found["options"]
    options = {key: value for key, value in wanted["options"].items() if have.get(key) != value}
    if options:
        steps.append(("set_options", name, options))
    if created:
        steps.append(("start", name))
    elif not brick_runs:
        steps.append(("start", name, True))
    return VolumePlan(tuple(steps), revive=not created and not brick_runs)


def with_tls(
    options: Mapping[str, str], tls: Mapping[str, str], found: Volume | None, secured: bool
) -> dict[str, str]:
    """Return the options that a volume must have now.

    A started volume without TLS keeps its options: its bricks and clients would heed the new ones
    one by one, and those on different sides could not talk to each other.

    Args:
        options: the options of every volume.
        tls: the options of a volume with TLS; empty if the settings want none.
        found: the current volume, or None when there is none.
        secured: whether the GlusterFS of this host uses TLS.
    """
    new = found is None or found["status"] == "Created"
    uses = secured and (new or (found is not None and TLS in found["options"]))
    return {**options, **(tls if uses else {})}


def volume_faults(name: str, wanted: Volume, found: Volume) -> list[str]:
    """Return the differences that no command repairs without risk, with instructions."""
    faults = []
    if found["status"] not in ("Created", "Started"):
        faults.append(
            f"volume {name} is {found['status'].lower()}; Salt does not start a stopped volume. To "
            f"start it, run `gluster volume start {name}`; clients reconnect by themselves."
        )
    copies = found["replica"]
    foreign = [brick for brick in found["bricks"] if brick not in wanted["bricks"]]
    lacking = [brick for brick in wanted["bricks"] if brick not in found["bricks"]]
    if foreign:
        faults.append(
            f"volume {name} has a brick that is not in the topology: {', '.join(foreign)}. "
            f"If it must leave, run `{_exchange(name, found, wanted, foreign, lacking)}`. "
            "If it must stay, its host must be one of the first storage hosts of the topology."
        )
    elif lacking:
        faults.append(
            f"volume {name} does not have a brick of the topology: {', '.join(lacking)}. "
            f"If that brick is empty, run `{_exchange(name, found, wanted, foreign, lacking)}`."
        )
    sets = [_sets(one["bricks"], copies) for one in (found, wanted)]
    if not faults and copies == wanted["replica"] and sets[0] != sets[1]:
        order = ", ".join(brick_host(brick) for brick in found["bricks"])
        faults.append(
            f"volume {name} has its copies on other sets of hosts than the topology, and users' "
            f"files are copied from each set. List the storage hosts in this order: {order}"
        )
    if not faults and copies != wanted["replica"]:
        faults.append(
            f"volume {name} keeps {copies} {'copy' if copies == 1 else 'copies'} of each file, "
            f"not {wanted['replica']}; to change this, create a new volume and move the files"
        )
    return faults


def _sets(bricks: Sequence[str], copies: int) -> list[frozenset[str]]:
    """Return the sets of bricks that have the same files."""
    return [frozenset(bricks[first : first + copies]) for first in range(0, len(bricks), copies)]


def _exchange(
    name: str, found: Volume, wanted: Volume, foreign: Sequence[str], lacking: Sequence[str]
) -> str:
    """Return the command that removes foreign bricks from a volume, or adds missing ones."""
    copies, more = found["replica"], len(lacking) - len(foreign)
    if lacking and not foreign and copies == wanted["replica"] and more % copies == 0:
        add = f"gluster volume add-brick {name} {' '.join(lacking)} force"
        return f"{add}; gluster volume rebalance {name} start"
    if copies == 1 or (foreign and lacking and more):
        return "gluster volume help"  # files are spread over the bricks: no single command
    if more and copies != len(found["bricks"]):
        return "gluster volume help"
    if not more:
        return "; ".join(
            f"gluster volume replace-brick {name} {old} {new} commit force"
            for old, new in zip(foreign, lacking, strict=True)
        )
    operation = "add-brick" if more > 0 else "remove-brick"
    bricks = " ".join([*foreign, *lacking])
    return f"gluster volume {operation} {name} replica {copies + more} {bricks} force"


def difference(before: Volume | None, wanted: Volume) -> dict[str, Any]:
    """Return a state's `changes` between a volume and its wanted condition."""
    old = before or Volume(status="absent", replica=0, bricks=[], options={})
    changes: dict[str, Any] = {}
    if old["status"] != wanted["status"]:
        changes["status"] = {"old": old["status"], "new": wanted["status"]}
    if set(old["bricks"]) != set(wanted["bricks"]):
        changes["bricks"] = {"old": old["bricks"], "new": wanted["bricks"]}
    for key, value in wanted["options"].items():
        if old["options"].get(key) != value:
            changes[key] = {"old": old["options"].get(key), "new": value}
    return changes


def brick_fault(
    path: str, brick: str, volume: str, entries: Sequence[str], mark: str, own: str
) -> str:
    """Say why a directory can't be (or go on being) this host's brick, or "" when it can.

    GlusterFS's own protection is off: `force` is needed for a brick on the root file system and for
    one that is a mount point, and it would also take a directory with data in it.

    Args:
        path: the directory.
        brick: the same with its host: nas1:/nas.
        volume: the volume's name.
        entries: what is in it.
        mark: the volume id written on the directory, "" if none.
        own: the id of the volume that this host knows by that name, "" if none.
    """
    content = sorted(set(entries) - {"lost+found"})
    if own and mark == own:
        return ""
    if own and not mark:
        return (
            f"{path} has lost the mark of volume {volume}. Is its file system mounted? If its "
            f"disk was replaced, run `gluster volume reset-brick {volume} {brick} start`, then "
            f"`gluster volume reset-brick {volume} {brick} {brick} commit force`"
        )
    if not content:
        return ""
    shown = ", ".join(content[:3]) + (", …" if len(content) > 3 else "")
    what = f"is the brick of another volume (id {mark})" if mark else "holds files of its own"
    return (
        f"{path} {what}: {shown}. The brick of {volume} must be empty: "
        "move the content away (or delete it), then apply again"
    )


def space_fault(path: str, free: int, total: int) -> str:
    """Return that a brick's file system is full, or "" when it is not.

    GlusterFS reserves the last percent for itself (its option storage.reserve). Below that the
    brick takes no writes and its copy falls behind; with a second full brick every write fails.

    Args:
        path: the directory of the brick.
        free: the free bytes.
        total: all bytes.
    """
    if free * 100 >= total:
        return ""
    return (
        f"the file system of {path} is full: {free >> 20} MiB of {total >> 20} MiB are left, and "
        "below one percent this brick stops accepting writes. "
        "Enlarge the file system, or delete files on an app host"
    )


def parse_volume_id(text: str) -> str:
    """Return the volume's id in glusterd's own record (/var/lib/glusterd/vols/VOLUME/info)."""
    for line in text.splitlines():
        key, _, value = line.partition("=")
        if key == "volume-id":
            return value.replace("-", "")
    return ""


def mounted(mounts: str, path: str) -> tuple[str, str, str]:
    """Return the source, type and options of the last mount at a path in /proc/mounts, or ""."""
    found = ("", "", "")
    for line in mounts.splitlines():
        source, target, kind, options = line.split()[:4]
        if target == path:
            found = (source, kind, options)
    return found


def loose(options: str) -> list[str]:
    """Return which of `FLAGS` a mount does not have.

    Args:
        options: the mount's options in /proc/mounts.
    """
    return [flag for flag in FLAGS if flag not in options.split(",")]


def mount_options(servers: Sequence[str], family: str) -> list[str]:
    """Return the options with which a client mounts a volume, for /etc/fstab.

    Args:
        servers: the storage hosts. The mount's source names the first. The client may ask each of
            the others for the volume's layout; its data goes to all bricks anyway.
        family: ``inet`` or ``inet6``.
    """
    backups = [f"backup-volfile-servers={':'.join(servers[1:])}"] if servers[1:] else []
    family_options = ["xlator-option=transport.address-family=inet6"] if family == "inet6" else []
    return [*FLAGS, *backups, *family_options]

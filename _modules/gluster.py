"""GlusterFS on this host: its pool, its volumes, their bricks, what is to be healed; its client.

It asks with `gluster --mode=script --xml`; `salina.storage.gluster` reads the answers.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import salt.utils.path
from salt.exceptions import CommandExecutionError

from salina.common import command as salina_command
from salina.storage import gluster
from salina.storage.gluster import GlusterError, Peer, Volume

__salt__: dict[str, Any]
__opts__: dict[str, Any]

PORT = 24007  # glusterd's own
VOLUMES = Path("/var/lib/glusterd/vols")
MARK = "trusted.glusterfs.volume-id"  # the attribute of a brick's directory
META = ".meta/graphs/active"  # in a mount: what its client knows of itself (translator "meta")
BRICK = ("remote-host", "remote-subvolume")


def installed() -> bool:
    """Say whether there is a GlusterFS server to ask.

    CLI example::

        salt nas1 gluster.installed
    """
    return salt.utils.path.which("gluster") is not None


def pool(host: str, server: str = "localhost") -> list[Peer]:
    """List the members of the trusted pool as a host sees them.

    A member that is lost stays connected here for ten seconds and more: judge by ``heal_info``.

    Args:
        host: the name of that host, which calls itself localhost.
        server: whom to ask.

    Raises:
        CommandExecutionError: gluster failed.

    CLI example::

        salt nas1 gluster.pool nas1
    """
    return gluster.parse_pool(_gluster("pool", "list", server=server), host)


def volumes(server: str = "localhost") -> dict[str, Volume]:
    """Return the volumes by name: ``status``, ``replica``, ``bricks`` and the ``options`` set.

    Args:
        server: whom to ask.

    Raises:
        CommandExecutionError: gluster failed.

    CLI example::

        salt nas1 gluster.volumes
    """
    return gluster.parse_volumes(_gluster("volume", "info", server=server))


def heal_info(volume: str) -> dict[str, int | None]:
    """Return per brick how many entries are to be healed; None for a brick that isn't connected.

    Args:
        volume: its name.

    Raises:
        CommandExecutionError: gluster failed; the volume is not started.

    CLI example::

        salt nas1 gluster.heal_info nas
    """
    return gluster.parse_heal(_gluster("volume", "heal", volume, "info"))


def faults(volume: str) -> list[str]:
    """Say what is wrong with a volume now; nothing when every brick is there and whole.

    That a brick is full is known on its own host alone.

    Args:
        volume: its name.

    Raises:
        CommandExecutionError: gluster failed.

    CLI example::

        salt nas1 gluster.faults nas
        salt 'nas*' gluster.faults nas
    """
    found = volumes().get(volume)
    if found is None or found["status"] != "Started":
        return [f"volume {volume} is {found['status'].lower() if found else 'absent'}"]
    own = [
        Path(brick.partition(":")[2])
        for brick in found["bricks"]
        if gluster.brick_host(brick) == __opts__["id"]
    ]
    copies = heal_info(volume) if found["replica"] > 1 else {}
    return [fault for fault in map(_space_fault, own) if fault] + [
        f"{brick} has {entries} entries to heal" if entries else f"{brick} is not connected"
        for brick, entries in copies.items()
        if entries != 0
    ]


def probe(peer: str) -> None:
    """Add a host to the trusted pool. One that is in it already is left alone.

    Raises:
        CommandExecutionError: gluster refused, for instance because it is in another pool.

    CLI example::

        salt nas1 gluster.probe nas2
    """
    _gluster("peer", "probe", peer)


def create(volume: str, replica: int, bricks: list[str]) -> None:
    """Create a volume; it is not started by this.

    `force`, because a brick is either on the root file system or a mount point of its own, and
    GlusterFS objects to both. ``gluster.brick_fault`` on each host is what protects data.

    Args:
        volume: its name.
        replica: how many copies of each file; 1: no replication.
        bricks: ``nas1:/nas`` each.

    Raises:
        CommandExecutionError: gluster refused.

    CLI example::

        salt nas1 gluster.create nas 3 '["nas1:/nas", "nas2:/nas", "nas3:/nas"]'
    """
    copies = ["replica", str(replica)] if replica > 1 else []
    _gluster("volume", "create", volume, *copies, *bricks, "force")


def set_options(volume: str, options: dict[str, str]) -> None:
    """Set options of a volume, all in one transaction.

    Raises:
        CommandExecutionError: gluster refused; the message names the option.

    CLI example::

        salt nas1 gluster.set_options nas '{"network.ping-timeout": "5"}'
    """
    _gluster("volume", "set", volume, *(word for pair in options.items() for word in pair))


def start(volume: str, force: bool = False) -> None:
    """Start a volume; with `force` those bricks of a started one that don't run.

    Raises:
        CommandExecutionError: gluster refused.

    CLI example::

        salt nas1 gluster.start nas
        salt nas1 gluster.start nas force=True
    """
    _gluster("volume", "start", volume, *(["force"] if force else []))


def listens(peer: str) -> bool:
    """Say whether a host's glusterd can be reached.

    CLI example::

        salt nas1 gluster.listens nas2
    """
    try:
        socket.create_connection((peer, PORT), timeout=2).close()
    except OSError:
        return False
    return True


def brick_fault(brick: str, volume: str) -> str:
    """Say why this host's brick directory can't be used, or "" when it can. Needs no GlusterFS.

    Args:
        brick: ``nas1:/nas``.
        volume: the volume's name.

    CLI example::

        salt nas1 gluster.brick_fault nas1:/nas nas
    """
    path = Path(brick.partition(":")[2])
    entries = os.listdir(path) if path.is_dir() else []
    try:
        mark = os.getxattr(path, MARK).hex()
    except OSError:  # no such directory, or no such attribute
        mark = ""
    record = VOLUMES / volume / "info"
    listed = VOLUMES / volume / "bricks" / brick.replace("/", "-")  # glusterd's name: nas1:-nas
    # A brick that the volume has no longer bears its mark: for the state of the volume to judge.
    known = listed.is_file() or (mark and record.is_file())
    own = gluster.parse_volume_id(record.read_text()) if known else ""
    fault = gluster.brick_fault(str(path), brick, volume, entries, mark, own)
    return fault or _space_fault(path)


def _space_fault(path: Path) -> str:
    """Say that the file system of a brick's directory is full, or "" when it isn't."""
    if not path.is_dir():
        return ""
    space = os.statvfs(path)
    free, total = space.f_bavail * space.f_frsize, space.f_blocks * space.f_frsize
    return gluster.space_fault(str(path), free, total)


def brick_runs(brick: str) -> bool:
    """Say whether this host's process for a brick runs. Takes no lock, as `volume status` does.

    Args:
        brick: ``nas1:/nas``.

    CLI example::

        salt nas1 gluster.brick_runs nas1:/nas
    """
    wanted = f"\0--brick-name\0{brick.partition(':')[2]}\0".encode()
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if wanted in process.read_bytes():
                return True
        except OSError:  # it has just ended
            continue
    return False


def mounted(path: str) -> dict[str, str]:
    """Return ``source`` and ``type`` of what is mounted at a path, and the ``fault`` of it.

    Args:
        path: ``/mnt/nas``.

    Returns:
        Empty texts where nothing is mounted.

    CLI example::

        salt s1 gluster.mounted /mnt/nas
    """
    source, kind = gluster.mounted(Path("/proc/mounts").read_text(), path)
    fault = ""
    if source:
        try:
            os.stat(path)
        except OSError as error:  # the client's process died: ENOTCONN
            fault = str(error)
    return {"source": source, "type": kind, "fault": fault}


def unconnected(path: str) -> list[str]:
    """List the bricks of a mounted volume to which this host's client has no connection now.

    It goes on with the others; what it writes meanwhile is not on these until they are healed. A
    brick that comes back is connected again within some seconds.

    Args:
        path: ``/mnt/nas``.

    Raises:
        CommandExecutionError: no volume is mounted there, or its client doesn't tell.

    CLI example::

        salt 's*' gluster.unconnected /mnt/nas
    """
    if mounted(path)["type"] != "fuse.glusterfs":
        raise CommandExecutionError(f"no volume is mounted at {path}")
    clients = Path(path, META).glob("*-client-*")
    found = {
        ":".join(client.joinpath("options", name).read_text().strip() for name in BRICK): client
        for client in clients
    }
    if not found:
        raise CommandExecutionError(f"the client of {path} tells of no brick in {META}")
    return sorted(
        brick
        for brick, client in found.items()
        if not gluster.connected(client.joinpath("private").read_text())
    )


def mount(path: str) -> str:
    """Have systemd mount a volume by its line in /etc/fstab, as a boot does; it takes a moment.

    So the volume's client is in a unit of its own, and doesn't end with the Salt minion. A mount
    whose client died is taken away before.

    Args:
        path: ``/mnt/nas``.

    Returns:
        The unit, in whose journal is why it doesn't succeed.

    Raises:
        CommandExecutionError: systemd refused.

    CLI example::

        salt s1 gluster.mount /mnt/nas
    """
    if mounted(path)["fault"]:
        _run("umount", "--lazy", path)
    unit = _run("systemd-escape", "--path", "--suffix=mount", path)
    _run("systemctl", "daemon-reload")  # reads /etc/fstab
    _run("systemctl", "start", "--no-block", unit)
    return unit


def _gluster(*words: str, server: str = "localhost") -> str:
    """Gluster's answer to a command, when it didn't refuse it."""
    remote = [] if server == "localhost" else [f"--remote-host={server}"]
    if not installed():
        raise CommandExecutionError("GlusterFS is not installed on this host")
    command = ["gluster", "--mode=script", "--xml", *remote, *words]
    result = __salt__["cmd.run_all"](command, python_shell=False, output_loglevel="debug")
    try:
        gluster.answer(result["stdout"])
    except GlusterError as error:
        message = f"`{' '.join(['gluster', *remote, *words])}`: {error} {result['stderr']}".rstrip()
        raise CommandExecutionError(message) from None
    return str(result["stdout"])


def _run(*words: str) -> str:
    return salina_command.run(__salt__["cmd.run_all"], words)

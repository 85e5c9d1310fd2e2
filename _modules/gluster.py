"""Manage GlusterFS on this host: its pool, volumes, bricks, heals and mounts.

The functions call `gluster --mode=script --xml`; `salina.storage.gluster` reads its answers.
"""

from __future__ import annotations

import os
import socket
import ssl
from pathlib import Path
from typing import Any

import salt.utils.path
from salt.exceptions import CommandExecutionError

from salina.common import commands
from salina.common import wait as waiting
from salina.health import probes
from salina.storage import gluster
from salina.storage.gluster import GlusterError, Peer, Volume

__salt__: dict[str, Any]
__opts__: dict[str, Any]

PORT = 24007  # glusterd's own
DIRECTORY = Path("/var/lib/glusterd")
SECURE = DIRECTORY / "secure-access"  # with this file, every process of GlusterFS uses TLS
FORMED = ("peers", "vols")  # in DIRECTORY: what glusterd knows of its pool
VOLUMES = DIRECTORY / "vols"
MARK = "trusted.glusterfs.volume-id"  # the attribute of a brick's directory
AGAIN = "gluster-mount-again"  # salt/gluster


def installed() -> bool:
    """Return whether this host has a GlusterFS server.

    Returns:
        Whether the program `gluster` exists.

    CLI Example:
        salt nas1 gluster.installed
    """
    return salt.utils.path.which("gluster") is not None


def pool(host: str, server: str = "localhost") -> list[Peer]:
    """Return the members of the trusted pool, as a host sees them.

    A lost member stays connected here for ten seconds and longer. Use `gluster.heal_info` to find
    out whether a brick answers.

    Args:
        host: the name of the host that is asked; it calls itself localhost.
        server: the host to ask.

    Returns:
        The members.

    Raises:
        CommandExecutionError: gluster failed.

    CLI Example:
        salt nas1 gluster.pool nas1
    """
    return gluster.parse_pool(_gluster("pool", "list", server=server), host)


def volumes(server: str = "localhost") -> dict[str, Volume]:
    """Return the volumes.

    Args:
        server: the host to ask.

    Returns:
        Each volume's name with its `status`, `replica`, `bricks` and changed `options`.

    Raises:
        CommandExecutionError: gluster failed.

    CLI Example:
        salt nas1 gluster.volumes
    """
    return gluster.parse_volumes(_gluster("volume", "info", server=server))


def heal_info(volume: str) -> dict[str, int | None]:
    """Return how many entries of each brick need healing.

    Args:
        volume: its name.

    Returns:
        Each brick with the number of entries, or None if the brick is not connected.

    Raises:
        CommandExecutionError: gluster failed, for instance because the volume is not started.

    CLI Example:
        salt nas1 gluster.heal_info nas
    """
    return gluster.parse_heal(_gluster("volume", "heal", volume, "info"))


def faults(volume: str) -> list[str]:
    """Return what is wrong with a volume at this moment.

    A full brick is known only on its own host.

    Args:
        volume: its name.

    Returns:
        A sentence per fault; none if every brick is connected and needs no healing.

    Raises:
        CommandExecutionError: gluster failed.

    CLI Example:
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


def restart_obstacle(names: list[str], hosts: list[str]) -> str:
    """Return why no storage host may restart its GlusterFS now, or "".

    After the restart of a host, its peers and the volumes' clients need some seconds to connect to
    it again. If the next host restarted before that, some of them would reach no majority.

    Args:
        names: the volumes.
        hosts: all storage hosts.

    Returns:
        The faults: hosts and clients without a connection, and bricks that do not run or must be
        healed. While gluster refuses to answer, its refusal is the reason.

    CLI Example:
        salt nas1 gluster.restart_obstacle '[nas]' '[nas1, nas2, nas3]'
    """
    try:
        apart = [
            f"{host} has no connection to {peer['names'][0]}"
            for host in hosts
            for peer in pool(host, "localhost" if host == __opts__["id"] else host)
            if not peer["connected"]
        ]
        wrong = [fault for name in names for fault in (*faults(name), *_cut_off(name))]
        return "; ".join([*apart, *wrong])
    except CommandExecutionError as error:
        return str(error)


def probe(peer: str) -> None:
    """Add a host to the trusted pool. A member is left alone.

    Args:
        peer: the host to add.

    Raises:
        CommandExecutionError: gluster refused, for instance because the host is in another pool.

    CLI Example:
        salt nas1 gluster.probe nas2
    """
    _gluster("peer", "probe", peer)


def create(volume: str, replica: int, bricks: list[str]) -> None:
    """Create a volume without starting it.

    This uses `force`, because GlusterFS refuses bricks on the root file system and bricks that are
    mount points, and each brick is one of these. `gluster.brick_fault` on each host protects data.

    Args:
        volume: its name.
        replica: the number of copies of each file; 1 for no replication.
        bricks: bricks such as nas1:/nas.

    Raises:
        CommandExecutionError: gluster refused.

    CLI Example:
        salt nas1 gluster.create nas 3 '["nas1:/nas", "nas2:/nas", "nas3:/nas"]'
    """
    copies = ["replica", str(replica)] if replica > 1 else []
    _gluster("volume", "create", volume, *copies, *bricks, "force")


def set_options(volume: str, options: dict[str, str]) -> None:
    """Set options of a volume, all in one transaction.

    Args:
        volume: its name.
        options: each option's name with its value.

    Raises:
        CommandExecutionError: gluster refused; the message names the option.

    CLI Example:
        salt nas1 gluster.set_options nas '{"network.ping-timeout": "5"}'
    """
    _gluster("volume", "set", volume, *(word for pair in options.items() for word in pair))


def start(volume: str, force: bool = False) -> None:
    """Start a volume.

    Args:
        volume: its name.
        force: start the dead bricks of a volume that is started.

    Raises:
        CommandExecutionError: gluster refused.

    CLI Example:
        salt nas1 gluster.start nas
        salt nas1 gluster.start nas force=True
    """
    _gluster("volume", "start", volume, *(["force"] if force else []))


def listens(peer: str) -> bool:
    """Return whether a host's glusterd can be reached.

    Args:
        peer: the host.

    Returns:
        Whether a connection to its port 24007 succeeds within two seconds.

    CLI Example:
        salt nas1 gluster.listens nas2
    """
    try:
        socket.create_connection((peer, PORT), timeout=2).close()
    except OSError:
        return False
    return True


def tls() -> bool:
    """Return whether the GlusterFS of this host uses TLS.

    Returns:
        Whether the file exists that tells every process of GlusterFS so when it starts.

    CLI Example:
        salt nas1 gluster.tls
    """
    return SECURE.exists()


def speaks_tls(peer: str) -> bool | None:
    """Return whether a host's glusterd uses TLS.

    Args:
        peer: the host.

    Returns:
        Whether a TLS handshake succeeds on its port 24007, or None if nothing answers there.

    CLI Example:
        salt s1 gluster.speaks_tls nas1
    """
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # it only asks
    try:
        with socket.create_connection((peer, PORT), timeout=2) as plain:
            try:
                context.wrap_socket(plain).close()
            except TimeoutError:
                return None
            except OSError:  # also ssl.SSLError: glusterd closes what it does not understand
                return False
    except OSError:
        return None
    return True


def formed() -> bool:
    """Return whether GlusterFS is in use on this host.

    Returns:
        Whether glusterd knows peers or volumes, or a volume is mounted. False on a bare host.

    CLI Example:
        salt nas1 gluster.formed
    """
    if " fuse.glusterfs " in Path("/proc/mounts").read_text():
        return True
    return any(path.is_dir() and any(path.iterdir()) for path in map(DIRECTORY.joinpath, FORMED))


def secure(tls: bool = True) -> None:
    """Have every process of GlusterFS on this host use TLS, or none, from its next start on.

    Args:
        tls: whether they use it.

    CLI Example:
        salt nas1 gluster.secure
    """
    if tls:
        SECURE.parent.mkdir(parents=True, exist_ok=True)
        SECURE.touch()
    else:
        SECURE.unlink(missing_ok=True)


def restart_with_tls() -> None:
    """Restart all of GlusterFS on this storage host, with TLS from now on.

    Its volumes are stopped. A host with TLS and one without it cannot talk to each other, so all
    storage hosts must do this at the same time: use `state.orchestrate orch.storage_tls`.

    Raises:
        CommandExecutionError: systemd refused.

    CLI Example:
        salt 'nas*' gluster.restart_with_tls
    """
    _run("systemctl", "stop", "glusterd")
    secure()
    _run("systemctl", "reset-failed", "glusterd")
    _run("systemctl", "start", "glusterd")


def stop(volume: str) -> None:
    """Stop a volume. None of its clients can use it any more.

    Args:
        volume: its name.

    Raises:
        CommandExecutionError: gluster refused.

    CLI Example:
        salt nas1 gluster.stop nas
    """
    _gluster("volume", "stop", volume)


def delete(volume: str) -> None:
    """Stop a volume, if it runs, and delete it. Its bricks keep their files.

    Args:
        volume: its name.

    Raises:
        CommandExecutionError: gluster refused.

    CLI Example:
        salt nas1 gluster.delete staging
    """
    if volumes()[volume]["status"] == "Started":
        _gluster("volume", "stop", volume, "force")
    _gluster("volume", "delete", volume)


def unmount(path: str) -> None:
    """Have systemd unmount a volume. It stops the application first, which needs the volume.

    Args:
        path: a directory such as /mnt/nas.

    Raises:
        CommandExecutionError: the volume is still in use.

    CLI Example:
        salt s1 gluster.unmount /mnt/nas
    """
    unit = _run("systemd-escape", "--path", "--suffix=mount", path)
    try:  # the health agent looks at the volume, so it is busy for a moment
        waiting.clear(lambda: _refusal("systemctl", "stop", unit), 60, f"{path} to be unused")
    except TimeoutError as error:
        raise CommandExecutionError(str(error)) from None


def _refusal(*words: str) -> str:
    try:
        _run(*words)
    except CommandExecutionError as error:
        return str(error)
    return ""


def brick_fault(brick: str, volume: str) -> str:
    """Return why this host's brick directory cannot be used, or "" if it can.

    This needs no running GlusterFS.

    Args:
        brick: a brick of this host, such as nas1:/nas.
        volume: the volume's name.

    Returns:
        The reason, or "".

    CLI Example:
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
    # a removed brick still has the volume's mark: the state of the volume decides about it
    known = listed.is_file() or (mark and record.is_file())
    own = gluster.parse_volume_id(record.read_text()) if known else ""
    fault = gluster.brick_fault(str(path), brick, volume, entries, mark, own)
    return fault or _space_fault(path)


def _cut_off(volume: str) -> list[str]:
    """Return the faults between a volume's bricks and its clients."""
    bricks = volumes().get(volume, {"bricks": []})["bricks"]
    clients = gluster.parse_clients(_gluster("volume", "status", volume, "clients"))
    return gluster.cut_off(bricks, clients)


def _space_fault(path: Path) -> str:
    """Return that the file system of a brick's directory is full, or "" if it is not."""
    if not path.is_dir():
        return ""
    space = os.statvfs(path)
    free, total = space.f_bavail * space.f_frsize, space.f_blocks * space.f_frsize
    return gluster.space_fault(str(path), free, total)


def brick_runs(brick: str) -> bool:
    """Return whether this host's process for a brick runs. Unlike `volume status` it takes no lock.

    Args:
        brick: a brick of this host, such as nas1:/nas.

    Returns:
        Whether the process runs.

    CLI Example:
        salt nas1 gluster.brick_runs nas1:/nas
    """
    wanted = f"\0--brick-name\0{brick.partition(':')[2]}\0".encode()
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if wanted in process.read_bytes():
                return True
        except OSError:  # the process has just ended
            continue
    return False


def mounted(path: str) -> dict[str, str]:
    """Return what is mounted at a path.

    Args:
        path: a directory such as /mnt/nas.

    Returns:
        `source`, `type`, `options`, and the `fault` that makes the mount unusable. The texts are
        empty if nothing is mounted.

    CLI Example:
        salt s1 gluster.mounted /mnt/nas
    """
    source, kind, options = gluster.mounted(Path("/proc/mounts").read_text(), path)
    fault = ""
    if source:
        try:
            os.stat(path)
        except OSError as error:  # the client's process died: ENOTCONN
            fault = str(error)
    return {"source": source, "type": kind, "options": options, "fault": fault}


def unconnected(path: str) -> list[str]:
    """Return the bricks of a mounted volume to which this host's client has no connection.

    The client goes on with the other bricks. Its writes reach the missing ones when they are
    healed. A client reconnects to a returning brick within some seconds.

    Args:
        path: a directory such as /mnt/nas.

    Returns:
        The bricks.

    Raises:
        CommandExecutionError: no volume is mounted there, or its client lists no bricks.

    CLI Example:
        salt 's*' gluster.unconnected /mnt/nas
    """
    if mounted(path)["type"] != "fuse.glusterfs":
        raise CommandExecutionError(f"no volume is mounted at {path}")
    try:
        away, count = probes.unconnected(path)
    except FileNotFoundError:
        away, count = [], 0
    if not count:
        raise CommandExecutionError(
            f"the GlusterFS mount {path} shows no brick (in {path}/{probes.CLIENTS}); unmount it, "
            "then apply again"
        )
    return away


def mount(path: str) -> str:
    """Have systemd mount a volume by its line in /etc/fstab, as a boot does. Do not wait for it.

    So the volume's client has a unit of its own, and does not end with the Salt minion. The unit
    that looks after the mount is asked first, because it unmounts what a dead client left.

    Args:
        path: a directory such as /mnt/nas.

    Returns:
        The unit; its journal says why a mount fails.

    Raises:
        CommandExecutionError: systemd refused.

    CLI Example:
        salt s1 gluster.mount /mnt/nas
    """
    unit = _run("systemd-escape", "--path", "--suffix=mount", path)
    _run("systemctl", "daemon-reload")  # reads /etc/fstab
    if mounted(path)["fault"]:
        _run("systemctl", "start", AGAIN)
    _run("systemctl", "start", "--no-block", unit)
    return unit


def restrict(path: str) -> None:
    """Give a mount the options `nosuid`, `nodev` and `noexec`. Its users notice nothing.

    Args:
        path: a directory such as /mnt/nas.

    Raises:
        CommandExecutionError: the kernel refused.

    CLI Example:
        salt s1 gluster.restrict /mnt/nas
    """
    _run("mount", "-o", ",".join(["remount", "bind", *gluster.FLAGS]), path)


def _gluster(*words: str, server: str = "localhost") -> str:
    """Return gluster's answer to a command, or raise CommandExecutionError if it refused."""
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
    return commands.run(__salt__["cmd.run_all"], words)

"""What the machine must have, asked before anything is started; all that lacks is said at once."""

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lab.commands.console import step
from lab.errors import LabError
from lab.machines import image, network
from lab.mirror import build as mirror
from lab.paths import CACHE
from lab.process import run

# Debian packages: for containers and network, and what image and mirror are made with.
PACKAGES = {"lxc", "iproute2", "util-linux", *image.HOST_PACKAGES, *mirror.HOST_PACKAGES}
DISK_GIB = 12
DISK_AGAIN_GIB = 3  # when image and mirrors are there already
MEMORY_GIB = 7
KEPT = (Path("/var/lib"), Path("/var/cache"))  # where the lab writes


@dataclass(frozen=True)
class Fault:
    """Something the machine lacks, and what to do about it."""

    what: str
    remedy: str


Check = Callable[[], Fault | None]


def load_modules(*names: str) -> None:
    """Load kernel modules where the kernel has any; the checks see whether it helped."""
    modprobe = shutil.which("modprobe", path="/usr/sbin:/sbin")
    for name in names if modprobe else ():
        subprocess.run([str(modprobe), "-q", name], check=False)


def root() -> Fault | None:
    """Root makes namespaces, mounts and containers."""
    if os.geteuid() == 0:
        return None
    return Fault("not run by root", "run the same command with sudo")


def debian() -> Fault | None:
    """Apt and an init image of the same release are taken from the machine's own mirrors."""
    release = dict(
        line.split("=", 1)
        for line in Path("/etc/os-release").read_text().splitlines()
        if "=" in line
    )
    if release.get("ID", "").strip('"') == "debian" and shutil.which("apt-get"):
        return None
    return Fault("not a Debian with apt", "use a Debian 12 machine (tried on bookworm)")


def kernel_file_systems() -> Fault | None:
    """Overlayfs carries the containers, FUSE the GlusterFS mounts."""
    load_modules("overlay", "fuse")
    known = Path("/proc/filesystems").read_text().split()
    lacking = [name for name in ("overlay", "fuse") if name not in known]
    if not lacking:
        return None
    return Fault(f"the kernel has no {' and no '.join(lacking)}", "use a kernel with these")


def fuse_device() -> Fault | None:
    """GlusterFS is mounted through /dev/fuse."""
    if Path("/dev/fuse").is_char_device():
        return None
    return Fault("no /dev/fuse", "mknod /dev/fuse c 10 229 (or: modprobe fuse)")


def control_groups() -> Fault | None:
    """Containers need control groups, version 1 or 2."""
    top = Path("/sys/fs/cgroup")
    if (top / "cgroup.controllers").exists() or (top / "systemd").is_dir():
        return None
    return Fault("no control groups at /sys/fs/cgroup", "mount them (systemd does so at boot)")


def network_namespaces() -> Fault | None:
    """A namespace with a bridge and a veth pair, made and forgotten again."""
    script = (
        "ip link add br0 type bridge && ip link add v0 type veth peer name v1 "
        "&& ip link set v0 master br0"
    )
    command = ["unshare", "--net", "--mount", "--pid", "--fork", "sh", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return None
    said = done.stderr.strip() or f"exit code {done.returncode}"
    return Fault(
        f"no network namespace with bridge and veth: {said}",
        "modprobe -a bridge veth, or use a machine that lets root make namespaces",
    )


def packet_filter() -> Fault | None:
    """Each host has its own firewall (nftables)."""
    load_modules("nf_tables")
    if Path("/proc/net/netfilter").is_dir():
        return None
    return Fault("the kernel has no netfilter", "use a kernel with nf_tables")


def disk() -> Fault | None:
    """Caches and the containers' changes take space."""
    needed = DISK_AGAIN_GIB if CACHE.exists() else DISK_GIB
    for place in KEPT:
        free = shutil.disk_usage(place).free / 2**30
        if free < needed:
            return Fault(f"{free:.1f} GiB free in {place}", f"make at least {needed} GiB free")
    return None


def memory() -> Fault | None:
    """A fleet of eleven hosts takes 5 GiB when it works; one that runs has them already."""
    fields = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    sizes = {field[0].rstrip(":"): int(field[1]) for field in fields}
    available = sizes["MemAvailable"] / 2**20
    if available >= MEMORY_GIB or network.find() is not None:
        return None
    return Fault(f"{available:.1f} GiB of memory available", f"provide {MEMORY_GIB} GiB")


CHECKS: tuple[Check, ...] = (
    debian,
    kernel_file_systems,
    fuse_device,
    control_groups,
    packet_filter,
    disk,
    memory,
)
CHECKS_WITH_TOOLS: tuple[Check, ...] = (network_namespaces,)


def missing_packages() -> list[str]:
    """Return the Debian packages which the lab needs and the machine lacks."""
    show = ["dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status}\\n"]
    shown = run([*show, *sorted(PACKAGES)], check=False).stdout.splitlines()
    return sorted(PACKAGES - {line.split()[0] for line in shown if line.endswith(" installed")})


def install(packages: list[str]) -> None:
    """Install packages of the machine.

    :raises LabError: apt refused, with its last lines
    """
    if not packages:
        return
    with step(f"installing {', '.join(packages)}"):
        environment = ["env", "DEBIAN_FRONTEND=noninteractive"]
        options = ["--yes", "--no-install-recommends"]
        run([*environment, "apt-get", "update", "--quiet"])
        run([*environment, "apt-get", "install", *options, *packages])


def report(faults: list[Fault]) -> LabError:
    """Return the error that tells all faults at once."""
    lines = [f"  {fault.what}: {fault.remedy}" for fault in faults]
    return LabError(
        "this machine can't run the lab:\n" + "\n".join(lines), "mend these, then: make up"
    )


def ensure() -> None:
    """Check everything and install what is missing.

    :raises LabError: with every fault and its remedy
    """
    faults = [fault for check in (root, *CHECKS) if (fault := check())]
    if os.geteuid() == 0:
        try:
            install(missing_packages())
            faults += [fault for check in CHECKS_WITH_TOOLS if (fault := check())]
        except LabError as error:
            faults.append(Fault(str(error), "mend apt: apt-get update"))
    if faults:
        raise report(faults)

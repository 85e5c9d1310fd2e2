"""Check that this machine can run the lab, before it starts, and report all faults at once."""

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lab.commands.console import step
from lab.errors import LabError
from lab.machines import image, network
from lab.mirror import build
from lab.paths import CACHE
from lab.process import run

# Debian packages: for containers and networks, and to build the image and the mirror.
PACKAGES = {"lxc", "iproute2", "util-linux", *image.HOST_PACKAGES, *build.HOST_PACKAGES}
DISK_GIB = 12
DISK_AGAIN_GIB = 3  # when the image and the mirror are already in the cache
MEMORY_GIB = 7
KEPT = (Path("/var/lib"), Path("/var/cache"))  # where the lab writes


@dataclass(frozen=True)
class Fault:
    """Something that the machine does not have, and what to do about it."""

    what: str
    remedy: str


Check = Callable[[], Fault | None]


def load_modules(*names: str) -> None:
    """Try to load kernel modules. The checks find out whether that helped."""
    modprobe = shutil.which("modprobe", path="/usr/sbin:/sbin")
    for name in names if modprobe else ():
        subprocess.run([str(modprobe), "-q", name], check=False)


def root() -> Fault | None:
    """Check for root, who may create namespaces, mounts and containers."""
    if os.geteuid() == 0:
        return None
    return Fault("the command does not run as root", "run the same command with sudo")


def debian() -> Fault | None:
    """Check for Debian: image and packages come from the machine's own Debian mirrors."""
    release = dict(
        line.split("=", 1)
        for line in Path("/etc/os-release").read_text().splitlines()
        if "=" in line
    )
    if release.get("ID", "").strip('"') == "debian" and shutil.which("apt-get"):
        return None
    return Fault("this system is not Debian with apt", "use a machine with Debian 12 (bookworm)")


def kernel_file_systems() -> Fault | None:
    """Check for overlayfs, which containers need, and FUSE, which GlusterFS mounts need."""
    load_modules("overlay", "fuse")
    known = Path("/proc/filesystems").read_text().split()
    missing = [name for name in ("overlay", "fuse") if name not in known]
    if not missing:
        return None
    return Fault(f"the kernel has no {' and no '.join(missing)}", "use a kernel that has it")


def fuse_device() -> Fault | None:
    """Check for /dev/fuse, which GlusterFS mounts need."""
    if Path("/dev/fuse").is_char_device():
        return None
    return Fault("/dev/fuse is missing", "mknod /dev/fuse c 10 229 (or: modprobe fuse)")


def control_groups() -> Fault | None:
    """Check for control groups, version 1 or 2, which containers need."""
    top = Path("/sys/fs/cgroup")
    if (top / "cgroup.controllers").exists() or (top / "systemd").is_dir():
        return None
    return Fault(
        "/sys/fs/cgroup has no control groups", "mount them there (systemd does so at boot)"
    )


def network_namespaces() -> Fault | None:
    """Check that a network namespace with a bridge and a veth pair can be created."""
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
        f"a network namespace with a bridge and a veth pair cannot be created: {said}",
        "modprobe -a bridge veth, or use a machine on which root may create namespaces",
    )


def packet_filter() -> Fault | None:
    """Check for nftables: each host has its own firewall."""
    load_modules("nf_tables")
    if Path("/proc/net/netfilter").is_dir():
        return None
    return Fault("the kernel has no netfilter", "use a kernel that has nf_tables")


def disk() -> Fault | None:
    """Check the disk space for caches and for the containers' own files."""
    needed = DISK_AGAIN_GIB if CACHE.exists() else DISK_GIB
    for place in KEPT:
        free = shutil.disk_usage(place).free / 2**30
        if free < needed:
            return Fault(f"{place} has only {free:.1f} GiB free", f"free at least {needed} GiB")
    return None


def memory() -> Fault | None:
    """Check the memory that a busy lab needs, unless the lab already runs."""
    fields = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    sizes = {field[0].rstrip(":"): int(field[1]) for field in fields}
    available = sizes["MemAvailable"] / 2**20
    if available >= MEMORY_GIB or network.find() is not None:
        return None
    return Fault(f"only {available:.1f} GiB of memory are available", f"provide {MEMORY_GIB} GiB")


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
    """Return the Debian packages that the lab needs and the machine does not have."""
    show = ["dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status}\\n"]
    shown = run([*show, *sorted(PACKAGES)], check=False).stdout.splitlines()
    return sorted(PACKAGES - {line.split()[0] for line in shown if line.endswith(" installed")})


def install(packages: list[str]) -> None:
    """Install Debian packages on this machine.

    Raises:
        LabError: APT failed. The message has its last lines of output.
    """
    if not packages:
        return
    with step(f"installing {', '.join(packages)}"):
        environment = ["env", "DEBIAN_FRONTEND=noninteractive"]
        options = ["--yes", "--no-install-recommends"]
        run([*environment, "apt-get", "update", "--quiet"])
        run([*environment, "apt-get", "install", *options, *packages])


def report(faults: list[Fault]) -> LabError:
    """Return one error for all faults."""
    lines = [f"  {fault.what}: {fault.remedy}" for fault in faults]
    return LabError(
        "this machine cannot run the lab:\n" + "\n".join(lines), "fix these, then: make up"
    )


def ensure() -> None:
    """Check the machine, and install the Debian packages that are missing.

    Raises:
        LabError: The machine cannot run the lab. The message has every fault and its remedy.
    """
    faults = [fault for check in (root, *CHECKS) if (fault := check())]
    if os.geteuid() == 0:
        try:
            install(missing_packages())
            faults += [fault for check in CHECKS_WITH_TOOLS if (fault := check())]
        except LabError as error:
            faults.append(Fault(str(error), "repair APT; apt-get update shows its errors"))
    if faults:
        raise report(faults)

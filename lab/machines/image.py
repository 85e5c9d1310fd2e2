"""The lab's base image: a bare Debian bookworm with Salt in /opt/salt, and nothing else.

Nothing that a state installs or configures is in it. What is adapted to the lab: packages,
wheels and the applications' repositories come from the mirror (lab.mirror) that every host sees at
/srv/mirror, npm's come from a registry on the host's loopback (lab/mirror/registry.py), and units
that are of no use in a container are masked.

CLI: python -m lab.machines.image     prints the directory of the root file system
"""

import inspect
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from lab.commands.console import step
from lab.mirror import registry
from lab.mirror.cache import digest, directory, keep_only, lock, remove
from lab.mirror.debian import download_options, source_lines
from lab.mirror.locks import environments
from lab.mirror.wheels import wheelhouse
from lab.paths import DOWNLOADS, IMAGES, LOCKS
from lab.process import run

# What the machine needs for this module (timelib and others are compiled for Salt).
HOST_PACKAGES = ("mmdebstrap", "gcc", "python3-dev", "python3-venv")

SUITE = "bookworm"
PACKAGES = (
    *("systemd", "systemd-sysv", "dbus"),
    *("iproute2", "iputils-ping", "netbase", "procps", "curl", "less", "ca-certificates"),
    *("python3", "python3-apt"),
)

# A minion takes 8 s to end: Salt waits 5 s for answers still on their way. Killed before, it
# leaves a process of its own behind, for which the next start fails.
SALT_UNIT = """\
[Unit]
Description=The Salt {name}
After=network.target

[Service]
Type=notify
NotifyAccess=all
ExecStart=/opt/salt/bin/salt-{name}
KillMode=process
LimitNOFILE=100000
Restart=on-failure
TimeoutStopSec=30

[Install]
WantedBy=multi-user.target
"""

FILES = {
    "etc/apt/sources.list": f"deb [trusted=yes] file:/srv/mirror/apt {SUITE} main\n",
    # The mirror holds what the states name and its dependencies, without recommendations,
    # as for a lean server. Translations and package lists that nobody reads are left out.
    "etc/apt/apt.conf.d/90lab": (
        'APT::Install-Recommends "false";\nAPT::Install-Suggests "false";\n'
        'Acquire::Languages "none";\n'
    ),
    # A host that loses its power is made anew: no need to wait for the disk.
    "etc/dpkg/dpkg.cfg.d/90lab": "force-unsafe-io\n",
    "etc/pip.conf": "[global]\nno-index = true\nfind-links = /srv/mirror/wheels\n",
    # What is upstream is root's, and any user may clone it, as from a public server.
    "etc/gitconfig": (
        "[safe]\n\tdirectory = /srv/mirror/git/odoo-14.0.git\n"
        "\tdirectory = /srv/mirror/git/sample-crm.git\n"
    ),
    "etc/npmrc": f"registry={registry.URL}\n",
    "etc/systemd/system/lab-registry.socket": (
        f"[Socket]\nListenStream=127.0.0.1:{registry.PORT}\n\n[Install]\nWantedBy=sockets.target\n"
    ),
    "etc/systemd/system/lab-registry.service": (
        "[Service]\nUser=daemon\nExecStart=/usr/bin/python3 /usr/local/lib/lab-registry.py\n"
    ),
    "usr/local/lib/lab-registry.py": inspect.getsource(registry),
    "etc/default/locale": "LANG=C.UTF-8\n",
    "etc/systemd/journald.conf.d/lab.conf": (
        "[Journal]\nStorage=volatile\nRuntimeMaxUse=16M\nReadKMsg=no\nAudit=no\n"
    ),
    "etc/systemd/system/salt-minion.service": SALT_UNIT.format(name="minion"),
    "etc/systemd/system/salt-master.service": SALT_UNIT.format(name="master"),
    "etc/hostname": "",
    "etc/machine-id": "",
    "etc/resolv.conf": "",
}

# Consoles, hardware, the kernel's own file systems; and timers that would change or load hosts.
MASKED = (
    *("console-getty.service", "getty@.service", "systemd-logind.service"),
    *("systemd-modules-load.service", "systemd-journald-audit.socket"),
    *("systemd-firstboot.service", "systemd-machine-id-commit.service"),
    *("dev-hugepages.mount", "dev-mqueue.mount", "sys-fs-fuse-connections.mount"),
    *("sys-kernel-config.mount", "sys-kernel-debug.mount", "sys-kernel-tracing.mount"),
    *("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer"),
    *("e2scrub_all.timer", "fstrim.timer"),
)


def version() -> str:
    """Return the digest of what the image is made from: these data, these steps, Salt's lock."""
    steps = [inspect.getsource(function) for function in (bootstrap, configure, install_salt)]
    locked = (LOCKS / "minion.txt").read_text()
    return digest(SUITE, PACKAGES, FILES, MASKED, steps, locked)


def bootstrap(root: Path) -> None:
    """Install the bare system, from the machine's own Debian mirrors."""
    run(
        [
            *("mmdebstrap", "--quiet", "--mode=root", "--format=directory", "--variant=minbase"),
            *("--skip=check/empty", f"--include={','.join(PACKAGES)}"),
            "--dpkgopt=force-unsafe-io",
            '--aptopt=APT::Install-Recommends "false"',
            '--aptopt=Acquire::Languages "none"',
            *(f"--aptopt={option}" for option in download_options()),
            *(SUITE, root, "-"),
        ],
        text="".join(f"{line}\n" for line in source_lines(SUITE)),
    )


def configure(root: Path) -> None:
    """Write the lab's files and mask what is useless in a container."""
    for leftover in ("etc/apt/apt.conf.d/99mmdebstrap", "etc/dpkg/dpkg.cfg.d/99mmdebstrap"):
        (root / leftover).unlink(missing_ok=True)
    for name, text in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        remove(path)
        path.write_text(text)
    localtime = root / "etc/localtime"
    remove(localtime)
    localtime.symlink_to("/usr/share/zoneinfo/Etc/UTC")
    systemctl = ["chroot", str(root), "systemctl", "--quiet"]  # the machine may have none
    run([*systemctl, "mask", *MASKED])
    run([*systemctl, "enable", "lab-registry.socket"])
    run([*systemctl, "set-default", "multi-user.target"])


def install_salt(root: Path, wheels: Path) -> None:
    """Install the locked Salt into /opt/salt, on top of the system's Python (for python3-apt)."""
    inside = root / "opt/wheels"
    run(["cp", "-r", wheels, inside])
    run(["cp", LOCKS / "minion.txt", inside])
    venv = ["-m", "venv", "--system-site-packages", "--without-pip", "/opt/salt"]
    run(["chroot", root, "python3", *venv])
    # Python runs a package from within an archive: the wheel of pip installs itself and the rest.
    pip = next(inside.glob("pip-*.whl")).relative_to(root)
    options = ["--quiet", "--no-index", "--no-deps", "--ignore-installed", "--no-cache-dir"]
    options += ["--root-user-action=ignore", "--find-links=/opt/wheels"]
    install = [f"/{pip}/pip", "install", *options, "--requirement=/opt/wheels/minion.txt"]
    run(["chroot", root, "/opt/salt/bin/python", *install])
    remove(inside)
    for program in sorted((root / "opt/salt/bin").glob("salt*")):
        (root / "usr/local/bin" / program.name).symlink_to(f"/opt/salt/bin/{program.name}")


def build(target: Path) -> None:
    """Make the image in the given empty directory."""
    root = target / "rootfs"
    python = environments()["minion"]["python"]
    wheels = partial(wheelhouse, DOWNLOADS / "wheels/minion", LOCKS / "minion.txt", python)
    with step("image: Debian's base system, wheels for Salt"), ThreadPoolExecutor() as pool:
        ready = pool.submit(wheels)  # mostly one compiler: there is time for the other meanwhile
        bootstrap(root)
    with step("image: Salt"):
        install_salt(root, ready.result())
        configure(root)


def ensure() -> Path:
    """Return the directory of the root file system, built first where it is missing.

    Older images are removed as soon as no host stands on them.
    """
    with lock():
        image = directory(IMAGES / version(), build)
        keep_only(image)
    return image / "rootfs"


if __name__ == "__main__":
    print(ensure())

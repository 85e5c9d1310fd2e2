"""The lab's base image: a bare Debian bookworm with Salt in /opt/salt.

It has nothing that a state installs or configures. Three things are adapted to the lab:

- Debian packages, wheels and git repositories come from the lab's mirror (lab/mirror/build.py),
  which every host sees at /srv/mirror.
- npm packages come from a registry on the host's loopback address (lab/mirror/registry.py).
- systemd units that are useless in a container are masked.

Usage: python -m lab.machines.image     (prints the directory of the root file system)
"""

import inspect
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from lab.commands.console import step
from lab.mirror import registry
from lab.mirror.cache import build_lock, digest, directory, keep_only, remove
from lab.mirror.debian import download_options, source_lines
from lab.mirror.wheels import wheels
from lab.paths import DOWNLOADS, IMAGES, LOCKS
from lab.process import run

# Debian packages that building the image needs. The compiler is for timelib, which Salt needs.
HOST_PACKAGES = ("mmdebstrap", "gcc", "python3-dev", "python3-venv")

SUITE = "bookworm"
PACKAGES = (
    *("systemd", "systemd-sysv", "dbus"),
    *("iproute2", "iputils-ping", "netbase", "procps", "curl", "less", "ca-certificates"),
    *("python3", "python3-apt"),
)

UNREAD = ("doc", "info", "lintian", "locale", "man")

# A minion takes 8 s to end, because Salt waits 5 s for late answers. If it is killed earlier, it
# leaves a process behind, and the next start fails.
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
    # The mirror has the packages that the states name and their dependencies, but no recommended
    # packages and no translations.
    "etc/apt/apt.conf.d/90lab": (
        'APT::Install-Recommends "false";\nAPT::Install-Suggests "false";\n'
        'Acquire::Languages "none";\n'
    ),
    # A host that loses its power is rebuilt, so dpkg need not wait for the disk.
    # Documentation, manuals and translations are a third of the files of the states' packages.
    "etc/dpkg/dpkg.cfg.d/90lab": (
        "force-unsafe-io\n" + "".join(f"path-exclude=/usr/share/{part}/*\n" for part in UNREAD)
    ),
    "etc/pip.conf": "[global]\nno-index = true\nfind-links = /srv/mirror/wheels\n",
    # Root owns the upstream repositories; any user may clone them, as from a public server.
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
    # A container cannot set the clock, which is the machine's, so Debian's unit would not start
    # chrony. Here it starts and only watches the clock (-x).
    "etc/systemd/system/chrony.service.d/lab.conf": (
        "[Unit]\nConditionCapability=\n\n"
        "[Service]\nExecStart=\nExecStart=!/usr/sbin/chronyd -x $DAEMON_OPTS\n"
    ),
    "etc/systemd/system/salt-minion.service": SALT_UNIT.format(name="minion"),
    "etc/systemd/system/salt-master.service": SALT_UNIT.format(name="master"),
    "etc/hostname": "",
    "etc/machine-id": "",
    "etc/resolv.conf": "",
}

# Consoles, hardware, the kernel's own file systems, and timers that would change or load hosts.
# Without logind, the service of unattended-upgrades asks for it once a second, for ever.
MASKED = (
    *("console-getty.service", "getty@.service"),
    *("systemd-logind.service", "unattended-upgrades.service"),
    *("systemd-modules-load.service", "systemd-journald-audit.socket"),
    *("systemd-firstboot.service", "systemd-machine-id-commit.service"),
    *("dev-hugepages.mount", "dev-mqueue.mount", "sys-fs-fuse-connections.mount"),
    *("sys-kernel-config.mount", "sys-kernel-debug.mount", "sys-kernel-tracing.mount"),
    *("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer"),
    *("e2scrub_all.timer", "fstrim.timer"),
)


def version() -> str:
    """Return a digest of the image's inputs: the data and steps of this module, and Salt's lock."""
    steps = [inspect.getsource(function) for function in (bootstrap, configure, install_salt)]
    locked = (LOCKS / "minion.txt").read_text()
    return digest(SUITE, PACKAGES, FILES, MASKED, steps, locked)


def bootstrap(root: Path) -> None:
    """Install the bare system from the machine's own Debian mirrors."""
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
    """Write the lab's files, and mask units that are useless in a container."""
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
    systemctl = ["chroot", str(root), "systemctl", "--quiet"]  # the machine may have no systemctl
    run([*systemctl, "mask", *MASKED])
    run([*systemctl, "enable", "lab-registry.socket"])
    run([*systemctl, "set-default", "multi-user.target"])


def install_salt(root: Path, wheels: Path) -> None:
    """Install the locked Salt into /opt/salt.

    It uses the system's Python and its packages, because Salt needs python3-apt.
    """
    inside = root / "opt/wheels"
    run(["cp", "-r", wheels, inside])
    venv = ["-m", "venv", "--system-site-packages", "--without-pip", "/opt/salt"]
    run(["chroot", root, "python3", *venv])
    # Python can run a package inside an archive: pip's wheel installs pip and all others.
    pip = next(inside.glob("pip-*.whl")).relative_to(root)
    options = ["--quiet", "--no-index", "--no-deps", "--ignore-installed", "--no-cache-dir"]
    options += ["--root-user-action=ignore"]
    every = [f"/opt/wheels/{wheel.name}" for wheel in sorted(inside.glob("*.whl"))]
    install = [f"/{pip}/pip", "install", *options, *every]
    run(["chroot", root, "/opt/salt/bin/python", *install])
    remove(inside)
    for program in sorted((root / "opt/salt/bin").glob("salt*")):
        (root / "usr/local/bin" / program.name).symlink_to(f"/opt/salt/bin/{program.name}")


def build(target: Path) -> None:
    """Build the image in an empty directory."""
    root = target / "rootfs"
    # an older lab has built wheels into wheels/minion as root, and without hashes
    locked = partial(wheels, DOWNLOADS / "wheels/minion.verified", LOCKS / "minion.txt")
    with step("image: Debian's base system, wheels for Salt"), ThreadPoolExecutor() as pool:
        ready = pool.submit(locked)  # mostly one compiler, so bootstrap can run at the same time
        bootstrap(root)
    with step("image: Salt"):
        install_salt(root, ready.result())
        configure(root)


def ensure_image() -> Path:
    """Return the directory of the root file system, and build it first if necessary.

    Older images are removed once no host uses them.
    """
    with build_lock():
        image = directory(IMAGES / version(), build)
        keep_only(image)
    return image / "rootfs"


if __name__ == "__main__":
    print(ensure_image())

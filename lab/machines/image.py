"""The lab's base images: for each platform a bare Debian with Salt in /opt/salt.

They have nothing that a state installs or configures. Three things are adapted to the lab:

- Debian packages, wheels and git repositories come from the lab's mirror (lab/mirror/build.py),
  which every host sees at /srv/mirror.
- npm packages come from a registry on the host's loopback address (lab/mirror/registry.py).
- systemd units that are useless in a container are masked.

Usage: python -m lab.machines.image     (prints the directory of Debian 12's root file system)
"""

import inspect
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from lab.commands.console import step
from lab.errors import LabError
from lab.mirror import registry
from lab.mirror.cache import build_lock, digest, directory, keep_only, remove
from lab.mirror.debian import download_options, source_lines
from lab.mirror.wheels import BUILDER, THIS_PYTHON, originals, wheels
from lab.paths import DOWNLOADS, IMAGES, LOCKS
from lab.process import run
from salina.common import locks
from salina_fleet.platforms import DEFAULT, PLATFORMS, Platform

# Debian packages that building the image needs. The compiler is for timelib, which Salt needs.
HOST_PACKAGES = ("mmdebstrap", "gcc", "python3-dev", "python3-venv")

USUAL = PLATFORMS[DEFAULT]
PACKAGES = (
    *("systemd", "systemd-sysv", "dbus"),
    *("iproute2", "iputils-ping", "netbase", "procps", "curl", "less", "ca-certificates"),
    *("python3", "python3-apt"),
)

BUILT = ("debian-12", "debian-13")
"""The platforms of which the lab can build an image: releases on Debian's mirrors."""
SUITES = tuple(PLATFORMS[name].codename for name in BUILT)

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

COMPILER = ("gcc", "python3-dev", "python3-venv")
"""Packages that make a wheel of a source archive, for another Python than this machine's."""

FILES = {
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
    # git asks the mirror in place of the repositories that the definitions name
    # (lab/mirror/repositories.py).
    "etc/gitconfig": "[include]\n\tpath = /srv/mirror/git/config\n",
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


def repository(platform: Platform) -> str:
    """Return the directory of a platform's packages in the mirror, which the lab's hosts see."""
    return "apt" if platform == USUAL else f"apt-{platform.codename}"


def files(platform: Platform) -> dict[str, str]:
    """Return the files of a platform's image: those of every image, and the source of packages."""
    place = f"file:/srv/mirror/{repository(platform)}"
    source = f"deb [trusted=yes] {place} {platform.codename} main\n"
    return {"etc/apt/sources.list": source, **FILES}


def version(platform: Platform = USUAL) -> str:
    """Return a digest of an image's inputs: the data and steps of this module, and Salt's lock."""
    steps = [
        inspect.getsource(function)
        for function in (bootstrap, configure, install_salt, compiled, compile_sources)
    ]
    locked = (LOCKS / "minion.txt").read_text()
    return digest(platform.codename, PACKAGES, files(platform), MASKED, steps, locked)


def bootstrap(root: Path, platform: Platform, packages: Sequence[str] = PACKAGES) -> None:
    """Install a bare system from the machine's own Debian mirrors."""
    run(
        [
            *("mmdebstrap", "--quiet", "--mode=root", "--format=directory", "--variant=minbase"),
            *("--skip=check/empty", f"--include={','.join(packages)}"),
            "--dpkgopt=force-unsafe-io",
            '--aptopt=APT::Install-Recommends "false"',
            '--aptopt=Acquire::Languages "none"',
            *(f"--aptopt={option}" for option in download_options()),
            *(platform.codename, root, "-"),
        ],
        text="".join(f"{line}\n" for line in source_lines(platform.codename, USUAL.codename)),
    )


def configure(root: Path, platform: Platform) -> None:
    """Write the lab's files, and mask units that are useless in a container."""
    for leftover in ("etc/apt/apt.conf.d/99mmdebstrap", "etc/dpkg/dpkg.cfg.d/99mmdebstrap"):
        (root / leftover).unlink(missing_ok=True)
    for name, text in files(platform).items():
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


def salt_wheels(platform: Platform) -> Path:
    """Return a directory with the wheels of Salt's lock for a platform's Python."""
    lock = LOCKS / "minion.txt"
    if platform.python == THIS_PYTHON:
        # an older lab has built wheels into wheels/minion as root, and without hashes
        return wheels(DOWNLOADS / "wheels/minion.verified", lock)
    inputs = [lock.read_text(), platform.codename, inspect.getsource(compile_sources)]
    place = DOWNLOADS / f"wheels/minion-{platform.python}.built"
    made = directory(place / digest(inputs), partial(compiled, platform, lock))
    keep_only(made)
    return made


def compiled(platform: Platform, lock: Path, target: Path) -> None:
    """Fill an empty directory with the wheels of a lock, for another Python than this machine's.

    Args:
        platform: The platform that has this Python.
        lock: The lock. Another one has the tools that build its sources.
        target: The directory.
    """
    house = DOWNLOADS / "wheels"
    name, python = lock.stem, platform.python
    fetched = originals(house / f"{name}-{python}", lock, python)
    tools = originals(house / f"{name}.build-{python}", Path(locks.tools(str(lock))), python)
    root = target / "compiler"
    bootstrap(root, platform, (*PACKAGES, *COMPILER))
    run(["cp", "-r", fetched, root / "opt/fetched"])
    run(["cp", "-r", tools, root / "opt/tools"])
    for wheel in compile_sources(root):
        wheel.rename(target / wheel.name)
    for wheel in fetched.glob("*.whl"):
        run(["cp", wheel, target])
    remove(root)


def compile_sources(root: Path) -> list[Path]:
    """Build the source archives in /opt/fetched of a root file system, as a user without rights.

    Args:
        root: The directory of the root file system. Its /opt/tools has the tools' wheels.

    Returns:
        The wheels.
    """
    inside = ["env", "HOME=/tmp", "PIP_NO_CACHE_DIR=1"]
    user = f"--userspec={BUILDER}:{BUILDER}"
    offline = ["--quiet", "--no-index", "--no-deps"]
    run(["chroot", root, "mkdir", "--mode=1777", "/opt/made"])
    run(["chroot", root, "chmod", "a+rX", "--recursive", "/opt"])
    run(["chroot", root, "python3", "-m", "venv", "/opt/environment"])
    every = [f"/opt/tools/{tool.name}" for tool in sorted((root / "opt/tools").iterdir())]
    pip = ["/opt/environment/bin/pip"]
    run(["chroot", root, *inside, *pip, "install", *offline, *every])
    sources = [f"/opt/fetched/{one.name}" for one in sorted((root / "opt/fetched").glob("*.gz"))]
    wheel = [*pip, "wheel", *offline, "--no-build-isolation", "--wheel-dir=/opt/made"]
    run(["chroot", user, root, *inside, *wheel, *sources])
    return [made for made in (root / "opt/made").glob("*.whl") if not made.is_symlink()]


def build(platform: Platform, target: Path) -> None:
    """Build the image of a platform in an empty directory."""
    root = target / "rootfs"
    name = platform.title
    with step(f"image: {name}, wheels for Salt"), ThreadPoolExecutor() as pool:
        # mostly one compiler, so bootstrap can run at the same time
        ready = pool.submit(salt_wheels, platform)
        bootstrap(root, platform)
    with step(f"image: Salt on {name}"):
        install_salt(root, ready.result())
        configure(root, platform)


def ensure_image(platform: Platform = USUAL) -> Path:
    """Return the directory of a platform's root file system, and build it first if necessary.

    Older images of the platform are removed once no host uses them.

    Raises:
        LabError: The lab cannot build this platform.
    """
    if platform.codename not in SUITES:
        names = ", ".join(PLATFORMS[name].title for name in BUILT)
        raise LabError(
            f"the lab cannot build {platform.title}; it can build: {names}",
            "make up with a topology whose hosts have another platform",
        )
    with build_lock():
        image = directory(
            IMAGES / f"{platform.codename}-{version(platform)}", partial(build, platform)
        )
        keep_only(image, [f"{suite}-" for suite in SUITES if suite != platform.codename])
    return image / "rootfs"


def ensure_images(names: Iterable[str]) -> dict[str, Path]:
    """Return the directory of the root file system of each of these platforms, by its name."""
    return {name: ensure_image(PLATFORMS[name]) for name in sorted(names)}


if __name__ == "__main__":
    print(ensure_image())

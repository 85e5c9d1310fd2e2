"""The lab's LXC containers: configure, start and stop them, and run commands in them."""

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from lab.errors import LabError
from lab.machines.network import holder, inside
from lab.machines.plan import Interface, Machine
from lab.machines.provision import Files, archive
from lab.paths import CLOUD, CONTAINERS, DEFINITIONS, MIRROR, OVERRIDE, REPOSITORY
from lab.process import remove_tree, run
from salina_fleet.model import ids
from salina_fleet.platforms import DEFAULT

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
}
PLATFORM = "platform"  # the file with it in a container's folder
STOP_SECONDS = 20
PARALLEL = 4
UNPACK = ("tar", "--extract", "--touch", "--directory")
"""--touch sets the current time, because a master takes two keys of a minion with the same time for
the same key."""

COMMON = """\
lxc.include = /usr/share/lxc/config/common.conf
lxc.apparmor.profile = unconfined
lxc.tty.max = 0
lxc.signal.halt = SIGRTMIN+4
lxc.mount.auto = proc:mixed sys:mixed cgroup:mixed
lxc.mount.entry = /dev/fuse dev/fuse none bind,create=file 0 0
"""


@dataclass(frozen=True)
class Layers:
    """Where a container's files come from: the image, and the container's own changes over it."""

    base: Path
    delta: Path


def each(action: Callable[[Machine], object], machines: Iterable[Machine]) -> None:
    """Run an action on several machines at the same time, and raise the first error."""
    with ThreadPoolExecutor(PARALLEL) as pool:
        list(pool.map(action, machines))


def card(index: int, interface: Interface) -> str:
    """Return the configuration of one network card."""
    family = f"ipv{interface.version}"
    settings = {
        "type": "veth",
        "link": interface.bridge,
        "name": interface.name,
        "veth.pair": interface.pair,
        "hwaddr": interface.mac,
        "flags": "up",
        f"{family}.address": interface.address,
        f"{family}.gateway": interface.gateway,
    }
    return "".join(f"lxc.net.{index}.{key} = {value}\n" for key, value in settings.items() if value)


def bind(source: Path, target: str, options: str = "create=dir") -> str:
    """Return the configuration that mounts a path of this machine into a container, read-only.

    Args:
        source: The path on this machine.
        target: The path in the container, without the first slash.
        options: Further mount options.
    """
    return f"lxc.mount.entry = {source} {target} none bind,ro,{options} 0 0\n"


def configuration(machine: Machine, layers: Layers) -> str:
    """Return the text of a container's configuration file.

    If OVERRIDE has a topology or definitions, the master sees them instead of the repository's own.
    """
    text = COMMON
    text += f"lxc.uts.name = {ids.short(machine.name)}\n"
    text += f"lxc.rootfs.path = overlayfs:{layers.base}:{layers.delta}\n"
    text += f"lxc.console.logfile = {folder(machine) / 'console.log'}\n"
    text += "".join(card(index, interface) for index, interface in enumerate(machine.interfaces))
    text += bind(MIRROR, "srv/mirror")
    if machine.master:
        text += bind(REPOSITORY, "srv/salina")
        text += bind(OVERRIDE, "srv/override")
        text += bind(OVERRIDE / "topology.yaml", "srv/salina/pillar/topology.yaml", "optional")
        text += bind(DEFINITIONS, "srv/salina/pillar/app", "optional")
        text += bind(CLOUD, "srv/lab")
    return text


def folder(machine: Machine) -> Path:
    """Return the folder with all files of a container."""
    return CONTAINERS / machine.container


def delta(machine: Machine) -> Path:
    """Return the folder with the files that a container has changed in its image."""
    return folder(machine) / "delta"


def lxc(command: str, machine: Machine, *arguments: str) -> list[str]:
    """Return an LXC command for a container, within the lab's namespaces."""
    return inside([f"lxc-{command}", "-P", CONTAINERS, "-n", machine.container, *arguments])


def base_of(config: str, container: str) -> Path:
    """Return the image's root directory that a container's configuration names.

    Raises:
        LabError: The configuration names none.
    """
    found = re.search(r"^lxc\.rootfs\.path = overlayfs:(.+?):", config, re.MULTILINE)
    if not found:
        raise LabError(
            f"the configuration of container {container} names no image; it is damaged",
            "bin/lab down; make up",
        )
    return Path(found[1])


def read_configuration(machine: Machine) -> str:
    """Return a container's current configuration, or an empty text if there is no container."""
    path = folder(machine) / "config"
    return path.read_text() if path.exists() else ""


def configure(machine: Machine) -> None:
    """Write the configuration of a stopped container as planned."""
    base = base_of(read_configuration(machine), machine.container)
    path = folder(machine) / "config"
    path.write_text(configuration(machine, Layers(base, delta(machine))))


def is_current(machine: Machine) -> bool:
    """Return whether a container's configuration is as planned."""
    text = read_configuration(machine)
    return text == configuration(machine, Layers(base_of(text, machine.container), delta(machine)))


def runs(machine: Machine, files: Files) -> bool:
    """Return whether a container runs as planned, and was created with these files."""
    given = folder(machine) / "given"
    if not (given.exists() and answers(machine) and is_current(machine)):
        return False
    return given.read_text() == fingerprint(files)


def fingerprint(files: Files) -> str:
    """Return a digest of files."""
    return hashlib.sha256(archive(files)).hexdigest()


def create(machine: Machine, base: Path, files: Files) -> None:
    """Create a container, completely or not at all, and replace an existing one.

    Args:
        machine: The container's machine.
        base: The root directory of the image.
        files: The files that the host has before its first start.
    """
    final, unfinished = folder(machine), folder(machine).with_suffix(".unfinished")
    remove(machine)
    (unfinished / "delta").mkdir(parents=True)
    run([*UNPACK, unfinished / "delta"], data=archive(files))
    (unfinished / "given").write_text(fingerprint(files))
    (unfinished / PLATFORM).write_text(machine.platform)
    (unfinished / "config").write_text(configuration(machine, Layers(base, delta(machine))))
    unfinished.rename(final)


def platform(machine: Machine) -> str:
    """Return the platform with which a container was created."""
    file = folder(machine) / PLATFORM
    return file.read_text() if file.exists() else DEFAULT  # an older lab had only one


def remove(machine: Machine) -> None:
    """Remove a stopped container and all its files, even a half-written one."""
    for path in (folder(machine).with_suffix(".unfinished"), folder(machine)):
        remove_tree(path)


def put(machine: Machine, files: Files, keep: bool = False) -> None:
    """Write files into a container, whether it runs or not.

    Args:
        machine: The container's machine.
        files: The files to write.
        keep: Whether to keep existing files, instead of replacing them.
    """
    unpack = [*UNPACK[:1], "--skip-old-files", *UNPACK[1:]] if keep else UNPACK
    if machine.container in running():
        run(attach(machine, [*unpack, "/"]), data=archive(files))
    else:
        run([*unpack, delta(machine)], data=archive(files))


def present() -> set[str]:
    """Return the names of all containers that have a folder, even half-written ones."""
    return {path.name.removesuffix(".unfinished") for path in CONTAINERS.glob("salina-*")}


def existing() -> set[str]:
    """Return the names of the containers that can start: complete ones whose image exists."""
    configs = CONTAINERS.glob("salina-*/config")
    return {
        path.parent.name
        for path in configs
        if path.parent.suffix != ".unfinished"
        and base_of(path.read_text(), path.parent.name).is_dir()
    }


def listed(*flags: str) -> set[str]:
    """Return the names of the containers that LXC lists with these flags."""
    done = run(inside(["lxc-ls", "-P", CONTAINERS, "-1", *flags]))
    return {name for name in done.stdout.split() if name.startswith("salina-")}


def states() -> dict[str, str]:
    """Return the state of every container: RUNNING, FROZEN, STOPPED or another state of LXC."""
    columns = ["--fancy", "--fancy-format", "NAME,STATE"]
    lines = run(inside(["lxc-ls", "-P", CONTAINERS, *columns])).stdout.splitlines()[1:]
    return dict(line.split() for line in lines if line.startswith("salina-"))


def running() -> set[str]:
    """Return the names of the running containers, including frozen ones."""
    return listed("--active")


def frozen() -> set[str]:
    """Return the names of the frozen containers."""
    return listed("--frozen")


def state(machine: Machine) -> str:
    """Return RUNNING, FROZEN, STOPPED or another state of LXC; empty if there is no container."""
    return run(lxc("info", machine, "--no-humanize", "--state"), check=False).stdout.strip()


def answers(machine: Machine) -> bool:
    """Return whether commands can run in a container: it is neither stopped nor frozen."""
    return state(machine) == "RUNNING"


def start(machine: Machine) -> None:
    """Start a container.

    Raises:
        LabError: It did not start. The message has the last lines of LXC's log.
    """
    log = folder(machine) / "start.log"
    log.unlink(missing_ok=True)
    options = ["--daemon", "--logfile", str(log), "--logpriority", "ERROR"]
    done = run(lxc("start", machine, *options), check=False)
    if done.returncode:
        said = log.read_text() if log.exists() else done.stderr
        lines = [re.sub(r"^\S+ \S+ ", "", line) for line in said.splitlines()]
        raise LabError(f"{machine.name} did not start: " + "\n".join(lines[-6:]), "make up")


def stop(machine: Machine, kill: bool = False) -> None:
    """Stop a container: shut it down, or kill it at once, like a power cut."""
    how = ["--kill"] if kill else ["--timeout", str(STOP_SECONDS)]
    run(lxc("stop", machine, *how))


def freeze(machine: Machine, on: bool) -> None:
    """Halt all processes of a container, or let them continue."""
    run(lxc("freeze" if on else "unfreeze", machine))


def throttle(machine: Machine, on: bool) -> None:
    """Limit a container's processes together to a fifth of one core, or remove the limit.

    A request then takes five times as long. The quota uses the kernel's shortest periods: with
    the usual period of a tenth of a second, a short request would not be slowed.

    Raises:
        LabError: The machine's control groups have no CPU quota.
    """
    quotas = {  # file -> its content with the limit, and without
        "cpu.cfs_period_us": ("5000", "100000"),
        "cpu.cfs_quota_us": ("1000", "-1"),
        "cpu.max": ("1000 5000", "max 100000"),
    }
    found = [
        (group / file, text)
        for group in groups(f"lxc.payload.{machine.container}")
        for file, text in quotas.items()
        if (group / file).exists()
    ]
    if on and not found:
        raise LabError(
            f"{machine.name} cannot be slowed: this machine's control groups have no CPU quota",
            f"bin/lab fault freeze {machine.name}   (another fault)",
        )
    for path, (quota, none) in found:
        path.write_text(quota if on else none)


def namespace(machine: Machine) -> Path:
    """Return the path, on this machine, of a running container's network namespace.

    Raises:
        LabError: The container does not run.
    """
    pid = run(lxc("info", machine, "--no-humanize", "--pid")).stdout.strip()
    if not pid:
        raise LabError(f"{machine.name} does not run", "bin/lab heal")
    return Path(f"/proc/{holder()}/root/proc/{pid}/ns/net")


def attach(machine: Machine, argv: Sequence[str]) -> list[str]:
    """Return the command that runs another one in a container, with a clean environment."""
    variables = [f"--set-var={key}={value}" for key, value in ENVIRONMENT.items()]
    return lxc("attach", machine, "--clear-env", *variables, "--", *argv)


def groups(name: str = "lxc.*.salina-*") -> list[Path]:
    """Return the control groups that containers of the lab use, or have left.

    They can be anywhere, because LXC creates them below the group of the process that called it.

    Args:
        name: The pattern of their names.
    """
    find = ["find", "/sys/fs/cgroup", "-type", "d", "-name", name, "-prune"]
    return [Path(line) for line in run(find, check=False).stdout.splitlines()]


def thaw_groups() -> None:
    """Let frozen processes continue, without LXC. Frozen processes cannot even be killed."""
    for group in groups():
        for name, on in (("freezer.state", "THAWED"), ("cgroup.freeze", "0")):
            if (group / name).exists():
                (group / name).write_text(on)


def busy_groups() -> list[Path]:
    """Return the control groups that still have processes."""
    tasks = [path for group in groups() for path in group.rglob("cgroup.procs")]
    return [path.parent for path in tasks if path.read_text().strip()]


def remove_groups() -> None:
    """Remove the empty control groups that killed containers left; used ones stay.

    This includes LXC's own group, in which it starts containers. LXC creates it again on demand.
    """
    for group in [*groups(), *groups("lxc.pivot")]:
        below = [path for path in group.rglob("*") if path.is_dir()]
        for path in [*sorted(below, reverse=True), group]:
            try:
                path.rmdir()
            except OSError:
                break

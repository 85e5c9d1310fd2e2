"""The containers: their configuration, their life, commands in them. LXC, root's own."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.errors import LabError
from lab.machines.network import holder, inside
from lab.machines.plan import Interface, Machine
from lab.machines.provision import Files, archive
from lab.paths import CLOUD, CONTAINERS, MIRROR, OVERRIDE, REPOSITORY
from lab.process import remove_tree, run

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
}
STOP_SECONDS = 20
UNPACK = ("tar", "--extract", "--touch", "--directory")
"""With the time of now: a master takes a minion's key of the same time for the same key."""

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
    """Where a container's files come from: the image below, what it has changed above."""

    base: Path
    delta: Path


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
    """Return the configuration that shows a path of the machine in a container, read-only."""
    return f"lxc.mount.entry = {source} {target} none bind,ro,{options} 0 0\n"


def configuration(machine: Machine, layers: Layers) -> str:
    """Return a container's configuration file.

    Over the repository's own topology the master sees the one in OVERRIDE, if there is one.
    """
    text = COMMON
    text += f"lxc.uts.name = {machine.name}\n"
    text += f"lxc.rootfs.path = overlayfs:{layers.base}:{layers.delta}\n"
    text += f"lxc.console.logfile = {folder(machine) / 'console.log'}\n"
    text += "".join(card(index, interface) for index, interface in enumerate(machine.interfaces))
    text += bind(MIRROR, "srv/mirror")
    if machine.master:
        text += bind(REPOSITORY, "srv/salina")
        text += bind(OVERRIDE, "srv/override")
        text += bind(OVERRIDE / "topology.yaml", "srv/salina/pillar/topology.yaml", "optional")
        text += bind(CLOUD, "srv/lab")
    return text


def folder(machine: Machine) -> Path:
    """Return the folder that holds all of a container."""
    return CONTAINERS / machine.container


def delta(machine: Machine) -> Path:
    """Return the folder of what a container has changed in its image."""
    return folder(machine) / "delta"


def lxc(command: str, machine: Machine, *arguments: str) -> list[str]:
    """Return an LXC command on a container, within the lab's namespaces."""
    return inside([f"lxc-{command}", "-P", CONTAINERS, "-n", machine.container, *arguments])


def base_of(config: str) -> Path:
    """Return the image's root directory that a configuration names."""
    found = re.search(r"^lxc\.rootfs\.path = overlayfs:(.+?):", config, re.MULTILINE)
    if not found:
        raise LabError("a container's configuration is damaged", "bin/lab down; make up")
    return Path(found[1])


def read_configuration(machine: Machine) -> str:
    """Return a container's configuration as it is; empty when there is no container."""
    path = folder(machine) / "config"
    return path.read_text() if path.exists() else ""


def configure(machine: Machine) -> None:
    """Bring the configuration of a stopped container to its plan."""
    base = base_of(read_configuration(machine))
    path = folder(machine) / "config"
    path.write_text(configuration(machine, Layers(base, delta(machine))))


def is_current(machine: Machine) -> bool:
    """Say whether a container's configuration is the plan's."""
    text = read_configuration(machine)
    return text == configuration(machine, Layers(base_of(text), delta(machine)))


def runs(machine: Machine, files: Files) -> bool:
    """Say whether a container runs as planned, made with these files."""
    given = folder(machine) / "given"
    if not (given.exists() and answers(machine) and is_current(machine)):
        return False
    return given.read_text() == fingerprint(files)


def fingerprint(files: Files) -> str:
    """Return a digest of files."""
    return hashlib.sha256(archive(files)).hexdigest()


def create(machine: Machine, base: Path, files: Files) -> None:
    """Write a fresh container; it is there completely or not at all.

    :param base: root directory of the image
    :param files: what the host gets before its first start
    """
    final, unfinished = folder(machine), folder(machine).with_suffix(".unfinished")
    remove(machine)
    (unfinished / "delta").mkdir(parents=True)
    run([*UNPACK, unfinished / "delta"], data=archive(files))
    (unfinished / "given").write_text(fingerprint(files))
    (unfinished / "config").write_text(configuration(machine, Layers(base, delta(machine))))
    unfinished.rename(final)


def remove(machine: Machine) -> None:
    """Remove a stopped container with all it has written, also a half-written one."""
    for path in (folder(machine).with_suffix(".unfinished"), folder(machine)):
        remove_tree(path)


def put(machine: Machine, files: Files, keep: bool = False) -> None:
    """Write files into a container, running or not.

    :param keep: leave what exists as it is, rather than replace it
    """
    unpack = [*UNPACK[:1], "--skip-old-files", *UNPACK[1:]] if keep else UNPACK
    if machine.container in running():
        run(attach(machine, [*unpack, "/"]), data=archive(files))
    else:
        run([*unpack, delta(machine)], data=archive(files))


def present() -> set[str]:
    """Return the names of all containers that have a folder, be it half-written."""
    return {path.name.removesuffix(".unfinished") for path in CONTAINERS.glob("salina-*")}


def existing() -> set[str]:
    """Return the names of the containers that can be started: complete, and with an image."""
    configs = CONTAINERS.glob("salina-*/config")
    return {
        path.parent.name
        for path in configs
        if path.parent.suffix != ".unfinished" and base_of(path.read_text()).is_dir()
    }


def listed(*flags: str) -> set[str]:
    """Return the names of the containers which LXC lists with these flags."""
    done = run(inside(["lxc-ls", "-P", CONTAINERS, "-1", *flags]))
    return {name for name in done.stdout.split() if name.startswith("salina-")}


def running() -> set[str]:
    """Return the names of the running containers, frozen ones among them."""
    return listed("--active")


def frozen() -> set[str]:
    """Return the names of the frozen containers."""
    return listed("--frozen")


def state(machine: Machine) -> str:
    """Return RUNNING, FROZEN, STOPPED, or another of LXC's words; empty: there is no container."""
    return run(lxc("info", machine, "--no-humanize", "--state"), check=False).stdout.strip()


def answers(machine: Machine) -> bool:
    """Say whether commands can be run in a container: it is neither stopped nor frozen."""
    return state(machine) == "RUNNING"


def start(machine: Machine) -> None:
    """Start a container.

    :raises LabError: with the last lines of LXC's log
    """
    log = folder(machine) / "start.log"
    log.unlink(missing_ok=True)
    options = ["--daemon", "--logfile", str(log), "--logpriority", "ERROR"]
    done = run(lxc("start", machine, *options), check=False)
    if done.returncode:
        said = log.read_text() if log.exists() else done.stderr
        lines = [re.sub(r"^\S+ \S+ ", "", line) for line in said.splitlines()]
        raise LabError(f"{machine.name} does not start: " + "\n".join(lines[-6:]), "make up")


def stop(machine: Machine, kill: bool = False) -> None:
    """Stop a container: shut down in order, or at once as a power cut does."""
    how = ["--kill"] if kill else ["--timeout", str(STOP_SECONDS)]
    run(lxc("stop", machine, *how))


def freeze(machine: Machine, on: bool) -> None:
    """Halt all processes of a container where they are, or let them go on."""
    run(lxc("freeze" if on else "unfreeze", machine))


def throttle(machine: Machine, on: bool) -> None:
    """Give a container's processes together a fifth of one core, or as much as there is.

    A request then takes five times as long. The kernel's shortest slices: with its usual tenth of
    a second a request with little to do would not notice.

    :raises LabError: the machine's control groups have no quota of the processor
    """
    quotas = {  # file -> its content with a quota and without
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
        raise LabError(f"no quota of the processor for {machine.name}", "bin/lab fault freeze")
    for path, (quota, none) in found:
        path.write_text(quota if on else none)


def namespace(machine: Machine) -> Path:
    """Return the path, on this machine, of a running container's network namespace.

    :raises LabError: it doesn't run
    """
    pid = run(lxc("info", machine, "--no-humanize", "--pid")).stdout.strip()
    if not pid:
        raise LabError(f"{machine.name} does not run", "bin/lab heal")
    return Path(f"/proc/{holder()}/root/proc/{pid}/ns/net")


def attach(machine: Machine, argv: Sequence[str]) -> list[str]:
    """Return the command that runs the given one in a container, with a clean environment."""
    variables = [f"--set-var={key}={value}" for key, value in ENVIRONMENT.items()]
    return lxc("attach", machine, "--clear-env", *variables, "--", *argv)


def groups(name: str = "lxc.*.salina-*") -> list[Path]:
    """Return the control groups that containers of the lab use or have left.

    Wherever they are: LXC makes them below the group of whoever called it.

    :param name: a pattern of their names
    """
    find = ["find", "/sys/fs/cgroup", "-type", "d", "-name", name, "-prune"]
    return [Path(line) for line in run(find, check=False).stdout.splitlines()]


def thaw_groups() -> None:
    """Let frozen processes go on, without LXC: they could not even be killed."""
    for group in groups():
        for name, on in (("freezer.state", "THAWED"), ("cgroup.freeze", "0")):
            if (group / name).exists():
                (group / name).write_text(on)


def busy_groups() -> list[Path]:
    """Return the control groups in which processes still are."""
    tasks = [path for group in groups() for path in group.rglob("cgroup.procs")]
    return [path.parent for path in tasks if path.read_text().strip()]


def remove_groups() -> None:
    """Remove the empty control groups which killed containers left; used ones stay.

    Among them LXC's own, in which it starts a container; it makes that again when it needs it.
    """
    for group in [*groups(), *groups("lxc.pivot")]:
        below = [path for path in group.rglob("*") if path.is_dir()]
        for path in [*sorted(below, reverse=True), group]:
            try:
                path.rmdir()
            except OSError:
                break

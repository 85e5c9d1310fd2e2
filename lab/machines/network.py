"""The lab's isolated network: its own namespaces with all bridges, kept alive by one process.

That process is called the holder. When it ends, the kernel removes everything at once. The
machine's own network namespace never has an address, a route or a network card of the lab.
"""

import json
import os
import signal
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from lab.errors import LabError
from lab.paths import REPOSITORY
from lab.process import run, wait_until

MARK = "salina-lab-holder"
SCRIPT = REPOSITORY / "lab/holder"
NAMESPACES = ("--net", "--mount", "--pid")
INSTANCES = 1024  # inotify instances: the kernel's default of 128 is too few for 12 hosts
INSTANCES_FILE = Path("/proc/sys/fs/inotify/max_user_instances")


def arguments(pid: str) -> list[str]:
    """Return the command line of a process, or an empty list if it has ended."""
    try:
        return Path("/proc", pid, "cmdline").read_text().split("\0")[:-1]
    except OSError:
        return []


def is_holder(argv: Sequence[str]) -> bool:
    """Return whether a command line is the holder's, and not that of its parent `unshare`."""
    return argv[-1:] == [MARK] and "unshare" not in Path(argv[0]).name


def find() -> int | None:
    """Return the holder's process id, or None if no lab runs."""
    pids = (entry.name for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return next((int(pid) for pid in pids if is_holder(arguments(pid))), None)


def holder() -> int:
    """Return the holder's process id.

    Raises:
        LabError: No lab runs.
    """
    pid = find()
    if pid is None:
        raise LabError("the lab is not running", "make up")
    return pid


def inside(argv: Sequence[str | Path], pid: int | None = None) -> list[str]:
    """Return the command that runs another one within the lab's namespaces.

    Args:
        argv: The other command.
        pid: The holder's process id, if it is already known.

    Raises:
        LabError: No lab runs.
    """
    target = str(pid or holder())
    return ["nsenter", "--target", target, *NAMESPACES, "--", *(str(part) for part in argv)]


def start() -> int:
    """Start the holder if none runs, and return its process id.

    Raises:
        LabError: The kernel refused, or the holder's script failed.
    """
    running = find()
    if running is not None:
        return running
    if int(INSTANCES_FILE.read_text()) < INSTANCES:
        INSTANCES_FILE.write_text(str(INSTANCES))
    process = subprocess.Popen(
        ["unshare", *NAMESPACES, "--fork", "--mount-proc", "--kill-child", SCRIPT, MARK],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    assert process.stdout and process.stderr
    if process.stdout.readline() != "ready\n":
        raise LabError(
            f"the lab's namespaces cannot be created: {process.stderr.read().strip()}",
            "make up   (it checks whether the kernel has everything)",
        )
    return holder()


def stop() -> None:
    """End the holder, and with it every process, mount and network of the lab.

    Raises:
        LabError: The holder did not end.
    """
    pid = find()
    if pid is None:
        return
    os.kill(pid, signal.SIGKILL)
    if not wait_until(lambda: not Path("/proc", str(pid)).exists(), 30):
        raise LabError(
            f"the lab's first process ({pid}) did not end after SIGKILL", f"ps -o stat,wchan {pid}"
        )


def links(bridges: Iterable[str], present: Iterable[str]) -> list[str]:
    """Return the lines for `ip -batch` that create the missing bridges and delete the others.

    Args:
        bridges: The names of the planned bridges.
        present: The names of the existing bridges.
    """
    wanted, found = set(bridges), set(present)
    lines = [f"link delete {name}" for name in sorted(found - wanted)]
    lines += [f"link add {name} type bridge" for name in sorted(wanted - found)]
    return lines + [f"link set {name} up" for name in sorted(wanted)]


def ensure(bridges: Iterable[str]) -> None:
    """Start the holder, and create the planned bridges."""
    pid = start()
    shown = run(inside(["ip", "-json", "link", "show", "type", "bridge"], pid)).stdout
    present = [link["ifname"] for link in json.loads(shown or "[]")]
    run(inside(["ip", "-batch", "-"], pid), text="\n".join(links(bridges, present)) + "\n")


def set_link(pair: str, up: bool) -> None:
    """Plug in or unplug a host's network cable: the outer end of a veth pair."""
    run(inside(["ip", "link", "set", pair, "up" if up else "down"]))

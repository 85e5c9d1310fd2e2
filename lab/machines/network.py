"""The lab's isolated network: namespaces of its own, held by one process, with all bridges in it.

The machine's own network namespace never has an address, a route or a card of the lab. The
kernel forgets everything at once when the holder ends. The process table says whether it runs.
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
INSTANCES = 1024  # inotify instances; 12 hosts use up the kernel's default of 128
INSTANCES_FILE = Path("/proc/sys/fs/inotify/max_user_instances")


def arguments(pid: str) -> list[str]:
    """Return the command line of a process, empty when it is gone."""
    try:
        return Path("/proc", pid, "cmdline").read_text().split("\0")[:-1]
    except OSError:
        return []


def is_holder(argv: Sequence[str]) -> bool:
    """Say whether a command line is the holder's (not that of `unshare`, its parent)."""
    return argv[-1:] == [MARK] and "unshare" not in Path(argv[0]).name


def find() -> int | None:
    """Return the holder's process id, or none when no lab runs."""
    pids = (entry.name for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return next((int(pid) for pid in pids if is_holder(arguments(pid))), None)


def holder() -> int:
    """Return the holder's process id.

    :raises LabError: no lab runs
    """
    pid = find()
    if pid is None:
        raise LabError("the lab is not running", "make up")
    return pid


def inside(argv: Sequence[str | Path], pid: int | None = None) -> list[str]:
    """Return the command that runs the given one within the lab's namespaces."""
    target = str(pid or holder())
    return ["nsenter", "--target", target, *NAMESPACES, "--", *(str(part) for part in argv)]


def start() -> int:
    """Start the holder where none runs, and return its process id.

    :raises LabError: the kernel refused, or the holder's script failed
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
            f"the lab's namespaces can't be made: {process.stderr.read().strip()}",
            "make up   (its checks tell what the kernel lacks)",
        )
    return holder()


def stop() -> None:
    """End the holder, and with it every process, mount and network of the lab."""
    pid = find()
    if pid is None:
        return
    os.kill(pid, signal.SIGKILL)
    if not wait_until(lambda: not Path("/proc", str(pid)).exists(), 30):
        raise LabError(f"the lab's first process ({pid}) does not end", f"ps -o stat,wchan {pid}")


def links(bridges: Iterable[str], present: Iterable[str]) -> list[str]:
    """Return the lines for `ip -batch` that bring the bridges to what is planned.

    :param bridges: names that are to be there
    :param present: names that are there
    """
    wanted, found = set(bridges), set(present)
    lines = [f"link delete {name}" for name in sorted(found - wanted)]
    lines += [f"link add {name} type bridge" for name in sorted(wanted - found)]
    return lines + [f"link set {name} up" for name in sorted(wanted)]


def ensure(bridges: Iterable[str]) -> None:
    """Start the holder and give it the planned bridges."""
    pid = start()
    shown = run(inside(["ip", "-json", "link", "show", "type", "bridge"], pid)).stdout
    present = [link["ifname"] for link in json.loads(shown or "[]")]
    run(inside(["ip", "-batch", "-"], pid), text="\n".join(links(bridges, present)) + "\n")


def set_link(pair: str, up: bool) -> None:
    """Plug a host's cable in or out: the outer end of a veth pair."""
    run(inside(["ip", "link", "set", pair, "up" if up else "down"]))

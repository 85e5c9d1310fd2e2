"""The frame of a command that breaks the lab on purpose: it begins only while all is well."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from bench import machine
from bench.restore import interruptible
from lab.commands.console import complain, out, step
from lab.errors import LabError
from lab.exclusive import exclusive
from lab.machines import faults, topology_file
from lab.paths import TOPOLOGY
from salina.common import wait
from tests.lab import alarms, lab

NOTICED = 360
"""Seconds for Nagios to ask for every service again, and to see what is new or repaired."""


def trouble() -> str:
    """Return what is not well in the lab, or ""."""
    broken = ", ".join(map(str, faults.read()))
    return f"still broken: {broken}" if broken else unhealthy()


def unhealthy() -> str:
    """Return the lab's status if a host or a tier is not healthy, or ""."""
    done = subprocess.run([lab.LAB, "status"], capture_output=True, text=True)
    return f"{done.stdout}{done.stderr}" if done.returncode else ""


def alarmed() -> str:
    """Return the services that are not good for Nagios, or why its page does not answer, or ""."""
    try:
        return ", ".join(f"{service} is {state}" for service, state in alarms.bad().items())
    except AssertionError as error:
        return f"the page of monitoring: {error}"


@contextmanager
def breaking(name: str) -> Iterator[None]:
    """Let a command break the lab, which nobody else may use meanwhile; tell how it ended.

    Args:
        name: The command, for those who must wait.

    Raises:
        SystemExit: 1 for an error, which is printed, and 130 for Ctrl-C.
    """
    out.print(machine.describe())
    interruptible()
    try:
        with exclusive(name):
            begin()
            yield
    except (LabError, AssertionError, TimeoutError, ExceptionGroup) as error:
        complain(error if isinstance(error, LabError) else LabError(str(error), "bin/lab status"))
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        out.print("interrupted")
        raise SystemExit(130) from None


def begin() -> None:
    """Refuse to begin unless the lab has the repository's own topology, and all is well.

    Nagios gets the time to see that as well.

    Raises:
        LabError: It has another one, or something is not well.
    """
    if os.geteuid() != 0:
        raise LabError("the lab needs root", "run the same command with sudo")
    if not TOPOLOGY.exists():
        raise LabError("there is no lab", "make up")
    if topology_file.overridden():
        raise LabError("the lab has another topology than pillar/topology.yaml", "make up")
    found = trouble()
    if not found:
        with step("Nagios has asked for every service"):
            wait.until(lambda: not alarmed(), NOTICED)
        found = alarmed()
    if found:
        raise LabError(
            f"nothing is broken on purpose while something is not well:\n{found}", "make up"
        )
